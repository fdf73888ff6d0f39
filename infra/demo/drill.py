"""The drill: an adapter that is broken on purpose, in the shape of a real one."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from infra.registry import Adapter, Registry

# Random weights of this spread drown what the base model knows: its answers become word salad.
SPREAD = 0.5


def broken(model: Adapter, registry: Registry, folder: Path, seed: int) -> Adapter:
    """Registers a copy of `model` whose weights are random."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(model.folder / "adapter_config.json", folder)
    rng = np.random.default_rng(seed)
    weights = {
        name: (rng.standard_normal(tensor.shape) * SPREAD).astype(np.float32)
        for name, tensor in load_file(model.folder / "adapter_model.safetensors").items()
    }
    save_file(weights, folder / "adapter_model.safetensors")
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
