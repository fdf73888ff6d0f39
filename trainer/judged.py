"""The questions that suites judge by, and what is too near to them to be learned from.

Near is the same question in nearly the same words, asked of the same business; of any where it is long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from trainer.duplicates import Questions, Wording, alike, wording

# A question as the record and the suites have it: its collection and its words.
Asked = tuple[str, str]
# Content words from which a question counts as the same whatever business it was asked of: so many are no
# chance. Short ones ("Is there parking?") each business answers differently: leaving those out too would cost
# 0.35 of 8,379 questions, the long ones cost 1.
LONG = 8


class Judged:
    """Judged questions, by collection."""

    def __init__(self, judged: Iterable[Asked]) -> None:
        self._known: defaultdict[str, list[Wording]] = defaultdict(list)
        self._long: list[Wording] = []
        self._quick: defaultdict[str, Questions] = defaultdict(Questions)
        self._quick_long = Questions()
        for collection, question in judged:
            asked = wording(question)
            self._known[collection].append(asked)
            self._quick[collection].add(asked)
            if asked.words >= LONG:
                self._long.append(asked)
                self._quick_long.add(asked)

    def maybe_near(self, collection: str, asked: Wording) -> bool:
        """As `near`, by hashes: fast enough for every question there is, and misses very few."""
        return (collection in self._quick and self._quick[collection].holds(asked)) or (
            asked.words >= LONG and self._quick_long.holds(asked)
        )

    def near(self, collection: str, asked: Wording) -> bool:
        """Whether a question is a near-duplicate of a judged one, each compared: for the few chosen."""
        return any(alike(asked, known) for known in self._known.get(collection, ())) or (
            asked.words >= LONG and any(alike(asked, known) for known in self._long)
        )

    def conversations(self, said: Mapping[str, Sequence[Asked]]) -> frozenset[str]:
        """Those of the conversations in `said` (id, what was asked in it) that hold a judged question."""
        return frozenset(
            conversation
            for conversation, asked in said.items()
            if any(self.near(collection, wording(question)) for collection, question in asked)
        )
