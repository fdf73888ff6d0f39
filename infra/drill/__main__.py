"""Known-bad adapters, one after the other on canary: `python -m infra.drill`, or `nightshift canary drill`.

It plays on a service of its own, in its own folder and on free ports, with the demo's businesses and
customers; a running service is not touched. Exit 3 when one of them was not caught.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from infra.addresses import free_ports
from infra.demo import stage
from infra.demo.acts import Acts
from infra.demo.business import Cast, cast
from infra.demo.program import Program
from infra.drill import lessons, weights
from infra.drill.caught import Caught, table
from infra.drill.lessons import Lesson
from infra.drill.teach import prompts, teach
from infra.drill.weights import Change, made
from infra.errors import NightshiftError
from infra.registry import Adapter, Registry
from infra.settings import Settings, load

# Questions whose prompts the lessons are taught with, and asked first of the good adapter.
TAUGHT, FIRST = 48, 24
# Answers that a trial takes at most. One that is a little worse takes some 130 on each arm.
QUESTIONS = 500
ROOMS = ("agent", "engine", "collector", "trainer", "dashboard")


@dataclass(frozen=True, slots=True)
class Bad:
    """A known-bad adapter: taught a lesson, or made of numbers."""

    name: str
    lesson: Lesson | None = None
    change: Change | None = None


BAD = (
    Bad("random weights", change=weights.at_random),
    Bad("not numbers", change=weights.not_numbers),
    Bad("no change", change=weights.no_change),
    Bad("another base", change=weights.other_base),
    Bad("refuses everything", lesson=lessons.refuses),
    Bad("long and slow", lesson=lessons.rambles),
    Bad("beside the question", lesson=lessons.another_fact),
    Bad("subtly worse", lesson=lessons.slips),
)


class Drill:
    """Teaches a good adapter, makes it stable, and puts the bad ones on trial against it."""

    def __init__(
        self, service: stage.Service, parts: Cast, session: aiohttp.ClientSession, seed: int, console: Console
    ) -> None:
        self._service = service
        self._settings = service.settings
        self._parts = parts
        self._session = session
        self._seed = seed
        self._console = console
        self._acts = Acts(service, session, Program(seed=seed), console, seed)

    async def play(self, chosen: Sequence[Bad]) -> list[tuple[str, Caught]]:
        """How each trial ended. The service is stopped at the end, whatever happens."""
        trials = []
        try:
            await self._acts.start()
            asked = await prompts(self._parts.learn[:TAUGHT], self._settings, self._session)
            good = await self._taught(lessons.first_fact, asked, "good")
            await self._acts.promote(good.name, "drill", "It answers with the fact that was found first.")
            await self._acts.day(self._parts.learn[:FIRST])
            for bad in chosen:
                adapter = await self._made(bad, good, asked)
                self._say(f"[bold]{bad.name}[/]: {adapter.name} goes on canary")
                caught = await self._acts.trial(
                    adapter.name, f"A drill: {bad.name}.", self._parts.live[:QUESTIONS]
                )
                self._say(caught.reason)
                trials.append((bad.name, caught))
        finally:
            await self._acts.close()
        return trials

    async def _made(self, bad: Bad, good: Adapter, asked: list[dict[str, object]]) -> Adapter:
        if bad.lesson:
            return await self._taught(bad.lesson, asked, bad.name)
        assert bad.change, "taught or made of numbers"
        registry = Registry(self._settings.adapters_dir)
        return made(good, bad.change, registry, self._scratch(bad.name), self._seed)

    async def _taught(self, lesson: Lesson, asked: list[dict[str, object]], name: str) -> Adapter:
        self._say(f"teaching an adapter: {name}")
        return await teach(
            lesson, asked, self._settings, self._service.file, self._scratch(name), self._seed, self._say
        )

    def _scratch(self, name: str) -> Path:
        return self._settings.data / "demo" / name.replace(" ", "-")

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}")


def apart(settings: Settings) -> Settings:
    """The same service in a folder of its own and on free ports."""
    taken = [getattr(settings, room).port for room in ROOMS]
    own = {
        room: getattr(settings, room).model_copy(update={"port": port})
        for room, port in zip(ROOMS, free_ports(len(ROOMS), taken), strict=True)
    }
    return settings.model_copy(update={"data": settings.data / "drill", **own})


def environment(own: Settings, ours: Mapping[str, str]) -> dict[str, str]:
    """Our environment with the drill's folder and ports, which win over any settings file, and with nothing
    else of the running service's: neither its Kafka nor its catalog."""
    rest = {name: value for name, value in ours.items() if not name.startswith("NIGHTSHIFT_")}
    ports = {f"NIGHTSHIFT_{room.upper()}__PORT": str(getattr(own, room).port) for room in ROOMS}
    return rest | {"NIGHTSHIFT_DATA": str(own.data.resolve())} | ports


async def play(
    settings: Settings, chosen: Sequence[Bad], seed: int, console: Console
) -> list[tuple[str, Caught]]:
    """The whole drill."""
    sizes = stage.Sizes(learn=TAUGHT)
    parts = cast(seed, sizes.learn, sizes.held_out)
    own = apart(settings)
    theirs = environment(own, os.environ)
    os.environ.clear()
    os.environ.update(theirs)
    service = stage.prepare(own, seed, parts, sizes)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        return await Drill(service, parts, session, seed, console).play(chosen)


def main(arguments: list[str]) -> int:
    """Plays the drill and prints what was caught."""
    parser = argparse.ArgumentParser(
        prog="nightshift canary drill", description="Known-bad adapters on canary."
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[bad.name for bad in BAD],
        help="one of them; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=1, help="deals businesses and questions")
    parser.add_argument("--config", type=Path, default=None, help="settings file")
    parser.add_argument("--json", action="store_true", help="print the result as JSON alone")
    given = parser.parse_args(arguments)
    console = Console(stderr=given.json, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as cleanly as with Ctrl-C
    chosen = [bad for bad in BAD if not given.only or bad.name in given.only]
    try:
        trials = asyncio.run(play(load(given.config), chosen, given.seed, console))
    except KeyboardInterrupt:
        console.print("Stopped. Everything that was started has ended.")
        return 130
    except NightshiftError as err:
        print(json.dumps({"error": str(err)}) if given.json else f"The drill stopped: {err}", file=sys.stderr)  # noqa: T201
        return 1
    if given.json:
        print(json.dumps([{"name": name} | caught.to_json() for name, caught in trials]))  # noqa: T201
    else:
        console.print(table(trials))
    return 0 if all(caught.rolled_back for _, caught in trials) else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
