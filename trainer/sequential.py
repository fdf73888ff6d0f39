"""Always-valid tests: evidence that may be looked at after every answer without fooling oneself.

Pure. Both rest on how an answer gets its arm: whatever the answer is, it is the canary's with the share of
its time. So each period of one share is compared within itself, and neither a changed share nor a changed
hour of the day looks like a difference. Shapes end in P, one column for each period; what stands before is
the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Differences of two rates that are looked for, as log odds ratios, and how much of the bet is on each. 0.80
# and 0.60 are 1.0 apart, 0.5% and 20% are 3.9; neighbours lose a sixth of their pace to each other.
_ODDS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
_BETS = np.array([0.1, 0.25, 0.35, 0.2, 0.1])
# The mixture over means is tightest after some hundred canary answers: eight times this (Robbins 1970).
_TIGHT = 12.0
# Halvings of a bracket of 2: bounds to a ten-thousandth.
_HALVINGS = 15


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate of canary minus stable with its always-valid bounds; nan and infinite where nothing is
    known.
    """

    estimate: float
    low: float
    high: float


class Evidence(Protocol):
    """What was seen of one metric on both arms."""

    @property
    def estimate(self) -> Floats:
        """Canary minus stable, periods weighed by how much they tell; nan without answers on both arms."""

    def above(self, margin: float) -> Floats:
        """Log of the evidence that canary minus stable is above `margin`.

        Whatever the truth at or below the margin, it ever exceeds log(1 / alpha) with a chance of alpha at
        most.
        """

    def below(self, margin: float) -> Floats:
        """The same for below."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often something happened: times and answers of each arm, shapes (..., P), and the share (P,)."""

    stable: Floats
    stable_n: Floats
    canary: Floats
    canary_n: Floats
    share: Floats

    @property
    def estimate(self) -> Floats:
        return _difference(self.stable, self.stable_n, self.canary, self.canary_n)

    def above(self, margin: float) -> Floats:
        return self._shifted(margin)._evidence(_ODDS)

    def below(self, margin: float) -> Floats:
        return self._shifted(margin)._evidence(-_ODDS)

    def _shifted(self, margin: float) -> Rates:
        """As if it had happened `margin` more often on the stable arm (less often: on the canary)."""
        if margin >= 0.0:
            more = np.minimum(self.stable + margin * self.stable_n, self.stable_n)
            return replace(self, stable=more)
        return replace(self, canary=np.minimum(self.canary - margin * self.canary_n, self.canary_n))

    def _evidence(self, odds: Floats) -> Floats:
        """The safe test of two Bernoulli streams (Turner, Ly and Grünwald 2024, "Generic E-variables for
        exact sequential k-sample tests"), with a mixture over odds ratios.

        Each answer multiplies what was bet by how likely its arm would make it, over how likely both arms
        together make it. The rate of both is plugged in: it does not look at arms, and so favours none.
        """
        happened = (self.stable + self.canary).sum(-1) + 0.5
        total = (self.stable_n + self.canary_n).sum(-1) + 1.0
        both = np.log(happened / (total - happened))[..., None, None]
        at_canary = _expit(both + odds[:, None] * (1.0 - self.share))
        at_stable = _expit(both - odds[:, None] * self.share)
        mixed = self.share * at_canary + (1.0 - self.share) * at_stable
        log_O_P = (
            self.canary[..., None, :] * np.log(at_canary / mixed)
            + (self.canary_n - self.canary)[..., None, :] * np.log((1.0 - at_canary) / (1.0 - mixed))
            + self.stable[..., None, :] * np.log(at_stable / mixed)
            + (self.stable_n - self.stable)[..., None, :] * np.log((1.0 - at_stable) / (1.0 - mixed))
        )
        return _log_mean(log_O_P.sum(-1), _BETS)


