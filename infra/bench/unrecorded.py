"""An event log that records nothing: what an agent would cost if its answers need not be durable."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from infra.eventlog.base import LOCAL, Partition, Position, Reader, StartAt
from infra.eventlog.local import LocalReader
from infra.settings import Settings


class Unrecorded:
    """Implements `EventLog`, except that an append is done at once and forgotten."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.log_dir

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        done: Future[Position] = Future()
        done.set_result(Position(Partition(topic), 0))
        return done

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        """A reader of a log that stays empty."""
        return LocalReader(self._folder, tuple(topics), start, group)

    def identity(self) -> str:
        return LOCAL

    def close(self) -> None:
        """There is nothing to let go of."""
