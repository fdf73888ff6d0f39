"""How fast events go from the event log into the record, against reading alone and DuckDB's insert alone.

From the local log, and from Kafka where `KAFKA_BOOTSTRAP` names a broker. The collector is a real process;
its time counts from its first commit, the start of the process does not. `run_late` compares a record that is
small with one that holds ten million answers already.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import duckdb
import psutil
from rich.table import Table

from infra import sql
from infra.addresses import free_ports
from infra.bench.programs import running
from infra.bench.rows import SIZES, past
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.eventlog.base import from_beginning
from infra.events import Event, Interaction, Message, Topic
from infra.lake import Lake
from infra.sections import CollectorSettings, KafkaSettings
from infra.settings import Settings

EVENTS = 200_000
ROUNDS = 3
# Between looks at the record, which take of the cores what the collector could have.
_LOOK_S = 0.1
_PROMPT = (
    Message(role="system", content="Facts: " + "parking is free; " * 10),
    Message(role="user", content="?"),
)


@dataclass(frozen=True, slots=True)
class Collected:
    """Seconds for all events, and the largest memory in MB: until a tenth was collected, and in all."""

    seconds: float
    early_megabytes: float
    megabytes: float


def run(say: Callable[[str], object], events: int = EVENTS) -> Table:
    """One row for each event log: events per second, ours as a part of the slower floor; medians."""
    table = Table("log", "reading alone", "inserting alone", "collector", "of the slower floor", "memory, MB")
    bootstraps = ["", *([name] if (name := os.environ.get("KAFKA_BOOTSTRAP")) else [])]
    for bootstrap in bootstraps:
        with TemporaryDirectory() as folder:
            kafka = KafkaSettings(bootstrap=bootstrap, prefix=f"bench-{os.getpid()}.")
            settings = Settings(
                data=Path(folder), kafka=kafka, collector=CollectorSettings(port=free_ports(1)[0])
            )
            log = "Kafka" if bootstrap else "local"
            say(f"{log}: writing {events} events")
            _fill(settings, events)
            rounds = []
            for number in range(1, ROUNDS + 1):
                say(f"{log}: round {number} of {ROUNDS}")
                reading = events / _read(settings, events)
                collected = _collect(settings, events)
                inserting = events / _insert(settings, Path(folder))
                ours = events / collected.seconds
                part = ours / min(reading, inserting)
                rounds.append((reading, inserting, ours, part, collected.megabytes))
                shutil.rmtree(Path(settings.lake_catalog).parent)
                shutil.rmtree(settings.lake_files, ignore_errors=True)
            read, inserted, ours, part, megabytes = (median(some) for some in zip(*rounds, strict=True))
            parts = sorted(one[3] for one in rounds)
            table.add_row(
                log,
                f"{read:,.0f}/s",
                f"{inserted:,.0f}/s",
                f"{ours:,.0f}/s",
                f"{part:.2f} ({parts[0]:.2f} to {parts[-1]:.2f})",
                f"{megabytes:.0f}",
            )
    return table


def run_late(say: Callable[[str], object], sizes: Sequence[int] = SIZES, events: int = EVENTS) -> Table:
    """One row for each size of the record before: events per second, and memory; medians of rounds."""
    found: dict[int, list[Collected]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        records = {size: stack.enter_context(past(size, say)) for size in sizes}
        folder = Path(stack.enter_context(TemporaryDirectory(dir=records[sizes[-1]].data.parent)))
        filled = Settings(data=folder / "filled", collector=CollectorSettings(port=free_ports(1)[0]))
        say(f"writing {events} events")
        _fill(filled, events)
        for number in range(ROUNDS):
            for size in sizes if number % 2 == 0 else sizes[::-1]:
                settings = filled.model_copy(update={"data": folder / "late"})
                shutil.copytree(filled.data, settings.data)
                _copy(records[size], settings)
                found[size].append(_collect(settings, events))
                shutil.rmtree(settings.data)
                say(f"{size:,} rows: {events / found[size][-1].seconds:,.0f}/s")
    table = Table(
        "answers before", "collector", "of the first", "memory after a tenth, MB", "memory at most, MB"
    )
    speeds = {size: median(events / one.seconds for one in some) for size, some in found.items()}
    for size, some in found.items():
        early, most = median(one.early_megabytes for one in some), median(one.megabytes for one in some)
        ratio = speeds[size] / speeds[sizes[0]]
        table.add_row(f"{size:,}", f"{speeds[size]:,.0f}/s", f"{ratio:.2f}", f"{early:.0f}", f"{most:.0f}")
    return table


def _copy(record: Settings, settings: Settings) -> None:
    """The same record for other settings: files never change, so they are linked."""
    shutil.copytree(record.lake_files, settings.lake_files, copy_function=os.link)
    for file in Path(record.lake_catalog).parent.glob("catalog.sqlite*"):
        shutil.copy(file, Path(settings.lake_catalog).parent)


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


def _collect(settings: Settings, events: int) -> Collected:
    """All events by a collector process; its time counts from its first commit on."""
    variables = {
        "NIGHTSHIFT_DATA": str(settings.data),
        "NIGHTSHIFT_COLLECTOR__PORT": str(settings.collector.port),
        "NIGHTSHIFT_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
        "NIGHTSHIFT_KAFKA__PREFIX": settings.kafka.prefix,
    }
    with closing(open_log(settings)) as log:
        name = log.identity()
    memory: list[tuple[int, float]] = []
    first = began = 0.0
    with running(
        (sys.executable, "-m", "collector"), settings.data / "collector.log", **variables
    ) as process:
        watched = psutil.Process(process.pid)
        with _appeared(settings) as lake:
            while not memory or memory[-1][0] < events:
                done = _recorded(lake, name)
                memory.append((done, watched.memory_info().rss / 1e6))
                if done and not began:
                    first, began = done, time.monotonic()
                time.sleep(_LOOK_S)
        seconds = (time.monotonic() - began) * events / max(events - first, 1)
    early = max(size for done, size in memory if done <= events / 10 or done == first)
    return Collected(seconds, early, max(size for _, size in memory))


def _appeared(settings: Settings) -> Lake:
    """The record as soon as the collector has made it. Opened once: that takes as much as ten commits do."""
    deadline = time.monotonic() + 60.0
    while True:
        try:
            return Lake.open(settings)
        except LakeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_S)


def _recorded(lake: Lake, log: str) -> int:
    """Interactions that are in the record: others may be there from before, of another log."""
    offsets = lake.offsets(log)
    return sum(offset for partition, offset in offsets.items() if partition.topic == Topic.INTERACTIONS)


def _insert(settings: Settings, folder: Path) -> float:
    """Seconds to insert the same rows into the same table of a plain DuckDB file, in the same batches."""
    with Lake.open(settings) as lake:
        rows = lake.query("every_interaction")
    size = settings.collector.batch
    batches = [
        {name: [row[name] for row in rows[start : start + size]] for name in rows[0]}
        for start in range(0, len(rows), size)
    ]
    file = folder / "floor.duckdb"
    file.unlink(missing_ok=True)
    with duckdb.connect(str(file)) as plain:
        plain.execute(sql.migrations()[0].sql)
        types = {row[0]: row[1] for row in plain.execute("DESCRIBE interactions").fetchall()}
        names = ", ".join(f'"{name}"' for name in types)
        lists = ", ".join(f"unnest(${name}::{kind}[])" for name, kind in types.items())
        began = time.monotonic()
        for batch in batches:
            plain.execute(f"INSERT INTO interactions ({names}) SELECT {lists}", batch)
        return time.monotonic() - began
