"""The quick reading of events says what their classes say, or leaves it to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import quick
from collector.quick import Reading
from collector.rows import read_slowly
from infra.errors import EventError
from infra.events import Body, CompletionScored, Evaluated, Event, Fact, Feedback, Interaction, Message
from tests.collector.test_rows import SAID, SAMPLES, changed

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(-(2**70), 2**70)
MESSAGES = st.lists(
    st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=st.text())
)
BODIES = st.one_of(
    st.builds(
        Interaction,
        response_id=st.text(), conversation_id=st.text(), query=st.text(), answer=st.text(), turn=COUNTS,
        prompt=MESSAGES.map(tuple), latency_s=NUMBERS, first_token_s=st.none() | NUMBERS,
        streamed=st.booleans(),
        facts=st.lists(st.builds(Fact, title=st.text(), text=st.text(), score=NUMBERS)).map(tuple),
        redactions=st.dictionaries(st.text(), COUNTS),
    ),
    st.builds(Feedback, response_id=st.text(), rating=st.sampled_from([-1, 0, 1]), comment=st.text()),
    st.builds(
        CompletionScored,
        night=st.text(), response_id=st.text(), sample=COUNTS, text=st.text(), reward=NUMBERS,
        parts=st.dictionaries(st.text(), NUMBERS),
    ),
    st.builds(
        Evaluated,
        night=st.text(), suite=st.text(), case=st.text(), model=st.sampled_from(["stable", "candidate"]),
        answer=st.text(), score=NUMBERS,
    ),
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | COUNTS | NUMBERS | st.text() | st.just("2026-03-01T12:00:00.000001Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "v",
    "id",
    "type",
    "key",
    "at",
    "more",
    *(f"body__{name}" for name in (*Interaction.model_fields, "more")),
]


def same(one: Reading, other: Reading) -> bool:
    """Equal but for the spelling of nested JSON."""
    plain = [(r.id, r.at, r.type, list(map(_told, r.values)), json.loads(r.extra)) for r in (one, other)]
    return plain[0] == plain[1]


def _told(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
    except ValueError:
        return value


def agrees(value: bytes) -> bool:
    """Whether it is read quickly. What is so read must be what the classes say."""
    found = quick.read(value)
    if found is not None:
        assert same(found, read_slowly(value))
    return found is not None


@given(BODIES, st.text(min_size=1))
def test_what_programs_write_is_read_as_their_classes_read_it(body: Body, key: str) -> None:
    agrees(Event.of(body, key, at=AT).encode())


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
def test_what_is_changed_is_read_as_the_classes_read_it_or_left_to_them(values: dict[str, Any]) -> None:
    agrees(changed(**values))


@given(st.binary(max_size=80))
def test_other_bytes_are_left_to_the_classes(value: bytes) -> None:
    assert not agrees(value)


@pytest.mark.parametrize("body", SAMPLES, ids=lambda body: type(body).__name__)
def test_what_is_read_quickly_today(body: Body) -> None:
    """Nights and deployments are few, and hold what no struct can say."""
    value = Event.of(body, "k", at=AT).encode()
    assert agrees(value) == (type(body) in (Interaction, Feedback, CompletionScored, Evaluated))


@pytest.mark.parametrize(
    "values",
    [
        {"more": 1},
        {"body__more": 1},
        {"v": 2},
        {"v": "1"},
        {"id": ""},
        {"type": "unknown"},
        {"at": "2026-03-01"},
        {"at": "2026-02-31T12:00:00.000001Z"},
        {"body__turn": "1"},
        {"body__arm": "third"},
        {"body__prompt": [{"role": "user", "content": "?", "more": 1}]},
        {"body__query": "\ud800"},
    ],
)
def test_what_is_not_exactly_so_is_left_to_the_classes(values: dict[str, Any]) -> None:
    assert not agrees(changed(**values))


def test_the_classes_still_say_what_is_wrong() -> None:
    assert agrees(Event.of(SAID, "c", at=AT).encode())
    with pytest.raises(EventError, match="arm"):
        read_slowly(changed(body__arm="third"))
