"""A reward learnt from people's ratings of replies: how likely is it that people call this answer right?

It cannot know which fact the query asks for, so it weighs: how likely each retrieved fact is the asked one
(from query and facts alone), times how well the answer states that fact. Both parts, and what is made of
them, are small enough to be kept as numbers beside this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.errors import NightError
from trainer.reward.adjustment import Adjustment
from trainer.reward.encoder import Encoder
from trainer.reward.features import ASKED, MANNER, STATED
from trainer.reward.gauge import FACTS, Encode, Gauge, Measured
from trainer.reward.model import Case, Reward
from trainer.reward.text import Reader, WordVectors, statement
from trainer.reward.trees import Trees
from trainer.reward.vectors import WordTable
from trainer.words import LOOPS, length, negated, repeats

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The weights that come with the project, learnt from the ratings of DSTC9 Track 1 (see NOTICE).
STARTER = Path(__file__).with_name("learnt.json")

# What rated replies hardly show and small models do: they deny what is so, echo the question, loop, ramble.
# Nothing of that is good, whatever its value: of the answers so called 0.97 were right, without it 0.94.
LONGEST = 40
# What to do about weights that cannot be used.
_AGAIN = (
    "make them again with `python -m trainer.reward.train`, or, in a data folder, delete them to go back to "
    "those that come with the project"
)
# Cases judged together: the trees are walked once for all of them.
_BATCH = 512


class Posterior(BaseModel):
    """How likely each retrieved fact is the asked one: a softmax over weighted, scaled ASKED numbers."""

    model_config = ConfigDict(frozen=True)

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]

    def of(self, asked_N_F_A: NDArray[np.float64], there_N_F: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Shape (N, FACTS), rows sum to 1; facts that are not there get 0."""
        scores = ((asked_N_F_A - np.array(self.mean)) / np.array(self.scale)) @ np.array(self.weight)
        scores = np.where(there_N_F, scores, -np.inf)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


class Weights(BaseModel):
    """All that was learnt. `stated` guesses people's rating (1 to 5) as if a fact were the asked one;
    `combined` guesses it from that and the posterior; `slope` and `offset` make it the probability of being
    right (Platt 1999). `good` is the probability from which an answer may be called good. `adjustment` is
    what a business's own customers added since, if anything: it orders, and can withdraw what is called good.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    learnt_from: str
    stated_features: tuple[str, ...]
    asked_features: tuple[str, ...]
    posterior: Posterior
    stated: Trees
    combined: Trees
    slope: float
    offset: float
    good: float
    adjustment: Adjustment | None = None

    @classmethod
    def load(cls, file: Path) -> Weights:
        """Raises NightError when the file is missing, or was learnt from other features than these."""
        try:
            weights = cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as err:
            raise NightError(f"{file} does not hold a reward's weights ({err}): {_AGAIN}.") from err
        if weights.stated_features != (*STATED, *MANNER) or weights.asked_features != ASKED:
            raise NightError(f"{file} was learnt from other features than this version computes: {_AGAIN}.")
        return weights

    def right(self, combined_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of being right for what `combined` guesses."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.slope * combined_N + self.offset))))


class LearntReward:
    """Judges by the weights. Raises nothing of its own; a case without facts or answer is worth nothing."""

    name = "learnt"

    def __init__(self, weights: Weights, vectors: WordVectors, encode: Encode) -> None:
        self.version = weights.version
        self._weights = weights
        self._gauge = Gauge(Reader(vectors), encode)

    @classmethod
    def open(cls, vectors: Path, encoder: Path, weights: Path = STARTER) -> LearntReward:
        """From the folders of the static vectors and of the encoder.

        Raises:
            NightError: one of them is missing or holds something else.
        """
        return cls(Weights.load(weights), WordTable(vectors), Encoder(encoder))

    def score(self, cases: Sequence[Case]) -> list[Reward]:
        """One reward for each case, in order; the value is the probability that people call it right."""
        rewards: list[Reward] = []
        for first in range(0, len(cases), _BATCH):
            batch = cases[first : first + _BATCH]
            rewards += judge(self._weights, batch, self._gauge.measure(batch))
        return rewards


def judge(weights: Weights, cases: Sequence[Case], measured: Measured) -> list[Reward]:
    """One reward for each case, in order, from its numbers."""
    found = [Reward(value=0.0, good=False, parts={"empty": 1.0})] * len(cases)
    rows = np.flatnonzero(measured.there_N_F.any(axis=1))
    if not len(rows):
        return found
    stated_N_F, posterior_N_F = weigh(weights, measured, rows)
    right_N, liked_N = _chances(weights, measured, rows, summary(stated_N_F, posterior_N_F))
    for place, row in enumerate(rows):
        chances = float(right_N[place]), float(liked_N[place])
        found[row] = _reward(weights, cases[row], *chances, stated_N_F[place], posterior_N_F[place])
    return found


def liked(weights: Weights, measured: Measured) -> NDArray[np.float64]:
    """The chance that people like each answer, whatever its manner; 0 without a fact or an answer."""
    found = np.zeros(len(measured.there_N_F))
    rows = np.flatnonzero(measured.there_N_F.any(axis=1))
    if len(rows):
        found[rows] = _chances(weights, measured, rows, summary(*weigh(weights, measured, rows)))[1]
    return found


def _chances(
    weights: Weights, measured: Measured, rows: NDArray[np.intp], summary_N_M: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Being right by people's ratings, and liked by this business's customers: the same without votes."""
    right_N = weights.right(weights.combined.predict(summary_N_M))
    if weights.adjustment is None:
        return right_N, right_N
    # Manner is the same next to every fact, and the first one is always there.
    return right_N, weights.adjustment.of(right_N, measured.stated_N_F_S[rows, 0, len(STATED) :])


