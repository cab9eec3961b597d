"""Past weather at any place, from the first source that serves it."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.download.roles.access import Access, Tried
from vadose.download.roles.gridmet import gridmet, periods, status_of
from vadose.download.roles.nclimgrid import nclimgrid
from vadose.download.roles.where import Places, Where
from vadose.errors import VadoseError
from vadose.variables import describe

NAMES = (
    "precipitation",
    "air_temperature_max",
    "air_temperature_min",
    "relative_humidity",
    "shortwave_radiation",
)
MOUNTAIN = "07:00 UTC to 07:00 UTC of the next day (midnight Mountain Standard Time)"


def past_weather(
    where: Places, first: date | str, last: date | str | None = None, *, access: Access | None = None
) -> xr.Dataset:
    """Daily weather of past days, as far as it is published, of one source: gridMET, where it is away nClimGrid-Daily.

    Values of two sources are never put together. nClimGrid gives means of counties, rain and temperature alone; what
    is derived of them, and by which formula, is the attribute ``derived``.

    Parameters
    ----------
    where
        West, south, east, north [degree]: gridMET's cells whose centres lie within. Or points, each (lat, lon): the
        cell that holds each.
    first, last
        First and last day; the newest one if not given.
    access
        Cache, clock and client.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon) or (time, place): ``precipitation`` [kg m-2], ``air_temperature_max``, ``air_temperature_min``
        [K], ``relative_humidity`` [percent] (mean of the day's highest and lowest), ``shortwave_radiation`` [W m-2],
        NaN at sea. Coordinate ``status`` (time): permanent, provisional, early. Attributes: ``source``, ``fetched``,
        ``newest_day``, ``day_boundary``, ``tried`` (what became of other sources).

    Raises
    ------
    VadoseError
        When no source serves; the error names the cause of each.

    References
    ----------
    Abatzoglou (2013), doi:10.1002/joc.3413.
    """
    access = access or Access()
    tried, places = Tried("past weather", access), Where.of(where)
    begin, end = _day(first, "first"), _day(last, "last") if last else access.today
    if begin > end:
        raise VadoseError(f"past weather: first day {begin} comes after last day {end}")
    _, weather = tried.first(
        {
            "gridMET": lambda: _gridmet(places, begin, end, access, tried),
            "nClimGrid-Daily": lambda: nclimgrid(places, begin, end, access, tried),
        }
    )
    newest = pd.Timestamp(weather.time.values[-1])
    weather.attrs |= tried.attributes(
        newest_day=f"{newest:%Y-%m-%d}", simulated=weather.attrs.get("simulated", "false")
    )
    return describe(weather)


def settled(where: Places, first: date | str, *, access: Access) -> list[tuple[Path, date]]:
    """Files of the cache with days that change no more, and the last day of each; whether they are there yet or not."""
    begin = _day(first, "first")
    return [
        (access.folder / "past_weather" / "gridmet" / cells.name / period.name, period.last)
        for cells, _ in Where.of(where).groups()
        for period in periods(begin, access.today, access.today, cells.number)
        if not period.open
    ]


def _gridmet(places: Where, first: date, last: date, access: Access, tried: Tried) -> xr.Dataset:
    parts, order = [], []
    for cells, members in places.groups():
        box = gridmet(cells, first, last, access, tried)
        if not places.cells:
            at = {
                axis: xr.DataArray(values[members], dims="place")
                for axis, values in (("lat", places.lat), ("lon", places.lon))
            }
            box = box.sel(at, method="nearest").drop_vars(["lat", "lon"])
            if bool((empty := box.precipitation.isnull().all("time")).any()):
                k = members[int(empty.values.argmax())]
                raise VadoseError(f"gridMET has no weather at {places.lat[k]:g}, {places.lon[k]:g}; sea, or abroad")
        parts.append(box)
        order.append(members)
    attributes = min((part.attrs for part in parts), key=lambda attrs: str(attrs["fetched"]))
    weather = parts[0]
    if not places.cells:
        weather = xr.concat(parts, "place", join="inner").isel(place=np.argsort(np.concatenate(order)))
        weather = weather.assign_coords(lat=("place", places.lat), lon=("place", places.lon))
    fetched = datetime.fromisoformat(attributes["fetched"]).date()
    weather = weather.assign_coords(status=("time", status_of(pd.DatetimeIndex(weather.time.values), fetched)))
    weather.attrs = attributes | {"day_boundary": MOUNTAIN}
    return weather


def _day(value: date | str, what: str) -> date:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise VadoseError(f"past weather: {what} day {value!r}; write YYYY-MM-DD") from None
