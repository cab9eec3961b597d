"""What others say of drought and soil moisture at a place: for comparison beside an outlook, never an input of it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from pyproj import Transformer
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from vadose.artefact import writing
from vadose.download.client import MissingError, service
from vadose.download.roles.access import Access
from vadose.download.roles.ranged import nearest_in_file
from vadose.errors import VadoseError

CLASSES = ("d0", "d1", "d2", "d3", "d4")
RELEASED = timedelta(days=2)
"""A map is of a Tuesday and released on the Thursday after it."""
WEEKS_BACK, DAYS_BACK = timedelta(days=21), timedelta(days=14)
"""How old a map of drought, and a value of soil moisture, may be."""
SWATHS = 4
"""Days of Crop-CASMA that are asked for, the newest first, until one has a value at the place."""
HOUR, RUNS = 12, 3
"""Hour [UTC] of the National Water Model's analyses that are asked for, and how many, the newest first."""
LAYERS = ("0-10 cm", "10-40 cm", "40-100 cm", "100-200 cm")
LAMBERT = "+proj=lcc +lat_0=40 +lon_0=-97 +lat_1=30 +lat_2=60 +x_0=0 +y_0=0 +R=6370000 +units=m"


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
        By name; of the Drought Monitor percent of the county's area, of soil moisture m3 m-3 by layer.
    reason
        Why there is no value, else empty.
    """

    source: str
    day: date | None = None
    known: date | None = None
    value: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    def told(self, place: str) -> str:
        """In words, for a place by its name.

        Examples
        --------
        >>> Compared("Crop-CASMA", date(2026, 11, 26), value={"0-5 cm": 0.23}).told("Riley, KS")
        'Crop-CASMA, Riley, KS, 2026-11-26: 0-5 cm 0.230 m3 m-3'
        """
        if not self.value:
            return f"{self.source}, {place}: {self.reason}"
        values = [
            f"{name.upper()} or worse {value:.0f} %" if name in CLASSES else f"{name} {value:.3f} m3 m-3"
            for name, value in self.value.items()
            if name != "none"
        ]
        return f"{self.source}, {place}, {self.day}: {', '.join(values)}"


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
    found = _newest(source, path, day - RELEASED, WEEKS_BACK, access, partial(_asked, county, day, access))
    return replace(found, known=found.day and found.day + RELEASED)


def crop_casma(lat: float, lon: float, day: date | None = None, *, access: Access | None = None) -> Compared:
    """Soil moisture of 0-5 cm by Crop-CASMA (SMAP, 1 km), the newest of the two weeks to a day that a swath holds.

    Zhang et al. (2022), doi:10.1016/j.jag.2022.102902.
    """
    access = access or Access()
    day = day or access.today
    path = access.folder / "compare" / f"crop_casma_{lat:.3f}_{lon:.3f}.json"
    return _newest("Crop-CASMA", path, day, DAYS_BACK, access, partial(_swaths, lat, lon, day, access))


def national_water_model(lat: float, lon: float, day: date | None = None, *, access: Access | None = None) -> Compared:
    """Soil moisture of four layers by the analysis of the National Water Model (1 km), of 12 UTC.

    Cosgrove et al. (2024), doi:10.1111/1752-1688.13184.
    """
    access = access or Access()
    day = day or access.today
    path = access.folder / "compare" / f"national_water_model_{lat:.3f}_{lon:.3f}.json"
    ask = partial(_analysis, lat, lon, day, access)
    return _newest("National Water Model", path, day, DAYS_BACK, access, ask)


Values = dict[str, dict[str, float]]
"""Day -> value by name."""


def _newest(
    source: str, path: Path, last: date, back: timedelta, access: Access, ask: Callable[[], Values]
) -> Compared:
    """The newest of what is kept and what a service gives, none after ``last`` and none too old."""
    days, reason = _kept(path), ""
    if not access.offline:
        try:
            days |= ask()
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as scratch:
                scratch.write_text(json.dumps(days))
        except VadoseError as error:
            reason = " ".join(str(error).split())
            access.say(f"comparison: {source}: {reason}")
    known = [day for day in days if last - back <= date.fromisoformat(day) <= last]
    if not known:
        return Compared(source, reason=reason or f"nothing is known of the {back.days} days to {last}")
    return Compared(source, date.fromisoformat(max(known)), value=days[max(known)])


def _swaths(lat: float, lon: float, day: date, access: Access) -> Values:
    address, about = f"{service('crop_casma')}/mapserv", "Crop-CASMA"
    common = {"SERVICE": "WCS", "VERSION": "2.0.1", "MAP": f"/WMS/SMAP-HYB-1KM-DAILY_{day.year}.map"}
    text = access.ask.ask(address, about, common | {"REQUEST": "GetCapabilities"}).decode("utf-8", "replace")
    there = {date(*map(int, found)) for found in re.findall(r"SMAP-HYB-1KM-DAILY_(\d{4})\.(\d\d)\.(\d\d)_PM", text)}
    if not there:
        raise VadoseError(f"the service lists no day of {day.year}")
    x, y = Transformer.from_crs("EPSG:4326", "EPSG:5070", always_xy=True).transform(lon, lat)
    for of in sorted((of for of in there if day - DAYS_BACK <= of <= day), reverse=True)[:SWATHS]:
        asked = [*common.items(), ("REQUEST", "GetCoverage"), ("COVERAGEID", f"SMAP-HYB-1KM-DAILY_{of:%Y.%m.%d}_PM")]
        asked += [("FORMAT", "image/tiff"), ("SUBSET", f"x({x - 1500:.0f},{x + 1500:.0f})")]
        asked += [("SUBSET", f"y({y - 1500:.0f},{y + 1500:.0f})")]
        asked += [("SUBSETTINGCRS", "http://www.opengis.net/def/crs/EPSG/0/5070")]
        content = access.ask.ask(f"{address}?{urlencode(asked)}", about)
        try:
            with MemoryFile(content) as memory, memory.open(driver="GTiff") as raster:
                value = float(next(raster.sample([(x, y)]))[0])
        except RasterioError:
            raise VadoseError(f"the service sent no GeoTIFF (it begins with {content[:20]!r})") from None
        if 0 <= value < 1:  # a gap between swaths is -9999
            return {f"{of}": {"0-5 cm": value}}
    raise VadoseError(f"no swath of the newest {SWATHS} of its days to {day} holds the place")


def _analysis(lat: float, lon: float, day: date, access: Access) -> Values:
    at = Transformer.from_crs("EPSG:4326", LAMBERT, always_xy=True).transform(lon, lat)
    for of in (day - timedelta(days=back) for back in range(RUNS)):
        name = f"nwm.t{HOUR:02d}z.analysis_assim.land.tm00.conus.nc"
        url = f"{service('national_water_model')}/nwm.{of:%Y%m%d}/analysis_assim/{name}"
        try:
            values = nearest_in_file(access.ask, url, name, "SOIL_M", at)
        except MissingError:
            continue
        if len(values) != len(LAYERS) or not ((values >= 0) & (values < 1)).all():
            raise VadoseError(f"{name}: holds {np.round(values, 3).tolist()}; expected {len(LAYERS)} layers in m3 m-3")
        return {f"{of}": dict(zip(LAYERS, values.round(4).tolist(), strict=True))}
    raise VadoseError(f"no analysis of {HOUR} UTC of the {RUNS} days to {day} is there")


def _asked(county: str, day: date, access: Access) -> Values:
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


def _kept(path: Path) -> Values:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
