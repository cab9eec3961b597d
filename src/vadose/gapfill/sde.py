r"""Linear stochastic differential equations of two modes each, filtered in closed form.

A latent state of n pairs :math:`z = (p, m)`, of which only :math:`p` is observed, :math:`H = [I\;0]`:

.. math:: dz = (A z + B)\, dt + dW, \qquad A = E D E^T

:math:`E` turns each pair :math:`(p_i, m_i)` by a fixed angle, :math:`D` holds the rates of decay with a
minus, and the noise is white with a spectral density diagonal in the basis :math:`E`. There
exponentials and integrals are those of numbers (Schirmer et al., 2022, section 3.4), and a covariance
of blocks (upper, lower, side) stays of that form through every step: nothing is truncated.

Shapes: T times, B series, n pairs; the leading 2 are the modes of a pair.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.compiled import compiled


class Steps(NamedTuple):
    """What a state goes through between one time and the next, in the eigenbasis.

    Attributes
    ----------
    decay, drive, noise
        (T, 2, B, n): factor of the mean, what is added to it, and the added variance.
    """

    decay: Tensor
    drive: Tensor
    noise: Tensor


class Gaussian(NamedTuple):
    """Mean (2, B, n) and covariance (2, 2, B, n) of each pair in the eigenbasis."""

    mean: Tensor
    covariance: Tensor


class Seen(NamedTuple):
    """Mean and variance of the observed parts p, (T, B, n), before and after the observation of each time."""

    prior_mean: Tensor
    prior_variance: Tensor
    mean: Tensor
    variance: Tensor


def steps(rates: Tensor, density: Tensor, drive: Tensor, days: Tensor) -> Steps:
    r"""Integrate over steps on which rates, noise density and drive are constant.

    .. math:: e^{-\lambda \Delta}, \quad b\, \frac{1 - e^{-\lambda \Delta}}{\lambda}, \quad
              q\, \frac{1 - e^{-2 \lambda \Delta}}{2 \lambda}

    Parameters
    ----------
    rates, density, drive
        (T, 2, B, n): :math:`\lambda > 0` [1/day], q [1/day] and b [1/day].
    days
        (T, 1, 1 or B, 1): length of the step that ends at each time; 0 leaves the state as it is.

    Examples
    --------
    >>> one = torch.ones(1, 2, 1, 1)
    >>> half = steps(one, one, one, torch.full((1, 1, 1, 1), 2.0).log())
    >>> [round(float(x[0, 0, 0, 0]), 4) for x in half]
    [0.5, 0.5, 0.375]
    """
    lost = -torch.expm1(-rates * days)
    mean_time = lost / rates
    # (1 - e^(-2x)) / 2 = (1 - e^(-x)) (1 - (1 - e^(-x)) / 2)
    return Steps(1 - lost, drive * mean_time, density * mean_time * (1 - lost / 2))


def kalman_filter(
    observed: Tensor, variance: Tensor, known: Tensor, through: Steps, observer: Tensor, start: Gaussian
) -> Seen:
    """Filter series whose pairs are each observed by themselves.

    Without gradients, on the processor, in one compiled loop over times, series and pairs.

    Parameters
    ----------
    observed, variance
        (T, B, n): observations of p and their error variances.
    known
        (T, B, 1): 1 where there is an observation, 0 where the state only goes on.
    through
        The step to each time from the one before.
    observer
        (2, B or 1, n): p of a pair from its two modes, the first row of E.
    start
        State before the first step.

    References
    ----------
    Schirmer et al. (2022), arXiv:2111.11344, equations 4-7; Kalman and Bucy (1961), doi:10.1115/1.3658902.
    """
    if not torch.is_grad_enabled() and observed.device.type == "cpu":
        given = (_arrays(observed, variance, known), _arrays(*through), _arrays(observer.expand_as(start.mean)))
        found = np.empty((4, *observed.shape), given[0][0].dtype)
        _filter(*given, _arrays(*start), found)
        return Seen(*map(torch.from_numpy, found))
    mean, covariance = start
    seen: list[tuple[Tensor, ...]] = []
    # Reading slice by slice of a whole would fill a whole with zeros for each in the backward pass.
    rows = (a.unbind(0) for a in (observed, variance, known, *through))
    diagonal = torch.eye(2, dtype=observed.dtype)[:, :, None, None]
    for y, r, there, decay, drive, noise in zip(*rows, strict=True):
        mean = torch.addcmul(drive, decay, mean)
        covariance = torch.addcmul(diagonal * noise, decay[:, None] * decay, covariance)
        shared = (covariance * observer).sum(1)
        p, spread = (mean * observer).sum(0), (shared * observer).sum(0)
        weight = there / (spread + r)
        gain = shared * weight
        mean = torch.addcmul(mean, gain, y - p)
        covariance = torch.addcmul(covariance, gain[:, None], shared, value=-1)
        seen.append((p, spread, y - p, spread * weight))
    p, spread, innovation, share = (torch.stack(a) for a in zip(*seen, strict=True))
    return Seen(p, spread, p + share * innovation, spread * (1 - share))


def _arrays(*tensors: Tensor) -> tuple[NDArray[np.floating], ...]:
    return tuple(tensor.contiguous().numpy() for tensor in tensors)


@compiled
def _filter(observations: Any, through: Any, observers: Any, start: Any, found: NDArray[np.floating]) -> None:
    """As the loop of `kalman_filter`; ``found`` (4, T, B, n) takes what is `Seen`."""
    observed, variance, known = observations
    decay, drive, noise = through
    (observer,) = observers
    mean, covariance = start[0].copy(), start[1].copy()
    times, series, pairs = observed.shape
    for t in range(times):
        for b in range(series):
            there = known[t, b, 0]
            for i in range(pairs):
                d0, d1 = decay[t, 0, b, i], decay[t, 1, b, i]
                o0, o1 = observer[0, b, i], observer[1, b, i]
                m0 = drive[t, 0, b, i] + d0 * mean[0, b, i]
                m1 = drive[t, 1, b, i] + d1 * mean[1, b, i]
                c00 = noise[t, 0, b, i] + d0 * d0 * covariance[0, 0, b, i]
                c11 = noise[t, 1, b, i] + d1 * d1 * covariance[1, 1, b, i]
                c01 = d0 * d1 * covariance[0, 1, b, i]
                s0, s1 = c00 * o0 + c01 * o1, c01 * o0 + c11 * o1
                p, spread = m0 * o0 + m1 * o1, s0 * o0 + s1 * o1
                weight = there / (spread + variance[t, b, i])
                apart = observed[t, b, i] - p
                mean[0, b, i], mean[1, b, i] = m0 + s0 * weight * apart, m1 + s1 * weight * apart
                covariance[0, 0, b, i] = c00 - s0 * weight * s0
                covariance[0, 1, b, i] = c01 - s0 * weight * s1
                covariance[1, 1, b, i] = c11 - s1 * weight * s1
                found[0, t, b, i], found[1, t, b, i] = p, spread
                found[2, t, b, i] = p + spread * weight * apart
                found[3, t, b, i] = spread * (1 - spread * weight)
