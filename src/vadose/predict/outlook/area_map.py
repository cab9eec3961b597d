"""Maps of an area's outlook as a figure: percentiles in the colours of the drought classes."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from vadose.areas import outlines
from vadose.artefact import writing
from vadose.predict.outlook.drawing import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WET = ("#dfeef5", "#9cc9e0", "#3f8fbf")
"""Colours of percentiles above 70, 80 and 95."""
EDGES = (0, 2, 5, 10, 20, 30, 70, 80, 95, 100)
"""Percentiles at which colours change."""
NAMES = ("D4", "D3", "D2", "D1", "D0", "usual", "", "wet, dotted", "")
"""Of the classes between them, as the bar says."""
HATCHED = (70, 80, 95, 100)
"""Edges of the wet classes, which are hatched too, so that they differ from the dry ones without colours."""


def draw_area(store: xr.Dataset, out_png: Path, title: str, notes: Sequence[str]) -> Path:
    """Draw percentiles in the colours of the drought classes: a row a layer, a column a lead; borders of counties."""
    from matplotlib import rc_context
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    of_store = store.isel(init_time=0)
    lat, lon = store.y.values, store.x.values
    leads, layers = pd.TimedeltaIndex(store.lead_time.values), store.layer.values
    issued = pd.Timestamp(store.init_time.values[0])
    aspect = 1 / np.cos(np.radians(lat.mean()))
    height = 1.65 * max(min((len(lat) / len(lon)) * aspect, 1.4), 0.45)
    tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(1.65 * len(leads) + 0.7, height * len(layers) + 2.2), layout=tight)
    axes = figure.subplots(len(layers), len(leads), squeeze=False, sharex=True, sharey=True)
    colours = ListedColormap([*COLOURS[:0:-1], "#f4f4ee", *WET])
    half = float(store.attrs["grid_step"]) / 2
    box = (lon[0] - half, lat[-1] - half, lon[-1] + half, lat[0] + half)
    for row, layer in enumerate(layers):
        for column, lead in enumerate(leads):
            axis = axes[row, column]
            values = of_store.soil_moisture_percentile.sel(layer=layer).isel(lead_time=column).values
            drawn = axis.pcolormesh(
                lon, lat, values, cmap=colours, norm=BoundaryNorm(EDGES, len(EDGES) - 1), shading="nearest"
            )
            if np.nanmax(values, initial=0) > HATCHED[0] and min(values.shape) > 1:
                with rc_context({"hatch.linewidth": 0.4, "hatch.color": "0.35"}):
                    hatches = ["..", "...", "xxx"]
                    axis.contourf(lon, lat, np.nan_to_num(values), HATCHED, colors="none", hatches=hatches)
            _frame(axis, box)
            if row == 0:
                when = "today" if lead.days == 0 else f"in {lead.days} days"
                axis.set_title(f"{when}\n{issued + lead:%-d %b}", fontsize=10)
            if column == 0:
                axis.set_ylabel(str(layer), fontsize=11, fontweight="bold")
    bar = figure.colorbar(
        drawn, ax=axes, location="bottom", shrink=0.96, aspect=30, ticks=EDGES[1:-1], pad=0.02, spacing="uniform"
    )
    bar.ax.tick_params(labelsize=9)
    for k, name in enumerate(NAMES):
        ink = "white" if k < 2 else "black"
        bar.ax.text((EDGES[k] + EDGES[k + 1]) / 2, 0.5, name, color=ink, fontsize=9, ha="center", va="center")
    bar.set_label("percentile in the model's 1991-2020", fontsize=9)
    simulated = " — SIMULATED DATA" * (store.attrs.get("simulated") == "true")
    figure.suptitle(
        f"Soil-moisture outlook for {title}\n{issued:%-d %B %Y}{simulated}",
        fontsize=12,
        color="#a00000" if simulated else "black",
    )
    width = int(31 * len(leads) + 14)
    figure.supxlabel("\n".join(fill(note, width) for note in notes), fontsize=6, color="0.3", x=0.01, ha="left")
    with writing(out_png) as scratch:
        figure.savefig(scratch, format="png", dpi=200)
    return out_png


def _frame(axis: "Axes", box: tuple[float, float, float, float]) -> None:
    """Borders, and degrees at the outer maps alone."""
    from matplotlib.collections import LineCollection

    west, south, east, north = box
    for kind, width in (("county", 0.0 if max(east - west, north - south) > 12 else 0.5), ("state", 1.0)):
        axis.add_collection(LineCollection(outlines(kind, box), colors="0.15", linewidths=width), autolim=False)
    axis.set(xlim=(west, east), ylim=(south, north), aspect=1 / np.cos(np.radians((south + north) / 2)))
    axis.set_facecolor("0.85")
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=3)
    axis.label_outer()
