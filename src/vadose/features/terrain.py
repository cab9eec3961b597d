"""Slope, aspect, curvature and flow accumulation of elevation on projected and geographic grids.

All take elevation as `slope` does, and raise what it raises.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Geod, Proj

from vadose.compiled import compiled
from vadose.errors import VadoseError
from vadose.features.checks import named, within

_ELEVATION = (-500.0, 9000.0)
Floats = NDArray[np.floating]
_METRE = ("m", "metre", "metres", "meter", "meters")


def relief(elevation: xr.DataArray) -> xr.Dataset:
    """Slope, components of the aspect and curvature, in one pass over the cells.

    Parameters
    ----------
    elevation
        As in `slope`. A lazy array is taken map by map.

    Returns
    -------
    xarray.Dataset
        ``slope`` [degree], ``aspect_cosine`` and ``aspect_sine`` [1], and ``curvature`` [m-1], as the functions of
        these names give them.
    """
    found = _by_map(_relief, _elevation(elevation), 4)
    meanings = (
        ("slope", "slope of the ground", "degree"),
        ("aspect_cosine", "cosine of the aspect, 1 where the ground falls to north", "1"),
        ("aspect_sine", "sine of the aspect, 1 where the ground falls to east", "1"),
        ("curvature", "curvature of the ground, positive on ridges", "m-1"),
    )
    return xr.Dataset({meaning[0]: named(one, *meaning) for one, meaning in zip(found, meanings, strict=True)})


def slope(elevation: xr.DataArray) -> xr.DataArray:
    r"""Slope of the ground, :math:`\arctan \sqrt{p^2 + q^2}`, with the gradient p, q of Horn (1981).

    The gradient is the difference of the neighbours on either side, the middle ones of each side weighted twice.
    Distances are those on the ground: on geographic grids along the WGS84 ellipsoid at each latitude, and on
    projected ones divided by the scale of the projection along the middle column, if the grid-mapping coordinate
    ``crs`` is there. On the EASE-Grid 2.0 this matters: a cell of 9 km is 6.9 km wide at 49 degrees north.

    Parameters
    ----------
    elevation
        [m], (..., y, x) or (..., lat, lon) with evenly spaced coordinates [m or degree]. Averaged elevation
        gives the slope of the average: take fine elevation and average the slope.

    Returns
    -------
    xarray.DataArray
        Slope [degree], 0 .. 90; NaN at the border and beside missing cells.

    Raises
    ------
    VadoseError
        When elevation is outside -500 .. 9000 m or not in metres, or the coordinates are missing, unevenly
        spaced, in another unit, or degrees without saying so.

    References
    ----------
    Horn (1981), doi:10.1109/PROC.1981.11918.

    Examples
    --------
    >>> x = xr.DataArray([0.0, 100.0, 200.0], dims="x", coords={"x": [0.0, 100.0, 200.0]}, attrs={"units": "m"})
    >>> plane = x.expand_dims(y=[200.0, 100.0, 0.0])
    >>> float(slope(plane)[1, 1]), float(aspect(plane)[1, 1])
    (45.0, 270.0)
    """
    return relief(elevation)["slope"]


def aspect(elevation: xr.DataArray) -> xr.DataArray:
    r"""Direction the ground falls to, clockwise from north, by the gradient of Horn (1981).

    North is that of the grid. Directions have no mean: average `aspect_components` instead.

    Returns
    -------
    xarray.DataArray
        Aspect [degree], 0 <= aspect < 360; NaN on flat ground, at the border and beside missing cells.

    References
    ----------
    Horn (1981), doi:10.1109/PROC.1981.11918.
    """
    found = relief(elevation)
    degrees = xr.ufuncs.degrees(xr.ufuncs.arctan2(found.aspect_sine, found.aspect_cosine)) % 360
    degrees = degrees.where(found.slope > 0)
    return named(degrees, "aspect", "direction the ground falls to, clockwise from north", "degree")


def aspect_components(elevation: xr.DataArray) -> xr.Dataset:
    r"""Cosine (toward north) and sine (toward east) of the aspect, without its jump at north.

    Returns
    -------
    xarray.Dataset
        ``aspect_cosine`` and ``aspect_sine`` [1], both 0 on flat ground; NaN at the border and beside
        missing cells.

    References
    ----------
    Horn (1981), doi:10.1109/PROC.1981.11918.
    """
    return relief(elevation)[["aspect_cosine", "aspect_sine"]]


def aspect_cosine_mmnet(aspect: xr.DataArray) -> xr.DataArray:
    r"""The aspect as the published code of MMNet feeds it, :math:`\cos(\pi a / 360)`, a in degrees.

    Half the angle: it falls from 1 to -1 around the circle and jumps at north, which `aspect_components`
    does not.

    Raises
    ------
    VadoseError
        When the aspect is outside 0 .. 360 degrees, such as the -1 some tools write on flat ground.

    Examples
    --------
    >>> aspect_cosine_mmnet(xr.DataArray([0.0, 180.0, 360.0])).values.round(2).tolist()
    [1.0, 0.0, -1.0]
    """
    aspect = within(aspect, "aspect", 0, 360, "degrees clockwise from north are asked for; mask flat ground")
    return named(xr.ufuncs.cos(aspect * (np.pi / 360)), "aspect_cosine_mmnet", "cosine of half the aspect (mmnet_code)")


def curvature(elevation: xr.DataArray) -> xr.DataArray:
    r"""Curvature of the ground, :math:`-(\partial^2 z / \partial x^2 + \partial^2 z / \partial y^2)`.

    Positive on ridges and hilltops, negative in valleys and hollows. ArcGIS and xarray-spatial give 100 times
    this.

    Returns
    -------
    xarray.DataArray
        Curvature [m-1]; NaN at the border and beside missing cells.

    References
    ----------
    Zevenbergen and Thorne (1987), doi:10.1002/esp.3290120107: -2 (D + E) of their surface.

    Examples
    --------
    >>> x = xr.DataArray([100.0, 101.0, 100.0], dims="x", coords={"x": [0.0, 10.0, 20.0]}, attrs={"units": "m"})
    >>> ridge = x.expand_dims(y=[20.0, 10.0, 0.0])
    >>> float(curvature(ridge)[1, 1])
    0.02
    """
    return relief(elevation)["curvature"]


def flow_accumulation(elevation: xr.DataArray) -> xr.DataArray:
    """Cells whose water flows through each cell, itself counted.

    Depressions are filled from their outlets (priority flood); then each cell drains to the neighbour of the
    eight to which the filled surface falls most steeply (D8), and on flats towards the outlet. Cells at the
    border or beside missing ones with no lower neighbour drain out of the area, so that the counts of all
    such outlets add up to the number of cells. What flows in from beyond the border is not known: take the
    area as large as the catchment.

    The flood visits the cells one by one, about 5 seconds for a million; the libraries at hand for it are not
    kept up with current NumPy. A lazy array is computed whole.

    Returns
    -------
    xarray.DataArray
        Number of cells [1], at least 1; NaN where elevation is missing.

    References
    ----------
    D8: O'Callaghan and Mark (1984), doi:10.1016/S0734-189X(84)80011-0; priority flood: Barnes, Lehman and
    Mulla (2014), doi:10.1016/j.cageo.2013.04.024.

    Examples
    --------
    >>> x = xr.DataArray([3.0, 2.0, 1.0], dims="x", coords={"x": [0.0, 10.0, 20.0]}, attrs={"units": "m"})
    >>> flow_accumulation(x.expand_dims(y=[20.0, 10.0, 0.0]))[1].values.tolist()
    [1.0, 2.0, 3.0]
    """
    count = _by_map(_accumulate, _elevation(elevation), 1, vectorize=True)
    return named(count, "flow_accumulation", "cells that drain through the cell, itself counted")


def _by_map(function: Callable[..., object], z: xr.DataArray, outputs: int, vectorize: bool = False) -> Any:
    """Apply a function of maps (..., y, x) and of the distances [m] of their rows and columns, by row."""
    y, x = map(str, z.dims[-2:])
    return xr.apply_ufunc(
        function,
        z if z.chunks is None else z.chunk({y: -1, x: -1}),
        *_cell_size(z),
        input_core_dims=[[y, x], [y], [y]],
        output_core_dims=[[y, x]] * outputs,
        vectorize=vectorize,
        dask="parallelized",
        output_dtypes=[z.dtype] * outputs,
    )


def _relief(z: Floats, down: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[Floats, ...]:
    """Slope, cosine and sine of the aspect, and curvature of maps (..., y, x)."""
    maps = np.ascontiguousarray(z).reshape(-1, *z.shape[-2:])
    found = np.full((4, *maps.shape), np.nan, z.dtype)
    _fill_relief(maps, down, right, found)
    return tuple(found.reshape(4, *z.shape))


@compiled
def _fill_relief(maps: Floats, down: NDArray[np.float64], right: NDArray[np.float64], found: Floats) -> None:
    _, rows, columns = maps.shape
    for m in range(len(maps)):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                nw, n, ne = maps[m, i - 1, j - 1], maps[m, i - 1, j], maps[m, i - 1, j + 1]
                w, here, e = maps[m, i, j - 1], maps[m, i, j], maps[m, i, j + 1]
                sw, s, se = maps[m, i + 1, j - 1], maps[m, i + 1, j], maps[m, i + 1, j + 1]
                # Missing also where the cell itself is, which the gradient does not ask for.
                east = ((ne + 2.0 * e + se) - (nw + 2.0 * w + sw)) / (8.0 * right[i]) + 0.0 * here
                north = ((sw + 2.0 * s + se) - (nw + 2.0 * n + ne)) / (8.0 * down[i]) + 0.0 * here
                rise = np.sqrt(east * east + north * north)
                length = rise if rise != 0 else 1.0
                found[0, m, i, j] = np.degrees(np.arctan(rise))
                found[1, m, i, j] = -north / length
                found[2, m, i, j] = -east / length
                found[3, m, i, j] = -((w - 2.0 * here + e) / right[i] ** 2 + (n - 2.0 * here + s) / down[i] ** 2)


def _elevation(elevation: xr.DataArray) -> xr.DataArray:
    units = elevation.attrs.get("units", "m")
    if units not in _METRE:
        raise VadoseError(f"elevation: found units {units!r}; convert it to metres")
    z = within(elevation, "elevation", *_ELEVATION, "metres are asked for; mask the fill value")
    return z.astype(np.result_type(z, np.float32))


def _cell_size(z: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Distances on the ground [m] to the next row (negative toward south) and to the next column, of each row."""
    y, x = map(str, z.dims[-2:])
    step_down, step_right = _step(z, y), _step(z, x)
    rows = z[y].values.astype(float)
    units = [str(z[dim].attrs.get("units", "")) for dim in (y, x)]
    mapping: dict[Any, Any] = next((z.coords[name].attrs for name in ("crs", "spatial_ref") if name in z.coords), {})
    crs = CRS.from_cf(mapping) if mapping else None
    in_degrees = any(unit.startswith("degree") for unit in units)
    if (y, x) == ("lat", "lon") or in_degrees or (crs is not None and crs.is_geographic):
        geod, zero = Geod(ellps="WGS84"), np.zeros_like(rows)
        half = abs(step_down) / 2
        down = geod.inv(zero, rows - half, zero, rows + half)[2] * np.sign(step_down)
        right = geod.inv(zero, rows, zero + abs(step_right), rows)[2] * np.sign(step_right)
    elif wrong := [unit for unit in units if unit and unit not in _METRE]:
        raise VadoseError(f"elevation: coordinates {y}, {x} are in {wrong[0]!r}; give them in m or degrees")
    elif crs is not None:
        middle = np.full_like(rows, float(z[x].mean()))
        projection = Proj(crs)
        scale = projection.get_factors(*projection(middle, rows, inverse=True))
        down = step_down / np.asarray(scale.meridional_scale)
        right = step_right / np.asarray(scale.parallel_scale)
    elif "" in units and max(abs(step_down), abs(step_right)) < 1 and np.abs(rows).max() <= 90:
        raise VadoseError(
            f"elevation: coordinates {y}, {x} step by {step_right:g} without a unit, which looks like degrees; "
            "name them lat, lon or write their units"
        )
    else:
        down, right = np.full_like(rows, step_down), np.full_like(rows, step_right)
    return xr.DataArray(down, dims=y), xr.DataArray(right, dims=y)


