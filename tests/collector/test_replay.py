"""A torn record is found by the doctor and built anew from the log: the same counts, the same hashes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from collector.ingest import Ingest
from collector.metrics import Metrics
from collector.replay import replay
from infra import doctor
from infra.errors import LakeError
from infra.eventlog import topic_file
from infra.eventlog.local import LocalEventLog
from infra.events import Event, Feedback, Topic
from infra.lake import Lake
from infra.sections import LakeSettings
from infra.settings import Settings
from tests.collector.test_ingest import append, said
from tests.collector.test_upkeep import job


@pytest.fixture
def recorded(settings: Settings) -> list[dict[str, Any]]:
    """The fingerprints of a record that a collector made in several commits."""
    with closing(LocalEventLog(settings.log_dir)) as log, Lake.open(settings, writable=True) as lake:
        for start in range(0, 600, 200):
            append(log, [said(number) for number in range(start, start + 200)])
            append(log, [Event.of(Feedback(response_id=f"r{start}", rating=-1), "k")])
            log.append(Topic.INTERACTIONS, "k", b"no event").result(10)
            Ingest(lake, log, settings.collector, Metrics()).catch_up()
        return lake.query("fingerprints")


def fingerprints(settings: Settings) -> list[dict[str, Any]]:
    with Lake.open(settings) as lake:
        return lake.query("fingerprints")


def a_file(settings: Settings) -> Path:
    return max(Path(settings.lake_files).rglob("*.parquet"), key=lambda file: file.stat().st_size)


def cut(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def garble(file: Path) -> None:
    file.write_bytes(b"garbage" * 1000)


@pytest.mark.parametrize(
    ("harm", "victim"),
    [
        (cut, a_file),
        (Path.unlink, a_file),
        (cut, lambda settings: Path(settings.lake_catalog)),
        (garble, lambda settings: Path(settings.lake_catalog)),
    ],
)
def test_what_is_torn_is_found_and_rebuilt(
    settings: Settings,
    recorded: list[dict[str, Any]],
    harm: Callable[[Path], None],
    victim: Callable[[Settings], Path],
) -> None:
    assert doctor.lake(settings).state == "ok"
    harm(victim(settings))
    found = doctor.lake(settings)
    assert (found.state, "collector replay" in found.next_step) == ("fail", True)
    done = replay(settings)
    assert (done["interactions"], done["thumbs_down"], done["dead_letters"]) == (600, 3, 3)
    assert Path(done["moved_aside"]).is_dir()
    assert doctor.lake(settings).state == "ok"
    assert fingerprints(settings) == recorded


def test_a_record_at_work_or_elsewhere_is_left_alone(settings: Settings) -> None:
    address = settings.collector.host, settings.collector.port
    with socket.create_server(address), pytest.raises(LakeError, match="stop it"):
        replay(settings)
    far = settings.model_copy(update={"lake": LakeSettings(catalog="postgres:host=db")})
    with pytest.raises(LakeError, match="by hand"):
        replay(far)


def test_it_is_a_job_of_the_collector(settings: Settings, recorded: list[dict[str, Any]]) -> None:
    done = job(settings, "replay")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["interactions"] == 600
    assert fingerprints(settings) == recorded


def test_without_an_old_record_nothing_is_moved(settings: Settings) -> None:
    assert replay(settings)["moved_aside"] == ""


def test_a_log_that_was_trimmed_ends_too(settings: Settings, recorded: list[dict[str, Any]]) -> None:
    for topic, left in ((Topic.INTERACTIONS, 1), (Topic.FEEDBACK, 0)):
        file = topic_file.path(settings.log_dir, topic)
        topic_file.delete(file, topic_file.backlog(file).records - left)
    done = replay(settings)
    assert done["interactions"] + done["dead_letters"] == 1
