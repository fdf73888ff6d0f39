"""Always-valid tests keep their error at every look, and find what is there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.sequential import Alike, Floats, Means, Rates, design_effect, interval

ALPHA = 0.05


def rates(stable: tuple[int, int], canary: tuple[int, int], share: float = 0.5) -> Rates:
    """Of one period: happened and answers of each arm."""
    a, n, b, m = (np.array([float(one)]) for one in (*stable, *canary))
    return Rates(a, n, b, m, np.array([share]))


def means(stable: Floats, canary: Floats, share: float = 0.5) -> Means:
    """Of one period: the values of each arm."""
    (n, total, squares), (m, other, others) = (
        np.array([[float(len(x))], [x.sum()], [(x**2).sum()]]) for x in (stable, canary)
    )
    return Means(n, total, squares, m, other, others, np.array([share]))


def drawn(rng: np.random.Generator, share: float, runs: int, looks: int) -> NDArray[np.bool_]:
    """Which of `looks` answers are the canary's, in each run."""
    return rng.random((runs, looks)) < share


def looked_at(values: Floats, canary: NDArray[np.bool_], share: float) -> tuple[Rates, Means]:
    """After every answer: what was seen so far, shapes (runs, looks, 1)."""

    def so_far(some: Floats) -> Floats:
        return np.cumsum(some, axis=-1)[..., None]

    c: Floats = canary.astype(np.float64)
    n, x, xx = so_far(1.0 - c), so_far(values * (1.0 - c)), so_far(values**2 * (1.0 - c))
    m, y, yy = so_far(c), so_far(values * c), so_far(values**2 * c)
    of = np.array([share])
    return Rates(x, n, y, m, of), Means(n, x, xx, m, y, yy, of)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_equal_arms_are_told_apart_in_few_runs_however_often_one_looks(
    share: float, measured: Callable[[str], None]
) -> None:
    """1,000 runs, a look after each of 1,000 answers, a rate that rises from 0.7 to 0.9 meanwhile."""
    rng = np.random.default_rng(1)
    good = (rng.random((1000, 1000)) < np.linspace(0.7, 0.9, 1000)).astype(np.float64)
    values = good + rng.standard_t(3, good.shape)  # with wild ones among them
    canary = drawn(rng, share, 1000, 1000)
    seen_rates, seen_means = looked_at(good, canary, share)[0], looked_at(values, canary, share)[1]
    enough = math.log(1 / ALPHA)
    for name, seen in (("rates", seen_rates), ("means", seen_means)):
        ever = [np.mean((e >= enough).any(-1)) for e in (seen.above(0.0), seen.below(0.0))]
        measured(f"equal {name}, share {share}: more in {ever[0]:.1%}, less in {ever[1]:.1%} of runs")
        assert max(ever) <= ALPHA


@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_what_is_just_within_the_margin_is_seldom_called_beyond_it(margin: float) -> None:
    rng = np.random.default_rng(2)
    canary = drawn(rng, 0.3, 500, 1200)
    happened = (rng.random(canary.shape) < np.where(canary, 0.2 + margin, 0.2)).astype(np.float64)
    lengths = rng.normal(0.0, 0.5, canary.shape) + np.where(canary, margin, 0.0)
    enough = math.log(1 / ALPHA)
    for seen in (looked_at(happened, canary, 0.3)[0], looked_at(lengths, canary, 0.3)[1]):
        assert np.mean((seen.above(margin) >= enough).any(-1)) <= ALPHA
        assert np.mean((seen.below(margin) >= enough).any(-1)) <= ALPHA


@given(
    st.lists(st.booleans(), min_size=1, max_size=8),
    st.sampled_from([0.1, 0.5, 0.8]),
    st.sampled_from([0.25, 0.5]),
    st.integers(0, 8),
)
def test_whatever_was_answered_the_arms_alone_make_no_evidence(
    happened: list[bool], share: float, later: float, cut: int
) -> None:
    """Exactly: over all ways of dealing these answers to arms, in two periods, the evidence averages to 1."""
    shares = np.array([share, later])
    period = np.array([0 if place < cut else 1 for place in range(len(happened))])
    mean = 0.0
    for arms in itertools.product((0, 1), repeat=len(happened)):
        seen = np.zeros((2, 2, 2))  # arm, period, (happened, answers)
        np.add.at(seen, (np.array(arms), period), np.column_stack([happened, np.ones(len(happened))]))
        chance = math.prod(shares[p] if arm else 1 - shares[p] for arm, p in zip(arms, period, strict=True))
        rate = Rates(seen[0, :, 0], seen[0, :, 1], seen[1, :, 0], seen[1, :, 1], shares)
        mean += chance * math.exp(float(rate.above(0.0)))
    assert mean == pytest.approx(1.0)


def test_a_larger_share_at_a_better_hour_is_no_difference() -> None:
    """By day 90% happen and the canary has half, by night 50% and it has a tenth: pooled, it looks better."""
    seen = Rates(
        np.array([900.0 * 0.5, 1000 * 0.9]),
        np.array([900.0, 1000]),
        np.array([100 * 0.5, 1000 * 0.9]),
        np.array([100.0, 1000]),
        np.array([0.1, 0.5]),
    )
    assert float(seen.estimate) == pytest.approx(0.0)
    assert max(float(seen.above(0.0)), float(seen.below(0.0))) < 0.0


