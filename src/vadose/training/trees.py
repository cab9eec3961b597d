"""Gradient-boosted trees on station-days: what every network has to beat."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from vadose.models.long_memory import trailing_means
from vadose.models.tree_walk import predict
from vadose.samples.station_days import Mask, StationDays

Array = NDArray[np.float32]


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
    limit: int | None = None,
) -> tuple[HistGradientBoostingRegressor, Array]:
    """Fit trees to the snapshot and the means of the series over the last ``windows`` days.

    Each split is chosen among ``features_per_split`` of the predictors, drawn at random (Breiman 2001): means of
    neighbouring windows and buckets tell nearly the same, and trees that must do without some of them differ more.

    Returns the regressor and its predictors of all station-days (station, time, predictor).

    References
    ----------
    Friedman (2001), doi:10.1214/aos/1013203451; Breiman (2001), doi:10.1023/A:1010933404324.
    """
    predictors = predictors_of(days, windows)
    index = np.argwhere(training & np.isfinite(days.observed))
    index = np.random.default_rng(0).permutation(index)[:limit]
    of_rows = predictors[index[:, 0], index[:, 1]]
    of_rows[:, np.isnan(of_rows).all(axis=0)] = 0.0
    regressor = HistGradientBoostingRegressor(
        max_iter=iterations,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        min_samples_leaf=samples_per_leaf,
        l2_regularization=l2,
        max_features=features_per_split,
        early_stopping=False,
        random_state=0,
    )
    return regressor.fit(of_rows, days.observed[index[:, 0], index[:, 1]]), predictors


def predictors_of(days: StationDays, windows: tuple[int, ...]) -> Array:
    """Snapshot and means of the series (station, time, predictor)."""
    known = days.series[:, : days.series.shape[1] - days.features.ends]
    means = trailing_means(torch.from_numpy(known), tuple(windows), days.shape[1]).flatten(2).numpy()
    return np.concatenate([days.snapshot, means.astype(np.float32)], axis=-1)


def estimate_trees(regressor: Any, predictors: Array, where: Mask) -> Array:
    """Moisture (station, time) of the station-days of a mask, NaN elsewhere."""
    found = np.full(where.shape, np.nan, np.float32)
    found[where] = predict(regressor, predictors[where])
    return found
