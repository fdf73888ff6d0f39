"""What one request may cost, and how many run at one time. Fairness between customers is left to a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from infra.errors import NightshiftError

# Long enough to smooth a burst, short enough that a client's retry is the better choice.
WAIT_S = 2.0
# Requests that may wait, for each that is answered. With the default of 64: all that come within a second at
# 300 a second, so that a pause of the machine (a disk, another program's start) refuses nobody.
WAITING = 4
RETRY_AFTER_S = 1


class TooLarge(NightshiftError, ValueError):
    """A request body above the limit."""


class TooBusy(NightshiftError, TimeoutError):
    """As many requests as allowed are being answered."""


async def read_body(request: Request, limit: int) -> bytes:
    """The body, read no further than `limit` bytes whatever its headers say. Raises TooLarge."""
    declared = request.headers.get("content-length", "")
    size = int(declared) if declared.isdigit() else 0
    chunks: list[bytes] = []
    if size <= limit:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                break
            chunks.append(chunk)
    if size > limit:
        raise TooLarge(f"The request body is above {limit} bytes: send a shorter conversation.")
    return b"".join(chunks)


class Gate:
    """Lets `most` requests in at one time; WAITING times as many may wait, for WAIT_S at most."""

    def __init__(self, most: int, wait_s: float = WAIT_S) -> None:
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._wait_s = wait_s
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one place. Raises TooBusy when none got free in time, or too many wait already."""
        await self._enter()
        try:
            yield
        finally:
            self._free.release()

    async def _enter(self) -> None:
        if self._free.locked() and self._waiting >= WAITING * self._most:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _busy(self) -> TooBusy:
        return TooBusy(
            f"{self._most} requests are being answered, which is the limit: try again in {RETRY_AFTER_S} s."
        )
