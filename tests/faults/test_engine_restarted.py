"""The engine is killed under load in the middle of a canary, and starts again without its adapters.

Customers are told that it is away while it is; from when it is back nobody is refused, each answer is of one
model, and the canary's conversations get stable's answers until the canary can give its own again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from infra.engine import BASE
from infra.events import DeploymentChanged
from infra.registry import Registry
from infra.settings import Settings
from tests import lora_adapters, stub_answers
from tests.agent.agents import QUESTIONS, Live, add_adapter, add_knowledge, running, until_ready
from tests.agent.test_canary import canary, usable
from tests.engines import real_process, stub_process
from tests.faults.customers import Customers
from tests.faults.test_swapped import read
from tests.waiting import soon

pytestmark = pytest.mark.clock

CUSTOMERS = 16
GOAL_S = 10.0
# Seconds of load before the kill, without an engine, and after its adapters are back.
BEFORE_S, AWAY_S, AFTER_S = 2.0, 1.0, 2.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The real engine starts twice, which takes minutes: by the full counts alone."""
    metafunc.parametrize("kind", ["stub", "vllm"] if metafunc.config.getoption("--soak") else ["stub"])


class Answer(NamedTuple):
    """A request that is over. Times are of the monotonic clock; `failure` is empty for a whole answer."""

    begun: float
    ended: float
    arm: str
    adapter: str
    text: str
    failure: str


class Streaming(Customers):
    """They keep what they were told, and by whom, or what went wrong."""

    def __init__(self, live: Live) -> None:
        super().__init__(live, CUSTOMERS)
        self.answers: list[Answer] = []

    def by(self, adapter: str, since: float) -> list[Answer]:
        return [
            one for one in self.answers if one.adapter == adapter and one.begun > since and not one.failure
        ]

    async def _ask(self, number: int, turn: int) -> None:
        begun = time.monotonic()
        body = {
            "messages": [{"role": "user", "content": QUESTIONS[(number + turn) % len(QUESTIONS)]}],
            "metadata": {"collection": "inn", "conversation_id": f"c-{number}"},
            "max_tokens": 16,
            "stream": True,
        }
        async with self._live.http.post(self._live.url + "/v1/chat/completions", json=body) as response:
            arm, adapter = (response.headers.get(f"x-nightshift-{name}", "") for name in ("arm", "adapter"))
            text, failure = await read(response)
        self.answers.append(Answer(begun, time.monotonic(), arm, adapter, text, failure))
        await asyncio.sleep(0.1 if failure else 0.0)


def started(kind: str, settings: Settings, log: Path) -> AbstractContextManager[str]:
    """The engine, until it is killed. The stub's streams tell who made each token."""
    if kind == "stub":
        return stub_process(settings.engine.port, log, "--fault", "signed", killed=True)
    return real_process(settings.engine.port, log, killed=True)


def adapter(kind: str, settings: Settings, tmp_path: Path, seed: int) -> str:
    if kind == "stub":
        return add_adapter(settings, tmp_path, seed)
    folder = lora_adapters.write(tmp_path / f"lora-{seed}", 0.05, seed)
    return Registry(settings.adapters_dir).register(folder, "night", datetime.now(UTC)).name


async def test_adapters_are_back_soon_after_the_engine_and_nobody_notices_more(
    settings: Settings, tmp_path: Path, kind: str, measured: Callable[[str], None]
) -> None:
    add_knowledge(settings)
    stable, trial = (adapter(kind, settings, tmp_path, seed) for seed in (1, 2))
    with ExitStack() as engine:
        await asyncio.to_thread(engine.enter_context, started(kind, settings, tmp_path / "first.log"))
        async with running(settings) as live:
            await until_ready(live)
            live.deploy(DeploymentChanged(action="promote", adapter=stable, actor="test"))
            live.deploy(canary(trial, 0.5))
            await usable(live, 2, 60.0)
            customers = Streaming(live)
            await soon(lambda: bool(customers.by(stable, 0) and customers.by(trial, 0)), 60.0)
            await asyncio.sleep(BEFORE_S)
            killed = time.monotonic()
            await asyncio.to_thread(engine.close)
            await asyncio.sleep(AWAY_S)
            again = started(kind, settings, tmp_path / "second.log")
            await asyncio.to_thread(engine.enter_context, again)
            ready = time.monotonic()
            await soon(lambda: bool(customers.by(stable, ready) and customers.by(trial, ready)), 60.0)
            await asyncio.sleep(AFTER_S)
            await customers.leave()
    answers = customers.answers
    # Now that all are over: who began first need not have ended first.
    first = {name: min(one.begun for one in customers.by(name, ready)) for name in (stable, trial)}
    failed = [one for one in answers if one.failure]
    after = [one for one in answers if one.begun > ready]
    waiting = [one for one in after if one.begun < first[trial]]
    back = {name: begun - ready for name, begun in first.items()}
    measured(
        f"{kind}: {len(answers)} answers of {CUSTOMERS} customers; away for {ready - killed:.1f} s, in which "
        f"{len(failed)} were refused or broken off; once it was ready, stable was back after "
        f"{back[stable]:.2f} s and the canary after {back[trial]:.2f} s ({len(waiting)} answers meanwhile); "
        f"{len(after)} answers from then on, none failed"
    )
    assert max(back.values()) < GOAL_S
    assert not any(one.failure for one in after)
    assert {one.adapter for one in waiting} <= {BASE, stable}
    assert {one.adapter for one in after if one.begun > max(first.values())} == {stable, trial}
    # Who was being answered is told at once that it broke off. Nobody else fails, none by a missing model.
    assert all(killed < one.ended and one.begun < ready for one in failed)
    assert not any("404" in one.failure or "does not exist" in one.failure for one in failed)
    assert all(len(stub_answers.makers(one.text)) == 1 for one in answers if not one.failure)
    assert {one.failure[:3] for one in failed} > {"503"}  # some before their first word, some after
