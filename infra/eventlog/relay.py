"""The relay: ships an outbox to the log that all machines share, and deletes what that has acknowledged.

`python -m infra.eventlog.relay` is one as a process of its own, which `relay_process` keeps running: a client
of Kafka that looks for its broker takes a whole core, and answers must not wait for that.
"""

from __future__ import annotations

import logging
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing
from pathlib import Path

from infra import telemetry
from infra.courtesy import SHIPPING, give_way
from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.base import EventLog, Partition, Position, Reader, Record
from infra.eventlog.kafka import KafkaEventLog
from infra.eventlog.local import LocalReader
from infra.eventlog.relay_process import Order
from infra.events import Topic

logger = logging.getLogger("infra.eventlog.relay")  # also where it is the program

# Records on their way to the shared log at one time: enough to fill its batches, little to send again.
_WINDOW = 200
# Records a second at most: twice what an agent's process can answer, so that an outage is made up for in less
# time than it took. Faster, broker and collector would take the processor from customers of today.
_PACE = 1000
# Between tries while the shared log takes nothing.
_PAUSE_S = 1.0
_DELETE_S = 0.5
# How soon an end is noticed while the shared log takes its time.
_LOOK_S = 0.2
_GROUP = "relay"  # one at a time ships a folder's outbox
# The producer goes on trying over an outage, which keeps the order.
_OUTAGE_S = 3600.0


class Relay:
    """Ships `topics` of the outbox in `folder` from a thread, in order, until it is closed.

    It begins again at the first record that was not acknowledged; what is then sent twice carries the same
    event id. The shared log stays the caller's to close.
    """

    def __init__(self, folder: Path, shared: EventLog, topics: Sequence[str]) -> None:
        self._folder = folder
        self._shared = shared
        self._topics = tuple(topics)
        self._stopped = threading.Event()
        self._trouble = ""
        self._shipped: dict[str, int] = {}  # of each topic, the first offset that was not acknowledged
        self._deleted: dict[str, int] = {}  # of each topic, the first offset that was not deleted
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Deletes what was acknowledged, and ends; the rest is the next one's to ship."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with closing(LocalReader(self._folder, self._topics, self._start, _GROUP)) as reader:
                    while not self._stopped.is_set():
                        self._turn(reader)
            except (EventLogError, sqlite3.Error) as err:
                self._complain(str(err))
            except Exception:
                logger.exception("the relay failed and begins again")
            self._stopped.wait(_PAUSE_S)

    def _turn(self, reader: Reader) -> None:
        """Ships for a while, then deletes what was acknowledged.

        Raises:
            EventLogError: the shared log refused; everything from the first refused record on is still here.
        """
        until = time.monotonic() + _DELETE_S
        shipped = False
        try:
            while (left := until - time.monotonic()) > 0 and not self._stopped.is_set():
                records = reader.poll(left, _WINDOW)
                next_at = time.monotonic() + len(records) / _PACE
                shipped |= self._ship(records)
                self._stopped.wait(max(0.0, next_at - time.monotonic()))
        finally:
            self._delete()
        if shipped and self._trouble:
            logger.info("the event log takes events again")
            self._trouble = ""

    def _start(self, _: Iterable[Partition]) -> Mapping[Partition, int]:
        """What was shipped and could not be deleted yet is not shipped again."""
        return {Partition(topic): offset for topic, offset in self._shipped.items()}

    def _delete(self) -> None:
        for topic, before in self._shipped.items():
            if self._deleted.get(topic) != before:
                topic_file.delete(topic_file.path(self._folder, topic), before)
                self._deleted[topic] = before

    def _ship(self, records: Sequence[Record]) -> bool:
        """Appends them to the shared log; whether any was acknowledged, and all that followed."""
        sent = [
            (record.position, self._shared.append(record.position.partition.topic, record.key, record.value))
            for record in records
        ]
        for position, future in sent:
            if not self._acknowledged(future):
                return False
            self._shipped[position.partition.topic] = position.offset + 1
        return bool(sent)

    def _acknowledged(self, future: Future[Position]) -> bool:
        """Waits for the shared log, which may retry for long; False when told to stop meanwhile."""
        while True:
            try:
                future.result(_LOOK_S)
            except NotYet:
                if self._stopped.is_set():
                    return False
            else:
                return True

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.error("events wait in the outbox: %s", trouble)
            self._trouble = trouble


def main() -> None:
    """Ships what the order on standard input names, until that closes: it does when who holds it ends."""
    telemetry.configure("agent")
    # A terminal tells its whole group to end; whether there is still work is the holder's to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    give_way(SHIPPING)
    if line := sys.stdin.buffer.readline():
        order = Order.decode(line)
        # Not closed: that would wait for a broker, and what is on its way is sent again by the next relay.
        shared = KafkaEventLog(order.kafka, _OUTAGE_S, impatient=True)
        with closing(Relay(order.folder, shared, list(Topic))):
            sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
