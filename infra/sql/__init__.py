"""The SQL of the lake as documents: named queries in `*.sql` beside this file, and `migrations/`.

A query is a `-- name:` line, a line or more of `--` description, and SQL with `$name` parameters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

from infra.errors import LakeError

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_PARAMETER = re.compile(r"\$([a-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    description: str
    sql: str
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class Migration:
    """One forward step of the schema. `version` counts from 1 without gaps."""

    version: int
    name: str
    sql: str


def parse(text: str) -> dict[str, Query]:
    """The named queries of one document.

    Raises:
        LakeError: a query has no description, or two have one name.
    """
    _, *parts = _NAME.split(text)
    queries: dict[str, Query] = {}
    for name, block in zip(parts[::2], parts[1::2], strict=True):
        lines = block.strip().splitlines()
        comment = [line for line in lines if line.startswith("--")]
        sql = "\n".join(line for line in lines if not line.startswith("--")).strip().removesuffix(";")
        if not comment or name in queries:
            raise LakeError(f"The query {name!r} needs a description and a name of its own: mend its file.")
        description = " ".join(line.removeprefix("--").strip() for line in comment)
        queries[name] = Query(name, description, sql, frozenset(_PARAMETER.findall(sql)))
    return queries


def queries() -> dict[str, Query]:
    """All named queries of this folder, by name."""
    documents = sorted(f.name for f in files(__name__).iterdir() if f.name.endswith(".sql"))
    text = "\n".join((files(__name__) / name).read_text() for name in documents)
    return parse(text)


def migrations() -> list[Migration]:
    """All steps of the schema, oldest first."""
    folder = files(__name__) / "migrations"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    steps = [Migration(int(name.split("_")[0]), name, (folder / name).read_text()) for name in names]
    assert [step.version for step in steps] == list(range(1, len(steps) + 1)), names
    return steps
