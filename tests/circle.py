"""A running agent and collector with an engine, and what a test needs to drive and watch a whole loop."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from infra.dashboard.asking import Probe
from infra.dashboard.rooms import ask
from infra.demo.business import Cast
from infra.demo.customers import Customers, conversations
from infra.demo.stage import write_knowledge, write_suite
from infra.deployment import Deployment
from infra.errors import LakeError
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.follow import deployment_now
from infra.lake import Lake
from infra.registry import Registry
from infra.settings import Settings, child_environment
from tests.waiting import soon
from trainer.night import run
from trainer.notes import NightResult
from trainer.reward.grounded import GroundedReward
from trainer.reward.model import Case, Reward
from trainer.stages import Stages
from trainer.watch import Watch
from trainer.words import covered
from trainer.work import FINETUNE, Work

ROOT = Path(__file__).parents[1]
STUB_FINETUNE = ROOT / "tests" / "stub_finetune.py"
DEADLINE_S = 120.0


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
    lines += [f"{name}.port = {port}" for name, port in ports.items()]
    lines += [f"kafka.bootstrap = {json.dumps(settings.kafka.bootstrap)}"]
    lines += [f"kafka.partitions = {settings.kafka.partitions}"]
    file.write_text("\n".join(lines))
    process = subprocess.Popen(
        [sys.executable, "-m", module], cwd=ROOT, env=child_environment(NIGHTSHIFT_CONFIG=str(file))
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def up(port: int) -> bool:
    """Whether the room there says that it is ready."""
    return ask(Probe("127.0.0.1", port)).state == "up"


class ToThePoint:
    """A second scorer that needs no models: how much of what was asked does the answer speak of?"""

    name = "to the point"
    version = "1"

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        return [Reward(value=covered(case.query, by=case.answer), good=False) for case in cases]


@dataclass
class Circle:
    """`parts` are the questions, by the part they play."""

    parts: Cast
    settings: Settings
    session: aiohttp.ClientSession
    log: EventLog
    customers: Customers

    async def ask(self, number: int, part: str = "learn", enough: Callable[[], bool] = lambda: False) -> None:
        questions = list(getattr(self.parts, part))[:number]
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
        await soon(
            lambda: {told.response_id for told in self.customers.ledger.told} <= self.recorded(), DEADLINE_S
        )

    async def night(self, slot: str, finetune: Sequence[str] = FINETUNE) -> NightResult:
        folder = self.settings.nights_dir / slot
        folder.mkdir(parents=True, exist_ok=True)
        stages = Stages(folder, slot, self.log)
        work = Work(self.settings, self.log, GroundedReward(), ToThePoint(), self.session, finetune)
        return await run(work, stages)

    def watch(self) -> Watch:
        def recorded(canary: str, since: datetime) -> list[dict[str, Any]]:
            return self.query("outcomes", canary=canary, since=since)

        return Watch(self.log, recorded, GroundedReward(), self.settings.canary)

    def state(self) -> Deployment:
        return deployment_now(self.log)


@asynccontextmanager
async def running(settings: Settings, parts: Cast) -> AsyncIterator[Circle]:
    """The circle, with the knowledge and the suite of `parts`, on the engine that `settings` name."""
    write_knowledge(settings, parts.businesses)
    write_suite(settings, parts)
    async with aiohttp.ClientSession() as session:
        log = open_log(settings)
        with room("agent", settings), room("collector", settings):
            # While the collector makes the record, a reader may see one without a schema.
            await soon(lambda: up(settings.collector.port), DEADLINE_S)
            customers = Customers(settings.agent.url, session, settings.agent.model, seed=1)
            yield Circle(parts, settings, session, log, customers)
        log.close()


def make_adapter(settings: Settings, stub: dict[str, object]) -> str:
    """Registers an adapter of stand-in weights that the stub engine answers for as `stub` says."""
    folder = settings.data / "made"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "finetune").mkdir(parents=True)
    (folder / "order.json").write_text('{"rank": 16}')
    (folder / "rows.jsonl").write_text("")
    subprocess.run([sys.executable, str(STUB_FINETUNE), "0", str(folder)], check=True)
    (folder / "adapter" / "stub.json").write_text(json.dumps(stub))
    registry = Registry(settings.adapters_dir)
    return registry.register(folder / "adapter", night="drill", created=datetime.now(UTC)).name
