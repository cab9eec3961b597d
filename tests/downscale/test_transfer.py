"""Distances of representations: known answers; training that draws two regions together; bad input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from vadose.errors import VadoseError
from vadose.models import MODELS, from_checkpoint
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.samples.station_days import StationDays
from vadose.training.alignment import Adversary, Alignment, _fused, coral, mmd, reverse_gradient
from vadose.training.station_days import DownscalingNetwork, Fitting, estimate, fit

FEATURES = Features(("ndvi", "clay_fraction"), ("precipitation",), days=5)
FITTING = Fitting(epochs=6, batch_size=64, learning_rate=5e-3, optimiser="adamw", share=0.1)


def normal(n: int, k: int, seed: int) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_regions(stations: int = 12, days: int = 130) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Moisture follows clay and rain in both; ndvi tells the regions apart and nothing of moisture."""
    rng = np.random.default_rng(0)
    both = ("station", "time")
    east = np.arange(stations) >= stations // 2
    rain = rng.gamma(0.5, 6, (stations, days)).astype(np.float32)
    clay = rng.uniform(0.1, 0.5, stations)
    wet = np.zeros_like(rain)
    for t in range(1, days):
        wet[:, t] = 0.6 * wet[:, t - 1] + rain[:, t - 1]
    moisture = 0.1 + 0.4 * clay[:, None] + 0.006 * wet + rng.normal(0, 0.01, rain.shape)
    ndvi = rng.normal(0.3, 0.1, rain.shape) + 0.15 * east[:, None]
    table = xr.Dataset(
        {
            "soil_moisture": (both, np.where(east[:, None], np.nan, moisture).astype(np.float32)),
            "truth": (both, moisture.astype(np.float32)),
            "precipitation": (both, rain),
            "ndvi": (both, ndvi.astype(np.float32)),
            "clay_fraction": ("station", clay.astype(np.float32)),
        },
        {"station": np.arange(stations), "time": np.arange(days).astype("M8[D]").astype("M8[ns]")},
    )
    here = np.zeros(rain.shape, bool)
    here[:, 10:] = True
    return table, here & ~east[:, None], here & east[:, None]


def test_coral_is_the_distance_of_the_sample_covariances() -> None:
    s, t = normal(50, 4, 0), normal(70, 4, 1) @ torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))
    expected = np.sum((np.cov(s.numpy().T) - np.cov(t.numpy().T)) ** 2) / (4 * 4**2)
    assert coral(s, t).item() == pytest.approx(expected)
    assert coral(s, s + 5).item() == pytest.approx(0, abs=1e-12)  # blind to the means


