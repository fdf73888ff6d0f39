"""The reward's card: numbers worked out by hand, and claims that it must not make."""

from __future__ import annotations

import numpy as np
import pytest

from infra.events import Fact
from trainer.reward.calibration import area, card, rated_pairs, wrong_below
from trainer.reward.fit import strict
from trainer.reward.model import Case
from trainer.reward.rated import Rated, folds


def rated(turn: str, rating: float, business: str = "hotel/1", answer: str = "It is free.") -> Rated:
    fact = Fact(title="", text="Parking is free.")
    return Rated(turn, business, Case("Is parking free?", (fact,), answer), fact, (rating, rating, rating))


def test_pairs_are_of_one_turn_and_rated_apart_the_better_first() -> None:
    replies = [rated("a", 2.0), rated("a", 5.0), rated("a", 4.0), rated("b", 1.0)]
    assert rated_pairs(replies).tolist() == [[1, 0], [2, 0]]


def test_the_area_is_the_chance_that_good_stands_above_bad() -> None:
    ratings = np.array([5.0, 5.0, 1.0, 3.0])
    assert area(np.array([0.9, 0.2, 0.5, 0.7]), ratings) == 0.5
    assert area(np.array([0.9, 0.8, 0.1, 0.0]), ratings) == 1.0
    assert np.isnan(area(np.ones(1), np.array([3.0])))


def test_thresholds_claim_no_more_than_is_so() -> None:
    values = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.2, 0.1])
    right = np.array([True, True, True, False, True, False, False])
    assert strict(values, right, precision=1.0) == 0.8
    assert strict(values, right, precision=0.75) == 0.6
    assert strict(values, ~right, precision=0.9) == 1.0
    assert wrong_below(values, right) == 0.9  # three of the six lowest are right
    assert wrong_below(values, np.ones(7, dtype=bool)) == 0.0


def test_a_card_counts_what_it_was_given_and_gives_every_question_its_say() -> None:
    replies = [
        rated(f"{business}-{turn}", rating, f"hotel/{business}")
        for business in range(6)
        for turn in range(3)
        for rating in (5.0, 1.0)
    ]
    value = np.array([0.9, 0.1] * 18)
    value[:6] = 1.0 - value[:6]  # all wrong about the first business
    found = card(replies, value, value > 0.5, value, good_from=0.5, seed=1)
    assert (found.replies, found.businesses, found.pairs) == (36, 6, 18)
    assert found.pair_accuracy.estimate == pytest.approx(5 / 6)
    assert found.pair_accuracy.low < 5 / 6 < found.pair_accuracy.high
    assert found.good_right.estimate == pytest.approx(5 / 6)
    assert found.calibration_error == pytest.approx(0.15)  # 0.9 right 25 of 30 times, 0.1 right 5 of 30
    assert "| hotel | 36 | 18 | 0.833 |" in found.markdown()


def test_folds_keep_a_business_whole() -> None:
    replies = [rated("a", 5.0, f"hotel/{number % 7}") for number in range(70)]
    fold = folds(replies, 3)
    assert set(fold) == {0, 1, 2}
    for number in range(7):
        assert len({fold[index] for index in range(number, 70, 7)}) == 1
