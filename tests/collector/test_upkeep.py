"""The daily upkeep: what goes, what stays, and that nobody is disturbed by it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.upkeep import Daily, Upkeep, keep_up
from infra.eventlog.base import Partition, from_beginning
from infra.eventlog.local import LocalEventLog
from infra.lake import Lake
from infra.sections import CollectorSettings, LakeSettings
from infra.settings import Settings, child_environment
from tests.collector.test_ingest import append, said
from tests.waiting import until

NOW = datetime.now(UTC)
HERE = Partition("interactions")
TABLES = ("interactions", "feedback", "signals", "completions", "dead_letters", "nights", "deployments")


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.open(settings, writable=True) as opened:
        yield opened


def fill(lake: Lake, days: int = 10) -> None:
    """One commit a day with a row in each table, the oldest `days` ago."""
    for day in range(days, 0, -1):
        at = NOW - timedelta(days=day)
        rows: dict[str, list[dict[str, object]]] = {table: [{"at": at}] for table in TABLES}
        for table in rows:
            if table != "dead_letters":
                rows[table][0]["event_id"] = f"{table}-{days - day:03d}"
        lake.append(rows, {HERE: days - day + 1})


def with_lake(settings: Settings, **lake: float) -> Settings:
    return settings.model_copy(update={"lake": LakeSettings(**lake)})


def counts(lake: Lake) -> dict[str, int]:
    totals = lake.query("totals")[0]
    return {name: totals[name] for name in ("interactions", "dead_letters")}


def parquet(settings: Settings) -> list[Path]:
    return list(Path(settings.lake_files).rglob("*.parquet"))


def test_by_default_every_row_stays_and_files_are_merged(settings: Settings, lake: Lake) -> None:
    fill(lake)
    done = keep_up(lake, settings, NOW)
    assert (done.rows, done.versions, done.events) == (0, 0, 0)
    assert counts(lake) == {"interactions": 10, "dead_letters": 10}
    assert lake.offsets() == {HERE: 10}


def test_customers_words_go_when_they_are_too_old_and_nights_stay(settings: Settings, lake: Lake) -> None:
    fill(lake)
    done = keep_up(lake, with_lake(settings, retention_days=4.5), NOW)
    assert done.rows == 5 * 6
    assert counts(lake) == {"interactions": 4, "dead_letters": 4}
    assert len(lake.query("deployments", limit=100)) == 10


def test_in_the_end_their_bytes_are_gone_too(settings: Settings, lake: Lake) -> None:
    secret = "do-not-keep-this"
    old = {"event_id": "a", "at": NOW - timedelta(days=9), "query": secret}
    young = {"event_id": "b", "at": NOW + timedelta(days=9), "query": "keep this"}
    lake.append({"interactions": [old]}, {HERE: 1})
    lake.append({"interactions": [young]}, {HERE: 2})
    lake.compact()
    assert any(secret.encode() in file.read_bytes() for file in parquet(settings))
    short = with_lake(settings, retention_days=1, versions_days=0.001)
    keep_up(lake, short, NOW)
    later = datetime.now(UTC) + timedelta(hours=2)
    keep_up(lake, short, later)
    keep_up(lake, short, later + timedelta(days=3))
    assert not any(secret.encode() in file.read_bytes() for file in parquet(settings))
    assert [row["query"] for row in lake.query("recent_interactions", limit=9, before=None)] == ["keep this"]


def test_old_versions_end_and_their_files_some_days_later(settings: Settings, lake: Lake) -> None:
    for batch in range(5):  # large enough for files of their own
        rows = [{"event_id": f"{batch}-{number:04d}", "at": NOW} for number in range(1000)]
        lake.append({"interactions": rows}, {HERE: batch + 1})
    first, small = lake.snapshot(), {file for file in parquet(settings) if "interactions" in file.parts}
    assert len(small) == 5
    short = with_lake(settings, versions_days=0.001)
    later = datetime.now(UTC) + timedelta(minutes=5)
    done = keep_up(lake, short, later)
    assert (done.versions > first, done.files) == (True, 0)
    assert small < set(parquet(settings))  # somebody may be reading them
    assert keep_up(lake, short, later + timedelta(days=3)).files >= 5
    assert not small & set(parquet(settings))
    assert counts(lake)["interactions"] == 5000


def test_replaced_offsets_go_and_the_last_of_each_partition_stays(settings: Settings, lake: Lake) -> None:
    other = Partition("feedback", 3)
    for number in range(5):
        lake.append({}, {HERE: number + 1, other: number + 11})
    keep_up(lake, settings, datetime.now(UTC) + timedelta(days=2))
    assert lake.offsets() == {HERE: 5, other: 15}


def test_the_local_log_keeps_what_is_young_or_not_recorded(settings: Settings, lake: Lake) -> None:
    with closing(LocalEventLog(settings.log_dir)) as log:
        for topic in ("interactions", "deployments"):
            for number in range(10):
                log.append(topic, "k", str(number).encode()).result(10)
        lake.append({}, {HERE: 7, Partition("deployments"): 10})
        short = settings.model_copy(update={"collector": CollectorSettings(log_days=1)})
        assert keep_up(lake, short, NOW).events == 0
        assert keep_up(lake, short, NOW + timedelta(days=2)).events == 7
        with closing(log.reader(["interactions", "deployments"], from_beginning)) as reader:
            left = reader.poll(1.0)
    assert [r.value for r in left if r.position.partition == HERE] == [b"7", b"8", b"9"]
    assert len([r for r in left if r.position.partition.topic == "deployments"]) == 10


def test_it_is_due_once_a_day_and_a_refusal_waits_for_the_next(
    settings: Settings, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    daily = Daily(lake, settings, lambda: now)
    with caplog.at_level(logging.INFO):
        daily()
        assert caplog.messages == []
        now = 400.0
        daily()
        daily()
        assert len(caplog.messages) == 1
        lake.close()
        now += 25 * 3600
        daily()
    assert "put off until tomorrow" in caplog.messages[-1]


def job(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "collector", *arguments]
    environment = child_environment(
        NIGHTSHIFT_DATA=str(settings.data), NIGHTSHIFT_COLLECTOR__PORT=str(settings.collector.port)
    )
    return subprocess.run(command, env=environment, capture_output=True, check=False)


def test_the_job_tells_what_it_removed(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:
        fill(lake)
    done = job(settings, "compact")
    assert done.returncode == 0, done.stderr.decode()
    assert Upkeep(**json.loads(done.stdout)).rows == 0


def test_jobs_and_a_collector_at_work_take_turns(settings: Settings) -> None:
    """A record that is read and written meanwhile: nobody is refused, and readers are never blocked."""
    environment = child_environment(
        NIGHTSHIFT_DATA=str(settings.data),
        NIGHTSHIFT_COLLECTOR__PORT=str(settings.collector.port),
        NIGHTSHIFT_COLLECTOR__INTERVAL_S="0.01",
    )
    with closing(LocalEventLog(settings.log_dir)) as log, Lake.open(settings, writable=True) as reader:
        events = 0
        with subprocess.Popen(
            [sys.executable, "-m", "collector"], env=environment, stderr=subprocess.PIPE
        ) as collector:
            try:
                for name in ("compact", "retry", "compact"):
                    with ThreadPoolExecutor(1) as pool:
                        running = pool.submit(job, settings, name)
                        while not running.done():
                            append(log, [said(number) for number in range(events, events + 20)])
                            events += 20
                            assert reader.query("totals")[0]["interactions"] <= events
                    assert running.result().returncode == 0, running.result().stderr.decode()
                until(lambda: reader.query("totals")[0]["interactions"] == events, "all events")
            finally:
                collector.terminate()
                _, said_last = collector.communicate(timeout=60)
    assert b"refused" not in said_last
    assert events > 100


def test_an_unknown_job_is_a_mistake_of_the_caller(settings: Settings) -> None:
    done = job(settings, "tidy")
    assert (done.returncode, b"compact" in done.stderr) == (2, True)
