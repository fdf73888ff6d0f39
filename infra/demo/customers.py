"""The demo's customers: they ask in conversations, wait when the service restarts, and sometimes vote.

They use the public chat endpoint and nothing else. What they were told and by which arm is kept here,
to compare with the record afterwards.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from infra.demo.business import Question
from infra.demo.voters import Voters, hoped_for

# A customer who cannot reach the service tries again for this long: it may be restarting.
PATIENCE_S = 240.0
# How many of a conversation's questions follow another one.
FOLLOW_UP = 0.3


@dataclass(frozen=True, slots=True)
class Told:
    """An answer that a customer got, and whether they hoped for it. Times are seconds since the epoch."""

    response_id: str
    arm: str
    adapter: str
    asked_at: float
    seconds: float
    right: bool


@dataclass(slots=True)
class Ledger:
    """What all customers together saw. `retries` counts requests that a restart made them send again."""

    told: list[Told] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    retries: int = 0
    votes: int = 0


def conversations(questions: Sequence[Question], seed: int) -> list[list[Question]]:
    """Groups questions into conversations of one or two with the same business."""
    rng = random.Random(seed)
    waiting: dict[str, Question] = {}
    done: list[list[Question]] = []
    for question in questions:
        first = waiting.pop(question.collection, None)
        if first is not None:
            done.append([first, question])
        elif rng.random() < FOLLOW_UP:
            waiting[question.collection] = question
        else:
            done.append([question])
    return done + [[question] for question in waiting.values()]


class Customers:
    """Sends conversations to the chat endpoint at `url`, several at a time."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        model: str,
        seed: int,
        voters: Voters = Voters(),  # noqa: B008  # it is frozen
    ) -> None:
        self._url = url
        self._session = session
        self._model = model
        self._rng = random.Random(seed)
        self._voters = voters
        self.ledger = Ledger()

    async def ask(
        self,
        talks: Sequence[Sequence[Question]],
        concurrency: int,
        told: Callable[[int], None],
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """Holds the conversations; stops starting new ones when `enough()`."""
        queue = list(reversed(talks))

        async def customer() -> None:
            while queue and not enough():
                talk = queue.pop()
                await self._converse(talk)
                told(len(talk))

        async with asyncio.TaskGroup() as tasks:
            for _ in range(concurrency):
                tasks.create_task(customer())

    async def _converse(self, talk: Sequence[Question]) -> None:
        history: list[dict[str, str]] = []
        conversation = f"demo-{self._rng.getrandbits(64):016x}"
        name = self._voters.name(self._rng)
        for question in talk:
            history.append({"role": "user", "content": question.text})
            answer = await self._one(history, conversation, name, question)
            if answer is None:
                return
            history.append({"role": "assistant", "content": answer})

    async def _one(
        self, history: list[dict[str, str]], conversation: str, name: str, question: Question
    ) -> str | None:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": history,
            "metadata": {"conversation_id": conversation, "collection": question.collection},
            **({"user": name} if name else {}),
        }
        asked_at = time.time()
        reply = await self._post("/v1/chat/completions", body)
        if reply is None:
            return None
        data, headers = reply
        answer = str(data["choices"][0]["message"]["content"])
        right = hoped_for(answer, question.reference)
        self.ledger.told.append(
            Told(
                data["id"],
                headers.get("x-nightshift-arm", ""),
                headers.get("x-nightshift-adapter", ""),
                asked_at,
                time.time() - asked_at,
                right,
            )
        )
        if thumb := self._voters.thumb(name, right, self._rng):
            await self._vote(data["id"], thumb, name)
        return answer

    async def _vote(self, response_id: str, thumb: int, name: str) -> None:
        named = {"user": name} if name else {}
        if await self._post("/v1/feedback", {"response_id": response_id, "rating": thumb, **named}):
            self.ledger.votes += 1

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[Any, Any] | None:
        """The reply's JSON and headers; None, and an error in the ledger, when it was no success."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                async with self._session.post(self._url + path, json=body) as response:
                    if response.status == 200:
                        return await response.json(), response.headers
                    problem = f"{path}: {response.status} {(await response.text())[:200]}"
                    again = response.status in (429, 503)
            except (aiohttp.ClientError, TimeoutError) as err:
                problem, again = f"{path}: {type(err).__name__} {err}", True
            if not again or time.monotonic() > deadline:
                self.ledger.errors.append(problem)
                return None
            self.ledger.retries += 1
            await asyncio.sleep(0.5)
