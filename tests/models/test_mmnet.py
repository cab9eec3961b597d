import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vadose.models import MODELS, downscaler_names
from vadose.models.downscalers import MLP, Transformer
from vadose.models.mmnet import Downscaler, Features, Fine, MMNet, SeriesEncoder, encoded, example_fine, positions

PAPER = Features(
    ("soil_moisture_smap_l4", *(f"snapshot_{i}" for i in range(24))),
    ("precipitation", *(f"series_{i}" for i in range(6))),
    days=10,
)
SMALL = Features(("ndvi", "clay_fraction", "soil_moisture_smap_l4"), ("precipitation", "surface_temperature"), days=6)


def model_of(name: str, features: Features = SMALL, batch: int = 32, **hyper: object) -> tuple[Downscaler, Fine]:
    torch.manual_seed(0)
    model: Downscaler = MODELS[name](features, **hyper)
    fine = example_fine(features, batch=batch)
    model.fit_normalisation([(fine, 0.1 + 0.3 * torch.rand(batch))])
    model.train()
    model(fine)  # so that batch normalisation has seen something
    return model.eval(), fine


def test_mmnet_has_the_layers_of_the_paper() -> None:
    """25-32-64-128; 7-32-64-128, attention, 128-256-128; 256-128; 128-64-32-1; batch normalisation between."""
    encoder = 25 * 32 + 32 + 32 * 64 + 64 + 64 * 128 + 128 + 2 * (32 + 64)
    embedding = encoder - 18 * 32
    attention = 4 * (128 * 128 + 128) + 128 * 256 + 256 + 256 * 128 + 128 + 2 * 256
    fusion = 256 * 128 + 128
    head = 128 * 64 + 64 + 64 * 32 + 32 + 32 + 1 + 2 * (64 + 32)
    found = sum(p.numel() for p in MMNet(PAPER).parameters())
    assert found == encoder + embedding + attention + fusion + head == 198_273
    # A learnt code of ten days in place of the sines would make it 199,553.
    assert found + 10 * 128 == 199_553


@pytest.mark.parametrize(
    ("name", "hyper", "width", "parameters"),
    [
        ("mlp", {}, 32, 22_241),
        ("mlp_full", {}, 95, 24_257),
        ("transformer", {"repeated": ("soil_moisture_smap_l4",)}, 8, 153_953),
        ("transformer_full", {}, 32, 154_721),
    ],
)
def test_rivals_have_the_inputs_of_the_paper(name: str, hyper: dict[str, object], width: int, parameters: int) -> None:
    model = MODELS[name](PAPER, **hyper)
    layers = model.encoder.embed if isinstance(model.encoder, SeriesEncoder) else model.encoder
    assert layers[0].in_features == width
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("name", downscaler_names())
def test_every_network_estimates_with_values_missing_and_learns_in_every_layer(name: str, missing: bool) -> None:
    hyper = {"repeated": ("clay_fraction",)} if name in ("transformer", "long_mmnet") else {}
    model, fine = model_of(name, missing=missing, gaussian=True, **hyper)
    gaps = torch.rand(32, 6, 2, generator=torch.Generator().manual_seed(1)) < 0.3
    fine = Fine(fine.snapshot.clone(), torch.where(gaps, torch.nan, fine.series))
    fine.snapshot[::3, 0] = torch.nan
    mean, std = model.distribution(fine)
    assert mean.shape == std.shape == (32,)
    assert torch.isfinite(mean).all()
    assert (std > 0).all()
    assert torch.equal(mean, model(fine))
    functional.gaussian_nll_loss(mean, torch.rand(32), std.square()).backward()
    for part, parameter in model.named_parameters():
        assert parameter.grad is not None, part
        assert parameter.grad.abs().sum() > 0, part


@pytest.mark.parametrize("name", downscaler_names())
def test_a_missing_value_is_the_training_mean_unless_indicated(name: str) -> None:
    model, fine = model_of(name, missing=False)
    told, _ = model_of(name, missing=True)
    gap, mean = fine.snapshot.clone(), fine.snapshot.clone()
    gap[:, 1], mean[:, 1] = torch.nan, fine.snapshot[:, 1].mean()
    with torch.no_grad():
        if name == "transformer":
            assert torch.equal(model(fine), model(fine._replace(snapshot=gap)))
            return
        np.testing.assert_allclose(
            model(fine._replace(snapshot=gap)), model(fine._replace(snapshot=mean)), atol=1e-5, rtol=0
        )
        assert not torch.allclose(
            told(fine._replace(snapshot=gap)), told(fine._replace(snapshot=mean)), atol=1e-5, rtol=0
        )


