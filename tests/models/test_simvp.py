import io
import math

import pytest
import torch

from vadose.models.anchor import Anchor, means_until
from vadose.models.inputs import Channels, Inputs, example_inputs
from vadose.models.simvp import GatedBlock, SimVP

TARGET = "soil_moisture_filled"
NORMAL = "soil_moisture_normal"
ABOVE = ("0-10 cm", "10-40 cm")
KINDS = {
    "all": Channels((TARGET, "precipitation"), ("clay",), ("precipitation", "wind"), (1, 3, 7), TARGET, ABOVE),
    "bare": Channels((TARGET,), target=TARGET),
    "no static": Channels((TARGET, "precipitation"), (), ("precipitation",), (1, 3), TARGET),
    "cascade alone": Channels((TARGET, "wind"), ("clay",), (), (1, 3), TARGET, ABOVE[:1]),
    "climatology": Channels((TARGET, NORMAL), (), (NORMAL,), (1, 3), TARGET),
    "target unknown": Channels(("tb_v",), ("clay",), leads=(2,), target=TARGET),
}
every_kind = pytest.mark.parametrize("channels", KINDS.values(), ids=list(KINDS))


def small(channels: Channels, **hyper: object) -> SimVP:
    torch.manual_seed(0)
    return SimVP(channels, **{"hidden": 4, "width": 8, "depth": 2, "dropout": 0.0, **hyper})  # type: ignore[arg-type]


def learnt(channels: Channels, **hyper: object) -> SimVP:
    """A network that has seen a batch: statistics set, nothing trained."""
    model = small(channels, **hyper)
    inputs = example_inputs(channels, size=16, batch=4)
    model.fit_normalisation([(inputs, 0.1 + 0.3 * torch.rand(4, len(channels.leads), 16, 16))])
    model.train()(inputs)
    return model.eval()


@every_kind
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 13), (1, 9), (33, 2)])
@torch.no_grad()
def test_maps_of_any_size(channels: Channels, size: tuple[int, int]) -> None:
    model = learnt(channels)
    square = example_inputs(channels, size=max(size))
    inputs = Inputs(*(t[..., : size[0], : size[1]] if t is not None and t.dim() > 2 else t for t in square))
    assert model(inputs).shape == (2, len(channels.leads), *size)
    assert torch.isfinite(model(inputs)).all()


@every_kind
@pytest.mark.parametrize("gaussian", [False, True])
def test_every_parameter_gets_a_gradient(channels: Channels, gaussian: bool) -> None:
    model = small(channels, gaussian=gaussian)
    inputs = example_inputs(channels, size=9)
    model.fit_normalisation([(inputs, torch.rand(2, len(channels.leads), 9, 9))])
    mean, std = model.distribution(inputs)
    (mean.square().sum() + (std.sum() if gaussian else 0)).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@every_kind
@torch.no_grad()
def test_unknown_predictors_leave_forecasts_finite(channels: Channels) -> None:
    model = learnt(channels, gaussian=True)
    inputs = example_inputs(channels, size=8)

    def unknown(maps: torch.Tensor | None) -> torch.Tensor | None:
        return None if maps is None else torch.full_like(maps, torch.nan)

    nowhere = inputs._replace(
        history=unknown(inputs.history),
        static=unknown(inputs.static),
        future=unknown(inputs.future),
        above=unknown(inputs.above),
    )
    half = inputs._replace(history=torch.where(torch.rand_like(inputs.history) < 0.5, torch.nan, inputs.history))
    for given in (nowhere, half):
        for found in model.distribution(given):
            assert torch.isfinite(found).all()


@every_kind
@torch.no_grad()
def test_it_adds_standard_units_to_the_anchor(channels: Channels) -> None:
    model, inputs = learnt(channels), example_inputs(channels, size=5)
    before, again = model(inputs), Anchor(channels)
    again.load_state_dict(model.anchor.state_dict())
    model.head.weight.zero_()
    model.head.bias.fill_(2.0)
    assert torch.allclose(model(inputs), again(inputs) + 2 * again.scale, atol=1e-6)
    assert not torch.allclose(model(inputs), before, atol=1e-3)


@torch.no_grad()
def test_untrained_head_starts_from_the_damped_last_value() -> None:
    channels = KINDS["bare"]
    model, inputs = small(channels), example_inputs(channels, size=4)
    model.head.weight.zero_()
    model.head.bias.zero_()
    model.fit_normalisation([(inputs, torch.tensor([0.1, 0.3]).reshape(2, 1, 1, 1))])
    for lead, found in zip(channels.leads, model.eval()(inputs).unbind(1), strict=True):
        assert torch.allclose(found - 0.2, math.exp(-lead / 30) * (inputs.history[:, -1, 0] - 0.2), atol=1e-6)


@torch.no_grad()
def test_mean_and_deviation() -> None:
    channels = KINDS["all"]
    inputs = example_inputs(channels, size=6)
    model = learnt(channels, gaussian=True)
    mean, std = model.distribution(inputs)
    assert mean.shape == std.shape == (2, 3, 6, 6)
    assert torch.equal(mean, model(inputs))
    assert (std > 0).all()
    plain = learnt(channels)
    mean, std = plain.distribution(inputs)
    assert torch.equal(mean, plain(inputs))
    assert std.isnan().all()


