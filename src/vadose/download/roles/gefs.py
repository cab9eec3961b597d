"""The ensemble GEFS at any place: one run whole, each member's days from its leads every 6 hours.

Files of 0.25 degree reach 240 hours, those of 0.5 degree 384 hours, and of the run of 00 UTC 840. Amounts and extremes
are those of 6 hours. gridMET's day begins at 07 UTC, so that days here begin at 06 UTC: day 1 of a run is from 6 to
30 hours after its start, on the date of the run.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode, urlsplit

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.download.area import BBox
from vadose.download.check import check_grib
from vadose.download.client import AgainError, Client, MissingError, service
from vadose.download.listers import MESSAGES
from vadose.download.plan import RemoteFile
from vadose.download.roles.access import Access, Tried, alone, keep, kept
from vadose.download.roles.where import Array, Where
from vadose.download.transfer import download
from vadose.errors import VadoseError
from vadose.products.weather_forecast import of_day
from vadose.products.weather_messages import Fields, read_fields

BEGIN = 6
"""Hours after the run's start at which its first day begins."""
FINE, LONG, LONGEST = 240, 384, 840
WANTED = {
    "APCP": MESSAGES["APCP"],
    "TMAX": ":TMAX:2 m above ground:",
    "TMIN": ":TMIN:2 m above ground:",
    "RH": MESSAGES["RH"],
    "DSWRF": MESSAGES["DSWRF"],
}
NAMES = ("precipitation", "air_temperature_max", "air_temperature_min", "relative_humidity", "shortwave_radiation")
MARGIN = 0.75
"""Asked for around the places, so that each has neighbours on both grids [degree]."""
MEMBERS = ("c00", *(f"p{k:02d}" for k in range(1, 31)))
WORKERS = 4
PACE = 0.5
"""Seconds between two requests to NOMADS, which allows 120 a minute."""
KEPT_RUNS = 10

Get = Callable[[Client, RemoteFile, BBox, Path], None]


@dataclass(frozen=True)
class Run:
    """A run of 00 UTC."""

    day: date

    def leads(self, days: range) -> range:
        """Leads that days, 1 the first, are made of [hour].

        Examples
        --------
        >>> list(Run(date(2026, 11, 29)).leads(range(1, 2)))
        [12, 18, 24, 30]
        """
        return range(BEGIN + 24 * (days.start - 1) + 6, BEGIN + 24 * (days.stop - 1) + 1, 6)

    def file(self, member: str, lead: int) -> tuple[str, str]:
        """Folder below the archive's and name of a file."""
        folder, grid = ("pgrb2sp25", "s.0p25") if lead <= FINE else ("pgrb2ap5", "a.0p50")
        return f"gefs.{self.day:%Y%m%d}/00/atmos/{folder}", f"ge{member}.t00z.pgrb2{grid}.f{lead:03d}"


