"""Features of the pixels of a map: fine rasters by windows, coarse fields by the nearest cell."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from vadose.door.values import MARGIN, Outside, checked_by_day
from vadose.errors import VadoseError
from vadose.features.derived import can_be_made, derive, derived, made_of
from vadose.grid import Grid, ease_grid, grid_of
from vadose.models.mmnet import Features
from vadose.samples.station_days import MADE, YEAR

Floats = NDArray[np.floating]
IntArray = NDArray[np.int64]


class MapFeatures:
    """All that networks are given on the pixels of a map, read by days and windows.

    A snapshot feature comes from the first data set that holds it, or what it is derived from pixel by pixel
    (`vadose.features.derived`), the fine one before the coarse ones; the series come from coarse ones alone, whose
    values of all days under the map are read at once and kept. Buckets and sums of rain that no data set holds are
    made by the first with precipitation, from its first day on: give it some months before the first day mapped. Of
    days after the issue of a forecast among the coarse fields (attribute ``init_time``) daily features of ``fine``
    are those of that day, grown older: what satellites saw later was not known.
    Nearest cells are found once: rows and columns apart, for every axis is of one latitude or longitude, or of
    one EASE-Grid 2.0.

    Parameters
    ----------
    fine
        (y, x) and (time, y, x) on a nested EASE-Grid 2.0; ``mask`` (y, x) where only a part is to be mapped.
    coarse
        (time, y, x) on nested grids, or (time, lat, lon).
    wanted
        Features of each network.
    days
        Days that are mapped.

    Raises
    ------
    VadoseError
        When a feature or day is missing, grids do not nest, or a coarse field does not cover the map; more values
        than single ones, which are missing, lie outside the valid range (`vadose.door.values.checked`), here or when a
        window is read.
    """

    def __init__(
        self, fine: xr.Dataset, coarse: Sequence[xr.Dataset], wanted: Sequence[Features], days: pd.DatetimeIndex
    ) -> None:
        self.grid, self.fine, self.days = _fine_grid(fine), fine, days
        self.outside = Outside()
        """Number of values of coarse fields outside their valid range, by name and day."""
        self._fine_place = str(fine.encoding.get("source", "fine features"))
        self.names = list(dict.fromkeys(name for features in wanted for name in features.snapshot))
        self.series_names = list(dict.fromkeys(name for features in wanted for name in features.series))
        rows = np.arange(self.grid.shape[0])
        columns = np.arange(self.grid.shape[1])
        self.lat, self.lon = self.grid.latlon(rows, 0)[0], self.grid.latlon(0, columns)[1]
        self._coarse = [_under(self, data, number) for number, data in enumerate(coarse, 1)]
        issued = [pd.Timestamp(data.attrs["init_time"]) for data in coarse if "init_time" in data.attrs]
        self._seen = days.where(days <= min(issued), min(issued)) if issued else days
        self._derive_days()
        of_fine = [name for name in self.names if name not in MADE and can_be_made(name, fine, ("pixel",))]
        self._inputs = {name: _inputs(name, fine) for name in of_fine}
        self._fine_day = self._day_positions()
        before = [days - pd.Timedelta(days=k) for f in wanted for k in range(f.ends, f.ends + f.days)]
        self._history = pd.DatetimeIndex(np.unique(np.concatenate(before)))
        self._series = {name: self._loaded(name, self._history, "series") for name in self.series_names}
        self._snapshot = {
            name: self._loaded(name, days, "snapshot")
            for name in self.names
            if name not in MADE and name not in self._inputs
        }
        self.own = [k for k, name in enumerate(self.names) if name in self._inputs]
        """Positions of the snapshot features that are of the fine data set."""

    def snapshot(self, day: int, rows: slice, columns: slice) -> tuple[NDArray[np.float32], Outside]:
        """Snapshot features (S, row, column) of a window on the ``day``-th day, NaN where missing.

        And how many values of the fine ones lay outside their valid range.
        """
        outside = Outside()
        found = np.empty((len(self.names), rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for values, name in zip(found, self.names, strict=True):
            if name in MADE:
                values[...] = self._made(name, day, rows, columns)
            elif name in self._snapshot:
                source, field = self._snapshot[name]
                of_day = field[day] if field.ndim == 3 else field
                values[...] = of_day[np.ix_(source.rows[rows], source.columns[columns])]
            else:
                window = xr.Dataset()
                for one in self._inputs[name]:
                    window[one], more = self._of_fine(one, day, rows, columns)
                    outside |= more
                values[...] = derive(window, [name], ("pixel",))[name].values
        return found, outside

    def _of_fine(self, name: str, day: int, rows: slice, columns: slice) -> tuple[xr.Variable, Outside]:
        window = self.fine[name].isel(y=rows, x=columns)
        daily = "time" in window.dims
        window = window.isel(time=self._fine_day[day]) if daily else window
        on = [self._seen[day].toordinal() if daily else None]
        (values,), outside = checked_by_day(window.transpose("y", "x").values[None], name, self._fine_place, on)
        if name.endswith("_age") and daily:
            values = values + (self.days[day] - self._seen[day]).days
        return xr.Variable(("y", "x"), values), outside

    def inside(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Whether a pixel is to be mapped (row, column), by the mask of the fine data set."""
        if "mask" not in self.fine:
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), bool)
        return self.fine["mask"].isel(y=rows, x=columns).transpose("y", "x").values.astype(bool)

    def histories(
        self, features: Features, day: int, rows: slice, columns: slice
    ) -> tuple[NDArray[np.float32], IntArray]:
        """The distinct histories (K, T, C) of a window, and which of them each pixel has (row, column).

        Pixels share a history where they have the same nearest cell of every field. Fields lie on axes of rows
        and columns, so that each kind of row and kind of column makes one.
        """
        fields = [self._series[name] for name in features.series]
        sources = list(dict.fromkeys(source for source, _ in fields))
        kinds_of_rows, row = _kinds([source.rows[rows] for source in sources], rows)
        kinds_of_columns, column = _kinds([source.columns[columns] for source in sources], columns)
        last = self._history.get_loc(self.days[day] - pd.Timedelta(days=features.ends))
        assert isinstance(last, int)
        span = slice(last - features.days + 1, last + 1)
        shape = (features.days, len(fields), kinds_of_rows.shape[1], kinds_of_columns.shape[1])
        series = np.empty(shape, np.float32)
        for k, (source, field) in enumerate(fields):
            at = sources.index(source)
            series[:, k] = field[span][:, kinds_of_rows[at][:, None], kinds_of_columns[at]]
        which = row[:, None] * shape[3] + column
        return series.reshape(*shape[:2], -1).transpose(2, 0, 1), which

    def _derive_days(self) -> None:
        """Add to coarse fields what is made of their earlier days, and that no data set holds."""
        held = [self.fine, *(source.data for source in self._coarse)]
        names = [name for name in (*self.names, *self.series_names) if derived(name, ("days",))]
        wanted = [name for name in names if not any(name in data for data in held)]
        for number, source in enumerate(self._coarse):
            own = [name for name in wanted if can_be_made(name, source.data, ("days",))]
            if not own:
                continue
            days = pd.DatetimeIndex(source.data.time.values).normalize()
            inputs = dict.fromkeys(one for name in own for one in _inputs(name, source.data) if one != "lat")
            positions = _positions(source.data, pd.date_range(days.min(), days.max()), ", ".join(inputs))
            whole = source.data.isel(time=positions)
            given = whole[[*inputs]].transpose("time", ...).load()
            for name, field in given.items():
                values = self._checked(field.values, str(name), pd.DatetimeIndex(whole.time.values))
                given[name] = field.copy(data=values)
            given = given if "lat" in given.coords else given.assign_coords(lat=self._latitude(source))
            self._coarse[number] = replace(source, data=whole.assign(derive(given, own, ("days",))[own].data_vars))
            wanted = [name for name in wanted if name not in own]
        if wanted:
            raise VadoseError(
                f"map: the model takes '{wanted[0]}', made of daily {' and '.join(made_of(wanted[0], ('days',))[:1])}, "
                "and no coarse field holds it; give it daily"
            )

    def _latitude(self, source: "_Coarse") -> xr.DataArray:
        """Of the rows of a coarse field on EASE-Grid 2.0, from the map's rows nearest to each."""
        axis = source.axes[0]
        found = np.full(source.data.sizes[axis], np.nan)
        found[source.rows] = self.lat
        return xr.DataArray(found, dims=axis)

    def _day_positions(self) -> IntArray:
        inputs = dict.fromkeys(one for names in self._inputs.values() for one in names)
        daily = [name for name in inputs if "time" in self.fine[name].dims]
        if not daily:
            return np.zeros(len(self.days), np.int64)
        return _positions(self.fine, self._seen, f"fine features {', '.join(daily)}")

    def _loaded(self, name: str, days: pd.DatetimeIndex, kind: str) -> "tuple[_Coarse, NDArray[np.float32]]":
        """A coarse field under the map, of some days: where it is from, and (day, row, column) or (row, column)."""
        source = next((source for source in self._coarse if can_be_made(name, source.data, ("pixel",))), None)
        if source is None:
            held = [f"coarse field {n} holds {_listed(source.data)}" for n, source in enumerate(self._coarse, 1)]
            if kind == "snapshot":
                held.insert(0, f"the fine store holds {_listed(self.fine)}")
            raise VadoseError(f"map: the model takes the {kind} feature '{name}', found nowhere; {'; '.join(held)}")
        # Forecasts may lie a little beyond what can be observed.
        margin = MARGIN if "init_time" in source.data.attrs else 0.0
        parts = xr.Dataset()
        for one in _inputs(name, source.data):
            field = source.data[one]
            if "time" in field.dims:
                field = field.isel(time=_positions(source.data, days, f"coarse field '{one}' ({kind})"))
            elif kind == "series":
                raise VadoseError(f"map: the model takes '{one}' as a series, found without time; give it daily")
            values = field.transpose(..., *source.axes).values.astype(np.float32)
            checked = (
                self._checked(values, one, days, margin)
                if "time" in field.dims
                else self._checked(values[None], one, None, margin)[0]
            )
            parts[one] = ("time", *source.axes)[3 - values.ndim :], checked
        made = derive(parts, [name], ("pixel",))[name].transpose(..., *source.axes)
        return source, made.values.astype(np.float32, copy=False)

    def _checked(self, values: Floats, name: str, days: pd.DatetimeIndex | None, margin: float = 0.0) -> Floats:
        """Values (day, ...) of a coarse field, those outside the valid range missing and counted."""
        on = [None] if days is None else [day.toordinal() for day in days]
        found, outside = checked_by_day(values, name, f"coarse field '{name}'", on, margin)
        self.outside |= outside
        return found

    def _made(self, name: str, day: int, rows: slice, columns: slice) -> Floats | float:
        if name == "latitude":
            return self.lat[rows, None]
        if name == "longitude":
            return self.lon[None, columns]
        if name == "day_of_year":
            return float(self.days[day].day_of_year)
        angle = 2 * np.pi * (self.days[day] - pd.Timestamp("1970-01-01")).days / YEAR
        return float(np.sin(angle) if name == "season_sine" else np.cos(angle))


