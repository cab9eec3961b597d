"""The command `vadose outlook` as a function: from sources, networks and own sensors to outlooks."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    from vadose.download.roles import Access
    from vadose.predict.outlook.moisture import Networks
    from vadose.predict.outlook.point import Places
    from vadose.predict.outlook.where import Place, Region

PathLike = str | os.PathLike[str]
Say = Any
NOW: datetime | None = None
"""The present time [UTC]; the clock's if not set, as in tests it is."""
FIRST = "1990-01-01"
"""First day of the weather: a year in which the networks forget how they began, and 1991-2020."""
OLDEST = 7
"""Age of the newest weather above which an outlook is issued on its day, not today [day]."""
FORECAST = 16
"""Days ahead that the ensemble is asked for."""
GEOTIFFS = ("soil_moisture", "soil_moisture_percentile", "drought_class")
"""Variables of maps that are written as GeoTIFFs, a folder for each layer."""
COMPARED = 3
"""Counties that the Drought Monitor is asked for, at most."""
FIGURES = 24
"""Places that are drawn, at most."""
MOST_DAYS = 30
APART_KM = 5.0
"""How far a sensor may lie from the place it is used for: the width of a cell of the weather."""


@dataclass(frozen=True)
class Issue:
    """Day of issue of an outlook, and the newest day of weather that it takes."""

    day: date
    newest: date


@dataclass(frozen=True)
class Ahead:
    """How far, by how many members and from which day on the weather ahead is asked for; whether to fetch past runs."""

    days: int = MOST_DAYS
    forecast: int = FORECAST
    members: int = 4
    issue: Issue | None = None
    correct: bool = False


