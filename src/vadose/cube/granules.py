"""What granules of a product give on the grid."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.cube.granule import Granule
from vadose.cube.overlaps import Cells, Combined, What, without_shared
from vadose.cube.recipe import DIRECTIONS, Source, is_class
from vadose.errors import OutsideError, VadoseError
from vadose.features.derived import READ, derive, lacking, made_of
from vadose.grid import METRES_A_DEGREE, Grid
from vadose.products.containers import BBox
from vadose.products.product import Product
from vadose.resample import Sums, area_sums, class_sums, fractions, majority, resample
from vadose.resample.raster import Raster, raster_of
from vadose.variables import VARIABLES

MARGIN = 0.5
"""Degrees read beyond the grid, so that interpolation at its edge has neighbours."""
FIXED_MARGIN = 0.1
"""Degrees for fixed products, whose pixels are small."""
FINE_MARGIN = 0.01
"""Degrees for products of which a part is enough around a station, beside some cells and that part."""
Notes = dict[str, dict[str, Any]]
"""What is noted of each granule, by its name."""
KEPT = ("product", "version", "quality", "day_boundary", "simulated")
FLAGS = ("flag_values", "flag_meanings")
"""What a granule's attributes say of its product, noted with each variable of the cube."""
OWN = (*FLAGS, "source_variable", "converted_from", "of_day", "units")
"""What is noted with variables of one's own."""
PART, PART_CELLS = 288e3, (32, 256)
"""Edge of what a fixed product is read for at once [m], 8 million pixels of 100 m, and least and most cells of it."""
WHOLE_FROM = 900.0
"""Edge of cells [m] from which on a day of a product is read for the whole grid at once."""
PASSES = ("_ascending", "_descending")
"""Endings of variables of Sentinel-1 that are of scenes of that pass alone."""
TOGETHER = 4
"""Maps of a product brought onto the grid at once: more take memory and no less time."""


@dataclass
class Block:
    """What the granules of some days gave.

    Attributes
    ----------
    fields
        (y, x) of each fixed variable.
    daily
        (y, x) of each daily variable on each day that a granule holds.
    fractions
        Of variables of classes that are fixed: classes (n,) and the share each has of the cells (n, y, x).
    attributes
        What the product says of itself.
    flags
        Meanings of the classes, by variable.
    granules
        By name: state, hash, days, what is wrong with one that could not be read, and what a scene lacks.
    """

    fields: dict[str, NDArray[np.float32]]
    daily: dict[str, dict[pd.Timestamp, NDArray[np.float32]]]
    fractions: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    attributes: dict[str, Any]
    flags: dict[str, dict[str, Any]]
    granules: Notes


def read_block(granules: list[Granule], grid: Grid, days: pd.DatetimeIndex | None, source: Source) -> Block:
    """Read granules onto the grid: some days of a product, or with ``days=None`` a fixed product.

    A granule that cannot be read is noted with the reason, and what it alone holds stays missing. Of a day of many
    granules the others are kept if they suffice.
    """
    block = Block({}, {}, {}, {}, {}, {granule.name: granule.note() for granule in granules})
    if days is not None:
        for rows, columns in _parts(grid) if grid.cell < WHOLE_FROM else [(slice(None), slice(None))]:
            for (name, day), sums in _found(granules, grid.part(rows, columns), days, source, block).items():
                assert day is not None
                of_days = block.daily.setdefault(name, {})
                field = of_days.setdefault(day, np.full(grid.shape, np.nan, np.float32))
                field[rows, columns] = finished(sums, name)
        return block
    shares: dict[str, dict[float, NDArray[np.float32]]] = defaultdict(dict)
    # A product may come as a file a property: those that hold nothing of the recipe are read once.
    of_use = list(granules)
    for rows, columns in _parts(grid):
        for (name, _), sums in _found(of_use, grid.part(rows, columns), None, source, block).items():
            field = block.fields.setdefault(name, np.full(grid.shape, np.nan, np.float32))
            field[rows, columns] = finished(sums, name)
            if isinstance(sums, dict):
                for c, share in zip(*fractions(sums), strict=True):
                    shares[name].setdefault(float(c), np.zeros(grid.shape, np.float32))[rows, columns] = share
    for name, of in shares.items():
        classes = sorted(of)
        stacked = np.stack([of[c] for c in classes])
        block.fractions[name] = np.array(classes, np.float32), np.where(np.isnan(block.fields[name]), np.nan, stacked)
    held = {
        theirs: (("y", "x"), block.fields[ours]) for theirs, ours in source.variables.items() if ours in block.fields
    }
    of_area = derive(xr.Dataset(held, grid.coordinates().coords), source.variables, ("area",))
    for theirs in set(map(str, of_area.data_vars)) - held.keys():
        block.fields[source.variables[theirs]] = of_area[theirs].values.astype(np.float32)
    return block


