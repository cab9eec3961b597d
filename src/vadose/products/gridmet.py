"""gridMET: daily surface meteorology of CONUS on 1/24 degree, 1979 to yesterday.

Published by the University of Idaho, Abatzoglou (2013), doi:10.1002/joc.3413: a file for each variable and year,
``tmmx_2019.nc``, and the same through OPeNDAP over all years, ``agg_met_tmmx_1979_CurrentYear_CONUS.nc``, whose
variables bear other names. Three internal names stand for two variables each (``air_temperature`` is ``tmmx`` and
``tmmn``, ``relative_humidity`` is ``rmax`` and ``rmin``, ``potential_evapotranspiration`` is ``pet`` and ``etr``),
so that the name of the file counts. Values are packed in unsigned 16 bits, in older files plain floats; the order
of dimensions varies; ``GeoTransform`` gives the centre of the first cell where a corner belongs, so that only
``lat`` and ``lon`` place the cells. A day ends at midnight Mountain Standard Time, 07:00 UTC of the next. The
latest two months are provisional.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.products.containers import BBox, choose, container_of, open_netcdf, simulated_mark
from vadose.products.dates import after, moment
from vadose.products.lattice import on_lattice
from vadose.products.product import AtStations, Product
from vadose.products.ranges import Counted, within
from vadose.products.stored import check_calendar, check_size, scale_of
from vadose.variables import describe


class Field(NamedTuple):
    """Our name of a variable, its names inside yearly and aggregated files, and its published units."""

    ours: str
    yearly: str
    aggregated: str
    units: tuple[str, ...]


_DEPTH = ("mm", "mm/day", "mmd-1", "kgm-2")
FIELDS = {
    "pr": Field("precipitation", "precipitation_amount", "precipitation_amount", _DEPTH),
    "srad": Field(
        "shortwave_radiation",
        "surface_downwelling_shortwave_flux_in_air",
        "daily_mean_shortwave_radiation_at_surface",
        ("wm-2", "w/m2", "w/m^2"),
    ),
    "sph": Field("specific_humidity", "specific_humidity", "daily_mean_specific_humidity", ("kg/kg", "kgkg-1")),
    "vpd": Field(
        "vapor_pressure_deficit", "mean_vapor_pressure_deficit", "daily_mean_vapor_pressure_deficit", ("kpa",)
    ),
    "pet": Field(
        "reference_evapotranspiration",
        "potential_evapotranspiration",
        "daily_mean_reference_evapotranspiration_grass",
        _DEPTH,
    ),
    "etr": Field(
        "reference_evapotranspiration_alfalfa",
        "potential_evapotranspiration",
        "daily_mean_reference_evapotranspiration_alfalfa",
        _DEPTH,
    ),
    "vs": Field("wind_speed", "wind_speed", "daily_mean_wind_speed", ("m/s", "ms-1")),
    "th": Field(
        "wind_from_direction",
        "wind_from_direction",
        "daily_mean_wind_direction",
        ("degreesclockwisefromnorth", "degrees", "degree"),
    ),
    "tmmx": Field("air_temperature_max", "air_temperature", "daily_maximum_temperature", ("k",)),
    "tmmn": Field("air_temperature_min", "air_temperature", "daily_minimum_temperature", ("k",)),
    "rmax": Field("relative_humidity_max", "relative_humidity", "daily_maximum_relative_humidity", ("%", "percent")),
    "rmin": Field("relative_humidity_min", "relative_humidity", "daily_minimum_relative_humidity", ("%", "percent")),
}
FILE_NAME = re.compile(
    rf"(?:(?P<yearly>{'|'.join(FIELDS)}|fm100|fm1000|bi|erc)_(?P<year>\d{{4}})"
    rf"|agg_met_(?P<aggregated>{'|'.join(FIELDS)}|fm100|fm1000|bi|erc)_1979_CurrentYear_CONUS)\.nc"
)
_FIRE = (
    "dead_fuel_moisture_100hr",
    "dead_fuel_moisture_1000hr",
    "burning_index_g",
    "energy_release_component-g",
    "daily_mean_burning_index_g",
    "daily_mean_energy_release_component-g",
)
# What the attribute `description` says where names do not tell two variables apart.
_WORDS = {"pet": "grass", "etr": "alfalfa", "tmmx": "max", "tmmn": "min", "rmax": "max", "rmin": "min"}
_FILLS = (32767, -32767, -9999)
_STEP = 1 / 24
_EXTENT = (-124.76667, 25.06667, -67.05833, 49.4)


def read_gridmet(
    path: Path, *, bbox: BBox | None = None, time: tuple[str, str] | None = None, variable: str | None = None
) -> xr.Dataset:
    """Read the days of a file, most often one variable of a year.

    Parameters
    ----------
    path
        A yearly file, one out of OPeNDAP or the subset service, or a part of either.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.
    time
        First and last day; only these are read.
    variable
        gridMET's short name, such as ``'tmmx'``, where neither the file's name nor its attributes tell
        it from the other of the same internal name.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up, float32, NaN outside CONUS: of ``precipitation`` [kg m-2],
        ``shortwave_radiation`` [W m-2], ``specific_humidity`` [kg kg-1], ``vapor_pressure_deficit`` [kPa],
        ``reference_evapotranspiration`` and ``reference_evapotranspiration_alfalfa`` [kg m-2],
        ``wind_speed`` [m s-1], ``wind_from_direction`` [degree], ``air_temperature_max`` and ``_min`` [K],
        ``relative_humidity_max`` and ``_min`` [percent], what the file holds. Time is the day's date.

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, does not tell which of two variables it holds,
        or its values are out of range; `vadose.errors.OutsideError` when box or days lie outside it.

    References
    ----------
    Abatzoglou (2013), doi:10.1002/joc.3413.
    """
    if variable is not None:
        choose(variable, FIELDS, "variable", path)
    first, last = _wanted(path, time)
    with open_netcdf(path) as raw:
        held = _held(path, raw, variable)
        day_axis = next((name for name in ("day", "time") if name in raw.variables), None)
        if missing := [name for name in ("lat", "lon") if name not in raw.variables]:
            raise VadoseError(f"{path}: no variable {missing} (found: {list(raw.variables)[:8]}); it cannot be placed")
        if day_axis is None:
            raise VadoseError(f"{path}: no variable 'day' (found: {list(raw.variables)[:8]}); it cannot be dated")
        days = _days(path, raw[day_axis])
        _compare_name(path, days)
        chosen = _chosen(path, days, first, last)
        lat, lon = (np.asarray(raw[axis].values, float) for axis in ("lat", "lon"))
        rows, columns, south_first, dataset = on_lattice(path, lat, lon, bbox, _STEP, _EXTENT)
        dataset = dataset.assign_coords(time=days[chosen])
        for key, name in held.items():
            part = raw[name]
            if set(part.dims) - {day_axis} != {"lat", "lon"}:
                raise VadoseError(f"{path}: {name} has dimensions {part.dims}; published are day, lat and lon")
            # One day, cut out with a library, may have lost its axis.
            part = part if day_axis in part.dims else part.expand_dims(day_axis)
            part = part.isel({day_axis: chosen, "lat": rows, "lon": columns}).transpose(day_axis, "lat", "lon")
            check_size(path, name, part.shape)
            values, counts = _unpacked(path, part, FIELDS[key])
            dataset[FIELDS[key].ours] = ("time", "lat", "lon"), values[:, ::-1] if south_first else values, counts
        attributes = dict(raw.attrs)
    if bbox is None and all(bool(field.isnull().all()) for field in dataset.data_vars.values()):
        raise VadoseError(f"{path}: every value is missing; the file is empty or damaged, fetch it again")
    dataset = describe(dataset)
    dataset.attrs |= {
        "product": "gridMET",
        "version": str(attributes.get("date", attributes.get("datee", "unknown"))),
        "granule": path.name,
        "quality": "none: the product carries no quality flag",
        "day_boundary": "midnight to midnight Mountain Standard Time, 07:00 UTC to 07:00 UTC of the next day",
        "simulated": simulated_mark(attributes),
        "variables": ", ".join(held),
        "status": _status(attributes, days),
    }
    return dataset


def is_gridmet(path: Path) -> bool:
    """Whether a file holds a variable of gridMET's name on axes named as its are, in its cells."""
    if container_of(path) not in ("hdf5", "netcdf3"):
        return False
    with open_netcdf(path) as raw:
        if not {"lat", "lon"} <= set(raw.variables) or not {"day", "time"} & set(raw.variables):
            return False
        lon = np.asarray(raw["lon"].values, float)
        if lon.ndim != 1 or (len(lon) > 1 and abs((lon[1] - lon[0]) / _STEP - 1) > 0.05):
            return False
        named = [name for name in map(str, raw.data_vars) if name in _FIRE or _candidates(name)]
        # The names are CF standard names, which others use too; MACA is of the same author and cells.
        about = str(raw.attrs).lower()
        own = "day" in raw.variables or "abatzoglou" in about or any(name.startswith("daily_m") for name in named)
        return bool(named) and own and "macav2" not in about


