"""Direct Preference Optimization (Rafailov et al. 2023): the best of a group against its worst.

To the preference its loss adds the best's own likelihood, as in Iterative Reasoning Preference Optimization
(Pang et al. 2024). What answers must not be teaches more than more answers do; but alone it is most easily
learned by saying facts word for word, as no rejected answer does.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from trainer.methods.head import spare_prompts
from trainer.methods.sft import Weighing, weighed
from trainer.order import Order

# How much leaving the base model costs. The loss lets go of a pair some 4 / BETA nats further apart than the
# base model has it: answers here have 10 to 20 tokens, so the usual 0.1 would ask for several nats on each.
# SmolLM2-135M's own recipe has 0.5 too (alignment-handbook, smollm2/dpo).
BETA = 0.5


def make(order: Order, rows: list[dict[str, Any]], arguments: dict[str, Any], parts: dict[str, Any]) -> Any:
    """A trainer for rows with `prompt`, `chosen`, `rejected` and `weight`; the rest is as in `sft.make`.

    The reference is the base model: the same weights with the adapter switched off. A row with nothing to
    reject has its chosen answer on both sides: no preference pulls then, and it is imitated like the others.
    """
    settings = DPOConfig(
        **arguments,
        per_device_train_batch_size=order.rows_per_step,
        max_length=order.max_length,
        beta=BETA,
        loss_type=["sigmoid", "sft"],
        remove_unused_columns=False,  # the model does not read the weight, the loss does
    )
    trainer = PairTrainer(args=settings, train_dataset=Dataset.from_list(weighed(rows)), **parts)
    trainer.data_collator = Weighing(trainer.data_collator)
    spare_prompts(parts["model"])
    return trainer


class PairTrainer(DPOTrainer):
    """TRL's trainer, with rows that count by their weights. Its loss is a mean over rows, so it is asked for
    the rows of each weight by themselves: a night has four weights at most."""

    def _compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool) -> Any:
        weight_B = inputs["weight"]
        loss = torch.zeros((), device=weight_B.device)
        for weight in sorted(set(weight_B.tolist())):
            alike_B = weight_B == weight
            both_2B = torch.cat([alike_B, alike_B])  # all chosen come before all rejected
            some = {name: values[both_2B] for name, values in inputs.items() if name != "weight"}
            mean = super()._compute_loss(model, some, False)  # type: ignore[no-untyped-call]
            loss = loss + weight * alike_B.float().mean() * mean
        return (loss, None) if return_outputs else loss
