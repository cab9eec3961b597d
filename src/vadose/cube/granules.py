"""Granules of a product: which there are, of which days, and what they give on the grid."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.cube.computed import ON_PIXELS, of_cells, of_pixels
from vadose.cube.recipe import Source
from vadose.errors import OutsideError, VadoseError
from vadose.grid import Grid
from vadose.products import PRODUCTS
from vadose.products.containers import BBox
from vadose.products.imerg import daily_imerg
from vadose.products.nldas import daily_nldas_forcing, daily_nldas_noah
from vadose.products.smap_l4 import daily_smap_l4
from vadose.resample import Sums, area_sums, class_sums, fractions, majority, resample
from vadose.variables import VARIABLES

MARGIN = 0.5
"""Degrees read beyond the grid, so that interpolation at its edge has neighbours."""
FIXED_MARGIN = 0.1
"""Degrees for fixed products, whose pixels are small."""
KEPT = ("product", "version", "quality", "day_boundary", "simulated")
FLAGS = ("flag_values", "flag_meanings")
"""What a granule's attributes say of its product, noted with each variable of the cube."""
# Products of several granules a day, and what makes a day of them.
DAILY = {
    "smap_l4": daily_smap_l4,
    "nldas_noah": daily_nldas_noah,
    "nldas_forcing": daily_nldas_forcing,
    "imerg": daily_imerg,
}
FIXED = ("mcd12q1", "nlcd", "srtm", "3dep", "solus100", "polaris")
"""Products that do not change with the days, whatever date their names hold."""
_DATES = (
    (re.compile(r"\.A(\d{8})\.(\d{4})\."), "%Y%m%d%H%M"),  # NLDAS
    (re.compile(r"\.A(\d{7})\."), "%Y%j"),  # MODIS
    (re.compile(r"\.(\d{7}T\d{6})\.v"), "%Y%jT%H%M%S"),  # HLS
    (re.compile(r"[._](\d{8})-S(\d{6})"), "%Y%m%d%H%M%S"),  # IMERG
    (re.compile(r"_(\d{8}T\d{6})"), "%Y%m%dT%H%M%S"),
    (re.compile(r"_(\d{8})(?=[_.])"), "%Y%m%d"),
)
PART_CELLS = 32
"""Rows and columns of the grid that a fixed product is read for at once: 288 km, 8 million pixels of 100 m."""
TOGETHER = 4
"""Maps of a product brought onto the grid at once: more take memory and no less time."""
TWO_SATELLITES = ("mod09ga", "mod11a1")
"""Products of Terra (MOD) and Aqua (MYD), which see a place both on a day: their mean is taken."""
_YEAR = re.compile(r"_(\d{4})\.nc$")
_MONTH = re.compile(r"_(\d{4})-(\d{2})\.nc$")


Cells = Sums | dict[float, Sums]
"""Sums of a field on the grid, those of every class for classes."""


@dataclass(frozen=True)
class Granule:
    """A file, and the first and last day it holds; None where its name tells none, as of fixed products."""

    path: Path
    first: pd.Timestamp | None
    last: pd.Timestamp | None

    @property
    def state(self) -> list[int]:
        """Size and time of change: another file has others."""
        found = self.path.stat()
        return [found.st_size, found.st_mtime_ns]

    def name_in(self, root: Path) -> str:
        """Its path below a folder."""
        return self.path.relative_to(root).as_posix()

    def note(self) -> dict[str, Any]:
        """What is kept of it: state, hash of its content, days."""
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"state": self.state, "sha256": digest, "first": _day(self.first), "last": _day(self.last)}

    def overlaps(self, first: pd.Timestamp, last: pd.Timestamp) -> bool:
        """Whether it may hold days of a period."""
        return self.first is None or self.last is None or (self.first <= last and self.last >= first)


def _day(time: pd.Timestamp | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d}"


