"""The cluster bootstrap: how far a figure would move if other businesses had asked.

Clusters are resampled whole, since answers about one business rise and fall together (Cameron, Gelbach and
Miller 2008). Pure; what an interval proves is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

if TYPE_CHECKING:
    from numpy.typing import NDArray

# An estimate with the ends of its interval.
Spread = tuple[float, float, float]

# Fewest clusters that tell an interval. Resamples cannot lie beyond the least and the greatest cluster, so of
# two equal models the second is found better in a quarter of tries by two clusters, by three in an eighth.
FEWEST = 6


def clusters(names: Sequence[str], own: Sequence[str]) -> list[str]:
    """The clusters of rows: `names` (businesses), or where those are fewer than FEWEST each row's `own`.

    So few businesses are no draw from many others but all that are served: what is drawn then are questions.
    """
    return list(names if len(set(names)) >= FEWEST else own)


class Bootstrap:
    """Resamples of one set of clusters, the same for every figure of it.

    Figures come with a leading axis S of 1 + resamples: the sample itself first, then each resample.
    """

    def __init__(self, cluster_N: NDArray[np.intp], resamples: int, seed: int) -> None:
        """`cluster_N` numbers the cluster of each row, from 0 on without gaps."""
        self._cluster_N = cluster_N
        self._count = int(cluster_N.max()) + 1
        rows_G = np.bincount(cluster_N)
        self._effective = float(rows_G.sum() ** 2 / (rows_G**2).sum())
        self._draws_R_G = np.random.default_rng(seed).integers(self._count, size=(resamples, self._count))

    @classmethod
    def named(cls, clusters: Sequence[str], resamples: int, seed: int) -> Bootstrap:
        """Clusters by name, at least one; the order of first appearance numbers them."""
        numbers: dict[str, int] = {}
        return cls(np.array([numbers.setdefault(c, len(numbers)) for c in clusters]), resamples, seed)

    def sums(
        self, value_M_K: NDArray[np.float64], row_M: NDArray[np.intp] | None = None
    ) -> NDArray[np.float64]:
        """Sums of K columns, shape (S, K). `row_M` names the row of each value; default: its own."""
        owner_M = self._cluster_N if row_M is None else self._cluster_N[row_M]
        total_G_K = np.zeros((self._count, value_M_K.shape[1]))
        np.add.at(total_G_K, owner_M, value_M_K)
        drawn = [column_G[self._draws_R_G].sum(axis=1) for column_G in total_G_K.T]
        return np.vstack([total_G_K.sum(axis=0), np.column_stack(drawn)])

    def mean(
        self,
        score_M: NDArray[np.float64],
        alpha: float,
        row_M: NDArray[np.intp] | None = None,
        weight_M: NDArray[np.float64] | None = None,
    ) -> Spread:
        """The weighted mean of scores."""
        weight = np.ones(len(score_M)) if weight_M is None else weight_M
        sums_S_2 = self.sums(np.column_stack([score_M * weight, weight]), row_M)
        return self.spread(sums_S_2[:, 0] / np.maximum(sums_S_2[:, 1], 1e-12), alpha)

    def spread(self, figure_S: NDArray[np.float64], alpha: float) -> Spread:
        """The estimate with its percentile interval, made wider where clusters are few.

        Resamples of few clusters differ less than other clusters would: the expanded percentile interval
        (Hesterberg 2015) mends that as Student's t does. Where most rows are of some clusters, its degrees of
        freedom are their effective number (Carter, Schnepel and Steigerwald 2017). NaN are left out.
        """
        if self._count > 1:
            freedom = min(self._count - 1, self._effective)
            wide = stdtrit(freedom, alpha) * np.sqrt(self._count / (self._count - 1))
            alpha = float(ndtr(wide))
        low, high = np.nanquantile(figure_S[1:], [alpha, 1 - alpha])
        return float(figure_S[0]), float(low), float(high)

    def medians(self, value_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """Medians, shape (S,): a row counts as often as its cluster was drawn."""
        order = np.argsort(value_N, kind="stable")
        upto_S_N = np.cumsum(self._times[:, self._cluster_N[order]], axis=1)
        total_S = upto_S_N[:, -1:]
        # The middle two rows, which are one when the number of rows is odd.
        lower = (upto_S_N < np.ceil(total_S / 2)).sum(axis=1)
        upper = (upto_S_N < np.floor(total_S / 2) + 1).sum(axis=1)
        return np.asarray((value_N[order][lower] + value_N[order][upper]) / 2)

    def of(
        self, statistic: Callable[[NDArray[np.intp]], float], resamples: int | None = None
    ) -> NDArray[np.float64]:
        """Any statistic of rows, NaN where they give none, shape (S,). Each is worked out anew: take few."""
        rows = [np.flatnonzero(self._cluster_N == cluster) for cluster in range(self._count)]
        drawn = [
            statistic(np.concatenate([rows[cluster] for cluster in draw]))
            for draw in self._draws_R_G[:resamples]
        ]
        return np.array([statistic(np.arange(len(self._cluster_N))), *drawn])

    @cached_property
    def _times(self) -> NDArray[np.float64]:
        """How often each cluster counts, shape (S, G)."""
        places = self._draws_R_G + np.arange(len(self._draws_R_G))[:, None] * self._count
        times = np.bincount(places.ravel(), minlength=places.size).reshape(places.shape)
        return np.vstack([np.ones(self._count), times])
