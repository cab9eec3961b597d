r"""Linear stochastic differential equations of two modes each, filtered in closed form.

A latent state of n pairs :math:`z = (p, m)`, of which only :math:`p` is observed, :math:`H = [I\;0]`:

.. math:: dz = (A z + B)\, dt + dW, \qquad A = E D E^T

:math:`E` turns each pair :math:`(p_i, m_i)` by a fixed angle, :math:`D` holds the rates of decay with a
minus, and the noise is white with a spectral density diagonal in the basis :math:`E`. There
exponentials and integrals are those of numbers (Schirmer et al., 2022, section 3.4), and a covariance
of blocks (upper, lower, side) stays of that form through every step: nothing is truncated.

Shapes: T times, B series, n pairs; the leading 2 are the modes of a pair.
"""

from typing import NamedTuple

import torch
from torch import Tensor


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
