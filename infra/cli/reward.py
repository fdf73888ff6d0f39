"""`reward show|renew`: the reward that learns from this business's own customers, and its last renewal."""

from __future__ import annotations

import json as jsonlib
from typing import Any

import typer

from infra.cli.context import Json, config_of, pairs, say
from infra.cli.rooms import trained
from infra.errors import NightError, NotFound


def build() -> typer.Typer:
    app = typer.Typer(name="reward", help="The reward, and what customers add to it.", no_args_is_help=True)
    app.command()(show)
    app.command()(renew)
    return app


def show(context: typer.Context, json: Json = False) -> None:
    """Show what came of the last renewal, and which reward is in use."""
    file = config_of(context).settings().reward_dir / "outcome.json"
    try:
        outcome = jsonlib.loads(file.read_bytes())
    except FileNotFoundError:
        raise NotFound(
            "The reward was never renewed, so the one that comes with the project is in use: "
            "`nightshift reward renew` learns from thumbs and better answers."
        ) from None
    except (OSError, ValueError) as err:
        raise NightError(f"{file} cannot be read ({err}): delete its folder to begin anew.") from err
    say(outcome, pairs(_in_short(outcome)), json=json)


def renew(context: typer.Context, json: Json = False) -> None:
    """Learn from customers' votes now. Exits 3 when it is not shown to be better, and so not used."""
    code, outcome = trained(config_of(context), "renew")
    if outcome:
        say(outcome, pairs(_in_short(outcome)), json=json)
    raise typer.Exit(code)


def _in_short(outcome: dict[str, Any]) -> dict[str, object]:
    gate = outcome["gate"]
    used = gate["verdict"] == "pass"
    return {
        "in use": outcome["version"] if used else outcome["present"],
        "renewed": outcome["at"],
        "verdict": f"{gate['verdict']}: {gate['claim']}",
        "detail": gate["detail"],
        "gain": f"{gate['estimate']:+.3f} (between {gate['low']:+.3f} and {gate['high']:+.3f})",
        "votes": f"{outcome['votes']}, of which {outcome['said']} are people's own words",
        "voters": f"{outcome['voters']}, of whom {outcome['doubted']} vote against all others",
    }
