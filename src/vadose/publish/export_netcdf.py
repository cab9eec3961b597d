"""Stores as CF-NetCDF, and as Zarr of format 2 that GDAL of before 3.11 georeferences."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numcodecs import Zlib
from pyproj import CRS

from vadose.artefact.predictions import CONVENTIONS, as_stored, chunks_of
from vadose.door.days import lead_days
from vadose.grid import grid_of
from vadose.publish.selection import check_map

_DAYS = {"units": "days since 1970-01-01", "dtype": "int32", "calendar": "proleptic_gregorian"}
_TIMES = {"init_time": "last day known to the forecast", "time": "day"}


def write_netcdf(data: xr.Dataset, path: Path) -> None:
    """Write a store as NetCDF that follows CF-1.11, chunk by chunk.

    Forecasts are (..., lead_time, init_time, y, x): CF wants what is no place or time to the left. ``lead_time`` is in
    whole days, the valid day is ``time`` (lead_time, init_time), the layer of soil ``depth``.
    """
    found = described(data)
    chunks = chunks_of(found)
    encoding: dict[str, dict[str, Any]] = {}
    for name, of in found.data_vars.items():
        if of.dims:
            sizes = tuple(min(chunks.get(str(axis), n), n) for axis, n in of.sizes.items())
            encoding[str(name)] = of.encoding | {"zlib": True, "complevel": 1, "chunksizes": sizes}
    found.to_netcdf(path, engine="netcdf4", encoding=encoding)


def write_zarr2(data: xr.Dataset, path: Path, place: str) -> None:
    """Write maps as a Zarr store of format 2, compressed by zlib: GDAL from 3.6 on reads it, and where it lies."""
    check_map(data, place, "a Zarr copy for older GIS")
    found = described(data)
    code = CRS.from_user_input(grid_of(data).crs).to_epsg()
    said = {"url": f"http://www.opengis.net/def/crs/EPSG/0/{code}"} if code else {"wkt": found.crs.attrs["crs_wkt"]}
    chunks = chunks_of(found)
    encoding = {}
    for name, of in found.data_vars.items():
        if {"y", "x"} <= set(of.dims):
            of.attrs["_CRS"] = said
            sizes = tuple(min(chunks[str(axis)], n) for axis, n in of.sizes.items())
            encoding[str(name)] = of.encoding | {"compressors": (Zlib(1),), "chunks": sizes}
    pieces = found.chunk(chunks).assign_coords(found.coords)
    pieces.to_zarr(path, zarr_format=2, consolidated=True, encoding=encoding)


def described(data: xr.Dataset) -> xr.Dataset:
    """A store in the layout that the CF conventions prefer, with plain numbers for leads, and what it is in words."""
    found = as_stored(_without_encoding(data))
    if "lead_time" in found.dims:
        found = found.transpose(..., *("lead_time", "init_time", "area", "y", "x"), missing_dims="ignore")
        days = lead_days(data, "the store").astype(np.int32)
        told = {"standard_name": "forecast_period", "long_name": "days from the last day known to the valid day"}
        valid = found.init_time.values[None, :] + days[:, None].astype("timedelta64[D]")
        of_time = {"standard_name": "time", "long_name": "valid day", "units_metadata": "leap_seconds: none"}
        found = found.assign_coords(
            lead_time=("lead_time", days, told | {"units": "days"}),
            time=(("lead_time", "init_time"), pd.DatetimeIndex(valid.ravel()).values.reshape(valid.shape), of_time),
        )
    for name, long_name in _TIMES.items():
        if name in found.coords:
            found[name].attrs = {"long_name": long_name, "units_metadata": "leap_seconds: none"} | found[name].attrs
            found[name].attrs.pop("bounds", None)
            found[name].encoding = dict(_DAYS)
    if "time" in found.indexes:
        found["time"].attrs |= {"standard_name": "time", "axis": "T"}
    if "crs" in found.coords:
        found = found.reset_coords("crs")
    found = _with_depth(found)
    for of in found.data_vars.values():
        if {"y", "x"} <= set(of.dims) and "crs" in found:
            of.attrs["grid_mapping"] = "crs"
    for coordinate in found.coords.values():
        if coordinate.dtype.kind == "f":
            coordinate.encoding["_FillValue"] = None
    return found.assign_attrs({"Conventions": CONVENTIONS} | _plain(data.attrs))


def _without_encoding(data: xr.Dataset) -> xr.Dataset:
    """The same as if made just now, but for whole numbers and their code of missing values."""
    found = data.drop_encoding()
    for name, of in data.data_vars.items():
        kept = {key: of.encoding[key] for key in ("dtype", "_FillValue") if key in of.encoding}
        if np.dtype(kept.get("dtype", "f4")).kind in "iu":
            found[name].encoding = kept
    return found


def _with_depth(data: xr.Dataset) -> xr.Dataset:
    """The layer of soil, such as '0-10 cm', as a coordinate [m]; the checker wants no bounds of a single one."""
    layer = re.fullmatch(r"([\d.]+)-([\d.]+) cm", str(data.attrs.get("layer", "")))
    if layer is None or "soil_moisture" not in data:
        return data
    top, bottom = (float(of) / 100 for of in layer.groups())
    told = {"standard_name": "depth", "long_name": "middle of the layer", "units": "m", "positive": "down"}
    return data.assign_coords(depth=((), (top + bottom) / 2, told | {"axis": "Z", "comment": f"layer {layer[0]}"}))


def _plain(attributes: dict[Any, Any]) -> dict[str, Any]:
    """Attributes as NetCDF can hold them."""
    return {str(key): of if isinstance(of, str | int | float) else str(of) for key, of in attributes.items()}
