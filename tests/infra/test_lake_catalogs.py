"""The record where many machines reach it: catalog in PostgreSQL, files on S3, by settings alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from collector.ingest import Ingest
from collector.metrics import Metrics
from collector.upkeep import keep_up
from infra import doctor
from infra.errors import LakeError
from infra.eventlog.base import Partition
from infra.eventlog.local import LocalEventLog
from infra.lake import Lake
from infra.lake.turns import FileTurns, PostgresTurns, Turns, turns
from infra.sections import LakeSettings
from infra.settings import Settings
from tests import postgres, s3
from tests.collector.test_ingest import append, said
from tests.infra.lake_rows import NOON, interaction, thumb
from tests.ports import find_ports


@pytest.fixture
def far(settings: Settings, postgres_catalog: str) -> Iterator[Settings]:
    """Settings of a record in PostgreSQL and on S3."""
    with s3.running(*find_ports(1)) as store:
        lake = LakeSettings(catalog=postgres_catalog, files=f"s3://{s3.BUCKET}/lake", s3=store)
        yield settings.model_copy(update={"lake": lake})


def test_the_record_lies_elsewhere_by_settings_alone(far: Settings) -> None:
    with closing(LocalEventLog(far.log_dir)) as log, Lake.open(far, writable=True) as lake:
        append(log, [said(number) for number in range(300)])
        Ingest(lake, log, far.collector, Metrics()).catch_up()
        first = lake.snapshot()
        append(log, [said(number) for number in range(300, 600)])
        Ingest(lake, log, far.collector, Metrics()).catch_up()
        files = [row["data_file"] for row in lake.query("files")]
        assert files and all(file.startswith(f"s3://{s3.BUCKET}/lake/") for file in files)
        assert not (far.data / "lake").exists()
    with Lake.open(far) as reader:
        assert reader.query("totals")[0]["interactions"] == 600
        assert reader.offsets() == {Partition("interactions"): 600}
    with Lake.open(far, snapshot=first) as past:
        assert past.query("totals")[0]["interactions"] == 300
    assert doctor.lake(far).state == "ok"


def test_upkeep_there(far: Settings) -> None:
    wanted = far.model_copy(update={"lake": far.lake.model_copy(update={"retention_days": 1.0})})
    with Lake.open(wanted, writable=True) as lake:
        for start in range(0, 90, 30):
            lake.append({"interactions": [interaction(n) for n in range(start, start + 30)]}, {})
        before = len(lake.query("files"))
        now = NOON + timedelta(days=1, seconds=30)
        done = keep_up(lake, wanted, now)
        assert done.rows == 30
        assert len(lake.query("files")) < before
        later = keep_up(lake, wanted, datetime.now(UTC) + timedelta(days=60))
        assert later.versions > 0 and later.files > 0
        assert lake.query("totals")[0]["interactions"] == 0


def test_a_lake_in_postgres_outlives_its_server(
    settings: Settings, postgres_catalog: str, postgres_server: postgres.Server
) -> None:
    wanted = settings.model_copy(update={"lake": LakeSettings(catalog=postgres_catalog)})
    with Lake.open(wanted, writable=True) as lake, Lake.open(wanted) as reader:
        lake.append({"feedback": [thumb(1)]}, {})
        assert reader.query("totals")[0]["thumbs_up"] == 1
        postgres_server.stop()
        try:
            with pytest.raises(LakeError, match="Look whether PostgreSQL runs"):
                lake.append({"feedback": [thumb(2)]}, {})
        finally:
            postgres_server.start()
        lake.append({"feedback": [thumb(2)]}, {})
        assert reader.query("totals")[0]["thumbs_up"] == 2


@pytest.fixture(params=["file", "postgres"])
def new_turns(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[float], Turns]:
    """Makes one writer's turns, with so many seconds of patience."""
    if request.param == "file":
        return lambda patience_s: FileTurns(tmp_path / "turn", patience_s)
    dsn = request.getfixturevalue("postgres_catalog").removeprefix("postgres:")
    return lambda patience_s: PostgresTurns(dsn, patience_s)


def test_one_writes_at_a_time(new_turns: Callable[[float], Turns], tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")

    def write() -> None:
        with closing(new_turns(30.0)) as mine:
            for _ in range(25):
                with mine.take():
                    count.write_text(str(int(count.read_text() or 0) + 1))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert count.read_text() == "100"


def test_patience_ends_and_a_turn_may_be_taken_later(new_turns: Callable[[float], Turns]) -> None:
    with closing(new_turns(0.2)) as one, closing(new_turns(0.2)) as other:
        with one.take(), pytest.raises(Exception, match=r"Another process|lock timeout"), other.take():
            raise AssertionError("two at once")
        with other.take():
            pass


def test_several_may_be_the_first(settings: Settings, postgres_catalog: str) -> None:
    wanted = settings.model_copy(update={"lake": LakeSettings(catalog=postgres_catalog)})
    ready, failures = threading.Barrier(3), []

    def begin() -> None:
        ready.wait(30)
        try:
            Lake.open(wanted, writable=True).close()
        except LakeError as err:
            failures.append(err)

    writers = [threading.Thread(target=begin) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures == []


def test_catalogs_know_their_turns() -> None:
    assert isinstance(turns("postgres:host=db"), PostgresTurns)
    assert isinstance(turns("data/lake/catalog.sqlite"), FileTurns)
