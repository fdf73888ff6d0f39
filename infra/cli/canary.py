"""`canary status|pause|resume|promote|rollback|base|drill`: what is on trial, and an operator's say in it.

The status gives no verdict: that is the trainer's, and the dashboard shows it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, Literal

import typer
from rich.console import Group, RenderableType

from infra.cli import decide
from infra.cli.context import Json, config_of, pairs, say, table
from infra.cli.decide import BY_HAND, Reason
from infra.cli.record import query
from infra.cli.rooms import run_module
from infra.deployment import Deployment
from infra.errors import AdapterError, LakeError
from infra.eventlog import open_log
from infra.follow import Change, Deployments
from infra.settings import Settings

_COLUMNS = ("arm", "answers", "good", "errors", "fallbacks", "thumbs_up", "thumbs_down", "latency_p50_s")


def build() -> typer.Typer:
    app = typer.Typer(name="canary", help="The adapter on trial.", no_args_is_help=True)
    app.callback()(_noun)
    for command in (status, pause, resume, promote, rollback, base, drill):
        app.command()(command)
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
        "paused": state.paused,
        "since": since,
        "last": _described(last),
        "outcomes": outcomes,
        "problem": problem,
    }
    paused = ", paused" if state.paused else ""
    serving = {
        "stable": state.stable or "the base model",
        "canary": f"{state.canary} with {state.share:.0%}{paused}" if state.canary else "none",
        "since": since,
        "last decision": _described(last) or "none yet",
    }
    parts: list[RenderableType] = [pairs(serving)]
    if state.canary:
        parts.append(problem or table(_COLUMNS, ([row.get(name) for name in _COLUMNS] for row in outcomes)))
    say(value, Group(*parts), json=json)


def pause(context: typer.Context, reason: Reason = BY_HAND, json: Json = False) -> None:
    """Keep the canary's share as it is: no step and no promotion; what is proven worse still goes."""
    state = _hold(context, "pause", reason)
    say(decide.told(state), f"{state.canary} stays at {state.share:.0%} until it is resumed.", json=json)


def resume(context: typer.Context, reason: Reason = BY_HAND, json: Json = False) -> None:
    """Let a paused canary go on."""
    state = _hold(context, "resume", reason)
    say(decide.told(state), f"{state.canary} goes on from {state.share:.0%}.", json=json)


def promote(context: typer.Context, reason: Reason = BY_HAND, json: Json = False) -> None:
    """Let the canary answer all customers from now on, whatever its trial has shown."""
    name, state = decide.promote(config_of(context).settings(), _canary, reason)
    say(decide.told(state), f"{name} answers all customers now.", json=json)


def rollback(context: typer.Context, reason: Reason = BY_HAND, json: Json = False) -> None:
    """Take the canary back; its content is never served again."""
    taken, state = decide.roll_back(config_of(context).settings(), _canary, reason)
    say(decide.told(state), f"{taken} is taken back; {state.stable or 'the base model'} answers.", json=json)


def base(context: typer.Context, reason: Reason = BY_HAND, json: Json = False) -> None:
    """The kill switch: only the base model answers, and the adapters that served never do again."""

    def check(state: Deployment) -> str:
        if not state.wanted:
            raise AdapterError("Only the base model serves: there is no adapter to switch off.")
        return ""

    settings = config_of(context).settings()
    _, state = decide.decide(settings, "base", check, reason, lambda state, _: not state.wanted)
    say(decide.told(state), "Only the base model answers now.", json=json)


def drill(
    context: typer.Context,
    only: Annotated[list[str] | None, typer.Option(help="One of the bad adapters; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Deals the businesses and the questions.")] = 1,
    json: Json = False,
) -> None:
    """Put adapters known to be bad on canary, in a service of its own. Exits 3 when one was not caught."""
    arguments = ["--seed", str(seed), *(["--json"] if json else [])]
    arguments += [word for name in only or () for word in ("--only", name)]
    config = config_of(context)
    arguments += ["--config", str(config.file)] if config.file else []
    raise typer.Exit(run_module(config, "infra.drill", *arguments))


def _hold(context: typer.Context, action: Literal["pause", "resume"], reason: str) -> Deployment:
    def check(state: Deployment) -> str:
        name = _canary(state)
        if state.paused == (action == "pause"):
            raise AdapterError(
                f"The canary {name!r} is {'paused already' if state.paused else 'not paused'}."
            )
        return name

    settings = config_of(context).settings()
    paused = action == "pause"
    return decide.decide(settings, action, check, reason, lambda state, _: state.paused == paused)[1]


def _canary(state: Deployment) -> str:
    if not state.canary:
        raise AdapterError("No adapter is on canary; see `nightshift canary status`.")
    return state.canary


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
