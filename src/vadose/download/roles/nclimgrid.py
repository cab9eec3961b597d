"""nClimGrid-Daily by county: rain and temperature since 1951 where gridMET is away; humidity and radiation are derived.

Tables of area means, a file a month and variable for all counties (1.1 MB): months are kept for all places. Tables
of recent months are preliminary and taken anew each time; about three months later ``scaled`` ones take their place.
County codes begin with a state number of NCEI's own, not that of the FIPS code, which is found by the state's letters.
"""

import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.areas import county_at, states
from vadose.download.client import MissingError, service
from vadose.download.roles.access import Access, Tried, age, alone, keep, kept
from vadose.download.roles.plausible import check_weather
from vadose.download.roles.where import Where
from vadose.errors import VadoseError

Array = NDArray[np.floating[Any]]
TABLES = {"prcp": "precipitation", "tmax": "air_temperature_max", "tmin": "air_temperature_min"}
MISSING = -999.0
COLUMNS = 6
"""Columns before the values of the days: kind of area, code, name, year, month, variable."""
WORKERS = 6
COAST_KM = 20.0
"""How far off the county a cell or place may lie."""
BOUNDARY = "24 hours that end on the morning of the day, as stations report them; hours differ"
DERIVED = (
    "relative_humidity: derived, of dew point = lowest temperature (Kimball et al. 1997, "
    "doi:10.1016/S0168-1923(96)02366-0); shortwave_radiation: derived from the daily range of temperature (Hargreaves "
    "and Samani 1982, doi:10.1061/JRCEA4.0001390)"
)
KELVIN = 273.15


def nclimgrid(places: Where, first: date, last: date, access: Access, tried: Tried) -> xr.Dataset:
    """Weather (time, ...) of the counties that hold the places, each a mean over the county.

    Attributes say which variables are derived, and when days begin.

    Raises
    ------
    VadoseError
        When a month is neither served nor kept, or a place lies in no county of the contiguous United States.

    References
    ----------
    Durre et al. (2022), NOAA's nClimGrid-Daily version 1, doi:10.1175/JTECH-D-22-0024.1.
    """
    areas = [county_at(lat, lon, COAST_KM) for lat, lon in zip(*places.flat(), strict=True)]
    if None in areas and not places.cells:
        k = areas.index(None)
        raise VadoseError(f"nClimGrid: no county at {places.lat[k]:g}, {places.lon[k]:g}; sea, or abroad")
    codes = np.array([0 if area is None else int(area.code) for area in areas])
    parts, fetched, prelim = [], [], []
    for month in _months(first, min(last, access.today), access, tried):
        parts.append(month.reindex(county=codes).drop_vars("county").load())
        fetched.append(month.attrs["fetched"])
        prelim += [month.attrs["table"] == "prelim"] * month.sizes["time"]
    whole = xr.concat(parts, "time", combine_attrs="override")
    days = pd.DatetimeIndex(whole.time.values)
    there = whole[[*TABLES.values()]].to_dataarray().notnull().any("county").all("variable").values
    end = int(np.flatnonzero(there)[-1]) + 1 if there.any() else 0
    if not end or not there[:end].all():
        lacks = ", ".join(sorted({area.name for area in areas if area}))
        raise VadoseError(f"nClimGrid: days are missing of {lacks}" if end else f"nClimGrid: holds nothing of {lacks}")
    values = {name: whole[name].values[:end] for name in TABLES.values()}
    values |= derived(values["air_temperature_max"], values["air_temperature_min"], places.flat()[0], days[:end])
    weather = places.dataset(values, time=days[:end])
    status = np.where(prelim, "provisional", "permanent")[:end]
    weather = weather.assign_coords(status=("time", status)).sel(time=slice(f"{first}", f"{last}"))
    check_weather(weather)
    weather.attrs = {
        "source": "nClimGrid-Daily, means of counties",
        "fetched": min(fetched),
        "day_boundary": BOUNDARY,
        "derived": DERIVED,
        "simulated": parts[0].attrs["simulated"],
    }
    return weather


