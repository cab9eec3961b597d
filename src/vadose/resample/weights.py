"""What each pixel of a raster weighs in each cell of a grid; computed once for a product's grid and kept.

Weights are linear maps from a layer of pixels to the cells, one of three kinds:

- Rows depend on rows and columns on columns alone, between latitudes and longitudes and the cylindrical
  EASE-Grid 2.0 or within one projection: two small sparse matrices.
- From the sinusoidal grid of MODIS: running sums along the rows, see `vadose.resample.sinusoidal`.
- From other projections (UTM, Albers), whose pixels are small against the cells: a cell for each pixel; and so from
  pixels that have each their latitude and longitude, split where they are not small.
"""

import itertools
import math
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import sparse
from scipy.spatial import cKDTree

from vadose.errors import VadoseError
from vadose.grid import Grid
from vadose.resample.raster import DEGREES, Array, Indices, Raster, easting, edges_of, northing, overlaps, transformer
from vadose.resample.sinusoidal import strips_of, sums_of_strips

Weights = Callable[[Array], Array]
"""From a layer of pixels (y, x) to sums over the cells (row, column)."""

_PARTS = 4
"""From other projections pixels wider than a cell over this are split into parts that are not."""
_MOST_PARTS = 64
"""Along a side of a pixel; larger pixels are for ``nearest``."""
_EDGE = 1e7
"""Metres that neighbours lie apart on both sides of the edge of the world alone."""
_AT_ONCE = 1_000_000
"""Pixels placed at a time."""
_MESH = 32
"""Of so many pixels one is placed by the projections' formulas, those between by interpolation."""
_MESH_ERROR = 0.02
"""Largest error of that in pixels; else all are placed by formulas."""


def area_weights(raster: Raster, grid: Grid) -> Weights:
    """Share of each cell that each pixel covers."""
    if raster.shape:
        return partial(_sums_of_places, *_cells_of_places(raster, grid), grid.shape)
    relation = _relation(raster.crs, grid.crs)
    if relation == "separable":
        return partial(product, *matrices(raster, grid, "mean"))
    if relation == "sinusoidal":
        return partial(sums_of_strips, strips_of(raster, grid), grid.shape)
    return partial(_sums_of_parts, _cells_of_pixels(raster, grid), _size(raster, grid), grid.shape)


def point_weights(raster: Raster, grid: Grid, method: str) -> Weights:
    """Weights that interpolate at the cells' centres, ``bilinear`` or ``nearest``."""
    if not raster.shape and _relation(raster.crs, grid.crs) == "separable":
        return partial(product, *matrices(raster, grid, method))
    if method == "nearest" and raster.shape:
        return partial(_values_of_pixels, _places_of_cells(raster, grid))
    if method == "nearest":
        return partial(_values_of_pixels, _pixels_of_cells(raster, grid))
    raise VadoseError(
        f"raster '{raster.name}': {method} interpolation from its projection is not supported; choose mean, majority "
        "or nearest"
    )


@lru_cache
def _relation(wkt: str, code: str) -> str:
    """How rows and columns of a raster lie to those of a grid: separable, sinusoidal or other."""
    source, target = CRS.from_wkt(wkt).to_2d(), CRS.from_user_input(code)
    if source.equals(target, ignore_axis_order=True):
        return "separable"
    cylindrical = target.coordinate_operation.method_name.startswith("Lambert Cylindrical Equal Area")
    if source.is_geographic and not cylindrical:
        raise VadoseError(f"grid in {code}: pixels in degrees can be regridded to cylindrical equal-area grids only")
    if source.is_geographic:
        return "separable"
    operation = source.coordinate_operation
    sinusoidal = operation.method_name == "Sinusoidal" and operation.params[0].value == 0
    return "sinusoidal" if cylindrical and sinusoidal else "other"


# Rows and columns apart


def product(down: sparse.csr_array, across: sparse.csr_array, layer: Array) -> Array:
    """Weighted sums along columns and rows."""
    sums: Array = (across @ (down @ layer).T).T
    return sums


@lru_cache(maxsize=64)
def matrices(raster: Raster, grid: Grid, method: str) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Weights of the raster's rows for the grid's, and of its columns; the rows of both add up to one."""
    edges_y, edges_x = edges_of(raster.y), edges_of(raster.x)
    if CRS.from_wkt(raster.crs).is_geographic:
        edges_y, edges_x = northing(edges_y, grid), easting(edges_x, grid)
    # Downwards, so that both directions rise.
    down, across = (
        _overlap(edges, centres, grid.cell) if method == "mean" else _interpolation(edges, centres, method)
        for edges, centres in ((-edges_y, -grid.y), (edges_x, grid.x))
    )
    return down, across


def _overlap(edges: Array, centres: Array, cell: float) -> sparse.csr_array:
    """Share of each cell's length that each pixel covers, (cell, pixel)."""
    cells, pixels, low, high = overlaps(edges, centres - cell / 2, centres + cell / 2)
    return sparse.csr_array(((high - low) / cell, (cells, pixels)), shape=(len(centres), len(edges) - 1))


