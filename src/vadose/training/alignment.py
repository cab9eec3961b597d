"""Learning for a region without observations: representations of both regions are drawn together in training."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vadose.errors import VadoseError
from vadose.models.mmnet import Fine
from vadose.training.loop import Epoch
from vadose.training.processes import JoinedNetwork
from vadose.training.station_days import StationTask

Mask = NDArray[np.bool_]
Measure = Callable[[Tensor, Tensor, float], Tensor]
"""How far two samples are apart, given the share of the training done."""
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels of `mmd`, in median distances."""
ROWS = 256
"""Station-days of each region that a step aligns: `mmd` compares every pair."""


@dataclass(frozen=True)
class Alignment:
    """What draws the fused representations of a target region and of that learnt from together.

    Every step has as many station-days of the target, drawn at random, as of those learnt from. Of the target only
    features are used, never moisture; the epoch is chosen on the regions learnt from. Whatever the network's
    ``fitting`` says of these, the optimiser is AdamW, whose rate falls to a tenth along a cosine, and the precision
    float32.

    Attributes
    ----------
    target
        Station-days (station, time) to be like.
    measure
        ``'coral'``, ``'mmd'`` or ``'adversarial'``, see `coral`, `mmd` and `Adversary`.
    weight
        Of the alignment beside the loss; that of ``'adversarial'`` rises from 0 over the epochs.
    """

    target: Mask
    measure: Literal["coral", "mmd", "adversarial"]
    weight: float = 1.0

    def __call__(self, task: StationTask) -> "AlignedTask":
        """The same task, aligned.

        Raises
        ------
        VadoseError
            When the target is empty or learnt from, or the network fuses no two streams.
        """
        both = (task.learnt | task.held) & self.target
        if both.any() or not self.target.any():
            found = f"{int(both.sum())} station-days are in both" if both.any() else "the target is empty"
            raise VadoseError(f"{task.label}: {found}; give a target region that is not learnt from")
        measure = _measure(self.measure, _fusion(task.network).out_features)
        how = replace(task.how, optimiser="adamw", precision="32-true")
        return AlignedTask(**vars(task) | {"how": how}, target=self.target, measure=measure, weight=self.weight)


