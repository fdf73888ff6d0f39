"""The least that a gateway in Python does: Starlette, and aiohttp to the engine. Nothing is read or kept.

python -m infra.bench.bare_proxy PORT ENGINE_PORT
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def app(engine: str) -> Starlette:
    """Passes chat requests on to `engine`, and says that it is ready."""

    @asynccontextmanager
    async def session(proxy: Starlette) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as proxy.state.session:
            yield

    async def chat(request: Request) -> Response:
        url = f"{engine}/v1/chat/completions"
        body = await request.body()
        async with request.app.state.session.post(
            url, data=body, headers={"Content-Type": "application/json"}
        ) as response:
            return Response(await response.read(), response.status, media_type="application/json")

    async def ready(_: Request) -> Response:
        return Response()

    routes = [Route("/v1/chat/completions", chat, methods=["POST"]), Route("/readyz", ready)]
    return Starlette(routes=routes, lifespan=session)


if __name__ == "__main__":
    uvicorn.run(
        app(f"http://127.0.0.1:{sys.argv[2]}"),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
    )
