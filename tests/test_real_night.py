"""One tiny night with nothing but real parts: engine, agent, record, TRL, and the engine again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from safetensors.numpy import load_file

from infra.demo.business import Cast, cast
from infra.engine import BASE, Engine
from infra.probe import QUESTIONS
from infra.registry import Registry
from infra.sections import EngineSettings, TrainerSettings
from infra.settings import Settings
from tests.circle import ROOT, Circle, running
from tests.waiting import soon
from trainer.gates import Verdict
from trainer.notes import NightResult

pytestmark = [pytest.mark.engine, pytest.mark.slow]

QUERIES = 12
SAMPLES = 4
CASES = 12
CONDUCT = 3
REHEARSAL = 2


@pytest.fixture
def parts() -> Cast:
    return cast(seed=1, learn=QUERIES, held_out=CASES)


@pytest.fixture
def wired(settings: Settings, real_engine: str, parts: Cast) -> Settings:
    return settings.model_copy(
        update={
            "models": ROOT / "models",
            "engine": EngineSettings(port=int(real_engine.rpartition(":")[2])),
            "trainer": TrainerSettings(
                port=settings.trainer.port,
                queries=QUERIES,
                samples=SAMPLES,
                min_rows=1,
                min_cases=10,
                conduct=CONDUCT,
                rehearsal=REHEARSAL,
                trainings=1,
                held_out=tuple({question.collection for question in parts.held_out}),
            ),
        }
    )


@pytest.fixture
async def engine(real_engine: str) -> AsyncIterator[Engine]:
    async with aiohttp.ClientSession() as session:
        engine = Engine(real_engine, session)
        yield engine
        for name in await engine.models() - {BASE}:
            await engine.unload(name)


async def test_a_dozen_queries_become_an_adapter_that_the_engine_serves(
    wired: Settings, parts: Cast, engine: Engine
) -> None:
    async with running(wired, parts) as circle:
        result = await a_night(circle)
    registry = Registry(wired.adapters_dir)
    registry.verify(result.adapter)
    adapter = registry.get(result.adapter)
    learned = load_file(adapter.folder / "adapter_model.safetensors")
    # LoRA's B matrices begin at zero: training moved every one of them.
    assert all(weights.any() for name, weights in learned.items() if ".lora_B." in name)
    # Asked once the agent is gone, which unloads what a night refused.
    await engine.load(result.adapter, adapter.folder)
    assert await engine.differs(result.adapter, QUESTIONS[0])
    assert adapter.manifest.probe is not None
    assert await engine.wrong(result.adapter, adapter.manifest.probe, QUESTIONS[0]) == ""


async def a_night(circle: Circle) -> NightResult:
    """Customers ask, a night learns, and the record tells it all."""
    await circle.ask(QUERIES)
    assert circle.customers.ledger.errors == []
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z")

    await soon(lambda: bool(circle.query("night", night=result.night)))
    await soon(lambda: circle.query("night", night=result.night)[0]["ended_at"] is not None)
    manifest = json.loads(circle.query("night", night=result.night)[0]["manifest"])
    assert (manifest["queries"], manifest["completions"]) == (QUERIES, QUERIES * SAMPLES)
    assert 0 < manifest["chosen"] <= QUERIES
    assert manifest["tokens"]["resample"] > 0

    evaluated = circle.query("evaluations", night=result.night)
    asked = {"held_out": CASES, **dict.fromkeys(("harm", "injection", "out_of_scope", "doubted"), CONDUCT)}
    assert {(row["suite"], row["model"]): row["cases"] for row in evaluated} == {
        (suite, model): cases for suite, cases in asked.items() for model in ("stable", "candidate")
    }
    # A dozen cases prove little: whatever the verdict is, the deployment follows from it.
    assert circle.state().canary == (result.adapter if result.verdict is Verdict.PASS else "")
    assert (result.adapter in circle.state().denied) == (result.verdict is Verdict.FAIL)
    return result
