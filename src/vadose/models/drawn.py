"""A pass with dropout as a network of its own: the units that it keeps are drawn once."""

import copy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Drawn(nn.Module):
    """A dropout whose units are drawn once, by a seed, and are the same for all samples.

    Examples
    --------
    >>> dropout, x = Drawn(0.5, (0, 0)), torch.ones(3, 4)
    >>> dropout(x)[0].tolist(), torch.equal(dropout(x)[0], dropout(x)[2])
    ([2.0, 0.0, 0.0, 0.0], True)
    """

    def __init__(self, share: float, seed: tuple[int, int]) -> None:
        super().__init__()
        self.share, self.seed = share, seed
        self.kept: Tensor | None = None

    def mask(self, *shape: int) -> Tensor:
        """What units are multiplied with: 0, or as much as keeps the mean."""
        kept = np.random.default_rng(self.seed).random(shape) >= self.share
        return torch.from_numpy((kept / (1 - self.share)).astype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """The units (N, ...) that are kept."""
        if self.kept is None or self.kept.shape != x.shape[1:]:
            self.kept = self.mask(*x.shape[1:])
        return x * self.kept.to(x)


def drawn(network: Network, number: int) -> Network:
    """A network whose units were drawn as in one pass with dropout; of one number always the same.

    Raises
    ------
    ValueError
        When the network has no dropout, or attention whose dropout nothing can take the place of.
    """
    network = copy.deepcopy(network).eval()
    dropouts = [(name, of) for name, of in network.named_modules() if isinstance(of, nn.Dropout) and of.p > 0]
    if not dropouts:
        raise ValueError("it has no dropout")
    if not getattr(network, "folds", False) and any(isinstance(of, nn.MultiheadAttention) for of in network.modules()):
        raise ValueError("the dropout of its attention cannot be drawn for all pixels")
    for k, (name, of) in enumerate(dropouts):
        network.set_submodule(name, Drawn(of.p, (number, k)))
    return network
