"""Measure the rows and write the page of speed: ``python -m benchmarks.speed [--quick | --large] [--only NAME ...]``.

With ``VADOSE_KERAS_PYTHON``, an interpreter that has Keras and a backend, the same network is trained in Keras.
A page is written where all rows are measured, or ``--out`` is given.
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from benchmarks.speed import data, forecasts, maps, scores
from benchmarks.speed.page import write_page
from benchmarks.speed.row import LARGE, QUICK, ROWS, USUAL, Peak, Plan, Row, Way, alone, measured

from vadose.errors import VadoseError

MODULES = forecasts, maps, data, scores
"""Those that enter rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const=QUICK, help="small: to see that all runs")
    size.add_argument("--large", dest="size", action="store_const", const=LARGE, help="where there is time")
    parser.add_argument("--device", default="cpu", help="of networks, as torch names it")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--out", type=Path, help="the page [default: docs/speed.md where all rows are measured]")
    options = parser.parse_args()
    plan = Plan(USUAL if options.size is None else options.size, options.device)
    try:
        plan.running().where()
    except VadoseError as error:
        parser.error(str(error))
    if plan.size == QUICK:
        # Two rows at a time: see `each`. Read by processes that import torch from here on.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    begin, peak = time.monotonic(), alone(Peak.now, plan.device)[0]
    print(json.dumps(asdict(peak)), flush=True)
    rows = list(each(options.only or list(ROWS), plan))
    page = options.out or (None if options.only else Path("docs/speed.md"))
    if page is not None:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        said = {
            "command": shlex.join(["python", "-m", "benchmarks.speed", *sys.argv[1:]]),
            "commit": commit,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f} at the end",
        }
        write_page(page, rows, peak, said, size=plan.size)
        print(f"{page} after {(time.monotonic() - begin) / 60:.1f} minutes")
    sys.exit(any(way.name == "failed" for row in rows for way in row.ways))


def each(names: list[str], plan: Plan) -> Iterator[Row]:
    """Measure rows one after the other, small ones two at a time, and say how long those left will take."""
    expected = {name: ROWS[name][0].takes[min(plan.size, USUAL)] for name in names}
    begin, done = time.monotonic(), 0.0
    with ThreadPoolExecutor(2 if plan.size == QUICK else 1) as pool:
        rows = pool.map(partial(tried, plan=plan), names)
        for number, (name, (row, seconds)) in enumerate(zip(names, rows, strict=True), start=1):
            done += expected.pop(name)
            spent = time.monotonic() - begin
            told = f"{spent / 60:.1f} minutes, about {sum(expected.values()) * spent / done / 60:.1f} left"
            print(f"{number} of {len(names)}, {name}: {seconds:.0f} s; {told}", flush=True)
            for way in row.ways:
                print("   ", json.dumps(asdict(way)), flush=True)
            yield row


def tried(name: str, plan: Plan) -> tuple[Row, float]:
    """A row and its seconds; one that fails says so and does not stop the others."""
    start = time.monotonic()
    try:
        row = measured(name, plan)
    except Exception as error:
        traceback.print_exc()
        row = replace(ROWS[name][0], ways=[Way("failed", note=f"{type(error).__name__}: {error}".splitlines()[0])])
    return row, time.monotonic() - start


if __name__ == "__main__":
    main()
