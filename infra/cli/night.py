"""`night run|list|show|bisect`: nights, read from the record. The trainer runs them: `run` waits for it."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.text import Text

from infra.cli.context import Json, config_of, pairs, say, table
from infra.cli.record import query, reading
from infra.cli.rooms import trained
from infra.errors import NotFound
from infra.report import bisect as bisection
from infra.report import night as nights
from infra.report.markdown import markdown as written
from infra.report.markdown import plain

NOTHING_BROKE_IT = 3  # the code of a gate's no
_COLUMNS = ("night", "started_at", "state", "stage", "verdict", "adapter", "seconds", "reason")


def build() -> typer.Typer:
    app = typer.Typer(name="night", help="Training runs.", no_args_is_help=True)
    app.command("run")(run)
    app.command("list")(list_)
    app.command()(show)
    app.command()(bisect)
    return app


def run(
    context: typer.Context,
    slot: Annotated[str, typer.Option(help="The slot that it belongs to; default: this minute.")] = "",
    json: Json = False,
) -> None:
    """Run one night now. Exits 3 when a gate said no, or there was not enough data."""
    code, result = trained(config_of(context), "night", *(["--slot", slot] if slot else []))
    if result:
        say(result, pairs(result), json=json)
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
    markdown: Annotated[bool, typer.Option("--markdown", help="The whole report as Markdown.")] = False,
    json: Json = False,
) -> None:
    """Show one night: its report, its stages, and both models on each suite."""
    settings = config_of(context).settings()
    with reading(settings) as ask:
        found = ask("night", night=night) if night else ask("nights", limit=1)
        if not found and not night:
            raise NotFound("The record holds no night yet: `nightshift night run` runs one.")
        if not found:
            raise NotFound(f"The record holds no night {night!r}: `nightshift night list` shows them all.")
        name = found[0]["night"]
        report = nights.read(ask, name)
        stages = ask("stages", night=name)
        suites = ask("evaluations", night=name)
    if markdown and not json:
        typer.echo(written(report), nl=False)
        return
    value = {
        **_read(found[0]),
        "stages": [_read(stage) for stage in stages],
        "suites": suites,
        "report": report,
    }
    shown = Group(
        *value["manifest"].get("report", []),
        pairs({name: value[name] for name in _COLUMNS if name in value}),
        table(("stage", "seconds", "reason"), ((s["stage"], s["seconds"], s["reason"]) for s in stages)),
        table(
            ("suite", "model", "cases", "score"),
            ((s["suite"], s["model"], s["cases"], s["score"]) for s in suites),
        ),
        _changed(report),
    )
    say(value, shown, json=json)


def bisect(
    context: typer.Context,
    asked: Annotated[
        str,
        typer.Argument(metavar="CASE_OR_QUESTION", help="A suite's case: its id, or words of its question."),
    ],
    json: Json = False,
) -> None:
    """Find the night that broke, or mended, a question. Exits 3 when no night that was promoted broke it."""
    settings = config_of(context).settings()
    with reading(settings) as ask:
        found = bisection.chosen(bisection.read(ask, asked))
    say(found, _history(found), json=json)
    if not found["broke"]:
        raise typer.Exit(NOTHING_BROKE_IT)


def _history(found: dict[str, Any]) -> Group:
    """What was found, and both answers of each night."""
    columns = ("night", "promoted", "before", "", "after", "")
    rows = (
        (night["night"], night["promoted_at"], *_answer(night["before"]), *_answer(night["after"]))
        for night in found["nights"]
    )
    title = f"{found['suite']}/{found['case']}: {found['question']}"
    return Group(Text(plain(title)), table(columns, rows), *(Text(plain(told)) for told in found["told"]))


def _answer(side: dict[str, Any]) -> tuple[str, str]:
    """Right or wrong, and the answer, in which nothing is markup."""
    verdict = {True: "right", False: "wrong", None: "not judged"}[side["right"]]
    return verdict, escape(plain(side["answer"]))


def _changed(report: dict[str, Any]) -> Text:
    """How many answers changed, and where they are shown."""
    counts = report["changes"]["counts"]
    told = f"{counts['fixed']} answers were mended, {counts['broken']} were broken: `--markdown` shows them."
    return Text(told if report["changes"]["cases"] else "No answers were compared.")


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its manifest as an object; the record keeps JSON as text."""
    manifest = row.get("manifest") or "{}"
    return {**row, "manifest": jsonlib.loads(manifest) if isinstance(manifest, str) else manifest}
