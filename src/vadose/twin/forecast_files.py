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


def lead_file(
    run: pd.Timestamp,
    member: str,
    lead: int,
    weather: Mapping[str, Array],
    box: tuple[float, ...],
    *,
    south_first: bool = False,
    seed: int = 0,
) -> list[tuple[str, bytes]]:
    """Messages of a lead, each with its line of the index (element, level, window).

    Parameters
    ----------
    weather
        Of the run's days from its first on, a value each; members depart from it more and more.
    box
        West, south, east, north [degree].
    """
    step = 0.25 if lead <= 240 else 0.5
    west, south, east, north = box
    lat = np.arange(np.floor(north / step), np.ceil(south / step) - 1, -1) * step
    lon = np.arange(np.ceil(west / step), np.floor(east / step) + 1) * step
    lat = lat[::-1] if south_first else lat
    number = 0 if member == "c00" else int(member[1:])
    day, part = divmod(max(lead - 6, 1) - 1, 24)
    part //= 6
    random = np.random.default_rng([seed, run.toordinal(), number])
    noise = random.normal(size=(36, 2))[day] * min(0.1 * (day + 1), 1.0) * (number > 0)
    now = {name: float(values[day]) for name, values in weather.items()}
    mean = 0.5 * (now["air_temperature_max"] + now["air_temperature_min"])
    rise = 3 * noise[0] - 0.8 * (lat[:, None] - 39.1) + 0 * lon
    flat = np.zeros((len(lat), len(lon)))
    rain = flat + now["precipitation"] * np.exp(0.5 * noise[1]) * RAIN[part]
    humid = now["relative_humidity_max"] if part == 0 else now["relative_humidity_min"] if part == 2 else 65.0
    over = {"stepRange": f"{lead - 6}-{lead}"}
    hours = f"{lead - 6}-{lead} hour"
    high = now["air_temperature_max"] if part == 2 else mean
    low = now["air_temperature_min"] if part == 0 else mean
    fields = (
        (f"APCP:surface:{hours} acc fcst", rain, parameter(0, 1, 8, 1, typeOfStatisticalProcessing=1, digits=4) | over),
        (f"PRES:surface:{lead} hour fcst", flat + 97000.0, parameter(0, 3, 0, 1, digits=1)),
        (f"RH:2 m above ground:{lead} hour fcst", flat + humid, parameter(0, 1, 1, 103, 2, digits=2)),
        (
            f"TMAX:2 m above ground:{hours} max fcst",
            high + rise,
            parameter(0, 0, 4, 103, 2, typeOfStatisticalProcessing=2, digits=3) | over,
        ),
        (
            f"TMIN:2 m above ground:{hours} min fcst",
            low + rise,
            parameter(0, 0, 5, 103, 2, typeOfStatisticalProcessing=3, digits=3) | over,
        ),
        (
            f"DSWRF:surface:{hours} ave fcst",
            flat + now["shortwave_radiation"] * SUN[part],
            parameter(0, 4, 192, 1, typeOfStatisticalProcessing=0, digits=4) | over,
        ),
    )
    issue = Issue(run, lead, member=number, step=step)
    return [(f"{line}:{run:%Y%m%d%H}", message(values, keys, lat, lon, issue)) for line, values, keys in fields]


def index_of(messages: list[tuple[str, bytes]], stale: int = 0) -> bytes:
    """The index beside a file, in the form of wgrib2; ``stale``: of a file of longer messages, by so many bytes."""
    lines, at = [], 0
    for number, (line, content) in enumerate(messages, 1):
        text, _, run = line.rpartition(":")
        lines.append(f"{number}:{at}:d={run}:{text}:ENS=+1")
        at += len(content) + stale
    return "\n".join([*lines, ""]).encode()
