"""The whole circle on the stub engine, in seconds: real agent, collector, lake and night; stub weights.

Customers ask; the record holds it; a night learns, proves, and starts a canary; the canary is promoted or
rolled back from what was recorded. Only the engine and the fine-tuning are stand-ins.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import pytest

from infra.demo.business import Cast, cast
from infra.deployment import Deployment
from infra.events import DeploymentChanged
from infra.sections import CanarySettings, EngineSettings, TrainerSettings
from infra.settings import Settings
from tests.circle import STUB_FINETUNE, Circle, make_adapter, running
from tests.stub_engine import StubEngine
from tests.waiting import soon
from trainer.canary import Judgement
from trainer.evaluate import Prompted
from trainer.gates import Verdict
from trainer.journal import read_whole
from trainer.notes import Conduct, Gated
from trainer.stages import Stages


def parts() -> Cast:
    return cast(seed=1, learn=120, held_out=110)


def settings_for(settings: Settings, stub: StubEngine) -> Settings:
    port = int(stub.url.rsplit(":", 1)[1])
    held_out = tuple({question.collection for question in parts().held_out})
    return settings.model_copy(
        update={
            "engine": EngineSettings(port=port),
            "trainer": TrainerSettings(
                port=settings.trainer.port,
                queries=100,
                samples=4,
                min_rows=20,
                held_out=held_out,
                seed=3,
                rehearsal=2,
            ),
            "canary": CanarySettings(steps=(0.5, 1.0), step_s=0.0, min_outcomes=30, max_outcomes=400),
        }
    )


def stub_finetune(quality: float) -> tuple[str, ...]:
    return (sys.executable, str(STUB_FINETUNE), str(quality))


@pytest.fixture
async def circle(settings: Settings) -> AsyncIterator[Circle]:
    async with StubEngine() as stub, running(settings_for(settings, stub), parts()) as wired:
        yield wired


async def test_a_better_adapter_goes_from_questions_to_stable_by_itself(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert result.verdict is Verdict.PASS
    assert circle.state().canary == result.adapter

    watch = circle.watch()
    await circle.ask(300, "live", enough=lambda: watch.look() is None)
    await soon(lambda: watch.look() is None)
    watch.close()
    assert circle.state() == Deployment(version=2, stable=result.adapter, served=frozenset({result.adapter}))
    arms = {told.arm for told in circle.customers.ledger.told}
    assert arms == {"stable", "canary"}
    assert circle.customers.ledger.errors == []

    await circle.all_recorded()
    await soon(lambda: bool(circle.query("night", night=result.night)))
    night = circle.query("night", night=result.night)[0]
    manifest = json.loads(night["manifest"])
    assert (night["verdict"], manifest["queries"], manifest["completions"]) == ("pass", 100, 400)
    assert manifest["pass_rate"]["candidate"]["rate"] > manifest["pass_rate"]["stable"]["rate"]
    rehearsed = manifest["rehearsed"]  # the stub takes no orders
    assert (rehearsed["asked"], rehearsed["learned"] >= 2) == (6, True)
    assert manifest["training"]["rows"] == manifest["chosen"] + rehearsed["learned"]
    assert len(circle.query("response_ids")) == len(circle.customers.ledger.told)


async def test_a_later_night_is_asked_what_conduct_was_before_any(circle: Circle) -> None:
    """An adapter serves already: the base model answers the cases of conduct beside it and the candidate."""
    adapter = make_adapter(circle.settings, {"quality": 0.6})
    changes = [
        DeploymentChanged(action="canary", adapter=adapter, share=1.0, actor="test"),
        DeploymentChanged(action="promote", adapter=adapter, actor="test"),
    ]
    Stages(circle.settings.data, "20261124T0100Z", circle.log).tell("start", changes)
    await soon(lambda: circle.state().stable == adapter)
    await circle.ask(110)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert result.verdict is Verdict.PASS
    conducted = read_whole(circle.settings.nights_dir / result.night / "conduct.json", Conduct)
    assert conducted
    assert len(conducted.base) == len(conducted.cases) == 120
    sides = [tuple(one.answer for one in side) for side in (conducted.base, conducted.stable)]
    assert sides[0] != sides[1]
    gated = read_whole(circle.settings.nights_dir / result.night / "gate.json", Gated)
    assert gated
    assert [gate.name for gate in gated.gates][-2:] == ["conduct", "conduct kept"]


async def test_a_worse_candidate_is_rejected_for_ever_and_told_so(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", stub_finetune(0.1))
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("Not shown")
    assert circle.state() == Deployment(version=1, denied=frozenset({result.adapter}))


async def test_a_broken_canary_is_rolled_back_without_an_error_for_a_customer(circle: Circle) -> None:
    adapter = make_adapter(circle.settings, {"fault": "garbage"})
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
    await soon(over)
    watch.close()
    assert judged[-1] is Judgement.ROLL_BACK
    assert circle.state().denied == {adapter}
    assert circle.customers.ledger.errors == []


async def test_a_resumed_night_chooses_the_same_and_doubles_nothing(circle: Circle) -> None:
    await circle.ask(110)
    await circle.all_recorded()
    first = await circle.night("20261124T0200Z", stub_finetune(0.97))
    again = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert again == first
    await soon(lambda: len(circle.query("stages", night=first.night)) >= 7)
    await asyncio.to_thread(time.sleep, 2 * circle.settings.collector.interval_s)
    completions = circle.query("completions", night=first.night, limit=10_000)
    assert len(completions) == 400
    assert circle.state().version == 1  # the canary began once


async def test_too_little_to_learn_from_says_so(circle: Circle) -> None:
    await circle.ask(12)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert result.verdict is Verdict.NOT_ENOUGH_DATA
    assert "20 are needed" in result.reason
    assert circle.state() == Deployment()


def test_the_prompt_that_is_judged_names_its_business() -> None:
    """A guard for the tests above: held-out businesses are none that customers asked about."""
    dealt = parts()
    learned = {question.collection for question in (*dealt.learn, *dealt.live)}
    assert learned.isdisjoint({question.collection for question in dealt.held_out})
    assert Prompted.model_fields.keys() >= {"group", "messages", "facts"}
