"""When a query has been sampled enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.reward.model import Reward
from trainer.rounds import rounds, settled


@pytest.mark.parametrize(
    ("samples", "plan"),
    [(2, (1, 1)), (3, (1, 1, 1)), (8, (1, 1, 2, 4)), (6, (1, 1, 2, 2)), (16, (1, 1, 2, 4, 8))],
)
def test_each_round_doubles_what_is_there(samples: int, plan: tuple[int, ...]) -> None:
    assert rounds(samples) == plan


@given(st.integers(2, 64))
def test_rounds_add_up(samples: int) -> None:
    assert sum(rounds(samples)) == samples
    assert min(rounds(samples)) > 0


def test_a_very_good_completion_settles_it() -> None:
    assert settled([Reward(0.2, good=False), Reward(0.97, good=True)])
    assert not settled([Reward(0.99, good=False), Reward(0.7, good=True)])


def test_what_is_hopeless_is_given_four_tries() -> None:
    assert not settled([Reward(0.1, good=False)] * 2)
    assert settled([Reward(0.1, good=False)] * 4)
    assert not settled([Reward(0.1, good=False)] * 3 + [Reward(0.6, good=False)])
