"""The collector's story: read the log from where the lake stands, make rows, commit rows and offsets, repeat.

Exactly once: a batch's rows and its next offsets are one lake transaction, so after a crash the log is
read again from the lake's own offsets. What the log itself holds twice falls to the event id, inside
`Lake.append`, which says what that costs. What an event means is the business of `rows`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from collector.dead_letters import copy
from collector.metrics import Metrics
from collector.rows import DEAD_LETTERS, Row, by_table, dead_letter, rows
from infra.errors import EventLogError, LakeError, Unstorable
from infra.eventlog.base import EventLog, Partition, Position, Reader, Record
from infra.events import Topic
from infra.lake import Lake
from infra.sections import CollectorSettings

logger = logging.getLogger(__name__)

# Collectors of one group share the log's partitions, so two never write the same record.
GROUP = "collector"
# Seconds before a refused commit is tried again; after the last one all begins anew, from the log and from
# where the lake stands. The catalog's own wait of 5 s comes on top of each.
PAUSES_S = (0.1, 0.3, 1.0, 3.0, 5.0)
# Between looks at how far behind the record is.
MEASURE_S = 1.0
# Between tries to read the log.
PAUSE_S = 1.0
# Versions of the record between merges of small files. Merging 500 files takes about half a second; 1,000
# unmerged ones make a query over all interactions take a second.
MERGE_EVERY = 300


class Made(NamedTuple):
    """What a record became: rows by table."""

    record: Record
    rows: Mapping[str, list[Row]]

    @property
    def position(self) -> Position:
        return self.record.position


class Ingest:
    """Reads the log in the thread that calls `run`, writes the lake, and calls `between` in between."""

    def __init__(
        self,
        lake: Lake,
        log: EventLog,
        settings: CollectorSettings,
        metrics: Metrics,
        *,
        merge_every: int = MERGE_EVERY,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self._lake = lake
        self._log = log
        self._settings = settings
        self._metrics = metrics
        self._merge_every = merge_every
        self._between = between
        self._trouble = ""
        self._committing: Future[None] | None = None
        self._measured_at = -MEASURE_S
        self._next: dict[Partition, int] = {}
        self._left_at = -1  # the record's snapshot after our last commit

    @property
    def trouble(self) -> str:
        """Why nothing is collected now; empty when all is well. Read by the probe from its thread."""
        return self._trouble

    def run(self, stop: threading.Event) -> None:
        """Collects until `stop` is set, and then finishes the batch that it has begun.

        A log that cannot be read and a lake that cannot be written are waited for: events stay on the log.
        """
        while not stop.is_set():
            try:
                with closing(self._log.reader(list(Topic), self._start, GROUP)) as reader:
                    self._collect(reader, stop)
            except (EventLogError, LakeError) as err:
                if str(err) != self._trouble:  # an outage is told once
                    logger.error("waiting: %s", err)
                self._trouble = str(err)
                stop.wait(PAUSE_S)

    def catch_up(self) -> None:
        """Collects what is on the log now, alone: no other member of the group is asked.

        Raises:
            LakeError: the lake refused a batch again and again.
            EventLogError: the log cannot be read.
        """
        with closing(self._log.reader(list(Topic), self._start)) as reader:
            while not reader.at_end():
                if records := reader.poll(PAUSE_S, self._settings.batch):
                    self._store(_made(records))

    def _collect(self, reader: Reader, stop: threading.Event) -> None:
        """While one batch is committed, in a thread of its own, the next one is read and made into rows."""
        with ThreadPoolExecutor(1, "commit") as writer:
            try:
                while not stop.is_set():
                    batch = _made(self._gather(reader, stop))
                    self._settle()
                    self._trouble = ""
                    self._between()
                    if batch:
                        self._committing = writer.submit(self._store, batch)
                    self._measure_lag(reader)
            finally:
                self._settle()

    def _settle(self) -> None:
        """Waits for the commit under way, and raises what it raised."""
        committing, self._committing = self._committing, None
        if committing:
            committing.result()

    def _start(self, _: Iterable[Partition]) -> Mapping[Partition, int]:
        """The lake, not the log, knows what has been recorded."""
        self._settle()
        self._next = self._lake.offsets(self._log.identity())
        self._left_at = -1
        return self._next

    def _gather(self, reader: Reader, stop: threading.Event) -> list[Record]:
        """A full batch, or what came within the interval."""
        deadline = time.monotonic() + self._settings.interval_s
        batch: list[Record] = []
        while len(batch) < self._settings.batch and not stop.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            batch += reader.poll(left, self._settings.batch - len(batch))
        return batch

    def _store(self, batch: Sequence[Made]) -> None:
        """Commits the rows. A record that the lake cannot store is found by halving, and kept apart."""
        try:
            self._commit(batch)
        except Unstorable as err:
            if len(batch) == 1:
                record = batch[0].record
                self._commit([Made(record, dead_letter(record, str(err)))])
            else:
                half = len(batch) // 2
                self._store(batch[:half])
                self._store(batch[half:])

    def _commit(self, batch: Sequence[Made]) -> None:
        """Tries until the lake takes the batch, whole or what nobody has recorded since."""
        for pause_s in PAUSES_S:
            try:
                return self._try(batch)
            except Unstorable:
                raise
            except LakeError as err:
                self._trouble = str(err)
                self._metrics.failures.inc()
                logger.error("a batch was refused, next try in %s s: %s", pause_s, err)
            time.sleep(pause_s)
        return self._try(batch)

    def _try(self, batch: Sequence[Made]) -> None:
        """One turn at the lake.

        Offsets are looked at within the turn. So what another collector has recorded meanwhile (this one was
        stopped, and its partitions given away), and what a commit that seemed to fail has recorded after all,
        is not recorded again.
        """
        began, log = time.monotonic(), self._log.identity()
        with self._lake.turn():
            snapshot = self._lake.snapshot()
            came_from = snapshot if self._left_at < 0 else self._left_at
            if snapshot != self._left_at:  # somebody has written since; asking what costs a third of a commit
                self._next |= self._lake.offsets(log)
            fresh = [one for one in batch if one.position.offset >= self._next.get(one.position.partition, 0)]
            tables, offsets = by_table(made.rows for made in fresh), _next_offsets(fresh)
            stored = self._lake.append(tables, offsets, log) if fresh else {}
            self._left_at = snapshot + bool(fresh)
        self._metrics.committed(time.monotonic() - began)
        self._next |= offsets
        self._count(tables, stored)
        # Counted by the record, not by us: a collector that never lives long merges in its turn too.
        if came_from // self._merge_every < self._left_at // self._merge_every:
            self._merge()

    def _count(self, batch: Mapping[str, Sequence[Row]], stored: Mapping[str, int]) -> None:
        for table, some in batch.items():
            if table == DEAD_LETTERS:
                self._metrics.dead_letters.inc(len(some))
                logger.warning("%d events cannot be read or stored: they are in dead_letters", len(some))
                copy(some, self._log)
            else:
                self._metrics.stored.labels(table).inc(stored[table])
                # A signal is no event: it comes and goes with its interaction.
                if table != "signals":
                    self._metrics.duplicates.inc(len(some) - stored[table])

    def _merge(self) -> None:
        try:
            self._lake.compact()
        except LakeError as err:  # only slower queries until the next time
            logger.warning("%s", err)

    def _measure_lag(self, reader: Reader) -> None:
        """Asks the log where it ends, which takes a round trip: now and then."""
        if time.monotonic() < self._measured_at + MEASURE_S:
            return
        self._measured_at = time.monotonic()
        for partition, end in reader.end_offsets().items():
            behind = end - self._next.get(partition, 0)
            self._metrics.lag.labels(partition.topic, partition.number).set(behind)


def _made(records: Iterable[Record]) -> list[Made]:
    return [Made(record, rows(record)) for record in records]


def _next_offsets(batch: Iterable[Made]) -> dict[Partition, int]:
    """Records of a partition come in order, so its last one counts."""
    return {made.position.partition: made.position.offset + 1 for made in batch}
