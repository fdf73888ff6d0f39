"""How fast a night fine-tunes: rows a second against TRL's own defaults and a bare loop, on the same rows.

The rows are the demo's, prompts as customers' are, references as answers and other facts as rejected ones, or
the first ones of the `rows.jsonl` that `BENCH_ROWS` names, from the folder `finetune` of a night that learned
by DPO. Loss is each side's adapter on the good answers, measured alike for all. `infra` imports no room and
no torch, so each side is a program of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from infra.demo.business import businesses, questions
from infra.errors import ProcessError
from infra.settings import child_environment

# Four steps of a night: more take longer and tell no other rate.
ROWS = 32
ROUNDS = 3
# Facts in a prompt, as the agent puts there.
FACTS = 6
SEED = 1

# What all sides share: the order, its rows in batches of like length, the loss of their answers alone.
_BEGIN = """
import json, sys, time
from pathlib import Path
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from infra.processor import computes_bfloat16, features
from trainer.order import Order

folder = Path(sys.argv[1])
order = Order.model_validate_json((folder / "order.json").read_text())
rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
answer = "completion" if order.method == "sft" else "chosen"
lora = LoraConfig(
    r=order.rank, lora_alpha=2 * order.rank, target_modules=list(order.targets), task_type="CAUSAL_LM"
)
cuda = torch.cuda.is_available()
device = "cuda" if cuda else "cpu"

def base():
    dtype = torch.bfloat16 if cuda or computes_bfloat16(features()) else torch.float32
    return AutoModelForCausalLM.from_pretrained(order.base, dtype=dtype).to(device)

def batches():
    tokenizer = AutoTokenizer.from_pretrained(order.base)
    def read(messages, **options):
        return tokenizer.apply_chat_template(messages, return_dict=False, **options)
    known = sorted((
        (read(row["prompt"] + row[answer]), len(read(row["prompt"], add_generation_prompt=True)))
        for row in rows
    ), key=lambda one: len(one[0]))
    for first in range(0, len(known), order.rows_per_step):
        some = known[first : first + order.rows_per_step]
        longest = max(len(whole) for whole, _ in some)
        ids = torch.zeros(len(some), longest, dtype=torch.long, device=device)
        mask, said = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for place, (whole, asked) in enumerate(some):
            ids[place, : len(whole)] = torch.tensor(whole)
            mask[place, : len(whole)], said[place, asked : len(whole)] = 1, True
        yield ids, mask, said[:, 1:]

def loss_of(model, ids, mask, said):
    inner = model.get_base_model()
    hidden = inner.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logits = inner.get_output_embeddings()(hidden[:, :-1][said]).float()
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][said])
"""
_END = """
model = PeftModel.from_pretrained(base(), str(folder / "adapter"))
with torch.no_grad():
    found = [(loss_of(model, *batch).item(), batch[2].sum().item()) for batch in batches()]
loss = sum(one * count for one, count in found) / sum(count for _, count in found)
print("\\n" + json.dumps({"rate": len(rows) * order.epochs / seconds, "loss": loss}))
"""
# `python -m trainer.finetune`, as a night runs it.
_OURS = """
from trainer.finetune import main
main(folder)
seconds = json.loads((folder / "trained.json").read_text())["seconds"]
"""
# All as TRL has it, but for what must be equal: adapter, passes, rows in a step, longest row, loss, learning
# rate and its course. So it recomputes activations (gradient_checkpointing), and holds float32 weights under
# bfloat16 autocast.
_PEER = """
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trainer.methods.dpo import BETA
dpo = order.method == "dpo"
Config, Trainer = (DPOConfig, DPOTrainer) if dpo else (SFTConfig, SFTTrainer)
settings = Config(
    output_dir=str(folder / "checkpoints"), num_train_epochs=order.epochs, learning_rate=order.learning_rate,
    per_device_train_batch_size=order.rows_per_step, max_length=order.max_length, seed=order.seed,
    lr_scheduler_type="cosine", warmup_steps=order.warmup(len(rows)), use_cpu=not cuda,
    save_strategy="no", report_to=[],
    **({"beta": BETA, "loss_type": ["sigmoid", "sft"]} if dpo else {}),
)
known = Dataset.from_list([{name: row[name] for name in row if name != "weight"} for row in rows])
trainer = Trainer(model=order.base, args=settings, train_dataset=known, peft_config=lora)
began = time.monotonic()
trainer.train()
seconds = time.monotonic() - began
trainer.save_model(str(folder / "adapter"))
"""
# What no trainer can beat: the model's own passes forward and back over the same batches, in our format.
_FLOOR = """
torch.manual_seed(order.seed)
model, steps = get_peft_model(base(), lora), list(batches())
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=order.learning_rate)
began = time.monotonic()
for _ in range(order.epochs):
    for batch in steps:
        loss_of(model, *batch).backward()
        optimizer.step()
        optimizer.zero_grad()
