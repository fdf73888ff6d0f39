"""The demo's parts that can be looked at without playing it."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest
from rich.console import Console

from infra.demo.business import Question, cast
from infra.demo.customers import conversations
from infra.demo.program import Program, table
from infra.demo.stage import Sizes, clear, prepare
from infra.demo.voters import Voters, hoped_for
from infra.errors import ProcessError
from infra.settings import Settings, load

GOOD: dict[str, Any] = {
    "night": {
        "verdict": "pass",
        "queries": 149,
        "completions": 1192,
        "chosen": 60,
        "pass_rate": {"stable": {"rate": 0.5, "low": 0.4, "high": 0.6, "n": 180}},
        "gates": [{"name": "held-out", "verdict": "pass", "estimate": 0.2, "low": 0.1, "high": 0.3}],
    },
    "canary": {"verdict": "promote", "seconds": 40.0, "reason": "Better."},
    "drill": {"rolled_back": True, "answers": 9, "detect_s": 5.0, "roll_back_s": 0.4},
    "customers": {"answers": 400, "errors": 0, "lost": 0, "votes": 90},
}


@pytest.mark.parametrize("seed", range(1, 11))
def test_no_business_plays_two_parts(seed: int) -> None:
    sizes = Sizes()
    dealt = cast(seed, sizes.learn, sizes.held_out)
    assert (len(dealt.learn), len(dealt.held_out)) == (sizes.learn, sizes.held_out)
    parts = [{question.collection for question in part} for part in (dealt.learn, dealt.held_out, dealt.live)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert len(parts[1]) == 20  # gates resample businesses: few would make their intervals too narrow
    assert len(dealt.live) >= 500  # so that a canary ends


def test_another_seed_deals_anew_and_the_same_one_does_not() -> None:
    assert cast(1, 150, 180) == cast(1, 150, 180)
    assert cast(1, 150, 180).learn != cast(2, 150, 180).learn


def test_conversations_hold_every_question_once_with_one_business_each() -> None:
    questions = cast(1, 150, 180).learn
    talks = conversations(questions, seed=1)
    key = Question.__repr__
    assert sorted((q for talk in talks for q in talk), key=key) == sorted(questions, key=key)
    assert all(len({question.collection for question in talk}) == 1 for talk in talks)
    assert {len(talk) for talk in talks} == {1, 2}


def test_a_customer_is_mostly_satisfied_by_the_right_answer() -> None:
    assert hoped_for("Yes, parking is free.", "Yes, parking is free.")
    assert not hoped_for("I do not know.", "Yes, parking is free.")
    rng, everybody = random.Random(1), Voters(share=1.0)
    right = [everybody.thumb("", True, rng) for _ in range(300)]
    wrong = [everybody.thumb("", False, rng) for _ in range(300)]
    assert set(right) == {1, -1}
    assert 0.7 < right.count(1) / 300 < 0.9
    assert 0.1 < wrong.count(1) / 300 < 0.3
    few = [Voters().thumb("", True, rng) for _ in range(300)]
    assert 0.15 < few.count(1) / 300 < 0.25


def test_the_malicious_say_the_reverse_of_every_answer() -> None:
    rng, voters = random.Random(1), Voters(share=0.5, people=20, malicious=2)
    names = {voters.name(rng) for _ in range(500)}
    assert names == {f"person-{number}" for number in range(20)}
    assert {voters.thumb("person-1", True, rng) for _ in range(50)} == {-1}
    assert {voters.thumb("person-1", False, rng) for _ in range(50)} == {1}
    honest = [voters.thumb("person-2", True, rng) for _ in range(300)]
    assert honest.count(0) > 100
    assert honest.count(1) > 2 * honest.count(-1)


def test_success_needs_every_part() -> None:
    assert Program(seed=1, **GOOD).succeeded
    for part, change in (
        ("night", {"verdict": "fail"}),
        ("canary", {"verdict": "roll back"}),
        ("canary", {}),
        ("drill", {"rolled_back": False}),
        ("customers", {"errors": 1, "lost": 0}),
        ("customers", {"errors": 0, "lost": 1}),
    ):
        spoilt = GOOD | {part: GOOD[part] | change if change else {}}
        assert not Program(seed=1, **spoilt).succeeded, (part, change)


def test_the_summary_tells_every_part() -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(table(Program(seed=1, **GOOD)))
    text = out.getvalue()
    for told in ("149 queries", "50.0% of 180", "pass: +0.200", "promote after 40 s", "9 of its answers"):
        assert told in text
    assert json.loads(json.dumps(Program(seed=1, **GOOD).to_json()))["succeeded"] is True


def test_a_drill_that_was_not_caught_is_told_as_such() -> None:
    out = io.StringIO()
    missed = GOOD | {"drill": {"rolled_back": False, "answers": 150}}
    Console(file=out, width=200).print(table(Program(seed=1, **missed)))
    assert "NOT caught within 150" in out.getvalue()


def test_the_stage_is_set_for_a_service(settings: Settings) -> None:
    dealt = cast(3, 20, 12)
    service = prepare(settings, 3, dealt, Sizes(learn=20, held_out=12))
    written = load(service.file)
    assert written.agent.port == settings.agent.port
    assert written.trainer.seed == 3
    assert set(written.trainer.held_out) == {case.collection for case in dealt.held_out}
    cases = (written.data / "suites" / "held_out.jsonl").read_text().splitlines()
    assert len(cases) == 12
    assert all((written.knowledge_dir / b.collection / "facts.jsonl").is_file() for b in dealt.businesses)


def test_a_record_that_is_not_a_demos_is_never_touched(settings: Settings) -> None:
    settings.data.mkdir(parents=True)
    (settings.data / "precious").write_text("mine")
    with pytest.raises(ProcessError, match="NIGHTSHIFT_DATA"):
        clear(settings)
    assert (settings.data / "precious").read_text() == "mine"


def test_an_earlier_demo_is_moved_aside(settings: Settings) -> None:
    (clear(settings) / "summary.json").write_text("{}")
    clear(settings)
    kept = [folder for folder in settings.data.parent.iterdir() if folder.name.startswith("data-")]
    assert len(kept) == 1
    assert (kept[0] / "demo" / "summary.json").exists()
