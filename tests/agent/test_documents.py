"""Documents read into facts, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import documents
from infra.errors import KnowledgeError


def facts(tmp_path: Path, name: str, text: str | bytes) -> list[tuple[str, str]]:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(fact.title, fact.text) for fact in documents.read(file)]


def test_markdown_is_cut_at_headings_and_paragraphs(tmp_path: Path) -> None:
    text = "Hello.\n\n# Rooms #\n\nAll are\nquiet.\n\nSome are large.\n"
    text += "## Beds\nSoft.\n```\n# not a heading\n```\n# Food\nGood.\n"
    assert facts(tmp_path, "a.md", text) == [
        ("", "Hello."),
        ("Rooms", "All are quiet."),
        ("Rooms", "Some are large."),
        ("Rooms: Beds", "Soft. ``` # not a heading ```"),
        ("Food", "Good."),
    ]


def test_text_is_cut_at_paragraphs_and_long_ones_between_sentences(tmp_path: Path) -> None:
    long = " ".join(f"Sentence number {i} is here." for i in range(60))
    found = facts(tmp_path, "a.txt", f"One.\r\n\r\nTwo.\n \n{long}\n\n{'x' * 1500}")
    assert [text for _, text in found[:2]] == ["One.", "Two."]
    assert all(len(text) <= documents.LONGEST for _, text in found)
    assert " ".join(text for _, text in found[2:-3]) == long
    assert "".join(text for _, text in found[-3:]) == "x" * 1500


def test_csv_and_jsonl_need_title_and_text(tmp_path: Path) -> None:
    assert facts(tmp_path, "a.csv", '\ufefftitle,other,text\nPets,1,"No,\nsorry"\n') == [
        ("Pets", "No, sorry")
    ]
    assert facts(tmp_path, "a.jsonl", '{"title": "Pets", "text": "No", "id": 7}\n\n') == [("Pets", "No")]
    half = '{"title": "Half an emoji", "text": "Yes \\ud83d of course"}'
    assert facts(tmp_path, "a.jsonl", half) == [("Half an emoji", "Yes ? of course")]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "title,body\nx,y\n", "line 1: the column 'text' is missing"),
        ("a.csv", "", "line 1: the column"),
        ("a.csv", 'title,text\na,b\n"c,d\n', "line 3: not CSV"),
        ("a.csv", "title,text\na,b\nc\n", "line 3: a fact needs"),
        ("a.jsonl", '{"title": "a", "text": "b"}\n{oops\n', "line 2: not JSON"),
        ("a.jsonl", '{"title": "a", "text": ""}\n', "line 1: a fact needs"),
        ("a.jsonl", "[1]\n", "line 1: a fact needs"),
        ("a.md", b"fine\n\xff\xfe\n", "line 2: not UTF-8"),
        ("a.pdf", b"%PDF", "format that is not known"),
    ],
)
def test_a_bad_document_is_named_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, told: str
) -> None:
    with pytest.raises(KnowledgeError, match=told) as failure:
        facts(tmp_path, name, text)
    assert str(tmp_path / name) in str(failure.value)
