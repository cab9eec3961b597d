"""The training loop on the small made-up cube."""

import csv
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.artefact import locked
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.features.normals import with_normals
from vadose.models import from_checkpoint
from vadose.models.inputs import Channels
from vadose.predict.forecast import forecast
from vadose.predict.members import blended
from vadose.samples.windows import Samples
from vadose.training.blends import Weights, blend, learn_weights
from vadose.training.forecasters import ForecastTask, Optimisation, Plan, train
from vadose.training.loop import _optimiser, new_network

TRAINING, VALIDATION = Period("2015-04-10", "2015-07-20"), Period("2015-07-21", "2015-08-28")
QUICK = Optimisation(epochs=3, patience=3, batch_size=32, samples_per_epoch=128, learning_rate=1e-2)


@pytest.fixture
def samples(small_cube: xr.Dataset) -> Samples:
    channels = Channels(("soil_moisture_filled", "precipitation"), leads=(1, 3), target="soil_moisture_filled")
    return Samples(small_cube, channels, look_back=3, window=4, stride=2)


def trained(samples: Samples, out: Path, **changes: Any) -> Path:
    plan = Plan("convlstm", {"filters": (4,)}, TRAINING, VALIDATION, QUICK)
    planned = {field.name: changes.pop(field.name) for field in fields(Plan) if field.name in changes}
    return train(samples, out, replace(plan, **planned), **changes)