def list_granules(folder: Path, product: str) -> list[Granule]:
    """Files of a product's folder, those named as published if any are, in order of name."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _aside(p, folder))
    named = [p for p in files if PRODUCTS[product].file_name.match(p.name)]
    if not files:
        raise VadoseError(f"{folder}: no file in it; the granules of {product} belong there")
    return [Granule(path, *days_of(path.name, product)) for path in named or files]


def _aside(path: Path, folder: Path) -> bool:
    """Files that lie beside granules: marks, notes and parts of downloads."""
    parts = path.relative_to(folder).parts
    return any(part.startswith(".") for part in parts) or path.name.startswith("SIMULATED")


def days_of(name: str, product: str) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    """First and last day of a granule by its published name.

    Examples
    --------
    >>> days_of("SMAP_L3_SM_P_E_20190701_R18290_001.h5", "smap_l3")[0]
    Timestamp('2019-07-01 00:00:00')
    >>> [str(day.date()) for day in days_of("tmmx_2019.nc", "gridmet")]
    ['2019-01-01', '2019-12-31']
    """
    if product in FIXED:
        return None, None
    for pattern, form in _DATES:
        if found := pattern.search(name):
            time = pd.Timestamp(datetime.strptime("".join(found.groups()), form))
            if product == "nldas_forcing":
                # Stamps are the ends of hours: 00:00 closes the day before.
                time -= pd.Timedelta(hours=1)
            return time.normalize(), time.normalize()
    if found := _MONTH.search(name):
        month = pd.Period(f"{found[1]}-{found[2]}")
        return month.start_time, month.end_time.normalize()
    if found := _YEAR.search(name):
        return pd.Timestamp(int(found[1]), 1, 1), pd.Timestamp(int(found[1]), 12, 31)
    return None, None


@dataclass
class Block:
    """What the granules of some days gave.

    Attributes
    ----------
    fields
        (time, y, x) or (y, x) of each variable.
    fractions
        Of variables of classes that are fixed: classes (n,) and the share each has of the cells (n, y, x).
    attributes
        What the product says of itself.
    flags
        Meanings of the classes, by variable.
    granules
        By name: state, hash, days, and what is wrong with one that could not be read.
    """

    fields: dict[str, NDArray[np.float32]]
    fractions: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
    attributes: dict[str, Any]
    flags: dict[str, dict[str, Any]]
    granules: dict[str, dict[str, Any]]


def read_block(granules: list[Granule], grid: Grid, days: pd.DatetimeIndex | None, source: Source, root: Path) -> Block:
    """Read granules onto the grid: some days of a product, or with ``days=None`` a fixed product.

    A granule that cannot be read is noted with the reason, and its days stay missing; one of a fixed product
    is an error.
    """
    block = Block({}, {}, {}, {}, {})
    for together in _together(granules, source.product):
        block.granules |= {granule.name_in(root): granule.note() for granule in together}
    if days is not None:
        for (name, day), sums in _found(granules, grid, days, source, root, block).items():
            if name not in block.fields:
                block.fields[name] = np.full((len(days), *grid.shape), np.nan, np.float32)
            block.fields[name][days.get_loc(day)] = _finished(sums, name)
        return block
    shares: dict[str, dict[float, NDArray[np.float32]]] = defaultdict(dict)
    # A product may come as a file a property: those that hold nothing of the recipe are read once.
    of_use = list(granules)
    for rows, columns in _parts(grid):
        for (name, _), sums in _found(of_use, grid.part(rows, columns), None, source, root, block).items():
            field = block.fields.setdefault(name, np.full(grid.shape, np.nan, np.float32))
            field[rows, columns] = _finished(sums, name)
            if isinstance(sums, dict):
                for c, share in zip(*fractions(sums), strict=True):
                    shares[name].setdefault(float(c), np.zeros(grid.shape, np.float32))[rows, columns] = share
    for name, of in shares.items():
        classes = sorted(of)
        stacked = np.stack([of[c] for c in classes])
        block.fractions[name] = np.array(classes, np.float32), np.where(np.isnan(block.fields[name]), np.nan, stacked)
    block.fields = of_cells(block.fields, dict(source.variables), grid)
    return block


def _parts(grid: Grid) -> Iterator[tuple[slice, slice]]:
    """Squares of the grid: a fixed product may have a million times the pixels of the grid."""
    rows, columns = grid.shape
    for top in range(0, rows, PART_CELLS):
        for left in range(0, columns, PART_CELLS):
            yield slice(top, min(top + PART_CELLS, rows)), slice(left, min(left + PART_CELLS, columns))


def _found(
    granules: list[Granule], grid: Grid, days: pd.DatetimeIndex | None, source: Source, root: Path, block: Block
) -> dict[tuple[str, pd.Timestamp | None], Cells]:
    """Sums of every variable and day; what the granules say, or that they are broken, is noted in the block.

    Granules of a fixed product that hold none of its variables are taken out of the list.
    """
    by_satellite: dict[tuple[str, pd.Timestamp | None, str], Cells] = {}
    for together in list(_together(granules, source.product)):
        try:
            dataset = _read(together, grid, days, source)
            given = [] if dataset is None else list(_on_grid(dataset, grid, days, source))
            satellite = together[0].path.name[:3] if source.product in TWO_SATELLITES else ""
            for name, day, sums in given:
                key = (name, day, satellite)
                by_satellite[key] = _joined(by_satellite.get(key), sums, together[0].path)
        except VadoseError as error:
            if days is None:
                raise
            for granule in together:
                block.granules[granule.name_in(root)]["broken"] = str(error)
            continue
        if dataset is not None and not given and days is None:
            granules.remove(together[0])
        if dataset is not None and given:
            block.attributes = block.attributes or {key: dataset.attrs[key] for key in KEPT if key in dataset.attrs}
            block.flags |= {
                ours: {key: dataset[theirs].attrs[key] for key in FLAGS}
                for theirs, ours in source.variables.items()
                if theirs in dataset and "flag_values" in dataset[theirs].attrs
            }
    found: dict[tuple[str, pd.Timestamp | None], Cells] = {}
    for (name, day, _), sums in by_satellite.items():
        found[name, day] = _added(found.get((name, day)), sums)
    return found


def _together(granules: list[Granule], product: str) -> Iterator[list[Granule]]:
    """Granules one by one, or by the day where a day has several."""
    if product not in DAILY or (product == "imerg" and "3B-DAY" in granules[0].path.name):
        yield from ([granule] for granule in granules)
        return
    days: dict[pd.Timestamp | None, list[Granule]] = defaultdict(list)
    for granule in granules:
        days[granule.first].append(granule)
    yield from days.values()


def _read(together: list[Granule], grid: Grid, days: pd.DatetimeIndex | None, source: Source) -> xr.Dataset | None:
    """The dataset of a granule, or of a day's granules; None where it lies outside the grid or the days."""
    many = source.product in DAILY and (len(together) > 1 or "3B-DAY" not in together[0].path.name)
    read: Any = DAILY[source.product] if many else PRODUCTS[source.product].read
    options = dict(source.options)
    asked = signature(read).parameters
    needed = dict.fromkeys(name for of in source.variables for name in ON_PIXELS.get(of, ((of,), None))[0])
    for option in {"variables", "bands"} & asked.keys() - options.keys():
        options[option] = list(needed)
    if "time" in asked and days is not None:
        options["time"] = (f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")
    paths = [granule.path for granule in together]
    try:
        bbox = _with_margin(grid, FIXED_MARGIN if days is None else MARGIN)
        dataset: xr.Dataset = read(paths if many else paths[0], bbox=bbox, **options)
    except OutsideError:
        return None
    return of_pixels(dataset, source.variables)


def _on_grid(
    dataset: xr.Dataset, grid: Grid, days: pd.DatetimeIndex | None, source: Source
) -> Iterator[tuple[str, pd.Timestamp | None, Cells]]:
    """Sums of each variable asked for, and of each day."""
    for theirs, ours in source.variables.items():
        # A product of many files, such as one a property, need not hold every variable in each.
        if theirs not in dataset:
            continue
        field = dataset[theirs]
        if "time" not in field.dims:
            yield ours, None, _sums(field, grid, source.resampling)
            continue
        if days is None:
            raise VadoseError(
                f"{source.product}: {theirs!r} changes with time, but the names of its granules tell no day; give "
                "them their published names"
            )
        field = field.sel(time=slice(days[0], days[-1] + pd.Timedelta(hours=23, minutes=59)))
        if field.sizes["time"]:
            of_days = _each(field, grid, source.resampling)
            for day, sums in zip(field.indexes["time"].normalize(), of_days, strict=True):
                yield ours, day, sums


def _with_margin(grid: Grid, margin: float) -> BBox:
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


def _joined(before: Cells | None, sums: Cells, granule: Path) -> Cells:
    """Sums with those of other tiles added; refused where two granules hold the same place."""
    # Tiles may share a row of pixels; more is the same place twice.
    if before and sums and ((_weight(before) > 0.5) & (_weight(sums) > 0.5)).any():
        raise VadoseError(
            f"{granule}: holds places and a day that another granule in its folder holds too; keep the newest "
            "version of each"
        )
    return _added(before, sums)


def _added(before: Cells | None, sums: Cells) -> Cells:
    if not before or not sums:
        return before or sums
    if isinstance(before, Sums) and isinstance(sums, Sums):
        return before + sums
    assert isinstance(before, dict)
    assert isinstance(sums, dict)
    return {c: _added_class(before, sums, c) for c in {*before, *sums}}


def _weight(sums: Cells) -> NDArray[np.floating]:
    return next(iter(sums.values())).weight if isinstance(sums, dict) else sums.weight


def _added_class(first: dict[float, Sums], second: dict[float, Sums], c: float) -> Sums:
    """Sums of one class; a tile without it has none of it on all it covers."""

    def of(sums: dict[float, Sums]) -> Sums:
        any_class = next(iter(sums.values()))
        return sums.get(c, Sums(np.zeros_like(any_class.values), any_class.weight))

    return of(first) + of(second)


def _finished(sums: Cells, name: str) -> NDArray[np.float32]:
    """Values of the cells; what bicubic interpolation overshoots is cut at the variable's valid range."""
    if isinstance(sums, dict):
        return majority(sums)
    known = VARIABLES.get(name)
    return sums.mean().clip(*known.valid_range) if known else sums.mean()
