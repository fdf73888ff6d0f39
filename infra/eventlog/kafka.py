"""The event log of many machines: Kafka. `kafka_producer` appends, `kafka_reader` reads."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from infra.errors import EventLogError
from infra.eventlog import topic_file
from infra.eventlog.appends import Append, Appends
from infra.eventlog.base import Position, Reader, StartAt
from infra.eventlog.kafka_client import cluster_id
from infra.eventlog.kafka_producer import Producer, refuse
from infra.eventlog.kafka_reader import KafkaReader
from infra.sections import KafkaSettings

# As the broker's own default (message.max.bytes, which counts a few bytes of its own).
_LARGEST_VALUE = 1_000_000


class KafkaEventLog:
    """Implements `EventLog`. An append is done when all in-sync replicas have it.

    A thread of its own talks to the producer, which may block; it connects at the first append, so that a
    room starts without a broker. Retries are neither doubled nor reordered. `delivery_s` is how long they go
    on before an append fails; `impatient` ends them as soon as no broker listens. A `member` of a group that
    dies and is back within 10 s gets its partitions again at once; a nameless one waits until its old self
    has expired.
    """

    def __init__(
        self, settings: KafkaSettings, delivery_s: float = 30.0, member: str = "", *, impatient: bool = False
    ) -> None:
        self._settings = settings
        self._member = member
        self._identity = ""
        self._producer = Producer(settings, delivery_s, impatient=impatient)
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
        self._producer.close()

    def _write(self, batch: list[Append]) -> None:
        try:
            for append in batch:
                self._producer.send(append)
        except Exception as err:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            # All that wait fail together: none may overtake one that was refused before it.
            for append in batch:
                refuse(append, err, self._settings)
