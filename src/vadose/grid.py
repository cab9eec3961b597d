"""Nested EASE-Grid 2.0 of 36, 9, 3, 1 km and 100 m, and any regular part of one."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from vadose.errors import OutsideError, VadoseError

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]

# Outer upper-left corner and the 36 km cell as published; every finer cell is a whole fraction of it.
_LEFT, _TOP = -17367530.4451615, 7314540.8306386
_CELL_36KM = 36032.220840584
_ROWS_36KM, _COLUMNS_36KM = 406, 964
METRES_A_DEGREE = 111_200.0
"""Of latitude, on a sphere."""
_CHILDREN = {"36km": 1, "9km": 4, "3km": 12, "1km": 36, "100m": 360}


@dataclass(frozen=True)
class Grid:
    """A regular grid: rows from north to south, columns from west to east.

    Attributes
    ----------
    crs
        Projection as an authority code, such as ``'EPSG:6933'``.
    transform
        (left, top, step): outer upper-left corner and distance of neighbouring cells [m].
    shape
        (rows, columns).
    cell
        Edge of one cell [m]; smaller than the step where a grid takes only every n-th cell, and
        then the first cell fills the upper-left corner of the first step.

    Examples
    --------
    >>> grid = ease_grid("9km")
    >>> grid.shape
    (1624, 3856)
    >>> row, column = grid.rowcol(40.0, -100.0)
    >>> int(row), int(column)
    (289, 856)
    >>> [round(float(v), 2) for v in grid.latlon(row, column)]
    [40.0, -100.04]
    """

    crs: str
    transform: tuple[float, float, float]
    shape: tuple[int, int]
    cell: float

    @property
    def x(self) -> FloatArray:
        """Centres of the columns [m], (columns,); rounded, so that any two parts agree on a cell's."""
        left, _, step = self.transform
        return np.round(left + self.cell / 2 + step * np.arange(self.shape[1]), 4 if step > 1 else 10)

    @property
    def y(self) -> FloatArray:
        """Centres of the rows [m], (rows,), falling; rounded as `x` is."""
        _, top, step = self.transform
        return np.round(top - self.cell / 2 - step * np.arange(self.shape[0]), 4 if step > 1 else 10)

    def latlon(self, row: ArrayLike, column: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Latitude and longitude [degree] of cell centres."""
        left, top, step = self.transform
        rows, columns = np.broadcast_arrays(np.asarray(row, float), np.asarray(column, float))
        x, y = left + self.cell / 2 + step * columns, top - self.cell / 2 - step * rows
        lon, lat = transformer_to(self.crs).transform(x, y, direction="INVERSE")
        return np.asarray(lat), np.asarray(lon)

    def rowcol(self, lat: ArrayLike, lon: ArrayLike) -> tuple[IntArray, IntArray]:
        """Row and column of the cell that holds each point; -1, -1 where none does."""
        left, top, step = self.transform
        x, y = transformer_to(self.crs).transform(np.asarray(lon, float), np.asarray(lat, float))
        across, down = (np.asarray(x) - left) / step, (top - np.asarray(y)) / step
        finite = np.isfinite(across) & np.isfinite(down)
        column = np.floor(np.where(finite, across, -1)).astype(np.int64)
        row = np.floor(np.where(finite, down, -1)).astype(np.int64)
        share = self.cell / step
        inside = finite & (row >= 0) & (row < self.shape[0]) & (column >= 0) & (column < self.shape[1])
        inside &= (across - column < share) & (down - row < share)
        return np.where(inside, row, -1), np.where(inside, column, -1)

    def part(self, rows: slice, columns: slice) -> "Grid":
        """The cells of whole-step slices, such as ``part(slice(40, 112, 4), slice(150, 302, 4))``."""
        r0, r1, dr = rows.indices(self.shape[0])
        c0, c1, dc = columns.indices(self.shape[1])
        if dr != dc or dr < 1:
            raise VadoseError(f"grid part: row step {dr} and column step {dc} must be equal and positive")
        shape = (len(range(r0, r1, dr)), len(range(c0, c1, dc)))
        if 0 in shape:
            raise VadoseError(f"grid part: rows {rows}, columns {columns} hold no cell of {self.shape}")
        left, top, step = self.transform
        return Grid(self.crs, (left + c0 * step, top - r0 * step, step * dr), shape, self.cell)

    def bounding_box(self, west: float, south: float, east: float, north: float) -> "Grid":
        """The smallest part whose cell centres lie within a box [degree].

        Examples
        --------
        >>> ease_grid("9km").bounding_box(-125, 25, -66.5, 49.5).shape
        (276, 627)
        """
        middle = (self.shape[0] // 2, self.shape[1] // 2)
        lat = self.latlon(np.arange(self.shape[0]), middle[1])[0]
        lon = self.latlon(middle[0], np.arange(self.shape[1]))[1]
        rows = np.flatnonzero((lat >= south) & (lat <= north))
        columns = np.flatnonzero((lon >= west) & (lon <= east))
        if not (len(rows) and len(columns)):
            raise VadoseError(
                f"bounding box west {west}, south {south}, east {east}, north {north}: no cell centre lies "
                "within it; give degrees with west < east and south < north, inside the grid"
            )
        return self.part(slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))

    def coordinates(self) -> xr.Dataset:
        """CF coordinates y, x, lat, lon and the grid mapping, to start a dataset with."""
        if self.crs == "EPSG:6933":
            # Cylindrical: a row has one latitude, a column one longitude.
            lat = np.broadcast_to(self.latlon(np.arange(self.shape[0]), 0)[0][:, None], self.shape)
            lon = np.broadcast_to(self.latlon(0, np.arange(self.shape[1]))[1], self.shape)
        else:
            lat, lon = self.latlon(*np.indices(self.shape))
        degrees = CRS.from_user_input(self.crs).is_geographic
        names = (
            [("latitude", "degrees_north"), ("longitude", "degrees_east")]
            if degrees
            else [(f"projection_{axis}_coordinate", "m") for axis in "yx"]
        )
        (y, north), (x, east) = names
        return xr.Dataset(
            coords={
                "y": ("y", self.y, {"standard_name": y, "units": north, "axis": "Y"}),
                "x": ("x", self.x, {"standard_name": x, "units": east, "axis": "X"}),
                "lat": (("y", "x"), lat, {"standard_name": "latitude", "units": "degrees_north"}),
                "lon": (("y", "x"), lon, {"standard_name": "longitude", "units": "degrees_east"}),
                "crs": ((), 0, _cf(CRS.from_user_input(self.crs).to_wkt())),
            },
            attrs={"cell_size": self.cell, "grid_step": self.transform[2], "grid_crs": self.crs},
        )


def grid_of(dataset: xr.Dataset) -> Grid:
    """The grid a dataset made from `Grid.coordinates` lies on.

    Raises
    ------
    VadoseError
        When attributes are missing, or rows and columns are not in even steps from north to south and west to east.

    Examples
    --------
    >>> grid = ease_grid("36km").part(slice(50, 60), slice(150, 170))
    >>> grid_of(grid.coordinates()).shape
    (10, 20)
    """
    if missing := [name for name in ("cell_size", "grid_step", "grid_crs") if name not in dataset.attrs]:
        raise VadoseError(f"grid: the attributes {', '.join(missing)} are missing; expected those of Grid.coordinates")
    cell, step = float(dataset.attrs["cell_size"]), float(dataset.attrs["grid_step"])
    for axis, sign in (("y", -1), ("x", 1)):
        values = dataset[axis].values.astype(float)
        if not np.allclose(
            np.diff(values) * sign, step, rtol=1e-3, atol=float(np.spacing(np.float32(abs(values).max())))
        ):
            raise VadoseError(
                f"grid: {axis} {values[0]:.8g} .. {values[-1]:.8g} has no even steps of {sign * step:.8g}; expected "
                "rows from north to south and columns from west to east, see vadose.door.as_cube"
            )
    left, top = float(dataset.x[0]) - cell / 2, float(dataset.y[0]) + cell / 2
    return Grid(dataset.attrs["grid_crs"], (left, top, step), (dataset.sizes["y"], dataset.sizes["x"]), cell)


def ease_grid(resolution: str) -> Grid:
    """The global EASE-Grid 2.0 (EPSG:6933), cylindrical and equal-area.

    All five share one corner and nest: a 36 km cell holds 4 x 4 cells of 9 km, and each of those
    90 x 90 cells of 100 m.

    Parameters
    ----------
    resolution
        ``'36km'``, ``'9km'``, ``'3km'``, ``'1km'`` or ``'100m'``.

    Raises
    ------
    VadoseError
        For another resolution (25 km does not nest).

    References
    ----------
    Brodzik et al. (2012), doi:10.3390/ijgi1010032; correction doi:10.3390/ijgi3031154.

    Examples
    --------
    >>> round(ease_grid("9km").cell, 6), round(ease_grid("100m").cell, 4)
    (9008.05521, 100.0895)
    """
    if resolution not in _CHILDREN:
        raise VadoseError(f"EASE-Grid 2.0: resolution {resolution!r} unknown; choose from {list(_CHILDREN)}")
    n = _CHILDREN[resolution]
    step = _CELL_36KM / n
    return Grid("EPSG:6933", (_LEFT, _TOP, step), (_ROWS_36KM * n, _COLUMNS_36KM * n), step)


def raster_coordinates(crs: object, transform: tuple[float, float, float, float], shape: tuple[int, ...]) -> xr.Dataset:
    """CF coordinates of a north-up raster in any projection, to start a dataset with.

    Parameters
    ----------
    crs
        What pyproj understands: an authority code, WKT, a PROJ string, a rasterio CRS.
    transform
        (left, top, dx, dy): outer upper-left corner and cell size, both positive.
    shape
        (rows, columns).

    Returns
    -------
    xarray.Dataset
        Centres as ``lat``, ``lon`` (geographic) or ``y``, ``x`` (projected), and the grid mapping
        ``crs``.

    Examples
    --------
    >>> list(raster_coordinates("EPSG:4326", (-100.0, 40.0, 0.5, 0.5), (1, 2)).lon.values)
    [np.float64(-99.75), np.float64(-99.25)]
    """
    left, top, dx, dy = transform
    rows, columns = top - dy * (np.arange(shape[0]) + 0.5), left + dx * (np.arange(shape[1]) + 0.5)
    found = _crs(crs)
    if found.is_geographic:
        coordinates = {
            "lat": ("lat", rows, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", columns, {"standard_name": "longitude", "units": "degrees_east"}),
        }
    else:
        coordinates = {
            "y": ("y", rows, {"standard_name": "projection_y_coordinate", "units": "m", "axis": "Y"}),
            "x": ("x", columns, {"standard_name": "projection_x_coordinate", "units": "m", "axis": "X"}),
        }
    return xr.Dataset(coords={**coordinates, "crs": ((), 0, _cf(found.to_wkt()))})


def raster_window(
    crs: object,
    transform: tuple[float, float, float, float],
    shape: tuple[int, ...],
    bbox: tuple[float, float, float, float] | None,
    source: Path | str,
) -> tuple[slice, slice]:
    """Rows and columns of a north-up raster whose cell centres lie within a box [degree].

    For a projected raster the box is that of its outline in the projection. ``transform`` is as in
    `raster_coordinates`, ``source`` is named in errors.

    Raises
    ------
    VadoseError
        When the box holds nothing; `vadose.errors.OutsideError` when it lies outside the raster.

    Examples
    --------
    >>> raster_window("EPSG:4326", (-180, 90, 1, 1), (180, 360), (-100, 30, -98, 33), "here")
    (slice(57, 60, None), slice(80, 82, None))
    """
    if bbox is None:
        return slice(0, shape[0]), slice(0, shape[1])
    west, south, east, north = bbox
    if not (west < east and south < north):
        raise VadoseError(f"{source}: box {bbox} is empty; expected west < east and south < north in degrees")
    left, top, dx, dy = transform
    found = _crs(crs)
    x0, y0, x1, y1 = west, south, east, north
    if not found.is_geographic:
        x0, y0, x1, y1 = transformer_to(found.to_wkt()).transform_bounds(west, south, east, north, densify_pts=21)
    first_column, last_column = np.ceil((x0 - left) / dx - 0.5), np.floor((x1 - left) / dx - 0.5)
    first_row, last_row = np.ceil((top - y1) / dy - 0.5), np.floor((top - y0) / dy - 0.5)
    rows = slice(int(max(first_row, 0)), int(min(last_row + 1, shape[0])))
    columns = slice(int(max(first_column, 0)), int(min(last_column + 1, shape[1])))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        bottom, right = top - dy * shape[0], left + dx * shape[1]
        if not found.is_geographic:
            left, bottom, right, top = transformer_to(found.to_wkt()).transform_bounds(
                left, bottom, right, top, densify_pts=21, direction="INVERSE"
            )
        raise OutsideError(
            f"{source}: box west {west:g}, south {south:g}, east {east:g}, north {north:g} lies outside the file "
            f"(west {left:.4g}, south {bottom:.4g}, east {right:.4g}, north {top:.4g}); choose another file or box"
        )
    return rows, columns


def mgrs_square(zone: int, easting: float, northing: float) -> str:
    """Letters of the square of 100 km of the Military Grid Reference System that holds a place in UTM [m].

    Northings of the southern hemisphere may have the false origin of 10,000 km or be negative.

    Examples
    --------
    >>> mgrs_square(14, 450_000, 4_550_000), mgrs_square(13, 450_000, 4_450_000)
    ('ML', 'DE')
    """
    columns, rows = "ABCDEFGHJKLMNPQRSTUVWXYZ", "ABCDEFGHJKLMNPQRSTUV"
    column = 8 * ((zone - 1) % 3) + int(np.clip(easting // 1e5, 1, 8)) - 1
    return columns[column] + rows[(int(northing // 1e5) + 5 * (zone % 2 == 0)) % 20]


@lru_cache
def _cf(wkt: str) -> dict[str, Any]:
    """CF attributes of a grid mapping."""
    attributes: dict[str, Any] = {"long_name": "projection"} | CRS.from_wkt(wkt).to_cf()
    return attributes


def _crs(crs: object) -> CRS:
    # A rasterio CRS is given over as WKT: its authority code may be only a likeness.
    return CRS.from_user_input(crs.to_wkt() if hasattr(crs, "to_wkt") else crs)


@lru_cache
def transformer_to(crs: str) -> Transformer:
    """From longitude, latitude [degree] to a projection (authority code or WKT).

    Raises
    ------
    VadoseError
        When PROJ finds no way from degrees to it, or not its own database.
    """
    try:
        return Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    except ProjError as error:
        raise VadoseError(f"cannot transform degrees to the projection {crs[:60]!r} ({error}){proj_hint()}") from error


def proj_hint() -> str:
    """What may be wrong where a projection is unknown: a variable leads PROJ to another program's database."""
    names = [name for name in ("PROJ_DATA", "PROJ_LIB") if name in os.environ]
    return "".join(f"; {name} leads PROJ to {os.environ[name]}, unset it" for name in names)
