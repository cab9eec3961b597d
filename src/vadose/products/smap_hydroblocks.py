"""SMAP-HydroBlocks: surface soil moisture (0-5 cm) of CONUS at 30 m, 2015-04 to 2019-12.

Published by Vergopolan et al. (2021), doi:10.1038/s41597-021-01050-2; data doi:10.5281/zenodo.5206725. The
archive holds the moisture of hydrologic response units, a netCDF file a catchment
(``SMAPHB_hru_6hr/1234.nc``: ``SMAPHB_SM`` (time, hru), every 6 hours), and rasters that say which catchment
and which unit each 30 m pixel is (``mapping_catchments``, ``mapping_hrus``). Its authors' script makes maps
of it: ``SMAP-HB_surface-soil-moisture_30m_daily_2019-06.nc``, ``SMAPHB_SM`` (time, lat, lon).

Pitfalls: values exist at SMAP overpasses only, other times are all fill; maps run from south to north; units
are numbered anew in each catchment, and the files give no quality flag.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError, nothing_here
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox, as_float, choose, open_netcdf, simulated_mark
from vadose.products.product import AtStations, Product, Twin
from vadose.products.ranges import within
from vadose.products.rasters import read_raster
from vadose.products.stored import check_calendar, check_size, scale_of
from vadose.variables import describe

FILE_NAME = re.compile(
    r"SMAP-HB_surface-soil-moisture_(?P<metres>\d+)m_(?P<step>6h|daily|monthly|annual)_(?P<period>\d{4}(-\d{2})?)\.nc"
)
NAME = "SMAPHB_SM"
FILL = -9999.0


def read_smap_hydroblocks(
    path: Path,
    *,
    bbox: BBox | None = None,
    hru_map: Path | None = None,
    catchment_map: Path | None = None,
    mean: str = "day",
) -> xr.Dataset:
    """Read a file of maps, or a catchment's file together with the raster of its units.

    Parameters
    ----------
    path
        Maps (time, lat, lon), or a catchment's response units (time, hru).
    bbox
        West, south, east, north [degree]; only this part is read.
    hru_map
        GeoTIFF with the number of the response unit under each pixel, for a catchment's file. Default: the one in the
        archive's folder ``mapping_hrus``, beside that of the catchments' files.
    catchment_map
        GeoTIFF with the number of the catchment under each pixel, on the lattice of ``hru_map``. Needed
        where ``hru_map`` holds more than this catchment, which is the one the file is named by. Default: in the
        archive's folder ``mapping_catchments``, if ``hru_map`` is left out.
    mean
        ``'day'``: 6-hourly values are averaged over each UTC day; ``'none'``: they keep their times.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) ``soil_moisture`` [m3 m-3], float32, NaN where there is no retrieval.

    Raises
    ------
    VadoseError
        When the variable is missing, the lattice is not regular, values are no moisture, a unit of the map
        is not in the file, or nothing but fill is found.

    References
    ----------
    Vergopolan et al. (2021), doi:10.1038/s41597-021-01050-2; (2020), doi:10.1016/j.rse.2020.111740.
    """
    choose(mean, ("day", "none"), "mean", path)
    named = FILE_NAME.fullmatch(path.name)
    if named and named["step"] in ("monthly", "annual"):
        raise VadoseError(f"{path}: {named['step']} means; make daily or 6h maps with the authors' script instead")
    with open_netcdf(path) as raw:
        if NAME not in raw:
            found = sorted(map(str, raw.variables))
            raise VadoseError(f"{path}: no variable '{NAME}' (found: {found}); another product, or an incomplete file?")
        if "time" not in raw.variables:
            raise VadoseError(f"{path}: no variable 'time'; the days cannot be determined")
        if not raw["time"].ndim:
            # One time, cut out with a library, may have lost its axis.
            raw = raw.set_coords("time").expand_dims("time")
        time = _times(raw, path, named["period"] if named else "")
        dims = set(raw[NAME].dims)
        if dims == {"time", "lat", "lon"}:
            form = "maps"
            dataset, values = _maps(raw, bbox, path)
        elif dims == {"time", "hru"}:
            form = "response units of a catchment, mapped"
            if hru_map is None:
                hru_map = _of_archive(path, "mapping_hrus")
                catchment_map = catchment_map or _of_archive(path, "mapping_catchments")
            dataset, values = _mapped(raw, hru_map, catchment_map, bbox, path)
        else:
            raise VadoseError(
                f"{path}: '{NAME}' has dimensions {raw[NAME].dims}, known are (time, lat, lon) and (time, hru); "
                "another product?"
            )
        version, simulated = str(raw.attrs.get("version", "unknown")), simulated_mark(raw.attrs)
    if not np.isfinite(values).any():
        raise nothing_here(bbox)(
            f"{path}: holds nothing but fill here; choose another box, or a file with a SMAP overpass"
        )
    values, counts = within(values, "soil_moisture", path)

    dataset = dataset.assign_coords(time=time)
    dataset["soil_moisture"] = ("time", *(d for d in dataset.dims if d != "time")), values, counts
    daily = bool((time == time.normalize()).all())
    if mean == "day" and not daily:
        dataset = dataset.resample(time="1D").mean(keep_attrs=True)
    dataset.attrs |= {
        "product": "SMAP-HydroBlocks",
        "version": version,
        "granule": path.name,
        "quality": "none: the product carries no quality flag; retrievals exist at SMAP overpasses only",
        "day_boundary": "UTC day, mean of the retrievals in it" if daily or mean == "day" else "UTC, every 6 hours",
        "simulated": simulated,
        "form": form,
        "layer": "0-5 cm",
    }
    return describe(dataset)


def is_smap_hydroblocks(path: Path) -> bool:
    """Whether a netCDF file holds the variable ``SMAPHB_SM``."""
    try:
        with open_netcdf(path) as raw:
            return NAME in raw
    except VadoseError:
        return False


def _of_archive(path: Path, folder: str) -> Path | None:
    """The only GeoTIFF in a folder of the archive that a catchment's file lies in."""
    rasters = sorted((path.parent.parent / folder).glob("*.tif"))
    return rasters[0] if len(rasters) == 1 else None


