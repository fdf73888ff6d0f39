"""The broker is stopped while customers ask at a steady rate: none of them notices, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from infra.eventlog.outbox import waiting_in
from infra.events import Topic
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests import brokers
from tests.agent.agents import add_knowledge
from tests.circle import ROOT, room, up
from tests.faults.load import Load, Sent, quantile, recorded, steady, until_recorded
from tests.ports import find_ports
from tests.waiting import until

# Nothing is measured before the agent, the broker and the connections are warm.
WARM_S = 3.0
# What an outage may add to the slowest of a hundred answers.
ADDED_P99_S = 0.020
PATIENCE_S = 600.0
# How often the record is asked whether it has caught up.
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Course:
    """How a run goes: requests a second, seconds before the outage, seconds of it."""

    rate: float
    before_s: float
    outage_s: float


@dataclass(frozen=True, slots=True)
class Times:
    """When the load was warm, when the broker was told to stop and had stopped, when it answered again, when
    the record had caught up; all in seconds since the epoch."""

    warm: float
    told: float
    stopped: float
    back: float
    caught_up: float

    def describe(self, sent: list[Sent]) -> str:
        spans = {
            "before": (self.warm, self.told),
            "in the outage": (self.told, self.back),
            "while catching up": (self.back, self.caught_up),
        }
        return ", ".join(
            f"{name} p50 {quantile(some, 0.5) * 1000:.1f} p99 {quantile(some, 0.99) * 1000:.1f} ms"
            for name, (begin, end) in spans.items()
            if (some := due_in(sent, begin, end))
        )

    @property
    def outage_s(self) -> float:
        return self.back - self.stopped

    @property
    def catch_up_s(self) -> float:
        return self.caught_up - self.back


def due_in(sent: list[Sent], begin: float, end: float) -> list[Sent]:
    return [one for one in sent if begin <= one.due < end]


def play(settings: Settings, broker: brokers.Broker, load: Load, course: Course) -> Times:
    """The outage, until the record holds every answer that was given before the broker was back."""
    time.sleep(WARM_S)
    warm = time.time()
    time.sleep(course.before_s)
    told = time.time()
    broker.stop()
    stopped = time.time()
    time.sleep(course.outage_s)
    broker.start()
    back = time.time()
    answered = {one.id for one in load.sent() if one.id}
    # A look into the record takes a core for half a second, which would be felt by who is measured here.
    until(lambda: shipped(settings, back), "the outbox to catch up", PATIENCE_S, 0.5)
    until(lambda: answered <= recorded(settings).ids, "the record to catch up", PATIENCE_S, LOOK_S)
    return Times(warm, told, stopped, back, time.time())


def shipped(settings: Settings, at: float) -> bool:
    """Whether the outbox holds nothing that came before a time in epoch seconds."""
    waiting = waiting_in(settings.outbox_dir, list(Topic))
    return waiting.records == 0 or waiting.oldest_at > at


@contextmanager
def engine(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The stub engine as a process of its own."""
    command = [sys.executable, str(ROOT / "tests" / "stub_engine.py"), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def busy(processes: dict[str, int], seconds: float) -> str:
    """Which part of one core each process took, in words."""
    spent = {name: psutil.Process(pid).cpu_times() for name, pid in processes.items()}
    return ", ".join(f"{name} {(cpu.user + cpu.system) / seconds:.2f}" for name, cpu in spent.items())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[brokers.Broker]:
    if why := brokers.missing_apache():
        pytest.skip(f"no Apache Kafka: {why}")
    with brokers.apache(tmp_path / "kafka", *find_ports(2), humble=True) as one:
        yield one


def test_nobody_notices_and_nothing_is_lost(
    settings: Settings,
    broker: brokers.Broker,
    tmp_path: Path,
    soak: bool,
    monkeypatch: pytest.MonkeyPatch,
    measured: Callable[[str], None],
) -> None:
    course = Course(300, 30, 180) if soak else Course(60, 4, 6)
    if not soak:  # on a machine that has much else to do, a second's requests are more than the usual bound
        monkeypatch.setenv("NIGHTSHIFT_AGENT__MAX_CONCURRENT", "1000")
    kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=3)
    settings = settings.model_copy(update={"kafka": kafka})
    add_knowledge(settings)
    with (
        engine(settings.engine.port) as stub,
        room("agent", settings) as agent,
        room("collector", settings) as collector,
    ):
        for port in (settings.agent.port, settings.collector.port):
            until(partial(up, port), f"the room at port {port}", 30.0, 0.1)
        began = time.monotonic()
        with steady(settings.agent.url, course.rate, tmp_path / "sent.jsonl") as load:
            times = play(settings, broker, load, course)
            pids = {"agent": agent.pid, "collector": collector.pid, "engine": stub.pid}
            cores = busy(pids | {"load": load.process.pid}, time.monotonic() - began)
            load.stop()
            sent = load.sent()
        answered = {one.id for one in sent if one.id}
        now = until_recorded(settings, answered)
    errors = [one.error for one in sent if one.error]
    measured(
        f"{len(sent)} requests at {course.rate:g} a second, {len(errors)} errors, {len(answered - now.ids)} "
        f"lost, {now.rows - len(now.ids)} recorded twice; outage {times.outage_s:.0f} s, caught up after "
        f"{times.catch_up_s:.1f} s; {times.describe(sent)}; cores: {cores}"
    )
    assert errors == []
    assert len(answered) == len(sent)
    assert now.rows == len(now.ids)
    if soak:
        assert times.catch_up_s <= times.outage_s
        before, outage = due_in(sent, times.warm, times.told), due_in(sent, times.told, times.back)
        assert quantile(outage, 0.99) - quantile(before, 0.99) < ADDED_P99_S
