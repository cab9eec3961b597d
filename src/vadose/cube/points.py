"""What the granules of a product say at points: small windows read, and brought onto the cells that hold the points."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity
from vadose.cube.granule import Granule
from vadose.cube.granules import KEPT, added, dataset_of, finished, on_grid, together_of
from vadose.cube.listing import list_granules, listing_of
from vadose.cube.overlaps import Cells, Combined
from vadose.cube.recipe import Source
from vadose.errors import VadoseError
from vadose.features.derived import DERIVED, READ, can_be_made, made_of
from vadose.grid import METRES_A_DEGREE, Grid
from vadose.parallel.progress import Progress
from vadose.products import PRODUCTS
from vadose.products.containers import BBox, container_of
from vadose.products.product import AtStations
from vadose.products.rasters import RASTERS, open_raster
from vadose.resample.raster import DEGREES, axes, transformer

WIDE = 0.15
"""Degrees around all stations: each has its cell of 9 km within."""

Floats = NDArray[np.floating]
Places = NDArray[np.int64]
Keys = tuple[str, pd.Timestamp | None, str, int]
"""Variable, day, satellite and number of the point."""


@dataclass
class Found:
    """What the granules of a product gave.

    Attributes
    ----------
    values
        (station, time) of each daily variable, (station,) of fixed ones, by our names.
    held
        Variables that granules held.
    attributes
        What the product says of itself.
    granules
        Fingerprint of each granule that was used.
    unread
        Granules that could not be read, or not at some station, and why.
    """

    values: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    attributes: dict[str, str] = field(default_factory=dict)
    granules: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)


def read_points(
    source: Source, folder: Path, cells: Sequence[Grid], days: pd.DatetimeIndex, progress: Progress
) -> Found:
    """Values of a product at cells, made by what makes a cube: as `vadose.cube.granules.read_block` of each cell.

    Parameters
    ----------
    source
        Product and variables, and how they are resampled. Of a fixed product whose granules overlap the last one in
        order of name counts with ``overlap: latest``.
    folder
        Holds its granules, anywhere below.
    cells
        Single cells of a grid.
    days
        Each day of a period whose granules are read; fixed products are read whatever their day.

    Raises
    ------
    VadoseError
        When the folder is empty, or scenes of Sentinel-1 are of sigma0 and gamma0. A granule that cannot be read is
        noted and left out.
    """
    known, found = source.known, Found()
    span = None if known.fixed else days
    listed = list_granules(folder, source.product) if source.own is None else listing_of(folder, source)
    granules = [one for one in listed.granules if one.overlaps(days[0], days[-1])]
    lat, lon = (np.array(of) for of in zip(*(map(float, cell.latlon(0, 0)) for cell in cells), strict=True))
    parts: dict[Keys, Combined] = {}
    shared: dict[int, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    at = known.stations or AtStations()
    scenes = list(together_of(granules, known))
    for number, scene in enumerate(scenes):
        name = _name(scene[0], source, folder)
        satellite = known.satellite_of(scene[0].path.name)
        try:
            windows = list(_windows(at.reach, scene[0].path if source.own is None else None, lat, lon, cells[0].cell))
        except VadoseError as error:
            found.unread[name] = str(error)
            windows = []
        for who, box in windows:
            dataset = _read(scene, box, span, source, found, folder)
            if dataset is None:
                continue
            found.held |= set(map(str, dataset.data_vars))
            dataset = dataset[[of for of in source.variables if of in dataset]]
            if not dataset.data_vars:
                break  # a file of other variables
            points: list[int] = []
            try:
                for point in who.tolist():
                    beside = _near(dataset, cells[point], lat[point], lon[point])
                    if beside is None:
                        continue
                    near, holds = beside
                    made = list(on_grid(near, cells[point], span, source, shared[point]))
                    points += [point] if holds or any(_weight(sums) for *_, sums, _, _ in made) else []
                    for ours, day, moment, sums, combined, raster in made:
                        when = number if day is None else moment
                        parts.setdefault((ours, day, satellite, point), combined).add(sums, raster, when)
            except VadoseError as error:
                found.unread.setdefault(name, str(error))
            if points:
                _note(at, found, dataset, folder)
                found.granules[name] = identity(*(path for granule in scene for path in granule.members))
        progress(f"reading {source.product}", (number + 1) / len(scenes))
    _put_together(found, parts, len(cells), days)
    return found


def _read(
    scene: list[Granule], box: BBox, days: pd.DatetimeIndex | None, source: Source, found: Found, folder: Path
) -> xr.Dataset | None:
    """The dataset of granules read together; None where they lie elsewhere, or cannot be read, which is noted."""
    notes: dict[str, dict[str, Any]] = {granule.name: {} for granule in scene}
    dataset = dataset_of(scene, box, days, source, notes)
    for granule in scene:
        if reason := notes[granule.name].get("broken"):
            found.unread.setdefault(_name(granule, source, folder), reason)
    return dataset


def _name(granule: Granule, source: Source, folder: Path) -> str:
    return granule.path.relative_to(folder).as_posix() if source.own is None else granule.name


def _put_together(found: Found, parts: dict[Keys, Combined], stations: int, days: pd.DatetimeIndex) -> None:
    """Series of the points from what granules gave; of several satellites of a day the mean."""
    sums: dict[tuple[str, pd.Timestamp | None, int], Cells] = {}
    for (name, day, _, point), combined in parts.items():
        sums[name, day, point] = added(sums.get((name, day, point)), combined.cells())
    for (name, day, point), cell in sums.items():
        shape = (stations,) if day is None else (stations, len(days))
        series = found.values.setdefault(name, np.full(shape, np.nan, np.float32))
        at = (point,) if day is None else (point, days.get_loc(day))
        series[at] = finished(cell, name)[0, 0] if cell else np.nan


def _windows(reach: float, path: Path | None, lat: Floats, lon: Floats, cell: float) -> Iterator[tuple[Places, BBox]]:
    """Stations that a file may cover, together or one by one, and the box to read for them."""
    inside = np.ones(len(lat), bool)
    if path is not None and container_of(path) in RASTERS:
        with open_raster(path) as file:
            crs, bounds, pixel = file.crs, file.bounds, max(file.res)
        if crs is not None:
            x, y = transformer(DEGREES, crs.to_wkt()).transform(lon, lat)
            # Of the cell around a point a part may lie in the next tile.
            rim = cell / (METRES_A_DEGREE * np.cos(np.radians(lat)) if crs.is_geographic else 1.0)
            inside = (x >= bounds.left - rim) & (x < bounds.right + rim)
            inside &= (y > bounds.bottom - rim) & (y <= bounds.top + rim)
            # Decimated scenes have larger pixels than published ones.
            reach = max(reach, 2 * pixel * (METRES_A_DEGREE if crs.is_geographic else 1))
    if not reach:
        yield np.arange(len(lat)), (lon.min() - WIDE, lat.min() - WIDE, lon.max() + WIDE, lat.max() + WIDE)
        return
    for number in np.flatnonzero(inside):
        down = (reach + cell) / METRES_A_DEGREE
        across = down / np.cos(np.radians(lat[number]))
        box = (lon[number] - across, lat[number] - down, lon[number] + across, lat[number] + down)
        yield np.array([number]), box


def _weight(cells: Cells) -> bool:
    """Whether a granule has values in a cell."""
    of = cells if isinstance(cells, dict) else {0.0: cells}
    return any(sums.weight.max() > 0 for sums in of.values())


def _near(dataset: xr.Dataset, cell: Grid, lat: float, lon: float) -> tuple[xr.Dataset, bool] | None:
    """The pixels around a cell and whether one holds its centre; None if it lies elsewhere."""
    if "crs" not in dataset.coords:  # pixels that have each their place
        return dataset, True
    y, x = axes(next(iter(dataset.data_vars.values())))
    across, down, metres = lon, lat, METRES_A_DEGREE * np.cos(np.radians(lat))
    if y == "y":
        across, down = transformer(DEGREES, dataset.crs.attrs["crs_wkt"]).transform(lon, lat)
        metres = 1.0
    around, holds = {}, True
    for axis, at in ((y, down), (x, across)):
        pixels = dataset[axis].values
        if len(pixels) < 2:
            raise VadoseError("a single row or column of pixels around the station; fetch a larger part")
        step = (pixels[-1] - pixels[0]) / (len(pixels) - 1)
        position = (at - pixels[0]) / step + 0.5
        width = cell.cell / (abs(step) * metres)
        if not -width <= position < len(pixels) + width:
            return None
        holds &= 0 <= position < len(pixels)
        # What interpolation takes, and all of a cell.
        reach = int(np.ceil(width)) + 2
        start, stop = int(position) - reach, int(position) + reach + 1
        around[axis] = slice(min(max(start, 0), len(pixels) - 2), max(stop, 2))
    return dataset.isel(around), bool(holds)


def source_of(product: str, mode: str = "causal") -> Source:
    """What stations are given of a product where no recipe says it."""
    at, known = taken(product), PRODUCTS[product]
    return Source(
        product,
        {theirs: ours for ours, theirs in features_of(product).items()},
        "nearest",
        overlap="latest" if known.fixed or at.one_kind else "mean",
        gaps=("linear" if mode == "paper" else "last_value") if at.overpasses else "missing",
    )


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


def _note(at: AtStations, found: Found, dataset: xr.Dataset, folder: Path) -> None:
    """Add what a granule says of its product."""
    said = {key: str(dataset.attrs[key]) for key in KEPT if key in dataset.attrs}
    before = found.attributes
    products = {said.get("product", ""), *filter(None, before.get("product", "").split(", "))}
    if at.one_kind and len(products) > 1:
        raise VadoseError(
            f"{folder}: scenes of {' and of '.join(sorted(products))}, whose indices differ; keep those of one kind"
        )
    simulated = "true" in (said.get("simulated"), before.get("simulated"))
    found.attributes = said | before | {"product": ", ".join(sorted(products)), "simulated": str(simulated).lower()}
