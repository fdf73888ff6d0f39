"""Vectors of single words from the table of static vectors that the agent searches with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from model2vec import StaticModel

from infra.errors import NightError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WordTable:
    """A word's vector is the sum of its pieces'; a word that the table does not know is all zeros."""

    def __init__(self, folder: Path) -> None:
        """Raises NightError when the folder does not hold static vectors."""
        try:
            self._model = StaticModel.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as err:
            raise NightError(f"{folder} does not hold static vectors ({err}): run `make model`.") from err
        self._table = np.asarray(self._model.embedding, dtype=np.float32)

    def __call__(self, word: str) -> NDArray[np.float32]:
        """Shape (dimensions,), not normalised: its length says how much the word tells."""
        return np.asarray(self._table[self._model.tokenize([word])[0]].sum(axis=0), dtype=np.float32)
