"""Axes of a data set of others under our names, and where its cells lie."""

import re
from collections.abc import Collection, Hashable, Mapping

import numpy as np
import xarray as xr

from vadose.door.datasets import with_grid
from vadose.errors import VadoseError

NAMES = {
    "init_time": r"init(ial)?_?time|reftime|ref_time|forecast_reference_time|initialization_time|analysis_time",
    "lead_time": r"lead(_?time)?|leadtime|step|forecast_period|prediction_timedelta",
    "time": r"time|valid_time|date|day",
    "member": r"member|number|realization|realisation|ensemble(_member)?|ens",
    "quantile": r"quantile|quantiles",
    "y": r"y|lat|latitude|rlat|south_north|nlat",
    "x": r"x|lon|longitude|rlon|west_east|nlon",
}

PLACES = dict.fromkeys(("lat", "latitude", "nav_lat", "XLAT"), "lat")
PLACES |= dict.fromkeys(("lon", "longitude", "nav_lon", "XLONG"), "lon")
"""Coordinates of the place of each cell -> ours."""


def named(moisture: xr.DataArray, place: str) -> xr.DataArray:
    """The same with our names of days, leads, members and cells."""
    found: dict[Hashable, str] = {}
    for name in moisture.dims:
        ours = next((one for one, of in NAMES.items() if re.fullmatch(of, str(name).lower())), None)
        if ours and ours not in found.values():
            found[name] = ours
    missing = [name for name in ("y", "x") if name not in found.values() and "station" not in moisture.dims]
    if missing or not ({"time", "init_time"} & set(found.values()) or _run(moisture)):
        lacking = missing or ["time or init_time"]
        raise VadoseError(
            f"{place}: dimensions of {moisture.name} are {tuple(map(str, moisture.dims))}; none is {lacking[0]}; "
            "rename it in the file (xarray: dataset.rename)"
        )
    if "time" in found.values() and "lead_time" in found.values() and "init_time" not in found.values():
        found = {name: "init_time" if ours == "time" else ours for name, ours in found.items()}
    scalars = {name: "lead_time" for name in moisture.coords if str(name) == "step" and name not in moisture.dims}
    if (run := _run(moisture)) and "init_time" not in found.values() and "time" in found.values():
        scalars[run] = "init_time"
    elif run and "init_time" not in found.values():
        found[run] = "init_time"
    clashing = [ours for ours in found.values() if ours in moisture.coords and ours not in found and ours != run]
    moisture = moisture.drop_vars(clashing)
    places = {name: PLACES[str(name)] for name in moisture.coords if str(name) in PLACES}
    places = {name: ours for name, ours in places.items() if name not in found and ours not in moisture.coords}
    renamed = moisture.rename({name: ours for name, ours in (found | scalars | places).items() if name != ours})
    if "station" not in renamed.dims:
        return renamed
    stations = renamed.station.values
    cells = renamed.rename(station="y").assign_coords(y=np.arange(float(len(stations)))).expand_dims(x=[0.0])
    return cells.assign_coords(station=("y", stations))


def _run(moisture: xr.DataArray) -> Hashable | None:
    """The coordinate of one value that is the time of issue of all."""
    of = rf"{NAMES['init_time']}|time" if "step" in moisture.coords else NAMES["init_time"]
    return next((n for n, c in moisture.coords.items() if not c.ndim and re.fullmatch(of, str(n).lower())), None)


def selected(
    values: xr.DataArray, chosen: Mapping[str, float | str], place: str, known: Collection[str], where: str
) -> xr.DataArray:
    """One value on each dimension that is not known.

    Parameters
    ----------
    chosen
        Dimension -> value on it.
    known
        Dimensions that stay.
    where
        Where a value can be chosen, for the error.

    Raises
    ------
    VadoseError
        When there is no such dimension or value, or a further dimension has several values.
    """
    for name, value in chosen.items():
        if name not in values.dims:
            raise VadoseError(f"{place}: no dimension {name!r} to select on; found {tuple(map(str, values.dims))}")
        if name not in values.coords or value not in values[name].values.tolist():
            raise VadoseError(f"{place}: no {value!r} on {name!r}, which holds {_held(values, name)}")
        values = values.sel({name: value}, drop=True)
    if others := [str(name) for name in values.dims if name not in known and values.sizes[name] > 1]:
        raise VadoseError(
            f"{place}: {values.name} has the dimension {others[0]!r} ({_held(values, others[0])}) besides; choose one "
            f"of it {where}: {{{others[0]}: VALUE}}'"
        )
    return values.squeeze([name for name in values.dims if name not in known], drop=True)


def _held(values: xr.DataArray, name: str) -> object:
    return values[name].values.tolist()[:8] if name in values.coords else "no values"


def by_run(values: xr.DataArray) -> xr.DataArray:
    """Values of one run, or of one lead of many, with an axis for it."""
    if "init_time" in values.coords and "init_time" not in values.dims:
        if "time" in values.dims:
            ahead = values.time.values - values.init_time.values
            values = values.drop_vars("lead_time", errors="ignore").assign_coords(time=ahead).rename(time="lead_time")
        values = values.expand_dims("init_time")
    if "lead_time" in values.coords and "lead_time" not in values.dims:
        if values.lead_time.values == np.timedelta64(0):
            return values.drop_vars("lead_time")
        given = {} if "init_time" in values.dims else {"time": "init_time"}
        values = values.rename(given).expand_dims("lead_time")
    return values


def on_degrees(values: xr.DataArray) -> xr.DataArray:
    """Longitudes from -180 to 180, and units of degrees where y and x are latitudes and longitudes."""
    if "x" not in values.coords or "y" not in values.coords:  # of latitudes and longitudes of each cell
        bare = {axis: np.arange(float(values.sizes[axis])) for axis in ("y", "x") if axis in values.dims}
        return values.assign_coords(bare)
    x, y = values.x, values.y
    degrees = str(x.attrs.get("units", "")).startswith("degree") or (
        float(np.abs(x).max()) <= 360 and float(np.abs(y).max()) <= 90
    )
    if not degrees:
        return values
    wrapped = (x.values + 180) % 360 - 180 if float(x.max()) > 180 else x.values
    values = values.assign_coords(
        x=("x", wrapped, {"units": "degrees_east"}), y=("y", y.values, {"units": "degrees_north"})
    )
    return (
        values.sortby("x").assign_coords(lat=values.y, lon=values.x)
        if "lat" not in values.coords
        else values.sortby("x")
    )


def at_places(values: xr.DataArray, mapping: xr.DataArray | None, place: str) -> xr.DataArray:
    """Latitude and longitude of each cell by the projection that the file states, where it gives none itself."""
    if "station" in values.coords or {"lat", "lon"} <= set(values.coords):
        return values
    one_map = values.isel({name: 0 for name in values.dims if name not in ("y", "x")}).to_dataset(name="map")
    if "grid_crs" in with_grid(one_map).attrs:
        return values
    if mapping is None:
        raise VadoseError(
            f"{place}: x and y are in no projection that is known; give coordinates lat and lon (y, x), or a "
            "'grid_mapping' of CF"
        )
    from pyproj import CRS, Transformer

    metres = {"km": 1000.0}.get(str(values.x.attrs.get("units", "")), 1.0)
    x, y = np.meshgrid(values.x.values * metres, values.y.values * metres)
    lon, lat = Transformer.from_crs(CRS.from_cf(mapping.attrs), 4326, always_xy=True).transform(x, y)
    return values.assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
