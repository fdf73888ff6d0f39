"""The outbox: appends go to a log on this machine, and a relay ships them to the log that all machines share.

So a broker that is down slows no customer and loses nothing. What the shared log has acknowledged is
deleted: the outbox holds what is still on its way and nothing else, and needs no other cursor.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.base import EventLog, Position, Reader, StartAt
from infra.eventlog.local import LocalEventLog
from infra.eventlog.topic_file import Backlog

logger = logging.getLogger(__name__)

# How often it is looked how much waits: a look costs a tenth of a millisecond for each topic.
_LOOK_S = 0.5


class Shipping(Protocol):
    """A relay at work, in a thread or in a process of its own."""

    def close(self) -> None:
        """Returns once nothing is shipped any more."""


class Outbox:
    """Implements `EventLog`: appends are durable in `folder`, readers read the shared log.

    `relay` ships `topics` from `folder`, and is closed with the outbox. At `limit` bytes appends are refused,
    since an answer that cannot be recorded must not be given.
    """

    def __init__(
        self, folder: Path, shared: EventLog, topics: Sequence[str], limit: int, relay: Shipping
    ) -> None:
        self._folder = folder
        self._local = LocalEventLog(folder)
        self._shared = shared
        self._topics = tuple(topics)
        self._limit = limit
        self._relay = relay
        self._stopped = threading.Event()
        self._backlog = waiting_in(folder, topics)
        self._watch = threading.Thread(target=self._look, name="outbox", daemon=True)
        self._watch.start()

    @property
    def backlog(self) -> Backlog:
        """What waits, as of at most a few seconds ago. Any thread may read it."""
        return self._backlog

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        """See `EventLog.append`; the position is the one in the outbox."""
        if self._backlog.bytes < self._limit:
            return self._local.append(topic, key, value)
        refused: Future[Position] = Future()
        refused.set_exception(
            EventLogError(
                f"The outbox {self._folder} is full: {self._backlog.records} events wait for the event log. "
                "Bring that back, or raise kafka.outbox_gb."
            )
        )
        return refused

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        """A reader of the shared log."""
        return self._shared.reader(topics, start, group)

    def identity(self) -> str:
        """The shared log's."""
        return self._shared.identity()

    def close(self) -> None:
        """Makes durable what was appended; what was not shipped yet is shipped after the next start."""
        self._local.close()
        self._relay.close()
        self._stopped.set()
        self._watch.join()
        self._shared.close()

    def _look(self) -> None:
        trouble = ""
        while not self._stopped.wait(_LOOK_S):
            try:
                self._backlog = waiting_in(self._folder, self._topics)
                trouble = ""
            except sqlite3.Error as err:
                if str(err) != trouble:
                    logger.error("it cannot be seen what waits in the outbox %s: %s", self._folder, err)
                trouble = str(err)


def waiting_in(folder: Path, topics: Sequence[str]) -> Backlog:
    """What an outbox's folder holds now."""
    files = (topic_file.path(folder, topic) for topic in topics)
    return sum((topic_file.backlog(file) for file in files), start=Backlog())
