"""gridMET for a box of cells: asked by the THREDDS subset service, tested, and kept a block of years at a time.

Points are asked for as boxes of one cell: the service gives points as packed numbers without their scale
(Unidata/thredds issue 859). Years are kept for good `SETTLED` days after their end; what comes after is taken anew each
time, because gridMET rewrites about two months. The address that holds all years is asked first, then yearly files.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import xarray as xr

from vadose.download.check import check_container
from vadose.download.client import Client, service
from vadose.download.listers import GRIDMET
from vadose.download.plan import RemoteFile
from vadose.download.roles.access import Access, Tried, age, alone, keep, kept
from vadose.download.roles.plausible import check_weather
from vadose.download.roles.where import STEP, Cells
from vadose.download.transfer import download
from vadose.errors import VadoseError
from vadose.products.gridmet import FIELDS, read_gridmet

SETTLED = timedelta(days=70)
PROVISIONAL, EARLY = 62, 7
"""Days after which values are permanent, and provisional; gridMET states about two months, and days."""
MOST_BEHIND = 10
"""Days that a kept copy may lie behind and still stand in for a service that is away."""
FIRST_YEAR = 1979
LONG_BLOCKS = 600
"""Cells up to which ten years are asked for at once."""
ASKED_AGAIN = 3
"""Times that an answer with missing values is asked for again: some are missing at random."""
SHORT = ("pr", "tmmx", "tmmn", "rmax", "rmin", "srad")
WORKERS = 4
_READING = threading.Lock()  # the netCDF library is not made for threads


@dataclass(frozen=True)
class Period:
    """First and last day of what is asked for and kept together; open while its end is not settled."""

    first: date
    last: date
    open: bool = False

    @property
    def name(self) -> str:
        """File of the period in the cache."""
        return "recent.nc" if self.open else f"{self.first.year}-{self.last.year}.nc"


def periods(first: date, last: date, today: date, cells: int) -> list[Period]:
    """Blocks that hold the days: ten years or single ones, and what is not settled yet.

    Examples
    --------
    >>> [p.name for p in periods(date(2011, 1, 1), date(2023, 11, 30), date(2023, 11, 30), 1)]
    ['2011-2020.nc', '2021-2021.nc', '2022-2022.nc', 'recent.nc']
    """
    unsettled = (today - SETTLED).year
    found, year = [], max(first.year, FIRST_YEAR)
    while year < unsettled and year <= last.year:
        begin, end = year, year
        decade = (year - 1) // 10 * 10 + 1
        if cells <= LONG_BLOCKS and decade + 9 < unsettled:
            begin, end = max(decade, FIRST_YEAR), decade + 9
        found.append(Period(date(begin, 1, 1), date(end, 12, 31)))
        year = end + 1
    if last.year >= unsettled:
        found.append(Period(date(unsettled, 1, 1), today, open=True))
    return found


def gridmet(cells: Cells, first: date, last: date, access: Access, tried: Tried) -> xr.Dataset:
    """Weather of a box of cells (time, lat, lon), from the cache and the service.

    Raises
    ------
    VadoseError
        When days are neither in the cache nor served in a state that passes `check_weather`.
    """
    parts: list[xr.Dataset] = []
    with alone(access.folder / "past_weather" / "gridmet" / cells.name) as folder:
        wanted = periods(first, last, access.today, cells.number)
        for k, period in enumerate(wanted):
            access.progress(f"past weather: gridMET {period.first.year}-{period.last.year}", k / len(wanted))
            get = _recent if period.open else _settled
            parts.append(get(period, cells, folder, access, tried, parts))
    whole = xr.concat(
        parts,
        "time",
        combine_attrs="override",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
    )
    whole.attrs = parts[-1].attrs
    return whole.sel(time=slice(f"{first}", f"{last}"))


def _settled(
    period: Period, cells: Cells, folder: Path, access: Access, tried: Tried, known: list[xr.Dataset]
) -> xr.Dataset:
    path = folder / period.name
    if (copy := kept(path)) is not None:
        return copy
    return keep(_served(period, cells, folder, access, tried, known), path, access)


def _recent(
    period: Period, cells: Cells, folder: Path, access: Access, tried: Tried, known: list[xr.Dataset]
) -> xr.Dataset:
    """What is not settled: new if it serves, else the copy kept, if that does not lie far behind."""
    path = folder / period.name
    copy = kept(path)
    if copy is not None and pd.Timestamp(copy.time.values[0]).date() > period.first:
        copy = None
    try:
        new = _served(period, cells, folder, access, tried, known)
        if copy is not None and new.time.values[-1] < copy.time.values[-1]:
            raise VadoseError(f"its newest day moved back from {_day(copy):%Y-%m-%d} to {_day(new):%Y-%m-%d}")
        return keep(new, path, access)
    except VadoseError as error:
        if copy is None:
            raise
        behind = (access.today - _day(copy).date()).days
        if not access.offline:
            tried.note(
                f"gridMET: {error}; the copy of {age(copy, access)} ago is kept, its newest day {_day(copy):%Y-%m-%d}"
            )
            if behind > MOST_BEHIND:
                raise VadoseError(f"the copy kept ends on {_day(copy):%Y-%m-%d}, {behind} days ago") from error
        return copy


def _served(
    period: Period, cells: Cells, folder: Path, access: Access, tried: Tried, known: list[xr.Dataset]
) -> xr.Dataset:
    """The period as one of the addresses serves it, tested."""
    if access.offline:
        raise VadoseError(
            f"offline, and {period.first} .. {period.last} of cells {cells.name} is not in {access.folder}"
        )
    raw = folder / ".raw"
    raw.mkdir(exist_ok=True)

    def served(urls: Callable[[Client, str, Period, Cells], list[str]]) -> xr.Dataset:
        ask = partial(_variable, access.ask, urls, period, cells, raw)
        with ThreadPoolExecutor(WORKERS) as pool:
            found = dict(zip(SHORT, pool.map(ask, SHORT), strict=True))
        weather = _together(found, period)
        check_weather(weather, xr.concat(known, "time", join="override") if known else None)
        return weather

    local = Tried(tried.role, access)
    local.lines = tried.lines
    name, weather = local.first(
        {"gridMET, all years": partial(served, _aggregated), "gridMET, yearly files": partial(served, _yearly)}
    )
    for path in raw.iterdir():
        path.unlink()
    return weather.assign_attrs(source=name)


def _variable(
    client: Client,
    urls: Callable[[Client, str, Period, Cells], list[str]],
    period: Period,
    cells: Cells,
    raw: Path,
    short: str,
) -> xr.DataArray:
    """One variable of a period, asked for again while values are missing where others are not."""
    parts = []
    for url in urls(client, short, period, cells):
        years = "-".join(sorted(set(re.findall(r"time_(?:start|end)=(\d{4})", url))))
        file = RemoteFile(f"{short}.{years}.nc", url)
        for _ in range(ASKED_AGAIN):
            path = raw / file.name
            download(client, file, path)
            try:
                check_container(file, path)
                with _READING:
                    answer = read_gridmet(path, variable=short)
                values = answer[FIELDS[short].ours].assign_attrs(simulated=answer.attrs["simulated"])
            finally:
                path.unlink(missing_ok=True)
                path.with_name(path.name + ".json").unlink(missing_ok=True)
            missing = values.isnull()
            if not bool(missing.any()) or bool((missing.all("time") | ~missing.any("time")).all() & ~missing.all()):
                break
        parts.append(values.sel(lat=cells.lat, lon=cells.lon, method="nearest", tolerance=STEP / 4))
    whole = xr.concat(parts, "time", coords="minimal", compat="override", join="override")
    return whole.assign_coords(lat=cells.lat, lon=cells.lon)


def _together(found: dict[str, xr.DataArray], period: Period) -> xr.Dataset:
    """The five variables on the days that all have; each has a time axis of its own on the server."""
    simulated = "true" if any(values.attrs["simulated"] == "true" for values in found.values()) else "false"
    fields = {FIELDS[short].ours: values.reset_coords(drop=True) for short, values in found.items()}
    humidity = [fields.pop(f"relative_humidity_{end}") for end in ("max", "min")]
    fields["relative_humidity"] = 0.5 * (humidity[0] + humidity[1])
    weather = xr.merge(
        [v.rename(n) for n, v in fields.items()], join="inner", combine_attrs="drop", compat="no_conflicts"
    ).astype(np.float32)
    last = weather.indexes["time"][-1] if weather.sizes["time"] else None
    expected = pd.date_range(period.first, last if period.open and last is not None else period.last)
    if len(lost := expected.difference(pd.DatetimeIndex(weather.time.values))):
        raise VadoseError(f"{len(lost)} of {len(expected)} days are missing, the first {lost[0]:%Y-%m-%d}")
    return weather.sel(time=expected).transpose("time", "lat", "lon").assign_attrs(simulated=simulated)


def _aggregated(client: Client, short: str, period: Period, cells: Cells) -> list[str]:
    address = f"{service('gridmet_all')}/agg_met_{short}_1979_CurrentYear_CONUS.nc"
    last = min(_newest(client, address, short) or period.last, period.last) if period.open else period.last
    return [_address(address, FIELDS[short].aggregated, cells, period.first, last)]


def _yearly(client: Client, short: str, period: Period, cells: Cells) -> list[str]:
    found = []
    for year in range(period.first.year, period.last.year + 1):
        address = f"{service('gridmet_subset')}/{short}/{short}_{year}.nc"
        last = min(date(year, 12, 31), period.last)
        found.append(_address(address, GRIDMET[short], cells, date(year, 1, 1), last))
    return found


def _newest(client: Client, address: str, short: str) -> date | None:
    """The newest day that the service states, None where it does not."""
    try:
        text = client.ask(f"{address}/dataset.xml", f"gridMET {short}").decode("utf-8", "replace")
        return date.fromisoformat(re.findall(r"<end>\s*(\d{4}-\d\d-\d\d)", text)[0])
    except (VadoseError, IndexError, ValueError):
        return None


def _address(address: str, name: str, cells: Cells, first: date, last: date) -> str:
    west, south, east, north = (f"{side:.5f}" for side in cells.box())
    asked = {"var": name, "north": north, "south": south, "west": west, "east": east}
    days = {"time_start": f"{first}T00:00:00Z", "time_end": f"{last}T00:00:00Z"}
    return f"{address}?{urlencode(asked | days | {'accept': 'netcdf'})}"  # the server fails at netCDF-4


def status_of(time: pd.DatetimeIndex, fetched: date) -> list[str]:
    """State of each day when it was fetched, by its age.

    Examples
    --------
    >>> status_of(pd.DatetimeIndex(["2026-08-01", "2026-10-15", "2026-11-28"]), date(2026, 11, 30))
    ['permanent', 'provisional', 'early']
    """
    ages = (pd.Timestamp(fetched) - time).days
    return ["permanent" if a > PROVISIONAL else "provisional" if a > EARLY else "early" for a in ages]


def _day(dataset: xr.Dataset) -> pd.Timestamp:
    return pd.Timestamp(dataset.time.values[-1])
