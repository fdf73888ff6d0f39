"""Near-duplicates: questions in nearly the same words, found by MinHash without comparing every pair.

Spelling, order and politeness may differ. A paraphrase in other words is not found: that takes meaning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from rensa import RMinHash, RMinHashLSH

from trainer.words import stems

# Jaccard similarity of the letters' trigrams from which two questions are one. Of 1,500 questions of hotels'
# guests and as many of a bank's customers, 0.75 and 0.84 were found again with a typing error, 0.91 and 0.97
# with a word added. Of the guests' 9,535, which all ask for different facts, 158 pairs were taken for one:
# that costs a question to learn from, no more.
ALIKE = 0.7
# Hashes of a question, as bands of rows: questions alike by ALIKE meet in a band with a chance of 0.99, those
# alike by 0.3 with one of 0.06.
_BANDS = 25
_ROWS = 5
_SEED = 1
_GRAM = 3
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Wording:
    """What is compared of a question: trigrams of its stems' letters, in any order, and its numbers.

    `words` counts the different content words.
    """

    grams: frozenset[str]
    numbers: frozenset[str]
    words: int


def wording(question: str) -> Wording:
    """Reads a question. One of function words alone, or of another script, is compared by all its words."""
    found = frozenset(stems(question) or _WORD.findall(question.lower()))
    return Wording(
        grams=frozenset(gram for stem in found for gram in _grams(stem)),
        numbers=frozenset(stem for stem in found if any(letter.isdigit() for letter in stem)),
        words=len(found),
    )


def alike(one: Wording, other: Wording) -> bool:
    """Whether two questions are near-duplicates; other numbers make it another question."""
    if one.numbers != other.numbers:
        return False
    shared = len(one.grams & other.grams)
    return shared >= ALIKE * (len(one.grams) + len(other.grams) - shared)


class Questions:
    """Questions in which near-duplicates are looked up. Found by their hashes, then compared exactly.

    MinHash and its bands: Broder 1997; Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.
    """

    def __init__(self) -> None:
        self._index = RMinHashLSH(threshold=ALIKE, num_perm=_BANDS * _ROWS, num_bands=_BANDS)
        self._known: list[Wording] = []

    def holds(self, asked: Wording) -> bool:
        """Whether a near-duplicate of `asked` is among them; of 100 at the very threshold one is missed."""
        return any(alike(asked, self._known[place]) for place in self._index.query(_hashed(asked)))

    def add(self, asked: Wording) -> None:
        """Adds one that is found from now on."""
        self._index.insert(len(self._known), _hashed(asked))
        self._known.append(asked)


def _hashed(asked: Wording) -> RMinHash:
    hashed = RMinHash(num_perm=_BANDS * _ROWS, seed=_SEED)
    hashed.update(list(asked.grams))
    return hashed


@lru_cache(maxsize=100_000)  # about 20 MB; a language's words come again and again
def _grams(stem: str) -> tuple[str, ...]:
    padded = f" {stem} "
    return tuple(padded[place : place + _GRAM] for place in range(len(padded) - _GRAM + 1))
