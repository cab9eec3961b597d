"""SCAN daily CSV exports, one station a file, and where the stations are.

Published by USDA NRCS. Days run from local standard midnight to midnight; moisture is in percent of volume
at depths in inches; solar radiation is a day's total in langley. An export of one station names it in the comments
before the header, ``# SCAN 2057: AAMU-JTG, AL``, one of many in its columns. Moisture comes as a mean of hourly values
or as one reading at the start of the day, as asked for; the latter is no daily mean and is refused. Of what
spreadsheets make of an export, semicolons or tabs, decimal commas between semicolons, and UTF-16 are read, and
dates such as 2/25/2020 where one day of the file is above 12; else they have to stay YYYY-MM-DD.
"""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.containers import container_of
from vadose.products.product import Product
from vadose.products.station_text import check_moisture, check_place, fields_of, first_text, impossible_days, read_text
from vadose.variables import describe

CM_AN_INCH = 2.54
METRES_A_FOOT = 0.3048
JOULES_A_LANGLEY = 41840.0  # 1 cal cm-2, thermochemical
LABELS = ("Date", "Station Id", "Station Name")
# Codes of a missing value in exports of before; blank and NaN, as pandas writes it, are missing too.
MISSING = (-99.9, -99.99, -999.0, -9999.0)
# Moisture that nowhere exceeds this [percent] is a fraction under a header of percent; deserts reach 10.
LOWEST_MOST = 1.0
_SITE = re.compile(r"#\s*(?P<network>SCAN|SNOTEL)\s+(?P<id>\d+)\s*:\s*(?P<name>[^,\t]+)")
_SOIL = re.compile(r"Soil (?:Moisture|Temperature)")
# The text export of before, whose moisture is a reading of one instant: SMS.I-1:-2 (pct).
_OLDER = re.compile(r"Site Id,Date,Time,.*SMS\.I")
# Pattern of a column -> our name; what follows the unit says how the day's value came about.
PATTERNS = {
    re.compile(r"Precipitation Increment \((?P<unit>mm|in)\)"): "precipitation",
    re.compile(r"Air Temperature Average \((?P<unit>degC|degF)\)"): "air_temperature",
    re.compile(r"Air Temperature Maximum \((?P<unit>degC|degF)\)"): "air_temperature_max",
    re.compile(r"Air Temperature Minimum \((?P<unit>degC|degF)\)"): "air_temperature_min",
    re.compile(r"Relative Humidity \((?P<unit>pct)\) Mean of Hourly Values"): "relative_humidity",
    re.compile(r"Solar Radiation/langley Total \((?P<unit>langley)\)"): "shortwave_radiation",
    re.compile(
        r"Soil Moisture Percent -(?P<inches>\d+)in(?: Sensor \d+)? \((?P<unit>pct)\) Mean of Hourly Values"
    ): "soil_moisture",
    re.compile(
        r"Soil Temperature Observed -(?P<inches>\d+)in(?: Sensor \d+)? \((?P<unit>degC|degF)\) Mean of Hourly Values"
    ): "soil_temperature",
}
# Unit -> factor and offset into ours; percent of soil moisture is a fraction here, that of humidity is not.
UNITS = {
    "mm": (1.0, 0.0),
    "in": (25.4, 0.0),
    "degC": (1.0, 273.15),
    "degF": (5 / 9, 273.15 - 160 / 9),
    "pct": (1.0, 0.0),
    "langley": (JOULES_A_LANGLEY / 86400, 0.0),
}


