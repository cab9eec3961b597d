"""SMAP Level 3 radiometer soil moisture: SPL3SMP_E on the 9 km grid and SPL3SMP on the 36 km one.

Published by NASA's National Snow and Ice Data Center (doi:10.5067/M20OXIZHY3RJ for SPL3SMP_E 006,
doi:10.5067/4DQ54OUIJ9DL for 005, doi:10.5067/4XXOGX0OOW1S for SPL3SMP 009), one HDF5 file a day named
``SMAP_L3_SM_P_E_20190701_R18290_001.h5``. A day holds a morning (descending) and an evening (ascending)
group; in the latter every name ends with ``_pm``. Pitfalls: bit 0 of ``retrieval_qual_flag`` is set where a
retrieval is *not* recommended, and retrievals that failed may still hold plausible numbers; latitudes and
longitudes are missing where nothing was seen, so cells are placed by their row and column; up to release 4
(SPL3SMP: 7) ``soil_moisture`` is that of SCA-V, since then that of DCA.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products.containers import BBox, choose, container_of, open_hdf5, simulated_mark
from vadose.products.dates import moment
from vadose.products.product import Product
from vadose.products.ranges import Counted, within
from vadose.products.smap import (
    Window,
    check_shape,
    check_window,
    place_by_axes,
    place_on_grid,
    read_field,
    shape_of,
    text,
)
from vadose.products.stored import read_whole
from vadose.variables import describe

# Services that cut subsets add a word to the name (``..._001_HEGOUT.h5``) or an ending (``.h5.dap.nc4``).
FILE_NAME = re.compile(
    r"^SMAP_L3_SM_P(_E)?_(?P<day>\d{8})_R(?P<release>\d{5})_(?P<number>\d{3})"
    r"(?:_\w+)?\.(?:h5|(?:h5\.)?(?:\w+\.)?nc4?)$"
)
GROUP = "Soil_Moisture_Retrieval_Data_"
OVERPASSES = {"AM": "", "PM": "_pm"}
SHAPES = {(1624, 3856): ("SPL3SMP_E", "9km"), (406, 964): ("SPL3SMP", "36km")}
# Our name -> dataset since SPL3SMP_E 005 / SPL3SMP 008, and that before.
ALGORITHMS = {
    "soil_moisture": ("soil_moisture_dca", "soil_moisture_option3"),
    "soil_moisture_scah": ("soil_moisture_scah", "soil_moisture_option1"),
    "soil_moisture_scav": ("soil_moisture_scav", "soil_moisture_option2"),
}
# Our name -> dataset.
COVARIATES = {
    "tb_h": "tb_h_corrected",
    "tb_v": "tb_v_corrected",
    "albedo": "albedo",
    "roughness_coefficient": "roughness_coefficient",
    "vegetation_opacity": "vegetation_opacity",
    "vegetation_water_content": "vegetation_water_content",
    "surface_temperature": "surface_temperature",
    "bulk_density": "bulk_density",
    "clay_fraction": "clay_fraction",
}
NOT_SEEN = 65534
"""In row and column indices of cells that were not observed."""
# Quality rule -> bits that have to be 0, and what that means.
QUALITY = {
    "recommended": (0b001, "retrieval recommended (bit 0 of retrieval_qual_flag is 0)"),
    "successful": (0b110, "retrieval attempted and successful (bits 1 and 2 of retrieval_qual_flag are 0)"),
    "all": (0, "every value that is not fill"),
}


def read_smap_l3(
    path: Path,
    *,
    bbox: BBox | None = None,
    quality: str = "recommended",
    overpass: str = "mean",
    variables: Sequence[str] | None = None,
) -> xr.Dataset:
    """Read a day of SMAP Level 3 soil moisture and what its retrieval used.

    Parameters
    ----------
    path
        File of SPL3SMP_E (9 km) or SPL3SMP (36 km), or a crop of one.
    bbox
        West, south, east, north [degree]; all the file holds when left out.
    quality
        ``'recommended'`` (the default), ``'successful'`` or ``'all'``; judged for each algorithm by its
        own flag. Brightness temperatures and ancillary data are given wherever they are not fill.
    overpass
        ``'am'``, ``'pm'``, or ``'mean'``: the mean of both where both have a value, else the one that has.
    variables
        Names below to read; all the file holds when left out (a subset may hold a part of them).

    Returns
    -------
    xarray.Dataset
        (time, y, x) on the EASE-Grid 2.0, or (time, lat, lon) where a service resampled the file, one
        day: ``soil_moisture`` (DCA), ``soil_moisture_scah``,
        ``soil_moisture_scav`` [m3 m-3], ``tb_h``, ``tb_v`` [K] (corrected for water), ``albedo``,
        ``roughness_coefficient``, ``vegetation_opacity``, ``vegetation_water_content`` [kg m-2],
        ``surface_temperature`` [K], ``bulk_density`` [g cm-3] and ``clay_fraction``.

    Raises
    ------
    VadoseError
        When a group or dataset is missing, the grid is another, or values lie out of range.

    References
    ----------
    O'Neill et al. (2021), doi:10.5067/4DQ54OUIJ9DL; Chan et al. (2018), doi:10.1016/j.rse.2017.08.025.
    """
    choose(quality, QUALITY, "quality", path)
    choose(overpass, ("mean", "am", "pm"), "overpass", path)
    known = [*ALGORITHMS, *COVARIATES]
    for name in variables or ():
        choose(name, known, "variable", path)
    with open_hdf5(path) as file:
        asked = [name for name in OVERPASSES if overpass in ("mean", name.lower())]
        # Subsets may hold one overpass alone.
        held = [name for name in asked if GROUP + name in file] or asked
        groups = {name: _group(path, file, name) for name in held}
        product, place, window = _place(path, file, groups, bbox)
        version = version_of(path, file)
        names = fields_of(version)
        wanted = variables or [n for n in known if any(_field(groups[o], names[n], OVERPASSES[o]) for o in groups)]
        if not wanted:
            raise VadoseError(f"{path}: '{GROUP}{held[0]}' holds none of {', '.join(known)}; a subset of other names?")
        if "x" in place.dims:
            for name, group in groups.items():
                _check_places(path, product, place, group, OVERPASSES[name], window)
        passes = [
            _read(path, group, OVERPASSES[name], window, QUALITY[quality][0], {n: names[n] for n in wanted})
            for name, group in groups.items()
        ]
        day, mark = _day(path, file), simulated_mark(file.attrs)
        older = f"soil_moisture_option3{OVERPASSES[name]}" in groups[name] if (name := next(iter(groups))) else False
    dataset = place.assign_coords(time=pd.DatetimeIndex([day]).as_unit("ns"))
    axes = ("lat", "lon") if "lon" in place.dims else ("y", "x")
    for name in dict.fromkeys(name for found in passes for name in found):
        dataset[name] = ("time", *axes), *_mean([found[name] for found in passes if name in found])
    dataset.attrs |= {
        "product": product,
        "version": version,
        "granule": path.name,
        "quality": QUALITY[quality][1],
        "overpass": overpass if len(held) == len(asked) else f"{held[0].lower()}, the file holds no other",
        "algorithms": "SCA-H, SCA-V and DCA as options 1, 2 and 3" if older else "DCA, SCA-H and SCA-V by name",
        "day_boundary": "UTC date of overpasses near 06:00 and 18:00 local solar time",
        "simulated": mark,
    }
    return describe(dataset)


def is_smap_l3(path: Path) -> bool:
    """Whether an HDF5 file has the two-dimensional groups of Level 3."""
    if container_of(path) != "hdf5":
        return False
    with open_hdf5(path) as file:
        groups = [file.get(GROUP + name) for name in OVERPASSES]
        return any(group is not None and bool(shape_of(group)) for group in groups)


def fields_of(version: str) -> dict[str, tuple[str, ...]]:
    """Our name -> the datasets that may hold it, the first found counts, in a file of such a version.

    Examples
    --------
    >>> fields_of("006 (R19240)")["soil_moisture"]
    ('soil_moisture_dca', 'soil_moisture_option3', 'soil_moisture')
    >>> fields_of("004 (R17000)")["soil_moisture_scav"]
    ('soil_moisture_scav', 'soil_moisture_option2', 'soil_moisture')
    """
    fields = {**ALGORITHMS, **{ours: (theirs,) for ours, theirs in COVARIATES.items()}}
    if release := re.search(r"R(\d\d)\d*", version):
        # A subset may hold the baseline alone: DCA since release 18, SCA-V before.
        baseline = "soil_moisture" if int(release[1]) >= 18 else "soil_moisture_scav"
        fields[baseline] = (*fields[baseline], "soil_moisture")
    return fields


def _field(group: h5py.Group, names: tuple[str, ...], suffix: str) -> str:
    return next((name for name in names if name + suffix in group), "")


def _group(path: Path, file: h5py.File, name: str) -> h5py.Group:
    if GROUP + name not in file:
        found = ", ".join(f"'{key}'" for key in file) or "nothing"
        raise VadoseError(
            f"{path}: no group '{GROUP}{name}' (found: {found}); is it another product, or an incomplete download? "
            "Fetch it again"
        )
    return file[GROUP + name]


def _place(
    path: Path, file: h5py.File, groups: dict[str, h5py.Group], bbox: BBox | None
) -> tuple[str, xr.Dataset, Window]:
    """Product, coordinates of the cells to read, and their rows and columns in the file."""
    shape = shape_of(next(iter(groups.values())))
    if shape in SHAPES:
        product, resolution = SHAPES[shape]
        return product, *place_on_grid(path, ease_grid(resolution), bbox)
    product, resolution = ("SPL3SMP_E", "9km") if _is_enhanced(path, file) else ("SPL3SMP", "36km")
    if {"x", "y"} <= set(file):
        return product, *place_by_axes(path, file, shape, bbox)
    if not shape:
        raise VadoseError(f"{path}: no array of rows and columns in '{next(iter(groups.values())).name}'")
    row, column = (_first(path, groups, f"EASE_{axis}_index") for axis in ("row", "column"))
    grid = ease_grid(resolution).part(slice(row, row + shape[0]), slice(column, column + shape[1]))
    if grid.shape != shape:
        raise VadoseError(f"{path}: arrays of {shape} do not fit the grid from row {row}, column {column} on")
    return product, *place_on_grid(path, grid, bbox)


def _check_places(path: Path, product: str, place: xr.Dataset, group: h5py.Group, suffix: str, window: Window) -> None:
    """Hold the cells against the latitudes and longitudes of what was seen, where the file has them."""
    if all(f"{name}{suffix}" in group for name in ("latitude", "longitude")):
        lat, lon = (
            read_field(path, group[f"{name}{suffix}"], shape_of(group), window) for name in ("latitude", "longitude")
        )
        check_window(path, dict(SHAPES.values())[product], place, lat, lon)


def _is_enhanced(path: Path, file: h5py.File) -> bool:
    name = _metadata(file, "Metadata/DatasetIdentification", "SMAPShortName") or path.name
    return "L3_SM_P_E" in name or _metadata(file, "Metadata/DatasetIdentification", "shortName") == "SPL3SMP_E"


def _first(path: Path, groups: dict[str, h5py.Group], name: str) -> int:
    """Row or column of the grid that a crop begins with, as the cells that were seen say."""
    for overpass, group in groups.items():
        data = _dataset(path, group, name + OVERPASSES[overpass])
        check_shape(path, data, shape_of(group))
        index = read_whole(path, data).astype(int)
        own = np.arange(index.shape[0])[:, None] if "row" in name else np.arange(index.shape[1])[None]
        begins = np.unique((index - own)[index < NOT_SEEN])
        if len(begins) == 1 and begins[0] >= 0:
            return int(begins[0])
    raise VadoseError(f"{path}: a crop of a granule whose '{name}' does not say where it lies; use the complete file")


def _read(
    path: Path,
    group: h5py.Group,
    suffix: str,
    window: Window,
    bad_bits: int,
    variables: dict[str, tuple[str, ...]],
) -> dict[str, Counted]:
    """Variables of one overpass in our names, NaN where fill or, for soil moisture, of poor quality."""
    found = {}
    for ours, names in variables.items():
        theirs = _field(group, names, suffix) or names[0]
        found[ours] = _values(path, group, theirs + suffix, window, ours)
        if ours in COVARIATES:
            continue
        flag = theirs.replace("soil_moisture", "retrieval_qual_flag")
        flags = _dataset(path, group, flag + suffix)
        check_shape(path, flags, shape_of(group))
        # 65534 is fill; 7 (not attempted) stands where nothing was seen: both fail every rule but 'all'.
        found[ours][0][(flags[window] & bad_bits) != 0] = np.nan
    return found


def _dataset(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    if name not in group:
        raise VadoseError(
            f"{path}: no dataset '{name}' in group '{group.name.strip('/')}' ({len(group)} others found); "
            "is it another release or a subset? Fetch the whole file"
        )
    return group[name]


def _values(path: Path, group: h5py.Group, name: str, window: Window, ours: str) -> Counted:
    return within(read_field(path, _dataset(path, group, name), shape_of(group), window), ours, path)


def _mean(passes: list[Counted]) -> Counted:
    """Mean (1, row, column) of the overpasses that have a value, and the sum of their counts."""
    fields = np.stack([values for values, _ in passes])
    valid = np.isfinite(fields)
    with np.errstate(invalid="ignore"):  # 0 / 0 where no overpass has a value
        mean = np.where(valid, fields, 0).sum(axis=0) / valid.sum(axis=0, dtype=np.float32)
    return mean[None], dict(sum((Counter(counts) for _, counts in passes), Counter()))


def _day(path: Path, file: h5py.File) -> pd.Timestamp:
    """The day in the name, within a day of that in the metadata; of a renamed file, the latter."""
    begins = _metadata(file, "Metadata/Extent", "rangeBeginningDateTime")
    inside = moment(begins[:10], "%Y-%m-%d", path, "'rangeBeginningDateTime'") if begins else None
    if named := FILE_NAME.match(path.name):
        day = moment(named["day"], "%Y%m%d", path, "the day in its name")
        # The first half-orbit of a day may begin before midnight.
        if inside is not None and abs(day - inside) > pd.Timedelta(days=1):
            raise VadoseError(f"{path}: named {day:%Y-%m-%d} but its metadata say {inside:%Y-%m-%d}; it was renamed")
        return day
    if inside is None:
        raise VadoseError(
            f"{path}: neither the name (SMAP_L3_SM_P_E_YYYYMMDD_Rnnnnn_nnn.h5) nor the metadata say its day; "
            "give the file its published name"
        )
    return inside


def version_of(path: Path, file: h5py.File) -> str:
    """Version and release of a SMAP file, from its metadata and its name."""
    release = _metadata(file, "Metadata/DatasetIdentification", "CompositeReleaseID")
    if named := FILE_NAME.match(path.name):
        release = release or f"R{named['release']}"
    version = _metadata(file, "Metadata/SeriesIdentification", "ECSVersionID")
    return " ".join(part for part in (version, release and f"({release})") if part) or "unknown"


def _metadata(file: h5py.File, group: str, name: str) -> str:
    return text(file[group].attrs, name) if group in file else ""


PRODUCT = Product(
    "SMAP Level 3 radiometer soil moisture, 9 km and 36 km (SPL3SMP_E, SPL3SMP)",
    "grid",
    "10.5067/M20OXIZHY3RJ",
    read_smap_l3,
    is_smap_l3,
    FILE_NAME,
    "about 2 days",
    version=re.compile(r"_R(?P<a>\d{5})_(?P<b>\d{3}).*"),
    sources=("SPL3SMP_E", "SPL3SMP"),
    published={ours: names[0] for ours, names in ALGORITHMS.items()} | COVARIATES,
)
