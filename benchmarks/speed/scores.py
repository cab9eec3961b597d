"""Rows of scores: tables with intervals beside pytesmo, and the memory of a year of CONUS."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from benchmarks.speed.cubes import random_map_cube
from benchmarks.speed.row import Plan, Way, alone, in_turns, optional, row, seconds

import vadose as vd
from vadose.artefact.predictions import write_predictions
from vadose.evaluation.metrics import METRICS, sums
from vadose.evaluation.paired import score

THEIRS = ("pearson_r", "rmsd", "bias", "ubrmsd")
LEADS, DAYS, REPLICATES = (1, 3, 7, 14, 30), 365, 1000


def random_forecasts(folder: Path, shape: tuple[int, int], models: int) -> None:
    """Write a cube of random moisture with gaps, and forecasts of it with errors, for each day of a year."""
    observed = random_map_cube(folder / "cube.zarr", shape, DAYS + LEADS[-1])
    rng = np.random.default_rng(1)
    said = {key: observed.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer")}
    for number in range(models):
        values = 0.25 + 0.1 * rng.standard_normal((DAYS, len(LEADS), *shape), np.float32)
        store = xr.Dataset(
            {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
            coords={
                "init_time": observed.time.values[:DAYS],
                "lead_time": pd.to_timedelta(LEADS, unit="D"),
                **{name: observed[name] for name in ("y", "x", "lat", "lon")},
            },
            attrs=said
            | {"model": f"m{number}", "weather": "none", "scenario": "all", "causal": "true", "simulated": "true"},
        )
        write_predictions(folder / f"{number}.zarr", store, "random", chunks={"init_time": 64, "lead_time": 1})


def evaluated(folder: Path, models: int) -> float:
    stores = [folder / f"{number}.zarr" for number in range(models)]
    return seconds(lambda: vd.evaluate(stores, folder / "cube.zarr", out=folder / "scores"))[0]


def of_pytesmo(folder: Path, pairs: int, interval: bool) -> float:
    """Series a second of pytesmo's calls for each of some, which lie ready."""
    from pytesmo import metrics as pytesmo

    observed = vd.open(folder / "cube.zarr").soil_moisture.values[1 : DAYS + 1]
    forecast = vd.open(folder / "0.zarr").soil_moisture.values[:, 0]
    series = [(p[np.isfinite(o)], o[np.isfinite(o)]) for p, o in _series(forecast, observed, count=pairs)]

    def run() -> None:
        for predicted, of in series:
            for metric in (getattr(pytesmo, name) for name in THEIRS):
                if interval:
                    pytesmo.with_bootstrapped_ci(metric, predicted, of, nsamples=REPLICATES)
                else:
                    metric(predicted, of)

    return pairs / seconds(run)[0]


def in_memory(series: int) -> dict[str, float]:
    """Seconds of scores of random series that lie ready, and of the same with their intervals, in turns."""
    rng = np.random.default_rng(0)
    observed = rng.normal(0.25, 0.06, (DAYS, series))
    predicted = observed + rng.normal(0.01, 0.03, observed.shape)
    observed[rng.random(observed.shape) < 0.1] = np.nan
    counts = np.ones(series, bool)

    def plain() -> None:
        summed = sums(predicted, observed, 0.25)
        for metric in METRICS.values():
            metric(summed)

    def with_intervals() -> None:
        score(predicted[None], observed, [None], references={}, counts=counts)

    ways = {"in memory, no intervals": plain, "in memory, 95 % intervals": with_intervals}
    in_turns(ways, 1)  # compiled
    return in_turns(ways, 5)


def _series(*arrays: np.ndarray, count: int = 0) -> list[tuple[np.ndarray, ...]]:
    flat = [array.reshape(len(array), -1).T.astype(np.float64)[: count or None] for array in arrays]
    return list(zip(*flat, strict=True))


@row(
    "scores",
    "scores with 95 % intervals: R, RMSE, bias, ubRMSE of series of a year, and their medians",
    unit="series",
    call="vd.evaluate([forecast], cube)",
    to_reach=">= 1 M series a second without, <= 10 times as long with intervals",
)
def scores(plan: Plan) -> list[Way]:
    edge, few = plan.of((40, 3), (100, 10))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_forecasts(folder, (edge, edge), 1)
        spent, memory = alone(evaluated, folder, 1)
        return [
            optional(f"pytesmo, {REPLICATES:,} replicates", "pytesmo", lambda: of_pytesmo(folder, few, interval=True)),
            optional("pytesmo, no intervals", "pytesmo", lambda: of_pytesmo(folder, 100 * few, interval=False)),
            *(Way(way, 2000 / each) for way, each in alone(in_memory, 2000)[0].items()),
            Way("from store to tables", edge * edge * len(LEADS) / spent, memory=memory),
        ]


@row(
    "conus-year-scores",
    "a year of CONUS scored with intervals, three models",
    unit="series",
    call="vd.evaluate(forecasts, cube)",
    to_reach="<= 4 GB for 282 x 627 cells",
    takes=(10, 50),
)
def conus_year(plan: Plan) -> list[Way]:
    shape = plan.of((30, 30), (100, 150), (282, 627))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_forecasts(folder, shape, 3)
        spent, memory = alone(evaluated, folder, 3)
    way = f"from stores to tables, {shape[0]} x {shape[1]} cells"
    return [Way(way, 3 * len(LEADS) * shape[0] * shape[1] / spent, memory=memory)]
