"""What the package makes of simulated input stays what it was, number by number."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from regression.conftest import digest
from vadose.artefact import provenance
from vadose.cube import build_from_granules, open_cube
from vadose.evaluation import evaluate
from vadose.evaluation.station_series import score_series
from vadose.experiments import load_cube
from vadose.grid import ease_grid, raster_coordinates
from vadose.models import MODELS, to_checkpoint
from vadose.models.inputs import Channels
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.predict.forecast import forecast
from vadose.predict.maps import downscale_maps
from vadose.samples.windows import Period, Samples
from vadose.training.forecasters import Optimisation, Plan, train

FILLED = "soil_moisture_filled"
Golden = Callable[..., None]


def test_the_cube_of_the_demo(golden: Golden, world: Path, tmp_path: Path) -> None:
    box = (-100.2, 39.8, -99.7, 40.2)
    recipe = replace(load_cube("demo"), bbox=box, first="2019-04-01", last="2019-05-10")
    golden("cube", digest(open_cube(build_from_granules(world / "granules", tmp_path / "cube.zarr", recipe))))


@pytest.fixture(scope="module")
def forecasts(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[xr.Dataset]:
    """A network with weather and two baselines, learnt from 100 days."""
    folder = tmp_path_factory.mktemp("runs")
    stores = []
    for model, hyper, future, look_back in (
        ("lstm", {"hidden": 8}, ("precipitation",), 20),
        ("damped_persistence", {}, (), 1),
        ("climatology", {}, (), 1),
    ):
        channels = Channels((FILLED,), ("clay_fraction",) if future else (), future, (1, 3, 7), FILLED)
        run = train(
            Samples(small_cube, channels, look_back=look_back, window=1 if future else None),
            folder / model,
            Plan(
                model=model,
                hyper=hyper,
                training=Period("2015-04-10", "2015-07-09"),
                validation=Period("2015-07-10", "2015-07-20"),
                optimisation=Optimisation(epochs=2, batch_size=64, samples_per_epoch=512, learning_rate=0.01),
            ),
        )
        out = forecast(
            run / "final.pt",
            small_cube,
            folder / f"{model}.zarr",
            first="2015-07-20",
            last="2015-08-20",
            leads=(1, 3, 7),
        )
        stores.append(xr.open_zarr(out, consolidated=False, decode_coords="all"))
    return stores


def test_a_forecast(golden: Golden, forecasts: list[xr.Dataset]) -> None:
    # Sums in another order on another processor: the network learnt a little otherwise.
    golden("forecast_lstm", digest(forecasts[0]), rtol=2e-3)
    golden("forecast_damped", digest(forecasts[1]))
    golden("forecast_climatology", digest(forecasts[2]))


def test_scores_of_forecasts(
    golden: Golden, forecasts: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    baselines = forecasts[1:]
    out = evaluate(baselines, small_cube, out=tmp_path / "scores", min_pairs=8)
    golden("scores", _medians(pd.read_csv(out / "scores.csv"), ["model", "lead_days", "metric"]), rtol=1e-4)


def test_scores_of_station_series(golden: Golden) -> None:
    rng = np.random.default_rng(0)
    stations, days = 5, 300
    wet = np.cumsum(rng.normal(0, 0.01, (stations, days)), axis=1)
    observed = 0.25 + wet - wet.mean(axis=1, keepdims=True)
    predicted = np.stack([observed + error * rng.normal(size=observed.shape) for error in (0.02, 0.05)])
    observed[rng.random(observed.shape) < 0.3] = np.nan
    fold = np.broadcast_to(np.arange(days) * 2 // days, observed.shape).astype(np.int16)
    predictions = xr.Dataset(
        {
            "predicted": (("model", "station", "time"), predicted),
            "observed": (("station", "time"), observed),
            "fold": (("station", "time"), fold),
        },
        coords={
            "model": ["mmnet", "trees"],
            "station": [f"s{k}" for k in range(stations)],
            "time": pd.date_range("2019-01-01", periods=days),
            "network": ("station", ["SCAN"] * stations),
            "lat": ("station", np.linspace(30, 45, stations)),
            "lon": ("station", np.linspace(-120, -80, stations)),
            "elevation": ("station", np.linspace(100, 2000, stations)),
        },
        attrs={"folds": json.dumps(["2019", "2020"]), "dataset": "made up"},
    )
    scores = score_series(predictions, min_pairs=20).scores
    golden("station_scores", _medians(scores, ["fold", "aggregation", "model", "metric"]))


def _medians(scores: pd.DataFrame, keys: list[str]) -> dict[str, list[float]]:
    """Median, sites and pairs of each row with a median."""
    known = scores[np.isfinite(scores["median"])].sort_values(keys)
    names = known[keys].astype(str).agg(" ".join, axis=1)
    return dict(zip(names, known[["median", "n_sites", "n_pairs"]].astype(float).values.tolist(), strict=True))


def test_a_map_of_100_m(golden: Golden, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole, day, shape = ease_grid("100m"), pd.Timestamp("2020-06-15"), (24, 30)
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    grid = whole.part(slice(row, row + shape[0]), slice(column, column + shape[1]))
    fine = grid.coordinates().assign_coords(time=[day])
    fine["elevation"] = ("y", "x"), rng.normal(500, 90, shape).astype(np.float32)
    fine["ndvi"] = ("time", "y", "x"), rng.random((1, *shape)).astype(np.float32)
    fine.ndvi.values[:, 4:8, :9] = np.nan
    fine.attrs |= {"simulated": "true", "mode": "causal"} | provenance(seed=0)
    lat, lon = grid.latlon(shape[0] // 2, shape[1] // 2)
    weather = raster_coordinates("EPSG:4326", (float(lon) - 0.1, float(lat) + 0.1, 1 / 24, 1 / 24), (5, 5))
    weather = weather.assign_coords(time=pd.date_range(end=day, periods=11))
    weather["precipitation"] = ("time", "lat", "lon"), rng.gamma(0.3, 12.0, (11, 5, 5)).astype(np.float32)
    weather.attrs |= {"simulated": "true"} | provenance(seed=1)
    made = downscale_maps(_network(tmp_path), fine, [weather], [day], tmp_path / "maps.zarr")
    maps = xr.open_zarr(made, consolidated=False, decode_coords="all")
    golden("map", digest(maps[["soil_moisture", "soil_moisture_std"]]), rtol=1e-4)


def _network(folder: Path) -> Path:
    """An MMNet of random weights that has seen some data."""
    torch.manual_seed(0)
    features = Features(("ndvi", "elevation", "latitude", "season_sine"), ("precipitation",), days=10)
    hyper: dict[str, Any] = {"gaussian": True}
    model = MODELS["mmnet"](features, **hyper)
    example = example_fine(features, batch=256)
    scale, shift = torch.tensor([1.0, 90.0, 1.0, 1.0]), torch.tensor([0.0, 500.0, 39.0, 0.0])
    example = Fine(example.snapshot * scale + shift, example.series * 10)
    model.fit_normalisation([(example, 0.2 + 0.1 * torch.rand(256))])
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.momentum = 1.0
    model.train()(example)
    path = folder / "model.pt"
    torch.save(to_checkpoint("mmnet", hyper, model) | {"domain": None, "attributes": {"mode": "causal"}}, path)
    return path
