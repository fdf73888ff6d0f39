"""The hard guard: a burst of failures ends a canary at once, before any test could prove anything. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

# An adapter that is broken shows it at once, so the first answers are watched most closely: three failures
# among the first thirty are too many at the usual 0.5%. Chance makes them in one of two thousand canaries,
# and one that fails a fifth of the time in 19 of 20.
FIRST, FIRST_CHANCE = 30, 0.006
# Later, four among the last twenty: at 0.5% once in five hundred canaries of two thousand answers.
LAST, LAST_CHANCE = 20, 1e-5
# The usual noise, and how many answers it counts for beside what stable did meanwhile.
USUAL, USUAL_N = 0.005, 100


def burst(canary: Sequence[bool], stable: Sequence[bool], seen: Sequence[int]) -> str:
    """What happened in a sentence, or nothing. Failures of each arm in the order of their time; `seen` holds
    how many of stable's came before each of the canary's.

    What stable suffers at the same time, such as an engine that is down, is not laid at the canary's door.
    """
    first = canary[:FIRST]
    until = seen[FIRST] if len(seen) > FIRST else len(stable)
    if _too_many(first, FIRST, stable[:until], FIRST_CHANCE):
        return f"{sum(first)} of its first {len(first)} answers failed."
    last = canary[-LAST:]
    since = seen[-LAST] if len(seen) >= LAST else 0
    if _too_many(last, LAST, stable[since:], LAST_CHANCE):
        return f"{sum(last)} of its last {len(last)} answers failed."
    return ""


def _too_many(failures: Sequence[bool], of: int, stable: Sequence[bool], chance: float) -> bool:
    """Whether so many failures are less likely than `chance`, at the rate that stable had in the same time.

    Stable's first failure is taken for chance, not for a rate: it would excuse the canary's.
    """
    met = sum(stable)
    rate = max(
        USUAL, (met + USUAL_N * USUAL) / (len(stable) + USUAL_N), max(0, met - 1) / max(len(stable), 1)
    )
    return tail(of, sum(failures), rate) <= chance


def tail(n: int, least: int, rate: float) -> float:
    """The chance of at least so many of n at this rate (the binomial's upper tail)."""
    return sum(comb(n, k) * rate**k * (1.0 - rate) ** (n - k) for k in range(least, n + 1))
