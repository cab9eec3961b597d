"""Maps of a study area: classes of its cells, state borders, stations by network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vadose.reports.borders import draw_borders

MARKERS = "o^sDv"
Places = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]
"""Longitudes and latitudes [degree]."""


def study_area(
    classes: NDArray[np.object_] | None, place: xr.Dataset, order: Sequence[str], sites: Mapping[str, Places]
) -> Figure:
    """Cells by class, from light to dark so that grey tells them apart, and the sites of each network.

    ``classes``: (y, x) of the cells of ``place``, which has ``lat`` and ``lon``; '' where there is none.
    """
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    axis = figure.subplots()
    handles: list[Any] = []
    if classes is not None:
        known = [name for name in order if (classes == name).any()]
        colours = ListedColormap(colormaps["cividis"](np.linspace(1.0, 0.15, max(len(known), 2))))
        numbers = np.full(classes.shape, np.nan)
        for number, name in enumerate(known):
            numbers[classes == name] = number
        draw_cells(axis, numbers, place, cmap=colours, vmin=-0.5, vmax=max(len(known), 2) - 0.5)
        handles += [Patch(facecolor=colours(number), label=name) for number, name in enumerate(known)]
    for marker, (network, (lon, lat)) in zip(MARKERS, sites.items(), strict=False):
        label = f"{network} ({len(lon)})"
        shown = axis.scatter(lon, lat, marker=marker, s=26, facecolors="white", edgecolors="black", label=label)
        handles.append(shown)
    if classes is None:
        lon, lat = (np.concatenate([of[k] for of in sites.values()]) for k in (0, 1))
        draw_borders(axis, lon, lat, ())
        axis.set_aspect(1 / np.cos(np.radians(np.nanmean(lat))))
    axis.set_xlabel("longitude [°]", fontsize=9)
    axis.set_ylabel("latitude [°]", fontsize=9)
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    return figure


def draw_cells(axis: Axes, values: NDArray[Any], place: xr.Dataset | xr.DataArray, **how: Any) -> Any:
    """Draw cells (y, x) at their longitudes and latitudes with state borders over them; what has the colours."""
    lat, lon = (of.transpose("y", "x").values for of in xr.broadcast(place.lat, place.lon, place.y, place.x)[:2])
    drawn = axis.pcolormesh(lon, lat, values, shading="nearest", rasterized=True, **how)
    half = max((float(np.abs(np.diff(of)).max(initial=0.0)) for of in (lon[0], lat[:, 0])), default=0.0) / 2
    draw_borders(axis, lon, lat, (), margin=half, over=True)
    axis.set_aspect(1 / np.cos(np.radians(float(np.nanmean(lat)))))
    return drawn
