"""Time, memory and disk of the simulated world: the whole 9 km grid of CONUS, or the block of the forecast study.

    python benchmarks/twin_conus.py --days 12 --out /tmp/conus [--fixed] [--more]
    python benchmarks/twin_conus.py --study --out /tmp/study

The first simulates the days in one process, writes SMAP L3, gridMET and daily IMERG of each, with --more also NLDAS-2
(four hours a day) and MOD09GA, with --fixed also soils (100 m), terrain (90 m) and land cover (500 m), and prints a
table; the five years are a projection from the measured days, and said to be one. The second writes the world of
configs/cubes/forecast_demo.yaml on all cores, builds its cube, and prints seconds on the clock and of all cores.
"""

import argparse
import os
import resource
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from vadose.cube import build_from_granules
from vadose.experiments import load_cube
from vadose.grid import ease_grid
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.modis import write_mcd12q1, write_mod09ga
from vadose.twin.granules.nldas import write_nldas_noah
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.soils import write_solus
from vadose.twin.granules.terrain import write_srtm
from vadose.twin.truth import simulate
from vadose.twin.world import MORE, NLDAS_HOURS, build_granule_world

CONUS = (-125.0, 24.5, -66.5, 49.5)
FIRST = "2019-06-01"
FIVE_YEARS = 1826
PIECE = 4
DAILY: dict[str, Callable[..., object]] = {
    "smap_l3": write_smap_l3,
    "gridmet": write_gridmet,
    "imerg": partial(write_imerg, frequency="daily"),
}
FURTHER: dict[str, Callable[..., object]] = {
    "nldas_noah": partial(write_nldas_noah, hours=NLDAS_HOURS, subset=True),
    "mod09ga": write_mod09ga,
}
FIXED = {"mcd12q1": write_mcd12q1, "srtm": write_srtm, "solus100": write_solus}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=12)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    if options.study:
        measure_study(options.out)
        return
    daily_writers = DAILY | (FURTHER if options.more else {})
    last = f"{pd.Timestamp(FIRST) + pd.Timedelta(days=options.days - 1):%Y-%m-%d}"
    grid = ease_grid("9km").bounding_box(*CONUS)
    seconds = dict.fromkeys(("simulation", *daily_writers, *FIXED), 0.0)
    begin = time.monotonic()

    def lap(name: str) -> None:
        nonlocal begin
        seconds[name] += time.monotonic() - begin
        begin = time.monotonic()

    for number, piece in enumerate(simulate(grid, FIRST, last, chunk=PIECE, spin_up=0, land_model=options.more)):
        lap("simulation")
        for name, write in daily_writers.items():
            write(piece, options.out / name)
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
    daily = sum(seconds[name] for name in ("simulation", *daily_writers)) / options.days
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, pieces of {PIECE} days")
    print(f"five years, projected: {daily * FIVE_YEARS / 3600:.1f} h of one core")


def measure_study(out: Path) -> None:
    """Write the world of the forecast study and build its cube, and say what each took."""
    recipe = load_cube("forecast_demo")
    workers = len(os.sched_getaffinity(0))
    world = out / "world"
    for name, make in (
        (
            "world",
            partial(
                build_granule_world,
                world,
                recipe.first,
                recipe.last,
                bbox=recipe.bbox,
                stations=40,
                more=MORE[:2],
                workers=workers,
            ),
        ),
        ("cube", partial(build_from_granules, world / "granules", out / "cube.zarr", recipe, workers=workers)),
    ):
        begin, busy = time.monotonic(), _processor_seconds()
        made = make()
        clock, spent = time.monotonic() - begin, _processor_seconds() - busy
        files = [p for p in made.rglob("*") if p.is_file()]
        size = sum(p.stat().st_size for p in files) / 1e6
        print(f"{name:<6}{clock:7.0f} s on {workers} cores, {spent:.0f} s of one, {size:.0f} MB in {len(files)} files")


def _processor_seconds() -> float:
    """Of this process and those it has ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
