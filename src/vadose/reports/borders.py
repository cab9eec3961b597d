"""State borders and coasts of the conterminous United States, to draw under maps of stations."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from vadose.areas import outlines

MARGIN = 1.5
"""Degrees drawn around the stations."""


def draw_borders(
    axis: Axes,
    lon: NDArray[np.floating],
    lat: NDArray[np.floating],
    meridians: Sequence[float],
    *,
    margin: float = MARGIN,
    over: bool = False,
) -> None:
    """Draw state borders, and the longitudes that part the regions, around some places and limit the axes to them.

    ``margin`` are degrees drawn around the places; with ``over`` the borders lie over what else is drawn.
    """
    box = [np.nanmin(lon), np.nanmax(lon), np.nanmin(lat), np.nanmax(lat)]
    west, east, south, north = np.array(box) + margin * np.array([-1, 1, -1, 1])
    lines = LineCollection(
        outlines("state", (west, south, east, north)),
        colors="0.3" if over else "0.6",
        linewidths=0.5,
        zorder=3 if over else 0,
    )
    axis.add_collection(lines, autolim=False)
    for meridian in meridians:
        if west < meridian < east:
            axis.axvline(meridian, color="#D55E00", linewidth=1.2, zorder=0.5)
    axis.set_xlim(west, east)
    axis.set_ylim(south, north)
