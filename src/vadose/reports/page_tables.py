"""Tables of a report: scores with their intervals as HTML, folded, each with its data as CSV."""

import base64
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.metrics import metric as metric_of
from vadose.reports.evaluated import Evaluation, label, rows_of
from vadose.reports.forecast_plots import dry_classes
from vadose.reports.plots import BASELINES, pretty, weather_name

_HEADS = {"model": "Model", "weather": "Weather", "metric": "Score", "baseline": "against", "class": "Class"}


def tables_of(e: Evaluation) -> Iterator[str]:
    """Tables of an evaluation, folded, with a line on what each shows."""
    errors = sorted((name for name in METRICS if name != "pearson_r"), key=lambda name: not metric_of(name).drawn)
    median = f"Median over {e.sites_are} [95&nbsp;% interval]; the best of each kind of weather in bold."
    table = e.table[e.table.metric != "skill_" + e.table.model]  # not against itself
    table = table[~table.metric.str.startswith("coverage_") | table["median"].notna()]  # single values have none
    metrics = [*errors, "skill_persistence", "skill_climatology"]
    yield _scores("Correlation R", median, table[table.metric == "pearson_r"], ["weather", "model"])
    yield _scores("Errors and skill", median, table[table.metric.isin(metrics)], ["weather", "metric", "model"])
    probable = table[table.metric.isin(["crps", "coverage_50", "coverage_90"])]
    said = (
        "CRPS [m³ m⁻³] equals the mean absolute error for single-valued forecasts. Coverage: fraction of days with "
        "the observation inside the central prediction interval; closest to nominal in bold."
    )
    yield _scores("Probabilistic scores", said, probable, ["weather", "metric", "model"])
    strata = rows_of(e.strata[e.strata.metric.isin(["pearson_r", "ubrmse"])], e.run)
    said = f"Medians over the {e.sites_are} of a class [95&nbsp;% interval]; all runs and scores are in strata.csv."
    yield _scores(f"By class of {e.sites_are}: {label(e.run)}", said, strata, ["kind", "class", "metric", "n_sites"])
    if e.products is not None:
        said = (
            "Analyses of the valid day (0 d), and forecasts at the shortest lead time, on common days; products.csv "
            "gives them by network and land cover."
        )
        rows = e.products[e.products["kind"] == "all"]
        yield _scores("Comparison with products (not forecasts)", said, rows, ["metric", "model", "weather"])
    said = (
        f"Median over {e.sites_are} of the paired difference in R on identical samples [95&nbsp;% interval], and "
        "fraction of sites where the model is better. comparisons.csv lists all pairs of runs."
    )
    yield _scores("Gain over baselines and other scenarios", said, _gains(e), ["model", "weather", "baseline"])
    if len(dry := dry_classes(e)):
        said = "As drawn in figure 9; events, alarms and hits are days, of all sites together."
        html = dry.assign(run=[label(run) for run in dry.run]).round(3).to_html(index=False, border=0, na_rep="–")
        yield folded("Dry spells", said, html, dry.to_csv(index=False), "dry_spells.csv")


def _gains(e: Evaluation) -> pd.DataFrame:
    """Differences from persistence, damped persistence and trees, and between scenarios of one model."""
    rows = e.gains[(e.gains.metric == "pearson_r") & ~e.gains.model.isin(BASELINES)]
    alike = rows.weather == rows.baseline_weather
    scenarios = (rows.baseline == rows.model) & alike & (rows.scenario > rows.baseline_scenario)
    baselines = rows.baseline.isin(("persistence", "damped_persistence"))
    return rows[baselines | (rows.baseline == "trees") & alike | scenarios]