def test_mmd_is_the_mean_over_all_pairs_of_kernels() -> None:
    s, t = normal(6, 3, 0), normal(5, 3, 1) + 0.5
    both = torch.cat([s, t]).numpy()
    square = ((both[:, None] - both) ** 2).sum(-1)
    median = np.sort(square[~np.eye(11, dtype=bool)])[(110 - 1) // 2]
    sign = np.array([1 / 6] * 6 + [-1 / 5] * 5)
    expected = np.mean([sign @ np.exp(-square / (2 * w**2 * median)) @ sign for w in (0.5, 1.0)])
    assert mmd(s, t, (0.5, 1.0)).item() == pytest.approx(expected)
    assert mmd(normal(300, 3, 2), normal(300, 3, 3)).item() < 0.02
    assert mmd(normal(300, 3, 2), normal(300, 3, 3) + 1).item() > 0.1


def test_gradients_pull_the_samples_together_and_do_not_explode() -> None:
    for distance in (coral, mmd):
        source, target = normal(64, 3, 0), (3 * normal(64, 3, 1) + 1).requires_grad_()
        before = distance(source, target)
        before.backward()
        assert target.grad is not None
        with torch.no_grad():
            after = distance(source, target - target.grad / target.grad.norm())
        assert after < before
    same = torch.zeros(8, 3, requires_grad=True)
    mmd(same, same).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_the_reversed_gradient_fools_an_adversary_that_learns() -> None:
    torch.manual_seed(0)
    adversary = Adversary(3)
    source, apart = torch.randn(256, 3), torch.randn(256, 3) + 1.5
    optimiser = torch.optim.Adam(adversary.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        adversary(source, apart, 0.5).backward()
        optimiser.step()
    told = adversary(source, apart, 0.5).item()
    assert told < 0.4  # from log 2
    moved = apart.clone().requires_grad_()
    adversary(source, moved, 0.5).backward()
    assert moved.grad is not None
    with torch.no_grad():
        assert adversary(source, moved - 50 * moved.grad, 0.5).item() > told
    x = torch.tensor([2.0], requires_grad=True)
    y = reverse_gradient(x, 0.25)
    y.backward()
    assert (y.item(), x.grad.item()) == (2.0, -0.25)  # type: ignore[union-attr]
    moved.grad = None
    adversary(source, moved, 0.0).backward()
    assert not moved.grad.any()  # at the start of the training nothing is turned around


def representation(network: Any, fine: Fine) -> torch.Tensor:
    """What a network makes of both streams, before its head."""
    with _fused(network) as fused:
        network.of_days(*fine) if fine.snapshot.dim() == 3 else network(fine)
    return fused[0].flatten(0, -2)


@pytest.mark.parametrize("model", ["mmnet", "long_mmnet"])
def test_the_representation_is_what_the_head_reads(model: str) -> None:
    network: Any = MODELS[model](FEATURES).eval()
    fine = example_fine(FEATURES, batch=6)
    fused = representation(network, fine)
    torch.testing.assert_close(network.physical(network.head(fused))[0], network(fine))
    assert not network.fusion._forward_hooks
    if network.takes == "series":
        assert representation(network, example_fine(FEATURES, batch=2, days=7)).shape == (14, 128)


def aligned(model: str, align: Any, weight: float, epochs: int = 8) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    table, training, target = two_regions()
    sequences = model == "long_mmnet"
    fitting = replace(FITTING, epochs=epochs, **({"batch_size": 4, "sequence": 40} if sequences else {}))
    hyper = {"hidden": 8, "width": 16} if sequences else {}
    return fit(
        StationDays(table, FEATURES),
        table,
        training,
        DownscalingNetwork(model, hyper, fitting),
        alignment=Alignment(target, align, weight),
    )


def test_aligned_training_draws_the_regions_together() -> None:
    table, training, target = two_regions()
    days = StationDays(table, FEATURES)

    def apart(checkpoint: dict[str, Any]) -> float:
        with torch.no_grad():
            network = from_checkpoint(checkpoint)
            return mmd(*(representation(network, days.fine(np.argwhere(of)[::3])) for of in (training, target))).item()

    free, with_coral, with_mmd = (
        aligned("mmnet", "coral", 0.0),
        aligned("mmnet", "coral", 1.0),
        aligned("mmnet", "mmd", 1.0),
    )
    assert with_coral[1][-1]["alignment"] < 0.4 * free[1][-1]["alignment"]
    assert apart(with_mmd[0]) < 0.5 * apart(free[0])
    checkpoint, log = with_mmd
    assert {"run", "epoch", "train_loss", "alignment", "validation_loss"} == set(log[0])
    assert min(row["validation_loss"] for row in log) < 0.5  # of the variance
    assert {"name", "domain", "state"} < set(checkpoint)
    mean, _ = estimate(checkpoint, days, target)
    truth = table.truth.values[target]
    assert np.sqrt(np.mean((mean[target] - truth) ** 2)) < truth.std()


def test_a_fooled_adversary_tells_the_regions_less_well() -> None:
    """With next to no weight the adversary learns all the same, for the steps of AdamW know no scale."""
    told, fooled = (aligned("mmnet", "adversarial", weight)[1][-1]["alignment"] for weight in (1e-4, 1.0))
    assert told < 0.95 * np.log(2)
    assert fooled > told + 0.05


def test_networks_of_sequences_are_aligned_too() -> None:
    checkpoint, log = aligned("long_mmnet", "mmd", 1.0, epochs=3)
    assert checkpoint["name"] == "long_mmnet"
    assert len(log) == 3
    assert log[-1]["train_loss"] < log[0]["train_loss"]


def test_aligned_networks_of_several_seeds_are_blended() -> None:
    table, training, target = two_regions()
    network = DownscalingNetwork("mmnet", {}, replace(FITTING, epochs=1, seeds=(0, 1)))
    days, alignment = StationDays(table, FEATURES), Alignment(target, "coral")
    checkpoint, log = fit(days, table, training, network, alignment=alignment, what="west")
    assert [row["run"] for row in log] == ["west, seed 0", "west, seed 1"]
    assert [member["name"] for member in checkpoint["members"]] == ["mmnet", "mmnet"]


def test_moisture_of_the_target_is_never_used() -> None:
    table, training, target = two_regions()
    known = table.assign(soil_moisture=table.truth)
    network, towards = DownscalingNetwork("mmnet", {}, replace(FITTING, epochs=2)), Alignment(target, "coral")
    found = [
        fit(StationDays(of, FEATURES), of, training, network, alignment=towards)[0]["state"] for of in (table, known)
    ]
    for name, values in found[0].items():
        torch.testing.assert_close(values, found[1][name])


@pytest.mark.parametrize(
    ("changes", "measure", "weight", "match"),
    [
        ({}, "deep", 1.0, "'deep' unknown; choose 'coral', 'mmd' or 'adversarial'"),
        ({"model": "mlp"}, "coral", 1.0, "MLP has no two streams"),
        ({}, "coral", float("inf"), "west: the training loss is .* lower the weight"),
    ],
)
def test_says_what_is_wrong(changes: dict[str, Any], measure: Any, weight: float, match: str) -> None:
    table, training, target = two_regions()
    network, days = replace(DownscalingNetwork("mmnet", {}, FITTING), **changes), StationDays(table, FEATURES)
    with pytest.raises(VadoseError, match=match):
        fit(days, table, training, network, alignment=Alignment(target, measure, weight), what="west")


def test_the_target_is_not_learnt_from() -> None:
    table, training, target = two_regions()
    days, network = StationDays(table, FEATURES), DownscalingNetwork("mmnet", {}, FITTING)
    with pytest.raises(VadoseError, match="west: 720 station-days are in both"):
        fit(days, table, training, network, alignment=Alignment(training, "coral"), what="west")
    with pytest.raises(VadoseError, match="west: the target is empty"):
        fit(days, table, training, network, alignment=Alignment(np.zeros_like(target), "coral"), what="west")
