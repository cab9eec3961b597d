"""Build and map a county at 100 m from simulated granules: rates, memory, two workers of which one is killed, CONUS.

python benchmarks/county_100m.py --size 600 --out /tmp/county

Granules of 32 days are those of Landsat 8 and 9 (every 8 days) and of Sentinel-1 in both passes (every 12 days each),
without clouds, of one simulated day; with 3DEP, NLCD and POLARIS. The map is that of an MMNet of the usual size, not
trained, which takes as long as a trained one, with weather of 9 km, of `MAPPED` days. Prints tables in Markdown.
"""

import argparse
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr

from vadose.cube import Recipe, build_from_granules, open_cube
from vadose.experiments import load_cube
from vadose.grid import Grid, ease_grid
from vadose.models import MODELS, to_checkpoint
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.predict.coarse import with_last_values
from vadose.predict.maps import downscale_maps
from vadose.twin.granules.landsat import passes, write_landsat
from vadose.twin.granules.sentinel1 import write_sentinel1
from vadose.twin.granules.soils import write_polaris
from vadose.twin.granules.terrain import write_3dep, write_nlcd
from vadose.twin.truth import simulate

FIRST, DAYS, MAPPED = "2022-06-01", 32, 4
FEATURES = Features(
    ("ndvi", "evi", "ndwi", "lswi", "cross_ratio", "dpsvim", "polarization", "elevation", "slope", "clay_fraction"),
    ("precipitation", "air_temperature", "specific_humidity", "shortwave_radiation", "surface_temperature"),
    days=10,
)
CONUS = 8.08e6
"""Land of CONUS [km2]."""
PIXEL = 0.010018
"""A pixel [km2]."""


def county(size: int) -> Grid:
    """Square of pixels around 40 N, 100 W, where four tiles of 3DEP meet."""
    whole, half = ease_grid("100m"), size // 2
    row, column = (int(v) for v in whole.rowcol(40.0, -100.0))
    return whole.part(slice(row - half, row + half), slice(column - half, column + half))


def recipe(size: int) -> Recipe:
    """The built-in recipe of these pixels and days."""
    place = county(size).coordinates()
    (west, east), (south, north) = ((float(of.min()) - 1e-5, float(of.max()) + 1e-5) for of in (place.lon, place.lat))
    last = pd.Timestamp(FIRST) + pd.Timedelta(days=DAYS - 1)
    return load_cube("county_100m").of((west, south, east, north), (FIRST, f"{last:%Y-%m-%d}"))


def publish(size: int, folder: Path) -> None:
    """Write the granules."""
    one = next(simulate(county(size), FIRST, FIRST, chunk=1, spin_up=0))
    one["cloud"] = one.cloud * 0
    days = pd.date_range(FIRST, periods=DAYS)
    for day in days:
        today = one.assign_coords(time=[day])
        for satellite in ("LC08", "LC09"):
            if passes(day, satellite, 30):
                write_landsat(today, folder / "landsat", satellite=satellite)
        for orbit in ("ascending", "descending"):
            write_sentinel1(today, folder / "sentinel1", orbit=orbit)
    write_3dep(one, folder / "3dep")
    write_nlcd(one, folder / "nlcd")
    write_polaris(one, folder / "polaris", properties=("clay", "sand", "bd"), depths=("0_5",))


def build(size: int, granules: Path, out: Path, workers: int, kill: bool) -> dict[str, float]:
    """Build the cube; processor and wall time [s], largest memory of a process [MB]."""
    begun = time.perf_counter()
    if workers == 1:
        build_from_granules(granules, out, recipe(size))
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
            Client(cluster) as client,
        ):
            killed: list[int] = []

            def tell(what: str, share: float) -> None:
                if kill and share > 0.1 and not killed:
                    killed.append(next(iter(client.run(os.getpid).values())))
                    os.kill(killed[0], signal.SIGKILL)

            build_from_granules(granules, out, recipe(size), scheduler=cluster.scheduler_address, progress=tell)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "processor": sum(of.ru_utime + of.ru_stime for of in used),
        "wall": time.perf_counter() - begun,
        "memory": max(of.ru_maxrss for of in used) / 1e3,
    }


def draw(size: int, cube: Path, out: Path) -> dict[str, float]:
    """Map the last days of a cube; processor and wall time [s], largest memory of the process [MB]."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    lat, lon = (float(of.mean()) for of in (county(size).coordinates().lat, county(size).coordinates().lon))
    cells = ease_grid("9km").bounding_box(lon - 1, lat - 1, lon + 1, lat + 1)
    weather = next(simulate(cells, FIRST, f"{recipe(size).days[-1]:%Y-%m-%d}", chunk=DAYS, spin_up=0))
    torch.manual_seed(0)
    model = MODELS["mmnet"](FEATURES)
    example = example_fine(FEATURES, batch=64)
    model.fit_normalisation([(Fine(example.snapshot, example.series), 0.3 * torch.rand(64))])
    torch.save(to_checkpoint("mmnet", {}, model) | {"domain": None, "attributes": {"mode": "causal"}}, out / "model.pt")
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    fields = [weather[list(FEATURES.series)].assign_attrs(weather.attrs | {"mode": "causal"})]
    fine = with_last_values(open_cube(cube))
    downscale_maps(out / "model.pt", fine, fields, recipe(size).days[-MAPPED:], out / "maps.zarr")
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "processor": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall": time.perf_counter() - begun,
        "memory": after.ru_maxrss / 1e3,
    }


def in_a_process(job: Callable[..., dict[str, float]], *given: object) -> dict[str, float]:
    """A job in a process of its own, whose memory is its alone."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(job, *given).result()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    chosen = parser.parse_args()
    size, out = chosen.size, chosen.out
    publish(size, out / "granules")
    cubes = {}
    print("| workers | processor [s] | wall [s] | largest process [MB] |\n|---|---|---|---|", flush=True)
    for workers, kill in [(number, False) for number in chosen.workers] + [(2, True)] * (2 in chosen.workers):
        name = f"{workers}{', one killed' if kill else ''}"
        cubes[name] = out / f"cube-{workers}-{kill}.zarr"
        found = in_a_process(build, size, out / "granules", cubes[name], workers, kill)
        print(f"| {name} | {found['processor']:.0f} | {found['wall']:.0f} | {found['memory']:.0f} |", flush=True)
        if workers == 1:
            built = found
            rate = size**2 * DAYS / found["processor"]
    first, *others = (open_cube(path).load() for path in cubes.values())
    for other in others:
        xr.testing.assert_equal(first, other)
    drawn = in_a_process(draw, size, next(iter(cubes.values())), out)
    of_map = size**2 * MAPPED / drawn["processor"]
    print(
        f"\n{size} x {size} pixels, all cubes equal; CONUS is {CONUS / PIXEL / 1e6:.0f} million pixels, "
        f"{np.ceil(CONUS / PIXEL / size**2):.0f} such squares.\n\n"
        "| step | days | processor [s] | wall [s] | memory [MB] | pixel-days a second | CONUS a day [h] |\n"
        "|---|---|---|---|---|---|---|"
    )
    for step, days, found, speed in (("build", DAYS, built, rate), ("map", MAPPED, drawn, of_map)):
        cells = [step, days, *(f"{found[key]:.0f}" for key in ("processor", "wall", "memory"))]
        cells += [f"{speed:,.0f}", f"{CONUS / PIXEL / speed / 3600:.2f}"]
        print("|", " | ".join(map(str, cells)), "|")


if __name__ == "__main__":
    main()
