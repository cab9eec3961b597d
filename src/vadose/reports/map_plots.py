"""Figures of 100 m maps: before and after rain, comparison with the truth, scores of outlooks by lead time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from vadose.reports.scatter import colour_bar

COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#999999", "#009E73", "#CC79A7", "#E69F00")
_PANELS = (("time", "pearson_r"), ("time", "rmse"), ("space", "pearson_r"), ("space", "ubrmse"))
_TITLES = {"pearson_r": "R", "rmse": "RMSE", "ubrmse": "ubRMSE"}


def fine_maps(rows: Mapping[str, Sequence[xr.DataArray]], titles: Sequence[str]) -> Figure:
    """Maps of some days, one row per source (such as coarse and fine), on a common scale.

    ``rows``: source -> a map (y, x) for each day, with coordinates [m] of one projection.
    """
    every = np.concatenate([of.values.ravel() for maps in rows.values() for of in maps])
    low, high = np.nanpercentile(every, [1, 99])
    fine = list(rows.values())[-1][0]
    extent = _extent(fine)
    panel = 4.2
    height = panel * abs((extent[3] - extent[2]) / (extent[1] - extent[0]))
    figure = Figure(figsize=(panel * len(titles) + 1.4, (height + 0.2) * len(rows) + 0.4), layout="compressed")
    axes = figure.subplots(len(rows), len(titles), squeeze=False, sharex=True, sharey=True)
    for row, (source, maps) in enumerate(rows.items()):
        for axis, values, title in zip(axes[row], maps, titles, strict=True):
            drawn = axis.imshow(
                values.values, extent=_extent(values), cmap="viridis_r", vmin=low, vmax=high, interpolation="nearest"
            )
            if row == 0:
                axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=7)
            axis.locator_params(nbins=5)
        axes[row, 0].set_ylabel(f"{source}\ny [km]", fontsize=8)
    axes[0, 0].set_xlim(extent[:2])
    axes[0, 0].set_ylim(extent[2:])
    for axis in axes[-1]:
        axis.set_xlabel("x [km]", fontsize=8)
    colour_bar(figure, drawn, axes, "soil moisture [m³ m⁻³]", extend="both")
    return figure


def plot_outlooks(scores: pd.DataFrame, simulated: bool) -> Figure:
    """R and errors of `score_outlooks` by lead time, in time and in space, with their intervals."""
    names = scores.estimate.unique()
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axis, (over, metric) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for name, colour in zip(names, COLOURS, strict=False):
            of = scores[(scores.estimate == name) & (scores.over == over) & (scores.metric == metric)]
            if of.value.notna().any():
                axis.plot(of.lead_days, of.value, "o-", color=colour, label=name)
                axis.fill_between(of.lead_days, of.lower, of.upper, color=colour, alpha=0.15, lw=0)
        axis.set(xlabel="days ahead", title=f"{_TITLES[metric]} in {over}")
        if metric != "pearson_r":
            axis.set_ylabel("[m³ m⁻³]")
            axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    if simulated:
        figure.suptitle("SIMULATED")
    return figure


def plot_county(
    truth: xr.Dataset, coarse: xr.DataArray, maps: Mapping[str, xr.Dataset], days: Sequence[pd.Timestamp]
) -> Figure:
    """True soil moisture of a county on some days, the coarse field, and the maps made from it.

    Parameters
    ----------
    truth
        ``soil_moisture`` (time, y, x).
    coarse
        (time, y, x) on a coarser grid of the same projection.
    maps
        Name -> ``soil_moisture`` (time, y, x).
    days
        A row of panels each.
    """
    x, y = truth.x.values, truth.y.values
    panels = {
        "truth": truth.soil_moisture,
        "coarse": coarse.sel(x=x, y=y, method="nearest"),
        **{name: of.soil_moisture for name, of in maps.items()},
    }
    shown = {name: of.sel(time=list(days)).transpose("time", "y", "x").values for name, of in panels.items()}
    low, high = np.nanpercentile(np.concatenate([of.ravel() for of in shown.values()]), [1, 99])
    figure = Figure(figsize=(3.1 * len(panels) + 1, 3.2 * len(days)), layout="constrained")
    axes = figure.subplots(len(days), len(panels), squeeze=False)
    for row, day in zip(range(len(days)), days, strict=True):
        for axis, (name, of) in zip(axes[row], shown.items(), strict=True):
            image = axis.imshow(of[row], vmin=low, vmax=high, cmap="YlGnBu")
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(name)
        axes[row, 0].set_ylabel(f"{day:%Y-%m-%d}")
    figure.colorbar(image, ax=axes, label="soil moisture [m³ m⁻³]", shrink=0.8)
    if truth.attrs.get("simulated") == "true":
        figure.suptitle("SIMULATED")
    return figure


def _extent(values: xr.DataArray) -> tuple[float, float, float, float]:
    """West, east, south, north [km] of a map whose rows go from north to south."""
    half = [abs(float(values[axis][1] - values[axis][0])) / 2 for axis in ("x", "y")]
    x, y = values.x.values, values.y.values
    edges = x[0] - half[0], x[-1] + half[0], y[-1] - half[1], y[0] + half[1]
    west, east, south, north = (float(edge) / 1000 for edge in edges)
    return west, east, south, north
