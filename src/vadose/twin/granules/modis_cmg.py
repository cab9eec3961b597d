"""Simulated MOD09CMG and MYD09CMG: daily reflectance at 0.05 degrees, whole in HDF4 or as OPeNDAP cuts it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyhdf.SD import SD, SDC

from vadose.twin.granules.hdf_eos import HDF_TYPES, SATELLITES, SIMULATED
from vadose.twin.granules.modis import BANDS, CLOUD, SNOWY
from vadose.twin.truth import at

SHAPE = (3600, 7200)
FILL, NO_STATE = -28672, 0


def write_mod09cmg(
    truth: xr.Dataset, folder: Path, satellite: str = "terra", subset: bool = True, bands: Sequence[str] = BANDS
) -> list[Path]:
    """Write a MOD09CMG (Terra) or MYD09CMG (Aqua) granule for each day.

    Cells have the value of the truth at their centre, and that of a bright cloud where it is cloudy; fill outside.

    Parameters
    ----------
    truth
        Part of an EASE-2 grid with daily reflectance of seven bands, ``cloud`` and
        ``snow_water_equivalent``, and ``water_fraction``.
    satellite
        ``'terra'`` or ``'aqua'``.
    subset
        The cells of the truth in netCDF-4, with ``lat`` and ``lon``; else the globe in HDF4.
    bands
        Those that are written.
    """
    prefix, _ = SATELLITES[satellite]
    lat, lon = 90 - 0.05 * (np.arange(SHAPE[0]) + 0.5), -180 + 0.05 * (np.arange(SHAPE[1]) + 0.5)
    rows = _reached(lat, truth.lat)
    columns = _reached(lon, truth.lon)
    place = np.meshgrid(lat[rows], lon[columns], indexing="ij")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for time in pd.DatetimeIndex(truth.time):
        fields = _fields(truth.sel(time=time), bands, *place)
        name = f"{prefix}09CMG.A{time:%Y%j}.061.{time + pd.Timedelta(days=2, hours=3):%Y%j%H%M%S}.hdf"
        if subset:
            paths.append(_write_cut(folder / f"{name}.nc4", fields, {"lat": lat[rows], "lon": lon[columns]}))
        else:
            paths.append(_write_globe(folder / name, fields, (rows, columns)))
    return paths


def _reached(centres: NDArray[np.floating], truth: xr.DataArray) -> slice:
    inside = np.flatnonzero((centres >= float(truth.min())) & (centres <= float(truth.max())))
    return slice(int(inside[0]), int(inside[-1]) + 1)


def _fields(
    today: xr.Dataset, bands: Sequence[str], lat: NDArray[np.floating], lon: NDArray[np.floating]
) -> dict[str, NDArray[Any]]:
    """Bands and state of the cells."""
    cloudy, snow = at(today.cloud, lat, lon) > 0.5, at(today.snow_water_equivalent, lat, lon) > SNOWY
    fields = {}
    for number, (band, bright) in enumerate(zip(BANDS, CLOUD, strict=True), 1):
        if band not in bands:
            continue
        values = np.where(cloudy, bright, at(today[f"reflectance_{band}"], lat, lon)) * 1e4
        packed = np.where(np.isfinite(values), np.rint(values), FILL).astype("int16")
        fields[f"Coarse Resolution Surface Reflectance Band {number}"] = packed
    land = np.where(at(today.water_fraction, lat, lon) > 0.5, 0b011, 0b001) << 3
    state = land | 0b01 << 6 | cloudy * (0b01 | 1 << 10) | snow * (1 << 12 | 1 << 15)
    return fields | {"Coarse Resolution State QA": state.astype("uint16")}


def _attributes(name: str, values: NDArray[Any]) -> dict[str, Any]:
    if values.dtype == np.int16:
        return {"_FillValue": np.int16(FILL), "scale_factor": np.float64(10000), "add_offset": np.float64(0)}
    return {"_FillValue": np.uint16(NO_STATE), "long_name": name}


def _write_globe(path: Path, fields: dict[str, NDArray[Any]], part: tuple[slice, slice]) -> Path:
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    file.attr("simulated").set(SDC.CHAR8, SIMULATED)
    day = pd.to_datetime(path.name.split(".")[1], format="A%Y%j")
    core = f'OBJECT = RANGEBEGINNINGDATE\n  VALUE = "{day:%Y-%m-%d}"\nEND_OBJECT\n'
    file.attr("CoreMetadata.0").set(SDC.CHAR8, core)
    for name, values in fields.items():
        data = file.create(name, HDF_TYPES[values.dtype.name], SHAPE)
        attributes = _attributes(name, values)
        for key, value in attributes.items():
            kind = SDC.CHAR8 if isinstance(value, str) else HDF_TYPES[value.dtype.name]
            data.attr(key).set(kind, value if isinstance(value, str) else value.item())
        data.setcompress(SDC.COMP_DEFLATE, 1)
        whole = np.full(SHAPE, attributes["_FillValue"])
        whole[part] = values
        data[:] = whole
        data.endaccess()
    file.end()
    return path


def _write_cut(path: Path, fields: dict[str, NDArray[Any]], axes: dict[str, NDArray[np.floating]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(simulated=SIMULATED, granule=path.name)
        for name, values in fields.items():
            data = file.create_dataset(name.replace(" ", "_"), data=values, compression="gzip")
            data.attrs.update(_attributes(name, values))
        for name, centres in axes.items():
            file.create_dataset(name, data=centres).attrs["units"] = "degree"
    return path
