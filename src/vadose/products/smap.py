"""What SMAP's HDF5 products share: text attributes, and where the cells of a granule or subset lie."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import Grid, ease_grid, raster_coordinates, raster_window
from vadose.products.containers import BBox
from vadose.products.stored import check_size, check_stored, read_whole

FILL = -9999.0
EPOCH = pd.Timestamp("2000-01-01 12:00")
"""Of all times in seconds, which are counted without leap seconds."""
Array = NDArray[np.float32]
Index = NDArray[np.int64]
Window = tuple[slice, slice]
"""Rows and columns of a file's arrays."""


def text(attributes: Mapping[str, object], name: str) -> str:
    """An attribute of an HDF5 object as text, '' where there is none."""
    value = attributes.get(name, "")
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode() if isinstance(value, bytes) else str(value)


def shape_of(group: h5py.Group) -> tuple[int, ...]:
    """Rows and columns of a group's arrays, () where it has none."""
    # A list: a view of h5py that is left half way holds its lock until some thread drops it.
    found = (group[name] for name in list(group))
    return next((data.shape for data in found if getattr(data, "ndim", 0) == 2), ())


def check_shape(path: Path, data: h5py.Dataset, shape: tuple[int, ...]) -> None:
    """Raise if a field is of another shape than the others of its group."""
    if data.shape != shape:
        name = data.name.rsplit("/", 1)[-1]
        raise VadoseError(f"{path}: '{name}' is {data.shape} where other fields are {shape}; is the file complete?")


def read_field(path: Path, data: h5py.Dataset, shape: tuple[int, ...], window: Window | None = None) -> Array:
    """Values of a field, or of a window of it, as float32, NaN where fill.

    Raises
    ------
    VadoseError
        When the field is of another shape than the others, was packed anew, or does not fit in memory.
    """
    check_shape(path, data, shape)
    name = data.name.rsplit("/", 1)[-1]
    check_stored(path, name, data.attrs, FILL)
    kept = window or (slice(None),) * len(shape)
    check_size(path, name, tuple(len(range(*part.indices(n))) for part, n in zip(kept, shape, strict=True)))
    raw = data[kept].astype(np.float32)
    return np.where(raw == FILL, np.float32(np.nan), raw)


def check_places(path: Path, grid: Grid, row: Index, column: Index, lat: Array, lon: Array) -> None:
    """Raise if cells do not lie where the file's own latitudes and longitudes say; those of fill say nothing.

    Parameters
    ----------
    grid, row, column
        Where the cells are placed.
    lat, lon
        Of the same cells [degree], NaN where missing.
    """
    there = np.isfinite(lat) & np.isfinite(lon)
    own = np.stack(grid.rowcol(lat[there], lon[there]))
    wrong = (own != np.stack([row, column])[:, there]).any(axis=0)
    if (count := int(wrong.sum())) > max(1, 0.01 * wrong.size):
        raise VadoseError(
            f"{path}: {count} of {wrong.size} cells do not lie where their latitude and longitude say; was the file "
            "changed? Take it as published"
        )


def check_window(path: Path, cells: str, place: xr.Dataset, lat: Array, lon: Array) -> None:
    """The same for an array (row, column) of cells placed by ``x`` and ``y`` on a grid such as ``'9km'``."""
    grid = ease_grid(cells)
    left, top, step = grid.transform
    row, column = np.round((top - place.y.values) / step - 0.5), np.round((place.x.values - left) / step - 0.5)
    rows, columns = np.meshgrid(row.astype(np.int64), column.astype(np.int64), indexing="ij")
    check_places(path, grid, rows, columns, lat, lon)


def place_on_grid(path: Path, grid: Grid, bbox: BBox | None) -> tuple[xr.Dataset, Window]:
    """Coordinates of the cells of a grid within a box, and their rows and columns."""
    left, top, step = grid.transform
    rows, columns = raster_window(grid.crs, (left, top, step, step), grid.shape, bbox, path)
    return grid.part(rows, columns).coordinates(), (rows, columns)


def place_by_axes(path: Path, file: h5py.File, shape: tuple[int, ...], bbox: BBox | None) -> tuple[xr.Dataset, Window]:
    """The same for a file that says where its cells lie in ``x`` and ``y``.

    In metres these are of the 9 km or the 36 km EASE-Grid 2.0, within 2 m: Level 4's own are up to one
    metre beside it. In degrees they are of a subset that a service has resampled.

    Raises
    ------
    VadoseError
        When they do not fit the arrays or no such grid.
    """
    x, y = (read_whole(path, file[axis]).astype(float) for axis in ("x", "y"))
    if (len(y), len(x)) != shape:
        raise VadoseError(f"{path}: {len(y)} 'y' and {len(x)} 'x' for {shape} cells; is the file damaged?")
    if min(shape) < 2 or not (np.diff(y) < 0).all() or not (np.diff(x) > 0).all():
        raise VadoseError(
            f"{path}: 'y' has to fall and 'x' to rise over two cells or more; the file is of another layout"
        )
    dx, dy = (x[-1] - x[0]) / (len(x) - 1), (y[0] - y[-1]) / (len(y) - 1)
    if "degree" in text(file["x"].attrs, "units"):
        left, top = x[0] - dx / 2, y[0] + dy / 2
        rows, columns = raster_window("EPSG:4326", (left, top, dx, dy), shape, bbox, path)
        moved = (left + columns.start * dx, top - rows.start * dy, dx, dy)
        size = (rows.stop - rows.start, columns.stop - columns.start)
        return raster_coordinates("EPSG:4326", moved, size), (rows, columns)
    for resolution in ("9km", "36km"):
        whole = ease_grid(resolution)
        left, top, step = whole.transform
        column, row = round((x[0] - left) / step - 0.5), round((top - y[0]) / step - 0.5)
        if abs(dx - step) < 1 and row >= 0 and column >= 0:
            part = whole.part(slice(row, row + len(y)), slice(column, column + len(x)))
            if part.shape == shape and np.abs(part.x - x).max() < 2 and np.abs(part.y - y).max() < 2:
                return place_on_grid(path, part, bbox)
    raise VadoseError(
        f"{path}: 'x' and 'y' do not lie on the 9 km or the 36 km EASE-Grid 2.0 (from {x[0]:.1f}, {y[0]:.1f} m in "
        f"steps of {dx:.1f} m); take a granule that was not resampled"
    )
