"""The raster of a field, and where the edges of its pixels lie on a grid."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import Transformer

from vadose.errors import VadoseError
from vadose.grid import Grid

Array = NDArray[np.floating]
Indices = NDArray[np.int32]

DEGREES = "EPSG:4326"


@dataclass(frozen=True)
class Raster:
    """All that weights depend on, as a key: projection (WKT) and the centres of rows and columns as bytes.

    Without a projection the bytes are the latitude and longitude of each pixel, of ``shape`` (row, column).
    """

    name: str = field(compare=False)
    crs: str
    rows: bytes
    columns: bytes
    shape: tuple[int, ...] = ()

    def places(self, grid: Grid) -> tuple[Array, Array]:
        """Where pixels of their own latitude and longitude lie in a grid's projection, NaN where nowhere, (y, x)."""
        lat, lon = (np.frombuffer(of).reshape(self.shape) for of in (self.rows, self.columns))
        x, y = transformer(DEGREES, grid.crs).transform(lon, lat)
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(lat + lon)
        return np.where(known, x, np.nan), np.where(known, y, np.nan)

    @property
    def y(self) -> Array:
        """Centres of the rows, falling."""
        return np.frombuffer(self.rows)

    @property
    def x(self) -> Array:
        """Centres of the columns, rising."""
        return np.frombuffer(self.columns)


def raster_of(source: xr.DataArray) -> Raster:
    """The raster of a field with the coordinates of `vadose.grid.raster_coordinates`, or ``lat`` and ``lon`` (y, x)."""
    if "crs" not in source.coords and {"lat", "lon"} <= set(source.coords) and source.lat.ndim == 2:
        lat, lon = (source[name].transpose("y", "x").values.astype(float) for name in ("lat", "lon"))
        return Raster(str(source.name), "", lat.tobytes(), lon.tobytes(), lat.shape)
    if "crs" not in source.coords or "crs_wkt" not in source.crs.attrs:
        raise VadoseError(f"raster '{source.name}': no coordinate 'crs' that says its projection")
    y, x = (source[axis].values.astype(float) for axis in axes(source))
    if min(len(y), len(x)) < 2:
        raise VadoseError(f"raster '{source.name}': {len(y)} x {len(x)} pixels are too few; give at least 2 x 2")
    if (np.diff(y) >= 0).any() or (np.diff(x) <= 0).any():
        raise VadoseError(
            f"raster '{source.name}': rows from {y[0]:g} to {y[-1]:g}, columns from {x[0]:g} to {x[-1]:g}; sort rows "
            "from north to south and columns from west to east"
        )
    return Raster(str(source.name), source.crs.attrs["crs_wkt"], y.tobytes(), x.tobytes())


def axes(source: xr.DataArray) -> tuple[str, str]:
    """Names of the dimensions of rows and columns."""
    return ("lat", "lon") if "lat" in source.dims else ("y", "x")


def edges_of(centres: Array) -> Array:
    """Edges of pixels around evenly spaced centres."""
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    return np.concatenate([centres - step / 2, centres[-1:] + step / 2])


def overlaps(edges: Array, low: Array, high: Array) -> tuple[Indices, Indices, Array, Array]:
    """Every pair of a cell, from ``low`` to ``high``, and a pixel that overlap, and from where to where they do."""
    first = np.clip(np.searchsorted(edges, low, "right") - 1, 0, len(edges) - 2)
    last = np.clip(np.searchsorted(edges, high, "left") - 1, 0, len(edges) - 2)
    count = last - first + 1
    cells = np.repeat(np.arange(len(low)), count)
    pixels = np.arange(len(cells)) - np.repeat(np.cumsum(count) - count - first, count)
    low, high = np.maximum(low[cells], edges[pixels]), np.minimum(high[cells], edges[pixels + 1])
    some = high > low
    return cells[some].astype(np.int32), pixels[some].astype(np.int32), low[some], high[some]


# On a cylindrical grid a parallel has one y and a meridian one x.


def northing(lat: Array, grid: Grid) -> Array:
    """Distance from the equator [m] of parallels."""
    lat = np.clip(lat, -90.0, 90.0)
    y: Array = transformer(DEGREES, grid.crs).transform(0 * lat, lat)[1]
    return y


def easting(lon: Array, grid: Grid) -> Array:
    """Distance from the central meridian [m] of meridians."""
    x: Array = transformer(DEGREES, grid.crs).transform(lon, 0 * lon)[0]
    return x


def latitude(y: Array, grid: Grid) -> Array:
    """Parallels [degree] at a distance from the equator."""
    lat: Array = transformer(DEGREES, grid.crs).transform(0 * y, y, direction="INVERSE")[1]
    return lat


def longitude(x: Array, grid: Grid) -> Array:
    """Meridians [degree] at a distance from the central one."""
    lon: Array = transformer(DEGREES, grid.crs).transform(x, 0 * x, direction="INVERSE")[0]
    return lon


@lru_cache
def transformer(source: str, target: str) -> Transformer:
    """From one projection to another, longitude before latitude."""
    return Transformer.from_crs(source, target, always_xy=True)
