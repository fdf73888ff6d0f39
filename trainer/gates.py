"""Gates: what must be proven before customers meet a candidate. Pass, fail, or not enough data.

Pure. Each gate states its claim, its margin and its smallest sample before it looks at an outcome. Those
about the manner of the answers are in `style`, those about their price in `cost`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from trainer.bootstrap import FEWEST, Bootstrap, Spread

# Resamples of a bootstrap: another seed then moves the ends of a 90% interval by under a tenth of a point.
RESAMPLES = 10_000
# How much lower a second scorer may rate the candidate. Less than the learnt one's values are off (0.05 on
# average), and no less, since 400 cases tell the difference to 0.03: with 0.02 as margin a true gain of 8
# points passed this gate and the held-out one in 0.76 of simulated nights of 400 cases, with 0.03 in 0.81.
SECOND_MARGIN = 0.03
# Gates on the answers themselves: with one of these failed, a reward that rose is not to be believed.
ANSWERS = ("held-out", "second scorer", "matched length")


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

    @classmethod
    def judged(
        cls,
        name: str,
        claim: str,
        margin: float,
        needed: int,
        n: int,
        figures: Spread,
        holds: bool,
        detail: str = "",
    ) -> Self:
        """Pass where the claim holds, else fail; with fewer than `needed` cases neither."""
        outcome = Verdict.PASS if holds else Verdict.FAIL
        if n < needed:
            outcome, detail = Verdict.NOT_ENOUGH_DATA, f"{n} of {needed} cases needed"
        estimate, low, high = figures
        return cls(
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
    bootstrap, Cameron, Gelbach and Miller 2008). The interval is the two-sided 1 - 2 alpha one. Too few
    groups are not enough data, however many cases they hold.
    """
    claim = "The candidate answers more held-out questions rightly than the stable model."
    figures = mean_change(pairs, alpha, seed)
    stable = sum(pair.stable for pair in pairs) / max(len(pairs), 1)
    candidate = sum(pair.candidate for pair in pairs) / max(len(pairs), 1)
    detail = f"stable {stable:.3f}, candidate {candidate:.3f}"
    gate = Gate.judged("held-out", claim, 0.0, needed, len(pairs), figures, figures[1] > 0.0, detail)
    groups = len({pair.group for pair in pairs})
    if gate.verdict is Verdict.NOT_ENOUGH_DATA or groups >= FEWEST:
        return gate
    lacking = f"{groups} of {FEWEST} clusters needed"
    return gate.model_copy(update={"verdict": Verdict.NOT_ENOUGH_DATA, "detail": lacking})


def rewarded(differences: Sequence[tuple[str, float]], needed: int, alpha: float, seed: int) -> Gate:
    """Passes unless the reward fell: a gain that the selecting reward does not see is no gain we understand.

    `differences` are (group, candidate's reward minus stable's). The reverse, reward up and answers
    not, is what the gates on answers catch, and `diverged` names.
    """
    claim = "The reward that selected does not contradict the held-out answers."
    figures = _mean(differences, alpha, seed)
    return Gate.judged("reward agrees", claim, 0.0, needed, len(differences), figures, figures[2] >= 0.0)


def seconded(
    differences: Sequence[tuple[str, float]], scorer: str, needed: int, alpha: float, seed: int
) -> Gate:
    """Passes when a scorer that chose nothing rates the candidate not lower by more than SECOND_MARGIN.

    What learns from one reward learns its faults too, and that reward cannot see them (Gao, Schulman and
    Hilton 2023). `differences` are (group, candidate's value minus stable's). The lower end of the interval
    must lie above the margin: a test of non-inferiority.
    """
    claim = f"The scorer {scorer}, which chose nothing, rates the candidate at most {SECOND_MARGIN} lower."
    figures = _mean(differences, alpha, seed)
    holds = figures[1] >= -SECOND_MARGIN
    return Gate.judged("second scorer", claim, -SECOND_MARGIN, needed, len(differences), figures, holds)


def answered(pairs: Sequence[Pair], needed: int) -> Gate:
    """Passes when no candidate answer was empty: an adapter that says nothing must not reach customers."""
    empty = sum(not pair.candidate_answer.strip() for pair in pairs)
    rate = empty / len(pairs) if pairs else 0.0
    claim = "The candidate answers every question with some text."
    detail = f"{empty} empty answers"
    return Gate.judged("answered", claim, 0.0, needed, len(pairs), (rate, rate, rate), empty == 0, detail)


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
    return _mean([(group, value) for group, scores in values.items() for value in scores], alpha, seed)


def mean_change(pairs: Sequence[Pair], alpha: float, seed: int) -> Spread:
    """Mean of the candidate's scores less stable's, with its 1 - 2 alpha cluster bootstrap interval."""
    return _mean([(pair.group, pair.candidate - pair.stable) for pair in pairs], alpha, seed)


def diverged(gates: Sequence[Gate]) -> bool:
    """Whether the reward that chose rose beyond chance while a gate on the answers failed.

    Proxy against gate: more of such a reward makes worse answers (Gao, Schulman and Hilton 2023). The night's
    verdict is then fail, since one of its gates is.
    """
    reward = next((gate for gate in gates if gate.name == "reward agrees"), None)
    if reward is None or reward.verdict is not Verdict.PASS or reward.low <= 0.0:
        return False
    return any(gate.name in ANSWERS and gate.verdict is Verdict.FAIL for gate in gates)


def reason(gates: Sequence[Gate]) -> str:
    """Why a night did not pass: the first claim of those that decided; empty for one that passed."""
    outcome = verdict(gates)
    if outcome is Verdict.PASS:
        return ""
    said = f"Not shown: {next((gate.claim for gate in gates if gate.verdict is outcome), 'no gate judged.')}"
    if not diverged(gates):
        return said
    rose = next(gate for gate in gates if gate.name == "reward agrees")
    return (
        f"{said} The reward that chose the answers rose by {rose.estimate:.3f} (at least {rose.low:.3f}) all "
        "the same: proxy and gate disagree, so its choice is not to be trusted."
    )


def _mean(values: Sequence[tuple[str, float]], alpha: float, seed: int) -> Spread:
    """Mean of scores by group, zeros without any."""
    if not values:
        return 0.0, 0.0, 0.0
    bootstrap = Bootstrap.named([group for group, _ in values], RESAMPLES, seed)
    return bootstrap.mean(np.array([value for _, value in values]), alpha)
