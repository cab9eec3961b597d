"""Predictions of fitted trees, equal to scikit-learn's to the last bit, in a compiled loop."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vadose.compiled import compiled, in_parts

ROWS = 256
"""Rows that go through one tree after the other together: they stay in the processor's cache."""


class Forest(NamedTuple):
    """Trees as arrays. Leaves are their own children, so that every row takes as many steps as a tree is deep.

    Attributes
    ----------
    roots, depths
        First node and number of steps of each tree.
    columns, thresholds
        What each node compares. Behind the predictors stand copies of them with -inf for NaN, for nodes that send
        unknown values to the left.
    children
        Node to the right, where the comparison fails, and to the left, of each node.
    values
        What a leaf adds.
    """

    roots: NDArray[np.int64]
    depths: NDArray[np.int64]
    columns: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    children: NDArray[np.int32]
    values: NDArray[np.float64]


def predict(regressor: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Predictions of a fitted `sklearn.ensemble.HistGradientBoostingRegressor` without categories.

    Uses as many threads as torch does.

    Parameters
    ----------
    regressor
        Fitted trees.
    rows
        Predictors (row, predictor), NaN where they are unknown.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> x = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    >>> trees = HistGradientBoostingRegressor(max_iter=5).fit(x, x[:, 0] ** 2)
    >>> bool((predict(trees, x) == trees.predict(x)).all())
    True
    """
    forest = _forest(regressor, rows.shape[1])
    found = np.full(len(rows), regressor._baseline_prediction.item())
    rows = np.ascontiguousarray(rows, np.float32)
    in_parts(lambda part: _walk(rows[part], found[part], ROWS, forest), len(rows), torch.get_num_threads())
    of_link: NDArray[np.float64] = regressor._loss.link.inverse(found)
    return of_link


def _forest(regressor: Any, width: int) -> Forest:
    """Trees of a regressor of so many predictors."""
    trees = [tree.nodes for (tree,) in regressor._predictors]
    sizes = [len(tree) for tree in trees]
    roots = np.cumsum([0, *sizes])[:-1]
    nodes, root = np.concatenate(trees), np.repeat(roots, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    # x <= threshold in double precision is x <= the next lower threshold in single precision.
    threshold = nodes["num_threshold"].astype(np.float32)
    threshold = np.where(threshold > nodes["num_threshold"], np.nextafter(threshold, np.float32(-np.inf)), threshold)
    column = np.where(leaf, 0, nodes["feature_idx"] + width * nodes["missing_go_to_left"])
    children = np.where(leaf, np.arange(len(nodes)), np.stack([nodes["right"], nodes["left"]]) + root)
    return Forest(
        roots,
        np.array([tree["depth"].max() for tree in trees]),
        column.astype(np.int32),
        threshold,
        children.T.ravel().astype(np.int32),
        np.ascontiguousarray(nodes["value"]),
    )


@compiled
def _walk(
    rows: NDArray[np.float32],
    found: NDArray[np.float64],
    together: int,
    forest: Forest,
) -> None:
    """Add the value of each row's leaf in every tree."""
    many, width = rows.shape
    block = np.empty((together, 2 * width), np.float32)
    at = np.empty(together, np.int32)
    for first in range(0, many, together):
        held = min(together, many - first)
        for i in range(held):
            for j in range(width):
                value = rows[first + i, j]
                block[i, j] = value
                block[i, width + j] = -np.inf if np.isnan(value) else value
        for tree in range(len(forest.roots)):
            for i in range(held):
                at[i] = forest.roots[tree]
            for _ in range(forest.depths[tree]):
                for i in range(held):
                    node = at[i]
                    at[i] = forest.children[2 * node + int(block[i, forest.columns[node]] <= forest.thresholds[node])]
            for i in range(held):
                found[first + i] += forest.values[at[i]]
