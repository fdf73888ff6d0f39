"""Several nights in a row: who asks what on which day, and what the result says."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.demo.business import Business, Question
from infra.demo.customers import Told
from infra.errors import NotFound
from infra.learn import controls, result, school
from infra.learn.controls import Control
from infra.learn.result import Night


def manifest(stable: float, candidate: float, verdict: str = "pass") -> dict[str, Any]:
    return {
        "verdict": verdict,
        "queries": 40,
        "chosen": 30,
        "tokens": {"resample": 5000},
        "stages": {"resample": 60.0, "finetune": 40.0},
        "pass_rate": {
            "stable": {"rate": stable, "low": stable - 0.1, "high": stable + 0.1, "n": 100},
            "candidate": {"rate": candidate, "low": candidate - 0.1, "high": candidate + 0.1, "n": 100},
        },
        "by_polarity": {name: {"affirmed": 0.6, "negated": 0.7} for name in ("stable", "candidate")},
        "copies": {"stable": 0.05, "candidate": 0.125},
        "words": {"stable": 14.0, "candidate": 9.0},
    }


def printed(nights: list[Night], width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(result.table(nights))
    return out.getvalue()


def test_a_row_for_each_night_and_one_for_before() -> None:
    nights = [Night.of(1, manifest(0.5, 0.7), ""), Night.of(2, manifest(0.7, 0.6, "fail"), "no")]
    assert [night.points for night in nights] == [pytest.approx(20.0), pytest.approx(-10.0)]
    lines = printed(nights)
    # The rate above its interval: so the table fits.
    assert re.search(r" 0\.500 .*\n.* 0\.400 to 0\.600 ", lines)
    assert re.search(r" 0\.700 .*\n.* 0\.600 to 0\.800 ", lines)
    assert "12%" in lines
    # 5,000 tokens and 100 s for 20 points; none for the night that lost.
    assert re.search(r" 250 .*\n.* 5 s ", lines)
    assert lines.count(" 250 ") == lines.count(" 5 s ") == 1
    assert "…" not in printed(nights, width=80)
    whole = result.to_json(nights, 1.0, {"seed": "1"})
    assert json.loads(json.dumps(whole))["nights"][0]["candidate"]["rate"] == 0.7


def test_questions_of_one_kind_have_no_rate_of_the_other() -> None:
    told = manifest(0.5, 0.7) | {"by_polarity": {name: {"affirmed": 0.6} for name in ("stable", "candidate")}}
    night = Night.of(1, told, "")
    assert night.candidate is not None
    assert night.candidate.negated is None
    assert printed([night]).count("none") == 3  # the first row's name, and both rows' rate


def test_a_night_that_ended_early_has_no_rates() -> None:
    early = {"verdict": "not enough data", "queries": 4, "chosen": 0, "stages": {"choose": 1.0}}
    night = Night.of(1, early, "too few")
    assert night.candidate is None
    assert night.points == 0.0
    assert "not enough data" in printed([night])


def businesses_and_questions() -> tuple[list[Business], list[Question]]:
    known = [Business(f"b{n}", f"B{n}", n >= 4, (("", "Parking is free."),)) for n in range(6)]
    asked = [Question(b.collection, f"question {i}?", "Parking is free.") for b in known for i in range(5)]
    return known, asked


def test_days_share_no_question_and_nobody_is_judged_who_taught() -> None:
    known, asked = businesses_and_questions()
    parts, cast = school.days(known, asked, 1, 2, 8, 7)
    assert [len(part) for part in parts] == [8, 8]
    assert len({(q.collection, q.text) for part in parts for q in part}) == 16
    assert {q.collection for q in cast.learn} == {"b0", "b1", "b2", "b3"}
    assert {q.collection for q in cast.held_out} == {"b4", "b5"}
    assert len(cast.held_out) == 7
    assert school.days(known, asked, 1, 2, 8, 7)[0] == parts
    assert school.days(known, asked, 2, 2, 8, 7)[0] != parts
    assert len(school.days(known, asked, 1, 1, 8, 0)[1].held_out) == 10


def test_facts_of_a_folder_are_bare_texts(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        facts = [{"doc_id": "0", "question": "Is parking free?", "answer": "Parking is free."}]
        business = {"entity": f"hotel/{split}", "name": "INN", "facts": facts}
        (tmp_path / f"businesses_{split}.jsonl").write_text(json.dumps(business) + "\n")
        question = {
            "entity": f"hotel/{split}",
            "name": "INN",
            "question": "Is parking free?",
            "answer": "Parking is free.",
        }
        (tmp_path / f"questions_{split}.jsonl").write_text(json.dumps(question) + "\n")
    known, asked = school.of_folder(tmp_path)
    assert [(b.collection, b.held_out, b.facts) for b in known] == [
        ("hotel-train", False, (("", "Parking is free."),)),
        ("hotel-dev", True, (("", "Parking is free."),)),
    ]
    assert asked[1] == Question("hotel-dev", "Is parking free?", "Parking is free.")
    (tmp_path / "questions_dev.jsonl").unlink()
    with pytest.raises(NotFound, match="questions_dev"):
        school.of_folder(tmp_path)


def test_the_demos_school_holds_no_titles() -> None:
    known, asked = school.of_demo()
    assert all(title == "" and text for business in known for title, text in business.facts)
    assert len(asked) > 1000


def test_articles_become_one_desk_that_is_judged_on_answers_nobody_asked_for(tmp_path: Path) -> None:
    article = {"item": "budget", "text": "About money\n The budget is $5. \n\n Ask Ann for more.\n"}
    (tmp_path / "articles.jsonl").write_text(json.dumps(article) + "\n")
    question = {"item": "budget", "question": "How much?", "answer": "$5", "alternatives": ["five dollars"]}
    for split in ("train", "dev"):
        (tmp_path / f"questions_{split}.jsonl").write_text(json.dumps(question | {"split": split}) + "\n")
    known, asked = school.of_folder(tmp_path)
    facts = (("About money", "The budget is $5."), ("About money", "Ask Ann for more."))
    assert [(b.collection, b.held_out, b.facts) for b in known] == [
        ("desk-train", False, facts),
        ("desk-dev", True, facts),
    ]
    assert asked[1] == Question("desk-dev", "How much?", "$5", ("$5", "five dollars"), "budget")


def gate(name: str, verdict: str) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "estimate": -0.1, "low": -0.2, "high": 0.0}


def test_a_control_holds_where_its_night_did_not_pass_and_says_which_gate_stopped_it() -> None:
    gates = {"gates": [gate("held-out", "fail"), gate("tokens", "pass")]}
    stopped = Control.of_night("random", manifest(0.5, 0.4, "fail") | gates)
    passed = Control.of_night("longest", manifest(0.5, 0.7) | gates)
    assert (stopped.holds, stopped.before, stopped.after) == (True, 0.5, 0.4)
    assert stopped.why == "held-out -0.100 (-0.200 to +0.000)"
    assert not passed.holds
    early = {"verdict": "not enough data", "gates": [], "report": ["Too few.", "More."]}
    assert Control.of_night("random", early).why == "Too few."
    out = io.StringIO()
    Console(file=out, width=200).print(controls.table([stopped, passed]))
    assert "NO" in out.getvalue()
    assert json.loads(json.dumps(controls.to_json([stopped])))[0]["holds"] is True


def votes(verdict: str, new: tuple[float, float]) -> Control:
    """A right answer was worth 0.6 and a wrong one 0.4; after a renewal they are worth `new`."""
    told = [Told(name, "stable", "", 0.0, 1.0, name == "right") for name in ("right", "wrong")]
    judged = [
        {"response_id": "right", "present": 0.6, "new": new[0]},
        {"response_id": "wrong", "present": 0.4, "new": new[1]},
        {"response_id": "asked by another", "present": 0.0, "new": 1.0},
    ]
    outcome = {"gate": {"verdict": verdict, "detail": "told"}, "doubted": 1, "voters": 9}
    return Control.of_votes(outcome, judged, told)


@pytest.mark.parametrize(
    ("verdict", "new", "holds"),
    [
        ("pass", (0.9, 0.1), True),
        ("pass", (0.1, 0.9), False),
        ("fail", (0.1, 0.9), True),
        ("not enough data", (0.1, 0.9), True),
    ],
)
def test_a_renewal_by_malicious_votes_may_only_come_into_use_where_it_is_truly_better(
    verdict: str, new: tuple[float, float], holds: bool
) -> None:
    found = votes(verdict, new)
    assert found.holds is holds
    assert found.before == 1.0
    assert found.after == float(new[0] > new[1])
    assert found.why == "told; 1 of 9 voters doubted"


def test_equal_values_tell_nothing() -> None:
    assert controls.area([0.5, 0.5], [True, False]) == 0.5
    assert controls.area([0.5], [True]) == 0.5