def read_scan(path: Path) -> xr.Dataset:
    """Read the daily series of one station in our names and units.

    Parameters
    ----------
    path
        CSV export of daily values, metric or English units, with a header that names each column; lines
        that begin with ``#`` before it are passed over.

    Of several sensors of a quantity at one depth that with most values is taken (the first of equals), as of ISMN:
    a mean over sensors jumps when one of them fails.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` [m3 m-3] and ``soil_temperature`` [K], (time, depth), and weather (time), NaN where
        missing; depth [cm]. A file with a header alone is a series of no days. Nothing is screened, and
        the file does not say where the station is: see `read_scan_stations`. Attributes: ``left_out`` names the
        columns of other quantities and sensors that were not taken, ``missing_codes`` counts values of `MISSING`.

    Raises
    ------
    VadoseError
        When a column of the soil is not known, none holds soil moisture, the file is hourly, of many stations
        or of the older form, a line is not as published (it is named), or moisture is no percentage.

    References
    ----------
    Schaefer et al. (2007), doi:10.1175/2007JTECHA930.1.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "2057.csv"
    ...     _ = path.write_text(
    ...         "Date,Station Id,Station Name,Soil Moisture Percent -2in (pct) Mean of Hourly Values,"
    ...         "Solar Radiation/langley Total (langley)\\n2018-12-31,2057,AAMU-JTG,30.1,100.0\\n"
    ...     )
    ...     day = read_scan(path).isel(time=0)
    >>> day.depth.values.tolist(), round(float(day.soil_moisture[0]), 3), int(day.shortwave_radiation)
    ([5.08], 0.301, 48)
    """
    header, rows, lines, site = _table(path)
    columns, left_out = _columns(path, header)
    labels = {name: header.index(name) for name in LABELS if name in header}
    if (lacking := [name for name in LABELS if name not in labels]) and ("Date" in lacking or not site):
        raise VadoseError(f"{path}: no columns {lacking}; export the station's id and name with the values")
    ids = sorted({row[labels["Station Id"]] for row in rows}) if "Station Id" in labels else []
    if len(ids) > 1:
        raise VadoseError(f"{path}: holds stations {ids[:5]}; a file has to be of one station, split it")
    if ids and "Station Name" in labels:
        site = ids[0], rows[0][labels["Station Name"]], "SCAN"
    number, station_name, network = site or (path.stem, path.stem, "SCAN")
    days = _days(pd.Series([row[labels["Date"]] for row in rows], dtype=str))
    if (wrong := ~(days.diff().dt.days.fillna(1) >= 1) | impossible_days(days)).any():
        k = int(wrong.to_numpy().argmax())
        raise VadoseError(
            f"{path}: line {lines[k]}: found day {rows[k][labels['Date']]!r}; days have to be YYYY-MM-DD, "
            "or MM/DD/YYYY for certain, each once, in order, from 1900 to next year"
        )
    series, others, codes = _series(path, header, rows, lines, columns)
    left_out += others
    depths = sorted({inches for _, inches in series if inches is not None})
    values: dict[str, Any] = {
        name: (("time", "depth"), np.full((len(rows), len(depths)), np.nan))
        for name in ("soil_moisture", "soil_temperature")
    }
    for (name, inches), of_column in series.items():
        if inches is None:
            values[name] = "time", of_column
        else:
            values[name][1][:, depths.index(inches)] = of_column
    dataset = xr.Dataset(
        values,
        coords={
            "time": pd.DatetimeIndex(days),
            "depth": ("depth", [round(inches * CM_AN_INCH, 2) for inches in depths], {"units": "cm"}),
        },
        attrs={
            "network": network,
            "station": number,
            "station_name": station_name,
            "day_boundary": "local standard midnight to midnight",
        },
    )
    dataset.attrs |= {"left_out": ", ".join(left_out)} if left_out else {}
    dataset.attrs |= {"missing_codes": codes} if codes else {}
    return describe(dataset)