@dataclass(frozen=True, eq=False)
class _Coarse:
    """A data set cut to the map, and its nearest row and column of each row and column of the map."""

    data: xr.Dataset
    axes: tuple[str, str]
    rows: IntArray
    columns: IntArray


def _fine_grid(fine: xr.Dataset) -> Grid:
    if missing := [key for key in ("grid_crs", "grid_step", "cell_size") if key not in fine.attrs]:
        raise VadoseError(
            f"fine features: attributes {missing} of the grid are missing; see vadose.grid.Grid.coordinates"
        )
    grid = grid_of(fine)
    left, top, edge = ease_grid("36km").transform
    off = max(
        abs(v - round(v))
        for v in ((grid.transform[0] - left) / grid.cell, (top - grid.transform[1]) / grid.cell, edge / grid.cell)
    )
    even = np.allclose(fine.x.values, grid.x, atol=grid.cell / 100, rtol=0) and np.allclose(
        fine.y.values, grid.y, atol=grid.cell / 100, rtol=0
    )
    if grid.crs != "EPSG:6933" or grid.transform[2] != grid.cell or off > 0.01 or not even:
        raise VadoseError(
            f"fine features: cells of {grid.cell:g} m, {grid.transform[2]:g} m apart, from x {grid.transform[0]:.1f}, "
            f"y {grid.transform[1]:.1f} in {grid.crs} are no part of the nested EASE-Grid 2.0; take ease_grid('100m')"
        )
    return grid


