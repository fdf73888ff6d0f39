"""From the record to a renewed reward: which words count for which answer, and what is told of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.events import Fact
from infra.lake import Lake
from infra.settings import Settings, load
from trainer.gates import Verdict
from trainer.renew import renewed
from trainer.reward.learnt import STARTER
from trainer.reward.store import RewardStore

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=30)
FACTS = json.dumps([Fact(title="", text="Parking is free for guests.").model_dump()])


def asked(number: int, conversation: str = "", user: str = "", facts: str = FACTS) -> dict[str, object]:
    return {
        "event_id": f"i{number:04}",
        "at": SINCE + timedelta(minutes=number),
        "response_id": f"r{number}",
        "conversation_id": conversation or f"c{number}",
        "user_id": user,
        "query": f"Is parking number {number} free?",
        "facts": facts,
        "answer": f"Answer {number}.",
        "status": "ok",
    }


def told(
    number: int, rating: int = 0, correction: str = "", user: str = "", later: int = 0
) -> dict[str, object]:
    return {
        "event_id": f"f{number:04}-{later}",
        "at": SINCE + timedelta(days=1, minutes=number + later),
        "response_id": f"r{number}",
        "rating": rating,
        "comment": "",
        "correction": correction,
        "user_id": user,
    }


def sign(number: int, conversation: str, kind: str) -> dict[str, object]:
    return {
        "event_id": f"i{number:04}:{kind}",
        "at": SINCE + timedelta(minutes=number),
        "conversation_id": conversation,
        "response_id": f"r{number}",
        "kind": kind,
        "value": 1.0,
    }


def write(settings: Settings, **tables: list[Mapping[str, Any]]) -> None:
    with Lake.open(settings, writable=True) as lake:
        lake.append(tables, {})


def judged(settings: Settings, limit: int = 100) -> dict[str, tuple[object, ...]]:
    with Lake.open(settings) as lake:
        rows = lake.query("judged_answers", since=SINCE, until=UNTIL, limit=limit)
    return {
        row["response_id"]: (row["voter"], row["rating"], row["correction"], list(row["signs"]))
        for row in rows
    }


def test_who_said_what_of_which_answer(settings: Settings) -> None:
    write(
        settings,
        interactions=[
            asked(1),
            asked(2, user="ada"),
            asked(3, user="ada"),
            asked(4, "talk"),
            asked(5, "talk"),
            asked(6),
            asked(7, facts="[]"),
            asked(8),
        ],
        feedback=[
            told(1, 1),
            told(2, 1),
            told(2, -1, later=5),
            told(3, -1, correction="It is.", user="bo"),
            told(6, 1),
            told(6, 0, later=5),
            told(7, 1),
        ],
        signals=[sign(5, "talk", "corrects"), sign(5, "talk", "rephrased"), sign(8, "c8", "asks_for_person")],
    )
    assert judged(settings) == {
        "r1": ("c1", 1, "", []),
        "r2": ("ada", -1, "", []),
        "r3": ("bo", -1, "It is.", []),
        # The next question of the talk tells of the answer before it; the first of a talk tells of none.
        "r4": ("talk", 0, "", ["corrects", "rephrased"]),
    }
    assert list(judged(settings, limit=2)) == ["r3", "r4"]


def test_without_a_word_nothing_is_renewed(settings: Settings) -> None:
    write(settings, interactions=[asked(1)])
    outcome = renewed(settings, UNTIL)
    assert outcome.gate.verdict is Verdict.NOT_ENOUGH_DATA
    assert RewardStore(settings.reward_dir).outcome is None


@pytest.fixture
def furnished(settings: Settings) -> Settings:
    """With the encoder and the vectors of this checkout."""
    found = load()
    if not (found.encoder_dir / "model.safetensors").is_file() or not found.vectors_dir.is_dir():
        pytest.skip("the encoder and the static vectors are not assembled: run `make model`")
    return settings.model_copy(update={"models": found.models.resolve()})


def test_customers_words_reach_the_reward(furnished: Settings) -> None:
    """As `nightshift reward renew` does; too few of them to be used."""
    write(
        furnished,
        interactions=[asked(number, user=f"u{number % 7}") for number in range(40)],
        feedback=[told(number, 1 if number % 3 else -1) for number in range(40)],
    )
    command = [sys.executable, "-m", "infra.cli", "reward"]
    environment = {
        **os.environ,
        "NIGHTSHIFT_DATA": str(furnished.data),
        "NIGHTSHIFT_MODELS": str(furnished.models),
    }

    def run(verb: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*command, verb, "--json"], check=False, env=environment, capture_output=True, text=True
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    code, never = run("show")
    assert code == 1
    assert "never renewed" in never["error"]
    code, outcome = run("renew")
    assert code == 3
    assert (outcome["votes"], outcome["voters"]) == (40, 7)
    assert "40 thumbs and better answers by 7 people" in outcome["gate"]["detail"]
    assert run("show") == (0, outcome)
    assert RewardStore(furnished.reward_dir).file == STARTER
