"""Puts the dashboard together from its collaborators, and maps our errors to clear pages once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request

from infra import telemetry
from infra.dashboard import (
    adapters,
    canary,
    conversations,
    dead_letters,
    live,
    login,
    loop,
    nights,
    questions,
    settings_page,
)
from infra.dashboard.guard import Guard
from infra.dashboard.record import Record
from infra.dashboard.rooms import Rooms, last_look, probes
from infra.dashboard.security import LoginToken, Signer, signing_key
from infra.dashboard.serving import Serving
from infra.dashboard.site import FOLDER, Site
from infra.dashboard.verdict import Verdict
from infra.errors import AdapterError, EventLogError, LakeError, NightshiftError, NotAllowed, NotFound
from infra.eventlog.base import EventLog
from infra.keys import KeyStore
from infra.registry import Registry
from infra.settings import Settings

STATUS: dict[type[NightshiftError], int] = {
    NotFound: 404,
    NotAllowed: 403,
    AdapterError: 409,
    LakeError: 503,
    EventLogError: 503,
}
TITLES = {
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    422: "Something is missing",
    503: "Not there yet",
}


def utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(settings: Settings, log: EventLog, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """The dashboard for one data folder. It does not close `log`."""
    run = settings.data / "run"
    keys = KeyStore(settings.keys_file)
    site = Site(
        settings=settings,
        record=Record(settings),
        serving=Serving(log),
        rooms=Rooms(probes(settings)),
        verdict=Verdict(last_look(settings)),
        registry=Registry(settings.adapters_dir),
        signer=Signer(signing_key(run / "dashboard_key")),
        now=now,
    )

    def operator(secret: str) -> str:
        key = keys.verify(secret)
        return key.name if key and "operate" in key.scopes else ""

    guard = Guard(settings.dashboard.host, site.signer, LoginToken(run), operator, now)
    return _assemble(site, guard)


def _assemble(site: Site, guard: Guard) -> FastAPI:
    app = FastAPI(lifespan=_closing(site), docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BaseHTTPMiddleware, dispatch=guard)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    app.include_router(telemetry.probes(_ready(site)))
    app.include_router(login.router(site, guard))
    for page in (loop, live, conversations, nights, questions, adapters, canary, dead_letters, settings_page):
        app.include_router(page.router(site))
    _explain_errors(app, site)
    return app


def _ready(site: Site) -> telemetry.Ready:
    """Ready means that the event log can be read; a missing lake is a page, not a reason to restart."""

    async def ready() -> dict[str, bool]:
        return {"event log": bool(await run_in_threadpool(site.serving.end_offsets))}

    return ready


def _closing(site: Site) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        site.serving.close()
        site.record.close()

    return lifespan


def _explain_errors(app: FastAPI, site: Site) -> None:
    def explain(request: Request, status: int, message: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": message}, status)
        view = {"title": TITLES.get(status, "This did not work"), "status": status, "message": message}
        return site.render(request, "error.html", view, status)

    @app.exception_handler(NightshiftError)
    async def ours(request: Request, err: NightshiftError) -> Response:
        status = next((code for kind, code in STATUS.items() if isinstance(err, kind)), 500)
        return explain(request, status, str(err))

    @app.exception_handler(HTTPException)
    async def http(request: Request, err: HTTPException) -> Response:
        message = "There is no such page: use the menu." if err.status_code == 404 else str(err.detail)
        return explain(request, err.status_code, message)

    @app.exception_handler(RequestValidationError)
    async def bad(request: Request, err: RequestValidationError) -> Response:
        first = err.errors()[0]
        return explain(request, 422, f"{first['loc'][-1]}: {first['msg']}.")

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, _: Exception) -> Response:
        return explain(request, 500, "Something unforeseen went wrong: the dashboard's log has the details.")
