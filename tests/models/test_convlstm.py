import math

import pytest
import torch
from torch import nn

from vadose.models import Channels, convlstm
from vadose.models.convlstm import ConvLSTM, ConvLSTMCell
from vadose.models.inputs import example_inputs


def test_one_by_one_without_peepholes_equals_torch_lstm() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(5, 7, batch_first=True).double()
    cell = ConvLSTMCell(5, 7, kernel=1, peephole="none").double()
    with torch.no_grad():
        cell.from_input.weight.copy_(lstm.weight_ih_l0[:, :, None, None])
        cell.from_state.weight.copy_(lstm.weight_hh_l0[:, :, None, None])
        cell.from_input.bias.copy_(lstm.bias_ih_l0 + lstm.bias_hh_l0)
    sequence = torch.randn(3, 6, 5, dtype=torch.float64)
    expected, _ = lstm(sequence)
    found = cell(sequence[..., None, None])[..., 0, 0]
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("peephole", ["channel", "position"])
def test_the_cell_is_equations_1_to_6_written_out(peephole: str) -> None:
    torch.manual_seed(1)
    cell = ConvLSTMCell(2, 3, kernel=3, peephole=peephole, positions=(4, 5)).double()
    sequence = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    wx_i, wx_f, wx_c, wx_o = cell.from_input.weight.chunk(4)
    wh_i, wh_f, wh_c, wh_o = cell.from_state.weight.chunk(4)
    b_i, b_f, b_c, b_o = cell.from_input.bias.chunk(4)
    p_i, p_f, p_o = cell.peephole

    def conv(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, w, padding=1)

    def bias(b: torch.Tensor) -> torch.Tensor:
        return b[None, :, None, None]

    h = c = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    for t in range(3):
        x = sequence[:, t]
        i = torch.sigmoid(conv(x, wx_i) + conv(h, wh_i) + p_i * c + bias(b_i))
        f = torch.sigmoid(conv(x, wx_f) + conv(h, wh_f) + p_f * c + bias(b_f))
        candidate = torch.tanh(conv(x, wx_c) + conv(h, wh_c) + bias(b_c))
        c = f * c + i * candidate
        o = torch.sigmoid(conv(x, wx_o) + conv(h, wh_o) + p_o * c + bias(b_o))
        h = o * torch.tanh(c)
        assert torch.allclose(cell(sequence)[:, t], h, atol=1e-12)


def test_the_paper_network_has_its_six_layers_and_size() -> None:
    channels = Channels(tuple(f"c{i}" for i in range(14)), static=("a",), target="c0")
    model = ConvLSTM(channels)
    assert len(model.layers) == 6
    # 17 predictors: 14 dynamic, 1 static and the two of the season.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.72e6, rel=0.01)


def test_the_head_averages_the_weather_up_to_each_lead() -> None:
    channels = Channels(("m",), future=("rain",), leads=(1, 3), target="m")
    model = ConvLSTM(channels, filters=(2,))
    future = torch.arange(1.0, 4.0).reshape(1, 3, 1, 1, 1)
    model.future.update(torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1, 1))  # mean 0, deviation 1
    inputs = example_inputs(channels, batch=1)._replace(future=future)
    weather = model._at_leads(inputs)[0, :, :, 0, 0]
    # The lead; then the means over 1, 3, 7 and 30 days up to the valid day, cut at the day after t0.
    assert weather[0].tolist() == pytest.approx([0, 1, 1, 1, 1])
    assert weather[1].tolist() == pytest.approx([math.log(3) / 3, 3, 2, 2, 2])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        ConvLSTMCell(1, 1, kernel=2)
    with pytest.raises(ValueError, match="peephole 'full' unknown"):
        ConvLSTMCell(1, 1, peephole="full")


def test_a_dense_head_reads_its_window() -> None:
    channels = Channels(("m",), target="m")
    model = ConvLSTM(channels, filters=(2,), positions=(4, 4), dense=True, gaussian=True)
    inputs = example_inputs(channels, size=4)
    assert [part.shape for part in model.distribution(inputs)] == [(2, 5, 4, 4)] * 2
    assert model.reach(look_back=1) is None
    inputs.history.requires_grad_()
    model.eval()(inputs)[0, 0, 0, 0].backward()
    assert (inputs.history.grad[0, -1, 0, -1, -1] != 0).all()  # farther than a convolution reaches
    with pytest.raises(ValueError, match="dense"):
        ConvLSTM(Channels(("m",), future=("rain",), target="m"), dense=True)


def test_position_peepholes_keep_to_their_window() -> None:
    channels = Channels(("m",), target="m")
    model = ConvLSTM(channels, filters=(2,), peephole="position", positions=(4, 4))
    assert model(example_inputs(channels, size=4)).shape == (2, 5, 4, 4)


@pytest.mark.parametrize("peephole", ["channel", "none"])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_gates_in_one_pass_are_those_of_the_plain_layer(
    peephole: str, dtype: torch.dtype, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    cell, sequence = ConvLSTMCell(3, 20, peephole=peephole), 2 * torch.randn(2, 3, 3, 5, 4)
    given: list[int] = []
    cell.from_input.register_forward_pre_hook(lambda layer, maps: given.append(len(maps[0])))
    with torch.no_grad():
        plain = cell(sequence)
        monkeypatch.setattr(convlstm, "LARGE", 1)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found = cell(sequence)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=0, atol=apart)
    assert not torch.equal(found, plain)
    assert given == [2 * 3] + [2] * 3  # day by day it takes a third of the memory
    # With gradients it stays the plain one.
    assert cell(sequence).requires_grad
