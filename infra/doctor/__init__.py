"""`nightshift doctor`: looks at a machine and a data folder, and says what is wrong and what to do.

It only looks: nothing is created, mended or stopped. Each check is a function of what it looks at, so a
deployment's smoke test may ask the same.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil

from infra.addresses import is_here, is_loopback
from infra.dashboard.rooms import ask
from infra.errors import AdapterError, EventLogError, LakeError, NightshiftError, NotFound
from infra.eventlog import open_log
from infra.eventlog.base import EventLog, from_beginning
from infra.eventlog.outbox import waiting_in
from infra.events import Topic
from infra.keys import KeyStore
from infra.process import Folders, holder
from infra.registry import Registry
from infra.settings import Settings, load
from infra.supervisor import processes

State = Literal["ok", "warn", "fail"]

# A base model, a night's checkpoints and a month's record of a small business, in GB (10^9 bytes).
_DISK_GB = 5.0
_DISK_FULL_GB = 1.0
# Engine and fine-tuning of a small model, at the same time.
_MEMORY_GB = 6.0
# Events that a healthy collector has not recorded yet; it commits twice a second.
_LAG = 1000
# Seconds that an event may be on its way to Kafka.
_LATE_S = 60.0
_REPLAY = "Stop the collector and build the record anew from the event log: nightshift collector replay"
_ALLOCATOR = "libtcmalloc_minimal.so.4"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `next_step` is empty where nothing is to be done."""

    name: str
    state: State
    message: str
    next_step: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def examine(file: Path | None) -> list[Finding]:
    """All findings. When the settings cannot be read, only what needs none is looked at."""
    findings = [python(sys.version_info[:2]), torch_companions(_installed)]
    try:
        settings = load(file)
    except NightshiftError as err:
        return [*findings, Finding("settings", "fail", str(err), "Mend the settings.")]
    found = sorted(Path("/usr/lib").glob(f"*/{_ALLOCATOR}"))
    return [
        *findings,
        Finding(
            "settings", "ok", f"data in {settings.data.absolute()}, models in {settings.models.absolute()}"
        ),
        disk(shutil.disk_usage(_existing(settings.data)).free),
        memory(psutil.virtual_memory().total),
        allocator(found[0] if found else None),
        base_model(settings),
        vectors(settings),
        *doors(settings, bool(_keys(settings))),
        *rooms(settings),
        event_log(settings),
        *outbox(settings),
        lake(settings),
        *adapters(settings),
    ]


def healthy(findings: list[Finding]) -> bool:
    return all(finding.state != "fail" for finding in findings)


def python(release: tuple[int, int]) -> Finding:
    text = f"Python {release[0]}.{release[1]}"
    if release < (3, 11):
        return Finding("python", "fail", f"{text} is too old", "Use Python 3.11 or newer.")
    return Finding("python", "ok", text)


def torch_companions(installed: Callable[[str], str | None]) -> Finding:
    """Packages built for another torch make the import of the engine and of fine-tuning fail."""
    name = "torch companions"
    clash = [package for package in ("torchvision", "torchaudio", "torchcodec") if installed(package)]
    if clash and (installed("torch") or "").endswith("+cpu"):
        step = f"Remove: pip uninstall -y {' '.join(clash)}"
        return Finding(name, "fail", f"{', '.join(clash)} cannot be imported beside torch for CPU", step)
    return Finding(name, "ok", "none that clash")


def disk(free_bytes: int) -> Finding:
    gigabytes = free_bytes / 1e9
    state: State = "fail" if gigabytes < _DISK_FULL_GB else "warn" if gigabytes < _DISK_GB else "ok"
    step = "" if state == "ok" else f"Free some: {_DISK_GB:g} GB are enough for a month on one machine."
    return Finding("disk", state, f"{gigabytes:.1f} GB free", step)


