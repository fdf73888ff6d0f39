"""Gates: pass, fail, not enough data, and how often they err."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.gates import Gate, Pair, Verdict, answered, better, brief, rewarded, verdict


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


def test_an_equal_candidate_seldom_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """200 candidates that change nothing. Five in a hundred may pass; three standard errors more are 9.6."""
    passed = [
        better(pairs(0.5, 0.5, 150, seed), 100, 0.05, seed).verdict is Verdict.PASS for seed in range(200)
    ]
    with capsys.disabled():
        print(f"\nequal candidates that passed the held-out gate: {np.mean(passed):.1%} of 200")
    assert np.mean(passed) <= 0.096


@pytest.mark.parametrize(
    ("words", "expected"), [((10, 10), Verdict.PASS), ((10, 5), Verdict.PASS), ((10, 15), Verdict.FAIL)]
)
def test_length_may_shrink_but_not_grow(words: tuple[int, int], expected: Verdict) -> None:
    assert brief(pairs(0.5, 0.5, 120, 1, words), needed=100, alpha=0.05, seed=1).verdict is expected


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
