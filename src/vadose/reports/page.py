"""Evaluations to one self-contained HTML page."""

import base64
import io
import json
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
from matplotlib.figure import Figure

from vadose.artefact import identity, provenance, writing
from vadose.errors import VadoseError
from vadose.evaluation.intervals import FEWEST_DAYS, FEWEST_PAIRS
from vadose.evaluation.left_out import told
from vadose.evaluation.metrics import METRICS
from vadose.evaluation.metrics import metric as metric_of
from vadose.reports.figures import density
from vadose.reports.plots import (
    BASELINES,
    plot_boxes,
    plot_by_lead,
    plot_maps,
    plot_series,
    pretty,
    weather_name,
)

KINDS = {
    "network": "network",
    "land_cover": "land cover",
    "texture": "soil texture",
    "koeppen": "Köppen climate",
    "split": "training cells",
}


def build_report(evaluations: Sequence[Path], out: Path, *, title: str) -> Path:
    """Write one self-contained page of tables, maps and figures. A page of the same evaluations is kept.

    Parameters
    ----------
    evaluations
        Folders that `vadose.evaluation.evaluate` wrote, in the order of the page.
    out
        HTML file to write.

    Raises
    ------
    VadoseError
        If a folder is not an evaluation.
    """
    parts = [_Evaluation(folder) for folder in evaluations]
    first = parts[0].scores.attrs
    made_of = json.dumps({"title": title, "evaluations": identity(*evaluations)}, ensure_ascii=True)
    noted = f'<meta name="inputs" content="{escape(made_of)}">'
    if out.is_file() and noted in out.read_text(encoding="utf-8"):
        return out
    environment = Environment(loader=PackageLoader("vadose.reports", "."), autoescape=False)
    page = environment.get_template("page.html").render(
        title=escape(title),
        noted=noted,
        created=date.today().isoformat(),
        version=version("vadose"),
        commit=first.get("commit", ""),
        simulated=any(part.scores.attrs["simulated"] == "true" for part in parts),
        fewest_days=FEWEST_DAYS,
        fewest_pairs=FEWEST_PAIRS,
        overview=_overview(parts) if len(parts) > 1 else "",
        evaluations=[_section(part, number) for number, part in enumerate(parts, 1)],
    )
    with writing(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


def build_tables_report(folder: Path, out: Path, *, title: str, simulated: bool) -> Path:
    """Write one self-contained page of the tables and figures listed in ``index.csv``.

    Parameters
    ----------
    folder
        Folder with ``index.csv`` (file, shows, absent_because) and the CSV and PNG files it names.
    out
        HTML file to write.
    simulated
        Whether the data are simulated.

    Raises
    ------
    VadoseError
        If there is no index.
    """
    if not (folder / "index.csv").exists():
        raise VadoseError(f"{folder}: no index.csv; make the tables again")
    index = pd.read_csv(folder / "index.csv", keep_default_na=False)
    made_of = provenance()
    parts, absent = [], []
    for row in index.itertuples():
        file = folder / str(row.file)
        if row.absent_because:
            absent.append(escape(", ".join(map(str, (row.file, row.shows))) + f": {row.absent_because!s}"))
            continue
        png = file.suffix == ".png"
        parts.append(
            {
                "anchor": file.stem,
                "heading": escape(file.stem.replace("_", " ").capitalize()),
                "shows": escape(str(row.shows)),
                "table": "" if png else _plain_table(file),
                "figure": "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode() if png else "",
            }
        )
    environment = Environment(loader=PackageLoader("vadose.reports", "."), autoescape=False)
    page = environment.get_template("tables.html").render(
        title=escape(title),
        created=date.today().isoformat(),
        version=version("vadose"),
        commit=made_of["commit"],
        simulated=simulated,
        parts=parts,
        absent=absent,
        fewest_days=FEWEST_DAYS,
        fewest_pairs=FEWEST_PAIRS,
    )
    with writing(out) as scratch:
        scratch.write_text(page, encoding="utf-8")
    return out


def _plain_table(file: Path) -> str:
    """Table as HTML, each score and its interval in one cell."""
    table = pd.read_csv(file).dropna(axis="columns", how="all")
    for name in [str(column) for column in table if {f"{column}_lower", f"{column}_upper"} <= set(table)]:
        ends = [f"{name}_lower", f"{name}_upper"]
        rows = table[[name, *ends]].itertuples(index=False)
        table[name] = [
            "" if np.isnan(v) else f"{v:.3g} –" if np.isnan(low) else f"{v:.3g} [{low:.3g}, {high:.3g}]"
            for v, low, high in rows
        ]
        table = table.drop(columns=ends)
    return str(table.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:.4g}"))


class _Evaluation:
    """Contents of one evaluation folder."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "scores.csv").exists():
            raise VadoseError(f"{folder}: not an evaluation (no scores.csv); make one with: vadose evaluate")
        self.table = _read(folder / "scores.csv")
        self.gains = _read(folder / "comparisons.csv")
        self.strata = _read(folder / "strata.csv")
        products = folder / "products.csv"
        self.left_out = told(folder / "left_out.csv") if (folder / "left_out.csv").exists() else []
        self.products = _read(products) if products.exists() else None
        self.scores = xr.open_zarr(folder / "scores.zarr", consolidated=False).load()
        # With several layers each has a subfolder.
        of_layer = str(self.scores.attrs["layer"]).replace(" ", "") == folder.name
        self.name = folder.parent.name if of_layer else folder.name
        self.pairs = xr.open_zarr(folder / "pairs.zarr", consolidated=False).load()
        self.leads = [int(lead) for lead in self.scores.lead_days.values]
        self.weathers = list(dict.fromkeys(map(str, self.scores.weather.values)))
        runs, remarks = self.scores.run.values, self.scores.coords.get("remarks", self.scores.run[:0]).values
        self.remarks = dict(zip(map(str, runs), map(str, remarks), strict=False))
        self.best = self._best()

    def _best(self) -> str:
        """Run with the highest median R at most lead times."""
        r = self.scores.value.sel(metric="pearson_r").median("site", skipna=True).values
        wins = np.bincount(np.where(np.isfinite(r), r, -np.inf).argmax(axis=0), minlength=len(r))
        return str(self.scores.run.values[int(wins.argmax())])

    def label(self, run: str) -> str:
        model, weather, scenario = run.split("|")
        return f"{_name(model, scenario)}, {_weather(weather)}"

    @property
    def heading(self) -> str:
        of = "Stations" if self.scores.attrs["observed"] == "stations" else "Grid cells"
        return escape(f"{of}: {self.name.split('-')[0]}, {self.scores.attrs['layer']}")


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def _overview(parts: Sequence[_Evaluation]) -> str:
    """One row per evaluation: R of its best run and of persistence at the shortest and longest lead time."""
    leads = "".join(f"<th>{_metric_name('pearson_r')}, {end} lead</th>" for end in ("shortest", "longest"))
    lines = [f'<table><thead><tr><th>Evaluation</th><th class="text">Run</th>{leads}</tr></thead><tbody>']
    for number, e in enumerate(parts, 1):
        shown = [e.best, *(run for run in e.scores.run.values if str(run).startswith("persistence|"))][:2]
        for run in dict.fromkeys(map(str, shown)):
            model, weather, scenario = run.split("|")
            rows = e.table[
                (e.table.model == model)
                & (e.table.weather == weather)
                & (e.table.scenario == scenario)
                & (e.table.metric == "pearson_r")
            ].set_index("lead_days")
            cells = "".join(
                f"<td>{lead} d: {_with_interval(rows.loc[lead], 'pearson_r')}</td>"
                for lead in (e.leads[0], e.leads[-1])
            )
            link = f'<a href="#e{number}">{e.heading}</a>' if run == e.best else ""
            lines.append(f'<tr><td>{link}</td><td class="text">{e.label(run)}</td>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _section(e: _Evaluation, number: int) -> dict[str, Any]:
    attrs = e.scores.attrs
    stations = attrs["observed"] == "stations"
    counted = e.table[e.table.metric == "pearson_r"].groupby("lead_days")[["n_sites", "n_pairs"]].first()
    pairs = ", ".join(f"{n:,} at {lead} d" for lead, n in counted.n_pairs.items()).replace(",", " ", 0)
    shown = [e.leads[0], e.leads[-1]]
    errors = sorted((name for name in METRICS if name != "pearson_r"), key=lambda name: not metric_of(name).drawn)
    return {
        "anchor": f"e{number}",
        "heading": e.heading,
        "dataset": escape(attrs["dataset"]),
        "layer": attrs["layer"],
        "first_day": attrs["first_day"],
        "last_day": attrs["last_day"],
        "n_sites": _range(counted.n_sites),
        "sites_are": "stations" if stations else "cells",
        "n_pairs": f"{pairs} pairs",
        "min_pairs": attrs["min_pairs"],
        "left_out": [escape(line) for line in e.left_out],
        "causal": attrs["causal"] == "true",
        "remarks": [f"{e.label(run)}: {escape(text)}" for run, text in e.remarks.items() if text],
        "best": e.label(e.best),
        "leads_shown": " and ".join(map(str, shown)),
        "headline": _score_table(e, ["pearson_r"]),
        "errors": _score_table(e, [*errors, "skill_persistence", "skill_climatology"]),
        "uncertainty": _score_table(e, ["crps", "coverage_50", "coverage_90"]) if "crps" in set(e.table.metric) else "",
        "strata": _strata_table(e),
        "products": _product_table(e),
        "gains": _gain_table(e),
        "by_lead": _png(plot_by_lead(e.table)),
        "maps": _png(plot_maps(e.scores, e.best)),
        "boxes": _png(plot_boxes(e.scores)),
        "density": _png(density({attrs["layer"]: e.pairs.sel(run=e.best)})),
        "series": _png(plot_series(e.pairs, e.scores, e.best, shown)),
    }


def _score_table(e: _Evaluation, metrics: list[str]) -> str:
    """One row per run in blocks by weather, one column per lead time; the best of a block is marked."""
    head = "".join(f"<th>{lead} d</th>" for lead in e.leads)
    many = len(metrics) > 1
    lines = [f"<table><thead><tr><th>Model</th>{'<th class=text>Score</th>' if many else ''}{head}</tr></thead><tbody>"]
    for weather in e.weathers:
        lines.append(f'<tr class="group"><th colspan="{len(e.leads) + 1 + many}">{_weather(weather)}</th></tr>')
        block = e.table[e.table.weather == weather]
        for metric in metrics:
            rows = block[(block.metric == metric) & (metric != "skill_" + block.model)]  # not against itself
            if metric.startswith("coverage_"):  # single values have none
                rows = rows[rows["median"].notna()]
            best = _best_by_lead(rows, metric)
            for (model, scenario), of_run in rows.groupby(["model", "scenario"], sort=False):
                by_lead = of_run.set_index("lead_days")
                cells = []
                for lead in e.leads:
                    mark = ' class="best"' if best.get(lead) == (model, scenario) else ""
                    known = lead in by_lead.index
                    cells.append(f"<td{mark}>{_with_interval(by_lead.loc[lead], metric) if known else '–'}</td>")
                score = f'<td class="text">{_metric_name(metric)}</td>' if many else ""
                lines.append(f"<tr><td>{_name(model, scenario)}</td>{score}{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def _best_by_lead(rows: pd.DataFrame, metric: str) -> dict[int, tuple[str, str]]:
    """Model and scenario with the best median at each lead time; for coverage, the closest to nominal."""
    size = rows["median"]
    if metric.startswith("coverage_"):
        size = (size - int(metric.removeprefix("coverage_")) / 100).abs()
    else:
        better = metric_of(metric).better
        size = -size if better is None else pd.Series(-better(size.to_numpy()), size.index)
    at = size.dropna().groupby(rows.lead_days).idxmin()
    return {int(rows.lead_days[i]): (rows.model[i], rows.scenario[i]) for i in at}


def _strata_table(e: _Evaluation) -> str:
    """Best run by class of the sites: R at every lead time, ubRMSE at the shortest and longest."""
    model, weather, scenario = e.best.split("|")
    table = e.strata
    table = table[(table.model == model) & (table.weather == weather) & (table.scenario == scenario)]
    shown = [("pearson_r", lead) for lead in e.leads] + [("ubrmse", lead) for lead in (e.leads[0], e.leads[-1])]
    head = "".join(f"<th>{_metric_name(metric)}, {lead} d</th>" for metric, lead in shown)
    lines = [f"<table><thead><tr><th>Class</th><th>Sites</th>{head}</tr></thead><tbody>"]
    kinds = [kind for kind in dict.fromkeys(table["kind"]) if kind != "texture_class"]
    for kind in kinds:
        lines.append(f'<tr class="group"><th colspan="{len(shown) + 2}">{escape(KINDS.get(kind, kind))}</th></tr>')
        for name, rows in table[table["kind"] == kind].groupby("class", sort=False):
            found = rows.set_index(["metric", "lead_days"])
            cells = "".join(f"<td>{_with_interval(found.loc[key], key[0])}</td>" for key in shown)
            lines.append(f"<tr><td>{escape(str(name))}</td><td>{_range(rows.n_sites)}</td>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"]) if kinds else ""


def _product_table(e: _Evaluation) -> str:
    """Products and runs at the shortest lead time on common samples; '' without products."""
    if e.products is None:
        return ""
    metrics = ("pearson_r", "rmse", "bias", "ubrmse")
    head = "".join(f"<th>{_metric_name(metric)}</th>" for metric in metrics)
    lines = [f'<table><thead><tr><th>Model</th><th class="text">Weather</th>{head}</tr></thead><tbody>']
    rows = e.products[e.products["kind"] == "all"]
    for (model, weather, scenario), of_run in rows.groupby(["model", "weather", "scenario"], sort=False):
        found = of_run.set_index("metric")
        cells = "".join(f"<td>{_with_interval(found.loc[metric], metric)}</td>" for metric in metrics)
        name = _name(model, scenario)
        lines.append(f'<tr><td>{name}</td><td class="text">{_weather(weather)}</td>{cells}</tr>')
    sites, pairs = rows.n_sites.max(), rows.n_pairs.max()
    return "\n".join([*lines, f"</tbody></table><p class=soft>{sites} sites, {pairs} pairs.</p>"])


def _gain_table(e: _Evaluation) -> str:
    """Differences from persistence, damped persistence and trees, and between scenarios of one model."""
    rows = e.gains[(e.gains.metric == "pearson_r") & ~e.gains.model.isin(BASELINES)]
    head = "".join(f"<th>{lead} d</th>" for lead in e.leads)
    lines = [f'<table><thead><tr><th>Model</th><th class="text">against</th>{head}</tr></thead><tbody>']
    keys = ["model", "weather", "scenario", "baseline", "baseline_weather", "baseline_scenario"]
    for key, group in rows.groupby(keys, sort=False):
        model, weather, scenario, baseline, of_weather, of_scenario = map(str, key)
        trees = baseline == "trees" and weather == of_weather
        scenarios = baseline == model and weather == of_weather and scenario > of_scenario
        if not (baseline in ("persistence", "damped_persistence") or trees or scenarios):
            continue
        cells = "".join(
            f"<td>{_with_interval(row, 'pearson_r')} <small>{100 * row.share_better:.0f} %</small></td>"
            for _, row in group.sort_values("lead_days").iterrows()
        )
        name = f"{_name(model, scenario)}, {_weather(weather)}"
        lines.append(f'<tr><td>{name}</td><td class="text">{_name(baseline, of_scenario)}</td>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def _with_interval(row: Any, metric: str) -> str:
    if not np.isfinite(row["median"]):
        return "–"
    digits = 2 if metric.startswith(("skill", "coverage")) else 3 if metric == "pearson_r" else 4
    ends = f"[{row['lower']:.{digits}f}, {row['upper']:.{digits}f}]" if np.isfinite(row["lower"]) else "–"
    return f"{row['median']:.{digits}f} <small>{ends}</small>"


def _metric_name(metric: str) -> str:
    if metric.startswith("skill_"):
        return f"skill against {metric.removeprefix('skill_')}"
    return metric_of(metric).title.split(" [")[0]


def _name(model: object, scenario: object = "all") -> str:
    return escape(pretty(str(model), str(scenario)))


def _weather(weather: object) -> str:
    return escape(weather_name(str(weather)))


def _range(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(high) if low == high else f"{low} to {high}"


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
