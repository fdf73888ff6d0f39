"""Trials and answers for the tests of the canary."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from infra.events import Arm
from infra.sections import CanarySettings
from trainer.canary import Verdict, judge
from trainer.canary_metrics import Outcome
from trainer.trial import Period, Trial

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = CanarySettings(steps=(0.5, 1.0), min_outcomes=50, max_outcomes=1500, step_s=0.0)


def trial(*shares: float, stable: str = "old") -> Trial:
    """A trial with one period of an hour for each share."""
    periods = [Period(BEGAN + timedelta(hours=hour), share, stable) for hour, share in enumerate(shares)]
    return Trial("new", tuple(periods))


def outcome(arm: Arm, good: bool = True, failed: bool = False, rating: int | None = None) -> Outcome:
    """An answer of which everything was measured, the same on both arms."""
    return Outcome(
        arm=arm,
        good=good,
        failed=failed,
        rating=rating,
        reward=0.9 if good else 0.2,
        refused=False,
        asked_again=False,
        asked_for_person=False,
        words=20,
        first_token_s=0.3,
        latency_s=0.8,
    )


def stream(stable: float, canary: float, n: int, seed: int, failing: float = 0.0) -> list[Outcome]:
    """`n` outcomes over both arms in turn, good with the given chances."""
    rng = np.random.default_rng(seed)
    return [
        outcome(
            Arm.CANARY if i % 2 else Arm.STABLE,
            good=bool(rng.random() < (canary if i % 2 else stable)),
            failed=bool(i % 2 and rng.random() < failing),
        )
        for i in range(n)
    ]


def judged(
    outcomes: list[Outcome],
    settings: CanarySettings = SETTINGS,
    on: Trial | None = None,
    after: timedelta = timedelta(hours=1),
) -> Verdict:
    """The verdict so long after the last period began."""
    on = on or trial(0.5)
    return judge(outcomes, on, settings, on.now.began + after)


def without(outcomes: list[Outcome], name: str) -> list[Outcome]:
    """The same answers, with nothing recorded of one metric."""
    return [replace(one, **{name: None}) for one in outcomes]  # type: ignore[arg-type]
