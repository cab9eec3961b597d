"""What figures share: names and colours of runs, scores by lead time, boxes."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
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


def plot_by_lead(table: pd.DataFrame, metrics: Sequence[str] = (), bold: str = "") -> Figure:
    """Medians of scores by lead time with their intervals; one column of panels per kind of weather.

    Shown are the metrics that are drawn, or those named; the run ``bold``, 'model|weather|scenario', is.
    """
    metrics = metrics or [name for name in METRICS if metric_of(name).drawn and (table.metric == name).any()]
    weathers = list(dict.fromkeys(table.weather))
    size = (3.4 * len(weathers) + 0.4, 2.7 * len(metrics) + 0.8)
    figure = Figure(figsize=(max(size[0], 5.6), size[1]), layout="constrained")
    axes = figure.subplots(len(metrics), len(weathers), squeeze=False, sharex=True, sharey="row")
    leads = sorted(table.lead_days.unique())
    colours, scenarios = colours_of(table.model), sorted(set(table.scenario))
    shown: dict[str, Any] = {}
    for (row, metric), (column, weather) in itertools.product(enumerate(metrics), enumerate(weathers)):
        axis = axes[row, column]
        part = table[(table.metric == metric) & ((table.weather == weather) | table.model.isin(BASELINES))]
        of_runs = list(part.groupby(["model", "scenario"], sort=False))
        for number, ((model, scenario), of_run) in enumerate(of_runs):
            of_run = of_run.sort_values("lead_days")
            shift = 0.05 * (number - (len(of_runs) - 1) / 2) * min(1.0, 10 / len(of_runs))
            x = np.array([leads.index(lead) for lead in of_run.lead_days]) + shift
            middle = of_run["median"].to_numpy()
            spread = np.abs(np.stack([middle - of_run.lower, of_run.upper - middle]))
            shown[pretty(model, scenario)] = axis.errorbar(
                x,
                middle,
                spread,
                capsize=2,
                linewidth=2.6 if f"{model}|{weather}|{scenario}" == bold else 1.3,
                elinewidth=0.9,
                color=colours[model],
                linestyle=BASELINES.get(model, "-"),
                marker=MARKERS[scenarios.index(scenario) % len(MARKERS)] if len(scenarios) > 1 else None,
                markersize=4,
            )
        axis.set_xticks(range(len(leads)), [str(lead) for lead in leads])
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.3)
        if row == 0:
            upper_bound = "\n(an upper bound, no forecast)" if weather == "perfect" else ""
            axis.set_title(weather_name(weather) + upper_bound, fontsize=9)
        if row == len(metrics) - 1:
            axis.set_xlabel("lead time [d]", fontsize=8)
        if column == 0:
            axis.set_ylabel(f"median {metric_of(metric).title}", fontsize=8)
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


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
