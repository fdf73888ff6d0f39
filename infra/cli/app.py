"""Puts the commands together, and turns our errors into one sentence and an exit code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from infra.cli import adapters, canary, keys, knowledge, night, reward, rooms, suite
from infra.cli.context import Config
from infra.errors import EngineUnavailable, EventLogError, LakeError, NightshiftError

FAILED = 1
DEPENDENCY_DOWN = 4
_DEPENDENCIES = (EngineUnavailable, EventLogError, LakeError)


def main() -> None:
    """Runs one command. Exit codes: 0 done, 1 failed, 2 usage, 3 a gate said no, 4 a dependency is down."""
    try:
        build()()
    except NightshiftError as err:
        _tell(err)
        sys.exit(exit_code(err))


def exit_code(err: NightshiftError) -> int:
    return DEPENDENCY_DOWN if isinstance(err, _DEPENDENCIES) else FAILED


def build() -> typer.Typer:
    app = typer.Typer(
        help="A customer-service agent that answers by day and learns by night.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=_global_options,
    )
    rooms.add_to(app)
    for noun in (night, adapters, canary, reward, knowledge, suite, keys):
        app.add_typer(noun.build())
    return app


def _global_options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file; default: nightshift.toml.")
    ] = None,
) -> None:
    context.obj = Config(config)


def _tell(err: NightshiftError) -> None:
    """As JSON on standard output where JSON was asked for, else in red on standard error."""
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": str(err)}))
    else:
        Console(stderr=True, soft_wrap=True).print(Text(str(err), style="red"))
