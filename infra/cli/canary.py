"""`canary status`: what is on trial, and what has been recorded of both arms. It gives no verdict."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import typer
from rich.console import Group, RenderableType

from infra.cli.context import Json, config_of, pairs, say, table
from infra.cli.record import query
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.follow import Change, Deployments
from infra.settings import Settings

_COLUMNS = ("arm", "answers", "good", "errors", "fallbacks", "thumbs_up", "thumbs_down", "latency_p50_s")


def build() -> typer.Typer:
    app = typer.Typer(name="canary", help="The adapter on trial.", no_args_is_help=True)
    app.callback()(_noun)
    app.command()(status)
    return app


def _noun() -> None:
    """The adapter on trial."""


def status(context: typer.Context, json: Json = False) -> None:
    """Show what serves, what is on trial with which share, and how both arms do."""
    settings = config_of(context).settings()
    with closing(open_log(settings)) as log, closing(Deployments(log)) as tail:
        state = tail.poll()
        last = tail.history[-1] if tail.history else None
        since = tail.canary_since
    outcomes, problem = _outcomes(settings, state.canary)
    value = {
        "stable": state.stable,
        "canary": state.canary,
        "share": state.share,
        "since": since,
        "last": _described(last),
        "outcomes": outcomes,
        "problem": problem,
    }
    serving = {
        "stable": state.stable or "the base model",
        "canary": f"{state.canary} with {state.share:.0%}" if state.canary else "none",
        "since": since,
        "last decision": _described(last) or "none yet",
    }
    parts: list[RenderableType] = [pairs(serving)]
    if state.canary:
        parts.append(problem or table(_COLUMNS, ([row.get(name) for name in _COLUMNS] for row in outcomes)))
    say(value, Group(*parts), json=json)


def _outcomes(settings: Settings, canary: str) -> tuple[list[dict[str, Any]], str]:
    """What is recorded of both arms, or why that cannot be told: what serves is known all the same."""
    if not canary:
        return [], ""
    try:
        return query(settings, "canary_outcomes", canary=canary), ""
    except LakeError as err:
        return [], str(err)


def _described(change: Change | None) -> str:
    if change is None:
        return ""
    body = change.body
    return f"{body.action} {body.adapter} by {body.actor} at {change.at:%Y-%m-%d %H:%M:%S} ({body.reason})"
