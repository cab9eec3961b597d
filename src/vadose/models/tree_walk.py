"""Predictions of fitted trees, equal to scikit-learn's to the last bit, in a compiled loop."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vadose.compiled import compiled, in_parts

ROWS = 256
"""Rows that go through one tree after the other together: they stay in the processor's cache."""
WORD = 32
"""Leaves whose places are the bits of one word."""


class Forest(NamedTuple):
    """Trees as what each comparison that fails rules out: the leaves to its left.

    The first leaf that none rules out is the row's. Rows are compared side by side, with nothing to look up on the way.
    Lucchese et al. (2015), doi:10.1145/2766462.2767733.

    Attributes
    ----------
    columns, thresholds, kept
        What each comparison compares, and the bits of the leaves that stay if it fails. Behind the predictors stand
        copies of them with -inf for NaN, for nodes that send unknown values to the left.
    ends
        Where the comparisons of each word end; all words of a tree follow each other, the last comes first.
    leaves
        The first leaf of each word.
    whole
        Whether a word is the first of its tree.
    values
        What each leaf adds.
    """

    columns: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    kept: NDArray[np.uint32]
    ends: NDArray[np.int64]
    leaves: NDArray[np.int32]
    whole: NDArray[np.bool_]
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
    nodes, root = np.concatenate(trees), np.repeat(np.cumsum([0, *sizes])[:-1], sizes)
    # Nodes come before what is to their left, and that before what is to their right: so leaves lie from left to right.
    leaf = nodes["is_leaf"].astype(bool)
    before = np.cumsum(leaf) - leaf
    words = np.array([-(-int(tree["is_leaf"].sum()) // WORD) for tree in trees])
    end = np.repeat(np.cumsum(words), sizes)  # words of a tree are counted from its last
    inner = nodes[~leaf]
    first, last = (before[inner[side] + root[~leaf]] - before[root[~leaf]] for side in ("left", "right"))
    many = (last - 1) // WORD - first // WORD + 1
    at = np.repeat(np.arange(len(inner)), many)
    word = first[at] // WORD + np.arange(len(at)) - np.repeat(np.cumsum(many) - many, many)
    low, high = (np.clip(of[at] - WORD * word, 0, WORD).astype(np.uint64) for of in (first, last))
    place = end[~leaf][at] - 1 - word
    order = np.argsort(place, kind="stable")
    inner = inner[at[order]]
    # x <= threshold in double precision is x <= the next lower threshold in single precision.
    threshold = inner["num_threshold"].astype(np.float32)
    threshold = np.where(threshold > inner["num_threshold"], np.nextafter(threshold, np.float32(-np.inf)), threshold)
    one, total = np.uint64(1), int(words.sum())
    from_last = np.repeat(np.cumsum(words), words) - 1 - np.arange(total)
    return Forest(
        (inner["feature_idx"] + width * inner["missing_go_to_left"]).astype(np.int32),
        threshold,
        (~((one << high) - (one << low))[order]).astype(np.uint32),
        np.cumsum(np.bincount(place, minlength=total)),
        (np.repeat(before[np.cumsum([0, *sizes])[:-1]], words) + WORD * from_last).astype(np.int32),
        from_last == 0,
        nodes["value"][leaf],
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
    block = np.zeros((2 * width, together), np.float32)
    left, at = np.empty(together, np.uint32), np.empty(together, np.int32)
    lowest = np.empty(together, np.float32)
    exponent = lowest.view(np.int32)
    for start in range(0, many, together):
        held = min(together, many - start)
        for i in range(held):
            for j in range(width):
                value = rows[start + i, j]
                block[j, i] = value
                block[width + j, i] = -np.inf if np.isnan(value) else value
        done = 0
        for word in range(len(forest.ends)):
            left[:] = 0xFFFFFFFF
            for k in range(done, forest.ends[word]):
                column, threshold, kept = block[forest.columns[k]], forest.thresholds[k], forest.kept[k]
                for i in range(together):
                    left[i] = left[i] if column[i] <= threshold else left[i] & kept
            done = forest.ends[word]
            for i in range(together):
                lowest[i] = np.float32(np.uint32(left[i] & (~left[i] + 1)))  # a power of two, or zero
            for i in range(together):
                at[i] = forest.leaves[word] + (exponent[i] >> 23) - 127 if exponent[i] else at[i]
            if forest.whole[word]:
                for i in range(held):
                    found[start + i] += forest.values[at[i]]
