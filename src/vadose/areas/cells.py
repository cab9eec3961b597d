"""Cells of a grid inside areas: the exact share of each, and means weighted by it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS

from vadose.areas.named import Area
from vadose.errors import VadoseError
from vadose.grid import transformer_to

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
LEAST = 0.5
"""Share of an area's cells that must have a value for the area to have a mean."""


def coverage(rings: Sequence[Floats], x_edges: Floats, y_edges: Floats) -> Floats:
    r"""Share of each cell of a grid that lies inside a polygon, exactly.

    By Green's theorem the area of a polygon within a cell :math:`[a, b] \times [c, d]` is
    :math:`\oint (\min(\max(x, a), b) - a)\, dy` over the parts of its rings with :math:`c \le y \le d`. The rings are
    cut where they cross the grid's lines; a piece adds :math:`(\bar x - a)\, \Delta y` to its own cell and
    :math:`(b - a)\, \Delta y` to each cell west of it.

    Parameters
    ----------
    rings
        Closed rings (n, 2), outer ones anticlockwise, holes clockwise.
    x_edges, y_edges
        Edges of columns and rows, increasing.

    Returns
    -------
    (rows, columns), 0 to 1.

    Examples
    --------
    >>> triangle = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    >>> coverage([triangle], np.arange(3.0), np.arange(3.0)).tolist()
    [[1.0, 0.5], [0.5, 0.0]]
    """
    start = np.concatenate([ring[:-1] for ring in rings])
    step = np.concatenate([np.diff(ring, axis=0) for ring in rings])
    ends = np.arange(len(start))
    cuts = [(ends, np.zeros(len(start))), (ends, np.ones(len(start)))]
    cuts += [_crossings(start[:, k], step[:, k], edges) for k, edges in enumerate((x_edges, y_edges))]
    number, share = (np.concatenate(parts) for parts in zip(*cuts, strict=True))
    order = np.lexsort((share, number))
    number, share = number[order], share[order]
    # From each cut to the next; the last of an edge is followed by the first of the next.
    number, middle, length = number[:-1], (share[1:] + share[:-1]) / 2, np.diff(share)
    number, middle, length = (of[length > 0] for of in (number, middle, length))
    x, y = (start[number] + middle[:, None] * step[number]).T
    rise = length * step[number, 1]
    column, row = np.searchsorted(x_edges, x) - 1, np.searchsorted(y_edges, y) - 1
    columns, rows = len(x_edges) - 1, len(y_edges) - 1
    counts = (row >= 0) & (row < rows) & (column >= 0)
    inside = counts & (column < columns)
    area, rises = np.zeros((rows, columns)), np.zeros((rows, columns + 1))
    np.add.at(area, (row[inside], column[inside]), (x[inside] - x_edges[column[inside]]) * rise[inside])
    np.add.at(rises, (row[counts], column[counts]), rise[counts])
    east = np.cumsum(rises[:, ::-1], axis=1)[:, -2::-1]
    share_inside: Floats = np.clip(
        area / (np.diff(x_edges) * np.diff(y_edges)[:, None]) + east / np.diff(y_edges)[:, None], 0, 1
    )
    return share_inside


def means(values: xr.Dataset, areas: Sequence[Area], *, least: float = LEAST) -> xr.Dataset:
    """Means over areas, weighted by the part of each cell's surface that lies inside; missing cells do not count.

    An area whose outline encloses nothing (Falls Church, Manassas and Radford, VA, in the packaged file) has the value
    of a cell that it touches.

    Parameters
    ----------
    values
        Variables with the axes (lat, lon), or (y, x) of a `vadose.grid.Grid`; others are left out.
    areas
        Such as ``counties("KS")``, or `own_areas`.
    least
        Least share of an area that must have a value for the area to have a mean; else NaN.

    Returns
    -------
    xarray.Dataset
        The variables over ``area`` instead of the two axes, and ``area_covered``, the share of the area that lies on
        the grid. Coordinates ``area`` (code), ``area_name``, ``state``.

    Raises
    ------
    VadoseError
        When there is no such variable, or no area touches the grid.
    """
    y, x = ("lat", "lon") if {"lat", "lon"} <= set(values.dims) else ("y", "x")
    names = [name for name in values.data_vars if {y, x} <= set(values[name].dims)]
    if not names:
        raise VadoseError(f"means of areas: no variable has the axes (lat, lon) or (y, x); found {dict(values.sizes)}")
    weights, covered = _weights(values, areas, y, x)
    if not covered.any():
        raise VadoseError(
            f"means of areas: none of the {len(areas)} areas touches the grid; choose others, or another grid"
        )
    mean: xr.Dataset = xr.apply_ufunc(
        _means,
        values[names],
        kwargs={"weights": weights, "least": least},
        input_core_dims=[[y, x]],
        output_core_dims=[["area"]],
        exclude_dims={y, x},
        keep_attrs=True,
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={"allow_rechunk": True, "output_sizes": {"area": len(areas)}},
    )
    mean = mean.drop_vars([name for name, of in mean.coords.items() if not of.ndim])
    for name in names:
        mean[name].attrs["cell_methods"] = "area: mean"
        mean[name].attrs.pop("grid_mapping", None)
    told = {"long_name": "share of the area that lies on the grid", "units": "1"}
    return mean.assign(area_covered=("area", covered.astype(np.float32), told)).assign_coords(
        area=("area", [area.code for area in areas], {"long_name": "FIPS code, or number of the polygon"}),
        area_name=("area", [area.name for area in areas]),
        state=("area", [area.state for area in areas]),
    )


