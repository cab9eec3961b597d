"""USCRN hourly (CRNH0203) and 5-minute (CRNS0101-05) files.

Published by NOAA NCEI, doi:10.7289/V5H13007, as ``hourly02/YEAR/CRNH0203-2019-AL_Fairhope_3_NE.txt`` and
``subhourly01/YEAR/CRNS0101-05-2019-AL_Fairhope_3_NE.txt``. A file is one station and year, a line an hour or
five minutes without header: 38 or 23 fields apart by blanks.

Pitfalls: a stamp is the END of its hour, so that 00:00 closes the day before; codes of a missing value differ by
column; flags are carried by radiation, surface temperature and humidity alone (of the rest, what was found
erroneous is published as missing); files still written hold lines of NUL bytes. The 5-minute files have soil at
5 cm only. Wind is measured at 1.5 m and not read.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.products.containers import choose, container_of
from vadose.products.product import Product
from vadose.products.station_text import check_moisture, first_text, impossible_days
from vadose.products.uscrn import DEPTHS, published_name, read_lines, station_attributes, to_numbers, without_codes
from vadose.variables import describe

FILE_NAME = re.compile(r"CRN(?:H0203|S0101-05)-(?P<year>\d{4})-(?P<station>[A-Z]{2}_.+)\.txt")
SIMULATED_MARKER = "SIMULATED.txt"
QUALITY = {
    "good": "radiation, surface temperature, humidity with flag 0; 1 (field overflow) and 3 (erroneous) are NaN",
    "all": "none: flagged values are kept",
}
CELSIUS = 273.15
_STAMPS = (
    "WBANNO",
    "UTC_DATE",
    "UTC_TIME",
    "LST_DATE",
    "LST_TIME",
    "CRX_VN",
    "LONGITUDE",
    "LATITUDE",
)


@dataclass(frozen=True)
class _Form:
    """One of the two products: its columns, and of which ours are made.

    ``weather`` is our name -> column, its flag (or none), offset into our unit.
    """

    product: str
    version: str
    what: str
    minutes: int
    depths: tuple[float, ...]
    soil: tuple[str, str]
    weather: dict[str, tuple[str, str, float]]
    columns: tuple[str, ...]


_HOURLY = _Form(
    "CRNH0203",
    "03",
    "hourly",
    60,
    DEPTHS,
    ("SOIL_MOISTURE", "SOIL_TEMP"),
    {
        "precipitation": ("P_CALC", "", 0.0),
        "air_temperature": ("T_HR_AVG", "", CELSIUS),
        "shortwave_radiation": ("SOLARAD", "SOLARAD_FLAG", 0.0),
        "surface_temperature": ("SUR_TEMP", "SUR_TEMP_FLAG", CELSIUS),
        "relative_humidity": ("RH_HR_AVG", "RH_HR_AVG_FLAG", 0.0),
    },
    (
        *_STAMPS,
        "T_CALC",
        "T_HR_AVG",
        "T_MAX",
        "T_MIN",
        "P_CALC",
        "SOLARAD",
        "SOLARAD_FLAG",
        "SOLARAD_MAX",
        "SOLARAD_MAX_FLAG",
        "SOLARAD_MIN",
        "SOLARAD_MIN_FLAG",
        "SUR_TEMP_TYPE",
        "SUR_TEMP",
        "SUR_TEMP_FLAG",
        "SUR_TEMP_MAX",
        "SUR_TEMP_MAX_FLAG",
        "SUR_TEMP_MIN",
        "SUR_TEMP_MIN_FLAG",
        "RH_HR_AVG",
        "RH_HR_AVG_FLAG",
        *(f"{kind}_{depth:.0f}" for kind in ("SOIL_MOISTURE", "SOIL_TEMP") for depth in DEPTHS),
    ),
)
_SUBHOURLY = _Form(
    "CRNS0101-05",
    "01",
    "5-minute",
    5,
    (5.0,),
    ("SOIL_MOISTURE", "SOIL_TEMPERATURE"),
    {
        "precipitation": ("PRECIPITATION", "", 0.0),
        "air_temperature": ("AIR_TEMPERATURE", "", CELSIUS),
        "shortwave_radiation": ("SOLAR_RADIATION", "SR_FLAG", 0.0),
        "surface_temperature": ("SURFACE_TEMPERATURE", "ST_FLAG", CELSIUS),
        "relative_humidity": ("RELATIVE_HUMIDITY", "RH_FLAG", 0.0),
    },
    (
        *_STAMPS,
        "AIR_TEMPERATURE",
        "PRECIPITATION",
        "SOLAR_RADIATION",
        "SR_FLAG",
        "SURFACE_TEMPERATURE",
        "ST_TYPE",
        "ST_FLAG",
        "RELATIVE_HUMIDITY",
        "RH_FLAG",
        "SOIL_MOISTURE_5",
        "SOIL_TEMPERATURE_5",
        "WETNESS",
        "WET_FLAG",
        "WIND_1_5",
        "WIND_FLAG",
    ),
)
_FORMS = {len(form.columns): form for form in (_HOURLY, _SUBHOURLY)}


def read_uscrn_hourly(path: Path, *, quality: str = "good") -> xr.Dataset:
    """Read one year of one station, hours or five minutes, in our names and units.

    Air temperature of an hour is the mean of it (T_HR_AVG), not of its last five minutes (T_CALC). Empty lines
    and lines with NUL bytes are left out; ``lines_dropped`` in the attributes counts them.

    Parameters
    ----------
    path
        File such as ``CRNH0203-2019-AL_Fairhope_3_NE.txt``. Of a file renamed the station is ``unknown_WBAN``.
    quality
        ``'good'``: radiation, surface temperature and relative humidity that are flagged are NaN. ``'all'``:
        they are kept.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` [m3 m-3] and ``soil_temperature`` [K], (time, depth); ``precipitation`` [kg m-2 of the
        hour or five minutes], ``air_temperature``, ``surface_temperature`` [K], ``shortwave_radiation``
        [W m-2], ``relative_humidity`` [percent], (time); NaN where missing. Time is the stamp, the end of the
        hour or five minutes [UTC]; depth [cm].

    Raises
    ------
    VadoseError
        As `vadose.products.uscrn.read_uscrn`, or when the quality rule is unknown.

    References
    ----------
    Diamond et al. (2013), doi:10.1175/BAMS-D-12-00170.1; soil sensors: Bell et al. (2013),
    doi:10.1175/JHM-D-12-0146.1.
    """
    choose(quality, QUALITY, "quality", path)
    form = _form(path)
    named = published_name(path, FILE_NAME, form.product)
    table, lines, dropped = read_lines(path, form.columns, form.what)

    used = [f"{kind}_{depth:.0f}" for kind in form.soil for depth in form.depths]
    used += [name for name, _, _ in form.weather.values()]
    numbers, codes = without_codes({name: to_numbers(path, name, table[name], lines) for name in used})

    def by_depth(kind: str, offset: float) -> NDArray[np.float32]:
        return (np.column_stack([numbers[f"{kind}_{depth:.0f}"] for depth in form.depths]) + offset).astype(np.float32)

    moisture, temperature = form.soil
    dataset = xr.Dataset(
        {
            "soil_moisture": (("time", "depth"), by_depth(moisture, 0.0)),
            "soil_temperature": (("time", "depth"), by_depth(temperature, CELSIUS)),
        },
        coords={
            "time": _times(path, form, named, table, lines),
            "depth": ("depth", list(form.depths), {"units": "cm"}),
        },
        attrs={
            "product": form.product,
            "version": form.version,
            "granule": path.name,
            **station_attributes(path, named, table, lines),
            "quality": QUALITY[quality],
            "day_boundary": f"{form.what} stamps, UTC, each the end of its {_span(form)}: 00:00 closes the day "
            "before; UTC days are made by daily_uscrn_hourly",
            "minutes": form.minutes,
            "lines_dropped": dropped,
            **codes,
            "simulated": "true" if (path.parent / SIMULATED_MARKER).exists() else "false",
        },
    )
    for ours, (name, flag, offset) in form.weather.items():
        found = numbers[name] + offset
        if flag and quality == "good":
            found = np.where(to_numbers(path, flag, table[flag], lines) == 0, found, np.nan)
        dataset[ours] = "time", found.astype(np.float32)
    check_moisture(dataset.soil_moisture, str(path))
    dataset = describe(dataset)
    dataset.precipitation.attrs["long_name"] = f"precipitation of the {_span(form)} before the stamp"
    return dataset


def daily_uscrn_hourly(dataset: xr.Dataset, *, min_hours: float = 18) -> xr.Dataset:
    """Sum of the rain and means of the rest over UTC days: stamps from 01:00 of the day to 00:00 of the next.

    Five minutes are taken from 00:05 to 00:00 of the next day. USCRN's own days run from local midnight.

    Parameters
    ----------
    dataset
        As from `read_uscrn_hourly`; years joined along time are one series.
    min_hours
        Hours (or 5-minute values worth as many) a variable needs of a day; NaN with fewer. With fewer than 24
        the rain is the sum of those found.

    Returns
    -------
    xarray.Dataset
        The same variables, (time) or (time, depth), every UTC day from the first to the last at 00:00.

    Raises
    ------
    VadoseError
        When the dataset is not from `read_uscrn_hourly`, or ``min_hours`` is not of 1 to 24.
    """
    if not 1 <= min_hours <= 24:
        raise VadoseError(f"min_hours is {min_hours}; it has to be of 1 to 24")
    if "minutes" not in dataset.attrs or not dataset.indexes["time"].is_unique:
        raise VadoseError(
            "no series of read_uscrn_hourly (attribute 'minutes', each time once); read the files with it"
        )
    step = pd.Timedelta(minutes=int(dataset.attrs["minutes"]))
    of_day = int(pd.Timedelta(days=1) / step)
    stamps = dataset.indexes["time"]
    days = pd.date_range((stamps.min() - step).floor("D"), (stamps.max() - step).floor("D"))
    regular = dataset.reindex(time=pd.date_range(days[0] + step, days[-1] + pd.Timedelta(days=1), freq=step))
    parts = regular.coarsen(time=of_day)
    daily = parts.mean(keep_attrs=True).assign_coords(time=days)
    daily["precipitation"] = parts.sum(keep_attrs=True).precipitation.assign_coords(time=days)
    enough = parts.count().assign_coords(time=days) >= min_hours / 24 * of_day
    daily = describe(daily.where(enough))
    daily.attrs = dataset.attrs | {"day_boundary": "UTC day: hours that end at 01:00 of the day to 00:00 of the next"}
    del daily.attrs["minutes"]
    return daily


def is_uscrn_hourly(path: Path) -> bool:
    """Whether a text file's first line with something in it is an hour or five minutes of USCRN, by any name."""
    return container_of(path) == "text" and len(fields := _first_line(path)) in _FORMS and _stamped(fields)


def _form(path: Path) -> _Form:
    """Hourly or 5-minute, by the first line."""
    if (container := container_of(path)) != "text":
        raise VadoseError(
            f"{path}: found a {container} file where plain text is published; is it another file renamed?"
        )
    fields = _first_line(path)
    if len(fields) not in _FORMS or not _stamped(fields):
        raise VadoseError(
            f"{path}: first line: found {len(fields)} fields, a USCRN hourly line has {len(_HOURLY.columns)} and a "
            f"5-minute line {len(_SUBHOURLY.columns)}, with dates and times; the file is cut short, damaged, or of "
            "another product"
        )
    return _FORMS[len(fields)]


def _first_line(path: Path) -> list[str]:
    lines = first_text(path).split("\n")
    return next((line.split() for line in lines if line.strip() and "\0" not in line), [])


def _stamped(fields: list[str]) -> bool:
    return re.fullmatch(r"\d{5} \d{8} \d{4} \d{8} \d{4}", " ".join(fields[:5])) is not None


def _span(form: _Form) -> str:
    return "hour" if form.minutes == 60 else "five minutes"


def _times(
    path: Path, form: _Form, named: re.Match[str] | None, table: dict[str, NDArray[np.str_]], lines: list[int]
) -> pd.DatetimeIndex:
    """Stamps, each once, in order, on the hour or five minutes, and of the year that the name says."""
    text = pd.Series(table["UTC_DATE"]) + " " + pd.Series(table["UTC_TIME"])
    times = pd.to_datetime(text, format="%Y%m%d %H%M", errors="coerce")
    wrong = impossible_days(times) | (text.str.len() != 13) | (times.diff() <= pd.Timedelta(0))
    wrong |= times != times.dt.floor(f"{form.minutes}min")
    if named:
        first = pd.Timestamp(f"{named['year']}-01-01")
        wrong |= (times < first) | (times > first + pd.DateOffset(years=1))
    if wrong.any():
        k = int(wrong.to_numpy().argmax())
        raise VadoseError(
            f"{path}: line {lines[k]}: found UTC time {text[k]}; times have to be "
            f"{'of ' + named['year'] + ', ' if named else ''}every {form.minutes} minutes, as YYYYMMDD HHMM, each "
            "once and in order"
        )
    return pd.DatetimeIndex(times).as_unit("ns")


PRODUCT = Product(
    "U.S. Climate Reference Network, hours and five minutes",
    "station",
    "10.7289/V5H13007",
    read_uscrn_hourly,
    is_uscrn_hourly,
    FILE_NAME,
)
