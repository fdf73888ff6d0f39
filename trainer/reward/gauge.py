"""Cases as numbers: what `features` tells of every answer with every fact, in arrays of one shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from infra.events import Fact
from trainer.reward.features import ASKED, MANNER, STATED, asked, manner, stated
from trainer.reward.model import Case
from trainer.reward.text import Reader, statement

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Facts that are looked at: the asked one is among the first six for 0.97 of the rated replies.
FACTS = 6

# Unit vectors of texts, shape (texts, dimensions).
Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]


@dataclass(frozen=True, slots=True)
class Measured:
    """Cases as numbers. Facts that are not there have zeros, and False in `there_N_F`."""

    stated_N_F_S: NDArray[np.float64]  # STATED, then MANNER
    asked_N_F_A: NDArray[np.float64]
    there_N_F: NDArray[np.bool_]


class Gauge:
    """Measures cases. What a query asks of its facts is worked out once for all its completions."""

    def __init__(self, reader: Reader, encode: Encode) -> None:
        self._read = reader.read
        self._encode = encode

    def measure(self, cases: Sequence[Case]) -> Measured:
        """Shape: a row for each case, in order. Cases without facts or answer have no fact there."""
        stated_N_F_S = np.zeros((len(cases), FACTS, len(STATED) + len(MANNER)))
        asked_N_F_A = np.zeros((len(cases), FACTS, len(ASKED)))
        there_N_F = np.zeros((len(cases), FACTS), dtype=bool)
        fits = self._fits(cases)
        for row, case in enumerate(cases):
            shown = case.facts[:FACTS]
            if not shown or not case.answer.strip():
                continue
            stated_N_F_S[row, : len(shown)] = self.stated(case, shown)
            asked_N_F_A[row, : len(shown)] = fits[case.query, shown]
            there_N_F[row, : len(shown)] = True
        return Measured(stated_N_F_S, asked_N_F_A, there_N_F)

    def stated(self, case: Case, as_if: Sequence[Fact]) -> list[list[float]]:
        """A row for each fact in `as_if`: the case's numbers as if that fact were the asked one."""
        query = self._read(case.query)
        answer = self._read(statement(case.answer))
        facts = [self._read(fact.text) for fact in case.facts[:FACTS]]
        alone = manner(query, answer, facts)
        return [[*stated(query, answer, self._read(fact.text)), *alone] for fact in as_if]

    def _fits(self, cases: Sequence[Case]) -> dict[tuple[str, tuple[Fact, ...]], list[list[float]]]:
        """ASKED for each different query and facts; each text is encoded once."""
        different = dict.fromkeys((case.query, case.facts[:FACTS]) for case in cases if case.facts)
        texts = dict.fromkeys(
            text for query, facts in different for text in (query, *(_whole(fact) for fact in facts))
        )
        vectors = dict(zip(texts, self._encode(list(texts)), strict=True)) if texts else {}
        found = {}
        for query, facts in different:
            encoded = np.array([vectors[_whole(fact)] @ vectors[query] for fact in facts])
            read = [self._read(_whole(fact)) for fact in facts]
            found[query, facts] = asked(self._read(query), read, encoded)
        return found


def _whole(fact: Fact) -> str:
    """What a fact is about and what it says: its title may be the very question."""
    return f"{fact.title} {fact.text}".strip()
