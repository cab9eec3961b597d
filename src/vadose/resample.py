"""Bring rasters of any projection onto a grid: area mean, majority, bicubic, bilinear, nearest.

Between a geographic raster and a cylindrical grid such as EASE-Grid 2.0, or between two rasters of one
projection, rows depend on rows and columns on columns alone. Every method is then two small sparse
matrices, one a direction, whose rows add up to one: a constant field stays constant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from scipy import sparse

from vadose.errors import VadoseError
from vadose.grid import Grid

Array = NDArray[np.floating]

METHODS = ("mean", "majority", "bicubic", "bilinear", "nearest")
MIN_SHARE = 0.5
"""A cell gets a value when at least this share of its weight lies on pixels that have one."""


@dataclass
class Sums:
    """Weighted sum of the values in each cell and the weight they had; sums of tiles add up."""

    values: Array
    weight: Array

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.values + other.values, self.weight + other.weight)

    def mean(self, min_share: float = MIN_SHARE) -> NDArray[np.float32]:
        """Values of the cells, NaN where too little of a cell is covered."""
        enough = self.weight >= min_share
        return np.where(enough, self.values / np.where(enough, self.weight, 1), np.nan).astype(np.float32)


def resample(source: xr.DataArray, grid: Grid, method: str) -> NDArray[np.float32]:
    """Bring a raster onto a grid.

    - ``mean``: mean of the pixels weighted by the area they share with the cell (exact where rows and
      columns are separable, else each pixel counts for the cell that holds its centre).
    - ``majority``: the class that covers most of the cell; of equal shares the smaller one.
    - ``bicubic``: Keys' cubic convolution (a = -0.5) at the cell's centre, bilinear where one of its 16
      pixels is missing; ``bilinear`` and ``nearest`` as usual.

    Parameters
    ----------
    source
        (..., y, x) or (..., lat, lon) with the coordinates of `vadose.grid.raster_coordinates`.
    grid
        Target, such as a part of ``ease_grid('9km')``.

    Returns
    -------
    numpy.ndarray
        (..., row, column), float32, NaN where too few pixels have values (`MIN_SHARE`).

    Raises
    ------
    VadoseError
        For an unknown method, or interpolation from a projection that is not separable.

    References
    ----------
    Keys (1981), doi:10.1109/TASSP.1981.1163711.

    Examples
    --------
    >>> from vadose.grid import ease_grid, raster_coordinates
    >>> coordinates = raster_coordinates("EPSG:4326", (-101, 41, 0.125, 0.125), (16, 16))
    >>> field = coordinates.assign(v=(("lat", "lon"), np.full((16, 16), 0.25))).v
    >>> resample(field, ease_grid("9km").bounding_box(-100.5, 39.5, -99.5, 40.5), "bicubic").std()
    np.float32(0.0)
    """
    if method not in METHODS:
        raise VadoseError(f"resampling {method!r} unknown; choose from {list(METHODS)}")
    if method == "majority":
        return majority(class_sums(source, grid))
    if method == "mean":
        return area_sums(source, grid).mean()
    bilinear = _interpolated(source, grid, "bilinear" if method == "bicubic" else method).mean()
    if method != "bicubic":
        return bilinear
    down, across = _matrices(source, grid, _kernel("bicubic"))
    # Weights of both signs may cancel: what counts is that no pixel with a weight is missing.
    missing = _weighted(source.isnull().astype(float), abs(down), abs(across)).values
    cubic = _weighted(source, down, across)
    return np.where((missing == 0) & (cubic.weight > 0), cubic.values, bilinear).astype(np.float32)


def area_sums(source: xr.DataArray, grid: Grid) -> Sums:
    """Sums for the area mean; those of several tiles may be added before ``mean()``."""
    if _separable(source, grid):
        return _weighted(source, *_matrices(source, grid, _overlap))
    return _binned(source, grid)


def class_sums(source: xr.DataArray, grid: Grid) -> dict[float, Sums]:
    """For each class the share of every cell that it covers; those of several tiles may be added."""
    values = source.values
    classes = np.unique(values[np.isfinite(values)])
    return {float(c): area_sums((source == c).where(source.notnull()).astype(float), grid) for c in classes}


def majority(sums: dict[float, Sums], min_share: float = MIN_SHARE) -> NDArray[np.float32]:
    """The class with the largest share of each cell, NaN where too little of it is covered."""
    if not sums:
        raise VadoseError("majority: the raster holds no class at all, only missing values")
    classes = sorted(sums)
    shares = np.stack([sums[c].values for c in classes])
    covered = next(iter(sums.values())).weight >= min_share
    return np.where(covered, np.array(classes)[shares.argmax(axis=0)], np.nan).astype(np.float32)


def fractions(sums: dict[float, Sums], min_share: float = MIN_SHARE) -> tuple[Array, NDArray[np.float32]]:
    """Classes (n,), and the share of each of what is covered of a cell, (n, y, x); NaN where too little is."""
    classes = sorted(sums)
    shares = np.stack([sums[c].values for c in classes])
    weight = next(iter(sums.values())).weight
    covered = weight >= min_share
    return np.array(classes), np.where(covered, shares / np.where(covered, weight, 1), np.nan).astype(np.float32)


def _axes(source: xr.DataArray) -> tuple[str, str]:
    return ("lat", "lon") if "lat" in source.dims else ("y", "x")


def _crs(source: xr.DataArray) -> CRS:
    if "crs" not in source.coords or "crs_wkt" not in source.crs.attrs:
        raise VadoseError(f"raster '{source.name}': no coordinate 'crs' that says its projection")
    return _parsed(source.crs.attrs["crs_wkt"])


@lru_cache
def _parsed(wkt: str) -> CRS:
    return CRS.from_wkt(wkt)


def _separable(source: xr.DataArray, grid: Grid) -> bool:
    return _crs(source).is_geographic or _same(source.crs.attrs["crs_wkt"], grid.crs)


@lru_cache
def _same(wkt: str, code: str) -> bool:
    return bool(CRS.from_wkt(wkt).equals(CRS.from_user_input(code), ignore_axis_order=True))


def _edges(centres: Array) -> Array:
    """Edges of pixels around evenly spaced centres."""
    step = (centres[-1] - centres[0]) / (len(centres) - 1) if len(centres) > 1 else np.nan
    return np.concatenate([centres - step / 2, centres[-1:] + step / 2])


def _in_grid(source: xr.DataArray, grid: Grid, y: Array, x: Array) -> tuple[Array, Array]:
    """Rows' and columns' coordinates in the grid's projection."""
    if not _crs(source).is_geographic:
        return y, x
    transformer = _transformer("EPSG:4326", grid.crs)
    lat, lon = np.clip(y, -85.04, 85.04), x
    return np.asarray(transformer.transform(0 * lat, lat)[1]), np.asarray(transformer.transform(lon, 0 * lon)[0])


