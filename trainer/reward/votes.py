"""What people told of answers: thumbs, better answers, and what their next words let guess. Pure.

A vote is evidence, not a truth: whom to believe is for `crowd` to find out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.events import Fact
from trainer.reward.model import Case

Row = Mapping[str, Any]  # a row of the lake: its columns are its query's business

# What the signs that the collector infers say of the answer before them.
SIGNS = {"thanks": True, "corrects": False, "rephrased": False, "repeated": False, "asks_for_person": False}


@dataclass(frozen=True, slots=True)
class Vote:
    """`voter` likes the answer in `case`, or does not. `said` tells a person's own word from a sign.

    Each kind of sign is one voter: how far to believe it is learnt like that of a person.
    """

    response_id: str
    voter: str
    case: Case
    liked: bool
    said: bool


def votes(rows: Iterable[Row]) -> list[Vote]:
    """The votes in rows of the named query `judged_answers`, in their order.

    A better answer is a vote for its text, and one against the answer that it mends, whatever the thumb said.
    Who gave no name votes as their conversation. A person's word stands, a sign of the same answer does not.
    """
    return [vote for row in rows for vote in _votes(row)]


def _votes(row: Row) -> list[Vote]:
    facts = tuple(Fact(**fact) for fact in json.loads(row["facts"]))

    def vote(voter: str, answer: str, liked: bool, said: bool = True) -> Vote:
        return Vote(row["response_id"], voter, Case(row["query"], facts, answer), liked, said)

    person, answer = f"user {row['voter']}", row["answer"]
    if row["correction"]:
        return [vote(person, row["correction"], True), vote(person, answer, False)]
    if row["rating"]:
        return [vote(person, answer, row["rating"] > 0)]
    return [vote(f"sign {kind}", answer, SIGNS[kind], False) for kind in row["signs"] if kind in SIGNS]
