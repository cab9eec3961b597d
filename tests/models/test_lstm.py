import torch

from vadose.models.inputs import Channels, example_inputs
from vadose.models.lstm import LSTM

HISTORY = ("soil_moisture_filled", "soil_moisture_observed", "soil_moisture_age", "precipitation", "ndvi_daily")
CHANNELS = Channels(HISTORY, ("clay",), ("precipitation",), (1, 4), HISTORY[0])


def test_after_t0_the_moisture_is_held_and_ages_and_only_known_weather_goes_on() -> None:
    inputs = example_inputs(CHANNELS, look_back=5)
    assert inputs.future is not None
    ahead = LSTM(CHANNELS, hidden=4)._continued(inputs)[:, 5:]
    last = inputs.history[:, -1]
    assert torch.equal(ahead[:, :, 0], last[:, None, 0].expand(-1, 4, 1, 1))
    assert (ahead[:, :, 1] == 0).all()
    assert torch.allclose(ahead[:, :, 2], last[:, None, 2] + torch.arange(1, 5)[None, :, None, None])
    assert torch.equal(ahead[:, :, 3], inputs.future[:, :, 0])
    assert ahead[:, :, 4].isnan().all()


def test_each_lead_is_read_from_the_state_of_its_day() -> None:
    """Weather up to the valid day counts, weather after it does not."""
    model = LSTM(CHANNELS, hidden=8).eval()
    inputs = example_inputs(CHANNELS, look_back=5)
    assert inputs.future is not None
    with torch.no_grad():
        before = model(inputs)
        for day, changed in ((0, [True, True]), (1, [False, True]), (3, [False, True])):
            future = inputs.future.clone()
            future[:, day] += 1
            after = model(inputs._replace(future=future))
            assert [not torch.equal(before[:, k], after[:, k]) for k in (0, 1)] == changed


def test_more_leads_change_no_forecast_of_the_others() -> None:
    many = Channels(HISTORY, ("clay",), ("precipitation",), (1, 2, 3, 4), HISTORY[0])
    torch.manual_seed(0)
    few_model, many_model = LSTM(CHANNELS, hidden=8).eval(), LSTM(many, hidden=8).eval()
    many_model.load_state_dict(few_model.state_dict())
    inputs = example_inputs(CHANNELS, look_back=5)
    with torch.no_grad():
        assert torch.allclose(few_model(inputs), many_model(inputs)[:, [0, 3]])


def test_skewed_channels_enter_as_logarithms() -> None:
    inputs = example_inputs(CHANNELS, look_back=5)
    transformed = LSTM(CHANNELS, hidden=4)._transformed(inputs.history)
    assert torch.equal(transformed[:, :, [2, 3]], torch.log1p(inputs.history[:, :, [2, 3]]))
    assert torch.equal(transformed[:, :, [0, 1, 4]], inputs.history[:, :, [0, 1, 4]])
