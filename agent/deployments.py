"""Tails the deployments topic in a thread and keeps the last good state. Deciding who is served is routing's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from agent.metrics import Metrics
from infra.deployment import Deployment, apply
from infra.errors import EventError, EventLogError
from infra.eventlog.base import EventLog, Partition, Record
from infra.events import DeploymentChanged, Event, Topic

_log = logging.getLogger(__name__)

_POLL_S = 0.2  # how soon a stop is noticed; a new record ends the wait at once
_RETRY_S = 0.5  # after the log could not be read


class Deployments:
    """`state` is replaced whole, so any thread may read it. `caught_up` once all old events were applied."""

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._next: dict[Partition, int] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.state = Deployment()
        self.caught_up = False

    def start(self, changed: Callable[[], None]) -> None:
        """Begins to tail. `changed` is called in the tailing thread after each new state."""
        self._thread = threading.Thread(target=self._run, args=(changed,), name="deployments", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                self._tail(changed)
            except EventLogError:
                self._metrics.errors.labels("deployments").inc()
                _log.exception("deployments cannot be read, version %d stays in force", self.state.version)
                self._stopped.wait(_RETRY_S)

    def _tail(self, changed: Callable[[], None]) -> None:
        reader = self._log.reader([Topic.DEPLOYMENTS], self._start_at)
        try:
            while not self._stopped.is_set():
                records = reader.poll(_POLL_S if self.caught_up else 0.0)
                for record in records:
                    self._apply(record)
                if records:
                    changed()
                elif not self.caught_up:
                    ends = reader.end_offsets()
                    self.caught_up = bool(ends) and all(self._next.get(p, 0) >= end for p, end in ends.items())
        finally:
            reader.close()

    def _start_at(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        return {partition: self._next.get(partition, 0) for partition in partitions}

    def _apply(self, record: Record) -> None:
        """One event on top; one that cannot be read is passed over, as every replica does."""
        self._next[record.position.partition] = record.position.offset + 1
        try:
            change = Event.decode(record.value).parse()
        except EventError as err:
            self._metrics.bad_deployments.inc()
            _log.error("deployment event at offset %d passed over: %s", record.position.offset, err)
            return
        if isinstance(change, DeploymentChanged):
            self.state = apply(self.state, change)
            self._metrics.deployment_version.set(self.state.version)
            _log.info("deployment %d: %s %s by %s", self.state.version, change.action, change.adapter, change.actor)
