"""GLDAS-2.1 as GES DISC publishes it: Noah and its weather, three hours a granule, cut to the truth as servers do."""

from collections.abc import Iterable
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr

from vadose.products.gldas import FIELDS
from vadose.products.nldas_hour import GLDAS
from vadose.twin.granules.nldas import FILL, MARK
from vadose.twin.granules.rasters import extent
from vadose.twin.truth import at

UNITS = {"kgm-2": "kg m-2", "kgm-2s-1": "kg m-2 s-1", "kgkg-1": "kg kg-1", "ms-1": "m s-1", "Wm-2": "W m-2"}


def write_gldas(truth: xr.Dataset, folder: Path, hours: Iterable[int] = range(3, 25, 3)) -> list[Path]:
    """Write the granules of each day of the truth.

    Values are the day's at every stamp, but for temperature, which swings by 4 K about the day's mean; the fourth
    layer is as the third. Moisture is that of the land-surface model where the truth holds it.

    Parameters
    ----------
    hours
        Stamps of a day to write; 24 is 00:00 of the next day.
    """
    folder.mkdir(parents=True, exist_ok=True)
    west, south, east, north = extent(truth)
    lat, lon = (
        first + GLDAS.step * np.arange(np.ceil((low - first) / GLDAS.step), np.floor((high - first) / GLDAS.step) + 1)
        for (first, _), low, high in ((GLDAS.lat, south, north), (GLDAS.lon, west, east))
    )
    values = {}
    for name, field in FIELDS.items():
        true = "soil_moisture_40_100cm" if name == "soil_moisture_100_200cm" else name
        true = f"modelled_{true}" if f"modelled_{true}" in truth else true
        of = np.hypot(truth.eastward_wind, truth.northward_wind) if name == "wind_speed" else truth[true]
        # A day's rain falls evenly, an eighth in each three hours.
        values[name] = at(of, lat[:, None], lon[None]) / field.factor / (8 if name == "precipitation" else 1)
    paths = []
    for number, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        for hour in hours:
            stamp = day + pd.Timedelta(hours=hour)
            path = folder / f"GLDAS_NOAH025_3H.A{stamp:%Y%m%d}.{stamp:%H%M}.021.nc4"
            warmer = 4 * np.cos(2 * np.pi * (hour - 15) / 24)
            with netCDF4.Dataset(path, "w") as file:
                minutes = (stamp - pd.Timestamp("2000-01-01")) / pd.Timedelta(minutes=1)
                for axis, centres in (("time", [minutes]), ("lat", lat), ("lon", lon)):
                    file.createDimension(axis, len(centres))
                    file.createVariable(axis, "f8" if axis == "time" else "f4", (axis,))[:] = centres
                file["time"].units = "minutes since 2000-01-01 00:00:00"
                for name, field in FIELDS.items():
                    stored = file.createVariable(field.names[0], "f4", ("time", "lat", "lon"), fill_value=FILL)
                    stored.units = UNITS.get(field.units[0], field.units[0])
                    of_day = values[name][number] + (warmer if name == "air_temperature" else 0)
                    stored[0] = np.where(np.isnan(of_day), FILL, of_day)
                file.simulated = MARK
            paths.append(path)
    return paths
