"""The one door for data sets: axes, days, units and values are brought into our form, or refused in a line."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from vadose.door.days import daily, in_order, lead_days
from vadose.door.place import Place, nearest
from vadose.door.values import in_units
from vadose.errors import VadoseError
from vadose.grid import ease_grid, grid_of

SAME_PLACE = 2e-5
"""Degrees that latitudes and longitudes in single precision may differ by."""
GRID = ("cell_size", "grid_step", "grid_crs")
CUBE = (*GRID, "layer", "dataset", "simulated")
FORECASTS = ("model", "weather", "scenario", "layer", "dataset", "simulated", "causal")
_HINTS = {
    "cell_size": "edge of a cell in units of x",
    "grid_step": "distance of neighbouring cells in units of x",
    "grid_crs": "such as 'EPSG:6933'",
    "layer": "such as '0-10 cm'",
    "dataset": "its name",
    "simulated": "'true' or 'false'",
    "model": "its name",
    "weather": "'none', 'perfect' or 'forecast'",
    "scenario": "set of predictors, such as 'all'",
    "causal": "'true' where nothing after init_time was used",
}
_ORDER = ("station", "layer", "depth", "init_time", "lead_time", "time")


def as_cube(cube: xr.Dataset, place: str, needs: Sequence[str] = ()) -> xr.Dataset:
    """A cube in our form: (time, y, x), every day from the first to the last, from north to south and west to east.

    Nothing is read but coordinates. Days that are absent become days without values (attribute ``days_added``);
    variables of the vocabulary in units of others are converted, lazily. See `vadose.door.values.checked` for the
    values.

    Parameters
    ----------
    cube
        With coordinates ``y``, ``x``, and ``time`` where anything changes with it, in any order and direction.
    place
        Where it lies, for messages.
    needs
        Attributes that have to be there; ``cell_size``, ``grid_step`` and ``grid_crs`` are derived where y and x
        are those of a nested EASE-Grid 2.0, or regular degrees by their ``units``.

    Raises
    ------
    VadoseError
        When a coordinate or an attribute is missing, a day comes twice or is none, or a unit is not known.

    Examples
    --------
    >>> days = pd.to_datetime(["2020-06-03 12:00", "2020-06-01 12:00"])
    >>> other = xr.Dataset({"soil_moisture": (("y", "x", "time"), np.array([[[30.0, 10.0]], [[40.0, 20.0]]]))},
    ...                    coords={"time": days, "y": [39.9, 40.0], "x": [-100.0]})
    >>> other.soil_moisture.attrs["units"] = "vol %"
    >>> cube = as_cube(other, "mine.zarr")
    >>> cube.soil_moisture.dims, cube.y.values.tolist(), cube.soil_moisture.values[:, 0, 0].round(2).tolist()
    (('time', 'y', 'x'), [40.0, 39.9], [0.2, nan, 0.4])
    """
    found = with_grid(_rows_and_columns(_ordered(by_day(cube), ("y", "x"), place), place))
    require(found, needs, place)
    found = _located(found, place)
    if "time" in found.dims:
        found = daily(found, place)
    return _kept(in_units(found, place), cube)


def as_forecasts(store: xr.Dataset, place: str, needs: Sequence[str] = FORECASTS) -> xr.Dataset:
    """A store of forecasts in our form: (init_time, lead_time, y, x), whole days, rising.

    As `as_cube`, but days of issue stay those there are. A ``lead_time`` of numbers is read by its ``units``, days or
    hours. Maps by their days (time, y, x) are at lead 0 of these.

    Raises
    ------
    VadoseError
        As `as_cube`; when a day of issue has an hour or comes twice, or a lead is negative or no whole number of days.
    """
    if "time" in store.dims and not {"init_time", "lead_time"} & set(store.dims):
        store = store.rename(time="init_time").expand_dims(lead_time=pd.to_timedelta([0], unit="D"))
    found = with_grid(_rows_and_columns(_ordered(store, ("init_time", "lead_time", "y", "x"), place), place))
    require(found, needs, place)
    found = _located(found, place)
    issued = in_order(found, "init_time", place)
    if (hours := found.init_time.values - found.init_time.values.astype("datetime64[D]")).any():
        raise VadoseError(
            f"{place}: init_time is {hours.astype('timedelta64[m]')[0]!s} past midnight; expected whole days, the last "
            "day known to the forecast"
        )
    described = {name: value for name, value in found.lead_time.attrs.items() if name != "units"}
    leads = pd.to_timedelta(lead_days(found, place), unit="D")
    found = issued.assign_coords(lead_time=("lead_time", leads, described)).sortby("lead_time")
    return _kept(in_units(found, place), store)


def by_day(maps: xr.Dataset) -> xr.Dataset:
    """A store of one map a day (init_time, lead_time, ...) by valid days (time, ...); other data sets as they are.

    Examples
    --------
    >>> ahead = {"init_time": pd.to_datetime(["2020-06-01"]), "lead_time": pd.to_timedelta([1, 2], unit="D")}
    >>> maps = xr.Dataset({"soil_moisture": (("init_time", "lead_time"), [[0.2, 0.3]])}, ahead)
    >>> by_day(maps).soil_moisture.sel(time="2020-06-03").item()
    0.3
    """
    axes = ("init_time", "lead_time")
    if not set(axes) <= set(maps.coords) & set(maps.dims) or maps.lead_time.dtype.kind != "m":
        return maps
    of_one = [axis for axis in axes if maps.sizes[axis] == 1]
    if not of_one:
        return maps
    days = (maps.init_time.values[:, None] + maps.lead_time.values).ravel()
    (along,) = set(axes) - {of_one[-1]}
    found = maps.isel({of_one[-1]: 0}, drop=True).rename({along: "time"})
    return _kept(found.assign_coords(time=("time", days, {"standard_name": "time", "long_name": "day"})), maps)


def as_stations(stations: xr.Dataset, place: str) -> xr.Dataset:
    """A station store in our form: (station, layer, time), every day from the first to the last.

    Raises
    ------
    VadoseError
        When a coordinate is missing, a station or a day comes twice, or a station's place is none.
    """
    found = _ordered(stations, ("station", "layer", "time"), place)
    if missing := [name for name in ("lat", "lon") if name not in found.variables]:
        raise VadoseError(f"{place}: no {' and '.join(missing)} (station) in it; add them in degrees")
    names = pd.Index(found.station.values.astype(object))
    if names.has_duplicates:
        raise VadoseError(f"{place}: station {names[names.duplicated()][0]} is repeated; keep one of them")
    _on_earth(found, place)
    return _kept(in_units(daily(found, place), place), stations)


def on_common_cells(datasets: Sequence[xr.Dataset], places: Sequence[str]) -> tuple[list[xr.Dataset], list[int]]:
    """The cells that all data sets have, in the order of the first, and how many of each one's are left out.

    Cells are found by y and x (`vadose.door.place.Place`), those that are stations (``station`` along y) by name.

    Raises
    ------
    VadoseError
        When cells of two differ in size, projection, latitude or longitude, or none are common.
    """
    found, where = list(datasets), [Place.of(of) for of in datasets]
    for other, place in zip(where[1:], places[1:], strict=True):
        where[0].check_cells(other, f"{places[0]} and {place}")
        if not (where[0].cell and other.cell):
            where[0].check_steps(other, f"{places[0]} and {place}")
    by_name = all("station" in of.coords and of.station.dims == ("y",) for of in datasets)
    for axis in ("y", "x"):
        if by_name and axis == "y":
            at = [pd.Index(of.stations).get_indexer(pd.Index(where[0].stations)) for of in where]
        else:
            at = [
                nearest(getattr(of, axis), getattr(where[0], axis), of.steps["yx".index(axis)] or 1.0) for of in where
            ]
        common = np.all([of >= 0 for of in at], axis=0)
        if not common.any():
            places_of = "; ".join(f"{place}: {of}" for place, of in zip(places, where, strict=True))
            raise VadoseError(f"no cell in common ({places_of}); give data of the same cells")
        for k, of in enumerate(at):
            if not np.array_equal(of[common], np.arange(datasets[k].sizes[axis])):
                found[k] = found[k].isel({axis: of[common]})
            found[k] = found[k].assign_coords({axis: found[0][axis]}) if k else found[k]
    for data, place in zip(found[1:], places[1:], strict=True):
        for name in {"lat", "lon"} & set(found[0].coords) & set(data.coords):
            one, two = found[0][name].values, data[name].values
            if one.shape == two.shape and (apart := float(np.nanmax(np.abs(one - two), initial=0))) > SAME_PLACE:
                raise VadoseError(
                    f"{places[0]} and {place} have the same y and x, but {name} up to {apart:.4g} "
                    "degrees apart; give data of the same cells"
                )
    cells = found[0].sizes["y"] * found[0].sizes["x"]
    return found, [of.sizes["y"] * of.sizes["x"] - cells for of in datasets]


def require(data: xr.Dataset, names: Sequence[str], place: str) -> None:
    """Refuse a data set that lacks attributes, in one line that names all of them."""
    if missing := [name for name in names if name not in data.attrs]:
        told = ", ".join(f"{name} ({_HINTS[name]})" if name in _HINTS else name for name in missing)
        raise VadoseError(
            f"{place}: the attributes {told} are missing; add them (xarray: "
            f"dataset.attrs['{missing[0]}'] = ...) and write it again"
        )


def with_grid(data: xr.Dataset) -> xr.Dataset:
    """The attributes cell_size, grid_step and grid_crs added where y and x leave no doubt of them."""
    if all(name in data.attrs for name in GRID) or "station" in data.coords:
        return data
    axes = [data[axis].values.astype(float) for axis in ("y", "x")]
    if min(map(len, axes)) < 2:
        return data
    step = abs(axes[1][1] - axes[1][0])
    if any(not np.allclose(np.abs(np.diff(axis)), step, rtol=1e-3) for axis in axes):
        return data
    units = str(data.x.attrs.get("units", ""))
    if units.startswith("degree"):
        return data.assign_attrs({"cell_size": step, "grid_step": step, "grid_crs": "EPSG:4326"} | data.attrs)
    for resolution in ("36km", "9km", "3km", "1km", "100m"):
        grid = ease_grid(resolution)
        left, top, cell = grid.transform
        across, down = (axes[1] - left) / cell - 0.5, (top - axes[0]) / cell - 0.5
        on = all(np.allclose(of, np.round(of), atol=1e-2) for of in (across, down))
        if on and np.isclose(step, cell, rtol=1e-3):
            return data.assign_attrs({"cell_size": cell, "grid_step": cell, "grid_crs": grid.crs} | data.attrs)
    return data


def _ordered(data: xr.Dataset, wanted: tuple[str, ...], place: str) -> xr.Dataset:
    """Dimensions in our order, each with a coordinate; others stay between days and cells."""
    if "station" in data.coords:  # cells that are stations have names, and need no place
        bare = [axis for axis in ("y", "x") if axis in data.dims and axis not in data.coords]
        data = data.assign_coords({axis: np.arange(data.sizes[axis], dtype=float) for axis in bare})
    if missing := [name for name in wanted if name not in data.dims or name not in data.coords]:
        raise VadoseError(
            f"{place}: no coordinate {' or '.join(missing)} along a dimension of that name; "
            f"dimensions are ({', '.join(map(str, data.sizes))}), expected ({', '.join(wanted)})"
        )
    return data.transpose(*_ORDER, ..., "y", "x", missing_dims="ignore")


def _rows_and_columns(data: xr.Dataset, place: str) -> xr.Dataset:
    """Rows from north to south and columns from west to east; cells that are stations stay in their order."""
    if "station" not in data.coords:
        for axis, sign in (("y", -1), ("x", 1)):
            values = data[axis].values
            if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
                raise VadoseError(
                    f"{place}: {axis} contains values that are not numbers; expected coordinates of the cells"
                )
            if len(np.unique(values)) < len(values):
                raise VadoseError(f"{place}: values of {axis} are repeated; expected each row and column once")
            order = np.argsort(sign * values, kind="stable")
            if (np.diff(order) == -1).all() and len(order) > 1:
                data = data.isel({axis: slice(None, None, -1)})
            elif (np.diff(order) != 1).any():
                data = data.isel({axis: order})
    _on_earth(data, place)
    return data


def _located(data: xr.Dataset, place: str) -> xr.Dataset:
    """Refuse latitudes and longitudes that are not those of y and x, looked at in the corners."""
    if data.attrs.get("grid_crs") and all(name in data.coords and data[name].ndim == 2 for name in ("lat", "lon")):
        grid = grid_of(data)
        rows, columns = (np.array([[0, 0, -1, -1], [0, -1, 0, -1]]).T % grid.shape).T
        lat, lon = (data[name].transpose("y", "x").values[rows, columns] for name in ("lat", "lon"))
        at = np.stack(grid.rowcol(lat, lon))
        if (wrong := (at != [rows, columns]).any(axis=0) & np.isfinite(lat + lon)).any():
            k = int(wrong.argmax())
            expected = ", ".join(f"{float(of):.6g}" for of in grid.latlon(rows[k], columns[k]))
            raise VadoseError(
                f"{place}: lat, lon of row {rows[k]}, column {columns[k]} are {lat[k]:.6g}, {lon[k]:.6g}, "
                f"by its y and x in {grid.crs} they are {expected}; correct one of the two"
            )
    return data


def _on_earth(data: xr.Dataset, place: str) -> None:
    for name, most in (("lat", 90.0), ("lon", 360.0)):
        if name in data.coords and data[name].dtype.kind in "fiu":
            values = data[name].values
            if (wrong := np.isfinite(values) & (np.abs(values) > most)).any():
                raise VadoseError(
                    f"{place}: {name} {values[wrong].flat[0]:g} is no {name}; expected degrees within "
                    f"+-{most:g}, and lat and lon not exchanged"
                )


def _kept(found: xr.Dataset, given: xr.Dataset) -> xr.Dataset:
    found.encoding = given.encoding
    return found
