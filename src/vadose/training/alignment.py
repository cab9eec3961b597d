"""Learning for a region without observations: representations of both regions are drawn together in training."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from lightning_fabric.utilities.seed import seed_everything
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from vadose.errors import VadoseError
from vadose.models import MODELS, to_checkpoint
from vadose.models.domain import training_domain
from vadose.models.mmnet import Fine
from vadose.parallel.progress import Progress
from vadose.samples.folds import station_years
from vadose.samples.station_days import StationDays
from vadose.training.station_days import STATISTICS, Fitting, _batches, _loss, _validate

Mask = NDArray[np.bool_]
Align = Literal["coral", "mmd", "adversarial"]
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels of `mmd`, in median distances."""
ADVERSARY_LEADS = 10.0
"""Learning rate of the adversary, in that of the network."""
CPU = torch.device("cpu")
ROWS = 256
"""Station-days of each region that a step aligns: `mmd` compares every pair."""


def fit_aligned(
    days: StationDays,
    table: xr.Dataset,
    training: Mask,
    target: Mask,
    *,
    model: str,
    hyper: dict[str, Any],
    fitting: Fitting,
    align: Align,
    weight: float = 1.0,
    what: str = "",
    progress: Progress = lambda what, share: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train as `vadose.training.station_days.fit`, one network, with the fused representations of two regions drawn
    together.

    Every step has as many station-days of the target region, drawn at random, as of the training ones, in one
    batch, so that both share the statistics of batch normalisation. Of the target region only features are
    used, never moisture; the epoch is chosen on the training regions. Whatever ``fitting`` says of these, the
    optimiser is AdamW, whose rate falls to a tenth along a cosine, the validation on station-years, the precision
    float32.

    Parameters
    ----------
    training, target
        Station-days (station, time) to learn from, and those to be like; they share none.
    model
        A network with a fused representation: ``'mmnet'`` or ``'long_mmnet'``.
    align
        ``'coral'``, ``'mmd'`` or ``'adversarial'``, see `coral`, `mmd` and `Adversary`.
    weight
        Of the alignment beside the loss; that of ``'adversarial'`` rises from 0 over the epochs.

    Returns
    -------
    The checkpoint and the losses by epoch, with ``alignment`` among them.

    Raises
    ------
    VadoseError
        When the masks overlap or one is empty, the network has no such representation, several seeds are given,
        or the loss stops being a number.
    """
    observed = training & np.isfinite(days.observed)
    if (observed & target).any() or not target.any():
        found = f"{int((observed & target).sum())} station-days are in both" if target.any() else "the target is empty"
        raise VadoseError(f"{what}: {found}; give a target region that is not learnt from")
    if len(fitting.seeds) != 1:
        raise VadoseError(f"{what}: aligned training takes one seed, found {fitting.seeds}; train one at a time")
    seed = fitting.seeds[0]
    learnt, held = station_years(observed, table, fitting.share, seed)
    seed_everything(seed, verbose=False)
    network = MODELS[model](days.features, **hyper)
    measure = _measure(align, _fusion(network).out_features)
    if network.takes == "series":
        network.fit_normalisation(days.sequences(learnt, size=64, days=fitting.sequence))
    else:
        generator = np.random.default_rng([seed, 0])
        network.fit_normalisation(days.batches(learnt, size=4096, limit=STATISTICS, generator=generator))
    # An adversary that lags behind the network is run away from, not fooled.
    leading = {"params": measure.parameters(), "lr": ADVERSARY_LEADS * fitting.learning_rate}
    optimiser = torch.optim.AdamW(
        [{"params": network.parameters()}, leading], lr=fitting.learning_rate, weight_decay=fitting.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda epoch: 0.1 + 0.45 * (1 + math.cos(math.pi * epoch / fitting.epochs))
    )
    best, best_epoch, best_loss, log = copy.deepcopy(network.state_dict()), 0, math.inf, []
    for epoch in range(1, fitting.epochs + 1):
        if fitting.patience is not None and epoch - 1 - best_epoch >= fitting.patience:
            break
        network.train()
        generator = np.random.default_rng([seed, epoch])
        losses = []
        for fine, moisture in _batches(network, days, learnt, fitting, generator):
            elsewhere = _unlabelled(network, days, target, len(moisture), fitting.sequence, generator)
            both = Fine(*(torch.cat(pair) for pair in zip(fine, elsewhere, strict=True)))
            with _fused(network) as fused:
                loss = _loss(network, both, torch.cat([moisture, torch.full_like(moisture, torch.nan)]), fitting, CPU)
            here, there = fused[0].chunk(2)
            apart = measure(*_standard(here, there, generator), (epoch - 1) / fitting.epochs)
            total = loss + weight * apart
            if not torch.isfinite(total):
                raise VadoseError(f"{what}: the loss is {total.item()} in epoch {epoch}; lower the weight or the rate")
            optimiser.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), fitting.clip)
            optimiser.step()
            losses.append((loss.detach(), apart.detach()))
        schedule.step()
        network.eval()
        validation = _validate(network, days, held, fitting, CPU)
        if validation < best_loss:
            best, best_epoch, best_loss = copy.deepcopy(network.state_dict()), epoch, validation
        trained, apart = torch.tensor(losses).mean(0).tolist()
        log.append(
            {"run": what, "epoch": epoch, "train_loss": trained, "alignment": apart, "validation_loss": validation}
        )
        progress(f"training {what}: epoch {epoch}, best {best_epoch}", epoch / fitting.epochs)
    network.load_state_dict(best)
    index = np.random.default_rng(0).permutation(np.argwhere(observed))[:STATISTICS]
    domain = training_domain(torch.from_numpy(days.snapshot[index[:, 0], index[:, 1]]))
    return to_checkpoint(model, hyper, network) | {"domain": domain}, log


def representation(network: nn.Module, fine: Fine) -> Tensor:
    """What a network makes of both streams, before its head: (N, K), of sequences of D days (N * D, K).

    Raises
    ------
    VadoseError
        When the network does not fuse two streams.

    Examples
    --------
    >>> from vadose.models.mmnet import Features, MMNet, example_fine
    >>> features = Features(("ndvi", "clay_fraction"), ("precipitation",), days=10)
    >>> representation(MMNet(features), example_fine(features, batch=4)).shape
    torch.Size([4, 128])
    """
    with _fused(network) as fused:
        if fine.snapshot.dim() == 3:
            network.of_days(*fine)  # type: ignore[operator]
        else:
            network(fine)
    return fused[0].flatten(0, -2)


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


class _Distance(nn.Module):
    """`coral` or `mmd` as a module, which is the same all along the training."""

    def __init__(self, of: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, source: Tensor, target: Tensor, done: float) -> Tensor:
        return self.of(source, target)


def _measure(align: Align, width: int) -> nn.Module:
    if align == "adversarial":
        return Adversary(width)
    if align not in ("coral", "mmd"):
        raise VadoseError(f"alignment {align!r} unknown; choose 'coral', 'mmd' or 'adversarial'")
    return _Distance({"coral": coral, "mmd": mmd}[align])


def _unlabelled(
    network: Any, days: StationDays, target: Mask, size: int, length: int, generator: np.random.Generator
) -> Fine:
    """Features of station-days of the target drawn at random, or of sequences of ``length`` that end with them."""
    index = np.argwhere(target)
    index = index[generator.integers(0, len(index), size)]
    return days.sequence(index[:, 0], index[:, 1], length) if network.takes == "series" else days.fine(index)


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
        raise VadoseError(f"{type(network).__name__} fuses no two streams to align; choose 'mmnet' or 'long_mmnet'")
    return layer
