"""The agent, by HTTP: the prompts that it would send, and what its businesses know.

Rooms never import each other, and what is learned from and gated must be what is served: so a night asks.
"""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import EngineError, EngineUnavailable
from infra.events import Fact, Message
from trainer.patience import patiently

# Facts in one answer: the most that the agent gives.
_PAGE = 500


class Built(BaseModel):
    """The prompt that a live request would send, and the facts in it, best first."""

    model_config = ConfigDict(frozen=True)

    messages: tuple[Message, ...]
    facts: tuple[Fact, ...]


class _Collection(BaseModel):
    id: str


class _Collections(BaseModel):
    data: tuple[_Collection, ...]


class _Page(BaseModel):
    data: tuple[Fact, ...]
    next: int | None = None


Kind = TypeVar("Kind", bound=BaseModel)


class Agent:
    """The agent at `url`. `key` is an API key of scope operate, empty on loopback.

    Every method waits while the agent restarts, and raises EngineUnavailable when it stays away for longer
    than our patience, EngineError when it refuses, with its HTTP status.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, key: str = "") -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def prompt(self, collection: str, question: str) -> Built:
        """What a customer's question of that business would send to the engine. Nothing is recorded."""
        body = {"messages": [{"role": "user", "content": question}], "collection": collection}
        return await self._ask(Built, "POST", "/v1/prompt", json=body)

    async def collections(self) -> tuple[str, ...]:
        """The businesses that can be asked about."""
        found = await self._ask(_Collections, "GET", "/v1/collections")
        return tuple(one.id for one in found.data)

    async def facts(self, collection: str) -> list[Fact]:
        """All that a business knows, in the order of its documents."""
        found: list[Fact] = []
        offset: int | None = 0
        while offset is not None:
            where = {"collection": collection, "offset": offset, "limit": _PAGE}
            page = await self._ask(_Page, "GET", "/v1/facts", params=where)
            found += page.data
            offset = page.next
        return found

    async def _ask(self, kind: type[Kind], method: str, path: str, **request: Any) -> Kind:
        return await patiently(lambda: self._once(kind, method, path, request))

    async def _once(self, kind: type[Kind], method: str, path: str, request: dict[str, Any]) -> Kind:
        """Any: aiohttp's own arguments of a request, a body or parameters."""
        url = self._url + path
        try:
            async with self._session.request(method, url, headers=self._headers, **request) as response:
                data = await response.read()
        except (aiohttp.ClientError, TimeoutError) as err:
            raise EngineUnavailable(f"The agent at {url} cannot be reached ({err}).") from err
        if response.status != 200:
            status, told = response.status, data[:300].decode(errors="replace")
            raise EngineError(f"The agent at {url} refused with status {status}: {told}", status)
        try:
            return kind.model_validate_json(data)
        except ValidationError as err:
            raise EngineError(
                f"What the agent at {url} answered cannot be read: is something else listening there?", 200
            ) from err
