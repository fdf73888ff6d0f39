"""How fast events go from the event log into the record, against reading alone and DuckDB's insert alone.

From the local log, and from Kafka where `KAFKA_BOOTSTRAP` names a broker. The collector is a real process;
its time counts from its first commit, the start of the process does not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import psutil
from rich.table import Table

from infra import sql
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.eventlog.base import from_beginning
from infra.events import Event, Interaction, Message, Topic
from infra.lake import Lake
from infra.sections import CollectorSettings, KafkaSettings
from infra.settings import Settings, child_environment

EVENTS = 100_000
_PROMPT = (
    Message(role="system", content="Facts: " + "parking is free; " * 10),
    Message(role="user", content="?"),
)


def run(say: Callable[[str], object], events: int = EVENTS) -> Table:
    """One row for each event log: events per second, and ours as a part of the slower floor."""
    table = Table("log", "reading alone", "inserting alone", "collector", "of the slower floor", "memory, MB")
    bootstraps = ["", *([name] if (name := os.environ.get("KAFKA_BOOTSTRAP")) else [])]
    for bootstrap in bootstraps:
        with tempfile.TemporaryDirectory() as folder:
            kafka = KafkaSettings(bootstrap=bootstrap, prefix=f"bench-{os.getpid()}.")
            settings = Settings(data=Path(folder), kafka=kafka, collector=CollectorSettings(port=8992))
            log = "Kafka" if bootstrap else "local"
            say(f"{log}: writing {events} events")
            _fill(settings, events)
            reading = events / _read(settings, events)
            say(f"{log}: collecting")
            seconds, megabytes = _collect(settings, events)
            ours = events / seconds
            inserting = events / _insert(settings, Path(folder))
            part = ours / min(reading, inserting)
            table.add_row(
                log,
                f"{reading:,.0f}/s",
                f"{inserting:,.0f}/s",
                f"{ours:,.0f}/s",
                f"{part:.2f}",
                f"{megabytes:.0f}",
            )
    return table


def _fill(settings: Settings, events: int) -> None:
    with closing(open_log(settings)) as log:
        futures = []
        for number in range(events):
            body = Interaction(
                response_id=f"r{number}",
                conversation_id=f"c{number // 3}",
                query=f"Is there parking at number {number}?",
                prompt=_PROMPT,
                answer="Yes, parking is free for all guests.",
            )
            event = Event.of(body, body.conversation_id)
            futures.append(log.append(event.topic, event.key, event.encode()))
        for future in futures:
            future.result(600)


def _read(settings: Settings, events: int) -> float:
    """Seconds to read everything and do nothing with it."""
    with (
        closing(open_log(settings)) as log,
        closing(log.reader([Topic.INTERACTIONS], from_beginning)) as reader,
    ):
        got = len(reader.poll(30.0, 5000))
        began = time.monotonic()
        first = got
        while got < events:
            got += len(reader.poll(1.0, 5000))
        return (time.monotonic() - began) * events / (events - first)


def _collect(settings: Settings, events: int) -> tuple[float, float]:
    """Seconds for all events by a collector process, from its first commit on; its largest memory in MB."""
    variables = {
        "NIGHTSHIFT_DATA": str(settings.data),
        "NIGHTSHIFT_COLLECTOR__PORT": str(settings.collector.port),
        "NIGHTSHIFT_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "NIGHTSHIFT_KAFKA__PREFIX": settings.kafka.prefix,
    }
    command = [sys.executable, "-m", "collector"]
    with subprocess.Popen(command, env=child_environment(**variables), stderr=subprocess.DEVNULL) as process:
        try:
            largest = 0.0
            first = began = 0.0
            while True:
                done = _recorded(settings)
                largest = max(largest, psutil.Process(process.pid).memory_info().rss / 1e6)
                if done and not began:
                    first, began = done, time.monotonic()
                if done >= events:
                    break
                time.sleep(0.02)
            return (time.monotonic() - began) * events / (events - first), largest
        finally:
            process.terminate()


def _recorded(settings: Settings) -> int:
    try:
        with Lake.open(settings) as lake:
            return sum(lake.offsets().values())
    except LakeError:
        return 0


def _insert(settings: Settings, folder: Path) -> float:
    """Seconds to insert the same rows into the same table of a plain DuckDB file, in the same batches."""
    with Lake.open(settings) as lake:
        rows = lake.query("every_interaction")
    size = settings.collector.batch
    batches = [
        {name: [row[name] for row in rows[start : start + size]] for name in rows[0]}
        for start in range(0, len(rows), size)
    ]
    with duckdb.connect(str(folder / "floor.duckdb")) as plain:
        plain.execute(sql.migrations()[0].sql)
        types = {row[0]: row[1] for row in plain.execute("DESCRIBE interactions").fetchall()}
        names = ", ".join(f'"{name}"' for name in types)
        lists = ", ".join(f"unnest(${name}::{kind}[])" for name, kind in types.items())
        began = time.monotonic()
        for batch in batches:
            plain.execute(f"INSERT INTO interactions ({names}) SELECT {lists}", batch)
        return time.monotonic() - began
