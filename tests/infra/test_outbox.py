"""The outbox before real brokers, and before a log that fails: nothing lost or out of order, and bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from infra.errors import EventLogError
from infra.eventlog.base import EventLog, Position, Reader, StartAt, from_beginning
from infra.eventlog.kafka import KafkaEventLog
from infra.eventlog.local import LocalEventLog
from infra.eventlog.outbox import Outbox, waiting_in
from infra.eventlog.relay import Relay
from infra.eventlog.topic_file import path
from infra.sections import KafkaSettings
from tests import brokers
from tests.ports import find_ports
from tests.waiting import until

TOPICS = ("chat", "feedback")
DEADLINE_S = 30.0


class Flaky:
    """A shared log that refuses while `down`, and after so many appends of each try."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.down = threading.Event()
        self.refuse_after = 1_000_000

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        if self.down.is_set() or self.refuse_after <= 0:
            refused: Future[Position] = Future()
            refused.set_exception(EventLogError("down"))
            return refused
        self.refuse_after -= 1
        return self._log.append(topic, key, value)

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        return self._log.reader(topics, start, group)

    def identity(self) -> str:
        return self._log.identity()

    def close(self) -> None:
        pass


def left(tmp_path: Path) -> int:
    """Records that were not shipped, now; the outbox itself tells them as of a moment ago."""
    return waiting_in(tmp_path / "outbox", TOPICS).records


def everything(log: EventLog, topics: Sequence[str] = TOPICS) -> dict[str, list[str]]:
    """The values on each topic, in order."""
    found: dict[str, list[str]] = {}
    with closing(log.reader(topics, from_beginning)) as reader:
        while not reader.at_end():
            for record in reader.poll(0.2):
                found.setdefault(record.position.partition.topic, []).append(record.value.decode())
    return found


def first_of_each(values: Sequence[str]) -> list[str]:
    """Without what came again."""
    return list(dict.fromkeys(values))


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Flaky]:
    with closing(LocalEventLog(tmp_path / "shared")) as log:
        yield Flaky(log)


@contextmanager
def opened(folder: Path, shared: EventLog, limit: int = 10**9) -> Iterator[Outbox]:
    with closing(Outbox(folder, shared, TOPICS, limit, Relay(folder, shared, TOPICS))) as outbox:
        yield outbox


def test_what_was_shipped_leaves_the_outbox(tmp_path: Path, shared: Flaky) -> None:
    with opened(tmp_path / "outbox", shared) as outbox:
        for number in range(500):
            outbox.append(TOPICS[number % 2], "k", str(number).encode()).result(DEADLINE_S)
        until(lambda: left(tmp_path) == 0, "an empty outbox", DEADLINE_S)
        until(lambda: outbox.backlog.age_s == 0.0, "an empty backlog", DEADLINE_S)
        assert everything(outbox) == {
            "chat": [str(n) for n in range(0, 500, 2)], "feedback": [str(n) for n in range(1, 500, 2)]
        }  # fmt: skip


def test_an_outage_delays_and_loses_nothing(tmp_path: Path, shared: Flaky) -> None:
    shared.down.set()
    with opened(tmp_path / "outbox", shared) as outbox:
        for number in range(100):
            outbox.append("chat", "k", str(number).encode()).result(DEADLINE_S)
        until(lambda: outbox.backlog.records == 100, "the backlog", DEADLINE_S)
        assert 0 < outbox.backlog.age_s < DEADLINE_S
        assert outbox.backlog.bytes > 0
        assert everything(outbox) == {}
        shared.down.clear()
        until(lambda: left(tmp_path) == 0, "an empty outbox", DEADLINE_S)
        assert everything(outbox) == {"chat": [str(n) for n in range(100)]}


