"""`adapters list|show|promote|rollback`: the registry, and an operator's decisions about who is served.

A decision is one event on the deployments topic: the order to the agents and the audit entry at once.
"""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as AppendTimeout
from contextlib import closing
from typing import Annotated, Literal

import typer

from infra.cli.context import Json, config_of, pairs, say, table
from infra.deployment import Deployment
from infra.errors import AdapterError, EventLogError
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged, Event
from infra.follow import Deployments, deployment_now
from infra.registry import Registry
from infra.settings import Settings

# A healthy log makes an event durable in milliseconds, and shows it to readers as fast.
_PATIENCE_S = 10.0

Action = Literal["promote", "roll_back"]
Name = Annotated[str, typer.Argument(help="The adapter's name, as `adapters list` shows it.")]
Reason = Annotated[str, typer.Option(help="Why, for those who read the history.")]


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


def promote(
    context: typer.Context, name: Name, reason: Reason = "by hand on the command line", json: Json = False
) -> None:
    """Let an adapter answer all customers from now on."""
    settings = config_of(context).settings()

    def check(state: Deployment) -> str:
        stage = state.stage(name)
        if stage in ("stable", "rejected"):
            raise AdapterError(
                f"The adapter {name!r} is {stage}: it cannot be promoted; see `adapters list`."
            )
        Registry(settings.adapters_dir).verify(name)
        return name

    state = _decide(settings, "promote", check, reason, lambda state: state.stable == name)
    say(_told(state), f"{name} answers all customers now.", json=json)


def rollback(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The adapter; default: the canary, or else stable.")] = "",
    reason: Reason = "by hand on the command line",
    json: Json = False,
) -> None:
    """Take back the canary, or else the stable adapter; it is never served again."""
    taken = ""

    def check(state: Deployment) -> str:
        nonlocal taken
        taken = name or state.canary or state.stable
        if not taken:
            raise AdapterError("Only the base model serves: there is no adapter to take back.")
        # Its files are not asked for: an adapter whose folder is gone must still be taken back.
        if taken not in state.wanted:
            raise AdapterError(f"The adapter {taken!r} is {state.stage(taken)} and serves nobody.")
        return taken

    config = config_of(context)
    state = _decide(config.settings(), "roll_back", check, reason, lambda state: taken in state.denied)
    say(_told(state), f"{taken} is taken back; {state.stable or 'the base model'} answers now.", json=json)


def _decide(
    settings: Settings,
    action: Action,
    check: Callable[[Deployment], str],
    reason: str,
    done: Callable[[Deployment], bool],
) -> Deployment:
    """Appends the decision once `check` has named the adapter, and waits until the fold shows it.

    Raises:
        EventLogError: the log did not take the event, or others' events undid it at once.
    """
    with closing(open_log(settings)) as log, closing(Deployments(log)) as tail:
        adapter = check(tail.poll())
        _append(log, DeploymentChanged(action=action, adapter=adapter, actor=_actor(), reason=reason))
        deadline = time.monotonic() + _PATIENCE_S
        while not done(tail.poll(0.2)):
            if time.monotonic() > deadline:
                raise EventLogError(
                    f"{action} of {adapter} is on the log, but does not show after {_PATIENCE_S:g} s: "
                    "somebody else decided at the same time; see `nightshift canary status`."
                )
        return tail.state


def _append(log: EventLog, body: DeploymentChanged) -> None:
    event = Event.of(body, "deployments")
    try:
        log.append(event.topic, event.key, event.encode()).result(_PATIENCE_S)
    except AppendTimeout as err:
        raise EventLogError(f"The event log did not take the decision within {_PATIENCE_S:g} s.") from err


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user need not have a name
        return f"cli:uid {os.getuid()}"


def _told(state: Deployment) -> dict[str, object]:
    return {"stable": state.stable, "canary": state.canary, "share": state.share, "version": state.version}
