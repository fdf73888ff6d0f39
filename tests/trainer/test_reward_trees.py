"""Trees as numbers say what scikit-learn's say, and keep the direction that they were told to keep."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]

from trainer.reward.trees import Trees


def test_exported_trees_predict_as_the_fitted_ones_and_survive_json() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(600, 4))
    x[:, 3] = np.round(x[:, 3])  # ties, as shares and counts have them
    y = x[:, 0] * (x[:, 3] > 0) + 0.1 * random.normal(size=600)
    fitted = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=6, random_state=0).fit(x, y)
    trees = Trees.model_validate_json(Trees.of(fitted).model_dump_json())
    np.testing.assert_allclose(trees.predict(x), fitted.predict(x), atol=1e-3)


def test_no_trees_give_the_base_and_no_rows_give_none() -> None:
    trees = Trees(base=2.0, trees=())
    assert trees.predict(np.zeros((2, 3))).tolist() == [2.0, 2.0]
    assert trees.predict(np.zeros((0, 3))).shape == (0,)
