"""From each group of scored completions, what it teaches: its best, and for some methods its worst.

Pure. Few right rows beat many doubtful ones, so a group without a clearly good completion teaches nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infra.events import Message
from trainer.order import Method
from trainer.queries import Query
from trainer.reward.model import Reward
from trainer.words import added, copied, negated, stems

# By how much a word-for-word copy of a fact must lead over an answer in other words, both being good.
COPY = 0.2

# A rejected completion is worth less than the chosen one by this much. Of rated replies (DSTC9, dev) that
# the grounded reward puts so far apart, people liked the rejected one better in 9% (11% without a margin),
# and none by 1.5 points or more. A right answer that is denied is always further away: good ones are worth
# 0.65 or more, denials 0.3 at most.
MARGIN = 0.3


# How much a row counts whose completion tells more than its question held, beside one that only turns the
# question into a statement. Half of a night's rows do no more, since small models do that best; learned from
# alike they teach it: 1.00 of the questions that held the whole fact were then answered rightly, 0.31 of
# those that held none of its words.
TELLS = 3.0


@dataclass(frozen=True, slots=True)
class Group:
    """The N completions of one query with their rewards, in the order of sampling."""

    query: Query
    texts: tuple[str, ...]
    rewards: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One row to train on: the prompt as it was served, the chosen completion, for DPO the rejected one."""

    response_id: str
    prompt: tuple[Message, ...]
    completion: str
    sample: int
    reward: float
    rejected: str | None = None


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

    def lead(index: int) -> float:
        return group.rewards[index].value - (COPY if copied(group.texts[index], facts) else 0.0)

    return max(good, key=lambda i: (lead(i), -len(group.texts[i]), -i))


def worst(group: Group, chosen: int) -> int | None:
    """Index of the worst completion: lowest reward, then longer, then later; None if it is not clearly worse.

    Clearly worse is one that is not good, says something, is worth less than `chosen` by MARGIN, and does not
    say what `chosen` answers: that with more around it is worth little, and still right.
    """
    limit = group.rewards[chosen].value - MARGIN
    worse = [
        index
        for index, reward in enumerate(group.rewards)
        if not reward.good
        and reward.value <= limit
        and group.texts[index].strip()
        and not _says(group.texts[index], group.texts[chosen], group.query.query)
    ]
    return min(worse, key=lambda i: (group.rewards[i].value, -len(group.texts[i]), -i)) if worse else None


def _says(text: str, answer: str, query: str) -> bool:
    """Whether the text holds all that the answer adds to the question, the same way round.

    Of 125 worst completions of help-desk questions (WorkArena) 35 were right, all but 9 of them by this; of
    145 of DSTC9's, where denials are most of what is worst, 9.
    """
    told = added(answer, query)
    return bool(told) and told <= set(stems(text)) and negated(text) == negated(answer)


def weight(completion: str, query: Query) -> float:
    """How much a row counts in training: TELLS where it says something of the facts beside the question."""
    known = {stem for fact in query.facts for stem in stems(fact.text)}
    return TELLS if added(completion, query.query) & known else 1.0


def worth(reward: Reward) -> float:
    """One number, 0 to 1: good ones first, then by value. Unlike `best` it does not look for own words."""
    return (reward.good + reward.value) / 2


def curate(groups: Sequence[Group], method: Method) -> list[Row]:
    """One row for each group that teaches something by `method`, in the order of the groups.

    That is one with a good completion; for DPO one that is clearly worse comes along where there is one. GRPO
    samples anew, and learns from differences: a group that was all good, or not good at all, would mostly be
    so again (dynamic sampling in DAPO, Yu et al. 2025), so its row names a query whose group was mixed.
    """
    rows = []
    for group in groups:
        index = best(group)
        if index is None or (method == "grpo" and all(reward.good for reward in group.rewards)):
            continue
        rejected = worst(group, index) if method == "dpo" else None
        rows.append(
            Row(
                response_id=group.query.response_id,
                prompt=group.query.prompt,
                completion=group.texts[index],
                sample=index,
                reward=group.rewards[index].value,
                rejected=None if rejected is None else group.texts[rejected],
            )
        )
    return rows
