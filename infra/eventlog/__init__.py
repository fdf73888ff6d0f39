"""The event log: how rooms tell each other what happened. `base` is the port; `local` serves one machine,
`kafka` many, and `outbox` joins the two by a `relay`.
"""

from __future__ import annotations

import socket

from infra.errors import SettingsError
from infra.eventlog.base import EventLog
from infra.eventlog.local import LocalEventLog
from infra.eventlog.outbox import Outbox
from infra.eventlog.relay_process import Order, RelayProcess
from infra.events import Topic
from infra.settings import Settings


def open_log(settings: Settings) -> EventLog:
    """The event log that the settings name; its owner closes it.

    Raises:
        SettingsError: they name Kafka, and its client is not installed.
    """
    if not settings.kafka.bootstrap:
        return LocalEventLog(settings.log_dir)
    return _kafka(settings)


def open_outbox(settings: Settings) -> EventLog:
    """The same for a room that must not wait for a broker: with Kafka, appends go through an outbox here."""
    if not settings.kafka.bootstrap:
        return LocalEventLog(settings.log_dir)
    shared, limit = _kafka(settings), round(settings.kafka.outbox_gb * 1e9)
    relay = RelayProcess(Order(settings.outbox_dir, settings.kafka))
    return Outbox(settings.outbox_dir, shared, list(Topic), limit, relay)


def _kafka(settings: Settings) -> EventLog:
    try:
        from infra.eventlog.kafka import KafkaEventLog  # noqa: PLC0415 - one machine needs no client of Kafka
    except ModuleNotFoundError as err:
        raise SettingsError(
            "kafka.bootstrap is set, but Kafka's client is not installed: pip install 'nightshift[kafka]'."
        ) from err
    # Two collectors on one host have different ports.
    member = f"{socket.gethostname()}-{settings.collector.port}"
    return KafkaEventLog(settings.kafka, member=member)
