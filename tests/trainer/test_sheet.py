"""A spreadsheet as a suite: what its cells mean, and what is said where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import NightError
from infra.settings import Settings
from trainer.sheet import add, read_sheet, told
from trainer.suite import read_suites


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "My questions (2).csv"


def known(settings: Settings, collection: str = "shop") -> None:
    (settings.knowledge_dir / collection).mkdir(parents=True)


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_what_any_spreadsheet_writes_is_read(file: Path, between: str) -> None:
    rows = [
        ["Question", "answer ", "Accepted", "cluster", "Note"],
        ["Is there parking?", '"Yes, behind the shop."', "", "", "old"],
        ['"What does ""express"" cost?"', "", '"4.90 €| 4,90 €"', "post", ""],
        ["", "", "", "", ""],
    ]
    file.write_bytes(("\ufeff" + "\r\n".join(between.join(row) for row in rows)).encode())
    sheet = read_sheet(file, "shop")
    parking, express = sheet.cases
    assert (parking.question, parking.reference, parking.accepted) == (
        "Is there parking?",
        "Yes, behind the shop.",
        (),
    )
    assert (express.question, express.accepted, express.cluster) == (
        'What does "express" cost?',
        ("4.90 €", "4,90 €"),
        "post",
    )
    assert express.passed("It costs 4,90 €.")
    assert sheet.unused == ("note",)


def test_a_case_keeps_its_name_where_its_row_moves(file: Path) -> None:
    file.write_text("question,answer\nA?,a\nB?,b\n")
    before = {case.question: case.id for case in read_sheet(file, "shop").cases}
    file.write_text("question,answer\nC?,c\nB?,bb\nA?,a\n")
    after = {case.question: case.id for case in read_sheet(file, "shop").cases}
    assert before.items() <= after.items()
    assert len(set(after.values())) == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("frage,antwort\nA?,a\n", "line 1: the column 'answer' is missing"),
        ("question,answer\nA?,a\nB?,\n", "line 3: a row needs a question and its right answer"),
        ("question,answer\nA?,a\nB?,b\nA?,c\n", "line 4: asks what line 2 asks"),
        ('question,answer\n"A?"x,a\n', "line 2: not CSV"),
        ("question,answer\n", "holds no question"),
        ("", "line 1: the column"),
    ],
)
def test_what_is_no_table_of_questions_is_told_by_line(file: Path, text: str, why: str) -> None:
    file.write_text(text)
    with pytest.raises(NightError, match=why):
        read_sheet(file, "shop")


def test_other_encodings_and_missing_files_are_told(file: Path) -> None:
    with pytest.raises(NightError, match="cannot be read: No such file"):
        read_sheet(file, "shop")
    file.write_bytes("question,answer\nGeöffnet?,Ja\n".encode("latin-1"))
    with pytest.raises(NightError, match="save it as CSV UTF-8"):
        read_sheet(file, "shop")


def test_a_sheet_becomes_a_suite_and_is_replaced_by_its_next_version(settings: Settings, file: Path) -> None:
    file.write_text("question,answer\nA?,a\nB?,b\n")
    with pytest.raises(NightError, match="nightshift knowledge add shop FILE"):
        add(settings, file, "shop")
    assert not settings.suites_dir.exists()
    known(settings)
    with pytest.raises(NightError, match="no documents"):
        add(settings, file, "../knowledge")
    assert add(settings, file, "shop")["suite"] == "shop-my-questions-2"
    file.write_text("question,answer\nC?,c\n")
    assert add(settings, file, "shop")["cases"] == 1
    assert [(case.key.partition("/")[0], case.question) for case in read_suites(settings.suites_dir)] == [
        ("shop-my-questions-2", "C?")
    ]


def test_suites_are_told_beside_what_gates_ask_for(settings: Settings, file: Path) -> None:
    assert told(settings)["cases"] == 0
    for number in range(6):
        known(settings, f"shop-{number}")
        file.write_text("question,answer\nA?,a\nB?,b\n")
        add(settings, file, f"shop-{number}")
    found = told(settings)
    assert (found["cases"], found["clusters"], found["needed"]) == (12, 6, settings.trainer.min_cases)
    assert found["suites"][0] == {"suite": "shop-0-my-questions-2", "cases": 2, "collections": 1}
