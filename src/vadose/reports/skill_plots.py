"""Figures of where and how much a run is better than its rival: scorecard, maps, strata, what was scored."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vadose.evaluation.metrics import metric as metric_of
from vadose.reports.borders import draw_borders
from vadose.reports.contents import Absent
from vadose.reports.evaluated import Evaluation, label, rows_of
from vadose.reports.plots import colours_of
from vadose.reports.scatter import colour_bar

GOOD, BAD, GREY = "#0072B2", "#D55E00", "0.82"
SHORT = "no interval: the record is shorter than 120 days, or there are too few pairs"
_NO_RIVAL = "no run to compare with: give `vadose evaluate` the stores of persistence and climatology too"
_MOST_CLASSES = 14


def scorecard(e: Evaluation) -> Figure:
    """Difference from the rival by class and lead: a cell per lead, a panel per score; grey where it spans zero."""
    table = e.compared.table
    if table.empty:
        raise Absent(_NO_RIVAL)
    names = [name for name in dict.fromkeys(table.metric) if _sign(name) and metric_of(name).drawn]
    leads = list(e.rivals)
    names = [name for name in names if set(leads) == set(table[table.metric == name].lead_days)]
    keys = table.groupby(["kind", "class"], sort=False).n_sites.max()
    kept = [("all", "all"), *keys.drop(("all", "all")).nlargest(_MOST_CLASSES).index]
    kept = [key for key in keys.index if key in kept]
    figure = Figure(figsize=(1.7 + 0.62 * len(leads) * len(names), 0.27 * len(kept) + 1.2), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, metric in zip(axes, names, strict=True):
        rows = table[table.metric == metric].set_index(["kind", "class", "lead_days"])
        for (y, key), (x, lead) in ((a, b) for a in enumerate(kept) for b in enumerate(leads)):
            if (*key, lead) in rows.index:
                _cell(axis, x, y, rows.loc[(*key, lead)], metric)
        axis.set(xlim=(-0.5, len(leads) - 0.5), ylim=(len(kept) - 0.5, -0.5))
        axis.set_xticks(range(len(leads)), [f"{lead}" for lead in leads])
        axis.set_xlabel("lead time [d]", fontsize=8)
        axis.set_title(f"{metric_of(metric).title}{'' if _sign(metric) > 0 else ', less is better'}", fontsize=8)
        axis.tick_params(labelsize=8, length=0)
    words = [f"{'all' if k == 'all' else name} ({keys[k, name]})" for k, name in kept]
    axes[0].set_yticks(range(len(kept)), words)
    return figure


def _cell(axis: Axes, x: int, y: int, row: Any, metric: str) -> None:
    known, sign = np.isfinite(row.lower), _sign(metric)
    told = known and (row.lower > 0 or row.upper < 0)
    better = sign * row["median"] > 0
    colour = (GOOD if better else BAD) if told else GREY if known else "white"
    axis.fill_between([x - 0.47, x + 0.47], y - 0.45, y + 0.45, color=colour, linewidth=0)
    digits = 2 if metric == "pearson_r" else 3
    mark = ("▲" if better else "▼") if told else ""
    text = f"{mark}{round(row['median'], digits) + 0.0:+.{digits}f}" if np.isfinite(row["median"]) else "–"
    axis.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if told else "0.15")


def _sign(metric: str) -> int:
    """1 where more is better, -1 where less is; 0 where neither."""
    better = metric_of(metric).better
    if better is None:
        return 0
    steps = np.sign(np.diff(better(np.array([-1.0, 0.0, 1.0]))))
    return int(steps[0]) if steps[0] == steps[1] else 0


def difference_maps(e: Evaluation) -> Figure:
    """Difference in R from the rival at each site, coloured where its interval excludes zero, a panel per lead."""
    if not e.rivals:
        raise Absent(_NO_RIVAL)
    sites = e.compared.sites.sel(metric="pearson_r")
    if not sites.lower.notnull().any():
        raise Absent(SHORT)
    leads = [lead for lead in e.some_leads() if lead in e.rivals]
    if not leads:
        raise Absent(_NO_RIVAL)
    figure, axes = _panels(e, len(leads))
    size = float(np.clip(2600 / max(sites.sizes["site"], 1), 2, 42))
    norm = Normalize(-0.6, 0.6)
    drawn: Any = None
    lon, lat = e.scores.lon.values, e.scores.lat.values
    for axis, lead in zip(axes, leads, strict=True):
        value, lower, upper = (sites[name].sel(lead_days=lead).values for name in ("value", "lower", "upper"))
        known = np.isfinite(lower)
        axis.scatter(
            lon[known], lat[known], c=GREY, s=size, marker="o" if e.sites_are == "stations" else "s", linewidths=0
        )
        for marker, these in (("^", lower > 0), ("v", upper < 0)):
            drawn = axis.scatter(
                lon[these],
                lat[these],
                c=value[these],
                s=2 * size,
                marker=marker,
                cmap="PuOr_r",
                norm=norm,
                edgecolors="black",
                linewidths=0.3,
            )
        told = int((lower > 0).sum()), int((upper < 0).sum())
        of = label(e.rivals[lead], weather=False)
        axis.set_title(f"{lead} d, against\n{of}\n▲ {told[0]} better, ▼ {told[1]} worse of {known.sum()}", fontsize=7)
        _around(axis, e)
    colour_bar(figure, drawn, axes, "difference in R", extend="both")
    return figure


def day_maps(e: Evaluation) -> Figure:
    """Forecast and observed soil moisture of the day with most observations, and their difference."""
    lead = e.some_leads()[len(e.some_leads()) // 2] if e.known_leads else e.leads[0]
    observed, predicted = e.observed(lead), e.predicted(lead)
    if not np.isfinite(observed).any():
        raise Absent(f"no sample of {label(e.run)} counts at {lead} d")
    day = int(np.isfinite(observed).sum(axis=1).argmax())
    there = np.isfinite(observed[day])
    forecast, truth = np.where(there, predicted[day], np.nan), observed[day]
    both = np.concatenate([forecast[there], truth[there]])
    norm = Normalize(*np.percentile(both, [1, 99]))
    figure, axes = _panels(e, 3)
    for axis, values, title in zip(axes, (forecast, truth), (f"forecast {lead} d before", "observed"), strict=False):
        drawn = draw_sites(axis, e, values, cmap="viridis_r", norm=norm)
        axis.set_title(title, fontsize=9)
    colour_bar(figure, drawn, axes[:2], "soil moisture [m³ m⁻³]", extend="both", location="bottom")
    most = max(float(np.percentile(np.abs((forecast - truth)[there]), 98)), 1e-3)
    wrong = draw_sites(axes[2], e, forecast - truth, cmap="BrBG", norm=Normalize(-most, most))
    axes[2].set_title("forecast − observed", fontsize=9)
    colour_bar(figure, wrong, axes[2], "[m³ m⁻³], brown: too dry", extend="both", location="bottom")
    figure.suptitle(f"{pd.Timestamp(e.pairs.time.values[day]):%Y-%m-%d}, {there.sum()} {e.sites_are}", fontsize=9)
    return figure


def strata_dots(e: Evaluation) -> Figure:
    """Median R with its interval and quartiles over sites, by class, at the shortest and the longest lead."""
    leads = e.some_leads(2)
    every = pd.concat([e.table.assign(kind="all", **{"class": "all"}), e.strata[e.strata["kind"] != "texture_class"]])
    every = every[every.metric == "pearson_r"]
    if not leads or not len(e.strata):
        raise Absent(
            "no class of the sites is known: `vadose evaluate --strata KIND=FILE` or `--fields CUBE` gives them"
        )
    every = every.set_index(["kind", "class"])
    keys = rows_of(every, e.run).index.unique()[: _MOST_CLASSES + 1]
    figure = Figure(figsize=(5.8, 0.34 * len(keys) + 1.1), layout="constrained")
    colours = colours_of(run.split("|")[0] for run in e.runs)
    for axis, lead in zip(figure.subplots(1, len(leads), sharey=True, squeeze=False)[0], leads, strict=True):
        for run, shift, marker in zip([e.run, e.rivals.get(lead, "")], (-0.15, 0.15), "os", strict=True):
            if not run:
                continue
            rows = rows_of(every[every.lead_days == lead], run).reindex(keys)
            y, middle, colour = np.arange(len(keys)) + shift, rows["median"], colours[run.split("|")[0]]
            ends = np.abs([middle - rows.lower, rows.upper - middle])
            axis.hlines(y, rows.q25, rows.q75, color=colour, alpha=0.35, linewidth=6)
            name = label(run, weather=False)
            axis.errorbar(middle, y, xerr=ends, fmt=marker, color=colour, markersize=4, elinewidth=1, label=name)
        axis.set_title(f"{lead} d", fontsize=9)
        axis.set_xlabel("R", fontsize=8)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=8)
        axis.legend(fontsize=7, loc="lower left", frameon=False)
    n = rows_of(every, e.run).groupby(["kind", "class"]).n_sites.max()
    axis.set_yticks(range(len(keys)), [f"{name} ({n[kind, name]})" for kind, name in keys])
    axis.set_ylim(len(keys) + 0.6, -0.6)
    return figure


def coverage(e: Evaluation) -> Figure:
    """Pairs at each site at the longest lead, and sites scored on each day."""
    lead = e.known_leads[-1] if e.known_leads else e.leads[-1]
    pairs = e.scores.pairs.sel(lead_days=lead).values.astype(float)
    enough = pairs >= int(e.attrs["min_pairs"])
    figure = Figure(figsize=(6.3, 3.0), layout="constrained")
    place, by_day = figure.subplots(1, 2)
    place.scatter(e.scores.lon.values[~enough], e.scores.lat.values[~enough], c="0.4", s=14, marker="x", linewidths=0.8)
    drawn = draw_sites(
        place, e, np.where(enough, pairs, np.nan), cmap="cividis", norm=Normalize(0, max(pairs.max(), 1))
    )
    colour_bar(figure, drawn, place, f"pairs at {lead} d", location="bottom")
    place.set_title(f"{enough.sum()} of {len(pairs)} {e.sites_are} scored, × too few pairs", fontsize=8)
    for k in e.some_leads() or [lead]:
        by_day.plot(e.pairs.time.values, np.isfinite(e.observed(k)).sum(axis=1), linewidth=0.9, label=f"{k} d")
    by_day.set_title(f"{e.sites_are} scored on each day", fontsize=8)
    by_day.set_ylim(0, None)
    by_day.tick_params(labelsize=7)
    by_day.tick_params(axis="x", rotation=30)
    by_day.legend(fontsize=7, frameon=False)
    by_day.grid(alpha=0.3)
    return figure


def draw_sites(axis: Axes, e: Evaluation, values: NDArray[Any], **how: Any) -> Any:
    """Values (site,) on a map: cells that make a grid as such, others as dots; what has the colours."""
    lat, lon = e.scores.lat.values, e.scores.lon.values
    rows, columns = (np.unique(of.round(4), return_inverse=True) for of in (lat, lon))
    if (
        e.sites_are == "cells"
        and min(map(len, (rows[0], columns[0]))) > 1
        and len(rows[0]) * len(columns[0]) <= 4 * len(lat)
    ):
        grid = np.full((len(rows[0]), len(columns[0])), np.nan)
        grid[rows[1], columns[1]] = values
        drawn: Any = axis.pcolormesh(columns[0], rows[0], grid, shading="nearest", rasterized=True, **how)
    else:
        known = np.isfinite(values)
        drawn = axis.scatter(lon[known], lat[known], c=values[known], s=22, edgecolors="0.3", linewidths=0.3, **how)
    _around(axis, e)
    return drawn


def _panels(e: Evaluation, number: int) -> tuple[Figure, Sequence[Axes]]:
    """Maps side by side, as high as the sites ask for."""
    lat, lon = e.scores.lat.values, e.scores.lon.values
    wide = (np.ptp(lon) + 0.5) * np.cos(np.radians(lat.mean()))
    height = float(np.clip(1.7 * (np.ptp(lat) + 0.5) / wide, 1.2, 3.2))
    figure = Figure(figsize=(1.8 * number + 0.9, height + 1.0), layout="constrained")
    return figure, figure.subplots(1, number, sharex=True, sharey=True, squeeze=False)[0]


def _around(axis: Axes, e: Evaluation) -> None:
    lat, lon = e.scores.lat.values, e.scores.lon.values
    draw_borders(axis, lon, lat, (), margin=0.03 * max(np.ptp(lat), np.ptp(lon)) + 0.1, over=True)
    axis.set_aspect(1 / np.cos(np.radians(lat.mean())))
    axis.tick_params(labelsize=7)
    axis.locator_params(nbins=4)
