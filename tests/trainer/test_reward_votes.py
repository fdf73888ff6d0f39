"""What counts as a vote, whose it is, and for which answer."""

from __future__ import annotations

import json

import pytest

from infra.events import Fact
from trainer.reward.votes import Row, votes

FACT = Fact(title="", text="Parking is free.")


def row(**changes: object) -> Row:
    plain = {
        "response_id": "r1",
        "voter": "ada",
        "query": "Is parking free?",
        "facts": json.dumps([FACT.model_dump()]),
        "answer": "No.",
        "rating": 0,
        "correction": "",
        "signs": [],
    }
    return plain | changes


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"rating": 1}, [("user ada", "No.", True, True)]),
        ({"rating": -1}, [("user ada", "No.", False, True)]),
        (
            {"correction": "Yes, it is."},
            [("user ada", "Yes, it is.", True, True), ("user ada", "No.", False, True)],
        ),
        (
            {"correction": "Yes.", "rating": 1},
            [("user ada", "Yes.", True, True), ("user ada", "No.", False, True)],
        ),
        ({"signs": ["thanks"]}, [("sign thanks", "No.", True, False)]),
        (
            {"signs": ["corrects", "rephrased"]},
            [("sign corrects", "No.", False, False), ("sign rephrased", "No.", False, False)],
        ),
        ({"signs": ["thanks"], "rating": -1}, [("user ada", "No.", False, True)]),
        ({"signs": ["of a newer collector"]}, []),
    ],
)
def test_votes(changes: dict[str, object], expected: list[tuple[str, str, bool, bool]]) -> None:
    found = votes([row(**changes)])
    assert [(vote.voter, vote.case.answer, vote.liked, vote.said) for vote in found] == expected
    assert all(vote.case.facts == (FACT,) and vote.response_id == "r1" for vote in found)
