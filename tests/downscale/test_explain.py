"""Importances: known answers of networks whose estimate is known, and what cannot be explained."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.errors import VadoseError
from vadose.models import MODELS, to_checkpoint
from vadose.models.mmnet import Features
from vadose.predict.explain import _values, importances
from vadose.samples.station_days import StationDays

pytest.importorskip("captum")
FEATURES = Features(("ndvi", "clay_fraction", "elevation"), ("precipitation", "wind_speed"), days=6)


def table_of(stations: int = 8, days: int = 120, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    both = ("station", "time")
    return xr.Dataset(
        {
            "soil_moisture": (both, rng.uniform(0.1, 0.4, (stations, days)).astype(np.float32)),
            "ndvi": (both, rng.uniform(0, 1, (stations, days)).astype(np.float32)),
            "clay_fraction": ("station", rng.uniform(0, 0.6, stations)),
            "elevation": ("station", rng.uniform(0, 2000, stations)),
            "precipitation": (both, rng.gamma(0.5, 8, (stations, days)).astype(np.float32)),
            "wind_speed": (both, rng.gamma(2, 2, (stations, days)).astype(np.float32)),
        },
        {
            "station": np.array([f"S{k}" for k in range(stations)], object),
            "time": np.arange(days).astype("M8[D]").astype("M8[ns]"),
            "lat": ("station", rng.uniform(30, 45, stations)),
            "lon": ("station", rng.uniform(-120, -80, stations)),
        },
    )


def linear(days: StationDays, weights: dict[str, float]) -> dict[str, Any]:
    """An MLP that is linear in the features of the day and the weather of the last day of the series."""
    network: Any = MODELS["mlp"](days.features)
    everywhere = np.ones(days.shape, bool)
    network.fit_normalisation(days.batches(everywhere, size=4096))
    names = [*days.features.snapshot, *days.features.series]

    class Linear(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ torch.tensor([[weights.get(name, 0.0)] for name in names])

    network.encoder, network.head = Linear(), torch.nn.Identity()
    return {"network": network, "name": "mlp", "inputs": days.features.to_dict()}


def shares(table: pd.DataFrame) -> dict[str, float]:
    return dict(zip(table.feature, table.percent, strict=True))


def test_shares_of_a_linear_network_are_those_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of f = sum w z the value of a feature is w (z - mean of the background): shares follow |w| E|z|."""
    table = table_of()
    days = StationDays(table, FEATURES)
    checkpoint = linear(days, {"ndvi": 3.0, "precipitation": -2.0, "elevation": 1.0})
    monkeypatch.setattr("vadose.predict.explain.from_checkpoint", lambda c: c["network"].eval())
    mask = np.zeros(days.shape, bool)
    mask[:, 10:] = True
    found = importances(checkpoint, days, mask, n_samples=300, n_background=2000, draws=200)

    def size(values: np.ndarray) -> float:
        return float(np.abs(values - values.mean()).mean() / values.std())

    expected = {
        "ndvi": 3 * size(table.ndvi.values[:, 10:]),
        "precipitation": 2 * size(table.precipitation.values[:, 9:-1]),
        "elevation": size(table.elevation.values),
        "clay_fraction": 0.0,
        "wind_speed": 0.0,
    }
    total = sum(expected.values())
    assert found.percent.sum() == pytest.approx(100)
    assert shares(found) == pytest.approx({k: 100 * v / total for k, v in expected.items()}, abs=2.5)
    assert list(found.feature[:2]) == ["ndvi", "precipitation"]
    assert (found.low <= found.percent).all()
    assert (found.percent <= found.high).all()
    assert set(found.stream[found.feature.isin(FEATURES.series)]) == {"series"}


