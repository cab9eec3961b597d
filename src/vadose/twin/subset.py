"""Answers of subset services: gridMET's (THREDDS NetCDF Subset Service) and the coverage service of land cover."""

from collections.abc import Callable, Mapping
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy.io import netcdf_file

from vadose.products.gridmet import FIELDS
from vadose.twin.granules.gridmet import LAT, LON, VARIABLES

Array = NDArray[np.floating[Any]]
FILL = 32767


def dataset_xml(first: date, last: date) -> bytes:
    """What the service states of a dataset, as far as it is read: the span of its days."""
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n<gridDataset><TimeSpan>"
        f"<begin>{first}T00:00:00Z</begin><end>{last}T00:00:00Z</end></TimeSpan></gridDataset>"
    ).encode()


def subset(
    asked: Mapping[str, str],
    weather: Callable[[pd.DatetimeIndex], dict[str, Array]],
    newest: date,
    today: date,
    faults: set[str],
) -> tuple[pd.DatetimeIndex, Array, Array, dict[str, Array]] | None:
    """Days, latitudes, longitudes and values (day, lat, lon) of a box; None if there is no such day or cell."""
    first, last = (pd.Timestamp(asked[key][:10]) for key in ("time_start", "time_end"))
    days = pd.date_range(max(first, pd.Timestamp("1979-01-01")), min(last, pd.Timestamp(newest)))
    north, west, south, east = (float(asked[side]) for side in ("north", "west", "south", "east"))
    lat, lon = LAT[(south <= LAT) & (north >= LAT)], LON[(west <= LON) & (east >= LON)]
    if not (len(days) and len(lat) and len(lon)):
        return None
    here: dict[str, Array] = {
        name: values[:, None, None] + 0 * lat[:, None] + 0 * lon for name, values in weather(days).items()
    }
    place = (lat[:, None] - 39.1, lon[None] + 96.6)
    here["precipitation"] *= 1 + 0.1 * np.sin(3 * place[0] + 2 * place[1])
    for name in ("air_temperature_max", "air_temperature_min"):
        here[name] -= 0.8 * place[0]
    # Early and provisional values are revised.
    age = np.array([(today - day.date()).days for day in days])[:, None, None]
    here["precipitation"] *= np.where(age <= 7, 1.1, np.where(age <= 62, 1.05, 1.0))
    _spoil(here, faults)
    if "short" in faults and len(days) > 3:
        keep = np.arange(len(days)) != len(days) // 2
        days, here = days[keep], {name: values[keep] for name, values in here.items()}
    return days, lat, lon, here


def _spoil(here: dict[str, Array], faults: set[str]) -> None:
    if "no rain" in faults:
        here["precipitation"][:] = 0
    if "cold" in faults:
        here["air_temperature_max"][:] = 273.5
        here["air_temperature_min"][:] = 272.5
    if "crossed" in faults:
        here["air_temperature_min"] += 30
    if "nan" in faults:
        for values in here.values():
            values[::3] = np.nan


def coverage(
    short: str, year: int | None, weather: tuple[pd.DatetimeIndex, Array, Array, dict[str, Array]], faults: set[str]
) -> bytes:
    """NetCDF-3 of the subset service, packed; ``year`` None: of all years, where variables bear other names."""
    days, lat, lon, values = weather
    internal, units, description, scale, offset, ours = VARIABLES[short]
    if "repacked" in faults:
        scale, offset = scale / 2, offset - 10
    # Written by SciPy: the netCDF library is not made for a server of threads.
    content = BytesIO()
    file = netcdf_file(content, "w")
    axes = (
        ("day", (days - pd.Timestamp("1900-01-01")).days, "days since 1900-01-01 00:00:00"),
        ("lat", lat, "degrees_north"),
        ("lon", lon, "degrees_east"),
    )
    for name, centres, of in axes:
        file.createDimension(name, len(centres))
        axis = file.createVariable(name, "f8", (name,))
        axis.units = of
        axis[:] = np.asarray(centres, float)
    variable = file.createVariable(FIELDS[short].aggregated if year is None else internal, "i2", ("day", "lat", "lon"))
    stored = np.round((values[ours] - offset) / scale)
    whole = np.where(np.isnan(stored), FILL, np.clip(np.nan_to_num(stored), 0, 65535)).astype(np.uint16)
    variable[:] = whole.view(np.int16)
    attributes = {"units": units, "description": description, "_Unsigned": "true", "_FillValue": np.int16(FILL)}
    for name, value in (attributes | {"scale_factor": scale, "add_offset": offset}).items():
        setattr(variable, name, value)
    file.author = "vadose, simulated in the form of gridMET (Abatzoglou)"
    file.simulated = "true: no value in this file was measured"
    file.flush()
    return content.getvalue()


def window(path: Path, asked: Mapping[str, str]) -> bytes | None:
    """GeoTIFF of the coverage service, nearest pixels; None for a year it does not have."""
    if asked.get("time", "")[:4] not in path.name:
        return None
    west, south, east, north = (float(side) for side in asked["BBOX"].split(","))
    dx, dy = float(asked["resx"]), float(asked["resy"])
    transform = Affine(dx, 0.0, west, 0.0, -dy, north)
    target = np.full((round((north - south) / dy), round((east - west) / dx)), 250, np.uint8)
    with rasterio.open(path) as source:
        reproject(
            rasterio.band(source, 1),
            target,
            dst_transform=transform,
            dst_crs=asked["CRS"],
            dst_nodata=250,
            resampling=Resampling.nearest,
        )
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=target.shape[0],
            width=target.shape[1],
            count=1,
            dtype="uint8",
            nodata=250,
            crs=asked["CRS"],
            transform=transform,
        ) as file:
            file.write(target, 1)
            file.update_tags(simulated="true: no value in this file was measured")
        return bytes(memory.read())
