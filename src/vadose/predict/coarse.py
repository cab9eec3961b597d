"""Coarse fields and parts of fine ones, as maps take them."""

import numpy as np
import pandas as pd
import xarray as xr

from vadose.door import as_cube, as_forecasts
from vadose.door.days import daily
from vadose.errors import VadoseError
from vadose.grid import grid_of


def as_coarse(store: xr.Dataset, place: str, init: str | None, name: str) -> xr.Dataset:
    """A store of daily fields in our form; a store of forecasts as fields of its valid days.

    Parameters
    ----------
    store
        (time, ...), or of `vadose.predict.forecast.forecast` (init_time, lead_time, y, x).
    place
        Where it lies, for messages.
    init
        Day of issue to take; may be left out where there is only one.
    name
        What the forecast's ``soil_moisture`` is called as a feature.

    Raises
    ------
    VadoseError
        When the day of issue is not in the store, or it is not said which of several.
    """
    if "lead_time" not in store.dims:
        if {"y", "x"} <= set(store.dims):
            return with_last_values(as_cube(store, place))
        return daily(store, place) if "time" in store.dims else store
    store = as_forecasts(store, place, ())
    issued = pd.DatetimeIndex(store.init_time.values)
    if init is None and len(issued) > 1:
        raise VadoseError(
            f"{place}: {len(issued)} days of issue, {issued[0]:%Y-%m-%d} .. {issued[-1]:%Y-%m-%d}; "
            "choose one with --init"
        )
    chosen = pd.Timestamp(init) if init else issued[0]
    if chosen not in issued:
        raise VadoseError(
            f"{place}: no forecast issued on {init}; there are {issued[0]:%Y-%m-%d} .. {issued[-1]:%Y-%m-%d}"
        )
    moisture = store.soil_moisture.sel(init_time=chosen)
    valid = chosen + pd.to_timedelta(moisture.lead_time.values)
    fields = moisture.rename(lead_time="time").assign_coords(time=valid).drop_vars("init_time")
    dataset = fields.transpose("time", "y", "x").to_dataset(name=name)
    found: xr.Dataset = dataset.assign_attrs(store.attrs | {"init_time": f"{chosen:%Y-%m-%d}"})
    return found


def with_last_values(cube: xr.Dataset) -> xr.Dataset:
    """A cube whose variables have the values of `vadose build` for days without an observation, if it has them.

    That is ``NAME_filled`` in the place of ``NAME``, as long as no later day is in it (attribute ``causal``).
    """
    filled = [
        name
        for name in map(str, cube.data_vars)
        if name.endswith("_filled")
        and name.removesuffix("_filled") in cube
        and cube[name].attrs.get("causal") == "true"
    ]
    named = {name: name.removesuffix("_filled") for name in filled}
    return cube.drop_vars(list(named.values())).rename(named).assign_attrs({"mode": "causal"} if named else {})


def part_of(fine: xr.Dataset, box: tuple[float, float, float, float]) -> xr.Dataset:
    """The part of fine features that west, south, east and north [degree] bound.

    Raises
    ------
    VadoseError
        When the box lies outside, or is none.
    """
    west, south, east, north = box
    fine = as_cube(fine, "fine features")
    grid = grid_of(fine)
    lat, lon = grid.latlon(np.arange(grid.shape[0]), 0)[0], grid.latlon(0, np.arange(grid.shape[1]))[1]
    rows, columns = np.flatnonzero((lat >= south) & (lat <= north)), np.flatnonzero((lon >= west) & (lon <= east))
    if not len(rows) or not len(columns):
        raise VadoseError(
            f"--bbox {west},{south},{east},{north}: nothing of the features, which span "
            f"{lon[0]:.3f},{lat[-1]:.3f},{lon[-1]:.3f},{lat[0]:.3f}"
        )
    part = fine.isel(y=slice(rows[0], rows[-1] + 1), x=slice(columns[0], columns[-1] + 1))
    return part.assign_attrs(fine.attrs | {"part": f"{west},{south},{east},{north}"})
