"""Evaluations to one HTML page that is read without the code."""

import base64
import io
from collections.abc import Sequence
from datetime import date
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jinja2 import Environment, PackageLoader
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from vadose.artefact import writing
from vadose.errors import VadoseError

BASELINES = {"persistence": ":", "damped_persistence": "-.", "climatology": "--"}
# Okabe and Ito's colours, told apart by colour-blind readers.
COLOURS = {"trees": "#E69F00", "lstm": "#56B4E9", "convlstm": "#CC79A7", "blend": "#009E73"}
WEATHER = {"none": "without weather", "perfect": "perfect weather"}
NAMES = {"pearson_r": "R", "rmse": "RMSE [m³ m⁻³]", "ubrmse": "ubRMSE [m³ m⁻³]", "bias": "bias [m³ m⁻³]"}


def build_report(evaluations: Sequence[Path], out: Path, *, title: str) -> Path:
    """Write one self-contained page of tables, maps and figures.

    Parameters
    ----------
    evaluations
        Folders that `vadose.evaluate.evaluate` wrote, in the order they are to be read.
    out
        HTML file to write.

    Raises
    ------
    VadoseError
        When a folder is no evaluation.
    """
    parts = [_Evaluation(folder) for folder in evaluations]
    first = parts[0].scores.attrs
    environment = Environment(loader=PackageLoader("vadose", "."), autoescape=False)
    page = environment.get_template("report.html").render(
        title=escape(title),
        created=date.today().isoformat(),
        version=version("vadose"),
        commit=first.get("commit", ""),
        simulated=any(part.scores.attrs["simulated"] == "true" for part in parts),
        replicates=first["replicates"],
        block_days=" / ".join(dict.fromkeys(str(part.scores.attrs["block_days"]) for part in parts)),
        evaluations=[_section(part) for part in parts],
    )
    with writing(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


class _Evaluation:
    """What one folder holds."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "scores.csv").exists():
            raise VadoseError(f"{folder}: no evaluation there (no scores.csv); make one with: vadose evaluate")
        self.name = folder.name
        self.table = pd.read_csv(folder / "scores.csv", keep_default_na=False, na_values=[""])
        self.gains = pd.read_csv(folder / "comparisons.csv", keep_default_na=False, na_values=[""])
        self.scores = xr.open_zarr(folder / "scores.zarr", consolidated=False).load()
        self.pairs = xr.open_zarr(folder / "pairs.zarr", consolidated=False).load()
        self.leads = [int(lead) for lead in self.scores.lead_days.values]
        self.runs = [
            (str(m), str(w)) for m, w in zip(self.scores.model.values, self.scores.weather.values, strict=True)
        ]
        self.best = self._best()

    def _best(self) -> str:
        """The run of the highest median R at most leads."""
        r = self.scores.value.sel(metric="pearson_r").median("site", skipna=True).values
        wins = np.bincount(np.nanargmax(r, axis=0), minlength=len(r))
        return str(self.scores.run.values[int(wins.argmax())])

    def label(self, run: str) -> str:
        model, weather, _ = run.split("|")
        return f"{_pretty(model)}, {WEATHER[weather]}"


def _section(e: _Evaluation) -> dict[str, Any]:
    attrs = e.scores.attrs
    stations = attrs["observed"] == "stations"
    counted = e.table[e.table.metric == "pearson_r"].groupby("lead_days")[["n_sites", "n_pairs"]].first()
    pairs = ", ".join(f"{n:,} at {lead} d" for lead, n in counted.n_pairs.items()).replace(",", " ", 0)
    shown = [e.leads[0], e.leads[-1]]
    return {
        "heading": f"{'Stations' if stations else 'Grid cells'}: {e.name.split('-')[0]}",
        "dataset": escape(attrs["dataset"]),
        "layer": attrs["layer"],
        "first_day": attrs["first_day"],
        "last_day": attrs["last_day"],
        "n_sites": _range(counted.n_sites),
        "sites_are": "stations" if stations else "cells",
        "n_pairs": f"{pairs} pairs",
        "min_pairs": attrs["min_pairs"],
        "stations_outside": attrs["stations_outside"],
        "causal": attrs["causal"] == "true",
        "best": e.label(e.best),
        "leads_shown": " and ".join(map(str, shown)),
        "headline": _score_table(e, ["pearson_r"]),
        "errors": _score_table(e, ["ubrmse", "rmse", "bias", "skill_persistence", "skill_climatology"]),
        "gains": _gain_table(e),
        "by_lead": _png(plot_by_lead(e.table)),
        "maps": _png(plot_maps(e.scores, e.best)),
        "boxes": _png(plot_boxes(e.scores)),
        "density": _png(plot_density(e.pairs, e.best)),
        "series": _png(plot_series(e.pairs, e.scores, e.best, shown)),
    }


def _score_table(e: _Evaluation, metrics: list[str]) -> str:
    """Rows of models in blocks by weather, columns of leads; the best of a block is marked."""
    head = "".join(f"<th>{lead} d</th>" for lead in e.leads)
    many = len(metrics) > 1
    lines = [f"<table><thead><tr><th>Model</th>{'<th class=text>Score</th>' if many else ''}{head}</tr></thead><tbody>"]
    for weather in dict.fromkeys(w for _, w in e.runs):
        lines.append(f'<tr class="group"><th colspan="{len(e.leads) + 1 + many}">{WEATHER[weather]}</th></tr>')
        block = e.table[e.table.weather == weather]
        for metric in metrics:
            rows = block[block.metric == metric]
            if rows.empty:
                continue
            wide = rows.pivot_table(index="model", columns="lead_days", values="median", sort=False)
            size = wide.abs() if metric == "bias" else wide
            best = size.idxmin() if metric in ("rmse", "ubrmse", "bias") else size.idxmax()
            for model in wide.index:
                if metric == f"skill_{model}":
                    continue  # against itself
                cells = []
                for lead in e.leads:
                    row = rows[(rows.model == model) & (rows.lead_days == lead)].iloc[0]
                    mark = ' class="best"' if best.get(lead) == model else ""
                    cells.append(f"<td{mark}>{_with_interval(row)}</td>")
                score = f'<td class="text">{_metric_name(metric)}</td>' if many else ""
                lines.append(f"<tr><td>{_pretty(model)}</td>{score}{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _gain_table(e: _Evaluation) -> str:
    rows = e.gains[(e.gains.metric == "pearson_r") & ~e.gains.model.isin(BASELINES)]
    head = "".join(f"<th>{lead} d</th>" for lead in e.leads)
    lines = [f'<table><thead><tr><th>Model</th><th class="text">against</th>{head}</tr></thead><tbody>']
    keys = ["model", "weather", "baseline", "baseline_weather"]
    for key, group in rows.groupby(keys, sort=False):
        model, weather, baseline, of_weather = map(str, key)
        if baseline == "climatology" or (baseline == "trees" and weather != of_weather):
            continue
        cells = "".join(
            f"<td>{_with_interval(row)} <small>{100 * row.share_better:.0f} %</small></td>"
            for _, row in group.sort_values("lead_days").iterrows()
        )
        lines.append(
            f'<tr><td>{_pretty(model)}, {WEATHER[weather]}</td><td class="text">{_pretty(baseline)}</td>{cells}</tr>'
        )
    return "\n".join([*lines, "</tbody></table>"])


def plot_by_lead(table: pd.DataFrame) -> Figure:
    """R and ubRMSE by lead time with intervals, one column of panels for each weather."""
    weathers = list(dict.fromkeys(table.weather))
    figure = Figure(figsize=(5.4 * len(weathers) + 1.2, 6.4), layout="constrained")
    axes = figure.subplots(2, len(weathers), squeeze=False, sharex=True, sharey="row")
    leads = sorted(table.lead_days.unique())
    for row, metric in enumerate(("pearson_r", "ubrmse")):
        for column, weather in enumerate(weathers):
            axis = axes[row, column]
            part = table[(table.metric == metric) & ((table.weather == weather) | table.model.isin(BASELINES))]
            for number, (model, of_model) in enumerate(part.groupby("model", sort=False)):
                of_model = of_model.sort_values("lead_days")
                x = np.array([leads.index(lead) for lead in of_model.lead_days]) + 0.03 * (number - 3)
                middle = of_model["median"].to_numpy()
                spread = np.abs(np.stack([middle - of_model.lower, of_model.upper - middle]))
                name = str(model)
                style = {"color": COLOURS.get(name, "0.45"), "linestyle": BASELINES.get(name, "-")}
                axis.errorbar(x, middle, spread, label=_pretty(name), capsize=2, linewidth=1.6, elinewidth=0.9, **style)
            axis.set_xticks(range(len(leads)), [str(lead) for lead in leads])
            axis.grid(alpha=0.3)
            if row == 0:
                axis.set_title(WEATHER[weather])
                axis.legend(fontsize=8, ncols=2)
            else:
                axis.set_xlabel("lead time [d]")
            if column == 0:
                axis.set_ylabel(f"median {NAMES[metric]}")
    return figure


def plot_maps(scores: xr.Dataset, run: str) -> Figure:
    """Maps of R, ubRMSE, bias and the gain in R over persistence, a row for each of three leads."""
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
    """R at the sites, a box for each run, a panel for each lead."""
    leads = scores.lead_days.values
    figure = Figure(figsize=(12, 0.32 * scores.sizes["run"] + 1.1), layout="constrained")
    axes = figure.subplots(1, len(leads), sharey=True, squeeze=False)[0]
    runs = zip(scores.model.values, scores.weather.values, strict=True)
    names = [f"{_pretty(str(model))}{' + weather' if weather == 'perfect' else ''}" for model, weather in runs]
    for axis, lead in zip(axes, leads, strict=True):
        values = scores.value.sel(lead_days=lead, metric="pearson_r").values
        boxes = axis.boxplot(
            [v[np.isfinite(v)] for v in values], orientation="horizontal", whis=(5, 95), showfliers=False,
            patch_artist=True, widths=0.65, medianprops={"color": "black"},
        )  # fmt: skip
        for box, model in zip(boxes["boxes"], scores.model.values, strict=True):
            box.set_facecolor(COLOURS.get(str(model), "0.8"))
        axis.set_yticks(range(1, len(names) + 1), names, fontsize=8)
        axis.set_title(f"{lead} d", fontsize=9)
        axis.set_xlabel("R", fontsize=8)
        axis.set_xlim(-0.5, 1.0)
        axis.grid(axis="x", alpha=0.3)
    axes[0].invert_yaxis()
    return figure


def plot_density(pairs: xr.Dataset, run: str) -> Figure:
    """Predicted against observed at each lead, pairs of all sites counted in bins."""
    leads = pairs.lead_days.values
    figure = Figure(figsize=(12, 2.9), layout="constrained")
    axes = figure.subplots(1, len(leads), sharey=True, squeeze=False)[0]
    top = float(np.nanpercentile(pairs.observed.values, 99.9)) * 1.1
    for axis, lead in zip(axes, leads, strict=True):
        p = pairs.predicted.sel(run=run, lead_days=lead).values
        o = pairs.observed.values
        known = np.isfinite(p) & np.isfinite(o)
        p, o = p[known], o[known]
        edges = np.linspace(0, top, 70)
        counts, _, _ = np.histogram2d(o, p, bins=[edges, edges])
        drawn = axis.pcolormesh(
            edges, edges, np.where(counts.T > 0, counts.T, np.nan), norm=LogNorm(1, max(counts.max(), 2))
        )
        axis.plot([0, top], [0, top], color="black", linewidth=0.8)
        text = f"R {np.corrcoef(o, p)[0, 1]:.2f}\nRMSE {np.sqrt(np.mean((p - o) ** 2)):.3f}\nn {len(p):,}"
        axis.text(0.04, 0.96, text, transform=axis.transAxes, va="top", fontsize=7)
        axis.set_title(f"{lead} d", fontsize=9)
        axis.set_xlabel("observed [m³ m⁻³]", fontsize=8)
        axis.set_aspect("equal")
    axes[0].set_ylabel("predicted [m³ m⁻³]", fontsize=8)
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="pairs")
    return figure


def plot_series(pairs: xr.Dataset, scores: xr.Dataset, run: str, leads: Sequence[int]) -> Figure:
    """Observed and forecast series at the sites of the best, median and worst R at the longest lead."""
    r = scores.value.sel(run=run, lead_days=leads[-1], metric="pearson_r").values
    order = np.argsort(np.where(np.isfinite(r), r, -np.inf))
    order = order[np.isfinite(r[order])]
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
        place = f"{at.site.item()} ({float(at.lat):.2f}° N, {float(at.lon):.2f}° E), R at {leads[-1]} d: {r[site]:.2f}"
        axis.set_title(place, fontsize=9, loc="left")
        axis.set_ylabel("soil moisture\n[m³ m⁻³]", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8, ncols=3, loc="upper right")
    return figure


def _with_interval(row: Any) -> str:
    if not np.isfinite(row["median"]):
        return "–"
    digits = 2 if str(row["metric"]).startswith("skill") or row["metric"] == "pearson_r" else 3
    digits += row["metric"] in ("pearson_r", "ubrmse", "rmse", "bias")
    lower, upper = f"{row['lower']:.{digits}f}", f"{row['upper']:.{digits}f}"
    return f"{row['median']:.{digits}f} <small>[{lower}, {upper}]</small>"


def _metric_name(metric: str) -> str:
    if metric.startswith("skill_"):
        return f"skill against {metric.removeprefix('skill_')}"
    return NAMES[metric].split(" [")[0]


def _pretty(model: str) -> str:
    return {"lstm": "LSTM", "convlstm": "ConvLSTM"}.get(model, model.replace("_", " "))


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(high) if low == high else f"{low} to {high}"


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
