"""Weather ahead at any place: one run of an ensemble, whole, from the first source that serves it."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial

import numpy as np
import xarray as xr

from vadose.download.roles.access import Access, Tried
from vadose.download.roles.gefs import BEGIN, KEPT_RUNS, MEMBERS, SOURCES, Run, gefs, reach
from vadose.download.roles.where import Places, Where
from vadose.errors import VadoseError
from vadose.variables import describe

OLDEST = 4
"""Days back that a run may be taken from."""


def weather_ahead(
    where: Places,
    *,
    first: date | str | None = None,
    days: int = 30,
    members: int | Sequence[str] = 4,
    access: Access | None = None,
) -> xr.Dataset:
    """Daily weather of the days ahead, by the members of the ensemble GEFS.

    One run is taken whole: the newest one of 00 UTC that reaches the last day, which today's does to day 15 and
    yesterday's to day 34. Where it starts after the first day wanted, each day before is day 1 of the run of that day,
    of the same member. A member that lacks any lead is dropped and counted.

    Parameters
    ----------
    where
        As in `past_weather`; values are interpolated from the ensemble's 0.25 and 0.5 degree grids (bilinear).
    first
        First day wanted; today if not given. Best the day after the newest day of the past weather.
    days
        Number of days.
    members
        How many, from the control on, or their names, such as ``['c00', 'p07']``. Each takes four small requests a day
        from NOMADS, which allows 120 a minute, or 9 MB a day (after day 9 2 MB) from an archive.
    access
        Cache, clock and client.

    Returns
    -------
    xarray.Dataset
        (member, time, lat, lon) or (member, time, place), variables as in `past_weather`; days begin at 06 UTC.
        Attributes: ``source``, ``run``, ``leads`` (of each member), ``members_dropped``, ``bridged`` (days before the
        run), ``corrected`` ('false': values are the ensemble's own), ``tried``.

    Raises
    ------
    VadoseError
        When no source serves a run that reaches the last day; the error names the cause of each.

    References
    ----------
    Zhou et al. (2022), GEFS version 12, doi:10.1175/WAF-D-21-0112.1.
    """
    access = access or Access()
    places, tried = Where.of(where), Tried("weather ahead", access)
    begin = date.fromisoformat(first) if isinstance(first, str) else first or access.today
    names = _names(members)
    if days < 1:
        raise VadoseError(f"weather ahead: {days} days; expected 1 or more")
    last = begin + timedelta(days=days - 1)
    sources = {
        f"{source}, run of {run.day}": partial(_whole, run, begin, last, names, places, get, access, tried)
        for run in _runs(begin, last, access)
        for source, get in SOURCES.items()
    }
    if access.offline:  # whatever was fetched, from wherever
        sources = {name.partition(", ")[2]: source for name, source in reversed(sources.items())}
        sources = dict(reversed(sources.items()))
    if not sources:
        raise VadoseError(
            f"weather ahead: no run of the last {OLDEST} days reaches {last}; today's reaches 15 days, older 34"
        )
    name, weather = tried.first(sources)
    _forget(access)
    weather.attrs |= tried.attributes(
        source=name,
        day_boundary=f"{BEGIN:02d}:00 UTC to {BEGIN:02d}:00 UTC of the next day",
        corrected="false",
        correction="not corrected; only points are, and areas no wider than 3 degrees",
    )
    return describe(weather)


def _names(members: int | Sequence[str]) -> list[str]:
    names = list(MEMBERS[:members] if isinstance(members, int) else members)
    if not names or (isinstance(members, int) and members > len(MEMBERS)) or (unknown := set(names) - set(MEMBERS)):
        found = members if isinstance(members, int) or not names else ", ".join(sorted(unknown))
        raise VadoseError(f"weather ahead: members {found}; expected 1 to {len(MEMBERS)}, or names c00, p01 .. p30")
    return names


def _runs(begin: date, last: date, access: Access) -> Iterator[Run]:
    """Runs that reach the last day, the newest first."""
    for back in range(OLDEST + 1):
        day = access.today - timedelta(days=back)
        hours = (access.time.replace(tzinfo=None) - datetime(day.year, day.month, day.day)).total_seconds() / 3600
        if day + timedelta(days=reach(hours) - 1) >= last:
            yield Run(day)


def _whole(
    run: Run, begin: date, last: date, names: list[str], places: Where, get: object, access: Access, tried: Tried
) -> xr.Dataset:
    """The run from the first day wanted, with the days before it from the runs of those days."""
    weather, dropped = gefs(run, (last - run.day).days + 1, names, places, get, access, tried)  # type: ignore[arg-type]
    parts = [weather]
    bridged: list[str] = []
    day = run.day
    while day > begin:
        day -= timedelta(days=1)
        before, lost = gefs(Run(day), 1, [n for n in names if n not in dropped], places, get, access, tried)  # type: ignore[arg-type]
        dropped += lost
        parts.insert(0, before)
        bridged.insert(0, str(day))
    kept = [name for name in names if name not in dropped]
    whole = xr.concat([part.sel(member=kept) for part in parts], "time", join="exact", combine_attrs="override")
    whole.attrs = weather.attrs | {
        "members_dropped": ", ".join(dropped) or "none",
        "bridged": ", ".join(bridged) or "none",
        "leads": f"{weather.attrs['leads']} of {weather.attrs['leads']} in each of {len(kept)} members",
    }
    return whole.sel(time=slice(str(begin), str(last))).astype(np.float32)


def _forget(access: Access) -> None:
    """Remove runs older than `KEPT_RUNS` days from the cache."""
    for folder in (access.folder / "weather_ahead" / "gefs").glob("[0-9]" * 8):
        if (access.today - datetime.strptime(folder.name, "%Y%m%d").date()).days > KEPT_RUNS:
            shutil.rmtree(folder, ignore_errors=True)
