"""The page of speed, made of measured rows."""

import math
import time
from pathlib import Path

from benchmarks.speed.row import QUICK, Peak, Row, Way

HEADS = ("work", "way", "a second", "ratio", "differs: largest", "rms", "of peak", "memory [GB]", "first [s]", "wanted")


def write_page(path: Path, rows: list[Row], peak: Peak, said: dict[str, str], *, size: int) -> None:
    """Write all rows as one table, and what they call, above the page's section of growth.

    ``said`` are the command, commit and machine.
    """
    lines = [
        "# Speed",
        "",
        f"Made by `{said['command']}` on {time.strftime('%Y-%m-%d')}, commit {said['commit']}; {said['machine']}."
        + (" Small sizes, which say little." if size == QUICK else ""),
        "",
        f"The machine in the same run (threads: {peak.threads}): {peak.float32:,.0f} GFLOP/s in float32,"
        f" {peak.bfloat16:,.0f} in bf16, {peak.memory:.0f} GB/s read from memory. *Ratio* is to the first way of a row"
        " that was measured. *Differs* is from our result in float32 or the rival's, in standard deviations of it."
        " *Of peak* is the share of these GFLOP/s or GB/s. *Memory* is the largest of the process, or on the GPU."
        " *First* is a first call, with what is compiled once. *Wanted* is for two threads of a processor with 315"
        " GFLOP/s in float32 and 1,474 in bf16.",
        "",
        f"| {' | '.join(HEADS)} |",
        "|---" * len(HEADS) + "|",
        *(line for row in rows for line in _lines(row, peak)),
        "",
        "What is called:",
        "",
        *(f"- {row.work[0].upper()}{row.work[1:]}: `{row.call}`." for row in rows),
    ]
    growth = _parts(path)[1]
    path.write_text("\n".join(lines) + "\n" + growth)


def write_growth(path: Path, lines: list[str]) -> None:
    """Write the page's section of growth, below its table."""
    path.write_text(_parts(path)[0] + "\n".join(["", GROWTH, "", *lines, ""]))


GROWTH = "## Growth"


def _parts(path: Path) -> tuple[str, str]:
    above, head, below = (path.read_text() if path.exists() else "").partition(f"\n{GROWTH}\n")
    return above, head + below


def _lines(row: Row, peak: Peak) -> list[str]:
    reference = next((way.rate for way in row.ways if math.isfinite(way.rate)), math.nan)
    firsts = [(f"{row.work} ({row.unit})", row.to_reach)] + [("", "")] * (len(row.ways) - 1)
    return [
        f"| {' | '.join((work, *_cells(way, row, peak, reference), wanted))} |"
        for way, (work, wanted) in zip(row.ways, firsts, strict=True)
    ]


def _cells(way: Way, row: Row, peak: Peak, reference: float) -> tuple[str, ...]:
    if not math.isfinite(way.rate):
        return way.name, way.note, *[""] * 6
    most = peak.bfloat16 if "bf16" in way.name else peak.float32
    unsaid = "left open" in way.name  # in which precision, so of which peak, is not known here
    share = 0.0 if unsaid else way.rate * (row.flop / most + row.bytes / peak.memory) / 1e9
    return (
        way.name + (f" ({way.note})" if way.note else ""),
        f"{way.rate:,.3g}" if way.rate < 1000 else f"{way.rate:,.0f}",
        f"{way.rate / reference:,.{2 if way.rate < 10 * reference else 0}f}",
        *(("", "") if way.differs is None else (f"{one:.1e}" for one in way.differs)),
        f"{100 * share:.0f} %" if share else "",
        "" if way.memory is None else f"{way.memory:.1f}",
        "" if way.first is None else f"{way.first:.1f}",
    )
