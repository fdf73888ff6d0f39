"""Fine-tuning, in its own process: chosen rows in, a LoRA adapter out.

`python -m trainer.finetune FOLDER` reads `order.json` and `rows.jsonl` there and writes `adapter/` and
`trained.json`. It knows nothing of nights or the lake; killing it loses only its own work. What the methods
share is here, what makes each of them is in `methods/`.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import disable_progress_bars
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed

from infra.events import Message
from infra.probe import QUESTIONS, TOKENS, Probe, apart
from infra.processor import computes_bfloat16, features
from trainer.order import Order, Trained
from trainer.soup import mean
from trainer.weights import hash_of

logger = logging.getLogger(__name__)

# What a method says of itself at every step, by its name in TRL's log; ours goes into the manifest.
MEASURES = {"rewards/margins": "margin", "rewards/accuracies": "preferred", "reward": "reward"}


def train(order: Order, rows: list[dict[str, Any]], folder: Path) -> Trained:
    """Fits an adapter to `rows` by the order's method, which says what a row holds, and saves it.

    Raises:
        ValueError: a row is longer than `max_length` tokens, so its answer would be cut off.
        SettingsError, NightError: the reward that the method asks is not there.
    """
    tokenizer = AutoTokenizer.from_pretrained(order.base)
    lengths_R = [_lengths(tokenizer, row, order.max_tokens) for row in rows]
    longest = max(map(max, lengths_R))
    if longest > order.max_length:
        raise ValueError(
            f"A row has {longest} tokens, more than {order.max_length}: filter rows before training."
        )
    known = sum(map(sum, lengths_R)) * order.epochs
    times = order.times(len(rows))

    def run(number: int) -> tuple[PeftModel, Run]:
        seeded = order.model_copy(update={"seed": order.seed + number})
        return _run(seeded, rows, folder, tokenizer, Progress(number + 1, times))

    # The last model takes the mean. The others are not kept: large ones have no room beside each other.
    runs = [run(number)[1] for number in range(times - 1)]
    model, last = run(times - 1)
    runs.append(last)
    set_peft_model_state_dict(model, mean([run.weights for run in runs]))
    # Not the trainer's own save, which adds a pickle.
    model.save_pretrained(str(folder / "adapter"))
    return Trained(
        rows=len(rows),
        steps=sum(len(run.steps) for run in runs),
        # What was sampled in training only the trainer knows.
        tokens=sum(int(run.steps[-1].get("num_tokens", known)) for run in runs),
        seconds=sum(run.seconds for run in runs),
        first_loss=fmean(float(run.steps[0]["loss"]) for run in runs),
        loss=fmean(float(run.steps[-1]["loss"]) for run in runs),
        base_hash=hash_of(Path(order.base)),
        measures=_measures([run.steps for run in runs]),
        probe=_probe(model, tokenizer),
    )


@dataclass(frozen=True)
class Run:
    """One of a night's trainings: its adapter's weights by name, and what its steps logged."""

    weights: dict[str, torch.Tensor]
    steps: list[dict[str, Any]]
    seconds: float


def _run(
    order: Order, rows: list[dict[str, Any]], folder: Path, tokenizer: Any, progress: Progress
) -> tuple[PeftModel, Run]:
    """One training. The order's seed decides the first weights and the order of the rows."""
    gc.collect()  # a trainer refers to itself: the models of those before would add up
    set_seed(order.seed)
    parts = _parts(order, tokenizer, progress)
    trainer = _method(order)(order, rows, _arguments(order, len(rows), folder), parts)
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    assert isinstance(trainer.model, PeftModel)
    steps = [line for line in trainer.state.log_history if "loss" in line]
    weights = {name: tensor.cpu() for name, tensor in get_peft_model_state_dict(trainer.model).items()}
    return trainer.model, Run(weights, steps, seconds)


def _method(order: Order) -> Callable[..., Any]:
    """The `make` of the order's method. Only that is imported: GRPO brings four seconds of imports."""
    make: Callable[..., Any] = import_module(f"trainer.methods.{order.method}").make
    return make


def _dtype() -> torch.dtype:
    """The frozen base model's number format; the adapter itself is always learned in float32."""
    fast = torch.cuda.is_available() or computes_bfloat16(features())
    return torch.bfloat16 if fast else torch.float32


