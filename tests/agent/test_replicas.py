"""Several engines behind one agent: where requests go, and what a lost engine costs (nothing)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from infra.events import DeploymentChanged
from infra.sections import EngineSettings
from infra.settings import Settings
from tests.agent.agents import Live, add_adapter, add_knowledge, running, until, until_ready
from tests.agent.test_canary import canary, usable
from tests.engines import stub_process
from tests.stub_engine import StubEngine

pytestmark = pytest.mark.clock

QUESTIONS = ("Is parking free?", "When is breakfast?", "Are dogs allowed?", "When is check-in?", "Wifi?")


@pytest.fixture
def two(settings: Settings, free_ports: Callable[[int], list[int]]) -> Settings:
    """Settings with a second engine."""
    (port,) = free_ports(1)
    engine = EngineSettings(port=settings.engine.port, others=(f"http://127.0.0.1:{port}",))
    agent = settings.agent.model_copy(update={"timeout_s": 5.0})
    return settings.model_copy(update={"engine": engine, "agent": agent})


def ports(settings: Settings) -> list[int]:
    return [int(url.rpartition(":")[2]) for url in settings.engine.urls]


@pytest.fixture
async def stubs(two: Settings) -> AsyncIterator[list[StubEngine]]:
    first, second = ports(two)
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
    await until(lambda: all(name in stub.served and stub.stats["requests"] > 1 for stub in stubs))


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
    await until(lambda: all(stub.stats["refused"] for stub in stubs))
    deadline = time.monotonic() + 5
    while name not in await readiness(live):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert (await live.ask("Wifi?")).adapter == "base"
    assert live.interactions()[-1].fallback_from == name


@contextmanager
def processes(settings: Settings, folder: Path) -> Iterator[list[ExitStack]]:
    """A stub engine for each address, as processes; closing one of the stacks kills its engine."""
    stacks = [ExitStack() for _ in settings.engine.urls]
    try:
        for stack, port in zip(stacks, ports(settings), strict=True):
            stack.enter_context(stub_process(port, folder / f"{port}.log"))
        yield stacks
    finally:
        for stack in stacks:
            stack.close()


async def test_an_engine_killed_and_started_again_under_load_costs_no_answer(
    two: Settings, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    add_knowledge(two)
    name = add_adapter(two, tmp_path, 1)
    with processes(two, tmp_path) as engines:
        async with running(two) as live:
            await until_ready(live)
            live.deploy(DeploymentChanged(action="promote", adapter=name, actor="test"))
            await usable(live)
            for url in two.engine.urls:  # slow, so that answers are under way when one is killed
                await live.http.post(url + "/stub/faults", json={"kind": "slow", "times": None})
            stop, texts = asyncio.Event(), list[str]()
            customers = [asyncio.create_task(customer(live, i, stop, texts)) for i in range(12)]
            await until(lambda: len(texts) > 30)
            await asyncio.to_thread(engines[0].close)
            lost = len(texts)
            await until(lambda: len(texts) > lost + 30)
            assert "1 of 2 engines" in await readiness(live)
            again = stub_process(ports(two)[0], tmp_path / "again.log")
            url = await asyncio.to_thread(engines[0].enter_context, again)
            back = await adapter_back(live, url, name)
            more = len(texts)
            await until(lambda: len(texts) > more + 30)
            stop.set()
            await asyncio.gather(*customers)  # raises the first failed answer
            told, metrics = live.interactions(), (await live.get("/metrics"))[1]
            failures = re.search(r"^nightshift_engine_failures_total (\S+)", metrics, re.M)
            assert failures is not None
            measured(
                f"{len(told)} answers, {failures[1]} replaced, adapter back {back:.2f} s after the engine"
            )
            assert {one.status for one in told} == {"ok"}
            assert {(one.adapter, one.fallback_from) for one in told} == {(name, "")}
            assert len({(one.query, one.answer) for one in told}) == len(QUESTIONS)  # none cut or mixed
            assert float(failures[1]) > 0
            assert back < 10


async def customer(live: Live, number: int, stop: asyncio.Event, texts: list[str]) -> None:
    """Asks one question after the other, every second one streamed."""
    asked = number
    while not stop.is_set():
        question, asked = QUESTIONS[asked % len(QUESTIONS)], asked + 1
        if asked % 2:
            texts.append(await stream(live, question, f"c-{number}"))
        else:
            texts.append((await live.ask(question, f"c-{number}")).text)


async def adapter_back(live: Live, url: str, name: str) -> float:
    """Seconds until an engine lists the adapter again."""
    begun = time.monotonic()
    while True:
        async with live.http.get(url + "/v1/models") as response:
            if name in await response.text():
                return time.monotonic() - begun
        assert time.monotonic() - begun < 20
        await asyncio.sleep(0.02)
