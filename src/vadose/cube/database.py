"""Cubes of what is whole already: databases, and stations as cells."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from vadose import features, gapfill
from vadose.artefact import identity, is_current, made_from, provenance, writing
from vadose.artefact.predictions import beside_arrays
from vadose.cube.store import ANTECEDENT_DAYS
from vadose.door import CUBE, as_cube, as_stations, open_store
from vadose.door.values import checked
from vadose.errors import VadoseError
from vadose.products import PRODUCTS
from vadose.variables import describe

LAYERS = {"0-10 cm": "0_10cm", "10-40 cm": "10_40cm", "40-100 cm": "40_100cm"}


def build_cube(source: Path, out: Path, product: str | None = None) -> Path:
    """Write the cube of a product that is a whole database already.

    Added to what it holds: the observed variable (attribute ``observed``, else soil moisture) ``_filled``,
    ``_observed`` and ``_age`` (`gapfill.carry_forward`, causal), and precipitation sums over 7, 14, 30 and
    90 days where there is precipitation.

    Parameters
    ----------
    source
        Folder of the database as published, or the folder that folder is in.
    out
        Zarr store to write; left alone when it was made from the same source already.
    product
        The database it is; found out when left out.

    Raises
    ------
    VadoseError
        For another product, or whatever its reader finds wrong; ``out`` is not touched then.
    """
    databases = [name for name, p in PRODUCTS.items() if p.kind == "database"]
    if product is not None and product not in databases:
        raise VadoseError(f"product {product!r} is not a database; choose from {databases}, or give a recipe")
    if not source.exists():
        raise VadoseError(f"{source}: no such file or folder; give the place of the data")
    found = [name for name in databases if PRODUCTS[name].holds(source)]
    kind = "a file" if source.is_file() else "a Zarr store" if (source / "zarr.json").exists() else None
    if kind and not found:
        return _build_again(source, kind, databases, out)
    if not found and product is not None and PRODUCTS[product].holds(source / product):
        found, source = [product], source / product
    product = product or (found[0] if found else "conusv4f1")
    inputs = {"product": product, "source": str(source), "identity": identity(source)}
    if is_current(out, **inputs):
        return out
    _write(with_antecedents(PRODUCTS[product].read(source)), out, inputs)
    return out


def _build_again(source: Path, kind: str, databases: Sequence[str], out: Path) -> Path:
    """Write a cube of one's own with what it lacks, filled values, their age and sums of rain; or one of stations."""
    cube = open_store(source)
    if {"station", "layer", "time"} <= set(cube.dims):
        return build_station_cube(source, out, f"{cube.indexes['time'][0]:%Y-%m-%d}")
    observed = cube.attrs.get("observed", "soil_moisture")
    if not {"time", "y", "x"} <= set(cube.dims) or observed not in cube:
        raise VadoseError(
            f"{source}: {kind}; expected the folder of a database ({' or '.join(databases)}), a cube with {observed} "
            "(time, y, x), or a recipe with --recipe, which of gridded data of your own is written by: "
            f"vadose build --explain {source} > own.yaml"
        )
    inputs = {"product": "own", "source": str(source), "identity": identity(source)}
    if not is_current(out, **inputs):
        bare = as_cube(cube, str(source), CUBE).drop_vars(
            [f"{observed}_{part}" for part in ("filled", "observed", "age")], errors="ignore"
        )
        _write(with_antecedents(bare.load()), out, inputs)
    return out


