"""The canary's verdict: from recorded outcomes of both arms, at every look, to promote, roll back or hold.

Pure. Both arms are judged over the same time; always-valid intervals make looking every second safe.
An answer is good when the reward says so strictly: a canary must answer, not merely not crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from infra.events import Arm
from infra.sections import CanarySettings
from trainer.sequential import Interval, Rate, difference


class Judgement(StrEnum):
    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recorded answer. `failed`: the arm's adapter gave no answer, even where stable stepped in."""

    arm: Arm
    good: bool
    failed: bool
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A rate on both arms, and the always-valid interval of canary minus stable.

    `verdict` is pass, fail or hold.
    """

    name: str
    stable: Rate
    canary: Rate
    interval: Interval
    margin: float
    verdict: str

    def evidence(self) -> dict[str, Any]:
        """The numbers, for the deployment event."""
        return {
            "name": self.name,
            "stable": self.stable.value if self.stable.n else None,
            "canary": self.canary.value if self.canary.n else None,
            "n_stable": self.stable.n,
            "n_canary": self.canary.n,
            "low": self.interval.low,
            "high": self.interval.high,
            "margin": self.margin,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, why in a sentence, and the metrics behind it."""

    judgement: Judgement
    reason: str
    metrics: tuple[Metric, ...]


# The burst guard: this many failures among the canary's last BURST_OF answers end it at once. At a
# failure rate of 0.5%, the usual noise, that happens in one of ten thousand canaries.
BURST = 4
BURST_OF = 20


def judge(outcomes: Sequence[Outcome], settings: CanarySettings) -> Verdict:
    """The verdict on a canary from all outcomes since it began, in the order of their time.

    Three metrics share the error budget `alpha`: the good rate (pass: not worse by the margin), failures
    and thumbs down (fail: proven worse). Missing outcomes never promote.
    """
    share = settings.alpha / 3
    metrics = (
        _good_rate(outcomes, share, settings.margin),
        _harm("failures", _rates(outcomes, lambda o: True, lambda o: o.failed), share),
        _harm(
            "thumbs down", _rates(outcomes, lambda o: bool(o.rating), lambda o: (o.rating or 0) < 0), share
        ),
    )
    if _burst(outcomes):
        return Verdict(Judgement.ROLL_BACK, f"{BURST} of the last {BURST_OF} canary answers failed.", metrics)
    failed = [metric for metric in metrics if metric.verdict == "fail"]
    if failed:
        return Verdict(Judgement.ROLL_BACK, _sentence(failed[0]), metrics)
    good = metrics[0]
    enough = min(good.stable.n, good.canary.n) >= settings.min_outcomes
    if good.verdict == "pass" and enough:
        return Verdict(Judgement.PROMOTE, _sentence(good), metrics)
    if good.canary.n >= settings.max_outcomes:
        return Verdict(Judgement.ROLL_BACK, f"Undecided after {good.canary.n} canary answers.", metrics)
    return Verdict(Judgement.HOLD, "Not enough outcomes to decide.", metrics)


def _rates(
    outcomes: Sequence[Outcome], counts: Callable[[Outcome], bool], success: Callable[[Outcome], bool]
) -> tuple[Rate, Rate]:
    stable = [success(o) for o in outcomes if o.arm is Arm.STABLE and counts(o)]
    canary = [success(o) for o in outcomes if o.arm is Arm.CANARY and counts(o)]
    return Rate(sum(stable), len(stable)), Rate(sum(canary), len(canary))


def _good_rate(outcomes: Sequence[Outcome], alpha: float, margin: float) -> Metric:
    stable, canary = _rates(outcomes, lambda o: True, lambda o: o.good and not o.failed)
    interval = difference(stable, canary, alpha)
    verdict = "fail" if interval.high < 0.0 else "pass" if interval.low > -margin else "hold"
    return Metric("good answers", stable, canary, interval, margin, verdict)


def _harm(name: str, rates: tuple[Rate, Rate], alpha: float) -> Metric:
    """A rate that must not rise: fails when a rise is proven, and never promotes by itself."""
    interval = difference(*rates, alpha)
    return Metric(name, *rates, interval, 0.0, "fail" if interval.low > 0.0 else "hold")


def _burst(outcomes: Sequence[Outcome]) -> bool:
    recent = [o.failed for o in outcomes if o.arm is Arm.CANARY][-BURST_OF:]
    return sum(recent) >= BURST


def _sentence(metric: Metric) -> str:
    return (
        f"{metric.name.capitalize()}: canary {metric.canary.value:.0%} of {metric.canary.n}, "
        f"stable {metric.stable.value:.0%} of {metric.stable.n}."
    )