def _interpolation(edges: Array, centres: Array, method: str) -> sparse.csr_array:
    """Weights of the pixels around each cell's centre, (cell, pixel)."""
    middles = (edges[1:] + edges[:-1]) / 2
    position = np.interp(centres, middles, np.arange(len(middles)), left=np.nan, right=np.nan)
    # Within half a pixel of the border the nearest pixels stand for those beyond it.
    border = np.isnan(position) & (centres >= edges[0]) & (centres <= edges[-1])
    position = np.where(border, np.where(centres < middles[0], 0.0, len(middles) - 1.0), position)
    inside = np.flatnonzero(np.isfinite(position))
    position = position[inside]
    base = np.floor(position)
    part = position - base
    if method == "nearest":
        offsets, values = [0], [np.ones_like(part)]
        base = np.rint(position)
    elif method == "bilinear":
        offsets, values = [0, 1], [1 - part, part]
    else:
        offsets = [-1, 0, 1, 2]
        values = [_keys(part - offset) for offset in offsets]
    rows = np.tile(inside, len(offsets))
    pixels = np.concatenate([np.clip(base + offset, 0, len(middles) - 1) for offset in offsets]).astype(int)
    return sparse.csr_array((np.concatenate(values), (rows, pixels)), shape=(len(centres), len(middles)))


def _keys(distance: Array) -> NDArray[np.float64]:
    d = np.abs(distance).astype(float)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


# From other projections


