"""GPM IMERG: multi-satellite precipitation of half hours and of days on 0.1 degrees, the whole globe.

Published by NASA GES DISC as Final, Late and Early run: half hours doi:10.5067/GPM/IMERG/3B-HH/07, HDF5,
``3B-HHR.MS.MRG.3IMERG.20190601-S000000-E002959.0000.V07B.HDF5`` (``3B-HHR-L`` late, ``3B-HHR-E`` early), and days
doi:10.5067/GPM/IMERGDF/DAY/07, netCDF-4, ``3B-DAY.MS.MRG.3IMERG.20190601-S000000-E235959.V07B.nc4``. Versions 06
and 07 differ in names (``precipitationCal``, now ``precipitation``), in the epoch of time (1970, now 1980-01-06)
and in the unit of days (mm, the sum of what was valid; now mm/day, the mean of what was valid times 24).
Axes are (time, lon, lat) from south to north, and the calendar is called julian but is not.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.containers import BBox, as_float, choose, container_of, open_hdf5, simulated_mark
from vadose.products.dates import after, moment
from vadose.products.lattice import on_lattice
from vadose.products.product import Product
from vadose.products.ranges import COUNTED, within
from vadose.products.stored import check_size, read_whole, scale_of
from vadose.variables import describe

FILE_NAME = re.compile(
    r"3B-(?P<length>HHR|DAY)(?:-(?P<run>[EL]))?\.MS\.MRG\.3IMERG\.(?P<day>\d{8})-S(?P<start>\d{6})-E\d{6}"
    r"(?:\.\d{4})?\.(?P<version>V\d{2}[A-Z]?)\.(?:HDF5|RT-H5|nc4)(?:\..+)?"
)
HALF_HOURS = {"recommended": 24, "complete": 48, "all": 0}
"""Valid half hours that a cell's day needs, by quality rule."""

_NAMES = ("precipitation", "precipitationCal")  # version 07, 06
_FILLS = (-9999.9, -9999)
_STEP = 0.1
_EXTENT = (-179.95, -89.95, 179.95, 89.95)
_EPOCH = re.compile(r"(seconds|minutes|hours|days) since (\d{4}-\d{1,2}-\d{1,2})(?:[T ](\d{1,2}:\d{2}(?::\d{2})?))?")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}
# In the header of a half hour, and in the list of the half hours that a day was made from.
_ORIGIN = re.compile(r"3B-(?:HHR|DAY)(?:-(?P<run>[EL]))?\.MS\.MRG\.3IMERG[^;\s]*?\.(?P<version>V\d{2}[A-Z]?)\.")


