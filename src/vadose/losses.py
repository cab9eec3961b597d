"""What networks are trained to make small."""

import torch
from torch import Tensor


def rmse_correlation(
    predicted: Tensor, observed: Tensor, *, alpha: float = 0.5, beta: float = 0.5, form: str = "corrected"
) -> Tensor:
    r"""Root mean squared error and correlation, over the observed values only.

    .. math:: \mathcal{L} = \alpha \, \mathrm{RMSE} + 0.1 \, \beta \, (1 - R) \quad (8)

    R is the Pearson correlation over the observed values of a batch at each lead, averaged over the
    leads: a batch holds too few days of one cell for a correlation in time.

    Parameters
    ----------
    predicted, observed
        (B, L, H, W) [m3 m-3]; observed is NaN where it does not count.
    alpha, beta
        Weights of the two terms.
    form
        ``'corrected'``, or ``'printed'``: equation (8) as published,
        :math:`\alpha \, \mathrm{RMSE} + (1 - 0.1 \beta) R`, which rewards anti-correlation.

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
    known = torch.isfinite(observed)
    p = torch.where(known, predicted, 0).movedim(1, 0).flatten(1)
    o = torch.where(known, observed, 0).movedim(1, 0).flatten(1)
    weight = known.movedim(1, 0).flatten(1).to(p.dtype)
    n = weight.sum(1).clamp(min=1)
    mean_square = ((p - o).square() * weight).sum() / weight.sum().clamp(min=1)
    # The gradient of a root is infinite at zero; the offset is far below any real error.
    rmse = (mean_square + 1e-12).sqrt() - 1e-6
    if beta == 0 and form == "corrected":
        return alpha * rmse
    p = (p - ((p * weight).sum(1) / n)[:, None]) * weight
    o = (o - ((o * weight).sum(1) / n)[:, None]) * weight
    r = (p * o).sum(1) / (p.square().sum(1) * o.square().sum(1) + 1e-12).sqrt()
    if form == "printed":
        return alpha * rmse + (1 - 0.1 * beta) * r.mean()
    some = weight.sum() > 0
    return alpha * rmse + torch.where(some, 0.1 * beta * (1 - r).mean(), torch.zeros_like(rmse))
