"""What the columns of a user's own table of stations hold: recognised by their names and units, or said in a file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from annotated_types import Gt
from numpy.typing import NDArray

from vadose.door.names import QUANTITIES
from vadose.door.told import read_told, told_of
from vadose.door.values import conversion
from vadose.errors import VadoseError
from vadose.variables import VARIABLES

Array = NDArray[np.float64]
MISSING = (-9999.0, -6999.0, -999.0, -999.9, -99.0, -99.9, -99.99)
"""Codes of a missing value; blank and NaN are missing too."""
OF_DEPTH = ("soil_moisture", "soil_temperature")
_STRICT = {"extra": "forbid"}
_CM = {"cm": 1.0, "mm": 0.1, "m": 100.0, "in": 2.54, "inch": 2.54, "inches": 2.54, "": 1.0}
_ROLES = {
    "time": r"date|time|datetime|date_?time|timestamp|valid_time|(date|time)_?utc|utc(_time)?|day|datum|fecha",
    "station": r"station(_?(id|name|code))?|site(_?(id|name|code))?|stn|stid|id",
    "depth": r"(sensor_?)?depth(_?cm)?",
    "latitude": r"lat|latitude",
    "longitude": r"lon|long|lng|longitude",
    "elevation": r"elev|elevation|altitude",
}
_DEPTH = re.compile(r"(?P<number>\d+(?:\.\d+)?)_?(?P<unit>cm|mm|m|inches|inch|in)?(?![a-z\d])")
_LAYER = re.compile(r"\d+_(to_)?\d+_?(cm|mm|m|in)")
_FILLER = re.compile(r"_(at|of|avg|mean|average|depth)(?=_|$)")
_FLAG = re.compile(r"flag|(^|_)(qc|qf|quality)(_|$)")
_DAY_OF_YEAR = re.compile(r"doy|jday|yday|julian(_?day)?|day_of_year|dayofyear")
_UNIT = re.compile(r"\s*[(\[](?P<unit>[^)\]]*)[)\]]\s*$")
_SUFFIX = re.compile(r"_(?P<unit>degc|degf|pct|percent|wm2|mjm2|[cfk]|(?<!\d_)(?:mm|in))$")
_SUFFIXES = {"c": "degC", "f": "degF", "k": "K", "degc": "degC", "degf": "degF", "wm2": "W m-2", "mjm2": "MJ m-2 d-1"}
HOTTEST = 50.0
"""Degrees Celsius that no sensor of a station exceeds, and Fahrenheit do within a year."""
DEEPEST = 250.0
"""Depths without a unit are cm where the deepest is 2 or more and at most this."""
LONG_ENOUGH = 300
"""Fewest values from which their unit is told."""


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Attributes
    ----------
    variable
        Name in `vadose.variables`.
    unit
        Of the numbers; converted where it is not the variable's own. Moisture in mm needs the ``thickness``.
    depth
        Of the sensor [cm]; None where a column of the table says it, and of weather.
    thickness
        Of the layer that moisture in mm is of [cm].
    """

    __pydantic_config__ = _STRICT

    variable: str
    unit: str
    depth: Annotated[float, Gt(0)] | None = None
    thickness: Annotated[float, Gt(0)] | None = None


@dataclass(frozen=True)
class Site:
    """Where a station is [degree, m], and its full name."""

    __pydantic_config__ = _STRICT

    latitude: float
    longitude: float
    elevation: float = float("nan")
    name: str = ""


