import numpy as np
import pytest
import torch

from vadose.models import MODELS
from vadose.models.drawn import drawn
from vadose.models.folded import fold
from vadose.models.long_memory import LongMMNet
from vadose.models.mixture import leave_dropout_on
from vadose.models.mmnet import Downscaler, Features, Fine, example_fine

FEATURES = Features(("ndvi", "clay_fraction", "slope"), ("precipitation", "surface_temperature"), days=10)


def trained(name: str, **hyper: object) -> Downscaler:
    """A network after some steps, so that batch normalisation and biases are not those of the start."""
    torch.manual_seed(0)
    model: Downscaler = MODELS[name](FEATURES, **hyper)
    fine = example_fine(FEATURES, batch=32)
    observed = 0.1 + 0.2 * fine.snapshot[:, 0] + 0.1 * fine.series[:, -3:, 0].mean(1)
    model.fit_normalisation([(fine, observed)])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(12):
        optimiser.zero_grad()
        (model(fine) - observed).square().mean().backward()
        optimiser.step()
    return model.eval()


def pixels(days: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """300 pixels, in no order, of 7 histories; some values missing."""
    generator = torch.Generator().manual_seed(1)
    snapshot = torch.rand(300, 3, generator=generator)
    series = torch.rand(7, days, 2, generator=generator)
    snapshot[::5, 1], series[2, 3:6] = torch.nan, torch.nan
    return snapshot, series, torch.randint(0, 7, (300,), generator=generator)


@pytest.mark.parametrize("hyper", [{}, {"gaussian": True}, {"missing": True}, {"dropout": 0.5}])
@pytest.mark.parametrize("name", ["mmnet", "long_mmnet"])
def test_the_form_for_maps_is_equal_to_the_network(name: str, hyper: dict[str, object]) -> None:
    model = trained(name, **hyper)
    snapshot, series, which = pixels()
    maps = fold(model)
    code = maps.encode(series)
    assert len(code) == 7
    with torch.no_grad():
        plain = model.distribution(Fine(snapshot, series[which]))
    assert plain[0].std() > 0.01
    assert torch.equal(maps.combine(snapshot, code, which), maps.distribution(snapshot, code, which)[0])
    for found, expected in zip(maps.distribution(snapshot, code, which), plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_series_of_other_lengths_are_encoded_alike() -> None:
    model = trained("mmnet")
    snapshot, series, which = pixels(days=23)
    maps = fold(model)
    with torch.no_grad():
        plain = model(Fine(snapshot, series[which]))
    np.testing.assert_allclose(maps.combine(snapshot, maps.encode(series), which), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet"])
def test_bfloat16_rounds_by_some_percent_of_the_deviation(name: str) -> None:
    model = trained(name)
    snapshot, series, which = pixels()
    exact, rounded = fold(model), fold(model, torch.bfloat16)
    before = exact.combine(snapshot, exact.encode(series), which)
    code = rounded.encode(series)
    assert code.dtype == torch.bfloat16
    after = rounded.combine(snapshot, code, which)
    assert after.dtype == torch.float32
    assert 0 < float((after - before).square().mean().sqrt()) < 0.05 * float(before.std())


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet"])
def test_the_network_itself_stays_as_it_was(name: str) -> None:
    model = trained(name)
    fine, training = example_fine(FEATURES), model.train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    fold(model, torch.bfloat16).encode(fine.series)
    assert training.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


def test_a_memory_told_of_the_pixel_is_not_shared() -> None:
    with pytest.raises(ValueError, match="no history is shared"):
        fold(LongMMNet(FEATURES, repeated=("clay_fraction",)))


@pytest.mark.parametrize("name", ["mmnet", "long_mmnet"])
def test_a_pass_drawn_once_is_spread_as_passes_of_each_sample(name: str) -> None:
    """Over many passes a pixel has the mean and the deviation that dropout in each sample gives it."""
    model = trained(name, dropout=0.3)
    snapshot, series, _ = pixels()
    which = torch.zeros(1, dtype=torch.int64)
    maps = [fold(drawn(model, number)) for number in range(60)]
    own = torch.cat([of.combine(snapshot[:1], of.encode(series[:1]), which) for of in maps])
    assert torch.equal(own[7:8], maps[7].combine(snapshot[:1], maps[7].encode(series[:1]), which))
    plain = float(fold(model).combine(snapshot[:1], fold(model).encode(series[:1]), which))
    leave_dropout_on(model)
    torch.manual_seed(0)
    with torch.no_grad():
        each = model(Fine(snapshot[:1].expand(800, -1), series[:1].expand(800, -1, -1)))
    assert float(own.std()) == pytest.approx(float(each.std()), rel=0.3)
    assert abs(float(own.mean() - each.mean())) < 0.3 * float(each.std())
    assert float(own.std()) > 0.1 * abs(plain - float(each.mean()))


def test_a_drawn_network_is_its_form_for_maps() -> None:
    model = drawn(trained("long_mmnet", dropout=0.5), 3)
    snapshot, series, which = pixels()
    maps = fold(model)
    with torch.no_grad():
        plain = model(Fine(snapshot, series[which]))
    np.testing.assert_allclose(maps.combine(snapshot, maps.encode(series), which), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "share", "reason"), [("mmnet", 0.0, "no dropout"), ("transformer", 0.2, "attention")])
def test_what_cannot_be_drawn_is_refused(name: str, share: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        drawn(MODELS[name](FEATURES, dropout=share), 0)
