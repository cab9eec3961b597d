"""Maps of stations: where they lie, their moisture and scores, with state borders and those of the regions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from vadose.evaluation.metrics import metric as metric_of
from vadose.reports.borders import draw_borders
from vadose.reports.scatter import colour_bar
from vadose.reports.series_plots import name_of

_MAPS = {"pearson_r": ("viridis", (0.0, 1.0)), "bias": ("BrBG", (-0.15, 0.15)), "ubrmse": ("cividis_r", (0.0, 0.1))}
REGIONS = ("west", "middle", "east")


def station_data(stations: pd.DataFrame, observed: xr.DataArray, borders: tuple[float, float]) -> Figure:
    """Stations on a map, coloured by mean moisture; mean and deviation over stations of each year; boxes by region.

    ``stations``: station, lat, lon, mean. ``observed``: (station, time) in the same order.
    """
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    place, years, regions = figure.subplots(1, 3, width_ratios=[2.2, 1.0, 0.8])
    _coloured(figure, place, stations, borders)
    by_year = observed.groupby("time.year").mean("time")
    mean, std = by_year.mean("station"), by_year.std("station")
    years.errorbar(by_year.year, mean, yerr=std, fmt="o", color="#D55E00", ecolor="0.5", capsize=3, markersize=4)
    years.set_xticks(by_year.year.values, [str(year) for year in by_year.year.values])
    years.tick_params(axis="x", labelrotation=90)
    years.set_ylabel("soil moisture [m³ m⁻³]", fontsize=8)
    years.set_title("station means by year, ± their deviation", fontsize=9)
    region = np.searchsorted(borders, stations.lon.to_numpy(), side="right")
    values = [observed.values[region == k] for k in range(len(REGIONS))]
    regions.boxplot([of[np.isfinite(of)] for of in values], showfliers=False, medianprops={"color": "#D55E00"})
    regions.set_xticks([1, 2, 3], [f"{name}\n({len(of)})" for name, of in zip(REGIONS, values, strict=True)])
    regions.set_title("station-days by region", fontsize=9)
    for axis in (years, regions):
        axis.tick_params(labelsize=7)
        axis.grid(axis="y", alpha=0.3)
    return figure


def station_overview(stations: pd.DataFrame, chosen: Mapping[str, str], borders: Sequence[float] = ()) -> Figure:
    """Map of the stations, coloured by mean soil moisture, with some marked.

    ``stations``: station, lat, lon, mean. ``chosen``: station -> text next to the map, numbered S1, S2, ...
    """
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    place, text = figure.subplots(1, 2, width_ratios=[1.5, 1.0])
    _coloured(figure, place, stations, borders)
    marked = stations.set_index("station").loc[list(chosen)]
    place.scatter(marked.lon, marked.lat, s=110, facecolors="none", edgecolors="#D55E00", linewidths=1.6)
    for number, (lon, lat) in enumerate(zip(marked.lon, marked.lat, strict=True), 1):
        place.annotate(
            f"S{number}",
            (lon, lat),
            xytext=(6, 5),
            textcoords="offset points",
            fontsize=9,
            weight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    text.set_axis_off()
    lines = [f"S{number}  {station}\n       {said}" for number, (station, said) in enumerate(chosen.items(), 1)]
    text.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=7.5, linespacing=1.45, transform=text.transAxes)
    return figure


def score_maps(stations: pd.DataFrame, models: Sequence[str], borders: Sequence[float] = ()) -> Figure:
    """R, bias and ubRMSE at the stations, one row per score and one column per model.

    ``stations``: rows of ``stations.csv``.
    """
    spans = [float(np.ptp(stations[axis].dropna())) + 2.0 for axis in ("lat", "lon")]
    height = 3.5 * min(1.2, spans[0] / (spans[1] * np.cos(np.radians(stations.lat.mean()))))
    figure = Figure(figsize=(3.7 * len(models) + 0.9, (height + 0.3) * len(_MAPS) + 0.3), layout="compressed")
    axes = figure.subplots(len(_MAPS), len(models), squeeze=False, sharex=True, sharey=True)
    for row, (metric, (colours, (low, high))) in enumerate(_MAPS.items()):
        for column, model in enumerate(models):
            part = stations[(stations.metric == metric) & (stations.model == model)]
            axis = axes[row, column]
            drawn = axis.scatter(
                part.lon,
                part.lat,
                c=part["value"],
                s=_size(len(part)),
                cmap=colours,
                vmin=low,
                vmax=high,
                edgecolors="0.3",
                linewidths=0.3,
            )
            _geographic(axis, stations, borders)
            axis.set_title(
                f"{name_of(model)}: median {_short(metric)} {part['value'].median():.3f}, n {len(part)}", fontsize=8
            )
        axes[row, 0].set_ylabel("latitude [°]", fontsize=8)
        colour_bar(figure, drawn, axes[row], metric_of(metric).title, extend="both")
    for axis in axes[-1]:
        axis.set_xlabel("longitude [°]", fontsize=8)
    return figure


def _coloured(figure: Figure, axis: Axes, stations: pd.DataFrame, borders: Sequence[float]) -> None:
    drawn = axis.scatter(
        stations.lon,
        stations.lat,
        c=stations["mean"],
        s=_size(len(stations)),
        cmap="viridis_r",
        edgecolors="0.3",
        linewidths=0.3,
    )
    colour_bar(figure, drawn, axis, "mean soil moisture [m³ m⁻³]")
    _geographic(axis, stations, borders)
    axis.set_xlabel("longitude [°]", fontsize=8)
    axis.set_ylabel("latitude [°]", fontsize=8)


def _geographic(axis: Axes, stations: pd.DataFrame, borders: Sequence[float]) -> None:
    lon, lat = stations.lon.to_numpy(), stations.lat.to_numpy()
    draw_borders(axis, lon, lat, borders)
    axis.set_aspect(1 / np.cos(np.radians(np.nanmean(lat))))
    axis.tick_params(labelsize=7)


def _size(stations: int) -> float:
    return float(np.clip(9000 / max(stations, 1), 12, 70))


def _short(metric: str) -> str:
    return metric_of(metric).title.split(" [")[0]
