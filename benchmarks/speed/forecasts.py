"""Rows of forecasts: training of networks, a day of CONUS, a day out of a long record."""

import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import yaml
from benchmarks.paper_predictors import DAILY, FIXED
from benchmarks.speed.cubes import FIRST, LOOK_BACK, forget, random_cube, random_run
from benchmarks.speed.row import Way, alone, apart, graphs, row, seconds

import vadose as vd
from vadose.experiments import load_experiment

FILTERS = [4, 16, 32, 64, 128, 256]
PREDICTORS = len(DAILY) + len(FIXED) + 2
PLAIN = vd.Running("auto", "float32", compile=False)
WAYS = {
    "float32": PLAIN,
    "bf16": vd.Running("auto", "bfloat16", compile=False),
    "bf16, compiled": vd.Running("auto", "bfloat16", compile=True),
}
CONUS = (340, 700)
KERAS = find_spec("keras") and find_spec("tensorflow")


def experiment(path: Path, days: int, run: dict[str, Any]) -> Path:
    """Write an experiment of one run that learns from a cube of so many days, and validates on its last 40."""
    day = pd.date_range(FIRST, periods=days).strftime("%Y-%m-%d").tolist()
    phases = {"training": day[40:-60], "validation": day[-58:-20], "test": day[-18:]}
    split = {name: {"first": of[0], "last": of[-1]} for name, of in phases.items()}
    path.write_text(yaml.safe_dump({"kind": "forecasting", "split": split, "runs": {"run": run}}))
    return path


def epochs(call: Any, per_epoch: int) -> tuple[float, float]:
    """Samples a second of the epochs after the first, by what a training says as it goes on, and its first seconds."""
    ticks = [time.perf_counter()]

    def tell(what: str, share: float) -> None:
        if "epoch" in what:
            ticks.append(time.perf_counter())

    call(progress=tell)
    spent = np.diff(ticks)
    return per_epoch / float(np.median(spent[1:])), float(spent[0])


def train_convlstm(folder: Path, name: str, per_epoch: int, running: vd.Running) -> Way:
    run = {
        "model": "convlstm",
        "hyper": {"filters": FILTERS, "dropout": 0.2},
        "history": list(DAILY),
        "static": list(FIXED),
        "look_back": LOOK_BACK,
        "window": 8,
        "stride": 2,
        "refit": False,
        "training": {"epochs": 3, "batch_size": 32, "samples_per_epoch": per_epoch, "learning_rate": 1e-3},
    }
    said = load_experiment(str(experiment(folder / f"{name}.yaml", 200, run))).run_as(running)
    with graphs() as counted:
        call = partial(vd.train, folder / "cube.zarr", said, run="run", out=folder / name / "run")
        rate, first = epochs(call, per_epoch)
    return Way(name, rate, graphs=counted[0] if running.compile else None, first=first)


def keras_convlstm(steps: int) -> float:
    """Samples a second of the same layers in Keras on TensorFlow, in batches of 32 that lie ready."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    network = keras.Sequential([keras.Input((LOOK_BACK, 8, 8, PREDICTORS))])
    for width in FILTERS:
        network.add(keras.layers.ConvLSTM2D(width, 3, padding="same", return_sequences=width < FILTERS[-1]))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
    network.add(keras.layers.Conv2D(5, 1))
    network.compile("adam", "mse")
    rng = np.random.default_rng(0)
    windows = rng.normal(size=(32, LOOK_BACK, 8, 8, PREDICTORS)).astype(np.float32)
    target = rng.normal(size=(32, 8, 8, 5)).astype(np.float32)
    network.train_on_batch(windows, target)
    spent, _ = seconds(lambda: float(network.train_on_batch(windows, target)), steps)
    return 32 / spent


@row(
    "convlstm-training",
    "ConvLSTM training on windows, the paper's filters 4 .. 256",
    unit="samples",
    call="vd.train(cube, experiment, run=...)",
    to_reach=">= 125 a second in bf16, >= 3.5 times Keras",
    flop=3 * 1.41e9,
)
def convlstm_training(quick: bool) -> list[Way]:
    per_epoch = 320 if quick else 1600
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_cube(folder / "cube.zarr", (40, 40), 200)
        ways = [Way("Keras on TensorFlow", alone(keras_convlstm, 5 if quick else 15)[0])] if KERAS else []
        for way, running in WAYS.items():
            found, memory = alone(train_convlstm, folder, way, per_epoch, running)
            ways.append(replace(found, memory=memory))
    return ways


def forecast_day(folder: Path, way: str, running: vd.Running, cube: str = "cube.zarr") -> tuple[list[float], int]:
    """Seconds of two calls that forecast the last day of a cube, its files out of the page cache; graphs compiled."""
    spent = []
    with graphs() as counted:
        for turn in range(2):
            forget(folder / cube)
            out = folder / f"{way}_{turn}_{cube}"
            spent.append(seconds(partial(vd.forecast, folder / "net", folder / cube, out=out, running=running))[0])
    return spent, counted[0]


@row(
    "conus-day",
    "a day of CONUS, 340 x 700 cells, from cube to store",
    unit="cells",
    call="vd.forecast(run, cube)",
    to_reach="CONUS <= 9 s: >= 26,400",
    flop=1.41e9 / 64,
)
def conus_day(quick: bool) -> list[Way]:
    ways = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shape = (120, 160) if quick else CONUS
        random_run(folder / "net", random_cube(folder / "cube.zarr", shape, 4))
        first: xr.DataArray | None = None
        for way, running in WAYS.items():
            (spent, counted), memory = alone(forecast_day, folder, way, running)
            found = vd.open(folder / f"{way}_1_cube.zarr").soil_moisture.load()
            first = found if first is None else first
            compiled = counted if running.compile else None
            ways.append(Way(way, shape[0] * shape[1] / spent[1], apart(found, first), compiled, memory, spent[0]))
    return ways


@row(
    "one-day-of-years",
    "one day forecast out of a record, and out of one ten times as long, 40 x 40 cells",
    unit="days",
    call="vd.forecast(run, cube)",
    to_reach="the same for both",
)
def one_day_of_years(quick: bool) -> list[Way]:
    ways = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for years in (10, 1):
            days = 365 * years // (10 if quick else 2)
            cube = random_cube(folder / f"{years}.zarr", (40, 40), days)
            if years == 10:
                random_run(folder / "net", cube)
            (spent, _), memory = alone(forecast_day, folder, "plain", PLAIN, cube.name)
            ways.append(Way(f"of {days:,} days", 1 / spent[1], memory=memory, first=spent[0]))
    return ways
