"""The record, for commands: one named query over a reader of its own."""

from __future__ import annotations

from typing import Any

from infra.settings import Settings


def query(settings: Settings, name: str, /, **params: object) -> list[dict[str, Any]]:
    """The rows of a named query.

    Raises:
        LakeError: there is no lake yet, or it cannot be read.
    """
    # The agent's image has no DuckDB, and its commands must work there.
    from infra.lake import Lake  # noqa: PLC0415

    with Lake.open(settings) as lake:
        return lake.query(name, **params)