def _reward(
    weights: Weights,
    case: Case,
    right: float,
    liked: float,
    stated_F: NDArray[np.float64],
    posterior_F: NDArray[np.float64],
) -> Reward:
    top = int(posterior_F.argmax())
    fact, said = case.facts[top].text, statement(case.answer)
    loops = repeats(said)
    brief = length(said) <= max(LONGEST, 2 * length(fact))
    agrees = negated(said) == negated(fact)
    answers = not said.endswith("?")
    manner = (1.0 - loops) * (1.0 if brief else 0.5)
    value = liked * manner
    # Votes can only withdraw the claim: what ratings do not call good, no crowd makes good.
    wanted = weights.adjustment is None or liked >= 0.5
    good = right * manner >= weights.good and wanted and agrees and answers and brief and loops < LOOPS
    parts = {
        "right": right,
        "asked": float(posterior_F[top]),
        "fact": float(top),
        "stated": float(stated_F[top]),
        "stated_best": float(stated_F.max()),
        "agrees": float(agrees),
        "answers": float(answers),
        "brief": float(brief),
        "repeats": loops,
    }
    return Reward(value=value, good=good, parts=parts)


def weigh(
    weights: Weights, measured: Measured, rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `stated` guesses for each fact, and how likely each is the asked one: shapes (rows, FACTS)."""
    there_N_F = measured.there_N_F[rows]
    flat = measured.stated_N_F_S[rows].reshape(len(rows) * FACTS, -1)
    stated_N_F = weights.stated.predict(flat).reshape(len(rows), FACTS)
    # 1 is the worst rating: a fact that is not there is not stated.
    stated_N_F = np.where(there_N_F, stated_N_F, 1.0)
    return stated_N_F, weights.posterior.of(measured.asked_N_F_A[rows], there_N_F)


# In which direction each number of `summary` may move the reward.
SUMMARY = (1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 0)


def summary(stated_N_F: NDArray[np.float64], posterior_N_F: NDArray[np.float64]) -> NDArray[np.float64]:
    """Both guesses over facts as numbers over all facts, shape (N, len(SUMMARY)).

    The expected rating; the ratings and chances of the three likeliest facts; the best rating, and the best
    of those with a chance of 0.1; the doubt about the asked fact (negative entropy); the best fact's chance.
    """
    order = np.argsort(-posterior_N_F, axis=1, kind="stable")
    ratings = np.take_along_axis(stated_N_F, order, axis=1)[:, :3]
    chances = np.take_along_axis(posterior_N_F, order, axis=1)[:, :3]
    best = stated_N_F.argmax(axis=1)
    return np.column_stack(
        [
            (stated_N_F * posterior_N_F).sum(axis=1),
            ratings,
            chances,
            stated_N_F.max(axis=1),
            np.where(posterior_N_F > 0.1, stated_N_F, 0.0).max(axis=1),
            (posterior_N_F * np.log(posterior_N_F + 1e-9)).sum(axis=1),
            posterior_N_F[np.arange(len(best)), best],
        ]
    )
