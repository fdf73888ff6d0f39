"""How Kafka's clients are configured, and what is said when they cannot be."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pydantic import SecretStr

from infra.errors import EventLogError, SettingsError
from infra.eventlog import open_log
from infra.eventlog.base import from_beginning
from infra.eventlog.kafka import KafkaEventLog
from infra.eventlog.kafka_client import config
from infra.sections import KafkaSettings
from infra.settings import Settings


@pytest.fixture
def listening() -> Iterator[str]:
    """An address where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_plain_by_default(listening: str) -> None:
    shared = config(KafkaSettings(bootstrap=listening))
    assert (shared["bootstrap_servers"], shared["security_protocol"]) == ([listening], "PLAINTEXT")
    assert not any(name.startswith(("ssl", "sasl")) for name in shared)


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (
            {"security": "SSL", "ca_file": "ca.pem", "certificate_file": "c.pem", "key_file": "k.pem"},
            {"ssl_cafile": "ca.pem", "ssl_certfile": "c.pem", "ssl_keyfile": "k.pem", "ssl_password": None},
        ),
        (
            {"security": "SASL_SSL", "ca_file": "ca.pem", "username": "u", "password": SecretStr("p")},
            {
                "ssl_cafile": "ca.pem",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "u",
                "sasl_plain_password": "p",
            },
        ),
        (
            {"security": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": "u"},
            {"sasl_mechanism": "PLAIN", "sasl_plain_username": "u"},
        ),
    ],
)
def test_transport_and_login_are_passed_on(
    listening: str, settings: dict[str, Any], given: dict[str, object]
) -> None:
    shared = config(KafkaSettings(bootstrap=listening, **settings))
    assert given.items() <= shared.items()


def test_one_listening_broker_of_several_is_enough(listening: str) -> None:
    assert len(config(KafkaSettings(bootstrap=f"127.0.0.1:1, {listening}"))["bootstrap_servers"]) == 2


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "nonsense:port"])
def test_nobody_there_is_said_with_the_next_step(bootstrap: str) -> None:
    with pytest.raises(EventLogError, match=r"does not answer .*kafka\.bootstrap"):
        config(KafkaSettings(bootstrap=bootstrap))


def test_passwords_are_not_shown() -> None:
    assert "hunter2" not in repr(
        KafkaSettings(password=SecretStr("hunter2"), key_password=SecretStr("hunter2"))
    )


def test_tries_of_an_outage_leave_nothing_behind() -> None:
    kafka = KafkaSettings(bootstrap="127.0.0.1:1")

    def held() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count

    with closing(KafkaEventLog(kafka)) as log:
        before = threading.active_count(), held()
        for _ in range(20):
            with closing(log.reader(["chat"], from_beginning)) as reader, pytest.raises(EventLogError):
                reader.poll(0.1)
            assert isinstance(log.append("chat", "k", b"v").exception(10), EventLogError)
        assert (threading.active_count(), held()) == before


def test_a_client_that_is_not_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "infra.eventlog.kafka", None)
    far = settings.model_copy(update={"kafka": KafkaSettings(bootstrap="broker:9092")})
    with pytest.raises(SettingsError, match=r"nightshift\[kafka\]"):
        open_log(far)


@pytest.mark.parametrize("kind", ["apache", "tansu"])
def test_a_group_that_comes_first_is_served_at_once(bootstrap: Callable[[str], str], kind: str) -> None:
    kafka = KafkaSettings(bootstrap=bootstrap(kind), prefix=f"first-{kind}.", partitions=2)
    with closing(KafkaEventLog(kafka)) as log, closing(log.reader(["chat"], from_beginning, "c")) as reader:
        assert reader.poll(0.5) == []
        log.append("chat", "k", b"v").result(10)
        deadline = time.monotonic() + 20
        found = reader.poll(1.0)
        while not found and time.monotonic() < deadline:
            found = reader.poll(1.0)
        assert [record.value for record in found] == [b"v"]


def test_what_cannot_be_taken_is_refused_alone(bootstrap: Callable[[str], str]) -> None:
    with closing(KafkaEventLog(KafkaSettings(bootstrap=bootstrap("tansu"), prefix="refusals."))) as log:
        good = log.append("chat", "k", b"v")
        for topic, key, value in (
            ("Bad Name", "k", b""),
            ("chat", "\ud800", b""),
            ("chat", "k", bytes(2_000_000)),
        ):
            assert isinstance(log.append(topic, key, value).exception(10), EventLogError)
        assert good.result(10).offset == 0
    assert "closed" in str(log.append("chat", "k", b"").exception(10))
