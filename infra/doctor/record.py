"""The doctor's look at what is told and kept: the event log, the outbox, the lake, and how far they reach."""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra.doctor.finding import Finding
from infra.errors import EventLogError, LakeError
from infra.eventlog import open_log
from infra.eventlog.base import EventLog, from_beginning
from infra.eventlog.outbox import waiting_in
from infra.events import Topic
from infra.settings import Settings

# Events that a healthy collector has not recorded yet; it commits twice a second.
_LAG = 1000
# Seconds that an event may be on its way to Kafka.
_LATE_S = 60.0
_REPLAY = "Stop the collector and build the record anew from the event log: nightshift collector replay"


def machines(settings: Settings) -> Finding:
    """How far this service may grow as it is set, and what the next step would be."""
    kafka = bool(settings.kafka.bootstrap)
    postgres, elsewhere = settings.lake.catalog.startswith("postgres:"), "://" in settings.lake.files
    if not kafka:
        step = "For agents on more machines: set kafka.bootstrap (README, More than one machine)."
        return Finding("machines", "ok", "one: rooms tell each other by files", step)
    if not postgres:
        step = "For more collectors: set lake.catalog to a PostgreSQL and lake.files to an S3 store."
        return Finding("machines", "ok", "many agents, one collector", step)
    if not elsewhere:
        step = f"Set lake.files to an S3 store, unless every machine sees {settings.lake_files}."
        return Finding("machines", "warn", "many agents; collectors where the record's folder is", step)
    return Finding("machines", "ok", "many agents, many collectors")


def event_log(settings: Settings) -> Finding:
    if settings.kafka.bootstrap and (left := waiting_in(settings.log_dir, list(Topic))).records:
        message = f"{left.records} events of the time before Kafka lie in {settings.log_dir}"
        step = f"Stop the agent, `mv {settings.log_dir} {settings.outbox_dir}`, start it: it ships them."
        return Finding("event log", "fail", message, step)
    if not settings.kafka.bootstrap and not settings.log_dir.is_dir():
        return Finding("event log", "ok", "nothing was written yet")
    try:
        with closing(open_log(settings)) as log:
            total = _end(log)
    except EventLogError as err:
        return Finding("event log", "fail", str(err), _log_step(settings))
    return Finding("event log", "ok", f"{total} events")


def _log_step(settings: Settings) -> str:
    if settings.kafka.bootstrap:
        return "Start the brokers. Chat goes on meanwhile, and what was said waits in the outbox."
    return f"Look at {settings.log_dir} and the disk below it."


def outbox(settings: Settings) -> list[Finding]:
    """Whether this machine's events reach Kafka; nothing to look at without it."""
    if not settings.kafka.bootstrap:
        return []
    waiting = waiting_in(settings.outbox_dir, list(Topic))
    if waiting.age_s < _LATE_S:
        return [Finding("outbox", "ok", f"{waiting.records} events on their way")]
    late = f"{waiting.records} events wait, the oldest for {waiting.age_s:.0f} s"
    step = "Look whether the brokers answer, and whether an agent runs here, which ships them."
    return [Finding("outbox", "warn", late, step)]


def lake(settings: Settings) -> Finding:
    """Whether the record can be read, and how far behind the event log it is."""
    if find_spec("duckdb") is None:
        return Finding("lake", "ok", "not looked at: DuckDB is not installed here")
    from infra.lake import Lake  # noqa: PLC0415 - DuckDB is not on every room's machine

    try:
        with Lake.open(settings) as record:
            if torn := _torn(record.query("files")):
                message = f"{len(torn)} files are missing or torn, {torn[0]} the first"
                return Finding("lake", "fail", message, _REPLAY)
            snapshot = record.snapshot()
            with closing(open_log(settings)) as log:
                recorded = record.offsets(log.identity())
                end = _end(log)
    except LakeError as err:
        if Path(settings.lake_catalog).is_file():
            return Finding("lake", "fail", str(err), _REPLAY)
        there = settings.log_dir.is_dir()
        step = "Start the collector: nightshift up"
        return Finding("lake", "warn" if there else "ok", str(err), step)
    except EventLogError:
        return Finding("lake", "ok", f"snapshot {snapshot}; only the event log could tell how far behind")
    return lag(end - sum(recorded.values()), snapshot)


def _torn(files: list[dict[str, Any]]) -> list[str]:
    """The record's files on this machine that are not there in their whole length."""
    here = [(Path(file["data_file"]), file["bytes"]) for file in files if "://" not in file["data_file"]]
    return [str(path) for path, size in here if not path.is_file() or path.stat().st_size != size]


def lag(events: int, snapshot: int) -> Finding:
    if events > _LAG:
        step = "Look whether the collector runs, and at its log."
        return Finding("lake", "warn", f"snapshot {snapshot}; {events} events are not recorded yet", step)
    return Finding("lake", "ok", f"snapshot {snapshot}; {max(events, 0)} events behind the log")


def _end(log: EventLog) -> int:
    with closing(log.reader(list(Topic), from_beginning)) as reader:
        return sum(reader.end_offsets().values())
