"""What the pages know of the lake: named queries through a few read-only readers.

DuckDB calls block, so they are made from worker threads (plain `def` endpoints), never on the event
loop. Opening a lake costs tens of milliseconds, so readers are kept; one that failed is let go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any

from infra.errors import LakeError
from infra.eventlog.base import Partition
from infra.lake import Lake
from infra.settings import Settings

# Pages that an operator has open at once; more readers than cores would only wait for each other.
READERS = 2

Row = dict[str, Any]  # columns of a named query: their types are the query's business


class Record:
    """The record, read only. Raises LakeError while the collector has not made a lake yet."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle: LifoQueue[Lake] = LifoQueue(READERS)

    def query(self, name: str, /, **params: object) -> list[Row]:
        with self._reader() as lake:
            return lake.query(name, **params)

    def first(self, name: str, /, **params: object) -> Row:
        """The first row, or an empty one."""
        rows = self.query(name, **params)
        return rows[0] if rows else {}

    def offsets(self, log: str) -> Mapping[Partition, int]:
        """The next offset of each partition of a log that the collector has not recorded yet."""
        with self._reader() as lake:
            return lake.offsets(log)

    def snapshot(self) -> int:
        with self._reader() as lake:
            return lake.snapshot()

    def close(self) -> None:
        while not self._idle.empty():
            self._idle.get_nowait().close()

    @contextmanager
    def _reader(self) -> Iterator[Lake]:
        try:
            lake = self._idle.get_nowait()
        except Empty:
            lake = Lake.open(self._settings)
        try:
            yield lake
        except LakeError:
            lake.close()
            raise
        self._keep(lake)

    def _keep(self, lake: Lake) -> None:
        if self._idle.full():
            lake.close()
        else:
            self._idle.put(lake)
