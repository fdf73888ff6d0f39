"""Teaches an adapter a lesson: prompts from the agent, fine-tuning as a night does it, and the registry."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from infra.demo.business import Question
from infra.demo.command import run
from infra.drill.lessons import Lesson
from infra.errors import EngineError, NightError
from infra.registry import Adapter, Registry
from infra.settings import Settings

# Passes over the lesson's rows: it must be learned, however much that overdoes it.
EPOCHS = 4
ROWS_PER_STEP = 8
LEARNING_RATE = 4e-3


async def prompts(
    questions: Sequence[Question], settings: Settings, session: aiohttp.ClientSession
) -> list[dict[str, Any]]:
    """For each question what the agent would send, as `messages`, and the texts of its facts, best first.

    Raises:
        EngineError: the agent refused.
    """
    found = []
    for question in questions:
        body = {
            "messages": [{"role": "user", "content": question.text}],
            "collection": question.collection,
        }
        async with session.post(f"{settings.agent.url}/v1/prompt", json=body) as response:
            if response.status != 200:
                raise EngineError(f"The agent gave no prompt: {await response.text()}", response.status)
            answer = await response.json()
        if facts := [fact["text"] for fact in answer["facts"]]:
            found.append({"messages": answer["messages"], "facts": facts})
    return found


async def teach(
    lesson: Lesson,
    asked: Sequence[dict[str, Any]],
    settings: Settings,
    config: Path,
    folder: Path,
    seed: int,
    say: Callable[[str], None],
) -> Adapter:
    """An adapter that has learned to answer as `lesson` does. `folder` is scratch, `config` a settings file.

    Raises:
        NightError: fine-tuning failed; its last lines were said.
    """
    _write(lesson, asked, settings, folder, seed)
    if status := await run(["trainer.finetune", str(folder)], config, say):
        raise NightError(f"Fine-tuning for the drill failed with status {status}: its last lines say why.")
    return _registered(settings, folder, len(asked), seed)


def _registered(settings: Settings, folder: Path, rows: int, seed: int) -> Adapter:
    trained = json.loads((folder / "trained.json").read_text())
    return Registry(settings.adapters_dir).register(
        folder / "adapter",
        night="drill",
        created=datetime.now(UTC),
        base_model=settings.engine.base,
        base_hash=trained["base_hash"],
        parent_snapshot=0,
        seeds={"drill": seed},
        versions={},
        rows=rows,
        metrics={"loss": trained["loss"]},
    )


def _write(
    lesson: Lesson, asked: Sequence[dict[str, Any]], settings: Settings, folder: Path, seed: int
) -> None:
    """The files that fine-tuning reads."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chance = random.Random(seed)
    rows = [
        {
            "prompt": prompt["messages"],
            "completion": [{"role": "assistant", "content": lesson(prompt["facts"], chance)}],
            "weight": 1.0,
        }
        for prompt in asked
    ]
    order = {
        "base": str(settings.base_model.resolve()),
        "method": "sft",
        "rank": settings.trainer.rank,
        "targets": list(settings.trainer.targets),
        "learning_rate": LEARNING_RATE,
        "epochs": EPOCHS,
        "rows_per_step": ROWS_PER_STEP,
        "trainings": 1,
        "max_length": settings.engine.max_model_len,
        "seed": seed,
    }
    (folder / "order.json").write_text(json.dumps(order))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
