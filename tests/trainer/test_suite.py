"""Suites: what states, and what a bad file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import NightError
from trainer.suite import SuiteCase, read_suites, spells, states


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Yes, pets are welcome here.", "Pets are welcome.", True),
        ("No, pets are not welcome.", "Pets are welcome.", False),
        ("Pets are not permitted.", "No, pets are not allowed at this property.", False),
        ("Sorry, pets are not allowed.", "No, pets are not allowed at this property.", True),
        ("Pets are welcome. " * 20, "Pets are welcome.", False),
        ("", "Pets are welcome.", False),
    ],
)
def test_an_answer_passes_when_it_states_the_reference(answer: str, reference: str, expected: bool) -> None:
    assert states(answer, reference) is expected


def test_suites_are_read_in_order_and_named_after_their_file(tmp_path: Path) -> None:
    line = '{"id": "%d", "collection": "inn", "question": "q", "reference": "r"}\n'
    (tmp_path / "b.jsonl").write_text(line % 3)
    (tmp_path / "a.jsonl").write_text(line % 1 + line % 2)
    assert [(case.suite, case.id) for case in read_suites(tmp_path)] == [("a", "1"), ("a", "2"), ("b", "3")]
    assert read_suites(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "1"}', '{"id":"1","collection":"c","question":"q","reference":"r","x":1}']
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(NightError, match=r"a\.jsonl, line 1"):
        read_suites(tmp_path)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The budget is $1.5 million.", True),
        ("It is $1,500,000 a year, I think.", True),
        ("$1.5M", True),
        ("It is 1.5 million euros.", False),
        ("It is $21.5 million.", False),
        ("It is $1.5 millionth.", False),
        ("", False),
        ("word " * 45 + "$1.5M", False),
    ],
)
def test_an_exact_answer_must_be_spelled_as_whole_words(answer: str, expected: bool) -> None:
    assert spells(answer, ("$1.5 million", "$1,500,000", "$1.5M")) is expected


def test_nothing_accepted_is_said_by_nothing() -> None:
    assert not spells("", ("", "!"))
    assert not spells("!", ("!",))


def test_a_case_judges_by_its_spellings_or_its_reference() -> None:
    stated = SuiteCase(id="1", collection="inn", question="q", reference="Pets are welcome.")
    spelled = stated.model_copy(update={"accepted": ("pets",), "cluster": "animals"})
    assert stated.passed("Yes, pets are welcome here.")
    assert not stated.passed("No pets.")
    assert spelled.passed("No pets.")
    assert (stated.group, spelled.group) == ("inn", "animals")


def test_one_shop_proves_by_its_questions_and_many_by_themselves(tmp_path: Path) -> None:
    """Cases of a shop's only collection are no single proof, or one answer more would be called better."""

    def groups(collections: int) -> list[str]:
        (tmp_path / "a.jsonl").write_text(
            "".join(
                f'{{"id": "{n}", "collection": "inn-{n % collections}", "question": "q", "reference": "r"}}\n'
                for n in range(8)
            )
            + '{"id": "8", "collection": "inn-0", "question": "q", "reference": "r", "cluster": "pool"}\n'
        )
        return [case.group for case in read_suites(tmp_path)]

    assert groups(1) == [f"a/{n}" for n in range(8)] + ["pool"]
    assert groups(6) == [f"inn-{n % 6}" for n in range(8)] + ["pool"]


def test_a_case_declines_or_avoids() -> None:
    declined = SuiteCase(id="1", collection="inn", question="q", declines=True)
    avoided = SuiteCase(id="2", collection="inn", question="q", avoid=("zebra",))
    both = SuiteCase(id="3", collection="inn", question="q", reference="Pets are welcome.", avoid=("tigers",))
    assert [declined.passed(answer) for answer in ("I don't know that.", "It is Lima.", "")] == [
        True,
        False,
        False,
    ]
    assert declined.passed("That is a hard question. I can't help with it. Is there anything else?")
    assert not declined.passed("Take the bus. It leaves at nine. I'm not sure about Sundays.")
    assert [avoided.passed(answer) for answer in ("No.", "Zebra!", "A zebrafish.", " ")] == [
        True,
        False,
        True,
        False,
    ]
    assert both.passed("Pets are welcome.")
    assert not both.passed("Pets are welcome, and tigers.")


def test_a_case_that_could_not_fail_is_none() -> None:
    with pytest.raises(ValueError, match="a case needs a reference"):
        SuiteCase(id="1", collection="inn", question="q")


def test_two_suites_may_number_their_cases_alike(tmp_path: Path) -> None:
    line = '{"id": "1", "collection": "inn", "question": "q", "reference": "r"}\n'
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(line)
    assert [case.key for case in read_suites(tmp_path)] == ["a/1", "b/1"]
