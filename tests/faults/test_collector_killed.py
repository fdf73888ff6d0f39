"""A collector is killed again and again while events flow: nothing is lost, nothing is recorded twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.faults.flow import PATIENCE_S, Flow, collector, held, position
from tests.waiting import until

# Looks take of the two cores what the collector's start is measured on.
LOOK_S = 0.1


@pytest.mark.parametrize("log", ["local", "kafka"])
def test_kills_lose_nothing_and_double_nothing(
    settings: Settings,
    log: str,
    soak: bool,
    bootstrap: Callable[[str], str],
    measured: Callable[[str], None],
) -> None:
    if log == "kafka":
        prefix = f"killed-{time.time_ns()}."
        kafka = KafkaSettings(bootstrap=bootstrap("apache"), prefix=prefix, partitions=3)
        settings = settings.model_copy(update={"kafka": kafka})
    kills, events, seconds = (200, 1_000_000, 400.0) if soak else (3, 5000, 5.0)
    chance, starts = random.Random(1), []
    with closing(open_log(settings)) as shared:
        flow = Flow(shared)
        with flow.running(events, seconds):
            for _ in range(kills):
                before, began = position(settings, shared), time.monotonic()
                with collector(settings):
                    until(beyond(settings, shared, before), "progress", PATIENCE_S, LOOK_S)
                    starts.append(time.monotonic() - began)
                    time.sleep(chance.uniform(0.0, 0.3))
                # It was killed at a moment of its own choosing, in the middle of whatever it did.
                if flow.appended == events:
                    flow.append(range(events, events := events + 500))  # so that the next one has work
        with collector(settings):
            until(lambda: held(settings).ids == events, "every event", PATIENCE_S + events / 5000)
            time.sleep(1.0)  # a double would come late
            now = held(settings)
    measured(
        f"{log}: {kills} kills in {events:,} events: {events - now.ids} lost, {now.rows - now.ids} doubled; "
        f"first commit after a start {sorted(starts)[len(starts) // 2]:.1f} s, at most {max(starts):.1f} s"
    )
    assert now == (events, events, 0)
    if soak:
        assert max(starts) < 5.0


def beyond(settings: Settings, log: EventLog, before: int) -> Callable[[], bool]:
    return lambda: position(settings, log) > before


def test_apache_kafka_is_there_where_the_suite_must_have_it() -> None:
    """The repository's own machines have it; elsewhere its tests are skipped with their reason."""
    if brokers.HOME.is_dir():
        assert brokers.missing_apache() == ""
