"""Several nights on one machine, with real parts: `python -m infra.learn`, or `make learn`.

Each day customers ask new questions, each night learns from them and is judged on businesses that it does
not learn from. What passed serves the next day: promoted by hand, as a canary would take hours. With
`--control` it plays instead what must not pass. Exit 0 when a night passed, or every control held; else 3.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from infra.demo import stage
from infra.demo.acts import Acts
from infra.demo.business import Question
from infra.demo.program import Program
from infra.demo.voters import Voters
from infra.errors import NightshiftError, ProcessError
from infra.learn import controls, result, school
from infra.learn.controls import Control
from infra.learn.result import Night
from infra.settings import load


async def play(
    service: stage.Service,
    days: Sequence[Sequence[Question]],
    seed: int,
    console: Console,
    tell: Callable[[list[Night]], None],
) -> list[Night]:
    """The nights of these days. `tell` gets what is known after each."""
    nights: list[Night] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        program = Program(seed=seed)
        acts = Acts(service, session, program, console, seed)
        try:
            await acts.start()
            for number, questions in enumerate(days, start=1):
                await acts.day(questions)
                passed = await acts.night()
                manifest = program.night
                nights.append(Night.of(number, manifest, " ".join(manifest["report"][:1])))
                tell(nights)
                if passed:
                    if not (adapter := acts.on_canary):
                        raise ProcessError(
                            f"Night {number} passed, and no adapter is on canary: see the trainer's log."
                        )
                    await acts.promote(adapter, "learn", "Its gates passed.")
        finally:
            await acts.close()
    return nights


async def control(
    name: str, service: stage.Service, day: Sequence[Question], seed: int, console: Console
) -> Control:
    """One day, and then a night by a reward that knows nothing, or a renewal from malicious votes."""
    malicious = controls.MALICIOUS if name == controls.VOTERS else Voters()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        program = Program(seed=seed)
        acts = Acts(service, session, program, console, seed, malicious)
        try:
            await acts.start()
            await acts.day(day)
            if name != controls.VOTERS:
                await acts.night()
                return Control.of_night(name, program.night)
            await acts.renewal()
            folder = service.settings.reward_dir
            outcome = json.loads((folder / "outcome.json").read_text())
            judged = [json.loads(line) for line in (folder / "judged.jsonl").read_text().splitlines()]
            return Control.of_votes(outcome, judged, acts.ledger.told)
        finally:
            await acts.close()


def main(arguments: list[str]) -> int:
    """Plays the nights and prints a row for each."""
    parser = argparse.ArgumentParser(prog="python -m infra.learn", description="Several nights in a row.")
    parser.add_argument(
        "--data", type=Path, help="folder in the form of DSTC9's or WorkArena's; default: the demo's"
    )
    parser.add_argument("--nights", type=int, default=3)
    parser.add_argument("--questions", type=int, default=280, help="new questions a day")
    parser.add_argument("--judge", type=int, default=0, help="held-out questions to judge by; default: all")
    parser.add_argument(
        "--control",
        action="append",
        choices=controls.NAMES,
        default=[],
        help="play one day and night that must not pass instead; may be given several times",
    )
    parser.add_argument("--samples", type=int, default=8, help="completions for each question")
    parser.add_argument("--seed", type=int, default=1, help="deals businesses and questions")
    parser.add_argument("--config", type=Path, help="settings file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON alone")
    chosen = parser.parse_args(arguments)
    console = Console(stderr=chosen.json, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as with Ctrl-C
    try:
        return _run(chosen, console)
    except KeyboardInterrupt:
        console.print("Stopped. Everything that was started has ended.")
        return 130
    except NightshiftError as err:
        print(json.dumps({"error": str(err)}) if chosen.json else f"It stopped: {err}", file=sys.stderr)  # noqa: T201
        return 1


def _run(chosen: argparse.Namespace, console: Console) -> int:
    settings = load(chosen.config)
    known, asked = school.of_folder(chosen.data) if chosen.data else school.of_demo()
    days, cast = school.days(known, asked, chosen.seed, chosen.nights, chosen.questions, chosen.judge)
    sizes = stage.Sizes(
        learn=chosen.questions,
        held_out=len(cast.held_out),
        samples=chosen.samples,
        min_rows=30,
        trainings=0,
    )
    options = {name: str(value) for name, value in vars(chosen).items() if value is not None}
    prepare = partial(stage.prepare, settings, chosen.seed, cast, sizes)
    if chosen.control:
        return _controls(chosen, prepare, days[0], options, console)
    service = prepare()
    file = settings.data / "demo" / "nights.json"
    began = time.monotonic()

    def report(nights: Sequence[Night]) -> dict[str, Any]:
        return result.to_json(nights, round(time.monotonic() - began, 1), options)

    def tell(nights: list[Night]) -> None:
        file.write_text(json.dumps(report(nights), indent=2) + "\n")
        if not chosen.json:
            console.print(result.table(nights))

    nights = asyncio.run(play(service, days, chosen.seed, console, tell))
    if chosen.json:
        print(json.dumps(report(nights)))  # noqa: T201  # the result
    else:
        console.print(f"The whole result: [bold]{file}[/]")
    return 0 if any(night.verdict == "pass" for night in nights) else 3


def _controls(
    chosen: argparse.Namespace,
    prepare: Callable[[str], stage.Service],
    day: Sequence[Question],
    options: dict[str, str],
    console: Console,
) -> int:
    """Plays each control in a data folder of its own."""
    found = []
    for name in dict.fromkeys(chosen.control):
        service = prepare(name if name in controls.REWARDS else "")
        found.append(asyncio.run(control(name, service, day, chosen.seed, console)))
        report = {"options": options, "controls": controls.to_json(found)}
        (service.settings.data / "demo" / "controls.json").write_text(json.dumps(report, indent=2) + "\n")
        if not chosen.json:
            console.print(controls.table(found))
    if chosen.json:
        print(json.dumps(report))  # noqa: T201  # the result
    return 0 if all(one.holds for one in found) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
