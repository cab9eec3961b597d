"""How many year-long daily series a second each filler fills, 60 % missing, one machine, one run.

    OMP_NUM_THREADS=2 python benchmarks/gap_filling_speed.py [--series 4000] [--threads 2] [--repeats 3]

The fastest of the repeats is printed, in wall time and in time of the processor, which other work on the machine
disturbs less. Fitting is not counted.
"""

import argparse
import os
import time
from dataclasses import replace

import numpy as np
import torch

from vadose.gapfill import ClimatologyAR1, Filler, Interpolation, Series, series_of
from vadose.gapfill.cru import ContinuousRecurrentUnit


def made_up(cells: int) -> Series:
    """A year of 60 % missing values, seven covariates and eleven static fields."""
    generator = np.random.default_rng(0)
    values = 0.25 + 0.1 * generator.normal(size=(365, cells)).astype(np.float32)
    values[generator.random(values.shape) < 0.6] = np.nan
    weather = generator.normal(size=(365, cells, 7)).astype(np.float32)
    return series_of(values, covariates=weather, static=generator.normal(size=(cells, 11)).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    series = made_up(options.series)
    few, bare = series.cells(slice(100)), replace(series, covariates=series.covariates[..., :0])
    runs: list[tuple[str, Filler, Series]] = [
        ("last value", Interpolation("last_value"), series),
        ("linear", Interpolation("linear"), series),
        ("DCT-PLS", Interpolation("dct_pls"), few),
        ("climatology + AR(1)", ClimatologyAR1(), series),
        ("CRU, no weather", ContinuousRecurrentUnit(steps=1), bare),
        ("CRU", ContinuousRecurrentUnit(steps=1), series),
    ]
    print(f"{options.threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before\n")
    print("| filler | mode | series/s | series/s of processor time |\n|---|---|---|---|")
    for name, filler, given in runs:
        filler.fit(given if name == "climatology + AR(1)" else given.cells(slice(100)))
        for mode in filler.modes:
            wall, processor = [], []
            for _ in range(options.repeats):
                start = time.perf_counter(), time.process_time()
                filler.predict(given, mode)
                wall.append(time.perf_counter() - start[0])
                processor.append(time.process_time() - start[1])
            count = given.values.shape[1]
            print(f"| {name} | {mode} | {count / min(wall):,.0f} | {count / min(processor):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
