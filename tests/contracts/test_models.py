"""What holds for every model of MODELS, forecasters and downscaling networks: a new one is tested by being there."""

import inspect
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import xarray as xr

from vadose.artefact import checkpoint
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.models import MODELS, forecaster_names, from_checkpoint, to_checkpoint
from vadose.models.contract import Forecaster, Learns, Takes
from vadose.models.inputs import Channels, Inputs, example_inputs
from vadose.models.mmnet import Features, example_fine
from vadose.predict.forecast import forecast
from vadose.samples.windows import Samples
from vadose.training.forecasters import Batches, Optimisation, Plan, train
from vadose.training.station_days import load

HISTORY = (
    "soil_moisture_filled",
    "soil_moisture_observed",
    "soil_moisture_age",
    "precipitation",
    "air_temperature",
    "specific_humidity",
    "shortwave_radiation",
    "longwave_radiation",
    "eastward_wind",
    "northward_wind",
)
STATIC = ("clay_fraction", "sand_fraction", "ndvi")
LOOK_BACK = 20
SMALL: dict[str, dict[str, Any]] = {
    "convlstm": {"filters": (4, 6), "dropout": 0.0},
    "lstm": {"hidden": 8, "dropout": 0.0},
    "trees": {"iterations": 20},
    "simvp": {"hidden": 8, "width": 16, "depth": 1, "dropout": 0.0, "look_back": LOOK_BACK},
    "surrogate": {"hidden": 8, "width": 8, "dropout": 0.0},
    "map_transformer": {"width": 8, "heads": 2, "depth": 1, "window": 3, "dropout": 0.0, "look_back": LOOK_BACK},
}
ALL = Period("2015-04-01", "2015-08-28")
WEATHERS = ["none", "perfect"]


def channels_for(weather: str) -> Channels:
    return Channels(HISTORY, STATIC, HISTORY[3:] if weather == "perfect" else (), leads=(1, 3, 7), target=HISTORY[0])


def samples_of(cube: xr.Dataset, weather: str) -> Samples:
    return Samples(cube, channels_for(weather), look_back=LOOK_BACK)


