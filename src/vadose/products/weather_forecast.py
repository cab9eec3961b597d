"""Numerical weather forecasts of NOAA NCEP: the global model GFS and its ensemble GEFS, GRIB-2.

Published on NOMADS and, for years back, as open data (registry.opendata.aws/noaa-gfs-bdp-pds, .../noaa-gefs).
A granule is a lead hour of a run: ``gfs.t00z.pgrb2.0p25.f024``, ``gec00.t00z.pgrb2s.0p25.f003`` (control of
the ensemble), ``gep01.t00z.pgrb2a.0p50.f024`` (member 1). The names bear no day: it is in the folder's name and
in the messages. GEFS reforecasts have a variable's every lead in a file; that is read too.

Rain is an amount and radiation a mean over a time that begins anew every six hours, so that f003 is of 0-3 h and
f006 of 0-6 h; GFS has the rain since the run's start besides. At f000 there is neither. Longitudes run to 360,
rows from the north (from the south in parts cut out by NOMADS).
"""

import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import BBox, container_of
from vadose.products.grib import Array, messages
from vadose.products.product import Product, Twin
from vadose.products.weather_messages import OVER_TIME, SOIL_RULE, Fields, name_of, read_fields, with_humidity
from vadose.variables import VARIABLES, describe

FILE_NAME = re.compile(
    r"(?:.*[_.])?(?:gfs|ge(?:c00|p\d\d|avg))\.t(?:00|06|12|18)z\.pgrb2[abs]?\.(?:0p25|0p50|1p00)\.f\d{3}(?:\.gri?b2?)?"
)
SIMULATED_MARKER = "SIMULATED.txt"

_HOURS_A_DAY = 24
_BACKWARD = 1000


def read_weather_forecast(path: Path, *, bbox: BBox | None = None) -> xr.Dataset:
    """Read one granule of GFS or of a member of GEFS.

    What is over a time is given over the shortest one that ends at the lead; `daily_weather_forecast`
    resolves the times into days.

    Parameters
    ----------
    path
        A GRIB-2 file of one run and member, of one lead or several.
    bbox
        West, south, east, north [degree]; only cells whose centres lie within are read.

    Returns
    -------
    xarray.Dataset
        (time, lat, lon), north up, those of: ``precipitation`` [kg m-2], ``shortwave_radiation``,
        ``longwave_radiation`` [W m-2], ``air_temperature_max``, ``air_temperature_min`` [K], each over the
        hours of its coordinate ``NAME_hours`` (time) before the valid time; ``air_temperature`` [K],
        ``specific_humidity`` [kg kg-1], ``relative_humidity`` [percent], winds [m s-1],
        ``surface_pressure`` [Pa], ``soil_moisture_...`` [m3 m-3] and ``soil_temperature_...`` [K] of layers.
        Coordinates ``init_time``, ``lead_time`` (time) and ``member``; time is the valid time.

    Raises
    ------
    VadoseError
        When the file is not of this product, is damaged, or holds several runs or members.

    References
    ----------
    Zhou et al. (2022), GEFS version 12, doi:10.1175/WAF-D-21-0112.1.
    """
    run, member, where, fields, masked, unread = read_fields(path, bbox)
    fields = with_humidity(fields)
    steps = sorted({end for _, _, end in fields})
    shape = (len(steps), where.sizes["lat"], where.sizes["lon"])
    dataset = where.assign_coords(
        time=pd.DatetimeIndex([run + pd.Timedelta(hours=step) for step in steps]).as_unit("ns"),
        init_time=run.as_unit("ns").to_datetime64(),
        lead_time=("time", pd.to_timedelta(steps, unit="h").as_unit("ns")),
        member=member,
    )
    for name in dict.fromkeys(name for name, _, _ in fields):
        values, hours = np.full(shape, np.nan, np.float32), np.full(len(steps), np.nan)
        # The longest time first, so that the shortest one stays.
        for (_, start, end), field in sorted((item for item in fields.items() if item[0][0] == name), key=_longest):
            values[steps.index(end)] = field
            hours[steps.index(end)] = end - start
        dataset[name] = ("time", "lat", "lon"), values, dict(masked.get(name, {}))
        if name in OVER_TIME:
            dataset = dataset.assign_coords({f"{name}_hours": ("time", hours, {"units": "hours"})})
    return describe(dataset.assign_attrs(_attributes([path], member, unread)))


