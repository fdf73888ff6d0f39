"""Which logged queries a night learns from: answered, not kept aside, not twice the same, newest first.

Pure. The lake's rows come in as they were recorded; what is held out never leaves this file.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from infra.errors import NightError
from infra.events import Fact, Message
from trainer.words import stems

# What makes two questions the same: the business, and the content words in any order.
Asked = tuple[str, frozenset[str]]
Row = Mapping[str, Any]  # a row of the lake: its columns are its query's business


class Query(BaseModel):
    """A customer's question with the prompt and the facts that the agent used for it."""

    model_config = ConfigDict(frozen=True)

    response_id: str
    conversation_id: str
    collection: str
    query: str
    prompt: tuple[Message, ...]
    facts: tuple[Fact, ...]

    @classmethod
    def from_row(cls, row: Row) -> Query:
        """Reads one row of the named query `logged_texts`."""
        return cls(
            response_id=row["response_id"],
            conversation_id=row["conversation_id"],
            collection=row["collection"],
            query=row["query"],
            prompt=tuple(Message(**message) for message in json.loads(row["prompt"])),
            facts=tuple(Fact(**fact) for fact in json.loads(row["facts"])),
        )


def fresh(
    rows: Iterable[Row], held_out: Iterable[str], judged: Iterable[tuple[str, str]]
) -> dict[str, list[Row]]:
    """What may be learned from, by collection: one row for each question, the newest, in the order of `rows`.

    `rows` come newest first. Left out: collections in `held_out`, questions that a suite judges by (`judged`:
    collection and question), and queries without facts, whose answers nothing could check. A row need not
    hold its facts when it is known to have some.
    """
    aside = frozenset(held_out)
    kept = frozenset(_key(collection, question) for collection, question in judged)
    seen: set[Asked] = set()
    by_collection: dict[str, list[Row]] = {}
    for row in rows:
        if row["collection"] in aside or row.get("facts") == "[]":
            continue
        key = _key(row["collection"], row["query"])
        if key not in seen and key not in kept:
            seen.add(key)
            by_collection.setdefault(row["collection"], []).append(row)
    return by_collection


def deal(by_collection: Mapping[str, list[Row]], limit: int, seed: int) -> list[Row]:
    """The first of each collection, then the second of each, until there are `limit`; shuffled by `seed`."""
    chosen = _round_robin([by_collection[name] for name in sorted(by_collection)], limit)
    random.Random(seed).shuffle(chosen)
    return chosen


def depth(counts: Iterable[int], limit: int) -> int:
    """How many of each collection `deal` looks at, at most, where it has so many to choose from."""
    known = sorted(counts)
    return next((rank for rank in range(limit) if sum(min(count, rank) for count in known) >= limit), limit)


def check_split(queries: Iterable[Query], held_out: frozenset[str]) -> None:
    """Fails the night when a query of a held-out collection is among those to learn from.

    Raises:
        NightError: names the first such query's collection.
    """
    for query in queries:
        if query.collection in held_out:
            raise NightError(
                f"The query {query.response_id} belongs to {query.collection!r}, which is kept for "
                "evaluation: the night stops, since its gates would prove nothing."
            )


def _key(collection: str, question: str) -> Asked:
    return collection, frozenset(stems(question))


def _round_robin(lists: list[list[Row]], limit: int) -> list[Row]:
    """The first of each list, then the second of each, until there are `limit`."""
    chosen: list[Row] = []
    for rank in range(max(map(len, lists), default=0)):
        for rows in lists:
            if rank < len(rows) and len(chosen) < limit:
                chosen.append(rows[rank])
    return chosen
