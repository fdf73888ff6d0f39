"""Gates: what must be proven before customers meet a candidate. Pass, fail, or not enough data.

Pure. Each gate states its claim, its margin and its smallest sample before it looks at an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydantic import BaseModel, ConfigDict

from trainer.words import length

# Resamples of a bootstrap: another seed then moves the ends of a 90% interval by under a tenth of a point.
RESAMPLES = 10_000


class Verdict(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    NOT_ENOUGH_DATA = "not enough data"


class Gate(BaseModel):
    """One gate's claim and what came of it. `low` and `high` bound `estimate`; `n` counts paired cases."""

    model_config = ConfigDict(frozen=True)

    name: str
    claim: str
    margin: float
    needed: int
    n: int
    estimate: float
    low: float
    high: float
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same case answered by both models. `group` is the cluster that cases are alike in (a business)."""

    case: str
    group: str
    stable: float
    candidate: float
    stable_answer: str
    candidate_answer: str


def better(pairs: Sequence[Pair], needed: int, alpha: float, seed: int) -> Gate:
    """Passes when the candidate's mean score is higher, by a one-sided paired bootstrap over groups.

    Groups are resampled whole, since answers about one business rise and fall together (cluster
    bootstrap, Cameron, Gelbach and Miller 2008). The interval is the two-sided 1 - 2 alpha one.
    """
    claim = "The candidate answers more held-out questions rightly than the stable model."
    differences = [(pair.group, pair.candidate - pair.stable) for pair in pairs]
    estimate, low, high = _bootstrap(differences, alpha, seed)
    detail = (
        f"stable {_mean([p.stable for p in pairs]):.3f}, candidate {_mean([p.candidate for p in pairs]):.3f}"
    )
    return _gate("held-out", claim, 0.0, needed, len(pairs), (estimate, low, high), low > 0.0, detail)


def rewarded(differences: Sequence[tuple[str, float]], needed: int, alpha: float, seed: int) -> Gate:
    """Passes unless the reward fell: a gain that the selecting reward does not see is no gain we understand.

    `differences` are (group, candidate's reward minus stable's). The reverse, reward up and answers
    not, is caught by `better`, and the night's report names it.
    """
    claim = "The reward that selected does not contradict the held-out answers."
    estimate, low, high = _bootstrap(differences, alpha, seed)
    return _gate(
        "reward agrees", claim, 0.0, needed, len(differences), (estimate, low, high), high >= 0.0, ""
    )


def brief(pairs: Sequence[Pair], needed: int, alpha: float, seed: int, margin: float = 0.10) -> Gate:
    """Passes when the median length did not grow by more than `margin`, bounded by the paired bootstrap.

    A shorter median passes here; that its answers are still right is `better`'s business.
    """
    claim = f"The median answer is at most {margin:.0%} longer."
    lengths = [(pair.group, (length(pair.stable_answer), length(pair.candidate_answer))) for pair in pairs]
    estimate, low, high = _bootstrap(lengths, alpha, seed, _median_growth)
    return _gate("length", claim, margin, needed, len(pairs), (estimate, low, high), low <= margin, "")


def answered(pairs: Sequence[Pair], needed: int) -> Gate:
    """Passes when no candidate answer was empty: an adapter that says nothing must not reach customers."""
    empty = sum(not pair.candidate_answer.strip() for pair in pairs)
    rate = empty / len(pairs) if pairs else 0.0
    claim = "The candidate answers every question with some text."
    detail = f"{empty} empty answers"
    return _gate("answered", claim, 0.0, needed, len(pairs), (rate, rate, rate), empty == 0, detail)


def verdict(gates: Sequence[Gate]) -> Verdict:
    """Fail if any gate fails, else not enough data if any says so, else pass. No gates: not enough data."""
    verdicts = {gate.verdict for gate in gates}
    for outcome in (Verdict.FAIL, Verdict.NOT_ENOUGH_DATA):
        if outcome in verdicts:
            return outcome
    return Verdict.PASS if gates else Verdict.NOT_ENOUGH_DATA


def mean_interval(
    values: Mapping[str, Sequence[float]], alpha: float, seed: int
) -> tuple[float, float, float]:
    """Mean with its 1 - 2 alpha cluster bootstrap interval. `values` are scores by group."""
    return _bootstrap([(group, value) for group, scores in values.items() for value in scores], alpha, seed)


def _gate(
    name: str,
    claim: str,
    margin: float,
    needed: int,
    n: int,
    interval: tuple[float, float, float],
    holds: bool,
    detail: str,
) -> Gate:
    if n < needed:
        outcome, detail = Verdict.NOT_ENOUGH_DATA, f"{n} of {needed} cases needed"
    else:
        outcome = Verdict.PASS if holds else Verdict.FAIL
    estimate, low, high = interval
    return Gate(
        name=name,
        claim=claim,
        margin=margin,
        needed=needed,
        n=n,
        estimate=estimate,
        low=low,
        high=high,
        verdict=outcome,
        detail=detail,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _mean_of(sample: np.ndarray) -> float:
    return float(sample.mean())


def _median_growth(lengths_C_2: np.ndarray) -> float:
    """Relative growth of the median, columns stable and candidate."""
    stable, candidate = np.median(lengths_C_2, axis=0)
    return float(candidate / max(stable, 1.0) - 1.0)


def _bootstrap(
    values: Sequence[tuple[str, object]],
    alpha: float,
    seed: int,
    statistic: Callable[[np.ndarray], float] = _mean_of,
) -> tuple[float, float, float]:
    """Estimate and percentile interval of `statistic`, groups resampled whole; zeros without values."""
    if not values:
        return 0.0, 0.0, 0.0
    clusters: dict[str, list[object]] = {}
    for group, value in values:
        clusters.setdefault(group, []).append(value)
    arrays = [np.asarray(cluster, dtype=float) for cluster in clusters.values()]
    rng = np.random.default_rng(seed)
    picks_R_G = rng.integers(len(arrays), size=(RESAMPLES, len(arrays)))
    if statistic is _mean_of:  # sums are enough, and a hundred times faster
        sums, counts = np.array([a.sum() for a in arrays]), np.array([len(a) for a in arrays])
        samples = sums[picks_R_G].sum(axis=1) / counts[picks_R_G].sum(axis=1)
    else:
        samples = np.array(
            [statistic(np.concatenate([arrays[i] for i in picks])) for picks in picks_R_G[:2000]]
        )
    low, high = np.quantile(samples, [alpha, 1 - alpha])
    return statistic(np.concatenate(arrays)), float(low), float(high)
