"""Outlines of US states and counties: the packaged topology, in which neighbours share their borders.

``us_counties.json.gz`` is a TopoJSON file made by ``benchmarks/us_counties.py`` from npm us-atlas 3.0.1 (ISC licence,
Copyright 2013-2019 Michael Bostock), which redistributes the cartographic boundary files of the U.S. Census Bureau
(public domain), 2017 edition: Connecticut has its old eight counties, not the planning regions of 2022. Points lie on a
lattice of 0.0036 degrees of longitude and 0.0009 of latitude.
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]
"""Points (n, 2): longitude and latitude [degree]."""
Rings = tuple[Line, ...]
"""Closed rings: outer ones anticlockwise, holes clockwise."""


@dataclass(frozen=True)
class Topology:
    """Borders, each once, and of what borders each area is made."""

    arcs: list[Line]
    counties: list[dict[str, Any]]
    states: list[dict[str, Any]]


@cache
def topology() -> Topology:
    """Read the packaged file; takes some 50 ms, once."""
    told = json.loads(gzip.decompress(files("vadose.areas").joinpath("us_counties.json.gz").read_bytes()))
    # Points are stored as steps from the one before, from 0 at the start of each arc.
    lengths = np.array([len(arc) for arc in told["arcs"]])
    steps = np.array([point for arc in told["arcs"] for point in arc])
    starts = np.cumsum(lengths) - lengths
    places = np.cumsum(steps, axis=0)
    places -= np.repeat(places[starts] - steps[starts], lengths, axis=0)
    degrees = places * np.array(told["transform"]["scale"]) + np.array(told["transform"]["translate"])
    objects = told["objects"]
    return Topology(np.split(degrees, starts[1:]), objects["counties"]["geometries"], objects["states"]["geometries"])


def rings_of(geometry: dict[str, Any]) -> Rings:
    """Rings of a polygon or several of the topology."""
    polygons = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry["arcs"]
    rings = [oriented(_joined(ring), hole=k > 0) for polygon in polygons for k, ring in enumerate(polygon)]
    # On the lattice some islands have shrunk to a point or a line, and three cities of Virginia altogether.
    return tuple(ring for ring in rings if len(ring) > 3) or tuple(rings)


def oriented(ring: Line, *, hole: bool) -> Line:
    """A ring turned so that what it encloses counts as area, or as missing where it is a hole."""
    x, y = (ring - ring[0]).T
    anticlockwise = float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) > 0
    return ring if anticlockwise != hole else ring[::-1]


def outlines(kind: str = "state", box: tuple[float, float, float, float] | None = None) -> tuple[Line, ...]:
    """Borders and coasts as lines, each border once, to draw under maps.

    Parameters
    ----------
    kind
        ``'state'`` or ``'county'``.
    box
        West, south, east, north [degree]: only lines that reach into it. Default: all of the United States.

    Examples
    --------
    >>> len(outlines("state", (-96.7, 39.0, -96.5, 39.2)))
    0
    >>> len(outlines("county", (-96.7, 39.0, -96.5, 39.2))) > 0
    True
    """
    lines = _lines(kind)
    if box is None:
        return lines
    west, south, east, north = box
    low, high = _extents(kind)
    near = np.all((low <= np.array([east, north])) & (high >= np.array([west, south])), axis=1).tolist()
    return tuple(line for line, inside in zip(lines, near, strict=True) if inside)


@cache
def _lines(kind: str) -> tuple[Line, ...]:
    areas = topology().states if kind == "state" else topology().counties
    used = sorted({arc if arc >= 0 else ~arc for area in areas for arc in _numbers(area["arcs"])})
    return tuple(topology().arcs[arc] for arc in used)


@cache
def _extents(kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest longitude and latitude of each line."""
    lines = _lines(kind)
    return np.array([line.min(axis=0) for line in lines]), np.array([line.max(axis=0) for line in lines])


def _numbers(nested: list[Any]) -> list[int]:
    return [n for part in nested for n in (_numbers(part) if isinstance(part, list) else [part])]


def _joined(ring: list[int]) -> Line:
    """Arcs one after the other, those with a negative number (of the complement) backwards; joints once."""
    parts = [topology().arcs[n] if n >= 0 else topology().arcs[~n][::-1] for n in ring]
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
