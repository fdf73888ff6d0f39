"""A text as the learnt reward reads it: content stems, numbers and times, polarity, names, word vectors.

English for now. Pure; nothing is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from trainer.words import SENTENCES, negated, says_yes, stems

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The vector of a word; its length says how much the word tells ("the" 2, "parking" 6), as static vectors
# distilled with smooth inverse frequency have it (Arora, Liang and Ma 2017).
WordVectors = Callable[[str], "NDArray[np.float32]"]

# How much a number tells: as much as a rare word. Its own vector knows nothing of its value.
NUMBER_WEIGHT = 5.0

# How replies take their leave; what they offer there says nothing about the question.
_LEAVE = re.compile(
    r"^(?:is there (?:any|some)|anything else|any (?:thing|more|other)|would you (?:like|care)|do you "
    r"(?:want|need|have any|still)|can i (?:help|book|assist|make)|could i|shall i|should i|may i|will "
    r"(?:that|you)|does (?:this|that)|how (?:about|does)|are you|what (?:else|other)|let me know|please let "
    r"me|i can (?:book|help)|have a|thank|want me|want to|need)",
    re.IGNORECASE,
)
_TWELVE_HOURS = re.compile(r"\b(\d{1,2})(?:[:.](\d\d))?\s*([ap])\.?\s*m\b\.?", re.IGNORECASE)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)\b")
_DIGITS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_WORD = re.compile(r"[a-z0-9]+(?:[:.][0-9]+)*")
_NO = re.compile(r"^\W*(?:no|unfortunately|sorry|i'?m sorry|i am sorry)\b", re.IGNORECASE)
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][a-z]+")


@dataclass(frozen=True, slots=True)
class Text:
    """`stems`, `words_S_D` (unit vectors) and `weights_S` go together, in the order of the text.

    `content` is the set of stems, `numbers` holds numbers and times (`t900` is three in the afternoon),
    `names` the stems of capitalised words inside sentences, `pairs` the neighbouring words, `vector_D` is the
    unit vector of the whole.
    """

    raw: str
    canonical: str
    stems: tuple[str, ...]
    words_S_D: NDArray[np.float32]
    weights_S: NDArray[np.float32]
    vector_D: NDArray[np.float32]
    numbers: frozenset[str]
    names: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    length: int
    negated: bool
    yes: bool
    no: bool
    content: frozenset[str]


class Reader:
    """Reads texts; those read lately are kept, since all completions of a query share its facts."""

    def __init__(self, vectors: WordVectors) -> None:
        # 50,000 words of 256 dimensions are 50 MB; 4,096 texts are about 100.
        self._vector = lru_cache(maxsize=50_000)(vectors)
        self.read = lru_cache(maxsize=4_096)(self._read)

    def _read(self, raw: str) -> Text:
        canonical = _canonical(raw)
        plain = " ".join(_DIGITS.get(word, word) for word in _WORD.findall(canonical))
        found = tuple(stems(plain))
        numbers = frozenset(stem for stem in found if re.match(r"t?\d", stem))
        vectors = self._stack([word for word in plain.split() if stems(word)])
        lengths = np.linalg.norm(vectors, axis=1)
        weights = np.where([stem in numbers for stem in found], NUMBER_WEIGHT, lengths)
        return Text(
            raw=raw,
            canonical=canonical,
            stems=found,
            words_S_D=vectors / np.maximum(lengths, 1e-6)[:, None],
            weights_S=weights.astype(np.float32),
            vector_D=unit(self._stack(plain.split()).sum(axis=0)),
            numbers=numbers,
            names=frozenset(stem for name in _NAME.findall(raw) for stem in stems(name)),
            pairs=frozenset(pairwise(plain.split())),
            length=len(raw.split()),
            negated=negated(raw),
            yes=says_yes(raw),
            no=bool(_NO.match(raw)),
            content=frozenset(found),
        )

    def _stack(self, words: list[str]) -> NDArray[np.float32]:
        """Shape (words, dimensions), also for no words."""
        size = len(self._vector("a"))
        return np.array([self._vector(word) for word in words], dtype=np.float32).reshape(len(words), size)


def statement(answer: str) -> str:
    """The answer without its closing questions and offers; all of it where nothing else is said."""
    sentences = [sentence for sentence in SENTENCES.split(answer.strip()) if sentence]
    kept = [s for s in sentences if not (s.rstrip().endswith("?") or _LEAVE.match(s))]
    return " ".join(kept) if kept else answer.strip()


def unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vector at length 1; zero stays zero."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), dtype=np.float32)


def _canonical(raw: str) -> str:
    """Lower case, times as minutes, and the spellings that facts mix, made one."""
    text = _TWELVE_HOURS.sub(
        lambda m: f" t{(int(m[1]) % 12 + 12 * (m[3].lower() == 'p')) * 60 + int(m[2] or 0)} ", raw
    )
    text = _CLOCK.sub(lambda m: f" t{int(m[1]) * 60 + int(m[2])} ", text)
    return text.lower().replace("n't", " not").replace("wi-fi", "wifi").replace("check-", "check")
