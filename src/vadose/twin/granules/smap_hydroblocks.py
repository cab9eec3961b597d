"""Simulated SMAP-HydroBlocks: monthly files of daily 30 m maps, and a catchment's response units."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import writing
from vadose.grid import Grid, grid_of
from vadose.twin.granules.rasters import SIMULATED, Layer, covered, write_rasters

FILL = -9999.0
# Pixels of the archive's rasters: one arc second.
PIXEL = 1 / 3600


def write_smap_hydroblocks(truth: xr.Dataset, folder: Path) -> list[Path]:
    """Write a netCDF file of daily maps for each month of the truth.

    Moisture of the upper layer where SMAP passed that day, fill elsewhere, on one arc second, south first as
    in the published maps. Coarser cells are repeated.
    """
    lattice = _lattice(truth)
    left, top, step = lattice.transform
    rows, columns = lattice.shape
    lat, lon = top - step * (np.arange(rows) + 0.5), left + step * (np.arange(columns) + 0.5)
    # On this projection rows follow from latitude alone and columns from longitude.
    grid = grid_of(truth)
    row = grid.rowcol(lat, np.full(rows, float(truth.lon.mean())))[0]
    column = grid.rowcol(np.full(columns, float(truth.lat.mean())), lon)[1]
    inside = (row[:, None] >= 0) & (column >= 0)
    days = pd.DatetimeIndex(truth.time.values)
    months = days.strftime("%Y-%m")
    written = []
    for month in months.unique():
        chosen = np.flatnonzero(months == month)
        path = folder / f"SMAP-HB_surface-soil-moisture_30m_daily_{month}.nc"
        with writing(path) as scratch, h5py.File(scratch, "w") as file:
            file.attrs["title"] = "SMAP-HydroBlocks Surface Soil Moisture Data (m3/m3)"
            file.attrs["simulated"] = SIMULATED
            file["time"] = np.asarray((days[chosen] - days[chosen[0]]).days, np.int32)
            file["time"].attrs["units"] = f"days since {days[chosen[0]]:%Y-%m-%d} 00:00:00"
            file["time"].attrs["calendar"] = "proleptic_gregorian"
            file["lat"], file["lon"] = lat[::-1], lon
            maps = file.create_dataset(
                "SMAPHB_SM",
                (len(chosen), rows, columns),
                "f4",
                fillvalue=FILL,
                compression="gzip",
                compression_opts=1,
                chunks=(1, min(rows, 900), min(columns, 900)),
            )
            maps.attrs["_FillValue"] = np.float32(FILL)
            maps.attrs["units"] = "m3/m3"
            for axis, name in enumerate(("time", "lat", "lon")):
                file[name].make_scale(name)
                maps.dims[axis].attach_scale(file[name])
            for place, day in enumerate(chosen):
                seen = _seen(truth.isel(time=day))
                if np.isfinite(seen).any():
                    seen = np.where(np.isnan(seen), np.float32(FILL), seen)
                    maps[place] = np.where(inside, seen[row[:, None], column], np.float32(FILL))[::-1]
        written.append(path)
    return written


def write_smap_hydroblocks_hru(truth: xr.Dataset, folder: Path, *, catchment: int = 1234) -> tuple[Path, Path, Path]:
    """Write the archive's form: a catchment's units every 6 hours, and the rasters of units and catchments.

    Each cell of the truth is a unit; retrievals stand at 12 UTC of the days that SMAP passed. The last row
    of cells belongs to the next catchment, whose units have the same numbers.

    Returns
    -------
    tuple of Path
        Units (netCDF), map of units, map of catchments (GeoTIFF).
    """
    rows, columns = truth.sizes["y"], truth.sizes["x"]
    days = pd.DatetimeIndex(truth.time.values)
    times = pd.date_range(days[0], days[-1] + pd.Timedelta(hours=18), freq="6h")
    units = np.full((len(times), (rows - 1) * columns), np.nan, np.float32)
    units[times.get_indexer(days + pd.Timedelta(hours=12))] = _seen(truth).reshape(len(days), -1)[:, :-columns]
    dataset = xr.Dataset(
        {"SMAPHB_SM": (("time", "hru"), units)},
        coords={"time": times, "hru": np.arange(units.shape[1])},
        attrs={"simulated": SIMULATED},
    )
    path = folder / "SMAPHB_hru_6hr" / f"{catchment}.nc"
    encoding: dict[str, dict[str, Any]] = {"SMAPHB_SM": {"_FillValue": np.float32(FILL)}, "time": {"dtype": "i4"}}
    with writing(path) as scratch:
        dataset.to_netcdf(scratch, engine="netcdf4", encoding=encoding)
    number = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    number[-1] -= (rows - 1) * columns
    owner = np.full((rows, columns), catchment, np.float32)
    owner[-1] += 1
    hrus, catchments = folder / "mapping_hrus" / "hrus.tif", folder / "mapping_catchments" / "catchments.tif"
    write_rasters(truth, _lattice(truth), {hrus: Layer(number, FILL, FILL), catchments: Layer(owner, FILL, FILL)})
    return path, hrus, catchments


def _lattice(truth: xr.Dataset) -> Grid:
    """The one-arc-second pixels of CONUS that cover the truth."""
    return covered(truth, Grid("EPSG:4326", (-125.0, 53.0, PIXEL), (28 * 3600, 58 * 3600), PIXEL), "SMAP-HydroBlocks")


def _seen(truth: xr.Dataset) -> NDArray[np.float32]:
    passed = (truth.overpass_am + truth.overpass_pm) > 0
    return np.asarray(truth.soil_moisture_0_10cm.where(passed).values, np.float32)
