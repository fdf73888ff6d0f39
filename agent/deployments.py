"""Follows the deployments topic in a thread and keeps the last good state. It decides nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from agent.metrics import Metrics
from agent.remembered import recall, remember
from infra import follow
from infra.errors import EventLogError
from infra.eventlog.base import EventLog

_log = logging.getLogger(__name__)

_POLL_S = 0.2  # how soon a stop is noticed; a new event ends the wait at once
_RETRY_S = 0.5  # after the log could not be read


class Deployments:
    """`state` is replaced whole, so any thread may read it. `caught_up` once all old events were applied.

    Until then it is what `remembered` holds from the last run. `trouble` says why the log cannot be read.
    """

    def __init__(self, log: EventLog, metrics: Metrics, remembered: Path) -> None:
        self._log = log
        self._remembered = remembered
        self._metrics = metrics
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.state = recall(remembered)
        self.caught_up = False
        self.trouble = ""

    def start(self, changed: Callable[[], None]) -> None:
        """Begins to follow. `changed` is called in the following thread after each new state."""
        self._thread = threading.Thread(target=self._run, args=(changed,), name="deployments", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, changed: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            try:
                with closing(follow.Deployments(self._log)) as topic:
                    self._follow(topic, changed)
            except EventLogError as err:
                self._metrics.errors.labels("deployments").inc()
                if str(err) != self.trouble:  # an outage is told once
                    _log.error("version %d stays in force: %s", self.state.version, err)
                self.trouble = str(err)
                self._stopped.wait(_RETRY_S)

    def _follow(self, topic: follow.Deployments, changed: Callable[[], None]) -> None:
        while not self._stopped.is_set():
            state = topic.poll(_POLL_S)
            self.caught_up, self.trouble = True, ""
            # After a failure the topic is read from its beginning: what is older is not news.
            if state.version > self.state.version:
                self.state = state
                remember(self._remembered, state)
                self._metrics.deployment_version.set(state.version)
                _log.info("deployment %d: stable %r, canary %r", state.version, state.stable, state.canary)
                changed()