def _days(text: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    """Days as published, or as a spreadsheet of the United States writes them where one above 12 makes that sure."""
    days, american, other = (
        pd.to_datetime(text, format=form, errors="coerce") for form in ("%Y-%m-%d", "%m/%d/%Y", "%d/%m/%Y")
    )
    sure = american.notna().all() and not other.notna().all()
    return american if sure and len(text) else days


def is_scan(path: Path) -> bool:
    """Whether a text file's header names SCAN's soil moisture, as now or as in the older form."""
    if container_of(path) != "text":
        return False
    lines = [line for line in first_text(path).split("\n")[:200] if not line.startswith("#")][:10]
    return "Soil Moisture Percent -" in "".join(lines[:1]) or any(map(_OLDER.match, lines))


def read_scan_stations(folder: Path) -> pd.DataFrame:
    """Read where SCAN stations are, from ``station-metadata.csv``, then from ``scan_stations.csv``.

    The first has coordinates to 5 decimals and goes before the second, which has 2; both have elevations in
    feet.

    Parameters
    ----------
    folder
        Folder that holds one of the files or both.

    Returns
    -------
    pandas.DataFrame
        lat, lon [degree], elevation [m], index the station's number as text.

    Raises
    ------
    VadoseError
        When both files are missing, or one is not such a table.
    """
    parts = []
    exact, listed = folder / "station-metadata.csv", folder / "scan_stations.csv"
    if exact.exists():
        table = _station_table(exact, ",", ("Site", "Network", "Latitude", "Longitude", "Elevation_ft"))
        table = table[table["Network"] == "SCAN"]
        parts.append(_places(exact, table[["Site", "Latitude", "Longitude", "Elevation_ft"]]))
    if listed.exists():
        table = _station_table(listed, ";", ("Name", "Lat", "Long", "Elv"))
        table["Name"] = table["Name"].str.extract(r"\((\d+)\)\s*$")[0]
        parts.append(_places(listed, table[["Name", "Lat", "Long", "Elv"]]))
    if not parts:
        raise VadoseError(
            f"{folder}: holds neither '{exact.name}' nor '{listed.name}', which say where SCAN stations are"
        )
    places = pd.concat(parts)
    return places[~places.index.duplicated()]


def _station_table(path: Path, separator: str, needed: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep=separator, dtype=str)
    except (OSError, ValueError) as error:
        raise VadoseError(f"{path}: {error}; it is a table of SCAN stations") from error
    if lacking := [name for name in needed if name not in table]:
        raise VadoseError(f"{path}: no columns {lacking} (found {list(table)[:8]}); is it the table of SCAN stations?")
    return table


def _places(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Places of a table of numbers, latitudes, longitudes and heights [ft]."""
    places = table.set_axis(["station", "lat", "lon", "elevation"], axis=1).set_index("station")
    places = places.apply(pd.to_numeric, errors="coerce")
    places["elevation"] *= METRES_A_FOOT
    places = places[places.index.notna() & places["lat"].notna() & places["lon"].notna()]
    for name, at in places.iterrows():
        check_place(at["lat"], at["lon"], f"{path}: station {name}")
    return pd.DataFrame(places)


def _table(path: Path) -> tuple[list[str], list[list[str]], list[int], tuple[str, str, str] | None]:
    """Header, rows, the rows' line numbers, and number, name and network of the station where comments tell one."""
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    sites: list[tuple[str, str, str]] = []
    text = read_text(path)
    if any(map(_OLDER.match, text.split("\n", 10)[:10])):
        raise VadoseError(
            f"{path}: the older text export of the NRCS (SMS.I-1:-2), whose moisture is the reading of an "
            "instant; export daily means of hourly values as CSV"
        )
    try:
        for number, row in fields_of(text):
            if not row or (not header and row[0].startswith("#")):
                sites += [
                    (m["id"], m["name"].strip(), m["network"]) for m in [_SITE.match(row[0]) if row else None] if m
                ]
            elif not header:
                header = [" ".join(label.split()) for label in row]
            elif len(row) != len(header):
                raise VadoseError(f"{path}: line {number}: found {len(row)} fields; the header has {len(header)}")
            else:
                rows.append(row)
                lines.append(number)
    except csv.Error as error:
        raise VadoseError(f"{path}: {error}; expected a SCAN export in CSV") from error
    if not header:
        raise VadoseError(f"{path}: the file is empty, without a header even; export it again")
    if len(sites) > 1 and "Station Id" not in header:
        raise VadoseError(
            f"{path}: holds stations {[s for s, _, _ in sites[:5]]}; export one, or their id with the values"
        )
    return header, rows, lines, sites[0] if len(sites) == 1 else None


def _series(
    path: Path,
    header: list[str],
    rows: list[list[str]],
    lines: list[int],
    columns: dict[int, tuple[str, int | None, str]],
) -> tuple[dict[tuple[str, int | None], NDArray[np.float64]], list[str], int]:
    """Series in our units by name and depth, columns of sensors not taken, and how many values were codes of none."""
    numbers = {i: _numbers(path, header[i], [row[i] for row in rows], lines) for i in columns}
    codes = sum(int(np.isin(values, MISSING).sum()) for values in numbers.values())
    numbers = {i: np.where(np.isin(values, MISSING), np.nan, values) for i, values in numbers.items()}
    _check_percent(path, [numbers[i] for i, (name, _, _) in columns.items() if name == "soil_moisture"])
    series: dict[tuple[str, int | None], NDArray[np.float64]] = {}
    others = []
    for i in sorted(columns, key=lambda i: (-np.isfinite(numbers[i]).sum(), i)):
        name, inches, unit = columns[i]
        factor, offset = UNITS[unit]
        if (name, inches) in series:
            others.append(f"{header[i]} (column {i + 1})")
        else:
            series[name, inches] = numbers[i] * (0.01 if name == "soil_moisture" else factor) + offset
    return series, others, codes


def _check_percent(path: Path, moisture: list[NDArray[np.float64]]) -> None:
    """Raise where soil moisture [percent] of a file is a fraction, or far beyond percent."""
    known = np.concatenate([series[np.isfinite(series)] for series in moisture])
    if len(known) and 0 < (most := float(known.max())) <= LOWEST_MOST:
        raise VadoseError(
            f"{path}: soil moisture is {most:g} percent at most under a header of (pct); is it a fraction? "
            "Expected percent of volume"
        )
    check_moisture(known / 100, str(path))


def _columns(path: Path, header: list[str]) -> tuple[dict[int, tuple[str, int | None, str]], list[str]]:
    """Position of a column -> our name, depth in inches (None without), unit; and the columns left out."""
    found: dict[int, tuple[str, int | None, str]] = {}
    unknown = []
    for i, label in enumerate(header):
        for pattern, name in PATTERNS.items():
            if match := pattern.fullmatch(label):
                parts = match.groupdict()
                found[i] = name, int(parts["inches"]) if "inches" in parts else None, parts["unit"]
        # A column without name, first of all, is the row's number in an export made with pandas.
        if i not in found and label not in LABELS and not (i == 0 and not label):
            unknown.append(label)
    if soil := [label for label in unknown if _SOIL.match(label)]:
        raise VadoseError(
            f"{path}: unknown columns {soil}; export daily means of hourly values, with units in the "
            "header, or drop these columns"
        )
    if not any(name == "soil_moisture" for name, _, _ in found.values()):
        raise VadoseError(f"{path}: no column 'Soil Moisture Percent -2in (pct) Mean of Hourly Values' or deeper")
    for i, (name, inches, _) in found.items():
        if inches is None and any(other[0] == name for k, other in found.items() if k < i):
            raise VadoseError(f"{path}: two columns of {name} ({header[i]!r}); keep one of them")
    return found, unknown


def _numbers(path: Path, label: str, texts: list[str], lines: list[int]) -> NDArray[np.float64]:
    """Numbers of a column, NaN where it is blank or NaN."""
    column = pd.Series(texts, dtype=object)
    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(float)
    if (wrong := ~np.isfinite(numbers) & ~column.str.strip().str.lower().isin(["", "nan"]).to_numpy(bool)).any():
        k = int(wrong.argmax())
        raise VadoseError(
            f"{path}: line {lines[k]}: {label!r} is {texts[k]!r}, not a number; blank and NaN are missing"
        )
    return numbers


PRODUCT = Product(
    "Soil Climate Analysis Network, daily",
    "station",
    "10.1175/2007JTECHA930.1",
    read_scan,
    is_scan,
    sources=("scan",),
)