def _parts(grid: Grid) -> Iterator[tuple[slice, slice]]:
    """Squares of the grid: a fixed product may have a million times the pixels of the grid."""
    rows, columns = grid.shape
    edge = int(np.clip(PART / grid.cell, *PART_CELLS))
    for top in range(0, rows, edge):
        for left in range(0, columns, edge):
            yield slice(top, min(top + edge, rows)), slice(left, min(left + edge, columns))


def _found(
    granules: list[Granule], grid: Grid, days: pd.DatetimeIndex | None, source: Source, block: Block
) -> dict[tuple[str, pd.Timestamp | None], Cells]:
    """Sums of every variable and day; what the granules say, or that they are broken, is noted in the block.

    Granules of a fixed product that hold none of its variables, or are broken, are taken out of the list.
    """
    by_satellite: dict[tuple[str, pd.Timestamp | None, str], Combined] = {}
    shared: dict[str, list[Any]] = defaultdict(list)
    for together in list(together_of(granules, source.known)):
        dataset = dataset_of(together, _box(grid, source.known), days, source, block.granules)
        if dataset is None:
            if days is None and "broken" in block.granules[together[0].name]:
                granules.remove(together[0])
            continue
        satellite = source.known.satellite_of(together[0].path.name)
        if absent := _absent(dataset, source):
            block.granules[together[0].name]["lacks"] = absent
        try:
            given = list(on_grid(dataset, grid, days, source, shared))
        except VadoseError as error:
            block.granules[together[0].name]["broken"] = str(error)
            continue
        for name, day, moment, sums, combined, raster in given:
            by_satellite.setdefault((name, day, satellite), combined).add(sums, raster, moment)
        if not given:
            if days is None:
                granules.remove(together[0])
            continue
        block.attributes = block.attributes or {key: dataset.attrs[key] for key in KEPT if key in dataset.attrs}
        block.flags |= {
            ours: {
                key: of for key, of in dataset[theirs].attrs.items() if key in (FLAGS if source.own is None else OWN)
            }
            for theirs, ours in source.variables.items()
            if theirs in dataset
        }
    found: dict[tuple[str, pd.Timestamp | None], Cells] = {}
    for (name, day, _), combined in by_satellite.items():
        found[name, day] = added(found.get((name, day)), combined.cells())
    return found


def together_of(granules: list[Granule], product: Product) -> Iterator[list[Granule]]:
    """Granules one by one, or by the day where a day has several."""
    days: dict[pd.Timestamp | None, list[Granule]] = defaultdict(list)
    for granule in granules:
        if product.many_a_day(granule.path.name):
            days[granule.first].append(granule)
        else:
            yield [granule]
    yield from days.values()


def dataset_of(
    together: list[Granule], box: BBox, days: pd.DatetimeIndex | None, source: Source, notes: Notes
) -> xr.Dataset | None:
    """The dataset of granules in a box; None where they lie outside it, or cannot be read, which is noted."""
    try:
        return _read(together, box, days, source)
    except VadoseError as error:
        if source.own is not None:  # what is wrong can be said in the recipe
            raise
        reason = str(error)
    if len(together) > 1:
        # One bad hour: the day is made without it, if its product's rule allows.
        faults = {granule.name: fault for granule in together if (fault := _fault(granule, box, source))}
        for name, fault in faults.items():
            notes[name]["broken"] = fault
        together = [granule for granule in together if granule.name not in faults]
        if faults and together:
            try:
                return _read(together, box, days, source)
            except VadoseError as error:
                reason = str(error)
    for granule in together:
        notes[granule.name]["broken"] = reason
    return None


def _fault(granule: Granule, box: BBox, source: Source) -> str:
    """Why a granule cannot be read; '' if it can."""
    try:
        source.known.read(granule.path, bbox=box)
    except VadoseError as error:
        return str(error)
    return ""


