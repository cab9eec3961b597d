"""GRIB files, edition 1 and 2: messages, their regular grids, and any latitude-longitude lattice put north up.

Messages are told apart by their keys and not by the names of a table: those of NLDAS are of a table of its
own, and a level such as 0.1 m below ground is whole centimetres or metres in one table and not in another.
"""

import atexit
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError, extras
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox, container_of
from vadose.products.dates import moment
from vadose.products.grib_bytes import MOST_CELLS, whole_messages

Array = NDArray[np.floating]


@cache
def library() -> Any:
    """ECMWF's ecCodes, which an extra of the package brings; errors that it logs come back as exceptions.

    It comes after GDAL, which `vadose.products` loads: its libraries would take the place of GDAL's own and fail.
    """
    with extras():
        import eccodes

    # It keeps the file, so it must stay open until the process ends.
    log = Path(os.devnull).open("w")  # noqa: SIM115
    atexit.register(log.close)
    eccodes.codes_context_set_logging(log)
    return eccodes


class Keys(dict[str, Any]):
    """Keys of a message, looked up when first asked for; None where it has none of that name.

    ``NAME:i`` asks for the number of a key that is shown as text. To be used until the next message is asked for.
    """

    def __init__(self, path: Path, handle: int) -> None:
        super().__init__()
        self._path, self._handle = path, handle

    def __missing__(self, name: str) -> Any:
        eccodes, (key, _, kind) = library(), name.partition(":")
        try:
            self[name] = eccodes.codes_get(self._handle, key, int if kind == "i" else None)
        except eccodes.KeyValueNotFoundError:
            self[name] = None
        except (eccodes.CodesInternalError, UnicodeDecodeError) as error:
            raise VadoseError(f"{self._path}: {key} of a message cannot be read ({error}); fetch it again") from error
        return self[name]


_GRID = (
    "gridType",
    "Ni",
    "Nj",
    "iScansNegatively",
    "jScansPositively",
    "jPointsAreConsecutive",
    "latitudeOfFirstGridPointInDegrees",
    "longitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees",
    "longitudeOfLastGridPointInDegrees",
    "jDirectionIncrementInDegrees",
    "iDirectionIncrementInDegrees",
)
_MISSING = 1e34
_NO_STEP = 60.0
"""Steps from here on are those of edition 1 that are left out."""


def messages(
    path: Path, wanted: Callable[[Keys], bool], unread: Counter[str] | None = None
) -> Iterator[tuple[Keys, Callable[[], Array]]]:
    """Walk over the messages of a GRIB file.

    Parameters
    ----------
    path
        The file.
    wanted
        Whether a message with these keys is given.
    unread
        Counts what is left out: messages of grids other than regular latitude and longitude, of products that
        are no forecast of a field, and of packings out of use.

    Yields
    ------
    tuple
        The keys, and a function that unpacks the values (row, column) in the order of the file, NaN where
        missing; it can be called until the next message is asked for.

    Raises
    ------
    VadoseError
        When the file is no GRIB file, or is cut short or damaged.
    """
    if (container := container_of(path)) != "grib":
        raise VadoseError(f"{path}: found a {container} file where GRIB is published; is it another file renamed?")
    eccodes = library()
    for message in whole_messages(path, Counter() if unread is None else unread):
        try:
            handle = eccodes.codes_new_from_message(message)
        except eccodes.CodesInternalError as error:
            raise VadoseError(f"{path}: a message cannot be decoded ({error}); fetch it again") from error
        try:
            keys = Keys(path, handle)
            if wanted(keys):
                yield keys, lambda handle=handle, keys=keys: _values(path, handle, keys)  # type: ignore[misc]
        finally:
            eccodes.codes_release(handle)


def valid_time(path: Path, keys: Keys) -> pd.Timestamp:
    """The end of a message's time, from the keys ``validityDate`` and ``validityTime``."""
    stamp = f"{keys['validityDate'] or 0:08d}{keys['validityTime'] or 0:04d}"
    return moment(stamp, "%Y%m%d%H%M", path, "the time of a message")


