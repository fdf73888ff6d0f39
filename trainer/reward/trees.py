"""Gradient-boosted trees as plain numbers: fitted by scikit-learn, kept as JSON, evaluated by numpy.

Trees and their export are all that is here; what they judge is decided elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Tree(BaseModel):
    """Node i goes to `left[i]` when its feature is at most `threshold[i]`, else to `right[i]`.

    A leaf has feature -1; `value` is what it adds.
    """

    model_config = ConfigDict(frozen=True)

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def predict(self, x_N_F: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the tree adds to each row."""
        feature, threshold = np.array(self.feature), np.array(self.threshold)
        left, right = np.array(self.left), np.array(self.right)
        rows = np.arange(len(x_N_F))
        node = np.zeros(len(x_N_F), dtype=int)
        while (inside := feature[node] >= 0).any():
            goes_left = x_N_F[rows, feature[node]] <= threshold[node]
            node = np.where(inside, np.where(goes_left, left[node], right[node]), node)
        return np.asarray(np.array(self.value)[node])


class Trees(BaseModel):
    """A sum of trees over a base value. Features have no missing values."""

    model_config = ConfigDict(frozen=True)

    base: float
    trees: tuple[Tree, ...]

    def predict(self, x_N_F: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (N,)."""
        total = np.full(len(x_N_F), self.base)
        for tree in self.trees:
            total += tree.predict(x_N_F)
        return total

    @classmethod
    def of(cls, fitted: Any) -> Trees:  # Any: scikit-learn has no types, and shows its trees only privately
        """From a fitted HistGradientBoostingRegressor without categories."""
        return cls(
            base=round(float(np.ravel(fitted._baseline_prediction)[0]), 6),
            trees=tuple(_tree(stage[0].nodes) for stage in fitted._predictors),
        )


def _tree(nodes: Any) -> Tree:  # Any: a structured array of scikit-learn's own
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=tuple(np.where(leaf, -1, nodes["feature_idx"]).tolist()),
        # Not rounded: a threshold may be the very value that a row has.
        threshold=tuple(np.where(leaf, 0.0, nodes["num_threshold"]).tolist()),
        left=tuple(nodes["left"].tolist()),
        right=tuple(nodes["right"].tolist()),
        value=tuple(round(float(value), 5) for value in np.where(leaf, nodes["value"], 0.0)),
    )
