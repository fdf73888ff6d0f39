"""An outbox that was shipped comes back, as from a backup of its disk: the record holds every event once."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from collector.metrics import Metrics
from infra.eventlog import open_outbox
from infra.eventlog.base import EventLog
from infra.eventlog.kafka import KafkaEventLog
from infra.eventlog.outbox import waiting_in
from infra.events import Event, Topic
from infra.lake import Lake
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.collector.test_ingest import collecting
from tests.faults.flow import said
from tests.ports import find_ports
from tests.waiting import until

TIMES = 3
PATIENCE_S = 300.0
# Appends under way at one time.
_WINDOW = 500


@contextmanager
def opened(settings: Settings, kafka: KafkaSettings) -> Iterator[EventLog]:
    """The outbox of an agent with these settings, and its relay in a process of its own."""
    with closing(open_outbox(settings.model_copy(update={"kafka": kafka}))) as outbox:
        yield outbox


def fill(settings: Settings, events: Sequence[Event]) -> None:
    """Appends the events while no broker answers, so that all of them stay in the outbox."""
    with opened(settings, KafkaSettings(bootstrap=f"127.0.0.1:{find_ports(1)[0]}")) as outbox:
        for begin in range(0, len(events), _WINDOW):
            some = events[begin : begin + _WINDOW]
            for future in [outbox.append(event.topic, event.key, event.encode()) for event in some]:
                future.result(PATIENCE_S)


def ship(settings: Settings, kafka: KafkaSettings) -> None:
    with opened(settings, kafka):
        until(
            lambda: waiting_in(settings.outbox_dir, list(Topic)).records == 0, "an empty outbox", PATIENCE_S
        )


def put_back(settings: Settings, copy: Path) -> None:
    shutil.rmtree(settings.outbox_dir)
    shutil.copytree(copy, settings.outbox_dir)


def consumed(metrics: Metrics) -> int:
    """Events that the collector has read, those among them that it knew already included."""
    value = metrics.registry.get_sample_value
    tables = ("interactions", "feedback")
    stored = [value("nightshift_events_stored_total", {"table": table}) for table in tables]
    return int(sum(count or 0 for count in (*stored, value("nightshift_duplicates_total"))))


@pytest.fixture
def kafka(bootstrap: Callable[[str], str]) -> KafkaSettings:
    kind = "tansu" if brokers.missing_apache() else "apache"
    return KafkaSettings(bootstrap=bootstrap(kind), prefix="replayed.", partitions=3)


def test_every_event_is_recorded_once(
    settings: Settings, kafka: KafkaSettings, tmp_path: Path, soak: bool, measured: Callable[[str], None]
) -> None:
    events = [said(number) for number in range(50_000 if soak else 1000)]
    fill(settings, events)
    shutil.copytree(settings.outbox_dir, tmp_path / "copy")
    with (
        Lake.open(settings, writable=True) as lake,
        closing(KafkaEventLog(kafka)) as log,
        collecting(lake, log, batch=settings.collector.batch) as (_, metrics),
    ):
        begun = time.monotonic()
        ship(settings, kafka)
        for _ in range(TIMES - 1):
            put_back(settings, tmp_path / "copy")
            ship(settings, kafka)
        until(lambda: consumed(metrics) >= TIMES * len(events), "everything to be read", PATIENCE_S)
        seconds = time.monotonic() - begun
        rows = lake.query("recent_interactions", limit=10**9, before=None)
        thumbs = int(lake.query("totals")[0]["thumbs_up"])
    answers = {event.id for event in events if event.type == "interaction"}
    recorded = Counter(row["event_id"] for row in rows)
    lost = len(answers - recorded.keys()) + max(0, len(events) - len(answers) - thumbs)
    doubled = recorded.total() - len(recorded) + max(0, thumbs - len(events) + len(answers))
    measured(
        f"{len(events)} events shipped {TIMES} times in {seconds:.1f} s: {consumed(metrics)} on the log, "
        f"{recorded.total() + thumbs} recorded, {lost} lost, {doubled} recorded twice"
    )
    assert (lost, doubled) == (0, 0)
    assert recorded.keys() == answers
