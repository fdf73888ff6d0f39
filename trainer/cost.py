"""Cost gates: what a candidate's answers cost in tokens and in the customer's time.

Pure. Both are measured while stable and candidate answer the same cases, each model as many at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from trainer.bootstrap import Bootstrap
from trainer.gates import Gate

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 2_000
# Tokens may grow by a quarter. A good night makes answers a third shorter (14 to 9 words); one answer in ten
# that runs to the limit of 80 tokens, four times the usual 20, makes them 30% longer, and no median shows it.
TOKENS_MARGIN = 0.25
# How many times as long an answer may take. On a CPU a token through an adapter costs 2.4 times one of the
# base model (140 and 58 tokens/s), so as many tokens as before just pass, and a good night's fewer tokens by
# far (1.4 measured: 4.9 and 3.6 answers/s). On a GPU a token costs 1.1 to 1.3 times as much.
LATENCY_MARGIN = 2.5
# Latencies below a tenth of a second are felt as none (Miller 1968), so they are not compared.
UNFELT_S = 0.1


class Answer(Protocol):
    """What of an answer is counted: its tokens, and the seconds until it was whole."""

    @property
    def tokens(self) -> int: ...
    @property
    def latency_s(self) -> float: ...


def tokens(
    groups: Sequence[str],
    stable: Sequence[Answer],
    candidate: Sequence[Answer],
    needed: int,
    alpha: float,
    seed: int,
) -> Gate:
    """Passes when the mean answer has at most TOKENS_MARGIN more tokens, by the interval's upper end.

    The three sequences are parallel: `groups` are the clusters of the cases.
    """
    claim = f"An answer has at most {TOKENS_MARGIN:.0%} more tokens on average."
    figures = 0.0, 0.0, 0.0
    if groups:
        count_N_2 = np.column_stack([_tokens(stable), _tokens(candidate)])
        bootstrap = Bootstrap.named(groups, RESAMPLES, seed)
        sums_S_2 = bootstrap.sums(count_N_2)
        figures = bootstrap.spread(sums_S_2[:, 1] / np.maximum(sums_S_2[:, 0], 1.0) - 1.0, alpha)
    holds = figures[2] <= TOKENS_MARGIN
    return Gate.judged("tokens", claim, TOKENS_MARGIN, needed, len(groups), figures, holds)


def latency(
    groups: Sequence[str],
    stable: Sequence[Answer],
    candidate: Sequence[Answer],
    needed: int,
    alpha: float,
    seed: int,
) -> Gate:
    """Passes when the median answer takes at most LATENCY_MARGIN times as long, by the interval's upper end.

    Medians, since one hiccup of the machine must not decide. The three sequences are parallel.
    """
    claim = f"The median answer takes at most {LATENCY_MARGIN} times as long."
    figures = 0.0, 0.0, 0.0
    detail = ""
    if groups:
        bootstrap = Bootstrap.named(groups, RESAMPLES, seed)
        stable_S, candidate_S = bootstrap.medians(_seconds(stable)), bootstrap.medians(_seconds(candidate))
        figures = bootstrap.spread(np.maximum(candidate_S, UNFELT_S) / np.maximum(stable_S, UNFELT_S), alpha)
        detail = f"stable {stable_S[0]:.2f} s, candidate {candidate_S[0]:.2f} s"
    holds = figures[2] <= LATENCY_MARGIN
    return Gate.judged("latency", claim, LATENCY_MARGIN, needed, len(groups), figures, holds, detail)


def _tokens(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([float(answer.tokens) for answer in answers])


def _seconds(answers: Sequence[Answer]) -> NDArray[np.float64]:
    return np.array([answer.latency_s for answer in answers])
