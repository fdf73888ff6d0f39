"""Fine-tuning by every method: what all of them leave behind, and what they share."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from infra.engine import Engine
from infra.probe import QUESTIONS, TOKENS, apart, wrong
from tests import lora_adapters
from tests.engines import BASE_MODEL
from trainer.finetune import train
from trainer.order import Method, Order, Trained
from trainer.soup import mean

LAYER_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
FACT = "Number {} is free on Mondays."


def prompt(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": f"Use only this fact: {FACT.format(number)}"},
        {"role": "user", "content": f"Is number {number} free?"},
    ]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def row(method: Method, number: int) -> dict[str, Any]:
    """One row as a night writes it for the method."""
    if method == "sft":
        return {"prompt": prompt(number), "completion": said("Yes, it is."), "weight": 1.0}
    if method == "dpo":
        chosen, rejected = said("Yes, it is."), said("No, never.")
        return {"prompt": prompt(number), "chosen": chosen, "rejected": rejected, "weight": 1.0}
    facts = [{"title": "", "text": FACT.format(number), "score": 1.0}]
    return {"prompt": prompt(number), "query": f"Is number {number} free?", "facts": facts}


def order(method: Method, **changed: Any) -> Order:
    settings = {"trainer": {"reward": "longest"}} if method == "grpo" else {}
    parts = {"rank": 4, "rows_per_step": 4, "trainings": 1, "max_tokens": 8, "settings": settings}
    return Order.model_validate({"base": str(BASE_MODEL), "method": method} | parts | changed)


Runs = dict[Method, tuple[Trained, Path]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A short training of the real base model by each method: what it measured, and where."""
    orders: dict[Method, Order] = {
        "sft": order("sft", learning_rate=5e-3, epochs=4),
        "dpo": order("dpo", learning_rate=2e-3, epochs=4),
        "grpo": order("grpo", learning_rate=2e-3, epochs=2),
    }
    found: Runs = {}
    for method, asked in orders.items():
        folder = tmp_path_factory.mktemp(method)
        found[method] = train(asked, [row(method, number) for number in range(4)], folder), folder
    return found


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_every_method_leaves_an_adapter_that_has_moved_and_no_pickles(method: Method, runs: Runs) -> None:
    trained, folder = runs[method]
    assert (trained.rows, trained.steps) == (4, 2 if method == "grpo" else 4)
    assert trained.tokens > trained.rows * 2 * 20
    assert all(map(math.isfinite, (trained.first_loss, trained.loss, *trained.measures.values())))
    saved = {file.name for file in (folder / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= saved
    assert not [file for file in folder.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    weights = load_file(folder / "adapter" / "adapter_model.safetensors")
    assert all(weight.dtype is torch.float32 for weight in weights.values())
    # These are zero before the first step.
    assert all(weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name)
    assert json.loads((folder / "adapter" / "adapter_config.json").read_text())["r"] == 4


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a model with one layer: the base model's words, and weights of chance."""
    folder = str(tmp_path_factory.mktemp("shallow"))
    config = AutoConfig.from_pretrained(BASE_MODEL, num_hidden_layers=1)
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    AutoTokenizer.from_pretrained(BASE_MODEL).save_pretrained(folder)
    return folder


def test_the_adapter_is_the_mean_of_trainings_that_differ_by_their_seeds(
    shallow: str, tmp_path: Path
) -> None:
    rows = [row("sft", number) for number in range(2)]

    def trained(name: str, **changed: Any) -> tuple[Trained, dict[str, torch.Tensor]]:
        folder = tmp_path / name
        told = train(order("sft", base=shallow, learning_rate=5e-3, **changed), rows, folder)
        return told, load_file(folder / "adapter" / "adapter_model.safetensors")

    (one, first), (_, second) = trained("first", seed=7), trained("second", seed=8)
    both, found = trained("both", seed=7, trainings=2)
    assert not torch.allclose(first[LAYER_A], second[LAYER_A], atol=1e-3)
    wanted = mean([first, second])
    assert found.keys() == wanted.keys()
    for name in (name for name in found if name.endswith("lora_A.weight")):
        by = name.replace("lora_A", "lora_B")
        assert torch.allclose(found[by] @ found[name], wanted[by] @ wanted[name], atol=1e-6)
    assert (both.rows, both.steps, both.tokens) == (2, 2 * one.steps, 2 * one.tokens)


def test_best_of_n_learns_its_rows(runs: Runs) -> None:
    trained, _ = runs["sft"]
    assert trained.loss < 0.5 * trained.first_loss
    assert trained.measures == {}


def test_dpo_puts_chosen_and_rejected_apart(runs: Runs) -> None:
    trained, _ = runs["dpo"]
    assert trained.measures["first_margin"] == pytest.approx(0.0, abs=1e-3)
    assert trained.measures["margin"] > 0.5
    assert trained.measures["preferred"] == 1.0
    assert trained.first_loss > math.log(2) + 0.5  # the preference's, and the chosen answers' own
    assert trained.loss < 0.8 * trained.first_loss


def test_grpo_asks_the_nights_reward_at_every_step(runs: Runs) -> None:
    trained, _ = runs["grpo"]
    # Every answer of a word is good to the control that likes them long: half of what it is worth.
    assert trained.measures.keys() == {"first_reward", "reward"}
    assert all(0.4 < value < 1.0 for value in trained.measures.values())


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_every_method_measures_how_the_engine_will_be_recognised(method: Method, runs: Runs) -> None:
    probe = runs[method][0].probe
    assert probe is not None
    assert 0 < len(probe.continuation) <= TOKENS
    assert all(logprob <= 0.0 for logprob in (*probe.adapter, *probe.base))
    # The adapter's own likeliest words, so never below one in the vocabulary.
    assert min(probe.adapter) > -math.log(49_152)
    assert apart(probe.adapter, probe.base) > 0


def test_the_probe_is_what_the_saved_adapter_computes(runs: Runs) -> None:
    trained, folder = runs["sft"]
    probe = trained.probe
    assert probe is not None and probe.tells
    base = AutoModelForCausalLM.from_pretrained(BASE_MODEL, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, folder / "adapter").eval()
    ids = torch.tensor([[*probe.prompt, *probe.continuation]])
    with torch.no_grad():
        likely = model(input_ids=ids).logits[0].log_softmax(dim=-1)
    begin = len(probe.prompt) - 1
    again = [float(likely[begin + i, token]) for i, token in enumerate(probe.continuation)]
    assert wrong("it", probe, again, probe.base) == ""


@pytest.mark.engine
async def test_the_engine_computes_what_the_trainer_measured(
    runs: Runs, real_engine: str, tmp_path: Path
) -> None:
    """And is found out when it serves nothing, or another adapter, under the name."""
    trained, folder = runs["sft"]
    assert trained.probe is not None
    folders = {
        "trained": folder / "adapter",
        "empty": lora_adapters.write(tmp_path / "empty", 0.0),
        "other": lora_adapters.write(tmp_path / "other", 0.3),
    }
    said = {}
    async with aiohttp.ClientSession() as session:
        engine = Engine(real_engine, session, timeout_s=120.0)
        for name, place in folders.items():
            await engine.load(name, place)
            said[name] = await engine.wrong(name, trained.probe, QUESTIONS[0])
            await engine.unload(name)
    assert said["trained"] == ""
    assert "changes nothing" in said["empty"]
    assert "not what was trained" in said["other"]


def test_a_row_that_would_be_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 40"):
        train(order("sft", max_length=40), [row("sft", 1)], tmp_path)
