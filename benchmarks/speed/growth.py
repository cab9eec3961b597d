"""Time and memory of the long steps against size: ``python -m benchmarks.speed.growth [--quick]``.

Each step is called as it is documented, in a process of its own, at growing sizes. Writes ``docs/growth.svg``
and the section of growth of ``docs/speed.md``.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from benchmarks.speed.cubes import random_cube, random_run
from benchmarks.speed.data import built, filled, granules
from benchmarks.speed.forecasts import train_convlstm
from benchmarks.speed.maps import downscale, random_map, random_network
from benchmarks.speed.page import write_growth
from benchmarks.speed.row import Plan, alone, seconds
from benchmarks.speed.scores import evaluated, random_forecasts

import vadose as vd
from vadose.cube import open_cube
from vadose.gapfill.cru import ContinuousRecurrentUnit

PLAIN = Plan().running()
STEEP = 1.1
"""Exponent from which a step is said to take more than in step with its size."""
FLAT = 0.1
"""Exponent of memory up to which it is said not to grow."""


class Growth(NamedTuple):
    """What grows: what the size is of, the sizes, what is made for each of them, and documented calls by name."""

    of: str
    sizes: tuple[int, ...]
    prepare: Callable[[Path, int], object]
    calls: dict[str, Callable[[Path, int], object]]


def square(cells: int) -> tuple[int, int]:
    return (round(cells**0.5),) * 2


def with_run(folder: Path, shape: tuple[int, int], days: int) -> None:
    random_run(folder / "net", random_cube(folder / "cube.zarr", shape, days), edge=min(shape))


def forecast(folder: Path, days: int = 1, workers: int = 1) -> None:
    known = open_cube(folder / "cube.zarr").time.values
    init = tuple(str(day)[:10] for day in (known[-days], known[-1]))
    out = folder / f"forecast{workers}.zarr"
    vd.forecast(folder / "net", folder / "cube.zarr", init=init, out=out, running=PLAIN, workers=workers)


def train(folder: Path, days: int) -> None:
    train_convlstm(folder, 64, 32, "plain", PLAIN)


def with_stations(folder: Path, stations: int) -> None:
    random_forecasts(folder, (24, 24), 2)
    cube, rng = open_cube(folder / "cube.zarr"), np.random.default_rng(0)
    moisture = rng.uniform(0.1, 0.4, (stations, 1, cube.sizes["time"])).astype(np.float32)
    at = rng.integers(0, 24, (2, stations))
    places = {name: ("station", cube[name].values[*at]) for name in ("lat", "lon")}
    names = {"station": [f"S{n}" for n in range(stations)], "layer": [cube.attrs["layer"]], "time": cube.time.values}
    table = xr.Dataset({"soil_moisture": (("station", "layer", "time"), moisture)}, names | places)
    table.assign_attrs(simulated="true").to_zarr(folder / "stations.zarr", zarr_format=3, consolidated=False)


def score_stations(folder: Path, stations: int) -> None:
    vd.evaluate([folder / f"{n}.zarr" for n in range(2)], folder / "stations.zarr", out=folder / "scores")


def with_map(folder: Path, pixels: int) -> None:
    random_map(folder, square(pixels)[0])
    random_network(folder)


def of_cells(folder: Path, cells: int) -> None:
    with_run(folder, square(cells), 4)


def of_days(folder: Path, days: int) -> None:
    with_run(folder, (16, 16), days + 2)


def of_record(folder: Path, days: int) -> None:
    with_run(folder, (24, 24), days)


def of_granules(folder: Path, days: int) -> None:
    granules(folder, days, (-104.0, 34.0, -102.0, 36.0))


def build(folder: Path, days: int, workers: int = 1) -> None:
    built(folder, folder / "recipe.yaml", workers)


def fill(folder: Path, series: int) -> None:
    filled(ContinuousRecurrentUnit(steps=1), "smoothed", series)


def nothing(folder: Path, size: int) -> None:
    """Nothing to make before."""


def score_cells(folder: Path, cells: int) -> None:
    evaluated(folder, 2)


def scored_cells(folder: Path, cells: int) -> None:
    random_forecasts(folder, square(cells), 2)


def map_pixels(folder: Path, pixels: int) -> None:
    downscale(folder, folder / "map.zarr", PLAIN)


def one_day(folder: Path, size: int) -> None:
    forecast(folder)


GROWTHS = (
    Growth("days", (4, 16, 64), of_granules, {"build": build, "build, two workers": partial(build, workers=2)}),
    Growth("days of record", (120, 360, 1080), of_record, {"train on 64 windows": train, "forecast a day": one_day}),
    Growth("cells", (32**2, 64**2, 128**2, 256**2), of_cells, {"forecast a day": one_day}),
    Growth(
        "days of issue",
        (16, 64, 256),
        of_days,
        {"forecast": forecast, "forecast, two workers": partial(forecast, workers=2)},
    ),
    Growth("year-series", (300, 1200, 4800), nothing, {"fill gaps by the CRU": fill}),
    Growth("pixels", (256**2, 512**2, 1024**2), with_map, {"downscale": map_pixels}),
    Growth("cells", (24**2, 48**2, 96**2), scored_cells, {"evaluate two models": score_cells}),
    Growth("stations", (50, 200, 800), with_stations, {"evaluate two models": score_stations}),
)


def grown(growth: Growth, quick: bool) -> list[pd.DataFrame]:
    """Seconds and memory [GB] of each call at each size."""
    rows = []
    for size in growth.sizes[:2] if quick else growth.sizes:
        with tempfile.TemporaryDirectory() as name:
            alone(growth.prepare, Path(name), size)
            for step, call in growth.calls.items():
                (spent, _), memory = alone(seconds, partial(call, Path(name), size))
                rows.append({"step": step, "of": growth.of, "size": size, "seconds": spent, "memory": memory})
                print(f"{step}: {size:,} {growth.of}, {spent:.1f} s, {memory:.2f} GB", flush=True)
    return [table for _, table in pd.DataFrame(rows).groupby("step", sort=False)]


def exponent(sizes: pd.Series, values: pd.Series) -> float:
    """Slope of the line fitted in logarithms: 1 grows in step with the size."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def page(tables: list[pd.DataFrame]) -> list[str]:
    """The section: the picture, a table, and what grows more than it should."""
    heads = ("step", "size", "from", "to", "seconds", "exponent", "of the last two", "memory [GB]", "exponent")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    steep, thick = [], []
    for table in tables:
        name, of = (str(table[column].iloc[0]) for column in ("step", "of"))
        first, last = table.iloc[0], table.iloc[-1]
        time_all, time_last = (exponent(t["size"], t.seconds) for t in (table, table.iloc[-2:]))
        memory = exponent(table["size"], table.memory)
        lines.append(
            f"| {name} | {of} | {first['size']:,} | {last['size']:,} | {first.seconds:.2f} .. {last.seconds:.2f} | "
            f"{time_all:.2f} | {time_last:.2f} | {first.memory:.2f} .. {last.memory:.2f} | {memory:.2f} |"
        )
        steep += [f"{name} ({of}, {time_last:.2f})"] if max(time_all, time_last) > STEEP else []
        thick += [f"{name} ({of}, {memory:.2f})"] if memory > FLAT else []
    return [
        f"`python -m benchmarks.speed.growth`, {time.strftime('%Y-%m-%d')}: first calls, each in a process of its own;"
        " exponents are slopes fitted in logarithms: 1 is in step with the size. Memory is that of the main process,"
        " half a gigabyte of which are its libraries. Intervals of scores draw no replicates that could grow.",
        "",
        "![Time and memory against size](growth.svg)",
        "",
        *lines,
        "",
        f"Time grows more than in step with: {'; '.join(steep) or 'none'}.",
        f"Memory grows with: {'; '.join(thick) or 'none'}.",
    ]


