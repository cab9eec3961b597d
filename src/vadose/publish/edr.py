"""Positions and areas of a source for programs, in the forms of OGC API - Environmental Data Retrieval."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.publish.page import as_json
from vadose.publish.sources import Source

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_VALUES = 500_000
"""Numbers in an answer for machines."""
MOST_VERTICES = 200
_NUMBER = r"[-+]?\d{1,4}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,2})?"
_POINT = re.compile(rf"POINT ?\( ?({_NUMBER}) +({_NUMBER}) ?\)")
_POLYGON = re.compile(rf"POLYGON ?\( ?\( ?({_NUMBER} +{_NUMBER}(?: ?, ?{_NUMBER} +{_NUMBER})*) ?\) ?\)")
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}


class Refused(Exception):
    """A request that is not answered: status and reason."""


def collection(source: Source) -> dict[str, Any]:
    """What a source holds, as EDR describes a collection."""
    lat, lon = source.data.lat.values, source.data.lon.values
    valid = source.issued[0], source.issued[-1] + pd.Timedelta(days=max(source.leads))
    queries = {name: {"link": {"href": f"/collections/{source.id}/{name}"}} for name in ("position", "area")}
    return {
        "id": source.id,
        "title": f"{source.model}, {source.layer}",
        "extent": {
            "spatial": {"bbox": [[float(v) for v in (lon.min(), lat.min(), lon.max(), lat.max())]], "crs": "OGC:CRS84"},
            "temporal": {"interval": [[f"{day:%Y-%m-%dT00:00:00Z}" for day in valid]]},
        },
        "init": [f"{day:%Y-%m-%d}" for day in source.issued],
        "lead": source.leads,
        "data_queries": queries,
        "parameter_names": _parameters(source, list(map(str, source.data.data_vars))),
        "output_formats": ["CoverageJSON", "CSV"],
        "simulated": source.attributes.get("simulated") == "true",
        "facts": source.about()["facts"],
    }


def position(source: Source, request: "Request") -> "Response":
    """Values at the cell that holds a point: along the leads of a day of issue, or the days of issue at a lead."""
    text = _POINT.fullmatch(request.query_params.get("coords", ""))
    if text is None:
        raise Refused(400, "coords: expected POINT(LON LAT) in degrees, such as POINT(-100.5 40.2)")
    lon, lat = map(float, text.groups())
    row, column = _cell(source, lat, lon)
    place = (float(source.data.lat.values[row]), float(source.data.lon.values[row if source.points else column]))
    return _answer(source, request, [row], [column], [place])


def area(source: Source, request: "Request") -> "Response":
    """Values at the cells whose centres lie within a polygon, of one day of issue or one lead."""
    text = _POLYGON.fullmatch(request.query_params.get("coords", ""))
    ring = [tuple(map(float, pair.split())) for pair in text.group(1).split(",")] if text else []
    if len(ring) < 4 or ring[0] != ring[-1] or len(ring) > MOST_VERTICES:
        raise Refused(
            400, f"coords: expected POLYGON((LON LAT, ...)), closed, of 4 to {MOST_VERTICES} points in degrees"
        )
    rows, columns = _within(source, np.array(ring))
    if not len(rows):
        raise Refused(404, "no cell has its centre within the polygon")
    lat, lon = source.data.lat.values, source.data.lon.values
    places = list(zip(lat[rows].tolist(), lon[rows if source.points else columns].tolist(), strict=True))
    return _answer(source, request, rows.tolist(), columns.tolist(), places)


def _answer(
    source: Source,
    request: "Request",
    rows: Sequence[int],
    columns: Sequence[int],
    places: Sequence[tuple[float, float]],
) -> "Response":
    """Values (time, place) as CoverageJSON or CSV."""
    from starlette.responses import Response

    given = request.query_params
    names = [
        choice(name, list(map(str, source.data.data_vars)), "parameter-name")
        for name in given.get("parameter-name", ",".join(map(str, source.data.data_vars))).split(",")
    ]
    form = choice(given.get("f", "CoverageJSON"), ["CoverageJSON", "CSV"], "f")
    issue = issue_of(source, request) if "init" in given or "lead" not in given else None
    lead = lead_of(source, request) if "lead" in given else None
    issues = range(len(source.issued)) if issue is None else [issue]
    leads = range(len(source.leads)) if lead is None else [lead]
    if (size := len(places) * len(issues) * len(leads) * len(names)) > MOST_VALUES:
        raise Refused(
            413,
            f"{size} values asked for, {MOST_VALUES} are sent at most; give a smaller polygon, or init, lead and "
            "parameter-name",
        )
    y, x = (slice(min(of), max(of) + 1) for of in (rows, columns))
    at = {"init_time": slice(issues[0], issues[-1] + 1), "lead_time": slice(leads[0], leads[-1] + 1)}
    block = (len(issues) * len(leads), -1, (x.stop - x.start) if not source.points else 1)
    found = {
        name: source.values(name, y=y, x=x, **at).reshape(block)[
            :, np.array(rows) - y.start, np.array(columns) - x.start
        ]
        for name in names
    }
    times = [(source.issued[i], source.leads[k]) for i, k in product(issues, leads)]
    if form == "CSV":
        return Response(_csv(times, places, found), media_type="text/csv", headers=HEADERS)
    return json_of(_coverage(source, times, places, found), media_type="application/prs.coverage+json")


def _csv(
    times: Sequence[tuple[pd.Timestamp, int]],
    places: Sequence[tuple[float, float]],
    found: Mapping[str, NDArray[Any]],
) -> str:
    lines = [",".join(["init_time", "lead_days", "valid_day", "lat", "lon", *found])]
    for t, (init, lead) in enumerate(times):
        days = f"{init:%Y-%m-%d},{lead},{init + pd.Timedelta(days=lead):%Y-%m-%d}"
        for p, (lat, lon) in enumerate(places):
            values = ("" if np.isnan(of[t, p]) else f"{of[t, p]:.6g}" for of in found.values())
            lines.append(",".join([days, f"{lat:.5f}", f"{lon:.5f}", *values]))
    return "\n".join(lines) + "\n"


def _coverage(
    source: Source,
    times: Sequence[tuple[pd.Timestamp, int]],
    places: Sequence[tuple[float, float]],
    found: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    """CoverageJSON: a PointSeries of one place, of several a MultiPointSeries."""
    valid = [f"{init + pd.Timedelta(days=lead):%Y-%m-%dT00:00:00Z}" for init, lead in times]
    several = len(places) > 1
    where: dict[str, Any] = (
        {"composite": {"dataType": "tuple", "coordinates": ["x", "y"], "values": [[lon, lat] for lat, lon in places]}}
        if several
        else {"x": {"values": [places[0][1]]}, "y": {"values": [places[0][0]]}}
    )
    axes, shape = (["t", "composite"], [len(valid), len(places)]) if several else (["t"], [len(valid)])
    crs = {"type": "GeographicCRS", "id": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
    return {
        "type": "Coverage",
        "domain": {
            "type": "Domain",
            "domainType": "MultiPointSeries" if several else "PointSeries",
            "axes": {"t": {"values": valid}, **where},
            "referencing": [
                {"coordinates": ["x", "y"], "system": crs},
                {"coordinates": ["t"], "system": {"type": "TemporalRS", "calendar": "Gregorian"}},
            ],
        },
        "parameters": _parameters(source, list(found)),
        "ranges": {
            name: {
                "type": "NdArray",
                "dataType": "float",
                "axisNames": axes,
                "shape": shape,
                "values": [None if np.isnan(v) else round(float(v), 5) for v in of.ravel()],
            }
            for name, of in found.items()
        },
    }


def _parameters(source: Source, names: Sequence[str]) -> dict[str, Any]:
    """Parameters as of CoverageJSON."""
    return {
        name: {
            "type": "Parameter",
            "observedProperty": {"label": {"en": str(source.data[name].attrs.get("long_name", name))}},
            "unit": {"symbol": str(source.data[name].attrs.get("units", "1"))},
        }
        for name in names
    }


def json_of(value: object, status: int = 200, media_type: str = "application/json") -> "Response":
    """An answer as JSON."""
    from starlette.responses import Response

    return Response(as_json(value), status, headers=HEADERS, media_type=media_type)


def choice(name: str, known: Sequence[str], what: str) -> str:
    """One of the known names, or a refusal that lists them."""
    if name not in known:
        raise Refused(400, f"{what} {name[:40]!r} unknown; expected one of {list(known)}")
    return name


def issue_of(source: Source, request: "Request") -> int:
    """Position of the day of issue asked for, the last one by default."""
    text = request.query_params.get("init")
    if text is None:
        return len(source.issued) - 1
    days = {f"{day:%Y-%m-%d}": k for k, day in enumerate(source.issued)}
    if text not in days:
        ends = list(days)
        raise Refused(400, f"init {text[:20]!r}: expected a day of issue as YYYY-MM-DD, {ends[0]} .. {ends[-1]}")
    return days[text]


def lead_of(source: Source, request: "Request") -> int:
    """Position of the lead asked for, the first one by default."""
    text = request.query_params.get("lead", str(source.leads[0]))
    return source.leads.index(int(choice(text, list(map(str, source.leads)), "lead")))


def number_of(request: "Request", name: str, size: int) -> int:
    """A parameter that is a position among so many."""
    text = request.query_params.get(name, "")
    if not re.fullmatch("[0-9]{1,6}", text) or int(text) >= size:
        raise Refused(400, f"{name} {text[:20]!r}: expected a whole number from 0 to {size - 1}")
    return int(text)


def _cell(source: Source, lat: float, lon: float) -> tuple[int, int]:
    """Row and column of the cell that holds a point; of stations the one within a tenth of a degree."""
    lats, lons = source.data.lat.values, source.data.lon.values
    if source.points:
        apart = np.hypot(lats - lat, (lons - lon) * np.cos(np.radians(lat)))
        row = int(apart.argmin())
        if apart[row] > 0.1:
            raise Refused(404, "no station within a tenth of a degree of the point")
        return row, 0
    found = []
    for values, value in ((lats, lat), (lons, lon)):
        nearest = int(np.abs(values - value).argmin())
        half = float(np.abs(np.diff(values)).max(initial=0.0) or 0.1) / 2
        if abs(values[nearest] - value) > half * 1.001:
            raise Refused(404, f"the point lies outside of {source.id}; see its extent at /collections/{source.id}")
        found.append(nearest)
    return found[0], found[1]


def _within(source: Source, ring: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cells whose centres lie within a closed ring of (lon, lat), by even-odd crossings."""
    lat, lon = source.data.lat.values, source.data.lon.values
    (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
    if source.points:
        rows = np.flatnonzero((lat >= south) & (lat <= north) & (lon >= west) & (lon <= east))
        columns = np.zeros_like(rows)
        y, x = lat[rows], lon[rows]
    else:
        inside = np.flatnonzero((lat >= south) & (lat <= north)), np.flatnonzero((lon >= west) & (lon <= east))
        if len(inside[0]) * len(inside[1]) > 4 * MOST_VALUES:
            raise Refused(413, f"the polygon's box holds more than {4 * MOST_VALUES} cells; give a smaller one")
        rows, columns = (of.ravel() for of in np.meshgrid(*inside, indexing="ij"))
        y, x = lat[rows], lon[columns]
    within = np.zeros(len(rows), bool)
    for (x0, y0), (x1, y1) in pairwise(ring):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            within ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return rows[within], columns[within]
