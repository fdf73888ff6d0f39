"""How every Kafka client of ours is configured, and the topics that must exist before one is used."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient

from infra.errors import EventLogError
from infra.events import Topic
from infra.sections import KafkaSettings

logger = logging.getLogger(__name__)

# The client tells each failed connection, twice a second in an outage, and raises it too: we tell it once.
logging.getLogger("kafka").setLevel(logging.CRITICAL)

# How long a client looks for a broker before it says that there is none.
_CONNECT_MS = 5000
_MS_PER_DAY = 24 * 60 * 60 * 1000
# The present state is a fold over all of their events, so none expires and none is compacted away, and they
# have one partition, so that there is one order.
_WHOLE = frozenset({Topic.DEPLOYMENTS, Topic.NIGHTS})


def config(settings: KafkaSettings) -> dict[str, Any]:  # Any: what kafka-python takes
    """The part of the configuration that producers, consumers and admin clients share.

    Raises:
        EventLogError: nobody listens at any of the addresses. A client whose constructor fails would leave
            a thread and its sockets behind, at each try of an outage.
    """
    check_reachable(settings)
    shared: dict[str, Any] = {
        "bootstrap_servers": _servers(settings),
        "bootstrap_timeout_ms": _CONNECT_MS,
        "reconnect_backoff_max_ms": 1000,  # a broker that is back is found within a second
        "security_protocol": settings.security,
    }
    if settings.security.endswith("SSL"):
        shared |= {
            "ssl_cafile": settings.ca_file or None,
            "ssl_certfile": settings.certificate_file or None,
            "ssl_keyfile": settings.key_file or None,
            "ssl_password": settings.key_password.get_secret_value() or None,
        }
    if settings.security.startswith("SASL"):
        shared |= {
            "sasl_mechanism": settings.mechanism,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    return shared


def check_reachable(settings: KafkaSettings) -> None:
    """Raises EventLogError when nobody listens at any of the brokers' addresses."""
    refusals = [_refusal(server) for server in _servers(settings)]
    if refusals[0] and all(refusals):
        raise unreachable(settings, refusals[0])


def _servers(settings: KafkaSettings) -> list[str]:
    return [server.strip() for server in settings.bootstrap.split(",")]


def _refusal(server: str) -> OSError | None:
    """Why nobody can be reached at "host:port", or nothing."""
    host, _, port = server.rpartition(":")
    try:
        with socket.create_connection((host or server, int(port) if host else 9092), _CONNECT_MS / 1000):
            return None
    except (OSError, ValueError) as err:
        return err if isinstance(err, OSError) else OSError(f"{server} is no host:port")


def full_name(settings: KafkaSettings, topic: str) -> str:
    """The topic's name on the broker, which other services may share."""
    return settings.prefix + topic


def create_topics(settings: KafkaSettings, topics: tuple[str, ...]) -> None:
    """Creates those topics that do not exist yet; partitions and retention of the others stay as they are.

    Raises:
        EventLogError: no broker answers, or it refuses.
    """
    with _admin(settings) as admin:
        try:
            there = set(admin.list_topics())
            missing = {
                full_name(settings, topic): _layout(settings, topic)
                for topic in topics
                if full_name(settings, topic) not in there
            }
            if missing:
                _create(admin, missing)
        except kafka.errors.KafkaError as err:
            raise EventLogError(
                f"Kafka at {settings.bootstrap} did not create {', '.join(topics)} ({explain(err)}): "
                "check that kafka.replication is not above the number of brokers, and the user's rights."
            ) from err


def cluster_id(settings: KafkaSettings) -> str:
    """What the cluster calls itself; another cluster at the same address has another name.

    Raises:
        EventLogError: no broker answers.
    """
    with _admin(settings) as admin:
        return str(admin.describe_cluster()["cluster_id"])


@contextmanager
def _admin(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """A client for questions about the cluster. An error of Kafka's that leaves the block is told as ours."""
    try:
        admin = KafkaAdminClient(**config(settings))
        try:
            yield admin
        finally:
            admin.close()
    except kafka.errors.KafkaError as err:
        raise unreachable(settings, err) from err


def _create(admin: KafkaAdminClient, missing: dict[str, dict[str, Any]]) -> None:
    """Returns when all are there: a group that subscribes while one appears may wait for it in vain."""
    try:
        admin.create_topics(missing)
        logger.info("created the topics %s", ", ".join(missing))
    except kafka.errors.TopicAlreadyExistsError:
        pass  # another room was faster
    admin.wait_for_topics(list(missing))


def unreachable(settings: KafkaSettings, err: Exception) -> EventLogError:
    """The error for a broker that does not answer."""
    return EventLogError(
        f"Kafka at {settings.bootstrap} does not answer ({explain(err)}): "
        "check that it runs, and kafka.bootstrap."
    )


def explain(err: Exception) -> str:
    """The error's name and words, without those of its clients' configuration."""
    return f"{type(err).__name__}: {err}".partition("\n")[0].rstrip(": ")


def _layout(settings: KafkaSettings, topic: str) -> dict[str, Any]:
    whole = topic in _WHOLE
    kept_ms = -1 if whole else round(settings.retention_days * _MS_PER_DAY)
    return {
        "num_partitions": 1 if whole else settings.partitions,
        "replication_factor": settings.replication,
        "configs": {"cleanup.policy": "delete", "retention.ms": str(kept_ms)},
    }
