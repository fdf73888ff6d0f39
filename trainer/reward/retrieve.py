"""The facts of one business for a query, near to what the agent's search finds: words and meaning, by rank.

Rated replies come with a business, not with what was retrieved; training shows the reward what a night
would. Nights themselves never search: the record holds what the agent found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from infra.events import Fact
from trainer.reward.text import Reader, Text

if TYPE_CHECKING:
    from numpy.typing import NDArray

# BM25 as Lucene counts it (Kamphuis et al. 2020), with its usual constants.
_SATURATION, _LENGTH = 1.5, 0.75
# Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
_RANK = 10


class Shelf:
    """One business's facts, searchable."""

    def __init__(self, facts: Sequence[Fact], reader: Reader) -> None:
        self._facts = tuple(facts)
        self._read = reader.read
        self._texts = [self._read(f"{fact.title} {fact.text}".strip()) for fact in facts]
        self._holders = Counter(stem for text in self._texts for stem in text.content)
        self._length = float(np.mean([len(text.stems) for text in self._texts])) if facts else 0.0

    def search(self, query: str, count: int) -> tuple[Fact, ...]:
        """The best `count` facts, best first, with their fused score; what matches in no way is left out."""
        if not self._facts:
            return ()
        asked = self._read(query)
        words = np.array([self._bm25(asked, text) for text in self._texts])
        meaning = np.array([float(asked.vector_D @ text.vector_D) for text in self._texts])
        fused = _reciprocal_ranks(words) + _reciprocal_ranks(meaning)
        best = np.argsort(-fused, kind="stable")[:count]
        return tuple(
            self._facts[index].model_copy(update={"score": round(float(fused[index]), 6)})
            for index in best
            if fused[index] > 0
        )

    def _bm25(self, query: Text, text: Text) -> float:
        counts = Counter(text.stems)
        norm = _SATURATION * (1 - _LENGTH + _LENGTH * len(text.stems) / max(self._length, 1e-9))
        total = 0.0
        for stem in query.stems:
            held = self._holders[stem]
            idf = np.log(1 + (len(self._texts) - held + 0.5) / (held + 0.5))
            total += idf * counts[stem] / (counts[stem] + norm)
        return float(total)


def _reciprocal_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (k + rank) for what matches (score above 0), rank 1 the best; 0 for the rest."""
    order = np.argsort(-scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    return np.where(scores > 0, 1.0 / (_RANK + ranks), 0.0)
