"""Where an outlook is wanted: places, or the cells of a county, a state or a box, in the conterminous United States."""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.areas import Area, county_at, find
from vadose.errors import VadoseError

CONUS = (-124.8, 25.0, -67.0, 49.4)
"""West, south, east, north of gridMET [degree]."""
_EXTENT = "the conterminous United States (25.0 to 49.4 N, 124.8 to 67.0 W)"
COAST_KM = 8.0
"""How far a place may lie off the packaged outlines, which are simplified."""
_COLUMNS = {
    "lat": r"lat(itude)?(_?deg(rees)?)?|y",
    "lon": r"(lon|lng|long(itude)?)(_?deg(rees)?)?|x",
    "name": r"name|farm|field|site|station|place|label|id",
}


@dataclass(frozen=True)
class Place:
    """A named place [degree]."""

    name: str
    lat: float
    lon: float

    def __str__(self) -> str:
        """Name and coordinates."""
        return f"{self.name} ({self.lat:.2f} N, {-self.lon:.2f} W)"


@dataclass(frozen=True)
class Region:
    """An area of cells: its name, its box (west, south, east, north [degree]), and the area itself; None for a box."""

    name: str
    box: tuple[float, float, float, float]
    area: Area | None = None


def place_at(lat: float, lon: float, name: str = "") -> Place:
    """A place on land of the conterminous United States; without a name it has its county's.

    Raises
    ------
    VadoseError
        When it lies elsewhere; latitude and longitude that seem swapped, or a longitude without its minus, are named.

    Examples
    --------
    >>> str(place_at(39.10, -96.60))
    'Riley, KS (39.10 N, 96.60 W)'
    >>> place_at(-96.60, 39.10)
    Traceback (most recent call last):
    ...
    vadose.errors.VadoseError: place -96.6, 39.1: latitude and longitude seem to be swapped; give 39.1,-96.6
    """
    told = f"place {lat:g}, {lon:g}" + (f" ({name})" if name else "")
    if not _inside(lat, lon):
        for other, what in (
            ((lon, lat), "latitude and longitude seem to be swapped"),
            ((lat, -lon), "longitudes west are negative"),
        ):
            if _inside(*other):
                raise VadoseError(f"{told}: {what}; give {other[0]:g},{other[1]:g}")
        raise VadoseError(
            f"{told} lies outside {_EXTENT}, where the weather of an outlook is known; give a place within"
        )
    county = county_at(lat, lon, COAST_KM)
    if county is None:
        raise VadoseError(
            f"{told} lies in the sea, in one of the Great Lakes or abroad; give a place on land in {_EXTENT}"
        )
    return Place(name or county.name, lat, lon)


def places_in(table: Path | pd.DataFrame) -> list[Place]:
    """Places of a CSV table with columns of latitude, longitude and, if there is one, name.

    Raises
    ------
    VadoseError
        When the table has no row, lacks a column, a value is no number, or a place lies elsewhere.
    """
    what = "the table of places" if isinstance(table, pd.DataFrame) else str(table)
    if isinstance(table, Path):
        if not table.is_file():
            raise VadoseError(f"{table}: no such file; expected a CSV table with the columns name, lat, lon")
        try:
            table = pd.read_csv(table, sep=None, engine="python", encoding="utf-8-sig")
        except (ValueError, OSError, csv.Error, pd.errors.ParserError) as error:
            raise VadoseError(
                f"{what}: not a table ({str(error).splitlines()[0]}); expected columns name, lat, lon"
            ) from error
    if table.empty:
        raise VadoseError(f"{what}: no row; expected one a place, with the columns name, lat, lon")
    columns = {}
    for role, pattern in _COLUMNS.items():
        named = [c for c in table.columns if re.fullmatch(pattern, str(c).strip().lower())]
        if not named and role != "name":
            raise VadoseError(
                f"{what}: no column of {role}; found {', '.join(map(str, table.columns))}; expected name, lat, lon"
            )
        columns[role] = named[:1]
    found = []
    for number, (_, row) in enumerate(table.iterrows(), 1):
        try:
            lat, lon = (float(row[columns[role][0]]) for role in ("lat", "lon"))
        except (TypeError, ValueError) as error:
            raise VadoseError(f"{what}: row {number}: {error}; expected latitude and longitude in degrees") from error
        name = str(row[columns["name"][0]]) if columns["name"] else ""
        try:
            found.append(place_at(lat, lon, name))
        except VadoseError as error:
            raise VadoseError(f"{what}: row {number}: {error}") from error
    names = pd.Series([place.name for place in found])
    again = names.groupby(names).cumcount()
    return [Place(f"{p.name} #{k + 1}" if k else p.name, p.lat, p.lon) for p, k in zip(found, again, strict=True)]


def places_of(
    at: tuple[float, float] | Sequence[tuple[float, float]] | None,
    points: "str | os.PathLike[str] | pd.DataFrame | None",
    sensors: xr.Dataset | None,
) -> list[Place]:
    """Places that are given, by one of three."""
    if points is not None:
        return places_in(points if isinstance(points, pd.DataFrame) else Path(points))
    if at is not None:
        pairs = np.atleast_2d(np.asarray(at, float))
        if pairs.shape[1:] != (2,):
            raise VadoseError(
                f"outlook: at {at!r}; expected latitude and longitude in degrees, such as (39.10, -96.60)"
            )
        return [place_at(float(lat), float(lon)) for lat, lon in pairs]
    if sensors is None:
        raise VadoseError("outlook: give a place, such as at=(39.10, -96.60)")
    return [
        place_at(float(one.lat), float(one.lon), str(one.station_name.values) or str(name))
        for name, one in ((name, sensors.sel(station=name)) for name in sensors.station.values)
    ]


def region_of(county: str | None = None, state: str | None = None, box: Sequence[float] | None = None) -> Region:
    """The cells of a county, a state or a box.

    Raises
    ------
    VadoseError
        When there is no such county or state, it lies elsewhere, or the box is empty or outside.
    """
    if box is not None:
        west, south, east, north = box
        if not (west < east and south < north):
            raise VadoseError(
                f"box {west:g},{south:g},{east:g},{north:g} is empty; expected west,south,east,north in degrees"
            )
        if east < CONUS[0] or west > CONUS[2] or north < CONUS[1] or south > CONUS[3]:
            raise VadoseError(
                f"box {west:g},{south:g},{east:g},{north:g} lies outside {_EXTENT}; give west,south,east,north"
            )
        return Region(f"{south:g}-{north:g} N, {-east:g}-{-west:g} W", (west, south, east, north))
    area = find(county, "county") if county is not None else find(str(state), "state")
    if not area.in_conus:
        raise VadoseError(f"{area.name} lies outside {_EXTENT}, where the weather of an outlook is known")
    return Region(area.name, area.box, area)


def _inside(lat: float, lon: float) -> bool:
    return bool(np.isfinite([lat, lon]).all()) and CONUS[1] - 0.6 <= lat <= CONUS[3] and CONUS[0] <= lon <= CONUS[2]
