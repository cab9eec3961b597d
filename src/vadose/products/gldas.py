"""GLDAS-2.1, 3-hourly on 0.25 degrees of all land: soil of the Noah land-surface model, and its weather.

Published by NASA GES DISC, doi:10.5067/E7TYRXPJKWOQ. A granule is ``GLDAS_NOAH025_3H.A20190601.0300.021.nc4``
(netCDF): states (``_inst``) are those at its stamp, fluxes (``_tavg``) means of the three hours before it. Soil
moisture is kg m-2 of a layer, and the four layers differ in thickness. Rows run from south, 60 S, to north.
"""

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import xarray as xr

from vadose.products.containers import BBox
from vadose.products.dates import days_in_name
from vadose.products.nldas import LAYERS, daily_of
from vadose.products.nldas_hour import GLDAS, Field, holds, read_hour
from vadose.products.product import Product, Twin
from vadose.variables import describe

FILE_NAME = re.compile(r"GLDAS_NOAH025_3H\.A(\d{8})\.(\d{4})\.(021)\.nc4?.*")
_SECONDS = 3 * 3600


def _field(name: str, unit: str, factor: float = 1.0) -> Field:
    return Field((name,), "", 0, (0, 0, 0), (unit,), factor)


FIELDS = {
    **{
        f"soil_moisture_{layer}": _field(f"SoilMoi{layer}_inst", "kgm-2", 1 / (10 * (bottom - top)))
        for layer, (top, bottom) in LAYERS.items()
    },
    "precipitation": _field("Rainf_f_tavg", "kgm-2s-1", _SECONDS),
    "air_temperature": _field("Tair_f_inst", "K"),
    "specific_humidity": _field("Qair_f_inst", "kgkg-1"),
    "surface_pressure": _field("Psurf_f_inst", "Pa"),
    "wind_speed": _field("Wind_f_inst", "ms-1"),
    "longwave_radiation": _field("LWdown_f_tavg", "Wm-2"),
    "shortwave_radiation": _field("SWdown_f_tavg", "Wm-2"),
}


def read_gldas(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read three hours of soil moisture and weather.

    Parameters
    ----------
    path
        A granule, whole or cut by a server.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up: ``soil_moisture_0_10cm``, ``_10_40cm``, ``_40_100cm``, ``_100_200cm``
        [m3 m-3], the layer's water over its thickness; ``precipitation`` [kg m-2 of the three hours before the
        stamp], ``air_temperature`` [K], ``specific_humidity`` [kg kg-1], ``surface_pressure`` [Pa],
        ``wind_speed`` [m s-1], ``longwave_radiation``, ``shortwave_radiation`` [W m-2], those the file has (under
        its published name it may be a subset); NaN over water. Time is the stamp [UTC].

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, in other units, or its values are out of range.

    References
    ----------
    Rodell et al. (2004), doi:10.1175/BAMS-85-3-381; doi:10.5067/E7TYRXPJKWOQ.
    """
    dataset = describe(read_hour(path, bbox, FIELDS, FILE_NAME, system=GLDAS))
    if "precipitation" in dataset:
        dataset.precipitation.attrs["long_name"] = "precipitation of the three hours before the stamp"
    dataset.attrs |= {
        "product": "GLDAS_NOAH025_3H",
        "day_boundary": "three hours that end at the stamp; a day is made by daily_gldas",
    }
    return dataset


def daily_gldas(paths: Iterable[Path], *, bbox: BBox | None = None, min_hours: int = 24) -> xr.Dataset:
    """Sum of the rain and means of the rest over UTC days: stamps from 03:00 of the day to 00:00 of the next.

    Parameters
    ----------
    paths
        Granules of one day or several, in any order.
    bbox
        As in `read_gldas`.
    min_hours
        Hours a day needs, three a granule. With fewer than 24 the rain is the sum of those found.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) as from `read_gldas`, rain [kg m-2 of the day], ``air_temperature_max`` and ``_min``, the
        extremes of the stamps (those between them are not seen), and ``hours`` (time), the hours found.

    Raises
    ------
    VadoseError
        When a day has fewer hours, a granule comes twice, or granules differ in grid.
    """
    dataset = daily_of(paths, _with_extremes, bbox, min_hours, GLDAS)
    dataset.attrs["day_boundary"] = "UTC day, three hours that end at 03:00 of the day to 00:00 of the next"
    return describe(dataset)


def is_gldas(path: Path) -> bool:
    """Whether a file holds the soil layers and the weather of GLDAS-2.1 Noah."""
    return holds(path, FIELDS, tuple(FIELDS), FILE_NAME)


def _with_extremes(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    hours = read_gldas(path, bbox=bbox)
    if "air_temperature" not in hours:
        return hours
    return hours.assign({f"air_temperature_{end}": hours.air_temperature.copy() for end in ("max", "min")})


PRODUCT = Product(
    "GLDAS-2.1 Noah land-surface model, 3-hourly, 0.25 degrees",
    "grid",
    "10.5067/E7TYRXPJKWOQ",
    read_gldas,
    is_gldas,
    FILE_NAME,
    "about 2 months",
    # Stamps are the ends of three hours: 00:00 closes the day before.
    days=partial(days_in_name, hours_back=3),
    daily=daily_gldas,
    sources=("GLDAS_NOAH025_3H",),
    published={name: field.names[0] for name, field in FIELDS.items()}
    | dict.fromkeys(("air_temperature_max", "air_temperature_min"), "Tair_f_inst"),
    twin=Twin("gldas.write_gldas", "last day"),
)