@dataclass(frozen=True, slots=True)
class Means:
    """A measured quantity: number, sum, sum of squares of each arm, shapes (..., P), and the share (P,)."""

    stable_n: Floats
    stable: Floats
    stable_squares: Floats
    canary_n: Floats
    canary: Floats
    canary_squares: Floats
    share: Floats

    @property
    def estimate(self) -> Floats:
        return _difference(self.stable, self.stable_n, self.canary, self.canary_n)

    def above(self, margin: float) -> Floats:
        return self._evidence(margin, 1.0)

    def below(self, margin: float) -> Floats:
        return self._evidence(margin, -1.0)

    def _evidence(self, margin: float, sign: float) -> Floats:
        """A self-normalised mixture (de la Peña, Klass and Lai 2004; Robbins 1970) of the sum, over all
        answers, of what is beyond their period's mean times arm minus share: the design-based estimate with
        overlap weights (Ham, Bojinov, Lindon and Tingley 2022). A few wild values cannot make it large.
        """
        canary = self.canary - margin * self.canary_n
        squares = self.canary_squares - 2.0 * margin * self.canary + margin**2 * self.canary_n
        n = np.maximum(self.stable_n + self.canary_n, 1.0)
        mean = (self.stable + canary) / n
        beyond = sign * (canary - mean * self.canary_n).sum(-1)
        at_canary = squares - 2.0 * mean * canary + mean**2 * self.canary_n
        at_stable = self.stable_squares - 2.0 * mean * self.stable + mean**2 * self.stable_n
        seen = ((1.0 - self.share) ** 2 * at_canary + self.share**2 * at_stable).sum(-1)
        # What chance alone would make of it. Where wild values go one way and the canary has had none yet,
        # what was seen of its spread is too little, and would prove it different in 15% of runs, not 2.5%.
        expected = (self.share * (1.0 - self.share) * (at_canary + at_stable)).sum(-1)
        spread = np.maximum(np.maximum(seen, expected), 0.0)
        variance = (at_canary + at_stable).sum(-1) / np.maximum(n.sum(-1), 1.0)
        tight = np.maximum(_TIGHT * variance, 1e-12)
        exponent = np.maximum(beyond, 0.0) ** 2 / (2.0 * (spread + tight))
        # The half-normal mixture's exact value holds 2 Phi(z), which is at least this.
        tail = np.log(2.0 - np.exp(-exponent))
        evidence: Floats = 0.5 * np.log(tight / (spread + tight)) + exponent + tail
        return evidence


@dataclass(frozen=True, slots=True)
class Alike:
    """Evidence from answers that are alike within their conversations, and so tell less than as many alone.

    `effect` is how many of them tell as much as one alone would (`design_effect`), at least 1. A root of
    evidence is weaker evidence, and as valid.
    """

    seen: Rates | Means
    effect: float

    @property
    def estimate(self) -> Floats:
        return self.seen.estimate

    def above(self, margin: float) -> Floats:
        return self.seen.above(margin) / self.effect

    def below(self, margin: float) -> Floats:
        return self.seen.below(margin) / self.effect


def design_effect(values: Floats, groups: NDArray[np.int64]) -> float:
    """How much larger the variance of a sum is than if values within a group were independent (Kish 1965).

    1 where each has a group of its own. It does not look at arms.
    """
    if not values.size:
        return 1.0
    beyond = values - values.mean()
    alone = float((beyond**2).sum())
    together = float((np.bincount(groups, weights=beyond) ** 2).sum())
    return max(1.0, together / alone) if alone > 0.0 else 1.0


def interval(seen: Evidence, alpha: float, widest: float = 1.0) -> Interval:
    """Bounds that hold at every look together, each with error `alpha`: what the evidence does not exclude.

    One metric, so no shape before P. What lies further than `widest` from the estimate counts as unknown.
    """
    estimate = float(seen.estimate)
    if math.isnan(estimate):
        return Interval(math.nan, -math.inf, math.inf)
    enough = math.log(1.0 / alpha)

    def low(margin: float) -> bool:
        return bool(seen.above(margin) >= enough)

    def high(margin: float) -> bool:
        return bool(seen.below(margin) >= enough)

    return Interval(
        estimate, _bound(low, estimate, estimate - widest), _bound(high, estimate, estimate + widest)
    )


def _bound(excluded: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where what is excluded begins between the estimate and the far end; infinite where even that is not."""
    if not excluded(outside):
        return math.copysign(math.inf, outside - inside)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2.0
        inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
    return outside


def _difference(stable: Floats, stable_n: Floats, canary: Floats, canary_n: Floats) -> Floats:
    """Canary's mean minus stable's, periods weighed by n m / (n + m): one without both arms tells nothing."""
    weight = stable_n * canary_n / np.maximum(stable_n + canary_n, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.nan_to_num(canary / canary_n - stable / stable_n)
        mean: Floats = np.where(weight > 0.0, weight * difference, 0.0).sum(-1) / weight.sum(-1)
    return mean


def _expit(logit: Floats) -> Floats:
    result: Floats = 1.0 / (1.0 + np.exp(-logit))
    return result


def _log_mean(logs: Floats, weights: Floats) -> Floats:
    """log(sum of weights times exp(logs)) over the last axis, without overflow."""
    largest = logs.max(-1, keepdims=True)
    mean: Floats = largest[..., 0] + np.log((np.exp(logs - largest) * weights).sum(-1))
    return mean
