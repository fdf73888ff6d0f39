"""Several engines behind one agent: where requests go, and who goes on where one fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from infra.events import DeploymentChanged
from infra.settings import Settings
from tests.agent.agents import (
    QUESTIONS,
    Live,
    add_adapter,
    add_knowledge,
    engine_ports,
    running,
    until_ready,
    with_another_engine,
)
from tests.agent.test_canary import canary, usable
from tests.stub_engine import StubEngine
from tests.waiting import soon

pytestmark = pytest.mark.clock


@pytest.fixture
def two(settings: Settings, free_ports: Callable[[int], list[int]]) -> Settings:
    """Settings with a second engine."""
    return with_another_engine(settings, *free_ports(1), timeout_s=5.0)


@pytest.fixture
async def stubs(two: Settings) -> AsyncIterator[list[StubEngine]]:
    first, second = engine_ports(two)
    async with StubEngine(first) as one, StubEngine(second) as other:
        yield [one, other]


@pytest.fixture
async def live(two: Settings, stubs: list[StubEngine]) -> AsyncIterator[Live]:
    add_knowledge(two)
    async with running(two) as agent:
        await until_ready(agent)
        yield agent


async def readiness(live: Live) -> str:
    return (await live.get("/readyz"))[1]


async def test_the_same_question_stays_at_one_engine_and_many_use_both(
    live: Live, stubs: list[StubEngine]
) -> None:
    for _ in range(6):
        await live.ask("Is parking free?")
    assert sorted(stub.stats["requests"] for stub in stubs) == [0, 6]
    for stub in stubs:
        stub.fault("base", "slow", None)
    await asyncio.gather(*(live.ask("Is parking free?", f"c-{number}") for number in range(16)))
    assert min(stub.stats["requests"] for stub in stubs) >= 4


@pytest.mark.parametrize("kind", ["error", "break_stream", "malformed", "hang"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failing_engine_is_replaced_by_another_with_the_same_adapter(
    live: Live, stubs: list[StubEngine], tmp_path: Path, kind: str, streamed: bool
) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    live.deploy(canary(name))
    await everywhere(stubs, name)
    await usable(live)
    whole = (await live.ask("Is parking free?")).text
    home = max(stubs, key=lambda stub: stub.stats["requests"])
    home.fault(name, kind)
    text = await stream(live, "Is parking free?") if streamed else (await live.ask("Is parking free?")).text
    assert text == whole  # from where it broke off, by the same adapter
    told = live.interactions()[-1]
    assert (told.status, told.adapter, told.fallback_from, told.error) == ("ok", name, "", "")
    assert "nightshift_engine_failures_total 1.0" in (await live.get("/metrics"))[1]


async def everywhere(stubs: list[StubEngine], name: str) -> None:
    await soon(lambda: all(name in stub.served and stub.stats["requests"] > 1 for stub in stubs), 5.0)


async def stream(live: Live, question: str, conversation: str = "c-1") -> str:
    """The whole text; raises openai's errors."""
    async with live.openai as client:
        chunks = await client.chat.completions.create(
            model="nightshift",
            messages=[{"role": "user", "content": question}],
            metadata={"conversation_id": conversation, "collection": "inn"},
            stream=True,
        )
        text, ended = "", False
        async for chunk in chunks:
            text += chunk.choices[0].delta.content or ""
            ended = ended or chunk.choices[0].finish_reason is not None
    assert ended
    return text


async def test_only_engines_that_hold_an_adapter_answer_with_it(
    live: Live, stubs: list[StubEngine], tmp_path: Path
) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    stubs[1].refuse_adapters = True
    live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
    await usable(live)
    before = stubs[1].stats["requests"]
    for number, question in enumerate(QUESTIONS * 4):
        assert (await live.ask(question, f"c-{number}")).adapter == name
    assert stubs[1].stats["requests"] == before
    assert "degraded" not in (await readiness(live)).partition("documents")[0]


async def test_an_adapter_that_no_engine_takes_has_failed(
    live: Live, stubs: list[StubEngine], tmp_path: Path
) -> None:
    name = add_adapter(live.settings, tmp_path, 1)
    for stub in stubs:
        stub.refuse_adapters = True
    live.deploy(canary(name))
    await soon(lambda: all(stub.stats["refused"] for stub in stubs), 5.0)
    deadline = time.monotonic() + 5
    while name not in await readiness(live):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert (await live.ask("Wifi?")).adapter == "base"
    assert live.interactions()[-1].fallback_from == name
