"""One of two engines is killed under load, and starts again: no customer notices.

Answers that were under way go on at the other engine from where they broke off. The engine that comes back
has the adapter again before long.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from infra.events import DeploymentChanged
from infra.settings import Settings
from tests.agent.agents import (
    QUESTIONS,
    Live,
    add_knowledge,
    engine_ports,
    running,
    until_ready,
    with_another_engine,
)
from tests.agent.test_canary import usable
from tests.agent.test_replicas import stream
from tests.engines import real_process, stub_process
from tests.faults.customers import Customers
from tests.faults.test_engine_restarted import adapter
from tests.waiting import soon

pytestmark = pytest.mark.clock

CUSTOMERS = 12
GOAL_S = 10.0
# Answers before the kill, while one engine is away, and after it is back.
ANSWERS = 30


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Three starts of the real engine take minutes: by the full counts alone."""
    metafunc.parametrize("kind", ["stub", "vllm"] if metafunc.config.getoption("--soak") else ["stub"])


@asynccontextmanager
async def engines(kind: str, settings: Settings, folder: Path) -> AsyncIterator[list[ExitStack]]:
    """One at each address; closing one of the stacks kills its engine."""
    with ExitStack() as all_of_them:
        stacks = [all_of_them.enter_context(ExitStack()) for _ in settings.engine.urls]
        for stack, port in zip(stacks, engine_ports(settings), strict=True):
            await start(kind, stack, port, folder / f"{port}.log")
        yield stacks


async def start(kind: str, stack: ExitStack, port: int, log: Path) -> str:
    process = stub_process if kind == "stub" else real_process
    return await asyncio.to_thread(stack.enter_context, process(port, log, killed=True))


class Asking(Customers):
    """They have every second answer streamed. An answer that fails ends its customer's visit."""

    def __init__(self, live: Live) -> None:
        super().__init__(live, CUSTOMERS)
        self.answered = 0

    async def more(self) -> None:
        """Waits for so many answers from now on."""
        before = self.answered
        await soon(lambda: self.answered > before + ANSWERS or any(t.done() for t in self._tasks), 120.0)

    async def _ask(self, number: int, turn: int) -> None:
        asked = number + turn
        question = QUESTIONS[asked % len(QUESTIONS)]
        if asked % 2:
            await self._live.ask(question, f"c-{number}")
        else:
            await stream(self._live, question, f"c-{number}")
        self.answered += 1


async def test_an_engine_killed_and_started_again_under_load_costs_no_answer(
    settings: Settings,
    free_ports: Callable[[int], list[int]],
    tmp_path: Path,
    kind: str,
    measured: Callable[[str], None],
) -> None:
    # Short answers: two real engines may have to share two cores.
    short = settings.model_copy(update={"agent": settings.agent.model_copy(update={"max_tokens": 16})})
    two = with_another_engine(short, *free_ports(1), timeout_s=5.0 if kind == "stub" else 60.0)
    add_knowledge(two)
    name = adapter(kind, two, tmp_path, 1)
    async with engines(kind, two, tmp_path) as stacks, running(two) as live:
        await until_ready(live)
        live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
        await usable(live, 1, 60.0)
        if kind == "stub":  # slow, so that answers are under way when one is killed
            for url in two.engine.urls:
                await live.http.post(url + "/stub/faults", json={"kind": "slow", "times": None})
        customers = Asking(live)
        await customers.more()
        await asyncio.to_thread(stacks[0].close)
        await customers.more()
        assert "1 of 2 engines" in (await live.get("/readyz"))[1]
        url = await start(kind, stacks[0], engine_ports(two)[0], tmp_path / "again.log")
        back = await adapter_back(live, url, name)
        await customers.more()
        await customers.leave()
        told, metrics = live.interactions(), (await live.get("/metrics"))[1]
    failures = re.search(r"^nightshift_engine_failures_total (\S+)", metrics, re.M)
    assert failures is not None
    measured(
        f"{kind}: {len(told)} answers, {failures[1]} replaced, adapter back {back:.2f} s after the engine"
    )
    assert {one.status for one in told} == {"ok"}
    assert {(one.adapter, one.fallback_from) for one in told} == {(name, "")}
    assert all(one.answer for one in told)
    if kind == "stub":  # it says the same to the same question: none was cut or mixed
        assert len({(one.query, one.answer) for one in told}) == len(QUESTIONS)
    assert float(failures[1]) > 0
    assert back < GOAL_S


async def adapter_back(live: Live, url: str, name: str) -> float:
    """Seconds until an engine lists the adapter again."""
    begun = time.monotonic()
    while True:
        async with live.http.get(url + "/v1/models") as response:
            if name in await response.text():
                return time.monotonic() - begun
        assert time.monotonic() - begun < 2 * GOAL_S
        await asyncio.sleep(0.02)
