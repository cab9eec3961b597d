"""Predictions and observations brought to the same sites: cells of a map, or stations in them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vadose.door.values import MARGIN, checked
from vadose.errors import VadoseError
from vadose.grid import Grid, grid_of
from vadose.parallel.memory import release
from vadose.variables import variable

VARIABLE = "soil_moisture"
"""What prediction stores and station stores hold; a cube may hold the observations under another name."""
FINER = 1.5
"""Pixels of a store to a cell from which on they are averaged."""
_DAYS_AT_ONCE = 64
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Sites:
    """Where predictions are scored.

    Attributes
    ----------
    observed
        (time, site) with coordinates site, lat, lon.
    rows, columns
        Of the cells that predict the sites.
    place
        Position of each site among all stations or cells of the observations, row by row.
    of
        What sites are: ``'cells'`` or ``'stations'``.
    outside
        Stations that lie in no cell and are left out.
    values_outside
        Observations off the valid range, taken as missing.
    """

    observed: xr.DataArray
    rows: Places
    columns: Places
    place: Places
    of: str
    outside: int = 0
    values_outside: int = 0


def sites_of(observed: xr.Dataset, predicted: xr.Dataset) -> Sites:
    """Sites at which a store of predictions can be scored against a cube or a station store.

    A cube is read at its cells ever observed, in the variable the attribute ``observed`` of the predictions
    names (``soil_moisture`` without one). A station store is read at the layer of the predictions, at its
    stations in a cell that holds any.

    Raises
    ------
    VadoseError
        When the variable or the layer is missing, or nothing is observed where there are predictions.
    """
    return _at_stations(observed, predicted) if is_station_store(observed) else _at_cells(observed, predicted)


def is_station_store(observed: xr.Dataset) -> bool:
    """Whether observations are a station store; else they are a cube."""
    return "layer" in observed.dims


def observed_variable(predicted: xr.Dataset) -> str:
    """Variable of a cube that a store of predictions is scored against."""
    return str(predicted.attrs.get("observed", VARIABLE))


def compared(name: str) -> str:
    """Variable whose units and range hold for what forecasts are compared to; moisture where it has a name of its own.

    Examples
    --------
    >>> compared("soil_moisture_10_40cm"), compared("swi_of_mine")
    ('soil_moisture_10_40cm', 'soil_moisture')
    """
    return name if variable(name) else VARIABLE


def cells_of(stations: xr.Dataset, cells: xr.Dataset) -> tuple[Places, Places]:
    """Row and column of the cell of each station, -1 where there is none.

    Cells that are stations themselves (a coordinate ``station`` along y) are found by name, others by place; of cells
    in no known projection the nearest centre, no farther than the diagonal of a cell.
    """
    if "station" not in cells.coords and "grid_crs" not in cells.attrs and {"lat", "lon"} <= set(cells.coords):
        return _nearest(stations, cells)
    if "station" in cells.coords:
        known = pd.Index(cells.station.values.astype(object))
        rows = known.get_indexer(pd.Index(stations.station.values.astype(object)))
        return rows.astype(np.int64), np.where(rows >= 0, 0, -1)
    return grid_of(cells).rowcol(stations.lat.values, stations.lon.values)


def _nearest(stations: xr.Dataset, cells: xr.Dataset) -> tuple[Places, Places]:
    lat, lon = (part.transpose("y", "x").values for part in xr.broadcast(cells.lat, cells.lon))
    centres = _on_sphere(lat.ravel(), lon.ravel())
    known = np.isfinite(centres).all(axis=1)
    if not known.any():
        raise VadoseError("the cells have no latitude and longitude; nothing can be found by place")
    tree = cKDTree(centres[known])
    reach = np.sqrt(2) * np.median(tree.query(centres[known], 2)[0][:, 1]) if known.sum() > 1 else np.inf
    apart, at = tree.query(_on_sphere(stations.lat.values, stations.lon.values))
    rows, columns = np.divmod(np.flatnonzero(known)[at], lat.shape[1])
    outside = apart > reach
    return np.where(outside, -1, rows), np.where(outside, -1, columns)


def _on_sphere(lat: NDArray[np.floating], lon: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (n, 3) on the unit sphere."""
    north, east = np.radians(np.asarray(lat, float)), np.radians(np.asarray(lon, float))
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=-1)


def _nowhere(stations: xr.Dataset, cells: xr.Dataset) -> str:
    """Why no station is found."""
    if "station" not in cells.coords:
        return f"none of the {stations.sizes['station']} stations lies in a cell of the predictions"
    theirs, ours = (", ".join(map(str, one.station.values[:3])) for one in (cells, stations))
    return f"predictions are for the stations {theirs}, observed are {ours}; expected some of the same name"


