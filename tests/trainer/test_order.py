"""What a night asks of fine-tuning, and what it keeps of it, by method."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra.events import Fact, Message
from infra.settings import Settings
from trainer.curate import TELLS, Row
from trainer.gates import Verdict
from trainer.notes import training_row
from trainer.order import LEARNING_RATE, Method, Order
from trainer.queries import Query
from trainer.reward.named import reward
from trainer.summary import Summary

QUERY = Query(
    response_id="r1",
    conversation_id="c1",
    collection="inn",
    query="Is there parking?",
    prompt=(Message(role="user", content="Is there parking?"),),
    facts=(Fact(title="Parking", text="Parking is free.", score=0.5),),
)
ROW = Row("r1", QUERY.prompt, "Yes, it is free.", sample=2, reward=0.9, rejected="No.")


def settings(folder: Path, **trainer: Any) -> Settings:
    return Settings.model_validate({"data": folder, "trainer": trainer})


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_an_order_holds_all_that_training_depends_on(method: Method, tmp_path: Path) -> None:
    asked = Order.of(settings(tmp_path, method=method, seed=7, rank=8))
    assert (asked.method, asked.seed, asked.rank) == (method, 7, 8)
    assert asked.learning_rate == LEARNING_RATE[method]
    assert Order.model_validate_json(asked.model_dump_json()) == asked
    chosen = settings(tmp_path, method=method, learning_rate=0.01)
    assert Order.of(chosen).learning_rate == 0.01


def test_the_reward_of_the_night_can_be_made_from_the_order_alone(tmp_path: Path) -> None:
    asked = Order.of(settings(tmp_path, method="grpo", reward="longest", agent_key="hush", port=9999))
    again = Settings(**Order.model_validate_json(asked.model_dump_json()).settings)
    assert reward(again.trainer.reward, again).name == "longest"
    assert again.trainer.port == 9999
    assert "hush" not in asked.model_dump_json()


def test_rows_have_the_columns_of_their_method() -> None:
    prompt = [{"role": "user", "content": "Is there parking?"}]
    chosen = [{"role": "assistant", "content": "Yes, it is free."}]
    assert training_row("sft", ROW, QUERY) == {"prompt": prompt, "completion": chosen, "weight": TELLS}
    own = QUERY.model_copy(update={"synthetic": True})
    assert training_row("sft", ROW, QUERY, 0.3)["weight"] == TELLS
    assert training_row("sft", ROW, own, 0.3)["weight"] == 0.3 * TELLS
    rejected = [{"role": "assistant", "content": "No."}]
    pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "weight": TELLS}
    assert training_row("dpo", ROW, QUERY) == pair
    assert training_row("dpo", ROW, own, 0.3) == pair | {"weight": 0.3 * TELLS}
    assert training_row("dpo", replace(ROW, rejected=None), QUERY) == pair | {"rejected": chosen}
    facts = [{"title": "Parking", "text": "Parking is free.", "score": 0.5}]
    assert training_row("grpo", ROW, QUERY) == {
        "prompt": prompt,
        "query": "Is there parking?",
        "facts": facts,
    }


def test_the_manifest_names_the_method(tmp_path: Path) -> None:
    summary = Summary(settings(tmp_path, method="dpo"), {})
    assert summary.manifest({}, Verdict.NOT_ENOUGH_DATA, "")["settings"]["method"] == "dpo"


@pytest.mark.parametrize(
    ("method", "trainings", "rows", "times"),
    [("dpo", 0, 40, 3), ("sft", 0, 300, 3), ("dpo", 0, 301, 2), ("grpo", 0, 40, 1), ("dpo", 5, 900, 5)],
)
def test_few_rows_are_learned_more_often(method: Method, trainings: int, rows: int, times: int) -> None:
    assert Order(base="base", method=method, trainings=trainings).times(rows) == times
