"""How often the gates err, simulated: candidates that change nothing, and one that is 8 points better.

Questions and their businesses are real; whether a model answers one rightly is drawn from a chance of its
own. Chances are Beta(0.88, 1.79): mean 0.33, variance 0.060, fitted to what the base model did on 300
questions (0.329 of single samples right, 0.780 of groups of eight hold a right one; see the diary).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from trainer import cost, gates, style
from trainer.gates import Gate, Pair, Verdict

QUESTIONS = Path(__file__).parents[3] / "shared" / "data" / "dstc9" / "questions_dev.jsonl"
CHANCE = (0.88, 1.79)
# Cases and their businesses: what a gain of 8 points takes to be found four times in five.
CASES = 450
# A reward's values of right answers lie this many standard deviations (SPREAD) above those of wrong ones: the
# area under the curve is 0.948 for grounded and 0.889 for learnt.
CHOOSES, JUDGES, SPREAD = 2.30, 1.73, 0.2
# The gain differs between businesses by so much (standard deviation), in points of the pass rate.
UNEVEN = 0.05
WORDS = [f"word{number}" for number in np.random.default_rng(0).integers(3_000, size=30_000)]


@dataclass(frozen=True)
class Said:
    tokens: int
    latency_s: float


@dataclass(frozen=True)
class Night:
    """One night's evaluation, drawn anew for each seed."""

    pairs: list[Pair]
    groups: list[str]
    chose: list[tuple[str, float]]
    judges: list[tuple[str, float]]
    stable: list[Said]
    candidate: list[Said]

    def answers(self, seed: int) -> list[Gate]:
        """The gates that chance decides."""
        terms = 100, 0.05, seed
        return [
            gates.better(self.pairs, *terms),
            gates.rewarded(self.chose, *terms),
            gates.seconded(self.judges, "learnt", *terms),
            style.matched(self.pairs, *terms),
        ]

    def manner(self, seed: int) -> list[Gate]:
        terms = 100, 0.05, seed
        return [
            style.brief(self.pairs, *terms),
            style.varied(self.pairs, *terms),
            cost.tokens(self.groups, self.stable, self.candidate, *terms),
            cost.latency(self.groups, self.stable, self.candidate, *terms),
            gates.answered(self.pairs, 100),
        ]


@pytest.fixture(scope="module")
def businesses() -> list[str]:
    """The business of each question."""
    if not QUESTIONS.is_file():
        pytest.skip(f"{QUESTIONS} is not here: the questions come from DSTC9 Track 1")
    return [json.loads(line)["entity"] for line in QUESTIONS.read_text().splitlines()]


def night(businesses: list[str], gain: float, words: float, seed: int) -> Night:
    """A candidate whose pass rate is `gain` higher, and whose median answer has `words`; stable's has 14."""
    rng = np.random.default_rng(seed)
    groups: list[str] = rng.permutation(businesses)[:CASES].tolist()
    chance = rng.beta(*CHANCE, CASES)
    lift = {group: rng.normal(gain, UNEVEN if gain else 0.0) for group in sorted(set(groups))}
    better = chance + np.array([lift[group] for group in groups]) * (1 - chance) / (1 - 0.33)
    stable, candidate = (rng.random(CASES) < one for one in (chance, better))
    change = candidate.astype(float) - stable.astype(float)
    chose, judges = (SPREAD * (apart * change + rng.normal(0, 2**0.5, CASES)) for apart in (CHOOSES, JUDGES))
    lengths = [
        np.maximum(rng.lognormal(np.log(median), 0.45, CASES), 1).astype(int) for median in (14, words)
    ]
    texts = [[" ".join(WORDS[i * 50 : i * 50 + n]) for i, n in enumerate(side)] for side in lengths]
    pairs = [
        Pair(str(i), groups[i], float(stable[i]), float(candidate[i]), texts[0][i], texts[1][i])
        for i in range(CASES)
    ]
    # On a CPU: 1.4 tokens a word, a token through an adapter 2.4 times as long.
    sides = [
        [Said(int(1.4 * n), 1.4 * n * s) for n in side] for side, s in zip(lengths, (0.1, 0.24), strict=True)
    ]
    return Night(
        pairs, groups, list(zip(groups, chose, strict=True)), list(zip(groups, judges, strict=True)), *sides
    )


def test_candidates_that_change_nothing_seldom_pass(
    businesses: list[str], measured: Callable[[str], None]
) -> None:
    """A night passes when all gates do, so the others are asked only where the held-out gate passed."""
    nights = {seed: night(businesses, 0.0, 14.0, seed) for seed in range(200)}
    held_out = [
        seed
        for seed, one in nights.items()
        if gates.better(one.pairs, 100, 0.05, seed).verdict is Verdict.PASS
    ]
    passed = [
        seed
        for seed in held_out
        if gates.verdict(nights[seed].answers(seed) + nights[seed].manner(seed)) is Verdict.PASS
    ]
    measured(
        f"200 candidates that change nothing, {CASES} cases: held-out gate {len(held_out) / 200:.1%}, "
        f"all gates {len(passed) / 200:.1%}"
    )
    assert len(passed) <= 10
    # Chance may give a few more than 5% of 200 to one gate: three standard errors more are 19.
    assert len(held_out) <= 19


def test_a_gain_of_eight_points_mostly_passes(businesses: list[str], measured: Callable[[str], None]) -> None:
    judged = []
    for seed in range(60):
        one = night(businesses, 0.08, 9.0, seed)
        judged.append(one.answers(seed) + (one.manner(seed) if seed < 5 else []))
    passed = np.mean([gates.verdict(of) is Verdict.PASS for of in judged])
    held_out = np.mean([of[0].verdict is Verdict.PASS for of in judged])
    measured(
        f"60 candidates that are 8 points better, {CASES} cases: held-out gate {held_out:.1%}, "
        f"all gates {passed:.1%}"
    )
    assert passed >= 0.8
