"""Inferred feedback: what counts as a sign, and what does not."""

from __future__ import annotations

import pytest

from collector.signals import Kind, Signal, signals
from infra.events import Interaction, Message


def asked(query: str, *earlier: str) -> list[Signal]:
    """The signs in `query` after the earlier queries of its conversation, each with an answer."""
    prompt = [Message(role="system", content="You answer customers.")]
    for text in earlier:
        prompt += [Message(role="user", content=text), Message(role="assistant", content="We do.")]
    prompt.append(Message(role="user", content=query))
    return signals(
        Interaction(response_id="r", conversation_id="c", query=query, prompt=tuple(prompt), answer="Yes.")
    )


def kinds(query: str, *earlier: str) -> list[Kind]:
    return [signal.kind for signal in asked(query, *earlier)]


@pytest.mark.parametrize(
    ("query", "earlier"),
    [
        ("Is there parking on site?", ("is there parking on site",)),
        ("Is there PARKING on-site?!", ("Is there parking on-site?", "Thanks, and the price?")),
    ],
)
def test_the_same_words_again_are_repeated(query: str, earlier: tuple[str, ...]) -> None:
    assert asked(query, *earlier) == [Signal(Kind.REPEATED, 1.0)]


@pytest.mark.parametrize(
    ("query", "earlier", "value"),
    [
        ("Does the hotel have free parking?", "Is parking free at the hotel?", 1.0),
        ("free parking for cars at the hotel?", "Is parking free at the hotel?", 0.75),
    ],
)
def test_most_of_the_words_again_are_rephrased(query: str, earlier: str, value: float) -> None:
    assert asked(query, earlier) == [Signal(Kind.REPHRASED, value)]


@pytest.mark.parametrize(
    ("query", "earlier"),
    [
        ("Is there breakfast at the hotel?", "Is there parking at the hotel?"),  # one common word of three
        ("Wifi?", "Wifi"),  # too short to tell
        ("Can I bring my dog?", ""),
    ],
)
def test_a_new_question_is_no_sign(query: str, earlier: str) -> None:
    assert kinds(query, *([earlier] if earlier else [])) == []


@pytest.mark.parametrize(
    "query",
    [
        "Can I speak to a human?",
        "I want to talk to a real person",
        "Please connect me with an actual agent.",
        "Let me talk to your manager",
        "Human please",
        "transfer me to customer service",
        "agent",
    ],
)
def test_asking_for_a_person(query: str) -> None:
    assert kinds(query) == [Kind.ASKS_FOR_PERSON]
    assert Kind.ASKS_FOR_PERSON in kinds(query, "Is there parking?")


@pytest.mark.parametrize(
    "query",
    ["Do you charge per person?", "Is there a travel agent nearby?", "How many people fit in a room?"],
)
def test_persons_that_nobody_asks_for(query: str) -> None:
    assert kinds(query) == []


@pytest.mark.parametrize("query", ["Thanks!", "ok thank you so much", "Much appreciated", "great, thx"])
def test_thanks(query: str) -> None:
    assert kinds(query, "Is there parking?") == [Kind.THANKS]


@pytest.mark.parametrize("query", ["No thanks", "thanks for nothing"])
def test_no_thanks(query: str) -> None:
    assert kinds(query, "Do you want a room?") == []


def test_thanks_need_an_answer_before_them() -> None:
    assert kinds("Thanks in advance: do you have parking?") == []


@pytest.mark.parametrize(
    "query",
    [
        "That's wrong",
        "that is not what I asked",
        "No, I meant the other hotel",
        "You\u2019re mistaken.",
        "it isn't true",
        "you didn't answer my question",
    ],
)
def test_correcting(query: str) -> None:
    assert kinds(query, "Is there parking?") == [Kind.CORRECTS]


@pytest.mark.parametrize(
    "query", ["Is there no parking?", "What is wrong with the pool?", "Not far, I hope?"]
)
def test_words_of_denial_that_correct_nothing(query: str) -> None:
    assert kinds(query, "Do you have a gym?") == []


def test_several_signs_at_once_and_other_languages() -> None:
    assert kinds("Thanks, but that's wrong. Let me speak to a human", "Is it open?") == [
        Kind.ASKS_FOR_PERSON,
        Kind.THANKS,
        Kind.CORRECTS,
    ]
    assert kinds("駐車場はありますか", "駐車場はありますか") == []
    assert kinds("") == []
