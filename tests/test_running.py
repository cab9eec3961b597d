"""Where networks run, in which precision and whether compiled: nothing assumes a processor, results say how."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from vadose.errors import VadoseError
from vadose.models import MODELS, downscaler_names, forecaster_names
from vadose.models.folded import fold
from vadose.models.inputs import Channels, example_inputs
from vadose.models.mmnet import Features, example_fine
from vadose.models.tiles import predict_tiles
from vadose.parallel import running
from vadose.parallel.running import Running, rounding_of, work_of
from vadose.training.processes import JoinedNetwork, launched

DAILY = ("soil_moisture_filled", "soil_moisture_observed", "soil_moisture_age", "precipitation", "air_temperature")
NETWORKS = [name for name in forecaster_names() if MODELS[name].learns == "steps"]
MAPS = ("convlstm", "simvp", "map_transformer")
SMALL: dict[str, dict[str, Any]] = {
    "convlstm": {"filters": (4, 6)},
    "simvp": {"hidden": 8, "width": 16, "depth": 1},
    "map_transformer": {"width": 8, "heads": 2, "depth": 1},
}
LONG = 1e18


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("weather", [(), ("precipitation", "soil_moisture_normal")])
@pytest.mark.parametrize("name", NETWORKS)
def test_forecasters_stay_on_the_device_of_their_weights(name: str, weather: tuple[str, ...], device: str) -> None:
    history = (*DAILY, "soil_moisture_normal")
    channels = Channels(history, ("clay_fraction",), weather, (1, 3), DAILY[0], above=("0-10 cm",))
    channels = channels if name in MAPS else Channels(history, (), weather, (1, 3), DAILY[0])
    model, method = MODELS[name](channels, **SMALL.get(name, {})).eval(), "distribution"
    inputs, rest = example_inputs(channels, size=12), ()
    if model.takes == "series":
        method, rest, inputs = "of_days", (2,), example_inputs(channels, look_back=5)
    Running(device, "float32", compile=False).prepare(model, method)
    with torch.no_grad():
        found = getattr(model, method)(inputs, *rest)
        if method == "distribution" and model.reach(3) is not None:
            found += (predict_tiles(lambda i: model.distribution(i)[0], inputs, tile=5, halo=2),)
    assert {part.device.type for part in found} == {device}
    assert {part.shape[-2:] for part in found} == {inputs.history.shape[-2:]}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("name", downscaler_names())
def test_downscaling_networks_stay_on_the_device_of_their_weights(name: str, device: str) -> None:
    features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    model, fine = MODELS[name](features).eval(), example_fine(features, batch=4)
    Running(device, "float32", compile=False).prepare(model, "distribution")
    assert [part.device.type for part in model.distribution(fine)] == [device] * 2
    if model.folds:
        on, which = fine.to(device), torch.zeros(4, dtype=torch.int64, device=device)
        folded = fold(model)
        found = folded.distribution(on.snapshot, folded.encode(on.series), which)
        assert [part.device.type for part in found] == [device] * 2


@pytest.mark.parametrize(
    ("given", "work", "rounding", "expected"),
    [
        ({}, 1e9, 0.01, ("float32", False)),
        ({}, LONG, 0.01, ("bfloat16", True)),
        ({}, LONG, math.inf, ("float32", True)),
        ({}, LONG, 0.025, ("float32", True)),
        ({"precision": "bfloat16", "compile": True}, 1.0, 0.03, ("bfloat16", True)),
        ({"precision": "float32", "compile": False}, LONG, 0.01, ("float32", False)),
    ],
)
def test_what_is_left_open_goes_by_the_work_and_the_rounding(
    given: dict[str, Any], work: float, rounding: float, expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "multiplies_bfloat16", lambda kind: True)
    told: list[str] = []
    found = Running("cpu", **given).settled(work, lambda: rounding, told.append)
    assert found == Running("cpu", *expected)
    said = ["in float32, bfloat16 would round off 2.5% of the standard deviation; allowed are 2 %"]
    assert told == (said if rounding == 0.025 else [])
    monkeypatch.setattr(running, "multiplies_bfloat16", lambda kind: False)
    if "precision" not in given:
        assert Running("cpu").settled(work, lambda: rounding).precision == "float32"


def test_what_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VadoseError, match="precision is 'bf16'; expected one of auto, float32, bfloat16"):
        Running(precision="bf16")
    with pytest.raises(VadoseError, match="device is 'gpu'; expected auto, cpu or cuda"):
        Running("gpu").settled(1.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(VadoseError, match="finds no CUDA GPU; use cpu"):
        Running("cuda:1").settled(1.0)
    assert Running().settled(1.0).device == "cpu"


def test_rounding_is_measured_on_the_network_itself() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 1)
    assert 0 < rounding_of(lambda x: (layer(x),), torch.rand(100, 8)) < running.TOLERANCE
    # Of large values bfloat16 keeps no small differences.
    assert rounding_of(lambda x: (layer(x),), torch.rand(100, 8) * 0.01 + 100) > running.TOLERANCE
    assert work_of(layer, 10) == 2 * 10 * 9


def test_a_forecast_says_its_precision_and_runs_the_compiled_distribution(
    map_run: Path, small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vadose.predict.forecast import forecast

    compiled: list[str] = []

    def watched(method: Any) -> Any:
        def run(*given: Any) -> Any:
            compiled.append(method.__name__)
            return method(*given)

        return run

    monkeypatch.setattr(torch, "compile", watched)
    days = {"first": "2015-07-01", "last": "2015-07-02"}

    def made(name: str, **how: Any) -> xr.Dataset:
        place = forecast(map_run, small_cube, tmp_path / f"{name}.zarr", running=Running(**how), **days)
        return xr.open_zarr(place, consolidated=False).load()

    exact, rounded = made("auto"), made("rounded", precision="bfloat16", compile=True)
    assert exact.precision == "float32"
    assert rounded.precision == "bfloat16"
    assert compiled == ["distribution"] * 2
    apart = (rounded - exact).soil_moisture
    assert 0 < float(np.sqrt((apart**2).mean())) < running.TOLERANCE * float(exact.soil_moisture.std())


def test_without_a_compiler_a_forecast_says_so_and_is_the_same(
    map_run: Path, small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vadose.predict.forecast import forecast

    def fail(*_: Any) -> None:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    told: list[str] = []
    stores = [
        forecast(
            map_run,
            small_cube,
            tmp_path / f"{compile}.zarr",
            first="2015-07-01",
            last="2015-07-01",
            running=Running(compile=compile),
            progress=lambda what, share: told.append(what),
        )
        for compile in (True, False)
    ]
    assert [what for what in told if "uncompiled" in what] == [
        f"forecasting {tmp_path.name} True goes on uncompiled, torch.compile failed with RuntimeError"
    ]
    one, other = (xr.open_zarr(store, consolidated=False).soil_moisture.values for store in stores)
    np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile wants a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch by its own compiler
def test_a_network_is_compiled_and_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.utils import counters
    from torch._inductor import config

    # Quicker for a single kernel: no processes that import torch, no headers compiled before, and no ten compilations
    # to see which vector instructions there are.
    monkeypatch.setattr(config, "compile_threads", 1)
    monkeypatch.setattr(config, "cpp_cache_precompile_headers", False)
    monkeypatch.setattr(config.cpp, "vec_isa_ok", False)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    network, given = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), torch.rand(4, 3)
    told: list[str] = []
    with torch.no_grad():
        plain = network(given)
        graphs = counters["stats"]["unique_graphs"]
        Running("cpu", "float32", compile=True).prepare(network, "forward", tell=told.append)
        found = network(given)
    assert (told, counters["stats"]["unique_graphs"]) == ([], graphs + 1)
    assert list(tmp_path.rglob("*.so"))
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def map_run(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained network of maps."""
    from vadose.door.days import Period
    from vadose.samples.windows import Samples
    from vadose.training.forecasters import Optimisation, Plan, train

    channels = Channels(("soil_moisture_filled", "precipitation"), leads=(1, 3), target="soil_moisture_filled")
    how = Optimisation(epochs=1, batch_size=4, samples_per_epoch=8)
    plan = Plan("convlstm", {"filters": (4, 6)}, Period("2015-04-01", "2015-06-30"), None, how)
    samples = Samples(small_cube, channels, look_back=2, window=None)
    return train(samples, tmp_path_factory.mktemp("map_run") / "run", plan) / "final.pt"


