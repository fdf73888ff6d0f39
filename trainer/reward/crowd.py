"""Learns an adjustment of the starter reward from votes, and whom to believe, both at once. Deterministic.

Learning from Crowds (Raykar et al. 2010): what an answer is worth is not known, each voter tells it with a
reliability of their own, and expectation maximisation finds both. Who votes against everybody else ends below
one half, and then says as much as an honest voter, the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.reward.adjustment import Adjustment, logit, sigmoid

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Before any vote, a voter is believed in nine of ten cases, as firmly as five votes would say it.
_HONEST, _FALSE = 4.5, 0.5
# How far customers may move the starter before it takes many votes to move it further: standard deviations
# of the slope (around 1), the offset and the weights (around 0) of scaled numbers.
_SLOPE, _OFFSET, _WEIGHT = 0.5, 2.0, 0.25
# Rounds settle within ten or so; the tolerance is in chances.
_ROUNDS = 50
_SETTLED = 1e-4


@dataclass(frozen=True, slots=True)
class Ballots:
    """Votes as numbers: what the starter says of each answer, how the answer is, who voted, and how."""

    right_N: NDArray[np.float64]
    manner_N_M: NDArray[np.float64]
    voter_N: NDArray[np.intp]  # from 0 on without gaps
    liked_N: NDArray[np.bool_]

    def take(self, rows: NDArray[np.intp]) -> Ballots:
        """Some of the votes; voters are numbered anew."""
        voters = np.unique(self.voter_N[rows], return_inverse=True)[1]
        return Ballots(self.right_N[rows], self.manner_N_M[rows], voters, self.liked_N[rows])


def learn(ballots: Ballots) -> tuple[Adjustment, NDArray[np.float64]]:
    """The likeliest adjustment, and the reliability of each voter: the chance that they say what is so."""
    mean, spread = ballots.manner_N_M.mean(axis=0), ballots.manner_N_M.std(axis=0)
    scale = np.where(spread > 1e-3, spread, 1.0)  # what never varies teaches nothing
    like_N = np.zeros(len(ballots.right_N))
    x = np.column_stack([logit(ballots.right_N), np.ones(len(like_N)), (ballots.manner_N_M - mean) / scale])
    curve = np.concatenate([[1.0, 0.0], np.zeros(len(mean))])
    believed_V = np.full(int(ballots.voter_N.max()) + 1, _HONEST / (_HONEST + _FALSE))
    for _ in range(_ROUNDS):
        before, like_N = like_N, _like(sigmoid(x @ curve), believed_V[ballots.voter_N], ballots.liked_N)
        if np.abs(like_N - before).max() < _SETTLED:
            break
        believed_V = _believed(like_N, ballots)
        curve = _curve(x, like_N, curve)
    adjustment = Adjustment(
        slope=_rounded(curve[:1])[0],
        offset=_rounded(curve[1:2])[0],
        mean=_rounded(mean),
        scale=_rounded(scale),
        weight=_rounded(curve[2:]),
    )
    return adjustment, believed_V


def _like(
    guess_N: NDArray[np.float64], believed_N: NDArray[np.float64], liked_N: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The chance that each answer is worth liking, by the guess and the vote together (Bayes)."""
    for_it = np.where(liked_N, believed_N, 1.0 - believed_N)
    return np.asarray(guess_N * for_it / (guess_N * for_it + (1.0 - guess_N) * (1.0 - for_it)))


def _believed(like_N: NDArray[np.float64], ballots: Ballots) -> NDArray[np.float64]:
    """How often each voter says what is so, five votes' worth being taken on trust."""
    agrees_N = np.where(ballots.liked_N, like_N, 1.0 - like_N)
    agreed_V = np.bincount(ballots.voter_N, weights=agrees_N)
    return np.asarray((_HONEST + agreed_V) / (_HONEST + _FALSE + np.bincount(ballots.voter_N)))


def _curve(
    x_N_F: NDArray[np.float64], like_N: NDArray[np.float64], curve_F: NDArray[np.float64]
) -> NDArray[np.float64]:
    """One step of Newton's method from `curve_F` towards the logistic regression on chances.

    With a normal prior around the starter's own word. The rounds around it are the iteration.
    """
    centre = np.concatenate([[1.0], np.zeros(x_N_F.shape[1] - 1)])
    tight = 1.0 / np.array([_SLOPE, _OFFSET, *[_WEIGHT] * (x_N_F.shape[1] - 2)]) ** 2
    guess_N = sigmoid(x_N_F @ curve_F)
    slope = x_N_F.T @ (guess_N - like_N) + tight * (curve_F - centre)
    bend = (x_N_F * (guess_N * (1.0 - guess_N))[:, None]).T @ x_N_F + np.diag(tight)
    return np.asarray(curve_F - np.linalg.solve(bend, slope))


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
