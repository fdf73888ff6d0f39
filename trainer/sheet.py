"""A spreadsheet of questions with their right answers, saved as CSV, becomes a suite to judge nights by."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from infra.errors import NightError
from infra.settings import Settings
from trainer.suite import SuiteCase, read_suites

COLUMNS = ("question", "answer", "accepted", "cluster")
# Between the spellings in one cell.
_OR = "|"


@dataclass(frozen=True, slots=True)
class Sheet:
    """The cases of a spreadsheet, at least one, and the columns that say nothing to us."""

    cases: tuple[SuiteCase, ...]
    unused: tuple[str, ...]


def read_sheet(file: Path, collection: str) -> Sheet:
    """Rows of `question` and `answer`; `accepted` spellings (a|b) and `cluster` as a suite has them.

    A case is named by its question, so that it keeps its name wherever its row moves to.

    Raises:
        NightError: the file is not such a table; names the line and what to do.
    """
    rows = _rows(file)
    fields = list(rows.fieldnames or ())
    if missing := {"question", "answer"} - set(fields):
        raise NightError(
            f"{file}, line 1: the column {min(missing)!r} is missing; the first line names the columns, "
            "question and answer among them."
        )
    seen: dict[str, int] = {}
    cases = []
    try:
        for row in rows:
            line = rows.line_num
            question, answer, accepted, cluster = (
                " ".join((row.get(name) or "").split()) for name in COLUMNS
            )
            if not question and not answer:
                continue
            if not question or not (answer or accepted):
                raise NightError(f"{file}, line {line}: a row needs a question and its right answer.")
            if (first := seen.setdefault(question, line)) != line:
                raise NightError(f"{file}, line {line}: asks what line {first} asks: delete one of them.")
            spellings = tuple(spelling.strip() for spelling in accepted.split(_OR) if spelling.strip())
            cases.append(
                SuiteCase(
                    id=blake2b(question.encode(), digest_size=4).hexdigest(),
                    collection=collection,
                    question=question,
                    reference=answer,
                    accepted=spellings,
                    cluster=cluster,
                )
            )
    except csv.Error as err:
        raise NightError(
            f"{file}, line {rows.reader.line_num}: not CSV ({err}); check the quotes there."
        ) from err
    if not cases:
        raise NightError(f"{file} holds no question below its first line.")
    return Sheet(tuple(cases), tuple(name for name in fields if name and name not in COLUMNS))


def add(settings: Settings, file: Path, collection: str) -> dict[str, Any]:
    """Writes the suite of a spreadsheet, in place of one that it made before, and tells what it holds.

    Raises:
        NightError: no document of the collection could answer its questions, or the sheet is none.
    """
    known = settings.knowledge_dir
    if not known.is_dir() or collection not in {folder.name for folder in known.iterdir() if folder.is_dir()}:
        raise NightError(
            f"There are no documents of a collection {collection!r}, which its answers would come from: "
            f"add them first, with `nightshift knowledge add {collection} FILE`."
        )
    sheet = read_sheet(file, collection)
    suite = f"{collection}-{re.sub(r'[^a-z0-9_]+', '-', file.stem.lower()).strip('-') or 'questions'}"
    lines = [case.model_dump_json(exclude_defaults=True) + "\n" for case in sheet.cases]
    target = settings.suites_dir / f"{suite}.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".new")
    draft.write_text("".join(lines))
    draft.replace(target)
    return {"suite": suite, "file": str(target), "cases": len(lines), "unused": sheet.unused}


def told(settings: Settings) -> dict[str, Any]:
    """Every suite with its number of cases, and what all of them are beside what gates ask for.

    Raises:
        NightError: a line of a suite is no case.
    """
    cases = read_suites(settings.suites_dir)
    facts = [case for case in cases if not case.conduct]
    suites = [
        {
            "suite": name,
            "cases": sum(case.suite == name for case in cases),
            "collections": len({case.collection for case in cases if case.suite == name}),
        }
        for name in dict.fromkeys(case.suite for case in cases)
    ]
    return {
        "folder": str(settings.suites_dir),
        "suites": suites,
        "cases": len(facts),
        "clusters": len({case.group for case in facts}),
        "needed": settings.trainer.min_cases,
    }


def _rows(file: Path) -> csv.DictReader[str]:
    """Whatever separates the cells: spreadsheets write commas, semicolons or tabs, by their language."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise NightError(f"{file} is not UTF-8 text: save it as CSV UTF-8.") from err
    except OSError as err:
        raise NightError(f"{file} cannot be read: {err.strerror}.") from err
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows.fieldnames = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    return rows
