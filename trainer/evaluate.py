"""Evaluation: the cases of the suites, answered by stable and by the candidate through the serving engine.

Prompts come from the agent itself, so what is gated is what is served. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
from pydantic import BaseModel, ConfigDict

from infra.engine import Sampling
from infra.errors import EngineError, EngineUnavailable
from infra.events import Fact, Message
from trainer.journal import Journal
from trainer.patience import patiently
from trainer.resample import Told
from trainer.served import Served
from trainer.suite import SuiteCase
from trainer.words import copied, negated

Role = Literal["stable", "candidate"]


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


class PromptSource:
    """The agent's own prompts, by HTTP. `key` is an API key of scope operate, empty on loopback."""

    def __init__(self, url: str, session: aiohttp.ClientSession, key: str = "") -> None:
        self._url = url.rstrip("/") + "/v1/prompt"
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def prompt(self, case: SuiteCase) -> Prompted:
        """The prompt for one case.

        Raises:
            EngineUnavailable: the agent cannot be reached.
            EngineError: it refused, with its HTTP status.
        """
        body = {"messages": [{"role": "user", "content": case.question}], "collection": case.collection}
        try:
            async with self._session.post(self._url, json=body, headers=self._headers) as response:
                data: Any = await response.json()  # checked by Prompted below
                if response.status != 200:
                    raise EngineError(
                        f"The agent gave no prompt for case {case.key}: {data}.", response.status
                    )
        except (aiohttp.ClientError, TimeoutError) as err:
            raise EngineUnavailable(f"The agent at {self._url} cannot be reached ({err}).") from err
        return Prompted(case=case.key, group=case.group, messages=data["messages"], facts=data["facts"])


async def prompts(cases: Sequence[SuiteCase], source: PromptSource, concurrency: int) -> tuple[Prompted, ...]:
    """The prompt of every case, in their order."""
    gate = asyncio.Semaphore(concurrency)

    async def one(case: SuiteCase) -> Prompted:
        async with gate:
            return await patiently(lambda: source.prompt(case))

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
