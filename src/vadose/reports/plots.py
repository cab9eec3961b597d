"""Figures that compare runs: scores by lead time, maps and box plots over sites, series at some sites."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.metrics import metric as metric_of

BASELINES = {"persistence": ":", "damped_persistence": "-.", "climatology": "--"}
# Colours of Okabe and Ito, then of Tol, distinguishable for colour-blind readers; baselines are grey.
COLOURS = {
    "persistence": "0.65",
    "damped_persistence": "0.45",
    "climatology": "0.25",
    "trees": "#E69F00",
    "lstm": "#56B4E9",
    "convlstm": "#CC79A7",
    "blend": "#009E73",
    "simvp": "#0072B2",
    "map_transformer": "#117733",
    "surrogate": "#D55E00",
    "ensemble": "#332288",
    "anchor": "#999933",
}
OTHER_COLOURS = ("#882255", "#44AA99", "#AA4499", "#661100", "#DDCC77")
MARKERS = ("o", "s", "^", "D", "v", "P")
WEATHER = {
    "none": "without weather",
    "perfect": "perfect weather",
    "forecast": "forecast weather",
    "analysis": "analysis, no forecast",
}


def plot_by_lead(table: pd.DataFrame) -> Figure:
    """Scores by lead time with intervals; one column of panels per kind of weather."""
    metrics = [name for name in METRICS if metric_of(name).drawn and (table.metric == name).any()]
    weathers = list(dict.fromkeys(table.weather))
    figure = Figure(figsize=(5.4 * len(weathers) + 1.2, 3.2 * len(metrics)), layout="constrained")
    axes = figure.subplots(len(metrics), len(weathers), squeeze=False, sharex=True, sharey="row")
    leads = sorted(table.lead_days.unique())
    colours, scenarios = colours_of(table.model), sorted(set(table.scenario))
    for row, metric in enumerate(metrics):
        for column, weather in enumerate(weathers):
            axis = axes[row, column]
            part = table[(table.metric == metric) & ((table.weather == weather) | table.model.isin(BASELINES))]
            of_runs = list(part.groupby(["model", "scenario"], sort=False))
            for number, ((model, scenario), of_run) in enumerate(of_runs):
                of_run = of_run.sort_values("lead_days")
                shift = 0.03 * (number - (len(of_runs) - 1) / 2) * min(1.0, 10 / len(of_runs))
                x = np.array([leads.index(lead) for lead in of_run.lead_days]) + shift
                middle = of_run["median"].to_numpy()
                spread = np.abs(np.stack([middle - of_run.lower, of_run.upper - middle]))
                axis.errorbar(
                    x,
                    middle,
                    spread,
                    label=pretty(model, scenario),
                    capsize=2,
                    linewidth=1.6,
                    elinewidth=0.9,
                    color=colours[model],
                    linestyle=BASELINES.get(model, "-"),
                    marker=MARKERS[scenarios.index(scenario) % len(MARKERS)] if len(scenarios) > 1 else None,
                    markersize=4,
                )
            axis.set_xticks(range(len(leads)), [str(lead) for lead in leads])
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(weather_name(weather))
                axis.legend(fontsize=8, ncols=2, loc="lower left")
            if row == len(metrics) - 1:
                axis.set_xlabel("lead time [d]")
            if column == 0:
                axis.set_ylabel(f"median {metric_of(metric).title}")
    return figure


def plot_maps(scores: xr.Dataset, run: str) -> Figure:
    """Maps of R, ubRMSE, bias and the gain in R over persistence, one row for each of three lead times."""
    leads = [int(v) for v in scores.lead_days.values]
    shown = list(dict.fromkeys([leads[0], leads[len(leads) // 2], leads[-1]]))
    of_run = scores.value.sel(run=run)
    columns: list[tuple[str, Any, str, tuple[float, float]]] = [
        ("R", of_run.sel(metric="pearson_r"), "viridis", (0.0, 1.0)),
        ("ubRMSE [m³ m⁻³]", of_run.sel(metric="ubrmse"), "magma_r", (0.0, 0.08)),
        ("bias [m³ m⁻³]", of_run.sel(metric="bias"), "BrBG", (-0.06, 0.06)),
    ]
    reference = [r for r in scores.run.values if str(r).startswith("persistence|")]
    if reference:
        gain = (of_run - scores.value.sel(run=reference[0])).sel(metric="pearson_r")
        columns.append(("R minus that of persistence", gain, "PuOr_r", (-0.8, 0.8)))
    figure = Figure(figsize=(4.1 * len(columns), 2.5 * len(shown) + 0.5), layout="constrained")
    axes = figure.subplots(len(shown), len(columns), squeeze=False, sharex=True, sharey=True)
    size = float(np.clip(9000 / max(scores.sizes["site"], 1), 14, 120))
    for column, (name, values, colours, (low, high)) in enumerate(columns):
        for row, lead in enumerate(shown):
            axis = axes[row, column]
            drawn = axis.scatter(
                scores.lon,
                scores.lat,
                c=values.sel(lead_days=lead),
                s=size,
                marker="s",
                cmap=colours,
                vmin=low,
                vmax=high,
            )
            axis.set_aspect(1.25)
            axis.set_title(f"{name}, {lead} d" if row == 0 else f"{lead} d", fontsize=9)
            axis.tick_params(labelsize=7)
            if column == 0:
                axis.set_ylabel("latitude [°]", fontsize=8)
            if row == len(shown) - 1:
                axis.set_xlabel("longitude [°]", fontsize=8)
        figure.colorbar(drawn, ax=axes[:, column], shrink=0.75, location="bottom", extend="both", pad=0.02)
    return figure


def plot_boxes(scores: xr.Dataset) -> Figure:
    """R over sites, one box per run, one panel per lead time."""
    leads = scores.lead_days.values
    figure = Figure(figsize=(12, 0.32 * scores.sizes["run"] + 1.1), layout="constrained")
    axes = figure.subplots(1, len(leads), sharey=True, squeeze=False)[0]
    suffix = {"none": "", "perfect": " + weather", "forecast": " + forecast weather"}
    runs = [tuple(map(str, run.split("|"))) for run in scores.run.values]
    names = [f"{pretty(model, scenario)}{suffix.get(weather, weather)}" for model, weather, scenario in runs]
    colours = colours_of(model for model, _, _ in runs)
    for axis, lead in zip(axes, leads, strict=True):
        values = scores.value.sel(lead_days=lead, metric="pearson_r").values
        lying_boxes(axis, [v[np.isfinite(v)] for v in values], [colours[str(m)] for m in scores.model.values])
        axis.set_yticks(range(1, len(names) + 1), names, fontsize=8)
        axis.set_title(f"{lead} d", fontsize=9)
        axis.set_xlabel("R", fontsize=8)
        axis.set_xlim(-0.5, 1.0)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    return figure


def lying_boxes(axis: Axes, groups: Sequence[ArrayLike], colours: Sequence[str]) -> None:
    """A box for each group of values, one below the other: quartiles, whiskers to 5 and 95 %."""
    drawn = axis.boxplot(
        groups,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        patch_artist=True,
        widths=0.65,
        medianprops={"color": "black"},
    )
    for box, colour in zip(drawn["boxes"], colours, strict=True):
        box.set_facecolor(colour)


def boxes(
    axis: Axes, groups: Sequence[Sequence[ArrayLike]], colours: Sequence[object], medians: Sequence[str], *, zero: bool
) -> None:
    """Boxes of several series side by side at each class: quartiles, whiskers to 5 and 95 %.

    ``groups``: of each series the values of each class. ``zero`` adds a line at 0.
    """
    classes, width = len(groups[0]), 0.8 / len(groups)
    for k, (of_classes, colour, median) in enumerate(zip(groups, colours, medians, strict=True)):
        axis.boxplot(
            of_classes,
            positions=np.arange(classes) + (k - (len(groups) - 1) / 2) * width,
            widths=0.85 * width,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": median},
            boxprops={"facecolor": colour, "linewidth": 0.5},
            whiskerprops={"linewidth": 0.7},
            capprops={"linewidth": 0.7},
        )
    if zero:
        axis.axhline(0.0, color="0.4", linewidth=0.7, zorder=0)
    axis.set_xlim(-0.6, classes - 0.4)
    axis.grid(axis="y", alpha=0.3)


def plot_series(pairs: xr.Dataset, scores: xr.Dataset, run: str, leads: Sequence[int]) -> Figure:
    """Observed and forecast series at the sites of the best, median and worst R, at the longest lead that has one."""
    r_by_lead = [scores.value.sel(run=run, lead_days=lead, metric="pearson_r").values for lead in leads]
    known = [k for k, r in enumerate(r_by_lead) if np.isfinite(r).any()]
    last = known[-1] if known else -1
    r, lead_of_r = r_by_lead[last], leads[last]
    order = np.argsort(r)[: max(1, np.isfinite(r).sum())]
    chosen = dict.fromkeys([int(order[-1]), int(order[len(order) // 2]), int(order[0])])
    figure = Figure(figsize=(12, 2.3 * len(chosen)), layout="constrained")
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axis, site in zip(axes, chosen, strict=True):
        at = pairs.isel(site=site)
        for lead, colour in zip(leads, ("#0072B2", "#D55E00"), strict=True):
            axis.plot(
                at.time,
                at.predicted.sel(run=run, lead_days=lead),
                color=colour,
                linewidth=1.1,
                label=f"{lead} d ahead",
            )
        axis.plot(at.time, at.observed, ".", color="black", markersize=4, label="observed")
        place = f"{at.site.item()} ({float(at.lat):.2f}° N, {float(at.lon):.2f}° E), R at {lead_of_r} d: {r[site]:.2f}"
        axis.set_title(place, fontsize=9, loc="left")
        axis.set_ylabel("soil moisture\n[m³ m⁻³]", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, ncols=3, loc="upper right")
    return figure


def pretty(model: str, scenario: str = "all") -> str:
    """Model and scenario as text for readers."""
    name = {"lstm": "LSTM", "convlstm": "ConvLSTM", "simvp": "SimVP"}.get(model, model.replace("_", " "))
    return name if scenario == "all" else f"{name} {scenario}"


def weather_name(weather: str) -> str:
    """Kind of weather after the day of issue as text for readers."""
    return WEATHER.get(weather, weather)


def colours_of(models: Iterable[str]) -> dict[str, str]:
    """Colour of each model; models without their own colour take the next of a cycle."""
    others = itertools.cycle(OTHER_COLOURS)
    return {model: COLOURS.get(model) or next(others) for model in sorted(set(map(str, models)))}
