"""Weights of a blend, learnt from its members' forecasts: stacking of distributions, cross-validated in time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.errors import VadoseError
from vadose.training.losses import crps_of_each

Array = NDArray[np.floating]
BLOCKS = 5
"""Blocks of time; each is scored with the weights learnt from the others."""
PULL = 0.01
"""Strength of the pull towards equal weights: one of two members alone has to gain 0.5 % over the CRPS of both."""
PAIRS = 5_000
"""Pairs drawn of more: weights that matter are known to a few hundredths from these."""
STEPS, RATE = 60, 0.3
"""Of the descent: enough for the weight of a useless member to fall below 0.01."""


@dataclass(frozen=True)
class Stacked:
    """Weights of members and how they were found.

    Attributes
    ----------
    weights
        Of each member, none negative, their sum 1.
    crossed
        (block, member): weights learnt without a block, to forecast it with.
    scores
        Mean CRPS [m3 m-3] of each member, of equal weights, and of the weights learnt, each block with those of the
        others.
    pairs
        Forecasts and observations compared.
    """

    weights: Array
    crossed: Array
    scores: dict[str, float]
    pairs: int


def edges(days: int) -> NDArray[np.int64]:
    """Where blocks of a period begin, and its end, in days from its first.

    Examples
    --------
    >>> edges(61).tolist()
    [0, 12, 24, 36, 48, 61]
    """
    return np.arange(BLOCKS + 1) * days // BLOCKS


def stack(
    members: Sequence[tuple[Array, Array]],
    observed: Array,
    day: NDArray[np.int64],
    days: int,
    *,
    names: Sequence[str],
    apart: int,
    seed: int = 0,
) -> Stacked:
    r"""Find the weights of a mixture with the smallest CRPS.

    .. math:: \min_w \; \overline{\mathrm{CRPS}}\left(\mu(w), \sigma(w); y\right)
        + \lambda \, c \sum_m \left(w_m - \tfrac{1}{M}\right)^2, \quad w_m \ge 0, \; \sum_m w_m = 1

    with mean and deviation of `vadose.models.mixture.mixture`, and c the CRPS of equal weights. The CRPS is that of a
    normal distribution; of members without a deviation it is the absolute error. :math:`\lambda` is `PULL`: where
    nothing is gained, weights stay equal. Weights are learnt once from all blocks of time and once without each, whose
    own days they then have not seen.

    Parameters
    ----------
    members
        Mean and deviation of each, (pair,) each [m3 m-3].
    observed
        (pair,) [m3 m-3]; pairs that are not finite in all members and here do not count.
    day
        Valid day of each pair, counted from the first of the period.
    days
        Length of the period; its `edges` part it into blocks.
    names
        Of the members.
    apart
        Days by which learnt pairs stay away from a held block, the lead as a rule; never more than a block.
    seed
        Of the pairs drawn where there are more than `PAIRS`.

    Raises
    ------
    VadoseError
        When a block and what surrounds it leave no pair to learn from.

    References
    ----------
    Stacking: Breiman (1996), doi:10.1007/BF00117832; of distributions by CRPS: Gneiting and Raftery (2007),
    doi:10.1198/016214506000001437.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> observed, day = rng.normal(0.3, 0.05, 400), np.arange(400)
    >>> good, poor = observed + rng.normal(0, 0.01, 400), observed + rng.normal(0, 0.08, 400)
    >>> spread = np.full(400, 0.02)
    >>> found = stack([(good, spread), (poor, spread)], observed, day, 400, names=["good", "poor"], apart=1)
    >>> bool(found.weights[0] > 0.9), round(float(found.weights.sum()), 6)
    (True, 1.0)
    """
    means, stds = (np.stack([member[k] for member in members]) for k in (0, 1))
    known = np.isfinite(means).all(axis=0) & np.isfinite(observed)
    gaussian = bool(np.isfinite(stds[:, known]).all())
    chosen = np.flatnonzero(known)
    if len(chosen) > PAIRS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, PAIRS, replace=False))
    mean, std, truth = (torch.from_numpy(v[..., chosen].astype(np.float64)) for v in (means, stds, observed))
    pairs = _Pairs(mean, std if gaussian else None, truth)
    when = day[chosen]
    ends = edges(days)
    apart = min(apart, days // BLOCKS)
    held = [(when >= a) & (when < b) for a, b in pairwise(ends)]
    learnt = [(when < a - apart) | (when >= b + apart) for a, b in pairwise(ends)]
    if not all(mask.any() for mask in (*held, *learnt)):
        raise VadoseError(
            f"blend of {', '.join(names)}: {len(chosen)} pairs on {len(np.unique(when))} of {days} days are too few to "
            f"learn weights in {BLOCKS} blocks of time; give a longer validation period, or weights"
        )
    of_all, *crossed = pairs.weights(np.stack([np.ones_like(learnt[0]), *learnt]))
    equal = np.full(len(names), 1 / len(names))
    scores = {name: pairs.score(w) for name, w in zip(names, np.eye(len(names)), strict=True)}
    of_blocks = [pairs[mask].score(w) * mask.sum() for mask, w in zip(held, crossed, strict=True)]
    scores |= {"equal": pairs.score(equal), "learnt": float(sum(of_blocks) / len(chosen))}
    return Stacked(of_all, np.stack(crossed), scores, len(chosen))


@dataclass(frozen=True)
class _Pairs:
    """Means and deviations (member, pair), the latter None where there are none, and observations (pair,)."""

    mean: Tensor
    std: Tensor | None
    observed: Tensor

    def __getitem__(self, mask: NDArray[np.bool_]) -> "_Pairs":
        at = torch.from_numpy(mask)
        return _Pairs(self.mean[:, at], None if self.std is None else self.std[:, at], self.observed[at])

    def each(self, weights: Tensor) -> Tensor:
        """CRPS of the mixture's normal distribution, or absolute error, of weights (set, member): (set, pair)."""
        mean = weights @ self.mean
        if self.std is None:
            return (mean - self.observed).abs()
        variance = weights @ (self.std.square() + self.mean.square()) - mean.square()
        return crps_of_each(mean, variance.clamp(min=1e-12).sqrt(), self.observed)

    def score(self, weights: Array) -> float:
        """Mean of all pairs, of weights (member,)."""
        return self.each(torch.from_numpy(weights)[None]).mean().item()

    def weights(self, learnt: NDArray[np.bool_]) -> Array:
        """Weights (set, member) of the smallest loss over each set's pairs (set, pair), pulled towards equal ones."""
        share = torch.from_numpy(learnt / learnt.sum(axis=1, keepdims=True))
        count = len(self.mean)
        scale = (self.each(torch.full((1, count), 1 / count, dtype=torch.float64)) * share).sum(1)
        logits = torch.zeros(len(share), count, dtype=torch.float64, requires_grad=True)
        descent = torch.optim.Adam([logits], lr=RATE)
        slower = torch.optim.lr_scheduler.CosineAnnealingLR(descent, STEPS)
        for _ in range(STEPS):
            descent.zero_grad()
            weights = logits.softmax(1)
            away = (weights - 1 / count).square().sum(1)
            loss = (self.each(weights) * share).sum(1) / scale + PULL * away
            loss.sum().backward()  # type: ignore[no-untyped-call]
            descent.step()
            slower.step()
        return np.asarray(logits.detach().softmax(1).numpy())
