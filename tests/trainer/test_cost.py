"""Cost gates: a good night passes on a CPU, an adapter that rambles or drags does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from trainer.cost import latency, tokens
from trainer.gates import Verdict

GROUPS = [str(place // 10) for place in range(120)]


@dataclass(frozen=True)
class Said:
    tokens: int
    latency_s: float


def said(mean: float, token_s: float, seed: int, endless: float = 0.0) -> list[Said]:
    """Answers of about `mean` tokens, a share `endless` of which runs to the limit of 80."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.gamma(4.0, mean / 4.0, 120), 1, 80)
    counts[rng.random(120) < endless] = 80
    return [Said(int(count), float(count) * token_s) for count in counts]


# The base model's answers on a CPU, and what a token through an adapter costs there (140 and 58 tokens/s).
STABLE = said(20.0, 0.1, seed=1)
THROUGH_ADAPTER = 140 / 58


@pytest.mark.parametrize(
    ("mean", "endless", "expected"),
    [
        (13.0, 0.0, Verdict.PASS),
        (20.0, 0.0, Verdict.PASS),
        (20.0, 0.2, Verdict.FAIL),
        (40.0, 0.0, Verdict.FAIL),
    ],
)
def test_tokens(mean: float, endless: float, expected: Verdict) -> None:
    gate = tokens(GROUPS, STABLE, said(mean, 0.1, 2, endless), needed=100, alpha=0.05, seed=1)
    assert gate.verdict is expected


@pytest.mark.parametrize(
    ("mean", "factor", "expected"),
    [
        (13.0, THROUGH_ADAPTER, Verdict.PASS),  # a good night: a third fewer tokens
        (20.0, 1.3, Verdict.PASS),  # a GPU
        (40.0, THROUGH_ADAPTER, Verdict.FAIL),
        (20.0, 4.0, Verdict.FAIL),
    ],
)
def test_latency(mean: float, factor: float, expected: Verdict) -> None:
    gate = latency(GROUPS, STABLE, said(mean, 0.1 * factor, 2), needed=100, alpha=0.05, seed=1)
    assert gate.verdict is expected
    assert gate.detail.startswith("stable 1.")


def test_what_nobody_feels_is_not_compared() -> None:
    fast, ten_times = said(20.0, 1e-4, 1), said(20.0, 1e-3, 1)
    assert latency(GROUPS, fast, ten_times, needed=100, alpha=0.05, seed=1).estimate == 1.0


def test_few_cases_are_not_enough_data() -> None:
    few = GROUPS[:50], STABLE[:50], STABLE[:50]
    assert tokens(*few, needed=100, alpha=0.05, seed=1).verdict is Verdict.NOT_ENOUGH_DATA
    assert latency([], [], [], needed=100, alpha=0.05, seed=1).verdict is Verdict.NOT_ENOUGH_DATA
