"""The report of a night: what changed, what it cost, and a Markdown in which hostile texts stay texts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from infra.errors import NotFound
from infra.report import night as nights
from infra.report.changes import changes, distance
from infra.report.markdown import LINEAGE, escaped, markdown
from tests.infra import dashboard_business as business

HOSTILE = "a|b `code` [link](javascript:alert(1)) <img src=x> **bold**\n# head\n- item www.evil.example http://evil.example"


def case(number: int, before: float, after: float, words: str = "Yes.") -> dict[str, Any]:
    return {
        "suite": "s",
        "case_id": f"c{number:03}",
        "group_id": "g",
        "question": f"Question {number}?",
        "stable_answer": "No, there is none.",
        "candidate_answer": words,
        "stable_score": before,
        "candidate_score": after,
    }


def row(**manifest: Any) -> dict[str, Any]:
    at = datetime(2026, 3, 3, 2, tzinfo=UTC)
    return {
        "night": "20260303T0200Z",
        "slot": "20260303T0200Z",
        "started_at": at,
        "ended_at": at,
        "state": "ended",
        "stage": "deploy",
        "verdict": "pass",
        "adapter": "ns-1",
        "reason": "",
        "seconds": 10.0,
        "manifest": json.dumps({**business.MANIFEST, **manifest}),
    }


def learned(number: int, query: str = "Is there parking?") -> dict[str, Any]:
    return {
        "response_id": f"resp-{number}",
        "conversation_id": f"conv-{number}",
        "collection": f"shop-{number % 3}",
        "query": query,
        "text": "Yes, there is.",
        "reward": 0.9,
    }


@pytest.mark.parametrize("diverged", [True, False])
def test_a_reward_that_rose_while_answers_did_not_is_told(diverged: bool) -> None:
    assert nights.told(row(diverged=diverged), {}, [], [])["diverges"] is diverged


def test_broken_answers_are_shown_however_many_were_mended() -> None:
    found = changes([*(case(n, 0, 1) for n in range(50)), *(case(50 + n, 1, 0) for n in range(8))])
    kinds = [answer["kind"] for answer in found["shown"]]
    assert kinds == ["broken"] * 5 + ["fixed"] * 5
    everywhere = [*found["shown"], *found["other_broken"]]
    assert {answer["case"] for answer in everywhere if answer["kind"] == "broken"} == {
        f"c{50 + n:03}" for n in range(8)
    }


def test_mended_answers_are_shown_however_many_were_broken() -> None:
    found = changes([case(0, 0, 1), *(case(1 + n, 1, 0) for n in range(20))])
    assert [answer["kind"] for answer in found["shown"]] == ["broken"] * 9 + ["fixed"]
    assert len(found["other_broken"]) == 11


def test_free_places_go_to_what_reads_most_differently() -> None:
    near, far, same = (
        case(1, 1, 1, "No, there is one."),
        case(2, 0, 0, "Ask them."),
        case(3, 1, 1, "No, there is none."),
    )
    found = changes([near, far, same, case(4, 0, 1)])
    assert [answer["case"] for answer in found["shown"]] == ["c004", "c002", "c001"]
    assert found["counts"] == {"fixed": 1, "broken": 0, "right": 2, "wrong": 1}


def test_a_case_that_one_model_did_not_answer_is_not_compared() -> None:
    assert changes([{**case(1, 1, 1), "candidate_score": None, "candidate_answer": None}])["cases"] == 0


@given(st.text(), st.text())
def test_distance_is_symmetric_and_bounded(a: str, b: str) -> None:
    assert 0.0 <= distance(a, b) <= 1.0
    assert distance(a, b) == pytest.approx(distance(b, a))
    assert distance(a, a) == 0.0


def test_a_point_that_was_not_gained_has_no_price() -> None:
    rates = {"stable": {"rate": 0.6}, "candidate": {"rate": 0.55}}
    costs = nights.costs({**business.MANIFEST, "pass_rate": rates})
    assert costs["seconds_per_point"] is None
    assert costs["points"] == pytest.approx(-5.0)
    assert "No point of right answers was gained (-5.0)" in markdown(
        nights.told(row(pass_rate=rates), {}, [], [])
    )


def test_examples_come_from_different_collections() -> None:
    found = nights.spread([learned(0), learned(3), learned(1), learned(2)], 3)
    assert [one["response_id"] for one in found] == ["resp-0", "resp-1", "resp-2"]


def test_copies_lengths_and_both_polarities_stand_side_by_side() -> None:
    rows = {one["what"]: (one["stable"], one["candidate"]) for one in nights.measured(business.MANIFEST)}
    assert rows == {
        "Right answers": (0.5, 0.671),
        "Right, where the answer affirms": (0.41, 0.6),
        "Right, where the answer negates": (0.63, 0.78),
        "Word-for-word copies of a fact": (0.02, 0.09),
        "Words of the median answer": (14.3, 9.5),
    }


def test_the_markdown_has_everything() -> None:
    text = markdown(
        nights.told(row(collections=3), {}, [learned(n) for n in range(4)], [case(1, 0, 1), case(2, 1, 0)])
    )
    for words in (
        "400 questions of customers about 3 collections",
        "1 is answered rightly now",
        "1 the other way round",
        "| resample | 11 min 13 s | 61,234 |",
        "snapshot 41",
        "| resp-3 | conv-3 |",
        "0.102 to 0.238",
        "2.0% | 9.0%",
    ):
        assert words in text, words


def test_a_long_lineage_is_told_by_its_first_rows_and_where_the_others_are() -> None:
    text = markdown(nights.told(row(), {}, [learned(n) for n in range(300)], []))
    assert "beside 300 answers" in text
    assert text.count("| resp-") == LINEAGE
    assert f"And 290 more: `nightshift night show {row()['night']} --json`." in text


def test_a_question_that_the_night_wrote_itself_leads_to_no_conversation() -> None:
    own = {**learned(2, ""), "response_id": "synthetic-1", "conversation_id": None, "query": None}
    written = {"kept": 55, "questions": {"synthetic-1": "Can I | park?"}}
    report = nights.told(row(queries=0, synthetic=written), {}, [learned(1), own], [])
    asked = {one["response_id"]: (one["query"], one["synthetic"]) for one in report["lineage"]["answers"]}
    assert asked == {"resp-1": ("Is there parking?", False), "synthetic-1": ("Can I | park?", True)}
    assert report["lineage"]["conversations"] == 1
    text = markdown(report)
    assert "0 questions of customers" in text
    assert "and 55 that the night wrote itself" in text
    assert "beside 1 answer of 1 conversation. 1 question more it wrote itself." in text
    assert "| synthetic-1 | none, the night asked itself: Can I \\| park? |" in text
    assert "- Can I \\| park?" in text


@pytest.mark.parametrize(
    "text", ["# head", "## head", "- item", "-", "+ item", "1. item", "100) item", "> word"]
)
def test_a_text_begins_nothing_in_markdown(text: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(f"{escaped(text)}\n")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]


def test_a_text_is_left_as_it_is_where_it_means_nothing() -> None:
    plain = "Open from 9:30 (+1 hour on Sundays!), for -5% and #1"
    assert escaped(plain) == plain


def test_hostile_texts_stay_texts_in_markdown() -> None:
    hostile = {**case(1, 0, 1, HOSTILE), "question": HOSTILE, "stable_answer": "x\x1b[2Jy\u202e"}
    text = markdown(nights.told(row(), {}, [learned(1, HOSTILE)], [hostile]))
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child.type for token in tokens for child in token.children or []]
    assert {"html_inline", "link_open", "image", "code_inline"}.isdisjoint(inline)
    assert "html_block" not in {token.type for token in tokens}
    heads = [
        token.content
        for token, open_ in zip(tokens[1:], tokens, strict=False)
        if open_.type == "heading_open"
    ]
    assert not any("head" in title.split() for title in heads)
    changed = [line for line in text.splitlines() if line.startswith("| a\\|b")]
    assert len(changed) == 1
    assert "\x1b" not in text
    assert "\u202e" not in text


@given(st.text())
def test_an_escaped_text_reads_as_it_was(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse("x " + escaped(text) + " x")
    (inline,) = (token for token in tokens if token.type == "inline")
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}


def test_an_unknown_night_is_said_so() -> None:
    with pytest.raises(NotFound, match="'none'"):
        nights.read(lambda name, **_: [], "none")


def test_a_gate_of_an_older_night_is_told_by_its_figures() -> None:
    found = nights.told(row(), {}, [], [])["gates"]
    assert found[0]["said"].endswith(
        "Measured +0.171 on 240 questions, by chance between +0.102 and +0.238; the limit is +0.000."
    )
    assert found[1]["said"] == "answers do not grow. Not measured."
    assert nights.said({**found[0], "said": "In words."}) == "In words."
