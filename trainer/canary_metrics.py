"""What is compared on canary: each metric of an answer, how much worse it may be, its part of the error
budget.

Pure. Whatever a metric counts, harm is a rise of it here; people see it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from infra.events import Arm
from infra.sections import CanarySettings
from trainer.cost import LATENCY_MARGIN, UNFELT_S
from trainer.sequential import Alike, Floats, Interval, Means, Rates, design_effect, interval


@dataclass(frozen=True, slots=True)
class Outcome:
    """One recorded answer. `failed`: the arm's adapter gave no answer, even where stable stepped in.

    `period` is the trial's at its time; `asked_again` and `asked_for_person` tell of the customer's next
    words. None: not measured, or nothing to measure it by.
    """

    arm: Arm
    good: bool
    failed: bool
    rating: int | None = None
    period: int = 0
    reward: float | None = None
    refused: bool | None = None
    asked_again: bool | None = None
    asked_for_person: bool | None = None
    words: int | None = None
    first_token_s: float | None = None
    latency_s: float | None = None
    conversation: str = ""  # empty: one of its own


class Answers:
    """Outcomes as columns of floats, nan where there is nothing, in the order of their time."""

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self._outcomes = outcomes
        self.canary: NDArray[np.bool_] = np.array([one.arm is Arm.CANARY for one in outcomes], dtype=bool)
        self.period: NDArray[np.int64] = np.array([one.period for one in outcomes], dtype=np.int64)
        known: dict[str, int] = {}
        ids = [known.setdefault(one.conversation or f"\0{n}", len(known)) for n, one in enumerate(outcomes)]
        self.conversation: NDArray[np.int64] = np.array(ids, dtype=np.int64)

    def of(self, name: str) -> Floats:
        return np.array([getattr(one, name) for one in self._outcomes], dtype=np.float64)

    def own(self, name: str) -> Floats:
        """Only of answers that the arm's own adapter gave."""
        return np.where(self.of("failed") > 0.0, np.nan, self.of(name))


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric of an answer.

    A rate is 0 or 1 for each answer, an amount any number, a ratio a positive number that is compared as a
    part of stable's. `harm` is 1 where a rise does harm, else -1; `weight` its part of the error budget. A
    canary with nothing recorded of a `required` one is never promoted.
    """

    name: str
    kind: Literal["rate", "amount", "ratio"]
    of: Callable[[Answers], Floats]
    margin: Callable[[CanarySettings], float]
    weight: float = 0.05
    harm: Literal[1, -1] = 1
    unit: str = ""
    required: bool = True
    of_engine: bool = False  # an adapter costs the engine more than none does
    strict: bool = False  # proven worse at all is too much; `margin` is how much worse it may look


# What decides has half of the budget; failures, which a burst guard watches too, a tenth; all others the
# rest.
MEASURES = (
    Measure(
        "good answers",
        "rate",
        lambda a: a.of("good") * (1.0 - a.of("failed")),
        lambda s: s.margin,
        weight=0.5,
        harm=-1,
        strict=True,
    ),
    Measure("failures", "rate", lambda a: a.of("failed"), lambda s: s.margin, weight=0.1, strict=True),
    Measure("reward", "amount", lambda a: a.own("reward"), lambda s: s.reward_margin, harm=-1),
    Measure(
        "thumbs down",
        "rate",
        lambda a: np.where(a.of("rating") == 0.0, np.nan, _where(a.of("rating"), a.of("rating") < 0.0)),
        lambda s: s.unhappy_margin,
        required=False,
    ),
    Measure("asked again", "rate", lambda a: a.own("asked_again"), lambda s: s.unhappy_margin),
    Measure("hand-overs", "rate", lambda a: a.own("asked_for_person"), lambda s: s.handovers_margin),
    Measure("refusals", "rate", lambda a: a.own("refused"), lambda s: s.refusals_margin),
    Measure(
        "first token",
        "ratio",
        lambda a: np.maximum(a.own("first_token_s"), UNFELT_S),
        lambda s: s.latency_margin,
        unit=" s",
        required=False,  # only streamed answers have one
        of_engine=True,
    ),
    Measure(
        "latency",
        "ratio",
        lambda a: np.maximum(a.own("latency_s"), UNFELT_S),
        lambda s: s.latency_margin,
        unit=" s",
        of_engine=True,
    ),
    Measure(
        "length",
        "ratio",
        lambda a: np.maximum(a.own("words"), 1.0),
        lambda s: s.length_margin,
        unit=" words",
    ),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric on both arms: means (geometric for a ratio), numbers of answers, the interval of canary minus
    stable (for a ratio: as a part of stable's), how often better than chance the evidence of harm is, and how
    often it must be. `verdict` is fail where harm beyond the margin is proven, pass where that it is none,
    else hold.
    """

    measure: Measure
    stable: float
    canary: float
    n_stable: int
    n_canary: int
    interval: Interval
    margin: float
    harm: float
    needed: float
    verdict: Literal["pass", "fail", "hold"]

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def measured(self) -> bool:
        return self.n_stable > 0 and self.n_canary > 0

    @property
    def looks_worse(self) -> bool:
        """Whether it seems to be worse by more than its margin, proven or not."""
        return self.measure.harm * (self.interval.estimate - self.margin) > 0.0

    @property
    def sentence(self) -> str:
        return (
            f"{self.name.capitalize()}: canary {self._said(self.canary)} of {self.n_canary}, "
            f"stable {self._said(self.stable)} of {self.n_stable}."
        )

    def evidence(self) -> dict[str, Any]:
        """The numbers, for the deployment event; null where there is none."""
        return {
            "name": self.name,
            "kind": self.measure.kind,
            "stable": _finite(self.stable),
            "canary": _finite(self.canary),
            "n_stable": self.n_stable,
            "n_canary": self.n_canary,
            "estimate": _finite(self.interval.estimate),
            "low": _finite(self.interval.low),
            "high": _finite(self.interval.high),
            "margin": self.margin,
            "harm": _finite(self.harm),
            "needed": self.needed,
            "verdict": self.verdict,
        }

    def _said(self, value: float) -> str:
        if math.isnan(value):
            return "nothing"
        return f"{value:.0%}" if self.measure.kind == "rate" else f"{value:.2f}{self.measure.unit}"


