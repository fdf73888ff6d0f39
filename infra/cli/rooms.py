"""`up`, `demo`, `doctor`, one room by its name, and `version`: running Nightshift."""

from __future__ import annotations

import json as jsonlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version as installed
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from infra import doctor
from infra.addresses import is_loopback
from infra.cli.context import Config, Json, config_of, say, table
from infra.dashboard.rooms import Health
from infra.dashboard.security import LoginToken
from infra.errors import NightError
from infra.process import Process
from infra.settings import Settings
from infra.supervisor import MODULES, Supervisor, processes

# The engine needs 40 s on two cores, and two minutes where it compiles first; a larger model longer.
READY_S = 900.0
_COLOURS = {"up": "green", "not ready": "yellow", "down": "red"}
_MARKS = {"ok": "green", "warn": "yellow", "fail": "red"}


def add_to(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(demo)
    app.command("doctor")(examine)
    app.command()(version)
    app.command()(collector)
    for name, module in MODULES.items():
        if name != "collector":
            app.command(name, help=f"Run the {name} alone, as a deployment does.")(_room(module))


def up(context: typer.Context, json: Json = False) -> None:
    """Start every room, keep it running, and stop all on Ctrl-C."""
    from infra import telemetry  # noqa: PLC0415 - brings a web server, which no other command needs

    telemetry.configure("supervisor")
    config = config_of(context)
    settings = config.settings()
    supervisor = Supervisor(processes(settings), settings.data, config.variables())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.ask_to_stop())
    console = Console(stderr=True, highlight=False)
    with supervisor:
        if supervisor.wait_ready(READY_S, lambda name, health: _progress(console, name, health)):
            _show(supervisor, settings, json=json)
            supervisor.wait()
        console.print("Stopping, in reverse order of the start …")
    console.print("All stopped.")


def demo(
    context: typer.Context,
    seed: Annotated[int, typer.Option(help="Deals the businesses and the questions.")] = 1,
    json: Json = False,
) -> None:
    """Run one whole turn of the loop on this machine, with real parts."""
    arguments = ["--seed", str(seed), *(["--json"] if json else [])]
    if file := config_of(context).file:
        arguments += ["--config", str(file)]
    raise typer.Exit(run_module(config_of(context), "infra.demo", *arguments))


def examine(context: typer.Context, json: Json = False) -> None:
    """Look for what is wrong, and say what to do about it."""
    findings = doctor.examine(config_of(context).file)
    rows = [
        (
            f"[{_MARKS[found.state]}]{found.state}[/]",
            found.name,
            escape(found.message),
            escape(found.next_step),
        )
        for found in findings
    ]
    value = {"checks": [found.to_json() for found in findings], "ok": doctor.healthy(findings)}
    say(value, table(("", "check", "found", "next step"), rows), json=json)
    raise typer.Exit(0 if doctor.healthy(findings) else 1)


def version(json: Json = False) -> None:
    """Print the version."""
    number = installed("nightshift")
    say({"version": number}, f"nightshift {number}", json=json)


def run_module(config: Config, module: str, *arguments: str) -> int:
    """Runs `python -m module` to its end and gives its exit code; Ctrl-C is that program's to act on."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, env=config.environment()) as process:
        return finish(process)


def trained(config: Config, *words: str) -> tuple[int, dict[str, Any]]:
    """Runs a job of the trainer's: its exit code, and its result, which is empty where it has none.

    The result is one short line of JSON on standard output; progress goes to standard error.

    Raises:
        NightError: the result is an `error`.
    """
    command = [sys.executable, "-m", "trainer", *words]
    with subprocess.Popen(command, env=config.environment(), stdout=subprocess.PIPE, text=True) as process:
        code = finish(process)
        assert process.stdout
        result = process.stdout.read().strip()
    told = jsonlib.loads(result) if result else {}
    if "error" in told:
        raise NightError(told["error"])
    return code, told


def finish(process: subprocess.Popen[Any]) -> int:
    """Waits for a program through every Ctrl-C, and gives its exit code; 1 where a signal ended it."""
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue
        return code if code >= 0 else 1


def collector(
    context: typer.Context,
    job: Annotated[
        str,
        typer.Argument(help="compact: the daily upkeep. replay: the record anew. retry: dead letters again."),
    ] = "",
) -> None:
    """Run the collector alone, as a deployment does, or one job of its."""
    _become(context, "collector", *([job] if job else []))


def _room(module: str) -> Callable[[typer.Context], None]:
    def run(context: typer.Context) -> None:
        _become(context, module)

    return run


def _become(context: typer.Context, module: str, *arguments: str) -> None:
    """This process becomes the room, so that signals and exit codes are the room's own."""
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, config_of(context).environment())  # noqa: S606 - our own program


def _progress(console: Console, name: str, health: Health) -> None:
    console.print(f"{name}: [{_COLOURS[health.state]}]{health.state}[/] {escape(health.detail)}".rstrip())


def _show(supervisor: Supervisor, settings: Settings, *, json: bool) -> None:
    health = supervisor.health()
    where = {room.name: _address(room) for room in supervisor.processes}
    token = _login_token(settings)
    value = {
        "ready": True,
        "rooms": {name: {"address": where[name], "health": health[name].state} for name in where},
        **({"login_token": token} if token else {}),
    }
    rows = [(name, where[name], f"[{_COLOURS[health[name].state]}]{health[name].state}[/]") for name in where]
    say(value, table(("room", "address", "health"), rows), json=json)
    if not json:
        typer.echo(f"\nChat: {where['agent']}   Operations: {where['dashboard']}   Ctrl-C stops all.")
        if token:
            typer.echo(f"Log in to the operations pages, once, with the token {token}")


def _address(room: Process) -> str:
    host = f"[{room.probe.host}]" if ":" in room.probe.host else room.probe.host
    return f"http://{host}:{room.probe.port}"


def _login_token(settings: Settings) -> str:
    """A fresh one-time token where others can reach the dashboard, else nothing. It is kept as a hash."""
    if is_loopback(settings.dashboard.host):
        return ""
    return LoginToken(settings.data / "run").issue(datetime.now(UTC))
