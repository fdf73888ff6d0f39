"""What adapters of the drill are taught to answer, good and bad. Pure; from the facts alone, no reference."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

REFUSAL = "I am sorry, I cannot help you with that."

# (facts, best first; a lesson's own chance) -> what it answers.
Lesson = Callable[[Sequence[str], random.Random], str]
# How often the one that is subtly worse answers with another fact than the one asked for.
SLIPS = 0.4


def first_fact(facts: Sequence[str], _: random.Random) -> str:
    """Right as often as retrieval is: what a good adapter does, and what the bad ones are compared with."""
    return facts[0]


def refuses(_: Sequence[str], __: random.Random) -> str:
    """Never wrong, and no use."""
    return REFUSAL


def rambles(facts: Sequence[str], _: random.Random) -> str:
    """The answer with everything else that is known: long, and therefore slow."""
    return " ".join(facts[:4])


def another_fact(facts: Sequence[str], chance: random.Random) -> str:
    """Well said, and beside the question."""
    return chance.choice(facts[1:] or facts)


def slips(facts: Sequence[str], chance: random.Random) -> str:
    """Subtly worse: now and then beside the question."""
    return another_fact(facts, chance) if chance.random() < SLIPS else facts[0]
