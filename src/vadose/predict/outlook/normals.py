"""The model's own past at places: quantiles of its moisture near days of the year, to compare days ahead with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.special import ndtri

from vadose.predict.outlook import chains
from vadose.predict.outlook.climatology import LEVELS, WINDOW, day_of_year, local_climatology
from vadose.predict.outlook.moisture import LAYERS, Mixture
from vadose.predict.outlook.percentiles import THRESHOLDS
from vadose.samples.land_surface import Climate

Array = NDArray[np.floating[Any]]
EVERY = 8
"""Days between those of the year whose quantiles are made; those between are interpolated."""
NODES = np.arange(1, 367, EVERY)
UNIT = 1.5e-5
"""Of moisture, as quantiles are kept in two bytes [m3 m-3]."""
_GOLDEN = 0.6180339887498949


def climate_of(weather: xr.Dataset) -> Climate:
    """Seasonal course of the weather of 1991-2020, so that what is known of a place stays as the days go by."""
    return Climate.of(weather.sel(time=slice(*map(str, chains.REFERENCE))))


@dataclass(frozen=True)
class Normals:
    r"""Quantiles of places in 1991-2020, of all days within 15 days of every 8th day of the year.

    An error of a place's level is in the past and in the days ahead, so it cancels in percentiles and classes; of the
    deviation :math:`\sigma` only a share :math:`c` counts there, the error of the changes over the place's usual
    deviation.

    Attributes
    ----------
    quantile
        Of the model's mean (node, level, layer, place) [`UNIT`], at `levels`.
    disturbed
        At the thresholds of drought, if each past day had an error of its own :math:`c\,\sigma`
        (node, threshold, layer, place) [`UNIT`].
    count
        Days behind them (node,).
    changing
        The share c (place, layer).
    """

    quantile: NDArray[np.uint16]
    disturbed: NDArray[np.uint16]
    count: NDArray[np.int16]
    changing: Array

    levels = np.array([0.0, *LEVELS, 1.0])

    @classmethod
    def of(cls, past: Mixture, changing: Sequence[float]) -> "Normals":
        """Of estimates that hold the years; ``changing`` is the error of each layer's changes [m3 m-3]."""
        years = chains.REFERENCE
        inside = (past.days.year >= years[0]) & (past.days.year <= years[1])
        mean, deviation = (np.moveaxis(of[:, inside], 1, 0) for of in (past.mean, past.deviation))
        usual = np.sqrt(np.mean(deviation**2, axis=0))
        share = np.minimum(np.asarray(changing, np.float32) / usual, 1.0).astype(np.float32)
        # Evenly spread errors, the same at all places, so that maps are smooth; within any window they are normal.
        error = ndtri((0.5 + _GOLDEN * np.arange(len(mean))) % 1.0).astype(np.float32)[:, None, None]
        # Both in one go: days near a day of the year are looked up once.
        values = np.concatenate([mean, np.maximum(mean + share * deviation * error, 0.0)], axis=2).astype(np.float32)
        series = xr.DataArray(values, {"time": past.days[inside]}, ("time", "y", "x"))
        first, last = f"{years[0]}-01-01", f"{years[1]}-12-31"
        made = local_climatology(series, first=first, last=last, window=WINDOW, days=NODES)
        made = made.compute(scheduler="synchronous").transpose("dayofyear", "level", "x", "y")
        kept = np.clip(np.rint(made["quantile"].values / UNIT), 0, 65535).astype(np.uint16)
        at = [int(np.argmin(np.abs(cls.levels - threshold / 100))) for threshold in THRESHOLDS]
        number = len(LAYERS)
        return cls(kept[:, :, :number], kept[:, at, number:], made["count"].values[:, 0, 0].astype(np.int16), share)

    def near(self, days: pd.DatetimeIndex) -> tuple[Array, Array, NDArray[np.int16]]:
        """``quantile`` and ``disturbed`` (place, layer, day, level) [m3 m-3] and ``count`` (day,) of dates."""
        low, after = np.divmod(day_of_year(days.values) - 1, EVERY)
        width = np.append(np.diff(NODES), 367 - NODES[-1])[low]
        high, share = (low + 1) % len(NODES), (after / width).astype(np.float32)[:, None, None, None]

        def of(kept: NDArray[np.uint16]) -> Array:
            between = (1 - share) * kept[low] + share * kept[high]
            return np.ascontiguousarray(np.transpose(UNIT * between, (3, 2, 0, 1)), np.float32)

        return of(self.quantile), of(self.disturbed), self.count[low]