def measured(
    answers: Answers, shares: Sequence[float], against_base: bool, settings: CanarySettings
) -> tuple[Metric, ...]:
    """Every metric as things stand. `shares` are those of the trial's periods."""
    return tuple(_metric(measure, answers, shares, against_base, settings) for measure in MEASURES)


def seen(measure: Measure, values: Floats, answers: Answers, shares: Sequence[float]) -> Rates | Means:
    """The sums of both arms in each period, harm turned upwards; of a ratio, `values` are logarithms."""
    share, counted = np.array(shares, dtype=np.float64), ~np.isnan(values)
    places = (answers.period + len(shares) * answers.canary)[counted]

    def sums(some: Floats) -> tuple[Floats, Floats]:
        both = np.bincount(places, weights=some, minlength=2 * len(shares)).astype(np.float64)
        return both[: len(shares)], both[len(shares) :]

    kept = values[counted]
    stable_n, canary_n = sums(np.ones_like(kept))
    if measure.kind == "rate":
        stable, canary = sums(kept if measure.harm > 0 else 1.0 - kept)
        return Rates(stable, stable_n, canary, canary_n, share)
    kept = measure.harm * kept
    (stable, canary), (stable_squares, canary_squares) = sums(kept), sums(kept**2)
    return Means(stable_n, stable, stable_squares, canary_n, canary, canary_squares, share)


def _metric(
    measure: Measure, answers: Answers, shares: Sequence[float], against_base: bool, settings: CanarySettings
) -> Metric:
    values = measure.of(answers)
    values = np.log(values) if measure.kind == "ratio" else values
    found, counted = seen(measure, values, answers, shares), ~np.isnan(values)
    evidence = Alike(found, design_effect(values[counted], answers.conversation[counted]))
    alpha = settings.alpha * measure.weight
    margin = allowed(measure, settings, against_base)
    scaled = math.log1p(margin) if measure.kind == "ratio" else margin
    n_stable, n_canary = int(found.stable_n.sum()), int(found.canary_n.sum())
    harm = float(evidence.above(0.0 if measure.strict else scaled)) if n_stable and n_canary else -math.inf
    needed = 1.0 / alpha
    verdict: Literal["pass", "fail", "hold"] = "hold"
    if harm >= math.log(needed):
        verdict = "fail"
    elif n_stable and n_canary and float(evidence.below(scaled)) >= math.log(needed):
        verdict = "pass"
    return Metric(
        measure,
        _shown(measure, found.stable.sum(), n_stable),
        _shown(measure, found.canary.sum(), n_canary),
        n_stable,
        n_canary,
        _turned(measure, interval(evidence, alpha, 1.0 if measure.kind == "rate" else 3.0)),
        measure.harm * margin,
        math.exp(min(harm, 700.0)),
        needed,
        verdict,
    )


def allowed(measure: Measure, settings: CanarySettings, against_base: bool) -> float:
    """How much worse a metric may be. The base model computes no adapter, so it is no measure of an engine's
    time.
    """
    if measure.of_engine and against_base:
        return max(measure.margin(settings), LATENCY_MARGIN - 1.0)
    return measure.margin(settings)


def _shown(measure: Measure, total: float, n: int) -> float:
    """The mean as people see it."""
    if not n:
        return math.nan
    mean = measure.harm * total / n
    if measure.kind == "rate":
        return mean if measure.harm > 0 else 1.0 + mean
    return math.exp(mean) if measure.kind == "ratio" else mean


def _turned(measure: Measure, harm: Interval) -> Interval:
    """An interval of harm as one of the metric."""
    ends = sorted((measure.harm * harm.low, measure.harm * harm.high))
    scale = math.expm1 if measure.kind == "ratio" else float
    return Interval(scale(measure.harm * harm.estimate), scale(ends[0]), scale(ends[1]))


def _where(values: Floats, holds: NDArray[np.bool_]) -> Floats:
    """1 and 0, nan where there is no value."""
    return np.where(np.isnan(values), np.nan, holds.astype(np.float64))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
