"""What a reward model is: answers in, numbers out, with the parts that explain them.

A reward never sees a reference answer: it must work at night, when there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from infra.events import Fact


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to judge: the query, the facts that were retrieved for it (best first), the answer."""

    query: str
    facts: tuple[Fact, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Reward:
    """`value` orders the answers to one query, 0 to 1. `good` is the strict claim "this answer is right".

    `parts` names what went into the value.
    """

    value: float
    good: bool
    parts: Mapping[str, float] = field(default_factory=dict)


class RewardModel(Protocol):
    """Scores answers. `name` and `version` go into the night's manifest."""

    name: str
    version: str

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order."""
