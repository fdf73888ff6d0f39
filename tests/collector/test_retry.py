"""Dead letters are tried again: what can be read now becomes rows once, the rest stays whole."""

from __future__ import annotations

import json

import pytest

from collector.retry import retry
from collector.rows import rows
from infra.errors import LakeError
from infra.eventlog.base import Partition, Position, Record
from infra.lake import Lake
from infra.settings import Settings
from tests.collector.test_ingest import said
from tests.collector.test_upkeep import job

HERE = Partition("interactions", 2)


def letter(offset: int, value: bytes, reason: str = "of a newer version") -> dict[str, object]:
    """A dead letter as the collector of an older program wrote it."""
    (found,) = rows(Record(Position(HERE, offset), "ключ", b"unreadable", 1.0))["dead_letters"]
    return found | {"value": value.decode(), "reason": reason}


def fill(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:
        good = [letter(number, said(number).encode()) for number in range(5)]
        bad = [letter(number, b"{}") for number in range(5, 8)]
        lake.append({"dead_letters": good + bad}, {HERE: 8})


def state(settings: Settings) -> tuple[int, list[int]]:
    """Interactions, and the offsets of what is still dead."""
    with Lake.open(settings) as lake:
        dead = sorted(row["offset"] for row in lake.query("dead_letters", limit=100))
        return lake.query("totals")[0]["interactions"], dead


def test_what_can_be_read_now_becomes_rows(settings: Settings) -> None:
    fill(settings)
    assert retry(settings) == {"became_rows": 5, "still_dead": 3}
    assert state(settings) == (5, [5, 6, 7])
    with Lake.open(settings) as lake:
        found = lake.query("recent_interactions", limit=9, before=None)
    assert sorted(row["query"] for row in found) == [f"question {number}" for number in range(5)]
    assert retry(settings) == {"became_rows": 0, "still_dead": 3}


def test_a_job_that_ends_in_the_middle_doubles_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(settings)
    query = Lake.query

    def broken(lake: Lake, name: str, /, **params: object) -> list[dict[str, object]]:
        if name == "forget_dead_letter" and params["offset"] == 2:
            raise LakeError("killed")
        return query(lake, name, **params)

    with monkeypatch.context() as patched, pytest.raises(LakeError):
        patched.setattr(Lake, "query", broken)
        retry(settings)
    retry(settings)
    assert state(settings) == (5, [5, 6, 7])


def test_it_is_a_job_of_the_collector(settings: Settings) -> None:
    fill(settings)
    done = job(settings, "retry")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"became_rows": 5, "still_dead": 3}
