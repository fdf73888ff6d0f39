"""What can be set of the collector."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infra.sections.base import Port, Section


class CollectorSettings(Section):
    # Events in one lake transaction at most. A commit costs some 50 ms beside its rows, so larger is faster.
    batch: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    # Seconds between commits while events trickle in: how stale the lake may be.
    interval_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    # Days that the event log of one machine keeps chat events that the record holds: what a record that was
    # lost is built anew from.
    log_days: Annotated[float, Field(gt=0)] = 90.0
    # Address of the collector's probes and metrics.
    host: str = "127.0.0.1"
    port: Port = 8082
