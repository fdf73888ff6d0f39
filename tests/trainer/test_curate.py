"""Best-of-N with a floor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.events import Fact, Message
from trainer.curate import TELLS, Group, best, curate, weight
from trainer.queries import Query
from trainer.reward.model import Reward


def group(*rewards: Reward, texts: tuple[str, ...] = ()) -> Group:
    query = Query(
        response_id="r1",
        conversation_id="c1",
        collection="inn",
        query="Is there parking?",
        prompt=(Message(role="user", content="Is there parking?"),),
        facts=(Fact(title="", text="Parking is free."),),
    )
    return Group(query, texts or tuple(f"answer {i}" for i in range(len(rewards))), rewards)


def test_a_group_without_a_good_completion_teaches_nothing() -> None:
    assert best(group(Reward(0.99, good=False), Reward(0.5, good=False))) is None
    assert curate([group(Reward(0.99, good=False))], "sft") == []


def test_the_best_good_one_is_chosen_even_below_a_higher_doubtful_one() -> None:
    rows = curate([group(Reward(0.9, good=False), Reward(0.6, good=True), Reward(0.8, good=True))], "sft")
    assert [(row.sample, row.completion, row.reward) for row in rows] == [(2, "answer 2", 0.8)]


def test_ties_go_to_the_shorter_then_the_earlier() -> None:
    equal = [Reward(0.7, good=True)] * 3
    assert best(group(*equal, texts=("a longer answer", "short", "brief"))) == 1


def test_a_copy_of_a_fact_must_lead_clearly() -> None:
    near = (Reward(1.0, good=True), Reward(0.85, good=True))
    assert best(group(*near, texts=("Parking is free", "Yes, parking is free."))) == 1
    far = (Reward(1.0, good=True), Reward(0.75, good=True))
    assert best(group(*far, texts=("Parking is free", "Yes, we have parking."))) == 0


def test_what_tells_more_than_the_question_held_counts_for_more() -> None:
    query = group().query
    assert weight("Yes, parking is free.", query) == TELLS
    assert weight("Yes, there is parking.", query) == 1.0
    assert weight("Yes, there is a helicopter.", query) == 1.0  # no fact says so


def rejected(*texts: str) -> str | None:
    """What DPO rejects of a group whose first text is good and worth 1, the others neither."""
    rewards = (Reward(1.0, good=True), *(Reward(0.1, good=False) for _ in texts[1:]))
    (row,) = curate([group(*rewards, texts=texts)], "dpo")
    return row.rejected


def test_dpo_rejects_what_does_not_say_what_the_best_answers() -> None:
    assert rejected("Parking is free.", "Parking costs a fortune.") == "Parking costs a fortune."
    assert rejected("Parking is free.", "Parking is not free at all here.") is not None
    assert rejected("Parking is free.", "Parking is free and so are the beds, the bar and the bath.") is None
    # A question's own words do not count: the best adds nothing else, and neither does the other.
    assert rejected("There is parking.", "Is there parking anywhere near here?") is not None


def test_a_group_with_nothing_to_reject_is_imitated() -> None:
    assert rejected("Parking is free.") is None
    near = [group(Reward(0.9, good=True), Reward(0.7, good=False))]
    assert [(row.sample, row.rejected) for row in curate(near, "dpo")] == [(0, None)]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=16))
def test_what_is_chosen_is_good_and_no_good_one_is_better(values: list[tuple[float, bool]]) -> None:
    rewards = [Reward(value, good) for value, good in values]
    index = best(group(*rewards))
    if index is None:
        assert not any(reward.good for reward in rewards)
    else:
        assert rewards[index].good
        assert rewards[index].value == max(reward.value for reward in rewards if reward.good)
