"""One granule of NLDAS-2 or GLDAS-2.1 out of either container: netCDF, and GRIB-1 (NLDAS-2 002).

What is not told alike everywhere is checked in the file and told in the attributes: the direction of rows, the
form of an axis of depth, and the hour, of which the file's name and its variable ``time`` may differ.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox, container_of, open_netcdf, simulated_mark
from vadose.products.dates import moment
from vadose.products.grib import Array, Keys, axes, cell_of, messages, north_up, valid_time
from vadose.products.ranges import within
from vadose.products.stored import check_calendar, check_size, scale_of

LAYERS = ((0, 10), (10, 40), (40, 100), (100, 200))
"""Top and bottom of the layers of Noah [cm]."""
FILLS = (-9999.0, 9999.0)
SIMULATED_MARKER = "SIMULATED.txt"
_MONTHLY = re.compile(r"[NG]LDAS_\w+_MC?\.")
_VERSIONS = {"002": "002", "020": "2.0", "021": "2.1"}


class System(NamedTuple):
    """A land data assimilation system: centres of its first and last row and column, their step, hours a granule."""

    name: str
    lat: tuple[float, float]
    lon: tuple[float, float]
    step: float
    hours: int


NLDAS = System("NLDAS", (25.0625, 52.9375), (-124.9375, -67.0625), 0.125, 1)
GLDAS = System("GLDAS", (-59.875, 89.875), (-179.875, 179.875), 0.25, 3)


class Field(NamedTuple):
    """Where a variable lies in netCDF (2.0, or made from 002 with the layer on an axis) and in GRIB-1."""

    names: tuple[str, ...]
    by_depth: str
    parameter: int
    level: tuple[int, int, int]  # kind, top, bottom
    units: tuple[str, ...]
    factor: float = 1.0


def read_hour(
    path: Path,
    bbox: BBox | None,
    fields: dict[str, Field],
    file_name: re.Pattern[str],
    optional: tuple[str, ...] = (),
    system: System = NLDAS,
) -> xr.Dataset:
    """One granule, in our units, refused where values are out of range or a variable is missing.

    Under its name as published a file may be a subset; what it lacks is told in the attribute ``left_out``.
    """
    if _MONTHLY.match(path.name):
        raise VadoseError(f"{path}: means of a month; only granules of hours are read (NLDAS_..._H, GLDAS_..._3H)")
    from_grib = container_of(path) == "grib"
    found, where, time, notes = (_from_grib if from_grib else _from_netcdf)(path, bbox, fields, system)
    named = file_name.fullmatch(path.name)
    missing = [name for name in fields if name not in found]
    # A message may be cut off unseen at the end of GRIB; netCDF under its name that opens is whole or a subset.
    if set(missing) - set(optional) and (from_grib or not named or not found):
        raise VadoseError(
            f"{path}: holds no {', '.join(n for n in missing if n not in optional)}; is it another product, cut short, "
            "or a subset that was renamed?"
        )
    if missing:
        notes["left_out"] = ", ".join(missing)
    stamp = moment(named[1] + named[2], "%Y%m%d%H%M", path, "the hour in its name") if named else time
    if stamp is None:
        raise VadoseError(
            f"{path}: cannot determine the hour: no variable 'time', and the file does not have its published name"
        )
    if time is not None and time != stamp:
        if abs(time - stamp) > pd.Timedelta(hours=1):
            raise VadoseError(f"{path}: holds {time:%Y-%m-%d %H:%M}, its name says {stamp:%Y-%m-%d %H:%M}; renamed?")
        notes["time_note"] = f"the file says {time:%Y-%m-%d %H:%M}, the name's stamp is kept"
    variables: dict[str, object] = {"time": pd.DatetimeIndex([stamp]).as_unit("ns")}
    for name in (n for n in fields if n in found):
        raw = found[name]
        raw[np.isin(raw, FILLS) | (np.abs(raw) > 1e15)] = np.nan
        values, counts = within((raw * fields[name].factor).astype(np.float32), name, path)
        variables[name] = ("time", "lat", "lon"), values[None], counts
    dataset = where.assign(variables)  # at once, which takes less than one by one
    if all(np.isnan(dataset[name].values).all() for name in dataset.data_vars):
        raise VadoseError(f"{path}: every value is missing; is the box over water only, or the download damaged?")
    version = _VERSIONS[named[3]] if named else ("002" if from_grib else "unknown")
    dataset.attrs |= {
        "version": version,
        "granule": path.name,
        "quality": "none: the product carries no quality flag",
        "simulated": "true" if (path.parent / SIMULATED_MARKER).exists() else "false",
    } | notes
    return dataset


_Found = tuple[dict[str, Array], xr.Dataset, pd.Timestamp | None, dict[str, str]]


def _from_grib(path: Path, bbox: BBox | None, fields: dict[str, Field], system: System) -> _Found:
    named: dict[tuple[int, ...], str] = {(f.parameter, *f.level): name for name, f in fields.items()}
    found: dict[str, Array] = {}
    lattice = north = time = None
    for keys, values in messages(path, lambda keys: _place(keys) in named):
        name = named[_place(keys)]
        if name in found:
            raise VadoseError(f"{path}: holds {name} twice; a granule is one hour, split the file")
        lat, lon = _snapped(path, *axes(path, keys), system)
        if lattice is None or north is None:
            lattice, north = (lat, lon), north_up(path, lat, lon, bbox, (system.step,) * 2)
        elif not (np.array_equal(lat, lattice[0]) and np.array_equal(lon, lattice[1])):
            raise VadoseError(f"{path}: {name} lies on another grid than the messages before it")
        found[name] = values()[np.ix_(north[0], north[1])]
        time = valid_time(path, keys) if time is None else max(time, valid_time(path, keys))
    if north is None:
        raise VadoseError(f"{path}: no message holds any of {', '.join(fields)}; is it another product?")
    return found, north[2], time, {}


def _place(keys: Keys) -> tuple[int, ...]:
    """Parameter, kind of level, top and bottom of an edition-1 message; of edition 2 nothing fits."""
    if keys["edition"] != 1:
        return ()
    parameter, kind = keys["indicatorOfParameter"], keys["indicatorOfTypeOfLevel:i"]
    if kind == 112:
        return parameter, kind, keys["topLevel"], keys["bottomLevel"]
    level = 0 if kind == 1 else keys["level"]
    return parameter, kind, level, level


def _from_netcdf(path: Path, bbox: BBox | None, fields: dict[str, Field], system: System) -> _Found:
    with open_netcdf(path) as raw:
        if missing := [name for name in ("lat", "lon") if name not in raw.variables]:
            raise VadoseError(f"{path}: no variable {missing} (found: {list(raw.variables)[:8]}); it cannot be placed")
        lat, lon = (np.asarray(raw[name].values, float) for name in ("lat", "lon"))
        if lat.ndim != 1 or lon.ndim != 1:
            raise VadoseError(f"{path}: 'lat' {lat.shape} and 'lon' {lon.shape} are no axes; cut a box, not a point")
        rows, columns, where = north_up(path, *_snapped(path, lat, lon, system), bbox, (system.step,) * 2)
        _refuse_longer(path, raw, system.hours)
        notes = {"simulated": simulated_mark(raw.attrs)} if simulated_mark(raw.attrs) == "true" else {}
        found = {}
        for name, field in fields.items():
            variable = next((raw[n] for n in field.names if n in raw), None)
            if variable is None and field.by_depth in raw:
                variable, notes["depth_note"] = _layer(path, raw, field)
            if variable is not None:
                found[name] = _unpacked(path, variable.isel(lat=rows, lon=columns), field)
        return found, where, _hour(path, raw), notes


def _layer(path: Path, raw: xr.Dataset, field: Field) -> tuple[xr.DataArray, str]:
    """The part of a variable with an axis of depth that is one layer, by the axis's bounds or values."""
    variable = raw[field.by_depth]
    axis = next((str(d) for d in variable.dims if d not in ("time", "lat", "lon")), None)
    if axis is None or axis not in raw.variables:
        raise VadoseError(f"{path}: {field.by_depth} {variable.dims} has no axis of depth with values; layers unknown")
    centimetres = {"cm": 1.0, "centimeters": 1.0, "m": 100.0, "meters": 100.0}.get(raw[axis].attrs.get("units", ""))
    if centimetres is None:
        raise VadoseError(f"{path}: {axis} is in {raw[axis].attrs.get('units', 'no unit')!r}; cm or m tells layers")
    top, bottom = field.level[1:]
    values = np.asarray(raw[axis].values, float) * centimetres
    bounds = raw[axis].attrs.get("bounds", "")
    if bounds in raw:
        edges = np.asarray(raw[bounds].values, float) * centimetres
        at, note = np.flatnonzero(np.isclose(edges, (top, bottom)).all(axis=1)), "bounds"
    else:
        # Without bounds a value may be a layer's middle, bottom or top; the whole axis has to fit one of them.
        layers = np.array(LAYERS, float)
        forms = {"middles": layers.mean(axis=1), "bottoms": layers[:, 1], "tops": layers[:, 0]}
        note = next((k for k, form in forms.items() if len(values) == 4 and np.allclose(values, form)), "")
        if not note and np.isin(forms["middles"], values).all():
            note = "middles"
        here = forms[note][LAYERS.index((top, bottom))] if note else np.nan
        at = np.flatnonzero(np.isclose(values, here))
    if len(at) != 1:
        raise VadoseError(f"{path}: {axis} {values.tolist()} cm does not tell which layer is {top}-{bottom} cm")
    return variable.isel({axis: int(at[0])}), f"layers told by the {note} of the axis {axis}"


