"""The schedule: which night is due. APScheduler reads the cron line and ticks; run records decide.

A missed night is made up once: only the newest due slot counts, however long the trainer was away.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from infra.errors import NightError
from trainer.runs import TRIES, RunRecord

# How far back a missed night is made up. Older ones would learn from the same record anyway.
CATCH_UP = timedelta(days=1)


def due_slot(cron: str, timezone: str, now: datetime, since: datetime) -> str | None:
    """The newest slot that fell due after `since` and up to `now`, as UTC minutes; None when none did.

    Slots older than a day are not made up.
    """
    trigger = CronTrigger.from_crontab(cron, timezone=timezone)
    found = None
    moment = trigger.get_next_fire_time(None, max(since, now - CATCH_UP))
    while moment is not None and moment <= now:
        found = moment
        moment = trigger.get_next_fire_time(moment, moment + timedelta(seconds=1))
    return slot_name(found) if found else None


def next_due(cron: str, timezone: str, now: datetime) -> datetime | None:
    """When the next night is due, for people who look."""
    due: datetime | None = CronTrigger.from_crontab(cron, timezone=timezone).get_next_fire_time(None, now)
    return due


def may_start(record: RunRecord | None, now: float) -> bool:
    """Whether a due slot should be started now: never tried, failed with tries left, or its trainer died."""
    if record is None:
        return True
    if record.state == "ended" or record.token >= TRIES:
        return False
    return record.state == "failed" or record.lease_until < now


_FORMAT = "%Y%m%dT%H%MZ"


def slot_name(moment: datetime) -> str:
    """The name of a slot: sorts by time, and can be a folder's name."""
    return moment.astimezone(UTC).strftime(_FORMAT)


def parse_slot(slot: str) -> datetime:
    """The moment that a slot's name tells.

    Raises:
        NightError: it is no slot's name.
    """
    try:
        return datetime.strptime(slot, _FORMAT).replace(tzinfo=UTC)
    except ValueError as err:
        raise NightError(f"{slot!r} is no slot: write it as 20261124T0200Z.") from err
