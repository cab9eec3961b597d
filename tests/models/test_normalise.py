import numpy as np
import torch

from vadose.models.normalise import Normalise


def test_batches_one_after_the_other_give_the_statistics_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    x = 300 + 5 * torch.randn(50, 4, 3, 2, 2, generator=generator)
    x[::7, :, 1] = torch.nan
    layer = Normalise(3, axis=2)
    for part in x.split(13):
        layer.update(part)
    whole = x.movedim(2, 0).flatten(1).double().numpy()
    np.testing.assert_allclose(layer.mean.numpy(), np.nanmean(whole, axis=1), rtol=1e-9)
    np.testing.assert_allclose(layer.std.numpy(), np.nanstd(whole, axis=1), rtol=1e-9)


def test_a_channel_that_does_not_vary_is_only_centred() -> None:
    layer = Normalise(2, axis=1)
    layer.update(torch.tensor([[0.2, 1.0], [0.2, 3.0]]))
    assert layer(torch.tensor([[0.5, 3.0]])).flatten().tolist() == [np.float32(0.3).item(), 1.0]


def test_the_inverse_gives_physical_units_back() -> None:
    layer = Normalise(2, axis=1)
    layer.update(torch.tensor([[0.2, 1.0], [0.4, 3.0]]))
    z = layer(torch.tensor([[0.35, 2.5]]))
    assert torch.allclose(layer.inverse(z[:, 0], 0), torch.tensor([0.35]))
