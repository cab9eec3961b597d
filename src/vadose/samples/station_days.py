"""Station-days of a table as tensors: single days, and sequences of a station."""

from collections.abc import Iterator

import numpy as np
import torch
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from vadose.errors import VadoseError
from vadose.features.derived import KEPT, derive
from vadose.models.mmnet import Features, Fine
from vadose.samples.normals import station_normals

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
YEAR = 365.2425
MADE = ("latitude", "longitude", "day_of_year", "season_sine", "season_cosine")
"""Features that are made of place and day."""
NORMAL, DEVIATION = "soil_moisture_normal", "soil_moisture_deviation"
"""A station's own normal of the day and the deviation from it, of the days learnt from; unknown at other stations."""


class StationDays:
    """Features and moisture of a table, in memory, with what is made of place and day.

    Parameters
    ----------
    table
        Dataset over (station, time), consecutive days; a variable for each feature, daily or fixed.
    features
        Names of the features, among the table's variables, `MADE`, `NORMAL`, `DEVIATION` and what can be
        derived of the table's, such as ``bucket_25mm`` (`vadose.features.derived`).
    learnt
        Where moisture is learnt from (station, time), for the latter two; everywhere when left out.

    Raises
    ------
    VadoseError
        For a feature the table lacks, or days that do not follow each other.
    """

    def __init__(self, table: xr.Dataset, features: Features, learnt: Mask | None = None) -> None:
        table = derive(table, (*features.snapshot, *features.series), KEPT)
        wanted = {*features.snapshot, *features.series} - {*MADE, NORMAL, DEVIATION}
        if missing := sorted(wanted - set(map(str, table.data_vars)) - set(map(str, table.coords))):
            raise VadoseError(f"the table has no feature {missing}; found {sorted(map(str, table.data_vars))}")
        self.days = table.time.values.astype("datetime64[D]").astype(np.int64)
        if (np.diff(self.days) != 1).any():
            raise VadoseError("the table's days do not follow each other; build it again without gaps")
        self.features = features
        self.observed: Array = table.soil_moisture.transpose("station", "time").values.astype(np.float32)
        self.shape = self.observed.shape
        self.snapshot = np.stack([self._of(table, name, learnt) for name in features.snapshot], axis=-1)
        # Day t of the table is position t + before, so that a series of the first day has its NaN.
        self.before = features.days + features.ends - 1
        series = np.full((self.shape[0], self.before + self.shape[1], len(features.series)), np.nan, np.float32)
        for k, name in enumerate(features.series):
            series[:, self.before :, k] = self._of(table, name, learnt)
        self.series = series
        self._windows = sliding_window_view(series, features.days, axis=1)

    def _of(self, table: xr.Dataset, name: str, learnt: Mask | None) -> Array:
        angle = 2 * np.pi * self.days / YEAR
        if name == "season_sine":
            values = np.sin(angle)[None]
        elif name == "season_cosine":
            values = np.cos(angle)[None]
        elif name == "day_of_year":
            values = xr.DataArray(table.time).dt.dayofyear.values[None]
        elif name in ("latitude", "longitude"):
            values = table[name[:3]].values[:, None]
        elif name in (NORMAL, DEVIATION):
            known = np.where(learnt, self.observed, np.float32(np.nan)) if learnt is not None else self.observed
            values = station_normals(known, self.days)[name == DEVIATION]
        else:
            values = table[name].values if table[name].dims == ("time",) else _by_station(table[name])
        return np.broadcast_to(values, self.shape).astype(np.float32)

    def fine(self, index: NDArray[np.int64]) -> Fine:
        """Features of single days, an index (n, 2) of station and day."""
        station, day = index.T
        series = self._windows[station, day].swapaxes(1, 2)
        return Fine(torch.from_numpy(self.snapshot[station, day]), torch.from_numpy(series.copy()))

    def batches(
        self, of: Mask, *, size: int, limit: int | None = None, generator: np.random.Generator | None = None
    ) -> Iterator[tuple[Fine, Tensor]]:
        """Observed days of a mask (station, time), at most ``limit``; in random order with a generator."""
        index = self._observed(of)
        if generator is not None:
            index = generator.permutation(index)[:limit]
        for start in range(0, len(index), size):
            part = index[start : start + size]
            yield self.fine(part), torch.from_numpy(self.observed[part[:, 0], part[:, 1]])

    def sequences(
        self, of: Mask, *, size: int, days: int, limit: int | None = None, generator: np.random.Generator | None = None
    ) -> Iterator[tuple[Fine, Tensor]]:
        """Sequences of stations and their moisture (N, D), NaN off the mask.

        With a generator as many of random ends as make each day come once on average, at most ``limit``; else
        every day once. Sequences without an observation are left out.
        """
        index = self._observed(of)
        stations = np.unique(index[:, 0])
        first, last = index[:, 1].min(), index[:, 1].max()
        ends = np.arange(last, first - 1, -days)
        station, end = (part.ravel() for part in np.meshgrid(stations, ends, indexing="ij"))
        if generator is not None:
            station = generator.permutation(station)
            end = generator.integers(min(first + days // 2, last), last + 1, len(station))
        count = np.zeros((self.shape[0], self.shape[1] + 1), np.int64)
        np.cumsum(of & np.isfinite(self.observed), axis=1, out=count[:, 1:])
        some = count[station, end + 1] > count[station, np.maximum(end + 1 - days, 0)]
        station, end = station[some], end[some]
        if generator is not None:
            station, end = station[:limit], end[:limit]
        for start in range(0, len(station), size):
            part, of_part = station[start : start + size], end[start : start + size]
            position = of_part[:, None] + np.arange(1 - days, 1)
            here = (part[:, None], np.maximum(position, 0))
            known = (position >= 0) & of[here]
            yield self.sequence(part, of_part, days), torch.from_numpy(np.where(known, self.observed[here], np.nan))

    def sequence(self, station: NDArray[np.int64], end: NDArray[np.int64], days: int) -> Fine:
        """Features of the ``days`` that end with position ``end``, of each station."""
        position = end[:, None] + np.arange(1 - days, 1)
        snapshot = self.snapshot[station[:, None], np.maximum(position, 0)]
        reach = end[:, None] + np.arange(2 - days - self.features.days, 1) + self.before - self.features.ends
        series = self.series[station[:, None], np.maximum(reach, 0)]
        series = np.where((reach < 0)[..., None], np.float32(np.nan), series)
        return Fine(torch.from_numpy(snapshot), torch.from_numpy(series))

    def _observed(self, of: Mask) -> NDArray[np.int64]:
        index = np.argwhere(of & np.isfinite(self.observed))
        if not len(index):
            raise VadoseError("no observation among the selected station-days")
        return index


def _by_station(values: xr.DataArray) -> Array:
    if "time" in values.dims:
        array: Array = values.transpose("station", "time").values
        return array
    fixed: Array = values.values[:, None]
    return fixed
