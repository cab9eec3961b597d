"""GPM IMERG as GES DISC publishes it: half hours (HDF5) and days (netCDF-4) of versions 06 and 07, every run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import writing
from vadose.errors import VadoseError
from vadose.twin.granules.rasters import extent
from vadose.twin.truth import at

Array = NDArray[np.floating]

MARK = "true: no value in this file was measured"
LON = np.round(-179.95 + 0.1 * np.arange(3600), 2)
LAT = np.round(-89.95 + 0.1 * np.arange(1800), 2)
RUNS = {"final": "", "late": "-L", "early": "-E"}
FILL, INTEGER_FILL = np.float32(-9999.9), np.int16(-9999)
EPOCH = {"06": pd.Timestamp("1970-01-01"), "07": pd.Timestamp("1980-01-06")}
# Share of the day's rain in each half hour: it falls from 17 to 23 UTC.
SHARE = np.zeros(48)
SHARE[34:46] = np.repeat(np.array([1, 2, 4, 4, 2, 1]) / 28, 2)
_CHUNK = 100
# Fields of a half hour that are there but hold nothing.
_EMPTY = {
    "06": {
        "HQprecipitation": "mm/hr",
        "HQprecipSource": "",
        "HQobservationTime": "minutes",
        "IRprecipitation": "mm/hr",
        "IRkalmanFilterWeight": "",
    },
    "07": {
        "Intermediate/MWprecipitation": "mm/hr",
        "Intermediate/MWprecipSource": "",
        "Intermediate/MWobservationTime": "minutes",
        "Intermediate/IRprecipitation": "mm/hr",
        "Intermediate/IRinfluence": "",
    },
}


def write_imerg(
    truth: xr.Dataset,
    folder: Path,
    frequency: str = "half-hourly",
    version: str = "07",
    run: str = "final",
    half_hours: Iterable[int] = range(48),
) -> list[Path]:
    """Write granules of every day of the truth, on the whole globe, of which only the truth's part is stored.

    Half hours sum to the day's rain, which falls from 17 to 23 UTC. The random error is a fifth of the rate
    and 0.1 mm/hr, the quality index 0.7, liquid above 0 degrees Celsius; what single sensors saw is missing.
    Days have 48 valid half hours.

    Parameters
    ----------
    frequency
        ``'half-hourly'`` or ``'daily'``.
    version
        ``'06'`` or ``'07'``.
    run
        ``'final'``, ``'late'`` or ``'early'``.
    half_hours
        Half hours of a day to write, 0 to 47.
    """
    for value, choices in ((frequency, ("half-hourly", "daily")), (version, tuple(EPOCH)), (run, tuple(RUNS))):
        if value not in choices:
            raise VadoseError(f"{folder}: IMERG {value!r} unknown; choose from {list(choices)}")
    west, south, east, north = extent(truth)
    rows, columns = _inside(LAT, south, north), _inside(LON, west, east)
    # As the file has its axes: longitude first.
    lon, lat = np.meshgrid(LON[columns], LAT[rows], indexing="ij")
    window = (0, columns, rows)
    rain = np.maximum(at(truth.precipitation, lat, lon), 0)
    temperature = at(truth.air_temperature, lat, lon)
    paths = []
    for number, day in enumerate(pd.DatetimeIndex(truth.time.values)):
        liquid = np.where(np.isnan(temperature[number]), INTEGER_FILL, np.where(temperature[number] > 273.15, 100, 0))
        if frequency == "daily":
            paths.append(_write_day(folder, day, rain[number], liquid, window, version, run))
            continue
        for half_hour in half_hours:
            start, rate = day + pd.Timedelta(minutes=30 * half_hour), rain[number] * SHARE[half_hour] * 2
            paths.append(_write_half_hour(folder, start, rate, liquid, window, version, run))
    return paths


_Window = tuple[int, slice, slice]


def _inside(centres: Array, low: float, high: float) -> slice:
    return slice(*map(int, np.searchsorted(centres, [low, high])))


def _write_half_hour(
    folder: Path, start: pd.Timestamp, rate: Array, liquid: Array, window: _Window, version: str, run: str
) -> Path:
    end = start + pd.Timedelta(minutes=29, seconds=59)
    path = folder / (
        f"3B-HHR{RUNS[run]}.MS.MRG.3IMERG.{start:%Y%m%d}-S{start:%H%M%S}-E{end:%H%M%S}."
        f"{start.hour * 60 + start.minute:04d}.V{version}B.HDF5"
    )
    seconds = np.int32((start - EPOCH[version]) // pd.Timedelta(seconds=1))
    units = f"seconds since {EPOCH[version]:%Y-%m-%d} 00:00:00 UTC"
    with writing(path) as scratch, h5py.File(scratch, "w") as file:
        file.attrs["FileHeader"] = np.bytes_(
            f"DOI=10.5067/GPM/IMERG/3B-HH/{version};\nAlgorithmID=3IMERGHH;\nFileName={path.name};\n"
            f"StartGranuleDateTime={start:%Y-%m-%dT%H:%M:%S}.000Z;\nStopGranuleDateTime={end:%Y-%m-%dT%H:%M:%S}.999Z;\n"
            f"TimeInterval=HALF_HOUR;\nProductVersion=V{version}B;\n"
        )
        file.attrs["simulated"] = np.bytes_(MARK)
        grid = file.create_group("Grid")
        grid.attrs["GridHeader"] = np.bytes_(
            "BinMethod=ARITHMETIC_MEAN;\nRegistration=CENTER;\nLatitudeResolution=0.1;\nLongitudeResolution=0.1;\n"
            "NorthBoundingCoordinate=90;\nSouthBoundingCoordinate=-90;\nEastBoundingCoordinate=180;\n"
            "WestBoundingCoordinate=-180;\nOrigin=SOUTHWEST;\n"
        )
        _axes(grid, np.array([seconds], np.int32), np.array([[seconds, seconds + 1800]], np.int32), units)
        grid["time"].attrs["calendar"] = np.bytes_("julian")
        main, uncalibrated = {
            "06": ("precipitationCal", "precipitationUncal"),
            "07": ("precipitation", "Intermediate/precipitationUncal"),
        }[version]
        _field(grid, main, np.float32, "mm/hr", window, rate)
        _field(grid, uncalibrated, np.float32, "mm/hr", window, rate)
        _field(grid, "randomError", np.float32, "mm/hr", window, 0.2 * rate + 0.1)
        _field(grid, "precipitationQualityIndex", np.float32, "", window, np.where(np.isnan(rate), np.nan, 0.7))
        _field(grid, "probabilityLiquidPrecipitation", np.int16, "percent", window, liquid)
        for name, unit in _EMPTY[version].items():
            _field(grid, name, np.float32 if unit == "mm/hr" else np.int16, unit)
    return path


def _write_day(
    folder: Path, day: pd.Timestamp, rain: Array, liquid: Array, window: _Window, version: str, run: str
) -> Path:
    letter = "B" if version == "07" else ""
    path = folder / f"3B-DAY{RUNS[run]}.MS.MRG.3IMERG.{day:%Y%m%d}-S000000-E235959.V{version}{letter}.nc4"
    days = (day - EPOCH[version]).days
    amount = "mm" if version == "06" else "mm/day"
    code = {"final": "DF", "late": "DL", "early": "DE"}[run]
    here = ~np.isnan(rain)
    with writing(path) as scratch, h5py.File(scratch, "w") as file:
        for key, value in {
            "BeginDate": f"{day:%Y-%m-%d}",
            "BeginTime": "00:00:00.000Z",
            "EndDate": f"{day:%Y-%m-%d}",
            "EndTime": "23:59:59.999Z",
            "FileHeader": f"StartGranuleDateTime={day:%Y-%m-%d}T00:00:00.000Z;\n"
            f"StopGranuleDateTime={day:%Y-%m-%d}T23:59:59.999Z",
            "InputPointer": f"3B-HHR{RUNS[run]}.MS.MRG.3IMERG.{day:%Y%m%d}-S000000-E002959.0000.V{version}B.HDF5",
            "DOI": f"10.5067/GPM/IMERG{code}/DAY/{version}",
            "title": "GPM IMERG 1 day 0.1 x 0.1 degree",
            "simulated": MARK,
        }.items():
            file.attrs[key] = value
        units = f"days since {EPOCH[version]:%Y-%m-%d} 00:00:00Z"
        _axes(file, np.array([days], np.int32), np.array([[days, days + 1]], np.int32), units)
        file["time"].attrs["calendar"] = np.bytes_("julian")
        main, sensor = (
            ("precipitationCal", "HQprecipitation") if version == "06" else ("precipitation", "MWprecipitation")
        )
        _field(file, main, np.float32, amount, window, rain)
        _field(file, f"{main}_cnt", np.int16, "count", window, np.where(here, 48, INTEGER_FILL))
        wet = np.where(here, np.where(rain > 0, (SHARE > 0).sum(), 0), INTEGER_FILL)
        _field(file, f"{main}_cnt_cond", np.int16, "count", window, wet)
        _field(file, "randomError", np.float32, amount, window, 0.2 * rain + 2.4)
        _field(file, "randomError_cnt", np.int16, "count", window, np.where(here, 48, INTEGER_FILL))
        _field(file, sensor, np.float32, amount)
        for end in ("_cnt", "_cnt_cond"):
            _field(file, f"{sensor}{end}", np.int16, "count")
        if version == "07":
            _field(file, "probabilityLiquidPrecipitation", np.int16, "percent", window, liquid)
    return path


def _axes(group: h5py.Group, time: Array, bounds: Array, units: str) -> None:
    """Axes and their bounds, as scales that netCDF takes for its dimensions."""
    for name, values, unit, standard in (
        ("time", time, units, "time"),
        ("lon", LON.astype(np.float32), "degrees_east", "longitude"),
        ("lat", LAT.astype(np.float32), "degrees_north", "latitude"),
        ("nv", np.arange(2, dtype=np.int32), "1", "number of bounds"),
    ):
        axis = group.create_dataset(name, data=values, **_packing(values))
        axis.attrs["DimensionNames"] = np.bytes_(name)
        axis.attrs["units"] = axis.attrs["Units"] = np.bytes_(unit)
        axis.attrs["standard_name"] = np.bytes_(standard)
        axis.make_scale(name)
    edges = {"time": bounds}
    edges |= {n: np.stack([c - 0.05, c + 0.05], axis=1).astype(np.float32) for n, c in (("lon", LON), ("lat", LAT))}
    for name, values in edges.items():
        group[name].attrs["bounds"] = np.bytes_(f"{name}_bnds")
        both = group.create_dataset(f"{name}_bnds", data=values, **_packing(values))
        both.attrs["DimensionNames"] = np.bytes_(f"{name},nv")
        both.dims[0].attach_scale(group[name])
        both.dims[1].attach_scale(group["nv"])
    group["time_bnds"].attrs["units"] = np.bytes_(units)


def _packing(values: NDArray[np.number]) -> dict[str, Any]:
    return {"compression": 4, "shuffle": True} if len(values) > 2 else {}


def _field(
    group: h5py.Group,
    name: str,
    dtype: type[np.number],
    units: str,
    window: _Window | None = None,
    values: Array | None = None,
) -> None:
    """A variable of the whole globe, of which only the chunks under the window take room."""
    fill = FILL if dtype is np.float32 else INTEGER_FILL
    dataset = group.create_dataset(
        name, (1, len(LON), len(LAT)), dtype, chunks=(1, _CHUNK, _CHUNK), fillvalue=fill, compression=1, shuffle=True
    )
    missing = "-9999.9" if dtype is np.float32 else "-9999"
    for key, value in {
        "DimensionNames": "time,lon,lat",
        "coordinates": "time lon lat",
        "Units": units,
        "units": units,
        "CodeMissingValue": missing,
    }.items():
        if value:
            dataset.attrs[key] = np.bytes_(value)
    dataset.attrs["_FillValue"] = fill
    for number, axis in enumerate(("time", "lon", "lat")):
        dataset.dims[number].attach_scale(group[axis])
    if window is not None and values is not None:
        dataset[window] = np.where(np.isnan(values), fill, values).astype(dtype)
