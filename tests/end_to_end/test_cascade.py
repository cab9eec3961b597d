"""Three layers in cascade on a small made-up cube: each is given the forecasts of the layers above, no more."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.artefact import identity, provenance
from vadose.cli import main
from vadose.cube import open_cube
from vadose.errors import VadoseError
from vadose.experiments import Experiment
from vadose.experiments.studies import study, train_all
from vadose.gapfill import carry_forward
from vadose.grid import ease_grid
from vadose.predict.forecast import forecast

LAYERS = {"0-10 cm": "soil_moisture_0_10cm", "10-40 cm": "soil_moisture_10_40cm", "40-100 cm": "soil_moisture_40_100cm"}
DAYS = 251
EXPERIMENT: dict[str, Any] = {
    "data": "granules",
    "layers": {
        "0-10 cm": {"observed": "soil_moisture_0_10cm", "depth": "5cm"},
        "10-40 cm": {"observed": "soil_moisture_10_40cm", "depth": "30cm"},
        "40-100 cm": {"observed": "soil_moisture_40_100cm", "depth": "60cm"},
    },
    "split": {
        "training": {"first": "2019-01-01", "last": "2019-04-30"},
        "validation": {"first": "2019-05-01", "last": "2019-06-30"},
        "test": {"first": "2019-07-01", "last": "2019-09-08"},
    },
    "runs": {
        "persistence": {"model": "persistence", "window": "map"},
        "climatology": {"model": "climatology", "window": "map"},
        "surrogate": {
            "model": "surrogate",
            "hyper": {"hidden": 8, "width": 8, "gaussian": True},
            "history": ["{observed}_filled", "{observed}_normal", "precipitation"],
            "static": ["clay_fraction_{depth}"],
            "future": ["{observed}_normal", "precipitation"],
            "above": "blend",
            "look_back": 20,
            "sequence": 30,
            "training": {"epochs": 2, "batch_size": 16, "samples_per_epoch": 64, "learning_rate": 0.01, "form": "crps"},
        },
        "trees": {
            "model": "trees",
            "hyper": {"iterations": 5, "departure": True},
            "history": ["{observed}_filled", "{observed}_normal", "precipitation"],
            "future": ["{observed}_normal", "precipitation"],
            "above": "blend",
            "look_back": 10,
            "training": {"samples_per_epoch": 2000},
        },
        "convlstm-S2": {
            "model": "convlstm",
            "hyper": {"filters": [4]},
            "history": ["precipitation"],
            "above": "blend",
            "cascade": "sequence",
            "scenario": "S2",
            "window": "map",
            "look_back": 2,
            "refit": False,
            "only": ["40-100 cm"],
            "training": {"epochs": 1, "batch_size": 8, "samples_per_epoch": 16},
        },
    },
    "blends": {"blend": {"members": ["surrogate", "trees"]}},
    "leads": [1, 7],
}
for run in ("surrogate", "trees", "persistence", "climatology", "convlstm-S2"):
    EXPERIMENT["runs"][run]["leads"] = [1, 7]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rain that reaches each layer later; missing where a network might look ahead."""
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 8.0, (DAYS, 5, 6)).astype(np.float32)
    state, moisture = np.full((3, 5, 6), 0.2), np.empty((3, DAYS, 5, 6), np.float32)
    for t in range(DAYS):
        flows = [0.004 * rain[t], 0.10 * (state[0] - 0.1), 0.04 * (state[1] - 0.1), 0.02 * (state[2] - 0.1)]
        for k in range(3):
            state[k] += flows[k] - flows[k + 1] * (1.6 if k == 0 else 1.0)
        moisture[:, t] = state
    place = ease_grid("9km").part(slice(280, 285), slice(850, 856)).coordinates()
    dataset = xr.Dataset(
        {"precipitation": (("time", "y", "x"), rain), "mask": (("y", "x"), np.ones((5, 6), bool))},
        coords={
            "time": pd.date_range("2019-01-01", periods=DAYS),
            **place.coords,
        },
        attrs=place.attrs | {"dataset": "made up", "layer": "0-10 cm", "simulated": "true", **provenance(of="test")},
    )
    for k, name in enumerate(LAYERS.values()):
        dataset[name] = ("time", "y", "x"), moisture[k]
        dataset = dataset.merge(carry_forward(dataset[name]))
        dataset[f"clay_fraction_{(5, 30, 60)[k]}cm"] = ("y", "x"), rng.random((5, 6)).astype(np.float32)
    out = tmp_path_factory.mktemp("cube") / "cube.zarr"
    xr.Dataset(attrs=dataset.attrs).to_zarr(out, zarr_format=3, consolidated=False)
    dataset.to_zarr(out, group="ease2_9km", mode="a", zarr_format=3, consolidated=False)
    return out


