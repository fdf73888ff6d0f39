"""Group Relative Policy Optimization (Shao et al. 2024): the model samples anew at every step, and what the
night's reward says of a sample, against the rest of its group, is what it learns from.

Samples come from transformers, not from the engine: an engine would need the new weights at every step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from trl.trainer.grpo_config import GRPOConfig

from infra.events import Fact
from infra.settings import Settings
from trainer.curate import worth
from trainer.methods.head import spare_prompts
from trainer.order import Order
from trainer.reward.model import Case, RewardModel
from trainer.reward.named import chooser

with warnings.catch_warnings():
    # TRL imports an engine where it finds one, and both warn of it; none is used here.
    warnings.simplefilter("ignore")
    from trl.trainer.grpo_trainer import GRPOTrainer

# Samples of a group. Four is the fewest that tell better from worse in most groups where the model is right
# now and then; each more costs as much again.
GENERATIONS = 4

# TRL's way to ask: a list for each column of the rows, and one of completions.
Judge = Callable[..., list[float | None]]


def make(order: Order, rows: list[dict[str, Any]], arguments: dict[str, Any], parts: dict[str, Any]) -> Any:
    """A trainer for rows with `prompt`, `query` and `facts`; the rest is as in `sft.make`.

    A step takes `rows_per_step` queries, all of a pass's but for a rest that fills no step.

    Raises:
        SettingsError: the settings in the order name no known reward.
        NightError: the reward lacks a file.
    """
    found = Settings(**order.settings)
    queries = min(order.rows_per_step, len(rows))
    # On CPUs all samples of a step go through the model at once, behind one copy of their prompts. On GPUs
    # each has its own, and as many as there are queries are in memory at a time.
    parts_of_step = GENERATIONS if torch.cuda.is_available() else 1
    settings = GRPOConfig(
        **arguments,
        per_device_train_batch_size=queries * GENERATIONS // parts_of_step,
        gradient_accumulation_steps=parts_of_step,
        num_generations=GENERATIONS,
        max_completion_length=order.max_tokens,
        temperature=order.temperature,
        use_vllm=False,
        # No cost for leaving the base model: it would ask for a third pass, and few steps do not lead far.
        beta=0.0,
        # An answer that was cut off is judged like any other: rambling must not go unpunished.
        mask_truncated_completions=False,
    )
    trainer = GRPOTrainer(
        args=settings,
        reward_funcs=judge(chooser(found), rows),
        # The rows themselves stay with the judge: their facts fit no table.
        train_dataset=Dataset.from_list([{"prompt": row["prompt"], "row": i} for i, row in enumerate(rows)]),
        **parts,
    )
    spare_prompts(parts["model"], order.temperature)
    return trainer


def judge(model: RewardModel, rows: Sequence[dict[str, Any]]) -> Judge:
    """The reward of a sample for the query of the row that it belongs to, as TRL asks for it."""
    facts = [tuple(Fact(**fact) for fact in row["facts"]) for row in rows]

    def rewards(completions: list[list[dict[str, str]]], row: list[int], **_: Any) -> list[float | None]:
        cases = [
            Case(rows[index]["query"], facts[index], said[0]["content"].strip())
            for said, index in zip(completions, row, strict=True)
        ]
        return [worth(found) for found in model.score(cases)]

    return rewards