def test_after_a_refusal_in_the_middle_it_goes_on_in_order(tmp_path: Path, shared: Flaky) -> None:
    shared.refuse_after = 37
    with opened(tmp_path / "outbox", shared) as outbox:
        for number in range(100):
            outbox.append("chat", "k", str(number).encode()).result(DEADLINE_S)
        until(lambda: shared.refuse_after == 0, "the refusal", DEADLINE_S)
        shared.refuse_after = 1000
        until(lambda: left(tmp_path) == 0, "an empty outbox", DEADLINE_S)
        assert first_of_each(everything(outbox)["chat"]) == [str(n) for n in range(100)]


def test_a_restart_ships_what_was_left(tmp_path: Path, shared: Flaky) -> None:
    shared.down.set()
    with opened(tmp_path / "outbox", shared) as outbox:
        for number in range(10):
            outbox.append("chat", "k", str(number).encode()).result(DEADLINE_S)
    shared.down.clear()
    with opened(tmp_path / "outbox", shared) as outbox:
        until(lambda: left(tmp_path) == 0, "an empty outbox", DEADLINE_S)
        assert everything(outbox) == {"chat": [str(n) for n in range(10)]}


def test_a_full_outbox_refuses_with_the_next_step_and_recovers(tmp_path: Path, shared: Flaky) -> None:
    shared.down.set()
    with opened(tmp_path / "outbox", shared, limit=200_000) as outbox:
        taken = 0

        def refused() -> str:
            nonlocal taken
            future = outbox.append("chat", "k", bytes(10_000))
            if error := future.exception(DEADLINE_S):
                return str(error)
            taken += 1
            return ""

        until(lambda: bool(refused()), "a refusal", DEADLINE_S)
        assert "outbox_gb" in refused()
        assert taken >= 10
        shared.down.clear()
        until(lambda: not refused(), "room again", DEADLINE_S)


def test_its_file_does_not_grow_with_what_was_shipped(tmp_path: Path, shared: Flaky) -> None:
    with opened(tmp_path / "outbox", shared) as outbox:
        for _ in range(8):
            for future in [outbox.append("chat", "k", bytes(50_000)) for _ in range(20)]:
                future.result(DEADLINE_S)
            until(lambda: left(tmp_path) == 0, "an empty outbox", DEADLINE_S)
        assert path(tmp_path / "outbox", "chat").stat().st_size < 8 * 20 * 50_000 / 3


@pytest.fixture(params=["apache", "tansu"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[brokers.Broker]:
    """A broker of the test's own, not started."""
    if request.param == "tansu":
        with brokers.tansu(tmp_path / "tansu", *find_ports(1)) as one:
            one.stop()
            yield one
    else:
        if why := brokers.missing_apache():
            pytest.skip(f"no Apache Kafka: {why}")
        with brokers.apache(tmp_path / "apache", *find_ports(2)) as one:
            one.stop()
            yield one


def test_no_broker_at_the_start_and_none_in_the_middle(tmp_path: Path, broker: brokers.Broker) -> None:
    kafka = KafkaSettings(bootstrap=broker.bootstrap, partitions=2)
    with opened(tmp_path / "outbox", KafkaEventLog(kafka, delivery_s=3600)) as outbox:

        def say(numbers: range) -> None:
            for number in numbers:
                for key in ("a", "b", "c"):
                    outbox.append("chat", key, f"{key} {number}".encode()).result(1.0)

        say(range(50))
        broker.start()
        until(lambda: left(tmp_path) == 0, "the first to arrive", DEADLINE_S)
        before = everything(outbox, ["chat"])["chat"]
        assert len(set(before)) == 150
        broker.stop()
        say(range(50, 100))
        broker.start()
        until(lambda: left(tmp_path) == 0, "the rest to arrive", DEADLINE_S)
        after = everything(outbox, ["chat"])["chat"]
        wanted = range(0 if broker.durable else 50, 100)
        for key in ("a", "b", "c"):
            mine = first_of_each([value for value in after if value.startswith(key)])
            assert mine == [f"{key} {number}" for number in wanted]
