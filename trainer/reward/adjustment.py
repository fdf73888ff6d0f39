"""What a business's own customers add to the starter reward: a small shift of its odds, from how answers are.

Numbers and their use alone; `crowd` learns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Log-odds beyond this are as good as certain, and an infinite one cannot be shifted.
_CERTAIN = 6.0


class Adjustment(BaseModel):
    """`slope` and `offset` are for the starter's log-odds, `weight` for MANNER's numbers, scaled."""

    model_config = ConfigDict(frozen=True)

    slope: float
    offset: float
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]

    def of(self, right_N: NDArray[np.float64], manner_N_M: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance that these customers like each answer, where the starter gives `right_N`."""
        scaled = (manner_N_M - np.array(self.mean)) / np.array(self.scale)
        return sigmoid(self.slope * logit(right_N) + self.offset + scaled @ np.array(self.weight))


def logit(chance_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds, from -6 to 6."""
    low = 1.0 / (1.0 + np.exp(_CERTAIN))
    inside = np.clip(chance_N, low, 1.0 - low)
    return np.asarray(np.log(inside / (1.0 - inside)))


def sigmoid(odds_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chance of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-odds_N)))
