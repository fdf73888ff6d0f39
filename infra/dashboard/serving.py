"""What serves now, read from the deployments topic itself, and the one thing that the dashboard writes.

The topic and not the record is the truth: the buttons work while the collector is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Literal

from infra.deployment import Deployment
from infra.eventlog.base import EventLog, Partition, Reader, from_beginning
from infra.events import DeploymentChanged, Event, Topic
from infra.follow import Change, Deployments

# A healthy log makes an event durable in milliseconds; Kafka without a broker would wait for minutes.
APPEND_TIMEOUT_S = 10.0


class Serving:
    """The fold over the deployments topic, kept up to date by whoever asks."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = Lock()
        self._topic = Deployments(log)
        self._ends: Reader = log.reader(list(Topic), from_beginning)

    def now(self) -> Deployment:
        """The state after everything that is on the topic."""
        with self._lock:
            return self._topic.catch_up()

    def history(self) -> list[Change]:
        """Every change so far, oldest first."""
        with self._lock:
            self._topic.catch_up()
            return list(self._topic.history)

    def append(
        self, action: Literal["promote", "roll_back"], adapter: str, actor: str, reason: str
    ) -> DeploymentChanged:
        """Appends one event, which is the order to the agents and the audit entry at once.

        Raises:
            EventLogError: the log did not take it; nothing has changed.
        """
        body = DeploymentChanged(action=action, adapter=adapter, actor=actor, reason=reason)
        event = Event.of(body, "deployments")
        self._log.append(event.topic, event.key, event.encode()).result(APPEND_TIMEOUT_S)
        return body

    def end_offsets(self) -> Mapping[Partition, int]:
        """For each partition, the offset that the next event will get."""
        with self._lock:
            return self._ends.end_offsets()

    def log(self) -> str:
        """Which event log these offsets are of."""
        return self._log.identity()

    def close(self) -> None:
        self._topic.close()
        self._ends.close()
