"""Style gates: the manner of a candidate's answers, which a better pass rate can hide.

Pure. Longer answers, answers that are right because they are short, and the same answer to everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from trainer.bootstrap import Bootstrap, Spread
from trainer.gates import Gate, Pair
from trainer.words import length

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Resamples: a median or a count of word pairs costs more than a sum, and needs no third digit.
RESAMPLES = 2_000
# Bins of like length: five take away over nine tenths of what a confounder does to a mean (Cochran 1968).
BINS = 5
# How much lower the pass rate may be among answers of like length. A hundred cases tell it to about 0.10, so
# a narrower margin would refuse candidates for nothing but chance.
MATCHED_MARGIN = 0.10
# Of that many answers as good as unmatched ones, the least; a candidate that says everything in half the
# words still shares about a half of its lengths with stable.
MATCHED_SHARE = 0.25
# Least share of stable's distinct-2. Where half of the answers are one sentence it falls to 0.61, where a
# quarter is to 0.83 (120 facts of 20 businesses as answers).
VARIED_SHARE = 0.75


def brief(pairs: Sequence[Pair], needed: int, alpha: float, seed: int, margin: float = 0.10) -> Gate:
    """Passes when the median length did not grow by more than `margin`, bounded by the paired bootstrap.

    A shorter median passes here; that its answers are still right is `matched`'s business.
    """
    claim = f"The median answer is at most {margin:.0%} longer."
    figures = 0.0, 0.0, 0.0
    if pairs:
        bootstrap = _bootstrap(pairs, seed)
        stable_S, candidate_S = map(bootstrap.medians, _lengths(pairs))
        figures = bootstrap.spread(candidate_S / np.maximum(stable_S, 1.0) - 1.0, alpha)
    return Gate.judged("length", claim, margin, needed, len(pairs), figures, figures[1] <= margin)


def matched(pairs: Sequence[Pair], needed: int, alpha: float, seed: int) -> Gate:
    """Passes when a shorter median did not come with wrong answers: the pass rate holds at like length.

    Answers of both models are put into BINS of like length, and the differences of the bins' pass rates are
    averaged with Mantel and Haenszel's weights (Greenland and Robins 1985), so that a bin counts as far as
    both models have answers in it. `n` is that many answers' worth: each bin's harmonic mean. Where the
    median is not shorter there is nothing to show.
    """
    claim = f"Among answers of like length the candidate is right at most {MATCHED_MARGIN:.0%} less often."
    stable_N, candidate_N = _lengths(pairs)
    figures, n, holds, detail = (0.0, 0.0, 0.0), len(pairs), True, "the median answer is not shorter"
    if len(pairs) >= needed and np.median(candidate_N) < np.median(stable_N):
        counts_N_4B = _binned(pairs, stable_N, candidate_N)
        n, needed = int(_alike(counts_N_4B.sum(axis=0))), max(1, int(needed * MATCHED_SHARE))
        figures = _matched(pairs, counts_N_4B, alpha, seed) if n >= needed else figures
        holds, detail = figures[1] >= -MATCHED_MARGIN, ""
    return Gate.judged("matched length", claim, -MATCHED_MARGIN, needed, n, figures, holds, detail)


def varied(pairs: Sequence[Pair], needed: int, alpha: float, seed: int) -> Gate:
    """Passes when the candidate's distinct-2 is at least VARIED_SHARE of stable's.

    Distinct-2 is the share of different word pairs among all (Li et al. 2016), over all answers together:
    what is the same for everybody makes it small. Each answer begins and ends with a mark, so that answers of
    one word count too. A cluster counts once however often it is drawn: a repeat would look like sameness.
    """
    claim = f"The candidate's answers are as varied as stable's, to a share of {VARIED_SHARE} at least."
    figures = 0.0, 0.0, 0.0
    if pairs:
        numbers: dict[tuple[str, str], int] = {}
        stable = [_word_pairs(pair.stable_answer, numbers) for pair in pairs]
        candidate = [_word_pairs(pair.candidate_answer, numbers) for pair in pairs]

        def share(rows: NDArray[np.intp]) -> float:
            once = np.unique(rows)
            return _distinct(candidate, once) / _distinct(stable, once)

        bootstrap = _bootstrap(pairs, seed)
        figures = bootstrap.spread(bootstrap.of(share, RESAMPLES // 4), alpha)
    holds = figures[1] >= VARIED_SHARE
    return Gate.judged("varied", claim, VARIED_SHARE, needed, len(pairs), figures, holds)


def _bootstrap(pairs: Sequence[Pair], seed: int) -> Bootstrap:
    return Bootstrap.named([pair.group for pair in pairs], RESAMPLES, seed)


def _lengths(pairs: Sequence[Pair]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Words of stable's and of the candidate's answers."""
    stable = np.array([float(length(pair.stable_answer)) for pair in pairs])
    return stable, np.array([float(length(pair.candidate_answer)) for pair in pairs])


def _binned(
    pairs: Sequence[Pair], stable_N: NDArray[np.float64], candidate_N: NDArray[np.float64]
) -> NDArray[np.float64]:
    """By pair and bin: stable's answers, those right, the candidate's, those right; shape (N, 4 BINS)."""
    edges = np.quantile(np.concatenate([stable_N, candidate_N]), np.arange(1, BINS) / BINS)
    bins = np.arange(BINS)
    stable_N_B = (np.searchsorted(edges, stable_N, side="right")[:, None] == bins).astype(float)
    candidate_N_B = (np.searchsorted(edges, candidate_N, side="right")[:, None] == bins).astype(float)
    right_N_2 = np.array([(pair.stable, pair.candidate) for pair in pairs])
    return np.hstack(
        [stable_N_B, stable_N_B * right_N_2[:, :1], candidate_N_B, candidate_N_B * right_N_2[:, 1:]]
    )


def _matched(pairs: Sequence[Pair], counts_N_4B: NDArray[np.float64], alpha: float, seed: int) -> Spread:
    """Mantel and Haenszel's risk difference, NaN for a resample without bins that both models share."""
    bootstrap = _bootstrap(pairs, seed)
    sums_S_4B = bootstrap.sums(counts_N_4B)
    stable_S_B, stable_right_S_B, candidate_S_B, right_S_B = np.split(sums_S_4B, 4, axis=1)
    both_S_B = np.maximum(stable_S_B + candidate_S_B, 1.0)
    over_S = ((right_S_B * stable_S_B - stable_right_S_B * candidate_S_B) / both_S_B).sum(axis=1)
    weight_S = (stable_S_B * candidate_S_B / both_S_B).sum(axis=1)
    return bootstrap.spread(np.where(weight_S > 0, over_S / np.maximum(weight_S, 1e-12), np.nan), alpha)


def _alike(total_4B: NDArray[np.float64]) -> float:
    """How many answers of each model the matched comparison is worth: the bins' harmonic means."""
    stable_B, _, candidate_B, _ = np.split(total_4B, 4)
    return float((2 * stable_B * candidate_B / np.maximum(stable_B + candidate_B, 1.0)).sum())


def _word_pairs(answer: str, numbers: dict[tuple[str, str], int]) -> NDArray[np.intp]:
    words = ["<s>", *answer.lower().split(), "</s>"]
    return np.array([numbers.setdefault(pair, len(numbers)) for pair in pairwise(words)])


def _distinct(answers: Sequence[NDArray[np.intp]], rows: NDArray[np.intp]) -> float:
    said = np.concatenate([answers[row] for row in rows])
    return len(np.unique(said)) / len(said)
