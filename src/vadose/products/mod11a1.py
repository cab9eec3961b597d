"""MOD11A1 and MYD11A1: daily land-surface temperature of Terra and Aqua at 1 km, by day and by night.

Published by LP DAAC, doi:10.5067/MODIS/MOD11A1.061 and doi:10.5067/MODIS/MYD11A1.061, as
``MOD11A1.AYYYYDDD.hHHvVV.061.YYYYDDDHHMMSS.hdf``. Pitfalls: fill is 0, which scaled would be 0 K; the time of view is
local solar time and differs from cell to cell; clear skies only, so that means are biased to fair weather;
temperature of the radiating surface, not of the air; the factor 0.02 multiplies, unlike that of MOD09GA.
"""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products import modis
from vadose.products.containers import BBox, choose
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.variables import describe

PRODUCTS = ("MOD11A1", "MYD11A1")
FILE_NAME = modis.file_name(*PRODUCTS)
# Part of the name in the file -> part of our name.
HALVES = {"Day": "day", "Night": "night"}
CLOUDY = 0b10
FILL, VALID = 0, (7500, 65535)
FILL_TIME, VALID_TIME = 255, (0, 240)
QUALITY = {
    "good": "QC: mandatory flag good (00)",
    "recommended": "QC: mandatory flag good (00), or other quality (01) with an LST error of at most 2 K",
    "all": "all: only fill masked",
}


def read_mod11a1(path: Path, *, bbox: BBox | None = None, quality: str = "recommended") -> xr.Dataset:
    """Read land-surface temperature of a day and tile, of Terra (MOD11A1) or Aqua (MYD11A1).

    Parameters
    ----------
    path
        A granule.
    bbox
        West, south, east, north [degree]; the smallest rectangle of the sinusoidal grid that holds all cells
        whose centres lie within. None: the whole tile.
    quality
        ``'recommended'``: mandatory flag good, or of other quality with an average error of at most 2 K.
        ``'good'``: mandatory flag good only. ``'all'``: only fill is masked.

    Returns
    -------
    xarray.Dataset
        (time, y, x) ``surface_temperature_day`` and ``surface_temperature_night`` [K], ``view_time_day`` and
        ``view_time_night`` [hour, local solar time], float32, NaN where cloudy, missing or not of the quality;
        ``time`` is the one day.

    Raises
    ------
    VadoseError
        When the file is damaged, of another product, misplaced or misdated, scaled otherwise, when the whole
        tile holds no value, or the box lies outside.

    References
    ----------
    Wan, Hook and Hulley (2021), doi:10.5067/MODIS/MOD11A1.061; Wan (2014), doi:10.1016/j.rse.2013.08.027.
    """
    choose(quality, QUALITY, "quality", path)
    with modis.open_tile(path, *PRODUCTS) as tile:
        window = modis.window_of(tile, "LST_Day_1km", bbox)
        dataset = window.coordinates.assign_coords(time=[tile.day.to_datetime64().astype("datetime64[ns]")])
        observed = False
        for theirs, ours in HALVES.items():
            temperature = _scaled(tile, f"LST_{theirs}_1km", window, 0.02, FILL, VALID)
            hour = _scaled(tile, f"{theirs}_view_time", window, 0.1, FILL_TIME, VALID_TIME)
            flags, _ = tile.read(f"QC_{theirs}", window.rows, window.columns)
            keep = np.isfinite(temperature)
            observed |= bool((keep | (flags & 3 == CLOUDY)).any())
            if quality != "all":
                keep &= usable(flags, strict=quality == "good")
            name = f"surface_temperature_{ours}"
            temperature, counts = within(np.where(keep, temperature, np.float32(np.nan)), name, path)
            hour[np.isnan(temperature)] = np.nan
            dataset[name] = ("time", "y", "x"), temperature[None], counts
            dataset[f"view_time_{ours}"] = ("time", "y", "x"), hour[None]
        if window.whole and not observed:
            raise VadoseError(f"{path}: every temperature is fill, and not for clouds; nothing was observed that day")
        dataset.attrs = tile.attributes(quality=QUALITY[quality], day_boundary=modis.DAY_BOUNDARY, tile=window.tile)
    return describe(dataset)


def is_mod11a1(path: Path) -> bool:
    """Whether a file holds daily MODIS land-surface temperature; the 8-day product has no such coverage."""
    return modis.is_tile(path, {"LST_Day_1km", "LST_Night_1km", "QC_Day", "QC_Night", "Clear_day_cov"})


def usable(flags: NDArray[np.uint8], *, strict: bool = False) -> NDArray[np.bool_]:
    """Whether the 8 bits of ``QC_Day`` or ``QC_Night`` let a temperature pass.

    Parameters
    ----------
    flags
        The bits as stored, of any shape.
    strict
        Let pass only what the mandatory flag calls good.

    Examples
    --------
    Good; other quality with an error of at most 1, 2, 3 K; not produced for cloud.

    >>> flags = np.array([0b0, 0b1, 0b01000001, 0b10000001, 0b10], np.uint8)
    >>> usable(flags).tolist()
    [True, True, True, False, False]
    >>> usable(flags, strict=True).tolist()
    [True, False, False, False, False]
    """
    mandatory, error = flags & 3, flags >> 6
    passed: NDArray[np.bool_] = (mandatory == 0) | ((mandatory == 1) & (error <= 1) & (not strict))
    return passed


def _scaled(
    tile: modis.Tile, name: str, window: modis.Window, factor: float, fill: int, valid: tuple[int, int]
) -> NDArray[np.float32]:
    values, attributes = tile.read(name, window.rows, window.columns)
    factor = modis.factor_of(tile.path, name, attributes, (factor,))
    if attributes.get("_FillValue", fill) != fill:
        raise VadoseError(f"{tile.path}: {name} has fill {attributes['_FillValue']}, published is {fill}")
    known = (values != fill) & (values >= valid[0]) & (values <= valid[1])
    return np.where(known, values * np.float32(factor), np.float32(np.nan))


PRODUCT = Product(
    "MODIS land-surface temperature of Terra and Aqua, daily, 1 km",
    "grid",
    "10.5067/MODIS/MOD11A1.061",
    read_mod11a1,
    is_mod11a1,
    FILE_NAME,
    "1 to 3 days",
    version=modis.VERSION,
    satellite=modis.SATELLITE,
    sources=PRODUCTS,
    stations=AtStations({"surface_temperature": "surface_temperature_day"}, overpasses=True),
    twin=Twin("modis.write_mod11a1", "last day"),
)
