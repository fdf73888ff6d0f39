"""Fine-tuning's own parts, on a model of two tiny layers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from tests.engines import BASE_MODEL
from trainer.finetune import IGNORED, CompletionTrainer, Order, train

TINY = LlamaConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)


def tiny() -> Any:
    """A tiny model with an adapter; PEFT's types do not say what its forward takes."""
    torch.manual_seed(1)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(LlamaForCausalLM(TINY), lora)  # type: ignore[no-untyped-call]


def batch() -> dict[str, torch.Tensor]:
    """Two rows of another length, padded at the right, each with an answer of its own length."""
    ids = torch.randint(1, 97, (2, 12), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = torch.full_like(ids, IGNORED)
    labels[0, 8:12], labels[1, 6:9] = ids[0, 8:12], ids[1, 6:9]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("items", [None, 7])
def test_the_loss_is_the_completions_cross_entropy_and_so_are_its_gradients(items: int | None) -> None:
    model, inputs = tiny(), batch()
    trainer = SimpleNamespace(accelerator=SimpleNamespace(unwrap_model=lambda wrapped: wrapped))
    loss = CompletionTrainer.compute_loss(trainer, model, inputs, num_items_in_batch=items)  # type: ignore[arg-type]
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    targets = inputs["labels"][:, 1:].flatten()
    whole = cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=IGNORED)
    whole.backward()  # type: ignore[no-untyped-call]
    assert torch.allclose(loss, whole, atol=1e-5)
    assert len(found) == 8
    for name, parameter in model.named_parameters():
        if name in found:
            assert torch.allclose(found[name], parameter.grad, atol=1e-5), name


def test_training_leaves_an_adapter_without_pickles_that_fits_its_rows(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Is number {number} free?"}],
            "completion": [{"role": "assistant", "content": "Yes, it is."}],
        }
        for number in range(8)
    ]
    order = Order(base=str(BASE_MODEL), rank=4, learning_rate=0.005, epochs=3, rows_per_step=4)
    trained = train(order, rows, tmp_path)
    assert (trained.rows, trained.steps) == (8, 6)
    assert trained.loss < 0.5 * trained.first_loss
    saved = {file.name for file in (tmp_path / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= saved
    assert not [name for name in saved if name.endswith((".bin", ".pt", ".pkl"))]
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(weight.dtype is torch.float32 for weight in weights.values())
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["r"] == 4


def test_a_row_that_would_be_cut_off_is_refused(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "word " * 300}],
        "completion": [{"role": "assistant", "content": "Yes."}],
    }
    with pytest.raises(ValueError, match="more than 64"):
        train(Order(base=str(BASE_MODEL), max_length=64), [row], tmp_path)