def read_imerg(path: Path, *, bbox: BBox | None = None, quality: str = "recommended") -> xr.Dataset:
    """Read a half hour or a day of precipitation.

    Parameters
    ----------
    path
        A granule of any run, version 06 or 07, whole or cut by a server.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.
    quality
        Half hours of a day's 48 that have to be valid in a cell: ``'recommended'`` 24, ``'complete'`` 48,
        ``'all'`` any number. It is of no effect on a half hour, or on a day without counts, and the
        attribute ``quality`` says so.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up: ``precipitation`` [kg m-2 of the half hour or of the day] and, where the
        file has them, ``precipitation_count`` (valid half hours of the day), ``precipitation_error``
        [kg m-2], ``precipitation_quality_index`` (0 to 1; below 0.4 is little more than a guess, no
        threshold is applied). Time is the start of the half hour, or the day at 00:00 [UTC]. A day of
        version 06 stays the sum of its valid half hours, as published, so that it is too low where some
        are missing.

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, or its values are out of range; without a box
        also when it holds no value at all, though not only poleward of 60 degrees, where version 06 is
        missing over ice.

    References
    ----------
    Huffman et al. (2019), NASA ATBD of IMERG; doi:10.5067/GPM/IMERG/3B-HH/07,
    doi:10.5067/GPM/IMERGDF/DAY/07.
    """
    choose(quality, HALF_HOURS, "quality", path)
    with open_hdf5(path) as file:
        group, name = _precipitation(file)
        if group is None:
            raise VadoseError(
                f"{path}: no 'precipitation' or 'precipitationCal' with 'lat' and 'lon', in group 'Grid' or out of "
                f"it (found: {list(file)[:8]}); is it another product, or the download incomplete?"
            )
        if _is_month(path, file, group):
            raise VadoseError(f"{path}: means of a month (3IMERGM); only half hours and days are read, fetch those")
        lat, lon = (np.round(read_whole(path, group[axis]).astype(float), 2) for axis in ("lat", "lon"))
        rows, columns, south_first, dataset = on_lattice(path, lat, lon, bbox, _STEP, _EXTENT)
        daily, factor, units = _unit(path, group[name])
        time, time_note = _time(path, group, daily)
        sizes = {"time": len(time), "lat": len(lat), "lon": len(lon)}
        found = {
            "precipitation": name,
            "precipitation_error": "randomError",
            "precipitation_count": f"{name}_cnt",
            "precipitation_quality_index": "precipitationQualityIndex",
        }
        fields: dict[str, object] = {}
        for ours, theirs in found.items():
            if theirs in group:
                values = _window(path, group[theirs], rows, columns, sizes)
                scale = factor if ours in ("precipitation", "precipitation_error") else 1.0
                values = (values[:, ::-1] if south_first else values) * np.float32(scale)
                fields[ours] = ("time", "lat", "lon"), *within(values, ours, path)
        dataset = dataset.assign(fields | {"time": time})  # at once, which takes less than one by one
        origin, simulated = _origin(path, file), simulated_mark(file.attrs)
    rain = dataset.precipitation
    if bbox is None and bool(rain.isnull().all()) and float(np.abs(dataset.lat).min()) < 60:
        raise VadoseError(f"{path}: every value is missing; the granule is empty or damaged, fetch it again")
    dataset, rule = _masked(dataset, quality, daily)
    run = origin.get("run") or "F"
    short = f"GPM_3IMERGD{run}" if daily else f"GPM_3IMERGHH{run.replace('F', '')}"
    dataset = describe(dataset)
    if not daily:
        dataset.precipitation.attrs["long_name"] = "precipitation of the half hour from the stamp on"
    dataset.attrs |= {
        "product": short,
        "version": origin.get("version", "unknown"),
        "granule": path.name,
        "quality": rule,
        "day_boundary": "UTC day" if daily else "a half hour from its stamp on [UTC]; daily_imerg makes a day",
        "published_units": units,
        "simulated": simulated,
    } | time_note
    if not origin:
        dataset.attrs["run_note"] = "neither name nor header tells the run; it may be the Late or Early one"
    return dataset