def _scores(title: str, said: str, rows: pd.DataFrame, keys: Sequence[str]) -> str:
    """Median and interval of each combination of keys, a column for each lead; '' of no rows."""
    if rows.empty:
        return ""
    leads = sorted(rows.lead_days.unique())
    best = set() if {"kind", "baseline"} & set(keys) else _best(rows)
    shown = rows.assign(model=[pretty(*run) for run in zip(rows.model, rows.scenario, strict=True)])
    shown["weather"] = rows.weather.map(weather_name)
    if "baseline" in keys:
        shown["baseline"] = [pretty(*run) for run in zip(rows.baseline, rows.baseline_scenario, strict=True)]
    lines = []
    shown = shown.sort_values(list(keys), key=lambda of: pd.Series(pd.factorize(of)[0], of.index), kind="stable")
    for key, of_key in shown.groupby(list(keys), sort=False):
        words = [metric_name(str(word)) if name == "metric" else word for name, word in zip(keys, key, strict=True)]
        by_lead = {row.lead_days: _cell(row, at in best) for at, row in of_key.iterrows()}
        cells = [by_lead.get(lead, "<td>–</td>") for lead in leads]
        lines.append("<tr>" + "".join(f'<td class="text">{escape(str(word))}</td>' for word in words) + "".join(cells))
    heads = [f'<th class="text">{_HEADS.get(key, key.replace("n_", ""))}</th>' for key in keys]
    heads += [f"<th>{lead} d</th>" for lead in leads]
    html = f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>" + "\n".join(lines) + "</tbody></table>"
    name = title.split(":")[0].split(" (")[0].lower().replace(" ", "_")
    return folded(title, said, html, rows.to_csv(index=False, float_format="%.6g"), f"{name}.csv")


def _cell(row: Any, best: bool) -> str:
    share = f" <small>{100 * row.share_better:.0f} %</small>" if "share_better" in row else ""
    return f"<td{' class=best' if best else ''}>{with_interval(row, row.metric)}{share}</td>"


def _best(rows: pd.DataFrame) -> set[Any]:
    """Rows with the best median of a score for a kind of weather and lead; for coverage, the closest to nominal."""
    found: set[Any] = set()
    for metric, of_metric in rows.groupby("metric"):
        size, better = of_metric["median"], metric_of(str(metric)).better
        if str(metric).startswith("coverage_"):
            size = (size - int(str(metric).removeprefix("coverage_")) / 100).abs()
        else:
            size = -size if better is None else pd.Series(-better(size.to_numpy()), size.index)
        found |= set(size.dropna().groupby([of_metric.weather, of_metric.lead_days]).idxmin())
    return found


def folded(title: str, said: str, table: str, csv: str, name: str) -> str:
    """A table that unfolds, scrolls in itself and can be saved as CSV."""
    saved = "data:text/csv;charset=utf-8;base64," + base64.b64encode(csv.encode()).decode()
    title, link = escape(title), f'<a download="{name}" href="{saved}">{name}</a>'
    shown = f'<div class="scroll" tabindex="0" role="group" aria-label="{title}">{table}</div>'
    return f'<details><summary>{title}</summary>\n<p class="soft">{said} {link}</p>\n{shown}</details>'


def answer_table(e: Evaluation) -> str:
    """R of the run shown, of its rival and their paired difference, a row for each lead."""
    heads = (
        "<th>Lead</th><th>R</th><th class=text>Best rival</th><th>R</th><th>Difference</th><th class=text>It is</th>"
    )
    lines = [f"<table><thead><tr>{heads}</tr></thead><tbody>"]
    for lead, rival in e.rivals.items():
        rows = e.row(e.run, lead), e.row(rival, lead), e.gain(lead)
        ours, theirs, gain = (f"<td>{with_interval(row, 'pearson_r', 2)}</td>" for row in rows)
        name = f'<td class="text">{escape(label(rival, weather=False))}</td>'
        lines.append(f'<tr><td>{lead} d</td>{ours}{name}{theirs}{gain}<td class="text">{e.verdict(lead)}</td></tr>')
    return "\n".join([*lines, "</tbody></table>"])


def with_interval(row: Any, metric: str, digits: int | None = None) -> str:
    """Median and interval of a row."""
    if not np.isfinite(row["median"]):
        return "–"
    digits = digits or (2 if metric.startswith(("skill", "coverage")) else 3 if metric == "pearson_r" else 4)
    ends = f"[{row['lower']:.{digits}f}, {row['upper']:.{digits}f}]" if np.isfinite(row["lower"]) else "–"
    return f"{row['median']:.{digits}f} <small>{ends}</small>"


def metric_name(metric: str) -> str:
    """A metric without its unit."""
    if metric.startswith("skill_"):
        return f"skill against {metric.removeprefix('skill_')}"
    return metric_of(metric).title.split(" [")[0]
