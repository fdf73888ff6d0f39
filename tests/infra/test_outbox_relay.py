"""The relay as a process of its own: kept running, ended with its holder, and gentle to who appends."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from infra.eventlog import open_outbox, topic_file
from infra.eventlog.base import EventLog, from_beginning
from infra.eventlog.local import LocalEventLog
from infra.eventlog.outbox import waiting_in
from infra.eventlog.relay import Relay
from infra.eventlog.relay_process import Order
from infra.events import Topic
from infra.sections import KafkaSettings
from infra.settings import Settings
from tests.waiting import until

DEADLINE_S = 30.0
# Holds an outbox with its relay until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from infra.eventlog import open_outbox
from infra.sections import KafkaSettings
from infra.settings import Settings
outbox = open_outbox(Settings(data=Path(sys.argv[1]), kafka=KafkaSettings(bootstrap=sys.argv[2])))
print(outbox.append("feedback", "k", b"a").result().offset, flush=True)
time.sleep(600)
"""


@pytest.fixture
def shipped(settings: Settings, bootstrap: Callable[[str], str]) -> Settings:
    """Settings with an outbox before a broker."""
    kafka = KafkaSettings(bootstrap=bootstrap("tansu"), prefix=f"relay{settings.agent.port}.", partitions=1)
    return settings.model_copy(update={"kafka": kafka})


def relays(holder: int) -> list[psutil.Process]:
    """The running relays of a process."""
    return [
        child
        for child in psutil.Process(holder).children()
        if child.status() != psutil.STATUS_ZOMBIE and "infra.eventlog.relay" in child.cmdline()
    ]


def left(settings: Settings) -> int:
    return waiting_in(settings.outbox_dir, list(Topic)).records


def values(log: EventLog, topic: str) -> list[bytes]:
    found: list[bytes] = []
    with closing(log.reader([topic], from_beginning)) as reader:
        while not reader.at_end():
            found += [record.value for record in reader.poll(0.2)]
    return found


def test_it_is_started_again_and_ships_what_came_meanwhile(shipped: Settings) -> None:
    with closing(open_outbox(shipped)) as outbox:
        outbox.append("feedback", "k", b"a").result(DEADLINE_S)
        until(lambda: left(shipped) == 0, "the first to arrive", DEADLINE_S)
        (first,) = relays(psutil.Process().pid)
        first.kill()
        outbox.append("feedback", "k", b"b").result(DEADLINE_S)
        until(lambda: left(shipped) == 0, "the second to arrive", DEADLINE_S)
        (second,) = relays(psutil.Process().pid)
        assert second.pid != first.pid
        assert values(outbox, "feedback") == [b"a", b"b"]
    assert not second.is_running()


@contextmanager
def holder(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds an outbox before a broker that does not answer, at work."""
    command = [sys.executable, "-c", HOLDER, str(settings.data), f"127.0.0.1:{settings.engine.port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"0\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "terminate"])
def test_it_ends_with_its_holder_and_the_next_one_ships_at_once(
    shipped: Settings, number: signal.Signals
) -> None:
    with holder(shipped) as process:
        until(lambda: len(relays(process.pid)) == 1, "a relay", DEADLINE_S)
        (relay,) = relays(process.pid)
        process.send_signal(number)
        process.wait()
        with closing(open_outbox(shipped)) as outbox:
            until(lambda: left(shipped) == 0, "what was left to arrive", DEADLINE_S)
            assert values(outbox, "feedback") == [b"a"]
        until(lambda: not relay.is_running(), "the end of the relay", DEADLINE_S)


def test_a_signal_to_the_whole_group_leaves_it_to_its_holder(shipped: Settings) -> None:
    with closing(open_outbox(shipped)) as outbox:
        outbox.append("feedback", "k", b"a").result(DEADLINE_S)
        until(lambda: left(shipped) == 0, "the first to arrive", DEADLINE_S)
        (relay,) = relays(psutil.Process().pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            relay.send_signal(number)
        outbox.append("feedback", "k", b"b").result(DEADLINE_S)
        until(lambda: left(shipped) == 0, "the second to arrive", DEADLINE_S)
        assert relays(psutil.Process().pid) == [relay]


def test_passwords_reach_it_and_nobody_else(tmp_path: Path) -> None:
    secret = SecretStr("a b\n'c'")
    kafka = KafkaSettings(bootstrap="a:1,b:2", partitions=3, password=secret, key_password=SecretStr("d"))
    order = Order(tmp_path, kafka)
    assert Order.decode(order.encode()) == order
    assert order.encode().count(b"\n") == 1
    assert "'c'" not in repr(order)


def test_what_was_shipped_and_could_not_be_deleted_is_not_shipped_again(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    file = topic_file.path(folder, "chat")
    with closing(LocalEventLog(folder)) as local, closing(LocalEventLog(tmp_path / "shared")) as shared:
        local.append("chat", "k", b"a").result(DEADLINE_S)
        with closing(sqlite3.connect(file)) as connection:
            refuse = "CREATE TRIGGER no BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'no room'); END"
            connection.execute(refuse)
            with closing(Relay(folder, shared, ["chat"])):
                until(lambda: values(shared, "chat") == [b"a"], "the first to arrive", DEADLINE_S)
                local.append("chat", "k", b"b").result(DEADLINE_S)
                until(lambda: len(values(shared, "chat")) > 1, "the second to arrive", DEADLINE_S)
                connection.execute("DROP TRIGGER no")
                until(lambda: topic_file.backlog(file).records == 0, "an empty outbox", DEADLINE_S)
        assert values(shared, "chat") == [b"a", b"b"]


def test_it_is_deleted_in_steps_so_that_appends_come_between(tmp_path: Path) -> None:
    with closing(LocalEventLog(tmp_path)) as local:
        futures = [local.append("chat", "k", b"a") for _ in range(2000)]
        assert [future.result(DEADLINE_S).offset for future in futures] == list(range(2000))
    file = topic_file.path(tmp_path, "chat")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            'CREATE TRIGGER no BEFORE DELETE ON records WHEN old."offset" = 1500 '
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(sqlite3.Error, match="no"):
            topic_file.delete(file, 1900)
        # What was deleted before the failure stays deleted: it was more than one transaction.
        assert 500 <= topic_file.backlog(file).records < 1000
        connection.execute("DROP TRIGGER no")
        topic_file.delete(file, 1900)
        assert topic_file.backlog(file).records == 100
