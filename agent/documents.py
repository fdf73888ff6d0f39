"""A business's documents, read into facts: Markdown, plain text, CSV and JSONL.

A fact is a passage short enough for a prompt; its title says what it is about, and is empty where the
document says nothing of it. Other formats are left to an import; searching is not done here.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.errors import KnowledgeError
from infra.events import Fact

# Six facts of this many characters take about half of a small model's window of 2,048 tokens.
LONGEST = 600

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")
_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def read(file: Path) -> tuple[Fact, ...]:
    """The facts in one document, in its order.

    Raises:
        KnowledgeError: the format is unknown, or the file cannot be read as it; names file and line.
    """
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise KnowledgeError(f"{file} has a format that is not known: use one of {', '.join(_READERS)}.")
    return tuple(reader(file, _text(file)))


def is_document(file: Path) -> bool:
    """Whether `read` knows the format; hidden files (an editor's, a copy under way) are none."""
    return file.suffix.lower() in _READERS and not file.name.startswith(".")


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as err:
        raise KnowledgeError(
            f"{file} cannot be read ({err.strerror}): check that it exists and who owns it."
        ) from err
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise KnowledgeError(f"{file}, line {line}: not UTF-8 text; save it as UTF-8.") from err


def _markdown(_: Path, text: str) -> Iterator[Fact]:
    """Paragraphs, titled by the headings above them, outermost first."""
    for headings, body in _sections(text):
        title = ": ".join(headings)
        for passage in _passages(body):
            yield Fact(title=title, text=passage)


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Headings in force, and the text below them. A `#` inside a fenced block is no heading."""
    headings: dict[int, str] = {}
    body: list[str] = []
    fenced = False
    for line in text.split("\n"):
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        if heading is None:
            body.append(line)
            continue
        yield tuple(headings.values()), "\n".join(body)
        level = len(heading[1])
        headings = {depth: title for depth, title in headings.items() if depth < level} | {level: heading[2]}
        body = []
    yield tuple(headings.values()), "\n".join(body)


def _plain(_: Path, text: str) -> Iterator[Fact]:
    for passage in _passages(text):
        yield Fact(title="", text=passage)


def _passages(text: str) -> Iterator[str]:
    """Paragraphs; a long one is cut between sentences, an endless sentence at LONGEST characters."""
    for paragraph in _BLANK_LINES.split(text):
        passage = ""
        for sentence in _SENTENCE_END.split(" ".join(paragraph.split())):
            if passage and len(passage) + len(sentence) >= LONGEST:
                yield passage
                passage = ""
            passage = f"{passage} {sentence}".strip()
            while len(passage) > LONGEST:
                yield passage[:LONGEST]
                passage = passage[LONGEST:].strip()
        if passage:
            yield passage


def _csv(file: Path, text: str) -> Iterator[Fact]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = {"title", "text"} - set(rows.fieldnames or ())
        if missing:
            raise KnowledgeError(
                f"{file}, line 1: the column {min(missing)!r} is missing; the first line names the columns, "
                "title and text among them."
            )
        for row in rows:
            yield _fact(file, rows.line_num, row)
    except csv.Error as err:
        raise KnowledgeError(
            f"{file}, line {rows.reader.line_num}: not CSV ({err}); check the quotes there."
        ) from err


def _jsonl(file: Path, text: str) -> Iterator[Fact]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as err:
            raise KnowledgeError(
                f"{file}, line {number}: not JSON ({err}); each line is one object."
            ) from err
        yield _fact(file, number, row)


def _fact(file: Path, line: int, row: object) -> Fact:
    title, text = (row.get("title"), row.get("text")) if isinstance(row, dict) else (None, None)
    if not isinstance(title, str) or not isinstance(text, str) or not text.strip():
        raise KnowledgeError(f"{file}, line {line}: a fact needs a title and a text, both of them text.")
    # Not cut: whoever wrote a row decided what belongs together. The prompt drops what does not fit.
    return Fact(title=_line(title), text=_line(text))


def _line(text: str) -> str:
    """In one line. Half an emoji, which JSON can hold and nothing can send, becomes a question mark."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


_READERS: dict[str, Callable[[Path, str], Iterator[Fact]]] = {
    ".md": _markdown,
    ".txt": _plain,
    ".csv": _csv,
    ".jsonl": _jsonl,
}
