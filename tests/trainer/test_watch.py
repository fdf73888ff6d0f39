"""The watch on a real log: what it decides is an event with its evidence, and what holds it back is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.deployment import Deployment
from infra.eventlog import open_log
from infra.eventlog.base import EventLog
from infra.events import DeploymentChanged, Event, Topic
from infra.follow import Deployments, deployment_now
from infra.sections import CanarySettings
from infra.settings import Settings
from tests.trainer.trials import stream
from trainer.canary import Judgement
from trainer.reward.model import Case, Reward
from trainer.watch import Watch

STEPS = CanarySettings(steps=(0.25, 0.5, 1.0), step_s=0.0)


class Said:
    """A reward that finds an answer good when it says so."""

    name = "said"
    version = "1"

    def __init__(self) -> None:
        self.scored = 0

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        self.scored += len(cases)
        return [Reward(0.9 if case.answer == "good" else 0.2, case.answer == "good") for case in cases]


class Rows(list[dict[str, Any]]):
    """A record in memory."""

    def since(self, _: str, since: datetime) -> list[dict[str, Any]]:
        return [row for row in self if row["at"] >= since]


@dataclass
class Trials:
    """A watch, its log, and the record that it reads."""

    log: EventLog
    watch: Watch
    reward: Said
    rows: Rows

    def decide(self, action: str, adapter: str, share: float = 0.0) -> None:
        body = DeploymentChanged.model_validate(
            {"action": action, "adapter": adapter, "share": share, "actor": "test"}
        )
        event = Event.of(body, Topic.DEPLOYMENTS)
        self.log.append(event.topic, event.key, event.encode()).result(10)

    def answer(self, stable: float, canary: float, number: int) -> None:
        """More answers of both arms, from now on."""
        for one in stream(stable, canary, number, seed=len(self.rows)):
            self.rows.append(
                {
                    "response_id": f"r{len(self.rows)}",
                    "conversation_id": f"c{len(self.rows)}",
                    "at": datetime.now(UTC),
                    "arm": one.arm.value,
                    "fallback_from": "new" if one.failed else "",
                    "query": "?",
                    "facts": "[]",
                    "answer": "good" if one.good else "bad",
                    "status": "ok",
                    "rating": None,
                    "asked_again": False,
                    "asked_for_person": False,
                    "first_token_s": None,
                    "latency_s": 0.8,
                }
            )

    @property
    def state(self) -> Deployment:
        return deployment_now(self.log)

    def last(self) -> DeploymentChanged:
        with closing(Deployments(self.log)) as tail:
            tail.poll()
            return tail.history[-1].body


@pytest.fixture
def trials(settings: Settings) -> Iterator[Trials]:
    with closing(open_log(settings)) as log:
        reward, rows = Said(), Rows()
        made = Trials(log, Watch(log, rows.since, reward, STEPS), reward, rows)
        yield made
        made.watch.close()


def judgement(trials: Trials) -> Judgement | None:
    verdict = trials.watch.look()
    return verdict.judgement if verdict else None


def test_without_a_canary_there_is_nothing_to_look_at(trials: Trials) -> None:
    assert judgement(trials) is None
    assert trials.watch.told == {}


def test_a_good_canary_takes_its_steps_and_is_promoted(trials: Trials) -> None:
    trials.decide("canary", "new", 0.25)
    trials.answer(0.4, 0.9, 60)
    assert judgement(trials) is Judgement.HOLD
    assert trials.watch.told["verdict"] == "hold"
    trials.answer(0.4, 0.9, 100)
    assert judgement(trials) is Judgement.STEP
    step = trials.last()
    assert (step.action, step.adapter, step.share, step.actor) == ("share", "new", 0.5, "canary")
    assert step.reason.startswith("No harm at 25%. Good answers: canary ")
    assert {metric["name"] for metric in step.evidence["metrics"]} >= {"good answers", "latency", "refusals"}
    assert judgement(trials) is Judgement.HOLD  # the next step needs answers of its own
    trials.answer(0.4, 0.9, 120)
    assert judgement(trials) is Judgement.PROMOTE
    assert (trials.state.stable, trials.state.canary, trials.last().actor) == ("new", "", "canary")
    assert judgement(trials) is None
    assert trials.reward.scored == len(trials.rows)  # each answer once


def test_a_bad_one_is_rolled_back_even_while_paused(trials: Trials) -> None:
    trials.decide("canary", "new", 0.5)
    trials.decide("pause", "new")
    trials.answer(0.9, 0.2, 120)
    assert judgement(trials) is Judgement.ROLL_BACK
    assert trials.state.denied == {"new"}
    assert trials.last().evidence["verdict"] == "roll back"


def test_a_paused_canary_goes_no_further_until_it_is_resumed(trials: Trials) -> None:
    trials.decide("canary", "new", 0.25)
    trials.decide("pause", "new")
    trials.answer(0.4, 0.9, 160)
    assert judgement(trials) is Judgement.HOLD
    assert trials.watch.told["reason"].startswith("It is paused by test. No harm at 25%.")
    trials.decide("resume", "new")
    assert judgement(trials) is Judgement.STEP


def test_the_second_promotion_of_a_day_waits_and_one_by_hand_does_not(trials: Trials) -> None:
    trials.decide("promote", "old")
    trials.decide("canary", "new", 0.5)
    trials.answer(0.4, 0.9, 200)
    assert judgement(trials) is Judgement.HOLD
    assert trials.watch.told["reason"].startswith("It waits: 1 promoted in the last 24 h")
    trials.decide("promote", "new")
    assert trials.state.stable == "new"


def test_thumbs_that_come_later_than_their_answers_count(trials: Trials) -> None:
    trials.decide("canary", "new", 0.5)
    trials.answer(0.9, 0.9, 160)
    assert judgement(trials) is Judgement.HOLD
    for row in trials.rows:
        row["rating"] = -1 if row["arm"] == "canary" else 1
    assert judgement(trials) is Judgement.ROLL_BACK
    assert trials.last().reason.startswith("Thumbs down: canary 100%")
