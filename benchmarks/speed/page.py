"""The page of speed, made of measured rows."""

import time
from pathlib import Path

from benchmarks.speed.row import Peak, Row, Way


def write_page(path: Path, rows: list[Row], peak: Peak, commit: str, machine: str, *, quick: bool) -> None:
    """Write all rows as one page of Markdown."""
    lines = [
        "# Speed",
        "",
        f"Made by `make bench` on {time.strftime('%Y-%m-%d')}, commit {commit}; {machine}."
        + (" Small sizes, which say little." if quick else ""),
        "",
        f"The machine in the same run, {peak.threads} threads: {peak.float32:,.0f} GFLOP/s in float32,"
        f" {peak.bfloat16:,.0f} in bf16, {peak.memory:.0f} GB/s read from memory. Rates are of the call named, as it is"
        " called; ratios are to the first way of a row. Differences are from the first way of ours, in standard"
        " deviations of its result.",
    ]
    for row in rows:
        lines += [
            "",
            f"## {row.work}",
            "",
            f"`{row.call}`; {row.unit} a second. To reach: {row.to_reach}.",
            "",
            "| way | a second | ratio | differs, largest | rms | share of peak | memory [GB] | first call [s] |",
            "|---|---|---|---|---|---|---|---|",
            *(_line(way, row, peak) for way in row.ways),
        ]
    path.write_text("\n".join(lines) + "\n")


def _line(way: Way, row: Row, peak: Peak) -> str:
    most = peak.bfloat16 if "bf16" in way.name else peak.float32
    cells = [
        way.name,
        f"{way.rate:,.3g}" if way.rate < 1000 else f"{way.rate:,.0f}",
        f"{way.rate / row.ways[0].rate:,.2f}",
        *(("", "") if way.differs is None else (f"{one:.1e}" for one in way.differs)),
        f"{100 * way.rate * row.flop / most / 1e9:.0f} %" if row.flop else "",
        "" if way.memory is None else f"{way.memory:.1f}",
        "" if way.first is None else f"{way.first:.1f}",
    ]
    return f"| {' | '.join(cells)} |"
