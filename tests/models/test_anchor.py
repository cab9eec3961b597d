import math

import pytest
import torch

from vadose.models.anchor import Anchor
from vadose.models.inputs import Channels, Inputs

LEADS = (1, 30)
WITH_NORMAL = Channels(("m_filled", "m_normal"), (), ("m_normal",), LEADS, "m_filled")


def inputs_of(last: list[float], normal: float = 0.2, ahead: float = 0.5) -> Inputs:
    """One cell a value, all days alike; the normal of the days ahead is another one."""
    moisture = torch.tensor(last).reshape(-1, 1, 1, 1, 1).expand(-1, 3, -1, -1, -1)
    history = torch.cat([moisture, torch.full_like(moisture, normal)], dim=2)
    future = torch.full((len(last), 30, 1, 1, 1), ahead)
    return Inputs(
        history, torch.empty(len(last), 0, 1, 1), future, torch.zeros(len(last)), torch.zeros(len(last), 2).long()
    )


def test_it_is_the_normal_of_the_valid_day_and_the_damped_anomaly() -> None:
    anchor = Anchor(WITH_NORMAL)
    found = anchor(inputs_of([0.3, math.nan]))[:, :, 0, 0]
    kept = [math.exp(-1 / 30), math.exp(-1)]
    assert found[0].tolist() == pytest.approx([0.5 + 0.1 * k for k in kept])
    # Without a last value the normal is what is known.
    assert found[1].tolist() == pytest.approx([0.5, 0.5])


def test_a_cell_without_normal_takes_the_training_mean() -> None:
    anchor = Anchor(WITH_NORMAL)
    anchor.learn(torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1))
    found = anchor(inputs_of([0.3], normal=math.nan, ahead=math.nan))[0, :, 0, 0]
    assert found.tolist() == pytest.approx([0.2 + 0.1 * math.exp(-1 / 30), 0.2 + 0.1 * math.exp(-1)])


def test_the_factor_is_found_by_regression() -> None:
    anchor = Anchor(WITH_NORMAL)
    inputs = inputs_of([0.1, 0.3, 0.4, math.nan])
    anomaly = inputs.history[:, -1, 0] - 0.2
    observed = torch.stack([0.5 + 0.9 * anomaly, 0.5 + 0.25 * anomaly], dim=1)
    anchor.fit([(inputs, observed)])
    assert anchor.kept is not None
    assert torch.sigmoid(anchor.kept).tolist() == pytest.approx([0.9, 0.25], abs=1e-5)


def test_without_the_last_value_among_the_predictors_it_is_the_normal() -> None:
    channels = Channels(("m_normal",), (), ("m_normal",), LEADS, "m_filled")
    inputs = inputs_of([0.3])
    anchor = Anchor(channels)
    assert anchor.kept is None
    assert anchor(inputs._replace(history=inputs.history[:, :, 1:]))[0, :, 0, 0].tolist() == pytest.approx([0.5, 0.5])


def test_each_day_of_a_sequence_starts_from_its_own_last_value() -> None:
    anchor = Anchor(WITH_NORMAL)
    inputs = inputs_of([0.3])
    history = inputs.history.clone()
    history[0, :, 0, 0, 0] = torch.tensor([0.1, 0.2, 0.3])
    inputs = inputs._replace(history=history)
    of_days = anchor.of_days(inputs, first=1)
    assert torch.equal(of_days[:, -1], anchor(inputs))
    # A day before the last one, whose valid day is the last.
    assert of_days[0, 0, 0].item() == pytest.approx(0.2 + 0.0)
