"""What a process tells about itself: log lines on stderr, probes and metrics over HTTP.

Never a customer's text: a logged exception is named with its place in the code, and its message is kept
only where the class promises a sentence of ours or the system's. Dashboards and alerts are not here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from infra.errors import NightshiftError, ProcessError

OK = "ok"
# What a room needs before it can work: the name of each need → True or "ok" when it is met, else False or
# a sentence that says what is wrong. A sentence that begins with "degraded: " is met all the same: the room
# works, only less well.
Needs = Mapping[str, bool | str]
Ready = Callable[[], Awaitable[Needs]]
# An orchestrator gives a probe a few seconds; a check that hangs is a check that failed.
_PROBE_TIMEOUT_S = 5.0


def configure(room: str) -> None:
    """Sends every log record to stderr as one line `time= level= room= logger= message=`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(room))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # It tells of every tick, and a trainer ticks each second.
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


class LineFormatter(logging.Formatter):
    """One `key=value` line per record: values with spaces are quoted as in JSON. Times are UTC."""

    def __init__(self, room: str) -> None:
        super().__init__()
        self._room = room

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "room": self._room,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1]:
            fields |= _explain(record.exc_info[1])
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


def _explain(err: BaseException) -> dict[str, str]:
    """Class and place of an exception, innermost frame first."""
    said = f": {err}" if isinstance(err, (NightshiftError, OSError)) else ""
    frames = traceback.extract_tb(err.__traceback__)[::-1]
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return {"error": f"{type(err).__name__}{said}", "at": places}


def _quoted(value: str) -> str:
    plain = value.isprintable() and not any(char in value for char in ' "=')
    return value if value and plain else json.dumps(value, ensure_ascii=False)


def probes(ready: Ready, registry: CollectorRegistry | None = None) -> APIRouter:
    """Routes for `/livez` (200 while the process serves at all), `/readyz` and `/metrics`.

    `/readyz` is 200 when every need is met, else 503; the body is the mapping either way. `/metrics` holds
    the metrics of `registry` and of the process (memory, CPU seconds, open files).
    """
    routes = APIRouter(include_in_schema=False)
    process = CollectorRegistry()
    ProcessCollector(registry=process)

    @routes.get("/livez")
    async def livez() -> JSONResponse:
        return JSONResponse({"status": OK})

    @routes.get("/readyz")
    async def readyz() -> JSONResponse:
        needs = await _in_time(ready)
        met = all(_is_met(state) for state in needs.values())
        return JSONResponse(dict(needs), 200 if met else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        text = (generate_latest(registry) if registry else b"") + generate_latest(process)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return routes


def _is_met(state: bool | str) -> bool:
    return state is True or (isinstance(state, str) and (state == OK or state.startswith("degraded: ")))


async def _in_time(ready: Ready) -> Needs:
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            return await ready()
    except TimeoutError:
        return {"probe": f"no answer within {_PROBE_TIMEOUT_S:g} s: the process is overloaded or stuck"}


class ProbeServer:
    """Serves the probes from a thread, for rooms without an app of their own.

    `ready` runs in that thread's event loop, so it must be safe to call beside the room's own work.
    Port 0 takes any free port. `more` are the room's own routes. A context manager: started on entry,
    stopped on exit.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ready: Ready,
        registry: CollectorRegistry | None = None,
        more: APIRouter | None = None,
    ) -> None:
        self._address = (host, port)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.include_router(probes(ready, registry))
        if more:
            app.include_router(more)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="probes", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        assert self._socket, "the port is known after start()"
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Listens from now on.

        Raises:
            ProcessError: the address is taken or is none of this machine's.
        """
        host, port = self._address
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server(self._address, family=family)
        except OSError as err:
            raise ProcessError(
                f"Cannot listen on {host}:{port} ({err.strerror}): stop what holds it, or set another port."
            ) from err
        self._thread.start()

    def stop(self) -> None:
        """Stops listening and waits for the thread."""
        self._server.should_exit = True
        if self._thread.ident:
            self._thread.join()
        if self._socket:
            self._socket.close()

    def _serve(self) -> None:
        assert self._socket
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
