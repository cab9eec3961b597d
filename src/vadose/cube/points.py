"""What the granules of a product say at points: small windows read, and the pixel that holds each point."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer

from vadose.artefact import identity
from vadose.cube.granules import KEPT
from vadose.cube.listing import Granule, list_granules
from vadose.errors import OutsideError, VadoseError
from vadose.features.derived import DERIVED, READ, can_be_made, derive, made_of
from vadose.features.radar import METRES_A_DEGREE
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS
from vadose.products.containers import BBox, container_of
from vadose.products.product import AtStations
from vadose.products.rasters import RASTERS, open_raster

WIDE = 0.15
"""Degrees around all stations: each has its cell of 9 km within."""

Floats = NDArray[np.floating]
Places = NDArray[np.int64]


@dataclass
class Found:
    """What the granules of a product gave.

    Attributes
    ----------
    values
        Variable -> time of observation and satellite -> value at each station; time is None where fixed.
    attributes
        What the product says of itself.
    granules
        Fingerprint of each granule that was used.
    unread
        Granules that could not be read, or not at some station, and why.
    """

    values: dict[str, dict[tuple[pd.Timestamp | None, str], Floats]] = field(default_factory=lambda: defaultdict(dict))
    attributes: dict[str, str] = field(default_factory=dict)
    granules: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def read_points(
    product: str, folder: Path, lat: Floats, lon: Floats, days: pd.DatetimeIndex, progress: Progress
) -> Found:
    """Values of a product's variables at the points, each observation by itself.

    Parameters
    ----------
    product
        Name in `vadose.products.PRODUCTS`, whose ``stations`` say what is taken.
    folder
        Holds its granules, anywhere below.
    lat, lon
        Points (station,) [degree].
    days
        Period whose granules are read; fixed products are read whatever their day.

    Raises
    ------
    VadoseError
        When the folder is empty, or scenes of Sentinel-1 are of sigma0 and gamma0. A granule that cannot be read is
        noted and left out.
    """
    found, wanted = Found(), picked(product)
    scenes = _scenes(product, folder, days)
    for number, files in enumerate(scenes):
        name = files[0].path.relative_to(folder).as_posix()
        try:
            windows = list(_windows(taken(product).reach, files[0].path, lat, lon))
        except VadoseError as error:
            found.unread[name] = str(error)
            continue
        used = False
        for who, bbox in windows:
            try:
                dataset = _window(product, files, bbox, days)
                if not wanted & set(dataset.data_vars):
                    break
                covers = _keep(product, found, dataset, files[0].path, who, lat, lon)
            except OutsideError:
                continue
            except VadoseError as error:
                found.unread.setdefault(name, str(error))
                continue
            if covers:
                _note(product, found, dataset, folder)
                used = True
        if used:
            found.granules[name] = identity(*(path for granule in files for path in granule.members))
        progress(f"reading {product}", (number + 1) / len(scenes))
    return found


def _scenes(product: str, folder: Path, days: pd.DatetimeIndex) -> list[list[Granule]]:
    """Granules of the days, together those that are read together: hours of a day."""
    known = PRODUCTS[product]
    scenes: dict[Any, list[Granule]] = defaultdict(list)
    for granule in list_granules(folder, product).granules:
        if granule.overlaps(days[0], days[-1]):
            scenes[granule.first if known.many_a_day(granule.path.name) else granule.path].append(granule)
    return list(scenes.values())


def _windows(reach: float, path: Path, lat: Floats, lon: Floats) -> Iterator[tuple[Places, BBox]]:
    """Stations that a file may cover, together or one by one, and the box to read for them."""
    inside = np.ones(len(lat), bool)
    if container_of(path) in RASTERS:
        with open_raster(path) as file:
            crs, bounds, pixel = file.crs, file.bounds, max(file.res)
        if crs is not None:
            x, y = _to(crs.to_wkt()).transform(lon, lat)
            inside = (x >= bounds.left) & (x < bounds.right) & (y > bounds.bottom) & (y <= bounds.top)
            # Decimated scenes have larger pixels than published ones.
            reach = max(reach, 2 * pixel * (METRES_A_DEGREE if crs.is_geographic else 1))
    if not reach:
        yield np.arange(len(lat)), (lon.min() - WIDE, lat.min() - WIDE, lon.max() + WIDE, lat.max() + WIDE)
        return
    for number in np.flatnonzero(inside):
        down = reach / METRES_A_DEGREE
        across = down / np.cos(np.radians(lat[number]))
        box = (lon[number] - across, lat[number] - down, lon[number] + across, lat[number] + down)
        yield np.array([number]), box


def _window(product: str, files: list[Granule], bbox: BBox, days: pd.DatetimeIndex) -> xr.Dataset:
    known = PRODUCTS[product]
    together = known.many_a_day(files[0].path.name)
    read: Any = known.daily if together else known.read
    options: dict[str, Any] = {}
    if "files" in signature(read).parameters:
        options["files"] = files[0].members
    if "time" in signature(read).parameters:
        options["time"] = (f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")
    dataset = read([granule.path for granule in files] if together else files[0].path, bbox=bbox, **options)
    return derive(dataset, sorted(picked(product)), ("neighbourhood",))


def _keep(product: str, found: Found, dataset: xr.Dataset, path: Path, who: Places, lat: Floats, lon: Floats) -> bool:
    """Put the values of the pixels that hold the points to those found, over those of an earlier file.

    Returns whether any pixel does.
    """
    row, column = _pixels(dataset, lat[who], lon[who], path)
    satellite = PRODUCTS[product].satellite_of(path.name)
    for name in sorted(picked(product) & set(dataset.data_vars)):
        times = dataset.indexes["time"] if "time" in dataset[name].dims else [None]
        values = np.where(row >= 0, dataset[name].values[..., row, column], np.nan)
        for time, seen in zip(times, np.atleast_2d(values), strict=True):
            kept = found.values[name].setdefault((time, satellite), np.full(len(lat), np.nan, np.float32))
            kept[who] = np.where(np.isfinite(seen), seen, kept[who])
    return bool((row >= 0).any())


def _pixels(dataset: xr.Dataset, lat: Floats, lon: Floats, path: Path) -> tuple[Places, Places]:
    """Row and column of the pixel that holds each point, -1, -1 where none does."""
    across, down = lon, lat
    if "lon" not in dataset.dims:
        across, down = _to(dataset.crs.attrs["crs_wkt"]).transform(lon, lat)
    y, x = ("lat", "lon") if "lon" in dataset.dims else ("y", "x")
    if max(dataset.sizes[y], dataset.sizes[x]) < 2:
        raise VadoseError(f"{path}: a single pixel around the station; its size is not known, fetch a larger part")
    # Of a single row or column the pixels are as high as wide.
    size = {d: _step(dataset, d if dataset.sizes[d] > 1 else {y: x, x: y}[d]) for d in (y, x)}
    column = np.floor((across - float(dataset[x][0])) / size[x] + 0.5).astype(np.int64)
    row = np.floor((float(dataset[y][0]) - down) / size[y] + 0.5).astype(np.int64)
    inside = (row >= 0) & (row < dataset.sizes[y]) & (column >= 0) & (column < dataset.sizes[x])
    return np.where(inside, row, -1), np.where(inside, column, -1)


def _step(of: xr.Dataset | xr.DataArray, dim: str) -> float:
    axis = of[dim].values
    return abs(float(axis[-1]) - float(axis[0])) / max(len(axis) - 1, 1)


def taken(product: str) -> AtStations:
    """What stations are given of a product."""
    return PRODUCTS[product].stations or AtStations()


def features_of(product: str) -> dict[str, str]:
    """Features of stations that a product gives -> its variables, or derived features of the same name."""
    at = taken(product)
    known = {name for name, row in DERIVED.items() if row.at_stations and can_be_made(name, at.inputs, READ)}
    return dict(at.features) | {name: name for name in sorted(known)}


def picked(product: str) -> set[str]:
    """Variables whose pixels are taken: those that features are made of pixel by pixel."""
    return {one for theirs in features_of(product).values() for one in made_of(theirs, ("pixel",))}


@lru_cache
def _to(wkt: str) -> Transformer:
    """From longitude, latitude to a projection."""
    return Transformer.from_crs("EPSG:4326", wkt, always_xy=True)


def _note(product: str, found: Found, dataset: xr.Dataset, folder: Path) -> None:
    """Add what a granule says of its product."""
    said = {key: str(dataset.attrs[key]) for key in KEPT if key in dataset.attrs}
    before = found.attributes
    products = {said.get("product", ""), *filter(None, before.get("product", "").split(", "))}
    if taken(product).one_kind and len(products) > 1:
        raise VadoseError(
            f"{folder}: scenes of {' and of '.join(sorted(products))}, whose indices differ; keep those of one kind"
        )
    simulated = "true" in (said.get("simulated"), before.get("simulated"))
    found.attributes = said | before | {"product": ", ".join(sorted(products)), "simulated": str(simulated).lower()}
