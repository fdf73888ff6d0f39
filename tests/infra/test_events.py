"""Events: a round trip keeps everything, and bytes that are no event are told apart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import EventError
from infra.events import (
    BODIES,
    TOPIC_OF,
    Arm,
    Body,
    CompletionScored,
    DeploymentChanged,
    Evaluated,
    Event,
    Fact,
    Feedback,
    Interaction,
    Message,
    NightChanged,
    Topic,
)

BODY_OF: dict[str, Body] = {
    "interaction": Interaction(
        response_id="r", conversation_id="c", query="q?", answer="a", arm=Arm.CANARY, adapter="ns-1",
        prompt=(Message(role="user", content="q?"),), facts=(Fact(title="t", text="x", score=0.5),),
        redactions={"email": 1}, first_token_s=0.1,
    ),
    "feedback": Feedback(response_id="r", rating=-1, comment="no"),
    "night": NightChanged(night="n", slot="s", state="ended", verdict="pass", manifest={"seed": 1}),
    "completion": CompletionScored(night="n", response_id="r", sample=3, text="t", reward=0.4),
    "evaluation": Evaluated(night="n", suite="s", case="c", model="candidate", answer="a", score=1.0),
    "deployment": DeploymentChanged(action="canary", adapter="ns-1", share=0.5, actor="trainer"),
}  # fmt: skip


def test_every_type_is_tried_here() -> None:
    assert BODY_OF.keys() == BODIES.keys() == TOPIC_OF.keys()


@pytest.mark.parametrize("kind", sorted(BODIES))
def test_round_trip(kind: str) -> None:
    event = Event.of(BODY_OF[kind], "key")
    again = Event.decode(event.encode())
    assert again == event
    assert again.parse() == BODY_OF[kind]
    assert (again.type, again.key, again.topic) == (kind, "key", TOPIC_OF[kind])


@given(text=st.text(st.characters(exclude_categories=["Cs"])), key=st.text("abc", max_size=5))
def test_any_text_survives(text: str, key: str) -> None:
    body = Feedback(response_id="r", comment=text)
    again = Event.decode(Event.of(body, key).encode())
    assert again.parse() == body


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [Event.of(Feedback(response_id="r"), "k").id for _ in range(100)]
    assert len(set(ids)) == 100
    assert ids[0][:8] <= ids[-1][:8]


def test_a_resumed_sender_keeps_id_and_time() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    event = Event.of(Feedback(response_id="r"), "k", id="same", at=at)
    assert (event.id, Event.decode(event.encode()).at) == ("same", at)


def test_the_clock_of_an_event_has_a_zone() -> None:
    assert Event.of(Feedback(response_id="r"), "k").at.tzinfo is not None


def changed(**changes: Any) -> bytes:
    event = json.loads(Event.of(BODY_OF["feedback"], "k", id="one").encode())
    return json.dumps({**event, **changes}).encode()


def test_fields_of_a_newer_writer_survive() -> None:
    body = {"response_id": "r", "mood": "glad"}
    again = Event.decode(Event.decode(changed(body=body, trace="t")).encode())
    assert json.loads(again.encode())["trace"] == "t"
    assert again.parse().model_dump()["mood"] == "glad"


def test_fields_of_an_older_writer_get_defaults() -> None:
    parsed = Event.decode(changed(body={"response_id": "r"})).parse()
    assert parsed == Feedback(response_id="r", rating=0)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "Not an event"),
        (b"\xff\xfe", "Not an event"),
        (b"[]", "Not an event"),
        (b"{}", "Not an event"),
        (changed(v=2), "upgrade"),
        (changed(type="weather"), "unknown type 'weather'"),
        (changed(body={"response_id": "r", "rating": 5}), "rating"),
        (changed(body={}), "response_id"),
        (changed(at="yesterday"), "at"),
    ],
)
def test_other_bytes_are_told_apart(value: bytes, words: str) -> None:
    with pytest.raises(EventError, match=words):
        Event.decode(value)


@given(st.binary(max_size=200))
def test_decoding_raises_nothing_else(value: bytes) -> None:
    with pytest.raises(EventError):
        Event.decode(value)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_between_nothing_and_all(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        DeploymentChanged(action="canary", adapter="a", share=share, actor="x")


def test_chat_and_nights_do_not_share_a_topic() -> None:
    assert Event.of(BODY_OF["interaction"], "k").topic is Topic.INTERACTIONS
    assert Event.of(BODY_OF["completion"], "k").topic is Topic.NIGHTS