def _candidates(name: str) -> list[str]:
    return [key for key, field in FIELDS.items() if name in (key, field.yearly, field.aggregated)]


def _held(path: Path, raw: xr.Dataset, variable: str | None) -> dict[str, str]:
    """gridMET's short name of each variable in a file, and its name in there."""
    named = set(re.split(r"[^a-z]+", path.stem.lower())) & set(FIELDS)
    held: dict[str, str] = {}
    for name in map(str, raw.data_vars):
        if not (candidates := _candidates(name)):
            continue
        told = candidates
        if len(candidates) > 1:
            attributes = {
                k: str(raw[name].attrs.get(k, "")).lower() for k in ("long_name", "standard_name", "description")
            }
            by_name = [key for key in candidates if key in named]
            by_attributes = [key for key in candidates if key in (attributes["long_name"], attributes["standard_name"])]
            by_attributes = by_attributes or [key for key in candidates if _WORDS[key] in attributes["description"]]
            if variable in candidates:
                told = [variable]
            elif by_name and by_attributes and set(by_name) != set(by_attributes):
                raise VadoseError(
                    f"{path}: {name} is {by_name[0]} by the file's name and {by_attributes[0]} by its attributes; "
                    "was it renamed? Say which with variable="
                )
            else:
                told = by_name or by_attributes
        if len(told) != 1:
            raise VadoseError(
                f"{path}: {name} may be {' or '.join(candidates)}, and neither the name of the file nor its "
                f"attributes tell; give it its published name ({candidates[0]}_YYYY.nc) or say which with variable="
            )
        held[told[0]] = name
    if variable is not None:
        held = {key: name for key, name in held.items() if key == variable}
    if not held:
        fire = [name for name in map(str, raw.data_vars) if name in _FIRE]
        raise VadoseError(
            f"{path}: holds {', '.join(fire)}, an index of fire danger, which is not read; leave the file away"
            if fire
            else f"{path}: no variable of gridMET{f' that is {variable}' if variable else ''} (found: "
            f"{list(raw.data_vars)[:8]}); is it another product?"
        )
    return held