def _step(z: xr.DataArray, dim: str) -> float:
    if dim not in z.coords or z.sizes[dim] < 3:
        found = f"{z.sizes[dim]} cells" if dim in z.coords else "no coordinate"
        raise VadoseError(f"elevation: {found} along {dim}; at least 3 cells with coordinates are needed")
    steps = np.diff(z[dim].values.astype(float))
    mean = float(steps.mean())
    if mean == 0 or np.abs(steps - mean).max() > 1e-2 * abs(mean):
        raise VadoseError(
            f"elevation: {dim} steps by {steps.min():g} .. {steps.max():g}; evenly spaced cells are needed, resample it"
        )
    return mean


def _accumulate(z: NDArray[np.float64], down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts of one map; ``down``, ``right`` [m] are the distances of rows and columns, by row."""
    width = z.shape[1] + 2
    offsets = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    steps = [i * width + j for i, j in offsets]
    ground = np.pad(z, 1, constant_values=np.nan).ravel()
    missing = np.isnan(ground)
    cells = np.flatnonzero(~missing)

    # Cells leave the heap in the order of the filled surface, those of a flat nearest to its outlet first: each
    # drains to one that left before it, so the order reversed runs downstream.
    filled, seen, source = ground.tolist(), missing.tolist(), np.full(ground.size, -1)
    border = cells[np.any([missing[cells + step] for step in steps], axis=0)].tolist()
    heap = [(filled[cell], turn, cell) for turn, cell in enumerate(border)]
    heapify(heap)
    for cell in border:
        seen[cell] = True
    order, turn = [], len(heap)
    while heap:
        level, _, cell = heappop(heap)
        order.append(cell)
        for step in steps:
            near = cell + step
            if not seen[near]:
                seen[near] = True
                source[near] = cell
                filled[near] = max(filled[near], level)
                heappush(heap, (filled[near], turn, near))
                turn += 1

    surface = np.array(filled)
    row = cells // width - 1
    falls = np.stack(
        [
            (surface[cells] - surface[cells + step]) / np.hypot(i * down[row], j * right[row])
            for step, (i, j) in zip(steps, offsets, strict=True)
        ]
    )
    falls[np.isnan(falls)] = -np.inf
    steepest = falls.argmax(axis=0)
    receiver = source
    falling = falls[steepest, np.arange(cells.size)] > 0
    receiver[cells[falling]] = (cells + np.array(steps)[steepest])[falling]

    count = np.where(missing, np.nan, 1.0).tolist()
    to = receiver.tolist()
    for cell in reversed(order):
        if to[cell] >= 0:
            count[to[cell]] += count[cell]
    return np.array(count).reshape(z.shape[0] + 2, width)[1:-1, 1:-1]
