"""Builds a record that was lost or torn anew from the event log. The old one is moved aside and kept."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from collector.ingest import Ingest
from collector.metrics import Metrics
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.lake import Lake
from infra.settings import Settings

logger = logging.getLogger(__name__)


def replay(settings: Settings) -> dict[str, Any]:
    """The totals of the new record, which holds what the event log holds.

    Raises:
        LakeError: a collector is at work, the record lies on other machines, or the new one was refused.
        EventLogError: the log cannot be read.
    """
    _check(settings)
    aside = _move_aside(Path(settings.lake_catalog).parent)
    with Lake.open(settings, writable=True) as lake, closing(open_log(settings)) as log:
        Ingest(lake, log, settings.collector, Metrics()).catch_up()
        lake.compact()
        totals = lake.query("totals")[0]
    return {name: value for name, value in totals.items() if isinstance(value, int)} | {"moved_aside": aside}


def _check(settings: Settings) -> None:
    if settings.lake.catalog or settings.lake.files:
        raise LakeError(
            "Only a record in the data folder can be replayed by itself. Elsewhere, empty the catalog and "
            "the files by hand, and start the collector: it reads the event log from its beginning."
        )
    if _listens(settings.collector.host, settings.collector.port):
        raise LakeError("A collector is at work: stop it, replay, and start it again.")


def _listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), 1.0):
        return True
    return False


def _move_aside(folder: Path) -> str:
    """Where the old record now lies; empty where there was none."""
    if not folder.exists():
        return ""
    aside = folder.with_name(f"{folder.name}-{time.strftime('%Y%m%dT%H%M%S')}")
    folder.rename(aside)
    logger.info("the old record now lies in %s", aside)
    return str(aside)
