"""A record of an earlier version is brought up to date, and one of a later program refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from infra import sql
from infra.errors import LakeError
from infra.lake import Lake
from infra.lake.connection import plain
from infra.settings import Settings
from tests.infra.lake_rows import FEEDBACK, NOON, thumb

# Rows of a row group: 16,384, and where files are merged the rest of one.
LARGEST = 2 * 16_384


def test_migrations_are_taken_once(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:
        lake.append({"feedback": [thumb(1)]}, {})
        first = lake.snapshot()
    with Lake.open(settings, writable=True) as lake:
        assert lake.snapshot() == first
        assert lake.query("schema") == [{"version": len(sql.migrations())}]


@pytest.mark.parametrize("version", range(1, len(sql.migrations())))
def test_a_record_of_each_earlier_version_is_brought_up_to_date(
    version: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = sql.migrations()
    with monkeypatch.context() as past:
        past.setattr(sql, "migrations", lambda: steps[:version])
        with Lake.open(settings, writable=True) as lake:
            lake.append({"feedback": [thumb(n) for n in range(50)]}, {})
            fill(lake, version)
    with pytest.raises(LakeError, match=f"at version {version}, .*start the collector"):
        Lake.open(settings)
    with Lake.open(settings, writable=True) as lake:
        assert lake.query("schema") == [{"version": len(steps)}]
        assert lake.query("totals")[0]["thumbs_up"] == 50
        assert lake.offsets() == {FEEDBACK: 7}
        assert lake.offsets("kafka") == {}
        lake.append({"feedback": [thumb(50)]}, {FEEDBACK: 8})
        lake.append({}, {FEEDBACK: 3}, "kafka")
        assert (lake.offsets(), lake.offsets("kafka")) == ({FEEDBACK: 8}, {FEEDBACK: 3})
        write_thumbs(lake)
        assert max(row_groups(lake)) <= LARGEST


def test_row_groups_are_small_however_a_file_is_written(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:
        write_thumbs(lake)
        first = row_groups(lake)
        assert (sum(first) > 40_000, max(first) <= LARGEST) == (True, True)
    with Lake.open(settings, writable=True) as lake:
        write_thumbs(lake)
        lake.compact()
        merged = row_groups(lake)
        assert (sum(merged), max(merged) <= LARGEST) == (2 * sum(first), True)
        lake.query("forget_feedback", before=NOON + timedelta(seconds=300_000))
        lake.query("rewrite_files")
        rewritten = row_groups(lake)
        assert 40_000 < sum(rewritten) < sum(merged)
        assert max(rewritten) <= LARGEST


def write_thumbs(lake: Lake) -> None:
    """Some 45,000, one each 20 seconds, at once."""
    lake.query("bench_feedback", offset=0, limit=900_000, since=NOON, bucket_s=1.0)


def row_groups(lake: Lake) -> list[int]:
    """The rows of each row group in the lake's files of feedback."""
    names = [row["data_file"] for row in lake.query("files") if "/feedback/" in row["data_file"]]
    with plain() as connection:
        found = connection.execute(
            "SELECT DISTINCT file_name, row_group_id, row_group_num_rows FROM parquet_metadata($1)", [names]
        )
        return [rows for _, _, rows in found.fetchall()]


def fill(lake: Lake, version: int) -> None:
    """An offset as the program of that version wrote it."""
    row: dict[str, object] = {"at": NOON, "topic": "feedback", "partition": 0, "next_offset": 7}
    lake.append({"offsets": [row] if version < 2 else [row | {"log": "local"}]}, {})


def test_schemas_of_other_programs_are_refused(settings: Settings) -> None:
    with Lake.open(settings, writable=True) as lake:
        lake.append({"schema_version": [{"at": NOON, "version": 99, "name": "099_later.sql"}]}, {})
    for writable in (False, True):
        with pytest.raises(LakeError, match=r"at version 99, this program knows .*: upgrade it"):
            Lake.open(settings, writable=writable)
