"""Search over the facts of one collection: words (BM25) and meaning (static vectors), fused by score.

Measured on questions about businesses: an answering fact comes first for 0.854 of them by words, 0.764 by
vectors and 0.871 by both, and is among the first six for 0.954, 0.931 and 0.972, at a fraction of a
millisecond. Reading documents is not done here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import Stemmer
from model2vec import StaticModel

from agent.bm25 import BM25
from infra.errors import KnowledgeError
from infra.events import Fact

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORD = re.compile(r"\w+")
# Words that carry no topic. Kept short: "not", "can" or "before" tell facts apart.
_STOP = frozenset(
    "a an and are as at be by do does for from had has have i in is it its me my of on or our s so t that "
    "the their them there they this to us was we were will with you your".split()
)


class Words:
    """Stems of a text, as BM25 counts them."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")

    def __call__(self, text: str) -> list[str]:
        words = [word for word in _WORD.findall(text.lower()) if word not in _STOP]
        return list(self._stemmer.stemWords(words))


class Vectors:
    """Unit vectors of texts, from a table of token vectors: no network runs."""

    def __init__(self, model: StaticModel) -> None:
        self._model = model
        # Some tables are shared between tokens, and some weigh each token.
        table = model.embedding if model.token_mapping is None else model.embedding[model.token_mapping]
        self._table = table if model.weights is None else table * model.weights[:, None]

    @classmethod
    def load(cls, folder: Path) -> Vectors:
        """Raises KnowledgeError when the folder is missing or holds something else."""
        if not folder.is_dir():
            raise KnowledgeError(
                f"The static vectors {folder} are missing: run `make model`, then start again."
            )
        try:
            return cls(StaticModel.from_pretrained(folder))
        except (OSError, ValueError, KeyError) as err:
            raise KnowledgeError(f"{folder} does not hold static vectors ({err}): run `make model`.") from err

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, dimensions). A text without a known token is all zeros.

        Looked up here, since `StaticModel.encode` is made for many texts: 90 µs for one, not 35.
        """
        found = (self._table[tokens].astype(np.float32) for tokens in self._model.tokenize(texts))
        sums = np.stack([rows.sum(axis=0) for rows in found])
        lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))[:, None]
        return np.asarray(sums / np.maximum(lengths, 1e-9), dtype=np.float32)


class Index:
    """Facts, searchable. Built once and not changed: new documents make a new index."""

    def __init__(self, facts: Sequence[Fact], words: Words, vectors: Vectors | None) -> None:
        self.facts = tuple(facts)
        self._words = words
        self._vectors = vectors
        texts = [f"{fact.title} {fact.text}" for fact in facts]
        stems = [words(text) for text in texts]
        self._bm25 = None
        if any(stems):  # BM25 over no word at all is an error
            self._bm25 = BM25()
            self._bm25.index(stems, show_progress=False)
        self._matrix = vectors(texts) if vectors is not None and texts else None

    def search(self, query: str, count: int) -> tuple[Fact, ...]:
        """The best `count` facts, best first, with their fused score. Raises nothing: no match is no fact."""
        if not self.facts or count == 0:
            return ()
        fused = np.zeros(len(self.facts))
        for scores in self._scores(query):
            fused += shares(scores)
        best = np.argsort(-fused, kind="stable")[:count]
        found = ((self.facts[i], float(fused[i])) for i in best if fused[i] > 0)
        return tuple(Fact(title=fact.title, text=fact.text, score=round(score, 6)) for fact, score in found)

    def _scores(self, query: str) -> list[NDArray[np.float32]]:
        """One score per fact from each way of searching; above 0 is a match."""
        found: list[NDArray[np.float32]] = []
        stems = self._words(query)
        if self._bm25 is not None and stems:
            found.append(np.asarray(self._bm25.get_scores(stems), dtype=np.float32))
        if self._matrix is not None and self._vectors is not None:
            found.append(np.asarray(self._matrix @ self._vectors([query])[0], dtype=np.float32))
        return found


def shares(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each score as a share of the best one, 0 to 1; 0 for what does not match (score not above 0).

    Keeps by how much a fact leads, which ranks forget: fused by reciprocal ranks an answering fact came first
    for 0.811 of the questions.
    """
    matching = np.maximum(scores, 0).astype(np.float64)
    best = matching.max(initial=0.0)
    return matching / best if best else matching
