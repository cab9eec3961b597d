"""NLDAS-2 as GES DISC publishes it: hourly Noah and forcing A, netCDF (2.0) and GRIB-1 (002)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.grib import library
from vadose.twin.granules.rasters import extent
from vadose.twin.truth import at

Array = NDArray[np.floating]

LAT = 25.0625 + 0.125 * np.arange(224)
LON = -124.9375 + 0.125 * np.arange(464)
FILL = -9999.0
MARK = "true: no value in this file was measured"
# Layer -> thickness [mm] and the truth it is made from: the fourth lies below what is simulated.
LAYERS = {
    (0, 10): (100.0, "soil_moisture_0_10cm"),
    (10, 40): (300.0, "soil_moisture_10_40cm"),
    (40, 100): (600.0, "soil_moisture_40_100cm"),
    (100, 200): (1000.0, "soil_moisture_40_100cm"),
}
# Name in 2.0 -> parameter, kind of level, its height, time range (1 at, 3 mean, 4 sum), unit and long name.
FORCING = {
    "Tair": (11, 105, 2, 1, "K", "2-meter above ground temperature"),
    "Qair": (51, 105, 2, 1, "kg kg-1", "2-meter above ground specific humidity"),
    "PSurf": (1, 1, 0, 1, "Pa", "Surface pressure"),
    "Wind_E": (33, 105, 10, 1, "m s-1", "10-meter above ground zonal wind"),
    "Wind_N": (34, 105, 10, 1, "m s-1", "10-meter above ground meridional wind"),
    "LWdown": (205, 1, 0, 3, "W m-2", "Longwave radiation flux downwards (surface)"),
    "Rainf": (61, 1, 0, 4, "kg m-2", "Total precipitation"),
    "SWdown": (204, 1, 0, 3, "W m-2", "Shortwave radiation flux downwards (surface)"),
}

OF_DAY = (
    "air_temperature",
    "air_temperature_max",
    "air_temperature_min",
    "specific_humidity",
    "surface_pressure",
    "eastward_wind",
    "northward_wind",
    "longwave_radiation",
    "precipitation",
    "shortwave_radiation",
)


def write_nldas_noah(
    truth: xr.Dataset, folder: Path, version: str = "2.0", hours: Iterable[int] = range(24), subset: bool = False
) -> list[Path]:
    """Write an hourly granule of soil moisture and temperature for each day of the truth.

    Moisture is the day's at every hour; temperature swings by 2 K about the day's mean. Moisture is that of the
    land-surface model where the truth holds it (``modelled_soil_moisture_...``), else the true one.

    Parameters
    ----------
    version
        ``'2.0'`` (netCDF) or ``'002'`` (GRIB-1).
    hours
        Stamps of a day to write.
    subset
        As the subset service cuts them: moisture alone, of the cells the truth reaches.
    """
    axes = _reached(truth) if subset else (LAT, LON)
    lat, lon = np.meshgrid(*axes, indexing="ij")
    moisture = {}
    for _, name in LAYERS.values():
        moisture[name] = at(truth[f"modelled_{name}" if f"modelled_{name}" in truth else name], lat, lon)
    temperature = at(truth.soil_temperature, lat, lon)
    paths = []
    for number, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        for hour in hours:
            fields: dict[str, tuple[Array, dict[str, Any]]] = {}
            warmer = 2 * np.cos(2 * np.pi * (hour - 21) / 24)
            for (top, bottom), (thickness, name) in LAYERS.items():
                level = {"indicatorOfTypeOfLevel": 112, "topLevel": top, "bottomLevel": bottom, "step": 1}
                layer = f"{top}_{bottom}cm"
                fields[f"SoilM_{layer}"] = (
                    moisture[name][number] * thickness,
                    level | _described(86, "kg m-2", f"Soil moisture content ({top}-{bottom} cm)"),
                )
                if subset:
                    continue
                fields[f"SoilT_{layer}"] = (
                    temperature[number] + warmer,
                    level | _described(85, "K", f"Soil temperature ({top}-{bottom} cm)"),
                )
            paths.append(_write(folder, "NLDAS_NOAH0125_H", version, day + pd.Timedelta(hours=hour), fields, axes))
    return paths


def write_nldas_forcing(
    truth: xr.Dataset, folder: Path, version: str = "2.0", hours: Iterable[int] = range(1, 25)
) -> list[Path]:
    """Write an hourly granule of the forcing for each day of the truth.

    The hours of a day end at 01:00 to 24:00, so that the last granule bears the next day's 00:00. Over
    them rain sums and the rest averages to the day's truth: rain falls in the six hours to 23:00, the
    sun follows the local hour, the temperature swings between its extremes.

    Parameters
    ----------
    truth, folder, version
        As in `write_nldas_noah`.
    hours
        Ends of the hours of a day to write, 1 to 24.
    """
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    day_of = {name: at(truth[name], lat, lon) for name in OF_DAY}
    swing = (day_of["air_temperature_max"] - day_of["air_temperature_min"]) / 2
    # Share of the day's sunshine in each hour, by the local solar hour of its middle.
    local = np.arange(0.5, 24)[:, None] + LON / 15
    sun = np.maximum(np.cos(2 * np.pi * (local - 12) / 24), 0)
    sun *= 24 / sun.sum(axis=0)
    rain = np.zeros(25)
    rain[18:24] = np.array([1, 2, 4, 4, 2, 1]) / 14
    paths = []
    for number, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        today = {name: values[number] for name, values in day_of.items()}
        for hour in hours:
            values = {
                "Tair": today["air_temperature"] + swing[number] * np.cos(2 * np.pi * (hour - 21) / 24),
                "Qair": today["specific_humidity"],
                "PSurf": today["surface_pressure"],
                "Wind_E": today["eastward_wind"],
                "Wind_N": today["northward_wind"],
                "LWdown": today["longwave_radiation"],
                "Rainf": today["precipitation"] * rain[hour],
                "SWdown": today["shortwave_radiation"] * sun[hour - 1],
            }
            fields = {}
            for name, (parameter, kind, level, step, units, long_name) in FORCING.items():
                place = {"indicatorOfTypeOfLevel": kind, "level": level, "step": step}
                described = _described(parameter, units, long_name, {"Qair": 6, "PSurf": 0}.get(name, 3))
                fields[name] = values[name], place | described
            paths.append(_write(folder, "NLDAS_FORA0125_H", version, day + pd.Timedelta(hours=hour), fields))
    return paths


def _described(parameter: int, units: str, long_name: str, digits: int = 3) -> dict[str, Any]:
    return {"indicatorOfParameter": parameter, "units": units, "digits": digits, "long_name": long_name}


def _reached(truth: xr.Dataset) -> tuple[Array, Array]:
    """Rows and columns of the lattice whose centres lie within the truth."""
    west, south, east, north = extent(truth)
    rows, columns = np.searchsorted(LAT, [south, north]), np.searchsorted(LON, [west, east])
    lat, lon = LAT[slice(*rows)], LON[slice(*columns)]
    if not len(lat) or not len(lon):
        raise VadoseError(f"NLDAS-2: no centre of its cells lies within {west:g}, {south:g}, {east:g}, {north:g}")
    return lat, lon


def _write(
    folder: Path,
    product: str,
    version: str,
    stamp: pd.Timestamp,
    fields: dict[str, tuple[Array, dict[str, Any]]],
    axes: tuple[Array, Array] = (LAT, LON),
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if version not in ("2.0", "002"):
        raise VadoseError(f"{folder}: NLDAS-2 version {version!r} unknown; choose from ['2.0', '002']")
    if version == "002" and axes[0] is not LAT:
        raise VadoseError(f"{folder}: subsets of NLDAS-2 are netCDF; choose version '2.0'")
    end = "020.nc" if version == "2.0" else "002.grb"
    path = folder / f"{product}.A{stamp:%Y%m%d}.{stamp:%H%M}.{end}"
    if version == "2.0":
        _netcdf(path, product, stamp, fields, axes)
    else:
        _grib(path, product, stamp, fields)
    return path


def _netcdf(
    path: Path,
    product: str,
    stamp: pd.Timestamp,
    fields: dict[str, tuple[Array, dict[str, Any]]],
    axes: tuple[Array, Array],
) -> None:
    shape = (len(axes[0]), len(axes[1]))
    hours = (stamp - pd.Timestamp("1979-01-01")) / pd.Timedelta(hours=1)
    with netCDF4.Dataset(path, "w", format="NETCDF4") as file:
        for name, size in (("time", 1), ("lat", shape[0]), ("lon", shape[1]), ("bnds", 2)):
            file.createDimension(name, size)
        time = file.createVariable("time", "f8", ("time",))
        time.setncatts({"units": "hours since 1979-01-01 00:00:00", "calendar": "standard", "standard_name": "time"})
        time.setncatts({"long_name": "time", "bounds": "time_bnds"})
        time[:] = hours
        file.createVariable("time_bnds", "f8", ("time", "bnds"))[:] = [[hours - 1, hours]]
        for name, centres, standard in (("lat", axes[0], "latitude"), ("lon", axes[1], "longitude")):
            axis = file.createVariable(name, "f4", (name,))
            axis.setncatts(
                {
                    "units": "degrees_north" if name == "lat" else "degrees_east",
                    "standard_name": standard,
                    "long_name": standard,
                    "resolution": np.float32(0.125),
                }
            )
            axis[:] = centres
        for name, (values, keys) in fields.items():
            variable = file.createVariable(
                name, "f4", ("time", "lat", "lon"), fill_value=FILL, zlib=True, complevel=1, chunksizes=(1, *shape)
            )
            at_stamp = keys["step"] == 1
            variable.setncatts(
                {
                    "missing_value": np.float32(FILL),
                    "units": keys["units"],
                    "long_name": keys["long_name"],
                    "cell_methods": "time: point" if at_stamp else "time: sum" if keys["step"] == 4 else "time: mean",
                }
            )
            variable[0] = np.where(np.isnan(values), np.float32(FILL), values)
        file.setncatts(
            {
                "Conventions": "CF-1.6",
                "missing_value": np.float32(FILL),
                "institution": "NASA GSFC",
                "title": f"{product} 0.125 x 0.125 degree, hourly, V2.0",
                "MAP_PROJECTION": "EQUIDISTANT CYLINDRICAL",
                "SOUTH_WEST_CORNER_LAT": np.float32(axes[0][0]),
                "SOUTH_WEST_CORNER_LON": np.float32(axes[1][0]),
                "DX": np.float32(0.125),
                "DY": np.float32(0.125),
                "simulated": MARK,
            }
        )


def _grib(path: Path, product: str, stamp: pd.Timestamp, fields: dict[str, tuple[Array, dict[str, Any]]]) -> None:
    (path.parent / "SIMULATED.txt").write_text(f"{MARK}\n")
    eccodes = library()
    with path.open("wb") as stream:
        for values, keys in fields.values():
            handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            try:
                # Sums and means are dated by the beginning of their hour.
                start = stamp if keys["step"] == 1 else stamp - pd.Timedelta(hours=1)
                settings: dict[str, Any] = {
                    "centre": 7,
                    "generatingProcessIdentifier": 84 if "FORA" in product else 138,
                    "table2Version": 130,
                    "gridDefinition": 110,
                    "Ni": 464,
                    "Nj": 224,
                    "latitudeOfFirstGridPoint": 25063,
                    "longitudeOfFirstGridPoint": -124938,
                    "latitudeOfLastGridPoint": 52938,
                    "longitudeOfLastGridPoint": -67063,
                    "iDirectionIncrement": 125,
                    "jDirectionIncrement": 125,
                    "jScansPositively": 1,
                    "dataDate": int(f"{start:%Y%m%d}"),
                    "dataTime": int(f"{start:%H%M}"),
                    "unitOfTimeRange": 1,
                    "timeRangeIndicator": keys["step"],
                    "P1": 0,
                    "P2": 0 if keys["step"] == 1 else 1,
                    "indicatorOfTypeOfLevel": keys["indicatorOfTypeOfLevel"],
                    **{k: keys[k] for k in ("level", "topLevel", "bottomLevel") if k in keys},
                    "indicatorOfParameter": keys["indicatorOfParameter"],
                    "missingValue": 9999,
                    "bitmapPresent": 1,
                    "bitsPerValue": 24,
                }
                for key, value in settings.items():
                    eccodes.codes_set(handle, key, value)
                packed = np.where(np.isnan(values), 9999.0, values).astype(float).ravel()
                eccodes.codes_set_values(handle, packed)
                eccodes.codes_set(handle, "changeDecimalPrecision", keys["digits"])
                eccodes.codes_write(handle, stream)
            finally:
                eccodes.codes_release(handle)
