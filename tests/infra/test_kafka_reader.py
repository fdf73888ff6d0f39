"""A reader of Kafka in a group, when the topics change while it reads."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from infra.eventlog.base import Record
from infra.eventlog.kafka import KafkaEventLog
from infra.eventlog.kafka_client import full_name
from infra.eventlog.kafka_reader import KafkaReader
from infra.sections import KafkaSettings


@pytest.fixture
def kafka(bootstrap: Callable[[str], str]) -> KafkaSettings:
    return KafkaSettings(bootstrap=bootstrap("apache"), prefix=f"reader-{time.time_ns()}.", partitions=1)


def test_a_join_that_ends_between_two_polls_counts(kafka: KafkaSettings) -> None:
    """The client gives no thought to it by itself when new partitions were its reason."""
    with (
        closing(KafkaEventLog(kafka, member="m")) as log,
        closing(KafkaReader(kafka, ("interactions",), lambda _: {}, "collector", "m")) as reader,
    ):
        log.append("interactions", "k", b"before").result(30)
        assert [record.value for record in _until_some(reader, 0.2)] == [b"before"]
        _widen(kafka, "interactions", partitions=4)
        assert reader._consumer is not None
        reader._consumer._client.cluster.request_update()
        _let_joins_end_between_polls(reader)
        log.append("interactions", "k", b"after").result(30)
        assert b"after" in [record.value for record in _until_some(reader, 0.2)]
        assert len(reader.end_offsets()) == 4


def _let_joins_end_between_polls(reader: KafkaReader, seconds: float = 2.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reader.poll(0.0)
        time.sleep(0.1)


def _until_some(reader: KafkaReader, timeout_s: float) -> list[Record]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if records := reader.poll(timeout_s):
            return records
    return []


def _widen(kafka: KafkaSettings, topic: str, partitions: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        admin.create_partitions({full_name(kafka, topic): NewPartitions(total_count=partitions)})
    finally:
        admin.close()
