"""Fine-tuning, in its own process: chosen rows in, a LoRA adapter out.

`python -m trainer.finetune FOLDER` reads `order.json` and `rows.jsonl` there and writes `adapter/` and
`trained.json`. It knows nothing of nights or the lake; killing it loses only its own work.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from pydantic import BaseModel, ConfigDict
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from infra.processor import computes_bfloat16, features
from trainer.base_model import hash_of

logger = logging.getLogger(__name__)

# The label of a token that is not learned from, as in all of PyTorch.
IGNORED = -100


class Order(BaseModel):
    """What to train. `base` is the folder of the base model; `targets` the layers that get an adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    rank: int = 16
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    learning_rate: float = 2e-3
    epochs: int = 2
    rows_per_step: int = 8
    max_length: int = 2048
    seed: int = 1


class Trained(BaseModel):
    """What training measured. `tokens` counts prompts and answers over all epochs."""

    model_config = ConfigDict(frozen=True)

    rows: int
    steps: int
    tokens: int
    seconds: float
    first_loss: float
    loss: float
    base_hash: str


def train(order: Order, rows: list[dict[str, Any]], folder: Path) -> Trained:
    """Fits an adapter to `rows` (each `{"prompt": [messages], "completion": [message]}`) and saves it.

    The loss covers the completion alone: customers' text is the prompt, never the target.

    Raises:
        ValueError: a row is longer than `max_length` tokens, so its answer would be cut off.
    """
    set_seed(order.seed)
    tokenizer = AutoTokenizer.from_pretrained(order.base)
    lengths = [_length(tokenizer, row) for row in rows]
    if max(lengths) > order.max_length:
        raise ValueError(
            f"A row has {max(lengths)} tokens, more than {order.max_length}: filter rows before training."
        )
    trainer = CompletionTrainer(
        model=AutoModelForCausalLM.from_pretrained(order.base, dtype=_dtype()),
        args=_arguments(order, len(rows), folder),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=order.rank,
            lora_alpha=2 * order.rank,
            lora_dropout=0.0,
            target_modules=list(order.targets),
            task_type="CAUSAL_LM",
        ),
        callbacks=[Progress()],
    )
    began = time.monotonic()
    result = trainer.train()
    seconds = time.monotonic() - began
    # Not the trainer's own save, which adds a pickle.
    assert isinstance(trainer.model, PeftModel)
    trainer.model.save_pretrained(str(folder / "adapter"))
    losses = [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]
    return Trained(
        rows=len(rows),
        steps=result.global_step,
        tokens=sum(lengths) * order.epochs,
        seconds=seconds,
        first_loss=losses[0],
        loss=losses[-1],
        base_hash=hash_of(Path(order.base)),
    )


def _dtype() -> torch.dtype:
    """The frozen base model's number format; the adapter itself is always learned in float32."""
    fast = torch.cuda.is_available() or computes_bfloat16(features())
    return torch.bfloat16 if fast else torch.float32


def _length(tokenizer: Any, row: dict[str, Any]) -> int:  # tokenizers share no typed base class
    return len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False))


def _arguments(order: Order, rows: int, folder: Path) -> SFTConfig:
    steps = math.ceil(rows / order.rows_per_step) * order.epochs
    return SFTConfig(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=order.epochs,
        per_device_train_batch_size=order.rows_per_step,
        learning_rate=order.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, steps // 10),
        max_length=order.max_length,
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",  # rows of like length share a step: less padding
        gradient_checkpointing=False,  # the model is small: recomputing would cost a third of the time
        bf16=False,  # the model's own format counts, not a wrapper around it
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=order.seed,
        data_seed=order.seed,
    )


class CompletionTrainer(SFTTrainer):
    """TRL's trainer with logits for the completions alone.

    TRL goes over the whole vocabulary at every position of the prompt too, only to weigh them with zero: with
    prompts ten times longer than answers that was three fifths of the time.
    """

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy of the completions' tokens, summed and divided by their number in the step."""
        assert not return_outputs, "evaluation goes through the engine"
        inner = self.accelerator.unwrap_model(model).get_base_model()
        hidden_B_T_H = inner.get_decoder()(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
        ).last_hidden_state
        targets_B_T = inputs["labels"][:, 1:]
        said_B_T = targets_B_T != IGNORED
        logits_N_V = inner.get_output_embeddings()(hidden_B_T_H[:, :-1][said_B_T])
        loss = cross_entropy(logits_N_V.float(), targets_B_T[said_B_T], reduction="sum")
        return loss / (said_B_T.sum() if num_items_in_batch is None else num_items_in_batch)


class Progress(TrainerCallback):
    """One line a step, so that long training is seen to move."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Called by transformers with the step's loss."""
        if logs and "loss" in logs:
            logger.info("step %d of %d, loss %.3f", state.global_step, state.max_steps, float(logs["loss"]))


def main(folder: Path) -> None:
    """Reads the order, trains, and leaves the result beside it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    order = Order.model_validate_json((folder / "order.json").read_text())
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    trained = train(order, rows, folder)
    (folder / "trained.json").write_text(trained.model_dump_json(indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
