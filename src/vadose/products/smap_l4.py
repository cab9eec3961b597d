"""SMAP Level 4 soil moisture: the 3-hourly geophysical fields (SPL4SMGP) and the analysis updates (SPL4SMAU).

Published by NASA's National Snow and Ice Data Center (doi:10.5067/EVKPQZ4AFC4D for SPL4SMGP 007,
doi:10.5067/T5RUATAQREF8 for 008), HDF5 files named ``SMAP_L4_SM_gph_20190701T013000_Vv7032_001.h5``; the
stamp of ``gph`` is the middle of the three hours, a day has eight of them. A model: it goes on where the
satellite was silent, and no flag says so. Its ``x`` and ``y`` are up to a metre beside the EASE-Grid 2.0, and
subsets made by NASA's services may lie on a grid of latitude and longitude.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products.containers import BBox, container_of, open_hdf5, simulated_mark
from vadose.products.dates import after, moment
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import sum_counts, within
from vadose.products.smap import EPOCH, Window, check_window, place_by_axes, place_on_grid, read_field, shape_of, text
from vadose.variables import describe

FILE_NAME = re.compile(
    r"^SMAP_L4_SM_(gph|aup)_(?P<stamp>\d{8}T\d{6})_V(?P<release>[a-z]\d{4})_(\d{3})"
    r"(?:_\w+)?\.(?:h5|(?:h5\.)?(?:\w+\.)?nc4?)$"
)
THREE_HOURS = 10800.0
STAMPS_A_DAY = 8
# Dataset -> our name and the factor into our units; fluxes are summed over the three hours.
GEOPHYSICAL = {
    "sm_surface": ("soil_moisture", 1.0),
    "sm_rootzone": ("soil_moisture_rootzone", 1.0),
    "sm_profile": ("soil_moisture_profile", 1.0),
    "surface_temp": ("surface_temperature", 1.0),
    "soil_temp_layer1": ("soil_temperature", 1.0),
    "precipitation_total_surface_flux": ("precipitation", THREE_HOURS),
    "land_evapotranspiration_flux": ("evapotranspiration", THREE_HOURS),
    "overland_runoff_flux": ("runoff", THREE_HOURS),
    "snow_mass": ("snow_water_equivalent", 1.0),
    "leaf_area_index": ("leaf_area_index", 1.0),
    "surface_pressure": ("surface_pressure", 1.0),
    "radiation_shortwave_downward_flux": ("shortwave_radiation", 1.0),
}
ANALYSIS = {
    "sm_surface_analysis": ("soil_moisture", 1.0),
    "sm_rootzone_analysis": ("soil_moisture_rootzone", 1.0),
    "sm_profile_analysis": ("soil_moisture_profile", 1.0),
    "sm_surface_analysis_ensstd": ("soil_moisture_std", 1.0),
    "surface_temp_analysis": ("surface_temperature", 1.0),
    "soil_temp_layer1_analysis": ("soil_temperature", 1.0),
}
GROUPS = {"Geophysical_Data": ("SPL4SMGP", GEOPHYSICAL), "Analysis_Data": ("SPL4SMAU", ANALYSIS)}
SUMMED = ("precipitation", "evapotranspiration", "runoff")


def read_smap_l4(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one stamp: a 3-hour mean (SPL4SMGP) or an analysis (SPL4SMAU).

    Parameters
    ----------
    path
        Whole granule, or a subset of it with its ``x`` and ``y``.
    bbox
        West, south, east, north [degree]; all when left out.

    Returns
    -------
    xarray.Dataset
        (time, y, x) on the 9 km EASE-Grid 2.0, or (time, lat, lon) where a service resampled the file,
        one time: ``soil_moisture`` (0-5 cm), ``soil_moisture_rootzone`` (0-100 cm),
        ``soil_moisture_profile`` (to bedrock) [m3 m-3], temperatures of surface and uppermost soil [K] and,
        of SPL4SMGP, fluxes [kg m-2 in 3 h], snow, leaf area, pressure and radiation, as far as the file
        holds them.

    Raises
    ------
    VadoseError
        When the groups or every variable are missing, the cells cannot be placed, or values are out of
        range.

    References
    ----------
    Reichle et al. (2019), doi:10.1029/2019MS001729.
    """
    with open_hdf5(path) as file:
        name = next((group for group in GROUPS if group in file), None)
        if name is None:
            raise VadoseError(
                f"{path}: no group {' or '.join(map(repr, GROUPS))} (found: {', '.join(file) or 'nothing'}); is it "
                "another product, or an incomplete download? Fetch it again"
            )
        product, fields = GROUPS[name]
        group = file[name]
        shape = shape_of(group)
        place, window = _place(path, file, shape, bbox)
        if {"cell_lat", "cell_lon"} <= set(file) and "x" in place.dims:
            lat, lon = (read_field(path, file[axis], shape, window) for axis in ("cell_lat", "cell_lon"))
            check_window(path, "9km", place, lat, lon)
        time = _time(path, file)
        values = {
            ours: within(read_field(path, group[theirs], shape, window) * np.float32(factor), ours, path)
            for theirs, (ours, factor) in fields.items()
            if theirs in group
        }
        if not values:
            raise VadoseError(f"{path}: group '{name}' holds none of {', '.join(fields)}; is it another product?")
        version = _version(path, file)
        mark = simulated_mark(file.attrs)
    rows = ("lat", "lon") if "lon" in place.dims else ("y", "x")
    variables = {ours: (("time", *rows), field[None], counts) for ours, (field, counts) in values.items()}
    dataset = place.assign({"time": pd.DatetimeIndex([time]).as_unit("ns"), **variables})
    dataset.attrs |= {
        "product": product,
        "version": version,
        "granule": path.name,
        "quality": "none: the product carries no quality flag",
        "day_boundary": "UTC; a stamp is the middle of 3 hours (SPL4SMGP) or the instant of the analysis (SPL4SMAU)",
        "simulated": mark,
    }
    return describe(dataset)


