"""`suite add|show`: the questions with right answers that nights are judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from infra.cli.context import Json, config_of, say, table
from infra.cli.rooms import trained


def build() -> typer.Typer:
    app = typer.Typer(name="suite", help="The questions that nights are judged by.", no_args_is_help=True)
    app.command()(add)
    app.command()(show)
    return app


def add(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(help="The business that the questions are about.")],
    file: Annotated[Path, typer.Argument(help="CSV with the columns question and answer.")],
    json: Json = False,
) -> None:
    """Make a suite of a spreadsheet; one of the same name is replaced. Nothing is ever trained on it."""
    code, made = trained(config_of(context), "suites", "--add", str(file), "--collection", collection)
    if made:
        unused = f" Not used: {', '.join(made['unused'])}." if made["unused"] else ""
        say(made, f"{made['cases']} questions in {made['file']}.{unused}", json=json)
    raise typer.Exit(code)


def show(context: typer.Context, json: Json = False) -> None:
    """Show the suites, and whether they are enough to judge a night."""
    code, found = trained(config_of(context), "suites")
    if found:
        columns = ("suite", "cases", "collections")
        rows = [[suite[name] for name in columns] for suite in found["suites"]]
        say(found, Group(table(columns, rows), "", _enough(found)), json=json)
    raise typer.Exit(code)


def _enough(found: dict[str, Any]) -> str:
    cases, needed = found["cases"], found["needed"]
    if cases >= needed:
        return f"{cases} questions with their right answers: enough to judge a night ({needed})."
    return (
        f"{cases} questions with their right answers, and gates ask for {needed} (trainer.min_cases): "
        "`nightshift suite add COLLECTION questions.csv` adds more."
    )