# Few are kept: an index is as large as the layers.
@lru_cache(maxsize=2)
def _cells_of_pixels(raster: Raster, grid: Grid) -> Indices:
    """Flat index of the cell that holds each part of each pixel, (part, pixel); their number where none does."""
    to_grid = transformer(raster.crs, grid.crs)
    width, height = raster.x[1] - raster.x[0], raster.y[0] - raster.y[1]
    split = math.ceil(_PARTS * max(width, height) / grid.cell)
    shifts = (np.arange(split) + 0.5) / split - 0.5
    index = np.empty((split**2, len(raster.y), len(raster.x)), np.int32)
    for part, (south, east) in enumerate(itertools.product(shifts, shifts)):
        for rows in np.array_split(np.arange(len(raster.y)), 1 + index[part].size // _AT_ONCE):
            x, y = _places(to_grid, raster.x + east * width, raster.y[rows] - south * height)
            index[part, rows] = _flat(x, y, grid)
    return index.reshape(split**2, -1)


def _flat(x: Array, y: Array, grid: Grid) -> Array:
    """Flat index of the cell that holds each point, the number of cells where none does."""
    left, top, step = grid.transform
    # Pixels beyond the edge of the world have no place; they go above and left of the grid.
    x, y = np.where(np.isfinite(x), x, left - step), np.where(np.isfinite(y), y, top + step)
    across, down = (x - left) / step, (top - y) / step
    column, row = np.floor(across), np.floor(down)
    inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
    inside &= (across - column < grid.cell / step) & (down - row < grid.cell / step)
    return np.where(inside, row * grid.shape[1] + column, grid.shape[0] * grid.shape[1])


# From pixels that have each their latitude and longitude


@lru_cache(maxsize=2)
def _cells_of_places(raster: Raster, grid: Grid) -> tuple[Indices, Array]:
    """As `_cells_of_pixels`, and the area of each pixel [cells], a parallelogram of the steps to its neighbours."""
    x, y = raster.places(grid)
    steps = [(_step(x, axis), _step(y, axis)) for axis in (0, 1)]
    longest = float(np.nanmax([np.hypot(*step) for step in steps], initial=0.0))
    split = math.ceil(_PARTS * longest / grid.cell) or 1
    if split > _MOST_PARTS:
        raise VadoseError(
            f"raster '{raster.name}': its pixels of up to {longest / 1000:.3g} km are far larger than the cells of "
            f"{grid.cell / 1000:.3g} km; take 'resampling: nearest', or a coarser resolution"
        )
    shifts = (np.arange(split) + 0.5) / split - 0.5
    ((down_x, down_y), (across_x, across_y)) = steps
    index = np.empty((split**2, x.size), np.int32)
    for part, (down, across) in enumerate(itertools.product(shifts, shifts)):
        at = x + down * down_x + across * across_x, y + down * down_y + across * across_y
        index[part] = _flat(*at, grid).ravel()
    return index, np.nan_to_num(np.abs(down_x * across_y - across_x * down_y)) / grid.cell**2


def _step(values: Array, axis: int) -> Array:
    """Mean of the differences to both neighbours, of those that are known and not across the edge of the world."""
    step = np.diff(values, axis=axis)
    step[np.abs(step) > _EDGE] = np.nan
    none = np.full_like(np.take(values, [0], axis), np.nan)
    both = np.stack([np.concatenate(pair, axis) for pair in ((none, step), (step, none))])
    known = np.isfinite(both)
    mean: Array = np.where(known, both, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    return mean


def _sums_of_places(index: Indices, area: Array, shape: tuple[int, int], layer: Array) -> Array:
    return _sums_of_parts(index, 1.0, shape, layer * area)


@lru_cache(maxsize=2)
def _places_of_cells(raster: Raster, grid: Grid) -> Indices:
    """As `_pixels_of_cells`: the nearest pixel, no farther than half its diagonal."""
    x, y = (of.ravel() for of in raster.places(grid))
    known = np.flatnonzero(np.isfinite(x))
    across, down = (np.hypot(*(_step(of.reshape(raster.shape), axis) for of in (x, y))).ravel() for axis in (0, 1))
    apart, nearest = cKDTree(np.stack([x[known], y[known]], -1)).query(np.stack(np.meshgrid(grid.x, grid.y), -1))
    reach = np.nan_to_num(np.hypot(across, down))[known][nearest] / 2
    index: Indices = np.where(apart <= reach, known[nearest], -1).astype(np.int32)
    return index


def _places(to_grid: Transformer, x: Array, y: Array) -> tuple[Array, Array]:
    """Where pixels lie in the grid's projection, (row, column) each: that of every `_MESH`-th, linear in between."""
    columns, rows = (np.append(np.arange(0, len(axis) - 1, _MESH), len(axis) - 1) for axis in (x, y))
    nodes = [np.asarray(a) for a in to_grid.transform(*np.meshgrid(x[columns], y[rows]))]
    # Halfway between nodes, where lines are farthest from curves.
    middle_x, middle_y = ((axis[at[1:]] + axis[at[:-1]]) / 2 for axis, at in ((x, columns), (y, rows)))
    true = to_grid.transform(*np.meshgrid(middle_x, middle_y))
    linear = [(a[1:, 1:] + a[1:, :-1] + a[:-1, 1:] + a[:-1, :-1]) / 4 for a in nodes]
    error = max((float(np.abs(a - b).max()) for a, b in zip(true, linear, strict=True) if a.size), default=np.nan)
    if not error < _MESH_ERROR * abs(x[1] - x[0]):
        east, north = to_grid.transform(*np.meshgrid(x, y))
        return np.asarray(east), np.asarray(north)
    down, across = _between(len(y), rows), _between(len(x), columns)
    east, north = (down @ (across @ a.T).T for a in nodes)
    return east, north


def _between(length: int, nodes: NDArray[np.integer]) -> sparse.csr_array:
    """Weights that interpolate linearly from nodes to all places, (length, nodes)."""
    position = np.interp(np.arange(length), nodes, np.arange(len(nodes)))
    base = np.minimum(position.astype(int), len(nodes) - 2)
    part, places = position - base, np.arange(length)
    values, at = np.concatenate([1 - part, part]), np.concatenate([base, base + 1])
    return sparse.csr_array((values, (np.tile(places, 2), at)), shape=(length, len(nodes)))


def _size(raster: Raster, grid: Grid) -> float:
    """Size of a pixel in cells."""
    return float((raster.x[1] - raster.x[0]) * (raster.y[0] - raster.y[1])) / grid.cell**2


def _sums_of_parts(index: Indices, size: float, shape: tuple[int, int], layer: Array) -> Array:
    sums = np.zeros(shape[0] * shape[1] + 1)
    for part in index:
        sums += np.bincount(part, weights=layer.ravel(), minlength=len(sums))
    return sums[:-1].reshape(shape) * size / len(index)


@lru_cache(maxsize=2)
def _pixels_of_cells(raster: Raster, grid: Grid) -> Indices:
    """Flat index of the pixel that holds each cell's centre, -1 where none does, (row, column)."""
    lat, lon = grid.latlon(*np.indices(grid.shape))
    x, y = transformer(DEGREES, raster.crs).transform(lon, lat)
    column, row = (_nearest(axis, values) for axis, values in ((raster.x, x), (raster.y, y)))
    inside = (row >= 0) & (row < len(raster.y)) & (column >= 0) & (column < len(raster.x))
    index: Indices = np.where(inside, row * len(raster.x) + column, -1).astype(np.int32)
    return index


def _nearest(axis: Array, values: Array) -> Array:
    position: Array = np.rint((values - axis[0]) * (len(axis) - 1) / (axis[-1] - axis[0]))
    return position


def _values_of_pixels(index: Indices, layer: Array) -> Array:
    return np.where(index >= 0, layer.take(index), 0.0)
