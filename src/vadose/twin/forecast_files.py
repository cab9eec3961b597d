"""Files of the ensemble GEFS as its archive serves them: a lead of a member, its messages and their index."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.twin.granules.weather_forecast import Issue, message, parameter

Array = NDArray[np.floating[Any]]
RAIN = (0.1, 0.2, 0.4, 0.3)
SUN = (0.0, 1.4, 2.3, 0.3)
"""Share of a day's rain, and of its mean radiation, in the 6 hours from 06, 12, 18 and 00 UTC on."""
HIGHEST, LOWEST = {"typeOfStatisticalProcessing": 2}, {"typeOfStatisticalProcessing": 3}
MESSAGES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "precipitation": ("APCP:surface", "acc", parameter(0, 1, 8, 1, typeOfStatisticalProcessing=1, digits=4)),
    "surface_pressure": ("PRES:surface", "", parameter(0, 3, 0, 1, digits=1)),
    "relative_humidity": ("RH:2 m above ground", "", parameter(0, 1, 1, 103, 2, digits=2)),
    "air_temperature_max": ("TMAX:2 m above ground", "max", parameter(0, 0, 4, 103, 2, digits=3) | HIGHEST),
    "air_temperature_min": ("TMIN:2 m above ground", "min", parameter(0, 0, 5, 103, 2, digits=3) | LOWEST),
    "shortwave_radiation": ("DSWRF:surface", "ave", parameter(0, 4, 192, 1, typeOfStatisticalProcessing=0, digits=4)),
}
"""Name -> element and level in the index, how it is over the hours (empty: at the lead), keys; as the file has them."""


def lead_values(
    run: pd.Timestamp,
    member: str,
    lead: int,
    weather: Mapping[str, Array],
    at: tuple[Array, Array],
    *,
    seed: int = 0,
    biased: bool = False,
) -> dict[str, Array]:
    """Values of a lead, of the 6 hours up to it, by their names.

    Parameters
    ----------
    weather
        Of the run's days from its first on, a value each; members depart from it more and more.
    at
        Latitudes and longitudes of the values [degree], of one shape when broadcast.
    biased
        It drizzles every day, and half of the rain is missing; it is 3 K too warm, 15 % too dry and 20 % too sunny.
    """
    number = 0 if member == "c00" else int(member[1:])
    day, part = divmod(max(lead - 6, 1) - 1, 24)
    part //= 6
    random = np.random.default_rng([seed, run.toordinal(), number])
    noise = random.normal(size=(36, 2))[day] * min(0.1 * (day + 1), 1.0) * (number > 0)
    now = {name: float(values[day]) for name, values in weather.items()}
    mean = 0.5 * (now["air_temperature_max"] + now["air_temperature_min"])
    flat = 0.0 * (at[0] + at[1])
    rise = flat + 3 * noise[0] - 0.8 * (at[0] - 39.1)
    rain = flat + now["precipitation"] * np.exp(0.5 * noise[1]) * RAIN[part]
    sun = flat + now["shortwave_radiation"] * SUN[part]
    humid = flat + (now["relative_humidity_max"] if part == 0 else now["relative_humidity_min"] if part == 2 else 65.0)
    if biased:
        rain, rise, humid, sun = 0.5 * rain + 0.6 * RAIN[part], rise + 3, 0.85 * humid, 1.2 * sun
    return {
        "precipitation": rain,
        "relative_humidity": humid,
        "air_temperature_max": rise + (now["air_temperature_max"] if part == 2 else mean),
        "air_temperature_min": rise + (now["air_temperature_min"] if part == 0 else mean),
        "shortwave_radiation": sun,
    }


def lead_file(
    run: pd.Timestamp,
    member: str,
    lead: int,
    weather: Mapping[str, Array],
    box: tuple[float, ...],
    *,
    south_first: bool = False,
    seed: int = 0,
    biased: bool = False,
) -> list[tuple[str, bytes]]:
    """Messages of a lead, each with its line of the index (element, level, window).

    Parameters
    ----------
    box
        West, south, east, north [degree]; the others are those of `lead_values`.
    """
    step = 0.25 if lead <= 240 else 0.5
    west, south, east, north = box
    lat = np.arange(np.floor(north / step), np.ceil(south / step) - 1, -1) * step
    lon = np.arange(np.ceil(west / step), np.floor(east / step) + 1) * step
    lat = lat[::-1] if south_first else lat
    values = lead_values(run, member, lead, weather, (lat[:, None], lon[None]), seed=seed, biased=biased)
    values["surface_pressure"] = np.full((len(lat), len(lon)), 97000.0)
    issue = Issue(run, lead, member=0 if member == "c00" else int(member[1:]), step=step)
    over, hours = {"stepRange": f"{lead - 6}-{lead}"}, f"{lead - 6}-{lead} hour"
    found = []
    for name, (line, window, keys) in MESSAGES.items():
        text = f"{line}:{hours} {window} fcst" if window else f"{line}:{lead} hour fcst"
        content = message(values[name], keys | over if window else keys, lat, lon, issue)
        found.append((f"{text}:{run:%Y%m%d%H}", content))
    return found


def index_of(messages: list[tuple[str, bytes]], stale: int = 0) -> bytes:
    """The index beside a file, in the form of wgrib2; ``stale``: of a file of longer messages, by so many bytes."""
    lines, at = [], 0
    for number, (line, content) in enumerate(messages, 1):
        text, _, run = line.rpartition(":")
        lines.append(f"{number}:{at}:d={run}:{text}:ENS=+1")
        at += len(content) + stale
    return "\n".join([*lines, ""]).encode()
