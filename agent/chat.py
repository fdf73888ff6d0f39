"""The chat endpoint, from the request to the durable record of its answer: the agent's whole story.

authenticate → limits → validate → conversation → arm → retrieval → prompt → engine → record → finish.
An answer is finished for the customer only once it is recorded; how each step works is in its own file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass

from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from ulid import ULID

from agent import prompt, routing, wire
from agent.auth import Guard
from agent.deployments import Deployments
from agent.failures import explain
from agent.knowledge import Knowledge
from agent.leaving import while_there
from agent.limits import Gate, read_body
from agent.metrics import Metrics
from agent.recorder import Recorder
from agent.replicas import Replicas
from agent.reply import Reply
from agent.response_ids import ResponseIds
from agent.turn import Status, Turn
from agent.wire import ChatRequest, InvalidRequest
from infra.engine import BASE, Sampling
from infra.errors import EngineError, EventLogError, NotFound
from infra.events import Fact
from infra.settings import Settings

GONE = "The customer went away."


@dataclass(frozen=True, slots=True)
class Chat:
    """The endpoint's collaborators."""

    settings: Settings
    guard: Guard
    gate: Gate
    knowledge: Knowledge
    deployments: Deployments
    replicas: Replicas
    recorder: Recorder
    ids: ResponseIds
    metrics: Metrics

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        arrived = time.perf_counter()
        self.guard.require(request, "chat")
        ask = wire.parse(ChatRequest, await read_body(request, self.settings.agent.max_body))
        async with AsyncExitStack() as held:
            async with while_there(request):
                # After the body, so that whoever sends slowly, or nonsense, holds no place.
                await held.enter_async_context(self.gate.slot())
                turn = self._open(ask, arrived)
                pieces = await held.enter_async_context(aclosing(turn.reply.pieces()))
                first = await self._first(turn, pieces)
            if ask.stream:
                if first:
                    turn.spoke()
                events = self._events(turn, ask, first, pieces)
                return _EventStream(events, held.pop_all(), _headers(turn))
            return await self._whole(turn, pieces)

    async def preview(self, request: Request) -> Response:
        """POST /v1/prompt: the prompt that a live request would send. Nothing is sent or recorded."""
        self.guard.require(request, "operate")
        body = await read_body(request, self.settings.agent.max_body)
        ask = wire.parse(wire.PromptRequest, body)
        built, facts = self._prompt(ask.messages, ask.collection)
        return JSONResponse(
            {
                "messages": [message.model_dump() for message in built.messages],
                "facts": [fact.model_dump() for fact in facts],
            }
        )

    def _open(self, ask: ChatRequest, arrived: float) -> Turn:
        """Everything about the turn that is known before the engine is asked."""
        agent = self.settings.agent
        if ask.model not in (None, agent.model):
            raise NotFound(f"The model {ask.model[:80]!r} does not exist: use {agent.model!r}.")
        metadata = ask.metadata or wire.Metadata()
        conversation = metadata.conversation_id or str(ULID())
        built, facts = self._prompt(ask.messages, metadata.collection)
        route = routing.choose(
            conversation, self.deployments.state, self.replicas.usable, self.replicas.failed.keys()
        )
        streamed = bool(ask.stream)
        reply = Reply(
            self.replicas,
            route,
            built.messages,
            sampling(ask, self.settings),
            streamed=streamed,
            timeout_s=agent.timeout_s,
        )
        return Turn(
            arrived=arrived,
            response_id=self.ids.issue(),
            conversation_id=conversation,
            user=ask.user or "",
            collection=metadata.collection or agent.collection,
            facts=facts,
            prompt=built,
            turns=prompt.turn(wire.history(ask.messages)),
            route=route,
            reply=reply,
            streamed=streamed,
        )

    def _prompt(
        self, messages: list[wire.ChatMessage], collection: str
    ) -> tuple[prompt.Prompt, tuple[Fact, ...]]:
        spoken = wire.history(messages)
        known = self.knowledge.collection(collection)
        facts = known.index.search(prompt.search_text(spoken), self.settings.agent.facts)
        room = prompt.room(self.settings.engine.max_model_len, self.settings.agent.max_tokens)
        length, most = len(spoken[-1].content), room // 2
        if length > most:
            raise InvalidRequest(
                f"The last message has {length} characters, and {most} fit: shorten it.",
                f"messages.{len(messages) - 1}.content",
                "context_length_exceeded",
            )
        built = prompt.build(known.name, facts, spoken, room)
        return built, prompt.fitting_facts(facts, int(room * prompt.FACTS_PART))

    async def _first(self, turn: Turn, pieces: AsyncGenerator[str, None]) -> str:
        """The answer's first piece, all of it when it is not streamed. A failure before it is recorded."""
        try:
            return await anext(pieces, "")
        except EngineError as err:
            await self._record(turn, "error", str(err))
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self._record(turn, "cancelled", GONE))
            raise

    async def _whole(self, turn: Turn, pieces: AsyncGenerator[str, None]) -> Response:
        """The answer in one piece, sent once it is recorded."""
        async for _ in pieces:
            pass
        await self._record(turn, "ok")
        reply = turn.reply
        used = wire.usage(reply.prompt_tokens, reply.completion_tokens)
        body = wire.completion(
            turn.response_id,
            self.settings.agent.model,
            int(time.time()),
            reply.text,
            reply.finish_reason,
            used,
        )
        return Response(body, media_type="application/json", headers=_headers(turn))

    async def _events(
        self, turn: Turn, ask: ChatRequest, first: str, pieces: AsyncGenerator[str, None]
    ) -> AsyncGenerator[bytes, None]:
        """The answer as it comes; its end only once it is recorded.

        A customer who goes away closes this iterator, or cancels it: then what was written so far is
        recorded as cancelled. A failure after the first words ends the stream with an error event.
        """
        with_usage = ask.stream_options is not None and ask.stream_options.include_usage
        chunks = wire.Chunks(turn.response_id, self.settings.agent.model, int(time.time()), with_usage)
        reply = turn.reply
        status: Status = "cancelled"
        try:
            yield chunks.role()
            if first:
                yield chunks.text(first)
            async for piece in pieces:
                yield chunks.text(piece)
            status = "ok"
            await self._record(turn, status)
            yield chunks.end(reply.finish_reason, wire.usage(reply.prompt_tokens, reply.completion_tokens))
        except EngineError as err:
            status = "error"
            await self._record(turn, status, str(err))
            yield wire.error_event(explain(err).body)
        except EventLogError as err:
            yield wire.error_event(explain(err).body)
        finally:
            if status == "cancelled":
                # Shielded: the server cancels this task at every step from here on.
                with suppress(EventLogError):  # logged and counted; nobody is left to be told
                    await asyncio.shield(self._record(turn, status, GONE))

    async def _record(self, turn: Turn, status: Status, error: str = "") -> None:
        """Returns when the turn is durable. Raises EventLogError when it could not be recorded."""
        body = turn.interaction(status, error)
        arm = body.arm.value
        try:
            await self.recorder.interaction(body, turn.prompt)
        except EventLogError:
            self.metrics.requests.labels(arm, "unrecorded").inc()
            raise
        self.metrics.requests.labels(arm, status).inc()
        self.metrics.latency.labels(arm).observe(time.perf_counter() - turn.arrived)
        if body.first_token_s is not None:
            self.metrics.first_token.labels(arm).observe(body.first_token_s)
        if body.fallback_from:
            self.metrics.fallbacks.labels(arm).inc()
        self.metrics.tokens.labels("prompt").inc(body.prompt_tokens)
        self.metrics.tokens.labels("completion").inc(body.completion_tokens)


