"""Granules of a product as an analysis to be scored: its moisture at stations, or on the cells of a cube."""

import re
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.cube.at_stations import cells_at
from vadose.cube.granules import read_block
from vadose.cube.listing import for_a_cube
from vadose.cube.points import read_points
from vadose.cube.recipe import Source
from vadose.door import as_cube, as_stations
from vadose.door.foreign import Foreign, as_ours, holds_granules, is_ours, open_forecasts, told_of_path
from vadose.errors import VadoseError
from vadose.grid import ease_grid, grid_of
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS, identify

NAMES = ("soil_moisture", "soil_moisture_0_10cm")
"""Moisture at the surface as readers call it."""
LAYERS = {"soil_moisture": (0.0, 5.0), "soil_moisture_rootzone": (0.0, 100.0)}
"""Of products of SMAP [cm]; others say it in their names."""


def forecasts_of(store: str | PathLike[str] | xr.Dataset, observed: xr.Dataset, progress: Progress) -> xr.Dataset:
    """A store of forecasts, ours or of others, of a data set, a path, a YAML file or a folder of granules.

    Raises
    ------
    VadoseError
        When it cannot be opened or is not understood (`vadose.door.foreign`, `analysis_of_granules`).
    """
    if isinstance(store, xr.Dataset):
        return store if is_ours(store) else as_ours(store, Foreign("the data set"))
    told = told_of_path(Path(store))
    if not holds_granules(told):
        return open_forecasts(Path(store))
    data, product, layer = analysis_of_granules(Path(told.path), observed, told.variable, progress)
    said = replace(told, model=told.model or product, variable="soil_moisture", unit=None, layer=told.layer or layer)
    return as_ours(data, said)


def analysis_of_granules(
    folder: Path, observed: xr.Dataset, variable: str | None, progress: Progress
) -> tuple[xr.Dataset, str, tuple[float, float] | None]:
    """Moisture of a folder of granules on the days and at the places of observations, its product and layer [cm].

    A station takes the pixel that holds it, a cell of a cube the mean over its area, as cubes do. The day is the
    product's own.

    Parameters
    ----------
    observed
        Station store or cube.
    variable
        Of the product's reader; that of the surface when left out.

    Raises
    ------
    VadoseError
        When the folder holds no granules of a product that is known, or none with a value there.
    """
    product = _product_of(folder)
    listing = for_a_cube(folder, product)
    spans = [(one.first, one.last) for one in listing.granules if one.first is not None and one.last is not None]
    known = pd.DatetimeIndex(observed.time.values).normalize()
    if not spans:
        raise VadoseError(f"{folder}: the granules of {product} tell no day; they are no analysis of days")
    days = pd.date_range(
        max(min(first for first, _ in spans), known.min()), min(max(last for _, last in spans), known.max())
    )
    if not len(days):
        raise VadoseError(
            f"{folder}: granules of {min(spans)[0]:%Y-%m-%d} .. {max(spans)[1]:%Y-%m-%d}, observations of "
            f"{known.min():%Y-%m-%d} .. {known.max():%Y-%m-%d}; no day in common"
        )
    names = (variable,) if variable else NAMES
    of_stations = "layer" in observed.dims
    read = _at_stations if of_stations else _on_cells
    data, why = read(Source(product, {name: name for name in names}, "nearest"), folder, observed, days, progress)
    taken = next((name for name in names if name in data), None)
    if taken is None:
        raise VadoseError(f"{folder}: no {' or '.join(names)} of {product} at the observations ({why})")
    layer = re.search(r"_(\d+)_(\d+)cm", taken)
    depths = (float(layer[1]), float(layer[2])) if layer else LAYERS.get(taken)
    moist = data[[taken]].rename({taken: "soil_moisture"})
    moist["soil_moisture"].attrs["units"] = "m3 m-3"
    return moist, product, depths


def _product_of(folder: Path) -> str:
    if PRODUCTS.get(folder.resolve().name, PRODUCTS["scan"]).kind == "grid":
        return folder.resolve().name
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    first = next(files, None)
    if first is None:
        raise VadoseError(f"{folder}: neither a Zarr store nor a folder of granules; no file in it")
    product = identify(first)
    if PRODUCTS[product].kind != "grid":
        raise VadoseError(f"{folder}: {first.name} is {PRODUCTS[product].title}, which is no grid of days")
    return product


def _at_stations(
    source: Source, folder: Path, observed: xr.Dataset, days: pd.DatetimeIndex, progress: Progress
) -> tuple[xr.Dataset, str]:
    stations = as_stations(observed, "the observations")
    cells, _ = cells_at(stations, ease_grid("100m"))
    found = read_points(source, folder, cells, days, progress)
    some = {name: values for name, values in found.values.items() if np.isfinite(values).any()}
    coords = {"time": days, **{name: ("station", stations[name].values) for name in ("station", "lat", "lon")}}
    data = xr.Dataset({name: (("station", "time"), values) for name, values in some.items()}, coords)
    simulated = found.attributes.get("simulated", "false")
    return data.assign_attrs(simulated=simulated), next(iter(found.unread.values()), "no granule covers one")


def _on_cells(
    source: Source, folder: Path, observed: xr.Dataset, days: pd.DatetimeIndex, progress: Progress
) -> tuple[xr.Dataset, str]:
    cube = as_cube(observed, "the observations")
    grid = grid_of(cube)
    granules = for_a_cube(folder, source.product).granules
    block = read_block(granules, grid, days, Source(source.product, source.variables, "mean"))
    data = grid.coordinates().drop_vars("crs").assign_coords(time=days, y=cube.y.values, x=cube.x.values)
    for name, fields in block.daily.items():
        maps = np.stack([fields.get(day, np.full(grid.shape, np.nan, np.float32)) for day in days])
        if np.isfinite(maps).any():
            data[name] = ("time", "y", "x"), maps
    broken = [note["broken"] for note in block.granules.values() if "broken" in note]
    simulated = block.attributes.get("simulated", "false")
    return data.assign_attrs(simulated=simulated), next(iter(broken), "no granule covers one")
