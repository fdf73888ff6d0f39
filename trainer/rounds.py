"""Adaptive N: a query is sampled in rounds, and no further once more samples would change little.

Pure. A query that the model gets right needs one sample; one that it never gets right wastes eight. These are
half of a first night's, so that little is saved; a model that has learned answers most of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.reward.model import Reward

# A good completion of so high a value is not bettered by much.
PERFECT = 0.95
# Where the best of at least so many samples is worth less, more will hardly be good.
HOPELESS = 0.3
TRIED = 4


def rounds(samples: int) -> tuple[int, ...]:
    """Samples of each round, `samples` in all: one, then as many as there are already. 8 are (1, 1, 2, 4)."""
    plan: list[int] = []
    while (drawn := sum(plan)) < samples:
        plan.append(min(drawn or 1, samples - drawn))
    return tuple(plan)


def settled(rewards_N: Sequence[Reward], perfect: float = PERFECT, hopeless: float = HOPELESS) -> bool:
    """Whether a query needs no further round, from the rewards of all its samples so far."""
    if any(reward.good and reward.value >= perfect for reward in rewards_N):
        return True
    return len(rewards_N) >= TRIED and max(reward.value for reward in rewards_N) < hopeless
