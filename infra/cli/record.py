"""The record, for commands: one named query, or several, over a reader of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from infra.settings import Settings

Query = Callable[..., list[dict[str, Any]]]  # a named query with its parameters


def query(settings: Settings, name: str, /, **params: object) -> list[dict[str, Any]]:
    """The rows of a named query.

    Raises:
        LakeError: there is no lake yet, or it cannot be read.
    """
    with reading(settings) as ask:
        return ask(name, **params)


@contextmanager
def reading(settings: Settings) -> Iterator[Query]:
    """One reader for several queries: to open one takes longer than most of them.

    Raises:
        LakeError: there is no lake yet, or it cannot be read.
    """
    # The agent's image has no DuckDB, and its commands must work there.
    from infra.lake import Lake  # noqa: PLC0415

    with Lake.open(settings) as lake:
        yield lake.query
