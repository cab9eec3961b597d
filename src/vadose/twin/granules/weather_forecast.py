"""Weather forecasts as NCEP publishes them, GEFS and GFS, GRIB-2, cut to a region: forecasts without error."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.grib import library
from vadose.twin.truth import at

Array = NDArray[np.floating]

STEP = 0.25
MISSING = 9999.0
MARK = "true: no value in this file was measured"
DEPTHS = ((0, 10), (10, 40), (40, 100))
# Share of the day's rain in each of its eight 3-hour parts.
RAIN = np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.3, 0.4, 0.2])
WARMEST, COLDEST = 21, 9
OWN = ("dataDate", "dataTime", "forecastTime", "perturbationNumber", "stepRange")
"""Keys that differ from message to message of a variable."""
TRUTH = (
    "air_temperature",
    "air_temperature_max",
    "air_temperature_min",
    "specific_humidity",
    "surface_pressure",
    "eastward_wind",
    "northward_wind",
    "longwave_radiation",
    "shortwave_radiation",
    "precipitation",
    "soil_temperature",
    "soil_moisture_0_10cm",
    "soil_moisture_10_40cm",
    "soil_moisture_40_100cm",
)


@dataclass(frozen=True)
class Issue:
    """Start of the run, lead [hour], model, member (0 is the control) and cell [degree] of a message."""

    run: pd.Timestamp
    lead: int
    model: str = "gefs"
    member: int = 0
    step: float = STEP


def write_weather_forecast(
    truth: xr.Dataset, folder: Path, model: str = "gefs", member: int = 0, hours: Iterable[int] | None = None
) -> list[Path]:
    """Write the granules of one run that starts at the end of the truth's first day.

    The run forecasts the days after the first as they come: its leads reach the end of the truth. Within
    a day rain falls in some of its 3-hour parts, the sun follows the local hour and the temperature swings
    between its extremes; over each day rain sums and states average to the truth.

    Parameters
    ----------
    truth
        Daily truth (time, y, x) of two days or more.
    folder
        Gets the folders as published, such as ``gefs.20190602/00/atmos/pgrb2sp25``.
    model
        ``'gefs'`` (0.25 degrees, chosen variables) or ``'gfs'``.
    member
        Of the ensemble: 0 is the control. All members are alike.
    hours
        Leads to write, multiples of 3; by default every one up to the end of the truth, at most 240.

    Raises
    ------
    VadoseError
        For another model, or a truth too short.
    """
    if model not in ("gefs", "gfs"):
        raise VadoseError(f"{folder}: model {model!r} unknown; choose from ['gefs', 'gfs']")
    if truth.sizes["time"] < 2:
        raise VadoseError(f"{folder}: a forecast needs the truth of two days or more, found {truth.sizes['time']}")
    run = pd.Timestamp(truth.time.values[1])
    south, north, west, east = (float(f(truth[axis])) / STEP for axis in ("lat", "lon") for f in (np.min, np.max))
    lat = np.arange(np.floor(north), np.ceil(south) - 1, -1) * STEP
    lon = np.arange(np.ceil(west), np.floor(east) + 1) * STEP
    points = np.meshgrid(lat, lon, indexing="ij")
    days = {name: at(truth[name], *points)[1:] for name in TRUTH}
    if model == "gefs":
        who = f"ge{f'p{member:02d}' if member else 'c00'}"
        path = folder / f"gefs.{run:%Y%m%d}/{run:%H}/atmos/pgrb2sp25/{who}.t{run:%H}z.pgrb2s.0p25"
    else:
        path = folder / f"gfs.{run:%Y%m%d}/{run:%H}/atmos/gfs.t{run:%H}z.pgrb2.0p25"
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "SIMULATED.txt").write_text(f"{MARK}\n")
    last = min(24 * (truth.sizes["time"] - 1), 240)
    paths = []
    for lead in range(0, last + 1, 3) if hours is None else hours:
        paths.append(path.with_name(f"{path.name}.f{lead:03d}"))
        with paths[-1].open("wb") as stream:
            for values, keys in _messages(days, lon, lead, model):
                stream.write(message(values, keys, lat, lon, Issue(run, lead, model, member)))
    return paths


def _messages(days: dict[str, Array], lon: Array, lead: int, model: str) -> Iterable[tuple[Array, dict[str, Any]]]:
    """Values and keys of the messages at a lead."""
    day = max(lead - 1, 0) // 24
    today = {name: values[day] for name, values in days.items()}
    swing = np.minimum(
        today["air_temperature_max"] - today["air_temperature"], today["air_temperature"] - today["air_temperature_min"]
    )
    temperature = today["air_temperature"] + swing * np.cos(2 * np.pi * (lead - WARMEST) / 24)
    pressure, humidity = today["surface_pressure"], today["specific_humidity"]
    saturated = 611.2 * np.exp(17.67 * (temperature - 273.15) / (temperature - 29.65))
    relative = np.minimum(100 * humidity * pressure / (0.622 + 0.378 * humidity) / saturated, 100)

    yield pressure, parameter(0, 3, 0, 1, digits=1)
    yield temperature, parameter(0, 0, 0, 103, 2, digits=3)
    yield relative, parameter(0, 1, 1, 103, 2, digits=2)
    if model == "gfs":
        yield humidity, parameter(0, 1, 0, 103, 2, digits=7)
    yield today["eastward_wind"], parameter(0, 2, 2, 103, 10, digits=3)
    yield today["northward_wind"], parameter(0, 2, 3, 103, 10, digits=3)
    for top, bottom in DEPTHS:
        yield today[f"soil_moisture_{top}_{bottom}cm"], parameter(2, 0, 192, 106, top, bottom, digits=5)
        yield today["soil_temperature"], parameter(2, 0, 2, 106, top, bottom, digits=3)
    if lead == 0:
        return
    begin = (lead - 1) // 6 * 6
    parts = range(begin // 3, lead // 3)
    bucket = {"stepRange": f"{begin}-{lead}"}
    sun = _sun(lon)
    sunshine = np.mean([today["shortwave_radiation"] * sun[p % 8] for p in parts], axis=0)
    yield sunshine, parameter(0, 4, 192, 1, typeOfStatisticalProcessing=0, digits=4) | bucket
    yield today["longwave_radiation"], parameter(0, 5, 192, 1, typeOfStatisticalProcessing=0, digits=4) | bucket
    rain = parameter(0, 1, 8, 1, typeOfStatisticalProcessing=1, digits=4)
    yield np.sum([today["precipitation"] * RAIN[p % 8] for p in parts], axis=0), rain | bucket
    if model == "gfs":
        since = np.sum([days["precipitation"][p // 8] * RAIN[p % 8] for p in range(lead // 3)], axis=0)
        yield since, rain | {"stepRange": f"0-{lead}"}
    for extreme, hour, number, how in (("max", WARMEST, 4, 2), ("min", COLDEST, 5, 3)):
        reached = begin % 24 < hour <= begin % 24 + lead - begin
        values = today[f"air_temperature_{extreme}"] if reached else today["air_temperature"]
        yield values, parameter(0, 0, number, 103, 2, typeOfStatisticalProcessing=how, digits=3) | bucket


def parameter(
    discipline: int, category: int, number: int, kind: int, level: int = 0, bottom: int | None = None, **others: Any
) -> dict[str, Any]:
    """Keys of a parameter at the surface (1), a height [m] (103) or a layer [cm] below ground (106)."""
    scale = 2 if kind == 106 else 0
    keys = {
        "discipline": discipline,
        "parameterCategory": category,
        "parameterNumber": number,
        "typeOfFirstFixedSurface": kind,
        "scaleFactorOfFirstFixedSurface": scale,
        "scaledValueOfFirstFixedSurface": level,
    }
    if bottom is not None:
        keys |= {
            "typeOfSecondFixedSurface": kind,
            "scaleFactorOfSecondFixedSurface": scale,
            "scaledValueOfSecondFixedSurface": bottom,
        }
    return keys | others


def _sun(lon: Array) -> Array:
    """The day's mean of 1 over its eight 3-hour parts (part, longitude), by the local solar hour."""
    sun = np.maximum(np.cos(2 * np.pi * (np.arange(1.5, 24, 3)[:, None] + lon / 15 - 12) / 24), 0)
    share: Array = 8 * sun / sun.sum(axis=0)
    return share


