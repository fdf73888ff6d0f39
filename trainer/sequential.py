"""Always-valid tests: intervals that may be looked at after every answer without fooling oneself.

Pure. A fixed-size test that is looked at again and again rolls a good adapter back in a third of runs;
these hold their error at every look together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Spread of the differences that the mixture looks for, in points of a rate. Wide enough to find a
# collapse quickly, narrow enough for ten points in a few hundred answers.
TAU = 0.2


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its always-valid bounds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Successes among `n` outcomes of one arm."""

    successes: int
    n: int

    @property
    def value(self) -> float:
        return self.successes / self.n if self.n else math.nan

    @property
    def smoothed(self) -> float:
        """One success and one failure more: keeps the variance above zero when all outcomes agree."""
        return (self.successes + 1) / (self.n + 2)

    @property
    def variance(self) -> float:
        """Variance of the smoothed rate's estimate."""
        return self.smoothed * (1 - self.smoothed) / (self.n + 2)


def difference(stable: Rate, canary: Rate, alpha: float, tau: float = TAU) -> Interval:
    """Confidence sequence for canary's rate minus stable's, valid at every look with error `alpha`.

    The mixture sequential ratio test of Johari, Koomen, Pekelis and Walsh (2022) for two Bernoulli
    streams, normal mixture with spread `tau`, inverted into an interval. Without outcomes on both
    arms the interval is the whole range.
    """
    if not stable.n or not canary.n:
        return Interval(math.nan, -1.0, 1.0)
    variance = stable.variance + canary.variance
    total = variance + tau**2
    half = math.sqrt(2 * variance * total / tau**2 * (math.log(1 / alpha) + 0.5 * math.log(total / variance)))
    estimate = canary.smoothed - stable.smoothed
    return Interval(estimate, max(-1.0, estimate - half), min(1.0, estimate + half))
