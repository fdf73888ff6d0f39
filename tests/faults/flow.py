"""A flow of events for the collectors' faults, collectors as processes, and what the record holds then."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from infra.errors import LakeError
from infra.eventlog.base import EventLog
from infra.events import Event, Feedback, Interaction, Message
from infra.lake import Lake
from infra.settings import Settings, child_environment

PATIENCE_S = 120.0
# Appends on their way at one time.
_WINDOW = 5000


def said(number: int) -> Event:
    """An answer, or (every tenth) what a customer said of one: one event for each number."""
    conversation = f"c{number // 3}"
    if number % 10 == 9:
        return Event.of(Feedback(response_id=f"r{number - 1}", rating=1), f"r{number - 1}")
    prompt = (Message(role="user", content=f"question {number}"),)
    return Event.of(
        Interaction(
            response_id=f"r{number}", conversation_id=conversation, query=f"question {number}", prompt=prompt,
            answer="yes",
        ),
        conversation,
    )  # fmt: skip


class Flow:
    """Appends `said(0)`, `said(1)`, … in a thread; one in fifty twice, as a producer's retry would."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.appended = 0  # durable by now, doubles not counted

    @contextmanager
    def running(self, total: int, seconds: float) -> Iterator[None]:
        """Spreads so many events over at least so many seconds; waits for the last one at the end."""
        failures: list[BaseException] = []
        thread = threading.Thread(target=self._run, args=(total, seconds, failures), daemon=True)
        thread.start()
        yield
        thread.join(PATIENCE_S + seconds)
        assert not thread.is_alive() and not failures, failures

    def _run(self, total: int, seconds: float, failures: list[BaseException]) -> None:
        try:
            began, step = time.monotonic(), max(50, min(_WINDOW, total // 100))
            for start in range(0, total, step):
                self.append(range(start, min(total, start + step)))
                time.sleep(max(0.0, began + seconds * self.appended / total - time.monotonic()))
        except BaseException as err:  # noqa: BLE001 - told to the test's own thread
            failures.append(err)

    def append(self, numbers: range) -> None:
        """Returns when they are durable."""
        waiting: list[Future[Any]] = []
        for number in numbers:
            event = said(number)
            times = 2 if number % 50 == 0 else 1
            waiting += [self._log.append(event.topic, event.key, event.encode()) for _ in range(times)]
        for future in waiting:
            future.result(PATIENCE_S)
        self.appended += len(numbers)


class Held(NamedTuple):
    """What the record holds: rows and different ids of both topics together, and dead letters."""

    rows: int
    ids: int
    dead_letters: int


def held(settings: Settings) -> Held:
    """What it holds now; nothing while there is none."""
    try:
        with Lake.open(settings) as lake:
            row = lake.query("held")[0]
            return Held(row["n"], row["ids"], row["dead_letters"])
    except LakeError:
        return Held(0, 0, 0)


def position(settings: Settings, log: EventLog) -> int:
    """How far the record has come on the log, in records, doubles included. As quick with a million rows."""
    try:
        with Lake.open(settings) as lake:
            return sum(lake.offsets(log.identity()).values())
    except LakeError:
        return 0


@contextmanager
def collector(settings: Settings, port: int = 0, batch: int = 2000) -> Iterator[subprocess.Popen[bytes]]:
    """A collector's process, killed in the end if it still runs."""
    environment = child_environment(
        NIGHTSHIFT_DATA=str(settings.data),
        NIGHTSHIFT_KAFKA__BOOTSTRAP=settings.kafka.bootstrap,
        NIGHTSHIFT_KAFKA__PREFIX=settings.kafka.prefix,
        NIGHTSHIFT_KAFKA__PARTITIONS=str(settings.kafka.partitions),
        NIGHTSHIFT_LAKE__CATALOG=settings.lake.catalog,
        NIGHTSHIFT_COLLECTOR__PORT=str(port or settings.collector.port),
        NIGHTSHIFT_COLLECTOR__BATCH=str(batch),
        NIGHTSHIFT_COLLECTOR__INTERVAL_S="0.2",
    )
    with subprocess.Popen([sys.executable, "-m", "collector"], env=environment) as process:
        try:
            yield process
        finally:
            process.kill()