def _lengths(tokenizer: Any, row: dict[str, Any], sampled: int) -> list[int]:  # tokenizers share no type
    """Tokens of each text of a row: its prompt with each of its answers, or with the longest sample."""
    answers = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    if not answers:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        return [len(prompt) + sampled]
    return [len(tokenizer.apply_chat_template(row["prompt"] + said, return_dict=False)) for said in answers]


def _parts(order: Order, tokenizer: Any, progress: Progress) -> dict[str, Any]:
    """What every trainer of TRL takes under the same names."""
    lora = LoraConfig(
        r=order.rank,
        lora_alpha=2 * order.rank,
        lora_dropout=0.0,
        target_modules=list(order.targets),
        task_type="CAUSAL_LM",
    )
    return {
        "model": AutoModelForCausalLM.from_pretrained(order.base, dtype=_dtype()),
        "processing_class": tokenizer,
        "peft_config": lora,
        "callbacks": [progress],
    }


def _arguments(order: Order, rows: int, folder: Path) -> dict[str, Any]:
    """What every method's settings say alike."""
    return {
        "output_dir": str(folder / "checkpoints"),
        "num_train_epochs": order.epochs,
        "learning_rate": order.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": order.warmup(rows),  # below 1 it is a share of the steps
        "gradient_checkpointing": False,  # the model is small: recomputing would cost a third of the time
        "bf16": False,  # the model's own format counts, not a wrapper around it
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": order.seed,
        "data_seed": order.seed,
    }


def _measures(runs_K: Sequence[list[dict[str, Any]]]) -> dict[str, float]:
    """The method's own measures at the first step and at the last, in the mean of the trainings."""
    return {
        place + ours: fmean(float(steps[at][theirs]) for steps in runs_K)
        for place, at in (("first_", 0), ("", -1))
        for theirs, ours in MEASURES.items()
        if theirs in runs_K[0][at]
    }


def _probe(model: PeftModel, tokenizer: Any) -> Probe:
    """What the adapter says to the fixed question that it moves most, and how likely that is to the base."""
    model.eval()
    with torch.no_grad():
        probes = [_probed(model, tokenizer, question) for question in QUESTIONS]
    return max(probes, key=lambda probe: apart(probe.adapter, probe.base))


def _probed(model: PeftModel, tokenizer: Any, question: Sequence[Message]) -> Probe:
    messages = [{"role": message.role, "content": message.content} for message in question]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    ids = torch.tensor([prompt], device=model.device)
    while ids.shape[1] < len(prompt) + TOKENS and ids[0, -1] != tokenizer.eos_token_id:
        likeliest = model(input_ids=ids).logits[:, -1].argmax(dim=-1, keepdim=True)
        ids = torch.cat([ids, likeliest], dim=1)
    with_adapter = _logprobs(model, ids, len(prompt))
    with model.disable_adapter():
        without = _logprobs(model, ids, len(prompt))
    continuation = ids[0, len(prompt) :].tolist()
    return Probe(prompt=tuple(prompt), continuation=tuple(continuation), adapter=with_adapter, base=without)


def _logprobs(model: PeftModel, ids: torch.Tensor, begin: int) -> tuple[float, ...]:
    """Of the tokens from `begin` on."""
    logits = model(input_ids=ids).logits[0, begin - 1 : -1].float().log_softmax(dim=-1)
    return tuple(logits.gather(1, ids[0, begin:, None])[:, 0].tolist())


class Progress(TrainerCallback):
    """One line a step, so that long training is seen to move."""

    def __init__(self, number: int = 1, trainings: int = 1) -> None:
        self._which = f"training {number} of {trainings}, " if trainings > 1 else ""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Called by transformers with what the step measured."""
        if logs and "loss" in logs:
            told = ", ".join(f"{ours} {logs[name]:.3f}" for name, ours in MEASURES.items() if name in logs)
            told = told or f"loss {logs['loss']:.3f}"
            logger.info("%sstep %d of %d, %s", self._which, state.global_step, state.max_steps, told)


def main(folder: Path) -> None:
    """Reads the order, trains, and leaves the result beside it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    disable_progress_bars()  # the steps are told in lines
    order = Order.model_validate_json((folder / "order.json").read_text())
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    trained = train(order, rows, folder)
    (folder / "trained.json").write_text(trained.model_dump_json(indent=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
