"""The canary's verdict: promote the better, roll back the worse, never promote on nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from infra.events import Arm
from infra.sections import CanarySettings
from tests.trainer.trials import SETTINGS, judged, outcome, stream, trial, without
from trainer.canary import Judgement, Verdict
from trainer.canary_metrics import MEASURES, Outcome

STEPS = CanarySettings(steps=(0.05, 0.25, 0.5, 1.0), step_s=600.0)


def first_verdict(outcomes: list[Outcome], every: int = 4) -> tuple[Verdict, int]:
    """The first verdict but hold, looking after each `every` outcomes, and the canary's count by then."""
    for n in range(every, len(outcomes) + 1, every):
        verdict = judged(outcomes[:n])
        if verdict.judgement is not Judgement.HOLD:
            return verdict, n // 2
    return judged(outcomes), len(outcomes) // 2


def test_nothing_recorded_holds() -> None:
    assert judged([]).judgement is Judgement.HOLD
    only_canary = [o for o in stream(1.0, 1.0, 400, 1) if o.arm is Arm.CANARY]
    assert judged(only_canary).judgement is Judgement.HOLD
    assert judged(only_canary, on=trial(1.0)).judgement is Judgement.HOLD


def test_a_better_adapter_is_promoted_and_the_reason_has_numbers() -> None:
    verdict, outcomes = first_verdict(stream(0.35, 0.65, 1200, seed=3))
    assert verdict.judgement is Judgement.PROMOTE
    assert outcomes >= SETTINGS.min_outcomes
    assert verdict.reason.startswith("Good answers: canary ")
    assert "%" in verdict.reason


def test_a_worse_adapter_is_rolled_back_and_never_promoted() -> None:
    ends = [first_verdict(stream(0.8, 0.55, 1400, seed), every=10) for seed in range(10)]
    assert {verdict.judgement for verdict, _ in ends} == {Judgement.ROLL_BACK}


def test_garbage_is_found_before_fifty_answers() -> None:
    for seed in range(5):
        verdict, outcomes = first_verdict(stream(0.6, 0.0, 400, seed))
        assert verdict.judgement is Judgement.ROLL_BACK
        assert outcomes <= 50


def test_a_burst_of_failures_ends_it_at_once() -> None:
    verdict, outcomes = first_verdict(stream(0.6, 0.6, 400, seed=1, failing=0.6))
    assert verdict.judgement is Judgement.ROLL_BACK
    assert "failed" in verdict.reason
    assert outcomes <= 16


def test_an_outage_of_both_arms_is_not_laid_at_the_canarys_door() -> None:
    calm = stream(0.6, 0.6, 300, seed=1)
    outage = [replace(one, failed=True) for one in stream(0.6, 0.6, 80, seed=2)]
    assert judged(calm + outage).judgement is Judgement.HOLD
    only_canary = [replace(one, failed=one.arm is Arm.CANARY) for one in outage]
    assert "of its last 20 answers failed" in judged(calm + only_canary).reason


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        ("thumbs down", {"rating": -1}),
        ("asked again", {"asked_again": True}),
        ("hand-overs", {"asked_for_person": True}),
        ("refusals", {"refused": True}),
        ("reward", {"reward": 0.1}),
        ("first token", {"first_token_s": 0.9}),
        ("latency", {"latency_s": 2.0}),
        ("length", {"words": 60}),
    ],
)
def test_each_metric_alone_rolls_back_by_its_name(name: str, worse: dict[str, object]) -> None:
    thumbs = [replace(one, rating=1) for one in stream(0.9, 0.9, 200, seed=1)]
    outcomes = [replace(one, **worse) if one.arm is Arm.CANARY else one for one in thumbs]  # type: ignore[arg-type]
    verdict = judged(outcomes)
    assert verdict.judgement is Judgement.ROLL_BACK
    assert verdict.reason.lower().startswith(f"{name}: canary ")
    assert [metric.name for metric in verdict.metrics if metric.verdict == "fail"] == [name]


def test_an_adapter_may_cost_the_engine_more_than_the_base_model_does() -> None:
    slower = [
        replace(one, latency_s=1.6) if one.arm is Arm.CANARY else one for one in stream(0.9, 0.9, 200, seed=1)
    ]
    assert judged(slower).reason.startswith("Latency: canary 1.60 s of 100, stable 0.80 s of 100.")
    assert judged(slower, on=trial(0.5, stable="")).judgement is Judgement.HOLD


@pytest.mark.parametrize(
    "name", ["reward", "refused", "asked_again", "asked_for_person", "words", "latency_s"]
)
def test_what_is_missing_never_promotes(name: str) -> None:
    outcomes = stream(0.35, 0.75, 600, seed=3)
    assert judged(outcomes).judgement is Judgement.PROMOTE
    verdict = judged(without(outcomes, name))
    assert verdict.judgement is Judgement.HOLD
    assert verdict.reason.startswith("Nothing is recorded of ")
    half = outcomes[:300] + without(outcomes[300:], name)  # some is enough to compare
    assert judged(half).judgement is Judgement.PROMOTE


