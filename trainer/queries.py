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
    def from_row(cls, row: Mapping[str, Any]) -> Query:
        """Reads one row of the named query `logged_queries`."""
        return cls(
            response_id=row["response_id"],
            conversation_id=row["conversation_id"],
            collection=row["collection"],
            query=row["query"],
            prompt=tuple(Message(**message) for message in json.loads(row["prompt"])),
            facts=tuple(Fact(**fact) for fact in json.loads(row["facts"])),
        )


def choose(
    rows: Iterable[Mapping[str, Any]],
    held_out: Iterable[str],
    judged: Iterable[tuple[str, str]],
    limit: int,
    seed: int,
) -> list[Query]:
    """At most `limit` queries, spread evenly over collections, in an order that `seed` alone decides.

    `rows` come newest first. Left out: collections in `held_out`, questions that a suite judges by
    (`judged`: collection and question), and queries without facts, whose answers nothing could check.
    """
    aside = frozenset(held_out)
    kept = frozenset(_key(collection, question) for collection, question in judged)
    fresh = [
        query
        for query in _once(Query.from_row(row) for row in rows if row["collection"] not in aside)
        if _key(query.collection, query.query) not in kept
    ]
    by_collection: dict[str, list[Query]] = {}
    for query in fresh:
        by_collection.setdefault(query.collection, []).append(query)
    chosen = _round_robin([by_collection[name] for name in sorted(by_collection)], limit)
    random.Random(seed).shuffle(chosen)
    check_split(chosen, aside)
    return chosen


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


def _once(queries: Iterable[Query]) -> list[Query]:
    """The newest of those that ask the same of the same business, word order aside."""
    seen: dict[Asked, Query] = {}
    for query in queries:
        key = _key(query.collection, query.query)
        if query.facts and key not in seen:
            seen[key] = query
    return list(seen.values())


def _key(collection: str, question: str) -> Asked:
    return collection, frozenset(stems(question))


def _round_robin(lists: list[list[Query]], limit: int) -> list[Query]:
    """The first of each list, then the second of each, until there are `limit`."""
    chosen: list[Query] = []
    for rank in range(max(map(len, lists), default=0)):
        for queries in lists:
            if rank < len(queries) and len(chosen) < limit:
                chosen.append(queries[rank])
    return chosen
