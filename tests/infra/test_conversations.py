"""Pages of conversations: found in parts of the record, and yet without gap or overlap, also for words."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from infra.dashboard import conversations
from infra.dashboard.record import Record, Row
from infra.lake import Lake
from infra.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = NOON + timedelta(seconds=400)
Said = list[tuple[datetime, str, str]]  # time, conversation, query


@pytest.fixture
def said() -> Said:
    """Long and short conversations, mixed; a few mention towels."""
    chance = random.Random(5)
    found = []
    for number in range(400):
        name = (
            f"c{chance.randrange(6)}"
            if chance.random() < 0.05
            else f"c{10 + number // 9 + chance.randrange(4)}"
        )
        found.append(
            (NOON + timedelta(seconds=number), name, "Towels?" if chance.random() < 0.1 else "Parking?")
        )
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts and pages."""
    monkeypatch.setattr(conversations, "ROWS", 7)
    monkeypatch.setattr(conversations, "NEAR", timedelta(seconds=10))
    monkeypatch.setattr(conversations, "WIDER", 2)
    monkeypatch.setattr(conversations, "PER_PAGE", 6)


@pytest.fixture
def record(settings: Settings, said: Said) -> Iterator[Record]:
    with recorded(settings, said) as opened:
        yield opened


@contextmanager
def recorded(settings: Settings, said: Said) -> Iterator[Record]:
    """A record of what was said; every fifth answer has a thumb."""
    rows = [
        {
            "event_id": f"{number:026d}", "at": at, "response_id": f"r{number}", "conversation_id": name,
            "query": query, "answer": "Yes.", "arm": "stable", "collection": "inn",
        }
        for number, (at, name, query) in enumerate(said)
    ]  # fmt: skip
    thumbs = [
        {"event_id": f"f{row['event_id']}", "at": row["at"], "response_id": row["response_id"], "rating": 1}
        | {"comment": "", "correction": ""}
        for row in rows[::5]
    ]
    with Lake.open(settings, writable=True) as lake:
        lake.append({"interactions": rows, "feedback": thumbs}, {})
    with closing(Record(settings)) as opened:
        yield opened


@pytest.mark.parametrize("text", ["", "towel", "unicorn"])
@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_all_pages_hold_each_conversation_once_by_its_last_fitting_answer(
    record: Record, said: Said, monkeypatch: pytest.MonkeyPatch, text: str, patience: float
) -> None:
    monkeypatch.setattr(conversations, "SEARCH_S", patience)
    pattern = conversations.like(text) if text else None
    pages = list(walk(record, pattern, NOW))
    found = [(row["conversation_id"], row["found_at"]) for page in pages for row in page]
    last = {name: at for at, name, query in said if text.lower() in query.lower()}
    assert found == sorted(last.items(), key=lambda item: item[1], reverse=True)
    assert len(pages) > 1 or (text == "unicorn" and patience)


def walk(record: Record, pattern: str | None, now: datetime) -> Iterator[list[Row]]:
    """All pages, one after the other."""
    before: datetime | None = None
    while True:
        rows, searched_to = conversations.find(record, pattern, before, now)
        shown = rows[: conversations.PER_PAGE]
        yield shown
        before = shown[-1]["found_at"] if len(rows) > len(shown) else searched_to
        if before is None:
            return


@pytest.mark.parametrize("text", ["", "towel"])
def test_after_a_pause_of_more_than_a_day_a_conversation_may_be_shown_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(conversations, "NEAR", timedelta(hours=25))
    chance = random.Random(6)
    said = [
        (
            NOON + timedelta(hours=4 * number),
            f"c{chance.randrange(12)}",
            chance.choice(["Towels?", "Parking?"]),
        )
        for number in range(150)
    ]
    fitting = [(at, name) for at, name, query in said if text in query.lower()]
    with recorded(settings, said) as record:
        pattern = conversations.like(text) if text else None
        pages = list(walk(record, pattern, NOON + timedelta(hours=600)))
    for page in pages:
        assert len({row["conversation_id"] for row in page}) == len(page) <= 6
    rows = [row for page in pages for row in page]
    found = [(row["found_at"], row["conversation_id"]) for row in rows]
    assert found == sorted(found, reverse=True)
    assert (
        {(at, name) for name, at in {name: at for at, name in fitting}.items()} < set(found) <= set(fitting)
    )
    for row in rows:
        at, own = row["found_at"], row["conversation_id"]
        assert not any(at < other <= at + timedelta(days=1) for other, name in fitting if name == own)
        near = [
            (number, other, query)
            for number, (other, name, query) in enumerate(said)
            if name == own and abs(other - at) <= timedelta(days=1)
        ]
        assert (row["answers"], row["last_at"], row["first_query"]) == (len(near), near[-1][1], near[0][2])
        assert row["thumbs_up"] == sum(number % 5 == 0 for number, _, _ in near)


def test_a_row_tells_of_the_whole_conversation(record: Record, said: Said) -> None:
    rows, _ = conversations.find(record, conversations.like("towel"), None, NOW)
    for row in rows:
        own = [
            (number, at, query)
            for number, (at, name, query) in enumerate(said)
            if name == row["conversation_id"]
        ]
        assert (row["answers"], row["last_at"], row["first_query"]) == (len(own), own[-1][1], own[0][2])
        assert row["thumbs_up"] == sum(number % 5 == 0 for number, _, _ in own)