def daily_imerg(
    paths: Iterable[Path], *, bbox: BBox | None = None, quality: str = "recommended", min_granules: int = 48
) -> xr.Dataset:
    """Precipitation of UTC days from half hours: the mean of a cell's valid ones times 48.

    Parameters
    ----------
    paths
        Half-hourly granules of one run and version, of one day or several, in any order.
    bbox, quality
        As in `read_imerg`: a cell with fewer valid half hours is missing.
    min_granules
        Granules a day needs.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon): ``precipitation`` [kg m-2 of the day] and ``precipitation_count``, the valid half
        hours.

    Raises
    ------
    VadoseError
        When a day has fewer granules, one comes twice, or they differ in grid, run or version.
    """
    paths = list(paths)
    if not paths:
        raise VadoseError("IMERG day: no granule given")
    choose(quality, HALF_HOURS, "quality", paths[0])
    if not max(HALF_HOURS[quality], 1) <= min_granules <= 48:
        raise VadoseError(
            f"IMERG day: min_granules {min_granules}; give {max(HALF_HOURS[quality], 1)} to 48 (quality {quality!r} "
            f"needs {HALF_HOURS[quality]} valid half hours in a cell)"
        )
    first: xr.Dataset | None = None
    sums: dict[pd.Timestamp, tuple[NDArray[np.float64], NDArray[np.int16]]] = {}
    seen: dict[pd.Timestamp, dict[pd.Timestamp, str]] = {}
    simulated, outside = "false", 0
    for path in paths:
        granule = read_imerg(path, bbox=bbox, quality="all")
        if granule.attrs["day_boundary"] == "UTC day" or granule.sizes["time"] != 1:
            raise VadoseError(
                f"{path}: not a half hour; a day is made of half-hourly granules, read this with read_imerg"
            )
        first = granule if first is None else first
        _check_like(granule, first, path)
        stamp = pd.Timestamp(granule.time.values[0])
        day = stamp.floor("D")
        if stamp in seen.setdefault(day, {}):
            raise VadoseError(f"{path}: the half hour {stamp:%Y-%m-%d %H:%M} was read from {seen[day][stamp]} already")
        seen[day][stamp] = path.name
        values = granule.precipitation.values[0]
        of_day = sums.setdefault(day, (np.zeros(values.shape), np.zeros(values.shape, np.int16)))
        of_day[0][:] += np.nan_to_num(values)
        of_day[1][:] += np.isfinite(values)
        outside += granule.precipitation.attrs.get(COUNTED, 0)
        simulated = max(simulated, granule.attrs["simulated"])  # "true" > "false"
    assert first is not None
    days = sorted(sums)
    for day in days:
        if (number := len(seen[day])) < min_granules:
            raise VadoseError(
                f"IMERG day {day:%Y-%m-%d}: found {number} of its 48 half hours ({min(seen[day]):%H:%M} to "
                f"{max(seen[day]):%H:%M}), {min_granules} are needed; fetch the others or lower min_granules"
            )
    total, count = np.stack([sums[day][0] for day in days]), np.stack([sums[day][1] for day in days])
    needed = max(HALF_HOURS[quality], 1)
    amount = np.where(count >= needed, total * 48 / np.maximum(count, 1), np.nan).astype(np.float32)
    dataset = xr.Dataset(coords=first.drop_vars("time").coords)
    dataset = dataset.assign_coords(time=pd.DatetimeIndex(days, name="time").as_unit("ns"))
    dataset["precipitation"] = ("time", "lat", "lon"), amount, {COUNTED: outside} if outside else {}
    dataset["precipitation_count"] = ("time", "lat", "lon"), count.astype(np.float32)
    dataset.attrs = first.attrs | {
        "granule": f"{len(paths)} granules from {seen[days[0]][min(seen[days[0]])]}",
        "quality": f"{quality}: at least {needed} valid half hours of the day",
        "day_boundary": "UTC day, half hours that start at 00:00 to 23:30",
        "simulated": simulated,
    }
    return describe(dataset)


def _check_like(granule: xr.Dataset, first: xr.Dataset, path: Path) -> None:
    same = all(granule.attrs[key] == first.attrs[key] for key in ("product", "version"))
    if not (same and granule.lat.equals(first.lat) and granule.lon.equals(first.lon)):
        raise VadoseError(
            f"{path}: {granule.attrs['product']} {granule.attrs['version']}, another run, version or grid than "
            f"{first.attrs['granule']}; keep to one"
        )


def is_imerg(path: Path) -> bool:
    """Whether a file holds precipitation under IMERG's names on its lattice of 0.1 degrees."""
    if container_of(path) != "hdf5":
        return False
    with open_hdf5(path) as file:
        group, name = _precipitation(file)
        if group is None or group[name].ndim not in (2, 3) or group["lon"].ndim != 1 or not group["lon"].size:
            return False
        centres = np.concatenate([group["lon"][:2], group["lat"][:2]]).astype(float) / _STEP
        # Centres lie halfway between tenths of a degree.
        return bool(np.abs(centres - np.floor(centres) - 0.5).max() < 0.01)


def _precipitation(file: h5py.File) -> tuple[h5py.Group | None, str]:
    """The group that holds the axes, and the name of precipitation in it; None where there is none."""
    for group in (file.get("Grid"), file):
        # A name may be that of a dataset in another product.
        if hasattr(group, "keys") and all(hasattr(group.get(axis), "dtype") for axis in ("lat", "lon")):
            for name in _NAMES:
                if hasattr(group.get(name), "dtype"):
                    return group, name
    return None, ""


