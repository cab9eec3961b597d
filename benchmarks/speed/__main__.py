"""Measure the rows and write the page of speed: ``python -m benchmarks.speed [--quick] [--only NAME ...]``."""

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.speed import data, forecasts, maps, scores
from benchmarks.speed.page import write_page
from benchmarks.speed.row import ROWS, Peak, Row, alone, measured

MODULES = forecasts, maps, data, scores
"""Those that enter rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all runs")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, default=Path("docs/speed.md"))
    options = parser.parse_args()
    begin, peak = time.monotonic(), alone(Peak.now)[0]
    rows: list[Row] = []
    for name in options.only or ROWS:
        start = time.monotonic()
        rows.append(measured(name, options.quick))
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        for way in rows[-1].ways:
            print("   ", json.dumps(asdict(way)), flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f} at the end"
    if not options.only:
        write_page(options.out, rows, peak, commit, machine, quick=options.quick)
        print(f"{options.out} after {(time.monotonic() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
