"""A stand-in for the engine: a small HTTP server that speaks vLLM's API, with faults on demand.

    async with StubEngine() as stub: ... stub.url ...
    python tests/stub_engine.py --port 8000

The engine's contract suite runs against it and against vLLM, so it cannot drift. Beside the API it
has `POST /stub/faults {model, kind, times}` and `GET /stub/stats`. Kinds: error, hang, break_stream, stall
(two tokens, then none), slow, signed (slow, and each token of a stream names the model that the engine holds
under the asked name by then), garbage (nonsense text), malformed (no JSON). `times` null is for ever, model
"*" every model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

if __name__ == "__main__":  # started as a file: the folder above holds the packages
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import stub_answers, stub_chat
from tests.stub_answers import Model

_SLOW_S = 0.1


class Refused(Exception):
    """Becomes an error in OpenAI's shape."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class StubEngine:
    """The server; use it as an async context manager. `url` is known once it has started."""

    def __init__(self, port: int = 0) -> None:
        self.url = ""
        self.stats: Counter[str] = Counter()
        self._places: asyncio.Semaphore | None = None
        self._seconds = 0.0
        # Takes no adapter, as an engine does whose disk lacks them.
        self.refuse_adapters = False
        self._port = port
        self._running = 0
        self._models = {"base": Model()}
        self._faults: dict[str, tuple[str, int | None]] = {}
        app = web.Application(client_max_size=2**24, middlewares=[_refusals])
        app.add_routes(
            [
                web.get("/health", _healthy),
                web.get("/v1/models", self._list),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._complete),
                web.post("/v1/load_lora_adapter", self._load),
                web.post("/v1/unload_lora_adapter", self._unload),
                web.post("/stub/faults", self._set_fault),
                web.get("/stub/stats", self._stats),
                web.get("/metrics", self._metrics),
            ]
        )
        # A handler whose client has gone is cancelled, as vLLM aborts its request.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def served(self) -> frozenset[str]:
        """The names of the models."""
        return frozenset(self._models)

    def fault(self, model: str, kind: str, times: int | None = 1) -> None:
        """The next `times` answers of `model` go wrong."""
        self._faults[model] = (kind, times)

    def limit(self, places: int, seconds: float) -> None:
        """Computes so many answers at one time, each in so many seconds; the others wait."""
        self._places, self._seconds = asyncio.Semaphore(places), seconds

    async def _set_fault(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.fault(body.get("model", "*"), body["kind"], body.get("times", 1))
        return web.json_response({})

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self.stats)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=f'vllm:num_requests_running{{model_name="base"}} {self._running}\n')

    async def _list(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "owned_by": "stub"} for name in self._models]
        return web.json_response({"object": "list", "data": data})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, folder = body.get("lora_name"), Path(body.get("lora_path") or "/nowhere")
        if not name or name == "base":
            raise Refused(400, "InvalidUserInput", f"The lora adapter '{name}' conflicts with a base model.")
        if name in self._models:
            raise Refused(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if self.refuse_adapters or not (folder / "adapter_config.json").is_file():
            self.stats["refused"] += 1
            raise Refused(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for <path>")
        if not (folder / "adapter_model.safetensors").is_file():
            raise Refused(500, "InternalServerError", "Worker failed: <path> doesn't contain tensors")
        self._models[name] = stub_answers.adapter(name, folder)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("lora_name")
        if name == "base" or name not in self._models:
            raise Refused(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self._models[name]
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _complete(self, request: web.Request) -> web.Response:
        """Of prompts of token ids alone, for their log-probabilities."""
        body = await request.json()
        return web.json_response(stub_chat.forced(body, self._model(body)[1]))

    def _model(self, body: dict[str, Any]) -> tuple[str, Model]:
        name = body.get("model") or "base"
        if name not in self._models:
            raise Refused(404, "NotFoundError", f"The model `{name}` does not exist.")
        return name, self._models[name]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name, model = self._model(body)
        if not 1 <= (body.get("max_tokens") or stub_chat.CONTEXT) <= stub_chat.CONTEXT:
            raise Refused(400, "BadRequestError", f"max_tokens must be 1 to {stub_chat.CONTEXT}.")
        self.stats["requests"] += 1
        fault = self._take_fault(name)
        self._running += 1
        try:
            if self._places:
                async with self._places:
                    await asyncio.sleep(self._seconds)
            return await self._answer(request, body, (name, model), fault)
        except (asyncio.CancelledError, ConnectionResetError):
            self.stats["cancelled"] += 1
            raise
        finally:
            self._running -= 1

    def _take_fault(self, name: str) -> str:
        for model in (name, "*"):
            kind, times = self._faults.get(model, ("", 0))
            if kind and times != 0:
                self._faults[model] = (kind, times - 1 if times else times)
                return kind
        return self._models[name].fault

    async def _answer(
        self, request: web.Request, body: dict[str, Any], asked: tuple[str, Model], fault: str
    ) -> web.StreamResponse:
        if fault == "error":
            raise Refused(500, "InternalServerError", "a fault that was asked for")
        if fault == "malformed":
            return web.Response(text="{]", content_type="application/json")
        if fault == "hang":
            await asyncio.sleep(3600)
        if body.get("stream"):
            return await self._stream(request, body, asked, fault)
        if fault == "break_stream":
            assert request.transport is not None
            request.transport.abort()
        if fault == "slow":
            await asyncio.sleep(_SLOW_S * 5)
        return web.json_response(stub_chat.completion(body, asked[1], fault))

    async def _stream(
        self, request: web.Request, body: dict[str, Any], asked: tuple[str, Model], fault: str
    ) -> web.StreamResponse:
        name, model = asked
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        tokens, reason = stub_chat.tokens(body, model, 0, fault)
        await _send(response, body, [stub_chat.delta({"role": "assistant", "content": ""}, None)])
        for number, token in enumerate(tokens):
            if fault == "break_stream" and number == 2:
                assert request.transport is not None
                request.transport.abort()
            if fault == "stall" and number == 2:
                await asyncio.sleep(3600)
            await asyncio.sleep(_SLOW_S if fault in {"slow", "signed"} else 0)
            holds = self._models.get(name, Model())
            content = stub_answers.signed(token, holds) if fault == "signed" else token
            last = number == len(tokens) - 1
            await _send(response, body, [stub_chat.delta({"content": content}, reason if last else None)])
        if (body.get("stream_options") or {}).get("include_usage"):
            await _send(response, body, [], stub_chat.usage(body, len(tokens)))
        await response.write(b"data: [DONE]\n\n")
        return response


async def _healthy(request: web.Request) -> web.Response:
    return web.Response()


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:  # aiohttp's handler type
    try:
        response: web.StreamResponse = await handler(request)
    except json.JSONDecodeError:
        return _error(Refused(400, "BadRequestError", "JSON decode error"))
    except Refused as refused:
        return _error(refused)
    return response


def _error(refused: Refused) -> web.Response:
    error = {"message": str(refused), "type": refused.kind, "param": None, "code": refused.status}
    return web.json_response({"error": error}, status=refused.status)


async def _send(
    response: web.StreamResponse,
    body: dict[str, Any],
    choices: list[dict[str, Any]],
    usage: dict[str, int] | None = None,
) -> None:
    chunk: dict[str, Any] = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 0}
    chunk |= {"model": body.get("model"), "choices": choices} | ({"usage": usage} if usage else {})
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


async def _serve(port: int, fault: str) -> None:
    async with StubEngine(port) as stub:
        if fault:
            stub.fault("*", fault, None)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The stub engine, until it is interrupted.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fault", default="", help="a kind, for ever and for every model")
    chosen = parser.parse_args()
    asyncio.run(_serve(chosen.port, chosen.fault))