seconds = time.monotonic() - began
model.save_pretrained(str(folder / "adapter"))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A way to train, by which method, and the side that it is compared with."""

    method: str
    program: str
    peer: str


SIDES = {
    "SFT, bare loop (floor)": Side("sft", _FLOOR, "SFT, TRL's defaults"),
    "SFT, TRL's defaults": Side("sft", _PEER, "SFT, TRL's defaults"),
    "SFT, a night": Side("sft", _OURS, "SFT, TRL's defaults"),
    "DPO, TRL's defaults": Side("dpo", _PEER, "DPO, TRL's defaults"),
    "DPO, a night": Side("dpo", _OURS, "DPO, TRL's defaults"),
}


@dataclass(frozen=True, slots=True)
class Took:
    """One training run: rows a second, and the loss of its adapter on them."""

    rate: float
    loss: float


def run(told: Callable[[str], object]) -> Table:
    """Trains by each side in turn, several times, and compares the medians.

    Raises:
        ProcessError: a side failed; the message has its last words.
    """
    took: dict[str, list[Took]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        for method in sorted({side.method for side in SIDES.values()}):
            _write(method, Path(folder) / method)
        for number in range(1, ROUNDS + 1):
            # Every second round in the opposite order.
            for name in SIDES if number % 2 else reversed(SIDES):
                took[name].append(_train(name, Path(folder) / SIDES[name].method))
                told(f"round {number} of {ROUNDS}, {name}: {took[name][-1].rate:.2f} rows/s")
    return table(took)


def table(took: dict[str, list[Took]]) -> Table:
    """Medians with their spread, and against TRL's defaults."""
    title = f"Fine-tuning, one pass (medians of {ROUNDS} rounds; goal: 1.5 times TRL's defaults)"
    out = Table(title=title, title_justify="left")
    for column in ("side", "rows/s", "of TRL's defaults", "loss after it"):
        out.add_column(column)
    for name, runs in took.items():
        peer = median(one.rate for one in took[SIDES[name].peer])
        rates = sorted(one.rate for one in runs)
        out.add_row(
            name,
            f"{median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})",
            f"{median(rates) / peer:.2f}",
            f"{median(one.loss for one in runs):.3f}",
        )
    return out


def _write(method: str, folder: Path) -> None:
    """The rows as `method` reads them, and an order that is a night's but for one pass, once."""
    folder.mkdir()
    if name := os.environ.get("BENCH_ROWS"):
        known = [json.loads(line) for line in Path(name).read_text().splitlines()[:ROWS]]
    else:
        known = list(rows(random.Random(SEED)))
    if method == "sft":
        known = [
            {"prompt": row["prompt"], "completion": row["chosen"], "weight": row["weight"]} for row in known
        ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    program = (
        "from infra.settings import load; from trainer.order import Order; "
        f"one = {{'method': '{method}', 'epochs': 1, 'trainings': 1}}; "
        "print(Order.of(load()).model_copy(update=one).model_dump_json())"
    )
    (folder / "order.json").write_text(_output("the order", [program]))


def rows(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Customers' questions with six facts of their business, the answering one among them: for DPO."""
    texts = {business.collection: [text for _, text in business.facts] for business in businesses()}
    names = {business.collection: business.name for business in businesses()}
    for question in rng.sample(questions(), ROWS):
        others = [text for text in texts[question.collection] if text != question.reference]
        facts = [question.reference, *rng.sample(others, min(FACTS - 1, len(others)))]
        rng.shuffle(facts)
        system = (
            f"You answer customers of {names[question.collection]}. Use only these facts:\n"
            + "".join(f"- {fact}\n" for fact in facts)
            + "Answer in one or two short sentences."
        )
        yield {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": question.text}],
            "chosen": [{"role": "assistant", "content": question.reference}],
            "rejected": [{"role": "assistant", "content": rng.choice(others)}],
            "weight": 1.0,
        }


def _train(name: str, folder: Path) -> Took:
    program = _BEGIN + SIDES[name].program + _END
    return Took(**json.loads(_output(name, [program, str(folder)]).splitlines()[-1]))


def _output(name: str, program: list[str]) -> str:
    environment = child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    done = subprocess.run(
        [sys.executable, "-c", *program], check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise ProcessError(f"{name} failed: {done.stderr[-500:]}")
    return done.stdout