def daily_smap_l4(paths: Iterable[Path], *, bbox: BBox | None = None, min_stamps: int = STAMPS_A_DAY) -> xr.Dataset:
    """Make UTC days of 3-hourly granules: means, and sums of the fluxes.

    Parameters
    ----------
    paths
        SPL4SMGP granules of whole days, in any order.
    min_stamps
        Fewest of the eight stamps for a day; sums of fewer are scaled to the whole day.

    Raises
    ------
    VadoseError
        When a day has fewer stamps, or a stamp comes twice; what `read_smap_l4` finds.
    """
    stamps = sorted((read_smap_l4(path, bbox=bbox) for path in paths), key=lambda d: d.time.values[0])
    if not stamps:
        raise VadoseError("SMAP L4: no granule to make a day of")
    days: dict[pd.Timestamp, list[xr.Dataset]] = {}
    for stamp in stamps:
        if stamp.attrs["product"] != "SPL4SMGP":
            raise VadoseError(f"{stamp.attrs['granule']}: an analysis update is no part of a daily mean; take SPL4SMGP")
        days.setdefault(pd.Timestamp(stamp.time.values[0]).normalize(), []).append(stamp)
    made = []
    for day, found in days.items():
        times = [str(d.time.values[0])[11:16] for d in found]
        if len(set(times)) < len(times):
            raise VadoseError(f"SMAP L4 of {day:%Y-%m-%d}: a stamp comes twice ({times}); keep the newest version")
        if len(found) < min_stamps:
            raise VadoseError(
                f"SMAP L4 of {day:%Y-%m-%d}: {len(found)} of {STAMPS_A_DAY} stamps ({times}), at least {min_stamps} "
                "wanted; fetch the others or set min_stamps"
            )
        mean = xr.concat(found, "time", join="exact", combine_attrs="override").mean("time", keep_attrs=True)
        for name in SUMMED:
            if name in mean:
                mean[name] = mean[name] * STAMPS_A_DAY
        made.append(mean.expand_dims(time=[day]))
    dataset = xr.concat(made, "time", join="exact", combine_attrs="override")
    dataset.attrs["day_boundary"] = "UTC day, mean of its eight 3-hour means"
    return describe(sum_counts(dataset, stamps))


def is_smap_l4(path: Path) -> bool:
    """Whether an HDF5 file has a group of Level 4."""
    if container_of(path) != "hdf5":
        return False
    with open_hdf5(path) as file:
        return any(name in file and isinstance(file[name], h5py.Group) for name in GROUPS)


def _place(path: Path, file: h5py.File, shape: tuple[int, ...], bbox: BBox | None) -> tuple[xr.Dataset, Window]:
    """Coordinates of the cells to read, and their rows and columns in the file."""
    whole = ease_grid("9km")
    if {"x", "y"} <= set(file):
        return place_by_axes(path, file, shape, bbox)
    if shape != whole.shape:
        raise VadoseError(f"{path}: {shape} cells without 'x' and 'y' cannot be placed; use the complete granule")
    return place_on_grid(path, whole, bbox)


def _time(path: Path, file: h5py.File) -> pd.Timestamp:
    """The stamp in the file, which has to agree with that in the name where there is one."""
    named = FILE_NAME.match(path.name)
    stamp = moment(named["stamp"], "%Y%m%dT%H%M%S", path, "the stamp in its name") if named else None
    if "time" in file and file["time"].size:
        inside = after(EPOCH, float(np.ravel(file["time"][()])[0]), path, "'time'")
        if stamp is not None and abs(inside - stamp) > pd.Timedelta(hours=2):
            raise VadoseError(f"{path}: named {stamp} but its 'time' is {inside}; the file was renamed")
        return inside
    if stamp is None:
        raise VadoseError(f"{path}: neither a 'time' in the file nor one in its name; give it its published name")
    return pd.Timestamp(stamp)


def _version(path: Path, file: h5py.File) -> str:
    """Release such as ``Vv7032`` from the name, or from the name the producer noted."""
    for name in (path.name, text(file.attrs, "Filename").rsplit("/", 1)[-1]):
        if found := FILE_NAME.match(name):
            return f"{int(found['release'][1]):03d} (V{found['release']})"
    return "unknown"


PRODUCT = Product(
    "SMAP Level 4 soil moisture, 3-hourly, 9 km (SPL4SMGP, SPL4SMAU)",
    "grid",
    "10.5067/T5RUATAQREF8",
    read_smap_l4,
    is_smap_l4,
    FILE_NAME,
    "2 to 3 days",
    version=re.compile(r"_V[a-z](?P<a>\d{4})_(?P<b>\d{3}).*"),
    daily=daily_smap_l4,
    sources=("SPL4SMGP",),
    stations=AtStations({"soil_moisture_smap_l4": "soil_moisture"}),
    twin=Twin("smap_l4.write_smap_l4", "last day"),
)
