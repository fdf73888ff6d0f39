"""Starts the agent: settings, collaborators, server. A signal stops it once answers under way have ended."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys

import aiohttp
import uvicorn
import uvloop

from agent.app import create_app
from agent.auth import refuse_open_door
from agent.index import Vectors
from agent.knowledge import Knowledge
from agent.response_ids import ResponseIds, load_secret
from infra import telemetry
from infra.engine import Engine
from infra.errors import KnowledgeError, NightshiftError
from infra.eventlog import open_outbox
from infra.keys import KeyStore
from infra.registry import Registry
from infra.settings import Settings, load

_log = logging.getLogger(__name__)

# The thread that makes answers durable takes no longer than its disk: by default it would wait 5 ms for its
# turn beside a busy loop.
_SWITCH_S = 0.0005
# Longer than nearly all answers, and shorter than the 30 s after which orchestrators kill.
_GRACE_S = 20


def main() -> int:
    """Runs until it is told to stop. 0: stopped in order; 1: it could not start, and said why."""
    telemetry.configure("agent")
    sys.setswitchinterval(_SWITCH_S)
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG when imported
    # The server stops on these by itself, then raises them again: by then there is still a log to close.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        uvloop.run(serve(load()))
    except NightshiftError as err:
        _log.error("the agent cannot run: %s", err)
        return 1
    return 0


async def serve(settings: Settings) -> None:
    keys = KeyStore(settings.keys_file)
    refuse_open_door(settings.agent, keys)
    ids = ResponseIds(load_secret(settings.data / "response_ids.secret"))
    knowledge = Knowledge(settings.knowledge_dir, settings.agent.collection, _vectors(settings))
    knowledge.refresh()
    # A full collection would stop all answers for 65 to 130 ms every few seconds, looking at what lives as
    # long as the process: 150,000 objects of the libraries and the index.
    gc.collect()
    gc.freeze()
    # And the small collections, one for every 700 new objects, would take a twentieth of the time.
    gc.set_threshold(50_000, 20, 100)
    log = open_outbox(settings)
    try:
        # As many connections as the gate lets requests in, and a few for the adapters of each engine.
        urls = settings.engine.urls
        connector = aiohttp.TCPConnector(limit=settings.agent.max_concurrent + 8 * len(urls))
        async with aiohttp.ClientSession(connector=connector) as session:
            engines = [Engine(url, session, settings.agent.timeout_s) for url in urls]
            app = create_app(settings, log, engines, Registry(settings.adapters_dir), keys, knowledge, ids)
            await uvicorn.Server(_config(app, settings)).serve()
    finally:
        await asyncio.to_thread(log.close)


def _config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.agent.host,
        port=settings.agent.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )


def _vectors(settings: Settings) -> Vectors | None:
    """The static vectors, or None, loudly: then words alone find an answering fact less often."""
    try:
        return Vectors.load(settings.vectors_dir)
    except KnowledgeError as err:
        _log.error("retrieval by words alone (0.91 instead of 0.97 of answers found): %s", err)
        return None


if __name__ == "__main__":
    sys.exit(main())
