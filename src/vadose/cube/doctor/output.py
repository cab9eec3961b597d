"""A diagnosis for people: text, tables, a picture."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from vadose.artefact import writing
from vadose.cube.doctor.findings import SEVERITIES, Diagnosis, Finding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def as_text(diagnosis: Diagnosis) -> str:
    """The diagnosis as it is read on a terminal: facts, a table of the variables, the findings, worst first."""
    stream = io.StringIO()
    console = Console(file=stream, width=140, highlight=False, markup=False, emoji=False, color_system=None)
    for word, text in diagnosis.facts.items():
        console.print(f"{word:<10} {text}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("variable")
    table.add_column("units")
    for head in ("coverage", "lowest", "1 %", "50 %", "99 %", "highest", "valid range"):
        table.add_column(head, justify="right")
    for name, row in diagnosis.ranges.iterrows():
        numbers = (_short(row[key]) for key in ("lowest", "q1", "q50", "q99", "highest"))
        table.add_row(str(name), row.units, f"{100 * row.coverage:.1f} %", *numbers, _valid(row))
    console.print()
    console.print(table)
    console.print()
    for f in diagnosis.findings:
        console.print(f"{f.severity:<8} {f.variable}: {f.what}", soft_wrap=True)
        console.print(f"{'':<8} where: {f.where}", soft_wrap=True)
        console.print(f"{'':<8} to do: {f.advice}", soft_wrap=True)
    counts = {s: sum(f.severity == s for f in diagnosis.findings) for s in SEVERITIES}
    console.print(", ".join(f"{count} {s}{'' if count == 1 else 's'}" for s, count in counts.items()))
    return stream.getvalue()


def write_diagnosis(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write ``findings.csv``, ``ranges.csv``, ``coverage.csv`` and ``diagnosis.png`` into a folder, each one whole."""
    findings = pd.DataFrame([asdict(f) for f in diagnosis.findings], columns=list(Finding.__dataclass_fields__))
    picture = plot_diagnosis(diagnosis)
    tables = {"findings": findings.set_index("severity"), "ranges": diagnosis.ranges, "coverage": diagnosis.coverage}
    for name, table in tables.items():
        with writing(folder / f"{name}.csv") as scratch:
            table.to_csv(scratch, float_format="%.6g")
    with writing(folder / "diagnosis.png") as scratch:
        picture.savefig(scratch, format="png", dpi=120)
    return folder


def plot_diagnosis(diagnosis: Diagnosis) -> "Figure":
    """Coverage by variable and month, beside it the values of every variable within its valid range."""
    ranges, coverage = diagnosis.ranges, diagnosis.coverage
    # Fixed variables, which have no months, come last.
    names = [*coverage.index, *(n for n in ranges.index if n not in coverage.index)]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 0.27 * len(names) + 1.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    shares = coverage.reindex(names).to_numpy(float)
    drawn = left.pcolormesh(np.ma.masked_invalid(100 * shares), cmap="viridis", vmin=0, vmax=100)
    left.set_facecolor("0.93")
    left.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    step = max(1, -(-len(coverage.columns) // 12))
    left.set_xticks(np.arange(0, len(coverage.columns), step) + 0.5, coverage.columns[::step], fontsize=8)
    left.tick_params(axis="x", rotation=45)
    for number, name in enumerate(names):
        if name not in coverage.index:
            text = f"fixed: {100 * ranges.coverage[name]:.0f} %"
            left.text(shares.shape[1] / 2, number + 0.5, text, ha="center", va="center", fontsize=7, color="0.35")
    left.set_title("Share of mask cells with a value, by month", fontsize=10)
    left.invert_yaxis()
    figure.colorbar(drawn, ax=left, label="%", pad=0.01, shrink=0.8)
    bad = {name for f in diagnosis.findings if f.severity == "error" for name in f.variable.split(", ")}
    for number, name in enumerate(names):
        _range_bar(right, number + 0.5, ranges.loc[name], name in bad)
    right.set_xlim(-0.02, 2.05)
    right.set_xticks([])
    right.tick_params(axis="y", left=False)
    right.set_title(
        "Possible values within their valid range (grey): all, 1 to 99 %, median; red: an error was found", fontsize=9
    )
    for side in ("top", "right", "bottom", "left"):
        right.spines[side].set_visible(False)
    if "simulated" in diagnosis.facts:
        figure.suptitle("SIMULATED", fontsize=10, color="#D55E00")
    return figure


def _range_bar(axis: "Axes", y: float, row: pd.Series, bad: bool) -> None:
    """One row of its own scale: around the values, and around the valid range as far as it is near."""
    if not np.isfinite(row.lowest):
        axis.text(0, y, "no possible value", va="center", fontsize=7, color="#D55E00")
        return
    spread = max(row.highest - row.lowest, 1e-3 * abs(row.highest), 1e-12)
    low, high = row.lowest - spread, row.highest + spread
    if np.isfinite(row.valid_high):
        low, high = max(low, row.valid_low), min(high, row.valid_high)

    def place(value: float) -> float:
        return float(np.clip((value - low) / max(high - low, 1e-12), 0, 1))

    colour = "#D55E00" if bad else "#0072B2"
    axis.barh(y, 1, height=0.72, color="0.88")
    axis.plot([place(row.lowest), place(row.highest)], [y, y], color=colour, linewidth=1)
    axis.plot([place(row.q1), place(row.q99)], [y, y], color=colour, linewidth=5, solid_capstyle="butt", alpha=0.6)
    axis.plot([place(row.q50)] * 2, [y - 0.3, y + 0.3], color="black", linewidth=1.2)
    units = "" if row.units == "1" else row.units
    text = f"{_short(row.lowest)} … {_short(row.q50)} … {_short(row.highest)} {units}"
    if valid := _valid(row):
        text += f"  (valid {valid})"
    axis.text(1.04, y, text, va="center", fontsize=7.5, color=colour if bad else "black")


def _valid(row: pd.Series) -> str:
    return f"{_short(row.valid_low)} … {_short(row.valid_high)}" if np.isfinite(row.valid_high) else ""


def _short(value: float) -> str:
    return f"{float(value):.4g}" if np.isfinite(value) else "-"
