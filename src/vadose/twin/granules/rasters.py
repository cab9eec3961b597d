"""Truth under the pixels of a published raster, written as GeoTIFF on the product's own lattice."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio import Affine
from rasterio.windows import Window

from vadose.artefact import writing
from vadose.errors import VadoseError
from vadose.grid import Grid, grid_of

SIMULATED = "true: no value in this file was measured"
# Blocks of a file and nodes between which the projection is taken as linear: 32 pixels of 100 m bend by 0.1 m.
_BLOCK, _NODE = 512, 32
_MARGIN = 4


@dataclass(frozen=True)
class Layer:
    """A field as a file stores it: (y, x) on the truth's grid, fill where there is no truth, the nodata tag.

    Between the centres of cells a ``smooth`` field is interpolated, so that heights have slopes on pixels that are
    smaller than cells; others are those of the cell.
    """

    values: NDArray[Any]
    fill: float
    nodata: float | None
    smooth: bool = False


def layer(
    field: xr.DataArray, dtype: str, fill: float, *, factor: float = 1.0, tagged: bool = True, smooth: bool = False
) -> Layer:
    """Pack a (y, x) field of the truth: times a factor, rounded if the type is whole, filled where NaN."""
    values = field.values * factor
    values = np.round(values) if np.issubdtype(np.dtype(dtype), np.integer) else values
    return Layer(np.where(np.isnan(values), fill, values).astype(dtype), fill, fill if tagged else None, smooth)


def extent(truth: xr.Dataset) -> tuple[float, float, float, float]:
    """West, south, east, north of the cells' edges [degree]."""
    lat, lon = truth.lat.values, truth.lon.values
    edge_y, edge_x = np.abs(np.diff(lat[:, 0])).max() / 2, np.abs(np.diff(lon[0])).max() / 2
    return lon.min() - edge_x, lat.min() - edge_y, lon.max() + edge_x, lat.max() + edge_y


def covering(truth: xr.Dataset, lattice: Grid) -> Grid | None:
    """The part of a lattice that holds the truth and a margin of some pixels; None if they do not meet."""
    grid = grid_of(truth)
    left, top, step = grid.transform
    outline = (left, top - step * grid.shape[0], left + step * grid.shape[1], top)
    transformer = Transformer.from_crs(grid.crs, lattice.crs, always_xy=True)
    x0, y0, x1, y1 = transformer.transform_bounds(*outline, densify_pts=21)
    left, top, step = lattice.transform
    first_row, first_column = math.ceil((top - y1) / step - 0.5), math.ceil((x0 - left) / step - 0.5)
    last_row, last_column = math.floor((top - y0) / step - 0.5), math.floor((x1 - left) / step - 0.5)
    if max(first_row, 0) > min(last_row, lattice.shape[0] - 1):
        return None
    if max(first_column, 0) > min(last_column, lattice.shape[1] - 1):
        return None
    rows = slice(max(first_row - _MARGIN, 0), min(last_row + 1 + _MARGIN, lattice.shape[0]))
    columns = slice(max(first_column - _MARGIN, 0), min(last_column + 1 + _MARGIN, lattice.shape[1]))
    return lattice.part(rows, columns)


def covered(truth: xr.Dataset, lattice: Grid, product: str) -> Grid:
    """As `covering`, where the product is one raster and has to meet the truth."""
    part = covering(truth, lattice)
    if part is None:
        raise VadoseError(f"{product}: the simulated world lies outside its raster; take a region within CONUS")
    return part


def write_rasters(truth: xr.Dataset, lattice: Grid, files: Mapping[Path, Layer]) -> list[Path]:
    """Write fields of one truth on one lattice, a file each, block by block.

    A pixel takes the value of the truth's cell that holds its centre, or of a smooth field what lies between. Files are
    tiled and deflated and carry the tag ``simulated``.
    """
    left, top, step = lattice.transform
    rows, columns = lattice.shape
    profile = {
        "driver": "GTiff",
        "height": rows,
        "width": columns,
        "count": 1,
        "crs": lattice.crs,
        "transform": Affine(step, 0.0, left, 0.0, -step, top),
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }
    with ExitStack() as stack:
        opened = []
        for path, field in files.items():
            scratch = stack.enter_context(writing(path))
            options = profile | {"dtype": field.values.dtype.name, "nodata": field.nodata}
            file = stack.enter_context(rasterio.open(scratch, "w", **options))
            file.update_tags(simulated=SIMULATED)
            opened.append((file, field))
        for start, across, index in _cells(truth, lattice):
            window = Window(0, start, columns, len(index))
            for file, field in opened:
                # Outside the truth the index is -1 and takes the last value, which is the fill.
                values = np.append(field.values.ravel(), field.values.dtype.type(field.fill))[index]
                if field.smooth:
                    between = _interpolated(field, across)
                    values = np.where((index >= 0) & np.isfinite(between), between, values).astype(values.dtype)
                file.write(values, 1, window=window)
    return list(files)


def _interpolated(field: Layer, across: NDArray[np.floating]) -> NDArray[np.floating]:
    """Bilinear between the centres of cells, at columns and rows counted from the outer corner; NaN beside fill."""
    values = np.where(field.values == field.fill, np.nan, field.values.astype(float))
    if min(values.shape) < 2:
        return np.full(across.shape[1:], np.nan)
    at = np.clip(across - 0.5, 0, np.array(values.shape[::-1])[:, None, None] - 1.0)
    c, r = np.minimum(at.astype(int), np.array(values.shape[::-1])[:, None, None] - 2)
    east, south = at - np.stack([c, r])
    upper = values[r, c] * (1 - east) + values[r, c + 1] * east
    lower = values[r + 1, c] * (1 - east) + values[r + 1, c + 1] * east
    found: NDArray[np.floating] = upper * (1 - south) + lower * south
    return np.round(found) if field.values.dtype.kind in "iu" else found


def _cells(truth: xr.Dataset, lattice: Grid) -> Iterator[tuple[int, NDArray[np.floating], NDArray[np.int32]]]:
    """First row of each block, columns and rows of its pixels on the truth's grid, flat index of their cells.

    The index is -1 where no cell holds the pixel.
    """
    grid = grid_of(truth)
    left, top, step = grid.transform
    transformer = Transformer.from_crs(lattice.crs, grid.crs, always_xy=True)
    at_rows, at_columns = (np.arange(0, n + _NODE, _NODE) for n in lattice.shape)
    west, north, pixel = lattice.transform
    x, y = transformer.transform(
        *np.meshgrid(west + pixel * (at_columns + 0.5), north - pixel * (at_rows + 0.5)), errcheck=True
    )
    nodes = np.stack([(np.asarray(x) - left) / step, (top - np.asarray(y)) / step])
    column = np.arange(lattice.shape[1])
    share = (column % _NODE) / _NODE
    for start in range(0, lattice.shape[0], _BLOCK):
        row = np.arange(start, min(start + _BLOCK, lattice.shape[0]))
        down = ((row % _NODE) / _NODE)[:, None]
        lines = nodes[:, row // _NODE] * (1 - down) + nodes[:, row // _NODE + 1] * down
        across = lines[..., column // _NODE] * (1 - share) + lines[..., column // _NODE + 1] * share
        c, r = np.floor(across).astype(np.int32)
        inside = (c >= 0) & (c < grid.shape[1]) & (r >= 0) & (r < grid.shape[0])
        yield start, across, np.where(inside, r * grid.shape[1] + c, -1)
