"""An engine that answers at once, always the same: so that a measurement times the agent and not a model.

python -m infra.bench.engine PORT
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvloop

from infra.bench.wire import Answers, answer
from infra.engine import BASE

_ANSWER = "Yes, parking is free for all guests."
_COMPLETION = answer(
    json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": 0,
            "model": BASE,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": _ANSWER},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 200, "completion_tokens": 8, "total_tokens": 208},
        }
    ).encode()
)
_MODELS = answer(json.dumps({"object": "list", "data": [{"id": BASE, "object": "model"}]}).encode())


def reply(request: bytes) -> bytes:
    """What it answers: the models it serves, else always the same completion."""
    return _MODELS if request.startswith(b"GET ") else _COMPLETION


async def serve(port: int) -> None:
    """Serves until a signal."""
    server = await asyncio.get_running_loop().create_server(lambda: Answers(reply), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
