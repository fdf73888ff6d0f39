"""The outbox: appends go to a log on this machine, and from there to the log that all machines share.

So a broker that is down slows no customer and loses nothing. What the shared log has acknowledged is
deleted here: the outbox holds what is still on its way and nothing else, and needs no other cursor.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing
from pathlib import Path

from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.base import EventLog, Partition, Position, Reader, Record, StartAt
from infra.eventlog.local import LocalEventLog
from infra.eventlog.topic_file import Backlog

logger = logging.getLogger(__name__)

# Records on their way to the shared log at one time: enough to fill its batches, little to send again.
_WINDOW = 2000
# Between tries while the shared log takes nothing.
_PAUSE_S = 1.0
# How often what was shipped is deleted: that costs an fsync, as an append does.
_DELETE_S = 0.5
_LOOK_S = 1.0
_GROUP = "relay"  # one process at a time ships a folder's outbox


class Outbox:
    """Implements `EventLog`: appends are durable in `folder`, readers read the shared log.

    A thread ships `topics` in order, and again from the first record that was not acknowledged; what is then
    sent twice carries the same event id. At `limit` bytes appends are refused, since an answer that cannot
    be recorded must not be given.
    """

    def __init__(self, folder: Path, shared: EventLog, topics: Sequence[str], limit: int) -> None:
        self._folder = folder
        self._local = LocalEventLog(folder)
        self._shared = shared
        self._topics = tuple(topics)
        self._limit = limit
        self._stopped = threading.Event()
        self._trouble = ""
        self._backlog = Backlog()
        self._shipped: dict[str, int] = {}  # of each topic, the first offset that was not acknowledged
        self._deleted: dict[str, int] = {}  # of each topic, the first offset that was not deleted
        self._measure()
        self._relay = threading.Thread(target=self._run, name="relay", daemon=True)
        self._relay.start()

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
        self._stopped.set()
        self._relay.join()
        self._shared.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(self._local.reader(self._topics, self._start, _GROUP)) as reader:
                    while not self._stopped.is_set():
                        self._turn(reader)
            except (EventLogError, sqlite3.Error) as err:
                self._complain(str(err))
                self._stopped.wait(_PAUSE_S)

    def _turn(self, reader: Reader) -> None:
        """Ships for a while, then deletes what was acknowledged.

        Raises:
            EventLogError: the shared log refused; everything from the first refused record on is still here.
        """
        until = time.monotonic() + _DELETE_S
        shipped = False
        try:
            while (left := until - time.monotonic()) > 0 and not self._stopped.is_set():
                shipped |= self._ship(reader.poll(left, _WINDOW))
        finally:
            self._delete()
            self._measure()
        if shipped and self._trouble:
            logger.info("the event log takes events again")
            self._trouble = ""

    def _start(self, _: Iterable[Partition]) -> Mapping[Partition, int]:
        """What was shipped and could not be deleted yet is not shipped again."""
        return {Partition(topic): offset for topic, offset in self._shipped.items()}

    def _delete(self) -> None:
        for topic, before in self._shipped.items():
            if self._deleted.get(topic) != before:
                topic_file.delete(topic_file.path(self._folder, topic), before)
                self._deleted[topic] = before

    def _ship(self, records: Sequence[Record]) -> bool:
        """Appends them to the shared log; whether any was acknowledged, and all that followed."""
        sent = [
            (record.position, self._shared.append(record.position.partition.topic, record.key, record.value))
            for record in records
        ]
        for position, future in sent:
            if not self._acknowledged(future):
                return False
            self._shipped[position.partition.topic] = position.offset + 1
        return bool(sent)

    def _acknowledged(self, future: Future[Position]) -> bool:
        """Waits for the shared log, which may retry for long; False when told to stop meanwhile."""
        while not self._stopped.is_set():
            try:
                future.result(_LOOK_S)
            except NotYet:
                self._measure()
            else:
                return True
        return False

    def _measure(self) -> None:
        self._backlog = waiting_in(self._folder, self._topics)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("events wait in the outbox: %s", trouble)
            self._trouble = trouble


def waiting_in(folder: Path, topics: Sequence[str]) -> Backlog:
    """What an outbox's folder holds now."""
    files = (topic_file.path(folder, topic) for topic in topics)
    return sum((topic_file.backlog(file) for file in files), start=Backlog())
