"""A reward's card: how well its values agree with people's ratings, and what not to trust it with.

Pure. Intervals are 90%, by resampling businesses: answers about one business rise and fall together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import rankdata, spearmanr

from trainer.bootstrap import Bootstrap, Spread
from trainer.reward.rated import Rated

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Two replies to one question are told apart when people's ratings differ by this much.
GAP = 1.5
# People's mean rating from which a reply counts as good, to which as bad, and from which as right.
GOOD, BAD, RIGHT = 4.5, 2.0, 4.0
_RESAMPLES = 1_000
_ALPHA = 0.05  # on each side of a 90% interval
_BINS = 10
# Rounding of means of three ratings.
_EPSILON = 1e-9


class Interval(BaseModel):
    """An estimate and its 90% interval."""

    model_config = ConfigDict(frozen=True)

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} ({self.low:.3f} to {self.high:.3f})"


class Bin(BaseModel):
    """Replies with values from `low` on: how many, their mean value, the share that is right."""

    model_config = ConfigDict(frozen=True)

    low: float
    replies: int
    value: float
    right: float


class Kind(BaseModel):
    """One sort of business."""

    model_config = ConfigDict(frozen=True)

    replies: int
    pairs: int
    pair_accuracy: float
    area: float


class Card(BaseModel):
    """What was measured on replies about businesses that the reward had not seen.

    `pair_accuracy` counts pairs, `by_question` gives every question the same say, whoever asked it how often.
    `calibration_error` is the mean distance of value and share right, over bins. `length_bias` is the rank
    correlation of value and length, less that of rating and length; `matched_pairs` the pair accuracy where
    the lengths differ by a fifth at most. Between `wrong_below` (from there down at least half are wrong) and
    `good_from` the reward claims nothing: `abstains` is the share of replies there.
    """

    model_config = ConfigDict(frozen=True)

    replies: int
    businesses: int
    pairs: int
    pair_accuracy: Interval
    by_question: Interval
    area: Interval
    known_pair_accuracy: float
    known_area: float
    calibration_error: float
    bins: tuple[Bin, ...]
    length_bias: float
    matched_pairs: float
    good_share: float
    good_right: Interval
    good_found: float
    good_from: float
    wrong_below: float
    abstains: float
    kinds: dict[str, Kind]

    def markdown(self) -> str:
        """The card as a page."""
        lines = [
            "# Reward card",
            "",
            f"{self.replies} rated replies about {self.businesses} businesses, {self.pairs} pairs rated "
            f"{GAP} or more apart; 90% intervals over businesses.",
            "",
            "| what | value |",
            "|---|---|",
            f"| pair accuracy, facts retrieved | {self.pair_accuracy} |",
            f"| the same, every question counted alike | {self.by_question} |",
            f"| area under the curve, good {GOOD} or more against bad {BAD} or less | {self.area} |",
            f"| answering fact known: pairs, area | {self.known_pair_accuracy:.3f}, {self.known_area:.3f} |",
            f"| expected calibration error, right being {RIGHT} or more | {self.calibration_error:.3f} |",
            f"| length bias; pairs of like length | {self.length_bias:+.3f}; {self.matched_pairs:.3f} |",
            f"| called good: share, right, found | {self.good_share:.3f}, {self.good_right}, "
            f"{self.good_found:.3f} |",
            f"| claims nothing from {self.wrong_below:.2f} to {self.good_from:.2f} | {self.abstains:.3f} |",
            "",
            "| value from | replies | mean value | right |",
            "|---|---|---|---|",
            *(f"| {b.low:.1f} | {b.replies} | {b.value:.3f} | {b.right:.3f} |" for b in self.bins),
            "",
            "| business | replies | pairs | pair accuracy | area |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {kind.replies} | {kind.pairs} | {kind.pair_accuracy:.3f} | {kind.area:.3f} |"
                for name, kind in self.kinds.items()
            ),
        ]
        return "\n".join(lines) + "\n"


def card(
    replies: Sequence[Rated],
    value_N: NDArray[np.float64],
    good_N: NDArray[np.bool_],
    known_N: NDArray[np.float64],
    good_from: float,
    seed: int,
) -> Card:
    """Measures values, claims of `good`, and `known_N`: the guesses if the asked fact were known."""
    rating_N = np.array([reply.rating for reply in replies])
    right_N = rating_N >= RIGHT - _EPSILON
    pairs = rated_pairs(replies)
    business_N = np.unique([reply.business for reply in replies], return_inverse=True)[1]
    businesses = Bootstrap(business_N, _RESAMPLES, seed)
    first, ordered = pairs[:, 0], _ordered(value_N, pairs)
    alike = _alike([(reply.business, reply.case.query) for reply in replies], pairs)
    bins = _bins(value_N, right_N)
    below = wrong_below(value_N, right_N)
    length_N = np.array([float(len(reply.case.answer.split())) for reply in replies])
    # Fewer resamples: each area is worked out anew.
    areas_S = businesses.of(lambda rows: area(value_N[rows], rating_N[rows]), _RESAMPLES // 5)
    return Card(
        replies=len(replies),
        businesses=len(set(business_N.tolist())),
        pairs=len(pairs),
        pair_accuracy=_interval(businesses.mean(ordered, _ALPHA, first)),
        by_question=_interval(businesses.mean(ordered, _ALPHA, first, alike)),
        area=_interval(businesses.spread(areas_S, _ALPHA)),
        known_pair_accuracy=float(_ordered(known_N, pairs).mean()),
        known_area=area(known_N, rating_N),
        calibration_error=sum(b.replies * abs(b.value - b.right) for b in bins) / len(replies),
        bins=bins,
        length_bias=_rank_correlation(value_N, length_N) - _rank_correlation(rating_N, length_N),
        matched_pairs=float(_ordered(value_N, _matched(pairs, length_N)).mean()),
        good_share=float(good_N.mean()),
        good_right=_interval(businesses.mean(right_N[good_N].astype(float), _ALPHA, np.flatnonzero(good_N))),
        good_found=float(good_N[right_N].mean()),
        good_from=good_from,
        wrong_below=below,
        abstains=float(((value_N >= below) & ~good_N).mean()),
        kinds=_kinds(replies, value_N, rating_N, pairs),
    )


def rated_pairs(replies: Sequence[Rated]) -> NDArray[np.intp]:
    """Pairs of replies to the same turn rated GAP or more apart, the better one first. Shape (P, 2)."""
    turns: dict[str, list[int]] = {}
    for index, reply in enumerate(replies):
        turns.setdefault(reply.turn, []).append(index)
    pairs = [
        (first, second) if replies[first].rating > replies[second].rating else (second, first)
        for turn in turns.values()
        for first, second in combinations(turn, 2)
        if abs(replies[first].rating - replies[second].rating) >= GAP - _EPSILON
    ]
    return np.array(pairs, dtype=np.intp).reshape(len(pairs), 2)


def area(value_N: NDArray[np.float64], rating_N: NDArray[np.float64]) -> float:
    """Chance that a good reply has a higher value than a bad one; replies between are left out."""
    good = rating_N >= GOOD - _EPSILON
    bad = rating_N <= BAD + _EPSILON
    if not good.any() or not bad.any():
        return float("nan")
    ranks = rankdata(np.concatenate([value_N[good], value_N[bad]]))
    above = ranks[: good.sum()].sum() - good.sum() * (good.sum() + 1) / 2
    return float(above / (good.sum() * bad.sum()))


def wrong_below(value_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> float:
    """The highest value up to which at most half of the replies are right; 0 when there is none."""
    order = np.argsort(value_N, kind="stable")
    share = np.cumsum(right_N[order]) / np.arange(1, len(order) + 1)
    wrong = np.flatnonzero(share <= 0.5)
    return float(value_N[order][wrong[-1]]) if len(wrong) else 0.0


def _interval(figures: Spread) -> Interval:
    estimate, low, high = figures
    return Interval(estimate=estimate, low=low, high=high)


def _ordered(value_N: NDArray[np.float64], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """1 where the better reply has the higher value, one half for equal values."""
    better, worse = value_N[pairs[:, 0]], value_N[pairs[:, 1]]
    return np.asarray((better > worse) + 0.5 * (better == worse), dtype=float)


def _alike(question: Sequence[tuple[str, str]], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """Weights that give every question the same sum."""
    counts: dict[tuple[str, str], int] = {}
    for first, _ in pairs:
        counts[question[first]] = counts.get(question[first], 0) + 1
    return np.array([1.0 / counts[question[first]] for first, _ in pairs])


def _matched(pairs: NDArray[np.intp], length_N: NDArray[np.float64]) -> NDArray[np.intp]:
    lengths = length_N[pairs]
    return np.asarray(pairs[lengths.max(axis=1) <= 1.2 * lengths.min(axis=1)])


def _bins(value_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> tuple[Bin, ...]:
    place = np.minimum((value_N * _BINS).astype(int), _BINS - 1)
    return tuple(
        Bin(
            low=index / _BINS,
            replies=int((place == index).sum()),
            value=float(value_N[place == index].mean()),
            right=float(right_N[place == index].mean()),
        )
        for index in np.unique(place).tolist()
    )


def _rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's; 0 where one side never varies."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _kinds(
    replies: Sequence[Rated],
    value_N: NDArray[np.float64],
    rating_N: NDArray[np.float64],
    pairs: NDArray[np.intp],
) -> dict[str, Kind]:
    kind_N = np.array([reply.kind for reply in replies])
    ordered = _ordered(value_N, pairs)
    found = {}
    for name in sorted(set(kind_N.tolist())):
        mine, its_pairs = kind_N == name, kind_N[pairs[:, 0]] == name
        found[name] = Kind(
            replies=int(mine.sum()),
            pairs=int(its_pairs.sum()),
            pair_accuracy=float(ordered[its_pairs].mean()) if its_pairs.any() else float("nan"),
            area=area(value_N[mine], rating_N[mine]),
        )
    return found
