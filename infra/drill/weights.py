"""Bad adapters that nobody trained: the shape of a real one with other numbers in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from infra.registry import Adapter, Registry

# Random weights of this spread drown what the base model knows: its answers become word salad.
SPREAD = 0.5

Weights = Mapping[str, NDArray[np.float32]]
Change = Callable[[Weights, np.random.Generator], dict[str, NDArray[np.float32]]]


def at_random(weights: Weights, chance: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Word salad."""
    return {
        name: (chance.standard_normal(tensor.shape) * SPREAD).astype(np.float32)
        for name, tensor in weights.items()
    }


def not_numbers(weights: Weights, _: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """What a training run that diverged leaves."""
    return {name: np.full_like(tensor, np.nan) for name, tensor in weights.items()}


def no_change(weights: Weights, _: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """An adapter that adds nothing: served, it would pass for the base model."""
    return {name: np.zeros_like(tensor) for name, tensor in weights.items()}


def other_base(weights: Weights, _: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Trained on a model twice as wide: A's inputs and B's outputs are twice as many."""
    return {
        name: np.concatenate([tensor, tensor], axis=1 if "lora_A" in name else 0)
        for name, tensor in weights.items()
    }


def made(model: Adapter, change: Change, registry: Registry, folder: Path, seed: int) -> Adapter:
    """Registers a copy of `model` with changed weights; `folder` is scratch."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(model.folder / "adapter_config.json", folder)
    weights = load_file(model.folder / "adapter_model.safetensors")
    save_file(change(weights, np.random.default_rng(seed)), folder / "adapter_model.safetensors")
    return registry.register(
        folder,
        night="drill",
        created=datetime.now(UTC),
        base_model=model.manifest.base_model,
        base_hash=model.manifest.base_hash,
        parent_snapshot=0,
        seeds={"drill": seed},
        versions={},
        rows=0,
        metrics={},
    )