def test_moisture_is_the_training_mean_and_deviation_where_the_head_says_nothing() -> None:
    model = MMNet(SMALL, gaussian=True).eval()
    fine, observed = example_fine(SMALL), torch.tensor([0.1, 0.3, math.nan, 0.1, 0.3, 0.1, 0.3, math.nan])
    model.fit_normalisation([(fine, observed)])
    last = model.head[-1]
    assert isinstance(last, nn.Linear)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        mean, std = model.distribution(fine)
    np.testing.assert_allclose(mean, 0.2, rtol=1e-6)
    np.testing.assert_allclose(std, 0.1 * (math.log(2) + 1e-3), rtol=1e-6)


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet"])
def test_without_gaussian_there_is_no_deviation(name: str) -> None:
    model, fine = model_of(name)
    with torch.no_grad():
        mean, std = model.distribution(fine)
    assert torch.isfinite(mean).all()
    assert torch.isnan(std).all()


def test_positions_count_back_from_the_estimated_day() -> None:
    found = positions(3, ends=1, width=4)
    by_hand = [[math.sin(d), math.cos(d), math.sin(d / 100), math.cos(d / 100)] for d in (3, 2, 1)]
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    assert torch.equal(positions(25, ends=1)[-10:], positions(10, ends=1))
    assert torch.equal(positions(10, ends=0)[:-1], positions(9, ends=1))


def test_a_series_may_have_any_length_and_its_order_matters() -> None:
    model, fine = model_of("mmnet")
    with torch.no_grad():
        for series in (fine.series[:, -1:], fine.series.repeat(1, 5, 1)):
            assert torch.isfinite(model(fine._replace(series=series))).all()
        before, after = model(fine), model(fine._replace(series=fine.series.flip(1)))
    assert not torch.allclose(before, after, atol=1e-5, rtol=0)


def changed_by_day(model: Downscaler, fine: Fine) -> list[bool]:
    changed = []
    for day in range(fine.series.shape[1]):
        series = fine.series.clone()
        series[:, day] += 1
        changed.append(not torch.equal(model(fine), model(fine._replace(series=series))))
    return changed


def test_the_mlp_is_told_the_last_day_and_in_full_every_day() -> None:
    with torch.no_grad():
        assert changed_by_day(*model_of("mlp")) == 5 * [False] + [True]
        assert changed_by_day(*model_of("mlp_full")) == 6 * [True]


def test_the_transformer_is_told_of_the_snapshot_what_is_repeated() -> None:
    def told(full: bool, repeated: tuple[str, ...]) -> list[bool]:
        model, fine = model_of("transformer", full=full, repeated=repeated)
        moved = [fine.snapshot + torch.eye(3)[i] for i in range(3)]
        with torch.no_grad():
            return [not torch.equal(model(fine), model(fine._replace(snapshot=x))) for x in moved]

    assert told(False, ()) == [False, False, False]
    assert told(False, ("soil_moisture_smap_l4",)) == [False, False, True]
    assert told(True, ()) == [True, True, True]


def trained(model: Downscaler, fine: Fine, observed: Tensor, steps: int) -> float:
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        functional.mse_loss(model(fine), observed).backward()
        optimiser.step()
    with torch.no_grad():
        return float((model(fine) - observed).square().mean().sqrt())


@pytest.mark.parametrize("name", ["mmnet", "mlp", "lstm_series"])
def test_a_small_batch_can_be_learnt_by_heart(name: str) -> None:
    model, fine = model_of(name, batch=24)
    observed = 0.1 + 0.3 * torch.rand(24, generator=torch.Generator().manual_seed(2))
    assert trained(model, fine, observed, steps=60) < 0.2 * float(observed.std())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no snapshot feature sand_fraction; there are ndvi, clay_fraction"):
        Transformer(SMALL, repeated=("sand_fraction",))
    with pytest.raises(ValueError, match="snapshot features named twice: ndvi"):
        Features(("ndvi", "clay_fraction", "ndvi"), ("precipitation",), days=10)
    with pytest.raises(ValueError, match="days is 0"):
        Features(("ndvi",), ("precipitation",), days=0)
    with pytest.raises(RuntimeError):
        MLP(SMALL, full=True)(example_fine(Features(SMALL.snapshot, SMALL.series, days=5)))


def test_a_transformer_layer_by_plain_products_is_the_same() -> None:
    torch.manual_seed(0)
    layer, (x, weight) = nn.TransformerEncoderLayer(128, 16, 256, 0.2, batch_first=True), torch.randn(2, 64, 10, 128)
    found = []
    for way in (layer, lambda x: encoded(layer, x)):
        torch.manual_seed(1)  # the same is dropped
        out = way(x)
        layer.zero_grad()
        (out * weight).sum().backward()
        found.append([out.detach(), *(weights.grad for weights in layer.parameters())])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-4)
    layer.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = encoded(layer, x).float()
    plain = layer(x).detach()
    assert (rounded - plain).square().mean().sqrt() <= 0.02 * plain.std()
