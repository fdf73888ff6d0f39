"""Which logged queries a night learns from: answered, not kept aside, not twice the same, newest first.

Pure. The lake's rows come in as they were recorded; what is held out never leaves this file. Questions that
the knowledge does not cover are not left out: a fact's score is a share of the best one's and cannot tell.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from infra.errors import NightError
from infra.events import Fact, Message
from trainer.duplicates import Questions, wording
from trainer.injected import injected
from trainer.judged import Asked, Judged

# What was asked in each conversation, by its id.
Said = Mapping[str, Sequence[Asked]]
Row = Mapping[str, Any]  # a row of the lake: its columns are its query's business


class Query(BaseModel):
    """A customer's question with the prompt and the facts that the agent used for it.

    A `synthetic` one was written by a night: with the prompt and the facts that the agent would use for it,
    in no conversation, and under an id that no logged response has.
    """

    model_config = ConfigDict(frozen=True)

    response_id: str
    conversation_id: str
    collection: str
    query: str
    prompt: tuple[Message, ...]
    facts: tuple[Fact, ...]
    synthetic: bool = False

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
    rows: Iterable[Row],
    held_out: Iterable[str],
    judged: Iterable[Asked],
    limit: int | None = None,
    learned: Iterable[Asked] = (),
) -> dict[str, list[Row]]:
    """What may be learned from, by collection: of near-duplicates the newest, in the order of `rows`.

    `rows` come newest first; with `limit` no more than so many of a collection are looked for. Left out:
    collections in `held_out`, near-duplicates of what a suite judges by (`judged`) or what has been `learned`
    already, injections, and queries without facts, whose answers nothing could check. A row need not hold its
    facts when it is known to have some. What is kept of the first rows does not depend on the later ones:
    each kept question stands for the older ones near to it, and no chain of small steps joins unlike ones.
    """
    aside = frozenset(held_out)
    kept = Judged(judged)
    seen: defaultdict[str, Questions] = defaultdict(Questions)
    for name, question in learned:
        seen[name].add(wording(question))
    by_collection: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        name = row["collection"]
        if name in aside or row.get("facts") == "[]" or len(by_collection.get(name, ())) == limit:
            continue
        asked = wording(row["query"])
        if seen[name].holds(asked) or kept.maybe_near(name, asked) or injected(row["query"]):
            continue
        seen[name].add(asked)
        by_collection[name].append(row)
    return dict(by_collection)


def deal(by_collection: Mapping[str, list[Row]], limit: int, seed: int) -> list[Row]:
    """The first of each collection, then the second of each, until there are `limit`; shuffled by `seed`."""
    chosen = _round_robin([by_collection[name] for name in sorted(by_collection)], limit)
    random.Random(seed).shuffle(chosen)
    return chosen


def depth(counts: Iterable[int], limit: int) -> int:
    """How many of each collection `deal` looks at, at most, where it has so many to choose from."""
    known = sorted(counts)
    return next((rank for rank in range(limit) if sum(min(count, rank) for count in known) >= limit), limit)


def apart(queries: Iterable[Query], judged: Iterable[Asked], said: Said) -> list[Query]:
    """The queries that are neither near-duplicates of judged questions nor from a conversation with one."""
    kept = Judged(judged)
    tainted = kept.conversations(said)
    return [
        query
        for query in queries
        if query.conversation_id not in tainted and not kept.near(query.collection, wording(query.query))
    ]


def check_split(
    queries: Sequence[Query], held_out: frozenset[str], judged: Sequence[Asked] = (), said: Said | None = None
) -> None:
    """Fails the night when it would learn from what it is judged by.

    That is a query of a held-out collection, a near-duplicate of a judged question, or one from a
    conversation (`said`: what was asked in each) in which a judged question was asked too.

    Raises:
        NightError: names the first such query.
    """
    clean = {query.response_id for query in apart(queries, judged, said or {})}
    for query in queries:
        if query.collection in held_out:
            why = f"belongs to {query.collection!r}, which is kept for evaluation"
        elif query.response_id not in clean:
            why = f"is a question that a suite judges by, or stands beside one in {query.conversation_id!r}"
        else:
            continue
        raise NightError(
            f"The query {query.response_id} {why}: the night stops, since its gates would prove nothing. "
            "Were suites or held_out changed since it began? Then start a new night."
        )


def _round_robin(lists: list[list[Row]], limit: int) -> list[Row]:
    """The first of each list, then the second of each, until there are `limit`."""
    chosen: list[Row] = []
    for rank in range(max(map(len, lists), default=0)):
        for rows in lists:
            if rank < len(rows) and len(chosen) < limit:
                chosen.append(rows[rank])
    return chosen
