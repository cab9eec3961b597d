"""The command `vadose outlook` as a function: from sources, networks and own sensors to outlooks."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from vadose.errors import VadoseError
from vadose.outlooking.weather import MOST_DAYS, USUAL, Ahead, Issue
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

PathLike = str | os.PathLike[str]
NOW: datetime | None = None
"""The present time [UTC]; the clock's if not set, as in tests it is."""
__all__ = ["Ahead", "Issue", "outlook"]


def outlook(
    at: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    *,
    points: "PathLike | pd.DataFrame | None" = None,
    county: str | None = None,
    state: str | None = None,
    bbox: Sequence[float] | None = None,
    sensor: PathLike | None = None,
    mapping: PathLike | None = None,
    ahead: Ahead = USUAL,
    offline: bool = False,
    cache: PathLike | None = None,
    networks: PathLike | None = None,
    out: PathLike | None = None,
    now: datetime | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Estimate soil moisture of today and forecast it for 1 to 30 days at any place of the conterminous United States.

    Parameters
    ----------
    at, points
        Latitude and longitude [degree] of a place or of several; a CSV table of places (name, lat, lon).
    county, state, bbox
        Instead of places the cells of 4 km of a county or state (name or FIPS code), or of a box (west, south, east,
        north [degree]).
    sensor, mapping
        Own table of soil moisture, which the networks take into account, and what its columns hold
        (`vadose.stationing.stations`). Without ``at`` the place is that of the sensor.
    ahead
        Days ahead, days and members of the ensemble of weather; ``issue`` for the outlook of an earlier day;
        ``correct`` to fetch the past runs that the weather is corrected by, where they are not in the cache.
    offline, cache
        Use what was fetched before alone; folder of it (default: ``VADOSE_CACHE``, else ``~/.cache/vadose``).
    networks
        Weights of networks. Default: those that come with the package.
    out
        Folder to write the store, its table and figures to; of areas GeoTIFFs too. Default: ``outlook`` for areas, and
        nothing is written for places.
    now
        The present time [UTC]. Default: the clock's.

    Returns
    -------
    xarray.Dataset
        Of areas at leads 0, 7, 14 and 30 days, of places at each one: ``soil_moisture``, ``soil_moisture_std``,
        ``soil_moisture_quantile`` [m3 m-3], ``soil_moisture_percentile``,
        ``drought_class`` and ``drought_probability`` (init_time, lead_time, layer, y, x), a place a row, and
        ``recent_...`` (time, layer, y, x) of the days before; attributes ``sources`` and ``trust`` are JSON.

    Raises
    ------
    VadoseError
        When a place is none on land of the conterminous United States, a table or sensor cannot be read, or no source
        serves the weather.
    """
    from vadose.outlooking.maps import outlook_over
    from vadose.outlooking.places import outlook_at, sensors_of
    from vadose.predict.outlook.where import places_of, region_of

    if not 1 <= ahead.days <= MOST_DAYS:
        raise VadoseError(f"outlook: {ahead.days} days ahead; expected 1 to {MOST_DAYS}")
    asked = {"at": at, "points": points, "county": county, "state": state, "bbox": bbox}
    if len(given := [name for name, value in asked.items() if value is not None]) > 1:
        raise VadoseError(f"outlook: {' and '.join(given)} are given; expected one of {', '.join(asked)}")
    area = bool(given) and given[0] in ("county", "state", "bbox")
    if area and sensor is not None:
        raise VadoseError("outlook: an own sensor is for places; give at instead of an area")
    region = region_of(county, state, bbox) if area else None
    sensors = None if sensor is None else sensors_of(Path(sensor), Path(mapping) if mapping else None, at)
    where = [] if region else places_of(at, points, sensors)
    from vadose.download.roles import Access
    from vadose.predict.outlook.moisture import networks as networks_of

    weights = networks_of(Path(networks) if networks else None)
    access = Access(Path(cache) if cache else None, offline, now or NOW, None, say, progress)
    if region:
        return outlook_over(region, Path(out or "outlook"), weights, access, ahead)
    return outlook_at(where, sensors, Path(out) if out else None, weights, access, ahead)