def _under(of: MapFeatures, data: xr.Dataset, number: int) -> _Coarse:
    what = f"coarse field {number}"
    axes = next((pair for pair in (("lat", "lon"), ("y", "x")) if set(pair) <= set(data.dims)), None)
    if axes is None:
        raise VadoseError(
            f"{what}: dimensions {sorted(map(str, data.dims))}; expected (time, y, x) or (time, lat, lon)"
        )
    grid = of.grid
    steps: tuple[float | None, float | None] = (None, None)
    wanted = (of.lat, of.lon) if axes == ("lat", "lon") else (grid.y, grid.x)
    if axes == ("y", "x") and "grid_crs" in data.attrs:
        other = grid_of(data)
        times = other.cell / grid.cell
        off = max(
            abs(v - round(v))
            for v in (
                (other.transform[0] - grid.transform[0]) / grid.cell,
                (other.transform[1] - grid.transform[1]) / grid.cell,
                times,
            )
        )
        if other.crs != grid.crs or other.transform[2] != other.cell or off > 0.01 or times < 0.99:
            raise VadoseError(
                f"{what}: cells of {other.cell:g} m, {other.transform[2]:g} m apart, from x {other.transform[0]:.1f}, "
                f"y {other.transform[1]:.1f} in {other.crs} do not nest with the map's of {grid.cell:g} m from "
                f"x {grid.transform[0]:.1f}, y {grid.transform[1]:.1f} in {grid.crs}; take a part of "
                "vadose.grid.ease_grid, or degrees"
            )
        steps = (other.cell, other.cell)
    elif axes == ("y", "x") and not _is_ease(data):
        raise VadoseError(
            f"{what}: y and x are not those of EASE-Grid 2.0 (EPSG:6933); bring it there with vadose.resample, or "
            "give degrees"
        )
    rows, columns = (
        _nearest(data[axis].values.astype(float), values, step, f"{what}, {axis}")
        for axis, values, step in zip(axes, wanted, steps, strict=True)
    )
    cut = data.isel({axes[0]: slice(rows.min(), rows.max() + 1), axes[1]: slice(columns.min(), columns.max() + 1)})
    return _Coarse(cut, axes, rows - rows.min(), columns - columns.min())


