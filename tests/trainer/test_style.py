"""Style gates: length, right at like length, and not the same to everybody."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.gates import Pair, Verdict
from trainer.style import brief, matched, varied

VOCABULARY = [f"word{number}" for number in range(2_000)]


def pair(place: int, stable: tuple[bool, str], candidate: tuple[bool, str]) -> Pair:
    return Pair(str(place), str(place // 10), float(stable[0]), float(candidate[0]), stable[1], candidate[1])


def words(count: int) -> str:
    return "word " * count


@pytest.mark.parametrize(
    ("counts", "expected"), [((10, 10), Verdict.PASS), ((10, 5), Verdict.PASS), ((10, 15), Verdict.FAIL)]
)
def test_length_may_shrink_but_not_grow(counts: tuple[int, int], expected: Verdict) -> None:
    pairs = [pair(i, (True, words(counts[0])), (True, words(counts[1]))) for i in range(120)]
    gate = brief(pairs, needed=100, alpha=0.05, seed=1)
    assert gate.verdict is expected
    assert gate.estimate == pytest.approx(counts[1] / counts[0] - 1)


def shorter(right: tuple[float, float], long: float) -> list[Pair]:
    """400 cases. Stable's answers are long with chance `long`, the candidate's with 0.2.

    Stable's short ones are right with chance 0.8, its long ones with 0.3, the candidate's with `right`.
    """
    rng = np.random.default_rng(3)
    found = []
    for place in range(400):
        stable_long, candidate_long = rng.random() < long, rng.random() < 0.2
        stable = rng.random() < (0.3 if stable_long else 0.8)
        candidate = rng.random() < right[int(candidate_long)]
        sides = [
            words(int(rng.integers(*((15, 25) if one else (5, 10))))) for one in (stable_long, candidate_long)
        ]
        found.append(pair(place, (stable, sides[0]), (candidate, sides[1])))
    return found


def test_a_shorter_candidate_that_is_as_right_at_like_length_passes() -> None:
    gate = matched(shorter((0.8, 0.3), long=0.6), needed=100, alpha=0.05, seed=1)
    assert gate.verdict is Verdict.PASS
    assert gate.low < 0.05  # the pass rate alone says +0.2
    assert 100 < gate.n < 400


def test_one_that_gains_by_shortness_alone_fails() -> None:
    """Its pass rate is higher, since more of its answers are short; of a length they are worse."""
    pairs = shorter((0.65, 0.15), long=0.6)
    assert np.mean([p.candidate for p in pairs]) > np.mean([p.stable for p in pairs])
    gate = matched(pairs, needed=100, alpha=0.05, seed=1)
    assert gate.estimate == pytest.approx(-0.15, abs=0.06)
    assert gate.verdict is Verdict.FAIL


def test_lengths_that_never_meet_prove_nothing() -> None:
    pairs = [pair(i, (True, words(20)), (True, words(5))) for i in range(200)]
    gate = matched(pairs, needed=100, alpha=0.05, seed=1)
    assert (gate.verdict, gate.detail) == (Verdict.NOT_ENOUGH_DATA, "0 of 25 cases needed")


def test_a_median_that_is_not_shorter_has_nothing_to_show() -> None:
    gate = matched([pair(i, (True, words(9)), (False, words(9))) for i in range(120)], 100, 0.05, 1)
    assert (gate.verdict, gate.detail) == (Verdict.PASS, "the median answer is not shorter")
    assert matched([], 100, 0.05, 1).verdict is Verdict.NOT_ENOUGH_DATA


def sentences(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(VOCABULARY, 8)) for _ in range(count)]


@pytest.mark.parametrize(
    ("same", "expected"), [(0.0, Verdict.PASS), (0.1, Verdict.PASS), (0.5, Verdict.FAIL), (1.0, Verdict.FAIL)]
)
def test_the_same_to_everybody_is_stopped(same: float, expected: Verdict) -> None:
    said = sentences(120, seed=1)
    told = ["I am sorry." if i < 120 * same else text for i, text in enumerate(sentences(120, seed=2))]
    pairs = [pair(i, (True, said[i]), (True, told[i])) for i in range(120)]
    assert varied(pairs, needed=100, alpha=0.05, seed=1).verdict is expected


def test_answers_of_one_word_are_the_same_too() -> None:
    pairs = [pair(i, (True, text), (True, "Yes")) for i, text in enumerate(sentences(120, seed=1))]
    gate = varied(pairs, needed=100, alpha=0.05, seed=1)
    assert gate.estimate < 0.02
    assert gate.verdict is Verdict.FAIL
    assert varied([], needed=100, alpha=0.05, seed=1).verdict is Verdict.NOT_ENOUGH_DATA
