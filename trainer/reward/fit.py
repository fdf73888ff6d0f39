"""Learns the reward's weights from rated replies. Decides nothing and reads nothing; deterministic.

The answering fact is a label here: `stated` learns from answers next to it, the posterior learns to find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]

from trainer.reward.calibration import RIGHT
from trainer.reward.features import ASKED, MANNER, STATED
from trainer.reward.gauge import FACTS, Gauge, Measured
from trainer.reward.learnt import SUMMARY, Posterior, Weights, summary, weigh
from trainer.reward.rated import Rated, folds
from trainer.reward.trees import Trees

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the answers called good at least this share is right, on businesses not learnt from.
PRECISION = 0.95
# Folds inside the training set: what is combined must be guesses about businesses not learnt from.
INNER = 5
# Ridge on the posterior's 20 weights, which see about 900 questions.
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Sample:
    """Rated replies as numbers. `asked_N` is the place of the answering fact, -1 where it was not found."""

    measured: Measured
    known_N_S: NDArray[np.float64]  # STATED and MANNER next to the answering fact
    asked_N: NDArray[np.intp]
    question_N: NDArray[np.intp]  # rows with the same number ask the same question of the same business
    rating_N: NDArray[np.float64]
    fold_N: NDArray[np.intp]  # by business, for the inner folds

    @classmethod
    def of(cls, replies: Sequence[Rated], gauge: Gauge) -> Sample:
        """Measures every reply."""
        questions: dict[tuple[str, str], int] = {}
        return cls(
            measured=gauge.measure([reply.case for reply in replies]),
            known_N_S=np.array([gauge.stated(reply.case, [reply.answering])[0] for reply in replies]),
            asked_N=np.array([_place(reply) for reply in replies]),
            question_N=np.array(
                [
                    questions.setdefault((reply.business, reply.case.query), len(questions))
                    for reply in replies
                ]
            ),
            rating_N=np.array([reply.rating for reply in replies]),
            fold_N=np.array(folds(replies, INNER)),
        )

    def take(self, rows: NDArray[np.intp]) -> Sample:
        """Some of the replies."""
        measured = Measured(
            self.measured.stated_N_F_S[rows], self.measured.asked_N_F_A[rows], self.measured.there_N_F[rows]
        )
        return replace(
            self,
            measured=measured,
            known_N_S=self.known_N_S[rows],
            asked_N=self.asked_N[rows],
            question_N=self.question_N[rows],
            rating_N=self.rating_N[rows],
            fold_N=self.fold_N[rows],
        )


def fit(sample: Sample, version: str, learnt_from: str) -> Weights:
    """Weights from all of `sample`. The threshold for `good` comes from guesses about unseen businesses."""
    blank = Weights(
        version=version,
        learnt_from=learnt_from,
        stated_features=(*STATED, *MANNER),
        asked_features=ASKED,
        posterior=_posterior(sample),
        stated=_stated(sample),
        combined=Trees(base=0.0, trees=()),
        slope=1.0,
        offset=0.0,
        good=1.0,
    )
    summary_N_M = _unseen_summary(sample, blank)
    unseen_N = np.zeros(len(sample.rating_N))
    for _, rest, fold in _splits(sample.fold_N):
        unseen_N[fold] = _combined(summary_N_M[rest], sample.rating_N[rest]).predict(summary_N_M[fold])
    right_N = sample.rating_N >= RIGHT - 1e-9
    slope, offset = _platt(unseen_N, right_N)
    weights = blank.model_copy(
        update={
            "combined": _combined(summary_N_M, sample.rating_N),
            "slope": round(slope, 4),
            "offset": round(offset, 4),
        }
    )
    return weights.model_copy(update={"good": strict(weights.right(unseen_N), right_N, PRECISION)})


def strict(value_N: NDArray[np.float64], right_N: NDArray[np.bool_], precision: float) -> float:
    """The lowest threshold from which on at least `precision` are right; 1 when there is none."""
    order = np.argsort(-value_N, kind="stable")
    share = np.cumsum(right_N[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share >= precision)
    return round(float(value_N[order][enough[-1]]), 4) if len(enough) else 1.0


def _unseen_summary(sample: Sample, blank: Weights) -> NDArray[np.float64]:
    """What `combined` is to learn from: for each fold, guesses of parts that never saw its businesses."""
    found = np.zeros((len(sample.rating_N), len(SUMMARY)))
    for _, rest, fold in _splits(sample.fold_N):
        part = sample.take(rest)
        weights = blank.model_copy(
            update={
                "posterior": _posterior(part),
                "stated": _stated(part),
            }
        )
        found[fold] = summary(*weigh(weights, sample.measured, fold))
    return found


def _splits(fold_N: NDArray[np.intp]) -> list[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """For each fold: its number, the rows outside it, the rows in it."""
    return [
        (int(fold), np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold))
        for fold in np.unique(fold_N)
    ]


def _stated(sample: Sample) -> Trees:
    # Without directions: with them a point of agreement with people is lost.
    return _trees(sample.known_N_S, sample.rating_N, [0] * (len(STATED) + len(MANNER)), 100, 8)


def _combined(summary_N_M: NDArray[np.float64], rating_N: NDArray[np.float64]) -> Trees:
    return _trees(summary_N_M, rating_N, SUMMARY, 80, 6)


def _trees(
    x_N_F: NDArray[np.float64], rating_N: NDArray[np.float64], signs: Sequence[int], count: int, leaves: int
) -> Trees:
    """Small trees. With a sign of 1 a number can only raise the guess, with -1 lower it, with 0 either."""
    learner = HistGradientBoostingRegressor(
        learning_rate=0.06,
        max_iter=count,
        max_leaf_nodes=leaves,
        min_samples_leaf=60,
        l2_regularization=5.0,
        monotonic_cst=list(signs),
        early_stopping=False,
        random_state=0,
    )
    return Trees.of(learner.fit(x_N_F, rating_N))


def _posterior(sample: Sample) -> Posterior:
    """Conditional logit (McFadden 1974) over each question's facts; a question counts once."""
    _, first = np.unique(sample.question_N, return_index=True)
    rows = first[sample.asked_N[first] >= 0]
    there, place = sample.measured.there_N_F[rows], sample.asked_N[rows]
    raw = sample.measured.asked_N_F_A[rows]
    mean, spread = raw[there].mean(axis=0), raw[there].std(axis=0)
    scale = np.where(spread > 1e-3, spread, 1.0)  # what never varies teaches nothing
    x = np.where(there[..., None], (raw - mean) / scale, 0.0)

    def loss(weight: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = np.where(there, x @ weight, -1e9)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        chance = odds / odds.sum(axis=1, keepdims=True)
        surprise = chance.copy()
        surprise[np.arange(len(rows)), place] -= 1.0
        value = -np.log(chance[np.arange(len(rows)), place] + 1e-12).mean() + _RIDGE * weight @ weight
        return float(value), np.einsum("nf,nfa->a", surprise, x) / len(rows) + 2 * _RIDGE * weight

    found = minimize(loss, np.zeros(len(ASKED)), jac=True, method="L-BFGS-B")
    return Posterior(mean=_rounded(mean), scale=_rounded(scale), weight=_rounded(found.x))


def _platt(guess_N: NDArray[np.float64], right_N: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the logistic curve through guesses and what came true."""

    def loss(curve: NDArray[np.float64]) -> float:
        logit = curve[0] * guess_N + curve[1]
        return float(np.mean(np.logaddexp(0.0, np.where(right_N, -logit, logit))))

    slope, offset = minimize(loss, np.array([1.0, -4.0]), method="Nelder-Mead").x
    return float(slope), float(offset)


def _place(reply: Rated) -> int:
    texts = [fact.text for fact in reply.case.facts[:FACTS]]
    return texts.index(reply.answering.text) if reply.answering.text in texts else -1


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
