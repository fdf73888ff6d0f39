"""What can be set of the event log, where Kafka carries it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from infra.sections.base import Section


class KafkaSettings(Section):
    # Brokers to begin with, as "host:9092,host:9092". Empty: the event log lies on this machine alone.
    bootstrap: str = ""
    # Begins the name of every topic and group, for a cluster that others use too.
    prefix: str = "nightshift."
    # For topics that are created here: partitions of the chat topics bound how many collectors share them.
    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    # Copies of each partition; 3 on a cluster.
    replication: Annotated[int, Field(ge=1, le=10)] = 1
    # Days that chat events stay on the broker. The record keeps them; the log is there to build it anew.
    retention_days: Annotated[float, Field(gt=0)] = 90.0
    # Disk for events on their way to the brokers, in an agent's data folder. When it is full, chat stops.
    outbox_gb: Annotated[float, Field(gt=0)] = 10.0
    # How to talk to the brokers. Passwords are best set by NIGHTSHIFT_KAFKA__PASSWORD.
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    # With SSL: the authority that signed the brokers' certificates, and this client's own, as PEM files.
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: SecretStr = SecretStr("")
    # With SASL: how to log in, and as whom.
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str = ""
    password: SecretStr = SecretStr("")