def _days(path: Path, axis: xr.DataArray) -> pd.DatetimeIndex:
    """The days of a file, every one once and in order."""
    units = str(axis.attrs.get("units", axis.attrs.get("description", "")))
    if not (since := re.match(r"(days|hours) since (\d{4}-\d{1,2}-\d{1,2})", units)):
        raise VadoseError(f"{path}: {axis.name} is in {units!r}; published is 'days since 1900-01-01 00:00:00'")
    check_calendar(path, str(axis.name), axis.attrs)
    numbers = np.atleast_1d(axis.values).astype(float) / (24 if since[1] == "hours" else 1)
    if not numbers.size or not np.isfinite(numbers).all():
        raise VadoseError(f"{path}: {axis.name} holds no days, or gaps among its {numbers.size}; is the file complete?")
    if (back := np.diff(numbers) <= 0).any():
        k = int(back.argmax())
        raise VadoseError(
            f"{path}: {axis.name} goes from {numbers[k]:g} to {numbers[k + 1]:g} days; expected every day once and in "
            "order; is it pieced together?"
        )
    epoch = moment(since[2], "%Y-%m-%d", path, f"the epoch of {axis.name}")
    for number in (numbers[0], numbers[-1]):
        after(epoch, 86400 * float(number), path, str(axis.name))
    days = epoch + pd.to_timedelta(numbers, unit="D")
    return pd.DatetimeIndex(days, name="time").floor("D").as_unit("ns")