def _inputs(name: str, data: xr.Dataset) -> list[str]:
    """Variables of a data set that a feature is, or is made of."""
    return [name] if name in data else [one for one in made_of(name, ("pixel", "days")) if one in data]


def _is_ease(data: xr.Dataset) -> bool:
    return "crs" in data.coords and "crs_wkt" in data.crs.attrs and CRS(data.crs.attrs["crs_wkt"]).to_epsg() == 6933


def _nearest(axis: Floats, wanted: Floats, step: float | None, what: str) -> IntArray:
    """Positions on an axis, rising or falling, that lie nearest to values, none of them beyond its outer cells."""
    order = np.argsort(axis)
    rising = axis[order]
    if len(axis) < 2 and step is None:
        raise VadoseError(f"{what}: a single cell of unknown size; give at least two")
    gaps = np.diff(rising) if step is None else np.full(2, step)
    low, high = rising[0] - gaps[0] / 2, rising[-1] + gaps[-1] / 2
    if wanted.min() < low or wanted.max() > high:
        raise VadoseError(
            f"{what}: covers {low:.6g} to {high:.6g}, the map needs {wanted.min():.6g} to {wanted.max():.6g}; give a "
            "field that covers it"
        )
    return order[np.searchsorted((rising[1:] + rising[:-1]) / 2, wanted)].astype(np.int64)


def _positions(data: xr.Dataset, days: pd.DatetimeIndex, what: str) -> IntArray:
    """Positions of days in a data set, all of them there."""
    time = pd.DatetimeIndex(data.time.values).normalize()
    if not time.is_unique:
        raise VadoseError(f"{what}: {len(time) - time.nunique()} days are repeated; expected one value per day")
    found = time.get_indexer(days)
    if (found < 0).any():
        first = days[found < 0][0]
        raise VadoseError(
            f"{what}: {(found < 0).sum()} of the days {days[0]:%Y-%m-%d} .. {days[-1]:%Y-%m-%d} are missing, first "
            f"{first:%Y-%m-%d}; it holds {time.min():%Y-%m-%d} .. {time.max():%Y-%m-%d}: map other days, or add them"
        )
    return found.astype(np.int64)


def _kinds(nearest: list[IntArray], pixels: slice) -> tuple[IntArray, IntArray]:
    """Distinct combinations (source, kind) of nearest cells along an axis, and which each pixel has."""
    if not nearest:
        return np.zeros((0, 1), np.int64), np.zeros(pixels.stop - pixels.start, np.int64)
    kinds, which = np.unique(np.stack(nearest), axis=1, return_inverse=True)
    return kinds, which.ravel()


def _listed(data: xr.Dataset) -> str:
    return ", ".join(sorted(map(str, data.data_vars))) or "nothing"