@lru_cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


Weights = Callable[[Array, Array, Array], sparse.csr_array]


def _matrices(source: xr.DataArray, grid: Grid, weights: Weights) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Weights of the source's rows for the grid's, and of its columns."""
    row, column = _axes(source)
    if min(source.sizes[row], source.sizes[column]) < 2:
        raise VadoseError(f"raster '{source.name}': {source.sizes[row]} x {source.sizes[column]} pixels are too few")
    y, x = source[row].values.astype(float), source[column].values.astype(float)
    edges_y, edges_x = _in_grid(source, grid, _edges(y), _edges(x))
    # Downwards, so that both directions rise.
    return weights(-edges_y, -grid.y, np.array([grid.cell])), weights(edges_x, grid.x, np.array([grid.cell]))


def _overlap(edges: Array, centres: Array, cell: Array) -> sparse.csr_array:
    """Share of each cell's length that each pixel covers, (cell, pixel)."""
    low, high = centres - cell / 2, centres + cell / 2
    first = np.clip(np.searchsorted(edges, low, "right") - 1, 0, len(edges) - 2)
    last = np.clip(np.searchsorted(edges, high, "left") - 1, 0, len(edges) - 2)
    count = np.maximum(last - first + 1, 0)
    rows = np.repeat(np.arange(len(centres)), count)
    pixels = np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)] or [np.arange(0)])
    covered = np.minimum(high[rows], edges[pixels + 1]) - np.maximum(low[rows], edges[pixels])
    shares = np.clip(covered, 0, None) / cell
    return sparse.csr_array((shares, (rows, pixels)), shape=(len(centres), len(edges) - 1))


