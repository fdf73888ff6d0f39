"""`nightshift canary …`: an operator's say in a trial, each with its reason in the history."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from infra.eventlog import open_log
from infra.events import DeploymentChanged, Event, Topic
from infra.follow import Change, Deployments
from infra.settings import Settings
from tests.infra.test_cli import Cli, adapter, state


@pytest.fixture
def cli(settings: Settings, tmp_path: Path) -> Cli:
    return Cli(settings, tmp_path)


def start(settings: Settings, name: str) -> None:
    body = DeploymentChanged(action="canary", adapter=name, share=0.25, actor="test")
    event = Event.of(body, Topic.DEPLOYMENTS)
    with closing(open_log(settings)) as log:
        log.append(event.topic, event.key, event.encode()).result(10)


def last(settings: Settings) -> Change:
    with closing(open_log(settings)) as log, closing(Deployments(log)) as tail:
        tail.poll()
        return tail.history[-1]


def test_pause_resume_and_promote(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    name = adapter(settings, tmp_path).name
    start(settings, name)
    assert cli.json("canary", "pause", "--reason", "a fair in town")["paused"] is True
    assert (state(settings).paused, state(settings).share) == (True, 0.25)
    made = last(settings).body
    assert (made.action, made.reason, made.actor.startswith("cli:")) == ("pause", "a fair in town", True)
    assert "25%, paused" in cli("canary", "status").stdout
    again = cli("canary", "pause")
    assert (again.returncode, "paused already" in again.stderr) == (1, True)
    assert cli.json("canary", "resume", "--reason", "it is over")["paused"] is False
    assert "not paused" in cli("canary", "resume").stderr
    assert cli.json("canary", "promote", "--reason", "seen enough")["stable"] == name
    assert last(settings).body.reason == "seen enough"


def test_rollback_and_base(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    one, two = (adapter(settings, tmp_path, content).name for content in (b"one", b"two"))
    cli.json("adapters", "promote", one)
    start(settings, two)
    told = cli.json("canary", "rollback", "--reason", "odd answers")
    assert (told["stable"], told["canary"], told["share"]) == (one, "", 0.0)
    assert state(settings).denied == {two}
    told = cli.json("canary", "base", "--reason", "all of it is odd")
    assert (told["stable"], told["canary"]) == ("", "")
    assert state(settings).denied == {one, two}
    assert (last(settings).body.action, last(settings).body.reason) == ("base", "all of it is odd")
    assert cli("canary", "base").returncode == 1


@pytest.mark.parametrize("word", ["pause", "resume", "promote", "rollback"])
def test_without_a_canary_there_is_nothing_to_decide(cli: Cli, word: str) -> None:
    done = cli("canary", word, "--json")
    assert done.returncode == 1
    assert "No adapter is on canary" in json.loads(done.stdout)["error"]


def test_a_drill_is_told_what_to_play(cli: Cli) -> None:
    done = cli("canary", "drill", "--only", "no such adapter")
    assert done.returncode == 2
    assert "random weights" in done.stderr  # what there is to choose
