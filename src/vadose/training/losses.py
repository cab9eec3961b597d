"""What networks are trained to make small."""

import math

import torch
from torch import Tensor


def crps(mean: Tensor, std: Tensor, observed: Tensor) -> Tensor:
    r"""Mean continuous ranked probability score of Gaussian forecasts, over the observed values only.

    .. math:: \mathrm{CRPS} = \sigma \left( z (2 \Phi(z) - 1) + 2 \varphi(z) - 1 / \sqrt{\pi} \right),
              \qquad z = (y - \mu) / \sigma

    Parameters
    ----------
    mean, std, observed
        Of equal shape [m3 m-3]; observed is NaN where it does not count.

    Returns
    -------
    Tensor
        A scalar [m3 m-3]; 0 with a gradient of 0 where nothing was observed.

    References
    ----------
    Gneiting and Raftery (2007), doi:10.1198/016214506000001437, equation (21).

    Examples
    --------
    >>> round(crps(torch.zeros(1), torch.ones(1), torch.zeros(1)).item(), 4)
    0.2337
    """
    known = torch.isfinite(observed)
    # What is not known must not enter before it is left out: NaN times a gradient of nothing is NaN.
    each = crps_of_each(mean, std, torch.where(known, observed, mean.detach()))
    return torch.where(known, each, 0.0).sum() / known.sum().clamp(min=1)


def crps_of_each(mean: Tensor, std: Tensor, observed: Tensor) -> Tensor:
    """The CRPS of each forecast by itself, see `crps`."""
    z = (observed - mean) / std
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return std * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))


def rmse_correlation(
    predicted: Tensor,
    observed: Tensor,
    *,
    correlated: Tensor | None = None,
    alpha: float = 0.5,
    beta: float = 0.5,
    form: str = "corrected",
) -> Tensor:
    r"""Root mean squared error and correlation, over the observed values only.

    .. math:: \mathcal{L} = \alpha \, \mathrm{RMSE} + 0.1 \, \beta \, (1 - R) \quad (8)

    R is the Pearson correlation over the observed values of a batch at each lead, averaged over the
    leads: a batch holds too few days of one cell for a correlation in time.

    Parameters
    ----------
    predicted, observed
        (B, L, H, W) [m3 m-3]; observed is NaN where it does not count.
    correlated
        What R is with, where it is another than ``observed``: the paper's surface layer takes the error
        against one product and the correlation with another.
    alpha, beta
        Weights of the two terms.
    form
        ``'corrected'``, or ``'printed'``: equation (8) as published, which rewards anti-correlation and takes the
        mean of the other series in two places,

        .. math:: \alpha \, \mathrm{RMSE} + (1 - 0.1 \beta)
                  \frac{\sum (p - \bar{o})(o - \bar{o})}{\sqrt{\sum (p - \bar{o})^2 \sum (o - \bar{p})^2}}

    Returns
    -------
    Tensor
        A scalar; 0 with a gradient of 0 where nothing was observed.

    References
    ----------
    Rabiei et al. (2025), doi:10.3390/rs17183219.

    Examples
    --------
    >>> y = torch.tensor([0.1, 0.2, 0.4, 0.3]).reshape(4, 1, 1, 1)
    >>> round(rmse_correlation(y, y).item(), 4), round(rmse_correlation(0.5 - y, y).item(), 4)
    (0.0, 0.2118)
    """
    if form not in ("corrected", "printed"):
        raise ValueError(f"form {form!r} unknown; choose 'corrected' or 'printed'")
    p, o, weight = _by_lead(predicted, observed)
    mean_square = ((p - o).square() * weight).sum() / weight.sum().clamp(min=1)
    # The gradient of a root is infinite at zero; the offset is far below any real error.
    rmse = (mean_square + 1e-12).sqrt() - 1e-6
    if beta == 0 and form == "corrected":
        return alpha * rmse
    if correlated is not None:
        p, o, weight = _by_lead(predicted, correlated)
    n = weight.sum(1).clamp(min=1)
    mean_p, mean_o = ((values * weight).sum(1) / n for values in (p, o))
    if form == "printed":
        from_o, o_from_o, o_from_p = ((a - m[:, None]) * weight for a, m in ((p, mean_o), (o, mean_o), (o, mean_p)))
        return alpha * rmse + (1 - 0.1 * beta) * _cosine(from_o, o_from_o, from_o, o_from_p).mean()
    p, o = ((a - m[:, None]) * weight for a, m in ((p, mean_p), (o, mean_o)))
    r = _cosine(p, o, p, o)
    some = weight.sum() > 0
    return alpha * rmse + torch.where(some, 0.1 * beta * (1 - r).mean(), torch.zeros_like(rmse))


def _cosine(a: Tensor, b: Tensor, long_a: Tensor, long_b: Tensor) -> Tensor:
    """Sum of a times b of each lead, divided by the lengths of the other two; finite for constant series."""
    return (a * b).sum(1) / (long_a.square().sum(1) * long_b.square().sum(1) + 1e-12).sqrt()


def _by_lead(predicted: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Predicted, observed and weight as (L, values), all 0 where there is no observation."""
    known = torch.isfinite(observed)
    parts = (torch.where(known, predicted, 0), torch.where(known, observed, 0), known.to(predicted.dtype))
    p, o, weight = (part.movedim(1, 0).flatten(1) for part in parts)
    return p, o, weight
