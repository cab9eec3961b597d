"""Rows of data: gap filling, windows, terrain, trees, and days of a cube."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from benchmarks.speed.cubes import CHANNELS, LOOK_BACK, random_cube
from benchmarks.speed.row import Way, alone, apart, in_turns, row, seconds

import vadose as vd
from vadose import features
from vadose.cube import open_cube
from vadose.door.days import Period
from vadose.gapfill import ClimatologyAR1, Filler, Interpolation, Mode, Series, series_of
from vadose.gapfill.cru import ContinuousRecurrentUnit
from vadose.grid import raster_coordinates
from vadose.models.inputs import Inputs
from vadose.models.trees import Trees
from vadose.samples.windows import Samples
from vadose.twin.world import build_granule_world


def random_series(cells: int) -> Series:
    """A year of 60 % missing values, seven covariates and eleven static fields."""
    rng = np.random.default_rng(0)
    values = 0.25 + 0.1 * rng.standard_normal((365, cells), np.float32)
    values[rng.random(values.shape) < 0.6] = np.nan
    weather = rng.standard_normal((365, cells, 7), np.float32)
    return series_of(values, covariates=weather, static=rng.standard_normal((cells, 11), np.float32))


def filled(filler: Filler, mode: Mode, cells: int) -> float:
    """Year-series a second of one thread."""
    torch.set_num_threads(1)
    series = random_series(cells)
    filler.fit(series if isinstance(filler, ClimatologyAR1) else series.cells(slice(100)))
    filler.predict(series, mode)
    return cells / seconds(lambda: filler.predict(series, mode))[0]


@row(
    "gap-filling",
    "gap filling by the CRU, years of daily values of which 60 % are missing, one thread",
    unit="year-series",
    call="filler.predict(series, mode)",
    to_reach=">= 2,200 causal, >= 1,000 smoothed",
)
def gap_filling(quick: bool) -> list[Way]:
    cells = 500 if quick else 3000
    ways: list[tuple[str, Filler, Mode]] = [
        ("linear", Interpolation("linear"), "smoothed"),
        ("climatology + AR(1), causal", ClimatologyAR1(), "causal"),
        ("CRU, causal", ContinuousRecurrentUnit(steps=1), "causal"),
        ("CRU, smoothed", ContinuousRecurrentUnit(steps=1), "smoothed"),
    ]
    return [Way(name, alone(filled, filler, mode, cells)[0]) for name, filler, mode in ways]


def windows_drawn(cube: Path, count: int) -> float:
    samples = Samples(open_cube(cube), CHANNELS, look_back=LOOK_BACK, window=8, stride=2)
    period = Period("2012-07-20", "2012-11-10")

    def draw(limit: int) -> int:
        return sum(1 for _ in samples.batches(period, size=256, limit=limit, generator=np.random.default_rng(0)))

    draw(512)
    return count / seconds(lambda: draw(count))[0]


def numpy_windows(cube: Path, count: int) -> float:
    """One window after the other out of arrays in memory, as a plain script would."""
    data = open_cube(cube)[list(CHANNELS.history)].to_array().values.astype(np.float32)
    rng = np.random.default_rng(0)
    at = rng.integers(LOOK_BACK, 200, count), rng.integers(0, data.shape[2] - 8, (count, 2))

    def gather() -> list[np.ndarray]:
        return [np.ascontiguousarray(data[:, t - 3 : t, r : r + 8, c : c + 8]) for t, (r, c) in zip(*at, strict=True)]

    return count / seconds(gather)[0]


@row(
    "windows",
    "random windows of 8 x 8 cells and 3 days, with their targets, in batches",
    unit="windows",
    call="Samples(cube, channels, look_back=3, window=8).batches(period, size=256)",
    to_reach=">= 100,000",
)
def windows(quick: bool) -> list[Way]:
    count = 5_000 if quick else 50_000
    with tempfile.TemporaryDirectory() as name:
        cube = random_cube(Path(name) / "cube.zarr", (64, 64), 200)
        return [
            Way(way, *alone(measure, cube, count)[:1])
            for way, measure in (("numpy, one by one", numpy_windows), ("batches", windows_drawn))
        ]


def terrain_derived(edge: int) -> dict[str, float]:
    """Seconds of slope, aspect and curvature of a map, and of numpy's gradients alone."""
    rng = np.random.default_rng(0)
    grid = raster_coordinates("EPSG:4326", (-100.0, 41.0, 1 / 1200, 1 / 1200), (edge, edge))
    grid["elevation"] = ("lat", "lon"), rng.normal(400, 20, (edge, edge)).astype(np.float32)
    wanted = ["slope", "aspect_cosine", "aspect_sine", "curvature"]
    features.derive(grid.isel(lat=slice(64), lon=slice(64)), wanted, ("neighbourhood",))
    return in_turns(
        {
            "numpy, first and second gradients": lambda: [np.gradient(g) for g in np.gradient(grid.elevation.values)],
            "derive": lambda: features.derive(grid, wanted, ("neighbourhood",)).load(),
        },
        3,
    )


