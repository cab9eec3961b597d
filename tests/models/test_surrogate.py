import numpy as np
import pytest
import torch

from vadose.models.inputs import Channels, Inputs, example_inputs
from vadose.models.surrogate import Surrogate

HISTORY = ("soil_moisture_filled", "soil_moisture_normal", "precipitation", "air_temperature")


def model_of(weather: str, above: tuple[str, ...] = ()) -> tuple[Surrogate, Channels]:
    torch.manual_seed(0)
    future = ("soil_moisture_normal",) + (HISTORY[2:] if weather == "perfect" else ())
    channels = Channels(HISTORY, ("clay_fraction",), future, (1, 3), HISTORY[0], above)
    model = Surrogate(channels, hidden=6, width=6, dropout=0.0, gaussian=True)
    inputs = example_inputs(channels, look_back=12, batch=8)
    model.fit_normalisation([(inputs, torch.rand(8, 2, 1, 1))])
    return model.eval(), channels


def cut(inputs: Inputs, days: int, reach: int, channels: Channels) -> Inputs:
    """What is known ``days`` days earlier: the weather of the days cut off is then ahead."""
    history = inputs.history[:, : inputs.history.shape[1] - days]
    assert inputs.future is not None
    later = inputs.history[:, inputs.history.shape[1] - days :, [channels.position(n) for n in channels.future]]
    future = torch.cat([later, inputs.future], dim=1)[:, :reach]
    return inputs._replace(history=history, future=future, day=inputs.day - days)


@pytest.mark.parametrize("weather", ["none", "perfect"])
def test_a_day_within_a_sequence_is_forecast_as_the_last_day_of_a_shorter_one(weather: str) -> None:
    model, channels = model_of(weather)
    inputs = example_inputs(channels, look_back=12, batch=4)
    with torch.no_grad():
        mean, std = model.of_days(inputs, first=6)
        for days in (0, 2, 5):
            alone = model.distribution(cut(inputs, days, 3, channels))
            for found, one in zip((mean, std), alone, strict=True):
                np.testing.assert_allclose(found[:, 5 - days], one, atol=1e-5)


def test_the_weather_ahead_matters_up_to_the_valid_day_alone() -> None:
    model, channels = model_of("perfect")
    inputs = example_inputs(channels, look_back=12)
    assert inputs.future is not None
    wet = inputs.future.clone()
    wet[:, 1:, channels.future.index("precipitation")] += 5.0
    with torch.no_grad():
        before, after = model(inputs), model(inputs._replace(future=wet))
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_forecasts_of_the_layer_above_are_heard_and_may_be_missing() -> None:
    model, channels = model_of("none", above=("0-10 cm",))
    inputs = example_inputs(channels, look_back=12)
    assert inputs.above is not None
    with torch.no_grad():
        told = model(inputs)
        assert not torch.allclose(told, model(inputs._replace(above=inputs.above + 0.1)))
        assert torch.isfinite(model(inputs._replace(above=torch.full_like(inputs.above, torch.nan)))).all()
        # In a sequence each day has its own.
        days = inputs.above[:, None].repeat(1, 3, 1, 1, 1, 1)
        np.testing.assert_allclose(model.of_days(inputs._replace(above=days), 9)[0][:, -1], told, atol=1e-6)


def test_the_simulation_sees_no_moisture() -> None:
    model, _ = model_of("perfect")
    assert [HISTORY[i] for i in model.driving] == ["precipitation", "air_temperature"]
    assert [HISTORY[i] for i in model.telling] == ["soil_moisture_filled", "soil_moisture_normal"]


def test_without_gaussian_there_is_no_deviation() -> None:
    channels = Channels(HISTORY[:1], target=HISTORY[0])
    mean, std = Surrogate(channels, hidden=4).distribution(example_inputs(channels))
    assert torch.isfinite(mean).all()
    assert torch.isnan(std).all()