def outlook(
    at: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    *,
    points: "PathLike | pd.DataFrame | None" = None,
    county: str | None = None,
    state: str | None = None,
    bbox: Sequence[float] | None = None,
    sensor: PathLike | None = None,
    mapping: PathLike | None = None,
    ahead: Ahead = Ahead(),
    offline: bool = False,
    cache: PathLike | None = None,
    networks: PathLike | None = None,
    out: PathLike | None = None,
    now: datetime | None = None,
    say: Say = lambda line: None,
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
    sensors = None if sensor is None else _sensors(Path(sensor), mapping, at)
    where = [] if region else places_of(at, points, sensors)
    from vadose.download.roles import Access
    from vadose.predict.outlook.moisture import networks as networks_of

    weights = networks_of(Path(networks) if networks else None)
    access = Access(Path(cache) if cache else None, offline, now or NOW, None, say, progress)
    if region:
        return _area(region, Path(out or "outlook"), weights, access, ahead)
    return _points(where, sensors, Path(out) if out else None, weights, access, ahead)


def _points(
    where: Sequence["Place"],
    sensors: xr.Dataset | None,
    out: Path | None,
    weights: "Networks",
    access: "Access",
    ahead: Ahead,
) -> xr.Dataset:
    """The outlook of places, written if there is a folder for it."""
    from vadose.predict.outlook import moisture
    from vadose.predict.outlook.chains import plan_chains
    from vadose.predict.outlook.place_store import as_store
    from vadose.predict.outlook.point import SHOWN, outlook_of_places
    from vadose.predict.outlook.told import attributes_of, changing_of

    known, issued = _known(where, access, ahead)
    days = pd.DatetimeIndex(known.past.time.values)
    observed = None if sensors is None else _observed(sensors, where, days, access.say)
    known, last = replace(known, observed=observed), issued + pd.Timedelta(days=ahead.days)
    plan = plan_chains(known.past, known.ahead, last)
    found = outlook_of_places(
        partial(moisture.soil_moisture, weights),
        known,
        plan,
        pd.date_range(issued - pd.Timedelta(days=SHOWN), last),
        changing=changing_of(weights),
        progress=lambda share: access.progress("estimating soil moisture", share),
    )
    if observed is not None:
        series = xr.DataArray(observed, {"time": days}, ("place", "time", "layer"))
        found["soil_moisture_observed"] = series.reindex(time=found.time.values)
    told = attributes_of(known, plan.told(), weights, issued, access.offline, _compared(where, issued, access))
    store = as_store(found, issued, [place.name for place in where], told)
    if out is not None:
        _write(store, found, where, out, issued, access.progress)
    return store


def _known(where: Sequence["Place"], access: "Access", ahead: Ahead) -> tuple["Places", pd.Timestamp]:
    """Weather and ground of the places, and the day of issue."""
    from vadose.download.roles import ground
    from vadose.predict.outlook.point import Places

    points = [(place.lat, place.lon) for place in where]
    past = _past(points, ahead, access)
    issue = _issue(past, ahead, access)
    known = Places(past, ground(points, access=access), forecast_of(points, issue, ahead, access, past))
    return known, pd.Timestamp(issue.day)


def _compared(where: Sequence["Place"], issued: pd.Timestamp, access: "Access") -> list[str]:
    """What others say of the counties of the first places, and of moisture at the first, for comparison alone."""
    from vadose.areas import county_at
    from vadose.download.roles import crop_casma, drought_monitor, national_water_model
    from vadose.predict.outlook.where import COAST_KM

    said = []
    counties = {area.code: area for place in where if (area := county_at(place.lat, place.lon, COAST_KM))}
    for code, area in list(counties.items())[:COMPARED]:
        said.append(drought_monitor(code, issued.date(), access=access).told(area.name))
    for moisture in (crop_casma, national_water_model):
        said.append(moisture(where[0].lat, where[0].lon, issued.date(), access=access).told(where[0].name))
    return said


def _past(where: Any, ahead: Ahead, access: "Access") -> xr.Dataset:
    from vadose.download.roles import past_weather

    return past_weather(where, FIRST, ahead.issue.newest if ahead.issue else None, access=access)


def _issue(past: xr.Dataset, ahead: Ahead, access: "Access") -> Issue:
    """The day of issue: today, or the newest day of the weather where that is old, which is said."""
    if ahead.issue:
        return ahead.issue
    newest, today = past.indexes["time"][-1].date(), access.today
    if (old := (today - newest).days) <= OLDEST:
        return Issue(today, newest)
    access.say(f"the newest weather is of {newest}, {old} days ago: the outlook is issued on that day")
    return Issue(newest, newest)


def forecast_of(where: Any, issue: Issue, ahead: Ahead, access: "Access", past: Any = None) -> xr.Dataset | None:
    """Weather ahead of the ensemble as of the day of issue, corrected to past weather where that is given.

    None where no source serves it, which is said, or it is not wanted.
    """
    from vadose.download.roles import corrected, weather_ahead

    if ahead.members < 1 or issue.day == issue.newest:
        return None
    first, days = (
        issue.newest + timedelta(days=1),
        (issue.day - issue.newest).days + min(ahead.days, ahead.forecast) - 1,
    )
    if issue.day < access.today:  # of a run of that day, not a later one
        access = replace(access, now=datetime.combine(issue.day, time.max))
    try:
        found = weather_ahead(where, first=first, days=days, members=ahead.members, access=access)
        return found if past is None else corrected(found, past, fetch=ahead.correct, access=access)
    except VadoseError as error:
        access.say(f"no weather forecast, past years alone: {' '.join(str(error).split())}")
        return None


def _area(region: "Region", out: Path, weights: "Networks", access: "Access", ahead: Ahead) -> xr.Dataset:
    """The outlook of an area, written: store, GeoTIFFs, figure and tables."""
    from vadose.artefact import writing
    from vadose.door import open_store
    from vadose.download.roles import ground
    from vadose.download.roles.correction import WIDEST
    from vadose.predict.outlook import area, moisture
    from vadose.predict.outlook.area_map import draw_area
    from vadose.predict.outlook.chains import plan_chains
    from vadose.predict.outlook.point import Places
    from vadose.predict.outlook.told import attributes_of, changing_of, notes_of
    from vadose.publish.export_cog import write_cogs

    cells = area.Cells.of(region)
    box = cells.box(cells.middle())
    middle = _past(box, ahead, access)
    issue = _issue(middle, ahead, access)
    narrow = max(np.ptp(cells.lat), np.ptp(cells.lon)) <= WIDEST
    forecasts = partial(forecast_of, issue=issue, ahead=ahead, access=access, past=middle if narrow else None)
    issued, forecast = pd.Timestamp(issue.day), forecasts(box)
    plan = plan_chains(middle, forecast, issued + pd.Timedelta(days=ahead.days))
    sources = area.Sources(
        lambda box: _past(box, ahead, access),
        lambda box: ground(box, access=access),
        lambda box: None if forecast is None else forecasts(box),
    )
    maps = area.Maps(
        partial(moisture.soil_moisture, weights),
        plan,
        issued,
        [lead for lead in area.LEADS if lead <= ahead.days],
        changing_of(weights),
    )
    told = attributes_of(
        Places(middle, ground(box, access=access), forecast), plan.told(), weights, issued, access.offline
    )
    out.mkdir(parents=True, exist_ok=True)
    path = area.map_area(
        out / "outlook.zarr",
        cells,
        sources,
        maps,
        told | {"region": region.name},
        title=f"soil-moisture outlook of {issued:%Y-%m-%d}, {region.name}",
        progress=lambda share: access.progress("estimating soil moisture", share),
    )
    store = open_store(path)
    for layer in store.layer.values:
        write_cogs(store[[*GEOTIFFS]].sel(layer=layer, drop=True), out / "geotiff" / file_name(str(layer)))
    draw_area(store, out / f"{file_name(region.name)}.png", region.name, notes_of(store.attrs))
    with writing(out / "counties.csv") as scratch:
        area.county_table(store).to_csv(scratch, index=False, float_format="%.4f")
    return store


def _sensors(path: Path, mapping: PathLike | None, at: Any) -> xr.Dataset:
    """Daily moisture of own sensors, screened by what was known on the day."""
    from vadose.insitu.columns import read_columns, recognised
    from vadose.insitu.own_files import files_of, read_table
    from vadose.stationing import stations

    columns = read_columns(Path(mapping)) if mapping else None
    table, units = read_table(next(files_of(path)))
    of = columns or recognised(table, units, str(path))[0]
    with tempfile.TemporaryDirectory() as folder:
        sites = None
        if not of.latitude and not of.sites and at is not None and isinstance(at[0], int | float):
            sites = Path(folder, "sites.csv")
            sites.write_text(f"station,latitude,longitude\n{path.stem},{at[0]},{at[1]}\n")
        found = stations(path, mapping=mapping, metadata=sites, out=Path(folder, "stations.zarr")).load()
    return found[["soil_moisture_causal"]].assign_attrs(left_out=found.attrs.get("left_out", "{}"))


def _observed(sensors: xr.Dataset, where: Sequence["Place"], days: pd.DatetimeIndex, say: Say) -> NDArray[Any]:
    """Observations (place, time, layer) of the sensors nearest to the places, within the width of a cell."""
    from vadose.areas.named import KM_A_DEGREE
    from vadose.predict.outlook.moisture import LAYERS

    values = sensors.soil_moisture_causal.transpose("station", "time", "layer").sel(layer=list(LAYERS))
    if not len(values.indexes["time"].intersection(days)):
        found = values.indexes["time"]
        raise VadoseError(
            f"sensor: its days {found[0]:%Y-%m-%d} .. {found[-1]:%Y-%m-%d} are none of the weather's, "
            f"{days[0]:%Y-%m-%d} .. {days[-1]:%Y-%m-%d}; give newer days"
        )
    values = values.reindex(time=days)
    observed = np.full((len(where), len(days), len(LAYERS)), np.nan, np.float32)
    for k, place in enumerate(where):
        east = (sensors.lon.values - place.lon) * np.cos(np.radians(place.lat))
        away = KM_A_DEGREE * np.hypot(sensors.lat.values - place.lat, east)
        nearest = int(away.argmin())
        if away[nearest] <= APART_KM:
            observed[k] = values[nearest]
    if np.isnan(observed).all():
        raise VadoseError(
            f"sensor: lies {away.min():.0f} km from {where[-1]}, more than {APART_KM:g} km; give its own place"
        )
    counted = np.isfinite(observed).sum(axis=(0, 1))
    newest = days[np.flatnonzero(np.isfinite(observed).any(axis=(0, 2)))[-1]]
    told = ", ".join(f"{layer} {n} days" for layer, n in zip(LAYERS, counted, strict=True))
    say(f"sensor: {told}, the newest {newest:%Y-%m-%d}")
    left_out = json.loads(sensors.attrs["left_out"])
    for name, reason in left_out.items():
        if " column " not in name:
            say(f"sensor: left out {name}: {reason}")
    if columns := [name.rpartition(" column ")[2] for name in left_out if " column " in name]:
        say(f"sensor: columns not used: {', '.join(columns)}")
    return observed


def _write(
    store: xr.Dataset,
    found: xr.Dataset,
    where: Sequence["Place"],
    out: Path,
    issued: pd.Timestamp,
    progress: Progress,
) -> None:
    """Write the store, its table, and a figure of each place."""
    from vadose.artefact import writing
    from vadose.predict.outlook.place_figure import Told, draw_place
    from vadose.predict.outlook.place_store import table_of, write_store
    from vadose.predict.outlook.told import notes_of

    out.mkdir(parents=True, exist_ok=True)
    write_store(store, out / "outlook.zarr", f"soil-moisture outlook of {issued:%Y-%m-%d}")
    with writing(out / "outlook.csv") as scratch:
        table_of(store).to_csv(scratch, index=False, float_format="%.4f")
    told = partial(Told, issued=issued, notes=notes_of(store.attrs), simulated=store.attrs["simulated"] == "true")
    for k, place in enumerate(where[:FIGURES]):
        draw_place(found.isel(place=k), told(str(place)), out / f"{file_name(place.name)}.png")
        progress("drawing", (k + 1) / min(len(where), FIGURES))


def file_name(place: str) -> str:
    """Name of a file for a place.

    Examples
    --------
    >>> file_name("Riley, KS"), file_name("../field #2")
    ('riley_ks', 'field_2')
    """
    import re

    return re.sub(r"[^a-z0-9]+", "_", place.lower()).strip("_") or "place"
