"""What a night changed, answer by answer: what it mended, broke, or only says otherwise. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

View = dict[str, Any]  # plain values, as JSON and templates take them

# A score of 0 to 1 counts as a right answer from here on. Today's suites give 0 or 1.
RIGHT = 0.5
SHOWN = 10


def changes(rows: Iterable[Mapping[str, Any]]) -> View:
    """Compares both models' answers to the same cases, rows of the named query `evaluation_cases`.

    `counts` holds how many there are of each kind (fixed, broken, right both times, wrong both times),
    `reworded` how many have other words. `shown` are the ten that changed most, `other_broken` all further
    broken ones."""
    answers = [
        _compared(row)
        for row in rows
        if row["stable_score"] is not None and row["candidate_score"] is not None
    ]
    kinds = Counter(answer["kind"] for answer in answers)
    shown = most(answers)
    places = {(answer["suite"], answer["case"]) for answer in shown}
    return {
        "cases": len(answers),
        "counts": {kind: kinds[kind] for kind in ("fixed", "broken", "right", "wrong")},
        "reworded": sum(answer["distance"] > 0 for answer in answers),
        "shown": shown,
        "other_broken": [
            answer for answer in _of("broken", answers) if (answer["suite"], answer["case"]) not in places
        ],
    }


def most(answers: Sequence[View], limit: int = SHOWN) -> list[View]:
    """At most `limit` answers: broken and fixed ones first, half of the places for each where both have more.

    Places that are left go to answers whose words changed most. Broken ones come first, so that none hides
    behind what was mended.
    """
    broken, fixed = _of("broken", answers), _of("fixed", answers)
    bad = min(len(broken), max(limit // 2, limit - len(fixed)))
    chosen = broken[:bad] + fixed[: limit - bad]
    others = _farthest(a for a in answers if a["kind"] in ("right", "wrong") and a["distance"] > 0)
    return chosen + others[: limit - len(chosen)]


def distance(before: str, after: str) -> float:
    """How far apart two texts are in words, 0 (the same words) to 1 (none in common), whatever their order.

    One minus the Dice coefficient (Dice 1945) of the bags of words.
    """
    if before == after:
        return 0.0
    bags = Counter(before.lower().split()), Counter(after.lower().split())
    words = sum(bags[0].values()) + sum(bags[1].values())
    return 1.0 - 2.0 * sum((bags[0] & bags[1]).values()) / words if words else 0.0


def _compared(row: Mapping[str, Any]) -> View:
    was, now = row["stable_score"] >= RIGHT, row["candidate_score"] >= RIGHT
    before, after = row["stable_answer"] or "", row["candidate_answer"] or ""
    return {
        "suite": row["suite"],
        "case": row["case_id"],
        "collection": row["group_id"] or "",
        "question": row["question"] or "",
        "before": before,
        "after": after,
        "right_before": was,
        "right_after": now,
        "kind": _KINDS[was, now],
        "distance": distance(before, after),
    }


_KINDS = {(False, True): "fixed", (True, False): "broken", (True, True): "right", (False, False): "wrong"}


def _of(kind: str, answers: Iterable[View]) -> list[View]:
    return _farthest(answer for answer in answers if answer["kind"] == kind)


def _farthest(answers: Iterable[View]) -> list[View]:
    return sorted(answers, key=lambda answer: (-answer["distance"], answer["suite"], answer["case"]))