def _unpacked(path: Path, variable: xr.DataArray, field: Field) -> Array:
    """Values (lat, lon) of one hour in the file's unit, which has to be the published one, NaN where missing."""
    units = re.sub(r"[\s^*]", "", str(variable.attrs.get("units", field.units[0])))
    if units not in field.units:
        raise VadoseError(
            f"{path}: {variable.name} is in {variable.attrs['units']!r}, published in {field.units[0]!r}; "
            "convert it back or fetch the granule again"
        )
    if (hours := variable.sizes.get("time", 1)) != 1:
        raise VadoseError(f"{path}: holds {hours} hours; a granule is one, split the file")
    variable = variable.squeeze([d for d in variable.dims if d not in ("lat", "lon")]).transpose("lat", "lon")
    check_size(path, str(variable.name), variable.shape)
    values = np.asarray(variable.values, float)
    for key in ("_FillValue", "missing_value"):
        values[values == variable.attrs.get(key, np.nan)] = np.nan
    scale, offset = scale_of(path, str(variable.name), variable.dtype, variable.attrs)
    return np.where(np.isin(values, FILLS), np.nan, values * scale + offset)


def _hour(path: Path, raw: xr.Dataset) -> pd.Timestamp | None:
    """The hour by the variable ``time``, to the minute; None without one."""
    if "time" not in raw.variables or "units" not in raw["time"].attrs:
        return None
    check_calendar(path, "'time'", raw["time"].attrs)
    time = xr.decode_cf(raw[["time"]].drop_attrs(deep=False)).time.values.ravel()
    try:
        return pd.Timestamp(time[0]).round("min")
    except (IndexError, TypeError, ValueError) as error:
        raise VadoseError(f"{path}: the variable 'time' is no time ({error}); is the file damaged?") from error


