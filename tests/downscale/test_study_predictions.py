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
            np.savez_compressed(folder / "estimates.npz", mean=np.full(3, 0.2), std=np.full(3, 0.01))

    monkeypatch.setattr(downscaling, "_run", estimate)
    setting = SimpleNamespace(model_dump=lambda **_: {})
    experiment: Any = SimpleNamespace(
        scenarios=SimpleNamespace(blocked=setting),
        runs={"a": setting},
        ensembles={},
        products=(),
        learn_from=None,
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

    def predicted() -> tuple[float, int]:
        store = downscaling._predict(experiment, table, "blocked", [fold], tmp_path, "table", lambda *_: None)
        mean = xr.open_zarr(store, consolidated=False).predicted
        return round(float(mean[0, 0, 0]), 3), (store / "zarr.json").stat().st_mtime_ns

    first = predicted()
    assert first[0] == 0.2
    assert predicted() == first
    np.savez_compressed(tmp_path / "runs/blocked/one/a/estimates.npz", mean=np.full(3, 0.4), std=np.full(3, 0.01))
    assert predicted()[0] == 0.4
