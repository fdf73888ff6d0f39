"""Many canaries at once, answer by answer, judged by the real tests: who is caught, by what, and when.

A look follows each of the canary's answers. Steps are taken as `judge` takes them, but for time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from infra.sections import CanarySettings
from trainer.burst import FIRST, LAST, burst
from trainer.canary_metrics import MEASURES, Measure, allowed
from trainer.sequential import Floats, Means, Rates

BY_NAME = {measure.name: measure for measure in MEASURES}
# What has no margin is looked at after every answer of the canary, the others after each ten.
ALWAYS = ("good answers", "failures")


@dataclass(frozen=True)
class World:
    """How an arm answers: rates, and mean and spread of the logarithm of what is measured."""

    good: float = 0.8
    failures: float = 0.005
    thumbs_down: float = 0.15  # of the quarter who vote
    asked_again: float = 0.08
    handovers: float = 0.01
    refusals: float = 0.05
    first_token: float = math.log(0.3)
    latency: float = math.log(0.8)
    words: float = math.log(15.0)
    spread: float = 0.5

    def rate(self, name: str) -> tuple[float, float]:
        """How often it happens where it is counted, and how often it is counted."""
        return {
            "good answers": (1.0 - self.good * (1.0 - self.failures), 1.0),
            "failures": (self.failures, 1.0),
            "thumbs down": (self.thumbs_down, 0.25),
            "asked again": (self.asked_again, 1.0),
            "hand-overs": (self.handovers, 1.0),
            "refusals": (self.refusals, 1.0),
        }[name]

    def mean(self, name: str) -> float:
        return {"first token": self.first_token, "latency": self.latency, "length": self.words}[name]


@dataclass
class Runs:
    """What was seen so far in each run: arrays (runs, periods) by metric and arm, and how far each run is."""

    settings: CanarySettings
    stable: World
    canary: World
    number: int
    seed: int
    # When each run ended: the canary's answers by then, and why (a metric, burst, promoted, undecided).
    ended_at: NDArray[np.int64] = field(init=False)
    ended_by: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.steps = np.array(self.settings.steps[:-1])
        self.period = np.zeros(self.number, dtype=np.int64)
        self.sums = {
            (measure.name, arm): np.zeros((3, self.number, len(self.steps)))  # n, sum, squares
            for measure in MEASURES
            for arm in (0, 1)
        }
        # At each of the canary's first and last answers: stable's before it, those failed, whether it failed.
        self.around = np.zeros((3, FIRST + LAST, self.number), dtype=np.int64)
        self.ended_at = np.zeros(self.number, dtype=np.int64)
        self.ended_by = [""] * self.number

    def play(self, most: int) -> None:
        """Until every run has ended, or the canary has given so many answers."""
        for answers in range(1, most + 1):
            on = np.flatnonzero(self.ended_at == 0)
            if not on.size:
                return
            self._answer(on, answers)
            self._burst(on, answers)
            on = on[self.ended_at[on] == 0]
            for measure in MEASURES:
                if measure.name in ALWAYS or answers % 10 == 0:
                    on = self._fails(measure, on, answers)
            if on.size and answers >= self.settings.min_outcomes:
                self._goes_on(on, answers)

    def _answer(self, on: NDArray[np.int64], answers: int) -> None:
        """Stable's answers up to the canary's next one, which come as the share has it, and that one."""
        stable = self.rng.geometric(self.steps[self.period[on]]) - 1
        self.slot = answers - 1 if answers <= FIRST else FIRST + (answers - FIRST - 1) % LAST
        self.around[0, self.slot, on] = stable
        for world, arm, number in ((self.stable, 0, stable), (self.canary, 1, np.ones_like(stable))):
            for measure in MEASURES:
                total = self.sums[measure.name, arm]
                place = (slice(None), on, self.period[on])
                total[place] += self._drawn(measure, world, number, arm, on)

    def _drawn(
        self, measure: Measure, world: World, number: NDArray[np.int64], arm: int, on: NDArray[np.int64]
    ) -> Floats:
        """n, sum and squares of so many answers, harm upwards."""
        if measure.kind == "rate":
            rate, part = world.rate(measure.name)
            counted = self.rng.binomial(number, part) if part < 1.0 else number
            happened = self.rng.binomial(counted, rate)
            if measure.name == "failures":
                self.around[1 + arm, self.slot, on] = happened
            if measure.name == "good answers":
                self.bad = happened
            return np.array([counted, happened, happened], dtype=np.float64)
        n = number.astype(np.float64)
        if measure.name == "reward":  # 0.9 for a good answer, 0.2 for another, so it falls by 0.7
            return np.array([n, 0.7 * self.bad - 0.9 * n, 0.2**2 * self.bad + 0.9**2 * (n - self.bad)])
        about = world.spread * np.sqrt(n) * self.rng.standard_normal(n.shape)
        around = world.spread**2 * self.rng.chisquare(np.maximum(n - 1.0, 1e-9))
        total = n * world.mean(measure.name) + about
        return np.array([n, total, np.where(n > 0, around + total**2 / np.maximum(n, 1.0), 0.0)])

    def _burst(self, on: NDArray[np.int64], answers: int) -> None:
        turn = (answers - FIRST) % LAST
        last = [FIRST + (turn + place) % LAST for place in range(LAST)] if answers >= FIRST + LAST else []
        slots = [*range(min(answers, FIRST)), *(last or range(FIRST, min(answers, FIRST + LAST)))]
        for run in on[self.around[2, self.slot, on] > 0].tolist():
            n, failed, canary = self.around[:, slots, run].tolist()
            stable = [one for k, m in zip(n, failed, strict=True) for one in [True] * m + [False] * (k - m)]
            before = np.cumsum(n).tolist()
            if burst([bool(one) for one in canary], stable, before):
                self._end(np.array([run]), answers, "burst")

    def _seen(self, measure: Measure, on: NDArray[np.int64]) -> Rates | Means:
        last = int(self.period[on].max()) + 1
        (n, x, xx), (m, y, yy) = (self.sums[measure.name, arm][:, on, :last] for arm in (0, 1))
        share = self.steps[:last]
        return Rates(x, n, y, m, share) if measure.kind == "rate" else Means(n, x, xx, m, y, yy, share)

    def _fails(self, measure: Measure, on: NDArray[np.int64], answers: int) -> NDArray[np.int64]:
        """The runs that go on."""
        if not on.size:
            return on
        margin = 0.0 if measure.strict else self._margin(measure)
        caught = self._seen(measure, on).above(margin) >= -math.log(self.settings.alpha * measure.weight)
        self._end(on[caught], answers, measure.name)
        return on[~caught]

    def _margin(self, measure: Measure) -> float:
        margin = allowed(measure, self.settings, against_base=False)
        return math.log1p(margin) if measure.kind == "ratio" else margin

    def _goes_on(self, on: NDArray[np.int64], answers: int) -> None:
        """Steps, promotions, and the end of what stays undecided."""
        good = BY_NAME["good answers"]
        here = self.sums["good answers", 1][0, on, self.period[on]]
        fit = here >= self.settings.min_outcomes
        for measure in MEASURES:
            if fit.any():
                looks_worse = self._seen(measure, on[fit]).estimate > self._margin(measure)
                fit[fit] = ~looks_worse
        last = self.period[on] == len(self.steps) - 1
        self.period[on[fit & ~last]] += 1
        ready = on[fit & last]
        if ready.size:
            enough = -math.log(self.settings.alpha * good.weight)
            passed = self._seen(good, ready).below(self.settings.margin) >= enough
            self._end(ready[passed], answers, "promoted")
        if answers >= self.settings.max_outcomes:
            self._end(on[self.ended_at[on] == 0], answers, "undecided")

    def _end(self, runs: NDArray[np.int64], answers: int, why: str) -> None:
        self.ended_at[runs] = answers
        for run in runs.tolist():
            self.ended_by[run] = why
