"""Evaluation: the cases of the suites, answered by stable and by the candidate through the serving engine.

Prompts come from the agent itself, so what is gated is what is served. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from infra.engine import Sampling
from infra.events import Fact, Message
from trainer.agent import Agent
from trainer.journal import Journal
from trainer.resample import Told
from trainer.served import Served
from trainer.suite import SuiteCase
from trainer.words import copied, negated

Role = Literal["base", "stable", "candidate"]


class Prompted(BaseModel):
    """The prompt that a live request would send for a case, and the facts in it. `group` is the case's."""

    model_config = ConfigDict(frozen=True)

    case: str
    group: str
    messages: tuple[Message, ...]
    facts: tuple[Fact, ...]


class Answered(BaseModel):
    """One model's answer to one case. `passed` is judged against the reference, `negated` is the reference's
    polarity, `copied` tells an answer that is a retrieved fact word for word.
    """

    model_config = ConfigDict(frozen=True)

    case: str
    answer: str
    tokens: int
    latency_s: float
    passed: bool
    negated: bool
    copied: bool


async def prompts(cases: Sequence[SuiteCase], agent: Agent, concurrency: int) -> tuple[Prompted, ...]:
    """The prompt of every case, in their order.

    Raises:
        EngineError: the agent refused, or stayed away for longer than our patience.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(case: SuiteCase) -> Prompted:
        async with gate:
            built = await agent.prompt(case.collection, case.question)
        return Prompted(case=case.key, group=case.group, messages=built.messages, facts=built.facts)

    return tuple(await asyncio.gather(*map(one, cases)))


async def answers(
    asked: Sequence[tuple[SuiteCase, Prompted]],
    model: Served,
    sampling: Sampling,
    concurrency: int,
    file: Path,
    told: Told,
) -> tuple[Answered, ...]:
    """The answers of `model`, one for each case in their order; each finished one is in the journal `file`.

    Raises:
        EngineError: the engine refused, or stayed away for longer than our patience.
    """
    journal = Journal(file, Answered, key=lambda line: line.case)
    gate = asyncio.Semaphore(concurrency)

    async def one(case: SuiteCase, prompted: Prompted) -> None:
        async with gate:
            began = time.monotonic()
            reply = await model.chat(prompted.messages, sampling)
            latency = time.monotonic() - began
        journal.append(
            _judged(case, prompted, reply.choices[0].text.strip(), reply.completion_tokens, latency)
        )
        told(len(journal), len(asked))

    async with asyncio.TaskGroup() as tasks:
        for case, prompted in asked:
            if case.key not in journal:
                tasks.create_task(one(case, prompted))
    return tuple(journal[case.key] for case, _ in asked)


def _judged(case: SuiteCase, prompted: Prompted, text: str, tokens: int, latency_s: float) -> Answered:
    return Answered(
        case=case.key,
        answer=text,
        tokens=tokens,
        latency_s=latency_s,
        passed=case.passed(text),
        negated=negated(case.reference),
        copied=copied(text, (fact.text for fact in prompted.facts)),
    )