def _unit(path: Path, dataset: h5py.Dataset) -> tuple[bool, float, str]:
    """Whether the values are a day's, and the factor to kg m-2 of the half hour or day."""
    units = _text(dataset.attrs.get("units", dataset.attrs.get("Units", ""))).strip()
    plain = re.sub(r"\s+", "", units.lower())
    daily = {"mm/hr": False, "mm/h": False, "mmhr-1": False, "mmh-1": False} | dict.fromkeys(
        ("mm", "mm/day", "mmday-1", "kgm-2"), True
    )
    named = FILE_NAME.match(path.name)
    if plain in daily and (not named or daily[plain] == (named["length"] == "DAY")):
        return daily[plain], 1.0 if daily[plain] else 0.5, units
    raise VadoseError(
        f"{path}: precipitation is in {units!r}; half hours are published in 'mm/hr', days in 'mm' or 'mm/day'. "
        "Convert it back or fetch the granule again"
    )


def _time(path: Path, group: h5py.Group, daily: bool) -> tuple[pd.DatetimeIndex, dict[str, str]]:
    """Start of each half hour, or each day, by the file, held against the name if that is as published."""
    named = FILE_NAME.match(path.name)
    by_name = moment(named["day"] + named["start"], "%Y%m%d%H%M%S", path, "the time in its name") if named else None
    if "time" not in group:
        if by_name is None:
            raise VadoseError(
                f"{path}: cannot determine the time: no variable 'time', and the file does not have its published name"
            )
        return pd.DatetimeIndex([by_name], name="time").as_unit("ns"), {"time_note": "by the name of the file"}
    units = _text(group["time"].attrs.get("units", group["time"].attrs.get("Units", "")))
    # By hand: the calendar is declared julian, and taking that for true shifts time by 13 days.
    if not (since := _EPOCH.match(units)):
        raise VadoseError(f"{path}: time is in {units!r}; expected 'seconds since 1980-01-06 00:00:00 UTC' or the like")
    epoch = moment(f"{since[2]} {since[3] or '00:00'}", "ISO8601", path, "the epoch of its time")
    seconds = np.atleast_1d(read_whole(path, group["time"])).astype(float) * _SECONDS[since[1]]
    for second in seconds:
        after(epoch, float(second), path, "'time'")
    time = pd.DatetimeIndex(epoch + pd.to_timedelta(seconds, unit="s"), name="time").round("min").as_unit("ns")
    time = time.floor("D") if daily else time
    if by_name is not None and time[0] != (by_name.floor("D") if daily else by_name):
        raise VadoseError(f"{path}: holds {time[0]:%Y-%m-%d %H:%M}, its name says {by_name:%Y-%m-%d %H:%M}; renamed?")
    return time, {}


def _window(
    path: Path, dataset: h5py.Dataset, rows: slice, columns: slice, sizes: dict[str, int]
) -> NDArray[np.float32]:
    """Values (time, lat, lon) of a window in the order of the file's rows, NaN where missing."""
    axes = [dim[0].name.rsplit("/", 1)[-1] if len(dim) else "" for dim in dataset.dims]
    # One time, cut out with a library, may have lost its axis.
    known = (["lat", "lon", "time"], ["lat", "lon"])
    if sorted(axes) not in known:
        axes = _text(dataset.attrs.get("DimensionNames", "time,lon,lat")).split(",")
    if sorted(axes) not in known or dataset.ndim != len(axes):
        raise VadoseError(f"{path}: {dataset.name} {dataset.shape} has axes {axes}; published as time, lon, lat")
    if dataset.shape != (fit := tuple(sizes[axis] for axis in axes)) or ("time" not in axes and sizes["time"] != 1):
        raise VadoseError(
            f"{path}: {dataset.name} is {dataset.shape}; expected {fit} of {', '.join(axes)} and {sizes['time']} "
            "times; is the file complete?"
        )
    cut = {"time": slice(None), "lat": rows, "lon": columns}
    check_size(path, dataset.name, (sizes["time"], rows.stop - rows.start, columns.stop - columns.start))
    scale, offset = scale_of(path, dataset.name, dataset.dtype, dataset.attrs)
    if dataset.name.endswith("_cnt") and (scale, offset) != (1.0, 0.0):
        raise VadoseError(
            f"{path}: {dataset.name} counts half hours, but has scale_factor {scale:g} and offset {offset:g}"
        )
    raw = dataset[tuple(cut[axis] for axis in axes)]
    raw, axes = (raw, axes) if "time" in axes else (raw[None], ["time", *axes])
    raw = raw.transpose([axes.index(axis) for axis in ("time", "lat", "lon")])
    declared = dataset.attrs.get("_FillValue")
    values = as_float(raw, *_FILLS, None if declared is None else float(np.ravel(declared)[0]))
    return values if (scale, offset) == (1.0, 0.0) else values * np.float32(scale) + np.float32(offset)


