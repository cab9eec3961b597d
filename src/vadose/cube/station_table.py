"""Stations and what is known at them each day, as one table."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import identity, is_current, made_from, provenance, writing
from vadose.cube.at_stations import extract
from vadose.cube.own_table import OwnTable, read_own_tables
from vadose.cube.recipe import Recipe
from vadose.cube.ten_day import is_ten_day, read_ten_day
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.variables import describe

SOILS = ("sand_fraction", "clay_fraction", "bulk_density")


def build_features(
    store: Path,
    data: Path,
    out: Path,
    *,
    first: str,
    last: str,
    mode: str = "causal",
    tables: Sequence[OwnTable] = (),
    recipe: Recipe | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Write the features of the stations of a store, from product files (`vadose.cube.at_stations`) or own tables.

    Parameters
    ----------
    store
        Made by `vadose.insitu.store.build_stations`.
    data
        Folder of a folder a product, of the ten-day table (`vadose.cube.ten_day`), or of the own tables.
    out
        Zarr store (station, time) to write; left alone when it was made from the same files already.
    first, last
        Days of the features.
    mode
        ``'causal'`` or ``'paper'``.
    tables
        Own tables, to read instead of products (`vadose.cube.own_table`).
    recipe
        Of a cube, whose values the stations are given; else those of all products that are there.

    Raises
    ------
    VadoseError
        When there is no station store, or as the readers do.
    """
    if made_from(store) is None:
        raise VadoseError(f"{store}: no station store there; make one with: vadose stations")
    files = identity(*dict.fromkeys(data / table.file for table in tables)) if tables else identity(data)
    inputs: dict[str, object] = {"stations": identity(store), "data": files}
    inputs |= {"first": first, "last": last, "mode": mode}
    inputs |= {"tables": [asdict(table) for table in tables]} if tables else {}
    inputs |= {"recipe": json.dumps(recipe.identity(), sort_keys=True)} if recipe else {}
    if is_current(out, **inputs):
        return out
    stations = xr.open_zarr(store, consolidated=False)
    days = pd.date_range(first, min(pd.Timestamp(last), pd.Timestamp(stations.time.values[-1])))
    if tables:
        found = read_own_tables(data, tables, stations, days, mode=mode)
    elif recipe is None and is_ten_day(data):
        found = read_ten_day(data, stations, days, mode=mode)
    else:
        found = extract(data, stations, days, mode=mode, recipe=recipe, progress=progress)
    found.attrs |= {"granules": found.attrs["inputs"]} | provenance(**inputs)
    with writing(out) as scratch:
        found.drop_encoding().to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return out


def build_station_table(
    store: Path, out: Path, *, first: str, layer: str = "0-10 cm", features: xr.Dataset | None = None
) -> Path:
    """Write the table of a station store: moisture of a layer, the stations' own weather and soil, and features.

    ``soil_moisture`` is screened with days before and after and is what models learn and are scored against;
    ``soil_moisture_causal``, where the store has it, is screened without later days.

    Parameters
    ----------
    store
        Made by `vadose.insitu.store.build_stations`.
    out
        Zarr store (station, time) to write; left alone when it was made from the same already.
    first
        First day to keep.
    layer
        Of the store.
    features
        More features (station, time) or (station,) of the same stations, as `vadose.cube.at_stations` gives
        them; where they have a variable that stations measure too, the features' is taken. Stations that none is known
        of are left out.

    Raises
    ------
    VadoseError
        When there is no station store, no such layer, or no day left.
    """
    if made_from(store) is None:
        raise VadoseError(f"{store}: no station store there; make one with: vadose stations")
    more = {} if features is None else {"features": identity(features)}
    inputs = {"stations": identity(store), "first": first, "layer": layer, **more}
    if is_current(out, **inputs):
        return out
    stations = xr.open_zarr(store, consolidated=False).sel(time=slice(first, None)).load()
    if not stations.sizes["time"]:
        raise VadoseError(f"{store}: no day from {first} on; give an earlier first day")
    if layer not in stations.layer.values:
        raise VadoseError(f"{store}: no layer {layer!r}; it has {list(stations.layer.values)}")
    depth = json.loads(stations.attrs["layer_depths"])[layer]
    moisture = [name for name in ("soil_moisture", "soil_moisture_causal") if name in stations]
    table = stations[moisture].sel(layer=layer, drop=True)
    table.attrs = {key: stations.attrs[key] for key in ("dataset", "day_boundary", "simulated", "layer_depths")}
    table.attrs |= {"mode": "causal", "layer": layer}
    daily = [str(name) for name in stations.data_vars if stations[name].dims == ("station", "time")]
    for name in daily:
        table[name] = stations[name]
    for name in (soil for soil in SOILS if soil in stations):
        table[name] = stations[name].sel(depth=depth).reset_coords(drop=True)
    table = table.reset_coords("elevation")
    if features is not None:
        if list(map(str, features.station.values)) != list(map(str, table.station.values)):
            raise VadoseError("features and store have different stations; extract the features at those of the store")
        if "soil_moisture" in features:
            raise VadoseError(
                "features hold 'soil_moisture', the name of what models learn; rename it in the recipe, such as "
                "soil_moisture: soil_moisture_smap_l3"
            )
        for name in map(str, features.data_vars):
            value = features[name].reset_coords(drop=True)  # the store says where stations are
            table[name] = value.reindex(time=table.time) if "time" in value.dims else value
        table.attrs |= {key: features.attrs[key] for key in ("mode", "absent") if key in features.attrs}
    some = np.isfinite(table.soil_moisture.values).any(axis=1)
    if features is not None:
        # Stations that no feature is known of would only tell what weather tells.
        some &= np.logical_or.reduce(
            [np.isfinite(v.values.reshape(len(some), -1)).any(axis=1) for v in features.values()]
        )
    table = describe(table.isel(station=some).transpose("station", "time"))
    table.attrs |= provenance(**inputs)
    with writing(out) as scratch:
        table.drop_encoding().to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return out