@dataclass(frozen=True)
class Columns:
    """What a table holds: of each column that is taken what it is, of the table how days and stations are told.

    Attributes
    ----------
    time
        Column of the day or time, or columns of year, month, day and, if any, hour and minute; or two columns, of year
        and day of year, or of date and time.
    columns
        Column -> what it holds. Of a table with one value a row: entry of the column ``variable`` -> what it is.
    by_station
        Of a table with a column a station: what all columns but those of the time hold.
    station
        Column of the station's name; without one a file is of one station, named as the file.
    depth
        Column of the depth of each row, in ``depth_unit``.
    variable, value
        Columns of a table with one value a row: what it is of, and the value.
    sites
        Station -> where it is. Columns of ``latitude``, ``longitude`` and ``elevation``, where there are, do as well.
    time_format
        As of `datetime.datetime.strptime`, for days such as 1/2/2020; ``excel`` of the days that a workbook counts,
        ``unix`` of seconds since 1970.
    time_zone, days_of
        Zone of times of the table, and that whose days are wanted, such as ``UTC`` or ``America/Chicago``. Days are
        those written where they are left out.
    missing
        Codes of missing values, numbers or words.
    network
        Name before that of the stations.
    """

    __pydantic_config__ = _STRICT

    time: str | tuple[str, ...]
    columns: dict[str, Column] = field(default_factory=dict)
    by_station: Column | None = None
    station: str | None = None
    depth: str | None = None
    depth_unit: str = "cm"
    variable: str | None = None
    value: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    elevation: str | None = None
    sites: dict[str, Site] = field(default_factory=dict)
    time_format: str | None = None
    time_zone: str | None = None
    days_of: str | None = None
    missing: tuple[float | str, ...] = MISSING
    network: str = "own"

    def check(self, place: str) -> None:
        """Refuse variables and units that are not known.

        Raises
        ------
        VadoseError
            When there is one, or soil moisture is not among the columns.
        """
        for name, column in self.taken.items():
            known = VARIABLES.get(column.variable)
            if known is None or column.variable not in QUANTITIES:
                raise VadoseError(
                    f"{place}: column {name!r} is said to be {column.variable!r}; expected one of {list(QUANTITIES)}"
                )
            if self.factor(column) is None:
                more = ", or mm with the 'thickness' of its layer [cm]" if column.variable == "soil_moisture" else ""
                raise VadoseError(f"{place}: column {name!r} is in {column.unit!r}; expected {known.units}{more}")
        if self.depth_unit not in _CM:
            raise VadoseError(f"{place}: depths in {self.depth_unit!r}; expected one of {[u for u in _CM if u]}")
        if not any(column.variable == "soil_moisture" for column in self.taken.values()):
            raise VadoseError(f"{place}: no column is said to be soil_moisture; without it a station is of no use")

    def factor(self, column: Column) -> tuple[float, float] | None:
        """Factor and offset that bring a column to our unit, None where there are none."""
        if column.variable == "soil_moisture" and column.unit == "mm":
            return None if column.thickness is None else (0.1 / column.thickness, 0.0)
        return conversion(column.unit, VARIABLES[column.variable].units)

    @property
    def taken(self) -> dict[str, Column]:
        """What the columns hold, those of a table by station as one."""
        return self.columns | ({"by_station": self.by_station} if self.by_station else {})

    @property
    def centimetres(self) -> float:
        """A unit of the column of depths in cm."""
        return _CM[self.depth_unit]


def read_columns(path: Path) -> Columns:
    """Read what the columns are from a YAML file, as `explained` writes it; errors as of `read_told`."""
    return _known(read_told(path, Columns), str(path))


def columns_of(values: object, place: str) -> Columns:
    """The same of plain values, see `read_columns`."""
    return _known(told_of(values, Columns, place), place)


def _known(columns: Columns, place: str) -> Columns:
    columns.check(place)
    return columns


