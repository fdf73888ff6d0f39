"""Journals survive kills."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from trainer.journal import Journal, read_whole, write_whole


class Line(BaseModel):
    key: str
    value: int = 0


def journal(file: Path) -> Journal[Line]:
    return Journal(file, Line, key=lambda line: line.key)


def test_what_was_appended_is_there_again(tmp_path: Path) -> None:
    first = journal(tmp_path / "j.jsonl")
    first.append(Line(key="a", value=1))
    first.append(Line(key="b", value=2))
    again = journal(tmp_path / "j.jsonl")
    assert ("a" in again, "c" in again, again["b"].value, len(again)) == (True, False, 2, 2)


def test_a_torn_line_is_done_again(tmp_path: Path) -> None:
    file = tmp_path / "j.jsonl"
    journal(file).append(Line(key="a", value=1))
    with file.open("a") as out:
        out.write('{"key": "b", "val')
    torn = journal(file)
    assert "b" not in torn
    torn.append(Line(key="b", value=2))
    assert journal(file)["b"].value == 2


def test_a_whole_file_is_whole_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "note.json"
    assert read_whole(file, Line) is None
    write_whole(file, Line(key="a", value=7))
    assert read_whole(file, Line) == Line(key="a", value=7)
    file.write_text('{"key": ')
    assert read_whole(file, Line) is None