def _times(raw: xr.Dataset, path: Path, period: str) -> pd.DatetimeIndex:
    if " since " not in str(raw["time"].attrs.get("units", "")):
        raise VadoseError(f"{path}: 'time' has no units such as 'days since 2015-04-01'; the days cannot be determined")
    check_calendar(path, "'time'", raw["time"].attrs)
    time = pd.DatetimeIndex(xr.decode_cf(xr.Dataset(coords={"time": raw["time"].variable})).indexes["time"])
    if not time.is_monotonic_increasing or not time.is_unique:
        raise VadoseError(f"{path}: times are not rising ({time[0]} .. {time[-1]}); is the file pieced together?")
    if period and (strange := time[~time.strftime("%Y-%m").str.startswith(period)]).size:
        raise VadoseError(f"{path}: holds {strange[0]:%Y-%m-%d}, its name says {period}; was it renamed?")
    return time.as_unit("ns")


def _values(stored: xr.DataArray, path: Path) -> NDArray[np.float32]:
    """Moisture as floats, NaN where it is fill; scale and offset if the file declares them."""
    check_size(path, NAME, stored.shape)
    scale, offset = scale_of(path, NAME, stored.dtype, stored.attrs)
    return as_float(stored.values, stored.attrs.get("_FillValue"), FILL) * np.float32(scale) + np.float32(offset)