def build_station_cube(store: Path, out: Path, first: str) -> Path:
    """Write a cube whose cells are stations, one below the other, from a store of `vadose.insitu.store`.

    Each layer's moisture is ``soil_moisture_0_10cm`` and so on. Its ``_filled``, ``_observed`` and ``_age``, the
    inputs of forecasts, are of the store's ``soil_moisture_causal``: no screening by later days is in them. Soil of
    the layer's sensor depth is ``clay_fraction_0_10cm`` and so on. ``mask`` marks the stations that observe any
    layer.

    Parameters
    ----------
    store
        The station store.
    out
        Zarr store to write; left alone when it was made from the same store already.
    first
        First day to keep.

    Raises
    ------
    VadoseError
        When there is no station store, one without ``soil_moisture_causal``, or one that is not in our form or whose
        values are not (`vadose.door.as_stations`, `vadose.door.values.checked`).
    """
    if made_from(store) is None:
        raise VadoseError(f"{store}: no station store there; make one with: vadose stations")
    inputs = {"stations": identity(store), "first": first}
    if is_current(out, **inputs):
        return out
    stations = as_stations(xr.open_zarr(store, consolidated=False), str(store)).sel(time=slice(first, None)).load()
    if not stations.sizes["time"]:
        raise VadoseError(f"{store}: no day from {first} on; give an earlier first day")
    if "soil_moisture_causal" not in stations:
        raise VadoseError(
            f"{store}: no soil_moisture_causal (moisture screened without later days), which forecasts start from; "
            "make the store again with: vadose stations"
        )
    outside: dict[str, int] = {}
    for name in map(str, stations.data_vars):
        values, outside[name] = checked(stations[name].values, name.removesuffix("_causal"), str(store))
        stations[name] = stations[name].copy(data=values)
    n = stations.sizes["station"]
    cube = xr.Dataset(
        coords={
            "time": stations.time.values,
            "y": ("y", np.arange(n, dtype=float)),
            "x": ("x", [0.0]),
            "station": ("y", stations.station.values.astype(object)),
            "network": ("y", stations.network.values.astype(object)),
            **{name: (("y", "x"), stations[name].values[:, None]) for name in ("lat", "lon")},
        },
        attrs={key: stations.attrs[key] for key in ("dataset", "day_boundary", "simulated")}
        | {"cell_size": 1.0, "grid_step": 1.0, "grid_crs": "", "layer": "0-10 cm"}
        | {"outside_range": json.dumps({name: count for name, count in outside.items() if count})},
    )
    depths = json.loads(stations.attrs["layer_depths"])
    for layer, part in LAYERS.items():
        name, of_layer = f"soil_moisture_{part}", stations.sel(layer=layer).transpose("time", "station", ...)
        cube[name] = ("time", "y", "x"), of_layer.soil_moisture.values[:, :, None]
        known = cube[name].copy(data=of_layer.soil_moisture_causal.values[:, :, None])
        cube = cube.assign(gapfill.carry_forward(known).data_vars)
        for soil in (name for name in ("sand_fraction", "clay_fraction", "bulk_density") if name in stations):
            cube[f"{soil}_{part}"] = ("y", "x"), stations[soil].sel(depth=depths[layer]).values[:, None]
    for name in map(str, stations.data_vars):
        if stations[name].dims == ("station", "time"):
            cube[name] = ("time", "y", "x"), stations[name].values.T[:, :, None]
    cube["elevation"] = ("y", "x"), stations.elevation.values[:, None]
    cube["latitude"], cube["longitude"] = (cube[name].reset_coords(drop=True) for name in ("lat", "lon"))
    moist = np.isfinite(stations.soil_moisture.values).any(axis=(1, 2))
    cube["mask"] = ("y", "x"), moist[:, None], {"long_name": "station observes soil moisture"}
    _write(describe(_with_sums(cube)), out, inputs)
    return out


def with_antecedents(dataset: xr.Dataset) -> xr.Dataset:
    """Add the filled observed variable and the antecedent precipitation sums to a product's dataset."""
    observed = dataset.attrs.get("observed", "soil_moisture")
    return describe(_with_sums(dataset.merge(gapfill.carry_forward(dataset[observed]))))


def _with_sums(dataset: xr.Dataset) -> xr.Dataset:
    for days in ANTECEDENT_DAYS if "precipitation" in dataset else ():
        name = f"precipitation_{days}d"
        dataset[name] = features.antecedent_sum(dataset.precipitation, days).astype(np.float32)
        dataset[name].attrs = {"causal": "true"}
    return dataset


def _write(dataset: xr.Dataset, out: Path, inputs: Mapping[str, object]) -> None:
    attributes = dataset.attrs | provenance(**inputs)
    with writing(out) as scratch:
        dataset.attrs = attributes
        for name in dataset.data_vars:
            dataset[name] = dataset[name].chunk({d: 128 if d == "time" else -1 for d in dataset[name].dims})
        with beside_arrays():
            dataset.to_zarr(scratch, mode="w", zarr_format=3)
