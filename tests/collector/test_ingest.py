"""The collector's loop on a real log and a real lake: nothing lost, nothing twice, whatever happens."""

from __future__ import annotations

import itertools
import logging
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from collector.ingest import Ingest
from collector.metrics import Metrics
from collector.rows import rows
from infra.errors import LakeError
from infra.eventlog.base import EventLog, Partition, Position, Record
from infra.eventlog.local import LocalEventLog
from infra.events import Event, Feedback, Interaction, Message, Topic
from infra.lake import Lake
from infra.sections import CollectorSettings
from infra.settings import Settings, child_environment
from tests.waiting import until

PATIENCE_S = 60.0


def said(number: int) -> Event:
    prompt = (Message(role="user", content=f"question {number}"),)
    return Event.of(
        Interaction(
            response_id=f"r{number}", conversation_id=f"c{number // 3}", query=f"question {number}",
            prompt=prompt, answer="yes",
        ),
        f"c{number // 3}",
    )  # fmt: skip


def append(log: LocalEventLog, events: Sequence[Event]) -> list[Position]:
    futures = [log.append(event.topic, event.key, event.encode()) for event in events]
    return [future.result(PATIENCE_S) for future in futures]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def log(settings: Settings) -> Iterator[LocalEventLog]:
    opened = LocalEventLog(settings.log_dir)
    yield opened
    opened.close()


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.open(settings, writable=True) as opened:
        yield opened


@contextmanager
def collecting(
    lake: Lake, log: EventLog, batch: int = 500, merge_every: int = 300
) -> Iterator[tuple[Ingest, Metrics]]:
    """A collector in a thread, stopped in the end."""
    metrics, stop = Metrics(), threading.Event()
    ingest = Ingest(
        lake, log, CollectorSettings(batch=batch, interval_s=0.05), metrics, merge_every=merge_every
    )
    thread = threading.Thread(target=ingest.run, args=(stop,))
    thread.start()
    try:
        yield ingest, metrics
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_good_bad_and_doubled_events(lake: Lake, log: LocalEventLog) -> None:
    events = [said(number) for number in range(2000)]
    append(log, events)
    append(log, events[::10])  # an outbox replayed: other offsets, the same ids
    for number in range(50):
        log.append(Topic.INTERACTIONS, "k", b"not an event %d" % number)
    append(log, [Event.of(Feedback(response_id=f"r{n}", rating=1), "k") for n in range(30)])
    end = {Partition(Topic.INTERACTIONS): 2250, Partition(Topic.FEEDBACK): 30}
    with collecting(lake, log, merge_every=3) as (_, metrics):
        until(lambda: lake.offsets() == end, "all offsets")
        until(
            lambda: value(metrics.registry, "nightshift_events_stored_total", table="feedback") == 30,
            "counts",
        )
        registry = metrics.registry
        until(lambda: value(registry, "nightshift_lag", topic="interactions", partition="0") == 0, "no lag")
    totals = lake.query("totals")[0]
    assert (totals["interactions"], totals["dead_letters"], totals["thumbs_up"]) == (2000, 50, 30)
    assert value(registry, "nightshift_events_stored_total", table="interactions") == 2000
    assert value(registry, "nightshift_duplicates_total") == 200
    assert value(registry, "nightshift_dead_letters_total") == 50
    letters = {row["value"] for row in lake.query("dead_letters", limit=100)}
    assert letters == {f"not an event {number}" for number in range(50)}


def test_collectors_that_never_live_long_merge_in_their_turn(lake: Lake, log: LocalEventLog) -> None:
    here, numbers = Partition(Topic.INTERACTIONS), itertools.count()
    for life in range(8):  # one commit each, too small for a file of its own: it stays in the catalog
        append(log, [said(next(numbers))])
        with collecting(lake, log, merge_every=4):
            until(reached(lake, here, life + 1), f"life {life}")
    assert lake.query("files")
    assert lake.query("totals")[0]["interactions"] == 8


def reached(lake: Lake, partition: Partition, offset: int) -> Callable[[], bool]:
    return lambda: lake.offsets().get(partition) == offset


def test_a_second_start_goes_on_where_the_lake_stands(lake: Lake, log: LocalEventLog) -> None:
    here = Partition(Topic.INTERACTIONS)
    for count in (5, 10):
        append(log, [said(number) for number in range(5)])  # new ids each time
        with collecting(lake, log):
            until(reached(lake, here, count), "the offset")
        assert lake.query("totals")[0]["interactions"] == count


