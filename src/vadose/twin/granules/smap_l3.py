"""SMAP Level 3 granules of the simulated world: SPL3SMP_E and SPL3SMP."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.grid import Grid, ease_grid
from vadose.twin.truth import at

SIMULATED = "true: no value in this file was measured"
EPOCH = pd.Timestamp("2000-01-01 12:00")
# Resolution -> beginning of file names, short name, shape.
PRODUCTS = {"9km": ("SMAP_L3_SM_P_E", "SPL3SMP_E", (1624, 3856)), "36km": ("SMAP_L3_SM_P", "SPL3SMP", (406, 964))}
RELEASES = {"005": "R18290", "006": "R19240", "008": "R18290", "009": "R19240"}
POLAR = (2000, 2000)
FRACTION = ("valid_min", 0.0), ("valid_max", 1.0)
MOISTURE = ("units", "cm**3/cm**3"), ("valid_min", np.float32(0.02)), ("valid_max", np.float32(0.5))
KELVIN = ("units", "Kelvin"), ("valid_min", 0.0), ("valid_max", 330.0)
WIDE = ("valid_min", -999999.875), ("valid_max", 999999.875)
FLOATS: dict[str, tuple[tuple[str, object], ...]] = {
    **{f"soil_moisture{a}": MOISTURE for a in ("", "_dca", "_scah", "_scav")},
    "soil_moisture_error": (("units", "cm**3/cm**3"), ("valid_min", 0.0), ("valid_max", np.float32(0.2))),
    **{f"tb_{name}": KELVIN for name in ("h_corrected", "v_corrected", "h_uncorrected", "v_uncorrected")},
    **{f"tb_{name}_corrected": KELVIN for name in ("3", "4")},
    "surface_temperature": (("units", "Kelvins"), ("valid_min", 0.0), ("valid_max", 350.0)),
    "vegetation_water_content": (("units", "kg/m**2"), ("valid_min", 0.0), ("valid_max", 20.0)),
    **{f"vegetation_opacity{a}": WIDE for a in ("", "_dca", "_scah", "_scav")},
    **{f"albedo{a}": FRACTION for a in ("", "_dca", "_scah", "_scav")},
    **{f"roughness_coefficient{a}": FRACTION for a in ("", "_dca", "_scah", "_scav")},
    "bulk_density": (("valid_min", 0.0), ("valid_max", np.float32(2.65))),
    "clay_fraction": FRACTION,
    "boresight_incidence": (("units", "degrees"), ("valid_min", 0.0), ("valid_max", 90.0)),
    "static_water_body_fraction": FRACTION,
    "radar_water_body_fraction": FRACTION,
    "surface_water_fraction_mb_h": FRACTION,
    "surface_water_fraction_mb_v": FRACTION,
    "freeze_thaw_fraction": FRACTION,
    "latitude_centroid": (("units", "degrees"), ("valid_min", -90.0), ("valid_max", 90.0)),
    "longitude_centroid": (("units", "degrees"), ("valid_min", -180.0), ("valid_max", np.float32(179.999))),
    "latitude": (("units", "degrees_north"),),
    "longitude": (("units", "degrees_east"),),
}
# What stands in the flags of cells that were not observed.
NOT_SEEN = {
    **{f"retrieval_qual_flag{a}": 7 for a in ("", "_dca", "_scah", "_scav")},
    "surface_flag": 2047,
    "tb_qual_flag_h": 65535,
    "tb_qual_flag_v": 65535,
    "tb_qual_flag_3": 30719,
    "tb_qual_flag_4": 30719,
    "grid_surface_status": 65534,
    "EASE_row_index": 65534,
    "EASE_column_index": 65534,
}
QUALITY = (
    ("flag_masks", "1s, 2s, 4s, 8s"),
    ("flag_meanings", "Retrieval_recommended Retrieval_attempted Retrieval_success FT_retrieval_success"),
)
SUFFIXES, HOURS = {"AM": "", "PM": "_pm"}, {"AM": 6, "PM": 18}
BEGIN = pd.Timestamp("2015-03-31")
"""Of the mission: no granule is older."""


def write_smap_l3(truth: xr.Dataset, folder: Path, resolution: str = "9km", version: str | None = None) -> list[Path]:
    """Write a granule for each day: global arrays of which only the part of the truth is stored.

    The satellite's retrieval is that of DCA; SCA-H is 0.01 drier, SCA-V 0.01 wetter. Retrievals in frost
    and under dense vegetation (5 kg m-2 or more) are not recommended, yet hold numbers. Cells that the
    overpass does not see hold the fill of observed quantities and the flags of unobserved cells.

    Parameters
    ----------
    truth
        On a part of the 9 km grid; 36 km cells take the value at their centre.
    resolution
        ``'9km'`` (SPL3SMP_E) or ``'36km'`` (SPL3SMP).
    version
        ``'005'`` or ``'006'`` (the default) at 9 km, ``'008'`` or ``'009'`` at 36 km.
    """
    prefix, product, shape = PRODUCTS[resolution]
    version = version or {"9km": "006", "36km": "009"}[resolution]
    release = RELEASES[version]
    whole = ease_grid(resolution)
    rows, columns = window_of(truth, whole)
    part = whole.part(rows, columns)
    lat, lon = part.latlon(*np.indices(part.shape))
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # Making a hundred arrays costs more than filling them: they are made once and copied for each day.
    with TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.h5"
        _write_empty(empty, product, version, release, shape)
        for time in pd.DatetimeIndex(truth.time):
            if time < BEGIN:
                continue
            path = folder / f"{prefix}_{time:%Y%m%d}_{release}_001.h5"
            shutil.copyfile(empty, path)
            with h5py.File(path, "r+") as file:
                extent = file["Metadata/Extent"].attrs
                extent["rangeBeginningDateTime"] = f"{time:%Y-%m-%d}T00:00:00.000Z"
                extent["rangeEndingDateTime"] = f"{time:%Y-%m-%d}T23:59:59.999Z"
                for name in ("AM", "PM"):
                    found = _overpass(truth.sel(time=time), lat, lon, name.lower())
                    _fill(file[f"Soil_Moisture_Retrieval_Data_{name}"], name, (rows, columns), *found, time, lon)
            written.append(path)
    return written


def _write_empty(path: Path, product: str, version: str, release: str, shape: tuple[int, int]) -> None:
    """A granule whose arrays hold nothing yet; the polar groups stay so."""
    with h5py.File(path, "w") as file:
        file.attrs["simulated"] = SIMULATED
        file.create_group("Metadata/Extent")
        series = file.create_group("Metadata/SeriesIdentification")
        series.attrs["shortName"], series.attrs["ECSVersionID"] = product, version
        dataset = file.create_group("Metadata/DatasetIdentification")
        dataset.attrs["shortName"], dataset.attrs["CompositeReleaseID"] = product, release
        for name, suffix in SUFFIXES.items():
            _write_arrays(file.create_group(f"Soil_Moisture_Retrieval_Data_{name}"), suffix, shape)
            if product == "SPL3SMP_E":
                polar = file.create_group(f"Soil_Moisture_Retrieval_Data_Polar_{name}")
                _array(polar, "soil_moisture" + suffix, POLAR, MOISTURE)
                _array(polar, "retrieval_qual_flag" + suffix, POLAR, QUALITY, np.uint16, 7)


def _write_arrays(group: h5py.Group, suffix: str, shape: tuple[int, int]) -> None:
    for name, attributes in FLOATS.items():
        _array(group, name + suffix, shape, attributes)
    for name, unseen in NOT_SEEN.items():
        _array(group, name + suffix, shape, QUALITY if "retrieval" in name else (), np.uint16, unseen)
    _array(group, "tb_time_seconds" + suffix, shape, (("units", "seconds"),), np.float64)
    group.create_dataset("tb_time_utc" + suffix, shape, "S24", chunks=_chunks(shape), compression="gzip")
    for name, dtype, fill in (("landcover_class", np.uint8, 254), ("landcover_class_fraction", np.float32, -9999.0)):
        cover = group.create_dataset(
            name + suffix, (*shape, 3), dtype, chunks=(*_chunks(shape), 3), fillvalue=fill, compression="gzip"
        )
        cover.attrs["_FillValue"] = dtype(fill)


def window_of(truth: xr.Dataset, whole: Grid) -> tuple[slice, slice]:
    """Rows and columns of a global grid whose cells have their centres in the truth."""
    half = abs(float(truth.x[1] - truth.x[0])) / 2
    x, y = whole.x, whole.y
    columns = np.flatnonzero((x > float(truth.x[0]) - half) & (x < float(truth.x[-1]) + half))
    rows = np.flatnonzero((y < float(truth.y[0]) + half) & (y > float(truth.y[-1]) - half))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


Fields = dict[str, NDArray[Any]]


def _overpass(
    day: xr.Dataset, lat: NDArray[np.floating], lon: NDArray[np.floating], name: str
) -> tuple[Fields, Fields, NDArray[Any]]:
    """Values and flags of one overpass on the window, and which cells it saw."""

    def truth(variable: str) -> NDArray[Any]:
        return at(day[variable], lat, lon)

    seen = truth(f"overpass_{name}") > 0
    moisture = truth("satellite_soil_moisture")
    attempted = seen & np.isfinite(moisture)
    frozen, dense = truth("surface_temperature") < 275.15, truth("vegetation_water_content") >= 5
    retrieved = np.where(attempted, np.clip(moisture, 0.02, None), np.nan)
    scah = np.where(attempted, np.clip(moisture - 0.01, 0.02, None), np.nan)
    values: Fields = {
        "soil_moisture": retrieved,
        "soil_moisture_dca": retrieved,
        "soil_moisture_scah": scah,
        "soil_moisture_scav": retrieved + np.float32(0.01),
        "soil_moisture_error": 0 * retrieved + 0.04,
        "tb_3_corrected": 0 * lat,
        "tb_4_corrected": 0 * lat,
        "boresight_incidence": 0 * lat + 40.0,
        "surface_temperature": truth("surface_temperature"),
        "vegetation_water_content": truth("vegetation_water_content"),
        "bulk_density": truth("bulk_density"),
        "clay_fraction": truth("clay_fraction"),
        "freeze_thaw_fraction": (truth("surface_temperature") < 273.15).astype(float),
        "latitude": lat,
        "longitude": lon,
        "latitude_centroid": lat,
        "longitude_centroid": lon,
    }
    for p in ("h", "v"):
        values |= {f"tb_{p}_corrected": truth(f"tb_{p}"), f"tb_{p}_uncorrected": truth(f"tb_{p}")}
    for water in ("static_water_body", "radar_water_body"):
        values[f"{water}_fraction"] = truth("water_fraction")
    for p in ("h", "v"):
        values[f"surface_water_fraction_mb_{p}"] = truth("water_fraction")
    for variable in ("vegetation_opacity", "albedo", "roughness_coefficient"):
        values |= dict.fromkeys((f"{variable}{a}" for a in ("", "_dca", "_scah", "_scav")), truth(variable))
    # 1: not recommended; 1 + 4: attempted and failed; 1 + 2 + 4: not attempted.
    quality = np.where(attempted, np.where(frozen | dense, 1, 0), 5)
    flags: Fields = {f"retrieval_qual_flag{a}": quality for a in ("", "_dca", "_scah", "_scav")}
    flags["surface_flag"] = 128 * frozen + 1024 * dense + (truth("water_fraction") > 0.05)
    flags |= {f"tb_qual_flag_{p}": 0 * quality for p in ("h", "v", "3", "4")}
    flags["grid_surface_status"] = (truth("water_fraction") > 0.5).astype(int)
    return values, flags, seen


def _fill(
    group: h5py.Group,
    name: str,
    window: tuple[slice, slice],
    values: Fields,
    flags: Fields,
    seen: NDArray[np.bool_],
    time: pd.Timestamp,
    lon: NDArray[np.floating],
) -> None:
    rows, columns = window
    suffix = SUFFIXES[name]
    row, column = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    flags = flags | dict(
        zip(("EASE_row_index", "EASE_column_index"), np.meshgrid(row, column, indexing="ij"), strict=True)
    )
    for variable in FLOATS:
        valid = seen & np.isfinite(values[variable])
        group[variable + suffix][window] = np.where(valid, values[variable], -9999.0)
    for variable, unseen in NOT_SEEN.items():
        group[variable + suffix][window] = np.where(seen, flags[variable], unseen)
    # Local solar time of the overpass in seconds of UTC, and as text; it is that of the column.
    seconds = (time - EPOCH).total_seconds() + 3600 * ((HOURS[name] - lon[0] / 15) % 24)
    group["tb_time_seconds" + suffix][window] = np.where(seen, seconds, -9999.0)
    stamps = (EPOCH + pd.to_timedelta(seconds, unit="s")).strftime("%Y-%m-%dT%H:%M:%S.000Z").to_numpy().astype("S24")
    group["tb_time_utc" + suffix][window] = np.where(seen, stamps, b"")


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    return 28, shape[1] // 60


def _array(
    group: h5py.Group,
    name: str,
    shape: tuple[int, int],
    attributes: tuple[tuple[str, object], ...] = (),
    dtype: Any = np.float32,
    unseen: float = -9999.0,
) -> h5py.Dataset:
    """A global array whose chunks stay unwritten until something is put there."""
    data = group.create_dataset(
        name, shape, dtype, chunks=_chunks(shape), fillvalue=unseen, compression="gzip", compression_opts=2
    )
    if dtype is np.uint16:
        data.attrs["_FillValue"] = np.uint16(65534)
    elif not name.startswith(("latitude", "longitude")) or "centroid" in name:
        data.attrs["_FillValue"] = dtype(-9999.0)
    for key, value in attributes:
        data.attrs[key] = dtype(value) if isinstance(value, float) else value
    return data