def built(name: str, weather: str, grid: tuple[int, int] = (8, 9)) -> tuple[torch.nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    hyper = dict(SMALL.get(name, {}))
    if name in ("climatology", "damped_persistence"):
        hyper["grid"] = grid
    return MODELS[name](channels_for(weather), **hyper), hyper


@pytest.fixture(scope="module")
def trained(small_cube: xr.Dataset) -> dict[tuple[str, str], tuple[torch.nn.Module, dict[str, Any]]]:
    """Every model with and without weather, fitted or with its statistics set."""
    models = {}
    for name in forecaster_names():
        for weather in WEATHERS:
            model, hyper = built(name, weather)
            batches = Batches(samples_of(small_cube, weather), ALL, 2048)
            model.fit(batches) if model.learns == "at_once" else model.fit_normalisation(batches)
            models[name, weather] = model.eval(), hyper
    return models


every = pytest.mark.parametrize(("name", "weather"), [(n, w) for n in forecaster_names() for w in WEATHERS])
# Without a last observation persistence is undefined: NaN, as documented.
always_defined = pytest.mark.parametrize(
    ("name", "weather"), [(n, w) for n in forecaster_names() for w in WEATHERS if "persistence" not in n]
)
networks = pytest.mark.parametrize(
    ("name", "weather"), [(n, w) for n in forecaster_names() for w in WEATHERS if MODELS[n].learns == "steps"]
)


@every
def test_shape_and_range(name: str, weather: str, trained: Any, small_cube: xr.Dataset) -> None:
    model, _ = trained[name, weather]
    samples = samples_of(small_cube, weather)
    with torch.no_grad():
        predicted = model(samples.inputs(samples.all_windows(100)))
    assert predicted.shape == (8 * 9 - 2, 3, 1, 1)
    assert predicted.dtype == torch.float32
    if MODELS[name].learns == "at_once":
        assert predicted.min() > 0
        assert predicted.max() < 0.6


@every
def test_any_size_of_window(name: str, weather: str, trained: Any) -> None:
    model, _ = trained[name, weather]
    with torch.no_grad():
        inputs = example_inputs(channels_for(weather), look_back=LOOK_BACK, size=4, batch=3)
        assert model(inputs).shape == (3, 3, 4, 4)


@always_defined
def test_unknown_predictors_leave_forecasts_finite(
    name: str, weather: str, trained: Any, small_cube: xr.Dataset
) -> None:
    model, _ = trained[name, weather]
    samples = samples_of(small_cube, weather)
    inputs = samples.inputs(samples.all_windows(60))
    history = inputs.history.clone()
    history[: len(history) // 2] = torch.nan
    history[:, :5, 1:] = torch.nan
    with torch.no_grad():
        assert torch.isfinite(model(inputs._replace(history=history))).all()


ROWS = Features(("ndvi", "clay_fraction"), ("precipitation",), days=LOOK_BACK)


def example_of(name: str, **more: Any) -> tuple[Any, dict[str, Any], Any]:
    """A model of MODELS that has seen a batch, its settings, and the batch."""
    kind, hyper = MODELS[name], SMALL.get(name, {}) | more
    if kind.names is Features:
        names, given, observed = ROWS, example_fine(ROWS, batch=16), 0.1 + 0.3 * torch.rand(16)
    else:
        names = channels_for("perfect")
        given = example_inputs(names, look_back=LOOK_BACK, size=4, batch=3)
        observed = 0.1 + 0.3 * torch.rand(3, 3, 4, 4)
        if "grid" in inspect.signature(kind).parameters:
            hyper = hyper | {"grid": (4, 4)}
    torch.manual_seed(0)
    model = kind(names, **hyper)
    (model.fit if model.learns == "at_once" else model.fit_normalisation)([(given, observed)])
    return model.eval(), hyper, given


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_is_and_gives_it(name: str) -> None:
    model, _, given = example_of(name)
    assert model.learns in get_args(Learns)
    assert model.takes in get_args(Takes)
    assert (model.takes == "series") == hasattr(model, "of_days")
    assert model.inputs == type(model).names.from_dict(model.inputs.to_dict())
    with torch.no_grad():
        mean, std = model.distribution(given)
        torch.testing.assert_close(model(given), mean, equal_nan=True)
    assert mean.shape == std.shape
    assert mean.dtype == std.dtype == torch.float32
    assert torch.isfinite(std).all() if model.has_deviation else torch.isnan(std).all()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gaussian", [False, True])
def test_saved_and_loaded_it_gives_the_same(name: str, gaussian: bool, tmp_path: Path) -> None:
    if gaussian and "gaussian" not in inspect.signature(MODELS[name]).parameters:
        pytest.skip("the model has no option of a deviation")
    model, hyper, given = example_of(name, **{"gaussian": True} if gaussian else {})
    assert model.has_deviation or not gaussian
    kept = to_checkpoint(name, hyper, model)
    # The form of today, and the two of earlier versions.
    old = {{"inputs": "features" if kept["inputs"] == ROWS.to_dict() else "channels"}.get(k, k): kept[k] for k in kept}
    for number, form in enumerate((kept, old)):
        checkpoint.save(form, tmp_path / f"{number}.pt")
        read = checkpoint.load(tmp_path / f"{number}.pt", needs=("name", "inputs"), made_by="x", build=from_checkpoint)
        assert read.keys() == kept.keys()
        with torch.no_grad():
            for before, after in zip(model.distribution(given), from_checkpoint(read).distribution(given), strict=True):
                torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


def test_an_ensemble_of_an_earlier_version_is_a_blend(tmp_path: Path) -> None:
    model, hyper, _ = example_of("mlp")
    member = {"features" if k == "inputs" else k: v for k, v in to_checkpoint("mlp", hyper, model).items()}
    checkpoint.save({"name": "ensemble", "members": [member] * 2, "features": ROWS.to_dict()}, tmp_path / "old.pt")
    kept = load(tmp_path / "old.pt")
    assert (kept["name"], kept["weights"], kept["inputs"]) == ("blend", None, ROWS.to_dict())
    assert [m["inputs"] for m in kept["members"]] == [ROWS.to_dict()] * 2
    model, hyper, _ = example_of("lstm")
    checkpoint.save(to_checkpoint("lstm", hyper, model), tmp_path / "other.pt")
    with pytest.raises(VadoseError, match=r"other.pt: lstm forecasts a cube; expected a downscaling network"):
        load(tmp_path / "other.pt")


class Mine(Forecaster):
    """The last value times a factor that is learnt."""

    def __init__(self, channels: Channels, start: float = 0.5) -> None:
        super().__init__(channels)
        self.factor = torch.nn.Parameter(torch.tensor(start))

    def fit_normalisation(self, batches: Any) -> None:
        """Nothing to standardise."""

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Soil moisture [m3 m-3] at each lead (B, L, H, W)."""
        last = inputs.history[:, -1:, self.channels.position(self.channels.target)].nan_to_num(0.2)
        return (self.factor * last).repeat(1, len(self.channels.leads), 1, 1)


def test_a_model_of_ones_own_is_one_class_and_one_line(
    small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "mine", Mine)
    assert "mine" in forecaster_names()
    run = train(
        samples_of(small_cube, "none"),
        tmp_path / "mine",
        Plan(
            model="mine",
            hyper={"start": 0.3},
            training=Period("2015-04-20", "2015-07-20"),
            validation=Period("2015-07-21", "2015-08-20"),
            optimisation=Optimisation(epochs=3, batch_size=64, samples_per_epoch=640, learning_rate=0.05),
        ),
    )
    mine = from_checkpoint(checkpoint.load(run / "final.pt", needs=("state",), made_by="vadose train"))
    assert mine.factor.item() > 0.6
    out = forecast(run / "final.pt", small_cube, tmp_path / "f.zarr", first="2015-08-01", last="2015-08-03")
    store = xr.open_zarr(out, consolidated=False)
    assert store.attrs["model"] == "mine"
    assert np.isfinite(store.soil_moisture.values[..., small_cube.mask.values]).all()


@networks
def test_every_parameter_gets_a_gradient(name: str, weather: str, small_cube: xr.Dataset) -> None:
    model, _ = built(name, weather)
    samples = samples_of(small_cube, weather)
    batches = Batches(samples, ALL, 256)
    model.fit_normalisation(batches)
    inputs, _ = next(iter(batches))
    inputs = samples.inputs(samples.all_windows(90))
    model(inputs).square().sum().backward()
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@networks
def test_it_overfits_one_batch(name: str, weather: str, small_cube: xr.Dataset) -> None:
    model, _ = built(name, weather)
    samples = samples_of(small_cube, weather)
    batches = Batches(samples, ALL, 4096)
    model.fit_normalisation(batches)
    index = samples.index(ALL)[4000:4032]
    inputs, observed = samples.inputs(index), samples.targets(index, ALL)
    known = torch.isfinite(observed)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    enough = 0.05 * observed[known].var().item()
    for _ in range(250):
        loss = (model(inputs) - observed)[known].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < enough:
            break
    assert loss.item() < enough


@every
def test_a_part_of_the_grid_is_forecast_as_in_the_whole(
    name: str, weather: str, trained: Any, small_cube: xr.Dataset
) -> None:
    model, _ = trained[name, weather]
    whole = samples_of(small_cube, weather)
    crop = small_cube.isel(y=slice(2, 7), x=slice(1, 5), time=slice(30, None))
    crop = crop.assign_coords(y=crop.y.astype(np.float32), x=crop.x.astype(np.float32))
    part = Samples(crop, channels_for(weather), look_back=LOOK_BACK, learnt_on=whole.place)
    index = part.all_windows(60)
    with torch.no_grad():
        found = model(part.inputs(index))
        expected = model(whole.inputs(index + np.array([30, 2, 1])))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6, equal_nan=True)
    assert found.std() > 0


@every
def test_a_model_that_looks_up_cells_says_so(name: str, weather: str, trained: Any, small_cube: xr.Dataset) -> None:
    model, hyper = trained[name, weather]
    samples = samples_of(small_cube, weather)
    inputs = samples.inputs(samples.all_windows(80))
    with torch.no_grad():
        same = torch.equal(model(inputs), model(inputs._replace(cell=inputs.cell.flip(0))))
    assert same or to_checkpoint(name, hyper, model)["keeps_cells"]


def changed_after(cube: xr.Dataset, day: int, keep: tuple[str, ...] = ()) -> xr.Dataset:
    """The cube with every daily value after a position changed, within its range, but those to keep."""
    other = cube.copy(deep=True)
    for name in map(str, other.data_vars):
        if "time" in other[name].dims and name not in keep:
            values = other[name].values
            values[day + 1 :] = np.where(np.isfinite(values[day + 1 :]), np.nanmin(values), np.nanmax(values))
    return other


@every
def test_nothing_after_t0_reaches_a_forecast(name: str, weather: str, trained: Any, small_cube: xr.Dataset) -> None:
    model, _ = trained[name, weather]
    keep = HISTORY[3:] if weather == "perfect" else ()
    inputs: list[Inputs] = []
    for cube in (small_cube, changed_after(small_cube, 80, keep)):
        samples = samples_of(cube, weather)
        inputs.append(samples.inputs(samples.all_windows(80)))
    with torch.no_grad():
        before, after = (model(i) for i in inputs)
    assert torch.equal(before, after)
    changed_on_t0 = samples_of(changed_after(small_cube, 79, keep), weather)
    if name != "climatology":  # what it would take for the test to see a leak
        with torch.no_grad():
            assert not torch.equal(before, model(changed_on_t0.inputs(changed_on_t0.all_windows(80))))


@pytest.mark.parametrize("name", forecaster_names())
def test_no_weather_after_the_valid_day_reaches_a_forecast(name: str, trained: Any, small_cube: xr.Dataset) -> None:
    weather = "perfect"
    model, _ = trained[name, weather]
    samples = samples_of(small_cube, weather)
    inputs = samples.inputs(samples.all_windows(80))
    assert inputs.future is not None
    future = inputs.future.clone()
    future[:, 3:] = future[:, 3:] * 2 + 1
    with torch.no_grad():
        before, after = model(inputs), model(inputs._replace(future=future))
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6)
    if name not in ("persistence", "damped_persistence", "climatology"):
        assert not torch.allclose(before[:, 2], after[:, 2])