def test_means_up_to_each_lead_against_a_loop() -> None:
    weather = torch.randn(2, 30, 3, 2, 2)
    leads = (1, 3, 7, 14, 30)
    found = means_until(weather, leads)
    assert found.shape == (2, 5, 12, 2, 2)
    for k, lead in enumerate(leads):
        expected = [weather[:, max(lead - days, 0) : lead].mean(dim=1) for days in (1, 3, 7, 30)]
        assert torch.allclose(found[:, k], torch.cat(expected, dim=1), atol=1e-5)


@torch.no_grad()
def test_each_lead_sees_its_own_days_and_layers_only() -> None:
    channels = KINDS["all"]
    model, inputs = learnt(channels), example_inputs(channels, size=6)
    assert inputs.future is not None
    assert inputs.above is not None
    before = model(inputs)
    for day, expected in ((0, [True] * 3), (2, [False, True, True]), (6, [False, False, True])):
        future = inputs.future.clone()
        future[:, day] += 1
        after = model(inputs._replace(future=future))
        assert [not torch.equal(before[:, k], after[:, k]) for k in range(3)] == expected
    for lead in range(3):
        above = inputs.above.clone()
        above[:, lead, 1] += 1
        after = model(inputs._replace(above=above))
        assert [not torch.equal(before[:, k], after[:, k]) for k in range(3)] == [k == lead for k in range(3)]
        above[:, lead, 1] = torch.nan  # an unknown forecast is not one of the mean
        unknown = model(inputs._replace(above=above))
        above[:, lead, 1] = model.above.mean[1].float()
        assert not torch.allclose(unknown[:, lead], model(inputs._replace(above=above))[:, lead], atol=1e-6)


@torch.no_grad()
def test_every_day_season_and_static_field_counts() -> None:
    channels = KINDS["all"]
    model, inputs = learnt(channels), example_inputs(channels, size=6)
    before = model(inputs)
    for day in range(3):
        history = inputs.history.clone()
        history[:, day, 1] += 1
        assert not torch.allclose(before, model(inputs._replace(history=history)), atol=1e-6)
    assert not torch.allclose(before, model(inputs._replace(static=inputs.static + 1)), atol=1e-6)
    assert not torch.allclose(before, model(inputs._replace(day=inputs.day + 180)), atol=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_halo_is_exactly_how_far_a_cell_is_seen(depth: int) -> None:
    channels = KINDS["bare"]
    model = learnt(channels, depth=depth)
    assert model.reach(1) == 4 + depth * GatedBlock.reach
    size = 2 * model.reach(1) + 5
    inputs = example_inputs(channels, size=size, batch=1)
    history = inputs.history.double().requires_grad_()
    centre = size // 2
    model.double()(inputs._replace(history=history))[0, :, centre, centre].sum().backward()
    assert history.grad is not None
    seen = history.grad[0].abs().sum(dim=(0, 1)) > 0
    rows, columns = torch.nonzero(seen, as_tuple=True)
    for positions in (rows, columns):
        assert (positions.min().item(), positions.max().item()) == (centre - model.reach(1), centre + model.reach(1))


def test_the_block_is_its_equations_written_out() -> None:
    torch.manual_seed(1)
    block = GatedBlock(3, dropout=0.5).double().eval()
    x = torch.randn(2, 3, 8, 7, dtype=torch.float64)
    norm, first, act, near, far, both = block.look
    halves = both(far(near(act(first(norm(x))))))
    middle = x + block.leave(torch.sigmoid(halves[:, :3]) * halves[:, 3:])
    norm, first, act, second = block.think
    assert torch.allclose(block(x), middle + second(act(first(norm(middle)))), atol=1e-12)
    # The depthwise kernels touch no other channel: 34 weights and 2 biases each.
    assert sum(p.numel() for layer in (near, far) for p in layer.parameters()) == 3 * 36


def test_it_learns_how_rain_spreads_to_the_neighbour() -> None:
    """A truth no model of each cell alone can find: tomorrow's moisture is the rain one cell to the west."""
    channels = Channels(("rain",), leads=(1,), target=TARGET)
    model = small(channels, depth=1)
    generator = torch.Generator().manual_seed(3)

    def batch() -> tuple[Inputs, torch.Tensor]:
        rain = torch.rand(8, 3, 1, 12, 12, generator=generator)
        blank = example_inputs(channels, size=12, batch=8)
        return blank._replace(history=rain), torch.roll(rain[:, -1], 1, dims=-1)

    model.fit_normalisation([batch()])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        inputs, truth = batch()
        loss = (model(inputs) - truth)[..., 1:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    inputs, truth = batch()
    with torch.no_grad():
        error = (model.eval()(inputs) - truth)[..., 1:].square().mean()
    assert error < 0.1 * truth.var()


@torch.no_grad()
def test_saved_and_loaded_it_forecasts_the_same() -> None:
    channels = KINDS["all"]
    model, inputs = learnt(channels), example_inputs(channels, size=6)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    again = small(Channels.from_dict(channels.to_dict())).eval()
    again.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(again(inputs), model(inputs))


def test_wrong_arguments_are_refused() -> None:
    channels = KINDS["bare"]
    for name in ("hidden", "width", "depth", "look_back"):
        with pytest.raises(ValueError, match=f"{name} 0.*at least"):
            small(channels, **{name: 0})
    with pytest.raises(ValueError, match="history of 5 days; this network was built for look_back 3"):
        small(channels)(example_inputs(channels, look_back=5, size=4))
