"""The demo's businesses and what their customers ask: a small part of the DSTC9 Track 1 data (see NOTICE)."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

_DATA = Path(__file__).parent / "data"

# Businesses to learn from. The others ask while the canary is on, which may need 500 answers to decide.
_TO_LEARN_FROM = 14


@dataclass(frozen=True, slots=True)
class Business:
    """A hotel, restaurant or sight. `facts` are (title, text); held-out ones are kept for evaluation."""

    collection: str
    name: str
    held_out: bool
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A customer's question. The reference answer, or its `accepted` spellings, are for evaluation alone.

    Questions of one `cluster` have one answer; by default a business is a cluster.
    """

    collection: str
    text: str
    reference: str
    accepted: tuple[str, ...] = ()
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays which part in one demo: no business has two parts."""

    learn: tuple[Question, ...]  # asked by day, and what the night learns from
    held_out: tuple[Question, ...]  # the suite that gates judge by
    live: tuple[Question, ...]  # asked while the canary is on, and in the drill
    businesses: tuple[Business, ...]


def businesses() -> list[Business]:
    """All of the demo's businesses."""
    rows = (json.loads(line) for line in (_DATA / "businesses.jsonl").read_text().splitlines())
    return [
        Business(
            row["collection"],
            row["name"],
            row["split"] == "held-out",
            tuple((fact["title"], fact["text"]) for fact in row["facts"]),
        )
        for row in rows
    ]


def questions() -> list[Question]:
    """All of the demo's questions, by business."""
    rows = (json.loads(line) for line in (_DATA / "questions.jsonl").read_text().splitlines())
    return [Question(row["collection"], row["question"], row["reference"]) for row in rows]


def cast(seed: int, learn: int, held_out: int) -> Cast:
    """Deals the businesses out by `seed`: `learn` and `held_out` questions for those two parts.

    Both take a few questions of each of their businesses: a night learns more from many, and gates resample
    businesses, so that with few of them their intervals would be too narrow.
    """
    rng = random.Random(seed)
    asked: dict[str, list[Question]] = {}
    for question in questions():
        asked.setdefault(question.collection, []).append(question)
    known = businesses()
    to_learn = [business.collection for business in known if not business.held_out]
    kept = [business.collection for business in known if business.held_out]
    rng.shuffle(to_learn)
    rng.shuffle(kept)
    learning = spread(
        [rng.sample(asked[name], len(asked[name])) for name in to_learn[:_TO_LEARN_FROM]], learn
    )
    judging = spread([rng.sample(asked[name], len(asked[name])) for name in kept], held_out)
    live = [question for name in to_learn[_TO_LEARN_FROM:] for question in asked[name]]
    rng.shuffle(live)
    return Cast(tuple(learning), tuple(judging), tuple(live), tuple(known))


def spread(hands: Sequence[Sequence[Question]], wanted: int) -> list[Question]:
    """One question from each hand in turn, until `wanted` are there."""
    rounds = zip_longest(*hands)
    return [question for one in rounds for question in one if question is not None][:wanted]
