"""A forecast of one CONUS day from cube to store: seconds of reading, network and writing, and memory.

    OMP_NUM_THREADS=1 python benchmarks/conus_day.py [--rows 340 --columns 700] [--days 4] [--tiles 65536]
        [--precisions float32 bfloat16] [--compile] [--ways windows whole tiles]

Makes a cube of random values by the house's own store (9 daily and 10 fixed predictors, those of scenario S3 of the
paper), a checkpoint of the paper's network (filters 4 .. 256, three days) with random weights, and forecasts the last
day of the cube by `vadose.predict.forecast.forecast`, each way in a process of its own. Prints one Markdown table.

- reading, network, writing, rest: seconds of the processor, summed over threads, by the profiler: of what builds
  the samples and looks for missing predictors, of the forecast of the day, of the store written, of all else. The
  page cache is emptied of the cube before. Random values compress less than real ones: reading is an upper bound.
- s a day: all of it, by time of the processor and by the clock.
- peak: largest resident memory of the process, which is some 0.5 GB before it begins.
- difference: of the store from the first row's of the whole map, the largest, in standard deviations of that.
- windows: 8 x 8 at stride 2 of a part of 72 x 72 cells; the seconds of the network are multiplied by the windows of
  the whole map over those of the part: an estimate. Reading and writing are as for the map.

bfloat16 pays on processors with instructions for it alone. With --compile the network goes through `torch.compile`,
warmed up before; a row that says so fails where nothing was compiled. For the network alone on a
GPU see full_map.py.
"""

import argparse
import cProfile
import os
import platform
import pstats
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from downscaling_speed import forget
from full_map import settle
from paper_predictors import DAILY, FIXED
from torch._dynamo.utils import counters

import vadose.predict.apply
from vadose.artefact import provenance, remove
from vadose.cube import open_cube
from vadose.cube.store import Store
from vadose.grid import ease_grid
from vadose.models import to_checkpoint
from vadose.models.convlstm import ConvLSTM
from vadose.models.inputs import Channels
from vadose.parallel.running import Running
from vadose.predict.forecast import forecast
from vadose.samples.windows import Samples
from vadose.variables import variable

CHANNELS = Channels(DAILY, FIXED)
LOOK_BACK, WINDOW, STRIDE, PART = 3, 8, 2, 72
PARTS = {
    "reading": [("windows.py", "__init__"), ("forecast.py", "_missing")],
    "network": [("apply.py", "_from_map"), ("apply.py", "_from_windows")],
    "writing": [("dataset.py", "to_zarr")],
}


def random_cube(path: Path, shape: tuple[int, int], days: pd.DatetimeIndex) -> None:
    """Write a cube of random values as `vadose build` lays one out."""
    rng, whole = np.random.default_rng(0), ease_grid("9km")
    row, column = (int(v) for v in whole.rowcol(49.5, -125.0))
    grid = whole.part(slice(row, row + shape[0]), slice(column, column + shape[1]))
    store = Store(path, grid)
    store.create({})
    store.set_days(days)

    def drawn(name: str, *shape: int) -> np.ndarray:
        known = variable(name)
        return rng.random(shape, np.float32) + np.float32(max(known.valid_range[0], 0) if known else 0)

    for name in (*DAILY, "soil_moisture"):
        store.add(name, len(days))
        for day in range(len(days)):
            store.write(name, store.rounded(name, drawn(name, 1, *shape)), slice(day, day + 1))
    for name in FIXED:
        store.add(name, None)
        store.write(name, drawn(name, *shape), None)
    group = store.open()
    group.create_array("mask", data=np.ones(shape, bool), dimension_names=("y", "x"))
    said = {"dataset": "random", "layer": "0-10 cm", "simulated": "true", **provenance(seed=0)}
    group.attrs.update(said)
    store.mark(**said, state="complete")


def random_network(path: Path, cube: xr.Dataset, window: int | None) -> None:
    """Write a checkpoint as `vadose train` writes one; statistics are those of a corner of the cube."""
    torch.manual_seed(0)
    samples = Samples(cube.isel(y=slice(64), x=slice(64)), CHANNELS, look_back=LOOK_BACK, window=None)
    inputs = samples.inputs(samples.all_windows(samples.n_days - 1))
    model = ConvLSTM(CHANNELS)
    model.fit_normalisation([(inputs, torch.rand(1, len(CHANNELS.leads), 64, 64))])
    settle(model, inputs)
    said = {"model": "convlstm", "weather": CHANNELS.weather, "observed": "soil_moisture", "scenario": "S3"}
    kept = to_checkpoint("convlstm", {}, model) | {"look_back": LOOK_BACK, "window": window, "attributes": said}
    torch.save(kept, path)


def windows(rows: int, columns: int) -> int:
    """Windows of a map, those at its end included."""
    along = [len({*range(0, cells - WINDOW + 1, STRIDE), cells - WINDOW}) for cells in (rows, columns)]
    return along[0] * along[1]


