"""What the gateway itself costs: the engine asked directly, through a bare proxy, through us, and LiteLLM.

The engine answers at once. It and the load have one core, the gateway has another: ours with retrieval,
redaction, routing and durable recording on. Sides take turns within each round. LiteLLM is measured where
LITELLM names its command, from an environment of its own: `pip install 'litellm[proxy]'`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import uvloop
from rich.table import Table

from infra.addresses import free_ports
from infra.bench.programs import running, until_ready
from infra.bench.wire import Caller, request
from infra.demo.business import businesses, questions
from infra.demo.stage import write_knowledge
from infra.settings import Settings

ROUNDS = 5
CONNECTIONS = 32
RATE = 100.0  # requests a second, arriving at random
SECONDS = 4.0  # of each load in a round

DIRECT, BARE, OURS, LITELLM = "the engine itself", "a bare proxy", "nightshift", "LiteLLM"
PATH = "/v1/chat/completions"


@dataclass(slots=True)
class Side:
    """One way to the engine, and what was measured: `rates` of each round, `waits` (s) of each request."""

    port: int
    start_s: float = 0.0
    memory_mb: float = 0.0
    rates: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def ms(self, percentile: float) -> float:
        """A percentile of the waits at RATE, in milliseconds."""
        return float(np.percentile(self.waits, percentile)) * 1e3


def run(say: Callable[[str], object], rounds: int = ROUNDS, seconds: float = SECONDS) -> Table:
    """One row for each side: throughput, waits, what it adds to the engine's, memory and start."""
    mine = os.sched_getaffinity(0)
    first, second = (*sorted(mine), *sorted(mine))[:2]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.enter_context(_on({first}, mine))
        sides = _start(stack, Path(folder), {first}, {second}, say)
        uvloop.run(_rounds(sides, rounds, seconds, say))
    return table(sides)


def _start(
    stack: ExitStack, folder: Path, ours: set[int], theirs: set[int], say: Callable[[str], object]
) -> dict[str, Side]:
    """The engine and each gateway, these on the cores `theirs`."""
    engine, bare, agent, litellm = free_ports(4)
    python = sys.executable
    stack.enter_context(running((python, "-m", "infra.bench.engine", str(engine)), folder / "engine.log"))
    data = folder / "data"
    write_knowledge(Settings(data=data), tuple(businesses()))
    programs = {
        BARE: (bare, "/readyz", (python, "-m", "infra.bench.bare_proxy", str(bare), str(engine))),
        OURS: (agent, "/readyz", (python, "-m", "agent")),
    }
    if command := os.environ.get("LITELLM"):
        config = folder / "litellm.yaml"
        config.write_text(_litellm(engine))
        at = ("--host", "127.0.0.1", "--port", str(litellm))
        programs[LITELLM] = (litellm, "/health/readiness", (command, "--config", str(config), *at))
    sides = {DIRECT: Side(engine)}
    for name, (port, ready, program) in programs.items():
        began = time.monotonic()
        with _on(theirs, ours):  # a program keeps the cores that it was started with
            process = stack.enter_context(
                running(
                    program,
                    folder / f"{name}.log",
                    NIGHTSHIFT_DATA=str(data),
                    NIGHTSHIFT_AGENT__PORT=str(agent),
                    NIGHTSHIFT_ENGINE__PORT=str(engine),
                )
            )
        until_ready(f"http://127.0.0.1:{port}", ready)
        sides[name] = Side(port, time.monotonic() - began, _memory_mb(process.pid))
        say(f"{name} is ready after {sides[name].start_s:.1f} s")
    return sides


async def _rounds(sides: dict[str, Side], rounds: int, seconds: float, say: Callable[[str], object]) -> None:
    for number in range(rounds):
        # Every second round in the opposite order.
        for side in list(sides.values())[:: 1 if number % 2 == 0 else -1]:
            side.rates.append(await _at_once(side.port, seconds, number))
            side.waits += await _at_random(side.port, seconds, number)
        say(f"round {number + 1} of {rounds}")


async def _at_once(port: int, seconds: float, seed: int) -> float:
    """Requests a second over CONNECTIONS, each asking again as soon as it was answered."""
    began = time.perf_counter()
    until = began + seconds

    async def ask(number: int) -> int:
        caller, answered = await Caller.connect(port), 0
        for message in messages(CONNECTIONS * seed + number):
            if time.perf_counter() >= until:
                break
            await caller.ask(message)
            answered += 1
        caller.close()
        return answered

    answered = await asyncio.gather(*map(ask, range(CONNECTIONS)))
    return sum(answered) / (time.perf_counter() - began)


async def _at_random(port: int, seconds: float, seed: int) -> list[float]:
    """Seconds of each of RATE requests a second, from when it was due: waiting for a turn counts, too."""
    chance = random.Random(seed)
    callers: list[Caller] = []
    waits: list[float] = []

    async def ask(message: bytes, due: float) -> None:
        caller = callers.pop() if callers else await Caller.connect(port)
        await caller.ask(message)
        waits.append(time.perf_counter() - due)
        callers.append(caller)

    due = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _, message in zip(range(round(RATE * seconds)), messages(seed), strict=False):
            due += chance.expovariate(RATE)
            await asyncio.sleep(due - time.perf_counter())
            tasks.create_task(ask(message, due))
    for caller in callers:
        caller.close()
    return waits


def messages(seed: int) -> Iterator[bytes]:
    """Customers' questions as requests, without end."""
    chance = random.Random(seed)
    asked = questions()
    while True:
        question = chance.choice(asked)
        body = {
            "model": "nightshift",
            "messages": [{"role": "user", "content": question.text}],
            "metadata": {"collection": question.collection},
        }
        yield request(PATH, json.dumps(body).encode())


def table(sides: dict[str, Side]) -> Table:
    """The figures side by side; ratios are medians over rounds, each within its round."""
    out = Table(
        "gateway", f"requests/s, {CONNECTIONS} connections", "of a bare proxy's",
        f"p50, p99 at {RATE:.0f}/s, ms", "added p50, p99", "memory, MB", "start, s",
    )  # fmt: skip
    direct, bare = sides[DIRECT], sides[BARE]
    for name, side in sides.items():
        added = [f"{side.ms(part) - direct.ms(part):+.1f}" for part in (50, 99)]
        ratio = median(rate / other for rate, other in zip(side.rates, bare.rates, strict=True))
        out.add_row(
            name,
            f"{median(side.rates):,.0f} ({min(side.rates):,.0f} to {max(side.rates):,.0f})",
            f"{ratio:.3f}",
            f"{side.ms(50):.1f}, {side.ms(99):.1f}",
            "" if side is direct else ", ".join(added),
            f"{side.memory_mb:.0f}" if side.memory_mb else "",
            f"{side.start_s:.1f}" if side.start_s else "",
        )
    return out


@contextmanager
def _on(cores: set[int], afterwards: set[int]) -> Iterator[None]:
    """This program on these cores, and what it starts meanwhile."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, afterwards)


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    root = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (root, *root.children(recursive=True))) / 2**20


def _litellm(engine: int) -> str:
    """LiteLLM's settings: one model, at the engine."""
    model = {"model": "openai/base", "api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    return json.dumps(
        {
            "model_list": [{"model_name": "nightshift", "litellm_params": model}],
            # Like ours, it asks for no key on loopback; it starts without one only where it is told to.
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
        }
    )
