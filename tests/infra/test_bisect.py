"""`night bisect`: the night that broke an answer, from what the record holds; and the commands."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli.app import build
from infra.errors import NotFound
from infra.lake import Lake
from infra.report import bisect
from infra.settings import Settings
from tests.infra.test_cli import Cli, cli

__all__ = ["cli"]  # its fixture

BEGAN = datetime(2026, 3, 1, 2, tzinfo=UTC)
CASE = {
    "suite": "s",
    "case_id": "parking-1",
    "group_id": "inn",
    "question": "Is there parking [b]here[/b]?",
    "nights": 3,
}


def judged(night: int, stable: str, before: float, candidate: str, after: float) -> dict[str, Any]:
    """A row of `case_history`."""
    return {
        "night": f"n{night}", "suite": "s", "case_id": "parking-1", "at": BEGAN + timedelta(days=night),
        "verdict": "pass", "stable_adapter": stable, "stable_answer": "before", "stable_score": before,
        "candidate_adapter": candidate, "candidate_answer": "after", "candidate_score": after,
    }  # fmt: skip


def change(hour: int, action: str, adapter: str) -> dict[str, Any]:
    """A row of `deployment_history`."""
    return {
        "at": BEGAN + timedelta(hours=hour),
        "action": action,
        "adapter": adapter,
        "share": 0.5,
        "actor": "t",
    }


def test_the_first_promoted_night_that_turned_it_wrong_is_named() -> None:
    rows = [
        judged(0, "", 1, "a", 1),
        judged(1, "a", 1, "b", 0),
        judged(2, "a", 1, "c", 0),
        judged(3, "c", 0, "d", 1),
    ]
    history = [change(6, "promote", "a"), change(54, "promote", "c"), change(80, "promote", "d")]
    found = bisect.bisect(CASE, rows, bisect.promotions(history))
    assert found["broke"]["night"] == "n2", "n1 broke it too, but its adapter never served everybody"
    assert found["fixed"]["night"] == "n3"
    assert found["shifted"] == []
    assert bisect.sentences(found)[0].startswith("Night n2 broke it: its adapter c ")


def test_a_model_that_answers_otherwise_than_before_was_not_broken_by_a_night() -> None:
    rows = [judged(0, "", 0, "a", 1), judged(1, "a", 0, "b", 0)]
    found = bisect.bisect(CASE, rows, bisect.promotions([change(6, "promote", "a")]))
    assert found["broke"] is None
    assert found["shifted"] == [{"night": "n1", "adapter": "a", "right": False}]
    assert "documents, the prompt or the suite" in bisect.sentences(found)[-1]


def test_only_promotions_that_the_agents_followed_count() -> None:
    history = [
        change(1, "reject", "a"),
        change(2, "promote", "a"),
        change(3, "promote", "b"),
        change(4, "base", ""),
    ]
    assert bisect.promotions(history) == {"b": BEGAN + timedelta(hours=3)}


def test_a_case_is_meant_by_id_question_or_a_part() -> None:
    other = {**CASE, "case_id": "parking-10", "question": "Is there parking for a bus?"}
    assert bisect.meant([CASE, other], "parking-1") == [CASE]
    assert bisect.meant([CASE, other], "s/parking-10") == [other]
    assert bisect.meant([CASE, other], "is there parking FOR a bus? ") == [other]
    assert bisect.meant([other], "bus") == [other]
    assert bisect.meant([CASE, other], "parking") == [CASE, other]


def test_where_not_one_case_is_meant_the_error_names_those_that_may_be() -> None:
    cases = [{**CASE, "case_id": f"parking-{number}"} for number in range(9)]
    known = {"text": "parking", "cases": cases[:2], "more": False, "found": None}
    with pytest.raises(NotFound, match="may mean s/parking-0, s/parking-1: name one"):
        bisect.chosen(known)
    with pytest.raises(NotFound, match="s/parking-7 and more: name one"):
        bisect.chosen({**known, "cases": cases})
    with pytest.raises(NotFound, match="No night has judged 'pool'"):
        bisect.chosen({**known, "text": "pool", "cases": []})


def fill(settings: Settings, *, promote: bool) -> None:
    """Two nights: the first mends the answer, the second breaks it, and is promoted or not."""

    def row(id: str, at: datetime, **values: object) -> dict[str, object]:
        return {"event_id": id, "at": at, "extra": "{}", **values}

    evaluations, nights, deployments = [], [], []
    for number, (before, after) in enumerate([("", "ns-a"), ("ns-a", "ns-b")]):
        at, name = BEGAN + timedelta(days=number), f"n{number}"
        nights.append(
            row(
                f"n-{number}",
                at,
                night=name,
                slot=name,
                state="started",
                stage="",
                verdict="",
                adapter="",
                reason="",
                seconds=0.0,
                manifest="{}",
            )
        )
        nights.append(
            row(
                f"e-{number}",
                at,
                night=name,
                slot=name,
                state="ended",
                stage="",
                verdict="pass",
                adapter=after,
                reason="",
                seconds=9.0,
                manifest=json.dumps({"report": ["All is well."]}),
            )
        )
        for model, adapter, right in (("stable", before, number == 1), ("candidate", after, number == 0)):
            evaluations.append(
                row(
                    f"{model}-{number}",
                    at,
                    night=name,
                    suite="s",
                    case_id="parking-1",
                    group_id="inn",
                    model=model,
                    adapter=adapter,
                    question=CASE["question"],
                    answer="Yes [/b] \x1b[2J.",
                    score=float(right),
                    tokens=3,
                    latency_s=0.1,
                    parts="{}",
                )
            )
        if promote or number == 0:
            deployments.append(
                row(
                    f"d-{number}",
                    at + timedelta(hours=6),
                    action="promote",
                    adapter=after,
                    share=0.0,
                    actor="t",
                    reason="",
                    evidence="{}",
                )
            )
    with Lake.open(settings, writable=True) as lake:
        lake.append({"evaluations": evaluations, "nights": nights, "deployments": deployments}, {})


def nightshift(cli: Cli, *words: str) -> Result:
    """A command in this process: starting five would take longer than all else here."""
    return CliRunner().invoke(build(), ["--config", str(cli.file), "night", *words])


def test_the_commands_name_the_night_and_show_its_report(cli: Cli, settings: Settings) -> None:
    fill(settings, promote=True)
    found = cli.json("night", "bisect", "PARKING")
    assert (found["broke"]["night"], found["fixed"]["night"]) == ("n1", "n0")
    assert [night["after"]["right"] for night in found["nights"]] == [True, False]
    shown = nightshift(cli, "bisect", "s/parking-1")
    assert shown.exit_code == 0
    assert "Night n1 broke it" in shown.stdout
    assert "[b]here[/b]" in shown.stdout
    assert "\x1b[2J" not in shown.stdout
    report = nightshift(cli, "show", "n1", "--markdown")
    assert report.exit_code == 0
    assert report.stdout.startswith("# Night n1: pass\n")
    assert r"\[b\]here\[/b\]?" in report.stdout
    value = json.loads(nightshift(cli, "show", "n1", "--json").stdout)
    assert value["report"]["changes"]["counts"]["broken"] == 1
    assert "1 were broken" in nightshift(cli, "show", "n1").stdout


def test_a_question_that_no_night_broke_exits_with_3(cli: Cli, settings: Settings) -> None:
    fill(settings, promote=False)
    done = nightshift(cli, "bisect", "parking-1", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["broke"] is None
    unknown = nightshift(cli, "bisect", "swimming pool")
    assert isinstance(unknown.exception, NotFound)
    assert "swimming pool" in str(unknown.exception)
