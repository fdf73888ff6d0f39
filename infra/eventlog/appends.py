"""Appends that wait for a thread of their own, which writes many at once: both event logs begin so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from infra.errors import EventLogError
from infra.eventlog.base import Position
from infra.eventlog.topic_file import bad_name

# Bounds a batch, so that readers and other writers get their turn.
_LARGEST_BATCH = 1000


class Append(NamedTuple):
    """One record to be written, and who waits for it."""

    topic: str
    key: str
    value: bytes
    future: Future[Position]


class Appends:
    """A queue and the thread that empties it. `write` gets all that wait, in order, and ends their futures.

    What comes while a batch is written is the next one. Values above `largest` bytes are refused.
    """

    def __init__(self, name: str, write: Callable[[list[Append]], None], largest: int) -> None:
        self._write = write
        self._largest = largest
        self._queue: SimpleQueue[Append | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, topic: str, key: str, value: bytes) -> Future[Position]:
        """Queues a record. What cannot be taken is refused here: it must not spoil its whole batch."""
        future: Future[Position] = Future()
        # A caller that goes away (asyncio cancels what it awaits) must not undo what others rely on.
        future.set_running_or_notify_cancel()
        with self._lock:
            refusal = self._refusal(topic, key, value)
            if not refusal:
                self._queue.put(Append(topic, key, value, future))
        if refusal:
            future.set_exception(EventLogError(refusal))
        return future

    def close(self) -> None:
        """Writes what still waits, then ends the thread. A second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            self._write(batch)

    def _take(self) -> list[Append]:
        """Waits for one append and takes all others that wait; empty at the end."""
        first = self._queue.get()
        if first is None:
            return []
        batch = [first]
        self._drain(batch)
        return batch

    def _drain(self, batch: list[Append]) -> None:
        with suppress(Empty):
            while len(batch) < _LARGEST_BATCH:
                item = self._queue.get_nowait()
                if item is None:
                    self._queue.put(None)  # the end, left for the next round; nothing can follow it
                    return
                batch.append(item)

    def _refusal(self, topic: str, key: str, value: bytes) -> str:
        """Why a record cannot be taken, or nothing."""
        if self._closed:
            return f"The event log is closed: the record for topic {topic!r} came too late."
        if len(value) > self._largest:
            return f"A record of {len(value)} bytes is above the {self._largest} that topic {topic} takes."
        try:
            key.encode()
        except UnicodeEncodeError:
            return f"The key {key!r} is not valid text: remove the lone surrogates."
        return bad_name(topic)
