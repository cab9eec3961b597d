"""Regular lattices of degrees whose cell is known: where a box lies in a file that may hold only a part of one."""

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.grid import raster_coordinates, raster_window
from vadose.products.containers import BBox


def on_lattice(
    path: Path, lat: NDArray[np.float64], lon: NDArray[np.float64], bbox: BBox | None, step: float, extent: BBox
) -> tuple[slice, slice, bool, xr.Dataset]:
    """Find the box on a product's regular lattice, whole, cut (to a single cell even) or thinned.

    Parameters
    ----------
    path
        Named in errors.
    lat, lon
        Centres as the file has them, from north or from south; longitudes from the west.
    bbox
        West, south, east, north [degree]; None for all.
    step
        The product's published cell [degree]; only whole multiples of it are taken.
    extent
        West, south, east, north of the product's outermost centres [degree].

    Returns
    -------
    tuple
        Rows and columns in the order of the file, whether its rows start in the south, and the
        coordinates, north up.

    Raises
    ------
    VadoseError
        When the centres are not those of the product, or not evenly spaced by the step or a multiple;
        `vadose.errors.OutsideError` when the box lies outside.
    """
    if any(axis.ndim != 1 or not axis.size or not np.isfinite(axis).all() for axis in (lat, lon)):
        raise VadoseError(
            f"{path}: latitudes {lat.shape} and longitudes {lon.shape} are empty, hold gaps or are no plain axes; "
            "the cells cannot be placed, fetch the file again"
        )
    lon = np.where(lon > 180, lon - 360, lon)
    south_first = len(lat) > 1 and lat[1] > lat[0]
    down = lat[::-1] if south_first else lat
    west, south, east, north = extent
    dy = _step_of(f"{path}: latitudes", down, (north, south), step)
    dx = _step_of(f"{path}: longitudes", lon, (west, east), step)
    left, top = float(lon[0]) - dx / 2, float(down[0]) + dy / 2
    rows, columns = raster_window("EPSG:4326", (left, top, dx, dy), (len(lat), len(lon)), bbox, path)
    corner = (left + columns.start * dx, top - rows.start * dy, dx, dy)
    coordinates = raster_coordinates("EPSG:4326", corner, (rows.stop - rows.start, columns.stop - columns.start))
    if south_first:
        rows = slice(len(lat) - rows.stop, len(lat) - rows.start)
    return rows, columns, south_first, coordinates


def _step_of(what: str, centres: NDArray[np.float64], ends: tuple[float, float], step: float) -> float:
    """Mean step of an axis [degree], whose centres are the product's, or every second one, between its ends."""
    (begin, end), sign = ends, 1 if ends[1] > ends[0] else -1
    gaps = sign * np.diff(centres)
    times = max(round(float(gaps[0]) / step), 1) if len(gaps) else 1
    if len(gaps) and np.abs(gaps - times * step).max() > 0.05 * step:
        raise VadoseError(
            f"{what} from {centres[0]:.4f} to {centres[-1]:.4f} are not spaced by {step:.4g} degree as published; was "
            "it regridded?"
        )
    cells = sign * (centres - begin) / step
    most = sign * (end - begin) / step
    if np.abs(cells - np.round(cells)).max() > 0.1 or cells[0] < -0.1 or cells[-1] > most + 0.1:
        raise VadoseError(
            f"{what} from {centres[0]:.4f} to {centres[-1]:.4f} are not the product's, every {step:.4g} degree from "
            f"{begin:.4f} to {end:.4f}; were they shifted or swapped?"
        )
    return sign * float(centres[-1] - centres[0]) / len(gaps) if len(gaps) else step