class _EventStream(StreamingResponse):
    """Closes its events, and lets go of what the request held, however the response ends."""

    def __init__(
        self, events: AsyncGenerator[bytes, None], held: AsyncExitStack, headers: dict[str, str]
    ) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={**headers, "cache-control": "no-store"}
        )
        self._events = events
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held, aclosing(self._events):
            await super().__call__(scope, receive, send)


def sampling(ask: ChatRequest, settings: Settings) -> Sampling:
    """How the engine picks words: the caller's wishes, within what the service allows."""
    agent = settings.agent
    wished = ask.max_completion_tokens or ask.max_tokens or agent.max_tokens
    stop = (ask.stop,) if isinstance(ask.stop, str) else tuple(ask.stop or ())
    return Sampling(
        max_tokens=min(wished, agent.max_tokens),
        temperature=agent.temperature if ask.temperature is None else ask.temperature,
        top_p=1.0 if ask.top_p is None else ask.top_p,
        seed=ask.seed,
        stop=stop,
    )


def _headers(turn: Turn) -> dict[str, str]:
    """Who answered. On a stream these are sent with the first words: a later fallback is in the record."""
    return {
        "x-nightshift-adapter": turn.reply.adapter or BASE,
        "x-nightshift-arm": turn.route.arm.value,
        "x-nightshift-conversation": turn.conversation_id,
    }
