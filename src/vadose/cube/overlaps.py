"""Cells that several granules of a day or a map hold: tiles side by side, tiles that overlap, orbits that cross.

A granule that covers a cell wholly and has values on enough of it can speak for the cell alone. Where several can, the
cell is their mean, weighted by what each has values on (``mean``), or that of the one whose centre is nearest
(``nearest``), or of the last overpass of the day (``latest``). Where none can, the parts that all have are added up.
Tiles of one fixed map that lie on one lattice share pixels at their rims: each pixel counts once (`without_shared`).
"""

import itertools
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.cube.recipe import Overlap
from vadose.grid import Grid
from vadose.resample import MIN_SHARE, Sums
from vadose.resample.raster import Raster, edges_of, raster_of, transformer

Array = NDArray[np.floating]
Cells = Sums | dict[float, Sums]
"""Sums of a field on the grid, those of every class for classes."""
What = Literal["points", "areas", "map"]
_FITS = 0.05
"""Part of a pixel by which lattices may differ that are one: steps are rounded."""


@dataclass
class Combined:
    """Cells of one variable and day, made of one granule after another.

    Attributes
    ----------
    grid
        Of the cells.
    overlap
        What counts where several granules can speak for a cell.
    what
        What the values are of: the cells' centres (``points``); ``areas``, of which a granule may cover a part; areas
        of tiles of one ``map`` that share no pixel, whose parts are added up.
    """

    grid: Grid
    overlap: Overlap
    what: What
    _first: tuple[Cells, Raster, float] | None = None
    _alone: dict[float, Array] = field(default_factory=dict)
    _parts: dict[float, Array] = field(default_factory=dict)
    _weights: dict[str, Array] = field(default_factory=dict)

    def add(self, cells: Cells, raster: Raster, moment: float = 0.0) -> None:
        """Take the cells of a granule with the raster they were made of, and when it was taken (any rising number)."""
        if not cells:
            return
        if self._first is None:
            self._first = cells, raster, moment
            return
        if not self._weights:
            self._weights = {name: np.zeros(self.grid.shape) for name in ("alone", "most", "parts", "cover", "whole")}
            self._weights["distance"] = np.full(self.grid.shape, np.inf)
            self._merge(*self._first)
        self._merge(cells, raster, moment)

    def _merge(self, cells: Cells, raster: Raster, moment: float) -> None:
        of = cells if isinstance(cells, dict) else {0.0: cells}
        weight = next(iter(of.values())).weight
        rows, columns = (np.flatnonzero((weight > 0).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        weight, covered = weight[window], weight[window] > 0
        inside, distance = _place(raster, self.grid.part(*window))
        if self.what != "points":
            covered = inside & (self.what == "areas")
        alone = covered & (weight >= MIN_SHARE)
        w = {name: values[window] for name, values in self._weights.items()}
        if self.overlap == "latest":
            distance = np.full(weight.shape, -moment)
        if self.overlap != "mean":
            taken = alone & (distance < w["distance"])
            w["distance"][taken] = distance[taken]
            for before in (*self._alone.values(), self._weights["alone"], self._weights["most"]):
                before[window][taken] = 0
        else:
            taken = alone
        for values, name in ((self._alone, "alone"), (self._parts, "parts")):
            where = taken if name == "alone" else ~alone
            w[name] += np.where(where, weight, 0)
            for c, sums in of.items():
                values.setdefault(c, np.zeros(self.grid.shape, sums.values.dtype))[window] += np.where(
                    where, sums.values[window], 0
                )
        np.maximum(w["most"], np.where(taken, weight, 0), out=w["most"])
        # Of granules that cover a cell wholly, and have values on too little of it, these may be the same places.
        w["cover"] += np.where(~alone & ~covered, weight, 0)
        np.maximum(w["whole"], np.where(~alone & covered, weight, 0), out=w["whole"])

    def cells(self) -> Cells:
        """Sums of all granules; their weight is the share of a cell with values."""
        if not self._alone:  # a single granule, or several without any value
            return self._first[0] if self._first else {}
        w = self._weights
        alone = w["alone"] > 0
        weight = np.where(alone, w["most"], w["cover"] + w["whole"])
        total = np.where(alone, w["alone"], w["parts"])
        scale = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
        made = {c: Sums(np.where(alone, self._alone[c], self._parts[c]) * scale, weight) for c in self._alone}
        return made if isinstance((self._first or [{}])[0], dict) else made[0.0]


@lru_cache(maxsize=64)
def _place(raster: Raster, grid: Grid) -> tuple[NDArray[np.bool_], Array]:
    """Which cells lie inside a raster wholly, and how far their centres are from its own [m]."""
    if raster.shape:  # of pixels that have each their place
        x, y = raster.places(grid)
        apart = np.hypot(grid.x[None, :] - np.nanmean(x), grid.y[:, None] - np.nanmean(y))
        return np.zeros(grid.shape, bool), apart
    (left, *_, right), (top, *_, bottom) = edges_of(raster.x), edges_of(raster.y)
    slack_x, slack_y = _FITS * (right - left) / len(raster.x), _FITS * (top - bottom) / len(raster.y)
    inside = np.ones(grid.shape, bool)
    half = grid.cell / 2
    for east, south in itertools.product((-half, half), repeat=2):
        x, y = transformer(grid.crs, raster.crs).transform(*np.meshgrid(grid.x + east, grid.y - south))
        inside &= (x >= left - slack_x) & (x <= right + slack_x) & (y >= bottom - slack_y) & (y <= top + slack_y)
    x0, y0 = transformer(raster.crs, grid.crs).transform((left + right) / 2, (top + bottom) / 2)
    return inside, np.hypot(grid.x[None, :] - x0, grid.y[:, None] - y0)


def without_shared(source: xr.DataArray, before: list[tuple[Raster, NDArray[np.bool_]]]) -> xr.DataArray:
    """A field without the pixels that tiles before it gave, where both lie on one lattice; it is noted for the next."""
    raster, there = raster_of(source), np.isfinite(source.values)
    new = there.copy()
    for other, given in before:
        if raster.shape or other.crs != raster.crs:
            continue
        shared = [_shared(mine, theirs) for mine, theirs in ((raster.y, other.y), (raster.x, other.x))]
        if None not in shared:
            (rows, their_rows), (columns, their_columns) = shared  # type: ignore[misc]
            new[..., rows, columns] &= ~given[..., their_rows, their_columns]
    before.append((raster, there))
    return source.where(xr.DataArray(new, dims=source.dims))


def _shared(mine: Array, theirs: Array) -> tuple[slice, slice] | None:
    """Pixels of two axes that are the same ones; None where they are of another lattice or lie apart."""
    step = (mine[-1] - mine[0]) / (len(mine) - 1)
    other = (theirs[-1] - theirs[0]) / (len(theirs) - 1)
    offset = (theirs[0] - mine[0]) / step
    if abs(other - step) * len(theirs) > _FITS * abs(step) or abs(offset - round(offset)) > _FITS:
        return None
    first, last = max(round(offset), 0), min(round(offset) + len(theirs), len(mine))
    if first >= last:
        return None
    return slice(first, last), slice(first - round(offset), last - round(offset))
