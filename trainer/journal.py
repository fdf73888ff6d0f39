"""A journal: an append-only JSONL file of finished work, so that a killed stage resumes where it was.

A line torn by a kill is ignored and its work done again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

Line = TypeVar("Line", bound=BaseModel)


class Journal(Generic[Line]):
    """Lines of one kind in `file`, the first of each key counts. Used by one process at a time."""

    def __init__(self, file: Path, kind: type[Line], key: Callable[[Line], str]) -> None:
        self._file = file
        self._kind = kind
        self._key = key
        self._lines: dict[str, Line] = {}
        if file.exists():
            _mend(file)
            for text in file.read_text().splitlines():
                line = kind.model_validate_json(text)
                self._lines.setdefault(key(line), line)

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def __getitem__(self, key: str) -> Line:
        return self._lines[key]

    def __len__(self) -> int:
        return len(self._lines)

    def append(self, line: Line) -> None:
        """Adds a line; it survives a kill of this process when the call returns."""
        with self._file.open("a") as out:
            out.write(line.model_dump_json() + "\n")
        self._lines.setdefault(self._key(line), line)


def _mend(file: Path) -> None:
    """Cuts off what follows the last whole line."""
    data = file.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(file, whole)


def read_whole(file: Path, kind: type[Line]) -> Line | None:
    """The value that `write_whole` left in `file`, or None when there is none that can be read."""
    try:
        return kind.model_validate_json(file.read_text())
    except (FileNotFoundError, ValidationError):
        return None


def write_whole(file: Path, value: BaseModel) -> None:
    """Writes `value` so that the file holds all of it or is not there."""
    part = file.with_suffix(".part")
    with part.open("w") as out:
        out.write(value.model_dump_json(indent=2))
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