def test_an_experiment_is_trained_and_forecast_as_is_said_and_is_else_that_of_its_file() -> None:
    from vadose.experiments import load_experiment
    from vadose.experiments.downscaling import load_downscaling

    said = Running("cpu", "bfloat16", compile=True)
    forecasting, downscaling = (
        load(name) for load, name in ((load_experiment, "conus"), (load_downscaling, "downscale-stations"))
    )
    for run in forecasting.run_as(said).runs.values():
        assert (run.training.precision, run.training.compile, run.training.device) == ("bf16-mixed", True, "cpu")
    for name, run in downscaling.run_as(said).runs.items():
        assert (run.fitting.precision, run.fitting.compile, run.fitting.device) == ("bf16-mixed", True, "cpu")
        assert downscaling.run_as(Running("cpu", compile=True)).runs[name].made_of() == downscaling.runs[name].made_of()
    assert forecasting.run_as(said).running == said
    assert forecasting.run_as(Running()) == forecasting


def test_a_checkpoint_says_the_precision_it_was_trained_in(map_run: Path) -> None:
    assert torch.load(map_run, weights_only=True)["precision"] == "32-true"


class Recording(nn.Module):
    """Notes in which precision its layer gave its values."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.distribution(x)[0]

    def distribution(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.layer(x)
        self.seen = mean.dtype
        return mean, mean.exp()


@pytest.mark.parametrize("method", ["forward", "distribution"])
def test_whatever_a_loss_calls_is_trained_in_the_precision_asked_for(method: str) -> None:
    fabric, recording = launched("bf16-mixed", "cpu"), Recording()
    network = fabric.setup_module(recording)
    if method != "forward":
        network.mark_forward_method(method)
    mean, _ = JoinedNetwork(fabric, network)(method, 3, torch.ones(3, 4))
    assert (recording.seen, mean.dtype) == (torch.bfloat16, torch.float32)
