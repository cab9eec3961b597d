"""The store of a study's predictions is made from what its runs estimate."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.experiments.studies import downscaling
from vadose.samples.folds import Fold


def test_predictions_are_made_again_when_an_estimate_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def estimate(run: Any, table: Any, scenario: str, fold: Fold, folder: Path, *_: Any) -> None:
        if not folder.exists():
            folder.mkdir(parents=True)
            values = {"a": (0.2, 0.01), "b": (0.2, 0.03), "trees": (0.3, np.nan)}[folder.name]
            mean, std = (np.full(3, value, np.float32) for value in values)
            np.savez_compressed(folder / "estimates.npz", mean=mean, std=std)

    monkeypatch.setattr(downscaling, "_run", estimate)
    setting = SimpleNamespace(model_dump=lambda **_: {}, made_of=dict)
    experiment: Any = SimpleNamespace(
        scenarios=SimpleNamespace(blocked=setting),
        runs=dict.fromkeys(("a", "b", "trees"), setting),
        ensembles={"networks": ("a", "b"), "all": ("a", "trees")},
        products=(),
        learn_from=None,
        station_list=(),
        first=date(2020, 1, 1),
        last=date(2020, 1, 3),
    )
    table = xr.Dataset(
        {"soil_moisture": (("station", "time"), np.full((1, 3), 0.3))},
        {
            "time": pd.date_range("2020-01-01", periods=3),
            "station": ["S"],
            **{name: ("station", [1.0]) for name in ("lat", "lon", "elevation")},
            "network": ("station", ["N"]),
        },
        {"dataset": "made up", "simulated": "true", "mode": "causal"},
    )
    fold = Fold("one", np.zeros((1, 3), bool), np.ones((1, 3), bool))

    def store_made() -> Path:
        return downscaling._predict(experiment, table, "blocked", [fold], tmp_path, "table", lambda *_: None)

    # One rule for all mixtures: with a deviation where each member has one.
    of = xr.open_zarr(store_made(), consolidated=False).isel(station=0, time=0)
    joined = of[["predicted", "predicted_std"]].sel(model=["networks", "all"]).to_array().values
    np.testing.assert_allclose(joined, [[0.2, 0.25], [np.sqrt((0.01**2 + 0.03**2) / 2), np.nan]], rtol=1e-5)

    def predicted() -> tuple[float, int]:
        store = store_made()
        mean = xr.open_zarr(store, consolidated=False).predicted
        return round(float(mean[0, 0, 0]), 3), (store / "zarr.json").stat().st_mtime_ns

    first = predicted()
    assert first[0] == 0.2
    assert predicted() == first
    np.savez_compressed(tmp_path / "runs/blocked/one/a/estimates.npz", mean=np.full(3, 0.4), std=np.full(3, 0.01))
    assert predicted()[0] == 0.4