def recognised(table: pd.DataFrame, units: Mapping[str, str], place: str) -> tuple[Columns, dict[str, str]]:
    """What the columns of a table are by their names, units and values, and of each other column why it is not taken.

    Parameters
    ----------
    table
        As read, each column text or numbers.
    units
        Column -> its unit where the table says it elsewhere than in the name.

    Returns
    -------
    tuple
        Of columns ``time`` is empty where there is none, ``depth_unit`` where depths may be of several.

    Examples
    --------
    >>> table = pd.DataFrame({"date": ["2020-06-01"], "vwc_5cm": [0.21], "rain (mm)": [3.0], "rain2": [1.0]})
    >>> columns, others = recognised(table, {}, "mine.csv")
    >>> columns.time, columns.columns["vwc_5cm"].depth, columns.columns["rain (mm)"].unit, others
    ('date', 5.0, 'mm', {'rain2': 'its name is not known'})
    """
    header = [str(name) for name in table]
    plain = {name: _plain(name)[0] for name in header}
    roles = roles_of(header)
    time = _time_columns(table, plain, roles["time"])
    value, variable = (next((n for n in header if plain[n] == word), None) for word in ("value", "variable"))
    taken = {name for name in (*roles.values(), variable, value) if name} | (
        {time} if isinstance(time, str) else {*time}
    )
    names = list(map(str, table[variable].unique())) if value and variable else [n for n in header if n not in taken]
    columns, others = {}, {}
    for name in names:
        values = table.loc[table[variable] == name, value] if value and variable else table[name]
        found = _column(name, units.get(name, ""), values, needs_depth=roles["depth"] is None)
        if isinstance(found, Column):
            columns[name] = found
        else:
            others[name] = found
    known: dict[str, Any] = {role: name for role, name in roles.items() if role != "time" and name}
    depth = known.get("depth", "")
    unit = units.get(depth, "") or _plain(depth)[1] or ("cm" if plain.get(depth, "").endswith("cm") else "")
    if not unit and (not depth or 2 <= pd.to_numeric(table[depth], errors="coerce").abs().max() <= DEEPEST):
        unit = "cm"
    by_value: dict[str, Any] = {"variable": variable, "value": value} if variable and value else {}
    zone = "UTC" if isinstance(time, str) and re.search(r"utc|gmt", time.lower()) else None
    return replace(Columns(time, columns, depth_unit=unit, time_zone=zone), **known, **by_value), others


def roles_of(header: Sequence[str]) -> dict[str, str | None]:
    """The column of each of time, station, depth, latitude, longitude and elevation; None where there is none."""
    return {role: next((n for n in header if re.fullmatch(of, _plain(n)[0])), None) for role, of in _ROLES.items()}


def _time_columns(table: pd.DataFrame, plain: Mapping[str, str], time: str | None) -> str | tuple[str, ...]:
    """Column or columns of the day or time, empty where there is none."""
    of = {word: name for name, word in reversed(list(plain.items()))}
    if {"year", "month", "day"} <= of.keys():
        return tuple(of[part] for part in ("year", "month", "day", "hour", "minute") if part in of)
    of_year = next((name for name, word in plain.items() if _DAY_OF_YEAR.fullmatch(word)), None)
    if "year" in of and of_year and time is None:
        return of["year"], of_year
    if {"date", "time"} <= of.keys() and table[of["time"]].astype(str).str.fullmatch(r"\s*\d{1,2}:\d\d(:\d\d)?").all():
        return of["date"], of["time"]
    return time or ""


def _plain(name: str) -> tuple[str, str]:
    """A column's name in small letters and underscores without its unit, and the unit in brackets or at its end."""
    bracket = _UNIT.search(str(name))
    text = re.sub(r"[^a-z0-9.]+", "_", _UNIT.sub("", str(name)).lower()).strip("_")
    if bracket:
        return text, bracket["unit"].strip()
    suffix = _SUFFIX.search(text)
    return (text[: suffix.start()], _SUFFIXES.get(suffix["unit"], suffix["unit"])) if suffix else (text, "")


def _column(name: str, unit: str, values: "pd.Series[Any]", *, needs_depth: bool) -> Column | str:
    """What a column holds, or why that is not clear."""
    text, said = _plain(name)
    depths = list(_DEPTH.finditer(text))
    variable = _variable(text)
    if _FLAG.search(text):
        return "flags are not read; blank the values that they refuse before"
    if variable is None:
        return "its name is not known"
    if _LAYER.search(text):
        return "it is of a layer; write the depth that it is to count as"
    depth = None
    if variable in OF_DEPTH and needs_depth:
        if len(depths) != 1:
            return "its depth is not clear" if depths else "its name says no depth"
        depth = float(depths[0]["number"]) * _CM[depths[0]["unit"] or ""]
        if not depths[0]["unit"] and depth < 2:
            return f"{depths[0]['number']} may be a depth or the number of a sensor"
    elif depths and variable not in OF_DEPTH:
        return "its name is not known"
    unit = unit or said
    if not unit:
        return _by_values(variable, depth, values)
    if (variable, unit) == ("soil_moisture", "mm"):
        return "moisture in mm needs the thickness of its layer"
    if conversion(unit, VARIABLES[variable].units) is None:
        return f"its unit {unit!r} is none of {VARIABLES[variable].units}"
    return Column(variable, unit, depth)


