"""Time, memory and disk of the simulated world on the whole 9 km grid of CONUS, in one process.

    python benchmarks/twin_conus.py --days 12 --out /tmp/conus [--fixed]

Simulates the days, writes SMAP L3, gridMET and daily IMERG of each, with --fixed also soils (100 m), terrain
(90 m) and land cover (500 m), and prints a table; the five years are a projection from the measured days, and
said to be one.
"""

import argparse
import resource
import shutil
import time
from pathlib import Path

import pandas as pd

from vadose.grid import ease_grid
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.modis import write_mcd12q1
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.soils import write_solus
from vadose.twin.granules.terrain import write_srtm
from vadose.twin.truth import simulate

CONUS = (-125.0, 24.5, -66.5, 49.5)
FIRST = "2019-06-01"
FIVE_YEARS = 1826
PIECE = 4
DAILY = {"smap_l3": write_smap_l3, "gridmet": write_gridmet, "imerg": write_imerg}
FIXED = {"mcd12q1": write_mcd12q1, "srtm": write_srtm, "solus100": write_solus}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    last = f"{pd.Timestamp(FIRST) + pd.Timedelta(days=options.days - 1):%Y-%m-%d}"
    grid = ease_grid("9km").bounding_box(*CONUS)
    seconds = dict.fromkeys(("simulation", *DAILY, *FIXED), 0.0)
    begin = time.monotonic()

    def lap(name: str) -> None:
        nonlocal begin
        seconds[name] += time.monotonic() - begin
        begin = time.monotonic()

    for number, piece in enumerate(simulate(grid, FIRST, last, chunk=PIECE, spin_up=0)):
        lap("simulation")
        for name, write in DAILY.items():
            write(piece, options.out / name, **({"frequency": "daily"} if name == "imerg" else {}))
            lap(name)
        if options.fixed and not number:
            for name, write in FIXED.items():
                write(piece, options.out / name)
                lap(name)

    print(
        f"{grid.shape[0]} x {grid.shape[1]} = {grid.shape[0] * grid.shape[1]} cells, {options.days} days, one process"
    )
    for name, spent in seconds.items():
        files = [p for p in (options.out / name).rglob("*") if p.is_file()]
        size = sum(p.stat().st_size for p in files) / 1e6
        if name in FIXED and spent:
            print(f"{name:<12}{spent:9.1f} s once     {size:9.0f} MB once in {len(files)} files")
        elif name not in FIXED:
            print(f"{name:<12}{spent / options.days:9.2f} s a day    {size / options.days:9.1f} MB a day")
    daily = sum(seconds[name] for name in ("simulation", *DAILY)) / options.days
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, pieces of {PIECE} days")
    print(f"five years, projected: {daily * FIVE_YEARS / 3600:.1f} h of one core")


if __name__ == "__main__":
    main()
