import numpy as np
import pytest
import torch
from torch.nn import functional

from vadose.models.long_memory import LongMMNet, trailing_means
from vadose.models.mmnet import Features, Fine, example_fine

FEATURES = Features(("ndvi", "clay_fraction"), ("precipitation", "surface_temperature"), days=20)


def model_of(**hyper: object) -> LongMMNet:
    torch.manual_seed(0)
    options: dict[str, object] = {"hidden": 8, "width": 16, "dropout": 0.0, "gaussian": True, "aggregates": (1, 7, 30)}
    model = LongMMNet(FEATURES, **(options | hyper))  # type: ignore[arg-type]
    fine = example_fine(FEATURES, batch=8, days=12)
    model.fit_normalisation([(fine, torch.rand(8, 12))])
    return model.eval()


def sequence() -> Fine:
    """Twelve days; the clay does not change, and some values are missing."""
    fine = example_fine(FEATURES, batch=4, days=12)
    fine.snapshot[:, :, 1] = fine.snapshot[:, :1, 1]
    fine.snapshot[0, 3:6, 0] = torch.nan
    fine.series[1, 10:15] = torch.nan
    return fine


HYPER = [{}, {"aggregates": ()}, {"repeated": ("clay_fraction",)}, {"missing": False}]


@pytest.mark.parametrize("hyper", HYPER)
def test_a_day_of_a_sequence_is_estimated_as_alone(hyper: dict[str, object]) -> None:
    model, fine = model_of(**hyper), sequence()
    with torch.no_grad():
        mean, std = model.of_days(*fine)
        assert mean.shape == std.shape == (4, 12)
        for day in (0, 5, 11):
            alone = model.distribution(Fine(fine.snapshot[:, day], fine.series[:, : 20 + day]))
            for found, one in zip((mean, std), alone, strict=True):
                np.testing.assert_allclose(found[:, day], one, atol=1e-6)


@pytest.mark.parametrize("hyper", HYPER)
def test_a_day_does_not_depend_on_what_comes_after_it(hyper: dict[str, object]) -> None:
    model, fine = model_of(**hyper), sequence()
    later = Fine(fine.snapshot.clone(), fine.series.clone())
    later.snapshot[:, 7:] += 1
    later.series[:, 20 + 6 :] = 99.0
    with torch.no_grad():
        before, after = (torch.stack(model.of_days(*one)) for one in (fine, later))
    assert torch.equal(before[..., :7], after[..., :7])
    assert (before[..., 7:] != after[..., 7:]).all()


def test_weather_of_the_first_day_is_remembered() -> None:
    model, fine = model_of(aggregates=()), sequence()
    wet = fine.series.clone()
    wet[:, 0, 0] += 50
    with torch.no_grad():
        assert (model.of_days(*fine)[0] != model.of_days(fine.snapshot, wet)[0]).all()


def test_trailing_means_are_those_of_a_plain_loop() -> None:
    generator = np.random.default_rng(0)
    series = (300 + generator.normal(size=(2, 400, 3))).astype("float32")
    series[generator.random(series.shape) < 0.3] = np.nan
    windows, days = (1, 7, 90, 365), 50
    found = trailing_means(torch.from_numpy(series), windows, days).numpy()
    assert found.shape == (2, days, 4, 3)
    for d in range(days):
        for w, window in enumerate(windows):
            end = 350 + d + 1
            part = series[:, max(end - window, 0) : end].astype("float64")
            known = np.isfinite(part).sum(1)
            with np.errstate(invalid="ignore"):
                expected = np.nansum(part, axis=1) / known
            np.testing.assert_allclose(found[:, d, w], expected, rtol=1e-6)


def test_precipitation_enters_as_a_logarithm_in_the_days_and_in_their_means() -> None:
    model = LongMMNet(FEATURES, hidden=4, aggregates=(2,))
    series = torch.tensor([[0.0, 280.0], [3.0, 290.0]]).repeat(1, 10, 1)
    model.fit_normalisation([(Fine(torch.zeros(1, 2), series), torch.zeros(1))])
    np.testing.assert_allclose(model.series.mean, [np.log(4) / 2, 285.0], rtol=1e-6)
    np.testing.assert_allclose(model.means.mean, [np.log(2.5), 285.0], rtol=1e-6)


def test_what_the_lstm_is_told_of_the_snapshot_is_the_values_and_whether_they_are_known() -> None:
    assert model_of(repeated=("clay_fraction",)).repeated == [1, 3]
    assert model_of(repeated=["clay_fraction"], missing=False).repeated == [1]
    with pytest.raises(ValueError, match="no snapshot feature sand_fraction"):
        model_of(repeated=("sand_fraction",))


def test_a_soil_that_remembers_weeks_is_learnt() -> None:
    """A bucket that drains by 2 to 10 % a day; told ten days of weather alone, half of the deviation stays."""
    generator = torch.Generator().manual_seed(0)
    rain = torch.rand(48, 99, generator=generator).pow(8) * 40
    clay = torch.rand(48, generator=generator)
    water, stored = torch.zeros(48), []
    for day in range(99):
        water = (0.90 + 0.08 * clay) * water + rain[:, day]
        stored.append(water)
    observed = 0.05 + torch.stack(stored, 1)[:, 59:] / 1000
    series = torch.stack([rain, torch.full_like(rain, 290.0)], 2)
    snapshot = torch.stack([torch.rand(48, 40, generator=generator), clay[:, None].expand(-1, 40)], 2)
    torch.manual_seed(0)
    model = LongMMNet(FEATURES, hidden=24, width=32, dropout=0.0, repeated=("clay_fraction",))
    model.fit_normalisation([(Fine(snapshot[:36], series[:36]), observed[:36])])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        functional.mse_loss(model.of_days(snapshot[:36], series[:36])[0], observed[:36]).backward()
        optimiser.step()
    with torch.no_grad():
        error = model.of_days(snapshot[36:], series[36:])[0] - observed[36:]
    assert float(error.square().mean().sqrt()) < 0.35 * float(observed[36:].std())
