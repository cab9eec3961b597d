"""Time, memory and disk of the simulated world on the whole 9 km grid of CONUS.

    python benchmarks/twin_conus.py --days 12 --out /tmp/conus

Simulates the days (after a spin-up that is timed apart), writes SMAP L3, gridMET and daily IMERG of each, and
prints a table; the five years are a projection from the measured days, and said to be one.
"""

import argparse
import resource
import shutil
import time
from pathlib import Path

import pandas as pd

from vadose.grid import ease_grid
from vadose.twin.truth import simulate
from vadose.twin.world import build_granule_world

CONUS = (-125.0, 25.0, -66.5, 49.5)
FIRST = "2019-06-01"
FIVE_YEARS = 1826


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    last = f"{pd.Timestamp(FIRST) + pd.Timedelta(days=options.days - 1):%Y-%m-%d}"
    grid = ease_grid("9km").bounding_box(*CONUS)

    begin = time.monotonic()
    for _piece in simulate(grid, FIRST, last, chunk=4, spin_up=0):
        pass
    simulated = (time.monotonic() - begin) / options.days

    shutil.rmtree(options.out, ignore_errors=True)
    begin = time.monotonic()
    build_granule_world(options.out, FIRST, last, bbox=CONUS, stations=100, workers=options.workers, spin_up=0)
    written = (time.monotonic() - begin) / options.days
    size = sum(p.stat().st_size for p in (options.out / "granules").rglob("*") if p.is_file())
    fixed = sum(p.stat().st_size for n in ("solus100", "srtm", "mcd12q1")
                for p in (options.out / "granules" / n).rglob("*") if p.is_file())  # fmt: skip
    daily = (size - fixed) / options.days
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6

    print(f"grid {grid.shape[0]} x {grid.shape[1]} = {grid.shape[0] * grid.shape[1]} cells, {options.days} days")
    print(f"simulation alone            {simulated:8.2f} s a day")
    print(f"simulation and all writing  {written:8.2f} s a day (soils, terrain and stations included)")
    print(f"peak memory                 {peak:8.2f} GB, and {child:.2f} GB in the largest of {options.workers} writers")
    print(f"disk                        {daily / 1e6:8.1f} MB a day, and {fixed / 1e9:.2f} GB once")
    print(f"five years, projected       {written * FIVE_YEARS / 3600:8.1f} h, {daily * FIVE_YEARS / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
