"""Maps of an area's outlook as a figure: percentiles in the colours of the drought classes."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
import xarray as xr

from vadose.areas import outlines
from vadose.artefact import writing
from vadose.predict.outlook.drawing import COLOURS
from vadose.predict.outlook.percentiles import CLASSES

WET = ("#dfeef5", "#9cc9e0", "#3f8fbf")
"""Colours of percentiles above 70, 80 and 95."""
EDGES = (0, 2, 5, 10, 20, 30, 70, 80, 95, 100)
"""Percentiles at which colours change."""


def draw_area(store: xr.Dataset, out_png: Path, title: str, notes: Sequence[str]) -> Path:
    """Draw percentiles in the colours of the drought classes: a row a layer, a column a lead; borders of counties."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure

    of_store = store.isel(init_time=0)
    lat, lon = store.y.values, store.x.values
    leads, layers = pd.TimedeltaIndex(store.lead_time.values), store.layer.values
    issued = pd.Timestamp(store.init_time.values[0])
    aspect = 1 / np.cos(np.radians(lat.mean()))
    height = 3.1 * max(min((len(lat) / len(lon)) * aspect, 1.4), 0.45)
    figure = Figure(figsize=(3.1 * len(leads) + 1.2, height * len(layers) + 2.1), layout="constrained")
    axes = figure.subplots(len(layers), len(leads), squeeze=False)
    colours = ListedColormap([*COLOURS[:0:-1], "#f4f4ee", *WET])
    half = float(store.attrs["grid_step"]) / 2
    box = (lon[0] - half, lat[-1] - half, lon[-1] + half, lat[0] + half)
    wide = max(box[2] - box[0], box[3] - box[1]) > 12
    for row, layer in enumerate(layers):
        for column, lead in enumerate(leads):
            axis = axes[row, column]
            values = of_store.soil_moisture_percentile.sel(layer=layer).isel(lead_time=column).values
            drawn = axis.pcolormesh(
                lon, lat, values, cmap=colours, norm=BoundaryNorm(EDGES, len(EDGES) - 1), shading="nearest"
            )
            for kind, width in (("county", 0.0 if wide else 0.35), ("state", 0.9)):
                axis.add_collection(LineCollection(outlines(kind, box), colors="0.25", linewidths=width), autolim=False)
            axis.set(xlim=(box[0], box[2]), ylim=(box[1], box[3]), aspect=aspect)
            axis.set_facecolor("0.85")
            axis.tick_params(labelsize=6)
            axis.label_outer()
            when = "today" if lead.days == 0 else f"in {lead.days} days"
            if row == 0:
                axis.set_title(f"{when}, {issued + lead:%-d %b}", fontsize=10)
            if column == 0:
                axis.set_ylabel(str(layer), fontsize=10, fontweight="bold")
    bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.7, aspect=45, ticks=EDGES[1:-1], pad=0.02)
    bar.ax.tick_params(labelsize=8)
    names = [f"D{k}" for k in range(len(CLASSES))][::-1]
    bar.set_label(
        f"percentile in the model's 1991-2020; below 30 the drought classes {', '.join(names)} from the left",
        fontsize=8,
    )
    simulated = " — SIMULATED DATA" * (store.attrs.get("simulated") == "true")
    figure.suptitle(
        f"Soil-moisture outlook for {title}, {issued:%-d %B %Y}{simulated}",
        fontsize=12,
        color="#a00000" if simulated else "black",
    )
    width = int(35 * len(leads) + 14)
    figure.supxlabel("\n".join(fill(note, width) for note in notes), fontsize=6.5, color="0.35", x=0.01, ha="left")
    with writing(out_png) as scratch:
        figure.savefig(scratch, format="png", dpi=130)
    return out_png