@row(
    "terrain",
    "slope, aspect and curvature of pixels",
    unit="pixels",
    call="features.derive(data, ['slope', 'aspect_cosine', 'aspect_sine', 'curvature'])",
    to_reach=">= 30 M (a tile of 37 M pixels in 1 s)",
)
def terrain(quick: bool) -> list[Way]:
    edge = 1200 if quick else 3600
    return [Way(name, edge * edge / spent) for name, spent in alone(terrain_derived, edge)[0].items()]


def trees_predicted(cells: int) -> tuple[dict[str, float], tuple[float, float]]:
    """Seconds of `Trees` and of scikit-learn's own prediction of the same trees from the same inputs."""
    torch.manual_seed(0)
    edge = round(cells**0.5)
    inputs = Inputs(
        torch.randn(1, 30, len(CHANNELS.history), edge, edge),
        torch.randn(1, len(CHANNELS.static), edge, edge),
        None,
        torch.tensor([17000]),
        torch.zeros(1, 2, dtype=torch.int64),
    )
    trees = Trees(CHANNELS, iterations=200)
    corner = Inputs(*(t[..., :40, :40] if t is not None and t.dim() > 2 else t for t in inputs))
    trees.fit([(corner, torch.rand(1, len(CHANNELS.leads), 40, 40))])

    def theirs() -> np.ndarray:
        told = zip(trees.regressors, trees._predictors(inputs), strict=True)
        return np.stack([of.predict(x) for of, x in told]).astype(np.float32)

    spent = in_turns({"scikit-learn": theirs, "trees": lambda: trees(inputs)}, 3)
    return spent, apart(trees(inputs).flatten(2)[0].numpy(), theirs())


@row(
    "trees",
    "forecasts of 200 trees a lead, from inputs to moisture",
    unit="cells",
    call="model(inputs)",
    to_reach=">= 3 times scikit-learn, bit-equal",
)
def trees(quick: bool) -> list[Way]:
    cells = 10_000 if quick else 90_000
    (spent, differs), _ = alone(trees_predicted, cells)
    return [
        Way("scikit-learn", cells / spent["scikit-learn"]),
        Way("trees", cells / spent["trees"], differs),
    ]


def built(folder: Path, recipe: Path) -> float:
    return seconds(lambda: vd.build(folder / "granules", recipe, out=folder / "cube.zarr", workers=1))[0]


@row(
    "cube",
    "a cube of granules of SMAP, gridMET and IMERG, built with one worker: cells and days",
    unit="cell-days",
    call="vd.build(granules, recipe)",
    to_reach="CONUS (160,000 cells), a year with fixed fields <= 20 processor minutes: >= 50,000",
)
def cube(quick: bool) -> list[Way]:
    days = 4 if quick else 12
    ways = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bbox = (-104.0, 34.0, -98.0, 40.0)
        first, last = "2019-06-01", f"2019-06-{days:02d}"
        build_granule_world(folder, first, last, bbox=bbox, stations=4)
        daily: dict[str, Any] = {
            "smap_l3": {"variables": ["soil_moisture", "tb_h", "tb_v", "surface_temperature"], "resampling": "nearest"},
            "gridmet": {"variables": ["air_temperature_max", "specific_humidity"], "resampling": "mean"},
            "imerg": {"variables": ["precipitation"], "resampling": "bicubic"},
        }
        told = {"resolution": "9km", "bbox": list(bbox), "first": first, "last": last, "products": daily}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        spent, memory = alone(built, folder, folder / "recipe.yaml")
        opened = open_cube(folder / "cube.zarr")
        cells = opened.sizes["y"] * opened.sizes["x"] * days
        ways.append(Way("build", cells / spent, memory=memory))
    return ways
