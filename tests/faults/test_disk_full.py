"""A disk that is really full: it is told loudly, nothing is torn, and with room all goes on by itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.dashboard.asking import Probe
from infra.process import Process
from infra.registry import Registry
from infra.sections import KafkaSettings
from infra.settings import Settings, child_environment
from infra.supervisor import Supervisor
from tests import brokers, lora_adapters
from tests.agent.agents import add_knowledge
from tests.circle import ROOT, up
from tests.faults.disk import Disk, disk
from tests.faults.load import Load, Recorded, Sent, steady
from tests.faults.test_broker_stopped import engine
from tests.waiting import until

RATE = 40.0
# Answers before the disk is full, and after there is room again.
SOME = 40
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """Which folder is on the small disk, and which room tells that it is full, by which metric."""

    folder: str
    room: str
    metric: str
    kafka: bool = False

    @property
    def refuses(self) -> bool:
        """Whether customers are refused while it is full: only where their answers could not be kept."""
        return self.room == "agent"


CASES = {
    "log": Case("log", "agent", "nightshift_unrecorded_total"),
    "outbox": Case("outbox", "agent", "nightshift_unrecorded_total", kafka=True),
    "lake": Case("lake", "collector", "nightshift_commit_failures_total"),
}


class Service:
    """Agent and collector, which see the disk, kept running as `nightshift up` does."""

    def __init__(self, settings: Settings, on: Disk) -> None:
        self._on = on
        self._ports = {"agent": settings.agent.port, "collector": settings.collector.port}
        self._environment = {
            "NIGHTSHIFT_DATA": str(settings.data),
            "NIGHTSHIFT_MODELS": str(ROOT / "models"),
            "NIGHTSHIFT_KAFKA__BOOTSTRAP": settings.kafka.bootstrap,
            "NIGHTSHIFT_KAFKA__PREFIX": "full.",
            "NIGHTSHIFT_ENGINE__PORT": str(settings.engine.port),
            "NIGHTSHIFT_TRAINER__PORT": str(settings.trainer.port),
            "NIGHTSHIFT_DASHBOARD__PORT": str(settings.dashboard.port),
        } | {f"NIGHTSHIFT_{name.upper()}__PORT": str(port) for name, port in self._ports.items()}
        processes = [
            Process(name, on.command(sys.executable, "-m", name), Probe("127.0.0.1", port))
            for name, port in self._ports.items()
        ]
        self.supervisor = Supervisor(processes, settings.data, self._environment)

    def pid(self, room: str) -> str:
        """Changes when the room is started again."""
        return self.supervisor.folders.pid_file(room).read_text()

    def said(self, room: str) -> str:
        return self.supervisor.folders.log(room).read_text()

    def ready(self, room: str) -> bool:
        return up(self._ports[room])

    def metric(self, room: str, name: str) -> float:
        """The sum over its labels; 0 where the room does not answer."""
        url = f"http://127.0.0.1:{self._ports[room]}/metrics"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
            return sum(float(line.split()[-1]) for line in lines if line.startswith(name))
        return 0.0

    def recorded(self) -> Recorded:
        """What the record holds, as a process sees it that sees the disk."""
        command = self._on.command(sys.executable, "-c", _READ)
        read = subprocess.run(
            command, env=child_environment(**self._environment), check=True, capture_output=True
        )
        ids, rows = json.loads(read.stdout)
        return Recorded(frozenset(ids), rows)


# Registers the folder that each line names; answers each with its name, or the error, and all names.
_REGISTER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from infra.errors import AdapterError
from infra.registry import Registry
registry = Registry(Path(sys.argv[1]))
for line in sys.stdin:
    try:
        name, error = registry.register(Path(line.strip()), "night", datetime.now(UTC)).name, ""
    except AdapterError as err:
        name, error = "", str(err)
    print(json.dumps([name, error, [adapter.name for adapter in registry.list()]]), flush=True)
"""
_READ = """
import json
from infra.settings import load
from tests.faults.disk import Disk, disk
from tests.faults.load import recorded
now = recorded(load())
print(json.dumps([sorted(now.ids), now.rows]))
"""


def check_sound(folder: Path) -> None:
    """Every SQLite file in the folder is whole."""
    files = sorted(folder.glob("*.sqlite"))
    assert files
    for file in files:
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], file


@contextmanager
def serving(settings: Settings, on: Disk, file: Path) -> Iterator[tuple[Service, Load]]:
    """The service with customers, once it has answered some."""
    service = Service(settings, on)
    with engine(settings.engine.port), service.supervisor as supervisor:
        supervisor.wait_ready(PATIENCE_S)
        with steady(settings.agent.url, RATE, file) as load:
            until(lambda: answers(load) >= SOME, "answers")
            yield service, load


