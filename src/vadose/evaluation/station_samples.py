"""Predictions at stations, checked, and which of their station-days all models are compared on."""

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.evaluation.paired import shared_samples

WHOLE = "all"
"""Fold under which stand the scores of whole records: the days of all folds together."""
SPREAD = "predicted_std"
DIMS = ("station", "time")
Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


def common_samples(predictions: xr.Dataset) -> xr.DataArray:
    """Station-days on which all models can be compared: (station, time).

    A station-day of a fold's test part counts when it was observed and every model that knows any observed day of
    that fold has a prediction, with its standard deviation where the model gives those.

    Examples
    --------
    >>> predictions = xr.Dataset(
    ...     {
    ...         "predicted": (("model", "station", "time"), [[[0.2, np.nan, 0.3]], [[0.1, 0.1, 0.2]]]),
    ...         "observed": (("station", "time"), [[0.2, 0.2, 0.2]]),
    ...         "fold": (("station", "time"), [[0, 0, -1]]),
    ...     },
    ...     coords={"model": ["mmnet", "mlp"], "station": ["a"], "time": [0, 1, 2]},
    ...     attrs={"folds": '["2019"]'},
    ... )
    >>> common_samples(predictions).values.tolist()
    [[True, False, False]]
    """
    samples, _ = samples_of(predictions, folds_of(predictions))
    return xr.DataArray(samples.T, dims=DIMS, coords={name: predictions[name] for name in DIMS})


def folds_of(predictions: xr.Dataset) -> list[str]:
    """Names of the folds, refused when the predictions are none."""
    needed = {"predicted": {"model", *DIMS}, "observed": {*DIMS}, "fold": {*DIMS}}
    if SPREAD in predictions:
        needed[SPREAD] = needed["predicted"]
    for name, dims in needed.items():
        if name not in predictions or set(predictions[name].dims) != dims:
            found = {str(of): predictions[of].dims for of in predictions.data_vars}
            raise VadoseError(f"predictions lack {name} over {sorted(dims)}; found {found}")
    if not predictions.sizes["model"]:
        raise VadoseError("predictions of no model: give at least one along 'model'")
    folds = [str(name) for name in json.loads(predictions.attrs.get("folds", "[]"))]
    numbers = predictions.fold.values
    if not folds or len(set(folds)) < len(folds) or WHOLE in folds or numbers.min() < -1 or numbers.max() >= len(folds):
        raise VadoseError(
            f"attribute folds: {folds}, with numbers from {numbers.min()} to {numbers.max()} in 'fold'; give a JSON "
            f"list of different names, none of them {WHOLE!r}, one for each number from 0, and -1 for no fold"
        )
    return folds


def samples_of(predictions: xr.Dataset, folds: Sequence[str]) -> tuple[Mask, Mask]:
    """Whether a station-day counts (time, station), and whether a fold knows a model (fold, model)."""
    fold, observed = values_of(predictions, "fold"), values_of(predictions, "observed")
    predicted, spreads = values_of(predictions, "predicted"), spreads_of(predictions)
    samples = np.zeros(fold.shape, bool)
    known = np.ones((len(folds), len(predicted)), bool)
    for number, name in enumerate(folds):
        tested = np.isfinite(observed) & (fold == number)
        if not tested.any():
            continue
        common, most = shared_samples(predicted, spreads, np.where(tested, observed, np.nan), 1)
        if not most.any():
            raise VadoseError(f"fold {name}: no model predicts any of its {int(tested.sum())} observed station-days")
        known[number] = most > 0
        samples |= common
    return samples, known


def spreads_of(predictions: xr.Dataset) -> list[Array | None]:
    """Standard deviations of each model (time, station), None where it gives none."""
    if SPREAD not in predictions:
        return [None] * predictions.sizes["model"]
    return [of if np.isfinite(of).any() else None for of in values_of(predictions, SPREAD)]


def values_of(predictions: xr.Dataset, name: str) -> Array:
    """Values over (..., time, station)."""
    values: Array = predictions[name].transpose(..., "time", "station").values
    return values
