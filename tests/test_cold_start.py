"""A business that hardly anybody has asked yet: its first nights, from its documents, on the stub engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from infra.demo.business import Cast, cast
from infra.report import night as reports
from infra.report.markdown import markdown
from infra.sections import EngineSettings, TrainerSettings
from infra.settings import Settings
from tests.circle import Circle, running
from tests.stub_engine import StubEngine
from tests.test_circle import stub_finetune
from tests.waiting import soon
from trainer.curate import TELLS
from trainer.gates import Verdict

ASKED = 5
QUESTIONS = 60


def parts() -> Cast:
    return cast(seed=1, learn=20, held_out=110)


@pytest.fixture
async def circle(settings: Settings) -> AsyncIterator[Circle]:
    async with StubEngine() as stub:
        trainer = TrainerSettings(
            port=settings.trainer.port,
            samples=4,
            min_rows=20,
            conduct=0,
            rehearsal=0,
            synthetic=QUESTIONS,
            synthetic_weight=0.4,
            held_out=tuple({question.collection for question in parts().held_out}),
        )
        engine = EngineSettings(port=int(stub.url.rsplit(":", 1)[1]))
        wired = settings.model_copy(update={"engine": engine, "trainer": trainer})
        async with running(wired, parts()) as circle:
            yield circle


async def test_its_documents_ask_what_its_customers_have_not_asked_yet(circle: Circle) -> None:
    await circle.ask(ASKED)
    await circle.all_recorded()
    result = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert result.verdict is Verdict.PASS

    await soon(lambda: bool(circle.query("night", night=result.night)))
    await soon(lambda: circle.query("night", night=result.night)[0]["ended_at"] is not None)
    manifest = json.loads(circle.query("night", night=result.night)[0]["manifest"])
    own = manifest["synthetic"]
    assert (manifest["queries"], own["kept"]) == (ASKED, QUESTIONS - ASKED)
    assert own["asked"] == own["kept"] + sum(own["dropped"].values())
    assert manifest["completions"] == 4 * QUESTIONS
    assert manifest["tokens"]["synthesise"] > 0
    assert any(
        f"asked {ASKED} of these questions; the other {own['kept']}" in told for told in manifest["report"]
    )

    folder = circle.settings.nights_dir / result.night
    rows = [json.loads(line) for line in (folder / "finetune" / "rows.jsonl").read_text().splitlines()]
    counted = Counter(row["weight"] for row in rows)
    assert counted[0.4] + counted[0.4 * TELLS] == own["chosen"]
    assert counted[1.0] + counted[TELLS] == manifest["chosen"] - own["chosen"]
    held_out = set(circle.settings.trainer.held_out)
    written = json.loads((folder / "synthesise.json").read_text())["queries"]
    assert held_out.isdisjoint(query["collection"] for query in written)
    assert len({query["collection"] for query in written}) == 40

    # Its lineage leads to conversations where there are some, and to the questions where there are none.
    report = reports.read(circle.query, result.night)
    answers = report["lineage"]["answers"]
    assert {row["response_id"]: row["query"] for row in answers if row["synthetic"]} == own["questions"]
    assert all(row["conversation_id"] for row in answers if not row["synthetic"])
    assert f"{own['chosen']} questions more it wrote itself" in markdown(report)


async def test_once_an_adapter_serves_only_customers_begin_another_night(circle: Circle) -> None:
    first = await circle.night("20261124T0200Z", stub_finetune(0.97))
    assert first.verdict is Verdict.PASS
    assert circle.state().canary == first.adapter
    second = await circle.night("20261125T0200Z", stub_finetune(0.97))
    assert second.verdict is Verdict.NOT_ENOUGH_DATA
    assert "0 of 0 questions" in second.reason
