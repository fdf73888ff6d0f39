"""The sentence encoder of the night: all-MiniLM-L6-v2, a better judge of what a query asks than words are.

Slower than static vectors (some milliseconds a text), so it reads queries and facts, never completions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from infra.errors import NightError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Texts together in one pass: more gains nothing on a processor and pads the short ones.
_BATCH = 32
_LONGEST = 256  # tokens: what the encoder was trained with


class Encoder:
    """Unit vectors of texts, the mean of the token vectors, as its authors pool them."""

    def __init__(self, folder: Path) -> None:
        """Raises NightError when the folder does not hold the encoder."""
        if not (folder / "model.safetensors").is_file():
            raise NightError(f"The sentence encoder {folder} is missing: run `make model`, then start again.")
        disable_progress_bar()  # type: ignore[no-untyped-call] # it would fill a night's log
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, 384), in their order."""
        found = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for first in range(0, len(texts), _BATCH):
            batch = by_length[first : first + _BATCH]
            found[batch] = self._encoded([texts[index] for index in batch])
        return found

    @torch.inference_mode()
    def _encoded(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
        )
        states = self._model(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return np.asarray(torch.nn.functional.normalize(mean, dim=1).numpy(), dtype=np.float32)
