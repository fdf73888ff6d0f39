"""The hash of a model's weights, for manifests and names."""

from __future__ import annotations

import hashlib
from pathlib import Path


def hash_of(model: Path) -> str:
    """SHA-256 of the weights in a model's folder."""
    with (model / "model.safetensors").open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()
