"""Time and memory of the long steps against size: ``python -m benchmarks.speed.growth [--out docs/growth.svg]``.

Each step is called as it is called, in a process of its own, at sizes that double; the first call of a process is
not counted. A line that rises more steeply than the grey one grows faster than its work.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
import torch
from benchmarks.speed.cubes import FIRST, random_cube, random_run
from benchmarks.speed.forecasts import PLAIN
from benchmarks.speed.maps import DAY, opened, random_map, random_network
from benchmarks.speed.row import alone, seconds
from benchmarks.speed.scores import evaluated, random_forecasts

import vadose as vd
from vadose.predict.maps import downscale_maps


class Step(NamedTuple):
    """What grows: a call, what its size is of, the sizes, and what is made for each of them before."""

    name: str
    size: str
    sizes: list[int]
    prepare: Callable[[Path, int], None]
    call: Callable[[Path, int], float]


def cube_of_cells(folder: Path, cells: int) -> None:
    edge = round(cells**0.5)
    random_run(folder / "net", random_cube(folder / "cube.zarr", (edge, edge), 6))


def forecast_cells(folder: Path, cells: int, workers: int = 1) -> float:
    day = f"{pd.Timestamp(FIRST) + pd.Timedelta(days=5):%Y-%m-%d}"
    how = {"init": day, "workers": workers, "running": PLAIN}
    vd.forecast(folder / "net", folder / "cube.zarr", out=folder / "warm.zarr", **how)
    return seconds(lambda: vd.forecast(folder / "net", folder / "cube.zarr", out=folder / "f.zarr", **how))[0]


def cube_of_days(folder: Path, days: int) -> None:
    random_run(folder / "net", random_cube(folder / "cube.zarr", (64, 64), days + 3))


def forecast_days(folder: Path, days: int, workers: int = 1) -> float:
    day = pd.date_range(FIRST, periods=days + 3)[[3, -1]].strftime("%Y-%m-%d")
    call = {"init": tuple(day), "workers": workers, "running": PLAIN}
    return seconds(lambda: vd.forecast(folder / "net", folder / "cube.zarr", out=folder / "f.zarr", **call))[0]


def forecast_days_by_two(folder: Path, days: int) -> float:
    return forecast_days(folder, days, workers=2)


def scored_cells(folder: Path, cells: int) -> None:
    edge = round(cells**0.5)
    random_forecasts(folder, (edge, edge), 2)


def score_cells(folder: Path, cells: int) -> float:
    return evaluated(folder, 2)


def map_of_pixels(folder: Path, pixels: int) -> None:
    random_map(folder, round(pixels**0.5))
    random_network(folder)


def map_pixels(folder: Path, pixels: int) -> float:
    fine, coarse = opened(folder)
    return seconds(lambda: downscale_maps(folder / "net.pt", fine, coarse, [DAY], folder / "map.zarr", running=PLAIN))[
        0
    ]


def doubling(first: int, times: int, factor: int = 2) -> list[int]:
    return [first * factor**n for n in range(times)]


STEPS = [
    Step("a forecast of a day", "cells", doubling(64**2, 4, 4), cube_of_cells, forecast_cells),
    Step("forecasts of many days", "days of issue", doubling(32, 4), cube_of_days, forecast_days),
    Step("the same by two workers", "days of issue", doubling(32, 4), cube_of_days, forecast_days_by_two),
    Step("scores of two models, a year", "cells", doubling(32**2, 4, 4), scored_cells, score_cells),
    Step("a map of 100 m", "pixels", doubling(512**2, 3, 4), map_of_pixels, map_pixels),
]


def grown(step: Step) -> pd.DataFrame:
    """Seconds and memory [GB] of a step at each size."""
    rows = []
    for size in step.sizes:
        with tempfile.TemporaryDirectory() as name:
            step.prepare(Path(name), size)
            spent, memory = alone(step.call, Path(name), size)
        rows.append({"step": step.name, "of": step.size, "size": size, "seconds": spent, "memory": memory})
        print(f"{step.name}: {size:,} {step.size}, {spent:.1f} s, {memory:.2f} GB", flush=True)
    return pd.DataFrame(rows)


def drawn(table: pd.DataFrame, path: Path) -> None:
    """Draw both against size, each relative to its smallest; grey is growth in step with the size."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, column, unit in zip(axes, ("seconds", "memory"), ("s", "GB"), strict=True):
        for (name, of), one in table.groupby(["step", "of"], sort=False):
            last = one[column].iloc[-1]
            told = f"{name}, {one['size'].iloc[-1]:,} {of}: {last:.3g} {unit}"
            ax.loglog(one["size"] / one["size"].iloc[0], one[column] / one[column].iloc[0], marker="o", label=told)
        ax.loglog([1, 64], [1, 64], color="0.7", zorder=0)
        ax.set(xlabel="size, times the smallest", ylabel=f"{'time' if unit == 's' else 'memory'}, times that of it")
        ax.legend(fontsize="x-small", frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/growth.svg"))
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    drawn(pd.concat([grown(step) for step in STEPS], ignore_index=True), options.out)


if __name__ == "__main__":
    main()
