"""Rasters published in tiles: one file, or the tiles of a folder put together on their common lattice."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rasterio.windows import Window

from vadose.errors import VadoseError
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox, open_raster, read_raster

Decode = Callable[[Path, NDArray[Any], float | int | None], NDArray[np.float32]]
"""File, its stored values and the nodata value it declares -> values in our units, NaN where missing."""

_MOST_PIXELS = 2_000_000_000


def read_tiles(paths: Sequence[Path], bbox: BBox | None, decode: Decode) -> tuple[NDArray[np.float32], xr.Dataset]:
    """Read one field from one or many north-up GeoTIFFs of one lattice.

    Where tiles overlap, the first in order that is not missing counts. Pixels no tile holds are NaN.

    Parameters
    ----------
    paths
        Files of one projection and pixel size, whose pixels fall on each other.
    bbox
        West, south, east, north [degree]; only pixels with their centre inside are read.
    decode
        Turns what a file stores into our units.

    Returns
    -------
    tuple
        Values (row, column) and their coordinates, north up.

    Raises
    ------
    VadoseError
        When the tiles do not fit each other, the box lies outside them, or a file is damaged.
    """
    if len(paths) == 1:
        stored, coordinates, nodata = read_raster(paths[0], bbox)
        return decode(paths[0], stored, nodata), coordinates
    crs, (left, top, step, down), shape, corners = _lattice(paths)
    folder = paths[0].parent
    rows, columns = raster_window(crs, (left, top, step, down), shape, bbox, folder)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    if size[0] * size[1] > _MOST_PIXELS:
        raise VadoseError(f"{folder}: the tiles span {size[0]} x {size[1]} pixels, too many at once; give a bbox")
    values = np.full(size, np.nan, np.float32)
    for path, (row, column, height, width) in zip(paths, corners, strict=True):
        r0, r1 = max(row, rows.start), min(row + height, rows.stop)
        c0, c1 = max(column, columns.start), min(column + width, columns.stop)
        if r0 >= r1 or c0 >= c1:
            continue
        with open_raster(path) as file:
            stored = file.read(1, window=Window(c0 - column, r0 - row, c1 - c0, r1 - r0))
            nodata = file.nodata
        part = values[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start]
        np.copyto(part, decode(path, stored, nodata), where=np.isnan(part))
    moved = (left + columns.start * step, top - rows.start * down, step, down)
    return values, raster_coordinates(crs, moved, size)


def _lattice(
    paths: Sequence[Path],
) -> tuple[Any, tuple[float, float, float, float], tuple[int, int], list[tuple[int, int, int, int]]]:
    """Projection, transform and shape that span all tiles; row, column, height and width of each on it."""
    headers = []
    for path in paths:
        with open_raster(path) as file:
            if file.crs is None:
                raise VadoseError(f"{path}: the file names no projection; it cannot be placed")
            headers.append((file.crs, file.transform, file.shape))
    crs, first, _ = headers[0]
    left, top = min(a.c for _, a, _ in headers), max(a.f for _, a, _ in headers)
    corners = []
    for path, (own, affine, (height, width)) in zip(paths, headers, strict=True):
        across, along = (affine.c - left) / first.a, (affine.f - top) / first.e
        # Steps are rounded by some 1e-12 degree a pixel, so tiles fit only to a part of a pixel.
        fits = abs(affine.a - first.a) * width < 0.05 * first.a and abs(affine.e - first.e) * height < -0.05 * first.e
        if own != crs or not fits or max(abs(v - round(v)) for v in (across, along)) > 0.05 or affine.b or affine.d:
            raise VadoseError(
                f"{path}: projection or pixels ({own}, step {affine.a:.6g}) do not fit those of {paths[0].name} "
                f"({crs}, step {first.a:.6g}); keep tiles of one edition in a folder"
            )
        corners.append((round(along), round(across), height, width))
    shape = (max(r + h for r, _, h, _ in corners), max(c + w for _, c, _, w in corners))
    return crs, (left, top, first.a, -first.e), shape, corners