def daily_weather_forecast(
    paths: Iterable[Path], *, bbox: BBox | None = None, names: Collection[str] | None = None
) -> xr.Dataset:
    """Forecasts of days after a run's start: sums of rain, means of the rest, extremes of temperature.

    Day 1 is the 24 hours after the start of the run, a UTC day for runs of 00 UTC. Amounts and means over
    times that overlap are resolved: with 0-3 h and 0-6 h the rain of 3-6 h is their difference. States
    are averaged over the leads of the day, its end included and its start not.

    Parameters
    ----------
    paths
        Granules, in any order, of one run and member or several; the same leads of each.
    bbox
        As in `read_weather_forecast`.
    names
        Variables to read, as the granules hold them; all when left out.

    Returns
    -------
    xarray.Dataset
        (init_time, lead_time, lat, lon), with a dimension ``member`` before ``lat`` if there are several;
        variables and units as in `read_weather_forecast`, for every whole day. ``init_time`` is the start of
        the run, ``lead_time`` 1 day and on, the end of each day; ``day`` (init_time, lead_time) is when it
        begins.

    Raises
    ------
    VadoseError
        When leads of a day are missing, granules differ in grid, or one comes twice.
    """
    runs: dict[tuple[pd.Timestamp, str], Fields] = {}
    used: list[Path] = []
    masked: dict[str, Counter[str]] = defaultdict(Counter)
    unread: Counter[str] = Counter()
    where: xr.Dataset | None = None
    for path in paths:
        run, member, here, fields, counts, skipped = read_fields(path, bbox, names)
        for name, of in counts.items():
            masked[name] += of
        unread += skipped
        if where is None:
            where = here
        elif not (here.lat.equals(where.lat) and here.lon.equals(where.lon)):
            raise VadoseError(f"{path}: another grid than {used[0].name}; give granules of one resolution")
        known = runs.setdefault((run, member), {})
        # GFS repeats the rain of the first hours; the same time from two files is one file given twice.
        if twice := [key for key in fields if key in known]:
            raise VadoseError(f"{path}: {twice[0][0]} of {twice[0][1]}-{twice[0][2]} h after {run} was read already")
        known |= fields
        used.append(path)
    if where is None:
        raise VadoseError("weather forecast: no granule given")
    runs = {key: with_humidity(fields) for key, fields in runs.items()}
    inits, members = sorted({run for run, _ in runs}), sorted({member for _, member in runs})
    if missing := [f"{run:%Y-%m-%d %H} UTC {m}" for run in inits for m in members if (run, m) not in runs]:
        raise VadoseError(f"weather forecast: no granule of {', '.join(missing[:4])}; give each run's every member")
    days = min(max(end for _, _, end in fields) // _HOURS_A_DAY for fields in runs.values())
    if not days:
        raise VadoseError(f"{used[-1]}: with {len(used)} granules no run reaches lead 24 h; give a whole day's leads")
    found = [name for name in VARIABLES if any(key[0] == name for key in runs[inits[0], members[0]])]
    shape = (len(inits), days, len(members), where.sizes["lat"], where.sizes["lon"])
    data = {name: np.empty(shape, np.float32) for name in found}
    for (run, member), fields in runs.items():
        what = f"{used[0].parent}: run {run:%Y-%m-%d %H} UTC {member}"
        for day in range(days):
            for name in found:
                data[name][inits.index(run), day, members.index(member)] = of_day(
                    what, name, fields, _HOURS_A_DAY * day, _HOURS_A_DAY * (day + 1)
                )
    begin = np.array([[run + pd.Timedelta(days=day) for day in range(days)] for run in inits], "datetime64[ns]")
    dataset = where.assign_coords(
        init_time=pd.DatetimeIndex(inits).as_unit("ns"),
        lead_time=pd.to_timedelta(np.arange(1, days + 1), unit="D").as_unit("ns"),
        member=members,
        day=(("init_time", "lead_time"), begin),
    )
    for name, values in data.items():
        dataset[name] = ("init_time", "lead_time", "member", "lat", "lon"), values, dict(masked[name])
    if len(members) == 1:
        dataset = dataset.squeeze("member")
    dataset.init_time.attrs = {"standard_name": "forecast_reference_time", "long_name": "start of the run"}
    dataset.lead_time.attrs = {"standard_name": "forecast_period", "long_name": "from the run's start to the day's end"}
    dataset.attrs |= _attributes(used, members[0], unread)
    return describe(dataset)


def is_weather_forecast(path: Path) -> bool:
    """Whether a file is a GRIB-2 forecast of NCEP with any variable that is read here."""
    if container_of(path) != "grib":
        return False
    found = messages(path, lambda keys: name_of(keys) is not None and keys["centre"] == "kwbc")
    return next(found, None) is not None


def _longest(item: tuple[tuple[str, int, int], Array]) -> int:
    (_, start, end), _ = item
    return start - end


def of_day(what: str, name: str, fields: Fields, start: int, end: int) -> Array:
    """Sum, mean or extreme of a variable over the hours from ``start`` to ``end`` after the run's start.

    Raises
    ------
    VadoseError
        When it cannot be made of the fields; ``what`` says which run they are of.
    """
    times = {(a, b): values for (n, a, b), values in fields.items() if n == name}
    day = f"{what}: {name} of hours {start}-{end}"
    if name not in OVER_TIME:
        leads = sorted(b for _, b in times if start < b <= end)
        spacing = {b - a for a, b in zip([start, *leads], leads, strict=False)}
        if not leads or leads[-1] != end or len(spacing) > 1 or max(spacing) > 6:
            raise VadoseError(f"{day}: found leads {leads}; they have to be evenly spaced, at most 6 h, up to {end}")
        mean: Array = np.mean([times[b, b] for b in leads], axis=0)
        return mean
    if name in ("air_temperature_max", "air_temperature_min"):
        within = {t: values for t, values in times.items() if start <= t[0] and t[1] <= end}
        if {h for a, b in within for h in range(a, b)} != set(range(start, end)):
            raise VadoseError(f"{day}: found {_told(times, start, end)}; fetch the leads between")
        extreme: Array = (np.max if name.endswith("max") else np.min)(list(within.values()), axis=0)
        return extreme
    rain = name == "precipitation"
    total = np.zeros(next(iter(times.values())).shape)
    if (chain := _chain(set(times), start, end)) is None:
        raise VadoseError(
            f"{day}: found {_told(times, start, end)}, of which it cannot be made; fetch the leads between"
        )
    for time, sign in chain:
        total += sign * times[time] * (1 if rain else time[1] - time[0])
    # Differences of packed numbers may fall just below zero.
    return np.maximum(total if rain else total / (end - start), 0)


def _told(times: Iterable[tuple[int, int]], start: int, end: int) -> str:
    return ", ".join(f"{a}-{b}" for a, b in sorted(times) if a < end and b > start) + " h"


def _chain(times: set[tuple[int, int]], start: int, end: int) -> list[tuple[tuple[int, int], int]] | None:
    """Times whose signed sum is from ``start`` to ``end``, with the fewest taken off; None if there are none.

    Hours are places and each time a way from its begin to its end, or, taken off, back: 0-6 h less 0-3 h goes
    from 3 back to 0 and on to 6.
    """
    ways: dict[int, list[tuple[int, int, tuple[int, int], int]]] = {}
    for a, b in times:
        ways.setdefault(a, []).append((b, 1, (a, b), 1))
        ways.setdefault(b, []).append((a, _BACKWARD, (a, b), -1))
    queue: list[tuple[int, int, list[tuple[tuple[int, int], int]]]] = [(0, start, [])]
    done: set[int] = set()
    while queue:
        cost, hour, chain = heapq.heappop(queue)
        if hour == end:
            return chain
        if hour in done:
            continue
        done.add(hour)
        for other, price, time, sign in ways.get(hour, ()):
            if other not in done:
                heapq.heappush(queue, (cost + price, other, [*chain, (time, sign)]))
    return None


def _attributes(paths: list[Path], member: str, unread: Counter[str]) -> dict[str, str]:
    left_out = {"left_out": ", ".join(f"{n} messages {what}" for what, n in unread.items())} if unread else {}
    return left_out | {
        "product": "GFS" if member == "deterministic" else "GEFS",
        "version": "unknown",
        "granule": paths[0].name if len(paths) == 1 else f"{len(paths)} granules from {min(p.name for p in paths)}",
        "quality": f"none: the product carries no quality flag; {SOIL_RULE}",
        "day_boundary": "days of 24 h after the start of the run",
        "simulated": "true" if any((p.parent / SIMULATED_MARKER).exists() for p in paths) else "false",
    }


PRODUCT = Product(
    "Numerical weather forecasts GEFS and GFS",
    "grid",
    "10.1175/WAF-D-21-0112.1",
    read_weather_forecast,
    is_weather_forecast,
    FILE_NAME,
    "about 6 hours",
    sources=("gefs", "gfs"),
    twin=Twin("weather_forecast.write_weather_forecast", "forecast"),
)
