"""The event log of one machine: a SQLite file in WAL mode for each topic, written by group commit.

Several processes append to and read one topic at once. Nothing is deleted here, and values stay bytes.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.appends import Append, Appends
from infra.eventlog.base import LOCAL, Partition, Position, Reader, Record, StartAt

# How often an idle reader looks; one look costs about 10 microseconds.
_LOOK_S = 0.02
# Far above any chat event; a larger value is a mistake of the caller and would stall the others.
_LARGEST_VALUE = 16 * 1024 * 1024


class LocalEventLog:
    """One SQLite file, `<topic>.sqlite`, for each topic under `folder`. Implements `EventLog`.

    A thread of its own takes whatever waits, writes it in one transaction for each topic, and only
    then (after fsync) resolves the futures; their callbacks run in that thread. When a transaction
    fails, its futures hold the error and the next batch starts with a fresh connection. `busy_s` is how
    long it waits for another process's transaction.
    """

    def __init__(self, folder: Path, busy_s: float = 5.0) -> None:
        self._folder = folder
        self._busy_s = busy_s
        self._connections: dict[str, sqlite3.Connection] = {}
        self._appends = Appends("event-log", self._write_all, _LARGEST_VALUE)

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        """See `EventLog.append`. Cancelling the future does not take the record back."""
        return self._appends.put(topic, key, value)

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        """See `EventLog.reader`. A topic has one partition, so one member of a group reads it at a time.

        Raises:
            EventLogError: a topic's or the group's name cannot be a file name.
        """
        for name in (*topics, *([group] if group is not None else [])):
            if refusal := topic_file.bad_name(name):
                raise EventLogError(refusal)
        return LocalReader(self._folder, tuple(topics), start, group)

    def identity(self) -> str:
        """See `EventLog.identity`."""
        return LOCAL

    def close(self) -> None:
        """Writes what still waits, then lets go of the files. A second call does nothing."""
        self._appends.close()
        for topic in list(self._connections):
            self._forget(topic)

    def _write_all(self, batch: list[Append]) -> None:
        for topic, appends in groupby(sorted(batch, key=_topic), key=_topic):
            self._write(topic, list(appends))

    def _write(self, topic: str, appends: Sequence[Append]) -> None:
        try:
            first = self._commit(topic, appends)
        except (sqlite3.Error, OSError) as err:
            self._forget(topic)
            error = EventLogError(
                f"{topic_file.path(self._folder, topic)} did not take {len(appends)} records ({err}): "
                "check that the disk has room and that the folder can be written."
            )
            error.__cause__ = err
            for append in appends:
                append.future.set_exception(error)
        else:
            for number, append in enumerate(appends, first):
                append.future.set_result(Position(Partition(topic), number))

    def _commit(self, topic: str, appends: Sequence[Append]) -> int:
        """One transaction; returns the offset of its first record."""
        if topic not in self._connections:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._connections[topic] = topic_file.connect(topic_file.path(self._folder, topic), self._busy_s)
        connection = self._connections[topic]
        connection.execute("BEGIN IMMEDIATE")
        ((first,),) = connection.execute(topic_file.END)
        now = time.time()
        rows = [(number, append.key, append.value, now) for number, append in enumerate(appends, first)]
        connection.executemany(topic_file.INSERT, rows)
        connection.execute("COMMIT")
        return int(first)

    def _forget(self, topic: str) -> None:
        """Closes the connection, which rolls back what it had begun."""
        if connection := self._connections.pop(topic, None):
            with suppress(sqlite3.Error):
                connection.close()


class LocalReader:
    """Reads topics of a local log. It looks every 20 ms and creates nothing: a topic may appear later.

    Members of a group take turns through a lock file for each topic, which the system frees when its
    holder ends, however it ends.
    """

    def __init__(self, folder: Path, topics: tuple[str, ...], start: StartAt, group: str | None) -> None:
        self._folder = folder
        self._waiting = [Partition(topic) for topic in topics]
        self._start = start
        self._group = group
        self._next: dict[Partition, int] = {}
        self._connections: dict[Partition, sqlite3.Connection] = {}
        self._locks: list[int] = []
        self._closed = threading.Event()

    def poll(self, timeout_s: float, max_records: int = 1000) -> list[Record]:
        """The next records, each topic getting its share of `max_records`; empty when none came in time.

        Raises:
            EventLogError: a file cannot be read now, or it ends before the offset to start at.
        """
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            self._assign()
            records = self._read(max_records)
            left = deadline - time.monotonic()
            if records or left <= 0:
                return records
            self._closed.wait(min(_LOOK_S, left))
        return []

    def end_offsets(self) -> Mapping[Partition, int]:
        """See `Reader.end_offsets`; 0 for a topic that nobody has written yet."""
        self._assign()
        return {partition: self._end(partition) for partition in self._next}

    def at_end(self) -> bool:
        """See `Reader.at_end`. Asks for records, not for the end: old ones may have been removed below it."""
        self._assign()
        return not any(
            self._select(partition, topic_file.READ, (offset, 1)) for partition, offset in self._next.items()
        )

    def close(self) -> None:
        """Lets go of files and of the group's locks, and wakes a waiting `poll`."""
        self._closed.set()
        for connection in self._connections.values():
            connection.close()
        for lock in self._locks:
            os.close(lock)
        self._connections, self._locks = {}, []

    def _assign(self) -> None:
        """Takes the partitions that are free, and asks where to start in them."""
        taken = [partition for partition in self._waiting if self._may_take(partition)]
        if not taken:
            return
        starts = self._start(taken)
        for partition in taken:
            self._next[partition] = starts.get(partition, 0)
            self._waiting.remove(partition)

    def _may_take(self, partition: Partition) -> bool:
        if self._group is None:
            return True
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._folder / f"{partition.topic}.{self._group}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._locks.append(lock)
        return True

    def _read(self, max_records: int) -> list[Record]:
        records: list[Record] = []
        for turn, (partition, offset) in enumerate(list(self._next.items())):
            # An equal share of what is left, so that a busy topic cannot starve a quiet one.
            share = -(-(max_records - len(records)) // (len(self._next) - turn))
            rows = self._select(partition, topic_file.READ, (offset, share))
            if not rows:
                self._check_end(partition, offset)
            records += [Record(Position(partition, row[0]), row[1], row[2], row[3]) for row in rows]
            if rows:
                self._next[partition] = rows[-1][0] + 1
        return records

    def _check_end(self, partition: Partition, offset: int) -> None:
        """A log that ends before the reader's offset is another log: waiting would lose what it holds."""
        end = self._end(partition) if offset else 0
        if 0 < end < offset:
            file = topic_file.path(self._folder, partition.topic)
            raise EventLogError(
                f"{file} ends at offset {end}, but the reader is at {offset}: the log was replaced. "
                "Put the old file back, or start a fresh record."
            )

    def _end(self, partition: Partition) -> int:
        rows = self._select(partition, topic_file.END, ())
        return int(rows[0][0]) if rows else 0

    def _select(
        self, partition: Partition, sql: str, values: tuple[int, ...]
    ) -> list[tuple[int, str, bytes, float]]:
        """The rows of a query; none while the file does not exist."""
        file = topic_file.path(self._folder, partition.topic)
        try:
            if partition not in self._connections:
                if not file.exists():
                    return []
                self._connections[partition] = topic_file.connect(file)
            return self._connections[partition].execute(sql, values).fetchall()
        except sqlite3.Error as err:
            if connection := self._connections.pop(partition, None):
                connection.close()
            raise EventLogError(
                f"{file} cannot be read ({err}): check the disk and its permissions."
            ) from err


def _topic(append: Append) -> str:
    return append.topic
