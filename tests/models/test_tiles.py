from typing import Any

import pytest
import torch
from torch import nn

from vadose.models import MODELS, forecaster_names
from vadose.models.baselines import DampedPersistence, Persistence
from vadose.models.contract import Forecaster
from vadose.models.convlstm import ConvLSTM
from vadose.models.inputs import Channels, Inputs, example_inputs
from vadose.models.map_transformer import MapTransformer
from vadose.models.simvp import SimVP
from vadose.models.tiles import predict_tiles

TARGET = "soil_moisture_filled"
CHANNELS = Channels((TARGET, "precipitation"), ("clay",), ("precipitation",), (1, 3), TARGET)
HYPER: dict[type[nn.Module], dict[str, Any]] = {
    ConvLSTM: {"filters": (4, 6)},
    SimVP: {"hidden": 4, "width": 8, "depth": 1},
    MapTransformer: {"width": 8, "heads": 2, "depth": 2, "window": 3},
}


def network(kind: type[nn.Module], channels: Channels = CHANNELS, **more: Any) -> Any:
    """Seen a batch, so that batch normalisation hides nothing by its smallness, and ready to forecast."""
    torch.manual_seed(0)
    model: Any = kind(channels, **{**HYPER[kind], "dropout": 0.0, **more})
    inputs = example_inputs(channels, size=24)
    model.fit_normalisation([(inputs, torch.rand(2, len(channels.leads), 24, 24))])
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs)
    return model.eval()


def of_size(height: int, width: int, channels: Channels = CHANNELS) -> Inputs:
    square = example_inputs(channels, size=max(height, width))
    return Inputs(*(t[..., :height, :width] if t is not None and t.dim() > 2 else t for t in square))


@pytest.mark.parametrize("kind", HYPER)
@pytest.mark.parametrize(
    ("size", "tile"),
    [((40, 53), 16), ((31, 8), 5), ((9, 60), 60), ((33, 47), 1), ((50, 50), 49), ((17, 19), 500)],
)
@torch.no_grad()
def test_tiles_equal_the_whole(kind: type[nn.Module], size: tuple[int, int], tile: int) -> None:
    model, inputs = network(kind), of_size(*size)
    if tile == 1:
        inputs = Inputs(*(None if t is None else t[:1] for t in inputs))
        inputs = inputs._replace(**{n: getattr(inputs, n)[..., :12, :11] for n in ("history", "static", "future")})
    halo = model.reach(look_back=3)
    assert halo is not None
    whole = model(inputs)
    assert whole.std() > 1e-3
    assert torch.allclose(predict_tiles(model, inputs, tile=tile, halo=halo), whole, atol=1e-5)


@pytest.mark.parametrize("kind", [ConvLSTM, SimVP])
@torch.no_grad()
def test_a_halo_of_one_cell_less_leaves_seams(kind: type[nn.Module]) -> None:
    """So the reach is as small as it can be, and the test above can fail."""
    model = network(kind).double()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.abs_()  # no chance cancelling on the one way that is left
    inputs = Inputs(*(t.double() if t is not None and t.is_floating_point() else t for t in of_size(40, 53)))
    halo = model.reach(look_back=3)
    assert halo is not None
    whole = model(inputs)
    assert torch.allclose(predict_tiles(model, inputs, tile=16, halo=halo), whole, atol=1e-5)
    wrong = (predict_tiles(model, inputs, tile=16, halo=halo - 1) - whole).abs().amax(dim=(0, 1)) > 1e-4
    rows, columns = torch.nonzero(wrong, as_tuple=True)
    beside_seams = torch.tensor([15, 16, 31, 32, 47, 48])
    assert wrong[:, 15:17].any()
    assert (torch.isin(rows, beside_seams) | torch.isin(columns, beside_seams)).all()


