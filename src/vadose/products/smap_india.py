"""The daily soil-water index of India made from SMAP: 0.125 degree, a window of three days stepped daily.

A folder holds one or more ``.npz`` archives, each with ``swi`` (window, row, column; uint16 = round(index x 65534),
65535 where there is none) and ``start_date`` and ``end_date`` of the windows. They say nothing of where the rows and
columns lie.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import Grid
from vadose.products.product import Product
from vadose.variables import describe

FILL, SCALE = 65535, 65534.0
# Read off the coast: Cape Comorin, the north of Kashmir, Kutch and Arunachal fall where they belong.
GRID = Grid("EPSG:4326", (66.0, 38.0, 0.125), (256, 272), 0.125)
WINDOW = 3  # days
OFTEN = 0.5
"""A cell belongs to the data set when it is known on this share of the windows."""


def read_smap_india(path: Path) -> xr.Dataset:
    """Read all windows as a daily record; a day's value is that of the window that ends on it.

    Parameters
    ----------
    path
        Folder of the archives.

    Returns
    -------
    xarray.Dataset
        ``soil_water_index`` (time, y, x) from 0 to 1, NaN on days without a window and where there is none, and
        ``mask`` (y, x): cells known on half of the windows at least.

    Raises
    ------
    VadoseError
        When there is no archive, one is damaged or lacks an array, has another grid or windows of another
        length, or two hold the same day with different values.
    """
    found: dict[np.datetime64, NDArray[np.uint16]] = {}
    for file in archives(path):
        index, days = _archive(file)
        for day, of_day in zip(days, index, strict=True):
            if day in found and not np.array_equal(found[day], of_day):
                raise VadoseError(
                    f"{file}: holds {day}, as another archive of {path} does, with other values; keep one"
                )
            found[day] = of_day
    if not found:
        raise VadoseError(f"{path}: no .npz archive in it; give the folder of the soil-water index")
    time = pd.date_range(min(found), max(found))
    values = np.full((len(time), *GRID.shape), np.nan, np.float32)
    for day, raw in found.items():
        values[time.get_loc(day)] = np.where(raw == FILL, np.float32(np.nan), raw / np.float32(SCALE))
    dataset = GRID.coordinates().assign_coords(time=time)
    dataset["soil_water_index"] = ("time", "y", "x"), values
    known = np.isfinite(values).sum(axis=0) >= OFTEN * len(found)
    dataset["mask"] = ("y", "x"), known, {"long_name": "cell belongs to the data set"}
    dataset.attrs |= {
        "dataset": "smap_india",
        "layer": "0-5 cm",
        "observed": "soil_water_index",
        "day_boundary": f"windows of {WINDOW} days, named by their last day",
        "coordinates_note": "the archives name no coordinates; these were read off the coast",
        "simulated": "false",
    }
    return describe(dataset)


def archives(path: Path) -> list[Path]:
    """Archives of a folder, in order of name."""
    return sorted(path.glob("*.npz")) if path.is_dir() else []


def is_smap_india(path: Path) -> bool:
    """Whether a folder holds such archives."""
    for file in archives(path):
        try:
            with zipfile.ZipFile(file) as archive:
                return {"swi.npy", "start_date.npy", "end_date.npy"} <= set(archive.namelist())
        except (zipfile.BadZipFile, OSError):
            return False
    return False


def _archive(file: Path) -> tuple[NDArray[np.uint16], NDArray[np.datetime64]]:
    """Index and last days of an archive's windows, checked."""
    try:
        with file.open("rb") as stream, np.lib.npyio.NpzFile(stream) as kept:
            index, first, last = kept["swi"], kept["start_date"], kept["end_date"]
    except KeyError as error:
        raise VadoseError(f"{file}: no array {error}; it has to hold swi, start_date and end_date") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise VadoseError(f"{file}: {error}; the archive is cut short or damaged, copy it again") from error
    if (
        index.dtype != np.uint16
        or index.shape != (max(first.size, 1), *GRID.shape)
        or not first.shape == last.shape == index.shape[:1]
    ):
        raise VadoseError(
            f"{file}: swi is {index.dtype} {index.shape} with {first.size} and {last.size} days; expected uint16 "
            f"(days, {GRID.shape[0]}, {GRID.shape[1]})"
        )
    try:
        begin, end = first.astype("datetime64[D]"), last.astype("datetime64[D]")
    except ValueError as error:
        raise VadoseError(f"{file}: {error}; days are written YYYY-MM-DD") from error
    if odd := np.flatnonzero((end - begin).astype(int) != WINDOW - 1).tolist():
        raise VadoseError(f"{file}: window {odd[0]} is {begin[odd[0]]} .. {end[odd[0]]}; expected {WINDOW} days")
    if len(double := end[np.flatnonzero(pd.Index(end).duplicated())]):
        raise VadoseError(f"{file}: {double[0]} is the last day of two windows; keep one of them")
    return index, end


PRODUCT = Product(
    "Soil-water index of India from SMAP, daily windows of three days, 0.125 degrees",
    "database",
    "10.1109/JPROC.2010.2043918",  # of the mission: the archives name no source of their own
    read_smap_india,
    is_smap_india,
)
