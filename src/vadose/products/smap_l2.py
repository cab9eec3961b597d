"""SMAP Level 2 radiometer soil moisture: half-orbits SPL2SMP (36 km) and SPL2SMP_E (9 km).

Published by NASA's National Snow and Ice Data Center (doi:10.5067/LPJ8F0TAK6E0 for SPL2SMP 008,
doi:10.5067/BN36FXOMMC4C for SPL2SMP_E 006), HDF5 files named
``SMAP_L2_SM_P_02801_A_20150811T013002_R18290_001.h5`` with the orbit, A(scending) or D(escending) and the
time it begins. One value a cell seen, in a list; each says its row and column of the EASE-Grid 2.0. Pitfall:
algorithms are numbered, 1 SCA-H, 2 SCA-V, 3 DCA, in releases whose Level 3 names them.
"""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import OutsideError, VadoseError
from vadose.grid import ease_grid
from vadose.products.containers import BBox, choose, container_of, open_hdf5, simulated_mark
from vadose.products.dates import after, moment
from vadose.products.product import Product
from vadose.products.ranges import Counted, within
from vadose.products.smap import EPOCH, check_places, read_field, text
from vadose.products.smap_l3 import QUALITY, fields_of, version_of
from vadose.products.stored import read_whole
from vadose.variables import describe

FILE_NAME = re.compile(
    r"^SMAP_L2_SM_P(?P<enhanced>_E)?_(?P<orbit>\d{5})_(?P<pass>[AD])_(?P<begin>\d{8}T\d{6})_R(?P<release>\d{5})"
    r"_(\d{3})(?:_\w+)?\.(?:h5|(?:h5\.)?(?:\w+\.)?nc4?)$"
)
GROUP = "Soil_Moisture_Retrieval_Data"
HALF_ORBIT = pd.Timedelta("60min")
RESOLUTIONS = {"SPL2SMP": "36km", "SPL2SMP_E": "9km"}


def read_smap_l2(path: Path, *, bbox: BBox | None = None, quality: str = "recommended") -> xr.Dataset:
    """Read a half-orbit on the smallest part of its grid that holds it.

    Parameters
    ----------
    path
        File of SPL2SMP (36 km) or SPL2SMP_E (9 km).
    bbox
        West, south, east, north [degree]; all that was seen when left out.
    quality
        ``'recommended'`` (the default), ``'successful'`` or ``'all'``, as in
        `vadose.products.smap_l3.read_smap_l3`; judged for each algorithm by its own flag.

    Returns
    -------
    xarray.Dataset
        (time, y, x), one time, that of the first cell seen; the variables of Level 3 the file holds.

    Raises
    ------
    VadoseError
        When the group or a dataset is missing, cells lie outside the grid, or values are out of range.

    References
    ----------
    O'Neill et al. (2021), SMAP L2/L3 algorithm theoretical basis document, JPL D-66480.
    """
    choose(quality, QUALITY, "quality", path)
    with open_hdf5(path) as file:
        if GROUP not in file:
            raise VadoseError(
                f"{path}: no group '{GROUP}' (found: {', '.join(file) or 'nothing'}); is it another product, or an "
                "incomplete download? Fetch it again"
            )
        group = file[GROUP]
        product = _product(path, file)
        grid = ease_grid(RESOLUTIONS[product])
        row, column = (_list(path, group, f"EASE_{axis}_index").astype(int) for axis in ("row", "column"))
        if not len(row) == len(column) > 0 or row.max() >= grid.shape[0] or column.max() >= grid.shape[1]:
            raise VadoseError(
                f"{path}: {len(row)} cells, rows to {row.max(initial=-1)} and columns to {column.max(initial=-1)}; the "
                f"{RESOLUTIONS[product]} grid of {product} has {grid.shape}. Is the file damaged?"
            )
        if len(np.unique(row * grid.shape[1] + column)) < len(row):
            raise VadoseError(
                f"{path}: 'EASE_row_index' and 'EASE_column_index' hold cells twice; is it pieced together?"
            )
        if {"latitude", "longitude"} <= set(group):
            latlon = (read_field(path, group[name], row.shape) for name in ("latitude", "longitude"))
            check_places(path, grid, row, column, *latlon)
        kept = np.ones(len(row), bool)
        if bbox is not None:
            lat, lon = grid.latlon(row, column)
            kept = (lon >= bbox[0]) & (lon <= bbox[2]) & (lat >= bbox[1]) & (lat <= bbox[3])
            if not kept.any():
                raise OutsideError(f"{path}: the half-orbit saw no cell in the box {bbox}; take another")
        version, mark = version_of(path, file), simulated_mark(file.attrs)
        values = _values(path, group, row.shape, QUALITY[quality][0], version)
        first, last = _times(path, file, kept)
    row, column = row[kept], column[kept]
    part = grid.part(slice(row.min(), row.max() + 1), slice(column.min(), column.max() + 1))
    dataset = part.coordinates().assign_coords(time=pd.DatetimeIndex([first]).as_unit("ns"))
    for name, (field, counts) in values.items():
        placed = np.full(part.shape, np.nan, np.float32)
        placed[row - row.min(), column - column.min()] = field[kept]
        dataset[name] = ("time", "y", "x"), placed[None], counts
    dataset.attrs |= {
        "product": product,
        "version": version,
        "granule": path.name,
        "quality": QUALITY[quality][1],
        "algorithms": "SCA-H, SCA-V and DCA as options 1, 2 and 3",
        "day_boundary": "instant of the overpass, about 06:00 or 18:00 local solar time; days are UTC",
        "last_time": str(last) if last is not None else "unknown, the subset holds no times",
        "simulated": mark,
    }
    return describe(dataset)