@pytest.mark.parametrize(("layers", "look_back", "kernel"), [(1, 1, 3), (1, 4, 3), (3, 2, 3), (2, 3, 5), (2, 3, 1)])
def test_the_reach_of_a_convlstm_is_how_far_a_cell_is_seen(layers: int, look_back: int, kernel: int) -> None:
    channels = Channels((TARGET,), leads=(1,), target=TARGET)
    model = network(ConvLSTM, channels, filters=(3,) * layers, kernel=kernel).double()
    for weight in model.parameters():
        weight.data.abs_()  # no chance cancelling, no dead unit
    found = model.reach(look_back)
    assert found == kernel // 2 * (layers + look_back - 1)
    size = 2 * found + 5
    inputs = example_inputs(channels, look_back=look_back, size=size, batch=1)
    history = inputs.history.double().requires_grad_()
    model(inputs._replace(history=history))[0, 0, size // 2, size // 2].backward()
    assert history.grad is not None
    rows = torch.nonzero(history.grad[0].abs().sum(dim=(0, 1, 3)))
    assert (rows.min().item(), rows.max().item()) == (size // 2 - found, size // 2 + found)


@pytest.mark.parametrize("name", forecaster_names())
def test_every_model_says_how_far_it_sees(name: str) -> None:
    model = MODELS[name](CHANNELS, **({"grid": (3, 3)} if name in ("climatology", "damped_persistence") else {}))
    assert (model.reach(3) == 0) == model.of_each_cell == (name not in ("convlstm", "simvp", "map_transformer"))


def test_what_cannot_be_tiled_or_is_not_known() -> None:
    assert network(ConvLSTM, peephole="position", positions=(24, 24)).reach(3) is None
    assert network(ConvLSTM, peephole="none").reach(3) == 4
    assert Forecaster(CHANNELS).reach(3) is None


@torch.no_grad()
def test_each_tile_knows_where_it_lies() -> None:
    channels = Channels((TARGET,), leads=(1, 3), target=TARGET)
    model = DampedPersistence(channels, grid=(30, 40))
    generator = torch.Generator().manual_seed(1)
    inputs = example_inputs(channels, size=25)._replace(cell=torch.tensor([[3, 2], [5, 15]]))
    model.climatology.coefficients.copy_(torch.rand(30, 40, 3, generator=generator))
    model.factor.copy_(torch.rand(30, 40, 2, generator=generator))
    assert torch.allclose(predict_tiles(model.eval(), inputs, tile=7, halo=2), model(inputs), atol=1e-6)


@torch.no_grad()
def test_unknown_stays_where_it_is() -> None:
    channels = Channels((TARGET,), target=TARGET)
    inputs = example_inputs(channels, size=20)
    inputs.history[:, -1, 0, 3:9, 11] = torch.nan
    found = predict_tiles(Persistence(channels).eval(), inputs, tile=6, halo=0)
    assert torch.equal(found.isnan().any(dim=1), inputs.history[:, -1, 0].isnan())


@torch.no_grad()
def test_with_the_layers_above_and_a_deviation() -> None:
    channels = Channels((TARGET,), ("clay",), leads=(1, 3), target=TARGET, above=("0-10 cm",))
    model, inputs = network(SimVP, channels, gaussian=True), of_size(30, 41, channels)
    both = predict_tiles(lambda i: torch.stack(model.distribution(i), dim=1), inputs, tile=12, halo=model.reach(1))
    assert both.shape == (2, 2, 2, 30, 41)
    for found, expected in zip(both.unbind(1), model.distribution(inputs), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_pieces_are_of_one_size_and_need_no_gradient() -> None:
    model, shapes = network(ConvLSTM), set()

    def watched(inputs: Inputs) -> torch.Tensor:
        shapes.add((inputs.history.shape, inputs.static.shape))
        return model(inputs)

    found = predict_tiles(watched, of_size(41, 67), tile=16, halo=4)
    assert shapes == {((2, 3, 2, 24, 24), (2, 1, 24, 24))}
    assert not found.requires_grad


@pytest.mark.parametrize(("tile", "halo"), [(0, 1), (-4, 1), (8, -1)])
def test_wrong_sizes_are_refused(tile: int, halo: int) -> None:
    with pytest.raises(ValueError, match=f"tile of {tile} cells with a halo of {halo}"):
        predict_tiles(network(ConvLSTM), of_size(9, 9), tile=tile, halo=halo)


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="eval"):
        predict_tiles(network(ConvLSTM).train(), of_size(9, 9), tile=4, halo=4)
