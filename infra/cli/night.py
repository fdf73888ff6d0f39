"""`night run|list|show`: nights, read from the record. The trainer runs them; this starts it and waits."""

from __future__ import annotations

import json as jsonlib
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.console import Group

from infra.cli.context import Json, config_of, pairs, say, table
from infra.cli.record import query
from infra.cli.rooms import finish
from infra.errors import NotFound

_COLUMNS = ("night", "started_at", "state", "stage", "verdict", "adapter", "seconds", "reason")


def build() -> typer.Typer:
    app = typer.Typer(name="night", help="Training runs.", no_args_is_help=True)
    app.command("run")(run)
    app.command("list")(list_)
    app.command()(show)
    return app


def run(
    context: typer.Context,
    slot: Annotated[str, typer.Option(help="The slot that it belongs to; default: this minute.")] = "",
    json: Json = False,
) -> None:
    """Run one night now. Exits 3 when a gate said no, or there was not enough data."""
    config = config_of(context)
    command = [sys.executable, "-m", "trainer", "night", *(["--slot", slot] if slot else [])]
    # Its result is one short line on standard output, its progress goes to standard error.
    with subprocess.Popen(command, env=config.environment(), stdout=subprocess.PIPE, text=True) as process:
        code = finish(process)
        assert process.stdout
        result = process.stdout.read().strip()
    if result:
        value = jsonlib.loads(result)
        say(value, pairs(value), json=json)
    raise typer.Exit(code)


def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List nights, newest first."""
    nights = [_read(night) for night in query(config_of(context).settings(), "nights", limit=limit)]
    say(nights, table(_COLUMNS, ([night.get(name) for name in _COLUMNS] for night in nights)), json=json)


def show(
    context: typer.Context,
    night: Annotated[str, typer.Argument(help="Its name, as `night list` shows it; default: the last.")] = "",
    json: Json = False,
) -> None:
    """Show one night: its report, its stages, and both models on each suite."""
    settings = config_of(context).settings()
    found = query(settings, "night", night=night) if night else query(settings, "nights", limit=1)
    if not found and not night:
        raise NotFound("The record holds no night yet: `nightshift night run` runs one.")
    if not found:
        raise NotFound(f"The record holds no night {night!r}: `nightshift night list` shows them all.")
    name = found[0]["night"]
    stages = query(settings, "stages", night=name)
    suites = query(settings, "evaluations", night=name)
    value = {
        **_read(found[0]),
        "stages": [_read(stage) for stage in stages],
        "suites": suites,
    }
    shown = Group(
        *value["manifest"].get("report", []),
        pairs({name: value[name] for name in _COLUMNS if name in value}),
        table(("stage", "seconds", "reason"), ((s["stage"], s["seconds"], s["reason"]) for s in stages)),
        table(
            ("suite", "model", "cases", "score"),
            ((s["suite"], s["model"], s["cases"], s["score"]) for s in suites),
        ),
    )
    say(value, shown, json=json)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its manifest as an object; the record keeps JSON as text."""
    manifest = row.get("manifest") or "{}"
    return {**row, "manifest": jsonlib.loads(manifest) if isinstance(manifest, str) else manifest}
