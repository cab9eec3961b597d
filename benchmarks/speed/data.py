"""Rows of data: gap filling, windows, terrain, trees, and days of a cube."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from benchmarks.speed.cubes import CHANNELS, LOOK_BACK, random_cube
from benchmarks.speed.row import Plan, Way, alone, apart, in_turns, optional, row, seconds

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
from vadose.twin.world import Box, build_granule_world


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
    takes=(10, 25),
)
def gap_filling(plan: Plan) -> list[Way]:
    cells = plan.of(200, 3000)
    ways: list[tuple[str, Filler, Mode]] = [
        ("linear", Interpolation("linear"), "smoothed"),
        ("climatology + AR(1), causal", ClimatologyAR1(), "causal"),
        ("CRU, causal", ContinuousRecurrentUnit(steps=1), "causal"),
        ("CRU, smoothed", ContinuousRecurrentUnit(steps=1), "smoothed"),
    ]
    return [
        optional("DCT-PLS (pytesmo)", "pytesmo", lambda: alone(filled, Interpolation("dct_pls"), "smoothed", 50)[0]),
        *(Way(name, alone(filled, filler, mode, cells)[0]) for name, filler, mode in ways),
    ]


def windows_drawn(cube: Path, count: int) -> float:
    samples = Samples(open_cube(cube), CHANNELS, look_back=LOOK_BACK, window=8, stride=2)
    period = Period("2012-06-10", "2012-09-05")

    def draw(limit: int) -> int:
        return sum(1 for _ in samples.batches(period, size=256, limit=limit, generator=np.random.default_rng(0)))

    draw(512)
    return count / seconds(lambda: draw(count))[0]


def numpy_windows(cube: Path, count: int) -> float:
    """One window after the other out of arrays in memory, as a plain script would."""
    data = open_cube(cube)[list(CHANNELS.history)].to_array().values.astype(np.float32)
    rng = np.random.default_rng(0)
    at = rng.integers(LOOK_BACK, len(data[0]), count), rng.integers(0, data.shape[2] - 8, (count, 2))

    def gather() -> list[np.ndarray]:
        return [np.ascontiguousarray(data[:, t - 3 : t, r : r + 8, c : c + 8]) for t, (r, c) in zip(*at, strict=True)]

    return count / seconds(gather)[0]


def xbatcher_windows(cube: Path, count: int) -> float:
    """Windows of xbatcher out of arrays in memory, at random."""
    from xbatcher import BatchGenerator

    data = open_cube(cube)[list(CHANNELS.history)].isel(time=slice(12)).load()
    batches = BatchGenerator(data, {"time": LOOK_BACK, "y": 8, "x": 8}, preload_batch=False)
    chosen = np.random.default_rng(0).integers(len(batches), size=count)

    def gather() -> list[np.ndarray]:
        return [np.stack([batch[name].values for name in batch]) for batch in (batches[int(i)] for i in chosen)]

    return count / seconds(gather)[0]


@row(
    "windows",
    "random windows of 8 x 8 cells and 3 days, with their targets, in batches",
    unit="windows",
    call="Samples(cube, channels, look_back=3, window=8).batches(period, size=256)",
    to_reach=">= 100,000",
    bytes=4 * 64 * (3 * len(CHANNELS.history) + len(CHANNELS.static) + 2 * len(CHANNELS.leads)),
    takes=(8, 15),
)
def windows(plan: Plan) -> list[Way]:
    count = plan.of(5_000, 50_000)
    with tempfile.TemporaryDirectory() as name:
        cube = random_cube(Path(name) / "cube.zarr", (64, 64), 100)
        return [
            optional("xbatcher", "xbatcher", lambda: alone(xbatcher_windows, cube, count // 100)[0]),
            Way("numpy, one by one", alone(numpy_windows, cube, count)[0]),
            Way("batches", alone(windows_drawn, cube, count)[0]),
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
    to_reach=">= 37 M, a tile of SRTM in 1 s",
    bytes=4 + 4 * 4,
    takes=(3, 12),
)
def terrain(plan: Plan) -> list[Way]:
    edge = plan.of(600, 3600)
    return [Way(name, edge * edge / spent) for name, spent in alone(terrain_derived, edge)[0].items()]


def trees_predicted(cells: int, iterations: int) -> tuple[dict[str, float], tuple[float, float]]:
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
    trees = Trees(CHANNELS, iterations=iterations)
    corner = Inputs(*(t[..., :40, :40] if t is not None and t.dim() > 2 else t for t in inputs))
    trees.fit([(corner, torch.rand(1, len(CHANNELS.leads), 40, 40))])

    def theirs() -> np.ndarray:
        told = zip(trees.regressors, trees._predictors(inputs), strict=True)
        return np.stack([of.predict(x) for of, x in told]).astype(np.float32)

    spent = in_turns({"scikit-learn": theirs, "trees": lambda: trees(inputs)}, 3)
    return spent, apart(trees(inputs).flatten(2)[0].numpy(), theirs())


@row(
    "trees",
    "forecasts of gradient-boosted trees, 200 a lead, from inputs to moisture",
    unit="cells",
    call="model(inputs)",
    to_reach=">= 3 times scikit-learn, bit-equal",
    takes=(8, 25),
)
def trees(plan: Plan) -> list[Way]:
    cells, iterations = plan.of((10_000, 20), (90_000, 200))
    (spent, differs), _ = alone(trees_predicted, cells, iterations)
    return [
        Way("scikit-learn", cells / spent["scikit-learn"]),
        Way("trees", cells / spent["trees"], differs),
    ]


def built(folder: Path, recipe: Path, workers: int = 1) -> float:
    out = folder / ("cube.zarr" if workers == 1 else f"cube{workers}.zarr")
    return seconds(lambda: vd.build(folder / "granules", recipe, out=out, workers=workers))[0]


@row(
    "cube",
    "a cube of granules of SMAP, gridMET and IMERG, built with one worker",
    unit="cells and days",
    call="vd.build(granules, recipe)",
    to_reach="a year of CONUS with fixed fields <= 20 processor minutes: >= 50,000",
    takes=(15, 40),
)
def cube(plan: Plan) -> list[Way]:
    days = plan.of(2, 8, 16)
    east = plan.of(-102.0, -98.0, -66.5)
    bbox = (-104.0, 34.0, east, 40.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = granules(folder, days, bbox)
        spent, memory = alone(built, folder, recipe)
        opened = open_cube(folder / "cube.zarr")
        cells = opened.sizes["y"] * opened.sizes["x"]
        return [Way(f"{cells:,} cells, {days} days", cells * days / spent, memory=memory)]


def granules(folder: Path, days: int, bbox: Box) -> Path:
    """Simulate granules of some days, and write the recipe of their cube."""
    first = pd.Timestamp("2019-06-01")
    last = f"{first + pd.Timedelta(days=days - 1):%Y-%m-%d}"
    build_granule_world(folder, "2019-06-01", last, bbox=bbox, stations=4, spin_up=30)
    daily: dict[str, Any] = {
        "smap_l3": {"variables": ["soil_moisture", "tb_h", "tb_v", "surface_temperature"], "resampling": "nearest"},
        "gridmet": {"variables": ["air_temperature_max", "specific_humidity"], "resampling": "mean"},
        "imerg": {"variables": ["precipitation"], "resampling": "bicubic"},
    }
    said = {"resolution": "9km", "bbox": list(bbox), "first": "2019-06-01", "last": last, "products": daily}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
    return folder / "recipe.yaml"
