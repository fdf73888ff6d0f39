"""A service that began on one machine moves to Kafka: its log becomes the outbox, nothing is told twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from collector.ingest import Ingest
from collector.metrics import Metrics
from infra import doctor
from infra.eventlog import open_log, open_outbox
from infra.eventlog.local import LocalEventLog
from infra.eventlog.outbox import waiting_in
from infra.events import DeploymentChanged, Event, Topic
from infra.follow import deployment_now
from infra.lake import Lake
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests.collector.test_ingest import append, said
from tests.waiting import until


@pytest.fixture
def moved(settings: Settings, bootstrap: Callable[[str], str]) -> Settings:
    kafka = KafkaSettings(bootstrap=bootstrap("apache"), prefix=f"move-{time.time_ns()}.", partitions=3)
    return settings.model_copy(update={"kafka": kafka})


def test_the_log_of_one_machine_moves(settings: Settings, moved: Settings) -> None:
    promoted = DeploymentChanged(action="promote", adapter="ns-1", actor="ann")
    with closing(LocalEventLog(settings.log_dir)) as log, Lake.open(settings, writable=True) as lake:
        append(log, [said(number) for number in range(300)])
        append(log, [Event.of(promoted, "deployments")])
        Ingest(lake, log, settings.collector, Metrics()).catch_up()
        append(log, [said(number) for number in range(300, 400)])  # which no collector has seen yet

    found = doctor.event_log(moved)
    assert (found.state, "401 events" in found.message) == ("fail", True)
    move = found.next_step.split("`")[1].split()
    assert move[0] == "mv"
    Path(move[1]).rename(move[2])

    with closing(open_outbox(moved)) as outbox:
        until(lambda: waiting_in(moved.outbox_dir, list(Topic)).records == 0, "the relay")
        append_more = [said(number) for number in range(400, 450)]
        for event in append_more:
            outbox.append(event.topic, event.key, event.encode()).result(30)
        until(lambda: waiting_in(moved.outbox_dir, list(Topic)).records == 0, "the relay")
    assert doctor.event_log(moved).state == "ok"
    with closing(open_log(moved)) as log, Lake.open(moved, writable=True) as lake:
        assert deployment_now(log).stable == "ns-1"
        Ingest(lake, log, moved.collector, Metrics()).catch_up()
        assert lake.query("totals")[0]["interactions"] == 450
        assert len(lake.query("deployments", limit=9)) == 1
        assert sum(lake.offsets(log.identity()).values()) == 451
        assert sum(lake.offsets().values()) == 301
