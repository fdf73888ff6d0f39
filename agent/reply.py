"""One answer under way: the adapters of a route tried in turn until one has answered.

An engine that fails is replaced by another that holds the same adapter, from where the first broke off. Only
when none is left has the adapter failed.

An adapter that fails before the customer has seen anything is simply replaced by the next. One that
breaks off in the middle is continued by the next from the customer's half of the answer, so nobody
sees words taken back, and a canary's answers can stream like any other. (Holding them back until they
are whole would be simpler, but would make the canary slower than its control, and so judge it unfairly.)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from agent.failures import REFUSALS
from agent.replicas import Replica, Replicas
from agent.routing import BASE_MODEL, Route
from infra.engine import BASE, Delta, Engine, Sampling
from infra.errors import EngineError, EngineUnavailable
from infra.events import Message


class Reply:
    """The fields hold what is known so far; after `pieces` has ended, or failed, they are final.

    `adapter` is the one that wrote the last words, `fallback_from` the first that failed, `error` why.
    """

    def __init__(
        self,
        replicas: Replicas,
        route: Route,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        streamed: bool,
        timeout_s: float,
    ) -> None:
        self._replicas = replicas
        self._route = route
        self._messages = tuple(messages)
        self._sampling = sampling
        self._streamed = streamed
        self._timeout_s = timeout_s
        self._pieces = 0
        self.adapter = BASE_MODEL
        self.fallback_from = route.skipped
        self.error = replicas.failed.get(route.skipped, "") if route.skipped else ""
        self.text = ""
        self.finish_reason = ""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    async def pieces(self) -> AsyncGenerator[str, None]:
        """The answer's text as it comes, without empty pieces; one piece when it is not streamed.

        Closing the iterator ends the engine's work. The whole answer, fallbacks included, gets
        `timeout_s`; while others could still answer, an attempt gets half of what is left to begin.

        Raises:
            EngineError: no adapter answered, or the last one broke off.
        """
        deadline = time.monotonic() + self._timeout_s
        final = self._route.adapters[-1]
        for adapter in self._route.adapters:
            self.adapter = adapter
            failure: EngineError = EngineUnavailable(f"No engine holds {adapter} any more.")
            tried: list[Replica] = []
            while replica := self._pick(adapter, tried):
                tried.append(replica)
                last = adapter == final and self._pick(adapter, tried) is None
                try:
                    with replica.answering(adapter):
                        async with aclosing(self._attempt(replica.engine, adapter, deadline, last)) as pieces:
                            async for piece in pieces:
                                self.text += piece
                                self._pieces += 1
                                yield piece
                    return
                except EngineError as err:
                    failure = err
                    self._replicas.failure(replica, adapter, err)
                    # What blames the request would be said to every adapter.
                    if err.status in REFUSALS and not self.text:
                        raise
                    if not _elsewhere(err):
                        break
            if adapter == final:
                raise failure
            self.error = self.error or str(failure)
            self.fallback_from = self.fallback_from or adapter

    def _pick(self, adapter: str, tried: Sequence[Replica]) -> Replica | None:
        return self._replicas.pick(adapter, self._messages[0].content, tried)

    async def _attempt(
        self, engine: Engine, adapter: str, deadline: float, last: bool
    ) -> AsyncGenerator[str, None]:
        """One adapter's pieces. Raises EngineError also for silence and for an empty answer."""
        begun, spoken = time.monotonic(), bool(self.text)
        patience = deadline if last else begun + (deadline - begun) / 2
        async with aclosing(self._deltas(engine, adapter)) as deltas:
            while True:
                delta = await _next(deltas, deadline if spoken else patience)
                if delta is None:
                    break
                self._count(delta)
                # Leading white space is held back: an answer of nothing else counts as empty.
                if delta.text and (spoken or delta.text.strip()):
                    yield delta.text if spoken else delta.text.lstrip()
                    spoken = True
        if not spoken and not last:
            raise EngineError(f"{adapter} gave an empty answer.")

    async def _deltas(self, engine: Engine, adapter: str) -> AsyncGenerator[Delta, None]:
        model = adapter or BASE
        if self._streamed:
            half = (Message(role="assistant", content=self.text),) if self.text else ()
            # A piece is about a token: both halves together stay within the limit.
            sampling = replace(self._sampling, max_tokens=max(self._sampling.max_tokens - self._pieces, 1))
            stream = engine.stream((*self._messages, *half), model, sampling, resume=bool(half))
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    yield delta
            return
        answer = await engine.chat(self._messages, model, self._sampling)
        choice = answer.choices[0]
        yield Delta(choice.text, choice.finish_reason, answer.prompt_tokens, answer.completion_tokens)

    def _count(self, delta: Delta) -> None:
        self.finish_reason = delta.finish_reason or self.finish_reason
        # A continuation's prompt holds the first half of the answer: the first count is the prompt's.
        self.prompt_tokens = self.prompt_tokens or delta.prompt_tokens
        self.completion_tokens += delta.completion_tokens


def _elsewhere(err: EngineError) -> bool:
    """Whether another engine may do better with the same adapter. An empty answer was the adapter's own."""
    return isinstance(err, EngineUnavailable) or err.status != 0


async def _next(deltas: AsyncGenerator[Delta, None], deadline: float) -> Delta | None:
    """The next delta, None at the end. Raises EngineUnavailable at the deadline."""
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await anext(deltas, None)
    except TimeoutError as err:
        raise EngineUnavailable("The engine did not answer in time: see whether it is overloaded.") from err
