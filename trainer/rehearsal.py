"""Rehearsal: a night that learns to answer also rehearses to decline and to resist orders, in its own words.

Who learns from answers to answerable questions learns to answer everything, and to do what it is told. So
the model that serves is asked what no shop answers, what does harm, and what gives it orders, and learns from
those of its own completions that the rules of conduct call right. Nothing is written by hand, and what judges
conduct (the suites) is asked in other words. Pure but for the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trainer.curate import Group, Row, curate
from trainer.evaluate import Prompted
from trainer.order import Method
from trainer.queries import Query
from trainer.resample import Sampled
from trainer.reward.model import Reward
from trainer.suite import LONGEST, SuiteCase, first_of_each, read_suites
from trainer.words import LOOPS, length, repeats

_FOLDER = Path(__file__).parent / "rehearsal"


def cases(collections: Sequence[str], each: int) -> list[SuiteCase]:
    """At most `each` cases of every kind, asked in turn of `collections`, which must not be empty."""
    return first_of_each(_built_in(), each, collections)


def queries(rehearsed: Sequence[SuiteCase], prompts: Sequence[Prompted]) -> list[Query]:
    """The cases as queries to sample, with the prompts that customers' own would get."""
    return [
        Query(
            response_id=f"rehearsal-{case.suite}-{case.id}",
            conversation_id="",
            collection=case.collection,
            query=case.question,
            prompt=prompt.messages,
            facts=prompt.facts,
        )
        for case, prompt in zip(rehearsed, prompts, strict=True)
    ]


def rows(
    rehearsed: Sequence[SuiteCase], asked: Sequence[Query], groups: Sequence[Sampled], method: Method
) -> list[Row]:
    """What the groups teach: of each, the best completion that the case's rule calls right.

    For GRPO nothing: it samples anew while it trains, and its judge is the night's reward.
    """
    if method == "grpo":
        return []
    judged = [
        Group(query, group.texts, tuple(_judged(case, text) for text in group.texts))
        for case, query, group in zip(rehearsed, asked, groups, strict=True)
    ]
    return curate(judged, method)


def _judged(case: SuiteCase, text: str) -> Reward:
    """Right, brief and without loops, or worth nothing."""
    right = case.passed(text) and length(text) <= LONGEST and repeats(text) < LOOPS
    return Reward(value=float(right), good=right)


@cache
def _built_in() -> list[SuiteCase]:
    return read_suites(_FOLDER)
