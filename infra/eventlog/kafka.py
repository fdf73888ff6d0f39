"""The event log of many machines: Kafka. This file appends; `kafka_reader` reads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import kafka.errors
from kafka import KafkaProducer

from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.appends import Append, Appends
from infra.eventlog.base import Partition, Position, Reader, StartAt
from infra.eventlog.kafka_client import (
    cluster_id,
    config,
    create_topics,
    explain,
    full_name,
    unreachable,
)
from infra.eventlog.kafka_reader import KafkaReader
from infra.events import DEAD_LETTER_TOPIC, Topic
from infra.sections import KafkaSettings

logger = logging.getLogger(__name__)

# A broker that takes longer than this to tell who leads a topic is down.
_BLOCK_MS = 5000
# A room that is told to stop gives what is on its way this long.
_CLOSE_S = 10.0
# As the broker's own default (message.max.bytes, which counts a few bytes of its own).
_LARGEST_VALUE = 1_000_000


class KafkaEventLog:
    """Implements `EventLog`. An append is done when all in-sync replicas have it.

    A thread of its own talks to the producer, which may block; it connects at the first append, so that a
    room starts without a broker. The producer is idempotent: its retries are neither doubled nor reordered.
    `delivery_s` is how long it retries before an append fails. A `member` of a group that dies and is back
    within 10 s gets its partitions again at once; a nameless one waits until its old self has expired.
    """

    def __init__(self, settings: KafkaSettings, delivery_s: float = 30.0, member: str = "") -> None:
        self._settings = settings
        self._member = member
        self._delivery_s = delivery_s
        self._producer: KafkaProducer | None = None
        self._known: set[str] = set()
        self._identity = ""
        self._failed = threading.Event()  # the producer; some of its errors never end
        self._appends = Appends("kafka-append", self._write, _LARGEST_VALUE)

    def append(self, topic: str, key: str, value: bytes) -> Future[Position]:
        """See `EventLog.append`. Cancelling the future does not take the record back."""
        return self._appends.put(topic, key, value)

    def reader(self, topics: Sequence[str], start: StartAt, group: str | None = None) -> Reader:
        """See `EventLog.reader`. It connects at its first use."""
        for name in topics:
            if refusal := topic_file.bad_name(name):
                raise EventLogError(refusal)
        return KafkaReader(self._settings, tuple(topics), start, group, self._member)

    def identity(self) -> str:
        """See `EventLog.identity`: the cluster and the topics' prefix."""
        if not self._identity:
            self._identity = f"kafka {cluster_id(self._settings)} {self._settings.prefix}"
        return self._identity

    def close(self) -> None:
        """Sends what still waits, then lets go of the producer. A second call does nothing."""
        self._appends.close()
        if self._producer:
            self._producer.close(timeout=min(self._delivery_s, _CLOSE_S))
            self._producer = None

    def _write(self, batch: list[Append]) -> None:
        try:
            for append in batch:
                self._send(append)
        except Exception as err:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            # All that wait fail together: none may overtake one that was refused before it.
            self._refuse(batch, err)

    def _send(self, append: Append) -> None:
        producer = self._connect(append.topic)
        try:
            sent = producer.send(full_name(self._settings, append.topic), append.value, append.key.encode())
        except kafka.errors.KafkaError as err:
            raise unreachable(self._settings, err) from err
        sent.add_callback(_resolve, append)
        sent.add_errback(self._fail, append)

    def _connect(self, topic: str) -> KafkaProducer:
        """The producer, with `topic` known to exist. A failed one is given up with all it still holds."""
        if self._failed.is_set() and self._producer:
            self._producer.close(timeout=0)
            self._producer = None
            self._known.clear()
        self._failed.clear()
        if topic not in self._known:
            wanted = tuple({*Topic, DEAD_LETTER_TOPIC, topic})
            create_topics(self._settings, wanted)
            self._known.update(wanted)
        if self._producer is None:
            try:
                self._producer = KafkaProducer(
                    **config(self._settings),
                    acks="all",
                    linger_ms=2,  # lets callers at the same moment share a request
                    batch_size=256 * 1024,
                    max_block_ms=_BLOCK_MS,
                    delivery_timeout_ms=round(self._delivery_s * 1000),
                    request_timeout_ms=min(30_000, round(self._delivery_s * 500)),
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            except kafka.errors.KafkaError as err:
                raise unreachable(self._settings, err) from err
        return self._producer

    def _fail(self, append: Append, err: Exception) -> None:
        self._failed.set()
        self._refuse([append], err)

    def _refuse(self, appends: Sequence[Append], err: Exception) -> None:
        if not isinstance(err, EventLogError):
            said = f"Kafka at {self._settings.bootstrap} did not take a record ({explain(err)})."
            err = EventLogError(said)
        for append in appends:
            if not append.future.done():
                append.future.set_exception(err)


def _resolve(append: Append, metadata: object) -> None:
    topic, number, offset = append.topic, metadata.partition, metadata.offset  # type: ignore[attr-defined]
    if not append.future.done():
        append.future.set_result(Position(Partition(topic, number), offset))
