"""Rewards that know nothing of the answer: a night that learns by one of them must not pass its gates.

They stand beside the real ones so that anybody can see the gates hold: `trainer.reward = "random"`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from trainer.reward.model import Case, Reward
from trainer.words import length

# Answers of so many words are worth 1 to who likes them long; the agent's own limit is about 50.
_LONG = 60


class RandomReward:
    """A value drawn by lot, the same again for the same seed, query and answer."""

    name = "random"
    version = "1"

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order; every answer that says something is called good."""
        return [Reward(value=self._drawn(case), good=bool(case.answer.strip())) for case in cases]

    def _drawn(self, case: Case) -> float:
        digest = hashlib.sha256(f"{self._seed}\0{case.query}\0{case.answer}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64


class LongestReward:
    """The longer the better."""

    name = "longest"
    version = "1"

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order; every answer that says something is called good."""
        return [
            Reward(value=min(1.0, length(case.answer) / _LONG), good=bool(case.answer.strip()))
            for case in cases
        ]