def _refuse_longer(path: Path, raw: xr.Dataset, longest: int) -> None:
    """Means of months are files like those of hours, but for the bounds of their time."""
    time = raw.variables.get("time")
    bounds = raw.variables.get(str(time.attrs.get("bounds", "time_bnds"))) if time is not None else None
    unit = re.match(r"(second|minute|hour|day)s since", str(time.attrs.get("units", ""))) if time is not None else None
    if bounds is None or unit is None or bounds.size != 2:
        return
    hours = float(np.ptp(bounds.values)) * (pd.Timedelta(f"1 {unit[1]}") / pd.Timedelta(hours=1))
    if hours > longest + 0.5:
        raise VadoseError(f"{path}: means of {hours:g} hours, expected {longest}; fetch the granules of hours")


def _snapped(path: Path, lat: Array, lon: Array, system: System) -> tuple[Array, Array]:
    """Centres on the published lattice without rounding: GRIB-1 keeps a thousandth of a degree."""
    found = []
    step = system.step
    for what, values, (low, high) in (("latitudes", lat, system.lat), ("longitudes", lon, system.lon)):
        degrees = (values + 180) % 360 - 180
        exact = (np.round(degrees / step - 0.5) + 0.5) * step
        if not values.size or not (np.abs(degrees - exact) < 0.002).all() or exact.min() < low or exact.max() > high:
            raise VadoseError(
                f"{path}: {what} are not those of {system.name}, every {step} degree from {low} to {high} (found "
                f"{np.ravel(values)[:1]} on); were they shifted, swapped or regridded?"
            )
        found.append(exact)
    return found[0], found[1]


def holds(path: Path, fields: dict[str, Field], needed: tuple[str, ...], file_name: re.Pattern[str]) -> bool:
    """Whether a file's variables are those of a product, or its messages those of one on NLDAS's lattice.

    One variable does in netCDF that is named as published: servers make such subsets.
    """
    container = container_of(path)
    if container == "grib":
        named: dict[tuple[int, ...], str] = {(f.parameter, *f.level): name for name, f in fields.items()}
        found: set[str] = set()
        for keys, _ in messages(path, lambda keys: _place(keys) in named):
            if not 0.9 * NLDAS.step < cell_of(keys)[1] < 1.1 * NLDAS.step:
                return False
            found.add(named[_place(keys)])
        return set(needed) <= found
    if container not in ("hdf5", "netcdf3"):
        return False
    with open_netcdf(path) as raw:
        if "lat" not in raw.variables or "lon" not in raw.variables:
            return False
        held = {
            name
            for name, field in fields.items()
            if any(n in raw for n in field.names) or (field.by_depth or "-") in raw
        }
        return bool(held) if file_name.fullmatch(path.name) else set(needed) <= held
