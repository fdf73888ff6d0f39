"""An operator's decision about who is served: one event, the order to the agents and the audit entry."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as AppendTimeout
from contextlib import closing
from typing import Annotated, Literal

import typer

from infra.deployment import Deployment
from infra.errors import AdapterError, EventLogError
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged, Event
from infra.follow import Deployments
from infra.registry import Registry
from infra.settings import Settings

# A healthy log makes an event durable in milliseconds, and shows it to readers as fast.
_PATIENCE_S = 10.0

Action = Literal["promote", "roll_back", "pause", "resume", "base"]
Reason = Annotated[str, typer.Option(help="Why, for those who read the history.")]
BY_HAND = "by hand on the command line"


def decide(
    settings: Settings,
    action: Action,
    check: Callable[[Deployment], str],
    reason: str,
    done: Callable[[Deployment, str], bool],
) -> tuple[str, Deployment]:
    """Appends the decision once `check` has named the adapter, and waits until the fold shows it by `done`.

    Returns the adapter and the state.

    Raises:
        EventLogError: the log did not take the event, or others' events undid it at once.
    """
    with closing(open_log(settings)) as log, closing(Deployments(log)) as tail:
        adapter = check(tail.poll())
        _append(log, DeploymentChanged(action=action, adapter=adapter, actor=_actor(), reason=reason))
        deadline = time.monotonic() + _PATIENCE_S
        while not done(tail.poll(0.2), adapter):
            if time.monotonic() > deadline:
                raise EventLogError(
                    f"{action} of {adapter} is on the log, but does not show after {_PATIENCE_S:g} s: "
                    "somebody else decided at the same time; see `nightshift canary status`."
                )
        return adapter, tail.state


def promote(settings: Settings, named: Callable[[Deployment], str], reason: str) -> tuple[str, Deployment]:
    """Lets the adapter that `named` names answer everybody.

    Raises:
        AdapterError: it is stable already, was rejected, or is not what was registered.
    """

    def check(state: Deployment) -> str:
        name = named(state)
        stage = state.stage(name)
        if stage in ("stable", "rejected"):
            raise AdapterError(
                f"The adapter {name!r} is {stage}: it cannot be promoted; see `adapters list`."
            )
        Registry(settings.adapters_dir).verify(name)
        return name

    return decide(settings, "promote", check, reason, lambda state, name: state.stable == name)


def roll_back(settings: Settings, named: Callable[[Deployment], str], reason: str) -> tuple[str, Deployment]:
    """Takes back the adapter that `named` names; its content is never served again."""
    return decide(settings, "roll_back", named, reason, lambda state, name: name in state.denied)


def told(state: Deployment) -> dict[str, object]:
    """The state, for programs."""
    return {
        "stable": state.stable,
        "canary": state.canary,
        "share": state.share,
        "paused": state.paused,
        "version": state.version,
    }


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
