"""Rasters published in tiles: one file, or the tiles of a folder put together on their common lattice."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox
from vadose.products.rasters import Lattice, expect_room, lattice_of, open_raster, read_part, read_raster

Decode = Callable[[Path, NDArray[Any], float | int | None], NDArray[np.float32]]
"""File, its stored values and the nodata value it declares -> values in our units, NaN where missing."""


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
    whole, corners = _lattice(paths)
    folder = paths[0].parent
    rows, columns = raster_window(whole.crs, whole.transform, whole.shape, bbox, folder)
    expect_room(folder, whole, rows, columns, 0)
    size = (rows.stop - rows.start, columns.stop - columns.start)
    values = np.full(size, np.nan, np.float32)
    for path, (row, column) in zip(paths, corners, strict=True):
        with open_raster(path) as file:
            lattice = lattice_of(file, path)
            height, width = lattice.shape
            r0, r1 = max(row, rows.start), min(row + height, rows.stop)
            c0, c1 = max(column, columns.start), min(column + width, columns.stop)
            if r0 >= r1 or c0 >= c1:
                continue
            stored = read_part(file, path, lattice, slice(r0 - row, r1 - row), slice(c0 - column, c1 - column))
            nodata = file.nodata
        part = values[r0 - rows.start : r1 - rows.start, c0 - columns.start : c1 - columns.start]
        np.copyto(part, decode(path, stored, nodata), where=np.isnan(part))
    left, top, step, down = whole.transform
    moved = (left + columns.start * step, top - rows.start * down, step, down)
    return values, raster_coordinates(whole.crs, moved, size)


def _lattice(paths: Sequence[Path]) -> tuple[Lattice, list[tuple[int, int]]]:
    """The lattice that spans all tiles; first row and column of each on it."""
    lattices = []
    for path in paths:
        with open_raster(path) as file:
            lattices.append(lattice_of(file, path))
    crs, (_, _, step, down) = lattices[0].crs, lattices[0].transform
    left, top = min(tile.transform[0] for tile in lattices), max(tile.transform[1] for tile in lattices)
    corners = []
    for path, tile in zip(paths, lattices, strict=True):
        (x, y, dx, dy), (height, width) = tile.transform, tile.shape
        across, along = (x - left) / step, (top - y) / down
        # Steps are rounded by some 1e-12 degree a pixel, so tiles fit only to a part of a pixel.
        fits = abs(dx - step) * width < 0.05 * step and abs(dy - down) * height < 0.05 * down
        if tile.crs != crs or not fits or max(abs(v - round(v)) for v in (across, along)) > 0.05:
            raise VadoseError(
                f"{path}: projection or pixels ({tile.crs}, step {dx:.6g}) do not fit those of {paths[0].name} "
                f"({crs}, step {step:.6g}); keep tiles of one edition in a folder"
            )
        corners.append((round(along), round(across)))
    rows, columns = zip(*(tile.shape for tile in lattices), strict=True)
    shape = (
        max(row + height for (row, _), height in zip(corners, rows, strict=True)),
        max(column + width for (_, column), width in zip(corners, columns, strict=True)),
    )
    return Lattice(crs, (left, top, step, down), shape, south_up=False), corners
