"""What adapters cost the engine: tokens a second by rank, modules and operators, against one without any.

That engine stays on all the while; each of the others is started beside it and asked in turn with it, so that
a ratio is of one moment. Adapters are random: speed depends on their shape alone. Prompts are customers' with
six facts, other ones each time, so that no cache knows them; every answer has the same number of tokens.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import aiohttp
import psutil
from rich.table import Table

from infra import engine_process
from infra.addresses import free_ports
from infra.bench import learning, random_lora
from infra.bench.programs import running, until_ready
from infra.bench.random_lora import ALL_LINEAR
from infra.engine import BASE, Engine
from infra.engine_process import Machine
from infra.errors import ProcessError
from infra.sections import EngineSettings, TrainerSettings
from infra.settings import Settings, load

# Short and many: on a machine that has other work, too, neighbours in time are alike.
ROUNDS = 8
# All requests of a round at one time, and the tokens of each answer.
REQUESTS, TOKENS = 8, 24
# Compiling takes two minutes on a quiet machine.
_START_S = 600.0
QV = ("q_proj", "v_proj")
WARM = "prompts of the first requests, which are slower"
FLOOR = "no adapters at all (floor)"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked: the base model, or an adapter in every so many-th request and the base in the others."""

    name: str
    rank: int = 0
    targets: tuple[str, ...] = ()
    every: int = 1

    @property
    def adapter(self) -> str:
        return f"r{self.rank}-{'-'.join(self.targets)}" if self.rank else BASE


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to start the engine, and what is asked of it. No `targets`: it takes no adapters."""

    asked: tuple[Asked, ...]
    targets: tuple[str, ...] = QV
    rank: int = 16
    eager: bool = True
    ours: bool = True


R16 = Asked("rank 16 on q and v", 16, QV)
FLOORS = Variant((Asked(FLOOR),), targets=())
VARIANTS = {
    # What the measure itself says of two that are the same.
    "control": Variant((Asked("base model"),), targets=()),
    "q and v wrapped": Variant(
        (
            Asked("base model, or merged weights"),
            R16,
            Asked("rank 8", 8, QV),
            Asked("rank 4", 4, QV),
            Asked("v alone", 16, ("v_proj",)),
            Asked("rank 16, every second request", 16, QV, every=2),
        )
    ),
    "all wrapped": Variant(
        (
            Asked("base model, or merged weights"),
            R16,
            Asked("rank 32 on q and v", 32, QV),
            Asked("o alone", 16, ("o_proj",)),
            Asked("v and o", 16, ("v_proj", "o_proj")),
            Asked("all linear layers", 16, ALL_LINEAR),
        ),
        targets=ALL_LINEAR,
        rank=32,
    ),
    "vLLM's operators": Variant((Asked("base model"), R16), ours=False),
    "compiled": Variant((Asked("base model"),), targets=(), eager=False),
}


class Rate(NamedTuple):
    """Tokens a second by the clock, and of processor time, which other work on the machine disturbs less."""

    clock: float
    processor: float


class Running(NamedTuple):
    """An engine: its address, and its process, whose children do the computing."""

    url: str
    pid: int

    def processor_s(self) -> float:
        root = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
        return sum(one.user + one.system for one in times)


@dataclass(slots=True)
class Rates:
    """Of each round, and the floor's in the same round."""

    own: list[Rate] = field(default_factory=list)
    floor: list[Rate] = field(default_factory=list)

    def ratios(self, which: int) -> list[float]:
        return sorted(own[which] / floor[which] for own, floor in zip(self.own, self.floor, strict=True))

    def told(self, which: int) -> str:
        """The median ratio, and its quartiles."""
        low, middle, high = quantiles(self.ratios(which), n=4)
        return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def run(say: Callable[[str], object]) -> Table:
    """One row for each thing asked.

    Raises:
        ProcessError: an engine did not start.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
        return table(asyncio.run(_all(Path(folder), say)))


async def _all(folder: Path, say: Callable[[str], object]) -> dict[tuple[str, str], Rates]:
    rates: dict[tuple[str, str], Rates] = {}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with _engine(FLOORS, folder, "floor") as floor:
            await _rate(session, floor, FLOORS.asked[0], WARM)
            for name, variant in VARIANTS.items():
                try:
                    with _engine(variant, folder, name.replace(" ", "-")) as engine:
                        for asked, found in (await _compare(session, floor, engine, name, folder)).items():
                            rates[name, asked] = found
                            say(f"{name}, {asked}: {found.told(0)}, processor {found.told(1)}")
                except ProcessError as err:  # a mode that this build does not have says nothing of the others
                    say(f"{name}: {err}")
    return rates


async def _compare(
    session: aiohttp.ClientSession, floor: Running, own: Running, name: str, folder: Path
) -> dict[str, Rates]:
    variant, base_model = VARIANTS[name], load().base_model.absolute()
    engine = Engine(own.url, session, 600.0)
    for asked in variant.asked:
        if asked.rank:
            place = folder / asked.adapter
            if not place.is_dir():
                random_lora.write(place, base_model, asked.rank, asked.targets)
            await engine.load(asked.adapter, place)
    for asked in variant.asked:
        await _rate(session, own, asked, f"{WARM} {name}")
    rates = {asked.name: Rates() for asked in variant.asked}
    for number in range(ROUNDS):
        for asked in variant.asked:
            # Both get the same prompts. Each has its own moment of the floor: now before it and now after it.
            prompts = f"{name} {asked.name} {number}"
            pairs = [(own, asked, rates[asked.name].own), (floor, FLOORS.asked[0], rates[asked.name].floor)]
            for where, what, found in pairs if number % 2 else reversed(pairs):
                found.append(await _rate(session, where, what, prompts))
    return rates


async def _rate(session: aiohttp.ClientSession, engine: Running, asked: Asked, seed: str) -> Rate:
    """Of REQUESTS at one time."""
    prompts = [row["prompt"] for row in learning.rows(random.Random(seed))][:REQUESTS]
    loop = asyncio.get_running_loop()

    async def ask(number: int, messages: Sequence[dict[str, str]]) -> int:
        body = {
            "model": BASE if number % asked.every else asked.adapter,
            "messages": messages,
            "max_tokens": TOKENS,
            "ignore_eos": True,
            "temperature": 0.0,
        }
        async with session.post(f"{engine.url}/v1/chat/completions", json=body) as response:
            told: dict[str, Any] = await response.json()
            if response.status != 200:
                raise ProcessError(f"The engine refused {asked.name}: {told}")
            return int(told["usage"]["completion_tokens"])

    began, used = loop.time(), engine.processor_s()
    tokens = sum(await asyncio.gather(*(ask(number, messages) for number, messages in enumerate(prompts))))
    return Rate(tokens / (loop.time() - began), tokens / (engine.processor_s() - used))


@contextmanager
def _engine(variant: Variant, folder: Path, name: str) -> Iterator[Running]:
    """The real engine while it runs."""
    (port,) = free_ports(1)
    machine = engine_process.look()
    program, extra = command(variant, machine, port), variables(variant, machine)
    with running(program, folder / f"{name}.log", **extra) as process:
        url = f"http://127.0.0.1:{port}"
        until_ready(url, "/health", _START_S)
        yield Running(url, process.pid)


def command(variant: Variant, machine: Machine, port: int) -> list[str]:
    """As `nightshift engine` starts it, but for what is varied."""
    known = load()
    settings = Settings(
        data=Path("/nowhere"),
        models=known.models,
        engine=EngineSettings(port=port, base=known.engine.base, max_rank=32 if variant.rank > 16 else 16),
        trainer=TrainerSettings(targets=variant.targets),
    )
    words = engine_process.arguments(settings, machine)
    if not variant.targets:
        words = [word for word in words if word != "--enable-lora"]
    if not variant.eager:
        words = [word for word in words if word != "--enforce-eager"]
    return [sys.executable, *words]


def variables(variant: Variant, machine: Machine) -> dict[str, str]:
    """Likewise, its variables."""
    known = engine_process.environment(machine)
    if machine.cpu:
        known["VLLM_CPU_KVCACHE_SPACE"] = "1"  # two engines share the machine
    return known if variant.ours else known | {"VLLM_PLUGINS": ""}


def table(rates: dict[tuple[str, str], Rates]) -> Table:
    """Medians over rounds and their quartiles; each ratio is within its round."""
    out = Table(
        "engine", "asked", "tokens/s", "of an engine without adapters", "in processor time",
        title=f"Adapters, {REQUESTS} at a time (goal for the stable arm: 0.95)", title_justify="left",
    )  # fmt: skip
    for (engine, asked), found in rates.items():
        clock = f"{median(one.clock for one in found.own):.0f}"
        out.add_row(engine, asked, clock, found.told(0), found.told(1))
    return out