def history_of(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def weights_of(checkpoint: Path) -> torch.Tensor:
    return torch.cat([p.flatten() for p in from_checkpoint(torch.load(checkpoint, weights_only=True)).parameters()])


def test_a_run_holds_two_checkpoints_and_its_history(samples: Samples, tmp_path: Path) -> None:
    run = trained(samples, tmp_path / "run")
    assert sorted(p.name for p in run.iterdir()) == [
        "final.pt",
        "history.csv",
        "provenance.json",
        "selected.pt",
    ]
    rows = history_of(run)
    losses = [float(r["validation_loss"]) for r in rows if r["validation_loss"]]
    assert len(losses) == 3
    assert min(losses) < losses[0]
    # The refit takes as many epochs as the selected network had, and no validation.
    best = 1 + losses.index(min(losses))
    assert [r["validation_loss"] for r in rows[3:]] == [""] * best
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_the_same_seed_gives_the_same_network(samples: Samples, tmp_path: Path) -> None:
    one, two = (trained(samples, tmp_path / name, refit=False) / "final.pt" for name in ("a", "b"))
    assert torch.equal(weights_of(one), weights_of(two))


def test_statistics_come_from_the_training_days_alone(small_cube: xr.Dataset, tmp_path: Path) -> None:
    spoilt = small_cube.copy(deep=True)
    late = spoilt.time > xr.DataArray(spoilt.time.sel(time="2015-07-21").values)
    for name in ("soil_moisture", "soil_moisture_filled", "precipitation"):
        spoilt[name] = spoilt[name].where(~late, spoilt[name] + 0.3)
    channels = Channels(("soil_moisture_filled", "precipitation"), leads=(1, 3), target="soil_moisture_filled")
    found = []
    for number, cube in enumerate((small_cube, spoilt)):
        run = trained(Samples(cube, channels, look_back=3, window=4, stride=2), tmp_path / f"{number}", refit=False)
        model: Any = from_checkpoint(torch.load(run / "selected.pt", weights_only=True))
        found.append((model.history.mean, model.history.std))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("model", ["climatology", "damped_persistence", "convlstm", "surrogate"])
def test_a_gap_in_the_days_lets_no_later_day_in(small_cube: xr.Dataset, tmp_path: Path, model: str) -> None:
    split = {"training": Period("2015-04-10", "2015-06-20"), "validation": Period("2015-06-21", "2015-07-15")}
    explicit = small_cube.copy(deep=True)
    gap = (explicit.time >= np.datetime64("2015-05-05")) & (explicit.time < np.datetime64("2015-06-14"))
    for name in ("soil_moisture", "soil_moisture_filled", "precipitation"):
        explicit[name] = explicit[name].where(~gap)
    holed = explicit.isel(time=np.flatnonzero(~gap))
    spoilt = holed.copy(deep=True)
    late = spoilt.time > np.datetime64("2015-07-15")
    for name in ("soil_moisture", "soil_moisture_filled", "precipitation"):
        spoilt[name] = spoilt[name].where(~late, spoilt[name] + 0.2)
    turned = holed.isel(time=slice(None, None, -1)).assign_coords(time=lambda d: d.time + np.timedelta64(12, "h"))
    channels = Channels(
        ("soil_moisture_filled", "precipitation", "soil_moisture_normal"),
        (),
        ("soil_moisture_normal",),
        (1, 3),
        "soil_moisture_filled",
    )
    hyper: dict[str, Any] = {"convlstm": {"filters": (2,)}, "surrogate": {"hidden": 3, "width": 3}}.get(model, {})
    how = replace(QUICK, epochs=1, samples_per_epoch=32)
    states = []
    for number, cube in enumerate((explicit, holed, spoilt, turned)):
        given = with_normals(cube, ("soil_moisture",), "2015-04-10", "2015-07-15")
        samples = Samples(given, channels, look_back=3, sequence=10)
        run = train(samples, tmp_path / f"{number}", Plan(model=model, hyper=hyper, optimisation=how, **split))
        states.append([torch.load(run / f"{name}.pt", weights_only=True)["state"] for name in ("selected", "final")])
    for other in states[1:]:
        for one, two in zip(states[0], other, strict=True):
            assert all(torch.equal(one[key].nan_to_num(), two[key].nan_to_num()) for key in one)


def test_an_interrupted_training_goes_on_to_the_same_end(samples: Samples, tmp_path: Path) -> None:
    whole = trained(samples, tmp_path / "whole")
    told: list[str] = []

    def stop_in_epoch_2(what: str, share: float) -> None:
        told.append(what)
        if "epoch 2" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(samples, tmp_path / "broken", progress=stop_in_epoch_2)
    assert not (tmp_path / "broken").exists()
    resumed: list[str] = []
    trained(samples, tmp_path / "broken", progress=lambda what, share: resumed.append(what))
    assert any("epoch 1" in what for what in told)
    assert not any("seed 0: epoch 1" in what for what in resumed)
    assert torch.allclose(weights_of(tmp_path / "broken/final.pt"), weights_of(whole / "final.pt"), atol=1e-6)
    assert not (tmp_path / ".broken.training").exists()


def test_what_is_left_of_other_settings_is_not_resumed(samples: Samples, tmp_path: Path) -> None:
    def stop(what: str, share: float) -> None:
        if "epoch 2" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(samples, tmp_path / "run", progress=stop)
    told: list[str] = []
    trained(samples, tmp_path / "run", hyper={"filters": (5,)}, progress=lambda what, share: told.append(what))
    assert any("seed 0: epoch 1" in what for what in told)


def test_a_finished_run_is_left_alone_and_another_made_anew(
    samples: Samples, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    told: list[str] = []

    def tell(what: str, share: float) -> None:
        told.append(what)

    trained(samples, tmp_path / "run", refit=False)
    trained(samples, tmp_path / "run", refit=False, progress=tell)
    assert told == []
    trained(samples, tmp_path / "run", refit=False, hyper={"filters": (5,)}, progress=tell)
    assert told
    told.clear()
    denser = Samples(small_cube, samples.channels, look_back=3, window=4, stride=1)
    trained(denser, tmp_path / "run", refit=False, hyper={"filters": (5,)}, progress=tell)
    assert told


def test_training_stops_early(samples: Samples, tmp_path: Path) -> None:
    how = Optimisation(epochs=50, patience=1, batch_size=32, samples_per_epoch=32, learning_rate=0.5)
    run = trained(samples, tmp_path / "run", optimisation=how, refit=False)
    rows = history_of(run)
    losses = [float(r["validation_loss"]) for r in rows]
    assert len(rows) < 50
    assert losses.index(min(losses)) == len(losses) - 2


def test_adam_keeps_its_rate(samples: Samples) -> None:
    network = new_network("convlstm", samples.channels, {"filters": (4,)}, 0)
    rates = {}
    for name in ("adam", "adamw"):
        how = replace(QUICK, optimiser=name)
        optimiser, schedule = _optimiser(ForecastTask(network, how, 0, "t", samples, TRAINING, None))
        optimiser.step()
        schedule.step()
        rates[name] = optimiser.param_groups[0]["lr"]
    assert rates["adam"] == 0.01 > rates["adamw"]


def test_without_patience_the_last_epoch_is_kept(samples: Samples, tmp_path: Path) -> None:
    how = Optimisation(**{**QUICK.__dict__, "learning_rate": 0.1, "seeds": (1,), "patience": None, "epochs": 4})
    run = trained(samples, tmp_path / "run", optimisation=how)
    losses = [float(r["validation_loss"]) for r in history_of(run)[:4]]
    assert losses.index(min(losses)) < 3  # an early stop would have kept another
    assert len(history_of(run)) == 8


def forecast_of(checkpoint: Path, cube: xr.Dataset, folder: Path) -> Any:
    """Forecasts of two days by a checkpoint."""
    out = folder / f"{checkpoint.parent.name}-{checkpoint.stem}.zarr"
    forecast(checkpoint, cube, out, first="2015-07-20", last="2015-07-21", leads=(1, 3))
    return xr.open_zarr(out, consolidated=False).soil_moisture.values


def test_several_seeds_forecast_their_mean(samples: Samples, small_cube: xr.Dataset, tmp_path: Path) -> None:
    how = Optimisation(**{**QUICK.__dict__, "seeds": (0, 1), "epochs": 1})
    run = trained(samples, tmp_path / "run", optimisation=how, refit=False)
    kept = torch.load(run / "final.pt", weights_only=True)
    for number, member in enumerate(kept["members"]):
        torch.save(member, run / f"{number}.pt")
    both, one, other = (forecast_of(run / f"{name}.pt", small_cube, tmp_path) for name in ("final", "0", "1"))
    assert not np.allclose(one, other, equal_nan=True)
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-6)
    # Seeds are draws of one network, whose spread is known; a blend of networks without a deviation has none.
    spread = xr.open_zarr(tmp_path / "run-final.zarr", consolidated=False).soil_moisture_std
    np.testing.assert_allclose(spread, np.abs(one - other) / 2, atol=1e-6)
    halves = tmp_path / "halves.pt"
    torch.save(kept | {"attributes": kept["attributes"] | {"model": "blend"}}, halves)
    np.testing.assert_allclose(forecast_of(halves, small_cube, tmp_path), both, atol=1e-6)
    (blended,) = tmp_path.glob("*-halves.zarr")
    assert "soil_moisture_std" not in xr.open_zarr(blended, consolidated=False)


def test_a_blend_is_the_weighted_mean_of_runs_with_other_predictors(small_cube: xr.Dataset, tmp_path: Path) -> None:
    one = Channels(("soil_moisture_filled",), leads=(1, 3), target="soil_moisture_filled")
    two = Channels(("precipitation", "soil_moisture_filled"), ("ndvi",), leads=(1, 2, 3), target="soil_moisture_filled")
    runs = []
    for name, channels, look_back in (("one", one, 1), ("two", two, 4)):
        samples = Samples(small_cube, channels, look_back=look_back)
        runs.append(trained(samples, tmp_path / name, hyper={"filters": (3,), "kernel": 1}, refit=False))
    joined = blend(runs, tmp_path / "blend", weights=Weights(((3.0, 0.0), (1.0, 2.0))), leads=(1, 3), attributes={})
    found, first, second = (forecast_of(run / "final.pt", small_cube, tmp_path) for run in (joined, *runs))
    expected = np.stack([0.75 * first[:, 0] + 0.25 * second[:, 0], second[:, 1]], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def members_of(truth: np.ndarray, noise: dict[str, np.ndarray], begin: str = "2015-01-01") -> dict[str, xr.Dataset]:
    """Forecasts of 1 and 3 days that are wrong by noise, (day,) of each, of every other deviation than they say."""
    days = pd.date_range(begin, periods=len(truth))
    stores = {}
    for name, wrong in noise.items():
        values = np.stack([truth + wrong, truth + wrong], axis=1)[:, :, None, None]
        at_valid = xr.Dataset(
            {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
            {"init_time": days, "lead_time": pd.to_timedelta([1, 3], unit="D"), "y": [0.0], "x": [0.0]},
        )
        # What stands at a day is valid then: shift each lead back to its day of issue.
        moved = [at_valid.soil_moisture.isel(lead_time=[k]).shift(init_time=-lead) for k, lead in enumerate((1, 3))]
        stores[name] = xr.concat(moved, "lead_time").transpose("init_time", ...).to_dataset()
    return stores


def test_weights_of_a_blend_are_learnt_by_lead_and_never_from_the_day_they_forecast() -> None:
    rng = np.random.default_rng(0)
    truth = 0.3 + 0.05 * np.sin(np.arange(200) / 9)
    noise = {"good": rng.normal(0, 0.01, 200), "poor": rng.normal(0, 0.05, 200)}
    period = Period("2015-01-11", "2015-07-09")
    days = pd.date_range("2015-01-01", periods=200)
    observed = xr.DataArray(truth[:, None, None], {"time": days, "y": [0.0], "x": [0.0]}, ("time", "y", "x"))
    stores = members_of(truth, noise)
    found = learn_weights(stores, observed, period)
    assert np.array(found.values)[0].min() > 0.8
    assert found.table is not None
    scores = found.table.pivot(index="lead_days", columns="name", values="crps")
    assert (scores.learnt < scores[["equal", "poor"]].min(axis=1)).all()
    assert (scores.learnt <= 1.1 * scores.good).all()
    # The third block's observations change what is forecast on all days but its own.
    first, last, weights = found.blocks[2]
    other = observed.where((observed.time < np.datetime64(first)) | (observed.time > np.datetime64(last)), 0.9)
    again = learn_weights(stores, other, period)
    assert again.blocks[2] == (first, last, weights)
    assert again.values != found.values
    assert all(a != b for k, (a, b) in enumerate(zip(again.blocks, found.blocks, strict=True)) if k != 2)


def test_weights_are_not_learnt_from_too_little(tmp_path: Path) -> None:
    truth = np.full(40, 0.3)
    observed = xr.DataArray(
        np.full((3, 1, 1), 0.3),
        {"time": pd.date_range("2015-01-02", periods=3), "y": [0.0], "x": [0.0]},
        ("time", "y", "x"),
    )
    stores = members_of(truth, {"a": truth * 0, "b": truth * 0.01})
    with pytest.raises(
        VadoseError, match=r"blend of a, b: 3 pairs on 3 of 31 days are too few .*; give a longer validation"
    ):
        learn_weights(stores, observed, Period("2015-01-01", "2015-01-31"))


def test_blocks_of_valid_days_have_their_own_weights(tmp_path: Path) -> None:
    kept = {"weights": ((1.0, 1.0), (0.0, 0.0)), "inputs": {"leads": (1, 3)}, "attributes": {"model": "blend"}}
    kept |= {"blocks": [("2015-01-03", "2015-01-04", ((0.0, 0.0), (1.0, 1.0)))]}
    members = [
        (np.full((3, 2, 1, 1), value, np.float32), np.full((3, 2, 1, 1), np.nan, np.float32)) for value in (1, 2)
    ]
    mean, _ = blended(kept, (1, 3), members, pd.date_range("2015-01-01", periods=3))
    assert mean[..., 0, 0].tolist() == [[1, 2], [2, 1], [2, 1]]


def test_wrong_splits_and_broken_losses_are_refused(samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="have to follow each other"):
        trained(samples, tmp_path / "run", validation=Period("2015-07-01", "2015-08-01"))
    with pytest.raises(VadoseError, match="the training loss is"):
        trained(samples, tmp_path / "run", optimisation=Optimisation(**{**QUICK.__dict__, "learning_rate": 1e30}))
    assert not (tmp_path / "run").exists()


def test_a_network_is_compiled_and_its_checkpoint_is_plain(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def compiled(method: Any) -> Any:
        def run(*arguments: Any) -> Any:
            calls.append(method.__name__)
            return method(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    plain = trained(samples, tmp_path / "run", refit=False)
    assert calls == []
    quick = replace(QUICK, compile=True)
    # How it is computed makes no other run.
    assert trained(samples, tmp_path / "run", refit=False, optimisation=quick) == plain
    assert calls == []
    run = trained(samples, tmp_path / "compiled", refit=False, optimisation=quick)
    assert set(calls) == {"forward"}
    assert torch.equal(weights_of(run / "final.pt"), weights_of(plain / "final.pt"))
    calls.clear()
    trained(
        samples,
        tmp_path / "crps",
        hyper={"filters": (4,), "gaussian": True},
        refit=False,
        optimisation=replace(quick, form="crps", epochs=1),
    )
    assert set(calls) == {"distribution"}


@pytest.mark.parametrize("at_first_step", [True, False])
def test_without_a_compiler_training_says_so_once_and_goes_on(
    at_first_step: bool, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", (lambda method: fail) if at_first_step else fail)
    told: list[str] = []
    how = replace(QUICK, compile=True)
    run = trained(samples, tmp_path / "run", refit=False, optimisation=how, progress=lambda what, _: told.append(what))
    assert [what for what in told if "uncompiled" in what] == [
        "run, seed 0 goes on uncompiled, torch.compile failed with RuntimeError"
    ]
    plain = trained(samples, tmp_path / "plain", refit=False)
    assert torch.equal(weights_of(run / "final.pt"), weights_of(plain / "final.pt"))


def test_a_run_that_another_process_trains_is_refused(samples: Samples, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with locked(tmp_path / ".run.training"), pytest.raises(VadoseError, match="run: another process is writing it"):
        trained(samples, out)
    assert not list(tmp_path.iterdir())