def derived(high: Array, low: Array, latitude: Array, days: pd.DatetimeIndex) -> dict[str, Array]:
    r"""Humidity [percent] and shortwave radiation [W m-2] of days (time, place) by their temperatures [K].

    With the dew point at the lowest temperature the mean of the day's highest and lowest humidity is
    :math:`50 (1 + e(T_{min}) / e(T_{max}))`, :math:`e` the saturation vapour pressure. Radiation is
    :math:`0.16 \sqrt{T_{max} - T_{min}} R_a`, :math:`R_a` that at the top of the atmosphere (Allen et al. 1998, 21).

    Examples
    --------
    >>> got = derived(np.array([[303.15]]), np.array([[288.15]]), np.array([39.1]), pd.DatetimeIndex(["2026-07-01"]))
    >>> {name: values.round().item() for name, values in got.items()}
    {'relative_humidity': 70.0, 'shortwave_radiation': 299.0}
    """
    pressure = [0.6108 * np.exp(17.27 * (t - KELVIN) / (t - KELVIN + 237.3)) for t in (low, high)]
    angle = 2 * np.pi * days.day_of_year.to_numpy()[:, None] / 365
    tilt, phi = 0.409 * np.sin(angle - 1.39), np.radians(latitude)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(tilt), -1, 1))
    height = sunset * np.sin(phi) * np.sin(tilt) + np.cos(phi) * np.cos(tilt) * np.sin(sunset)
    top = 1367 / np.pi * (1 + 0.033 * np.cos(angle)) * height
    return {
        "relative_humidity": 50 * (1 + pressure[0] / pressure[1]),
        "shortwave_radiation": 0.16 * np.sqrt(np.maximum(high - low, 0)) * top,
    }


def _months(first: date, last: date, access: Access, tried: Tried) -> Iterator[xr.Dataset]:
    """Values (time, county) month by month; the newest may not be there yet."""
    wanted, causes = pd.period_range(f"{first}", f"{last}", freq="M"), ["offline"] * access.offline
    pool = ThreadPoolExecutor(WORKERS)
    try:
        with alone(access.folder / "past_weather" / "nclimgrid") as folder:
            path = {month: {of: folder / f"{month}.{of}.nc" for of in ("scaled", "prelim")} for month in wanted}
            lacking = [] if access.offline else [month for month in wanted if not path[month]["scaled"].exists()]
            asked = {month: pool.submit(_asked, month, access) for month in lacking}
            for k, month in enumerate(wanted):
                access.progress(f"past weather: nClimGrid {month}", k / len(wanted))
                if month in asked:
                    try:
                        new = asked[month].result()
                        yield keep(new, path[month][new.attrs["table"]], access)
                        continue
                    except MissingError:
                        if month == wanted[-1]:
                            return  # begun only
                        causes = [f"has no tables of {month}"]
                    except VadoseError as error:
                        causes = [" ".join(str(error).split())]
                copy = kept(path[month]["scaled"]) or kept(path[month]["prelim"])
                if copy is None and month == wanted[-1] and access.offline:
                    return
                if copy is None:
                    raise VadoseError(f"nClimGrid: {causes[0]}; {month} is not in {access.folder}")
                if month in asked:
                    tried.note(f"nClimGrid: {causes[0]}; the copy of {age(copy, access)} ago is kept")
                yield copy
    finally:
        pool.shutdown(cancel_futures=True)


def _asked(month: pd.Period, access: Access) -> xr.Dataset:
    """The month as it is served, final where it is."""
    for table in ("scaled", "prelim"):
        try:
            found = []
            for short in TABLES:
                url = f"{service('nclimgrid')}/{month.year}/{short}-{month:%Y%m}-cty-{table}.csv"
                found.append(_read(access.ask.ask(url, f"nClimGrid {short} {month}"), short, month))
        except MissingError:
            if table == "prelim":
                raise
            continue
        return xr.merge(found, join="inner", combine_attrs="override").assign_attrs(table=table)
    raise AssertionError


def _read(content: bytes, short: str, month: pd.Period) -> xr.Dataset:
    """One table: a row a county."""
    codes, rows, simulated = [], [], False
    try:
        for row in csv.reader(content.decode("ascii").splitlines()):
            if (row[0], int(row[3]), int(row[4]), row[5].strip().lower()) != ("cty", month.year, month.month, short):
                raise VadoseError(f"nClimGrid: a table of {short} {month} holds a row of {', '.join(row[:COLUMNS])}")
            codes.append(int(f"{_fips()[row[2].strip()[:2]]}{row[1].strip()[-3:]}"))
            rows.append([float(value) for value in row[COLUMNS : COLUMNS + month.days_in_month]])
            simulated |= "simulated" in row[2]
        values = np.array(rows, np.float32).T
        if values.ndim != 2 or len(values) != month.days_in_month:
            raise VadoseError(f"nClimGrid: the table of {short} {month} has no {month.days_in_month} days")
    except (IndexError, KeyError, ValueError) as error:
        raise VadoseError(f"nClimGrid: the table of {short} {month} cannot be read ({error!r})") from None
    values = np.where(values <= MISSING, np.nan, values + (0 if short == "prcp" else np.float32(KELVIN)))
    days = pd.date_range(month.start_time, periods=len(values), unit="ns")
    axes = {"time": days, "county": codes}
    fields = {TABLES[short]: (("time", "county"), values)}
    return xr.Dataset(fields, axes, {"simulated": str(simulated).lower()})


@cache
def _fips() -> dict[str, str]:
    """Letters of a state -> its FIPS code."""
    return {area.state: area.code for area in states()}
