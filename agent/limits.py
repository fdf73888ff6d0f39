"""What one request may cost, and how many run at one time. Fairness between customers is left to a proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request

from infra.errors import NightshiftError

# Long enough to smooth a burst, short enough that a client's retry is the better choice.
WAIT_S = 2.0
# Requests that may wait, for each that is answered. With the default of 64: all that come within a second at
# 300 a second, so that a pause of the machine (a disk, another program's start) refuses nobody.
WAITING = 4
RETRY_AFTER_S = 1
# How much the newest gap counts in the pace: some ten gaps, so that one long answer refuses nobody.
_NEWEST = 0.1


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
    """Lets `most` requests in at one time; WAITING times as many may wait, for WAIT_S at most.

    Whoever would wait longer, by the pace at which places get free, is refused at once: to wait and to be
    refused then would cost the customer the time, and answer nobody more.
    """

    def __init__(
        self, most: int, wait_s: float = WAIT_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._wait_s = wait_s
        self._clock = clock
        self._waiting = 0
        self._full_since = clock()
        # Seconds between two places that get free while all are taken; 0 while it is not known.
        self._pace = 0.0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one place. Raises TooBusy when none got free in time, or too many wait already."""
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._free.locked():
            now = self._clock()
            gap = now - self._full_since
            self._pace = self._pace + _NEWEST * (gap - self._pace) if self._pace else gap
            self._full_since = now
        self._free.release()

    async def _enter(self) -> None:
        if not self._free.locked():
            await self._free.acquire()  # at once: no timer is needed
            if self._free.locked():  # this took the last place
                self._full_since = self._clock()
            return
        if not self._hopeful():
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _hopeful(self) -> bool:
        """Whether one more would get a place in time."""
        return self._waiting < WAITING * self._most and self._pace * (self._waiting + 1) <= self._wait_s

    def _busy(self) -> TooBusy:
        return TooBusy(
            f"{self._most} requests are being answered, which is the limit: try again in {RETRY_AFTER_S} s."
        )
