"""Slots: one trainer each, made up once, fenced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.errors import NightError, SlotTaken
from trainer.runs import LEASE_S, TRIES, Runs
from trainer.schedule import due_slot, may_start, next_due, parse_slot, slot_name

NOW = 1_000_000.0


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "nights" / "runs.sqlite")


def test_a_running_slot_is_not_taken_twice(runs: Runs) -> None:
    runs.claim("20261124T0200Z", "one", NOW)
    with pytest.raises(SlotTaken, match="running elsewhere"):
        runs.claim("20261124T0200Z", "two", NOW + 1)


def test_a_dead_trainers_slot_is_taken_over_and_the_dead_one_is_fenced(runs: Runs) -> None:
    dead = runs.claim("20261124T0200Z", "one", NOW)
    heir = runs.claim("20261124T0200Z", "two", NOW + LEASE_S + 1)
    assert heir.token == dead.token + 1
    with pytest.raises(SlotTaken, match="taken over"):
        runs.renew(dead, NOW + LEASE_S + 2)
    with pytest.raises(SlotTaken, match="taken over"):
        runs.finish(dead, "ended", "pass")
    runs.finish(heir, "ended", "pass")
    record = runs.get("20261124T0200Z")
    assert record is not None
    assert (record.state, record.verdict, record.token) == ("ended", "pass", 2)


def test_renewing_keeps_the_slot_and_an_ended_one_stays_ended(runs: Runs) -> None:
    claim = runs.claim("20261124T0200Z", "one", NOW)
    runs.renew(claim, NOW + LEASE_S - 1)
    with pytest.raises(SlotTaken):
        runs.claim("20261124T0200Z", "two", NOW + LEASE_S + 1)
    runs.finish(claim, "ended", "fail")
    with pytest.raises(SlotTaken, match="has ended already"):
        runs.claim("20261124T0200Z", "two", NOW + 10 * LEASE_S)


def test_a_failed_night_is_tried_again_a_few_times(runs: Runs) -> None:
    for attempt in range(TRIES):
        assert may_start(runs.get("20261124T0200Z"), NOW) is True, attempt
        runs.finish(runs.claim("20261124T0200Z", "one", NOW), "failed", "")
    assert may_start(runs.get("20261124T0200Z"), NOW) is False


AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "slot"),
    [
        (AT - timedelta(hours=12), "20261124T0200Z"),  # due since: made up
        (AT - timedelta(days=30), "20261124T0200Z"),  # away for a month: only the newest
        (AT - timedelta(hours=1), None),  # nothing fell due since
    ],
)
def test_a_missed_night_is_made_up_once(since: datetime, slot: str | None) -> None:
    assert due_slot("0 2 * * *", "UTC", AT, since) == slot


def test_slots_are_utc_whatever_the_time_zone() -> None:
    assert due_slot("0 2 * * *", "Europe/Berlin", AT, AT - timedelta(hours=20)) == "20261124T0100Z"
    due = next_due("0 2 * * *", "UTC", AT)
    assert due is not None
    assert slot_name(due) == "20261125T0200Z"
    assert slot_name(parse_slot("20261125T0200Z")) == "20261125T0200Z"
    with pytest.raises(NightError, match="tonight"):
        parse_slot("tonight")
