"""The event log: how rooms tell each other what happened. `base` is the port; `local` serves one machine,
`kafka` many, and `outbox` joins the two.
"""

from __future__ import annotations

from infra.eventlog.base import EventLog
from infra.eventlog.local import LocalEventLog
from infra.eventlog.outbox import Outbox
from infra.events import Topic
from infra.settings import Settings

_OUTAGE_S = 3600.0


def open_log(settings: Settings) -> EventLog:
    """The event log that the settings name; its owner closes it."""
    if not settings.kafka.bootstrap:
        return LocalEventLog(settings.log_dir)
    from infra.eventlog.kafka import KafkaEventLog  # noqa: PLC0415 - one machine needs no client of Kafka

    return KafkaEventLog(settings.kafka)


def open_outbox(settings: Settings) -> EventLog:
    """The same for a room that must not wait for a broker: with Kafka, appends go through an outbox here."""
    if not settings.kafka.bootstrap:
        return open_log(settings)
    from infra.eventlog.kafka import KafkaEventLog  # noqa: PLC0415 - as above

    limit = round(settings.kafka.outbox_gb * 1e9)
    # The producer goes on trying over an outage, which keeps the order; the outbox bounds what waits.
    return Outbox(settings.outbox_dir, KafkaEventLog(settings.kafka, _OUTAGE_S), list(Topic), limit)