@pytest.fixture(scope="module")
def done(cube: Path, tmp_path_factory: pytest.TempPathFactory, blank_figures: Any) -> Path:
    out = tmp_path_factory.mktemp("cascade")
    # Six parts of the same figures, and those of the paper, which are drawn where they are tested.
    with blank_figures():
        study(Experiment.model_validate(EXPERIMENT), cube, out, title="Cascade")
    return out


def checkpoint_of(done: Path, layer: str, run: str, name: str = "final") -> dict[str, Any]:
    return torch.load(done / "runs" / layer / run / f"{name}.pt", weights_only=True)  # type: ignore[no-any-return]


def test_every_layer_has_its_table_and_the_layers_above_as_predictors(done: Path) -> None:
    table = pd.read_csv(done / "scores.csv")
    assert set(table.layer) == set(LAYERS)
    assert set(table[table.layer == "40-100 cm"].scenario) == {"all", "S2"}
    assert set(table[table.layer == "0-10 cm"].scenario) == {"all"}
    for layer, above in (("0-10cm", []), ("10-40cm", ["0-10 cm"]), ("40-100cm", ["0-10 cm", "10-40 cm"])):
        assert list(checkpoint_of(done, layer, "surrogate")["inputs"]["above"]) == above
        assert list(checkpoint_of(done, layer, "blend")["inputs"]["above"]) == above
    assert (done / "paper" / "index.csv").exists()
    assert "<h2>Grid cells: test, 40-100 cm</h2>" in (done / "report.html").read_text()


def test_the_forecasts_above_are_of_the_same_networks_and_all_training_days(done: Path) -> None:
    for phase, last in (("validation", "2019-06-29"), ("test", "2019-09-07")):
        blend = done / "forecasts" / phase / "0-10cm" / "blend.zarr"
        store = xr.open_zarr(blend, consolidated=False)
        assert str(store.init_time.values[0])[:10] == "2019-01-01"
        assert str(store.init_time.values[-1])[:10] == last
        below = xr.open_zarr(done / "forecasts" / phase / "10-40cm" / "surrogate.zarr", consolidated=False)
        told = json.loads(below.attrs["inputs"])["above"]["0-10 cm"]
        assert told == identity(store)


def test_a_forecast_below_hears_the_forecast_above_and_not_the_truth(done: Path, cube: Path, tmp_path: Path) -> None:
    store = done / "forecasts" / "test" / "0-10cm" / "blend.zarr"
    run = done / "runs" / "10-40cm" / "surrogate"
    call = ["forecast", str(run), str(cube), "--init", "2019-08-05"]
    made = {}
    for name, above in (("as it was", store), ("wetter", tmp_path / "wetter.zarr")):
        if name == "wetter":
            changed = xr.open_zarr(store, consolidated=False).load()
            changed["soil_moisture"] = changed.soil_moisture + 0.1
            changed.drop_encoding().to_zarr(above, zarr_format=3, consolidated=False)
        out = tmp_path / f"{name}.zarr"
        assert run_cli(*call, "--above", f"0-10 cm={above}", "--out", str(out)) == 0
        made[name] = xr.open_zarr(out, consolidated=False).soil_moisture.values
    assert np.isfinite(made["as it was"]).all()
    assert not np.allclose(made["as it was"], made["wetter"])
    kept = xr.open_zarr(done / "forecasts" / "test" / "10-40cm" / "surrogate.zarr", consolidated=False)
    np.testing.assert_allclose(made["as it was"][0], kept.soil_moisture.sel(init_time="2019-08-05"), atol=2e-3)
    assert run_cli(*call, "--out", str(tmp_path / "no.zarr")) == 2
    assert not (tmp_path / "no.zarr").exists()


