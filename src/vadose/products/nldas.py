"""NLDAS-2, hourly on 0.125 degrees over CONUS: soil of the Noah land-surface model and its forcing, file A.

Published by NASA GES DISC: Noah 2.0 doi:10.5067/T4OW83T8EXDO, forcing A 2.0 doi:10.5067/THUF4J1RLSYG (version
002: doi:10.5067/6J5LHHOHZHN4). A granule is an hour: ``NLDAS_NOAH0125_H.A20190601.1300.020.nc`` (netCDF) or,
until version 002, ``NLDAS_NOAH0125_H.A20190601.1300.002.grb`` (GRIB-1). Its stamp is the end of the hour: rain
is what fell in the hour before it, states are those at it. Soil moisture is kg m-2 of a layer, and the four
layers differ in thickness. Rows run from south to north. GRIB parameters are of a table of its own (soil
moisture 86, soil temperature 85), and netCDF made from GRIB names them SOILM and TSOIL, with an axis of depth.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox
from vadose.products.dates import days_in_name
from vadose.products.nldas_hour import NLDAS, Field, System, holds, read_hour
from vadose.products.product import Product, Twin
from vadose.products.ranges import sum_counts
from vadose.variables import describe

FILE_NAME_NOAH = re.compile(r"NLDAS_NOAH0125_H\.A(\d{8})\.(\d{4})\.(002|020)\.(grb|nc).*")
FILE_NAME_FORCING = re.compile(r"NLDAS_FORA0125_H\.A(\d{8})\.(\d{4})\.(002|020)\.(grb|nc).*")
_COMBINED = {"_max": np.maximum, "_min": np.minimum}
"""How values of a name with this ending make that of a day."""
_VERSION = re.compile(r"\.(?P<a>002|020)\.(?:grb|nc).*")
LAYERS = {"0_10cm": (0, 10), "10_40cm": (10, 40), "40_100cm": (40, 100), "100_200cm": (100, 200)}


_MASS, _KELVIN, _FLUX, _SPEED = ("kgm-2", "kg/m2", "mm"), ("K",), ("Wm-2", "W/m2"), ("ms-1", "m/s")
NOAH = {
    f"soil_moisture_{layer}": Field(
        (f"SoilM_{layer}",), "SOILM", 86, (112, top, bottom), _MASS, 1 / (10 * (bottom - top))
    )
    for layer, (top, bottom) in LAYERS.items()
} | {
    f"soil_temperature_{layer}": Field((f"SoilT_{layer}",), "TSOIL", 85, (112, top, bottom), _KELVIN)
    for layer, (top, bottom) in LAYERS.items()
}
FORCING = {
    "precipitation": Field(("Rainf", "APCP"), "", 61, (1, 0, 0), _MASS),
    "air_temperature": Field(("Tair", "TMP"), "", 11, (105, 2, 2), _KELVIN),
    "specific_humidity": Field(("Qair", "SPFH"), "", 51, (105, 2, 2), ("kgkg-1", "kg/kg")),
    "surface_pressure": Field(("PSurf", "PRES"), "", 1, (1, 0, 0), ("Pa",)),
    "eastward_wind": Field(("Wind_E", "UGRD"), "", 33, (105, 10, 10), _SPEED),
    "northward_wind": Field(("Wind_N", "VGRD"), "", 34, (105, 10, 10), _SPEED),
    "longwave_radiation": Field(("LWdown", "DLWRF"), "", 205, (1, 0, 0), _FLUX),
    "shortwave_radiation": Field(("SWdown", "DSWRF"), "", 204, (1, 0, 0), _FLUX),
}


def read_nldas_noah(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one hour of soil moisture and temperature of the Noah model.

    Parameters
    ----------
    path
        A granule, netCDF or GRIB-1.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up: ``soil_moisture_0_10cm``, ``_10_40cm``, ``_40_100cm``, ``_100_200cm``
        [m3 m-3], the layer's water over its thickness, and ``soil_temperature_...`` [K], of the layers the
        file has (netCDF of the published name may be a subset); NaN over water. Time is the stamp [UTC].

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, or its values are out of range.

    References
    ----------
    Xia et al. (2012), doi:10.1029/2011JD016048; doi:10.5067/T4OW83T8EXDO.
    """
    dataset = read_hour(path, bbox, NOAH, FILE_NAME_NOAH, optional=tuple(n for n in NOAH if "temperature" in n))
    dataset.attrs |= {
        "product": "NLDAS_NOAH0125_H",
        "day_boundary": "an hour, states at its stamp; a day is made by daily_nldas_noah",
    }
    return describe(dataset)


