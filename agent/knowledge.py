"""What each business knows: a folder of documents for each collection, found again when they change.

`<folder>/<collection>/*.{md,txt,csv,jsonl}`, and `about.toml` with the business's name. A bad file is
reported and left out; it takes down neither its collection nor the others.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import documents
from agent.index import Index, Vectors, Words
from infra.errors import KnowledgeError, NotFound
from infra.events import Fact

ABOUT = "about.toml"
UNNAMED = "this business"  # how the system prompt calls a business without a name

_log = logging.getLogger(__name__)
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)

# File name, time of change in ns and size of each document: equal stamps mean nothing to do.
_Stamp = frozenset[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Collection:
    """One business's knowledge. `problems` are sentences about files that were left out."""

    slug: str
    name: str
    index: Index
    stamp: _Stamp = frozenset()
    problems: tuple[str, ...] = ()


class Knowledge:
    """All collections. `refresh` does the reading, in a thread; `collection` and `facts` only look up."""

    def __init__(self, folder: Path, default: str, vectors: Vectors | None) -> None:
        self._folder = folder
        self._words = Words()
        self._vectors = vectors
        # So that a service without any documents still answers, and says that it knows nothing.
        self._default = Collection(default, UNNAMED, self._index(()))
        self._collections: Mapping[str, Collection] = {}

    @property
    def collections(self) -> tuple[Collection, ...]:
        """By name of their folder."""
        return tuple(self._collections[slug] for slug in sorted(self._collections))

    @property
    def has_vectors(self) -> bool:
        """Whether facts are found by meaning too, not by words alone."""
        return self._vectors is not None

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(problem for collection in self.collections for problem in collection.problems)

    def collection(self, slug: str) -> Collection:
        """A collection by its folder's name; an empty name means the default one.

        Raises:
            NotFound: no such collection. The name never becomes a path.
        """
        slug = slug or self._default.slug
        if slug in self._collections:
            return self._collections[slug]
        if slug == self._default.slug:
            return self._default
        raise NotFound(
            f"The collection {slug[:80]!r} does not exist: GET /v1/collections lists those that do, and "
            "`nightshift knowledge add` makes one."
        )

    def facts(self, slug: str, query: str, count: int) -> tuple[Fact, ...]:
        """The best `count` facts for a query, best first. Raises as `collection` does."""
        return self.collection(slug).index.search(query, count)

    def refresh(self) -> bool:
        """Reads what has changed on disk; whether anything had. Looking alone costs a stat per file."""
        found = {folder.name: folder for folder in self._folders()}
        current = {slug: self._read(slug, folder) for slug, folder in found.items()}
        if current == self._collections:
            return False
        self._collections = current
        return True

    def _folders(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [entry for entry in self._folder.iterdir() if is_slug(entry.name) and entry.is_dir()]

    def _read(self, slug: str, folder: Path) -> Collection:
        files = sorted(file for file in folder.iterdir() if documents.is_document(file) or file.name == ABOUT)
        stamp = _stamp(files)
        known = self._collections.get(slug)
        if known is not None and known.stamp == stamp:
            return known
        facts: list[Fact] = []
        problems: list[str] = []
        name = UNNAMED
        for file in files:
            try:
                if file.name == ABOUT:
                    name = _name(file)
                else:
                    facts += documents.read(file)
            except KnowledgeError as err:
                problems.append(str(err))
                _log.error("left out of collection %s: %s", slug, err)
        _log.info("collection %s has %d facts from %d files", slug, len(facts), len(files))
        return Collection(slug, name, self._index(tuple(facts)), stamp, tuple(problems))

    def _index(self, facts: tuple[Fact, ...]) -> Index:
        return Index(facts, self._words, self._vectors)


def is_slug(name: str) -> bool:
    """Whether a name can be a collection's: lower-case letters, digits, `-` and `_`, at most 64."""
    return _SLUG.fullmatch(name) is not None


def _stamp(files: list[Path]) -> _Stamp:
    stamps = set()
    for file in files:
        try:
            stat = file.stat()
        except FileNotFoundError:  # removed since it was listed: the next look will not see it
            continue
        stamps.add((file.name, stat.st_mtime_ns, stat.st_size))
    return frozenset(stamps)


def _name(file: Path) -> str:
    try:
        name = tomllib.loads(file.read_text(encoding="utf-8")).get("name")
    except (OSError, ValueError) as err:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise KnowledgeError(f'{file} is not TOML ({err}): write name = "THE BUSINESS".') from err
    if not isinstance(name, str) or not name.strip():
        raise KnowledgeError(f'{file} has no name: write name = "THE BUSINESS".')
    return " ".join(name.split())[:200]
