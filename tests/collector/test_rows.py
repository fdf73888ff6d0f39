"""Events as rows: every body has its columns, and whatever cannot be read is a dead letter."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from collector.rows import TABLE_OF, rows
from infra.eventlog.base import Partition, Position, Record
from infra.events import (
    BODIES,
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
)
from infra.lake import Lake
from infra.settings import Settings

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SAID = Interaction(
    response_id="r", conversation_id="c", query="Is there parking?", answer="Yes.", user="u",
    prompt=(Message(role="user", content="Is there parking?"),), facts=(Fact(title="Parking", text="Free."),),
)  # fmt: skip
SAMPLES: list[Body] = [
    SAID,
    Feedback(response_id="r", rating=1),
    NightChanged(night="n", slot="s", state="ended", manifest={"seed": 1}),
    CompletionScored(night="n", response_id="r", sample=0, text="t", reward=0.5, parts={"length": 0.2}),
    Evaluated(night="n", suite="s", case="1", group="g", model="stable", answer="a", score=1.0),
    DeploymentChanged(action="base", actor="operator"),
]


def record(value: bytes, offset: int = 5) -> Record:
    return Record(Position(Partition("interactions"), offset), "key", value, AT.timestamp())


def changed(**values: object) -> bytes:
    """An interaction's event with some fields of its envelope or (`body__x`) of its body changed."""
    event: dict[str, Any] = json.loads(Event.of(SAID, "c", id="E").encode())
    for name, value in values.items():
        target, key = (event["body"], name.removeprefix("body__")) if "body__" in name else (event, name)
        target[key] = value
    return json.dumps(event).encode()


@pytest.mark.parametrize("body", SAMPLES, ids=lambda body: type(body).__name__)
def test_every_body_fits_its_table(body: Body, settings: Settings) -> None:
    event = Event.of(body, "k", at=AT)
    found = rows(record(event.encode()))
    assert list(found) == [TABLE_OF[event.type]]
    with Lake.open(settings, writable=True) as lake:
        assert lake.append(found, {}) == {TABLE_OF[event.type]: 1}


def test_all_types_of_events_have_a_table_and_a_sample() -> None:
    assert TABLE_OF.keys() == BODIES.keys()
    assert {type(body) for body in SAMPLES} == set(BODIES.values())


def test_an_interaction_in_full() -> None:
    ((row,),) = rows(record(Event.of(SAID, "c", id="E", at=AT).encode())).values()
    assert row["event_id"] == "E"
    assert (row["log_topic"], row["log_partition"], row["log_offset"]) == ("interactions", 0, 5)
    assert (row["at"], row["user_id"], row["arm"], row["extra"]) == (AT, "u", "stable", "{}")
    assert json.loads(str(row["facts"])) == [{"title": "Parking", "text": "Free.", "score": 0.0}]
    assert json.loads(str(row["prompt"])) == [{"role": "user", "content": "Is there parking?"}]


def test_unknown_fields_survive() -> None:
    ((row,),) = rows(record(changed(body__mood="happy", trace={"id": 1}))).values()
    assert json.loads(str(row["extra"])) == {"mood": "happy", "trace": {"id": 1}}


def test_not_a_number_becomes_null() -> None:
    ((row,),) = rows(record(changed(body__mood=[float("nan")]))).values()
    assert json.loads(str(row["extra"])) == {"mood": [None]}


def test_signs_follow_their_interaction() -> None:
    earlier = Message(role="user", content="Is there parking?"), Message(role="assistant", content="No.")
    again = SAID.model_copy(update={"prompt": (*earlier, *SAID.prompt)})
    (sign,) = rows(record(Event.of(again, "c", id="E", at=AT).encode()))["signals"]
    assert (sign["event_id"], sign["kind"], sign["response_id"]) == ("E:repeated", "repeated", "r")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "Not an event"),
        (b"\xff\xfe not text", "Not an event"),
        (b'{"type": "interaction"}', "Not an event"),
        (b"[" * 100_000, "Not an event"),
        (changed(type="mystery"), "unknown type 'mystery'"),
        (changed(v=99), "version 99"),
        (changed(id=""), "empty id"),
        (changed(at="0001-01-01T00:00:00+05:00"), "out of range"),
        (changed(body__answer=None), "bad body: answer"),
        (changed(body__turn=2**31), "turn is 2147483648"),
        (changed(body__query="a\0b"), "query holds a NUL"),
        (changed(id="a\0b"), "event_id holds a NUL"),
    ],
)
def test_what_cannot_be_read_is_kept_whole(value: bytes, reason: str) -> None:
    found = rows(record(value))
    assert list(found) == ["dead_letters"]
    (row,) = found["dead_letters"]
    assert reason in str(row["reason"])
    assert (row["topic"], row["partition"], row["offset"], row["at"]) == ("interactions", 0, 5, AT)
    text = value.decode(errors="backslashreplace").replace("\0", "\\x00")
    assert row["value"] == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
EVENTS = st.builds(
    lambda envelope, body: changed(**envelope, **{f"body__{name}": value for name, value in body.items()}),
    st.dictionaries(st.sampled_from(["id", "at", "key", "v", "type", "more"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from([*Interaction.model_fields, "more"]), JSON, max_size=3),
)


def test_the_lake_takes_whatever_was_appended(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:

        @examples(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.binary(max_size=50) | EVENTS)
        def check(value: bytes) -> None:
            found = rows(record(value))
            assert sum(len(some) for table, some in found.items() if table != "signals") == 1
            lake.append(found, {})

        check()