def at_stations(store: xr.Dataset, stations: xr.Dataset, place: str) -> xr.Dataset:
    """A store of forecasts of any grid at the stations that lie in a cell of it: cells (y) that are stations.

    Raises
    ------
    VadoseError
        When none does.
    """
    rows, columns = cells_of(stations, store)
    inside = np.flatnonzero(rows >= 0)
    if not len(inside):
        raise VadoseError(f"{place}: {_nowhere(stations, store)}")
    picked = {"y": xr.DataArray(rows[inside], dims="y"), "x": xr.DataArray(columns[inside], dims="y")}
    fields = [name for name, field in store.data_vars.items() if {"init_time", "lead_time"} <= set(field.dims)]
    found = (
        store[fields].reset_coords(drop=True).isel(picked).drop_vars(["y", "x"], errors="ignore").expand_dims("x", -1)
    )
    of_station: dict[str, Any] = {name: ("y", stations[name].values[inside]) for name in ("lat", "lon")}
    found = found.assign_coords(
        **of_station, y=np.arange(len(inside), dtype=float), x=[0.0], station=("y", stations.station.values[inside])
    )
    for name in ("grid_crs", "cell_size", "grid_step"):
        found.attrs.pop(name, None)
    return found


def at_cells(store: xr.Dataset, cells: xr.Dataset, place: str) -> xr.Dataset:
    """A store of forecasts of another grid on the cells of a cube.

    Smaller pixels are averaged over the cell that holds their centre, where at least half of its usual number of them
    have a value; of larger ones a cell takes that which holds its centre, or of pixels in no known projection the
    nearest.

    Raises
    ------
    VadoseError
        When none lies there.
    """
    grid = grid_of(cells)
    rows, columns = _pixels_of_cells(store, grid)
    in_rows, in_columns = (np.flatnonzero((rows >= 0).any(axis=axis)) for axis in (1, 0))
    if not len(in_rows) or not len(in_columns):
        raise VadoseError(f"{place}: covers none of the {grid.shape[0]} x {grid.shape[1]} cells of the observations")
    fields = [name for name, field in store.data_vars.items() if {"init_time", "lead_time"} <= set(field.dims)]
    maps = store[fields].reset_coords(drop=True)
    down, across = _cells_of_pixels(store, grid)
    held = np.where(down >= 0, down * grid.shape[1] + across, -1).ravel()
    number = np.bincount(held[held >= 0], minlength=grid.shape[0] * grid.shape[1])
    if number.sum() > FINER * np.count_nonzero(number):
        found = maps.map(_means, held=held, number=number, shape=grid.shape)
        found = found.isel(y=in_rows, x=in_columns)
    else:
        rows, columns = rows[np.ix_(in_rows, in_columns)], columns[np.ix_(in_rows, in_columns)]
        if (rows == rows[:, :1]).all() and (columns == columns[:1]).all():  # parallel to the cells
            found = maps.isel(y=rows[:, 0], x=columns[0])
        else:
            at = {"y": xr.DataArray(rows, dims=("y", "x")), "x": xr.DataArray(columns, dims=("y", "x"))}
            found = maps.drop_vars(["y", "x"], errors="ignore").isel(at).where(xr.DataArray(rows >= 0, dims=("y", "x")))
    found = found.drop_vars([name for name in ("lat", "lon", "crs") if name in found.coords])
    found = found.assign_coords(y=cells.y.values[in_rows], x=cells.x.values[in_columns])
    return found.assign_attrs({name: cells.attrs[name] for name in ("grid_crs", "cell_size", "grid_step")})


def _pixels_of_cells(store: xr.Dataset, grid: Grid) -> tuple[Places, Places]:
    """Row and column of the pixel of a store at the centre of each cell, -1 where there is none."""
    lat, lon = grid.latlon(*np.indices(grid.shape))
    if "grid_crs" in store.attrs:
        return grid_of(store).rowcol(lat, lon)
    centres = xr.Dataset({"lat": ("at", lat.ravel()), "lon": ("at", lon.ravel())})
    rows, columns = _nearest(centres, store)
    return rows.reshape(grid.shape), columns.reshape(grid.shape)


def _cells_of_pixels(store: xr.Dataset, grid: Grid) -> tuple[Places, Places]:
    """Row and column of the cell that holds each pixel of a store, -1 where none does."""
    if "grid_crs" in store.attrs:
        own = grid_of(store)
        lat, lon = own.latlon(*np.indices(own.shape))
    else:
        lat, lon = (part.transpose("y", "x").values for part in xr.broadcast(store.lat, store.lon))
    return grid.rowcol(lat, lon)


