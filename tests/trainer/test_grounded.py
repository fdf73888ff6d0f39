"""The label-free reward: strict, explained, and better than chance on replies that people rated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.events import Fact
from trainer.reward.grounded import GroundedReward
from trainer.reward.model import Case, Reward

PARKING = (
    Fact(title="Is there parking?", text="There is free parking for guests."),
    Fact(title="Pets?", text="Pets are not allowed."),
)
RATED = Path(__file__).parents[2].parent / "shared/data/dstc9"


def score(answer: str, facts: tuple[Fact, ...] = PARKING, query: str = "Can I park my car there?") -> Reward:
    return GroundedReward().score([Case(query, facts, answer)])[0]


@pytest.mark.parametrize(
    ("answer", "good"),
    [
        ("Yes, there is free parking for guests.", True),
        ("Parking is free for guests.", True),
        ("There is no free parking for guests.", False),
        ("Is there free parking for guests?", False),
        ("There is free parking for guests. Do you come by car?", True),
        ("Pets are not allowed.", False),
        ("Yes.", False),
        ("", False),
        ("Free parking for guests, and a free helicopter, a casino, two swimming pools and a zoo.", False),
        ("Free parking for guests. " * 12, False),
    ],
)
def test_good_means_the_fact_said_the_right_way_round(answer: str, good: bool) -> None:
    assert score(answer).good is good


def test_a_yes_before_a_denial_is_not_good() -> None:
    denied = (Fact(title="", text="Pets are not allowed at the inn."),)
    assert score("No, pets are not allowed at the inn.", denied, "Can I bring my dog?").good
    assert not score("Yes, pets are not allowed at the inn.", denied, "Can I bring my dog?").good


@pytest.mark.parametrize(
    ("fact", "answer", "good"),
    [
        ("The check-out time is 11:00 AM.", "Check-out time is 11 am.", True),
        ("The check-out time is 11:00 AM.", "Check-out time is 11.", True),
        ("The check-out time is 11:00 AM.", "The check-out time is 11:00 PM.", False),
        ("The check-out time is 11:00 AM.", "The check-out time is 8 AM.", False),
        ("The check-out time is 11:00.", "The check-out time is 11:00 AM.", False),
        ("The check-out time is 11:00.", "The check-out time of room 12 is 11:00.", True),  # as the question
    ],
)
def test_a_number_that_nobody_said_is_not_good(fact: str, answer: str, good: bool) -> None:
    rated = score(answer, (Fact(title="", text=fact),), "When is check-out time of room 12?")
    assert rated.good is good
    assert (rated.value <= 0.3) is not good


def test_the_value_orders_answers_and_names_its_parts() -> None:
    right, reversed_, other = (
        score(text)
        for text in ("Parking is free for guests.", "No free parking for guests.", "We sell bread.")
    )
    assert right.value > reversed_.value > other.value
    assert right.parts["agrees"] == 1.0
    assert reversed_.parts["agrees"] == 0.0


def test_without_facts_nothing_is_good() -> None:
    assert score("There is free parking.", facts=()) == Reward(0.0, False, {"empty": 1.0})


DESK = (
    Fact(
        title="",
        text="The IT department has twelve people in two rooms. Its annual budget is 1.5 million dollars, "
        "which is reviewed each spring. Coffee for all of them comes from a machine on the second floor, "
        "and whoever takes the last cup is kindly asked to fill in new beans for the others.",
    ),
    *PARKING,
)


@pytest.mark.parametrize(
    ("query", "answer", "good"),
    [
        ("How large is the annual budget?", "The annual budget is 1.5 million dollars.", True),
        ("How large is the annual budget?", "1.5 million dollars.", True),
        ("How large is the annual budget?", "The annual budget is 2 million dollars.", False),
        ("How large is the annual budget?", "The annual budget is not 1.5 million dollars.", False),
        (
            "How large is the annual budget?",
            "The annual budget is for twelve people.",
            False,
        ),  # another sentence's
        ("How large is the annual budget?", "The annual budget.", False),  # adds nothing
        ("How large is the annual budget?", "The annual budget is 1.5 million dollars. " * 8, False),
        (
            "What may the team spend on monitors this quarter?",
            "1.5 million dollars.",
            False,
        ),  # no sentence asked
        ("Is there free parking?", "There is free parking for guests.", True),  # a fact beside a passage
    ],
)
def test_of_a_passage_the_answer_is_the_sentence_that_is_asked_for(
    query: str, answer: str, good: bool
) -> None:
    facts = PARKING[:1] + DESK[:1] if "parking" in query else DESK
    assert score(answer, facts, query).good is good


@pytest.mark.skipif(not RATED.is_dir(), reason="people's ratings are not shipped with the project")
def test_pairs_that_people_rated_apart_are_ordered_better_than_chance(
    measured: Callable[[str], None],
) -> None:
    """With the answering fact known. The bar that word overlap alone reaches is 0.835."""
    replies: dict[str, list[tuple[float, Case]]] = {}
    for line in (RATED / "rated_replies_train.jsonl").read_text().splitlines():
        row = json.loads(line)
        fact = Fact(title=row["faq_question"], text=row["faq_answer"])
        rating = (sum(row["accuracy"]) + sum(row["appropriateness"])) / 6
        replies.setdefault(row["id"], []).append(
            (rating, Case(row["faq_question"], (fact,), row["response"]))
        )
    pairs = [
        (better[1], worse[1])
        for group in replies.values()
        for better in group
        for worse in group
        if better[0] - worse[0] >= 1.5
    ]
    sample = random.Random(1).sample(pairs, min(2000, len(pairs)))
    rewards = GroundedReward().score([case for pair in sample for case in pair])
    right = sum(a.value > b.value for a, b in zip(rewards[::2], rewards[1::2], strict=True)) / len(sample)
    measured(f"grounded reward, fact known: {right:.3f} of {len(sample)} rated pairs in order")
    assert right > 0.75