@dataclass(frozen=True)
class AlignedTask(StationTask):
    """Batches of as many station-days of the target region, moisture unknown, behind those learnt from."""

    target: Mask
    measure: Measure
    weight: float
    advice: ClassVar[str] = "lower the weight or the learning rate"

    @property
    def beside(self) -> nn.Module | None:
        """The adversary, where there is one."""
        return self.measure if isinstance(self.measure, nn.Module) else None

    def batches(self, generator: np.random.Generator) -> Iterator[tuple[Fine, Tensor]]:
        """Both regions in one batch, so that they share the statistics of batch normalisation."""
        index = np.argwhere(self.target)
        for fine, moisture in self.drawn(self.learnt, generator):
            there = index[generator.integers(0, len(index), len(moisture))]
            if self.network.takes == "series":
                elsewhere = self.days.sequence(there[:, 0], there[:, 1], self.how.sequence)
            else:
                elsewhere = self.days.fine(there)
            both = Fine(*(torch.cat(pair) for pair in zip(fine, elsewhere, strict=True)))
            yield both, torch.cat([moisture, torch.full_like(moisture, torch.nan)])

    def step(
        self, predict: JoinedNetwork, inputs: Fine, observed: Tensor, epoch: Epoch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and with its weight how far the representations are apart."""
        with _fused(self.network) as fused:
            loss = self.loss(predict, inputs, observed)
        here, there = predict.joined(fused[0], len(observed)).chunk(2)
        apart = self.measure(*_standard(here, there, epoch.generator), epoch.done)
        return loss + self.weight * apart, {"train_loss": loss.detach(), "alignment": apart.detach()}


def coral(source: Tensor, target: Tensor) -> Tensor:
    r"""Distance of the covariances of two samples (N, K) and (M, K).

    .. math:: \ell = \frac{1}{4 K^2} \lVert C_s - C_t \rVert_F^2 \quad (1)

    References
    ----------
    Sun and Saenko (2016), doi:10.1007/978-3-319-49409-8_35.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> coral(x, 2 * x).item()  # variances of 2 and 8
    9.0
    """
    return (torch.cov(source.T) - torch.cov(target.T)).square().sum() / (4 * source.shape[1] ** 2)


def mmd(source: Tensor, target: Tensor, widths: tuple[float, ...] = WIDTHS) -> Tensor:
    r"""Squared maximum mean discrepancy of two samples (N, K) and (M, K), never negative.

    .. math:: \mathrm{MMD}^2 = \overline{k(s, s')} + \overline{k(t, t')} - 2 \, \overline{k(s, t)} \quad (5)

    with k the mean of Gaussian kernels whose widths are multiples of the median distance of all pairs. Unlike
    `coral` it sees any difference of the distributions, of their means too.

    References
    ----------
    Gretton et al. (2012), Journal of Machine Learning Research 13, 723-773, section 2.2.

    Examples
    --------
    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> mmd(x, x).item(), round(mmd(x, x + 100.0).item(), 2)
    (0.0, 0.97)
    """
    both = torch.cat([source, target])
    both = both - both.detach().mean(0)
    length = both.square().sum(1)
    square = (length[:, None] + length - 2 * both @ both.T).clamp(min=0.0)
    apart = square[~torch.eye(len(both), dtype=torch.bool, device=both.device)]
    median = apart.detach().median().clamp(min=torch.finfo(square.dtype).tiny)
    kernel = torch.stack([torch.exp(-square / (2 * width**2 * median)) for width in widths]).mean(0)
    n = len(source)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


class Adversary(nn.Module):
    r"""Tells the regions apart, while what comes before it learns that it cannot.

    The loss is the cross entropy of the region, as the adversary sees it; its gradient is turned around on
    the way to the representations, times

    .. math:: \lambda = \frac{2}{1 + \exp(-10 p)} - 1 \quad (14)

    with p the share of the training done. Its layers are held to a slope of 1 (Miyato et al. 2018): an adversary
    sure of itself throws the representations about, and the regions only change places.

    References
    ----------
    Ganin et al. (2016), Journal of Machine Learning Research 17(59), 1-35; Miyato et al. (2018), arXiv:1802.05957.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            spectral_norm(nn.Linear(width, hidden)), nn.ReLU(), spectral_norm(nn.Linear(hidden, 1))
        )

    def forward(self, source: Tensor, target: Tensor, done: float) -> Tensor:
        """Cross entropy, a scalar."""
        strength = 2 / (1 + math.exp(-10 * done)) - 1
        told = self.layers(reverse_gradient(torch.cat([source, target]), strength))[:, 0]
        region = torch.cat([told.new_zeros(len(source)), told.new_ones(len(target))])
        return functional.binary_cross_entropy_with_logits(told, region)


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The same values, with the gradient that comes back times ``-strength``.

    Examples
    --------
    >>> x = torch.ones(1, requires_grad=True)
    >>> (2 * reverse_gradient(x, 0.5)).sum().backward()
    >>> x.grad
    tensor([-1.])
    """
    return x.detach() * (1 + strength) - strength * x


def _measure(name: str, width: int) -> Measure:
    if name == "adversarial":
        return Adversary(width)
    distances = {"coral": coral, "mmd": mmd}
    if name not in distances:
        raise VadoseError(f"alignment {name!r} unknown; choose 'coral', 'mmd' or 'adversarial'")
    return lambda source, target, done: distances[name](source, target)


def _standard(source: Tensor, target: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """At most `ROWS` of each at random, in units of their common deviation: to shrink them brings them no closer."""
    rows = torch.from_numpy(generator.permutation(source.numel() // source.shape[-1])[:ROWS])
    both = torch.cat([source.flatten(0, -2)[rows], target.flatten(0, -2)[rows]])
    here, there = functional.batch_norm(both, None, None, training=True).chunk(2)
    return here, there


@contextmanager
def _fused(network: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what the network fuses while it runs."""
    kept: list[Tensor] = []
    handle = _fusion(network).register_forward_hook(lambda layer, args, fused: kept.append(fused))
    try:
        yield kept
    finally:
        handle.remove()


def _fusion(network: nn.Module) -> nn.Linear:
    layer = getattr(network, "fusion", None)
    if not isinstance(layer, nn.Linear):
        raise VadoseError(f"{type(network).__name__} has no two streams to align; choose 'mmnet' or 'long_mmnet'")
    return layer
