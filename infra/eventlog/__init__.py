"""The event log: how rooms tell each other what happened. `base` is the port, `local` one machine's."""

from __future__ import annotations

from infra.eventlog.base import EventLog
from infra.eventlog.local import LocalEventLog
from infra.settings import Settings


def open_log(settings: Settings) -> EventLog:
    """The event log that the settings name; its owner closes it."""
    return LocalEventLog(settings.log_dir)