def _compare_name(path: Path, days: pd.DatetimeIndex) -> None:
    """Refuse a file of a year, or of a day, whose name says another."""
    if not (named := re.fullmatch(rf"(?:{'|'.join(FIELDS)})_(\d{{4}})(\d{{4}})?", path.stem)):
        return
    form = "%Y%m%d" if named[2] else "%Y"
    strange = [day for day in days if f"{day:{form}}" != named[1] + (named[2] or "")]
    if strange:
        raise VadoseError(
            f"{path}: {len(strange)} of its {len(days)} days are not those in its name ({strange[0]:%Y-%m-%d}); "
            "was it renamed?"
        )


def _wanted(path: Path, time: tuple[str, str] | None) -> tuple[pd.Timestamp, pd.Timestamp]:
    try:
        first, last = (pd.Timestamp(day).floor("D") for day in time or (pd.Timestamp.min.ceil("D"), pd.Timestamp.max))
        if first <= last:
            return first, last
    except (TypeError, ValueError):
        pass
    raise VadoseError(f"{path}: time {time!r}; give the first and the last day, such as ('2019-06-01', '2019-08-31')")


def _chosen(path: Path, days: pd.DatetimeIndex, first: pd.Timestamp, last: pd.Timestamp) -> slice:
    begin, end = int(days.searchsorted(first)), int(days.searchsorted(last, side="right"))
    if begin >= end:
        raise OutsideError(
            f"{path}: no day from {first:%Y-%m-%d} to {last:%Y-%m-%d} in it (it holds {days[0]:%Y-%m-%d} to "
            f"{days[-1]:%Y-%m-%d}); choose another file or other days"
        )
    return slice(begin, end)


def _unpacked(path: Path, part: xr.DataArray, field: Field) -> Counted:
    """Values in our units, which are the published ones; refused where they cannot be."""
    attributes: dict[str, Any] = part.attrs
    units = str(attributes.get("units", ""))
    if re.sub(r"\s+", "", units.lower()) not in field.units:
        raise VadoseError(
            f"{path}: {part.name} is in {units!r}, published in {field.units[0]!r}; fetch the file again as published"
        )
    raw = np.asarray(part.values)
    unsigned = str(attributes.get("_Unsigned", "")).lower()
    if raw.dtype.kind in "iu" and unsigned in ("true", "false"):
        raw = raw.astype(raw.dtype.newbyteorder("=")).view(f"{'u' if unsigned == 'true' else 'i'}{raw.dtype.itemsize}")
    if raw.dtype.kind in "iu" and "scale_factor" not in attributes:
        raise VadoseError(f"{path}: {part.name} is packed ({raw.dtype}) but has no scale_factor; fetch the file again")
    declared = [attributes[key] for key in ("_FillValue", "missing_value") if key in attributes]
    missing = np.isin(raw, [*_FILLS, *(float(np.ravel(value)[0]) for value in declared)])
    scale, offset = scale_of(path, str(part.name), raw.dtype, attributes)
    values = raw.astype(np.float32)
    values *= np.float32(scale)
    values += np.float32(offset)
    values[missing] = np.nan
    return within(values, field.ours, path)


def _status(attributes: Mapping[str, object], days: pd.DatetimeIndex) -> str:
    """From which day on the file's values are provisional and early, as its slices (from 1) say."""
    marks = [attributes.get(f"last_{stage}_slice") for stage in ("permanent", "provisional")]
    if None in marks or days[0].year != days[-1].year:
        return "unknown"
    # Slices are counted in the year's file, also where only a part of it was kept.
    last = [pd.Timestamp(days[0].year, 1, 1) + pd.Timedelta(days=int(float(str(mark))) - 1) for mark in marks]
    return f"permanent to {last[0]:%Y-%m-%d}, provisional to {last[1]:%Y-%m-%d}, early after it"


PRODUCT = Product(
    "gridMET surface meteorology, daily, 1/24 degree",
    "grid",
    "10.1002/joc.3413",
    read_gridmet,
    is_gridmet,
    FILE_NAME,
    "1 to 2 days, provisional for some months",
    day_means=True,
    sources=("gridmet",),
    published={field.ours: name for name, field in FIELDS.items()},
    stations=AtStations(
        {
            name: name
            for name in (
                "precipitation",
                "shortwave_radiation",
                "specific_humidity",
                "vapor_pressure_deficit",
                "wind_speed",
                "reference_evapotranspiration",
                "reference_evapotranspiration_alfalfa",
            )
        },
        reach=10_000,
    ),
)
