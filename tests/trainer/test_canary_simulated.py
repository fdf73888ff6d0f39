"""What the canary's tests promise, by simulation: who is rolled back wrongly, and how soon the worse are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from infra.sections import CanarySettings
from tests.trainer.simulated import Runs, World

STEPS = CanarySettings()
EQUAL = World()


def played(canary: World, number: int, most: int, seed: int = 1, settings: CanarySettings = STEPS) -> Runs:
    runs = Runs(settings, EQUAL, canary, number, seed)
    runs.play(most)
    return runs


@pytest.mark.slow
def test_an_equal_adapter_is_seldom_rolled_back(measured: Callable[[str], None]) -> None:
    """2,000 equal adapters on the default steps, looked at after each answer of the canary."""
    runs = played(EQUAL, 2000, STEPS.max_outcomes)
    ends = Counter(runs.ended_by)
    promoted = np.sort(runs.ended_at[[why == "promoted" for why in runs.ended_by]])
    measured(
        f"equal: {dict(ends)}; promoted after {np.median(promoted):.0f} canary answers (median), "
        f"{promoted[int(0.95 * len(promoted))]} (95%)"
    )
    assert (2000 - ends["promoted"]) / 2000 <= 0.05


@pytest.mark.parametrize(
    ("name", "canary", "within"),
    [
        ("good answers", replace(EQUAL, good=0.6), 130),
        ("latency", replace(EQUAL, latency=EQUAL.latency + math.log(1.5)), 600),
        ("length", replace(EQUAL, words=EQUAL.words + math.log(1.4)), 900),
        ("refusals", replace(EQUAL, refusals=0.15), 1200),
    ],
)
def test_what_is_worse_is_caught_by_its_name(
    name: str, canary: World, within: int, measured: Callable[[str], None]
) -> None:
    """On the default steps, in 95% of runs."""
    runs = played(canary, 400, within)
    named = np.sort(
        [at if why == name else 10**6 for at, why in zip(runs.ended_at, runs.ended_by, strict=True)]
    )
    measured(
        f"{name}: rolled back after {named[200]} canary answers (median), {named[380]} (95%); "
        f"{dict(Counter(runs.ended_by))}"
    )
    assert named[380] <= within


def test_failures_are_caught_within_thirty_answers(measured: Callable[[str], None]) -> None:
    """0.5% → 20%, in 95% of 1,000 runs: by the guard, or proven; what failed is no good answer either."""
    runs = played(replace(EQUAL, failures=0.2), 1000, 30)
    caught = Counter(runs.ended_by)
    measured(f"failures 0.5% → 20%: within 30 canary answers {dict(caught)}")
    assert caught[""] / 1000 <= 0.05
