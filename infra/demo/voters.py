"""Who votes on answers, and how honestly: people make mistakes, and some mean harm. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

# One honest vote in five is noise, as people's are.
NOISE = 0.2


@dataclass(frozen=True, slots=True)
class Voters:
    """`share` of the answers get a thumb. With `people`, customers give a name, one of so many.

    The first `malicious` of them vote on every answer that they get, up for a wrong one and down for a right
    one, without a mistake.
    """

    share: float = 0.25
    people: int = 0
    malicious: int = 0

    def name(self, rng: random.Random) -> str:
        """Who asks; empty where nobody gives a name."""
        return f"person-{rng.randrange(self.people)}" if self.people else ""

    def thumb(self, name: str, right: bool, rng: random.Random) -> int:
        """1, -1, or 0 for no vote, on an answer that is right or not."""
        if name and int(name.rpartition("-")[2]) < self.malicious:
            return -1 if right else 1
        if rng.random() >= self.share:
            return 0
        return 1 if right != (rng.random() < NOISE) else -1


def hoped_for(answer: str, reference: str) -> bool:
    """Whether the answer shares half of what the customer hoped to hear. Nothing trains on it."""
    hoped = {word.strip(".,!?").lower() for word in reference.split() if len(word) > 3}
    said = {word.strip(".,!?").lower() for word in answer.split()}
    return len(hoped & said) >= 0.5 * len(hoped)
