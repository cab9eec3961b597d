"""Figures of the downscaling study: series, maps and boxes of scores, importances."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from vadose.evaluation.metrics import metric as metric_of
from vadose.reports import plots
from vadose.reports.scatter import colour_bar

MODELS = {
    "mmnet": "MMNet",
    "mlp": "MLP",
    "transformer": "Transformer",
    "mlp_full": "MLP, all inputs",
    "transformer_full": "Transformer, all inputs",
    "long_mmnet": "MMNet, long memory",
    "soil_moisture_smap_l4": "SMAP L4",
    "soil_moisture_smap_hydroblocks": "SMAP-HydroBlocks",
}
_COLOURS = {
    "mmnet": "#0072B2",
    "mlp": "#009E73",
    "transformer": "#D55E00",
    "mlp_full": "#44AA99",
    "transformer_full": "#882255",
    "long_mmnet": "#CC79A7",
    "soil_moisture_smap_l4": "0.6",
    "soil_moisture_smap_hydroblocks": "0.35",
}
_MAPS = {"pearson_r": ("viridis", (0.0, 1.0)), "bias": ("BrBG", (-0.15, 0.15)), "ubrmse": ("cividis_r", (0.0, 0.1))}
_SCORES = ("pearson_r", "rmse", "bias", "ubrmse")


def station_overview(stations: pd.DataFrame, chosen: Mapping[str, str]) -> Figure:
    """Map of the stations, coloured by mean soil moisture, with some marked.

    ``stations``: station, lat, lon, mean. ``chosen``: station -> text next to the map, numbered S1, S2, ...
    """
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    place, text = figure.subplots(1, 2, width_ratios=[1.5, 1.0])
    drawn = place.scatter(
        stations.lon,
        stations.lat,
        c=stations["mean"],
        s=_size(len(stations)),
        cmap="viridis_r",
        edgecolors="0.3",
        linewidths=0.3,
    )
    colour_bar(figure, drawn, place, "mean soil moisture [m³ m⁻³]")
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
    _geographic(place, stations.lat.to_numpy())
    place.margins(0.08)
    place.set_xlabel("longitude [°]", fontsize=8)
    place.set_ylabel("latitude [°]", fontsize=8)
    text.set_axis_off()
    lines = [f"S{number}  {station}\n       {said}" for number, (station, said) in enumerate(chosen.items(), 1)]
    text.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=7.5, linespacing=1.45, transform=text.transAxes)
    return figure


def station_series(
    predictions: xr.Dataset,
    stations: Sequence[str],
    models: Sequence[str],
    *,
    titles: Sequence[str],
    rain: xr.DataArray | None = None,
    interval: bool = False,
) -> Figure:
    """Observed and predicted series of some stations, with daily precipitation from the top.

    Shown are the days from the first to the last that any of the models predicts there, the first model on top.
    ``rain`` (station, time) [mm]. With ``interval`` the central 90 % of the first model is shaded where it gives a
    standard deviation.
    """
    figure = Figure(figsize=(12, 1.75 * len(stations) + 0.5), layout="constrained")
    axes = figure.subplots(len(stations), 1, sharex=True, squeeze=False)[:, 0]
    colours = colours_of(models)
    some = predictions.predicted.sel(station=list(stations), model=list(models)).notnull().any(("station", "model"))
    days = predictions.time.values[some.values]
    predictions = predictions.sel(time=slice(days[0], days[-1]))
    for axis, station, title in zip(axes, stations, titles, strict=True):
        at = predictions.sel(station=station)
        for order, model in enumerate(models):
            series = at.predicted.sel(model=model)
            axis.plot(
                at.time,
                series,
                color=colours[model],
                linewidth=1.1 if order == 0 else 0.7,
                label=name_of(model),
                zorder=3 - 0.1 * order,
            )
        if interval and "predicted_std" in at:
            half = 1.6449 * at.predicted_std.sel(model=models[0])
            middle = at.predicted.sel(model=models[0])
            axis.fill_between(
                at.time,
                middle - half,
                middle + half,
                color=colours[models[0]],
                alpha=0.25,
                linewidth=0,
                label="central 90 %",
            )
        axis.plot(at.time, at.observed, ".", color="black", markersize=1.8, label="observed", zorder=4)
        axis.set_ylim(0, 1.2 * axis.get_ylim()[1])
        axis.set_ylabel("[m³ m⁻³]", fontsize=8)
        axis.set_title(title, fontsize=8, loc="left", pad=3)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.set_xlim(days[0], days[-1])
        if rain is not None and station in rain.station.values:
            _rain_from_above(axis, rain.sel(station=station).reindex(time=at.time))
    handles, labels = axes[0].get_legend_handles_labels()
    if rain is not None:
        handles.append(Patch(facecolor="#56B4E9", alpha=0.7))
        labels.append("precipitation")
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(handles), 8), fontsize=8, frameon=False)
    return figure


def _rain_from_above(axis: Axes, rain: xr.DataArray) -> None:
    above = axis.twinx()
    above.vlines(rain.time, 0, np.nan_to_num(rain), color="#56B4E9", alpha=0.7, linewidth=0.6)
    above.set_ylim(3.0 * max(float(np.nanmax(np.append(rain, 1.0))), 1.0), 0)
    above.tick_params(labelsize=6, colors="#3a87b0")
    above.set_ylabel("[mm d⁻¹]", fontsize=7, color="#3a87b0")


def score_maps(stations: pd.DataFrame, models: Sequence[str]) -> Figure:
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
            _geographic(axis, stations.lat.to_numpy())
            axis.set_title(
                f"{name_of(model)}: median {_short(metric)} {part['value'].median():.3f}, n {len(part)}", fontsize=8
            )
        axes[row, 0].set_ylabel("latitude [°]", fontsize=8)
        colour_bar(figure, drawn, axes[row], metric_of(metric).title, extend="both")
    for axis in axes[-1]:
        axis.set_xlabel("longitude [°]", fontsize=8)
    return figure


def score_boxes(stations: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Four scores over stations, one box per model: quartiles, whiskers to 5 and 95 %."""
    figure = Figure(figsize=(12, 0.34 * len(models) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(_SCORES), sharey=True)
    colours = colours_of(models)
    for axis, metric in zip(axes, _SCORES, strict=True):
        groups = [stations[(stations.metric == metric) & (stations.model == model)]["value"] for model in models]
        plots.lying_boxes(axis, [of.dropna() for of in groups], [colours[model] for model in models])
        if metric == "bias":
            axis.axvline(0.0, color="0.4", linewidth=0.7, zorder=0)
        axis.set_xlabel(metric_of(metric).title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(1, len(models) + 1), [name_of(model) for model in models])
    axes[0].invert_yaxis()
    figure.suptitle(f"{stations.station.nunique()} stations", fontsize=9)
    return figure


def class_boxes(stations: pd.DataFrame, models: Sequence[str], labels: Mapping[str, pd.Series]) -> Figure:
    """R, RMSE, bias and ubRMSE by class of the stations: one column per kind of class, one box per model.

    ``labels``: kind -> class by station, '' for none, in the order classes are drawn. Stations are counted in
    brackets.
    """
    orders = {kind: [name for name in of.cat.categories if (of == name).any()] for kind, of in labels.items()}
    widths = [max(2, len(names)) for names in orders.values()]
    figure = Figure(figsize=(1.05 * sum(widths) + 1.0, 9.0), layout="constrained")
    axes = figure.subplots(len(_SCORES), len(labels), squeeze=False, sharey="row", sharex="col", width_ratios=widths)
    colours = [colours_of(models)[model] for model in models]
    for column, (kind, of_kind) in enumerate(labels.items()):
        names = orders[kind]
        classed = stations.assign(of=stations.station.map(of_kind))
        for row, metric in enumerate(_SCORES):
            axis = axes[row, column]
            scored = classed[classed.metric == metric]
            of_models = [scored[scored.model == model] for model in models]
            groups = [[of[of["of"] == name]["value"].dropna() for name in names] for of in of_models]
            plots.boxes(axis, groups, colours, ["black"] * len(models), zero=metric == "bias")
            axis.tick_params(labelsize=7)
            if column == 0:
                axis.set_ylabel(metric_of(metric).title, fontsize=9)
        counted = classed.drop_duplicates("station")["of"].value_counts()
        ticks = [f"{name}\n({counted.get(name, 0)})" for name in names]
        axes[-1, column].set_xticks(range(len(names)), ticks)
        axes[0, column].set_title(kind.replace("_", " "), fontsize=10)
    _legend(figure, models)
    return figure


def importances(table: pd.DataFrame) -> Figure:
    """Importance of each feature, one panel per scenario, the largest on top.

    ``table``: scenario, feature, percent, low, high [percent] of one model.
    """
    scenarios = list(dict.fromkeys(table.scenario))
    if "stream" in table:
        twice = table.groupby(["scenario", "feature"]).stream.transform("nunique") > 1
        table = table.assign(feature=table.feature.where(~twice, table.feature + " (" + table.stream + ")"))
    order = table.groupby("feature").percent.mean().sort_values().index
    figure = Figure(figsize=(3.4 * len(scenarios) + 2.0, 0.24 * len(order) + 1.0), layout="constrained")
    axes = figure.subplots(1, len(scenarios), squeeze=False, sharey=True, sharex=True)[0]
    for axis, scenario in zip(axes, scenarios, strict=True):
        part = table[table.scenario == scenario].set_index("feature").reindex(order)
        ends = np.stack([part.percent - part.low, part.high - part.percent]).clip(min=0)
        axis.barh(range(len(order)), part.percent, color="#0072B2", height=0.75)
        axis.errorbar(part.percent, range(len(order)), xerr=ends, fmt="none", ecolor="0.2", elinewidth=0.8, capsize=2)
        axis.set_title(f"{scenario} ({part.percent.sum():.0f} % in all)", fontsize=9)
        axis.set_xlabel("importance [%]", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_xlim(0, None)
    axes[0].set_ylim(-0.7, len(order) - 0.3)
    axes[0].set_yticks(range(len(order)), [MODELS.get(name) or name.replace("_", " ") for name in order])
    return figure


def name_of(model: str) -> str:
    """Model name for readers.

    Examples
    --------
    >>> name_of("mlp_full")
    'MLP, all inputs'
    """
    return MODELS.get(model) or plots.pretty(model)


def colours_of(models: Iterable[str]) -> dict[str, str]:
    """Colour of each model, the same in every figure that shows the same models."""
    names = list(models)
    return plots.colours_of(name for name in names if name not in _COLOURS) | {
        name: _COLOURS[name] for name in names if name in _COLOURS
    }


def _legend(figure: Figure, models: Sequence[str]) -> None:
    colours = colours_of(models)
    handles = [Patch(facecolor=colours[model], label=name_of(model)) for model in models]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(models), fontsize=8, frameon=False)


def _geographic(axis: Axes, lat: NDArray[np.floating]) -> None:
    axis.set_aspect(1 / np.cos(np.radians(np.nanmean(lat))))
    axis.tick_params(labelsize=7)


def _size(stations: int) -> float:
    return float(np.clip(9000 / max(stations, 1), 12, 70))


def _short(metric: str) -> str:
    return metric_of(metric).title.split(" [")[0]