def _means(maps: xr.DataArray, held: Places, number: Places, shape: tuple[int, int]) -> xr.DataArray:
    """Means of pixels in each cell, of those that have a value where these are half of the usual number of a cell."""
    values = maps.transpose("init_time", "lead_time", ..., "y", "x")
    inside, size = held >= 0, shape[0] * shape[1]
    least = np.median(number[number > 0]) / 2
    found = np.full((len(values), math.prod(values.shape[1:-2]), size), np.nan, np.float32)
    for k, of_day in enumerate(values):
        for lead, one in enumerate(of_day.values.reshape(found.shape[1], -1)[:, inside]):
            there = np.isfinite(one)
            count = np.bincount(held[inside][there], minlength=size)
            total = np.bincount(held[inside][there], weights=one[there], minlength=size)
            enough = count >= max(least, 1)
            found[k, lead, enough] = total[enough] / count[enough]
    coords = {name: values[name] for name in values.dims[:-2] if name in values.coords}
    return xr.DataArray(found.reshape(*values.shape[:-2], *shape), coords, values.dims, attrs=maps.attrs)


def by_valid_day(
    store: xr.Dataset,
    name: str,
    sites: Sites,
    leads: NDArray[np.int64],
    days: pd.DatetimeIndex,
    place: str,
    found: NDArray[np.float32],
) -> int:
    """Put predictions at the sites by the day they are of into ``found`` (lead, day, site), NaN where there are none.

    Returns how many lay off the valid range. Memory holds a block of days of issue besides.
    """
    for of_lead in found:
        of_lead[...] = np.nan
        release(found)
    maps = store[name].transpose("init_time", "lead_time", "y", "x")
    of_day = pd.Index(store.init_time.values)
    position = np.array([days.get_indexer(of_day + pd.Timedelta(days=int(lead))) for lead in leads])
    for start in range(0, len(maps), _DAYS_AT_ONCE):
        block = maps[start : start + _DAYS_AT_ONCE].values
        for k, valid in enumerate(position[:, start : start + _DAYS_AT_ONCE]):
            here = np.flatnonzero(valid >= 0)
            found[k, valid[here]] = block[here, k][:, sites.rows, sites.columns]
        release(found)
    outside = 0
    for of_lead in found:
        of_lead[...], count = checked(of_lead, name, place, MARGIN)
        outside += count
        release(found)
    return outside


def _at_cells(observed: xr.Dataset, predicted: xr.Dataset) -> Sites:
    name = observed_variable(predicted)
    if name not in observed:
        raise VadoseError(
            f"the cube has no {name}, which the predictions of {predicted.attrs['model']} are scored against; "
            f"it has {sorted(map(str, observed.data_vars))}"
        )
    values = observed[name].transpose("time", "y", "x")
    rows, columns = np.nonzero(values.notnull().any("time").values)
    if not len(rows):
        raise VadoseError(f"the cube holds no values of {name}; nothing to score against")
    are_stations = "station" in observed.coords
    if are_stations:
        rows = _by_name(observed, rows)
    at = {"y": xr.DataArray(rows, dims="site"), "x": xr.DataArray(columns, dims="site")}
    cells = [f"row {r}, column {c}" for r, c in zip(rows, columns, strict=True)]
    found, outside = _checked(values.isel(at).reset_coords(drop=True), name)
    coords = {
        "site": [str(station) for station in observed.station.values[rows]] if are_stations else cells,
        "lat": ("site", observed.lat.isel(at, missing_dims="ignore").values),
        "lon": ("site", observed.lon.isel(at, missing_dims="ignore").values),
    }
    place = rows * observed.sizes["x"] + columns
    of = "stations" if are_stations else "cells"
    return Sites(found.assign_coords(coords), rows, columns, place, of, values_outside=outside)


def _by_name(stations: xr.Dataset, positions: Places) -> Places:
    """Positions of stations in the order of their names, so that tables do not depend on that of a file."""
    return positions[np.argsort(stations.station.values[positions].astype(object), kind="stable")]


def _checked(found: xr.DataArray, name: str) -> tuple[xr.DataArray, int]:
    values, outside = checked(found.values, compared(name), "the observations")
    return found.copy(data=values), outside


def _at_stations(stations: xr.Dataset, predicted: xr.Dataset) -> Sites:
    layer = predicted.attrs["layer"]
    if layer not in stations.layer.values:
        raise VadoseError(f"the station store has no layer {layer!r}; it has {stations.layer.values.tolist()}")
    rows, columns = cells_of(stations, predicted)
    inside = np.flatnonzero(rows >= 0)
    # A cell of the lattice without data holds no prediction either.
    some = predicted[VARIABLE].notnull().any(("init_time", "lead_time")).values
    inside = _by_name(stations, inside[some[rows[inside], columns[inside]]])
    if not len(inside):
        raise VadoseError(_nowhere(stations, predicted))
    chosen = stations[VARIABLE].sel(layer=layer).isel(station=inside).transpose("time", "station")
    chosen, off_range = _checked(chosen, VARIABLE)
    found = (
        chosen.rename(station="site")
        .reset_coords(drop=True)
        .assign_coords(
            site=[str(name) for name in stations.station.values[inside]],
            lat=("site", stations.lat.values[inside]),
            lon=("site", stations.lon.values[inside]),
        )
    )
    outside = len(rows) - len(inside)
    return Sites(found, rows[inside], columns[inside], inside, "stations", outside, off_range)
