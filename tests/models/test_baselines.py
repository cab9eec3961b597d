"""Baselines against series whose answer is known."""

import math

import pytest
import torch
import xarray as xr

from vadose.door.days import Period
from vadose.models import MODELS
from vadose.models.baselines import Climatology, DampedPersistence, Persistence
from vadose.models.inputs import Channels, Inputs
from vadose.samples.windows import Samples
from vadose.training.forecasters import Batches

CHANNELS = Channels(("soil_moisture_filled",), leads=(1, 10), target="soil_moisture_filled")
DAYS = 365 * 4


def batch_of(series: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
    """All days of one series at cell (0, 1) of a 1 x 2 grid."""
    n = len(series) - 10
    inputs = Inputs(
        history=series[:n].reshape(n, 1, 1, 1, 1),
        static=torch.empty(n, 0, 1, 1),
        future=None,
        day=torch.arange(n),
        cell=torch.tensor([[0, 1]]).expand(n, 2),
    )
    target = torch.stack([series[1 : n + 1], series[10 : n + 10]], 1)[:, :, None, None]
    return inputs, target


def annual(amplitude: float = 0.1) -> torch.Tensor:
    angle = 2 * math.pi * torch.arange(DAYS) / 365.2425
    return 0.3 + amplitude * torch.sin(angle) - 0.05 * torch.cos(angle)


def test_climatology_finds_a_harmonic_and_leaves_unseen_cells_empty() -> None:
    inputs, target = batch_of(annual())
    model = Climatology(CHANNELS, grid=(1, 2), prior=0.0)
    model.fit([(inputs, target)])
    assert torch.allclose(model(inputs), target, atol=1e-5)
    assert model.coefficients[0, 0].isnan().all()


def test_the_prior_shrinks_the_harmonic_but_not_the_mean() -> None:
    inputs, target = batch_of(annual())
    model = Climatology(CHANNELS, grid=(1, 2), prior=1e9)
    model.fit([(inputs, target)])
    assert model(inputs).mean().item() == pytest.approx(0.3, abs=2e-3)
    assert model(inputs).std().item() < 1e-4


def test_unobserved_days_do_not_count() -> None:
    inputs, target = batch_of(annual())
    wild = target.clone()
    wild[::2] = torch.nan
    model = Climatology(CHANNELS, grid=(1, 2), prior=0.0)
    model.fit([(inputs, wild)])
    assert torch.allclose(model(inputs), target, atol=1e-4)


def test_damped_persistence_finds_the_memory_of_an_ar1_series() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = 0.01 * torch.randn(DAYS * 5, generator=generator)
    anomaly = torch.zeros(DAYS * 5)
    for t in range(1, len(anomaly)):
        anomaly[t] = 0.9 * anomaly[t - 1] + noise[t]
    inputs, target = batch_of(0.3 + anomaly)
    model = DampedPersistence(CHANNELS, grid=(1, 2))
    model.fit([(inputs, target)])
    assert model.factor[0, 1].tolist() == pytest.approx([0.9, 0.9**10], abs=0.06)
    mse = (model(inputs) - target).square().mean((0, 2, 3))
    held = (Persistence(CHANNELS)(inputs) - target).square().mean((0, 2, 3))
    assert (mse < held).all()


def test_persistence_repeats_the_last_value() -> None:
    inputs, _ = batch_of(annual())
    predicted = Persistence(CHANNELS)(inputs)
    assert torch.equal(predicted[:, 0], predicted[:, 1])
    assert torch.equal(predicted[:, 0], inputs.history[:, -1, 0])


@pytest.mark.parametrize("name", ["climatology", "damped_persistence"])
def test_fitted_to_whole_maps_or_cell_by_cell_it_is_the_same(name: str, small_cube: xr.Dataset) -> None:
    channels = Channels(("soil_moisture_filled",), leads=(1, 3), target="soil_moisture_filled")
    period = Period("2015-04-10", "2015-07-20")
    fitted = []
    for window in (None, 1):
        samples = Samples(small_cube, channels, look_back=1, window=window)
        model = MODELS[name](channels, grid=samples.shape)
        model.fit(Batches(samples, period, size=40))
        fitted.append(model.state_dict())
    for key, values in fitted[0].items():
        torch.testing.assert_close(values, fitted[1][key], equal_nan=True)


def test_the_deviation_is_the_spread_of_the_training_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, target = batch_of(0.3 + 0.02 * torch.randn(DAYS, generator=generator))
    for model in (Climatology(CHANNELS, grid=(1, 2)), DampedPersistence(CHANNELS, grid=(1, 2))):
        model.fit([(inputs, target)])
        mean, std = model.distribution(inputs)
        assert torch.equal(mean, model(inputs))
        assert std.flatten().tolist() == pytest.approx([0.02] * std.numel(), rel=0.06)
        # A cell without observations has the spread of all.
        assert model.spread[0, 0].tolist() == pytest.approx([0.02, 0.02], rel=0.06)
