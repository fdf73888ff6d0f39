"""`knowledge add`: puts documents into a collection. The agent reads them, within a second."""

from __future__ import annotations

import json as jsonlib
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from infra.cli.context import Json, config_of, say
from infra.errors import KnowledgeError

FORMATS = (".md", ".txt", ".csv", ".jsonl")
_COLLECTION = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


def build() -> typer.Typer:
    app = typer.Typer(name="knowledge", help="What each business knows.", no_args_is_help=True)
    app.callback()(_noun)
    app.command()(add)
    return app


def _noun() -> None:
    """What each business knows."""


def add(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="One collection per business: a-z, 0-9, - and _.")],
    files: Annotated[list[Path], typer.Argument(help="Markdown, text, CSV or JSONL (title, text).")],
    name: Annotated[str, typer.Option(help="What the business is called in answers.")] = "",
    json: Json = False,
) -> None:
    """Add documents to a collection; a document of the same name is replaced."""
    folder = config_of(context).settings().knowledge_dir / _checked(collection)
    documents = [_document(file) for file in files]
    if len({file.name for file in documents}) < len(documents):
        raise KnowledgeError(
            "Two of the files have the same name, and one would replace the other: rename one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file in documents:
        _put(folder / file.name, file.read_bytes())
    if name:
        # A JSON string is a TOML string too.
        _put(folder / "about.toml", f"name = {jsonlib.dumps(name, ensure_ascii=False)}\n".encode())
    value = {"collection": collection, "folder": str(folder), "files": [file.name for file in documents]}
    hint = "" if (folder / "about.toml").exists() else ' Name the business with --name "ITS NAME".'
    say(value, f"{len(documents)} document(s) added to {folder}.{hint}", json=json)


def _checked(collection: str) -> str:
    if not _COLLECTION.fullmatch(collection):
        raise KnowledgeError(
            f"{collection!r} cannot name a collection: use lower-case letters, digits, - and _, at most 64."
        )
    return collection


def _document(file: Path) -> Path:
    """A file that can be read as text in a format that the agent knows."""
    if file.suffix.lower() not in FORMATS or file.name.startswith("."):
        raise KnowledgeError(f"{file} has a format that is not known: use one of {', '.join(FORMATS)}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise KnowledgeError(f"{file} is not UTF-8 text: save it as UTF-8.") from err
    except OSError as err:
        raise KnowledgeError(f"{file} cannot be read: {err.strerror}.") from err
    if not text.strip():
        raise KnowledgeError(f"{file} is empty: nothing could be answered from it.")
    return file


def _put(target: Path, content: bytes) -> None:
    """Whole or not at all: the agent looks at any moment. It passes over names with a dot in front."""
    try:
        draft = target.with_name(f".{target.name}.new")
        draft.write_bytes(content)
        shutil.move(draft, target)
    except OSError as err:
        raise KnowledgeError(f"{target} cannot be written: {err.strerror}.") from err
