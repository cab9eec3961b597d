"""Maps of drought class and percentile."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import writing
from vadose.errors import VadoseError
from vadose.predict.outlook.percentiles import CLASSES, MISSING, NONE, drought_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# White where there is none, then the Drought Monitor's own colours.
COLOURS = ("#FFFFFF", "#FFFF00", "#FCD37F", "#FFAA00", "#E60000", "#730000")


def draw_outlook(store: xr.Dataset, out_png: Path, lead: int | Sequence[int], *, init: str | None = None) -> Path:
    """Draw maps of drought class and percentile, one row a lead [day], of the last forecast or that of a day.

    Raises
    ------
    VadoseError
        When the store has no percentile, no such day or lead, no grid to draw on, or holds nothing there.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
    from matplotlib.figure import Figure

    if "soil_moisture_percentile" not in store:
        raise VadoseError(f"outlook: the store has no soil_moisture_percentile; it has {sorted(map(str, store))}")
    check_drawable(store)
    leads = [lead] if isinstance(lead, int) else list(lead)
    known = [int(days) for days in pd.TimedeltaIndex(store.lead_time.values).days]
    if not leads or set(leads) - set(known):
        raise VadoseError(f"outlook: leads {leads} days asked for, the store has {known}")
    issued = pd.DatetimeIndex(store.init_time.values)
    when = issued[-1] if init is None else pd.Timestamp(init)
    if when not in issued:
        raise VadoseError(
            f"outlook: forecast of {when:%Y-%m-%d} asked for, the store has {issued[0]:%Y-%m-%d} .. "
            f"{issued[-1]:%Y-%m-%d}"
        )
    maps = store.soil_moisture_percentile.sel(init_time=when).isel(lead_time=[known.index(n) for n in leads]).load()
    if not maps.notnull().any():
        raise VadoseError(f"outlook: no percentile is known at leads {leads} of {when:%Y-%m-%d}; nothing to draw")

    height = min(5.0 * store.sizes["y"] / store.sizes["x"], 6.0) * len(leads)
    figure = Figure(figsize=(12, height + 1.4), layout="compressed")
    axes = figure.subplots(len(leads), 2, squeeze=False)
    classes = drought_class(maps)
    classes = classes.where(classes != MISSING)
    looks: list[tuple[xr.DataArray, str, Any, Any]] = [
        (classes, "drought class", ListedColormap(COLOURS), BoundaryNorm(np.arange(NONE, len(CLASSES) + 1) - 0.5, 6)),
        (maps, "percentile", "BrBG", Normalize(0, 100)),
    ]
    for column, (values, named, colours, norm) in enumerate(looks):
        for row, days in enumerate(leads):
            valid = when + pd.Timedelta(days=days)
            _map(axes[row, column], values.isel(lead_time=row), colours, norm)
            axes[row, column].set_title(f"{named}, {valid:%Y-%m-%d} (lead {days} d)", fontsize="medium")
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes[:, column], shrink=0.8, aspect=30)
        if column == 0:
            bar.set_ticks(range(NONE, len(CLASSES)), labels=["none", *(f"D{k} {n}" for k, n in enumerate(CLASSES))])
            bar.ax.minorticks_off()
    told = [str(store.attrs[key]) for key in ("model", "layer") if key in store.attrs]
    told += ["simulated data"] * (store.attrs.get("simulated") == "true") + [f"forecast of {when:%Y-%m-%d}"]
    told += [f"climatology {store.attrs['climatology_period']}"] if "climatology_period" in store.attrs else []
    told += [store.attrs["climatology_warning"]] if "climatology_warning" in store.attrs else []
    figure.suptitle(fill(f"soil moisture, {', '.join(told)}; grey: unknown", 120), fontsize="medium")
    with writing(out_png) as scratch:
        figure.savefig(scratch, format="png", dpi=120)
    return out_png


def check_drawable(data: xr.Dataset) -> None:
    """Check that a cube or a store of its forecasts has a map.

    Raises
    ------
    VadoseError
        When its cells are stations, or one row.
    """
    if not data.attrs.get("grid_crs", "grid") or 1 in (data.sizes["y"], data.sizes["x"]):
        raise VadoseError("outlook: the cells are stations, or one row of cells; there is no map to draw")


def _map(axes: "Axes", values: xr.DataArray, colours: Any, norm: Any) -> None:
    """One map on the grid's own y and x."""
    units = values.x.attrs.get("units", "")
    scale, units = (1000, "km") if units == "m" else (1, units)
    known = np.ma.masked_invalid(values.transpose("y", "x").values)
    axes.pcolormesh(values.x / scale, values.y / scale, known, cmap=colours, norm=norm, shading="nearest")
    axes.set_facecolor("0.75")
    axes.set_aspect("equal")
    axes.set(xlabel=f"x [{units}]", ylabel=f"y [{units}]")
    axes.label_outer()