def _kernel(name: str) -> Weights:
    def weights(edges: Array, centres: Array, cell: Array) -> sparse.csr_array:
        middles = (edges[1:] + edges[:-1]) / 2
        position = np.interp(centres, middles, np.arange(len(middles)), left=np.nan, right=np.nan)
        # Within half a pixel of the border the nearest pixels stand for those beyond it.
        border = np.isnan(position) & (centres >= edges[0]) & (centres <= edges[-1])
        position = np.where(border, np.where(centres < middles[0], 0.0, len(middles) - 1.0), position)
        inside = np.flatnonzero(np.isfinite(position))
        position = position[inside]
        base = np.floor(position)
        part = position - base
        if name == "nearest":
            offsets, values = [0], [np.ones_like(part)]
            base = np.rint(position)
        elif name == "bilinear":
            offsets, values = [0, 1], [1 - part, part]
        else:
            offsets = [-1, 0, 1, 2]
            values = [np.asarray(_keys(part - offset)) for offset in offsets]
        rows = np.tile(inside, len(offsets))
        pixels = np.concatenate([np.clip(base + offset, 0, len(middles) - 1) for offset in offsets]).astype(int)
        return sparse.csr_array((np.concatenate(values), (rows, pixels)), shape=(len(centres), len(middles)))

    return weights


def _keys(distance: Array) -> NDArray[np.float64]:
    d = np.abs(distance)
    near = 1.5 * d**3 - 2.5 * d**2 + 1
    far = -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _interpolated(source: xr.DataArray, grid: Grid, name: str) -> Sums:
    if _separable(source, grid):
        return _weighted(source, *_matrices(source, grid, _kernel(name)))
    if name != "nearest":
        raise VadoseError(
            f"raster '{source.name}': {name} interpolation from its projection is not offered; "
            "choose mean, majority or nearest"
        )
    lat, lon = grid.latlon(*np.indices(grid.shape))
    x, y = _transformer("EPSG:4326", source.crs.attrs["crs_wkt"]).transform(lon, lat)
    column, row = _nearest(source.x.values, x), _nearest(source.y.values, y)
    inside = (row >= 0) & (column >= 0)
    values = np.where(inside, source.values[..., row, column], np.nan)
    return Sums(np.nan_to_num(values), np.isfinite(values).astype(float))


def _nearest(axis: Array, values: Array) -> NDArray[np.int64]:
    """Index of the pixel of an evenly spaced axis that holds each value, -1 where none does."""
    index: NDArray[np.int64] = np.rint((values - axis[0]) / (axis[1] - axis[0])).astype(np.int64)
    index[(index < 0) | (index >= len(axis))] = -1
    return index


def _weighted(source: xr.DataArray, down: sparse.csr_array, across: sparse.csr_array) -> Sums:
    values = source.values.astype(float)
    valid = np.isfinite(values)
    flat = np.where(valid, values, 0.0).reshape(-1, *values.shape[-2:])
    there = valid.reshape(flat.shape).astype(float)
    shape = (*values.shape[:-2], down.shape[0], across.shape[0])
    total, weight = (np.stack([(across @ (down @ a).T).T for a in stack]) for stack in (flat, there))
    return Sums(total.reshape(shape), weight.reshape(shape))


def _binned(source: xr.DataArray, grid: Grid) -> Sums:
    """Each pixel counts for the cell that holds its centre, by the share of the cell it is large."""
    y, x = np.meshgrid(source.y.values, source.x.values, indexing="ij")
    transformer = _transformer(source.crs.attrs["crs_wkt"], grid.crs)
    left, top, step = grid.transform
    across, down = transformer.transform(x, y)
    column, row = np.floor((across - left) / step).astype(int), np.floor((top - down) / step).astype(int)
    inside = (row >= 0) & (row < grid.shape[0]) & (column >= 0) & (column < grid.shape[1])
    index = np.where(inside, row * grid.shape[1] + column, 0)
    pixel = abs(float(source.x[1] - source.x[0]) * float(source.y[1] - source.y[0])) / grid.cell**2
    values = source.values.astype(float)
    cells = grid.shape[0] * grid.shape[1]

    def sums(layer: Array, weight: Array) -> Array:
        binned = np.bincount(index.ravel(), weights=(layer * weight).ravel(), minlength=cells)
        return binned.reshape(grid.shape).astype(float)

    layers = values.reshape(-1, *values.shape[-2:])
    valid = [np.isfinite(a) & inside for a in layers]
    shape = (*values.shape[:-2], *grid.shape)
    return Sums(
        np.stack([pixel * sums(np.nan_to_num(a), v) for a, v in zip(layers, valid, strict=True)]).reshape(shape),
        np.stack([pixel * sums(np.ones(v.shape), v) for v in valid]).reshape(shape),
    )
