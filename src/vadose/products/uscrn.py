"""USCRN daily files (CRND0103) and the soils of their stations.

Published by NOAA NCEI, doi:10.7289/V5MS3QR9. A file is one station and year, a line a day without header:
28 fields apart by blanks. Days run from local standard midnight to midnight.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.containers import container_of
from vadose.products.product import Product
from vadose.products.station_text import check_moisture, check_place, first_text, impossible_days, read_text
from vadose.variables import describe

COLUMNS = (
    "WBANNO",
    "LST_DATE",
    "CRX_VN",
    "LONGITUDE",
    "LATITUDE",
    "T_DAILY_MAX",
    "T_DAILY_MIN",
    "T_DAILY_MEAN",
    "T_DAILY_AVG",
    "P_DAILY_CALC",
    "SOLARAD_DAILY",
    "SUR_TEMP_DAILY_TYPE",
    "SUR_TEMP_DAILY_MAX",
    "SUR_TEMP_DAILY_MIN",
    "SUR_TEMP_DAILY_AVG",
    "RH_DAILY_MAX",
    "RH_DAILY_MIN",
    "RH_DAILY_AVG",
    "SOIL_MOISTURE_5_DAILY",
    "SOIL_MOISTURE_10_DAILY",
    "SOIL_MOISTURE_20_DAILY",
    "SOIL_MOISTURE_50_DAILY",
    "SOIL_MOISTURE_100_DAILY",
    "SOIL_TEMP_5_DAILY",
    "SOIL_TEMP_10_DAILY",
    "SOIL_TEMP_20_DAILY",
    "SOIL_TEMP_50_DAILY",
    "SOIL_TEMP_100_DAILY",
)
DEPTHS = (5.0, 10.0, 20.0, 50.0, 100.0)
# Column -> our name, factor and offset into our units; solar radiation is MJ m-2 a day.
WEATHER = {
    "P_DAILY_CALC": ("precipitation", 1.0, 0.0),
    "T_DAILY_AVG": ("air_temperature", 1.0, 273.15),
    "T_DAILY_MAX": ("air_temperature_max", 1.0, 273.15),
    "T_DAILY_MIN": ("air_temperature_min", 1.0, 273.15),
    "RH_DAILY_AVG": ("relative_humidity", 1.0, 0.0),
    "SOLARAD_DAILY": ("shortwave_radiation", 1e6 / 86400, 0.0),
    "SUR_TEMP_DAILY_AVG": ("surface_temperature", 1.0, 273.15),
}
MISSING = (-99.0, -9999.0, -99999.0)
"""Codes of missing values as published; copies have others, such as -999. No quantity of the files is so low."""
TEXT = ("SUR_TEMP_DAILY_TYPE",)
NAME = re.compile(r"CRND0103-(?P<year>\d{4})-(?P<station>[A-Z]{2}_.+)\.txt")
METRES_A_FOOT = 0.3048
SITE_INFO = "crn_site_info.csv"
REFINED = 0.02
"""Degrees by which coordinates of a station may be refined within its files; further off is another place."""


def read_uscrn(path: Path) -> xr.Dataset:
    """Read one year of one station in our names and units.

    Air temperature is the mean of the day's 5-minute values (T_DAILY_AVG), not the mean of its extremes. Empty
    lines and lines with NUL bytes are left out; ``lines_dropped`` in the attributes counts them. Coordinates refined
    within the year are those of the last line.

    Parameters
    ----------
    path
        File such as ``CRND0103-2019-AL_Fairhope_3_NE.txt``. Of a file renamed the station is ``unknown_WBAN``.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` [m3 m-3] and ``soil_temperature`` [K], (time, depth), and weather (time), NaN where
        missing; depth [cm]. Nothing is screened; the attribute ``missing_codes`` counts codes that are not published.

    Raises
    ------
    VadoseError
        When the name is that of another product of USCRN, a line is not as published (it is named), the station
        moves or lies nowhere, or moisture is in percent.

    References
    ----------
    Diamond et al. (2013), doi:10.1175/BAMS-D-12-00170.1; soil sensors: Bell et al. (2013),
    doi:10.1175/JHM-D-12-0146.1.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> line = (
    ...     "63869 20190101  2.622  -87.88   30.55 24.2 17.1 20.6 20.3 2.7 6.00 C 27.8 17.1 20.7 95.7 "
    ...     "80.2 92.8 0.140 -99.000 0.150 0.160 0.170 15.0 15.5 16.0 17.0 -9999.0"
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "CRND0103-2019-AL_Fairhope_3_NE.txt"
    ...     _ = path.write_text(line)
    ...     day = read_uscrn(path).isel(time=0)
    >>> day.soil_moisture.values.tolist(), round(float(day.shortwave_radiation), 2)
    ([0.14, nan, 0.15, 0.16, 0.17], 69.44)
    """
    named = published_name(path, NAME, "CRND0103")
    table, lines, dropped = read_lines(path, COLUMNS, "daily")
    numbers = {name: to_numbers(path, name, v, lines) for name, v in table.items() if name not in TEXT}
    numbers, codes = without_codes({name: v for name, v in numbers.items() if name not in COLUMNS[:5]})
    days = pd.to_datetime(pd.Series(table["LST_DATE"]), format="%Y%m%d", errors="coerce")
    wrong = ~(days.diff().dt.days.fillna(1) >= 1) | impossible_days(days)
    if named:
        wrong |= days.dt.year != int(named["year"])
    if wrong.any():
        k = int(wrong.to_numpy().argmax())
        raise VadoseError(
            f"{path}: line {lines[k]}: found day {table['LST_DATE'][k]}; days have to be "
            f"{'of ' + named['year'] + ', ' if named else ''}as YYYYMMDD, each once and in order"
        )

    def by_depth(kind: str, offset: float) -> NDArray[np.float64]:
        return np.column_stack([numbers[f"{kind}_{depth:.0f}_DAILY"] for depth in DEPTHS]) + offset

    dataset = xr.Dataset(
        {
            "soil_moisture": (("time", "depth"), by_depth("SOIL_MOISTURE", 0.0)),
            "soil_temperature": (("time", "depth"), by_depth("SOIL_TEMP", 273.15)),
            **{ours: ("time", numbers[name] * factor + offset) for name, (ours, factor, offset) in WEATHER.items()},
        },
        coords={"time": pd.DatetimeIndex(days), "depth": ("depth", list(DEPTHS), {"units": "cm"})},
        attrs={
            **station_attributes(path, named, table, lines),
            "day_boundary": "local standard midnight to midnight",
            "lines_dropped": dropped,
            **codes,
        },
    )
    check_moisture(dataset.soil_moisture, str(path))
    return describe(dataset)


def is_uscrn(path: Path) -> bool:
    """Whether a text file's first line is one of USCRN's daily lines, whatever its name."""
    if container_of(path) != "text":
        return False
    lines = first_text(path).split("\n")
    fields = next((line.split() for line in lines if line.strip() and "\0" not in line), [])
    return len(fields) == len(COLUMNS) and fields[0].isdigit() and re.fullmatch(r"\d{8}", fields[1]) is not None


def read_uscrn_soils(path: Path) -> pd.DataFrame:
    """Read ``crn_site_info.csv``: soil at the sensors of each station, a row for each station and depth.

    The file is latin-1, its elevation is in feet, and a bulk density may be a range, of which the middle
    is taken.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    pandas.DataFrame
        name, lat, lon, elevation [m], depth [cm], sand_fraction, silt_fraction, clay_fraction [1],
        bulk_density [g cm-3].

    Raises
    ------
    VadoseError
        When the file is missing or lacks the columns.
    """
    try:
        table = pd.read_csv(path, encoding="latin-1", dtype=str)
    except (OSError, ValueError) as error:
        raise VadoseError(f"{path}: {error}; it is a CSV table with a line for each USCRN station") from error
    needed = ["StationName", "Latitude", "Longitude", "Elevation", "Depth1(cm)", "PercentSand1"]
    if lacking := [name for name in needed if name not in table]:
        raise VadoseError(f"{path}: no columns {lacking}; is it the table of USCRN sites and soils?")
    parts = []
    for k in range(1, 10):
        if f"Depth{k}(cm)" not in table:
            break
        parts.append(
            pd.DataFrame(
                {
                    "name": table["StationName"].str.strip(),
                    "lat": _middle(table["Latitude"]),
                    "lon": _middle(table["Longitude"]),
                    "elevation": _middle(table["Elevation"]) * METRES_A_FOOT,
                    "depth": _middle(table[f"Depth{k}(cm)"]),
                    "sand_fraction": _middle(table[f"PercentSand{k}"]) / 100,
                    "silt_fraction": _middle(table[f"PercentSilt{k}"]) / 100,
                    "clay_fraction": _middle(table[f"PercentClay{k}"]) / 100,
                    "bulk_density": _middle(table[f"BulkDensity{k}(g/cc)"]),
                }
            )
        )
    return pd.concat(parts).dropna(subset=["depth"]).reset_index(drop=True)


def published_name(path: Path, pattern: re.Pattern[str], product: str) -> re.Match[str] | None:
    """The name taken apart, None of a file renamed; a name of another product of USCRN is refused."""
    other = re.match(r"CRN[A-Z]\d{4}", path.name)
    if other and not product.startswith(other[0]):
        raise VadoseError(
            f"{path}: not the name of a USCRN file of {product} but of {other[0]}; keep names as published"
        )
    return pattern.fullmatch(path.name)


def read_lines(path: Path, columns: tuple[str, ...], what: str) -> tuple[dict[str, NDArray[np.str_]], list[int], int]:
    """Columns as text, the lines' numbers, and how many lines were left out: empty ones and those with NUL bytes.

    The latter are left by transfers from the station.
    """
    text = read_text(path, "ascii")
    whole, dropped = text.endswith("\n"), 0
    rows, numbers = [], []
    all_lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(all_lines, 1):
        fields = line.split()
        if not fields or "\0" in line:
            dropped += 1
            continue
        if len(fields) != len(columns):
            raise VadoseError(
                f"{path}: line {number}: found {len(fields)} fields; expected the {len(columns)} of a USCRN {what} line"
            )
        rows.append(fields)
        numbers.append(number)
    if not rows:
        raise VadoseError(f"{path}: no line with values; fetch the file again")
    # Lines are equally long: a last one cut within its last field has all its fields.
    first, last = all_lines[numbers[0] - 1].rstrip(), all_lines[-1].rstrip()
    if not whole and numbers[-1] == len(all_lines) and len(last) < len(first):
        raise VadoseError(
            f"{path}: line {numbers[-1]}: the last line has {len(last)} characters, the first {len(first)}; "
            "the file is cut short, fetch it again"
        )
    return dict(zip(columns, np.array(rows).T, strict=True)), numbers, dropped


def to_numbers(path: Path, name: str, values: NDArray[np.str_], lines: list[int]) -> NDArray[np.float64]:
    """A column as numbers; the line is named where one is none."""
    try:
        numbers = values.astype(float)
    except ValueError:
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(float)
    if not np.isfinite(numbers).all():
        k = int(np.argmin(np.isfinite(numbers)))
        raise VadoseError(f"{path}: line {lines[k]}: {name} is {str(values[k])!r}, not a number")
    return numbers


def without_codes(
    numbers: dict[str, NDArray[np.float64]],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, int]]:
    """Columns with NaN where codes stood, and as attribute the count ``missing_codes`` of those not published.

    Examples
    --------
    >>> without_codes({"P_CALC": np.array([-9999.0, -999.0, 0.2])})
    ({'P_CALC': array([nan, nan, 0.2])}, {'missing_codes': 1})
    """
    low = {name: values <= max(MISSING) for name, values in numbers.items()}
    count = sum(int((low[name] & ~np.isin(values, MISSING)).sum()) for name, values in numbers.items())
    return (
        {name: np.where(low[name], np.nan, values) for name, values in numbers.items()},
        {"missing_codes": count} if count else {},
    )


def station_attributes(
    path: Path, named: re.Match[str] | None, table: dict[str, NDArray[np.str_]], lines: list[int]
) -> dict[str, object]:
    """Who and where the one station of a file is."""
    if (other := table["WBANNO"] != table["WBANNO"][0]).any():
        k = int(other.argmax())
        raise VadoseError(
            f"{path}: line {lines[k]}: WBANNO {table['WBANNO'][k]} differs from {table['WBANNO'][0]} above; "
            "a file is of one station"
        )
    at = {name: to_numbers(path, name, table[name], lines) for name in ("LATITUDE", "LONGITUDE")}
    for name, values in at.items():
        if (moved := np.abs(values - values[0]) > REFINED).any():
            k = int(moved.argmax())
            raise VadoseError(
                f"{path}: line {lines[k]}: {name} {table[name][k]} is more than {REFINED} degrees from "
                f"{table[name][0]} above; expected a station of one place"
            )
    lat, lon = (float(values[-1]) for values in at.values())
    check_place(lat, lon, str(path))
    kept = {name: list(dict.fromkeys(table[name].tolist())) for name in at}
    refined = "; ".join(f"{name} {', '.join(texts)}" for name, texts in kept.items() if len(texts) > 1)
    if lat < 0:
        raise VadoseError(f"{path}: latitude {lat:g}, longitude {lon:g}: no station of USCRN lies south of the equator")
    wban = str(table["WBANNO"][0])
    station = named["station"] if named else f"unknown_{wban}"
    return {
        "network": "USCRN",
        "station": station,
        "station_name": (station[3:] if named else station).replace("_", " "),
        "wban": wban,
        "lat": lat,
        "lon": lon,
    } | ({"place_note": f"the last of those in the file ({refined})"} if refined else {})


def _middle(text: "pd.Series[str]") -> "pd.Series[float]":
    """Numbers of a column, the middle where it holds a range such as 1.10-1.30."""
    parts = text.str.strip().str.extract(r"^(-?\d*\.?\d+)(?:-(\d*\.?\d+))?$").astype(float)
    return parts.mean(axis=1)


PRODUCT = Product(
    "U.S. Climate Reference Network",
    "station",
    "10.7289/V5H13007",
    read_uscrn,
    is_uscrn,
    NAME,
    sources=("uscrn",),
)
