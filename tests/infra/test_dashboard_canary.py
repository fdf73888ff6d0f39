"""The canary page: the trainer's own last look while it can be reached, else the last decision's evidence."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient

from infra.dashboard.app import create_app
from infra.dashboard.manifest import evidence
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged
from infra.lake import Lake
from infra.settings import Settings
from infra.telemetry import ProbeServer
from tests.infra import dashboard_business as business
from tests.waiting import until
from trainer.reward.model import Case, Reward
from trainer.service import Service

METRIC = {
    "name": "refusals", "kind": "rate", "stable": 0.05, "canary": 0.11, "n_stable": 400, "n_canary": 200,
    "estimate": 0.06, "low": -0.01, "high": 0.13, "margin": 0.03, "harm": 20.0, "needed": 400.0,
    "verdict": "hold",
}  # fmt: skip


@dataclass
class Page:
    settings: Settings
    log: EventLog
    client: TestClient

    def api(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/api/canary").json()
        return found

    def text(self) -> str:
        answer = self.client.get("/canary")
        assert answer.status_code == 200
        return answer.text


@pytest.fixture
def page(settings: Settings) -> Iterator[Page]:
    """A canary on its second step, which one decision with evidence brought it to."""
    log = open_log(settings)
    step = {
        "metrics": [METRIC | {"verdict": "pass"}],
        "verdict": "step",
        "looked_at": "2026-03-04T08:50:00+00:00",
    }
    business.deploy(
        log,
        DeploymentChanged(action="canary", adapter="new", share=0.01, actor="night", reason="gates passed"),
        DeploymentChanged(action="share", adapter="new", share=0.05, actor="canary", evidence=step),
        DeploymentChanged(action="pause", adapter="new", actor="cli:ann", reason="a fair in town"),
        at=datetime.now(UTC),
    )
    with TestClient(create_app(settings, log), base_url="http://127.0.0.1:8081") as client:
        yield Page(settings, log, client)
    log.close()


@contextmanager
def telling(settings: Settings, told: dict[str, Any]) -> Iterator[None]:
    """A trainer that tells this."""
    routes = APIRouter()

    @routes.get("/canary")
    async def canary() -> dict[str, Any]:
        return told

    async def ready() -> dict[str, bool]:
        return {}

    with ProbeServer(settings.trainer.host, settings.trainer.port, ready, more=routes):
        yield


def test_without_the_trainer_the_last_decisions_evidence_stands_and_the_page_says_so(page: Page) -> None:
    found = page.api()
    assert found["told"] is None
    assert [(row["name"], row["verdict"]) for row in found["evidence"]["metrics"]] == [("refusals", "pass")]
    text = page.text()
    assert "The trainer is not reachable" in text
    assert "Last evidence" in text


def test_with_the_trainer_its_last_look_is_shown(page: Page) -> None:
    told = {
        "canary": "new", "share": 0.05, "verdict": "hold", "reason": "30 of 50 <b>answers</b>.",
        "metrics": [METRIC], "looked_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    with telling(page.settings, told):
        found = page.api()
        assert found["told"]["reason"] == told["reason"]
        (metric,) = found["evidence"]["metrics"]
        assert (metric["verdict"], metric["proof"]) == ("hold", pytest.approx(0.5))
        text = page.text()
    assert "30 of 50 &lt;b&gt;answers&lt;/b&gt;." in text
    assert "Evidence now" in text
    assert "not reachable" not in text


@pytest.mark.parametrize("told", [{}, {"canary": "another", "reason": "no"}])
def test_a_look_at_another_canary_is_not_this_ones(page: Page, told: dict[str, Any]) -> None:
    with telling(page.settings, told):
        assert page.api()["told"] is None


def test_steps_and_history_are_there(page: Page) -> None:
    found = page.api()
    assert (found["share"], found["paused"]) == (0.05, True)
    assert [(step["share"], step["state"]) for step in found["steps"]] == [
        (0.01, "done"), (0.05, "now"), (0.25, "ahead"), (0.5, "ahead"), (1.0, "ahead"),
    ]  # fmt: skip
    assert [row["action"] for row in found["history"]] == ["pause", "share", "canary"]
    assert all(row["applied"] for row in found["history"])
    text = page.text()
    assert 'aria-current="step"' in text
    assert "paused: it stays there" in text
    assert "a fair in town" in text


class Nothing:
    """A reward that has nothing to score here."""

    name = "nothing"
    version = "1"

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        return [Reward(0.0, good=False) for _ in cases]


def test_the_real_trainer_tells_what_the_page_reads(page: Page) -> None:
    Lake.open(page.settings, writable=True).close()
    quiet = page.settings.trainer.model_copy(update={"automatic": False})
    stop = threading.Event()
    with closing(open_log(page.settings)) as log:
        service = Service(page.settings.model_copy(update={"trainer": quiet}), log, Nothing())
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()
        try:
            until(lambda: page.api()["told"] is not None, "the trainer looks at the canary", patience_s=60.0)
            found = page.api()
        finally:
            stop.set()
            thread.join()
    assert found["told"]["reason"].startswith("Not enough outcomes: 0 of the canary at 5%")
    assert len(found["evidence"]["metrics"]) == 10
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(found["told"]["looked_at"])


def test_old_evidence_has_no_proof_and_new_one_is_told_by_its_logarithm() -> None:
    def proof(**more: float) -> object:
        return evidence({"metrics": [{"name": "x", **more}]})["metrics"][0]["proof"]

    assert proof() is None
    assert proof(harm=0.3, needed=40.0) == 0.0
    assert proof(harm=1e9, needed=40.0) == 1.0
