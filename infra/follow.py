"""Follows the deployments topic: what serves now, and since when.

Every room that needs the state folds the same events, so all come to the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.deployment import Deployment, apply
from infra.errors import EventError
from infra.eventlog.base import EventLog, Record, from_beginning
from infra.events import DeploymentChanged, Event, Topic

logger = logging.getLogger(__name__)

# A wait for what is on the topic already, and on its way.
_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the topic, when it was made (UTC), and the state after it.

    `applied` is False when it changed nothing; `id` is the event's.
    """

    at: datetime
    body: DeploymentChanged
    after: Deployment
    applied: bool = True
    id: str = ""


class Deployments:
    """A tail of the topic. Used by one thread; `state` is as of the last `poll`.

    `canary_since` is when the present canary began, None without one; `history` holds every change.
    """

    def __init__(self, log: EventLog) -> None:
        self._reader = log.reader([Topic.DEPLOYMENTS], from_beginning)
        self._caught_up = False
        self.state = Deployment()
        self.canary_since: datetime | None = None
        self.history: list[Change] = []

    def poll(self, timeout_s: float = 0.0) -> Deployment:
        """Reads what has come and folds it in; waits up to `timeout_s` for the first event.

        The first call reads everything that is on the topic. An event that cannot be read is logged and
        skipped: the last good state stays.
        """
        if not self._caught_up:
            self.catch_up()
        while records := self._reader.poll(timeout_s, max_records=1000):
            self._take(records)
            timeout_s = 0.0
        return self.state

    def catch_up(self) -> Deployment:
        """Reads everything that is on the topic now, also what was appended a moment ago."""
        while not self._reader.at_end():
            self._take(self._reader.poll(_TURN_S))
        self._caught_up = True
        return self.state

    def close(self) -> None:
        """Lets go of the reader."""
        self._reader.close()

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            self._apply(record.value)

    def _apply(self, value: bytes) -> None:
        try:
            event, body = Event.read(value)
        except EventError as err:
            logger.error("skipped a deployment event: %s", err)
            return
        if isinstance(body, DeploymentChanged):
            before, self.state = self.state, apply(self.state, body)
            applied = _facts(before) != _facts(self.state)
            self.history.append(Change(event.at.astimezone(UTC), body, self.state, applied, event.id))
            if self.state.canary != before.canary:
                self.canary_since = event.at if self.state.canary else None


def _facts(state: Deployment) -> tuple[object, ...]:
    """The state without its version, which every event raises."""
    return state.stable, state.canary, state.share, state.paused, state.denied


def deployment_now(log: EventLog) -> Deployment:
    """The state after everything that is on the topic now."""
    tail = Deployments(log)
    try:
        return tail.poll()
    finally:
        tail.close()
