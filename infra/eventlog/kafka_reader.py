"""Reads topics of Kafka from the offsets that the reader's owner names; the broker's own are never used."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping

import kafka.errors
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition

from infra.errors import EventLogError
from infra.eventlog.base import Partition, Position, Record, StartAt
from infra.eventlog.kafka_client import config, create_topics, full_name, unreachable
from infra.sections import KafkaSettings

logger = logging.getLogger(__name__)

# A longest wait inside the client, so that `close` and a rebalance are noticed.
_TURN_S = 0.2
# What a join of the group may take in one turn, so that it ends while somebody listens.
_JOIN_S = 1.0
# How often a reader without a group looks for topics that are not there yet, and for new partitions.
_LOOK_S = 0.5
_LOOK_AGAIN_S = 30.0
_ANSWER_MS = 10_000


class KafkaReader:
    """Implements `Reader`. Without a group it reads every partition, with one it shares them.

    It connects at the first use. What comes from a partition before `start` was asked about it is dropped
    and read again from there.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: tuple[str, ...],
        start: StartAt,
        group: str | None,
        member: str = "",
    ) -> None:
        self._settings = settings
        self._topics = {full_name(settings, topic): topic for topic in topics}
        self._start = start
        self._group = group
        self._member = member
        self._consumer: KafkaConsumer | None = None
        self._unstarted = _Assigned()
        self._looked_at = 0.0
        self._closed = threading.Event()

    def poll(self, timeout_s: float, max_records: int = 1000) -> list[Record]:
        """The next records; empty when none came in time.

        Raises:
            EventLogError: no broker answers, or the log was replaced by one that ends before our offset.
        """
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            left = max(0.0, deadline - time.monotonic())
            records = self._read(min(left, _TURN_S), max_records)
            if records or time.monotonic() >= deadline:
                return records
        return []

    def end_offsets(self) -> Mapping[Partition, int]:
        """See `Reader.end_offsets`.

        Raises:
            EventLogError: no broker answers.
        """
        return {self._partition(there): end for there, end in self._ends().items()}

    def at_end(self) -> bool:
        """See `Reader.at_end`.

        Raises:
            EventLogError: no broker answers.
        """
        self._looked_at = 0.0  # a topic may have appeared since the last look
        ends = self._ends()
        consumer = self._connect()
        try:
            self._begin(consumer)
            return all(consumer.position(there, timeout_ms=_ANSWER_MS) >= end for there, end in ends.items())
        except kafka.errors.KafkaError as err:
            raise unreachable(self._settings, err) from err

    def close(self) -> None:
        """Leaves the group and the broker, and wakes a waiting `poll`."""
        self._closed.set()
        if self._consumer:
            self._consumer.close(autocommit=False, timeout_ms=_ANSWER_MS)
            self._consumer = None

    def _ends(self) -> dict[TopicPartition, int]:
        consumer = self._connect()
        try:
            self._assign(consumer)
            ends: dict[TopicPartition, int] = consumer.end_offsets(
                list(consumer.assignment()), timeout_ms=_ANSWER_MS
            )
        except kafka.errors.KafkaError as err:
            raise unreachable(self._settings, err) from err
        return ends

    def _read(self, timeout_s: float, max_records: int) -> list[Record]:
        consumer = self._connect()
        try:
            self._assign(consumer)
            self._begin(consumer)
            if not self._group and not consumer.assignment():
                self._closed.wait(timeout_s)
                return []
            timeout_s = max(timeout_s, self._unjoined(consumer))
            found = consumer.poll(timeout_ms=round(timeout_s * 1000), max_records=max_records)
        except kafka.errors.NoOffsetForPartitionError:
            return []  # assigned within this turn; the next one asks where to begin
        except kafka.errors.OffsetOutOfRangeError as err:
            self._recover(consumer, err)
            return []
        except kafka.errors.KafkaError as err:
            raise unreachable(self._settings, err) from err
        records: list[Record] = []
        for there, some in found.items():
            if there not in self._unstarted:
                partition = self._partition(there)
                for one in some:
                    at = Position(partition, one.offset)
                    records.append(Record(at, _text(one.key), one.value or b"", one.timestamp / 1000))
        return records

    def _connect(self) -> KafkaConsumer:
        if self._consumer is None:
            if self._group:  # a subscription to what does not exist yet may wait for long
                create_topics(self._settings, tuple(self._topics.values()))
            try:
                self._consumer = KafkaConsumer(
                    **config(self._settings),
                    group_id=self._settings.prefix + self._group if self._group else None,
                    group_instance_id=self._member or None if self._group else None,
                    enable_auto_commit=False,
                    auto_offset_reset="none",
                    fetch_max_wait_ms=200,
                    max_partition_fetch_bytes=4 * 1024 * 1024,
                    session_timeout_ms=10_000,  # how soon another member takes over from one that died
                    metadata_max_age_ms=round(_LOOK_AGAIN_S * 1000),
                    allow_auto_create_topics=False,
                    metrics_enabled=False,
                )
            except kafka.errors.KafkaError as err:
                raise unreachable(self._settings, err) from err
            if self._group:
                self._consumer.subscribe(topics=list(self._topics), listener=self._unstarted)
        return self._consumer

    def _assign(self, consumer: KafkaConsumer) -> None:
        """Without a group, takes every partition that there is."""
        if self._group or time.monotonic() < self._looked_at:
            return
        found = {
            TopicPartition(name, n) for name in self._topics for n in consumer.partitions_for_topic(name)
        }
        fresh = found - consumer.assignment()
        if fresh:
            positions = {there: consumer.position(there) for there in consumer.assignment()}
            consumer.assign(sorted(found | consumer.assignment()))
            for there, position in positions.items():
                consumer.seek(there, position)
            self._unstarted.add(fresh)
        missing = {there.topic for there in found} < set(self._topics)
        self._looked_at = time.monotonic() + (_LOOK_S if missing else _LOOK_AGAIN_S)

    def _unjoined(self, consumer: KafkaConsumer) -> float:
        """How long the client should be given to finish a join of the group that it has begun, in seconds.

        A join that a change of the topics began, and that ends between two polls, is forgotten by
        kafka-python 3.0.12: the client counts as joined, owns nothing and sends no heartbeat, for good (4 of
        60 starts on a busy machine ended so). Asked to join again, it does.
        """
        coordinator = consumer._coordinator
        if not coordinator.rejoining:
            return 0.0
        if not coordinator.need_rejoin():
            coordinator.request_rejoin()
        return _JOIN_S

    def _begin(self, consumer: KafkaConsumer) -> None:
        """Asks where to start in what was assigned since, and goes there."""
        fresh = self._unstarted.take() & consumer.assignment()
        if not fresh:
            return
        try:
            starts = self._start([self._partition(there) for there in fresh])
        except Exception:
            self._unstarted.add(fresh)  # asked again at the next try
            raise
        for there in fresh:
            partition = self._partition(there)
            if partition in starts:
                consumer.seek(there, starts[partition])
            else:
                consumer.seek_to_beginning(there)

    def _recover(self, consumer: KafkaConsumer, err: Exception) -> None:
        """Goes on after records that expired unread, loudly. A log that ends before us is another log."""
        offsets: dict[TopicPartition, int] = err.args[0]
        firsts = consumer.beginning_offsets(list(offsets), timeout_ms=_ANSWER_MS)
        for there, offset in offsets.items():
            if offset > firsts[there]:
                raise EventLogError(
                    f"Topic {there.topic}, partition {there.partition} ends before offset {offset}, where "
                    "the reader is: the log was replaced. Put the old one back, or start a fresh record."
                ) from err
            logger.error(
                "%d records of %s, partition %d, expired before they were read: raise kafka.retention_days",
                firsts[there] - offset,
                there.topic,
                there.partition,
            )
            consumer.seek(there, firsts[there])

    def _partition(self, there: TopicPartition) -> Partition:
        return Partition(self._topics[there.topic], there.partition)


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Partitions that were assigned and not begun yet. Told in the client's thread, asked in the reader's."""

    def __init__(self) -> None:
        self._partitions: set[TopicPartition] = set()
        self._lock = threading.Lock()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.add(set(assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._partitions -= set(revoked)

    def add(self, partitions: set[TopicPartition]) -> None:
        with self._lock:
            self._partitions |= partitions

    def take(self) -> set[TopicPartition]:
        with self._lock:
            taken, self._partitions = self._partitions, set()
        return taken

    def __contains__(self, partition: object) -> bool:
        return partition in self._partitions


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
