"""Weather of an outlook, and its day of issue."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import xarray as xr

from vadose.errors import VadoseError

if TYPE_CHECKING:
    from vadose.download.roles import Access
    from vadose.predict.outlook.where import Place, Region

FIRST = "1990-01-01"
"""First day of the weather: a year in which the networks forget how they began, and 1991-2020."""
OLDEST = 7
"""Age of the newest weather above which an outlook is issued on its day, not today [day]."""
FORECAST = 15
"""Days that the ensemble is asked for, from the day of issue on: those that the newest run reaches."""
COMPARED = 3
"""Counties that the Drought Monitor is asked for, at most."""
MOST_DAYS = 30


@dataclass(frozen=True)
class Issue:
    """Day of issue of an outlook, and the newest day of weather that it takes."""

    day: date
    newest: date


@dataclass(frozen=True)
class Ahead:
    """How far, by how many members and from which day on the weather ahead is asked for; whether to fetch past runs."""

    days: int = MOST_DAYS
    forecast: int = FORECAST
    members: int = 4
    issue: Issue | None = None
    correct: bool = False


USUAL = Ahead()


def past_of(where: Any, ahead: Ahead, access: "Access") -> xr.Dataset:
    """Past weather up to the newest day that the outlook may take."""
    from vadose.download.roles import past_weather

    return past_weather(where, FIRST, ahead.issue.newest if ahead.issue else None, access=access)


def recent_weather(where: Any, access: "Access", *, days: int = 30) -> xr.Dataset:
    """Past weather of the last days at least; all that is not in the cache yet is fetched, and read then alone."""
    from vadose.download.roles import past_weather, settled

    there = all(path.exists() for path, _ in settled(where, FIRST, access=access))
    first = access.today - timedelta(days=days)
    return past_weather(where, first if there else FIRST, access=access).sel(time=slice(f"{first}", None))


def issue_of(past: xr.Dataset, ahead: Ahead, access: "Access") -> Issue:
    """The day of issue: today, or the newest day of the weather where that is old, which is said."""
    if ahead.issue:
        return ahead.issue
    newest, today = past.indexes["time"][-1].date(), access.today
    if (old := (today - newest).days) <= OLDEST:
        return Issue(today, newest)
    access.say(f"the newest weather is of {newest}, {old} days ago: the outlook is issued on that day")
    return Issue(newest, newest)


def forecast_of(where: Any, issue: Issue, ahead: Ahead, access: "Access", past: Any = None) -> xr.Dataset | None:
    """Weather ahead of the ensemble as of the day of issue, corrected to past weather where that is given.

    None where no source serves it, which is said, or it is not wanted.
    """
    from vadose.download.roles import corrected, weather_ahead

    if ahead.members < 1 or issue.day == issue.newest:
        return None
    first, days = (
        issue.newest + timedelta(days=1),
        (issue.day - issue.newest).days + min(ahead.days, ahead.forecast) - 1,
    )
    if issue.day < access.today:  # of a run of that day, not a later one
        access = replace(access, now=datetime.combine(issue.day, time.max))
    try:
        found = weather_ahead(where, first=first, days=days, members=ahead.members, access=access)
        return found if past is None else corrected(found, past, fetch=ahead.correct, access=access)
    except VadoseError as error:
        access.say(f"no weather forecast, past years alone: {' '.join(str(error).split())}")
        return None


def compared_of(where: "Sequence[Place] | Region", day: date, access: "Access") -> list[str]:
    """What others say of the region's county, or of the first places and their counties, for comparison alone."""
    from vadose.areas import county_at
    from vadose.download.roles import crop_casma, drought_monitor, national_water_model
    from vadose.predict.outlook.where import COAST_KM, Region

    if isinstance(where, Region):
        county = where.area if where.area is not None and len(where.area.code) == 5 else None
        return [drought_monitor(county.code, day, access=access).told(county.name)] if county else []
    counties = {area.code: area for place in where if (area := county_at(place.lat, place.lon, COAST_KM))}
    said = [
        drought_monitor(code, day, access=access).told(area.name) for code, area in list(counties.items())[:COMPARED]
    ]
    for moisture in (crop_casma, national_water_model):
        said.append(moisture(where[0].lat, where[0].lon, day, access=access).told(where[0].name))
    return said
