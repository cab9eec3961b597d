"""The outlook of places, with own sensors where there are some."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.outlooking.weather import Ahead, compared_of, forecast_of, issue_of, past_of
from vadose.parallel.progress import Progress

if TYPE_CHECKING:
    from vadose.download.roles import Access
    from vadose.predict.outlook.moisture import Networks
    from vadose.predict.outlook.point import Places
    from vadose.predict.outlook.where import Place

FIGURES = 24
"""Places that are drawn, at most."""
APART_KM = 5.0
"""How far a sensor may lie from the place it is used for: the width of a cell of the weather."""


def outlook_at(
    where: Sequence["Place"],
    sensors: xr.Dataset | None,
    out: Path | None,
    weights: "Networks",
    access: "Access",
    ahead: Ahead,
) -> xr.Dataset:
    """The outlook of places, written if there is a folder for it."""
    from vadose.evaluation.own_sensor import followed, told_of_table
    from vadose.predict.outlook.chains import plan_chains
    from vadose.predict.outlook.moisture import Mixture, soil_moisture
    from vadose.predict.outlook.normals import climate_of
    from vadose.predict.outlook.place_store import as_store
    from vadose.predict.outlook.point import SHOWN, outlook_of_places
    from vadose.predict.outlook.told import attributes_of, changing_of

    known, issued = _known(where, access, ahead)
    days = pd.DatetimeIndex(known.past.time.values)
    observed = None if sensors is None else _observed(sensors, where, days, access.say)
    known, last = replace(known, observed=observed), issued + pd.Timedelta(days=ahead.days)
    plan = plan_chains(known.past, known.ahead, last)
    tables = []

    def estimate(past: xr.Dataset, of_soil: xr.Dataset, seen: Any) -> Mixture:
        mixture = soil_moisture(weights, past, of_soil, seen, climate_of(past))
        if seen is not None:
            tables.append(followed(mixture, seen))
        return mixture

    found = outlook_of_places(
        estimate,
        known,
        plan,
        pd.date_range(issued - pd.Timedelta(days=SHOWN), last),
        changing=changing_of(weights),
        progress=lambda share: access.progress("estimating soil moisture", share),
    )
    if observed is not None:
        series = xr.DataArray(observed, {"time": days}, ("place", "time", "layer"))
        found["soil_moisture_observed"] = series.reindex(time=found.time.values)
    others, sensor = compared_of(where, issued.date(), access), [line for of in tables for line in told_of_table(of)]
    told = attributes_of(known, plan.told(), weights, issued, access.offline, others, sensor)
    store = as_store(found, issued, [place.name for place in where], told)
    if out is not None:
        _write(store, found, where, out, issued, access.progress)
    return store


def _known(where: Sequence["Place"], access: "Access", ahead: Ahead) -> tuple["Places", pd.Timestamp]:
    """Weather and ground of the places, and the day of issue."""
    from vadose.download.roles import ground
    from vadose.predict.outlook.point import Places

    points = [(place.lat, place.lon) for place in where]
    past = past_of(points, ahead, access)
    issue = issue_of(past, ahead, access)
    known = Places(past, ground(points, access=access), forecast_of(points, issue, ahead, access, past))
    return known, pd.Timestamp(issue.day)


def sensors_of(path: Path, mapping: Path | None, at: Any) -> xr.Dataset:
    """Daily moisture of own sensors, screened by what was known on the day."""
    from vadose.insitu.columns import read_columns, recognised
    from vadose.insitu.own_files import files_of, read_table
    from vadose.stationing import stations

    columns = read_columns(mapping) if mapping else None
    table, units = read_table(next(files_of(path)))
    of = columns or recognised(table, units, str(path))[0]
    with tempfile.TemporaryDirectory() as folder:
        sites = None
        if not of.latitude and not of.sites and at is not None and isinstance(at[0], int | float):
            sites = Path(folder, "sites.csv")
            sites.write_text(f"station,latitude,longitude\n{path.stem},{at[0]},{at[1]}\n")
        found = stations(path, mapping=mapping, metadata=sites, out=Path(folder, "stations.zarr")).load()
    return found[["soil_moisture_causal"]].assign_attrs(left_out=found.attrs.get("left_out", "{}"))


def _observed(sensors: xr.Dataset, where: Sequence["Place"], days: pd.DatetimeIndex, say: Any) -> NDArray[Any]:
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
