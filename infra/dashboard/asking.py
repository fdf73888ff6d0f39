"""Short questions to rooms over HTTP, asked once a second at most, however many pages are open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from threading import Lock
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

# An answer takes milliseconds on the same machine; a page must not wait for a dead room.
_TIMEOUT_S = 0.8
# Several open pages ask every two seconds: one round of questions serves them all.
_FRESH_S = 1.0
# Far above any answer; what stands behind it is not read.
_LARGEST = 100_000

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True)
class Probe:
    """Where a room tells of itself."""

    host: str
    port: int
    path: str = "/readyz"


class Reply(NamedTuple):
    """A response: its status, and its body as far as it is read."""

    status: int
    body: bytes


def get(probe: Probe) -> Reply | None:
    """The response to a GET; None when there is none in time."""
    connection = HTTPConnection(probe.host, probe.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", probe.path)
        response = connection.getresponse()
        return Reply(response.status, response.read(_LARGEST))
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


class Remembered(Generic[Told]):
    """What `ask` returned, asked anew when it is older than a second. For several threads."""

    def __init__(self, ask: Callable[[], Told]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._known: list[Told] = []
        self._asked = float("-inf")

    def now(self) -> Told:
        """The newest answer."""
        with self._lock:
            if monotonic() - self._asked > _FRESH_S:
                self._known[:] = [self._ask()]
                self._asked = monotonic()
            return self._known[0]
