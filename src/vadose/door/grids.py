"""Gridded data of your own: any data set that xarray reads, in the names, units and days of cubes, on a located raster.

CF attributes and common names are recognised; the recipe states the rest (`Own`).
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from vadose.door.days import YEARS, of_days
from vadose.door.foreign_axes import NAMES, PLACES, selected
from vadose.door.own import OfDay, Own, Quantity
from vadose.door.values import checked, in_units, is_rate
from vadose.errors import OutsideError, VadoseError
from vadose.grid import METRES_A_DEGREE, raster_coordinates, raster_window
from vadose.variables import variable

BBox = tuple[float, float, float, float]
Array = NDArray[np.floating]
SUMS = ("precipitation", "evapotranspiration", "reference_evapotranspiration", "runoff")
"""Beginnings of names of amounts, whose hours add up to a day."""
_CF = {
    "time": ("time", "T", ()),
    "y": ("latitude projection_y_coordinate grid_latitude", "Y", ("degrees_north", "degree_north")),
    "x": ("longitude projection_x_coordinate grid_longitude", "X", ("degrees_east", "degree_east")),
}
"""Axis -> its standard names, its letter, its units."""
_LOSSLESS = ("noleap", "365_day", "standard", "gregorian", "proleptic_gregorian")
"""Calendars whose days are dates of ours."""


def as_grid(
    data: xr.Dataset, own: Own, place: str, bbox: BBox | None = None, days: tuple[str, str] | None = None
) -> xr.Dataset:
    """Variables of a data set by our names, units and days, in a box and of a period, as rasters for `vadose.resample`.

    Even latitudes and longitudes, or rows and columns of a projection, become a raster that lies north up; of other
    grids each pixel keeps its latitude and longitude (y, x). Longitudes run from -180 to 180.

    Raises
    ------
    VadoseError
        When an axis, a unit, a time or the projection is not known, or values cannot be of their variable; the message
        says what to write under ``own`` in the recipe. `OutsideError` when nothing lies in the box.

    Examples
    --------
    >>> hours = pd.date_range("2020-06-01", periods=48, freq="h")
    >>> where = {"valid_time": hours, "lat": [40.0, 40.1], "lon": [260.0, 260.1]}
    >>> rain = xr.Dataset({"tp": (tuple(where), np.full((48, 2, 2), 0.001), {"units": "m"})}, where)
    >>> own = as_grid(rain, Own({"tp": Quantity("precipitation")}), "mine.nc")
    >>> own.precipitation.dims, own.precipitation.values[:, 0, 0].round(3).tolist(), own.lon.values.round(1).tolist()
    (('time', 'lat', 'lon'), [24.0, 24.0], [-100.0, -99.9])
    """
    found = timed(data, own, place)
    if days is not None and not own.static:
        found = found.sel(time=slice(days[0], f"{days[1]}T23:59:59"))
    found = _cut(located(found, own, place), bbox, place)
    made = {q.variable: _values(found[of], q, place) for of, q in own.variables.items() if of in found}
    said = {
        "product": f"data of your own, {place.rpartition('/')[2]}",
        "quality": "as given",
        "day_boundary": own.day_boundary,
        "simulated": str(data.attrs.get("simulated", "false")),
    }
    return xr.Dataset(made, attrs=said)


def timed(data: xr.Dataset, own: Own, place: str) -> xr.Dataset:
    """The variables asked for with our names of axes, at the times at which they are known; errors as of `as_grid`."""
    held = [name for name in own.variables if name in data.variables]
    places = [str(name) for name in data.variables if _place_of(str(name), own) and data[name].ndim > 1]
    mappings = [m for name in held if (m := _mapping(data[name])) in data.variables]
    data = data.reset_coords([name for name in held if name in data.coords])
    found = _named(data.set_coords([*places, *mappings])[held], own, place)
    for name in held:
        chosen = {of: value for of, value in own.select.items() if of in found[name].dims}
        found[name] = selected(found[name], chosen, place, ("time", "y", "x"), "under own, 'select")
    found = found.drop_vars([c for c in found.coords if set(found[c].dims) - {"time", "y", "x"}])
    if own.static:
        if found.sizes.get("time", 1) > 1:
            raise VadoseError(f"{place}: {held} change with time ({found.sizes['time']} times); leave 'static' out")
        return found.isel(time=0, drop=True) if "time" in found.dims else found
    if "time" not in found.dims:
        if "time" not in found.coords:
            raise VadoseError(f"{place}: {held} have no time; write 'static: true' under own where they are fixed")
        found = found.expand_dims("time")
    if "time" not in found.coords:
        raise VadoseError(f"{place}: the dimension time holds no times; name their variable, 'axes: {{time: NAME}}'")
    found = _dated(found, own, place)
    times = found.indexes["time"]
    if (twice := times[times.duplicated()]).size:
        raise VadoseError(
            f"{place}: {len(twice)} times come twice, such as {twice[0]}; keep one of each (xarray: "
            "dataset.drop_duplicates('time'))"
        )
    if own.delay:
        found = found.assign_coords(time=found.time.values + np.timedelta64(own.delay, "D"))
    return found if times.is_monotonic_increasing else found.sortby("time")


def _named(data: xr.Dataset, own: Own, place: str) -> xr.Dataset:
    """The same with our names of days, rows, columns and their places."""
    for axis, theirs in own.axes.items():
        if theirs not in data.dims and theirs not in data.coords:
            raise VadoseError(
                f"{place}: 'axes' calls {theirs!r} {axis}, which is none; found {sorted(map(str, data.sizes))}"
            )
    found = {theirs: str(ours) for ours, theirs in own.axes.items()}
    for name in map(str, data.dims):
        ours = next((axis for axis in _CF if _is_axis(data, name, axis)), None)
        if name not in found and ours and ours not in found.values():
            found[name] = ours
    missing = [axis for axis in ("y", "x") if axis not in found.values() and data.sizes]
    if missing:
        raise VadoseError(
            f"{place}: dimensions are {tuple(map(str, data.sizes))}; none is {missing[0]}; write 'axes: "
            f"{{{missing[0]}: NAME}}' under own"
        )
    if "time" not in found.values() and (one := [c for c in data.coords if _is_axis(data, str(c), "time")]):
        found[str(one[0])] = "time"
    for name in map(str, data.coords):
        if name not in found and data[name].ndim > 1 and (ours := _place_of(name, own)):
            found[name] = ours
    stale = [c for c in data.coords if str(c) in found.values() and str(c) not in found]
    renamed = data.drop_vars(stale).rename({theirs: ours for theirs, ours in found.items() if theirs != ours})
    if "time" in renamed.coords and renamed.time.ndim == 1 and "time" not in renamed.indexes:
        renamed = renamed.swap_dims({renamed.time.dims[0]: "time"})
    return renamed.transpose("time", ..., "y", "x", missing_dims="ignore")


def _is_axis(data: xr.Dataset, name: str, axis: str) -> bool:
    standard, letter, units = _CF[axis]
    said: Mapping[Any, Any] = data[name].attrs if name in data.coords else {}
    if said.get("standard_name") in standard.split() or said.get("axis") == letter or said.get("units") in units:
        return True
    known = any(said.get(key) for key in ("standard_name", "axis")) and axis != "time"
    return not known and bool(re.fullmatch(NAMES[axis], name.lower()))


def _place_of(name: str, own: Own) -> str:
    said = {theirs: str(ours) for ours, theirs in own.axes.items()}
    return said.get(name, PLACES.get(name, "")) if said.get(name, "lat") in ("lat", "lon") else ""


def _mapping(values: xr.DataArray) -> str:
    return str(values.attrs.get("grid_mapping", values.encoding.get("grid_mapping", ""))).split(":")[0]


def _dated(data: xr.Dataset, own: Own, place: str) -> xr.Dataset:
    """The same with times as dates of our calendar."""
    times = data.time
    if times.dtype.kind == "O" and hasattr(first := times.values.ravel()[0], "calendar"):
        if first.calendar not in _LOSSLESS:
            raise VadoseError(
                f"{place}: times are of the calendar {first.calendar}, whose days are no dates; convert them before "
                "(xarray: dataset.convert_calendar('standard', align_on='date'))"
            )
        return data.convert_calendar("standard", use_cftime=False)
    if times.dtype.kind in "iuf" and own.time_format and " since " in own.time_format:
        plain = times.assign_attrs(units=own.time_format).to_dataset(name="t").reset_coords(drop=True)
        return data.assign_coords(time=("time", xr.decode_cf(plain).t.values))
    if times.dtype.kind in "iuf" and own.time_format is None:
        raise VadoseError(
            f"{place}: times are the numbers {times.values[0]:g}, ...; write 'time_format' under own, such as '%Y%m%d' "
            "or 'days since 2020-01-01'"
        )
    if times.dtype.kind != "M":
        text = pd.Series(times.values).map(lambda t: t.decode() if isinstance(t, bytes) else f"{t}")
        read = pd.to_datetime(text, format=own.time_format or "ISO8601", errors="coerce", utc=True)
        if (wrong := read.isna().to_numpy()).any():
            raise VadoseError(
                f"{place}: found the time {text[int(wrong.argmax())]!r}; write 'time_format' under own, such as "
                "'%d/%m/%Y'"
            )
        data = data.assign_coords(time=("time", read.dt.tz_localize(None).to_numpy("datetime64[ns]")))
    years = data.time.dt.year.values
    if not ((years >= YEARS[0]) & (years <= YEARS[1])).all():
        raise VadoseError(f"{place}: times are off the years {YEARS[0]} .. {YEARS[1]}, or missing; correct them")
    return data


def located(data: xr.Dataset, own: Own, place: str) -> xr.Dataset:
    """What `timed` gives as a raster north up, or with the place of each pixel; errors as of `as_grid`."""
    if min(data.sizes["y"], data.sizes["x"]) < 2:
        raise VadoseError(f"{place}: {data.sizes['y']} x {data.sizes['x']} pixels are no grid; give at least 2 x 2")
    both = {"lat", "lon"} <= set(data.coords) and data.lat.ndim > 1
    if both and "time" in data.lat.dims:
        data = data.assign_coords({name: data[name].isel(time=0, drop=True) for name in ("lat", "lon")})
    axes = {"y", "x"} <= set(data.coords)
    crs = _crs_of(data, own, place) if axes else None
    if crs is None and axes and _are_degrees(data):
        crs = CRS.from_epsg(4326)
    if crs is None and not both:
        ends = ", ".join(f"{a} {float(data[a][0]):g} .. {float(data[a][-1]):g}" for a in ("x", "y") if a in data.coords)
        raise VadoseError(
            f"{place}: {ends or 'its rows and columns'} are in no projection that is stated; write 'crs: EPSG:NUMBER' "
            "under own, or name latitudes and longitudes, 'axes: {lat: NAME, lon: NAME}'"
        )
    if crs is None:
        return data.drop_vars([c for c in data.coords if c not in ("time", "lat", "lon")])
    data = data.drop_vars([c for c in data.coords if c not in ("time", "y", "x")])
    metres = 1000.0 if str(data.x.attrs.get("units", "")) in ("km", "kilometer", "kilometre") else 1.0
    data = data.assign_coords(x=data.x.astype(float) * metres, y=data.y.astype(float) * metres)
    if crs.is_geographic and not crs.is_derived:
        data = data.assign_coords(x=(data.x + 180) % 360 - 180 if float(data.x.max()) > 180 else data.x)
    data = data.sortby("x").sortby("y", ascending=False)
    x, y = data.x.values, data.y.values
    if (crs.is_derived and crs.is_geographic) or not (_even(x) and _even(y)):
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(*np.meshgrid(x, y))
        return data.drop_vars(["y", "x"]).assign_coords(lat=(("y", "x"), lat), lon=(("y", "x"), lon))
    dx, dy = (x[-1] - x[0]) / (len(x) - 1), (y[0] - y[-1]) / (len(y) - 1)
    raster = raster_coordinates(crs, (x[0] - dx / 2, y[0] + dy / 2, dx, dy), (len(y), len(x)))
    rename = {"y": "lat", "x": "lon"} if "lat" in raster.dims else {}
    return data.drop_vars(["y", "x"]).rename(rename).assign_coords(raster.coords)


def _crs_of(data: xr.Dataset, own: Own, place: str) -> CRS | None:
    """The projection that the recipe, a grid mapping or an attribute states."""
    mapping = next((m for name in data.data_vars if (m := _mapping(data[name])) in data.coords), "")
    scalar = next((c for c in ("crs", "spatial_ref") if c in data.coords), "")
    said: Any = own.crs or dict(data[mapping or scalar].attrs if mapping or scalar else {})
    said = said or data.attrs.get("grid_crs") or data.attrs.get("crs")
    if not said:
        return None
    try:
        if isinstance(said, dict) and (wkt := said.get("crs_wkt") or said.get("spatial_ref")):
            return CRS.from_user_input(wkt)
        return CRS.from_cf(said) if isinstance(said, dict) else CRS.from_user_input(said)
    except (CRSError, KeyError) as error:
        raise VadoseError(
            f"{place}: its projection {str(said)[:80]!r} is not understood ({str(error).splitlines()[0][:80]}); write "
            "'crs: EPSG:NUMBER' under own"
        ) from error


def _are_degrees(data: xr.Dataset) -> bool:
    units = str(data.x.attrs.get("units", ""))
    within = float(np.abs(data.x).max()) <= 360 and float(np.abs(data.y).max()) <= 90
    return units.startswith("degree") or (units not in ("m", "km", "1") and within)


def _even(values: Array) -> bool:
    step = np.diff(values)
    rounding = 4 * float(np.spacing(np.float32(np.abs(values).max())))
    return bool(np.ptp(step) <= 0.01 * abs(step.mean()) + rounding)


def _cut(data: xr.Dataset, bbox: BBox | None, place: str) -> xr.Dataset:
    """The pixels whose centres lie in a box [degree] or next to it."""
    if bbox is None:
        return data
    west, south, east, north = bbox
    if "crs" not in data.coords:
        lat, lon = data.lat.values, (data.lon.values + 180) % 360 - 180
        inside = (lat >= south) & (lat <= north) & (lon >= west) & (lon <= east)
        if not inside.any():
            raise OutsideError(
                f"{place}: none of its pixels lies in west {west:g}, south {south:g}, east {east:g}, north {north:g}"
            )
        r, c = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        return data.isel(y=slice(max(r[0] - 2, 0), r[-1] + 3), x=slice(max(c[0] - 2, 0), c[-1] + 3))
    y, x = ("lat", "lon") if "lat" in data.dims else ("y", "x")
    dx, dy = float(data[x][1] - data[x][0]), float(data[y][0] - data[y][1])
    unit = 1.0 if y == "lat" else METRES_A_DEGREE * np.cos(np.radians(max(abs(south), abs(north), 1.0)))
    grown = west - dx / unit, south - dy / unit, east + dx / unit, north + dy / unit
    corner = float(data[x][0]) - dx / 2, float(data[y][0]) + dy / 2, dx, dy
    rows, columns = raster_window(data.crs.attrs["crs_wkt"], corner, (data.sizes[y], data.sizes[x]), grown, place)
    if min(rows.stop - rows.start, columns.stop - columns.start) < 2:
        raise OutsideError(f"{place}: fewer than 2 x 2 of its pixels lie in the box")
    return data.isel({y: rows, x: columns})


def _values(values: xr.DataArray, q: Quantity, place: str) -> xr.DataArray:
    """Values of a variable in our unit, one a day, those that it cannot have refused or counted as missing."""
    where = f"{place}: {values.name}"
    if values.dtype.kind not in "fiub":
        raise VadoseError(f"{where} holds {values.dtype}; expected numbers")
    flags = {key: values.attrs[key] for key in ("flag_values", "flag_meanings") if key in values.attrs}
    said = {"source_variable": str(values.name)} | {key: np.asarray(of).tolist() for key, of in flags.items()}
    values = values.load().astype(np.float64 if values.dtype.itemsize > 4 and values.dtype.kind == "f" else np.float32)
    if q.missing is not None:
        values = values.where(values != values.dtype.type(q.missing))
    unit = q.unit or values.attrs.get("units")
    values = (values * q.scale + q.offset if (q.scale, q.offset) != (1.0, 0.0) else values).drop_attrs(deep=False)
    known = variable(q.variable)
    if known and unit is None and known.units != "1":
        raise VadoseError(f"{where} has no attribute 'units'; write its unit under own, such as 'unit: {known.units}'")
    try:
        if unit is not None:
            named = values.assign_attrs(units=str(unit)).rename(q.variable).to_dataset()
            values = in_units(named, where)[q.variable]
        values = values.copy(data=checked(values.values, q.variable, where)[0])
    except VadoseError as error:
        hint = "" if q.missing is not None else "; under own in the recipe: 'unit', 'missing', or 'scale' and 'offset'"
        raise VadoseError(f"{error}{hint}") from error
    if "converted_from" in values.attrs:
        said["converted_from"] = values.attrs["converted_from"]
    if "time" in values.dims:
        days = values.time.values.astype("datetime64[D]").astype("datetime64[ns]")
        how = q.of_day or _of_day(q.variable, str(unit or ""))
        if len(np.unique(days)) < len(days):
            values, said["of_day"] = of_days(values, "time", days, place, how), how
        else:
            values = values.assign_coords(time=days)
    units = known.units if known else str(unit or "1")
    return values.astype(np.float32).drop_attrs(deep=False).assign_attrs(said | {"units": units})


def _of_day(name: str, unit: str) -> OfDay:
    if name.endswith(("_max", "_min")):
        return "max" if name.endswith("_max") else "min"
    amount = name.startswith(SUMS) or (name.endswith("wave_radiation") and "J" in unit)
    return "sum" if amount and not is_rate(unit) else "mean"
