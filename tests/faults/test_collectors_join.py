"""Three collectors of one group join, leave, die and stall while events flow: each event is recorded once."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import pytest

from infra.eventlog import open_log
from infra.sections import KafkaSettings, LakeSettings
from infra.settings import Settings
from tests.faults.flow import PATIENCE_S, Flow, collector, held
from tests.ports import find_ports
from tests.waiting import until

MEMBERS = 3
# Longer than the group waits for a member: its partitions are another's when it wakes with a batch in hand.
STALL_S = 13.0


@pytest.fixture
def shared(settings: Settings, postgres_catalog: str, bootstrap: Callable[[str], str]) -> Settings:
    """Settings of a group: Kafka between them, a catalog in PostgreSQL."""
    prefix = f"group-{time.time_ns()}."
    kafka = KafkaSettings(bootstrap=bootstrap("apache"), prefix=prefix, partitions=6)
    return settings.model_copy(update={"kafka": kafka, "lake": LakeSettings(catalog=postgres_catalog)})


class Group:
    """The collectors' processes, each in its place with a port of its own."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._ports = find_ports(MEMBERS)
        self.members = [self._start(place) for place in range(MEMBERS)]

    def change(self, place: int, how: signal.Signals) -> None:
        """One leaves, by order or by a kill, and another takes its place."""
        self.members[place].send_signal(how)
        self.members[place].wait(PATIENCE_S)
        self.members[place] = self._start(place)

    def stall(self, place: int) -> None:
        """One stops in the middle of whatever it does, until its partitions are given to others."""
        self.members[place].send_signal(signal.SIGSTOP)
        time.sleep(STALL_S)
        self.members[place].send_signal(signal.SIGCONT)

    def _start(self, place: int) -> subprocess.Popen[bytes]:
        return self._stack.enter_context(collector(self._settings, self._ports[place], batch=500))


def test_joining_and_leaving_loses_nothing_and_doubles_nothing(
    shared: Settings, soak: bool, measured: Callable[[str], None]
) -> None:
    changes, events, seconds = (50, 300_000, 350.0) if soak else (4, 6000, 15.0)
    stalls, chance = (5 if soak else 1), random.Random(1)
    with closing(open_log(shared)) as log, ExitStack() as stack:
        flow, group = Flow(log), Group(shared, stack)
        began = time.monotonic()
        with flow.running(events, seconds):
            until(lambda: held(shared).rows > 0, "the first commit", PATIENCE_S)
            for number in range(changes):
                group.change(number % MEMBERS, chance.choice([signal.SIGTERM, signal.SIGKILL]))
                time.sleep(chance.uniform(0.5, 3.0))
            for number in range(stalls):
                group.stall(number % MEMBERS)
        until(lambda: held(shared).ids == events, "every event", PATIENCE_S)
        took = time.monotonic() - began
        time.sleep(2.0)  # a double would come late
        now = held(shared)
        assert [member.poll() for member in group.members] == [None] * MEMBERS
    measured(
        f"{changes} changes and {stalls} stalls of {MEMBERS} collectors in {events:,} events, {took:.0f} s: "
        f"{events - now.ids} lost, {now.rows - now.ids} doubled"
    )
    assert now == (events, events, 0)
