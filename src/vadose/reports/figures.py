"""Figures of the forecast study: scatter plots, maps and box plots of scores, forecast maps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from vadose.reports.borders import draw_borders
from vadose.reports.plots import boxes
from vadose.reports.scatter import Pairs, scatter
from vadose.reports.study_area import draw_cells

TITLES = {"pearson_r": "R", "ubrmse": "ubRMSE [m³ m⁻³]", "bias": "bias [m³ m⁻³]"}
SHORT = {
    "grassland": "G",
    "cropland": "C",
    "permanent wetland": "PW",
    "savanna": "S",
    "shrubland": "Sh",
    "forest": "F",
}
_RANGES = {"pearson_r": (-0.2, 1.0), "ubrmse": (0.0, 0.12), "bias": (-0.2, 0.2)}
_MAPS = {"pearson_r": ("viridis", (0.0, 1.0)), "ubrmse": ("cividis_r", (0.0, 0.1)), "bias": ("cividis", (-0.12, 0.12))}
_TEXTURES = ListedColormap(["#F0E442", "#E69F00", "#7A3B0A"])


def density(pairs: Mapping[str, xr.Dataset]) -> Figure:
    """Forecast against observed, one row of panels per layer and one panel per lead time (`scatter`).

    ``pairs``: layer -> predicted (lead_days, time, site) and observed (time, site).
    """
    return scatter({layer: dict(_by_lead(of)) for layer, of in pairs.items()}, "forecast")


def _by_lead(pairs: xr.Dataset) -> Iterator[tuple[str, Pairs]]:
    for lead in pairs.lead_days.values:
        predicted, observed = pairs.predicted.sel(lead_days=lead).values.ravel(), pairs.observed.values.ravel()
        known = np.isfinite(predicted) & np.isfinite(observed)
        yield _days(lead), (predicted[known], observed[known])


def site_maps(scores: xr.Dataset) -> Figure:
    """R, ubRMSE and bias of one run at the sites, one column for each of three lead times, with histograms."""
    leads = _some(scores.lead_days.values)
    lon, lat = scores.lon.values, scores.lat.values
    figure = Figure(figsize=(4.6 * len(leads) + 1.0, 12.0), layout="constrained")
    heights = [3.0, 1.0] * len(_MAPS)
    axes = figure.subplots(len(heights), len(leads), squeeze=False, height_ratios=heights)
    size = float(np.clip(12000 / max(len(lon), 1), 2, 70))
    for number, (metric, (colours, (low, high))) in enumerate(_MAPS.items()):
        for column, lead in enumerate(leads):
            values = scores.value.sel(metric=metric, lead_days=lead).values
            known = np.isfinite(values)
            place, histogram = axes[2 * number, column], axes[2 * number + 1, column]
            drawn = place.scatter(
                lon[known],
                lat[known],
                c=values[known],
                s=size,
                cmap=colours,
                vmin=low,
                vmax=high,
                edgecolors="0.3",
                linewidths=0.3 if len(lon) < 500 else 0.0,
            )
            draw_borders(place, lon, lat, ())
            place.set_aspect(1 / np.cos(np.radians(lat.mean())))
            place.set_title(f"{TITLES[metric].split(' [')[0]}, {_days(lead)}", fontsize=10)
            place.tick_params(labelsize=7)
            place.locator_params(axis="x", nbins=5)
            edges = np.linspace(*_RANGES[metric], 31)
            histogram.hist(np.clip(values[known], edges[0], edges[-1]), bins=edges, color="0.6")
            if known.any():
                middle = float(np.median(values[known]))
                histogram.axvline(middle, color="black", linewidth=1.2)
                histogram.set_title(f"median {middle:.3f}, n {known.sum()}", fontsize=8)
            histogram.set_xlabel(TITLES[metric], fontsize=8)
            histogram.tick_params(labelsize=7)
            if column == 0:
                place.set_ylabel("latitude [°]", fontsize=8)
                histogram.set_ylabel("sites", fontsize=8)
        figure.colorbar(drawn, ax=axes[2 * number], shrink=0.85, label=TITLES[metric], extend="both", pad=0.01)
    return figure


def class_boxes(shown: Mapping[str, tuple[xr.DataArray, NDArray[np.object_]]], order: Sequence[str]) -> Figure:
    """R, ubRMSE and bias by class of the sites: one column per layer, one box per lead time.

    ``shown``: layer -> values (lead_days, site, metric) and the class of each site. Boxes show the
    quartiles, whiskers 5 and 95 %; numbers of sites are in brackets.
    """
    leads = next(iter(shown.values()))[0].lead_days.values
    names = [name for name in order if any((labels == name).any() for _, labels in shown.values())]
    colours = list(colormaps["viridis"](np.linspace(0.05, 0.95, len(leads))))
    medians = ["black" if k > len(leads) / 2 else "white" for k in range(len(leads))]
    figure = Figure(figsize=(max(4.2, 1.0 * len(names)) * len(shown) + 0.6, 8.2), layout="constrained")
    axes = figure.subplots(len(TITLES), len(shown), squeeze=False, sharey="row", sharex="col")
    for column, (layer, (values, labels)) in enumerate(shown.items()):
        for row, metric in enumerate(TITLES):
            axis = axes[row, column]
            of_leads = [values.sel(metric=metric, lead_days=lead).values for lead in leads]
            groups = [[of[(labels == name) & np.isfinite(of)] for name in names] for of in of_leads]
            boxes(axis, groups, colours, medians, zero=metric == "bias")
            axis.tick_params(labelsize=8)
            if column == 0:
                axis.set_ylabel(TITLES[metric], fontsize=9)
        counted = values.notnull().any(("lead_days", "metric")).values
        ticks = [f"{SHORT.get(name, name)}\n({int((counted & (labels == name)).sum())})" for name in names]
        axes[-1, column].set_xticks(range(len(names)), ticks)
        axes[0, column].set_title(layer, fontsize=10)
    handles = [Patch(facecolor=colours[k], label=_days(lead)) for k, lead in enumerate(leads)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(leads), fontsize=8, frameon=False)
    return figure


def forecast_maps(
    rows: Sequence[tuple[str, NDArray[np.object_] | None, xr.DataArray, Mapping[int, xr.DataArray]]],
    day: str,
    textures: Sequence[str],
) -> Figure:
    """Maps of one day, one row per layer: texture, observed, and forecasts for the day by lead time.

    ``rows``: layer, texture of each cell (y, x) or None, observed (y, x), and lead time [d] -> forecast (y, x).
    """
    leads = _some(np.array(list(rows[0][3])))
    with_texture = any(texture is not None for _, texture, _, _ in rows)
    height, width = rows[0][2].shape
    columns = with_texture + 1 + len(leads)
    panel = 3.4
    size = (panel * columns + 1.2, (panel * height / width + 0.45) * len(rows) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, (layer, texture, observed, forecasts) in enumerate(rows):
        maps: list[Any] = [observed.values, *(forecasts[lead].values for lead in leads)]
        low, high = np.nanpercentile(np.concatenate([m.ravel() for m in maps]), [1, 99])
        titles = [str(observed.attrs.get("product", "observed")), *(f"forecast {_days(lead)} ahead" for lead in leads)]
        for axis, values, title in zip(axes[row, with_texture:], maps, titles, strict=True):
            drawn = draw_cells(axis, values, observed, cmap="viridis_r", vmin=low, vmax=high)
            if row == 0:
                axis.set_title(title, fontsize=9)
        figure.colorbar(drawn, ax=axes[row, with_texture:], shrink=0.85, label="m³ m⁻³", extend="both", pad=0.01)
        if texture is not None:
            numbers = np.full(texture.shape, np.nan)
            for number, name in enumerate(textures):
                numbers[texture == name] = number
            draw_cells(axes[row, 0], numbers, observed, cmap=_TEXTURES, vmin=-0.5, vmax=2.5)
        if with_texture and row == 0:
            axes[0, 0].set_title("soil texture", fontsize=9)
        axes[row, 0].set_ylabel(layer, fontsize=10)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    if with_texture:
        handles = [Patch(facecolor=_TEXTURES(number), label=name) for number, name in enumerate(textures)]
        figure.legend(handles=handles, loc="outside lower left", ncols=len(textures), fontsize=8, frameon=False)
    figure.suptitle(day, fontsize=11)
    return figure


def _some(leads: NDArray[np.integer]) -> list[int]:
    """Shortest, middle and longest lead time."""
    return list(dict.fromkeys(int(leads[k]) for k in (0, len(leads) // 2, -1)))


def _days(lead: int) -> str:
    return f"{int(lead)} d"