def reach(hours: float) -> int:
    """Days that a run holds so many hours after its start: published to 384 h after 7 hours, to 840 h after 29.

    Examples
    --------
    >>> reach(5), reach(8), reach(30)
    (0, 15, 34)
    """
    last = LONGEST if hours >= 29 else LONG if hours >= 7 else 0
    return max((last - BEGIN) // 24, 0)


class Pace:
    """Keeps requests of all threads apart."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.lock, self.next = seconds, threading.Lock(), 0.0

    def wait(self, client: Client) -> None:
        """Wait for one's turn."""
        with self.lock:
            now = time.monotonic()
            delay, self.next = max(self.next - now, 0.0), max(self.next, now) + self.seconds
        if delay:
            client.wait(delay)


_PACE = Pace(PACE)


def by_box(client: Client, file: RemoteFile, box: BBox, path: Path) -> None:
    """A box cut by NOMADS, of the variables wanted."""
    west, south, east, north = box
    script = "filter_gefs_atmos_0p25s.pl" if "0p25" in file.name else "filter_gefs_atmos_0p50a.pl"
    folder = file.url.rpartition("/")[0]
    asked = {"dir": f"/{folder}", "file": file.name} | {f"var_{name}": "on" for name in WANTED}
    asked |= {"lev_surface": "on", "lev_2_m_above_ground": "on", "subregion": ""}
    asked |= {"toplat": f"{north:g}", "leftlon": f"{west:g}", "rightlon": f"{east:g}", "bottomlat": f"{south:g}"}
    url = f"{service('nomads')}/cgi-bin/{script}?{urlencode(asked)}"

    def attempt() -> bytes:
        _PACE.wait(client)
        with client.open(url, file.name) as response:
            content = response.content
            if not content.startswith(b"GRIB") and urlsplit(response.url).path != urlsplit(url).path:
                raise VadoseError(
                    f"{file.name}: NOMADS redirects (302) instead of answering: it blocks addresses that ask too often"
                )
        if not content:
            raise AgainError("NOMADS sent an empty answer")
        if not content.startswith(b"GRIB"):
            raise VadoseError(f"{file.name}: NOMADS sent no GRIB message (it begins with {content[:20]!r})")
        return content

    path.write_bytes(client.persist(file.name, attempt))
    check_grib(file, path)


def by_index(archive: str) -> Get:
    """Messages wanted of a file of an archive, by the index beside it."""

    def get(client: Client, file: RemoteFile, box: BBox, path: Path) -> None:
        url = f"{service(archive)}/{file.url}"
        download(client, RemoteFile(file.name, url, messages=tuple(WANTED.values())), path)

    return get


SOURCES: dict[str, Get] = {
    "GEFS from NOMADS": by_box,
    "GEFS from Amazon": by_index("gefs"),
    "GEFS from Google": by_index("gefs_google"),
}


def gefs(
    run: Run, days: int, members: Sequence[str], where: Where, get: Get, access: Access, tried: Tried
) -> tuple[xr.Dataset, list[str]]:
    """Days 1 to ``days`` of a run (member, time, ...) as one source has them, and the members dropped.

    A member that lacks a lead, or a variable of one, is dropped. What came is kept, a file a member.

    Raises
    ------
    VadoseError
        When the run's last lead is not there, or half of the members or more are short.
    """
    found: dict[str, xr.Dataset] = {}
    dropped: list[str] = []
    with alone(access.folder / "weather_ahead" / "gefs" / f"{run.day:%Y%m%d}" / where.key) as folder:
        for k, member in enumerate(members):
            access.progress(f"weather ahead: GEFS of {run.day}, member {member}", k / len(members))
            path = folder / f"{member}.nc"
            copy = kept(path)
            if copy is not None and copy.sizes["time"] >= days:
                found[member] = copy.isel(time=slice(days))
                continue
            if access.offline:
                raise VadoseError(f"offline, and member {member} of the run of {run.day} is not in {access.folder}")
            try:
                found[member] = keep(days_of(run, range(1, days + 1), member, where, get, access), path, access)
            except VadoseError as error:
                if not found:
                    raise  # the first member tells whether the run is there at all
                dropped.append(member)
                tried.note(f"member {member} of the run of {run.day} dropped: {error}")
                if 2 * len(dropped) >= len(members):
                    raise VadoseError(
                        f"{len(dropped)} of {len(members)} members of the run of {run.day} are short of leads"
                    ) from None
    names = xr.DataArray(np.array(list(found)), dims="member", name="member")
    whole = xr.concat(list(found.values()), names, join="exact", combine_attrs="override")
    return whole, dropped


def days_of(run: Run, days: range, member: str, where: Where, get: Get, access: Access) -> xr.Dataset:
    """Days of one member, 1 the first, over (time, ...).

    Raises
    ------
    VadoseError
        When any lead is missing, or a variable of one.
    """
    fields: Fields = {}
    box = where.box(MARGIN)
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(WORKERS) as pool:
        # The last lead first: it is published last.
        leads = sorted(run.leads(days), key=lambda lead: lead != run.leads(days)[-1])
        paths = {lead: Path(scratch, *run.file(member, lead)) for lead in leads}

        def one(lead: int) -> None:
            folder, name = run.file(member, lead)
            paths[lead].parent.mkdir(parents=True, exist_ok=True)
            try:
                get(access.ask, RemoteFile(name, f"{folder}/{name}"), box, paths[lead])
            except MissingError:
                raise VadoseError(f"{name} is not there") from None

        try:
            one(leads[0])
            for _ in pool.map(one, leads[1:]):
                pass
        except VadoseError:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        grids: dict[tuple[int, int, float, float], tuple[NDArray[np.intp], Array]] = {}
        for path in paths.values():
            messages = read_fields(path, box, NAMES)
            lat, lon = messages.where.lat.values, messages.where.lon.values
            known = (len(lat), len(lon), float(lat[0]), float(lon[0]))
            if known not in grids:
                grids[known] = bilinear(lat, lon, *where.flat())
            at, share = grids[known]
            if lost := [name for name in NAMES if not any(key[0] == name for key in messages.fields)]:
                raise VadoseError(f"{path.name}: holds no {', '.join(lost)}")
            fields |= {key: (values.ravel()[at] * share).sum(axis=0) for key, values in messages.fields.items()}
    return daily(run, days, member, where, fields)


def daily(run: Run, days: range, member: str, where: Where, fields: Fields) -> xr.Dataset:
    """Days of a member, 1 the first, from its messages interpolated to the places."""
    what, begins = f"GEFS {run.day} {member}", [BEGIN + 24 * (day - 1) for day in days]
    values = {
        name: np.stack([of_day(what, name, fields, begin, begin + 24) for begin in begins])
        for name in NAMES
        if name != "relative_humidity"
    }
    humidity = []
    for begin in begins:
        states = [
            v for (name, _, end), v in fields.items() if name == "relative_humidity" and begin < end <= begin + 24
        ]
        humidity.append(0.5 * (np.max(states, axis=0) + np.min(states, axis=0)))  # as gridMET's, of highest and lowest
    values["relative_humidity"] = np.stack(humidity)
    if bool((values["air_temperature_min"] > values["air_temperature_max"] + 0.05).any()):
        raise VadoseError(f"{what}: the lowest temperature of a day exceeds the highest")
    time_axis = pd.date_range(run.day + timedelta(days=days.start - 1), periods=len(days), unit="ns")
    return where.dataset(values, time=time_axis).assign_attrs(run=f"{run.day} 00 UTC", leads=len(run.leads(days)))


def bilinear(lat: Array, lon: Array, to_lat: Array, to_lon: Array) -> tuple[NDArray[np.intp], Array]:
    """Flat indices (4, place) of the four neighbours on a regular grid, and their shares.

    Examples
    --------
    >>> at, share = bilinear(np.array([40.0, 39.0]), np.array([-97.0, -96.0]), np.array([39.5]), np.array([-96.25]))
    >>> at.T.tolist(), share.T.tolist()
    ([[0, 1, 2, 3]], [[0.125, 0.375, 0.125, 0.375]])
    """

    def side(axis: Array, to: Array) -> tuple[NDArray[np.intp], Array]:
        if len(axis) < 2:
            raise VadoseError("a part of the forecast is a single row or column; its neighbours are missing")
        position = np.clip((to - axis[0]) / (axis[1] - axis[0]), 0, len(axis) - 1)
        low = np.minimum(position.astype(np.intp), len(axis) - 2)
        return low, position - low

    (row, down), (column, right) = side(lat, to_lat), side(lon, to_lon)
    at = np.stack([(row + r) * len(lon) + column + c for r in (0, 1) for c in (0, 1)])
    share = np.stack([(down if r else 1 - down) * (right if c else 1 - right) for r in (0, 1) for c in (0, 1)])
    return at, share
