"""Counties and states of the United States by name, FIPS code, or a place inside."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache

import numpy as np
from numpy.typing import NDArray

from vadose.areas.borders import Rings, rings_of, topology
from vadose.errors import VadoseError

OUTSIDE_CONUS = {"02", "15", "60", "66", "69", "72", "78"}
"""FIPS codes of Alaska, Hawaii and the territories."""
_CITY = 510
"""From this number on, codes within a state are of cities that belong to no county."""
_KIND = re.compile(r"(county|parish|censusarea|municipality|cityandborough|borough)$")
KM_A_DEGREE = 111.2


@dataclass(frozen=True, eq=False)
class Area:
    """An area with a name.

    Attributes
    ----------
    code
        FIPS code, 5 digits of a county and 2 of a state; of own polygons their number.
    name
        Such as ``'Riley, KS'``, ``'Kansas'``.
    state
        Postal code of its state; ``''`` of own polygons.
    rings
        Closed rings of longitude and latitude [degree], outer ones anticlockwise, holes clockwise.
    """

    code: str
    name: str
    state: str
    rings: Rings = field(repr=False)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """West, south, east, north [degree]."""
        points = np.concatenate(self.rings)
        west, south, east, north = (float(v) for v in (*points.min(axis=0), *points.max(axis=0)))
        return west, south, east, north

    @property
    def in_conus(self) -> bool:
        """Whether a county or state lies in the conterminous United States."""
        return self.state != "" and self.code[:2] not in OUTSIDE_CONUS

    def holds(self, lat: float, lon: float) -> bool:
        """Whether a place lies inside: a ray from it to the east crosses the rings an odd number of times."""
        crossings = 0
        for ring in self.rings:
            (x0, y0), (x1, y1) = ring[:-1].T, ring[1:].T
            rises = (y0 > lat) != (y1 > lat)
            x = x0[rises] + (lat - y0[rises]) * (x1[rises] - x0[rises]) / (y1[rises] - y0[rises])
            crossings += int((x > lon).sum())
        return crossings % 2 == 1


@cache
def states() -> tuple[Area, ...]:
    """The states, the District of Columbia and the territories, by code."""
    kept = topology().states
    areas = (Area(s["id"], s["properties"]["name"], s["properties"]["postal"], rings_of(s)) for s in kept)
    return tuple(sorted(areas, key=lambda area: area.code))


@cache
def counties(state: str | None = None) -> tuple[Area, ...]:
    """Counties and what stands for them, by code; of one state (postal code) or of all.

    Examples
    --------
    >>> len(counties("KS")), counties("KS")[0].name
    (105, 'Allen, KS')
    """
    if state is not None:
        return tuple(area for area in counties() if area.state == state)
    postal = {area.code: area.state for area in states()}
    found = []
    for county in topology().counties:
        code, name, of = county["id"], county["properties"]["name"], postal[county["id"][:2]]
        city = " city" * (int(code[2:]) >= _CITY and not name.endswith("City"))
        found.append(Area(code, f"{name}{city}, {of}", of, rings_of(county)))
    return tuple(sorted(found, key=lambda area: area.code))


def find(text: str, kind: str = "county") -> Area:
    """The county or state of a name or FIPS code.

    Parameters
    ----------
    text
        ``'Riley, KS'``, ``'Riley County, Kansas'``, ``'20161'``; of states ``'Kansas'``, ``'KS'``, ``'20'``. Capital
        letters, points and apostrophes do not matter. A county's name without its state does where only one has it.
    kind
        ``'county'`` or ``'state'``.

    Raises
    ------
    VadoseError
        When there is none, with the names most alike, or several have the name.

    Examples
    --------
    >>> find("riley county, kansas").code, find("20161").name, find("kansas", "state").state
    ('20161', 'Riley, KS', 'KS')
    >>> find("Rily, KS")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    vadose.errors.VadoseError: county 'Rily, KS' unknown; did you mean 'Riley, KS' or ...? expected a name such as ...
    """
    areas = counties() if kind == "county" else states()
    wanted = text.strip()
    if re.fullmatch(r"\d+", wanted):
        code = wanted.zfill(5 if kind == "county" else 2)
        found = [area for area in areas if area.code == code]
    elif kind == "state":
        found = [area for area in areas if _plain(wanted) in (_plain(area.name), area.state.lower())]
    else:
        found = _counties_named(wanted)
    if not found:
        raise VadoseError(_unknown(wanted, kind, areas))
    if len(found) > 1:
        listed = ", ".join(f"{area.name} ({area.code})" for area in found[:6])
        more = f" and {len(found) - 6} more" * (len(found) > 6)
        raise VadoseError(
            f"{kind} {wanted!r}: {len(found)} have this name: {listed}{more}; name the state, or the code"
        )
    return found[0]


def county_at(lat: float, lon: float, within_km: float = 0.0) -> Area | None:
    """The county that holds a place, else the nearest one within some distance; None where there is none.

    Examples
    --------
    >>> county_at(39.10, -96.60).name, county_at(36.0, -70.0)
    ('Riley, KS', None)
    """
    reach = within_km / KM_A_DEGREE
    west, south, east, north = _boxes().T
    slack = reach / max(np.cos(np.radians(lat)), 0.1)
    near = (west - slack <= lon) & (lon <= east + slack) & (south - reach <= lat) & (lat <= north + reach)
    candidates = [counties()[k] for k in np.flatnonzero(near)]
    for area in candidates:
        if area.holds(lat, lon):
            return area
    away = [distance_km(area.rings, lat, lon) for area in candidates]
    return candidates[int(np.argmin(away))] if away and min(away) <= within_km else None


def distance_km(rings: Rings, lat: float, lon: float) -> float:
    """Distance of a place from the nearest border [km]."""
    scale = np.array([np.cos(np.radians(lat)), 1.0]) * KM_A_DEGREE
    nearest = np.inf
    for ring in rings:
        here = (ring - np.array([lon, lat])) * scale
        start, step = here[:-1], np.diff(here, axis=0)
        share = -(start * step).sum(axis=1) / np.maximum((step**2).sum(axis=1), 1e-12)
        nearest = min(nearest, float(np.hypot(*(start + np.clip(share, 0, 1)[:, None] * step).T).min()))
    return nearest


@cache
def _boxes() -> NDArray[np.float64]:
    return np.array([area.box for area in counties()])


def _counties_named(text: str) -> list[Area]:
    """Those of a name; 'Richmond, VA' is the county and the city, 'Richmond County, VA' the county alone."""
    name, state = _parts(text)
    plain = _plain(name)
    wanted = {plain, f"{plain}city"} if (bare := _KIND.sub("", plain)) == plain else {bare}
    return [area for area in counties(_postal(state) if state else None) if _plain(_parts(area.name)[0]) in wanted]


def _parts(text: str) -> tuple[str, str]:
    """Name and state of 'Riley, KS', 'Riley KS', or 'Riley'."""
    if "," in text:
        name, _, state = text.rpartition(",")
        return name, state.strip()
    name, _, last = text.rpartition(" ")
    return (name, last) if name and last.upper() in {area.state for area in states()} else (text, "")


def _postal(state: str) -> str:
    return find(state, "state").state


def _plain(name: str) -> str:
    """A name without what people write in several ways: capitals, accents, blanks, points, Saint or St."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"^saint", "st", re.sub(r"[^a-z0-9]+", "", ascii_only.lower()))


def _unknown(text: str, kind: str, areas: Iterable[Area]) -> str:
    known = {_plain(area.name): area.name for area in areas}
    wanted = _KIND.sub("", _plain(_parts(text)[0])) + _plain(_parts(text)[1])
    alike = get_close_matches(wanted, known, n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(repr(known[name]) for name in alike)}?" if alike else ";"
    example = "'Riley, KS', or the FIPS code, such as 20161" if kind == "county" else "'Kansas', 'KS', or its code, 20"
    return f"{kind} {text!r} unknown{meant} expected a name such as {example}"
