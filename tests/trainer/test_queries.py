"""Which logged queries a night learns from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import NightError
from trainer.queries import Query, check_split, deal, fresh

FACTS = json.dumps([{"title": "t", "text": "Parking is free."}])


def row(number: int, collection: str, query: str, facts: str = FACTS) -> dict[str, object]:
    return {
        "response_id": f"r{number}",
        "conversation_id": f"c{number}",
        "collection": collection,
        "query": query,
        "prompt": json.dumps([{"role": "user", "content": query}]),
        "facts": facts,
    }


def test_repeated_questions_count_once_the_newest() -> None:
    rows = [
        row(1, "inn", "Is there parking?"),
        row(2, "inn", "Parking, is there?"),
        row(3, "bar", "Is there parking?"),
    ]
    assert {found["response_id"] for found in deal(fresh(rows, (), ()), limit=10, seed=1)} == {"r1", "r3"}


def test_queries_without_facts_are_left_out() -> None:
    assert fresh([row(1, "inn", "Is there parking?", facts="[]")], (), ()) == {}


def test_the_limit_is_spread_over_collections() -> None:
    rows = [row(i, "big", f"question number {i}") for i in range(50)] + [row(99, "small", "Open on Sunday?")]
    chosen = deal(fresh(rows, (), ()), limit=5, seed=1)
    assert len(chosen) == 5
    assert "small" in {found["collection"] for found in chosen}


@given(st.integers(0, 1000), st.integers(1, 30))
def test_held_out_collections_never_appear_and_the_seed_decides(seed: int, limit: int) -> None:
    rows = [row(i, f"shop{i % 5}", f"what about thing {i}") for i in range(40)]
    known = fresh(rows, ("shop1", "shop3"), ())
    chosen = deal(known, limit, seed)
    assert not {found["collection"] for found in chosen} & {"shop1", "shop3"}
    assert len(chosen) == min(limit, 24)
    assert chosen == deal(known, limit, seed)


def test_a_leak_stops_the_night() -> None:
    with pytest.raises(NightError, match="kept for evaluation"):
        check_split([Query.from_row(row(1, "inn", "Is there parking?"))], frozenset({"inn"}))


def test_a_suites_questions_are_never_learned_from() -> None:
    rows = [
        row(1, "inn", "Is there parking?"),
        row(2, "inn", "Is there a bar?"),
        row(3, "pub", "Is there parking?"),
    ]
    known = fresh(rows, (), [("inn", "There is parking?")])
    assert {found["response_id"] for some in known.values() for found in some} == {"r2", "r3"}
