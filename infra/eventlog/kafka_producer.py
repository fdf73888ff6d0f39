"""The idempotent producer behind the event log of Kafka, replaced by a new one once it has failed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

import kafka.errors
from kafka import KafkaProducer

from infra.errors import EventLogError
from infra.eventlog.appends import Append
from infra.eventlog.base import Partition, Position
from infra.eventlog.kafka_client import (
    check_reachable,
    config,
    create_topics,
    explain,
    full_name,
    unreachable,
)
from infra.events import DEAD_LETTER_TOPIC, Topic
from infra.sections import KafkaSettings

# A broker that takes longer than this to tell who leads a topic is down.
_BLOCK_MS = 5000
# A room that is told to stop gives what is on its way this long.
_CLOSE_S = 10.0
# How often an impatient producer is looked after, and how long a record may wait before somebody is asked.
_LOOK_S = 1.0


class Producer:
    """Sends records, and tells their futures what became of them. `send` is called by one thread.

    An `impatient` one is given up as soon as nobody listens at the brokers' addresses: all that waits is
    refused. For an outbox, which sends it again; others are told only after `delivery_s`.
    """

    def __init__(self, settings: KafkaSettings, delivery_s: float, *, impatient: bool) -> None:
        self._settings = settings
        self._delivery_s = delivery_s
        self._impatient = impatient
        self._client: _Client | None = None
        self._topics: set[str] = set()  # that are known to exist
        self._failed = threading.Event()  # the client; some of its errors never end
        self._closed = threading.Event()
        self._since: dict[Future[Position], float] = {}  # when what waits was sent
        self._watch: threading.Thread | None = None

    def send(self, append: Append) -> None:
        """Hands the record to the client.

        Raises:
            EventLogError: no broker answers, or it cannot be asked for the topic.
        """
        client = self._connect(append.topic)
        self._since[append.future] = time.monotonic()
        try:
            sent = client.send(full_name(self._settings, append.topic), append.value, append.key.encode())
        except kafka.errors.KafkaError as err:
            self._since.pop(append.future, None)
            raise unreachable(self._settings, err) from err
        sent.add_callback(partial(self._acknowledged, append))
        sent.add_errback(partial(self._refused, append))

    def close(self) -> None:
        """Gives what is on its way some time, then lets go. A second call does nothing."""
        self._closed.set()
        if self._client:
            self._client.close(timeout=min(self._delivery_s, _CLOSE_S))
            self._client = None
        if self._watch:
            self._watch.join()

    def _connect(self, topic: str) -> _Client:
        """The client, with `topic` known to exist. A failed one is let go with all it still holds."""
        if self._failed.is_set() and self._client:
            self._client.close(timeout=0)
            self._client = None
            self._topics.clear()
        self._failed.clear()
        if topic not in self._topics:
            wanted = {*Topic, DEAD_LETTER_TOPIC, topic}
            create_topics(self._settings, tuple(wanted))
            self._topics |= wanted
        if self._client is None:
            self._client = self._begin()
            if self._impatient and not self._watch:
                self._watch = threading.Thread(target=self._look, name="kafka-watch", daemon=True)
                self._watch.start()
        return self._client

    def _begin(self) -> _Client:
        try:
            return _Client(
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

    def _look(self) -> None:
        """Gives the client up once nobody listens.

        While a partition has no leader, the client's thread asks for one without pause: a whole core, which
        customers would feel (kafka-python 3.0.12; 0.7 to 0.8 of a core instead of 0.2 to 0.3 for the agent).
        """
        while not self._closed.wait(_LOOK_S):
            client, oldest = self._client, min(list(self._since.values()), default=time.monotonic())
            if client and not self._failed.is_set() and time.monotonic() - oldest > _LOOK_S:
                try:
                    check_reachable(self._settings)
                except EventLogError:
                    self._failed.set()
                    client.close(timeout=0)

    def _acknowledged(self, append: Append, metadata: Any) -> None:  # Any: kafka-python's
        self._since.pop(append.future, None)
        if not append.future.done():
            append.future.set_result(Position(Partition(append.topic, metadata.partition), metadata.offset))

    def _refused(self, append: Append, err: Exception) -> None:
        self._since.pop(append.future, None)
        self._failed.set()
        refuse(append, err, self._settings)


class _Client(KafkaProducer):  # type: ignore[misc]
    """Its own `close` begins with `flush`, and closes nothing when that takes too long."""

    def flush(self, timeout: float | None = None) -> None:
        with suppress(kafka.errors.KafkaTimeoutError):
            super().flush(timeout)


def refuse(append: Append, err: Exception, settings: KafkaSettings) -> None:
    """Ends a record's future with an error of ours, unless it has ended."""
    if not isinstance(err, EventLogError):
        err = EventLogError(f"Kafka at {settings.bootstrap} did not take a record ({explain(err)}).")
    if not append.future.done():
        append.future.set_exception(err)
