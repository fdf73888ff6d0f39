"""Votes become a small shift of the reward, and those who vote against everybody are found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from trainer.reward.adjustment import Adjustment, logit, sigmoid
from trainer.reward.crowd import Ballots, learn

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOTERS, EACH, MANNERS = 40, 12, 4


def crowd(
    seed: int, taste: tuple[float, ...], malicious: int = 0, noise: float = 0.1
) -> tuple[Ballots, NDArray[np.float64]]:
    """Votes, and the true chances behind them. The first `malicious` voters say the opposite of the truth."""
    rng = np.random.default_rng(seed)
    count = VOTERS * EACH
    right, manner = rng.uniform(0.02, 0.98, count), rng.normal(size=(count, MANNERS))
    true = sigmoid(logit(right) + manner @ np.array(taste))
    voter = np.repeat(np.arange(VOTERS), EACH)
    liked = (rng.random(count) < true) != (rng.random(count) < noise)
    return Ballots(right, manner, voter, liked != (voter < malicious)), true


def error(adjustment: Adjustment, ballots: Ballots, true: NDArray[np.float64]) -> float:
    """Mean distance of the adjusted chances from the true ones."""
    return float(np.abs(adjustment.of(ballots.right_N, ballots.manner_N_M) - true).mean())


TASTE = (1.5, -1.0, 0.0, 0.0)


@pytest.mark.parametrize("malicious", [0, 4])
def test_a_taste_is_learnt_though_one_in_ten_votes_against_it(malicious: int) -> None:
    ballots, true = crowd(3, TASTE, malicious)
    adjustment, believed = learn(ballots)
    starter = float(np.abs(ballots.right_N - true).mean())
    assert error(adjustment, ballots, true) < 0.6 * starter
    assert set(np.argsort(believed)[:malicious]) == set(range(malicious))
    assert (believed[malicious:] > 0.6).all()
    assert not malicious or believed[:malicious].mean() < 0.5


def test_without_a_taste_of_their_own_the_starter_hardly_moves() -> None:
    ballots, true = crowd(4, (0.0,) * MANNERS)
    adjustment, _ = learn(ballots)
    assert error(adjustment, ballots, true) < 0.08
    assert np.abs(np.array(adjustment.weight)).max() < 0.3


def test_few_votes_move_little() -> None:
    ballots, _ = crowd(5, TASTE)
    few, _ = learn(ballots.take(np.arange(6)))
    many, _ = learn(ballots)
    assert abs(few.weight[0]) < 0.5 * many.weight[0]


def test_one_who_votes_a_thousand_times_against_all_is_believed_the_other_way_round() -> None:
    honest, true = crowd(6, TASTE)
    loud, _ = crowd(7, TASTE, malicious=VOTERS, noise=0.0)
    both = Ballots(
        np.concatenate([honest.right_N, loud.right_N]),
        np.concatenate([honest.manner_N_M, loud.manner_N_M]),
        np.concatenate([honest.voter_N, np.full(len(loud.voter_N), VOTERS)]),
        np.concatenate([honest.liked_N, loud.liked_N]),
    )
    adjustment, believed = learn(both)
    assert believed[VOTERS] < 0.2
    assert error(adjustment, honest, true) < 0.6 * float(np.abs(honest.right_N - true).mean())


def test_the_same_votes_give_the_same_again() -> None:
    ballots, _ = crowd(8, TASTE)
    assert learn(ballots)[0] == learn(ballots)[0]


def test_certain_answers_can_still_be_shifted() -> None:
    shift = Adjustment(slope=1.0, offset=-7.0, mean=(0.0,), scale=(1.0,), weight=(0.0,))
    assert shift.of(np.array([1.0, 0.0]), np.zeros((2, 1))) == pytest.approx([0.269, 0.0], abs=1e-2)