@pytest.mark.parametrize("model", ["mmnet", "long_mmnet"])
def test_values_add_up_to_what_the_estimate_departs_from_the_background(model: str) -> None:
    """The completeness of expected gradients, whatever the network; what is unknown moves nothing."""
    table = table_of()
    table.ndvi[2:5, 50:80] = np.nan
    table.precipitation[:, 80:92] = np.nan
    names = ("soil_moisture_normal", "soil_moisture_deviation")
    features = Features((*FEATURES.snapshot, *names), FEATURES.series, days=12)
    learnt = np.ones((8, 120), bool)
    learnt[0] = False  # a station without a normal of its own
    days = StationDays(table, features, learnt)
    hyper = {"hidden": 8, "width": 16, "aggregates": (1, 5), "local": names} if model == "long_mmnet" else {}
    torch.manual_seed(0)
    network = MODELS[model](features, **hyper)
    batches = days.sequences(learnt, size=8, days=30) if network.takes == "series" else days.batches(learnt, size=256)
    network.fit_normalisation(batches)
    torch.nn.init.normal_(network.head[-1].weight, std=30.0)
    network.eval()
    background = np.array([[5, 40]])  # one, so that the expectation is known
    samples = np.array([[1, 30], [6, 119], [3, 60], [0, 92]])
    values = _values(network, days, samples, background, 1000, 0)
    with torch.no_grad():
        departures = (network(days.fine(samples)) - network(days.fine(background))).numpy()[:2]
    assert np.abs(departures).min() > 1e-3
    np.testing.assert_allclose(values[:2].sum(1), departures, atol=0.1 * np.abs(departures).max())
    assert values[2, 0] == 0.0  # ndvi
    assert values[2, 1] != 0.0
    assert values[3, 3] == values[3, 4] == 0.0  # the normal and its deviation
    assert values[3, 5] == 0.0  # precipitation
    if model == "long_mmnet":
        assert (values[:2, 3:5] != 0.0).all()


def test_an_ensemble_has_the_mean_of_its_members_and_the_seed_settles_it() -> None:
    table = table_of()
    days = StationDays(table, FEATURES)
    members = []
    for seed in range(2):
        torch.manual_seed(seed)
        network = MODELS["mlp"](FEATURES)
        network.fit_normalisation(days.batches(np.ones(days.shape, bool), size=4096))
        members.append(to_checkpoint("mlp", {}, network))
    ensemble = {"name": "blend", "members": members, "inputs": FEATURES.to_dict()}
    mask = np.ones(days.shape, bool)
    options: dict[str, Any] = {"n_samples": 40, "n_background": 40, "draws": 20}
    found = importances(ensemble, days, mask, **options)
    pd.testing.assert_frame_equal(found, importances(ensemble, days, mask, **options))
    alone = shares(importances(members[0], days, mask, **options))
    assert shares(found) != pytest.approx(alone, abs=0.1)
    twice = {"name": "blend", "members": [members[0]] * 2, "inputs": FEATURES.to_dict()}
    assert shares(importances(twice, days, mask, **options)) == pytest.approx(alone, abs=1e-3)


def test_says_what_is_wrong() -> None:
    table = table_of()
    days = StationDays(table, FEATURES)
    network = MODELS["mlp"](FEATURES)
    network.fit_normalisation(days.batches(np.ones(days.shape, bool), size=4096))
    checkpoint = to_checkpoint("mlp", {}, network)
    one = np.zeros(days.shape, bool)
    one[3] = True
    with pytest.raises(VadoseError, match="1 stations; expected at least two"):
        importances(checkpoint, days, one)
    other = StationDays(table, Features(("ndvi",), ("precipitation",), days=6))
    with pytest.raises(VadoseError, match="features of the checkpoint"):
        importances(checkpoint, other, np.ones(days.shape, bool))
    last = network.head[-1]
    torch.nn.init.zeros_(last.weight)
    with pytest.raises(VadoseError, match="no feature changes"):
        importances(to_checkpoint("mlp", {}, network), days, ~one, n_samples=20, draws=3)