def memory(total_bytes: int) -> Finding:
    gigabytes = total_bytes / 1e9
    few = gigabytes < _MEMORY_GB
    step = f"Nights may run out of it: {_MEMORY_GB:g} GB are enough for a small model." if few else ""
    return Finding("memory", "warn" if few else "ok", f"{gigabytes:.1f} GB in all", step)


def allocator(library: Path | None) -> Finding:
    if library is None:
        step = "Optional, a little faster: apt-get install libtcmalloc-minimal4"
        return Finding("allocator", "ok", "the system's own", step)
    return Finding("allocator", "ok", str(library))


def base_model(settings: Settings) -> Finding:
    folder = settings.base_model
    if list(folder.glob("*.safetensors")) and (folder / "config.json").is_file():
        return Finding("base model", "ok", str(folder))
    return Finding("base model", "fail", f"{folder} holds no model", "Assemble it: make model")


def vectors(settings: Settings) -> Finding:
    if (settings.vectors_dir / "model.safetensors").is_file():
        return Finding("static vectors", "ok", str(settings.vectors_dir))
    message = f"{settings.vectors_dir} holds none: retrieval goes by words alone and finds less"
    return Finding("static vectors", "warn", message, "Make them: make model")


def doors(settings: Settings, keys: bool) -> Iterator[Finding]:
    """Whether what listens beyond this machine asks who is there."""
    open_agent = not is_loopback(settings.agent.host)
    if open_agent and not keys:
        step = "Make one: nightshift keys create NAME; or set agent.host to 127.0.0.1."
        yield Finding(
            "API keys", "fail", f"agent.host is {settings.agent.host} and there is no API key", step
        )
    else:
        yield Finding("API keys", "ok", "there are some" if keys else "none, and only this machine can ask")
    for name in ("engine", "collector", "trainer"):
        host = getattr(settings, name).host
        if not is_loopback(host) and is_here(host):
            step = f"It asks nobody for a key: let only a private network reach {host}."
            yield Finding(f"{name} address", "warn", f"{name}.host is {host}", step)


def rooms(settings: Settings) -> list[Finding]:
    """Each room's probe, asked at once. A room that is not running is no fault: `up` was not run."""
    everything = processes(settings)
    with ThreadPoolExecutor(len(everything)) as pool:
        answers = pool.map(lambda room: ask(room.probe), everything)
        healths = dict(zip((room.name for room in everything), answers, strict=True))
    folders = Folders(settings.data / "run", settings.data / "logs")
    findings = []
    for room in everything:
        health, name = healths[room.name], room.name
        if health.state == "up":
            findings.append(Finding(name, "ok", f"ready on port {room.probe.port}"))
        elif folders.pid_file(name).exists():
            step = f"See {folders.log(name)}; it is started again by itself."
            findings.append(Finding(name, "fail", f"{health.state}: {health.detail}", step))
        elif who := holder(room.probe.port):
            step = f"Stop that, or set {name}.port."
            findings.append(Finding(name, "fail", f"port {room.probe.port} is held by {who}", step))
        else:
            step = "Start all rooms: nightshift up"
            findings.append(Finding(name, "warn", f"not running, and port {room.probe.port} is free", step))
    return findings


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


def adapters(settings: Settings) -> list[Finding]:
    """Whether each adapter is still what was registered."""
    registry = Registry(settings.adapters_dir)
    findings = []
    known = registry.list() if settings.adapters_dir.is_dir() else []
    for adapter in known:
        try:
            registry.verify(adapter.name)
        except (AdapterError, NotFound) as err:
            step = (
                f"Take it back if it serves (nightshift adapters rollback {adapter.name}), then restore it."
            )
            findings.append(Finding("adapters", "fail", str(err), step))
    return findings or [Finding("adapters", "ok", f"{len(known)}, all as they were registered")]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _keys(settings: Settings) -> tuple[object, ...]:
    return KeyStore(settings.keys_file).list()


def _end(log: EventLog) -> int:
    with closing(log.reader(list(Topic), from_beginning)) as reader:
        return sum(reader.end_offsets().values())
