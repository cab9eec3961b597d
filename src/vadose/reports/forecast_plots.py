"""Figures of the forecasts themselves: how sure they are, series at some sites, how dry spells are caught."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import ndtr

from vadose.reports.contents import Absent
from vadose.reports.evaluated import Evaluation, label

Array = NDArray[np.floating]
DRY = {"D0": 0.30, "D1": 0.20, "D2": 0.10, "D3": 0.05, "D4": 0.02}
"""Classes of the US Drought Monitor, by the share of days that are as dry."""
_BINS, _BLOCKS, _FEWEST = 10, 10, 20
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def _sure_at(e: Evaluation, lead: int) -> tuple[Array, Array, Array]:
    """Forecasts, deviations and observations (day, site) of the run whose certainty is shown, NaN where one is."""
    spread = e.spread(lead, e.sure) if e.sure else None
    if spread is None:
        what = (
            "no run gives a standard deviation: give `vadose evaluate` the store of one that does (soil_moisture_std)"
        )
        raise Absent(f"{what}, and score values, not anomalies")
    predicted, observed = e.predicted(lead, e.sure), e.observed(lead)
    known = np.isfinite(predicted) & np.isfinite(observed) & (spread > 0)
    return np.where(known, predicted, np.nan), np.where(known, spread, np.nan), np.where(known, observed, np.nan)


def _scored(e: Evaluation, leads: list[int]) -> list[int]:
    """The leads, if the run shown has a score at any."""
    if not leads:
        raise Absent(f"{label(e.run)} has no score at any site")
    return leads


def reliability(e: Evaluation) -> Figure:
    """How often it was as dry as on the driest 30 % of days, against the probability that was forecast of it."""
    leads = _scored(e, e.some_leads(2))
    figure = Figure(figsize=(2.9 * len(leads) + 0.2, 4.2), layout="constrained")
    axes = figure.subplots(2, len(leads), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1])
    draw = np.random.default_rng(0)
    for (upper, lower), lead in zip(axes.T, leads, strict=True):
        predicted, spread, observed = _sure_at(e, lead)
        limit, known = _limits(observed, DRY["D0"]), np.isfinite(observed)
        chance, dry = ndtr(((limit - predicted) / spread)[known]), (observed <= limit)[known]
        of_day = np.broadcast_to(np.arange(len(observed))[:, None], known.shape)[known]
        at = np.minimum((chance * _BINS).astype(int), _BINS - 1)
        number = np.bincount(at, minlength=_BINS)
        for k in np.flatnonzero(number):
            here = at == k
            mean, days = chance[here].mean(), len(np.unique(of_day[here]))
            upper.vlines(mean, *np.quantile(draw.binomial(days, mean, 2000) / days, [0.05, 0.95]), color="0.7", lw=5)
        there = [k for k in range(_BINS) if number[k]]
        upper.plot(
            [chance[at == k].mean() for k in there], [dry[at == k].mean() for k in there], "o-", color=_COLOURS[0], ms=4
        )
        upper.plot([0, 1], [0, 1], color="black", linewidth=0.8)
        upper.axhline(dry.mean(), color="0.5", linewidth=0.8, linestyle=":")
        upper.set_title(f"{lead} d, n {len(chance):,}".replace(",", " "), fontsize=9)
        lower.bar((np.arange(_BINS) + 0.5) / _BINS, number, width=0.09, color="0.6")
        lower.set_xlabel("probability forecast", fontsize=8)
    axes[0, 0].set_ylabel("share observed", fontsize=8)
    axes[1, 0].set_ylabel("pairs", fontsize=8)
    for axis in axes.ravel():
        axis.tick_params(labelsize=7)
    return figure


def spread_error(e: Evaluation) -> Figure:
    """Error (RMSE) of forecasts of alike deviation against that deviation, a line per lead."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    top = 0.0
    for k, lead in enumerate(_scored(e, e.known_leads)):
        predicted, spread, observed = _sure_at(e, lead)
        error, known = predicted - observed, np.isfinite(observed)
        order = np.argsort(spread[known])
        parts = [part for part in np.array_split(order, 6) if len(part) >= _FEWEST]
        points = [[np.sqrt(np.mean(of[known][part] ** 2)) for of in (spread, error)] for part in parts]
        x, y = np.array(points).T if points else (np.empty(0), np.empty(0))
        marker = "os^Dv"[k % 5]
        axis.plot(x, y, marker=marker, color=_COLOURS[k % 6], ms=5, lw=1.2, label=f"{lead} d (n {known.sum()})")
        top = max(top, *x, *y, 0.0)
    axis.plot([0, 1.08 * top], [0, 1.08 * top], color="black", linewidth=0.8)
    axis.set(xlim=(0, 1.08 * top or 1), ylim=(0, 1.08 * top or 1))
    axis.set_xlabel("deviation forecast [m³ m⁻³]", fontsize=8)
    axis.set_ylabel("error, RMSE [m³ m⁻³]", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.legend(fontsize=7, frameon=False, loc="lower right")
    axis.grid(alpha=0.3)
    return figure


def plot_series(e: Evaluation) -> Figure:
    """Series at the sites of the best, median and worst R at the middle lead, with the central 50 and 90 %."""
    leads = _scored(e, e.some_leads())
    lead = leads[len(leads) // 2]
    r = e.scores.value.sel(run=e.run, lead_days=lead, metric="pearson_r").values
    order = np.argsort(r)[: np.isfinite(r).sum()]
    chosen = dict.fromkeys(int(order[k]) for k in (-1, len(order) // 2, 0))
    normal = next((run for run in e.runs if run.startswith("climatology|none|")), None)
    predicted, spread = e.predicted(lead), e.spread(lead)
    fans = [] if spread is None else [(90, "#B8D8EE", 1.6449 * spread), (50, "#6FB1DC", 0.6745 * spread)]
    figure = Figure(figsize=(6.3, 1.6 * len(chosen) + 0.4), layout="constrained")
    axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    days, words = e.pairs.time.values, iter(("best", "median", "worst"))
    for axis, site in zip(axes, chosen, strict=True):
        middle = predicted[:, site]
        for share, colour, half in fans:
            axis.fill_between(
                days, middle - half[:, site], middle + half[:, site], color=colour, lw=0, label=f"central {share} %"
            )
        axis.plot(
            days, middle, color=_COLOURS[0], linewidth=1.2, label=f"{label(e.run, weather=False)}, {lead} d before"
        )
        if normal:
            usual = e.predicted(lead, normal)[:, site]
            axis.plot(days, usual, color="0.4", linestyle="--", linewidth=1.0, label="normal (climatology)")
        axis.plot(days, e.pairs.observed.isel(site=site).values, ".", color="black", ms=3.5, label="observed")
        place = f"{float(e.scores.lat[site]):.2f}° N, {float(e.scores.lon[site]):.2f}° E"
        axis.set_title(
            f"{next(words)}: {e.scores.site.values[site]} ({place}), R {r[site]:.2f}", fontsize=8, loc="left"
        )
        axis.set_ylabel("[m³ m⁻³]", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, fontsize=7, frameon=False)
    return figure


def dry_classes(e: Evaluation) -> pd.DataFrame:
    """Hits and false alarms of the run shown and its rival by class of dryness, at three leads.

    A day is of a class where it is as dry as so many of the days observed at its site. Intervals (95 %) are of a
    jackknife of ten blocks of days.
    """
    rows = []
    for lead in e.some_leads():
        observed = e.observed(lead)
        known = np.isfinite(observed)
        for run in (e.run, *([e.rivals[lead]] if lead in e.rivals else [])):
            predicted = e.predicted(lead, run)
            for name, share in DRY.items():
                limit = _limits(observed, share)
                dry, said = known & (observed <= limit), known & (predicted <= limit)
                parts = [np.array_split(of.sum(axis=1), _BLOCKS) for of in (dry & said, dry, said)]
                hits, events, alarms = (np.array([block.sum() for block in of]) for of in parts)
                if events.sum() < _FEWEST:
                    continue
                rate, low, high = _share(hits, events)
                right, right_low, right_high = _share(hits, alarms)
                rows.append(
                    {"run": run, "lead_days": lead, "class": name, "events": events.sum(), "forecast": alarms.sum()}
                    | {"hits": hits.sum(), "hit_rate": rate, "hit_rate_lower": low, "hit_rate_upper": high}
                    | {"false_alarm_ratio": 1 - right, "false_alarm_ratio_lower": 1 - right_high}
                    | {"false_alarm_ratio_upper": 1 - right_low}
                )
    return pd.DataFrame(rows)


def plot_dry(e: Evaluation) -> Figure:
    """Hit rate against the share of alarms that were right, by class of dryness, a panel per lead."""
    table = dry_classes(e)
    if table.empty:
        raise Absent(f"fewer than {_FEWEST} dry days were scored: score a longer period")
    leads = list(dict.fromkeys(table.lead_days))
    figure = Figure(figsize=(1.95 * len(leads) + 0.4, 2.8), layout="constrained")
    handles: dict[str, Any] = {}
    share = np.linspace(0.01, 1, 60)
    for axis, lead in zip(
        figure.subplots(1, len(leads), sharex=True, sharey=True, squeeze=False)[0], leads, strict=True
    ):
        for index in (0.2, 0.4, 0.6, 0.8):
            axis.plot(share, 1 / (1 / index - 1 / share + 1), color="0.85", linewidth=0.8, zorder=0)
        axis.plot([0, 1], [0, 1], color="0.85", linewidth=0.8, zorder=0)
        for run, of_run in table[table.lead_days == lead].groupby("run", sort=False):
            shown, right = run == e.run, 1 - of_run.false_alarm_ratio
            ends = [
                (1 - of_run.false_alarm_ratio_upper, 1 - of_run.false_alarm_ratio_lower),
                (of_run.hit_rate_lower, of_run.hit_rate_upper),
            ]
            bars = [
                np.abs([of - low, high - of]) for of, (low, high) in zip((right, of_run.hit_rate), ends, strict=True)
            ]
            name = label(str(run), weather=False)
            colour = _COLOURS[0] if shown else _COLOURS[1]
            handles[name] = axis.errorbar(
                right,
                of_run.hit_rate,
                bars[1],
                bars[0],
                fmt="o" if shown else "s",
                color=colour,
                mfc=colour if shown else "white",
                ms=5,
                elinewidth=0.5,
            )
            for x, y, word in () if not shown else zip(right, of_run.hit_rate, of_run["class"], strict=True):
                axis.annotate(word, (x, y), xytext=(4, 3), textcoords="offset points", fontsize=7, color=colour)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"{lead} d")
        axis.set_xlabel("1 − false-alarm ratio", fontsize=8)
        axis.title.set_size(9)
        axis.tick_params(labelsize=7)
    figure.axes[0].set_ylabel("hit rate", fontsize=8)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _limits(observed: Array, share: float) -> Array:
    """Moisture (site,) that so large a share of the days observed does not exceed; NaN without any."""
    ordered, n = np.sort(observed, axis=0), np.isfinite(observed).sum(axis=0)
    at = np.clip(np.ceil(share * n).astype(int) - 1, 0, None)
    found: Array = np.take_along_axis(ordered, at[None], axis=0)[0]
    return found


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> tuple[float, float, float]:
    """A share summed over blocks and its 95 % interval by a jackknife of the blocks; NaN of nothing."""
    if not whole.sum():
        return np.nan, np.nan, np.nan
    value = part.sum() / whole.sum()
    left = whole.sum() - whole
    if (left == 0).any():
        return float(value), np.nan, np.nan
    without = (part.sum() - part) / left
    error = 2.262 * np.sqrt((len(part) - 1) / len(part) * ((without - without.mean()) ** 2).sum())
    return float(value), max(value - error, 0.0), min(value + error, 1.0)