def _maps(raw: xr.Dataset, bbox: BBox | None, path: Path) -> tuple[xr.Dataset, NDArray[np.float32]]:
    """The part of the maps within the box, north up."""
    lat, lon = (np.asarray(raw[name].values, np.float64) for name in ("lat", "lon"))
    lon = np.where(lon > 180, lon - 360, lon)
    south_up = bool(lat[0] < lat[-1])
    lat = lat[::-1] if south_up else lat
    shape = len(lat), len(lon)
    if min(shape) < 2:
        raise VadoseError(f"{path}: maps of {shape[0]} x {shape[1]} pixels; at least 2 x 2 tell the pixel's size")
    dy, dx = (lat[0] - lat[-1]) / (shape[0] - 1), (lon[-1] - lon[0]) / (shape[1] - 1)
    if np.abs(lat).max() > 90 or np.abs(lon).max() > 360:
        raise VadoseError(
            f"{path}: 'lat' from {lat[0]:g} to {lat[-1]:g}, 'lon' from {lon[0]:g} to {lon[-1]:g}; swapped?"
        )
    if not (
        dx > 0 and dy > 0 and np.allclose(-np.diff(lat), dy, rtol=0.01) and np.allclose(np.diff(lon), dx, rtol=0.01)
    ):
        raise VadoseError(
            f"{path}: 'lat' and 'lon' are not evenly spaced ({lat[0]:g} to {lat[-1]:g}); is the file pieced together?"
        )
    if not (-90 <= lat[-1] < lat[0] <= 90 and -180 <= lon[0] < lon[-1] <= 180):
        raise VadoseError(
            f"{path}: latitudes {lat[-1]:g} .. {lat[0]:g} and longitudes {lon[0]:g} .. {lon[-1]:g} are nowhere on Earth"
        )
    transform = (lon[0] - dx / 2, lat[0] + dy / 2, dx, dy)
    rows, columns = raster_window("EPSG:4326", transform, shape, bbox, path)
    stored_rows = slice(shape[0] - rows.stop, shape[0] - rows.start) if south_up else rows
    values = _values(raw[NAME].transpose("time", "lat", "lon").isel(lat=stored_rows, lon=columns), path)
    values = values[:, ::-1] if south_up else values
    moved = (transform[0] + columns.start * dx, transform[1] - rows.start * dy, dx, dy)
    return raster_coordinates("EPSG:4326", moved, values.shape[1:]), values


def _mapped(
    raw: xr.Dataset, hru_map: Path | None, catchment_map: Path | None, bbox: BBox | None, path: Path
) -> tuple[xr.Dataset, NDArray[np.float32]]:
    """Moisture of each pixel's response unit."""
    stored = raw[NAME].transpose("time", "hru")
    if hru_map is None:
        raise VadoseError(
            f"{path}: holds {stored.sizes['hru']} response units and not where they lie; give hru_map=, a GeoTIFF cut "
            "from the archive's mapping_hrus"
        )
    unit, coordinates = _numbers(hru_map, bbox)
    inside = unit >= 0
    if catchment_map is not None:
        if not path.stem.isdigit():
            raise VadoseError(f"{path}: named otherwise than by the catchment's number (1234.nc); name it as published")
        catchment, lattice = _numbers(catchment_map, bbox)
        if not (catchment.shape == unit.shape and np.allclose(lattice.lat, coordinates.lat, atol=1e-5)):
            raise VadoseError(f"{catchment_map}: lies on another lattice than {hru_map.name}; cut both alike")
        inside &= catchment == int(path.stem)
    known = np.asarray(raw["hru"].values if "hru" in raw.variables else np.arange(stored.sizes["hru"])).astype(np.int64)
    if strange := np.setdiff1d(unit[inside], known).size:
        raise VadoseError(
            f"{hru_map}: {strange} of its units are not in {path.name} ({len(known)} units); where the map holds "
            "several catchments give catchment_map= too"
        )
    order = np.argsort(known)
    place = order[np.searchsorted(known, unit[inside], sorter=order)]
    values = np.full((stored.sizes["time"], *unit.shape), np.nan, np.float32)
    values[:, inside] = _values(stored, path)[:, place]
    return coordinates, values


def _numbers(path: Path, bbox: BBox | None) -> tuple[NDArray[np.int64], xr.Dataset]:
    """Whole numbers of a raster, -1 where there is none."""
    if path.suffix.lower() == ".vrt":
        raise VadoseError(
            f"{path}: a virtual raster of all CONUS; cut a GeoTIFF from it first "
            "(gdal_translate -projwin west north east south all_hrus.vrt cut.tif)"
        )
    stored, coordinates, nodata = read_raster(path, bbox)
    if "lat" not in coordinates.dims:
        raise VadoseError(f"{path}: projected; the archive's maps are on latitude and longitude, use a published one")
    values = as_float(stored.astype(np.float64), nodata, FILL).astype(np.float64)
    return np.where(np.isnan(values) | (values < 0), -1, values).astype(np.int64), coordinates


PRODUCT = Product(
    "SMAP-HydroBlocks surface soil moisture, 30 m",
    "grid",
    "10.5281/zenodo.5206725",
    read_smap_hydroblocks,
    is_smap_hydroblocks,
    FILE_NAME,
    sources=("smap_hydroblocks",),
    stations=AtStations({"soil_moisture_smap_hydroblocks": "soil_moisture"}, reach=500),
    twin=Twin("smap_hydroblocks.write_smap_hydroblocks", "county"),
)