def is_smap_l2(path: Path) -> bool:
    """Whether an HDF5 file has the group of Level 2 with its lists."""
    if container_of(path) != "hdf5":
        return False
    with open_hdf5(path) as file:
        return GROUP in file and "EASE_row_index" in file[GROUP] and file[GROUP]["EASE_row_index"].ndim == 1


def _product(path: Path, file: h5py.File) -> str:
    """SPL2SMP or SPL2SMP_E, from the metadata, else from the name."""
    group = file.get("Metadata/DatasetIdentification", file)
    name = text(group.attrs, "SMAPShortName") or text(group.attrs, "shortName")
    if "L2_SM_P" in name or name in RESOLUTIONS:
        return "SPL2SMP_E" if name.endswith("_E") else "SPL2SMP"
    if name:
        raise VadoseError(f"{path}: holds {name}, not {' or '.join(RESOLUTIONS)}; it is not read")
    if named := FILE_NAME.match(path.name):
        return "SPL2SMP_E" if named["enhanced"] else "SPL2SMP"
    raise VadoseError(
        f"{path}: neither the metadata nor the name say whether cells are 9 or 36 km; keep published names"
    )


def _times(path: Path, file: h5py.File, kept: NDArray[np.bool_]) -> tuple[pd.Timestamp, pd.Timestamp | None]:
    """First and last time of the cells; of a subset without their times, the half-orbit's begin by its metadata."""
    if "tb_time_seconds" not in file[GROUP]:
        begins = text(file["Metadata/Extent"].attrs, "rangeBeginningDateTime") if "Metadata/Extent" in file else ""
        if not begins:
            raise VadoseError(f"{path}: no 'tb_time_seconds' and no metadata tell the time; choose it in the subset")
        return _as_named(path, moment(begins, "ISO8601", path, "'rangeBeginningDateTime'").round("s")), None
    seconds = _list(path, file[GROUP], "tb_time_seconds")
    if seconds.shape != kept.shape:
        raise VadoseError(f"{path}: {len(seconds)} times for {len(kept)} cells; is the file complete?")
    seen = seconds[kept & (seconds > 0)]
    if not len(seen):
        raise VadoseError(f"{path}: no cell has a time; the file is damaged")
    first, last = (after(EPOCH, float(second), path, "'tb_time_seconds'") for second in (seen.min(), seen.max()))
    if last - first > HALF_ORBIT:
        raise VadoseError(f"{path}: cells seen from {first} to {last}; a half-orbit takes less than {HALF_ORBIT}")
    return _as_named(path, first), last


def _as_named(path: Path, first: pd.Timestamp) -> pd.Timestamp:
    """The time of the first cell, refused if it is not of the half-orbit in the name."""
    if named := FILE_NAME.match(path.name):
        begin = moment(named["begin"], "%Y%m%dT%H%M%S", path, "the begin in its name")
        if not -pd.Timedelta("5min") <= first - begin <= HALF_ORBIT:
            raise VadoseError(f"{path}: named {begin} but its first cell was seen at {first}; it was renamed")
    return first


def _list(path: Path, group: h5py.Group, name: str) -> NDArray[np.float64]:
    if name not in group:
        raise VadoseError(f"{path}: no dataset '{name}' in group '{GROUP}'; is it a subset? Fetch the whole file")
    return read_whole(path, group[name]).astype(float)


def _values(path: Path, group: h5py.Group, shape: tuple[int, ...], bad_bits: int, version: str) -> dict[str, Counted]:
    """What the group holds (a subset may hold a part) in our names, NaN where fill or of poor quality, and counts."""
    fields = fields_of(version)
    held = {ours: theirs for ours, names in fields.items() if (theirs := next((n for n in names if n in group), ""))}
    if not held:
        raise VadoseError(f"{path}: '{GROUP}' holds none of {', '.join(fields)}; a subset of other names?")
    found = {}
    for ours, theirs in held.items():
        values, counts = within(read_field(path, group[theirs], shape), ours, path)
        if theirs.startswith("soil_moisture"):
            flags = _list(path, group, theirs.replace("soil_moisture", "retrieval_qual_flag")).astype(int)
            if flags.shape != shape:
                raise VadoseError(f"{path}: {len(flags)} quality flags for {shape[0]} cells; is the file complete?")
            values[(flags & bad_bits) != 0] = np.nan
        found[ours] = values, counts
    return found


PRODUCT = Product(
    "SMAP Level 2 radiometer soil moisture, half-orbits (SPL2SMP, SPL2SMP_E)",
    "grid",
    "10.5067/LPJ8F0TAK6E0",
    read_smap_l2,
    is_smap_l2,
    FILE_NAME,
    "about 1 day",
    # The start of a half-orbit may change with the version.
    version=re.compile(r"(?:T\d{6})_R(?P<a>\d{5})_(?P<b>\d{3}).*"),
    sources=("SPL2SMP_E",),
)
