"""`nightshift doctor`: looks at a machine and a data folder, and says what is wrong and what to do.

It only looks: nothing is created, mended or stopped. Each check is a function of what it looks at, so a
deployment's smoke test may ask the same.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from infra.addresses import is_here, is_loopback
from infra.dashboard.rooms import ask
from infra.doctor.finding import Finding, State
from infra.doctor.record import event_log, lag, lake, machines, outbox
from infra.errors import AdapterError, NightshiftError, NotFound
from infra.keys import KeyStore
from infra.process import Folders, holder
from infra.registry import Registry
from infra.settings import Settings, load
from infra.supervisor import processes

__all__ = [
    "Finding",
    "adapters",
    "allocator",
    "base_model",
    "disk",
    "doors",
    "event_log",
    "examine",
    "healthy",
    "lag",
    "lake",
    "machines",
    "memory",
    "outbox",
    "python",
    "rooms",
    "suites",
    "torch_companions",
    "vectors",
]

# A base model, a night's checkpoints and a month's record of a small business, in GB (10^9 bytes).
_DISK_GB = 5.0
_DISK_FULL_GB = 1.0
# Engine and fine-tuning of a small model, at the same time.
_MEMORY_GB = 6.0
_ALLOCATOR = "libtcmalloc_minimal.so.4"


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
        suites(settings),
        *doors(settings, bool(_keys(settings))),
        *rooms(settings),
        machines(settings),
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


def suites(settings: Settings) -> Finding:
    """Whether a night has anything to be judged by; what the cases are, the trainer tells."""
    files = sorted(settings.suites_dir.glob("*.jsonl"))
    lines = sum(bool(line.strip()) for file in files for line in file.read_bytes().splitlines())
    message = f"{lines} questions with right answers in {settings.suites_dir}"
    if lines >= settings.trainer.min_cases:
        return Finding("suites", "ok", message)
    step = "Add some from a spreadsheet: nightshift suite add COLLECTION questions.csv"
    needed = f"gates ask for {settings.trainer.min_cases}, so every night ends with 'not enough data'"
    return Finding("suites", "warn", f"{message}: {needed}", step)


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
