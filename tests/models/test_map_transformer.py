import math

import pytest
import torch
from torch.nn import functional

from vadose.models.inputs import Channels, Inputs, example_inputs
from vadose.models.map_transformer import DividedBlock, MapTransformer

TARGET, NORMAL = "soil_moisture_filled", "soil_moisture_normal"
ABOVE = ("0-10 cm", "10-40 cm")
KINDS = {
    "all": Channels((TARGET, "precipitation"), ("clay",), ("precipitation", "wind"), (1, 3, 7), TARGET, ABOVE),
    "bare": Channels((TARGET,), target=TARGET),
    "climatology": Channels((TARGET, NORMAL), (), (NORMAL,), (1, 3), TARGET),
    "target unknown": Channels(("tb_v",), ("clay",), leads=(2,), target=TARGET),
}
every_kind = pytest.mark.parametrize("channels", KINDS.values(), ids=list(KINDS))


def learnt(channels: Channels, **hyper: object) -> MapTransformer:
    """A network that has its statistics; nothing is trained."""
    torch.manual_seed(0)
    kept = {"width": 8, "heads": 2, "depth": 2, "window": 3, "dropout": 0.0}
    model = MapTransformer(channels, **{**kept, **hyper})  # type: ignore[arg-type]
    model.fit_normalisation([(example_inputs(channels, size=6), 0.1 + 0.3 * torch.rand(2, len(channels.leads), 6, 6))])
    return model.eval()


@every_kind
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (7, 2)])
def test_maps_of_any_size_train_every_parameter(channels: Channels, gaussian: bool, size: tuple[int, int]) -> None:
    model = learnt(channels, gaussian=gaussian)
    square = example_inputs(channels, size=max(size))
    inputs = Inputs(*(t[..., : size[0], : size[1]] if t is not None and t.dim() > 2 else t for t in square))
    mean, std = model.distribution(inputs)
    assert mean.shape == std.shape == (2, len(channels.leads), *size)
    assert bool((std > 0).all()) if gaussian else bool(std.isnan().all())
    (mean.square().sum() + (std.sum() if gaussian else 0)).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@every_kind
@torch.no_grad()
def test_unknown_predictors_leave_forecasts_finite(channels: Channels) -> None:
    inputs = example_inputs(channels, size=4)
    unknown = inputs._replace(
        **{
            name: torch.full_like(part, torch.nan)
            for name, part in inputs._asdict().items()
            if part is not None and part.is_floating_point()
        }
    )
    assert all(torch.isfinite(part).all() for part in learnt(channels, gaussian=True).distribution(unknown))


@torch.no_grad()
def test_a_network_without_a_departure_is_the_damped_last_value() -> None:
    channels = KINDS["bare"]
    model, inputs = learnt(channels), example_inputs(channels, size=3)
    model.head.weight.zero_()
    model.head.bias.zero_()
    mean = model.anchor.moisture.mean[0].float()
    for lead, found in zip(channels.leads, model(inputs).unbind(1), strict=True):
        torch.testing.assert_close(found - mean, math.exp(-lead / 30) * (inputs.history[:, -1, 0] - mean))


@torch.no_grad()
def test_each_lead_sees_its_own_weather_and_layers_and_every_input_counts() -> None:
    channels = KINDS["all"]
    model, inputs = learnt(channels), example_inputs(channels, size=4)
    before = model(inputs)

    def changed(name: str, *where: int) -> list[bool]:
        """Leads whose forecasts change with a part of the inputs."""
        part = getattr(inputs, name).clone()
        part[(slice(None), *where)] += 1
        after = model(inputs._replace(**{name: part}))
        return [not torch.allclose(before[:, lead], after[:, lead], atol=1e-7) for lead in range(3)]

    assert [changed("future", day) for day in (0, 2, 6)] == [[True] * 3, [False, True, True], [False, False, True]]
    assert [changed("above", lead, 1) for lead in range(3)] == [[k == lead for k in range(3)] for lead in range(3)]
    assert [changed("history", day, 1) for day in range(3)] == [[True] * 3] * 3
    assert changed("static") == [True] * 3
    day = model(inputs._replace(day=inputs.day + 180))
    assert not torch.allclose(before, day, atol=1e-6)


