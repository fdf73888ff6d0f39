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
from infra.settings import Settings
from tests.infra.lake_rows import FEEDBACK, NOON, interaction, thumb


@pytest.fixture
def lake(settings: Settings) -> Iterator[Lake]:
    with Lake.open(settings, writable=True) as opened:
        yield opened


def beside(program: str, settings: Settings) -> subprocess.Popen[str]:
    """A process of its own, which is told the data folder."""
    command = [sys.executable, "-c", program, str(settings.data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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
    reader = beside(program, settings)
    for start in range(0, 200, 10):
        lake.append({"feedback": [thumb(n) for n in range(start, start + 10)]}, {FEEDBACK: start + 10})
    out, _ = reader.communicate(timeout=60)
    assert (reader.returncode, out) == (0, "200\n")


def test_a_reader_misses_nothing_while_rows_move_to_files(lake: Lake, settings: Settings) -> None:
    """The reader is a process of its own, as no room reads the record beside its own writing."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from infra.lake import Lake\nfrom infra.settings import Settings\n"
        "counts = [0]\n"
        "with Lake.open(Settings(data=Path(sys.argv[1]))) as lake:\n"
        "    print('reading', flush=True)\n"
        "    while counts[-1] < 72:\n"
        "        counts.append(len(lake.query('response_ids')))\n"
        "        assert counts[-1] >= counts[-2], counts\n"
        "print(len(set(counts)))\n"
    )
    reader = beside(program, settings)
    assert reader.stdout
    assert reader.stdout.readline() == "reading\n"
    for first in range(0, 72, 3):
        lake.append({"interactions": [interaction(first + number) for number in range(3)]}, {})
        lake.compact()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert int(out) > 3


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


def test_the_next_words_of_a_conversation_tell_of_the_answer_before_them(lake: Lake) -> None:
    """Conversations c0 (r0 to r2) and c1 (r3 to r5); what is said first in one tells of nothing."""
    lake.append({"interactions": [interaction(n, canary="ns-1") for n in range(6)]}, {})
    said = [("r0", "asks_for_person"), ("r1", "thanks"), ("r2", "rephrased"), ("r2", "corrects")]
    said += [("r5", "asks_for_person")]
    signs = [
        {"event_id": f"{number}", "at": NOON + timedelta(seconds=9), "response_id": response, "kind": kind}
        for number, (response, kind) in enumerate(said)
    ]
    lake.append({"signals": signs}, {})
    rows = lake.query("outcomes", canary="ns-1", since=NOON)
    assert [row["response_id"] for row in rows if row["asked_again"]] == ["r1"]
    assert [row["response_id"] for row in rows if row["asked_for_person"]] == ["r4"]


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
