"""What every command is given: where the settings are, and how it says what it found."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from infra.settings import PREFIX, Settings, child_environment, load

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings file that was named on the command line, if one was."""

    file: Path | None = None

    def settings(self) -> Settings:
        return load(self.file)

    def variables(self) -> dict[str, str]:
        """What a process of ours needs to read the same settings."""
        return {PREFIX + "CONFIG": str(self.file.absolute())} if self.file else {}

    def environment(self) -> dict[str, str]:
        return child_environment(**self.variables())


def config_of(context: typer.Context) -> Config:
    config = context.obj
    assert isinstance(config, Config)
    return config


def say(value: Any, shown: RenderableType, *, json: bool) -> None:
    """Prints one thing: `value` as a line of JSON (times in ISO 8601), or what people see."""
    if json:
        typer.echo(jsonlib.dumps(value, default=str, ensure_ascii=False))
    else:
        Console(highlight=False, soft_wrap=not isinstance(shown, Table)).print(shown)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A table; None and numbers are written as people read them."""
    result = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False)
    for row in rows:
        result.add_row(*(_cell(value) for value in row))
    return result


def pairs(values: Mapping[str, object]) -> Table:
    """Names and values, one pair a line."""
    return table(("", ""), values.items())


def _cell(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash, on purpose
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return str(value)
