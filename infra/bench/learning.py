"""How fast a night fine-tunes: rows a second against TRL's own defaults and a bare loop, on the same rows.

The rows are the demo's: prompts as long as customers' are, references as answers. Nothing is kept of what is
learned. `infra` imports no room and no torch, so each side is a program of its own.
"""

from __future__ import annotations

import json
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

ROWS = 96
ROUNDS = 3
# Facts in a prompt, as the agent puts there.
FACTS = 6
SEED = 1

# What all sides share: the folder, the order in it, its rows.
_READ = """
import json, sys, time
from pathlib import Path
from trainer.order import Order
folder = Path(sys.argv[1])
order = Order.model_validate_json((folder / "order.json").read_text())
rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
"""
_OURS = (
    _READ
    + """
from trainer.finetune import train
done = train(order, rows, folder)
print("\\n" + json.dumps({"seconds": done.seconds, "loss": done.loss}))
"""
)
_LORA = """
import torch
from peft import LoraConfig, get_peft_model
lora = LoraConfig(
    r=order.rank, lora_alpha=2 * order.rank, target_modules=list(order.targets), task_type="CAUSAL_LM"
)
"""
# All as TRL has it, but for what must be equal: adapter, passes, rows in a step, longest row, learning rate.
_PEER = (
    _READ
    + _LORA
    + """
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer
settings = SFTConfig(
    output_dir=str(folder / "checkpoints"), num_train_epochs=order.epochs, learning_rate=order.learning_rate,
    per_device_train_batch_size=order.rows_per_step, max_length=order.max_length, seed=order.seed,
    use_cpu=not torch.cuda.is_available(), logging_steps=1, save_strategy="no", report_to=[],
)
known = [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
data = Dataset.from_list(known)
trainer = SFTTrainer(model=order.base, args=settings, train_dataset=data, peft_config=lora)
began = time.monotonic()
trainer.train()
seconds = time.monotonic() - began
losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
print("\\n" + json.dumps({"seconds": seconds, "loss": losses[-1]}))
"""
)
# What no trainer can beat: the model's own passes forward and back over the same rows, sorted, in its format.
_FLOOR = (
    _READ
    + _LORA
    + """
from transformers import AutoModelForCausalLM, AutoTokenizer
from infra.processor import computes_bfloat16, features
torch.manual_seed(order.seed)
tokenizer = AutoTokenizer.from_pretrained(order.base)
fast = torch.cuda.is_available() or computes_bfloat16(features())
model = AutoModelForCausalLM.from_pretrained(order.base, dtype=torch.bfloat16 if fast else torch.float32)
model = get_peft_model(model, lora).to("cuda" if torch.cuda.is_available() else "cpu")
decoder, head = model.get_base_model().get_decoder(), model.get_base_model().get_output_embeddings()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=order.learning_rate)
def read(messages, **options):
    return tokenizer.apply_chat_template(messages, return_dict=False, **options)
whole = [read(row["prompt"] + row["completion"]) for row in rows]
asked = [read(row["prompt"], add_generation_prompt=True) for row in rows]
said = [len(ids) - len(prompt) for ids, prompt in zip(whole, asked)]
places = sorted(range(len(rows)), key=lambda place: len(whole[place]))
began, loss = time.monotonic(), torch.tensor(0.0)
for _ in range(order.epochs):
    for first in range(0, len(places), order.rows_per_step):
        some = places[first : first + order.rows_per_step]
        ends = [len(whole[place]) for place in some]
        longest = max(ends)
        ids = torch.tensor([whole[p] + [0] * (longest - end) for p, end in zip(some, ends)])
        mask = torch.tensor([[1] * end + [0] * (longest - end) for end in ends])
        ids, mask = ids.to(model.device), mask.to(model.device)
        hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        spans = [(row, end - said[place], end) for row, (place, end) in enumerate(zip(some, ends))]
        kept = torch.cat([hidden[row, first - 1 : end - 1] for row, first, end in spans])
        aims = torch.cat([ids[row, first:end] for row, first, end in spans])
        loss = torch.nn.functional.cross_entropy(head(kept).float(), aims)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
print("\\n" + json.dumps({"seconds": time.monotonic() - began, "loss": loss.item()}))
"""
)
SIDES = {"bare loop (floor)": _FLOOR, "TRL's defaults": _PEER, "a night": _OURS}


@dataclass(frozen=True, slots=True)
class Took:
    """One training run: rows a second, and the loss of its last step."""

    rate: float
    loss: float


def run(told: Callable[[str], object]) -> Table:
    """Trains by each side in turn, several times, and compares the medians.

    Raises:
        ProcessError: a side failed; the message has its last words.
    """
    took: dict[str, list[Took]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        _write(Path(folder))
        for number in range(1, ROUNDS + 1):
            for name, program in SIDES.items():
                took[name].append(_train(name, program, Path(folder)))
                told(f"round {number} of {ROUNDS}, {name}: {took[name][-1].rate:.2f} rows/s")
    return table(took)


def table(took: dict[str, list[Took]]) -> Table:
    """Medians with their spread, and against TRL's defaults."""
    title = f"Fine-tuning {ROWS} rows, one pass (medians of {ROUNDS} rounds; goal: 1.5 times TRL's defaults)"
    out = Table(title=title, title_justify="left")
    for column in ("side", "rows/s", "of TRL's defaults", "last loss"):
        out.add_column(column)
    peer = median(one.rate for one in took["TRL's defaults"])
    for name, runs in took.items():
        rates = sorted(one.rate for one in runs)
        out.add_row(
            name,
            f"{median(rates):.2f} ({rates[0]:.2f} to {rates[-1]:.2f})",
            f"{median(rates) / peer:.2f}",
            f"{median(one.loss for one in runs):.3f}",
        )
    return out


def _write(folder: Path) -> None:
    """The rows, and an order that is a night's but for one pass."""
    made = rows(random.Random(SEED))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    program = (
        "from infra.settings import load; from trainer.order import Order; "
        "print(Order.of(load()).model_copy(update={'epochs': 1}).model_dump_json())"
    )
    (folder / "order.json").write_text(_output("the order", [program]))


def rows(rng: random.Random) -> Iterator[dict[str, Any]]:
    """Customers' questions with six facts of their business, the answering one among them."""
    texts = {business.collection: [text for _, text in business.facts] for business in businesses()}
    names = {business.collection: business.name for business in businesses()}
    for question in rng.sample(questions(), ROWS):
        others = [text for text in texts[question.collection] if text != question.reference]
        facts = [question.reference, *rng.sample(others, min(FACTS - 1, len(others)))]
        rng.shuffle(facts)
        system = (
            f"You answer customers of {names[question.collection]}. Use these facts alone, and be brief. "
            "Where they do not answer, say that you do not know.\n" + "\n".join(f"- {fact}" for fact in facts)
        )
        yield {
            "prompt": [{"role": "system", "content": system}, {"role": "user", "content": question.text}],
            "completion": [{"role": "assistant", "content": question.reference}],
            "weight": 1.0,
        }


def _train(name: str, program: str, folder: Path) -> Took:
    found = json.loads(_output(name, [program, str(folder)]).splitlines()[-1])
    return Took(rate=ROWS / found["seconds"], loss=found["loss"])


def _output(name: str, program: list[str]) -> str:
    environment = child_environment(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    done = subprocess.run(
        [sys.executable, "-c", *program], check=False, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        raise ProcessError(f"{name} failed: {done.stderr[-500:]}")
    return done.stdout
