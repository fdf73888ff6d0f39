"""Evaluation: the cases of the suites, answered by stable and by the candidate through the serving engine.

Prompts come from the agent itself, so what is gated is what is served. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.engine import Sampling
from infra.errors import EngineError, EngineUnavailable, NightError
from infra.events import Fact, Message
from trainer.journal import Journal
from trainer.patience import patiently
from trainer.resample import Told
from trainer.served import Served
from trainer.words import copied, covered, length, negated

Role = Literal["stable", "candidate"]


class SuiteCase(BaseModel):
    """One question with the fact that answers it. `suite` is the file's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    suite: str = ""
    collection: str
    question: str
    reference: str


class Prompted(BaseModel):
    """The prompt that a live request would send for a case, and the facts in it."""

    model_config = ConfigDict(frozen=True)

    case: str
    collection: str
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


def read_suites(folder: Path) -> list[SuiteCase]:
    """All cases of the JSONL files in `folder`, in the order of file and line.

    Raises:
        NightError: a line is not a case; the message names file and line.
    """
    cases = []
    for file in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                cases.append(SuiteCase.model_validate(json.loads(line) | {"suite": file.stem}))
            except (ValidationError, TypeError, ValueError) as err:
                raise NightError(f"{file}, line {number} is not a suite case: {err}.") from err
    return cases


def passes(answer: str, reference: str) -> bool:
    """Whether an answer states the reference: half of its content stems, the same polarity, and no ramble.

    At most 45 words or twice the reference's length, whichever is more.
    """
    return (
        covered(reference, by=answer) >= 0.5
        and negated(answer) == negated(reference)
        and length(answer) <= max(45, 2 * length(reference))
    )


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
                        f"The agent gave no prompt for case {case.id}: {data}.", response.status
                    )
        except (aiohttp.ClientError, TimeoutError) as err:
            raise EngineUnavailable(f"The agent at {self._url} cannot be reached ({err}).") from err
        return Prompted(
            case=case.id, collection=case.collection, messages=data["messages"], facts=data["facts"]
        )


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
            if case.id not in journal:
                tasks.create_task(one(case, prompted))
    return tuple(journal[case.id] for case, _ in asked)


def _judged(case: SuiteCase, prompted: Prompted, text: str, tokens: int, latency_s: float) -> Answered:
    return Answered(
        case=case.id,
        answer=text,
        tokens=tokens,
        latency_s=latency_s,
        passed=passes(text, case.reference),
        negated=negated(case.reference),
        copied=copied(text, (fact.text for fact in prompted.facts)),
    )
