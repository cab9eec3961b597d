"""Gradient-boosted trees on station-days: what every network has to beat."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.models.long_memory import trailing_means
from vadose.models.tree_walk import predict
from vadose.samples.folds import whole_stations
from vadose.samples.station_days import Mask, StationDays

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

HELD_OUT = 5
"""The squared error is learnt at every so many of the stations, by trees that have not learnt from these."""
SMALLEST_VARIANCE = 1e-8
Array = NDArray[np.float32]


class StationTrees(NamedTuple):
    """Fitted trees of the moisture and, where asked for, of its squared error, and the predictors of both."""

    moisture: "HistGradientBoostingRegressor"
    variance: "HistGradientBoostingRegressor | None"
    predictors: Array


def fit_trees(
    days: StationDays,
    training: Mask,
    *,
    windows: tuple[int, ...] = (1, 3, 7, 10),
    iterations: int = 300,
    learning_rate: float = 0.06,
    leaves: int = 63,
    samples_per_leaf: int = 60,
    l2: float = 1.0,
    features_per_split: float = 1.0,
    gaussian: bool = False,
    limit: int | None = None,
) -> StationTrees:
    """Fit trees to the snapshot and the means of the series over the last ``windows`` days.

    Each split is chosen among ``features_per_split`` of the predictors, drawn at random (Breiman 2001): means of
    neighbouring windows and buckets tell nearly the same, and trees that must do without some of them differ more.
    With ``gaussian`` further trees learn the squared error, by the gamma deviance, at a fifth of the stations, of trees
    that learn from the others alone: it is that of places not learnt from.

    Raises
    ------
    VadoseError
        With ``gaussian``, when there are fewer than five stations to learn from.

    References
    ----------
    Friedman (2001), doi:10.1214/aos/1013203451; Breiman (2001), doi:10.1023/A:1010933404324.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    predictors = predictors_of(days, windows)
    known = training & np.isfinite(days.observed)
    index = np.argwhere(known)
    index = np.random.default_rng(0).permutation(index)[:limit]
    of_rows, observed = predictors[index[:, 0], index[:, 1]], days.observed[index[:, 0], index[:, 1]]
    of_rows[:, np.isnan(of_rows).all(axis=0)] = 0.0
    trees = partial(
        HistGradientBoostingRegressor,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=samples_per_leaf,
        l2_regularization=l2,
        max_features=features_per_split,
        early_stopping=False,
        random_state=0,
    )
    moisture = trees(max_iter=iterations).fit(of_rows, observed)
    if not gaussian:
        return StationTrees(moisture, None, predictors)
    if (stations := int(known.any(axis=1).sum())) < HELD_OUT:
        raise VadoseError(
            f"trees: the standard deviation is learnt at stations held out; expected {HELD_OUT} stations or more to "
            f"learn from, found {stations}; leave out 'gaussian'"
        )
    held = whole_stations(known, 1 / HELD_OUT, seed=0)[1][index[:, 0], index[:, 1]]
    others = trees(max_iter=iterations).fit(of_rows[~held], observed[~held])
    squares = np.maximum((observed[held] - predict(others, of_rows[held])) ** 2, SMALLEST_VARIANCE)
    variance = trees(max_iter=max(1, iterations // 4), loss="gamma").fit(of_rows[held], squares)
    return StationTrees(moisture, variance, predictors)


def predictors_of(days: StationDays, windows: tuple[int, ...]) -> Array:
    """Snapshot and means of the series (station, time, predictor)."""
    known = days.series[:, : days.series.shape[1] - days.features.ends]
    means = trailing_means(torch.from_numpy(known), tuple(windows), days.shape[1]).flatten(2).numpy()
    return np.concatenate([days.snapshot, means.astype(np.float32)], axis=-1)


def estimate_trees(trees: StationTrees, where: Mask) -> tuple[Array, Array]:
    """Mean and standard deviation (station, time) of the station-days of a mask, NaN elsewhere or where not learnt."""
    mean, std = (np.full(where.shape, np.nan, np.float32) for _ in range(2))
    mean[where] = predict(trees.moisture, trees.predictors[where])
    if trees.variance is not None:
        std[where] = np.sqrt(predict(trees.variance, trees.predictors[where]))
    return mean, std