def read_nldas_forcing(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one hour of the forcing, file A.

    Parameters
    ----------
    path
        A granule, netCDF or GRIB-1.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up: ``precipitation`` [kg m-2 of the hour before the stamp],
        ``air_temperature`` [K], ``specific_humidity`` [kg kg-1], ``surface_pressure`` [Pa],
        ``eastward_wind``, ``northward_wind`` [m s-1], ``longwave_radiation``, ``shortwave_radiation``
        [W m-2], those the file has (netCDF of the published name may be a subset); NaN where missing. Time is
        the stamp, the end of the hour [UTC].

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, or its values are out of range.

    References
    ----------
    Xia et al. (2012), doi:10.1029/2011JD016048; doi:10.5067/THUF4J1RLSYG.
    """
    dataset = describe(read_hour(path, bbox, FORCING, FILE_NAME_FORCING))
    if "precipitation" in dataset:
        dataset.precipitation.attrs["long_name"] = "precipitation of the hour before the stamp"
    dataset.attrs |= {
        "product": "NLDAS_FORA0125_H",
        "day_boundary": "an hour that ends at its stamp; a day is made by daily_nldas_forcing",
    }
    return dataset


def daily_nldas_noah(paths: Iterable[Path], *, bbox: BBox | None = None, min_hours: int = 24) -> xr.Dataset:
    """Mean soil moisture and temperature of UTC days, from the states at 00:00 to 23:00 of each.

    Parameters
    ----------
    paths
        Granules of one day or several, in any order.
    bbox
        As in `read_nldas_noah`.
    min_hours
        Hours a day needs.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) as from `read_nldas_noah`, and ``hours`` (time), the hours found.

    Raises
    ------
    VadoseError
        When a day has fewer hours, an hour comes twice, or granules differ in grid.
    """
    dataset = daily_of(paths, read_nldas_noah, bbox, min_hours, NLDAS, closing=False)
    dataset.attrs["day_boundary"] = "UTC day, mean of the states at 00:00 to 23:00"
    return dataset


def daily_nldas_forcing(paths: Iterable[Path], *, bbox: BBox | None = None, min_hours: int = 24) -> xr.Dataset:
    """Sum of the rain and means of the rest over UTC days: stamps from 01:00 of the day to 00:00 of the next.

    A stamp is the end of its hour, so that the granule of 00:00 belongs to the day before it.

    Parameters
    ----------
    paths
        Granules of one day or several, in any order.
    bbox
        As in `read_nldas_forcing`.
    min_hours
        Hours a day needs. With fewer than 24 the rain is the sum of those found.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) as from `read_nldas_forcing`, rain [kg m-2 of the day], and ``hours`` (time), the
        hours found.

    Raises
    ------
    VadoseError
        When a day has fewer hours, an hour comes twice, or granules differ in grid.
    """
    dataset = daily_of(paths, read_nldas_forcing, bbox, min_hours, NLDAS)
    dataset.attrs["day_boundary"] = "UTC day, hours that end at 01:00 of the day to 00:00 of the next"
    return describe(dataset)


def is_nldas_noah(path: Path) -> bool:
    """Whether a file holds the soil layers of NLDAS-2 Noah (its sister models have other layers)."""
    return holds(path, NOAH, ("soil_moisture_0_10cm", "soil_moisture_40_100cm"), FILE_NAME_NOAH)


def is_nldas_forcing(path: Path) -> bool:
    """Whether a file holds the forcing of file A (file B has no temperature at 2 m)."""
    return holds(path, FORCING, tuple(FORCING), FILE_NAME_FORCING)


def daily_of(
    paths: Iterable[Path],
    read: Callable[..., xr.Dataset],
    bbox: BBox | None,
    min_hours: int,
    system: System,
    *,
    closing: bool = True,
) -> xr.Dataset:
    """The rain's sum, extremes of what is named so, and means of the rest over the granules of each day.

    With ``closing`` the granule of 00:00 closes the day before it, else it opens its own.
    """
    if not 1 <= min_hours <= 24:
        raise VadoseError(f"{system.name} day: min_hours {min_hours}; give 1 to 24")
    shift = pd.Timedelta(hours=system.hours if closing else 0)
    sums: dict[pd.Timestamp, xr.Dataset] = {}
    seen: dict[pd.Timestamp, dict[pd.Timestamp, str]] = {}
    for path in paths:
        hour = read(path, bbox=bbox)
        stamp = pd.Timestamp(hour.time.values[0])
        day = (stamp - shift).floor("D")
        hour = hour.isel(time=0, drop=True)
        if day not in sums:
            sums[day], seen[day] = hour, {stamp: path.name}
            continue
        if stamp in seen[day]:
            raise VadoseError(f"{path}: the hour {stamp:%Y-%m-%d %H:%M} was read from {seen[day][stamp]} already")
        if set(hour) != set(sums[day]) or not (hour.lat.equals(sums[day].lat) and hour.lon.equals(sums[day].lon)):
            raise VadoseError(f"{path}: other variables or another grid than {next(iter(seen[day].values()))}")
        for name in map(str, hour):
            sums[day][name].values = _COMBINED.get(name[-4:], np.add)(sums[day][name].values, hour[name].values)
        sum_counts(sums[day], [sums[day], hour])
        sums[day].attrs["simulated"] = max(sums[day].attrs["simulated"], hour.attrs["simulated"])  # "true" > "false"
        seen[day][stamp] = path.name
    if not sums:
        raise VadoseError(f"{system.name} day: no granule given")
    days = sorted(sums)
    for day in days:
        _expect_hours(system, day, list(seen[day]), min_hours, closing)
        for name in map(str, sums[day].data_vars):
            if name != "precipitation" and name[-4:] not in _COMBINED:
                sums[day][name].values /= np.float32(len(seen[day]))
    try:
        dataset = xr.concat(
            [sums[d] for d in days],
            pd.DatetimeIndex(days, name="time").as_unit("ns"),
            join="exact",
            combine_attrs="override",
        )
    except ValueError as error:
        raise VadoseError(
            f"{system.name} days {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}: grids differ ({error})"
        ) from error
    dataset = dataset.assign_coords(hours=("time", [len(seen[d]) * system.hours for d in days]))
    dataset.attrs["granule"] = f"{sum(map(len, seen.values()))} granules from {seen[days[0]][min(seen[days[0]])]}"
    return dataset


def _expect_hours(system: System, day: pd.Timestamp, stamps: list[pd.Timestamp], least: int, closing: bool) -> None:
    if len(stamps) * system.hours >= least:
        return
    begin = f"{system.hours:02d}:00 of the day" if closing else "00:00"
    end = "00:00 of the next" if closing else f"{24 - system.hours:02d}:00 of the day"
    raise VadoseError(
        f"{system.name} day {day:%Y-%m-%d}: found {len(stamps)} of the {24 // system.hours} stamps {begin} to {end} ("
        f"{min(stamps):%m-%d %H:%M} to {max(stamps):%m-%d %H:%M}), {least} hours are needed; "
        "fetch the others, leave the day's granules away, or lower min_hours"
    )


PRODUCT_NOAH = Product(
    "NLDAS-2 Noah land-surface model, hourly, 0.125 degrees",
    "grid",
    "10.5067/T4OW83T8EXDO",
    read_nldas_noah,
    is_nldas_noah,
    FILE_NAME_NOAH,
    "about 4 days",
    version=_VERSION,
    daily=daily_nldas_noah,
    sources=("NLDAS_NOAH0125_H",),
    published={name: field.names[0] for name, field in NOAH.items()},
    twin=Twin("nldas.write_nldas_noah", "last day"),
)
PRODUCT_FORCING = Product(
    "NLDAS-2 forcing A, hourly, 0.125 degrees",
    "grid",
    "10.5067/THUF4J1RLSYG",
    read_nldas_forcing,
    is_nldas_forcing,
    FILE_NAME_FORCING,
    "about 4 days",
    version=_VERSION,
    # Stamps are the ends of hours: 00:00 closes the day before.
    days=partial(days_in_name, hours_back=1),
    daily=daily_nldas_forcing,
    sources=("NLDAS_FORA0125_H",),
    published={name: field.names[0] for name, field in FORCING.items()},
    twin=Twin("nldas.write_nldas_forcing", "last day"),
)