def test_answers_that_are_alike_in_a_conversation_are_no_evidence_by_being_many(
    measured: Callable[[str], None],
) -> None:
    """1,000 runs of 500 conversations of three answers, two of five settled by the conversation."""
    rng = np.random.default_rng(7)
    chance = rng.beta(0.8 * 1.5, 0.2 * 1.5, (1000, 500))[..., None]  # two answers of one correlate by 0.4
    bad: Floats = (rng.random((1000, 500, 3)) > chance).astype(np.float64)
    canary = np.repeat(drawn(rng, 0.5, 1000, 500)[..., None], 3, axis=-1)
    groups = np.repeat(np.arange(500), 3)
    effects = np.array([design_effect(one.ravel(), groups) for one in bad])
    seen = looked_at(bad.reshape(1000, -1), canary.reshape(1000, -1), 0.5)[0]
    ever = [((seen.above(0.0) / by) >= math.log(1 / ALPHA)).any(-1).mean() for by in (1.0, effects[:, None])]
    measured(f"alike in conversations: worse in {ever[0]:.1%}, by design effect in {ever[1]:.1%}")
    assert ever[1] <= ALPHA < ever[0]


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30))
def test_answers_of_their_own_conversations_count_in_full_and_copies_once(values: list[float]) -> None:
    alone = np.array(values)
    assert design_effect(alone, np.arange(len(values))) == pytest.approx(1.0)
    if np.ptp(alone) > 1e-3:
        copies = np.repeat(alone, 4)
        assert design_effect(copies, np.repeat(np.arange(len(values)), 4)) == pytest.approx(4.0)
    seen = rates((40, 200), (70, 200))
    weaker = Alike(seen, 2.0)
    assert float(weaker.above(0.0)) == float(seen.above(0.0)) / 2.0
    assert float(weaker.estimate) == float(seen.estimate)


def test_a_collapse_is_found_within_a_few_dozen_answers() -> None:
    rng = np.random.default_rng(3)
    canary = drawn(rng, 0.5, 200, 120)
    bad = (rng.random(canary.shape) < np.where(canary, 1.0, 0.4)).astype(np.float64)
    found = looked_at(bad, canary, 0.5)[0].above(0.0) >= math.log(1 / ALPHA)
    assert float(np.quantile(found.argmax(-1), 0.95)) <= 60
    assert found.any(-1).all()


COUNT = st.integers(0, 300)


@given(COUNT, COUNT, COUNT, COUNT, st.floats(0.001, 0.2), st.floats(0.01, 0.99))
def test_the_interval_holds_its_estimate(a: int, b: int, c: int, d: int, alpha: float, share: float) -> None:
    bounds = interval(rates((a, a + b), (c, c + d), share), alpha)
    if a + b and c + d:
        assert bounds.low <= bounds.estimate <= bounds.high
        assert bounds.estimate == pytest.approx(c / (c + d) - a / (a + b))
    else:
        assert math.isnan(bounds.estimate)
        assert (bounds.low, bounds.high) == (-math.inf, math.inf)


@given(COUNT, COUNT, COUNT, COUNT, st.floats(0.01, 0.99), st.floats(-0.2, 0.2))
def test_swapping_the_arms_mirrors_rates(a: int, b: int, c: int, d: int, share: float, margin: float) -> None:
    one, other = rates((a, a + b), (c, c + d), share), rates((c, c + d), (a, a + b), 1.0 - share)
    assert float(one.above(0.0)) == pytest.approx(float(other.below(0.0)), abs=1e-6)
    shifted = replace(one, share=np.array([share]))
    assert float(shifted.above(margin)) == float(one.above(margin))


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.lists(st.floats(-5, 5), min_size=2, max_size=30)
)
def test_swapping_the_arms_mirrors_means_and_units_do_not_matter(x: list[float], y: list[float]) -> None:
    one, two = np.array(x), np.array(y)
    forth = float(means(one, two, 0.3).above(0.5))
    assert forth == pytest.approx(float(means(two, one, 0.7).below(-0.5)), abs=1e-6)
    if np.ptp(np.concatenate([one, two - 0.5])) > 1e-3:
        assert forth == pytest.approx(float(means(1000 * one, 1000 * two, 0.3).above(500.0)), abs=1e-4)


@given(st.floats(0.02, 0.3), st.sampled_from([0.1, 0.5]))
def test_data_narrows_the_interval_and_a_wider_margin_weakens_the_evidence(gap: float, share: float) -> None:
    few, many = (
        interval(rates((20 * k, 100 * k), (round((20 + 100 * gap) * k), 100 * k), share), ALPHA)
        for k in (1, 20)
    )
    assert many.high - many.low < few.high - few.low
    seen = rates((400, 2000), (round(400 + 2000 * gap), 2000), share)
    falling = [float(seen.above(margin)) for margin in (0.0, gap / 3, 2 * gap / 3)]
    assert falling == sorted(falling, reverse=True)


def test_bounds_of_a_mean_are_where_the_evidence_ends() -> None:
    rng = np.random.default_rng(4)
    seen = means(rng.normal(0.0, 1.0, 900), rng.normal(0.4, 1.0, 300), 0.25)
    bounds = interval(seen, ALPHA, widest=3.0)
    assert 0.1 < bounds.low < 0.4 < bounds.high < 0.7
    assert float(seen.above(bounds.low)) == pytest.approx(math.log(1 / ALPHA), abs=0.05)
    assert float(seen.below(bounds.high)) == pytest.approx(math.log(1 / ALPHA), abs=0.05)


def test_a_single_wild_value_proves_nothing() -> None:
    stable, canary = np.zeros(500), np.zeros(20)
    stable[::2] += 0.1
    canary[7] = 1e6
    assert float(means(stable, canary, 0.04).above(0.0)) < math.log(1 / ALPHA)
