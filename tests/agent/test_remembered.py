"""The last known deployment, kept for a start without the event log."""

from __future__ import annotations

from pathlib import Path

from agent.remembered import recall, remember
from infra.deployment import Deployment


def test_stable_is_kept_and_the_canary_is_not(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    seen = Deployment(
        version=7, stable="a", canary="b", share=0.5, denied=frozenset({"c"}), served=frozenset({"a", "d"})
    )
    remember(file, seen)
    known = Deployment(stable="a", denied=frozenset({"c"}), served=frozenset({"a", "d"}))
    assert recall(file) == known
    assert known.version == 0  # so that whatever the log says replaces it


def test_nothing_seen_and_nothing_readable_are_the_base_model(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"
    assert recall(file) == Deployment()
    for text in ("", "[]", '{"stable": "a"}'):
        file.write_text(text)
        assert recall(file) == Deployment()


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    remember(tmp_path / "missing" / "deployment.json", Deployment(stable="a"))
    assert not (tmp_path / "missing").exists()
