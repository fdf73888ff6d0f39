"""The canary's verdict: promote the better, roll back the worse, never promote on nothing."""

from __future__ import annotations

import numpy as np
import pytest

from infra.events import Arm
from infra.sections import CanarySettings
from trainer.canary import Judgement, Outcome, Verdict, judge

SETTINGS = CanarySettings(share=0.5, min_outcomes=50, max_outcomes=600, margin=0.05, alpha=0.05)


def stream(stable: float, canary: float, n: int, seed: int, failing: float = 0.0) -> list[Outcome]:
    """`n` outcomes over both arms in turn, good with the given chances."""
    rng = np.random.default_rng(seed)
    return [
        Outcome(
            arm=Arm.CANARY if i % 2 else Arm.STABLE,
            good=bool(rng.random() < (canary if i % 2 else stable)),
            failed=bool(i % 2 and rng.random() < failing),
        )
        for i in range(n)
    ]


def first_verdict(outcomes: list[Outcome], every: int = 4) -> tuple[Verdict, int]:
    """The first verdict but hold, looking after each `every` outcomes, and the canary's count by then."""
    for n in range(every, len(outcomes) + 1, every):
        verdict = judge(outcomes[:n], SETTINGS)
        if verdict.judgement is not Judgement.HOLD:
            return verdict, n // 2
    return judge(outcomes, SETTINGS), len(outcomes) // 2


def test_nothing_recorded_holds() -> None:
    assert judge([], SETTINGS).judgement is Judgement.HOLD
    only_canary = [o for o in stream(1.0, 1.0, 400, 1) if o.arm is Arm.CANARY]
    assert judge(only_canary, SETTINGS).judgement is Judgement.HOLD


def test_a_better_adapter_is_promoted_and_the_reason_has_numbers() -> None:
    verdict, outcomes = first_verdict(stream(0.35, 0.65, 1200, seed=3))
    assert verdict.judgement is Judgement.PROMOTE
    assert outcomes >= SETTINGS.min_outcomes
    assert "canary" in verdict.reason
    assert "%" in verdict.reason


def test_a_worse_adapter_is_rolled_back(capsys: pytest.CaptureFixture[str]) -> None:
    """Good rate 0.80 → 0.60 in 40 runs: all end in a roll back, none is promoted."""
    ends = [first_verdict(stream(0.8, 0.6, 1400, seed)) for seed in range(40)]
    counts = sorted(outcomes for _, outcomes in ends)
    with capsys.disabled():
        print(f"\n0.80 → 0.60 rolled back after {counts[20]} canary answers (median), {counts[38]} (95%)")
    assert {verdict.judgement for verdict, _ in ends} == {Judgement.ROLL_BACK}
    assert counts[38] <= 400


def test_garbage_is_found_before_fifty_answers() -> None:
    for seed in range(20):
        verdict, outcomes = first_verdict(stream(0.6, 0.0, 400, seed))
        assert verdict.judgement is Judgement.ROLL_BACK
        assert outcomes <= 50


def test_a_burst_of_failures_ends_it_at_once() -> None:
    verdict, outcomes = first_verdict(stream(0.6, 0.6, 400, seed=1, failing=0.6))
    assert verdict.judgement is Judgement.ROLL_BACK
    assert "failed" in verdict.reason
    assert outcomes <= 16


def test_an_equal_adapter_is_seldom_called_worse(capsys: pytest.CaptureFixture[str]) -> None:
    """100 equal adapters, looked at all along: a false alarm in at most 5, by the error budget."""
    alarms = 0
    for seed in range(100):
        verdict, outcomes = first_verdict(stream(0.6, 0.6, 800, seed), every=8)
        alarms += verdict.judgement is Judgement.ROLL_BACK and outcomes < SETTINGS.max_outcomes
    with capsys.disabled():
        print(f"\nequal adapters rolled back as worse: {alarms} of 100")
    assert alarms <= 5


def test_thumbs_down_alone_roll_back() -> None:
    outcomes = [
        Outcome(Arm.CANARY if i % 2 else Arm.STABLE, good=True, failed=False, rating=-1 if i % 2 else 1)
        for i in range(160)
    ]
    verdict, _ = first_verdict(outcomes)
    assert verdict.judgement is Judgement.ROLL_BACK
    assert verdict.reason.startswith("Thumbs down")


def test_an_undecided_canary_ends_in_a_roll_back() -> None:
    settings = SETTINGS.model_copy(update={"max_outcomes": 60, "margin": 0.0})
    verdict = judge(stream(0.6, 0.6, 120, seed=2), settings)
    assert verdict.judgement is Judgement.ROLL_BACK
    assert "Undecided" in verdict.reason
