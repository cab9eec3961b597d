"""GRIB files, edition 1 and 2: messages, their regular grids, and any latitude-longitude lattice put north up.

Messages are told apart by their keys and not by the names of a table: those of NLDAS are of a table of its
own, and a level such as 0.1 m below ground is whole centimetres or metres in one table and not in another.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox, container_of

Keys = dict[str, Any]
Array = NDArray[np.floating]

_GRID = (
    "gridType", "Ni", "Nj", "iScansNegatively", "jScansPositively", "jPointsAreConsecutive",
    "latitudeOfFirstGridPointInDegrees", "longitudeOfFirstGridPointInDegrees",
    "latitudeOfLastGridPointInDegrees", "longitudeOfLastGridPointInDegrees",
    "jDirectionIncrementInDegrees", "iDirectionIncrementInDegrees",
)  # fmt: skip
_MISSING = 1e34


def messages(
    path: Path, names: tuple[str, ...], wanted: Callable[[Keys], bool]
) -> Iterator[tuple[Keys, Callable[[], Array]]]:
    """Walk over the messages of a GRIB file.

    Parameters
    ----------
    path
        The file.
    names
        Keys to look up; None where a message has none of that name. ``NAME:i`` asks for the number of a
        key that is shown as text.
    wanted
        Whether a message with these keys is given.

    Yields
    ------
    tuple
        The keys, and a function that unpacks the values (row, column) in the order of the file, NaN where
        missing; it can be called until the next message is asked for. Keys of the grid come along.

    Raises
    ------
    VadoseError
        When the file is no GRIB file, or is cut short or damaged.
    """
    if (container := container_of(path)) != "grib":
        raise VadoseError(f"{path}: found a {container} file where GRIB is published; is it another file renamed?")
    try:
        with path.open("rb") as stream:
            eccodes.codes_grib_multi_support_reset_file(stream)
            while (handle := _next(stream)) is not None:
                try:
                    keys = {name: _get(handle, name) for name in (*names, *_GRID)}
                    if wanted(keys):
                        yield keys, lambda handle=handle, keys=keys: _values(path, handle, keys)  # type: ignore[misc]
                finally:
                    eccodes.codes_release(handle)
    except (eccodes.CodesInternalError, OSError) as error:
        raise VadoseError(f"{path}: cut short or damaged ({error}); fetch it again") from error


def valid_time(keys: Keys) -> pd.Timestamp:
    """The end of a message's time, from the keys ``validityDate`` and ``validityTime``."""
    return pd.to_datetime(f"{keys['validityDate']:08d}{keys['validityTime']:04d}", format="%Y%m%d%H%M")


def axes(path: Path, keys: Keys) -> tuple[Array, Array]:
    """Latitudes and longitudes [degree] of a message's rows and columns, in the order of its values."""
    if keys["gridType"] != "regular_ll" or keys["iScansNegatively"] or keys["jPointsAreConsecutive"]:
        raise VadoseError(
            f"{path}: found a {keys['gridType']} grid, or rows from east to west; only regular latitude-longitude "
            "grids with rows from west to east are read, regrid it first"
        )
    lat = np.linspace(keys[_GRID[6]], keys[_GRID[8]], keys["Nj"])
    # East of the first point, over 360 degrees where need be.
    lon = keys[_GRID[7]] + np.linspace(0, (keys[_GRID[9]] - keys[_GRID[7]]) % 360, keys["Ni"])
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
    dy, dx = (float(step.mean()) for step in steps)
    left, top = float(lon[columns[0]]) - dx / 2, float(lat[rows[0]]) + dy / 2
    down, across = raster_window("EPSG:4326", (left, top, dx, dy), (len(rows), len(columns)), bbox, path)
    rows, columns = rows[down], columns[across]
    corner = (left + across.start * dx, top - down.start * dy, dx, dy)
    return rows, columns, raster_coordinates("EPSG:4326", corner, (len(rows), len(columns)))


def _next(stream: Any) -> Any:
    """The next field, also one of several in a message, as older GFS keeps its winds."""
    eccodes.codes_grib_multi_support_on()
    try:
        return eccodes.codes_grib_new_from_file(stream)
    finally:
        eccodes.codes_grib_multi_support_off()


def _get(handle: Any, name: str) -> Any:
    name, _, kind = name.partition(":")
    try:
        return eccodes.codes_get(handle, name, int if kind == "i" else None)
    except eccodes.KeyValueNotFoundError:
        return None


def _values(path: Path, handle: Any, keys: Keys) -> Array:
    try:
        eccodes.codes_set(handle, "missingValue", _MISSING)
        values: Array = eccodes.codes_get_values(handle)
    except eccodes.CodesInternalError as error:
        raise VadoseError(f"{path}: the values of a message cannot be unpacked ({error}); fetch it again") from error
    if values.size != keys["Ni"] * keys["Nj"]:
        raise VadoseError(f"{path}: found {values.size} values on {keys['Nj']} x {keys['Ni']} cells; fetch it again")
    return np.where(values == _MISSING, np.nan, values).reshape(keys["Nj"], keys["Ni"])