def _variable(text: str) -> str | None:
    stem = _FILLER.sub("", _DEPTH.sub("", text)).strip("_")
    return next((variable for variable, of in QUANTITIES.items() if re.fullmatch(of, stem)), None)


def _by_values(variable: str, depth: float | None, values: "pd.Series[Any]") -> Column | str:
    """The unit that alone fits the size of the values, or that it is not clear."""
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    numbers = numbers[np.isfinite(numbers) & ~np.isin(numbers, MISSING)]
    if not len(numbers):
        return "it holds no number"
    low, high = float(numbers.min()), float(numbers.max())
    unit = ""
    if variable == "soil_moisture" and low > -0.1 and 0 < high <= 1:
        unit = "m3 m-3"
    elif variable.startswith("relative_humidity") and 1.5 < high <= 105:
        unit = "percent"
    elif "temperature" in variable and low > 150:
        unit = "K"
    elif "temperature" in variable and high <= HOTTEST and len(numbers) >= LONG_ENOUGH:
        unit = "degC"
    return Column(variable, unit, depth) if unit else f"no unit is said, and {low:g} .. {high:g} may be several"


def explained(path: Path, columns: Columns, others: Mapping[str, str], stations: Sequence[str]) -> str:
    """The text of a file for `read_columns`, to be corrected: what was recognised, and of the rest why it was not."""
    lines = [
        f"# What the columns of {path.name} hold, as far as names, units and values tell. Correct it, then:",
        f"#   vadose stations --table {path.name} --mapping THIS_FILE --out stations.zarr",
        f"time: {_yaml(list(columns.time) if isinstance(columns.time, tuple) else columns.time)}"
        + (
            ""
            if columns.time
            else "  # write the column, or those of [year, month, day], [year, day of year] or [date, time]"
        ),
        '# time_format: "%m/%d/%Y"      # of days such as 1/2/2020; or excel, or unix (seconds)',
        f"{'' if columns.time_zone else '# '}time_zone: UTC                # of times; days of another zone are made "
        "with days_of: America/Chicago",
        "# missing: [-9999, 9999, M]     # codes of missing values",
        f"network: {columns.network}",
    ]
    lines += [
        f"{name}: {_yaml(value)}"
        for name in ("station", "depth", "variable", "value", "latitude", "longitude", "elevation")
        if (value := getattr(columns, name)) is not None
    ]
    lines += [f"depth_unit: {columns.depth_unit or '# write cm, mm, m or in'}"] if columns.depth else []
    if columns.latitude is None or columns.longitude is None:
        lines += ["sites:  # write where each station is [degree, m]"]
        lines += [f"  {_yaml(name)}: {{latitude: , longitude: , elevation: }}" for name in stations]
    lines += ["# by_station: {variable: soil_moisture, unit: m3 m-3, depth: 5}  # where each column is a station"]
    lines += ["columns:  # unit of the numbers; depth of the sensor [cm]"] if columns.columns else ["# columns:"]
    for name, column in columns.columns.items():
        depth = f", depth: {column.depth:g}" if column.depth is not None else ""
        lines.append(f"  {_yaml(name)}: {{variable: {column.variable}, unit: {_yaml(column.unit)}{depth}}}")
    for name, why in others.items():
        guess = _variable(_plain(name)[0]) or ""
        lines.append(f"  # {_yaml(name)}: {{variable: {guess}, unit: }}  # {why}")
    return "\n".join(lines) + "\n"


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