def _weights(values: xr.Dataset, areas: Sequence[Area], y: str, x: str) -> tuple["csr_matrix", Floats]:
    """Weights (areas, cells) in units of an area's surface, and the share of each area that lies on the grid."""
    from scipy.sparse import csr_matrix

    rows, columns = values.sizes[y], values.sizes[x]
    if values[x].values[0] > values[x].values[-1]:
        raise VadoseError(f"means of areas: {x} runs from east to west; expected columns from west to east")
    y_edges, x_edges = edges_of(values[y].values), edges_of(values[x].values)
    crs = None if y == "lat" else str(values.attrs.get("grid_crs", ""))
    if crs == "":
        raise VadoseError("means of areas: the grid states no projection; expected the attribute grid_crs")
    crs = None if crs and CRS.from_user_input(crs).is_geographic else crs
    number, cell, weight, covered = [], [], [], np.zeros(len(areas))
    for k, area in enumerate(areas):
        rings = [_projected(ring, crs) for ring in area.rings]
        (west, south), (east, north) = (f([f(ring, axis=0) for ring in rings], axis=0) for f in (np.min, np.max))
        r, c = _part(y_edges, south, north), _part(x_edges, west, east)
        if r[1] <= r[0] or c[1] <= c[0]:
            continue
        y_part, x_part = y_edges[r[0] : r[1] + 1], x_edges[c[0] : c[1] + 1]
        inside, whole = coverage(rings, x_part, y_part) * _surface(x_part, y_part, crs), _surface_of(rings, crs)
        if whole == 0:
            inside, whole = np.ones((1, 1)), 1.0
        at = np.argwhere(inside > 0)
        number.append(np.full(len(at), k))
        cell.append((at[:, 0] + r[0]) * columns + at[:, 1] + c[0])
        weight.append(inside[tuple(at.T)] / whole)
        covered[k] = min(weight[-1].sum(), 1.0)
    parts = [np.concatenate(of) if of else np.empty(0, int) for of in (weight, number, cell)]
    found = csr_matrix((parts[0], (parts[1], parts[2])), shape=(len(areas), rows * columns))
    if values[y].values[0] > values[y].values[-1]:
        rows_down = np.arange(rows * columns).reshape(rows, columns)[::-1].ravel()
        found = found[:, rows_down]
    return found, covered


def _crossings(start: Floats, step: Floats, edges: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Number of each edge of a polygon that crosses a line of the grid, and the share of it before the line."""
    low, high = np.minimum(start, start + step), np.maximum(start, start + step)
    first, last = np.searchsorted(edges, low, "right"), np.searchsorted(edges, high, "left")
    count = np.maximum(last - first, 0)
    number = np.repeat(np.arange(len(start)), count)
    line = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
    return number, (edges[line] - start[number]) / step[number]


def edges_of(centres: Floats) -> Floats:
    """Edges of cells around centres, increasing: half-way between neighbours."""
    values = np.sort(np.asarray(centres, float))
    if len(values) == 1:
        raise VadoseError("means of areas: a grid of one row or column has no cell size; take a wider box")
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def _part(edges: Floats, low: float, high: float) -> tuple[int, int]:
    """First and last edge of the cells that a span touches."""
    return max(int(np.searchsorted(edges, low, "right")) - 1, 0), min(int(np.searchsorted(edges, high)), len(edges) - 1)


def _projected(ring: Floats, crs: str | None) -> Floats:
    return ring if crs is None else np.column_stack(transformer_to(crs).transform(ring[:, 0], ring[:, 1]))


def _surface(x_edges: Floats, y_edges: Floats, crs: str | None) -> Floats:
    """Surface of cells (rows, columns): on a sphere of degrees, else of the projection's metres."""
    height = np.diff(y_edges) if crs else np.diff(np.sin(np.radians(y_edges)))
    return height[:, None] * np.diff(x_edges)


def _surface_of(rings: Sequence[Floats], crs: str | None) -> float:
    """Surface of a polygon in the units of `_surface`; between two points y runs as x does."""
    total = 0.0
    for ring in rings:
        y = ring[:, 1] if crs else np.sin(np.radians(ring[:, 1]))
        total += float(np.sum((ring[1:, 0] + ring[:-1, 0]) / 2 * np.diff(y)))
    return total


def _means(values: NDArray[Any], *, weights: "csr_matrix", least: float) -> NDArray[np.float32]:
    """Means (..., areas) of values (..., y, x)."""
    flat = values.reshape(-1, weights.shape[1]).T
    known = np.isfinite(flat)
    total = weights @ known.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(total >= least, (weights @ np.where(known, flat, 0)) / total, np.nan)
    return mean.T.reshape(*values.shape[:-2], weights.shape[0]).astype(np.float32)
