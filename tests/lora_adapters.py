"""Small LoRA adapters for SmolLM2-135M in PEFT's form, written without torch: random ones and empty ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

RANK = 8
# SmolLM2-135M: layers, width, and the width of the values that its attention heads share.
_LAYERS, _WIDTH, _VALUES = 30, 576, 192


def write(folder: Path, scale: float, seed: int = 0) -> Path:
    """An adapter on q_proj and v_proj with weights of that size; scale 0 changes no answer."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    tensors = {}
    for layer in range(_LAYERS):
        for module, width in (("q_proj", _WIDTH), ("v_proj", _VALUES)):
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = draw.normal(size=(RANK, _WIDTH)).astype(np.float32) * 0.05
            # Adding zero makes -0.0 plain zero.
            tensors[f"{name}.lora_B.weight"] = draw.normal(size=(width, RANK)).astype(np.float32) * scale + 0
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 16, "bias": "none"}
    config |= {"target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "base"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
