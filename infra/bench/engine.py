"""An engine that answers at once, always the same: so that a measurement times the agent and not a model.

python -m infra.bench.engine PORT
"""

from __future__ import annotations

import sys

from aiohttp import web

from infra.engine import BASE

_ANSWER = "Yes, parking is free for all guests."
_COMPLETION = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 0,
    "model": BASE,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": _ANSWER}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208},
}


async def _models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": BASE, "object": "model"}]})


async def _complete(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(_COMPLETION)


async def _healthy(_: web.Request) -> web.Response:
    return web.Response()


def main(port: int) -> None:
    """Serves until a signal."""
    app = web.Application(client_max_size=2**24)
    app.add_routes(
        [
            web.get("/health", _healthy),
            web.get("/v1/models", _models),
            web.post("/v1/chat/completions", _complete),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