def test_a_busy_catalog_is_waited_for_loudly(
    settings: Settings, lake: Lake, log: LocalEventLog, caplog: pytest.LogCaptureFixture
) -> None:
    append(log, [said(1)])
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, settings.lake_catalog], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout
    assert holder.stdout.readline() == b"held\n"
    with caplog.at_level(logging.ERROR), collecting(lake, log) as (ingest, metrics):
        until(lambda: "holds the catalog" in ingest.trouble, "a refused commit")
        holder.communicate(b"\n", timeout=PATIENCE_S)
        until(lambda: ingest.trouble == "" and bool(lake.offsets()), "the commit")
        assert value(metrics.registry, "nightshift_commit_failures_total") >= 1
    assert "a batch was refused, next try in" in caplog.text
    assert "question" not in caplog.text
    assert lake.query("totals")[0]["interactions"] == 1


# Holds the catalog's write lock until a line comes.
_HOLD = """
import sqlite3, sys
catalog = sqlite3.connect(sys.argv[1], isolation_level=None)
catalog.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def started(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A collector as a process of its own, which does not outlive its test."""
    environment = child_environment(
        NIGHTSHIFT_DATA=str(settings.data),
        NIGHTSHIFT_COLLECTOR__PORT=str(settings.collector.port),
        NIGHTSHIFT_COLLECTOR__BATCH="100",
        NIGHTSHIFT_COLLECTOR__INTERVAL_S="0.05",
    )
    command = [sys.executable, "-m", "collector"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def recorded(settings: Settings) -> int:
    """Interactions in the lake, as another process sees them; 0 while there is none."""
    try:
        with Lake.open(settings) as reader:
            return int(reader.query("totals")[0]["interactions"])
    except LakeError:
        return 0


def is_up(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{settings.collector.port}/readyz", timeout=5
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_two_that_hold_the_same_records_write_them_once(settings: Settings, log: LocalEventLog) -> None:
    """As a collector that was stopped does when it wakes: dead letters have no id that could tell."""
    append(log, [said(number) for number in range(200)])
    for number in range(200):
        log.append(Topic.INTERACTIONS, "k", b"not an event %d" % number)
    log.append(Topic.INTERACTIONS, "k", b"the last").result(PATIENCE_S)
    ready = threading.Barrier(3)

    def collect() -> None:
        with Lake.open(settings, writable=True) as mine:
            ingest = Ingest(mine, log, CollectorSettings(batch=80), Metrics())
            ready.wait(PATIENCE_S)
            ingest.catch_up()

    writers = [threading.Thread(target=collect) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_S)
    with Lake.open(settings) as lake:
        totals = lake.query("totals")[0]
        assert (totals["interactions"], totals["dead_letters"]) == (200, 201)


def test_what_the_lake_cannot_store_becomes_a_dead_letter(
    lake: Lake, log: LocalEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(log, [said(number) for number in range(100)])

    def overlooking(record: Record) -> dict[str, list[dict[str, object]]]:
        """Rows that are checked less than they should be."""
        found = rows(record)
        for row in found["interactions"]:
            if row["response_id"] in ("r17", "r18", "r99"):
                row["turn"] = "many"
        return found

    monkeypatch.setattr("collector.ingest.rows", overlooking)
    Ingest(lake, log, CollectorSettings(batch=64), Metrics()).catch_up()
    assert lake.query("totals")[0]["interactions"] == 97
    letters = lake.query("dead_letters", limit=10)
    assert {Event.decode(letter["value"].encode()).body["response_id"] for letter in letters} == {
        "r17",
        "r18",
        "r99",
    }
    assert all("many" in letter["reason"] for letter in letters)
    assert lake.offsets() == {Partition(Topic.INTERACTIONS): 100}


def test_probes_and_a_clean_stop(settings: Settings, log: LocalEventLog) -> None:
    append(log, [said(1)])
    log.append(Topic.FEEDBACK, "k", b"{}").result(PATIENCE_S)
    with started(settings) as process:
        until(lambda: recorded(settings) == 1, "the event")
        base = f"http://127.0.0.1:{settings.collector.port}"
        for path in ("/livez", "/readyz"):
            with urllib.request.urlopen(base + path, timeout=5) as answer:
                assert answer.status == 200

        def measured() -> bool:
            with urllib.request.urlopen(base + "/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            wanted = (
                'nightshift_events_stored_total{table="interactions"} 1.0',
                "nightshift_dead_letters_total 1.0",
                'nightshift_lag{partition="0",topic="interactions"} 0.0',
            )
            seconds = any(line.startswith("nightshift_seconds_since_commit ") for line in lines)
            return seconds and all(line in lines for line in wanted)

        until(measured, "metrics")
        process.send_signal(signal.SIGTERM)
        _, lines = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert b"question" not in lines
