"""Losses by epoch of the ways to train, held to what they were: windows, sequences, station-days, two regions."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.door.days import Period
from vadose.models.inputs import Channels
from vadose.models.mmnet import Features
from vadose.samples.station_days import StationDays
from vadose.samples.windows import Samples
from vadose.training.alignment import Alignment
from vadose.training.forecasters import Optimisation, Plan, train
from vadose.training.station_days import DownscalingNetwork, Fitting, fit

FEATURES = Features(("ndvi", "clay_fraction"), ("precipitation",), days=5)
TRAINING, VALIDATION = Period("2015-04-10", "2015-07-20"), Period("2015-07-21", "2015-08-28")


def two_regions() -> tuple[xr.Dataset, np.ndarray]:
    """Twelve stations over 130 days whose moisture follows clay and rain, and which of them are in the east."""
    rng = np.random.default_rng(0)
    east = np.arange(12) >= 6
    rain = rng.gamma(0.5, 6, (12, 130)).astype(np.float32)
    clay = rng.uniform(0.1, 0.5, 12).astype(np.float32)
    moisture = 0.1 + 0.4 * clay[:, None] + 0.006 * rain + rng.normal(0, 0.01, rain.shape)
    both, days = ("station", "time"), np.arange(130).astype("M8[D]").astype("M8[ns]")
    table = xr.Dataset(
        {
            "soil_moisture": (both, moisture.astype(np.float32)),
            "precipitation": (both, rain),
            "ndvi": (both, (rng.normal(0.3, 0.1, rain.shape) + 0.15 * east[:, None]).astype(np.float32)),
            "clay_fraction": ("station", clay),
        },
        {"station": np.arange(12), "time": days},
    )
    return table, np.broadcast_to(east[:, None], rain.shape)


def losses_of(log: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Columns of numbers of a log; what is not known is -1."""
    names = [name for name in log[0] if name not in ("run", "epoch")]
    return {name: [-1.0 if row[name] == "" else float(row[name]) for row in log] for name in names}


@pytest.mark.parametrize(
    ("model", "hyper", "shape"),
    [
        ("convlstm", {"filters": (4,), "dropout": 0.3}, {"window": 4, "stride": 2}),
        ("surrogate", {"hidden": 4, "width": 4, "dropout": 0.3, "gaussian": True}, {"sequence": 20}),
    ],
)
def test_losses_of_forecasters(
    model: str, hyper: dict[str, Any], shape: dict[str, int], small_cube: xr.Dataset, tmp_path: Path, golden: Any
) -> None:
    channels = Channels(("soil_moisture_filled", "precipitation"), leads=(1, 3), target="soil_moisture_filled")
    how = Optimisation(epochs=4, patience=2, batch_size=16, samples_per_epoch=64, learning_rate=1e-2, weight_decay=0.01)
    run = train(
        Samples(small_cube, channels, look_back=3, **shape),  # type: ignore[arg-type]
        tmp_path / model,
        Plan(model=model, hyper=hyper, training=TRAINING, validation=VALIDATION, optimisation=how),
    )
    with (run / "history.csv").open() as stream:
        golden(f"losses_{model}", losses_of(list(csv.DictReader(stream))), rtol=2e-3)


MMNET = ("mmnet", {"dropout": 0.2}, {"optimiser": "adam", "batch_size": 50, "rows_per_epoch": 301})
LONG = (
    "long_mmnet",
    {"hidden": 8, "width": 16, "gaussian": True},
    {"batch_size": 4, "sequence": 40, "form": "crps", "optimiser": "adamw", "patience": 2},
)


@pytest.mark.parametrize(
    ("model", "hyper", "changes", "align"), [(*MMNET, None), (*MMNET, "adversarial"), (*LONG, None), (*LONG, "mmd")]
)
def test_losses_of_downscalers(
    model: str, hyper: dict[str, Any], changes: dict[str, Any], align: Any, golden: Callable[..., None]
) -> None:
    table, east = two_regions()
    days, how = StationDays(table, FEATURES), Fitting(epochs=4, learning_rate=5e-3, share=0.2, **changes)
    network = DownscalingNetwork(model, hyper, how)
    alignment = Alignment(east, align, weight=0.5) if align else None
    _, log = fit(days, table, ~east, network, alignment=alignment)
    golden(f"losses_{model}_{align or 'alone'}", losses_of(log), rtol=2e-3)
