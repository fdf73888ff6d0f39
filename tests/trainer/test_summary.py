"""What a night tells the record for its report: gates in words, and questions without personal data."""

from __future__ import annotations

import pytest

from trainer.evaluate import Answered, Prompted
from trainer.gates import Gate, Verdict
from trainer.notes import Evaluation
from trainer.report import report, said
from trainer.suite import SuiteCase
from trainer.summary import evaluation_events

CASE = SuiteCase(
    id="c1", suite="s", collection="inn", question="I am ann@example.org: is there parking?", reference="Yes."
)
ANSWER = Answered(case="c1", answer="Yes.", tokens=2, latency_s=0.1, passed=True, negated=False, copied=False)


def gate(name: str, verdict: Verdict, **figures: float) -> Gate:
    values = {
        "margin": 0.0,
        "needed": 100,
        "n": 120,
        "estimate": 0.242,
        "low": 0.167,
        "high": 0.317,
        **figures,
    }
    return Gate.model_validate({"name": name, "claim": "It is so.", "verdict": verdict, **values})


def test_the_question_stands_beside_both_answers_without_personal_data() -> None:
    prompted = Prompted(case="c1", group="inn", messages=(), facts=())
    evaluation = Evaluation(prompts=(prompted,), stable=(ANSWER,), candidate=(ANSWER,))
    events = list(evaluation_events("n", [CASE], evaluation, "", "ns-1"))
    assert [event.model for event in events] == ["stable", "candidate"]
    assert {event.question for event in events} == {"I am [EMAIL]: is there parking?"}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (gate("held-out", Verdict.PASS), ["24.2 points more often", "+16.7 and +31.7", "Passed."]),
        (gate("held-out", Verdict.FAIL, estimate=-0.05), ["5.0 points less often", "Not passed."]),
        (gate("length", Verdict.PASS, estimate=-0.158, margin=0.1), ["16% shorter", "at most 10% longer"]),
        (
            gate("answered", Verdict.FAIL, estimate=0.025),
            ["2.5% of the new answers are empty", "Not passed."],
        ),
        (gate("held-out", Verdict.NOT_ENOUGH_DATA, n=9), ["It is so. Too little to tell"]),
    ],
)
def test_a_gate_is_told_in_words(told: Gate, words: list[str]) -> None:
    for part in words:
        assert part in said(told)


def test_a_gate_of_an_unknown_unit_has_no_words_of_its_own() -> None:
    assert said(gate("something new", Verdict.PASS)) == ""


def test_questions_of_the_nights_own_are_told_where_there_are_some() -> None:
    def learned(queries: int, synthetic: int) -> str:
        return report(queries, 400, 60, 0, [], [], Verdict.PASS, "", synthetic)[-1]

    tried = "tried 400 answers to them, and learned from the 60 that were clearly right."
    assert learned(100, 0) == f"The night took 100 questions that customers asked, {tried}"
    assert learned(12, 88) == (
        f"The night took 100 questions, {tried} Customers had asked 12 of these questions; the other 88 the "
        "night wrote itself, from your documents."
    )
    assert "Customers had asked none of these questions" in learned(0, 100)


def test_what_was_rehearsed_is_told_where_there_was_some() -> None:
    def paragraphs(rehearsed: int) -> list[str]:
        return report(100, 400, 60, 0, [], [], Verdict.PASS, "", rehearsed=rehearsed)

    assert paragraphs(27)[:-1] == paragraphs(0)
    assert "learned from 27 of its own answers to questions that no shop answers" in paragraphs(27)[-1]
