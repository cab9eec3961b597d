"""Fill withheld SMAP observations of the real CONUS database with every filler and score them.

A fifth of the observed days is withheld, as single days and in blocks of 5, 10 and 30 days, each by itself. Nothing
withheld is seen in fitting. The continuous recurrent unit is trained on 330 of the 412 cells and fills all; its rivals
are fitted to each cell. Intervals are of 95 %: of the median R over cells as drawn from more, of the pooled RMSE over
these cells and other days.

    python benchmarks/gap_filling.py FOLDER --out OUT [--lengths 1 5 10 30] [--steps N]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from vadose.evaluation import intervals
from vadose.evaluation.metrics import moments, rmse
from vadose.evaluation.paired import score as score_sites
from vadose.gapfill import ClimatologyAR1, Filler, Interpolation, Series, series_of, withhold
from vadose.gapfill.cru import ContinuousRecurrentUnit
from vadose.products import PRODUCTS, conusv4f1

WEATHER = [name for name, _ in conusv4f1.FORCING.values()]
CLASSES = {"land_cover", "dense_vegetation", "extraordinary_surface"}
STATIC = [name for name, _ in conusv4f1.CONSTANTS.values() if name not in CLASSES]
UNSEEN = 82
MIN_PAIRS = 10
QUANTILES = {50: 0.67449, 90: 1.64485}


def smap(path: Path) -> Series:
    """The cells of the database on the days with soil moisture."""
    dataset = PRODUCTS["conusv4f1"].read(path)
    dataset = dataset.stack(cell=("y", "x")).where(lambda d: d.mask.compute(), drop=True).reset_index("cell")
    observed = dataset.time[dataset.soil_moisture.notnull().any("cell")]
    dataset = dataset.sel(time=slice(observed[0], observed[-1]))
    return series_of(dataset.soil_moisture, covariates=dataset[WEATHER], static=dataset[STATIC])


def fillers(steps: int) -> dict[str, Filler]:
    return {
        "last value": Interpolation("last_value"),
        "linear": Interpolation("linear"),
        "DCT-PLS": Interpolation("dct_pls"),
        "climatology + AR(1)": ClimatologyAR1(),
        "CRU, no weather": ContinuousRecurrentUnit(steps=steps),
        "CRU": ContinuousRecurrentUnit(steps=steps),
    }


def pooled_rmse(*of_fillers: np.ndarray) -> tuple[float, float, float]:
    """RMSE over the daily moments of all cells (times, 6), of two their difference, and its interval."""
    values = [rmse(of.sum(axis=0)) for of in of_fillers]
    again = [rmse(intervals.reweigh(of)) for of in of_fillers]
    value, changed = (values[0], again[0]) if len(values) == 1 else (values[0] - values[1], again[0] - again[1])
    spread = intervals.spread_of(value, changed, len(of_fillers[0]))
    return float(value), *map(float, intervals.interval(value, spread))


def score(predicted: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """Scores of one filler over withheld values (times, cells), NaN elsewhere, and its daily moments of all cells."""
    mean, std = predicted
    daily = moments(mean - 0.2, truth - 0.2).sum(axis=1)
    pooled, lower, upper = pooled_rmse(daily)
    known = np.isfinite(truth)
    enough = known.sum(axis=0) >= MIN_PAIRS
    scored = score_sites(mean[None], truth, [None], references={}, counts=enough)
    row = next(row for _, row in scored.over_sites(np.flatnonzero(enough)) if row["metric"] == "pearson_r")
    apart = (np.abs(mean - truth) / std)[known]
    return {
        "n": int(known.sum()),
        "rmse": pooled,
        "rmse_lower": lower,
        "rmse_upper": upper,
        "r": row["median"],
        "r_lower": row["lower"],
        "r_upper": row["upper"],
        **{f"cover_{level}": float((apart < z).mean()) for level, z in QUANTILES.items()},
        "mean_std": float(std[known].mean()),
    }, daily


def run(series: Series, length: int, steps: int, out: Path) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """Every filler and mode with a fifth of the values withheld in blocks of ``length`` days."""
    hidden = withhold(series, 0.2, length, np.random.default_rng(length))
    visible = series.without(hidden)
    truth = np.where(hidden, series.values, np.nan)[..., 0].astype(float)
    cells = truth.shape[1]
    unseen = np.zeros(cells, bool)
    unseen[np.random.default_rng(0).permutation(cells)[:UNSEEN]] = True
    rows, of_days, kept = [], {}, {"observed": visible.values[..., 0], "withheld": truth}
    for name, filler in fillers(steps).items():
        learnt = name.startswith("CRU")
        given = visible
        if name == "CRU, no weather":
            given = replace(visible, covariates=visible.covariates[..., :0])
        start = time.perf_counter()
        filler.fit(given.cells(~unseen) if learnt else given)
        seconds = time.perf_counter() - start
        if learnt:
            filler.save(out / f"{name.replace(', ', '-').replace(' ', '-')}-{length}.pt")
        for mode in filler.modes:
            mean, std = (x[..., 0].astype(float) for x in filler.predict(given, mode))
            groups = (
                {"all": slice(None), "trained on": ~unseen, "not trained on": unseen}
                if learnt
                else {"all": slice(None)}
            )
            for group, which in groups.items():
                some = np.arange(cells)[which]
                scores, daily = score((mean[:, some], std[:, some]), truth[:, some])
                if group == "all":
                    of_days[f"{name}|{mode}"] = daily
                rows.append(
                    {"length": length, "mode": mode, "filler": name, "cells": group} | scores | {"fit_s": seconds}
                )
            kept[f"{name}|{mode}"] = np.stack([mean, std])
            print(f"{length:2d} d, {mode:8s} {name:20s} RMSE {rows[-len(groups)]['rmse']:.4f}", flush=True)
    np.savez_compressed(out / f"filled-{length}.npz", **kept)
    for row in rows:
        if row["cells"] == "all":
            pair = (of_days[f"{filler}|{row['mode']}"] for filler in (row["filler"], "CRU"))
            row["rmse_more"], row["rmse_more_lower"], row["rmse_more_upper"] = pooled_rmse(*pair)
    return rows, kept


def markdown(table: pd.DataFrame) -> str:
    """A table for each length; differences are to the CRU of the same mode."""
    lines = []
    for length, part in table.groupby("length"):
        n = part[part.cells == "all"].n.iloc[0]
        lines += [f"\nWithheld {'single days' if length == 1 else f'in blocks of {length} days'}, {n} values:\n"]
        lines += [
            "| mode | filler | cells | RMSE | more than CRU | R | in 50 % | in 90 % | mean std |",
            "|---" * 9 + "|",
        ]
        for r in part.itertuples():
            cells = [
                r.mode,
                r.filler,
                r.cells,
                f"{r.rmse:.4f} [{r.rmse_lower:.4f}, {r.rmse_upper:.4f}]",
                ""
                if r.filler == "CRU" or r.cells != "all"
                else f"{r.rmse_more:.4f} [{r.rmse_more_lower:.4f}, {r.rmse_more_upper:.4f}]",
                f"{r.r:.3f} [{r.r_lower:.3f}, {r.r_upper:.3f}]",
                f"{r.cover_50:.1%}",
                f"{r.cover_90:.1%}",
                f"{r.mean_std:.4f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def figure(table: pd.DataFrame, days: np.ndarray, kept: dict[str, np.ndarray], length: int) -> plt.Figure:
    """RMSE against the length of the gaps, and one cell's series filled."""
    chart = plt.figure(figsize=(10, 7), layout="constrained")
    grid = chart.add_gridspec(2, 2)
    whole = table[table.cells == "all"]
    colours = {name: f"C{i}" for i, name in enumerate(fillers(1))}
    for column, mode in enumerate(("causal", "smoothed")):
        axes = chart.add_subplot(grid[0, column])
        for name, part in whole[whole["mode"] == mode].groupby("filler", sort=False):
            error = [part.rmse - part.rmse_lower, part.rmse_upper - part.rmse]
            axes.errorbar(part.length, part.rmse, error, marker="o", capsize=3, label=name, color=colours[name])
        axes.set(title=mode, xlabel="length of withheld blocks (days)", ylabel="RMSE (m³ m⁻³)", xscale="log", ylim=0)
        axes.set_xticks(sorted(whole.length.unique()), sorted(whole.length.unique()), minor=False)
        axes.legend(fontsize=8)
    cell = int(np.nanstd(kept["observed"], axis=0).argmax())
    axes = chart.add_subplot(grid[1, :])
    mean, std = kept["CRU|smoothed"][:, :, cell]
    axes.fill_between(days, mean - 1.645 * std, mean + 1.645 * std, color="C5", alpha=0.3, label="CRU, 90 %")
    axes.plot(days, mean, color="C5", label="CRU, smoothed")
    axes.plot(days, kept["linear|smoothed"][0, :, cell], color="C1", lw=0.8, label="linear")
    axes.plot(days, kept["observed"][:, cell], "k.", label="observed")
    axes.plot(days, kept["withheld"][:, cell], "o", color="red", mfc="none", label=f"withheld, {length}-day blocks")
    axes.set(ylabel="soil moisture (m³ m⁻³)", title="the cell whose observations vary most")
    axes.legend(fontsize=8, ncols=5)
    return chart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 5, 10, 30])
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    series = smap(options.data)
    days = series.days[:, 0].astype("datetime64[D]")
    rows = []
    for length in options.lengths:
        found, kept = run(series, length, options.steps, options.out)
        rows += found
        table = pd.DataFrame(rows)
        table.to_csv(options.out / "gap_filling.csv", index=False, float_format="%.6g")
        (options.out / "gap_filling.md").write_text(markdown(table))
        figure(table, days, kept, length).savefig(options.out / "gap_filling.png", dpi=130)
        plt.close("all")
    print((options.out / "gap_filling.md").read_text())


if __name__ == "__main__":
    main()
