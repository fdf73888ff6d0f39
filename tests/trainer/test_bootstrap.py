"""The cluster bootstrap: the sample itself first, then resamples of whole clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trainer.bootstrap import FEWEST, Bootstrap, clusters

CLUSTERS = ["a", "b", "a", "c", "c", "c", "d"]
VALUES = np.array([1.0, 4.0, 2.0, 8.0, 6.0, 7.0, 3.0])


def test_every_figure_is_of_the_same_resamples() -> None:
    """Sums and medians by counting are those of the rows themselves."""
    bootstrap = Bootstrap.named(CLUSTERS, 50, seed=1)
    sums = bootstrap.sums(VALUES[:, None])[:, 0]
    assert sums == pytest.approx(bootstrap.of(lambda rows: float(VALUES[rows].sum())))
    assert bootstrap.medians(VALUES) == pytest.approx(
        bootstrap.of(lambda rows: float(np.median(VALUES[rows])))
    )
    assert sums[0] == VALUES.sum()
    assert len(bootstrap.of(lambda rows: float(len(rows)), 10)) == 11


def test_a_mean_is_weighted_and_its_values_may_belong_to_some_rows_only() -> None:
    bootstrap = Bootstrap.named(CLUSTERS, 200, seed=1)
    estimate, low, high = bootstrap.mean(VALUES, 0.05)
    assert estimate == pytest.approx(VALUES.mean())
    assert low < estimate < high
    rows, scores, weights = np.array([1, 6]), np.array([1.0, 0.0]), np.array([3.0, 1.0])
    assert bootstrap.mean(scores, 0.05, rows, weights)[0] == pytest.approx(0.75)


def test_clusters_that_agree_within_widen_the_interval() -> None:
    scores = np.repeat([0.0, 1.0], 50)
    together = Bootstrap.named([str(i // 10) for i in range(100)], 2_000, seed=1).mean(scores, 0.05)
    apart = Bootstrap.named([str(i) for i in range(100)], 2_000, seed=1).mean(scores, 0.05)
    assert together[2] - together[1] > 2 * (apart[2] - apart[1])


def test_few_clusters_prove_no_more_than_many() -> None:
    """Equal models are called better in a twentieth of tries, whether six businesses asked or sixty."""
    draw = np.random.default_rng(1)
    for count in (6, 60):
        names = [str(i) for i in range(count)]
        lows = [
            Bootstrap.named(names, 400, seed=number).mean(draw.normal(size=count), 0.05)[1]
            for number in range(1_000)
        ]
        assert np.mean(np.array(lows) > 0) < 0.07, count


def test_a_few_large_clusters_prove_no_more_than_even_ones(measured: Callable[[str], None]) -> None:
    """Two businesses ask most of what 32 ask; still a twentieth of equal models are called better."""
    draw, rows = np.random.default_rng(1), np.array([200, 100] + [5] * 30)
    names = [str(i) for i, count in enumerate(rows) for _ in range(count)]
    lows = []
    for number in range(1_000):
        scores = np.repeat(draw.normal(scale=0.2, size=len(rows)), rows) + draw.normal(size=len(names))
        lows.append(Bootstrap.named(names, 400, seed=number).mean(scores, 0.05)[1])
    passed = float(np.mean(np.array(lows) > 0))
    measured(f"uneven businesses: {passed:.1%} of equal models called better")
    assert passed < 0.06


def test_few_businesses_are_all_there_are() -> None:
    own = [f"q{number}" for number in range(12)]
    assert clusters(["inn"] * 12, own) == own
    assert clusters([f"inn-{number % 5}" for number in range(12)], own) == own
    many = [f"inn-{number % FEWEST}" for number in range(12)]
    assert clusters(many, own) == many


def test_resamples_without_a_figure_are_left_out() -> None:
    one = Bootstrap.named(["a"], 3, seed=1)
    assert one.spread(np.array([2.0, 1.0, np.nan, 3.0]), 0.5) == (2.0, 2.0, 2.0)
