"""Orbits of Sentinel-1: satellite, pass and relative orbit of a scene."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

from vadose.products.rasters import lattice_of, open_raster

_ABSOLUTE_ORBIT = re.compile(r"_\d{8}T\d{6}_\d{8}T\d{6}_(\d{6})_")
# Absolute orbit number at which relative orbit 1 of 175 begins.
_FIRST_ORBIT = {"S1A": 73, "S1B": 27}
_POLAR = 70.0
"""Latitude [degree] from which on the local solar time does not tell the pass."""


def orbit_of(found: re.Match[str] | None, name: str, time: pd.Timestamp, file: Path) -> dict[str, Any]:
    """Satellite, and pass by the name or else by the time of day: ascending near 18:00, descending near 06:00."""
    known: dict[str, Any] = {"platform": found["platform"] if found else "unknown", "orbit_pass": "unknown"}
    if found and found["pass"]:
        known["orbit_pass"] = {"A": "ascending", "D": "descending"}[found["pass"]]
    elif time != time.normalize():  # else its name tells the day alone
        with open_raster(file) as raster:
            west, south, east, north = lattice_of(raster, file).box()
        hour = (time - time.normalize()) / pd.Timedelta(hours=1) + (west + east) / 30
        if max(abs(south), abs(north)) < _POLAR:
            known["orbit_pass"] = "ascending" if hour % 24 >= 12 else "descending"
            known["orbit_pass_source"] = "local solar time"
    absolute = _ABSOLUTE_ORBIT.search(name)
    if absolute and known["platform"] in _FIRST_ORBIT:
        known["relative_orbit"] = (int(absolute[1]) - _FIRST_ORBIT[known["platform"]]) % 175 + 1
    return known
