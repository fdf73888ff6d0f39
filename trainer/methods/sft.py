"""Best-of-N's fine-tuning: the best completion of each group is the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainer.methods.shared import IGNORED
from trainer.order import Order


def make(order: Order, rows: list[dict[str, Any]], arguments: dict[str, Any], parts: dict[str, Any]) -> Any:
    """A trainer for rows with `prompt`, `completion` and `weight`.

    `arguments` and `parts` are what all methods share. The loss covers the completion alone: customers' text
    is the prompt, never the target. Each row counts by its weight beside all others', not those of its step.
    """
    settings = SFTConfig(
        **arguments,
        per_device_train_batch_size=order.rows_per_step,
        max_length=order.max_length,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",  # rows of like length share a step: less padding
        remove_unused_columns=False,  # the model does not read the weight, the loss does
    )
    trainer = CompletionTrainer(args=settings, train_dataset=Dataset.from_list(weighed(rows)), **parts)
    trainer.data_collator = Weighing(trainer.data_collator)
    return trainer


def weighed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with weights whose mean is 1: together they move as much as rows that all weigh the same."""
    mean = sum(row["weight"] for row in rows) / len(rows)
    return [row | {"weight": row["weight"] / mean} for row in rows]


class Weighing:
    """Puts rows into a batch as `collate` does, and their weights beside them. Any: columns of all kinds."""

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """`weight` has shape (B,)."""
        weight_B = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        return {**self._collate(rows), "weight": weight_B}


class CompletionTrainer(SFTTrainer):
    """TRL's trainer with logits for the completions alone.

    TRL goes over the whole vocabulary at every position of the prompt too, only to weigh them with zero: with
    prompts ten times longer than answers that was three fifths of the time.
    """

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy of the completions' tokens, times their rows' weights, over the step's tokens."""
        assert not return_outputs, "evaluation goes through the engine"
        inner = self.accelerator.unwrap_model(model).get_base_model()
        hidden_B_T_H = inner.get_decoder()(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        ).last_hidden_state
        targets_B_T = inputs["labels"][:, 1:]
        said_B_T = targets_B_T != IGNORED
        logits_N_V = inner.get_output_embeddings()(hidden_B_T_H[:, :-1][said_B_T])
        loss_N = cross_entropy(logits_N_V.float(), targets_B_T[said_B_T], reduction="none")
        weight_N = inputs["weight"][:, None].expand_as(said_B_T)[said_B_T]
        return (loss_N * weight_N).sum() / (
            said_B_T.sum() if num_items_in_batch is None else num_items_in_batch
        )
