"""The event log port: append durably, read in order, start where the reader says.

Two implementations live beside this file, `local` and (for many machines) Kafka's. What an event
means is not known here: values are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# What `EventLog.identity` says of the log of one machine.
LOCAL = "local"


class Partition(NamedTuple):
    """One ordered part of a topic. The local log has one partition, 0, in each topic."""

    topic: str
    number: int = 0


class Position(NamedTuple):
    """Where a record lies. Offsets start at 0 and only grow; gaps are allowed."""

    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True)
class Record:
    """One appended value. `at` is when the log took it, in seconds since the epoch."""

    position: Position
    key: str
    value: bytes
    at: float


# Where to begin with newly assigned partitions. Called on every assignment, also after a rebalance.
# A partition missing from the answer begins at its oldest record.
StartAt = Callable[[Iterable[Partition]], Mapping[Partition, int]]


class Reader(Protocol):
    """Reads topics in order of offset within each partition. Used by one thread at a time."""

    def poll(self, timeout_s: float, max_records: int = 1000) -> list[Record]:
        """The next records; waits up to `timeout_s` for the first one. Empty when none came."""

    def end_offsets(self) -> Mapping[Partition, int]:
        """For each assigned partition, the offset that the next appended record will get: for lag."""

    def at_end(self) -> bool:
        """Whether everything that the log holds at this moment has been given."""

    def close(self) -> None: ...


class EventLog(Protocol):
    """The port. An implementation is safe to use from several threads and processes."""

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        """Appends; the future is done only when the record is durable (survives kill -9 and power loss).

        The future holds an EventLogError when the record was not taken. Records of one key keep the
        order in which `append` was called.
        """

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        """A reader from the offsets that `start` names.

        `group` None reads every partition (each agent tails deployments so); readers of one named
        group share the partitions between them. Offsets are kept by the reader's owner, never here.
        """

    def identity(self) -> str:
        """Which log this is: offsets in one say nothing about another.

        Raises:
            EventLogError: it cannot be asked now.
        """

    def close(self) -> None:
        """Makes durable what was appended, then lets go of files and threads."""


def from_beginning(_: Iterable[Partition]) -> Mapping[Partition, int]:
    """A `StartAt` that reads everything."""
    return {}
