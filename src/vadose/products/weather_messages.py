"""The messages of a GFS or GEFS file in our names: which run and member, over which hours."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox
from vadose.products.dates import moment
from vadose.products.grib import Array, Keys, axes, cell_of, messages, north_up
from vadose.products.ranges import within

_NAMED = re.compile(r"(?:.*[_.])?(gfs|ge(?:c00|p\d\d|avg))\.t(\d\d)z\.pgrb2[abs]?\.\dp\d\d\.f(\d{3})")
_MOST_HOURS = 10_000
LAND = "land"
"""Where a file has land (1) and sea (0)."""
# (discipline, category, number, kind of surface) -> our names by its height, or depth from and to [m].
# NCEP keeps radiation and soil water under numbers of its own beside those of WMO.
_AT = {
    ((0, 0, 0, 103), (2.0,)): "air_temperature",
    ((0, 1, 0, 103), (2.0,)): "specific_humidity",
    ((0, 1, 1, 103), (2.0,)): "relative_humidity",
    ((0, 2, 2, 103), (10.0,)): "eastward_wind",
    ((0, 2, 3, 103), (10.0,)): "northward_wind",
    ((0, 3, 0, 1), ()): "surface_pressure",
    ((2, 0, 0, 1), ()): LAND,
} | {
    ((*parameter, 106), depth): f"{name}_{layer}"
    for name, parameters in (
        ("soil_moisture", ((2, 0, 192), (2, 0, 9))),
        ("soil_temperature", ((2, 0, 2), (2, 3, 18), (0, 0, 0))),
    )
    for parameter in parameters
    for layer, depth in (
        ("0_10cm", (0.0, 0.1)),
        ("10_40cm", (0.1, 0.4)),
        ("40_100cm", (0.4, 1.0)),
        ("100_200cm", (1.0, 2.0)),
    )
}
# The same for what is over a time, and how: 0 mean, 1 sum, 2 highest, 3 lowest.
_OVER = {
    ((0, 1, 8, 1), (), 1): "precipitation",
    ((0, 4, 192, 1), (), 0): "shortwave_radiation",
    ((0, 4, 7, 1), (), 0): "shortwave_radiation",
    ((0, 5, 192, 1), (), 0): "longwave_radiation",
    ((0, 5, 3, 1), (), 0): "longwave_radiation",
    ((0, 0, 4, 103), (2.0,), 2): "air_temperature_max",
    ((0, 0, 5, 103), (2.0,), 3): "air_temperature_min",
    ((0, 0, 0, 103), (2.0,), 2): "air_temperature_max",
    ((0, 0, 0, 103), (2.0,), 3): "air_temperature_min",
}
OVER_TIME = tuple(dict.fromkeys(_OVER.values()))
Fields = dict[tuple[str, int, int], Array]
"""Values by name, begin and end [hours after the start of the run]; begin and end are one for states."""

# Over land ice and sea GFS has 1 for soil moisture, packed up to 1.001, and less where a grid was interpolated across
# their border. The soils of its Noah model hold at most 0.476 m3 m-3 (Chen and Dudhia 2001), others a little more.
_SATURATED, _PLACEHOLDER = 0.6, 1.01
SOIL_RULE = (
    "soil moisture is missing at sea and where it is over 0.6 m3 m-3: GFS has a placeholder of 1 over ice and sea"
)


class Messages(NamedTuple):
    """One run and member: start of the run, coordinates, fields, and how many values of a name were set missing."""

    run: pd.Timestamp
    member: str
    where: xr.Dataset
    fields: Fields
    masked: dict[str, Counter[str]]
    unread: Counter[str]


def read_fields(path: Path, bbox: BBox | None, names: Collection[str] | None = None) -> Messages:
    """The messages of a file, of ``names`` alone where they are given."""
    fields: Fields = {}
    masked: dict[str, Counter[str]] = defaultdict(Counter)
    first: Any = None

    def wanted(keys: Keys) -> bool:
        name = name_of(keys)
        return name is not None and (names is None or name in (*names, LAND))

    unread: Counter[str] = Counter()
    for keys, values in messages(path, wanted, unread):
        run = _start(path, keys)
        lat, lon = axes(path, keys)
        here = (run, _member(path, keys), lat.tolist(), lon.tolist())
        if first is None:
            first, (rows, columns, where) = here, north_up(path, lat, lon, bbox, cell_of(keys))
        elif here[:2] != first[:2]:
            raise VadoseError(
                f"{path}: holds {first[1]} of {first[0]} and {here[1]} of {run}; split it by run and member"
            )
        elif here != first:
            raise VadoseError(f"{path}: messages lie on several grids; split the file by grid")
        if keys["stepUnits:i"] not in (1, None):
            raise VadoseError(f"{path}: leads are not whole hours (unit {keys['stepUnits:i']}); only hours are read")
        name, start, end = str(name_of(keys)), keys["startStep:i"], keys["endStep:i"]
        if not 0 <= start <= end <= _MOST_HOURS:
            raise VadoseError(f"{path}: {name} of {start} to {end} h after the start; expected 0 to {_MOST_HOURS} h")
        if (name in OVER_TIME) == (start == end):
            continue  # an amount over no time, as some files have at f000
        field = values()[np.ix_(rows, columns)].astype(np.float32)
        if name.startswith("soil_moisture"):
            placeholder = (field > _SATURATED) & (field < _PLACEHOLDER)
            field[placeholder] = np.nan
            masked[name]["placeholders"] += int(placeholder.sum())
        if name != LAND:
            field, counts = within(field, name, path)
            masked[name].update(counts)
        if (name, start, end) in fields and not np.array_equal(fields[name, start, end], field, equal_nan=True):
            raise VadoseError(f"{path}: holds {name} of {start}-{end} h twice, with other values; keep one of them")
        fields[name, start, end] = field
    if first is None or not fields:
        what = "a variable that is read" if names is None else " or ".join(names)
        others = f" (left out: {', '.join(f'{n} {which}' for which, n in unread.items())})" if unread else ""
        raise VadoseError(f"{path}: no message holds {what}{others}; is it a GRIB-2 file of GFS or GEFS that has it?")
    if all(np.isnan(field).all() for field in fields.values()):
        raise VadoseError(f"{path}: every value is missing; the file is damaged, fetch it again")
    _compare_name(path, first[0], first[1], {end for _, _, end in fields})
    return Messages(first[0], first[1], where, _on_land(fields), {name: +of for name, of in masked.items()}, unread)


def _compare_name(path: Path, run: pd.Timestamp, member: str, leads: set[int]) -> None:
    """Refuse a file whose messages are of another run, member or lead than its name and folders as published say."""
    found = {"run": f"{run:%H} UTC", "member": member, "lead": f"{', '.join(map(str, sorted(leads)))} h"}
    said = {}
    if named := _NAMED.match(path.name):
        who = {"gfs": "deterministic", "geavg": "mean"}.get(named[1], named[1].removeprefix("ge"))
        said = {"run": f"{named[2]} UTC", "member": who, "lead": f"{int(named[3])} h"}
    if days := [part[-8:] for part in path.parts if re.fullmatch(r"(gfs|gefs)\.\d{8}", part)]:
        found["day"], said["day"] = f"{run:%Y%m%d}", days[-1]
    for what, there in said.items():
        if there != found[what]:
            raise VadoseError(f"{path}: its name says {what} {there}, its messages {found[what]}; was it renamed?")


def _on_land(fields: Fields) -> Fields:
    """Fields with the soil missing where the file says sea."""
    land = next((field for (name, _, _), field in fields.items() if name == LAND), None)
    found = {key: field for key, field in fields.items() if key[0] != LAND}
    if land is not None:
        found |= {
            key: np.where(land > 0, field, np.float32(np.nan)) for key, field in found.items() if "soil" in key[0]
        }
    return found


def run_of(path: Path) -> pd.Timestamp:
    """Start of the run a file is of, by its first message.

    Raises
    ------
    VadoseError
        When the file is no GRIB file or holds no message.
    """
    for keys, _ in messages(path, lambda keys: True):
        return _start(path, keys)
    raise VadoseError(f"{path}: holds no message; the file is damaged, fetch it again")


def _start(path: Path, keys: Keys) -> pd.Timestamp:
    day = f"{keys['year']}-{keys['month']}-{keys['day']} {keys['hour']}:{keys['minute']}"
    return moment(day, "%Y-%m-%d %H:%M", path, "the start of the run in a message")


def name_of(keys: Keys) -> str | None:
    """Our name of what a message holds; None if it is not read."""
    if keys["edition"] != 2:
        return None
    kind = keys["typeOfFirstFixedSurface:i"]
    parameter = (keys["discipline"], keys["parameterCategory"], keys["parameterNumber"], kind)
    ends = [
        (keys[f"scaledValueOf{which}FixedSurface"], keys[f"scaleFactorOf{which}FixedSurface"])
        for which in (("First", "Second") if kind == 106 else ("First",) if kind == 103 else ())
    ]
    if any(value is None or scale is None or abs(scale) > 9 for value, scale in ends):
        return None
    level = tuple(round(value / 10.0**scale, 4) for value, scale in ends)
    how = keys["typeOfStatisticalProcessing"]
    return _AT.get((parameter, level)) if how is None else _OVER.get((parameter, level, how))


def _member(path: Path, keys: Keys) -> str:
    derived = keys["derivedForecast"]
    if derived is not None:
        if derived not in (0, 1):
            raise VadoseError(f"{path}: the ensemble's spread (derived forecast {derived}), not weather; take a member")
        return "mean"
    number = keys["perturbationNumber"]
    if number is None:
        return "deterministic"
    return f"p{number:02d}" if number else "c00"


def with_humidity(fields: Fields) -> Fields:
    """With specific from relative humidity, temperature and pressure, where it is not given."""
    if any(name == "specific_humidity" for name, _, _ in fields):
        return fields
    made: Fields = {}
    for (name, start, end), relative in fields.items():
        temperature, pressure = (fields.get((n, start, end)) for n in ("air_temperature", "surface_pressure"))
        if name == "relative_humidity" and temperature is not None and pressure is not None:
            celsius = temperature - 273.15
            vapour = relative / 100 * 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))  # Bolton (1980), over water
            made["specific_humidity", start, end] = (0.622 * vapour / (pressure - 0.378 * vapour)).astype(np.float32)
    return fields | made
