"""What the durable append costs a customer: an agent that records, against one that records nothing.

Three real agent processes over one engine that answers at once: without a record, with the local log, and
with an outbox while Kafka is away. They take turns within each round, so that drift of the machine meets all.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np
import uvloop
from rich.table import Table

from infra.addresses import free_ports
from infra.bench.programs import running, until_ready
from infra.demo.business import businesses, questions
from infra.demo.stage import write_knowledge
from infra.settings import Settings

ROUNDS = 10
# Requests one after the other on one connection; then seconds of arrivals at random, and their mean rate.
ONE_BY_ONE = 200
SECONDS = 5.0
RATE = 100.0
# Draws of the bootstrap over rounds, and the part of them that the interval holds.
DRAWS = 1000
INTERVAL = (5, 95)

NOTHING, LOCAL, OUTAGE = "nothing", "local log", "outbox, Kafka away"
# `infra` imports no room, so this is a program: the agent as it is, with another log in the place of its own.
_WITHOUT_A_RECORD = """
import sys
import agent.__main__ as agent
from infra.bench.unrecorded import Unrecorded
agent.open_outbox = Unrecorded
sys.exit(agent.main())
"""
_COMMANDS = {
    NOTHING: (sys.executable, "-c", _WITHOUT_A_RECORD),
    LOCAL: (sys.executable, "-m", "agent"),
    OUTAGE: (sys.executable, "-m", "agent"),
}


@dataclass(frozen=True, slots=True)
class Load:
    """How requests come: `rate` a second at random for `seconds`, or without a rate `count` one by one."""

    name: str
    count: int = 0
    rate: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Measured:
    """Seconds of each request, by round, of one arm under one load."""

    rounds: list[list[float]] = field(default_factory=list)

    def ms(self, percentile: float, drawn: Sequence[int] | None = None) -> float:
        """A percentile over all rounds, or over those that were drawn, in milliseconds."""
        chosen = self.rounds if drawn is None else [self.rounds[place] for place in drawn]
        return float(np.percentile(np.concatenate(chosen), percentile)) * 1e3


def run(
    say: Callable[[str], object],
    rounds: int = ROUNDS,
    one_by_one: int = ONE_BY_ONE,
    seconds: float = SECONDS,
    rate: float = RATE,
) -> Table:
    """One row for each load and arm: p50 and p99, and what the arm adds to both, with 90% intervals."""
    loads = (
        Load("one connection", count=one_by_one),
        Load(f"{rate:.0f} requests/s", rate=rate, seconds=seconds),
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        urls = _start(stack, Path(folder))
        found = uvloop.run(_rounds(say, urls, loads, rounds))
        fsyncs = Measured([_fsyncs(Path(folder), 50) for _ in range(rounds)])
    return _table(found, loads, fsyncs)


def _start(stack: ExitStack, folder: Path) -> dict[str, str]:
    """The engine and one agent for each arm, each with its own data folder; the agents' addresses."""
    engine, nowhere, *ports = free_ports(2 + len(_COMMANDS))
    stack.enter_context(
        running((sys.executable, "-m", "infra.bench.engine", str(engine)), folder / "engine.log")
    )
    urls = {}
    for number, (arm, port) in enumerate(zip(_COMMANDS, ports, strict=True)):
        data = folder / f"agent-{number}"
        write_knowledge(Settings(data=data), tuple(businesses()))
        variables = {
            "NIGHTSHIFT_DATA": str(data),
            "NIGHTSHIFT_AGENT__PORT": str(port),
            "NIGHTSHIFT_ENGINE__PORT": str(engine),
        }
        if arm == OUTAGE:
            variables["NIGHTSHIFT_KAFKA__BOOTSTRAP"] = f"127.0.0.1:{nowhere}"
        stack.enter_context(running(_COMMANDS[arm], folder / f"agent-{number}.log", **variables))
        urls[arm] = f"http://127.0.0.1:{port}"
    for url in urls.values():
        until_ready(url)
    return urls


async def _rounds(
    say: Callable[[str], object], urls: dict[str, str], loads: Sequence[Load], rounds: int
) -> dict[tuple[str, str], Measured]:
    found = {(load.name, arm): Measured() for load in loads for arm in urls}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for url in urls.values():
            await _ask_all(session, url, Load("", count=20), 0)
        for number in range(rounds):
            # Every second round in the opposite order.
            arms = list(urls) if number % 2 == 0 else list(urls)[::-1]
            for load in loads:
                for arm in arms:
                    found[load.name, arm].rounds.append(await _ask_all(session, urls[arm], load, number))
            say(f"round {number + 1} of {rounds}")
    return found


async def _ask_all(session: aiohttp.ClientSession, url: str, load: Load, seed: int) -> list[float]:
    """Seconds of each request, from when it was due: one that had to wait for its turn counts that, too."""
    chance = random.Random(seed)
    asked = chance.choices(questions(), k=load.count or round(load.rate * load.seconds))
    bodies = [_body(question.collection, question.text) for question in asked]
    if not load.rate:
        return [await _ask(session, url, body, time.perf_counter()) for body in bodies]
    due = time.perf_counter()
    tasks = []
    for body in bodies:
        due += chance.expovariate(load.rate)
        await asyncio.sleep(due - time.perf_counter())
        tasks.append(asyncio.create_task(_ask(session, url, body, due)))
    return await asyncio.gather(*tasks)


async def _ask(session: aiohttp.ClientSession, url: str, body: dict[str, object], due: float) -> float:
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return time.perf_counter() - due


def _body(collection: str, question: str) -> dict[str, object]:
    return {
        "model": "nightshift",
        "messages": [{"role": "user", "content": question}],
        "metadata": {"collection": collection},
    }


def _fsyncs(folder: Path, count: int) -> list[float]:
    """Seconds of writing an event's size to a file and making it durable: what no append can do without."""
    found = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(bytes(3000))
            os.fsync(file.fileno())
            found.append(time.perf_counter() - began)
    return found


def _table(found: dict[tuple[str, str], Measured], loads: Sequence[Load], fsyncs: Measured) -> Table:
    table = Table("load", "record", "p50, ms", "p99, ms", "added p50, ms", "added p99, ms")
    for load in loads:
        nothing = found[load.name, NOTHING]
        for arm in _COMMANDS:
            ours = found[load.name, arm]
            added = ("", "") if arm == NOTHING else (_added(nothing, ours, 50), _added(nothing, ours, 99))
            table.add_row(load.name, arm, f"{ours.ms(50):.2f}", f"{ours.ms(99):.2f}", *added)
    table.add_row("", "a write and an fsync alone", f"{fsyncs.ms(50):.2f}", f"{fsyncs.ms(99):.2f}", "", "")
    return table


def _added(nothing: Measured, ours: Measured, percentile: float) -> str:
    """How much more than nothing, with an interval by a bootstrap over rounds, arms together."""
    chance = random.Random(1)
    places = range(len(ours.rounds))
    differences = [
        ours.ms(percentile, drawn) - nothing.ms(percentile, drawn)
        for drawn in (chance.choices(places, k=len(places)) for _ in range(DRAWS))
    ]
    low, high = np.percentile(differences, INTERVAL)
    return f"{ours.ms(percentile) - nothing.ms(percentile):+.2f} ({low:+.2f} to {high:+.2f})"
