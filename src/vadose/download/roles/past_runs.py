"""Past runs of GEFS, days of some leads of the control: the record that weather ahead is corrected by.

The archive keeps each run since version 12 came, of the very model that is in use, with the variables that an outlook
takes. A message is of the whole globe; of it the contiguous United States are kept, so that one fetch serves any place.
"""

from collections.abc import Hashable, Iterator
from contextlib import nullcontext
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vadose.download.plan import size_text
from vadose.download.roles.access import Access, Tried, alone, keep, kept
from vadose.download.roles.gefs import SOURCES, Run, bilinear, days_of
from vadose.download.roles.where import Where
from vadose.errors import VadoseError

BEGAN = date(2020, 9, 24)
"""First run of 00 UTC of version 12."""
LEADS = (2, 5, 11)
"""Days ahead that are fetched of a run, one for each group of leads; the last is of 0.5 degree."""
EVERY, RUNS = 4, 12
"""Days between runs, and runs of a year, from the first of the month of issue on: the next month has its part."""
BYTES = (8.6e6, 8.6e6, 2.2e6)
"""Bytes of a day of each lead: 20 messages of 0.43 MB at 0.25 degree, of a quarter of it at 0.5 degree."""
STEP = 0.25
LAT, LON = np.arange(49.5, 24.49, -STEP), np.arange(-125.0, -66.49, STEP)
ARCHIVES = ("GEFS from Amazon", "GEFS from Google")
GIVEN_UP = 3
"""Days that fail, one after another from the first on, after which the archive is held to be away."""


def runs_of(issue: date) -> list[Run]:
    """Runs of earlier years for the month of an issue; the days that they are of have all passed.

    Examples
    --------
    >>> runs = runs_of(date(2026, 11, 30))
    >>> len(runs), str(runs[0].day), str(runs[-1].day)
    (72, '2020-11-01', '2025-12-15')
    """
    days = [
        date(year, issue.month, 1) + timedelta(days=EVERY * k)
        for year in range(BEGAN.year, issue.year)
        for k in range(RUNS)
    ]
    return [Run(day) for day in days if day >= BEGAN]


def size_of_record(issue: date) -> str:
    """How much is fetched for a month, for people.

    Examples
    --------
    >>> size_of_record(date(2026, 11, 30))
    '1.4 GB'
    """
    return size_text(int(len(runs_of(issue)) * sum(BYTES)))


def past_runs(
    lat: xr.DataArray,
    lon: xr.DataArray,
    issue: date,
    *,
    fetch: bool = True,
    access: Access | None = None,
    tried: Tried | None = None,
) -> xr.Dataset:
    """Weather that past runs foretold, for the month of an issue: of the control, days of `LEADS`.

    Parameters
    ----------
    lat, lon
        Of points, both over ``place``, or axes of a box [degree].
    issue
        A day of the month; runs are of the same time of earlier years, so that all their days lie before it.
    fetch
        Fetch what is not in the cache, about 1.4 GB a month: minutes, once for all places.
    access
        Cache, clock and client.
    tried
        Where to say what could not be had.

    Returns
    -------
    xarray.Dataset
        (init_time, lead_time, place) or (init_time, lead_time, lat, lon), variables as of
        `vadose.download.roles.weather_ahead`, NaN where a day could not be had; no run at all without any.
        Attribute ``whole``: whether every day was to be had.

    Raises
    ------
    VadoseError
        When the archives are away.

    References
    ----------
    Zhou et al. (2022), GEFS version 12, doi:10.1175/WAF-D-21-0112.1.
    """
    access = access or Access()
    tried = tried or Tried("past runs", access)
    flat = "place" in lat.dims
    places = [axis.ravel() for axis in np.meshgrid(lat, lon, indexing="ij")] if not flat else [lat.values, lon.values]
    at, share = bilinear(LAT, LON, *places)
    found: dict[str, dict[int, xr.Dataset]] = {}
    lost: list[str] = []
    for run, lead, day in _days(issue, fetch, access, lost):
        near = {name: (values.values.ravel()[at] * share).sum(axis=0) for name, values in day.data_vars.items()}
        here: dict[Hashable, Any] = {name: ("place", values) for name, values in near.items()}
        if not flat:
            here = {name: (("lat", "lon"), values.reshape(len(lat), len(lon))) for name, values in near.items()}
        found.setdefault(f"{run.day}", {})[lead] = xr.Dataset(here)
    if lost and fetch:
        tried.note(f"{len(lost)} of {len(lost) + sum(map(len, found.values()))} days of past runs lost: {lost[0]}")
    whole = str(not lost).lower()
    if not found:
        return xr.Dataset(coords={"init_time": np.array([], "datetime64[ns]")}, attrs={"whole": whole})
    runs = [
        xr.concat(list(days.values()), xr.DataArray(list(days), dims="lead_time", name="lead_time"))
        for days in found.values()
    ]
    times = xr.DataArray(np.array(list(found), "datetime64[ns]"), dims="init_time", name="init_time")
    return xr.concat(runs, times, join="outer").assign_attrs(whole=whole)


def _days(issue: date, fetch: bool, access: Access, lost: list[str]) -> Iterator[tuple[Run, int, xr.Dataset]]:
    """Days of the contiguous United States as kept or fetched; those that cannot be had are added to ``lost``."""
    nodes = Where(*(axis.ravel() for axis in np.meshgrid(LAT, LON, indexing="ij")))
    wanted = [(run, lead) for run in runs_of(issue) for lead in LEADS]
    place = access.folder / "past_runs" / "gefs"
    with alone(place) if fetch else nullcontext(place) as folder:
        for k, (run, lead) in enumerate(wanted):
            path = folder / f"{run.day:%Y%m%d}_{lead:02d}.nc"
            copy = kept(path)
            if copy is None and fetch and not access.offline:
                access.progress(f"weather ahead: past runs of GEFS, {run.day}, day {lead}", k / len(wanted))
                try:
                    copy = _fetched(run, lead, nodes, path, access)
                except VadoseError as error:
                    lost.append(f"{run.day}, day {lead}: {' '.join(str(error).split())}")
                    if len(lost) == k + 1 >= GIVEN_UP:
                        raise VadoseError(f"no archive of past runs serves: {lost[0]}") from None
                    continue
            if copy is None:
                lost.append(f"{run.day}, day {lead}: not in {access.folder}")
            else:
                yield run, lead, copy


def _fetched(run: Run, lead: int, nodes: Where, path: Path, access: Access) -> xr.Dataset:
    quiet = Tried("past runs", Access(access.folder))
    archives = {
        name: partial(days_of, run, range(lead, lead + 1), "c00", nodes, SOURCES[name], access) for name in ARCHIVES
    }
    _, day = quiet.first(archives)
    return keep(day.isel(time=0, drop=True).drop_vars(["lat", "lon"]), path, access)