def _read(together: list[Granule], box: BBox, days: pd.DatetimeIndex | None, source: Source) -> xr.Dataset | None:
    """The dataset of a granule, or of a day's granules; None where it lies outside the box or the days."""
    product = source.known
    many = product.many_a_day(together[0].path.name)
    read: Any = product.daily if many else product.read
    asked = signature(read).parameters
    options = {name: value for name, value in source.options.items() if name in asked}
    needed = dict.fromkeys(name for of in source.variables for name in made_of(of_any_pass(of), READ))
    for option in {"variables", "bands"} & asked.keys() - options.keys():
        options[option] = list(needed)
    if "time" in asked and days is not None:
        options["time"] = (f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")
    if "files" in asked:
        options["files"] = together[0].members
    paths = [granule.path for granule in together]
    try:
        dataset: xr.Dataset = read(paths if many else paths[0], bbox=box, **options)
    except OutsideError:
        return None
    dataset = derive(dataset, map(of_any_pass, source.variables), READ)
    seen = f"_{dataset.attrs.get('orbit_pass')}"
    of_pass = [of for of in source.variables if seen in PASSES and of.endswith(seen) and of_any_pass(of) in dataset]
    return dataset.assign({of: dataset[of_any_pass(of)] for of in of_pass})


def of_any_pass(name: str) -> str:
    """Variable of scenes of any pass.

    Examples
    --------
    >>> of_any_pass("cross_ratio_ascending"), of_any_pass("ndvi")
    ('cross_ratio', 'ndvi')
    """
    return next((name.removesuffix(seen) for seen in PASSES if name.endswith(seen)), name)


def _absent(dataset: xr.Dataset, source: Source) -> str:
    """What a scene lacks of what the variables asked for are made of; other granules may hold some of them each."""
    if not source.known.scene:
        return ""
    absent = {of: lacking(of_any_pass(of), dataset, READ) for of in source.variables}
    inputs = dict.fromkeys(one for of in absent.values() for one in of)
    return f"no {', '.join(inputs)} for {', '.join(of for of, parts in absent.items() if parts)}" if inputs else ""


def on_grid(
    dataset: xr.Dataset, grid: Grid, days: pd.DatetimeIndex | None, source: Source, shared: dict[str, list[Any]]
) -> Iterator[tuple[str, pd.Timestamp | None, float, Cells, Combined, Raster]]:
    """Sums of each variable asked for, and of each day, with their time, how they are combined, and their raster."""
    what: What = "areas" if source.resampling in ("mean", "majority") else "points"
    if days is None and what == "areas" and source.overlap == "mean":
        what = "map"
    for theirs, ours in source.variables.items():
        # A product of many files, such as one a property, need not hold every variable in each.
        if theirs not in dataset:
            continue
        field = dataset[theirs]
        # What has no mean is that of one granule.
        one = is_class(theirs) or theirs in DIRECTIONS or "flag_values" in field.attrs
        mixes = one and source.overlap == "mean" and source.resampling != "majority"
        overlap = "nearest" if mixes else source.overlap
        if "time" not in field.dims:
            if what == "map":
                field = without_shared(field, shared[theirs])
            sums = _sums(field, grid, source.resampling)
            yield ours, None, 0.0, sums, Combined(grid, overlap, what), raster_of(field)
            continue
        if days is None:
            raise VadoseError(
                f"{source.product}: {theirs!r} changes with time, but the names of its granules contain no day; give "
                "them their published names"
            )
        field = field.sel(time=slice(days[0], days[-1] + pd.Timedelta(hours=23, minutes=59)))
        if field.sizes["time"]:
            of_days, raster = _each(field, grid, source.resampling), raster_of(field)
            for time, sums in zip(field.indexes["time"], of_days, strict=True):
                yield ours, time.normalize(), time.timestamp(), sums, Combined(grid, overlap, what), raster


def _box(grid: Grid, known: Product) -> BBox:
    """What is read of a product: the grid and a margin [degree]."""
    margin = FIXED_MARGIN if known.fixed else MARGIN
    if known.stations and known.stations.reach:
        margin = min(margin, FINE_MARGIN + (2 * grid.cell + known.stations.reach) / METRES_A_DEGREE)
    rows, columns = grid.shape
    south, west = grid.latlon(rows - 1, 0)
    north, east = grid.latlon(0, columns - 1)
    return float(west) - margin, float(south) - margin, float(east) + margin, float(north) + margin


def _sums(field: xr.DataArray, grid: Grid, method: str) -> Cells:
    if method == "majority":
        return class_sums(field, grid)
    if method == "mean":
        return area_sums(field, grid)
    values = resample(field, grid, method)
    return Sums(np.nan_to_num(values), np.isfinite(values).astype(float))


def _each(field: xr.DataArray, grid: Grid, method: str) -> Iterable[Cells]:
    """Sums of each time, some times brought onto the grid at once."""
    together = 1 if method == "majority" else TOGETHER
    for start in range(0, field.sizes["time"], together):
        sums: Any = _sums(field.isel(time=slice(start, start + together)).transpose("time", ...), grid, method)
        if isinstance(sums, dict):
            yield {c: Sums(of.values[0], of.weight[0]) for c, of in sums.items()}
        else:
            yield from (
                Sums(v.astype(np.float32), w.astype(np.float32)) for v, w in zip(sums.values, sums.weight, strict=True)
            )


def added(before: Cells | None, sums: Cells) -> Cells:
    """Sums of two granules, those of each class for classes."""
    if not before or not sums:
        return before or sums
    if isinstance(before, Sums) and isinstance(sums, Sums):
        return before + sums
    assert isinstance(before, dict)
    assert isinstance(sums, dict)
    return {c: _added_class(before, sums, c) for c in {*before, *sums}}


def _added_class(first: dict[float, Sums], second: dict[float, Sums], c: float) -> Sums:
    """Sums of one class; a tile without it has none of it on all it covers."""

    def of(sums: dict[float, Sums]) -> Sums:
        any_class = next(iter(sums.values()))
        return sums.get(c, Sums(np.zeros_like(any_class.values), any_class.weight))

    return of(first) + of(second)


def finished(sums: Cells, name: str) -> NDArray[np.float32]:
    """Values of the cells; what bicubic interpolation overshoots is cut at the variable's valid range."""
    if isinstance(sums, dict):
        return majority(sums)
    known = VARIABLES.get(name)
    return sums.mean().clip(*known.valid_range) if known else sums.mean()
