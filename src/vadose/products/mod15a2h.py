"""MCD15A3H, MCD15A2H, MOD15A2H, MYD15A2H: leaf area index and absorbed radiation (FPAR) of 4 or 8 days at 500 m.

Published by LP DAAC, doi:10.5067/MODIS/MCD15A3H.061 (4 days, Terra and Aqua together) and
doi:10.5067/MODIS/MOD15A2H.061 (8 days), as ``MCD15A3H.AYYYYDDD.hHHvVV.061.YYYYDDDHHMMSS.hdf``. Pitfalls: the day in the
name is the first of the composite, which may hold an observation of its last; counts from 249 on are no values but
classes of ground without one (urban, water, barren ...); LAI has one decimal, FPAR two; where the main algorithm
fails, the back-up takes both from NDVI, and clouds are in the composite.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products import modis
from vadose.products.containers import BBox, choose
from vadose.products.dates import Days, days_in_name
from vadose.products.product import AtStations, Product, Twin
from vadose.variables import describe

LENGTH = {"MCD15A3H": 4, "MCD15A2H": 8, "MOD15A2H": 8, "MYD15A2H": 8}
"""Days of a composite."""
FIELDS = {"leaf_area_index": ("Lai_500m", 0.1), "fpar": ("Fpar_500m", 0.01)}
"""Variable -> its field and scale."""
HIGHEST, FILL = 100, 255
"""Largest count that is a value, and fill; 249 to 254 are ground without vegetation, or not classified."""
QUALITY = {
    "recommended": "FparLai_QC: main algorithm, with or without saturation, no significant or mixed clouds",
    "good": "FparLai_QC: main algorithm without saturation, no significant or mixed clouds, detectors fine",
    "all": "all: only counts above 100 masked",
}


def read_mod15a2h(path: Path, *, bbox: BBox | None = None, quality: str = "recommended") -> xr.Dataset:
    """Read leaf area index and the absorbed fraction of photosynthetically active radiation of a composite and tile.

    Parameters
    ----------
    path
        A granule.
    bbox
        West, south, east, north [degree]; the smallest rectangle of the sinusoidal grid that holds all cells
        whose centres lie within. None: the whole tile.
    quality
        ``'recommended'``: main algorithm, clear or assumed clear. ``'good'``: also without saturation and with sound
        detectors. ``'all'``: also the back-up algorithm and clouds.

    Returns
    -------
    xarray.Dataset
        (time, y, x) ``leaf_area_index`` [1] and ``fpar`` [1], float32, NaN where missing or
        not of the quality. ``time`` is the last day of the composite: the first on which it can be known.

    Raises
    ------
    VadoseError
        When the file is damaged, of another product, misplaced or misdated, scaled otherwise, when the whole tile
        holds no value, or the box lies outside.

    References
    ----------
    Myneni, Knyazikhin and Park (2021), doi:10.5067/MODIS/MCD15A3H.061; Yan et al. (2016), doi:10.3390/rs8050359.
    """
    choose(quality, QUALITY, "quality", path)
    with modis.open_tile(path, *LENGTH) as tile:
        window = modis.window_of(tile, "Lai_500m", bbox)
        last = tile.day + pd.Timedelta(days=LENGTH[tile.product] - 1)
        dataset = window.coordinates.assign_coords(time=[last.to_datetime64().astype("datetime64[ns]")])
        flags, _ = tile.read("FparLai_QC", window.rows, window.columns)
        keep = usable(flags, quality)
        observed = False
        for name, (field, scale) in FIELDS.items():
            counts, attributes = tile.read(field, window.rows, window.columns)
            factor = modis.factor_of(path, field, attributes, (scale,))
            if attributes.get("_FillValue", FILL) != FILL:
                raise VadoseError(f"{path}: {field} has fill {attributes['_FillValue']}, published is {FILL}")
            known = counts <= HIGHEST
            observed |= bool(known.any())
            values = np.where(known & keep, counts * np.float32(factor), np.float32(np.nan))
            dataset[name] = ("time", "y", "x"), values[None]
        if window.whole and not observed:
            raise VadoseError(f"{path}: every value is fill; the composite holds nothing of this tile")
        dataset.attrs = tile.attributes(quality=QUALITY[quality], day_boundary=modis.DAY_BOUNDARY, tile=window.tile)
        dataset.attrs["composite"] = f"{tile.day:%Y-%m-%d} to {last:%Y-%m-%d}"
    return describe(dataset)


def is_mod15a2h(path: Path) -> bool:
    """Whether a file holds MODIS leaf area index and FPAR of 500 m."""
    return modis.is_tile(path, {"Lai_500m", "Fpar_500m", "FparLai_QC"})


def usable(flags: NDArray[np.uint8], quality: str = "recommended") -> NDArray[np.bool_]:
    """Whether the 8 bits of ``FparLai_QC`` let a value pass.

    Parameters
    ----------
    flags
        Bit 0 back-up algorithm or none, bit 2 dead detectors, bits 3-4 clouds (0 clear, 1 significant, 2 mixed, 3 not
        defined, assumed clear), bits 5-7 method (0 main, 1 main with saturation, 2 and 3 back-up, 4 none).
    quality
        As of `read_mod15a2h`.

    Examples
    --------
    Clear; saturated; assumed clear; mixed clouds; back-up algorithm; nothing retrieved.

    >>> flags = np.array([0b0, 0b00100000, 0b11000, 0b10000, 0b01000001, 0b10000001], np.uint8)
    >>> usable(flags).tolist()
    [True, True, True, False, False, False]
    >>> usable(flags, "good").tolist()
    [True, False, True, False, False, False]
    """
    cloud, method = flags >> 3 & 3, flags >> 5
    if quality == "all":
        passed: NDArray[np.bool_] = method != 4
    elif quality == "good":
        passed = (flags & 0b101 == 0) & (method == 0) & ((cloud == 0) | (cloud == 3))
    else:
        passed = (flags & 1 == 0) & (method <= 1) & ((cloud == 0) | (cloud == 3))
    return passed


def days_of(name: str) -> Days:
    """Last day of the composite that a name tells, from which on it can be known.

    Examples
    --------
    >>> str(days_of("MCD15A3H.A2019001.h10v05.061.2020002030405.hdf")[0].date())
    '2019-01-04'
    """
    first, _ = days_in_name(name)
    last = None if first is None else first + pd.Timedelta(days=LENGTH.get(name.partition(".")[0], 8) - 1)
    return last, last


PRODUCT = Product(
    "MODIS leaf area index and FPAR of 4 or 8 days, 500 m",
    "grid",
    "10.5067/MODIS/MCD15A3H.061",
    read_mod15a2h,
    is_mod15a2h,
    modis.file_name(*LENGTH),
    "1 to 2 weeks",
    days=days_of,
    version=modis.VERSION,
    satellite=modis.SATELLITE,
    sources=("MCD15A3H", "MOD15A2H", "MYD15A2H"),
    stations=AtStations({name: name for name in FIELDS}, overpasses=True),
    twin=Twin("leaves.write_mod15a2h", "last day"),
)
