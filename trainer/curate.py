"""Best-of-N: from each group of scored completions, the one to learn from, if any is clearly good.

Pure. Few right rows beat many doubtful ones, so a group without a clearly good completion teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.events import Message
from trainer.queries import Query
from trainer.reward.model import Reward
from trainer.words import copied

# By how much a word-for-word copy of a fact must lead over an answer in other words, both being good.
COPY = 0.2


@dataclass(frozen=True, slots=True)
class Group:
    """The N completions of one query with their rewards, in the order of sampling."""

    query: Query
    texts: tuple[str, ...]
    rewards: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row to train on: the prompt as it was served, and the chosen completion."""

    response_id: str
    prompt: tuple[Message, ...]
    completion: str
    sample: int
    reward: float


def best(group: Group) -> int | None:
    """Index of the best good completion: highest reward, then shorter, then earlier; None if none is good.

    One that is a fact word for word must lead by COPY: rewards of grounded answers like nothing better than
    a copy, and night after night of copies would unlearn the service's own voice.

    Best-of-N as in Test-time Adaptive Optimization (Databricks, 2025), with a floor under "best".
    """
    good = [index for index, reward in enumerate(group.rewards) if reward.good]
    if not good:
        return None
    facts = [fact.text for fact in group.query.facts]

    def worth(index: int) -> float:
        return group.rewards[index].value - (COPY if copied(group.texts[index], facts) else 0.0)

    return max(good, key=lambda i: (worth(i), -len(group.texts[i]), -i))


def curate(groups: Sequence[Group]) -> list[Row]:
    """One row for each group that has a good completion, in the order of the groups."""
    rows = []
    for group in groups:
        index = best(group)
        if index is not None:
            rows.append(
                Row(
                    response_id=group.query.response_id,
                    prompt=group.query.prompt,
                    completion=group.texts[index],
                    sample=index,
                    reward=group.rewards[index].value,
                )
            )
    return rows