def _masked(dataset: xr.Dataset, quality: str, daily: bool) -> tuple[xr.Dataset, str]:
    """The day without cells of too few half hours, and the rule in words."""
    needed = HALF_HOURS[quality]
    if not daily:
        return dataset, f"{quality}: fill masked, no threshold on the quality index; the rule is for days"
    if "precipitation_count" not in dataset:
        return dataset, f"{quality}: fill masked; the file has no count of half hours to judge by"
    for name in ("precipitation", "precipitation_error"):
        if name in dataset and needed:
            dataset[name] = dataset[name].where(dataset.precipitation_count >= needed)
    return dataset, f"{quality}: at least {needed} valid half hours of the day" if needed else "all: fill masked"


def _origin(path: Path, file: h5py.File) -> dict[str, str | None]:
    """Run and version by the file's own header, else by its name; empty where neither says."""
    for text in _headers(file):
        if found := _ORIGIN.search(text):
            return found.groupdict()
    named = FILE_NAME.match(path.name)
    return {key: named[key] for key in ("run", "version")} if named else {}


def _headers(file: h5py.File) -> list[str]:
    """The file's own headers; OPeNDAP puts a word before their names."""
    names = ("FileHeader", "InputPointer", "HDF5_GLOBAL.FileHeader", "HDF5_GLOBAL.InputPointer")
    return [_text(file.attrs.get(name, "")) for name in names]


def _is_month(path: Path, file: h5py.File, group: h5py.Group) -> bool:
    """Whether a file holds the means of a month, in mm/hr too, by its name, header, fields or bounds of time."""
    if path.name.startswith("3B-MO") or "gaugeRelativeWeighting" in group:
        return True
    if any(re.search(r"3IMERGM\b|TimeInterval=MONTH", text) for text in _headers(file)):
        return True
    if "time_bnds" not in group or "time" not in group:
        return False
    units = _EPOCH.match(_text(group["time"].attrs.get("units", group["time"].attrs.get("Units", ""))))
    bounds = np.ravel(group["time_bnds"][()]).astype(float)
    return bool(units and len(bounds) == 2 and np.diff(bounds)[0] * _SECONDS[units[1]] > 2 * _SECONDS["days"])


def _text(value: object) -> str:
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


PRODUCT = Product(
    "GPM IMERG precipitation, half-hourly and daily, 0.1 degrees",
    "grid",
    "10.5067/GPM/IMERG/3B-HH/07",
    read_imerg,
    is_imerg,
    FILE_NAME,
    "4 hours (Early), 14 hours (Late), 3.5 months (Final)",
    version=re.compile(r"(?<=^3B-(?:HHR|DAY))-(?P<z>[EL])|(?:\.\d{4})?\.V(?P<a>\d{2})(?P<b>[A-Z]?)\..*"),
    daily=daily_imerg,
    whole_day=re.compile("3B-DAY"),
    sources=("GPM_3IMERGDF", "GPM_3IMERGHH"),
    published={"precipitation": "precipitation"},
)
