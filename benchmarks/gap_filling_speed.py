"""How many year-long daily series a second each filler fills, 60 % missing, one machine, one run.

    python benchmarks/gap_filling_speed.py [--series 2000] [--processes 2] [--repeats 3]

Each process fills its own series on one thread, all at once, and their rates are added: operations are small, and
threads that share them wait for each other. Beside it the rate by time of the processor, which other work on the
machine disturbs less. The fastest of the repeats counts; fitting does not.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import torch

from vadose.gapfill import ClimatologyAR1, Filler, Interpolation, Series, series_of
from vadose.gapfill.cru import ContinuousRecurrentUnit


def made_up(cells: int, seed: int) -> Series:
    """A year of 60 % missing values, seven covariates and eleven static fields."""
    generator = np.random.default_rng(seed)
    values = 0.25 + 0.1 * generator.normal(size=(365, cells)).astype(np.float32)
    values[generator.random(values.shape) < 0.6] = np.nan
    weather = generator.normal(size=(365, cells, 7)).astype(np.float32)
    return series_of(values, covariates=weather, static=generator.normal(size=(cells, 11)).astype(np.float32))


def rates(seed: int, cells: int, repeats: int) -> dict[tuple[str, str], tuple[float, float]]:
    """Series a second of each filler and mode, by the clock and by time of the processor."""
    torch.set_num_threads(1)
    series = made_up(cells, seed)
    few, bare = series.cells(slice(100)), replace(series, covariates=series.covariates[..., :0])
    runs: list[tuple[str, Filler, Series]] = [
        ("last value", Interpolation("last_value"), series),
        ("linear", Interpolation("linear"), series),
        ("DCT-PLS", Interpolation("dct_pls"), few),
        ("climatology + AR(1)", ClimatologyAR1(), series),
        ("CRU, no weather", ContinuousRecurrentUnit(steps=1), bare),
        ("CRU", ContinuousRecurrentUnit(steps=1), series),
    ]
    found = {}
    for name, filler, given in runs:
        filler.fit(given if name == "climatology + AR(1)" else given.cells(slice(100)))
        for mode in filler.modes:
            wall, processor = [], []
            for _ in range(repeats):
                start = time.perf_counter(), time.process_time()
                filler.predict(given, mode)
                wall.append(time.perf_counter() - start[0])
                processor.append(time.process_time() - start[1])
            count = given.values.shape[1]
            found[name, mode] = count / min(wall), count / min(processor)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.processes} processes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    n = options.processes
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(rates, range(n), [options.series] * n, [options.repeats] * n))
    print("| filler | mode | series/s | series/s of processor time, one core |\n|---|---|---|---|")
    for name, mode in found[0]:
        wall, processor = np.array([of_process[name, mode] for of_process in found]).T
        print(f"| {name} | {mode} | {wall.sum():,.0f} | {processor.mean():,.0f} |")


if __name__ == "__main__":
    main()
