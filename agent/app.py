"""The agent's HTTP application: routes, the mapping of errors, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response

from agent import wire
from agent.auth import Guard
from agent.chat import Chat
from agent.deployments import Deployments
from agent.failures import explain
from agent.feedback import FeedbackEndpoint
from agent.knowledge import Knowledge
from agent.limits import Gate
from agent.metrics import Metrics
from agent.recorder import Recorder
from agent.replicas import Replicas
from agent.response_ids import ResponseIds
from infra import telemetry
from infra.engine import Engine
from infra.errors import NightshiftError
from infra.eventlog.base import EventLog
from infra.eventlog.outbox import Outbox
from infra.keys import KeyStore
from infra.registry import Registry
from infra.settings import Settings
from infra.telemetry import OK

_log = logging.getLogger(__name__)

WORDS_ALONE = (
    "retrieval by words alone (an answer is found for 0.91 of questions, not 0.97): run `make model`"
)
_LOOK_S = 1.0  # how soon a changed document is used
_LATE_S = 10.0  # an event that waits longer for the shared log means that it is down or slow
# The page runs what stands in it and talks to this service alone.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What works beside the requests."""

    knowledge: Knowledge
    deployments: Deployments
    replicas: Replicas
    metrics: Metrics
    recorder: Recorder
    outbox: Outbox | None

    async def needs(self) -> Mapping[str, bool | str]:
        """What must be true for this agent to be sent requests, and what makes its answers worse."""
        problems, failed = self.knowledge.problems, self.replicas.failed
        return {
            "engine": self._engines(),
            "deployments": self._deployments(),
            "event log": self.recorder.trouble or self._waiting(),
            "adapters": "degraded: " + " ".join(failed.values()) if failed else OK,
            "documents": "degraded: " + " ".join(problems[:5]) if problems else OK,
            "vectors": self.knowledge.has_vectors or f"degraded: {WORDS_ALONE}",
        }

    def _engines(self) -> bool | str:
        if not (answering := self.replicas.answering):
            return "the engine does not answer: start it, or see its log"
        if answering < len(self.replicas):
            return f"degraded: {answering} of {len(self.replicas)} engines answer, see the agent's log"
        return True

    def _deployments(self) -> bool | str:
        if trouble := self.deployments.trouble:
            return f"degraded: the last known adapter serves. {trouble}"
        return self.deployments.caught_up

    def _waiting(self) -> str:
        """Events that are durable here, but not on the shared log yet."""
        if self.outbox is None or (waiting := self.outbox.backlog).age_s < _LATE_S:
            return OK
        return (
            f"degraded: {waiting.records} events wait for the event log, the oldest for {waiting.age_s:.0f} s"
        )

    async def follow_documents(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.knowledge.refresh)
            except OSError:  # a folder vanished while it was read: the next look sees what is left
                self.metrics.errors.labels("knowledge").inc()
                _log.exception("knowledge could not be read, the last good state stays in use")
            self.metrics.bad_documents.set(len(self.knowledge.problems))
            await asyncio.sleep(_LOOK_S)

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.knowledge.refresh)

        def changed() -> None:
            loop.call_soon_threadsafe(self.replicas.wake)

        self.deployments.start(changed)
        tasks = [
            asyncio.create_task(self.replicas.run(lambda: self.deployments.state)),
            asyncio.create_task(self.follow_documents()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.deployments.stop)


class _Plain(APIRoute):
    """For an endpoint that takes the request and gives the response: FastAPI describes it, no more."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Called by FastAPI for each route."""
        return cast("Callable[[Request], Coroutine[Any, Any, Response]]", self.endpoint)


def create_app(
    settings: Settings,
    log: EventLog,
    engines: Sequence[Engine],
    registry: Registry,
    keys: KeyStore,
    knowledge: Knowledge,
    ids: ResponseIds,
) -> FastAPI:
    """The application over its collaborators, which stay the caller's to close. At least one engine."""
    metrics = Metrics(CollectorRegistry())
    guard = Guard(settings.agent, keys)
    recorder = Recorder(log, ids, metrics)
    deployments = Deployments(log, metrics, settings.data / "deployment.json")
    replicas = Replicas(engines, registry, metrics)
    gate = Gate(settings.agent.max_concurrent)
    chat = Chat(settings, guard, gate, knowledge, deployments, replicas, recorder, ids, metrics)
    feedback = FeedbackEndpoint(guard, recorder, ids, metrics, settings.agent.max_body)
    outbox = log if isinstance(log, Outbox) else None
    if outbox:
        metrics.watch(outbox)
    beside = _Beside(knowledge, deployments, replicas, metrics, recorder, outbox)

    # Without the interactive pages, which load scripts from elsewhere.
    app = FastAPI(title="Nightshift agent", lifespan=beside.running, docs_url=None, redoc_url=None)
    asked = APIRouter(route_class=_Plain)
    asked.post("/v1/chat/completions", openapi_extra=_takes(wire.ChatRequest))(chat.complete)
    asked.post("/v1/prompt", openapi_extra=_takes(wire.PromptRequest))(chat.preview)
    asked.post("/v1/feedback", openapi_extra=_takes(wire.FeedbackRequest))(feedback.give)
    app.include_router(asked)
    _add_lists(app, settings, guard, knowledge)
    _add_page(app)
    app.include_router(telemetry.probes(beside.needs, metrics.registry))
    _map_errors(app, metrics)
    return app


def _add_lists(app: FastAPI, settings: Settings, guard: Guard, knowledge: Knowledge) -> None:
    @app.get("/v1/models")
    async def models(request: Request) -> JSONResponse:
        guard.require(request, "chat")
        return JSONResponse(wire.models(settings.agent.model))

    @app.get("/v1/collections")
    async def collections(request: Request) -> JSONResponse:
        """The businesses that can be asked about."""
        guard.require(request, "chat", "operate")
        known = [
            {"id": collection.slug, "name": collection.name, "facts": len(collection.index.facts)}
            for collection in knowledge.collections
        ]
        return JSONResponse({"object": "list", "data": known})

    @app.get("/v1/facts", openapi_extra=_asks(wire.FactsRequest))
    async def facts(request: Request) -> JSONResponse:
        """What one business knows, in the order of its documents, page by page."""
        guard.require(request, "operate")
        page = wire.parameters(wire.FactsRequest, request.query_params)
        known = knowledge.collection(page.collection)
        return JSONResponse(wire.facts(known.slug, known.index.facts, page))


def _add_page(app: FastAPI) -> None:
    page = files("agent").joinpath("web/index.html").read_text(encoding="utf-8")

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(
            page, headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
        )


def _map_errors(app: FastAPI, metrics: Metrics) -> None:
    """Every error leaves in one shape, wherever it was raised."""

    @app.exception_handler(NightshiftError)
    async def ours(_: Request, err: NightshiftError) -> Response:
        failure = explain(err)
        metrics.refused.labels(str(failure.body["error"]["code"])).inc()
        return JSONResponse(failure.body, failure.status, failure.headers)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, err: HTTPException) -> Response:
        message = (
            f"{request.method} {request.url.path[:80]}: {err.detail}. GET /openapi.json lists what there is."
        )
        return JSONResponse(wire.error(message, "invalid_request_error"), err.status_code, err.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody reads it

    @app.exception_handler(Exception)
    async def unexpected(_: Request, __: Exception) -> Response:
        metrics.errors.labels("request").inc()  # the server logs the traceback
        message = "Something went wrong in the agent: see its log."
        return JSONResponse(wire.error(message, "server_error", None, "internal"), 500)


def _takes(kind: type[wire.ChatRequest | wire.PromptRequest | wire.FeedbackRequest]) -> dict[str, object]:
    """Describes a body that the endpoint reads by itself, since it bounds it first."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _asks(kind: type[wire.FactsRequest]) -> dict[str, object]:
    """The same of what stands in an address."""
    fields = kind.model_json_schema()["properties"]
    places = [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    return {"parameters": places}
