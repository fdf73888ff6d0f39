"""What serves now, read from the deployments topic itself, and the one thing that the dashboard writes.

The topic and not the record is the truth: the buttons work while the collector is down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

from infra.deployment import Deployment, apply
from infra.errors import EventError
from infra.eventlog.base import EventLog, Partition, Reader, from_beginning
from infra.events import DeploymentChanged, Event, Topic

# A healthy log makes an event durable in milliseconds; Kafka without a broker would wait for minutes.
APPEND_TIMEOUT_S = 10.0
# A wait for events that are on the topic already, and on their way.
_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the topic and the state after it. `applied` is False when it changed nothing."""

    id: str
    at: datetime
    body: DeploymentChanged
    after: Deployment
    applied: bool


class Serving:
    """The fold over the deployments topic, kept up to date by whoever asks."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = Lock()
        self._tail: Reader = log.reader([Topic.DEPLOYMENTS], from_beginning)
        self._ends: Reader = log.reader(list(Topic), from_beginning)
        self._changes: list[Change] = []

    def now(self) -> Deployment:
        history = self.history()
        return history[-1].after if history else Deployment()

    def history(self) -> list[Change]:
        """Every change so far, oldest first."""
        with self._lock:
            self._catch_up()
            return list(self._changes)

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
        self._tail.close()
        self._ends.close()

    def _catch_up(self) -> None:
        while not self._tail.at_end():
            for record in self._tail.poll(_TURN_S):
                try:
                    self._take(Event.decode(record.value))
                except EventError:
                    continue  # the collector keeps it as a dead letter; the fold goes on without it

    def _take(self, event: Event) -> None:
        body = event.parse()
        if not isinstance(body, DeploymentChanged):
            return
        before = self._changes[-1].after if self._changes else Deployment()
        after = apply(before, body)
        applied = _facts(before) != _facts(after)
        self._changes.append(Change(event.id, event.at.astimezone(UTC), body, after, applied))


def _facts(state: Deployment) -> tuple[object, ...]:
    """The state without its version, which every event raises."""
    return state.stable, state.canary, state.share, state.paused, state.denied
