"""The client of the engine: chat, streams, adapters in and out, over the OpenAI-compatible HTTP API.

It decides nothing: which adapter answers is the caller's business, and what customers wrote is
never logged or put into an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic_core import to_json

from infra import engine_answers as answers
from infra import probe as probes
from infra.engine_answers import Answer, Choice, Delta
from infra.errors import AdapterError, EngineError, EngineUnavailable
from infra.events import Message
from infra.probe import Probe
from infra.registry import refuse_pickled

__all__ = ["BASE", "Answer", "Choice", "Delta", "Engine", "Sampling"]

# The name under which the base model is always served.
BASE = "base"
# Computing in bfloat16 in another batch moves next-token probabilities by up to about 0.02 (total
# variation, measured on SmolLM2-135M); one night's adapter moves them by 0.2 and more.
_NOISE = 0.05
_CONNECT_S = 5.0
_JSON = {"Content-Type": "application/json"}
# Lists need no computing: an engine that takes longer for one is lost, or its machine is.
_LOOK_S = 10.0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn. Temperature 0 takes the most likely token; `max_tokens` for each."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Engine:
    """One engine at `url`. The session stays its caller's. `timeout_s` bounds a whole answer, and in a
    stream each wait for the next token.

    Every method raises EngineUnavailable when the engine cannot be reached, takes too long or breaks
    off, and EngineError with the HTTP status when it refuses (404: no such model).
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, timeout_s: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._whole = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(_CONNECT_S, timeout_s))
        self._look = aiohttp.ClientTimeout(total=min(_LOOK_S, timeout_s))
        self._each = aiohttp.ClientTimeout(
            total=None, sock_read=timeout_s, sock_connect=min(_CONNECT_S, timeout_s)
        )

    async def chat(self, messages: Sequence[Message], model: str, sampling: Sampling, n: int = 1) -> Answer:
        """`n` completions of one prompt, in the order of their sample number."""
        body = _body(messages, model, sampling) | {"n": n}
        return answers.answer(await self._request("POST", "/v1/chat/completions", body), n)

    async def stream(
        self, messages: Sequence[Message], model: str, sampling: Sampling, *, resume: bool = False
    ) -> AsyncGenerator[Delta, None]:
        """One completion as it is made; the last delta has the usage.

        With `resume` the last message is an answer's first half, and only its continuation comes.
        Closing the iterator (`aclose`) ends the engine's work on it too.
        """
        body = _body(messages, model, sampling) | {
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if resume:
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        with self._reaching():
            async with self._session.post(
                self.url + "/v1/chat/completions", **_sent(body), timeout=self._each
            ) as response:
                if response.status != 200:
                    raise answers.refusal(response.status, await response.read())
                async for line in response.content:
                    if line.startswith(b"data: [DONE]"):
                        return
                    if line.startswith(b"data:"):
                        for delta in answers.deltas(line.removeprefix(b"data:")):
                            yield delta
        raise EngineUnavailable(f"The engine at {self.url} ended a stream before its end: see its log.")

    async def models(self) -> frozenset[str]:
        """The names served now: the base model and every loaded adapter."""
        return answers.models(await self._request("GET", "/v1/models", limit=self._look))

    async def load(self, name: str, folder: Path) -> None:
        """Makes the adapter in `folder` answer under `name`; nothing happens when it already does.

        The engine reads the folder itself, so both must see it under the same path.

        Raises:
            AdapterError: the path is not absolute, or holds pickled weights.
        """
        _check(name, folder)
        if name in await self.models():
            return
        try:
            await self._request(
                "POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}
            )
        except EngineError as err:
            # Another replica may have loaded it in between.
            if err.status != 400 or name not in await self.models():
                raise

    async def unload(self, name: str) -> None:
        """Stops serving `name`; nothing happens when it is not served. Drain its requests first."""
        try:
            await self._request("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except EngineError as err:
            if err.status != 404:
                raise

    async def ready(self) -> bool:
        """Whether the engine answers and says that it is well."""
        try:
            await self._request("GET", "/health")
        except EngineError:
            return False
        return True

    async def logprobs(self, messages: Sequence[Message], model: str, tokens: int = 8) -> tuple[float, ...]:
        """The log-probabilities of the greedy continuation's tokens, at most `tokens` of them."""
        return tuple(token.logprob for token in await self._greedy(messages, model, tokens, 0))

    async def forced(
        self, model: str, prompt: Sequence[int], continuation: Sequence[int]
    ) -> tuple[float, ...]:
        """The log-probabilities of a given continuation's tokens. Both are token ids."""
        body = {
            "model": model,
            "prompt": [*prompt, *continuation],
            "max_tokens": 1,
            "temperature": 0.0,
            "prompt_logprobs": 1,
        }
        return answers.forced(await self._request("POST", "/v1/completions", body), continuation)

    async def wrong(self, name: str, probe: Probe | None, messages: Sequence[Message]) -> str:
        """Why a loaded adapter must not be served, as a sentence; empty when it may.

        With a probe it must compute what its trainer did; without one, or with one that its adapter hardly
        moves, it must at least change something in the answer to `messages`.
        """
        if probe is None or not probe.tells:
            return "" if await self.differs(name, messages) else probes.nothing(name)
        adapter = await self.forced(name, probe.prompt, probe.continuation)
        base = await self.forced(BASE, probe.prompt, probe.continuation)
        return probes.wrong(name, probe, adapter, base)

    async def differs(self, name: str, messages: Sequence[Message]) -> bool:
        """Whether an adapter changes what the model would say, beyond numerical noise.

        An engine can serve an adapter's name with the base model's answers and report success. The
        test is the total variation between next-token distributions along the greedy continuation.
        """
        base = await self._greedy(messages, BASE, 8, 20)
        adapter = await self._greedy(messages, name, 8, 20)
        return answers.distance(base, adapter) > _NOISE

    async def _greedy(
        self, messages: Sequence[Message], model: str, tokens: int, top: int
    ) -> tuple[answers.Token, ...]:
        body = _body(messages, model, Sampling(max_tokens=tokens))
        body |= {"logprobs": True, "top_logprobs": top}
        return answers.tokens(await self._request("POST", "/v1/chat/completions", body))

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        limit: aiohttp.ClientTimeout | None = None,
    ) -> bytes:
        with self._reaching():
            async with self._session.request(
                method, self.url + path, **_sent(body), timeout=limit or self._whole
            ) as response:
                data = await response.read()
                if response.status != 200:
                    raise answers.refusal(response.status, data)
                return data

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, ValueError) as err:
            # ValueError: a line of a stream without an end.
            raise EngineUnavailable(
                f"The engine at {self.url} did not answer ({type(err).__name__}: {err}): "
                "check that it runs (`nightshift doctor`)."
            ) from err


def _sent(body: Mapping[str, Any] | None) -> dict[str, Any]:
    """A body for aiohttp, as bytes: it sends them in fewer steps than what it encodes. Nothing for none."""
    return {} if body is None else {"data": to_json(body), "headers": _JSON}


def _body(messages: Sequence[Message], model: str, sampling: Sampling) -> dict[str, Any]:
    """The request as JSON; Any because a JSON object holds values of every kind."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def _check(name: str, folder: Path) -> None:
    """Engines fetch a relative path from a hub, and read pickled weights."""
    if not folder.is_absolute() or ".." in folder.parts:
        raise AdapterError(f"The folder {folder} of adapter {name!r} must be an absolute path without '..'.")
    if folder.is_dir():
        refuse_pickled(folder)
