"""Figures of the downscaling study: series, maps and boxes of scores, importances."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vadose.evaluation.metrics import metric as metric_of
from vadose.reports import plots

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
_SCORES = ("pearson_r", "rmse", "bias", "ubrmse")


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
        if interval and "predicted_std" in at and at.predicted_std.sel(model=models[0]).notnull().any():
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


def score_boxes(stations: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Four scores over stations, one box per model: quartiles, whiskers to 5 and 95 %."""
    figure = Figure(figsize=(12, 0.34 * len(models) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(_SCORES), sharey=True)
    colours = colours_of(models)
    for axis, metric in zip(axes, _SCORES, strict=True):
        of_metric = stations[stations.metric == metric].dropna(subset="value")
        groups = [of_metric[of_metric.model == model]["value"] for model in models]
        how: dict[str, Any] = {"orientation": "horizontal", "widths": 0.65, "medianprops": {"color": "black"}}
        drawn = axis.boxplot(groups, whis=(5, 95), showfliers=False, patch_artist=True, **how)
        for box, model in zip(drawn["boxes"], models, strict=True):
            box.set_facecolor(colours[model])
        if metric == "bias":
            axis.axvline(0.0, color="0.4", linewidth=0.7, zorder=0)
        axis.set_xlabel(metric_of(metric).title, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.locator_params(axis="x", nbins=5)
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
