"""The whole circle on the stub engine, in seconds: real agent, collector, lake and night; stub weights.

Customers ask; the record holds it; a night learns, proves, and starts a canary; the canary is promoted or
rolled back from what was recorded. Only the engine and the fine-tuning are stand-ins.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.demo.business import Cast, cast
from infra.demo.customers import Customers, conversations
from infra.demo.stage import write_knowledge, write_suite
from infra.deployment import Deployment
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged
from infra.follow import deployment_now
from infra.lake import Lake
from infra.registry import Registry
from infra.settings import CanarySettings, EngineSettings, Settings, TrainerSettings, child_environment
from tests.stub_engine import StubEngine
from trainer.canary import Judgement
from trainer.evaluate import Prompted
from trainer.gates import Verdict
from trainer.night import run
from trainer.notes import NightResult
from trainer.reward.grounded import GroundedReward
from trainer.stages import Stages
from trainer.watch import Watch
from trainer.work import Work

ROOT = Path(__file__).parents[1]
STUB_FINETUNE = ROOT / "tests" / "stub_finetune.py"
DEADLINE_S = 60.0


def parts() -> Cast:
    return cast(seed=1, learn=120, held_out=110)


def settings_for(settings: Settings, stub: StubEngine) -> Settings:
    port = int(stub.url.rsplit(":", 1)[1])
    held_out = tuple({question.collection for question in parts().held_out})
    return settings.model_copy(
        update={
            "engine": EngineSettings(port=port),
            "trainer": TrainerSettings(
                port=settings.trainer.port, queries=100, samples=4, min_rows=20, held_out=held_out, seed=3
            ),
            "canary": CanarySettings(share=0.5, min_outcomes=30, max_outcomes=400),
        }
    )


@contextmanager
def room(module: str, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A room as a process of its own, its settings from a file, stopped at the end."""
    file = settings.data / "nightshift.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    ports = {
        name: getattr(settings, name).port
        for name in ("agent", "engine", "collector", "trainer", "dashboard")
    }
    lines = [f"data = {json.dumps(str(settings.data))}", f"models = {json.dumps(str(ROOT / 'models'))}"]
    file.write_text("\n".join(lines + [f"{name}.port = {port}" for name, port in ports.items()]))
    process = subprocess.Popen(
        [sys.executable, "-m", module], cwd=ROOT, env=child_environment(NIGHTSHIFT_CONFIG=str(file))
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


async def until(holds: Callable[[], bool]) -> None:
    """Waits until `holds`, or fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, "not within the deadline"
        await asyncio.sleep(0.1)


@dataclass
class Circle:
    """A running agent and collector on the stub, with what a test needs to drive and watch them."""

    settings: Settings
    session: aiohttp.ClientSession
    log: EventLog
    customers: Customers

    async def ask(self, number: int, part: str = "learn", enough: Callable[[], bool] = lambda: False) -> None:
        questions = list(getattr(parts(), part))[:number]
        await self.customers.ask(conversations(questions, seed=2), 8, lambda _: None, enough)

    def recorded(self) -> set[str]:
        return {row["response_id"] for row in self.query("response_ids")}

    def query(self, name: str, **parameters: object) -> list[dict[str, Any]]:
        try:
            with Lake.open(self.settings) as lake:
                return lake.query(name, **parameters)
        except LakeError:
            return []

    async def all_recorded(self) -> None:
        await until(lambda: {told.response_id for told in self.customers.ledger.told} <= self.recorded())

    async def night(self, slot: str, quality: float) -> NightResult:
        folder = self.settings.nights_dir / slot
        folder.mkdir(parents=True, exist_ok=True)
        stages = Stages(folder, slot, self.log)
        finetune = (sys.executable, str(STUB_FINETUNE), str(quality))
        return await run(Work(self.settings, self.log, GroundedReward(), self.session, finetune), stages)

    def watch(self) -> Watch:
        def recorded(canary: str, since: datetime) -> list[dict[str, Any]]:
            return self.query("outcomes", canary=canary, since=since)

        return Watch(self.log, recorded, GroundedReward(), self.settings.canary)

    def state(self) -> Deployment:
        return deployment_now(self.log)


@pytest.fixture
async def circle(settings: Settings) -> AsyncIterator[Circle]:
    async with StubEngine() as stub, aiohttp.ClientSession() as session:
        wired = settings_for(settings, stub)
        write_knowledge(wired, parts().businesses)
        write_suite(wired, parts())
        log = open_log(wired)
        with room("agent", wired), room("collector", wired):
            customers = Customers(wired.agent.url, session, wired.agent.model, seed=1)
            yield Circle(wired, session, log, customers)
        log.close()


async def test_a_better_adapter_goes_from_questions_to_stable_by_itself(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", quality=0.97)
    assert result.verdict is Verdict.PASS
    assert circle.state().canary == result.adapter

    watch = circle.watch()
    await circle.ask(300, "live", enough=lambda: watch.look() is None)
    await until(lambda: watch.look() is None)
    watch.close()
    assert circle.state() == Deployment(version=2, stable=result.adapter, served=frozenset({result.adapter}))
    arms = {told.arm for told in circle.customers.ledger.told}
    assert arms == {"stable", "canary"}
    assert circle.customers.ledger.errors == []

    await circle.all_recorded()
    await until(lambda: bool(circle.query("night", night=result.night)))
    night = circle.query("night", night=result.night)[0]
    manifest = json.loads(night["manifest"])
    assert (night["verdict"], manifest["queries"], manifest["completions"]) == ("pass", 100, 400)
    assert manifest["pass_rate"]["candidate"]["rate"] > manifest["pass_rate"]["stable"]["rate"]
    assert len(circle.query("response_ids")) == len(circle.customers.ledger.told)


async def test_a_worse_candidate_is_rejected_for_ever_and_told_so(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", quality=0.1)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("Not shown")
    assert circle.state() == Deployment(version=1, denied=frozenset({result.adapter}))


async def test_a_broken_canary_is_rolled_back_without_an_error_for_a_customer(circle: Circle) -> None:
    adapter = broken(circle.settings, fault="garbage")
    start = DeploymentChanged(action="canary", adapter=adapter, share=0.5, actor="test")
    stages = Stages(circle.settings.data, "20261124T0300Z", circle.log)
    stages.tell("start", [start])
    watch = circle.watch()
    judged: list[Judgement] = []

    def over() -> bool:
        verdict = watch.look()
        judged.extend([verdict.judgement] if verdict else [])
        return verdict is None

    await circle.ask(300, "live", enough=over)
    await until(over)
    watch.close()
    assert judged[-1] is Judgement.ROLL_BACK
    assert circle.state().denied == {adapter}
    assert circle.customers.ledger.errors == []


async def test_a_resumed_night_chooses_the_same_and_doubles_nothing(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    first = await circle.night("20261124T0200Z", quality=0.97)
    again = await circle.night("20261124T0200Z", quality=0.97)
    assert again == first
    await until(lambda: len(circle.query("stages", night=first.night)) >= 7)
    await asyncio.to_thread(time.sleep, 2 * circle.settings.collector.interval_s)
    completions = circle.query("completions", night=first.night, limit=10_000)
    assert len(completions) == 400
    assert circle.state().version == 1  # the canary began once


async def test_too_little_to_learn_from_says_so(circle: Circle) -> None:
    await circle.ask(12)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", quality=0.97)
    assert result.verdict is Verdict.NOT_ENOUGH_DATA
    assert "20 are needed" in result.reason
    assert circle.state() == Deployment()


def broken(settings: Settings, fault: str) -> str:
    """Registers an adapter that the stub answers badly for."""
    folder = settings.data / "made"
    (folder / "finetune").mkdir(parents=True)
    (folder / "order.json").write_text('{"rank": 16}')
    (folder / "rows.jsonl").write_text("")
    subprocess.run([sys.executable, str(STUB_FINETUNE), "0", str(folder)], check=True)
    (folder / "adapter" / "stub.json").write_text(json.dumps({"fault": fault}))
    registry = Registry(settings.adapters_dir)
    return registry.register(folder / "adapter", night="drill", created=datetime.now(UTC)).name


def test_the_prompt_that_is_judged_names_its_business() -> None:
    """A guard for the tests above: held-out businesses are none that customers asked about."""
    dealt = parts()
    learned = {question.collection for question in (*dealt.learn, *dealt.live)}
    assert learned.isdisjoint({question.collection for question in dealt.held_out})
    assert Prompted.model_fields.keys() >= {"collection", "messages", "facts"}
