"""One whole turn of the loop on one machine, with real parts: `python -m infra.demo`, or `nightshift demo`.

By day customers ask, at night the trainer learns and proves, the next day a canary is judged, and a broken
adapter is caught in a drill. It tells the truth: exit 3 when a gate or the canary said no.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import aiohttp
from rich.console import Console

from infra.demo import stage
from infra.demo.acts import Acts
from infra.demo.business import cast
from infra.demo.program import Program, table
from infra.errors import EngineUnavailable, LakeError, NightshiftError
from infra.settings import Settings, load

SIZES = stage.Sizes()


async def play(settings: Settings, seed: int, console: Console) -> Program:
    """The demo from the first question to the drill. The service is stopped at the end, whatever happens."""
    parts = cast(seed, SIZES.learn, SIZES.held_out)
    service = stage.prepare(settings, seed, parts, SIZES)
    program = Program(seed=seed)
    began = time.monotonic()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        acts = Acts(service, session, program, console, seed)
        try:
            await acts.start()
            await acts.day(parts.learn)
            if await acts.night():
                await acts.canary(parts.live)
            await acts.drill(parts.live)
            await acts.reckon()
        finally:
            program.seconds["total"] = round(time.monotonic() - began, 1)
            await acts.close()
    (settings.data / "demo" / "summary.json").write_text(json.dumps(program.to_json(), indent=2) + "\n")
    return program


def main(arguments: list[str]) -> int:
    """Plays the demo and prints what happened."""
    parser = argparse.ArgumentParser(prog="nightshift demo", description="One whole turn of the loop.")
    parser.add_argument("--seed", type=int, default=1, help="deals businesses and questions")
    parser.add_argument("--config", type=Path, default=None, help="settings file")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON alone")
    chosen = parser.parse_args(arguments)
    console = Console(stderr=chosen.json, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as with Ctrl-C
    try:
        settings = load(chosen.config)
        program = asyncio.run(play(settings, chosen.seed, console))
    except (LakeError, EngineUnavailable) as err:
        return _failed(err, 4, as_json=chosen.json)
    except KeyboardInterrupt:
        console.print("Stopped. Everything that was started has ended.")
        return 130
    except NightshiftError as err:
        return _failed(err, 1, as_json=chosen.json)
    if chosen.json:
        print(json.dumps(program.to_json()))  # noqa: T201  # the result
    else:
        console.print(table(program))
        _what_next(settings, console)
    return 0 if program.succeeded else 3


def _failed(err: NightshiftError, code: int, *, as_json: bool) -> int:
    print(json.dumps({"error": str(err)}) if as_json else f"The demo stopped: {err}", file=sys.stderr)  # noqa: T201
    return code


def _what_next(settings: Settings, console: Console) -> None:
    file = settings.data / "demo" / "nightshift.toml"
    console.print(f"\nThe whole summary: [bold]{settings.data / 'demo' / 'summary.json'}[/]")
    console.print(f"Keep it running:   [bold].venv/bin/nightshift --config {file} up[/]")
    console.print(f"Chat page:         {settings.agent.url}/")
    console.print(f"Dashboard:         {settings.dashboard.url}/")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
