"""Keeps the record small and quick, once a day: merges files, ends old versions, forgets what is too old.

Readers are never blocked, and other writers for a step at most: each is a transaction, and a file is
deleted only when no version has needed it for a day.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from infra.errors import LakeError
from infra.eventlog import topic_file
from infra.eventlog.base import Partition
from infra.events import DEAD_LETTER_TOPIC, Topic
from infra.lake import Lake
from infra.settings import Settings

logger = logging.getLogger(__name__)

# A start is a bad moment; and who restarts the collector every day still wants it done.
_FIRST_S = 300.0
_PERIOD_S = 24 * 60 * 60.0
# Longer than any query reads. On a SQLite catalog DuckLake compares these times by day alone, so two days
# are one at least.
_READING = timedelta(days=2)
# What holds customers' words. Nights, evaluations and deployments stay: they tell why which model serves.
_FORGETTABLE = ("interactions", "feedback", "signals", "completions", "dead_letters")
# Topics of the local log that only the record needs; the others are read from their beginning.
_SHORT = (Topic.INTERACTIONS, Topic.FEEDBACK, DEAD_LETTER_TOPIC)
_END = 2**62


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one run removed: rows of the record, versions of it, files, and events of the local log."""

    rows: int
    versions: int
    files: int
    events: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def keep_up(lake: Lake, settings: Settings, now: datetime) -> Upkeep:
    """One run.

    Raises:
        LakeError: the lake refused; what was done before stays done, and the next run does the rest.
        EventLogError: the local log refused.
    """
    rows = _forget(lake, settings.lake.retention_days, now)
    _count(lake, "forget_offsets", now - timedelta(days=1))
    lake.compact()
    with lake.turn():
        lake.query("rewrite_files")
    versions = _count(lake, "expire_versions", now - timedelta(days=settings.lake.versions_days))
    files = _count(lake, "delete_files", now - _READING)
    return Upkeep(rows, versions, files, _trim(lake, settings, now))


class Daily:
    """Runs the upkeep when it is due. Called by the collector between two batches."""

    def __init__(self, lake: Lake, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._lake = lake
        self._settings = settings
        self._clock = clock
        self._due = clock() + _FIRST_S

    def __call__(self) -> None:
        """Does nothing unless it is due. A failure is logged: it delays nothing but the upkeep."""
        if self._clock() < self._due:
            return
        self._due = self._clock() + _PERIOD_S
        try:
            logger.info("upkeep: %s", keep_up(self._lake, self._settings, datetime.now(UTC)))
        except LakeError as err:
            logger.error("the upkeep is put off until tomorrow: %s", err)


def _forget(lake: Lake, days: float, now: datetime) -> int:
    if not days:
        return 0
    before = now - timedelta(days=days)
    return sum(_count(lake, f"forget_{table}", before) for table in _FORGETTABLE)


def _count(lake: Lake, statement: str, before: datetime) -> int:
    """Runs a statement, in a turn of its own, that tells in its one value how many it removed."""
    with lake.turn():
        return int(next(iter(lake.query(statement, before=before)[0].values())))


def _trim(lake: Lake, settings: Settings, now: datetime) -> int:
    """Removes what the record holds from the local log, once it is old enough."""
    if settings.kafka.bootstrap:
        return 0
    before = (now - timedelta(days=settings.collector.log_days)).timestamp()
    recorded = lake.offsets() | {Partition(DEAD_LETTER_TOPIC): _END}  # which no room reads
    return sum(
        topic_file.delete(topic_file.path(settings.log_dir, topic), recorded[Partition(topic)], before)
        for topic in _SHORT
        if Partition(topic) in recorded
    )
