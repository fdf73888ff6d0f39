"""Direct Preference Optimization (Rafailov et al. 2023): the best of a group against its worst."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from trainer.methods.head import spare_prompts
from trainer.order import Order

# How much leaving the base model costs. The loss lets go of a pair some 4 / BETA nats further apart than the
# base model has it: answers here have 10 to 20 tokens, so the usual 0.1 would ask for several nats on each.
# SmolLM2-135M's own recipe has 0.5 too (alignment-handbook, smollm2/dpo).
BETA = 0.5


def make(order: Order, rows: list[dict[str, Any]], arguments: dict[str, Any], parts: dict[str, Any]) -> Any:
    """A trainer for rows with `prompt`, `chosen` and `rejected`; the rest is as in `sft.make`.

    The reference is the base model: the same weights with the adapter switched off.
    """
    settings = DPOConfig(
        **arguments,
        per_device_train_batch_size=order.rows_per_step,
        max_length=order.max_length,
        beta=BETA,
    )
    trainer = DPOTrainer(args=settings, train_dataset=Dataset.from_list(rows), **parts)
    spare_prompts(parts["model"])
    return trainer