@pytest.mark.parametrize(("depth", "window"), [(1, 3), (2, 3), (1, 5), (3, 1)])
def test_the_halo_is_exactly_how_far_a_cell_is_seen(depth: int, window: int) -> None:
    channels = KINDS["bare"]
    model = learnt(channels, depth=depth, window=window).double()
    reach = model.reach(look_back=3)
    assert reach == depth * (window // 2)
    centre = reach + 2
    inputs = example_inputs(channels, size=2 * centre + 1, batch=1)
    history = inputs.history.double().requires_grad_()
    model(inputs._replace(history=history))[0, :, centre, centre].sum().backward()
    assert history.grad is not None
    for positions in torch.nonzero(history.grad[0].abs().sum(dim=(0, 1)) > 0).unbind(1):
        assert (positions.min().item(), positions.max().item()) == (centre - reach, centre + reach)


@pytest.mark.parametrize("last", [False, True])
@torch.no_grad()
def test_the_block_is_its_equations_written_out(last: bool) -> None:
    torch.manual_seed(1)
    block = DividedBlock(width=4, heads=2, window=3, look_back=3, dropout=0.5).double().eval()
    block.bias_days.normal_()
    block.bias_cells.normal_()
    states = torch.randn(1, 3, 4, 5, 4, dtype=torch.float64)

    def attend(at: torch.Tensor, others: list[torch.Tensor], bias: list[torch.Tensor]) -> torch.Tensor:
        """Of one cell and day: a vector holds query, key and value, of 2 heads of 2 channels each."""
        taken = []
        for head in range(2):
            query, key, value = (slice(4 * part + 2 * head, 4 * part + 2 * head + 2) for part in range(3))
            fits = [at[query] @ o[key] / math.sqrt(2) + b[head] for o, b in zip(others, bias, strict=True)]
            share = torch.stack(fits).softmax(0)
            taken.append(torch.stack([o[value] for o in others]).T @ share)
        return torch.cat(taken)

    read, middle = block.read_days(states), states.clone()
    for d in range(3):
        for i in range(4):
            for j in range(5):
                bias = [block.bias_days[:, e - d + 2] for e in range(3)]
                middle[0, d, i, j] += block.leave_days(attend(read[0, d, i, j], list(read[0, :, i, j]), bias))
    read = functional.pad(block.read_cells(middle), (0, 0, 1, 1, 1, 1))
    after = middle.clone()
    for d in range(3):
        for i in range(4):
            for j in range(5):
                near = list(read[0, d, i : i + 3, j : j + 3].flatten(0, 1))
                after[0, d, i, j] += block.leave_cells(attend(near[4], near, list(block.bias_cells.T)))
    expected = after + block.think(after)
    torch.testing.assert_close(block(states, last), expected[:, -1:] if last else expected)


def test_it_learns_how_rain_spreads_to_the_neighbour() -> None:
    """No model of each cell alone can: tomorrow's moisture is the rain one cell to the west."""
    channels = Channels(("rain",), leads=(1,), target=TARGET)
    model = learnt(channels, depth=1, look_back=1)
    generator = torch.Generator().manual_seed(3)
    blank = example_inputs(channels, look_back=1, size=6, batch=8)

    def batch() -> tuple[Inputs, torch.Tensor]:
        rain = torch.rand(8, 1, 1, 6, 6, generator=generator)
        return blank._replace(history=rain), torch.roll(rain[:, -1], 1, dims=-1)

    model.history.update(batch()[0].history)
    model.anchor.learn(batch()[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(60):
        inputs, truth = batch()
        loss = (model(inputs) - truth)[..., 1:].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1 * truth.var()


def test_wrong_arguments_are_refused() -> None:
    channels = KINDS["bare"]
    for name in ("width", "heads", "depth", "look_back"):
        with pytest.raises(ValueError, match=f"{name} 0.*at least"):
            MapTransformer(channels, **{name: 0})
    with pytest.raises(ValueError, match="width 10 is not a multiple of heads 4"):
        MapTransformer(channels, width=10, heads=4)
    for window in (-1, 0, 4):
        with pytest.raises(ValueError, match=f"window {window}: expected an odd number"):
            MapTransformer(channels, window=window)
    with pytest.raises(ValueError, match="history of 5 days; this network was built for look_back 3"):
        learnt(channels)(example_inputs(channels, look_back=5))
