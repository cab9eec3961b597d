"""The record of a cube, read into arrays."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door.place import Place, forecasts_at
from vadose.door.values import MARGIN, Outside, checked_by_day
from vadose.errors import VadoseError
from vadose.features.normals import HARMONIC, normal_of
from vadose.models.inputs import NORMAL, Channels
from vadose.parallel.memory import Arrays

_READ_AT_ONCE = 1 << 29
"""Bytes of a cube read at once."""
Floats = NDArray[np.float32]


def check_predictors(cube: xr.Dataset, channels: Channels, others: Iterable[str]) -> None:
    """Refuse a cube that lacks a predictor or another variable, or holds one of other dimensions or of days ahead."""
    names = {*channels.history, *channels.static, *channels.future, *others, "mask"}
    wanted = {name.removesuffix(NORMAL) + HARMONIC if name.endswith(NORMAL) else name for name in names}
    if missing := sorted(wanted - set(map(str, cube.variables))):
        raise VadoseError(f"{_name_of(cube)}: no variable {missing}; found {sorted(map(str, cube.data_vars))}")
    inside = [name for name in channels.history if name in cube]
    if (ahead := seen_ahead(cube, channels)) and cube.attrs.get("hindcast") != "true":
        raise VadoseError(
            f"{ahead}: filled from the days before and after, which a forecast cannot see; fill in the causal mode"
        )
    if channels.foreseen:
        raise VadoseError(f"{list(channels.foreseen)} among the future: moisture of the days to forecast")
    for given, dims in ((channels.static, ("y", "x")), ((*inside, *channels.future), ("time", "y", "x"))):
        if wrong := [name for name in given if name in cube and set(cube[name].dims) != set(dims)]:
            found = ", ".join(map(str, cube[wrong[0]].dims))
            raise VadoseError(f"{wrong[0]}: dimensions are ({found}); expected ({', '.join(dims)}) of this predictor")


def seen_ahead(cube: xr.Dataset, channels: Channels) -> list[str]:
    """Predictors of the cube whose gaps were filled from the days after, too."""
    return [name for name in channels.history if name in cube and cube[name].attrs.get("causal") == "false"]


@dataclass
class Record:
    """Reads variables of a daily cube into arrays (day, y, x, channel).

    Attributes
    ----------
    cube
        All of its days in order.
    place
        Its cells.
    room
        What the arrays are made in.
    by_cell
        Whether each cell's days lie side by side, else each day's cells. A cell's series strewn over the whole record
        would be a page of memory, or a look at the disk, for each day.
    outside
        Counts of values outside the valid range, which are missing.
    """

    cube: xr.Dataset
    place: Place
    room: Arrays
    by_cell: bool
    outside: Outside = field(default_factory=Outside)

    def __post_init__(self) -> None:
        self.days = self.cube.time.values.astype("datetime64[D]").astype(np.int64)
        self.shape = self.cube.sizes["y"], self.cube.sizes["x"]

    def daily(self, names: tuple[str, ...], before: int, after: int) -> Floats:
        """Variables (before + days + after, y, x, channel), NaN on the days off the record."""
        many = len(self.days)
        days = np.arange(self.days[0] - before, self.days[0] + many + after)
        stacked = self._array(len(days), len(names))
        for part in blocks(len(days), 4 * len(names) * self.shape[0] * self.shape[1]):
            first = part.start - before
            start = max(first, 0)
            stop = max(min(part.stop - before, many), start)
            read = np.full((part.stop - part.start, len(names), *self.shape), np.nan, np.float32)
            for k, name in enumerate(names):
                if name.endswith(NORMAL):
                    read[:, k] = normal_of(self.cube[name.removesuffix(NORMAL) + HARMONIC].values, days[part])
                else:
                    known = self.cube[name].isel(time=slice(start, stop)).transpose("time", "y", "x").values
                    read[start - first : stop - first, k] = self._checked(known, name, self.days[start:stop])
            stacked[part] = np.moveaxis(read, 1, -1)
        return stacked

    def fixed(self, names: tuple[str, ...]) -> Floats:
        """Variables (1, y, x, channel)."""
        stacked = np.full((1, *self.shape, len(names)), np.nan, np.float32)
        for k, name in enumerate(names):
            stacked[..., k] = self._checked(self.cube[name].transpose("y", "x").values[None], name, [None])
        return stacked

    def above(self, stores: Mapping[str, xr.Dataset], channels: Channels) -> Floats | None:
        """Forecasts of the layers above (t0, y, x, lead, layer)."""
        if set(stores) != set(channels.above):
            raise VadoseError(f"forecasts of the layers {sorted(stores)} above; wanted are {channels.above}")
        if not stores:
            return None
        stacked = self._array(len(self.days), len(channels.leads), len(stores))
        for k, name in enumerate(channels.above):
            place = f"the forecast of {name}"
            store = forecasts_at(stores[name], self.place, channels.leads, place)
            issued = pd.Index(store.init_time.values.astype("datetime64[D]").astype(np.int64))
            for part in blocks(len(self.days), 4 * len(channels.leads) * self.shape[0] * self.shape[1]):
                day = issued.get_indexer(self.days[part])
                read = np.full((len(day), *self.shape, len(channels.leads)), np.nan, np.float32)
                known = store.soil_moisture.isel(init_time=day[day >= 0])
                read[day >= 0] = self._checked(
                    known.transpose("init_time", "y", "x", "lead_time").values,
                    "soil_moisture",
                    self.days[part][day >= 0],
                    place,
                    MARGIN,
                )
                stacked[part, ..., k] = read
        return stacked

    def _checked(
        self,
        values: NDArray[np.floating],
        name: str,
        days: Iterable[int | None],
        place: str | None = None,
        margin: float = 0.0,
    ) -> NDArray[np.floating]:
        """Values (day, ...) as of `vadose.door.values.checked_by_day`; what is outside counts once, however often
        read."""
        found, outside = checked_by_day(values, name, place or _name_of(self.cube), days, margin)
        self.outside |= outside
        return found

    def _array(self, days: int, *channels: int) -> Floats:
        """Room for (day, y, x, *channels), laid out as it is read."""
        if not self.by_cell:
            return self.room.empty((days, *self.shape, *channels))
        return np.moveaxis(self.room.empty((*self.shape, days, *channels)), 2, 0)


def blocks(days: int, nbytes: int) -> Iterator[slice]:
    """Days, each of so many bytes, in blocks that are read at once."""
    step = max(1, _READ_AT_ONCE // nbytes)
    return (slice(start, min(start + step, days)) for start in range(0, days, step))


def _name_of(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source", "the cube"))
