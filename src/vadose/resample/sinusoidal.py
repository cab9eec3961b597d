"""Exact overlap of the pixels of a sinusoidal grid, such as that of MODIS, with the cells of a cylindrical one.

A row of pixels lies between two parallels, as a row of cells does: rows overlap as intervals. The meridian l has
the sinusoidal x = R l cos(latitude), so along a parallel pixels and cells differ by a factor alone, and a bound
of cells runs through a row of pixels as a slanted line, taken as straight within the row. The sum of the pixels
left of that line is the mean, from one end of the line to the other, of the running sum along the row; running
sums are linear from edge to edge of the pixels, their integral is quadratic, and the mean is its difference.
Areas are those on the ellipsoid, where pixels, equal on the sphere of their grid, differ by up to 1 %.

References: Snyder (1987), doi:10.3133/pp1395, chapters 10 and 30.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vadose.grid import Grid
from vadose.resample.raster import (
    DEGREES,
    Array,
    Indices,
    Raster,
    edges_of,
    latitude,
    longitude,
    northing,
    overlaps,
    transformer,
)

_AT_ONCE = 1_000_000
"""Pairs of a strip and a column worked on at a time."""


@dataclass(frozen=True)
class Strips:
    """Parts of rows of pixels, each within one row of cells.

    A meridian crosses a strip at pixel ``offset + scale lon``, with the scale [pixel per degree] of the
    latitude: along a slanted line from its value at ``south`` to that at ``north``.
    """

    rows: Indices
    cells: Indices
    share: Array
    """Of the height of the row of cells."""
    south: Array
    north: Array
    offset: float
    columns: Indices
    """First column of cells that each strip reaches; and the number that the longest does."""
    width: int
    west: Array
    east: Array
    """Bounds of the columns of cells [degree]."""


@lru_cache(maxsize=64)
def strips_of(raster: Raster, grid: Grid) -> Strips:
    """Strips of a raster on a grid."""
    source = transformer(DEGREES, raster.crs)
    edges_x, edges_y = edges_of(raster.x), edges_of(raster.y)
    pixel, centre = edges_x[1] - edges_x[0], source.transform(0.0, 0.0)[0]
    edges_lat = source.transform(np.full_like(edges_y, centre), edges_y, direction="INVERSE")[1]
    # Downwards, so that both rise.
    cells, rows, top, bottom = overlaps(-northing(edges_lat, grid), -grid.y - grid.cell / 2, -grid.y + grid.cell / 2)
    south, north = ((source.transform(np.ones_like(y), latitude(y, grid))[0] - centre) / pixel for y in (-bottom, -top))
    offset = (centre - edges_x[0]) / pixel
    west, east = (longitude(x, grid) for x in (grid.x - grid.cell / 2, grid.x + grid.cell / 2))
    begin, end = ((edge - offset) / np.stack([south, north]) for edge in (0, len(raster.x)))
    first = np.searchsorted(east, begin.min(axis=0), "right")
    width = int((np.searchsorted(west, end.max(axis=0), "left") - first).max(initial=0))
    # All windows as wide as the widest, and within the grid.
    first = np.minimum(first, len(west) - width).astype(np.int32)
    share = (bottom - top) / grid.cell
    return Strips(rows, cells, share, south, north, float(offset), first, width, west, east)


def sums_of_strips(strips: Strips, shape: tuple[int, int], layer: Array) -> Array:
    """Sum over the pixels (y, x) of each cell (row, column), each by the share of the cell it covers."""
    size = layer.shape[1]
    pixels = np.pad(layer, ((0, 0), (0, 1)))
    # Sum of the pixels to the left of each edge of a row, and the integral of that sum up to the edge.
    left, integral = np.zeros_like(pixels), np.zeros_like(pixels)
    np.cumsum(layer, axis=1, out=left[:, 1:])
    np.cumsum((left[:, 1:] + left[:, :-1]) / 2, axis=1, out=integral[:, 1:])

    def integral_to(position: Array, row: Indices) -> Array:
        position = np.maximum(position, 0)
        whole = np.minimum(position.astype(np.int32), size)
        part = position - whole
        whole += row * np.int32(size + 1)
        value: Array = integral.take(whole) + part * (left.take(whole) + part / 2 * pixels.take(whole))
        return value

    def mean_left(lon: Array, middle: Array, spread: Array, row: Indices) -> Array:
        position = strips.offset + middle * lon
        # Upright lines are widened to a hundredth of a pixel: a mean over no width is none.
        half = np.maximum(spread * np.abs(lon), 0.005)
        mean: Array = (integral_to(position + half, row) - integral_to(position - half, row)) / (2 * half)
        return mean

    sums = np.zeros(shape[0] * shape[1])
    step = max(1, _AT_ONCE // max(strips.width, 1))
    for start in range(0, len(strips.rows), step):
        some = slice(start, start + step)
        south, north, row = strips.south[some, None], strips.north[some, None], strips.rows[some, None]
        columns = strips.columns[some, None] + np.arange(strips.width)
        west, east = strips.west[columns], strips.east[columns]
        middle, spread = (south + north) / 2, np.abs(south - north) / 2
        within = mean_left(east, middle, spread, row) - mean_left(west, middle, spread, row)
        share = strips.share[some, None] * within / (middle * (east - west))
        index = strips.cells[some, None] * np.int32(shape[1]) + columns
        sums += np.bincount(index.ravel(), weights=share.ravel(), minlength=len(sums))
    return sums.reshape(shape)