def message(values: Array, keys: dict[str, Any], lat: Array, lon: Array, issue: Issue) -> bytes:
    """A GRIB-2 message; ``keys`` are those of `parameter`, with ``stepRange`` for what is over a time."""
    over_time, ensemble = "stepRange" in keys, issue.model == "gefs"
    run, member = issue.run, issue.member
    settings: dict[str, Any] = {
        "tablesVersion": 2,
        "centre": 7,
        "subCentre": 2 if ensemble else 0,
        "discipline": keys["discipline"],
        "significanceOfReferenceTime": 1,
        "dataDate": int(f"{run:%Y%m%d}"),
        "dataTime": int(f"{run:%H%M}"),
        "productionStatusOfProcessedData": 0,
        "typeOfProcessedData": (4 if member else 3) if ensemble else 1,
        "shapeOfTheEarth": 6,
        "Ni": len(lon),
        "Nj": len(lat),
        "iScansNegatively": 0,
        "jScansPositively": int(lat[-1] > lat[0]),
        "latitudeOfFirstGridPointInDegrees": lat[0],
        "latitudeOfLastGridPointInDegrees": lat[-1],
        "longitudeOfFirstGridPointInDegrees": lon[0] % 360,
        "longitudeOfLastGridPointInDegrees": lon[-1] % 360,
        "iDirectionIncrementInDegrees": issue.step,
        "jDirectionIncrementInDegrees": issue.step,
        "productDefinitionTemplateNumber": (11 if over_time else 1) if ensemble else (8 if over_time else 0),
        "typeOfGeneratingProcess": 4 if ensemble else 2,
        "generatingProcessIdentifier": 107 if ensemble else 96,
        "indicatorOfUnitOfTimeRange": 1,
        "forecastTime": issue.lead,
    }
    if ensemble:
        # 1 is the unperturbed control, 3 a member with a positive perturbation.
        settings |= {
            "typeOfEnsembleForecast": 3 if member else 1,
            "perturbationNumber": member,
            "numberOfForecastsInEnsemble": 30,
        }
    settings |= {k: v for k, v in keys.items() if k not in ("digits", "discipline")}
    settings |= {"bitsPerValue": 24, "missingValue": MISSING, "bitmapPresent": int(np.isnan(values).any())}
    own = {key: settings.pop(key) for key in OWN if key in settings}
    eccodes = library()
    handle = eccodes.codes_clone(_prepared(tuple(settings.items())))
    try:
        for key, value in own.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, np.where(np.isnan(values), MISSING, values).astype(float).ravel())
        eccodes.codes_set(handle, "changeDecimalPrecision", keys["digits"])
        found: bytes = eccodes.codes_get_message(handle)
        return found
    finally:
        eccodes.codes_release(handle)


@lru_cache(maxsize=512)
def _prepared(settings: tuple[tuple[str, Any], ...]) -> Any:
    """A message with these keys, to be cloned: to set them takes longer than all the rest."""
    eccodes = library()
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    for key, value in settings:
        eccodes.codes_set(handle, key, value)
    return handle
