"""`adapters list|show|promote|rollback`: the registry, and an operator's decisions about who is served."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from infra.cli import decide
from infra.cli.context import Json, config_of, pairs, say, table
from infra.cli.decide import BY_HAND, Reason
from infra.deployment import Deployment
from infra.errors import AdapterError
from infra.eventlog import open_log
from infra.follow import deployment_now
from infra.registry import Registry

Name = Annotated[str, typer.Argument(help="The adapter's name, as `adapters list` shows it.")]


def build() -> typer.Typer:
    app = typer.Typer(name="adapters", help="Adapters, and which of them serves.", no_args_is_help=True)
    app.command("list")(list_)
    app.command()(show)
    app.command()(promote)
    app.command()(rollback)
    return app


def list_(context: typer.Context, json: Json = False) -> None:
    """List adapters, newest first, with their stage."""
    settings = config_of(context).settings()
    with closing(open_log(settings)) as log:
        state = deployment_now(log)
    rows = [
        {
            "name": adapter.name,
            "stage": state.stage(adapter.name),
            "created": adapter.manifest.created,
            "night": adapter.manifest.night,
            "rows": adapter.manifest.rows,
        }
        for adapter in Registry(settings.adapters_dir).list()
    ]
    columns = ("name", "stage", "created", "night", "rows")
    say(rows, table(columns, ([row[name] for name in columns] for row in rows)), json=json)


def show(context: typer.Context, name: Name, json: Json = False) -> None:
    """Show one adapter: where it comes from, what it was trained on, what the gates said."""
    settings = config_of(context).settings()
    adapter = Registry(settings.adapters_dir).get(name)
    with closing(open_log(settings)) as log:
        stage = deployment_now(log).stage(name)
    value = {**adapter.manifest.model_dump(mode="json"), "stage": stage, "folder": str(adapter.folder)}
    say(value, pairs(value), json=json)


def promote(context: typer.Context, name: Name, reason: Reason = BY_HAND, json: Json = False) -> None:
    """Let an adapter answer all customers from now on."""
    _, state = decide.promote(config_of(context).settings(), lambda _: name, reason)
    say(decide.told(state), f"{name} answers all customers now.", json=json)


def rollback(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The adapter; default: the canary, or else stable.")] = "",
    reason: Reason = BY_HAND,
    json: Json = False,
) -> None:
    """Take back the canary, or else the stable adapter; it is never served again."""

    def named(state: Deployment) -> str:
        taken = name or state.canary or state.stable
        if not taken:
            raise AdapterError("Only the base model serves: there is no adapter to take back.")
        # Its files are not asked for: an adapter whose folder is gone must still be taken back.
        if taken not in state.wanted:
            raise AdapterError(f"The adapter {taken!r} is {state.stage(taken)} and serves nobody.")
        return taken

    taken, state = decide.roll_back(config_of(context).settings(), named, reason)
    say(
        decide.told(state),
        f"{taken} is taken back; {state.stable or 'the base model'} answers now.",
        json=json,
    )