def draw(tables: list[pd.DataFrame], path: Path) -> None:
    """Draw both against size, each relative to its smallest; grey is growth in step with the size."""
    plt.rcParams["svg.hashsalt"] = "growth"
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for ax, column, unit in zip(axes, ("seconds", "memory"), ("s", "GB"), strict=True):
        for number, table in enumerate(tables):
            last = table.iloc[-1]
            label = f"{last.step}, {last['size']:,} {last.of}: {last[column]:.2g} {unit}"
            sizes, values = table["size"] / table["size"].iloc[0], table[column] / table[column].iloc[0]
            ax.loglog(sizes, values, "o-" if number < 10 else "s--", markersize=3, label=label)
        ax.loglog([1, 64], [1, 64], color="0.7", zorder=0)
        what = "time" if unit == "s" else "memory"
        ax.set(xlabel="size, times the smallest", ylabel=f"{what}, times that of the smallest", xlim=(0.9, 80))
        ax.legend(fontsize="xx-small", frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes: to see that all runs")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of growth.svg and speed.md")
    options = parser.parse_args()
    begin = time.monotonic()
    tables = [table for growth in GROWTHS for table in grown(growth, options.quick)]
    draw(tables, options.out / "growth.svg")
    write_growth(options.out / "speed.md", page(tables))
    print(f"{options.out / 'speed.md'} after {(time.monotonic() - begin) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
