"""Adapters of random weights in PEFT's form, for any base model like Llama, written without torch.

Right in shape and wrong in every answer: what is measured with them is the engine's speed alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
# Large enough to change what the model says, small enough to keep its numbers finite.
_SIZE = 0.02


def write(folder: Path, base_model: Path, rank: int, targets: Sequence[str], seed: int = 0) -> Path:
    """An adapter of `rank` on the modules `targets` of each layer; returns its folder."""
    folder.mkdir(parents=True)
    model = json.loads((base_model / "config.json").read_bytes())
    draw, tensors = np.random.default_rng(seed), {}
    for layer in range(model["num_hidden_layers"]):
        for module in targets:
            inputs, outputs = _shape(model, module)
            part = "self_attn" if module in ATTENTION else "mlp"
            name = f"base_model.model.model.layers.{layer}.{part}.{module}"
            for side, shape in (("lora_A", (rank, inputs)), ("lora_B", (outputs, rank))):
                tensors[f"{name}.{side}.weight"] = draw.normal(0, _SIZE, shape).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 2 * rank}
    config |= {"bias": "none", "target_modules": list(targets), "base_model_name_or_path": "base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _shape(model: dict[str, int], module: str) -> tuple[int, int]:
    """A module's inputs and outputs."""
    width, inner, head = model["hidden_size"], model["intermediate_size"], model["head_dim"]
    heads, shared = model["num_attention_heads"] * head, model["num_key_value_heads"] * head
    return {
        "q_proj": (width, heads),
        "k_proj": (width, shared),
        "v_proj": (width, shared),
        "o_proj": (heads, width),
        "gate_proj": (width, inner),
        "up_proj": (width, inner),
        "down_proj": (inner, width),
    }[module]