def test_a_larger_share_at_a_better_hour_makes_no_canary_good() -> None:
    """By night 40% are good and it has a tenth, by day 90% and it has half: pooled, it looks better."""

    def answers(period: int, arm: Arm, number: int, part: float) -> list[Outcome]:
        return [replace(outcome(arm, n < number * part), period=period) for n in range(number)]

    night = answers(0, Arm.STABLE, 900, 0.4) + answers(0, Arm.CANARY, 100, 0.4)
    day = answers(1, Arm.STABLE, 500, 0.9) + answers(1, Arm.CANARY, 500, 0.9)
    good = judged(night + day, on=trial(0.1, 0.5)).metrics[0]
    assert good.canary - good.stable > 0.2
    assert good.interval.estimate == pytest.approx(0.0)
    assert good.harm < 1.0


def test_nobody_need_vote_nor_stream() -> None:
    outcomes = without(without(stream(0.35, 0.75, 600, seed=3), "rating"), "first_token_s")
    assert judged(outcomes).judgement is Judgement.PROMOTE


def test_a_step_needs_its_own_answers_and_time_and_no_look_of_harm() -> None:
    def at(number: int, good: float = 0.8) -> list[Outcome]:
        return [replace(one, period=1) for one in stream(0.8, good, number, seed=1)]

    before = stream(0.8, 0.8, 100, seed=2)
    on = trial(0.05, 0.25)
    assert "30 of the canary at 25%" in judged(before + at(60), STEPS, on).reason
    early = judged(before + at(120), STEPS, on, timedelta(seconds=90))
    assert (early.judgement, early.reason) == (Judgement.HOLD, "90 of 600 s at 25%.")
    step = judged(before + at(120), STEPS, on)
    assert (step.judgement, step.share) == (Judgement.STEP, 0.5)
    worse = judged(before + at(120, 0.65), STEPS, on)
    assert worse.reason.startswith("It looks worse, which is not proven.")


def test_only_the_last_step_promotes() -> None:
    outcomes = stream(0.35, 0.75, 600, seed=3)
    ends = [judged(outcomes, STEPS, trial(share)) for share in (0.05, 0.25, 0.5)]
    assert [(end.judgement, end.share) for end in ends] == [
        (Judgement.STEP, 0.25),
        (Judgement.STEP, 0.5),
        (Judgement.PROMOTE, 0.0),
    ]
    by_hand = judged(outcomes, STEPS, trial(0.3))  # a share that is no step goes on to the next one
    assert (by_hand.judgement, by_hand.share) == (Judgement.STEP, 0.5)


def test_an_undecided_canary_ends_in_a_roll_back() -> None:
    settings = SETTINGS.model_copy(update={"max_outcomes": 60, "margin": 0.01})
    verdict = judged(stream(0.6, 0.6, 120, seed=2), settings)
    assert verdict.judgement is Judgement.ROLL_BACK
    assert verdict.reason.startswith("Undecided after 60 canary answers.")
    late = judged(stream(0.6, 0.6, 40, seed=2), on=trial(0.5), after=timedelta(hours=SETTINGS.max_h))
    assert late.reason.startswith("Undecided after 336 h.")
    paused = replace(trial(0.5), paused_by="somebody")
    assert judged(stream(0.6, 0.6, 120, seed=2), settings, paused).judgement is Judgement.HOLD


def test_what_is_said_again_in_one_conversation_is_no_more_evidence() -> None:
    once = [replace(one, conversation=f"c{n}") for n, one in enumerate(stream(0.8, 0.62, 300, seed=1))]
    thrice = [one for one in once for _ in range(3)]
    alone = [replace(one, conversation="") for one in thrice]
    harm = [judged(outcomes).metrics[0].harm for outcomes in (once, thrice, alone)]
    assert harm[1] == pytest.approx(harm[2] ** (1 / 3))
    assert harm[0] < harm[2] / 10


def test_the_error_budget_is_spent_once() -> None:
    assert sum(measure.weight for measure in MEASURES) == pytest.approx(1.0)


def test_the_evidence_is_plain_json_with_what_was_needed() -> None:
    told = {metric.name: metric.evidence() for metric in judged([outcome(Arm.STABLE)]).metrics}
    assert (told["good answers"]["canary"], told["good answers"]["low"]) == (None, None)
    assert told["good answers"]["needed"] == pytest.approx(1 / 0.025)
    better = {one.name: one.evidence() for one in judged(stream(0.35, 0.65, 800, 3)).metrics}["good answers"]
    assert better["low"] > 0.1
    assert better["estimate"] == pytest.approx(better["canary"] - better["stable"], abs=1e-6)
    assert (better["margin"], better["verdict"]) == (-0.05, "pass")
