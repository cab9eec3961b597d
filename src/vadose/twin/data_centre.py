"""The data centres that an outlook asks, on this machine: simulated files in the real forms, under the real paths.

`DataCentre` serves gridMET's subset service, nClimGrid-Daily by county, GEFS (archive with indices, a mirror, NOMADS
boxes), SOLUS100, POLARIS, 3DEP, Copernicus GLO-30, the NLCD coverage service, the Drought Monitor, Crop-CASMA and the
National Water Model's land analysis. Its present time can be moved, and faults are switched on by service and day:

>>> from datetime import date, datetime
>>> from pathlib import Path
>>> with DataCentre(Path("."), now=datetime(2026, 11, 30, 12)) as centre:
...     centre.now = datetime(2026, 12, 1, 12)  # the next day: a day more of gridMET, another run of GEFS
...     centre.fault("gridmet", "no rain", date(2026, 12, 1), date(2026, 12, 3))
...     sorted(centre.environment())[:2]  # to be set in the environment of whoever asks
['VADOSE_URL_3DEP', 'VADOSE_URL_CROP_CASMA']
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.grid import ease_grid
from vadose.twin.compared import land_analysis, swath
from vadose.twin.forecast_files import index_of, lead_file
from vadose.twin.granules.soils import write_polaris, write_solus
from vadose.twin.granules.terrain import write_3dep, write_glo30, write_nlcd
from vadose.twin.land import land
from vadose.twin.serving import Answer, Centre, Handler, serve, status
from vadose.twin.subset import coverage, dataset_xml, subset, window

Array = NDArray[np.floating[Any]]
SERVICES = {
    "gridmet_all": "gridmet/ncss",
    "gridmet_subset": "gridmet/ncss/MET",
    "nclimgrid": "nclimgrid",
    "gefs": "gefs",
    "gefs_google": "gefs_google",
    "nomads": "nomads",
    "solus": "solus",
    "polaris": "polaris",
    "3dep": "3dep",
    "glo30": "glo30",
    "nlcd_window": "nlcd",
    "drought_monitor": "drought_monitor",
    "crop_casma": "crop_casma",
    "national_water_model": "national_water_model",
}
COUNTIES = {27: "Clay", 61: "Geary", 149: "Pottawatomie", 161: "Riley", 197: "Wabaunsee"}
"""Counties of Kansas that nClimGrid has; NCEI numbers the state 14."""
LAG = 2
"""Days from gridMET's newest day to the present one."""
PAGE = b"<!DOCTYPE html><html><body>under maintenance</body></html>"
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
WRITERS: dict[str, Callable[[xr.Dataset, Path], object]] = {
    "solus": lambda truth, folder: write_solus(
        truth, folder, ("claytotal", "sandtotal", "dbovendry"), (0, 5, 15, 30, 60, 100)
    ),
    "polaris": lambda truth, folder: write_polaris(truth, folder, ("clay", "sand", "bd")),
    "3dep": lambda truth, folder: write_3dep(truth, folder / "1" / "TIFF" / "current"),
    "glo30": write_glo30,
    "nlcd": lambda truth, folder: write_nlcd(truth, folder, 2024),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a service on some days.

    Of any service: ``away`` (503), ``forbidden`` (403, as of a bucket that became requester-pays), ``redirect`` (302 to
    a page), ``page`` (a web page instead of data), ``empty`` (0 bytes), ``missing`` (404).
    Of ``gridmet``: ``no rain``, ``cold`` (highs near 0 degrees Celsius, a daily range of 1 K), ``stalled`` (the newest
    day stays), ``moved back`` (by 5 days), ``nan`` (the first answer of each variable lacks every third day),
    ``crossed`` (lows exceed highs), ``repacked`` (other scale and offset, still right), ``short`` (a day is missing).
    Of ``gefs``, its mirror and ``nomads``: ``lost lead`` (the member ``detail`` lacks one), ``empty lead`` (0 bytes),
    ``short lead`` (lacks the rain), ``stale index``; ``late`` (the newest run is not there); ``biased`` (see
    `vadose.twin.forecast_files.lead_file`).
    """

    service: str
    kind: str
    first: date
    last: date
    detail: str = "p01"


class DataCentre(Centre):
    """See the module.

    Parameters
    ----------
    folder
        For rasters, which are written when they are first asked for.
    now
        The present time [UTC].
    box
        West, south, east, north of soil, terrain and cover [degree]; weather is everywhere.
    seed
        Of the weather.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: datetime,
        box: tuple[float, float, float, float] = (-96.68, 39.02, -96.52, 39.18),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder, self.now, self.box, self.seed = folder, now, box, seed
        self.faults: list[Fault] = []
        self._made: dict[tuple[object, ...], list[tuple[str, bytes]]] = {}
        # One thread for GDAL, which does not survive the end of each thread that served a request.
        self._gdal = ThreadPoolExecutor(1)

    def __enter__(self) -> "DataCentre":
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        self._gdal.shutdown()

    @property
    def today(self) -> date:
        """The present day."""
        return self.now.date()

    def environment(self) -> dict[str, str]:
        """Variables of the environment by which `vadose` finds these services."""
        return {f"VADOSE_URL_{name.upper()}": self.url(f"/{path}") for name, path in SERVICES.items()}

    def fault(
        self, service: str, kind: str, first: date | None = None, last: date | None = None, detail: str = "p01"
    ) -> None:
        """Switch a fault on, from today on or on the days given."""
        self.faults.append(Fault(service, kind, first or self.today, last or first or date.max, detail))

    def wrong(self, service: str) -> Iterator[Fault]:
        """Faults of a service today."""
        return (f for f in self.faults if f.service == service and f.first <= self.today <= f.last)

    def otherwise(self, request: Handler) -> Answer:
        """Answer of the service that the first step of the path names."""
        parts = urlsplit(request.path)
        service, _, rest = parts.path.lstrip("/").partition("/")
        kinds = {fault.kind for fault in self.wrong(service)}
        for kind, answer in TRANSPORT.items():
            if kind in kinds:
                return answer
        if service == "blocked":
            return TRANSPORT["page"]
        asked = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if service == "gridmet":
            return self._gridmet(rest, asked, kinds)
        if service == "nclimgrid":
            return self._counties(rest)
        if service in ("gefs", "gefs_google"):
            return self._file(service, rest)
        if service == "nomads":
            return self._box(asked)
        if service == "drought_monitor":
            return serve(json.dumps(self._drought(asked)).encode(), etag=None, Content_Type="application/json")
        if service == "crop_casma":
            return self._gdal.submit(swath, asked, parse_qs(parts.query).get("SUBSET", []), self.today).result()
        if service == "national_water_model":
            day = datetime.strptime(rest[4:12], "%Y%m%d").replace(hour=13)
            return serve(land_analysis(self.box)) if timedelta(0) < self.now - day < timedelta(days=30) else status(404)
        if service in WRITERS:
            return self._gdal.submit(self._raster, service, rest, asked).result()
        return status(404)

    def newest(self) -> date:
        """The newest day of gridMET."""
        stalled = [fault.first for fault in self.wrong("gridmet") if fault.kind == "stalled"]
        back = 5 * any(fault.kind == "moved back" for fault in self.wrong("gridmet"))
        return min([self.today, *stalled]) - timedelta(days=LAG + back)

    def _gridmet(self, rest: str, asked: Mapping[str, str], kinds: set[str]) -> Answer:
        path = rest.removeprefix("ncss/")
        if path.endswith("/dataset.xml"):
            return serve(dataset_xml(date(1979, 1, 1), self.newest()), etag=None)
        name = Path(path).stem
        short, year = (
            (name.split("_")[2], None) if name.startswith("agg_met_") else (name.split("_")[0], int(name[-4:]))
        )
        if "nan" in kinds and sum(rest in line[0] for line in self.log) > 1:
            kinds = kinds - {"nan"}
        weather = subset(asked, self._weather, self.newest(), self.today, kinds)
        return (
            status(400, b"no such days") if weather is None else serve(coverage(short, year, weather, kinds), etag=None)
        )

    def _weather(self, days: pd.DatetimeIndex) -> dict[str, Array]:
        """Weather of the days, a value each, before the place has its say."""
        years = [_year(self.seed, year) for year in range(days[0].year, days[-1].year + 1)]
        at = (days - days[0].replace(month=1, day=1)).days
        return {name: np.concatenate([of[name] for of in years])[at] for name in years[0]}

    def _counties(self, rest: str) -> Answer:
        """A table of nClimGrid: final 90 days after its month, then preliminary ones, up to three days ago."""
        short, yyyymm, _, table = Path(rest).stem.split("-")
        month = pd.Period(yyyymm, "M")
        final = (self.today - month.end_time.date()).days > 90
        newest = min(month.end_time.date(), self.today - timedelta(days=3))
        if final != (table == "scaled") or newest < month.start_time.date():
            return status(404)
        days = pd.date_range(month.start_time, newest)
        name, kelvin = {"prcp": ("precipitation", 0.0)}.get(short, (f"air_temperature_{short[1:]}", 273.15))
        told = self._weather(days)[name] - kelvin
        rows = [
            f'cty,14{code:03d},"KS: {county} County (simulated)",{month.year},{month.month:02d},{short.upper()},'
            + ",".join(f"{value:8.2f}" for value in [*told, *[-999.99] * (31 - len(told))])
            for code, county in COUNTIES.items()
        ]
        return serve("\n".join([*rows, ""]).encode(), etag=None)

    def _file(self, service: str, rest: str) -> Answer:
        url, index = rest.removesuffix(".idx"), rest.endswith(".idx")
        messages = self._messages(service, url, (-100.0, 36.0, -93.0, 42.0))
        if messages is None:
            return status(404)
        content = b"".join(part for _, part in messages)
        if index:
            stale = any(f.kind == "stale index" and f"ge{f.detail}" in url for f in self.wrong(service))
            return serve(index_of(messages, 5 * stale), etag=None)
        return serve(content)

    def _box(self, asked: Mapping[str, str]) -> Answer:
        day = datetime.strptime(asked["dir"][6:14], "%Y%m%d").date()
        box = tuple(float(asked[side]) for side in ("leftlon", "bottomlat", "rightlon", "toplat"))
        if (self.today - day).days > 4:
            return status(404)
        messages = self._messages("nomads", f"{asked['dir'].lstrip('/')}/{asked['file']}", box, south_first=True)
        if messages is None:
            return status(404)
        wanted = [content for line, content in messages if asked.get(f"var_{line.split(':')[0]}") == "on"]
        return serve(b"".join(wanted), etag=None)

    def _messages(
        self, service: str, url: str, box: tuple[float, ...], *, south_first: bool = False
    ) -> list[tuple[str, bytes]] | None:
        """Lines of the index, without numbers, and messages of a file of GEFS; None if it is not there."""
        folder, name = url.split("/")[0], url.rpartition("/")[2]
        run, member, lead = pd.Timestamp(folder[-8:]), name[2:5], int(name[-3:])
        hours = (pd.Timestamp(self.now) - run).total_seconds() / 3600
        faults = [f for f in self.wrong(service) if f.detail == member]
        late = any(f.kind == "late" for f in self.wrong(service)) and run.date() >= self.today
        if late or hours < published_after(lead) or (lead % 6 and lead > 240):
            return None
        there = [f.kind for f in faults]
        if lead == 24 and "lost lead" in there:
            return None
        if lead == 24 and "empty lead" in there:
            return []
        biased = any(f.kind == "biased" for f in self.wrong(service))
        if (key := (run, member, lead, box, south_first, biased)) not in self._made:
            weather = self._weather(pd.date_range(run, periods=36))
            options = {"south_first": south_first, "seed": self.seed, "biased": biased}
            self._made[key] = lead_file(run, member, lead, weather, box, **options)  # type: ignore[arg-type]
        found = self._made[key]
        return found[1:] if lead == 24 and "short lead" in there else found

    def _raster(self, service: str, rest: str, asked: Mapping[str, str]) -> Answer:
        folder = self.folder / service
        if not folder.exists():
            WRITERS[service](land(ease_grid("9km").bounding_box(*self.box), self.seed), folder)
        if service == "nlcd":
            content = window(next(folder.glob("*.tif")), asked)
            return status(400, b"<ServiceExceptionReport/>") if content is None else serve(content, etag=None)
        # Folders differ: tiles of 3DEP and GLO-30 lie in one of their own.
        paths = [folder / rest, *folder.rglob(Path(rest).name)]
        path = next((p for p in paths if p.is_file()), None) if service != "polaris" else folder / rest
        return serve(path.read_bytes()) if path and path.is_file() else status(404)

    def _drought(self, asked: Mapping[str, str]) -> object:
        """Weeks whose map was released: of Tuesdays, on Thursdays."""
        if not asked.get("aoi", "").isdigit():
            return []
        first, last = (datetime.strptime(asked[key], "%m/%d/%Y").date() for key in ("startdate", "enddate"))
        if first > last:
            return "start date is after end date"
        found = []
        for day in pd.date_range(first, last, freq="W-TUE").date:
            if day + timedelta(days=2) <= self.today:
                share = 70 + 30 * np.sin(day.toordinal() / 60)
                classes = {f"d{k}": round(max(share - 20 * k, 0), 2) for k in range(5)}
                found.append(
                    {"mapDate": f"{day}T00:00:00", "fips": asked["aoi"], "none": round(100 - share, 2)} | classes
                )
        return found[::-1]


TRANSPORT = {
    "away": status(503, b"down"),
    "forbidden": status(403, DENIED),
    "redirect": status(302, Location="/blocked"),
    "page": serve(PAGE, etag=None, Content_Type="text/html"),
    "empty": serve(b"", etag=None),
    "missing": status(404),
}


def published_after(lead: int) -> float:
    """Hours after the run's start at which a lead of GEFS is there.

    Examples
    --------
    >>> published_after(240), published_after(384), published_after(840)
    (5.6, 6.8, 28.0)
    """
    if lead > 384:
        return 28.0
    return 6.8 if lead > 240 else 5.6


@lru_cache(maxsize=64)
def _year(seed: int, year: int) -> dict[str, Array]:
    """Weather of a year at the middle of the country, a value a day."""
    days = pd.date_range(f"{year}-01-01", f"{year}-12-31")
    random = np.random.default_rng([seed, year])
    season = 2 * np.pi * (days.day_of_year.to_numpy() - 105) / 365.25
    wet = random.random(len(days)) < 0.25 + 0.08 * np.sin(season)
    anomaly = np.convolve(random.normal(size=len(days) + 4), np.ones(5) / 5, "valid") * 5
    high = 293.0 + 13 * np.sin(season) + anomaly - 3 * wet
    return {
        "precipitation": np.where(wet, random.exponential(9.0, len(days)) + 0.3, 0.0),
        "air_temperature_max": high,
        "air_temperature_min": high - 13 + 5 * wet + random.normal(size=len(days)),
        "relative_humidity_max": np.clip(85 + 10 * wet + random.normal(size=len(days)), 0, 100),
        "relative_humidity_min": np.clip(42 + 18 * wet + 3 * random.normal(size=len(days)), 0, 100),
        "shortwave_radiation": (200 + 105 * np.sin(season + 0.4)) * (1 - 0.45 * wet),
    }
