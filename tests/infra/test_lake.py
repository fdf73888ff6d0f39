"""The record: real lakes in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ulid import ULID

from infra import sql
from infra.errors import LakeError
from infra.eventlog.base import Partition
from infra.lake import Lake
from infra.lake.connection import plain
from infra.settings import Settings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEEDBACK = Partition("feedback")
# Rows of a row group: 16,384, and where files are merged the rest of one.
LARGEST = 2 * 16_384


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.open(settings, writable=True) as opened:
        yield opened


def thumb(number: int, rating: int = 1, **more: object) -> dict[str, object]:
    """A row of feedback, with an id of its second."""
    at = NOON + timedelta(seconds=number)
    known = {"event_id": f"{number:026d}", "at": at, "response_id": f"r{number}", "rating": rating}
    return known | {"comment": "", "correction": ""} | more


def interaction(number: int, **more: object) -> dict[str, object]:
    at = NOON + timedelta(seconds=number)
    known = {
        "event_id": f"{number:026d}", "at": at, "response_id": f"r{number}", "turn": number % 3,
        "conversation_id": f"c{number // 3}", "collection": "inn", "query": f"question {number}",
        "prompt": "[]", "facts": "[]", "answer": "yes", "arm": "stable", "adapter": "", "canary": "",
        "fallback_from": "", "status": "ok", "completion_tokens": 9, "latency_s": 0.5,
    }  # fmt: skip
    return known | more


def test_a_missing_lake_says_what_to_start(settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"no lake at .*catalog.sqlite yet: start the collector"):
        Lake.open(settings)


def test_rows_and_offsets_come_together(lake: Lake, settings: Settings) -> None:
    assert lake.append({"feedback": [thumb(1)]}, {FEEDBACK: 7}) == {"feedback": 1}
    lake.append({"feedback": [thumb(2)]}, {FEEDBACK: 9, Partition("nights"): 3})
    with Lake.open(settings) as reader:
        assert reader.offsets() == {FEEDBACK: 9, Partition("nights"): 3}
        assert reader.query("totals")[0]["thumbs_up"] == 2


def test_a_batch_is_all_or_nothing(lake: Lake) -> None:
    with pytest.raises(LakeError, match="did not take a batch"):
        lake.append({"feedback": [thumb(1)], "signals": [{"event_id": "s", "value": "much"}]}, {FEEDBACK: 1})
    assert lake.query("totals")[0]["thumbs_up"] == 0
    assert lake.offsets() == {}
    lake.append({"feedback": [thumb(1)]}, {FEEDBACK: 1})
    assert lake.offsets() == {FEEDBACK: 1}


def test_an_event_id_is_written_once(lake: Lake) -> None:
    batch = [thumb(1), thumb(2), thumb(1, rating=-1)]
    assert lake.append({"feedback": batch}, {}) == {"feedback": 2}
    # Rows that a large batch put into files, and an old id among new ones.
    assert lake.append({"feedback": [thumb(n) for n in range(3, 100)]}, {}) == {"feedback": 97}
    assert lake.append({"feedback": [thumb(1), thumb(50), thumb(100)]}, {}) == {"feedback": 1}
    lake.compact()
    assert lake.append({"feedback": [thumb(2), thumb(99), thumb(101)]}, {}) == {"feedback": 1}
    assert lake.query("totals")[0] | {"thumbs_up": 101, "thumbs_down": 0} == lake.query("totals")[0]


def test_any_text_and_time_survive(lake: Lake) -> None:
    odd = "quote ' \" \\ \n \u2028 emoji \U0001f319 $a -- ; %s"
    at = datetime(2026, 1, 1, 23, 59, 59, 123456, tzinfo=UTC)
    lake.append({"interactions": [interaction(1, query=odd, at=at)]}, {})  # kept in the catalog
    lake.append({"interactions": [interaction(n, query=odd, at=at) for n in range(2, 40)]}, {})  # in a file
    rows = lake.query("recent_interactions", limit=100, before=None)
    assert {row["query"] for row in rows} == {odd}
    assert {row["at"] for row in rows} == {at}
    assert rows[0]["at"].tzinfo is UTC


def test_a_snapshot_reads_the_same_for_ever(lake: Lake, settings: Settings) -> None:
    window = {"since": NOON, "until": NOON + timedelta(days=1), "text": "inn"}

    def some(start: int, stop: int) -> dict[str, list[dict[str, object]]]:
        return {"interactions": [interaction(n, facts='[{"text": "Yes."}]') for n in range(start, stop)]}

    for start in range(0, 60, 3):
        lake.append(some(start, start + 3), {})
    number = lake.snapshot()
    then = lake.query("logged_part", **window)
    assert len(then) == 60
    for start in range(60, 160, 20):
        lake.append(some(start, start + 20), {})
    lake.compact()
    assert len(lake.query("logged_part", **window)) == 160
    for _ in range(2):
        with Lake.open(settings, snapshot=number) as past:
            assert past.query("logged_part", **window) == then
            assert past.snapshot() == number


def test_an_unknown_snapshot_is_an_error(lake: Lake, settings: Settings) -> None:
    with pytest.raises(LakeError, match=r"No snapshot found at version 999\. .*choose a later one"):
        Lake.open(settings, snapshot=999)


def test_a_reader_cannot_write(lake: Lake, settings: Settings) -> None:
    with Lake.open(settings) as reader, pytest.raises(LakeError, match="Only the collector writes"):
        reader.append({"feedback": [thumb(1)]}, {})


def test_queries_say_what_they_take(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"no query 'total' .*known are .*nights.*totals"):
        lake.query("total")
    with pytest.raises(LakeError, match=r"takes \['limit'\], but got \['limits'\]"):
        lake.query("nights", limits=3)


def test_every_query_runs_on_an_empty_lake(lake: Lake) -> None:
    values: dict[str, object] = {
        "since": NOON, "until": NOON, "before": NOON, "bucket_s": 60, "limit": 5, "night": "n", "canary": "x",
        "conversation_id": "c", "text": None, "topic": "t", "partition": 0, "offset": 0, "log": "local",
    }  # fmt: skip
    for name, query in sql.queries().items():
        assert query.description
        lake.query(name, **{parameter: values[parameter] for parameter in query.parameters})


def test_named_queries_need_a_description_and_one_name() -> None:
    found = sql.parse(
        "-- about the file\n\n-- name: a\n-- One.\nSELECT $x, $y;\n-- name: b\n-- Two.\nSELECT 2"
    )
    assert found["a"] == sql.Query("a", "One.", "SELECT $x, $y", frozenset("xy"))
    assert found["b"].sql == "SELECT 2"
    for wrong in ("-- name: a\nSELECT 1", "-- name: a\n-- x\nSELECT 1\n-- name: a\n-- y\nSELECT 2"):
        with pytest.raises(LakeError, match="'a' needs a description and a name of its own"):
            sql.parse(wrong)


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


def test_schemas_of_other_programs_are_refused(lake: Lake, settings: Settings) -> None:
    lake.append({"schema_version": [{"at": NOON, "version": 99, "name": "099_later.sql"}]}, {})
    for writable in (False, True):
        with pytest.raises(LakeError, match=r"at version 99, this program knows .*: upgrade it"):
            Lake.open(settings, writable=writable)


def test_the_data_folder_may_be_moved(settings: Settings, tmp_path: Path) -> None:
    with Lake.open(settings, writable=True) as lake:
        lake.append({"feedback": [thumb(n) for n in range(50)]}, {})
    shutil.move(settings.data, tmp_path / "elsewhere")
    with Lake.open(settings.model_copy(update={"data": tmp_path / "elsewhere"})) as moved:
        assert moved.query("totals")[0]["thumbs_up"] == 50


def test_another_process_reads_while_we_write(lake: Lake, settings: Settings) -> None:
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from infra.lake import Lake\nfrom infra.settings import Settings\n"
        "with Lake.open(Settings(data=Path(sys.argv[1]))) as lake:\n"
        "    seen = 0\n"
        "    while seen < 200:\n"
        "        now = lake.query('totals')[0]['thumbs_up']\n"
        "        assert now >= seen and now % 10 == 0, (seen, now)\n"
        "        seen = now\n"
        "print(seen)\n"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.data)], stdout=subprocess.PIPE, text=True
    )
    for start in range(0, 200, 10):
        lake.append({"feedback": [thumb(n) for n in range(start, start + 10)]}, {FEEDBACK: start + 10})
    out, _ = reader.communicate(timeout=60)
    assert (reader.returncode, out) == (0, "200\n")


def test_the_latest_thumb_counts_and_comments_leave_it(lake: Lake) -> None:
    lake.append({"interactions": [interaction(n, canary="ns-1", arm="canary") for n in range(4)]}, {})
    said = [
        thumb(10, response_id="r0", rating=-1), thumb(11, response_id="r0", rating=1),
        thumb(12, response_id="r1", rating=-1), thumb(13, response_id="r1", rating=0, comment="too long"),
        thumb(14, response_id="r2", rating=1), thumb(15, response_id="r2", rating=0),
        thumb(16, response_id="unknown", rating=1),
    ]  # fmt: skip
    lake.append({"feedback": said}, {})
    rows = lake.query("outcomes", canary="ns-1", since=NOON)
    assert [row["rating"] for row in rows] == [1, -1, None, None]
    (arm,) = lake.query("canary_outcomes", canary="ns-1")
    assert (arm["answers"], arm["thumbs_up"], arm["thumbs_down"]) == (4, 1, 1)
    (turn, *_) = lake.query("conversation", conversation_id="c0")[1:]
    assert (turn["rating"], turn["comment"]) == (-1, "too long")


def test_a_night_reads_answered_queries_with_facts_of_its_window(lake: Lake) -> None:
    facts = '[{"text": "Yes."}]'
    rows = [interaction(number, facts=facts) for number in (0, 1, 3, 9)]
    rows += [interaction(2, facts=facts, status="error"), interaction(4), interaction(5, facts=facts)]
    rows += [interaction(6, facts=facts, query="question 5"), interaction(7, facts=facts, collection="bar")]
    lake.append({"interactions": rows}, {})
    window = {"since": NOON + timedelta(seconds=1), "until": NOON + timedelta(seconds=9)}
    found = lake.query("logged_part", **window, text="inn\nclub")
    assert [row["response_id"] for row in found] == ["r6", "r3", "r1"]


def test_pages_follow_each_other_by_time(lake: Lake) -> None:
    lake.append({"interactions": [interaction(n) for n in range(7)]}, {})
    lake.append({"signals": [{"event_id": "s", "at": NOON, "response_id": "r6", "kind": "thanks"}]}, {})
    first = lake.query("recent_interactions", limit=4, before=None)
    second = lake.query("recent_interactions", limit=4, before=first[-1]["at"])
    assert [row["response_id"] for row in first + second] == [f"r{n}" for n in range(6, -1, -1)]
    assert first[0]["signals"] == ["thanks"] and first[1]["signals"] == []


def test_a_night_is_the_fold_of_its_events(lake: Lake) -> None:
    def event(number: int, state: str, **more: object) -> dict[str, object]:
        row = {"event_id": str(ULID()), "at": NOON + timedelta(minutes=number), "night": "n1", "slot": "s"}
        empty: dict[str, object] = dict.fromkeys(("stage", "verdict", "adapter", "reason"), "")
        return row | empty | {"state": state, "seconds": 0.0, "manifest": "{}"} | more

    lake.append({"nights": [event(0, "started"), event(1, "stage", stage="resample", seconds=60.0)]}, {})
    (night,) = lake.query("night", night="n1")
    assert (night["state"], night["stage"], night["seconds"], night["ended_at"]) == (
        "running", "resample", 60.0, None,
    )  # fmt: skip
    lake.append({"nights": [event(2, "ended", verdict="pass", adapter="ns-1", manifest='{"a":1}')]}, {})
    (night,) = lake.query("nights", limit=5)
    assert (night["state"], night["verdict"], night["adapter"], night["manifest"]) == (
        "ended", "pass", "ns-1", '{"a":1}',
    )  # fmt: skip
    assert [row["stage"] for row in lake.query("stages", night="n1")] == ["resample"]
