"""What others say of drought at a place: for comparison beside an outlook, never an input of it."""

import json
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from vadose.artefact import writing
from vadose.download.client import service
from vadose.download.roles.access import Access
from vadose.errors import VadoseError

CLASSES = ("d0", "d1", "d2", "d3", "d4")
RELEASED = timedelta(days=2)
"""A map is of a Tuesday and released on the Thursday after it."""
WEEKS_BACK = timedelta(days=21)


@dataclass(frozen=True)
class Compared:
    """A value of somebody else, its day and since when it was known; or none, and why.

    Attributes
    ----------
    source
        Whose it is.
    day
        The day it is of, None without a value.
    known
        The first day on which it was published.
    value
        By name; of the Drought Monitor percent of the county's area.
    reason
        Why there is no value, else empty.
    """

    source: str
    day: date | None = None
    known: date | None = None
    value: dict[str, float] = field(default_factory=dict)
    reason: str = ""


def drought_monitor(county: str, day: date | None = None, *, access: Access | None = None) -> Compared:
    """The newest map of the US Drought Monitor that was published by a day, for a county.

    Parameters
    ----------
    county
        FIPS code of five digits, such as ``'20161'`` (Riley, Kansas).
    day
        The day; today if not given. The map of a Tuesday is known from Thursday on.
    access
        Cache, clock and client; without network, or where the service is away, the kept answer is used.

    Returns
    -------
    Compared
        ``none``, and ``d0`` .. ``d4``: percent of the county's area in that class *or worse*.
    """
    access = access or Access()
    day, source = day or access.today, "US Drought Monitor"
    if not (len(county) == 5 and county.isdigit()):
        return Compared(source, reason=f"county {county!r}: expected a FIPS code of five digits")
    path = access.folder / "compare" / f"drought_monitor_{county}.json"
    weeks, reason = _weeks(path), ""
    if not access.offline:
        try:
            weeks |= _asked(county, day, access)
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as scratch:
                scratch.write_text(json.dumps(weeks))
        except VadoseError as error:
            reason = " ".join(str(error).split())
            access.say(f"comparison: {source}: {reason}")
    known = [week for week in weeks if day - WEEKS_BACK <= date.fromisoformat(week) <= day - RELEASED]
    if not known:
        return Compared(source, reason=reason or f"no map of county {county} was published in the three weeks to {day}")
    newest = date.fromisoformat(max(known))
    return Compared(source, newest, newest + RELEASED, weeks[max(known)])


def _asked(county: str, day: date, access: Access) -> dict[str, dict[str, float]]:
    """Percent by class, of each week that the service gives."""
    first = day - WEEKS_BACK
    asked = {
        "aoi": county,
        "startdate": f"{first.month}/{first.day}/{first.year}",
        "enddate": f"{day.month}/{day.day}/{day.year}",
        "statisticsType": "1",  # that class or worse
    }
    url = f"{service('drought_monitor')}/CountyStatistics/GetDroughtSeverityStatisticsByAreaPercent"
    answer: Any = access.ask.ask_json(url, "US Drought Monitor", asked, {"Accept": "application/json"})
    if isinstance(answer, str):
        raise VadoseError(f"the service answered {answer!r}")
    if not answer:
        raise VadoseError(f"the service knows no county {county}, or no map of these weeks")
    try:
        rows = [{str(key).lower(): value for key, value in row.items()} for row in answer]
        return {row["mapdate"][:10]: {name: float(row[name]) for name in ("none", *CLASSES)} for row in rows}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise VadoseError(f"the service has changed its answer ({error!r})") from None


def _weeks(path: Path) -> dict[str, dict[str, float]]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