def told(what: str, share: float) -> None:
    if "uncompiled" in what:
        raise RuntimeError(f"a row that says compiled is not: {what}")


def measured(folder: Path, way: str, cells: int, precision: str, compiled: bool) -> dict[str, float]:
    """Forecast the last day in this process: seconds by part, and the largest memory."""
    cube = open_cube(folder / "cube.zarr")
    day = str(cube.time.values[-1])[:10]
    checkpoint = folder / ("windows.pt" if way == "windows" else "maps.pt")
    vadose.predict.apply.PIECE = cells if way == "tiles" else 1 << 40

    def run(edge: int | None, name: str) -> None:
        part, running = cube.isel(y=slice(edge), x=slice(edge)), Running(precision=precision, compile=compiled)
        out = folder / f"{name}.zarr"
        forecast(checkpoint, part, out, first=day, last=day, stride=STRIDE, running=running, progress=told)

    # What is imported or compiled late does not count; code is compiled for pieces of one size.
    run(None if compiled else 2 * WINDOW, f"warm_{os.getpid()}")
    if compiled and not counters["stats"]["unique_graphs"]:
        raise RuntimeError("a row that says compiled is not: no graph was compiled")
    forget(folder / "cube.zarr")
    profile, clock, processor = cProfile.Profile(time.process_time), time.perf_counter(), time.process_time()
    profile.runcall(run, PART if way == "windows" else None, name_of(way, cells, precision))
    spent = {"clock": time.perf_counter() - clock, "total": time.process_time() - processor}
    functions = pstats.Stats(profile).stats.items()  # type: ignore[attr-defined]
    for part, names in PARTS.items():
        spent[part] = sum(of[3] for (file, _, function), of in functions if (Path(file).name, function) in names)
    return spent | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def name_of(way: str, cells: int, precision: str) -> str:
    return f"{way}_{cells}_{precision}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=340)
    parser.add_argument("--columns", type=int, default=700)
    parser.add_argument("--days", type=int, default=4, help="of the cube, all of which are read")
    parser.add_argument("--tiles", type=int, nargs="+", default=[vadose.predict.apply.PIECE], help="cells of a piece")
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bfloat16"], default=["float32"])
    parser.add_argument("--compile", action="store_true", help="compiled too (wants a C++ compiler)")
    parser.add_argument(
        "--ways", nargs="+", choices=["whole", "tiles", "windows"], default=["whole", "tiles", "windows"]
    )
    options = parser.parse_args()
    shape = options.rows, options.columns
    if min(shape) < PART:
        parser.error(f"a map of {shape[0]} x {shape[1]} cells; {PART} x {PART} at least")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_cube(folder / "cube.zarr", shape, pd.date_range("2022-06-01", periods=options.days))
        cube = open_cube(folder / "cube.zarr")
        for window in (None, WINDOW):
            random_network(folder / ("windows.pt" if window else "maps.pt"), cube, window)
        size = forget(folder / "cube.zarr") / 1e6
        print(
            f"{shape[0]} x {shape[1]} cells, {len(DAILY)} daily and {len(FIXED)} fixed predictors, {options.days} "
            f"days of {size:.0f} MB; {torch.get_num_threads()} threads, {platform.machine()}, torch "
            f"{torch.__version__}, load {os.getloadavg()[0]:.1f} before\n"
        )
        heads = ["way", "precision", *PARTS, "rest", "s a day", "by the clock", "peak [GB]", "difference"]
        print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        first: xr.DataArray | None = None
        tiles = {way: options.tiles if way == "tiles" else options.tiles[:1] for way in options.ways}
        pairs = [(way, tile) for way, of_way in tiles.items() for tile in of_way]
        for (way, tile), precision, compiled in product(pairs, options.precisions, {False, options.compile}):
            # Memory is told of a process as the largest it ever had.
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                spent = alone.submit(measured, folder, way, tile, precision, compiled).result()
            store = folder / f"{name_of(way, tile, precision)}.zarr"
            found = xr.open_zarr(store, consolidated=False).soil_moisture.load()
            remove(store)
            told = f"{precision}, compiled" if compiled else precision
            if way == "windows":
                factor = windows(*shape) / windows(PART, PART)
                what = f"windows of {WINDOW} at stride {STRIDE}, from {PART} x {PART} cells"
                print(f"| {what} | {told} | | {factor * spent['network']:.0f} | | | | | | |", flush=True)
                continue
            first = found if first is None else first
            apart = float(abs(found - first).max() / first.std())
            rest = spent["total"] - sum(spent[part] for part in PARTS)
            seconds = [
                f"{value:.1f}" for value in (*(spent[part] for part in PARTS), rest, spent["total"], spent["clock"])
            ]
            print(
                f"| {'whole map' if way == 'whole' else f'pieces of {tile} cells'} | {told} | {' | '.join(seconds)} | "
                f"{spent['peak']:.1f} | {apart:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
