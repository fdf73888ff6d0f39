"""Passages: facts longer than any answer. What is asked is one sentence of them, and the answer is in it.

Pure. A question holds words of the sentence that answers it ("How large is the annual budget?"); what an
answer adds to the question's words must all stand there. Of 788 questions to help-desk articles, 6 samples
each, 266 have an answer that is good by this, and 0.91 of the best are right; 34 say a passage, 0.76 right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from infra.events import Fact
from trainer.words import SENTENCES, added, length, stems

# Answers longer than this ramble: people's own replies to such questions have 8 to 30 words.
LONGEST = 40
# The least share of the question's content stems in the sentence that answers it; below, it is a guess.
ASKED = 0.3


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage, and the share of the question's content stems that it holds, 0 to 1."""

    text: str
    stems: frozenset[str]
    asked: float

    def holds(self, answer: str, query: str) -> float:
        """Share of what the answer adds to the question that stands here, 0 to 1; 0 where it adds nothing."""
        said = added(answer, query)
        return len(said & self.stems) / len(said) if said else 0.0


def asked(query: str, facts: Sequence[Fact]) -> Sentence | None:
    """The sentence of all facts that holds most of the question; None unless it stands in a passage."""
    if all(length(fact.text) <= LONGEST for fact in facts):
        return None
    words = set(stems(query))
    found = [
        (len(words & known) / len(words) if words else 0.0, fact, text, known)
        for fact in facts
        for text, known in _sentences(fact.text)
    ]
    share, fact, text, known = max(found, key=lambda one: one[0])  # the first of equals
    return Sentence(text, known, share) if length(fact.text) > LONGEST else None


@lru_cache(maxsize=4096)
def _sentences(text: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """The sentences of a fact with their content stems; each is read for all answers of its questions."""
    return tuple((one, frozenset(stems(one))) for one in SENTENCES.split(text))
