"""HTTP/1.1 as bytes on asyncio: a load and an engine that cost next to nothing beside what is measured.

Only what these measurements need: connections that stay open, bodies with a Content-Length.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import cast

from infra.errors import ProcessError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}")).encode() + _END + body


def answer(body: bytes) -> bytes:
    """A 200 with JSON."""
    lines = ("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + _END + body


def taken(data: bytearray) -> bytes | None:
    """The first whole message in `data`, taken from it; None until it is there."""
    end = data.find(_END)
    if end < 0:
        return None
    found = _LENGTH.search(data, 0, end)
    whole = end + len(_END) + (int(found[1]) if found else 0)
    if len(data) < whole:
        return None
    message = bytes(data[:whole])
    del data[:whole]
    return message


class Answers(asyncio.Protocol):
    """A server's connection: each request is answered at once by `reply`, which gets its bytes."""

    def __init__(self, reply: Callable[[bytes], bytes]) -> None:
        self._reply = reply
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not say so

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._data += data
        while message := taken(self._data):
            self._transport.write(self._reply(message))


class Caller(asyncio.Protocol):
    """A client's connection, for one request at a time."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def connect(cls, port: int) -> Caller:
        """A connection to loopback."""
        _, caller = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return caller

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not say so

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._data += data
        if self._answer is not None and (message := taken(self._data)):
            answered, self._answer = self._answer, None
            answered.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._answer is not None:
            self._answer.set_exception(ProcessError("The connection was closed before its answer came."))

    async def ask(self, message: bytes) -> bytes:
        """The answer to a request.

        Raises:
            ProcessError: it is no 200, or the connection was closed.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        said = await self._answer
        if not said.startswith(b"HTTP/1.1 200"):
            raise ProcessError(f"Not an answer: {said[:300].decode(errors='replace')}")
        return said

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()
