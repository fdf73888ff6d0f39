"""Renewal: the learnt reward learns from this business's own customers, and must beat what is in use. Pure.

It is used only when it orders answers more as people do than the present one does, on words of people that
neither has learnt from. Most weeks that is not shown, and nothing changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from trainer.bootstrap import Bootstrap
from trainer.gates import Gate, Verdict
from trainer.reward.calibration import BAD, GOOD, area
from trainer.reward.crowd import Ballots, learn
from trainer.reward.features import STATED
from trainer.reward.gauge import Measured
from trainer.reward.learnt import Weights, liked
from trainer.reward.votes import Vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

# People's words that judge, and of each kind, below which nothing is shown: an area of 0.8 is then known to
# some 0.05.
NEEDED, OF_EACH = 100, 20
# Fewest people: with fewer, one with a grudge counts for too much.
VOTERS = 20
FOLDS = 5
CLAIM = "The renewed reward orders answers as people do, more often than the one in use."
_RESAMPLES = 1_000


class Outcome(BaseModel):
    """What came of a renewal. `voters` counts people, `doubted` those whose votes go against the others'.

    `areas` are how often the present and the new reward put a liked answer before a disliked one.
    """

    model_config = ConfigDict(frozen=True)

    at: datetime
    present: str
    version: str
    votes: int
    said: int
    voters: int
    doubted: int
    areas: dict[str, float]
    gate: Gate

    @classmethod
    def nothing(cls, present: str, at: datetime) -> Outcome:
        """Nobody has said anything yet."""
        counts = {"votes": 0, "said": 0, "voters": 0, "doubted": 0}
        gate = _lacking([], 0, 0)
        return cls(at=at, present=present, version=present, areas={}, gate=gate, **counts)

    @property
    def used(self) -> bool:
        return self.gate.verdict is Verdict.PASS


@dataclass(frozen=True, slots=True)
class Judged:
    """Each vote with what both rewards say of its answer; the new one had not seen its voter."""

    vote: Vote
    present: float
    new: float


def renew(
    starter: Weights,
    present: Weights,
    votes: Sequence[Vote],
    measured: Measured,
    judging: Sequence[bool],
    at: datetime,
    alpha: float,
    seed: int,
) -> tuple[Weights, Outcome, list[Judged]]:
    """The starter adjusted by all votes, and whether it beats `present` on the votes marked in `judging`.

    Those are people's own words since the present one was learnt; the new one judges them by what it learns
    without their voters. At least one vote is needed; `measured` has a row for each.
    """
    names = [vote.voter for vote in votes]
    ballots = Ballots(
        right_N=liked(starter, measured),
        manner_N_M=measured.stated_N_F_S[:, 0, len(STATED) :],
        voter_N=np.unique(names, return_inverse=True)[1],
        liked_N=np.array([vote.liked for vote in votes]),
    )
    adjustment, believed_V = learn(ballots)
    weights = _versioned(starter.model_copy(update={"adjustment": adjustment}))
    present_N, new_N = liked(present, measured), _unseen(ballots, names, seed)
    people = {vote.voter: ballots.voter_N[row] for row, vote in enumerate(votes) if vote.said}
    rows = np.flatnonzero([vote.said and judges for vote, judges in zip(votes, judging, strict=True)])
    gate, areas = _gate([votes[row] for row in rows], present_N[rows], new_N[rows], alpha, seed)
    outcome = Outcome(
        at=at,
        present=present.version,
        version=weights.version,
        votes=len(votes),
        said=sum(vote.said for vote in votes),
        voters=len(people),
        doubted=sum(believed_V[voter] < 0.5 for voter in people.values()),
        areas=areas,
        gate=gate,
    )
    judged = [Judged(v, float(p), float(n)) for v, p, n in zip(votes, present_N, new_N, strict=True)]
    return weights, outcome, judged


def _unseen(ballots: Ballots, names: Sequence[str], seed: int) -> NDArray[np.float64]:
    """What the adjusted starter says of each answer when it learns from other voters' votes alone.

    Folds are dealt by the voter's name, so that the same voter is in the same fold next time.
    """
    fold_N = np.array([_fold(name, seed) for name in names])
    found = ballots.right_N.copy()
    for fold in range(FOLDS):
        rest, mine = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
        if len(rest) and len(mine):
            adjustment, _ = learn(ballots.take(rest))
            found[mine] = adjustment.of(ballots.right_N[mine], ballots.manner_N_M[mine])
    return found


def _fold(name: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:4], "big") % FOLDS


def _gate(
    votes: Sequence[Vote],
    present_N: NDArray[np.float64],
    new_N: NDArray[np.float64],
    alpha: float,
    seed: int,
) -> tuple[Gate, dict[str, float]]:
    """Whether liked answers stand before disliked ones more often; voters are resampled whole."""
    rating_N = np.array([GOOD if vote.liked else BAD for vote in votes])
    voters = [vote.voter for vote in votes]
    likes = sum(vote.liked for vote in votes)
    fewest, people = min(likes, len(votes) - likes), len(set(voters))
    if len(votes) < NEEDED or fewest < OF_EACH or people < VOTERS:
        return _lacking(votes, people, fewest), {}

    def gain(rows: NDArray[np.intp]) -> float:
        return area(new_N[rows], rating_N[rows]) - area(present_N[rows], rating_N[rows])

    bootstrap = Bootstrap.named(voters, _RESAMPLES, seed)
    figures = bootstrap.spread(bootstrap.of(gain), alpha)
    areas = {"present": area(present_N, rating_N), "new": area(new_N, rating_N)}
    detail = f"present {areas['present']:.3f}, new {areas['new']:.3f}, by {people} people"
    holds = figures[1] > 0.0
    return Gate.judged("renewed reward", CLAIM, 0.0, NEEDED, len(votes), figures, holds, detail), areas


def _lacking(votes: Sequence[Vote], people: int, fewest: int) -> Gate:
    detail = (
        f"{len(votes)} thumbs and better answers by {people} people, {fewest} of the rarer kind; needed are "
        f"{NEEDED} by {VOTERS} people, {OF_EACH} of each kind"
    )
    gate = Gate.judged("renewed reward", CLAIM, 0.0, NEEDED, 0, (0.0, 0.0, 0.0), False)
    return gate.model_copy(update={"n": len(votes), "detail": detail})


def _versioned(weights: Weights) -> Weights:
    """With a version that its content gives: the starter's, and a few digits of a hash."""
    digest = hashlib.sha256(weights.model_dump_json().encode()).hexdigest()[:8]
    return weights.model_copy(update={"version": f"{weights.version}+{digest}"})
