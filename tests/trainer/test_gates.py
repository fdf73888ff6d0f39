"""Gates: pass, fail, not enough data, and how often they err."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trainer.gates import (
    Gate,
    Pair,
    Verdict,
    answered,
    better,
    diverged,
    reason,
    rewarded,
    seconded,
    verdict,
)
from trainer.report import report


def pairs(stable: float, candidate: float, n: int, seed: int, words: tuple[int, int] = (10, 9)) -> list[Pair]:
    """`n` paired cases in groups of ten, right with the given chances."""
    rng = np.random.default_rng(seed)
    return [
        Pair(
            case=str(i),
            group=str(i // 10),
            stable=float(rng.random() < stable),
            candidate=float(rng.random() < candidate),
            stable_answer="word " * words[0],
            candidate_answer="word " * words[1],
        )
        for i in range(n)
    ]


def test_a_clear_gain_passes_and_a_loss_fails() -> None:
    gain = better(pairs(0.45, 0.70, 200, seed=1), needed=100, alpha=0.05, seed=1)
    assert gain.verdict is Verdict.PASS
    assert gain.low > 0.0
    assert gain.low <= gain.estimate <= gain.high
    assert better(pairs(0.70, 0.45, 200, seed=1), needed=100, alpha=0.05, seed=1).verdict is Verdict.FAIL


def test_too_few_cases_are_not_enough_data_however_clear() -> None:
    gate = better(pairs(0.0, 1.0, 30, seed=1), needed=100, alpha=0.05, seed=1)
    assert gate.verdict is Verdict.NOT_ENOUGH_DATA
    assert gate.detail == "30 of 100 cases needed"
    assert better([], needed=100, alpha=0.05, seed=1).verdict is Verdict.NOT_ENOUGH_DATA


def test_too_few_clusters_are_not_enough_data_however_many_cases() -> None:
    spellings = [replace(pair, group=f"thing {i % 5}") for i, pair in enumerate(pairs(0.0, 1.0, 200, seed=1))]
    gate = better(spellings, needed=100, alpha=0.05, seed=1)
    assert gate.verdict is Verdict.NOT_ENOUGH_DATA
    assert gate.detail == "5 of 6 clusters needed"


def test_an_equal_candidate_seldom_passes(measured: Callable[[str], None]) -> None:
    """200 candidates that change nothing. Five in a hundred may pass; three standard errors more are 9.6."""
    passed = [
        better(pairs(0.5, 0.5, 150, seed), 100, 0.05, seed).verdict is Verdict.PASS for seed in range(200)
    ]
    measured(f"equal candidates that passed the held-out gate: {np.mean(passed):.1%} of 200")
    assert np.mean(passed) <= 0.096


def test_empty_answers_fail() -> None:
    whole = pairs(0.5, 0.5, 120, seed=1)
    silent = [*whole[1:], Pair("x", "0", 1.0, 0.0, "text", "  ")]
    assert answered(whole, needed=100).verdict is Verdict.PASS
    assert answered(silent, needed=100).verdict is Verdict.FAIL


def test_a_reward_that_fell_contradicts() -> None:
    fell = [(str(i // 10), -0.2) for i in range(120)]
    rose = [(str(i // 10), 0.2) for i in range(120)]
    assert rewarded(fell, needed=100, alpha=0.05, seed=1).verdict is Verdict.FAIL
    assert rewarded(rose, needed=100, alpha=0.05, seed=1).verdict is Verdict.PASS


def gate(outcome: Verdict) -> Gate:
    return Gate(name="g", claim="c", margin=0, needed=1, n=1, estimate=0, low=0, high=0, verdict=outcome)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), Verdict.NOT_ENOUGH_DATA),
        ((Verdict.PASS, Verdict.PASS), Verdict.PASS),
        ((Verdict.PASS, Verdict.NOT_ENOUGH_DATA), Verdict.NOT_ENOUGH_DATA),
        ((Verdict.NOT_ENOUGH_DATA, Verdict.FAIL), Verdict.FAIL),
    ],
)
def test_the_worst_gate_decides(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    assert verdict([gate(v) for v in verdicts]) is expected


@pytest.mark.parametrize(
    ("rise", "expected"), [(0.05, Verdict.PASS), (-0.01, Verdict.PASS), (-0.1, Verdict.FAIL)]
)
def test_a_second_scorer_may_not_fall_by_more_than_the_margin(rise: float, expected: Verdict) -> None:
    rng = np.random.default_rng(1)
    rises = [(str(i // 10), rise + 0.05 * rng.standard_normal()) for i in range(200)]
    gate = seconded(rises, "learnt", needed=100, alpha=0.05, seed=1)
    assert gate.verdict is expected
    assert "learnt" in gate.claim
    few = seconded(rises[:99], "learnt", needed=100, alpha=0.05, seed=1)
    assert few.verdict is Verdict.NOT_ENOUGH_DATA


def test_noise_alone_is_no_proof_that_a_second_scorer_agrees() -> None:
    """Not shown to be lower is not shown to be as high: the interval's lower end decides."""
    rng = np.random.default_rng(1)
    rises = [(str(i // 10), rng.standard_normal()) for i in range(120)]
    gate = seconded(rises, "learnt", needed=100, alpha=0.05, seed=1)
    assert gate.low < -0.03 < gate.high
    assert gate.verdict is Verdict.FAIL


def named(name: str, outcome: Verdict, low: float = -0.1) -> Gate:
    figures = low + 0.1, low, low + 0.2
    held = Gate.judged(name, f"{name} holds.", 0.0, 1, 1, figures, holds=True)
    return held.model_copy(update={"verdict": outcome})


ROSE = named("reward agrees", Verdict.PASS, low=0.05)


@pytest.mark.parametrize("failed", ["held-out", "second scorer", "matched length"])
def test_a_reward_that_rises_against_a_gate_rejects_the_night_and_is_named(failed: str) -> None:
    judged = [ROSE, named("length", Verdict.PASS), named(failed, Verdict.FAIL)]
    assert diverged(judged)
    assert verdict(judged) is Verdict.FAIL
    said = reason(judged)
    assert said.startswith(f"Not shown: {failed} holds.")
    assert "rose by 0.150 (at least 0.050)" in said
    told = report(400, 3200, 120, 0, judged, [], verdict(judged), said)
    assert told[0].endswith(said)
    assert told[-1].startswith("The score that chose the answers rose")


@pytest.mark.parametrize(
    "judged",
    [
        [ROSE, named("held-out", Verdict.PASS)],
        [ROSE, named("held-out", Verdict.NOT_ENOUGH_DATA)],
        [ROSE, named("length", Verdict.FAIL)],
        [named("reward agrees", Verdict.PASS, low=-0.01), named("held-out", Verdict.FAIL)],
        [named("held-out", Verdict.FAIL)],
    ],
)
def test_proxy_and_gate_agree_otherwise(judged: list[Gate]) -> None:
    assert not diverged(judged)
    assert "proxy" not in reason(judged)
    told = report(400, 3200, 120, 0, judged, [], verdict(judged), reason(judged))
    assert not any("rose" in paragraph for paragraph in told)


def test_the_reason_names_a_gate_that_decided() -> None:
    judged = [named("length", Verdict.NOT_ENOUGH_DATA), named("held-out", Verdict.FAIL)]
    assert reason(judged) == "Not shown: held-out holds."
    assert reason([named("held-out", Verdict.PASS)]) == ""
    assert reason([]) == "Not shown: no gate judged."
