"""What a night reads of the record, in parts, is what it would choose of everything in its window."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.lake import Lake
from infra.settings import Settings
from trainer import logged
from trainer.queries import Query, apart, deal, fresh

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(seconds=600)
FACTS = json.dumps([{"title": "t", "text": "Parking is free."}])
JUDGED = [("inn-0", "Is there thing 3?"), ("rare", "Is there thing 1?")]


def row(number: int, chance: random.Random) -> dict[str, object]:
    """One of few questions to one of few businesses; `rare` is asked at the beginning alone."""
    collection = "rare" if number < 8 else f"inn-{min(chance.randrange(9), 4)}"
    return {
        "event_id": f"{number:026d}",
        # Two in a second, and some before the window or after it.
        "at": SINCE + timedelta(seconds=number // 2 - 20 if number >= 8 else number),
        "response_id": f"r{number}",
        "conversation_id": f"c{number // 3}",
        "collection": collection,
        "query": chance.choice(["Is there thing {}?", "Thing {}, is it there?"]).format(chance.randrange(30)),
        "prompt": json.dumps([{"role": "user", "content": f"prompt {number}"}]),
        "facts": "[]" if chance.random() < 0.2 else FACTS,
        "status": "error" if chance.random() < 0.1 else "ok",
    }


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    chance = random.Random(7)
    with Lake.open(settings, writable=True) as opened:
        for first in range(0, 1400, 350):
            opened.append({"interactions": [row(first + number, chance) for number in range(350)]}, {})
        yield opened


def answered(lake: Lake) -> list[dict[str, Any]]:
    """Everything that was answered in the window, newest first."""
    every = lake.query("every_interaction")
    rows = [found for found in every if found["status"] == "ok" and SINCE <= found["at"] < UNTIL]
    return sorted(rows, key=lambda found: (found["at"], found["event_id"]), reverse=True)


def said(lake: Lake) -> dict[str, list[tuple[str, str]]]:
    """What was asked in every conversation, answered or not."""
    found: dict[str, list[tuple[str, str]]] = {}
    for row in lake.query("every_interaction"):
        found.setdefault(row["conversation_id"], []).append((row["collection"], row["query"]))
    return found


@pytest.mark.parametrize("limit", [1, 5, 40, 90, 5000])
@pytest.mark.parametrize("first", [1, 30, 2000])
def test_parts_choose_what_the_whole_would(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, limit: int, first: int
) -> None:
    monkeypatch.setattr(logged, "_ROWS", first)
    monkeypatch.setattr(logged, "_WIDER", 3)
    rows = answered(lake)
    whole = [Query.from_row(found) for found in deal(fresh(rows, ("inn-2",), JUDGED), limit, seed=3)]
    whole = apart(whole, JUDGED, said(lake))
    count, parts = logged.choose(lake, SINCE, UNTIL, ("inn-2",), JUDGED, limit, seed=3)
    assert count == len(rows)
    assert parts == whole
    assert len(whole) == min(limit, len(whole))
    assert {query.collection for query in parts} == {query.collection for query in whole}


def test_a_conversation_with_a_judged_question_is_left_out_whole(settings: Settings) -> None:
    rows = [
        row(1, random.Random(1)) | {"collection": name, "query": query, "conversation_id": conversation}
        for name, query, conversation in (
            ("rare", "Is there a thing 1?", "told"),
            ("inn-0", "Are dogs allowed?", "told"),
            ("inn-0", "Is breakfast served?", "other"),
        )
    ]
    rows = [
        one | {"event_id": f"e{place}", "response_id": f"r{place}", "facts": FACTS, "status": status}
        for place, (one, status) in enumerate(zip(rows, ("error", "ok", "ok"), strict=True))
    ]
    with Lake.open(settings, writable=True) as lake:
        lake.append({"interactions": rows}, {})
        _, chosen = logged.choose(lake, SINCE, UNTIL, (), JUDGED, 10, seed=3)
        _, without = logged.choose(lake, SINCE, UNTIL, (), (), 10, seed=3)
    assert [query.query for query in chosen] == ["Is breakfast served?"]
    assert len(without) == 2


def test_no_more_is_read_than_must_be(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logged, "_ROWS", 300)
    read: list[datetime] = []
    query = lake.query

    def noted(name: str, /, **params: object) -> list[dict[str, object]]:
        if name == "logged_part":
            read.append(params["since"])  # type: ignore[arg-type]
        return query(name, **params)

    monkeypatch.setattr(lake, "query", noted)
    _, chosen = logged.choose(lake, SINCE, UNTIL, ("rare",), (), 20, seed=3)
    assert len(chosen) == 20
    assert len(read) == 1
    assert read[0] > SINCE + timedelta(seconds=300)


def test_an_empty_record_gives_nothing(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as empty:
        assert logged.choose(empty, SINCE, UNTIL, (), (), 10, seed=1) == (0, [])