def axes(path: Path, keys: Keys) -> tuple[Array, Array]:
    """Latitudes and longitudes [degree] of a message's rows and columns, in the order of its values."""
    if keys["gridType"] != "regular_ll" or keys["iScansNegatively"] or keys["jPointsAreConsecutive"]:
        raise VadoseError(
            f"{path}: found a {keys['gridType']} grid, or rows from east to west; only regular latitude-longitude "
            "grids with rows from west to east are read, regrid it first"
        )
    if any(keys[name] is None for name in _GRID[1:]) or not 0 < keys["Ni"] * keys["Nj"] <= MOST_CELLS:
        raise VadoseError(
            f"{path}: a message of {keys['Nj']} x {keys['Ni']} cells; expected 1 to {MOST_CELLS} and their places"
        )
    north, west, south, east, dy, dx = (float(keys[name]) for name in _GRID[6:])
    lat = np.linspace(north, south, keys["Nj"])
    # East of the first point, over 360 degrees where need be.
    lon = west + np.linspace(0, (east - west) % 360, keys["Ni"])
    for what, centres, declared in (("rows", lat, dy), ("columns", lon, dx)):
        step = abs(float(centres[1] - centres[0])) if len(centres) > 1 else declared
        if abs(step - declared) > 0.02 * declared and 0 < declared < _NO_STEP:
            raise VadoseError(
                f"{path}: {len(centres)} {what} from {centres[0]:g} to {centres[-1]:g} degree are {step:g} apart, the "
                f"message says {declared:g}; the cells cannot be placed"
            )
    return lat, lon


def cell_of(keys: Keys) -> tuple[float, float]:
    """Height and width [degree] of a message's cells as declared, 0 where they are not."""
    dy, dx = (keys[name] for name in _GRID[-2:])
    return dy if dy and 0 < dy < 10 else 0.0, dx if dx and 0 < dx < 10 else 0.0


def north_up(
    path: Path, lat: Array, lon: Array, bbox: BBox | None, cell: tuple[float, float] = (0.0, 0.0)
) -> tuple[NDArray[np.int64], NDArray[np.int64], xr.Dataset]:
    """Put a regular latitude-longitude lattice north up and west to east within -180..180, and cut it to a box.

    Parameters
    ----------
    path
        Named in errors.
    lat, lon
        Centres of rows and columns as the file has them: in either direction, longitudes to 180 or to 360.
    bbox
        West, south, east, north [degree]; None for all.
    cell
        Height and width of cells [degree], needed where there is one row or one column.

    Returns
    -------
    tuple
        Rows and columns to take in this order, and their coordinates.

    Raises
    ------
    VadoseError
        When rows or columns are not evenly spaced, or the box lies outside.
    """
    lon = (lon + 180) % 360 - 180
    rows, columns = np.argsort(-lat, kind="stable"), np.argsort(lon, kind="stable")
    steps = [np.diff(-lat[rows]), np.diff(lon[columns])]
    steps = [step if len(step) or not size else np.array([size]) for step, size in zip(steps, cell, strict=True)]
    for what, step in zip(("latitudes", "longitudes"), steps, strict=True):
        # Centres may be rounded to a thousandth of a degree.
        if not len(step) or not np.isfinite(step).all() or step.min() <= 0 or np.ptp(step) > 0.003 + 0.01 * step.min():
            raise VadoseError(
                f"{path}: {what} are not two or more, evenly spaced (found {len(lat)} x {len(lon)} from "
                f"{lat[rows[0]]:g} north, {lon[columns[0]]:g} west); a part across 180 degrees has to be cut in two"
            )
    if np.abs(lat).max() > 90:
        raise VadoseError(f"{path}: latitudes from {lat.min():g} to {lat.max():g}; are they swapped with longitudes?")
    dy, dx = (float(step.mean()) for step in steps)
    left, top = float(lon[columns[0]]) - dx / 2, float(lat[rows[0]]) + dy / 2
    down, across = raster_window("EPSG:4326", (left, top, dx, dy), (len(rows), len(columns)), bbox, path)
    rows, columns = rows[down], columns[across]
    corner = (left + across.start * dx, top - down.start * dy, dx, dy)
    return rows, columns, raster_coordinates("EPSG:4326", corner, (len(rows), len(columns)))


def _values(path: Path, handle: int, keys: Keys) -> Array:
    eccodes, cells = library(), keys["Ni"] * keys["Nj"]
    try:
        # Before memory is asked for: a few bytes may declare thousands of millions of equal values.
        if (count := eccodes.codes_get_size(handle, "values")) != cells:
            raise VadoseError(f"{path}: found {count} values on {keys['Nj']} x {keys['Ni']} cells; fetch it again")
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values: Array = eccodes.codes_get_values(handle)
    except (eccodes.CodesInternalError, ValueError) as error:
        raise VadoseError(f"{path}: the values of a message cannot be unpacked ({error}); fetch it again") from error
    return np.where(values == _MISSING, np.nan, values).reshape(keys["Nj"], keys["Ni"])