def test_a_predictor_of_the_sequence_is_what_was_issued_on_each_day(done: Path, cube: Path, tmp_path: Path) -> None:
    run = done / "runs" / "40-100cm" / "convlstm-S2" / "final.pt"
    stores = {
        layer: xr.open_zarr(done / "forecasts" / "test" / layer.replace(" ", "") / "blend.zarr", consolidated=False)
        .load()
        .sel(init_time=slice("2019-08-03", "2019-08-07"))
        for layer in ("0-10 cm", "10-40 cm")
    }
    opened = open_cube(cube)

    def forecast_with(name: str, changed: str | None = None) -> xr.Dataset:
        above = {n: store.copy(deep=True) for n, store in stores.items()}
        if changed is not None:
            above["0-10 cm"].soil_moisture.loc[{"init_time": changed}] += 0.05
        out = tmp_path / f"{name}.zarr"
        forecast(run, opened, out, first="2019-08-04", last="2019-08-05", leads=(1, 7), above=above)
        return xr.open_zarr(out, consolidated=False).load()

    before = forecast_with("before")
    assert before.inputs_missing.sum() == 0
    assert set(before.channel.values) == {"precipitation", "0-10 cm", "10-40 cm"}
    # Two days of look-back: what was issued on 3 August is seen on the 4th alone, what came later on neither.
    for issued, seen in (("2019-08-03", [True, False]), ("2019-08-04", [True, True]), ("2019-08-06", [False, False])):
        apart = abs(forecast_with(issued, issued).soil_moisture - before.soil_moisture).max(("lead_time", "y", "x"))
        assert (apart > 0).values.tolist() == seen
    stores["0-10 cm"] = stores["0-10 cm"].sel(init_time=slice("2019-08-04", None))
    assert forecast_with("lacking").inputs_missing.sel(channel="0-10 cm").values.tolist() == [1, 0]


def test_a_finished_study_is_left_alone(done: Path, cube: Path) -> None:
    told: list[str] = []
    study(
        Experiment.model_validate(EXPERIMENT),
        cube,
        done,
        title="Cascade",
        progress=lambda what, share: told.append(what),
    )
    assert [what for what in told if what.startswith(("training", "fitting", "forecasting"))] == []


def test_training_alone_keeps_the_forecasts_it_needs(cube: Path, tmp_path: Path) -> None:
    small = {**EXPERIMENT, "runs": {n: EXPERIMENT["runs"][n] for n in ("persistence", "trees")}, "blends": {}}
    small["runs"]["trees"] = small["runs"]["trees"] | {"above": "trees"}
    folders = train_all(Experiment.model_validate(small), cube, tmp_path / "runs")
    assert len(folders) == 6
    assert (tmp_path / "runs" / "40-100cm" / "trees" / "final.pt").exists()


def run_cli(*arguments: str) -> int:
    import sys
    from unittest.mock import patch

    with patch.object(sys, "argv", ["vadose", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": {"a": {"model": "trees", "above": "trees"}}}, "unknown run 'above: trees'"),
        ({"runs": {"a": {"model": "convlstm", "cascade": "sequence"}}}, "add 'above', or leave it out"),
        (
            {"runs": {"a": {"model": "simvp", "above": "a", "cascade": "sequence"}}},
            r"cascade of simvp is 'sequence'; expected one of \['head'\]",
        ),
        (
            {"runs": {"a": {"model": "convlstm", "above": "a", "cascade": "both"}}},
            "Input should be 'head' or 'sequence'",
        ),
        ({"runs": {"a": {"model": "trees", "only": ["5 cm"]}}}, "unknown layer '5 cm'"),
        ({"runs": {"a": {"model": "trees", "history": ["{obsrved}_filled"]}}}, "braces can only hold"),
        ({"runs": {"a": {"model": "trees", "history": ["precipitation"]}}}, "must contain"),
    ],
)
def test_wrong_experiments_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Experiment.model_validate({**EXPERIMENT, "blends": {}, **change})


def test_a_cube_without_the_layers_is_refused(cube: Path, tmp_path: Path) -> None:
    layers = {"0-10 cm": {"observed": "soil_moisture"}}
    runs = {"persistence": EXPERIMENT["runs"]["persistence"]}
    changed = Experiment.model_validate({**EXPERIMENT, "layers": layers, "runs": runs, "blends": {}})
    with pytest.raises(VadoseError, match=r"no variable \['soil_moisture'\] to forecast"):
        study(changed, cube, tmp_path, title="")
    with pytest.raises(VadoseError, match="'learn_from' names stations"):
        study(Experiment.model_validate({**EXPERIMENT, "learn_from": ["a"]}), cube, tmp_path, title="")