def answers(load: Load) -> int:
    return sum(bool(one.id) for one in load.sent())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a full disk did. `again` counts events that came more than once over the log."""

    sent: list[Sent]
    now: Recorded
    full_s: float
    answered_s: float
    ready: bool
    restarted: list[str]
    again: float

    @property
    def told(self) -> set[str]:
        return {one.id for one in self.sent if one.id}

    @property
    def errors(self) -> list[str]:
        return [one.error for one in self.sent if one.error]

    def describe(self) -> str:
        ids, told = self.now.ids, self.told
        return (
            f"{self.full_s:.0f} s: {len(self.sent)} requests, {len(told)} told, {len(self.errors)} refused, "
            f"{len(told - ids)} lost, {self.now.rows - len(ids)} recorded twice, {len(ids - told)} recorded "
            f"and not told, {self.again:.0f} came again over the log; answers again after "
            f"{self.answered_s:.2f} s; {'ready' if self.ready else 'not ready'} meanwhile; restarted: "
            f"{', '.join(self.restarted) or 'nothing'}"
        )


def told_of(said: str, folder: str) -> bool:
    """Whether a line of a log names the place that is full and what to do."""
    return any("disk has room" in line and f"/data/{folder}/" in line for line in said.splitlines())


def suffer(case: Case, on: Disk, service: Service, load: Load, hold_s: float) -> Outcome:
    """Fills the disk, waits for the alarm, makes room after `hold_s`, and waits for everything to go on."""
    pids = {room: service.pid(room) for room in ("agent", "collector")}
    begun = time.time()
    on.fill()
    until(lambda: service.metric(case.room, case.metric) > 0, "a metric")
    until(lambda: told_of(service.said(case.room), case.folder), "an alarm")
    if case.refuses:
        until(lambda: len(load.sent()) - answers(load) >= 10, "refusals")
    ready = service.ready(case.room)
    time.sleep(hold_s)
    on.free()
    freed = time.time()

    def since() -> list[float]:
        """When answers came to what was asked since there is room."""
        return [one.due + one.seconds for one in load.sent() if one.id and one.due > freed]

    until(lambda: len(since()) >= SOME, "answers again")
    load.stop()
    sent = load.sent()
    told = {one.id for one in sent if one.id}
    until(lambda: told <= service.recorded().ids, "the record")
    until(lambda: service.ready(case.room), "its readiness")
    return Outcome(
        sent=sent,
        now=service.recorded(),
        full_s=freed - begun,
        answered_s=min(since()) - freed,
        ready=ready,
        restarted=[room for room, pid in pids.items() if service.pid(room) != pid],
        again=service.metric("collector", "nightshift_duplicates_total"),
    )


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_it_is_told_loudly_and_nothing_told_is_lost(
    case: Case,
    settings: Settings,
    bootstrap: Callable[[str], str],
    tmp_path: Path,
    soak: bool,
    measured: Callable[[str], None],
) -> None:
    add_knowledge(settings)
    with disk(settings.data / case.folder) as on:
        if case.kafka:
            kind = "tansu" if brokers.missing_apache() else "apache"
            settings = settings.model_copy(update={"kafka": KafkaSettings(bootstrap=bootstrap(kind))})
        with serving(settings, on, tmp_path / "sent.jsonl") as (service, load):
            outcome = suffer(case, on, service, load, hold_s=60.0 if soak else 1.0)
        shutil.copytree(on.seen, tmp_path / "left")
    measured(f"{case.folder} full for {outcome.describe()}")
    check_sound(tmp_path / "left")
    refusals = [error for error in outcome.errors if error.startswith("503 ") and "not_recorded" in error]
    assert refusals == outcome.errors
    assert bool(refusals) == case.refuses
    assert outcome.now.rows == len(outcome.now.ids)
    assert outcome.now.ids == outcome.told
    assert outcome.restarted == []


def test_an_adapter_is_registered_whole_or_not_at_all(
    settings: Settings, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    source = lora_adapters.write(tmp_path / "source", scale=0.1)
    size = sum(file.stat().st_size for file in source.iterdir())
    with disk(settings.adapters_dir, 8) as on:
        command = on.command(sys.executable, "-c", _REGISTER, str(settings.adapters_dir))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as trainer:
            assert trainer.stdin and trainer.stdout

            def register() -> tuple[str, str, list[str]]:
                assert trainer.stdin and trainer.stdout
                trainer.stdin.write(f"{source}\n".encode())
                trainer.stdin.flush()
                name, error, known = json.loads(trainer.stdout.readline())
                return name, error, known

            refused = []
            for leave in (0, size // 2, size):  # no room at all, for a half of it, for all but the manifest
                on.fill(leave)
                name, error, known = register()
                left = sorted(file.name for file in on.seen.iterdir())
                assert (name, known, left) == ("", [], ["filler"])
                assert str(settings.adapters_dir) in error
                refused.append(error)
                on.free()
            name, error, known = register()
        shutil.copytree(on.seen, tmp_path / "left")
    measured(f"adapters full: {len(refused)} tries refused, 0 in pieces, then registered; said: {refused[0]}")
    assert (error, known) == ("", [name])
    Registry(tmp_path / "left").verify(name)
