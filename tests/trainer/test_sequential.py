"""Always-valid tests keep their error at every look, and find what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.sequential import Interval, Rate, difference


def looks(stable: float, canary: float, n: int, seed: int) -> list[Interval]:
    """The interval after each pair of outcomes up to `n` on each arm."""
    rng = np.random.default_rng(seed)
    a, b = np.cumsum(rng.random(n) < stable), np.cumsum(rng.random(n) < canary)
    return [difference(Rate(int(a[i]), i + 1), Rate(int(b[i]), i + 1), alpha=0.05) for i in range(n)]


def test_equal_arms_are_told_apart_in_few_runs_however_often_one_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """500 runs of 400 looks at two equal rates: at most 5% ever exclude zero."""
    false = sum(any(i.low > 0 or i.high < 0 for i in looks(0.7, 0.7, 400, seed)) for seed in range(500))
    with capsys.disabled():
        print(f"\nequal arms excluded zero in {false / 500:.1%} of 500 runs with 400 looks each")
    assert false / 500 <= 0.05


def test_a_collapse_is_found_within_a_few_dozen_answers() -> None:
    found = [
        next((n for n, i in enumerate(looks(0.6, 0.0, 200, seed), 1) if i.high < 0), 200)
        for seed in range(100)
    ]
    assert float(np.quantile(found, 0.95)) <= 45


@given(
    st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.floats(0.001, 0.2)
)
def test_the_interval_holds_its_estimate_and_stays_in_range(
    a: int, b: int, c: int, d: int, alpha: float
) -> None:
    interval = difference(Rate(a, a + b), Rate(c, c + d), alpha)
    assert -1.0 <= interval.low <= interval.high <= 1.0
    if a + b and c + d:
        assert interval.low <= interval.estimate <= interval.high


def test_swapping_the_arms_mirrors_the_interval_and_data_narrows_it() -> None:
    few, many = (difference(Rate(6 * k, 10 * k), Rate(8 * k, 10 * k), 0.05) for k in (2, 40))
    mirrored = difference(Rate(16, 20), Rate(12, 20), 0.05)
    assert (mirrored.low, mirrored.high) == pytest.approx((-few.high, -few.low))
    assert many.high - many.low < few.high - few.low


def test_without_outcomes_nothing_is_known() -> None:
    assert (difference(Rate(0, 0), Rate(5, 5), 0.05).low, difference(Rate(0, 0), Rate(5, 5), 0.05).high) == (
        -1,
        1,
    )
