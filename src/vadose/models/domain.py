"""How far a pixel's features lie from those a model learnt from."""

from collections.abc import Mapping

import torch
from torch import Tensor

INSIDE = 0.99
"""Share of the training rows whose distance is at most 1."""
FLOOR = 0.01
"""Least variance of a direction in standardised features: classes as indicators add up to one, and a pixel with
mixed classes is not infinitely far for that."""


def training_domain(snapshot: Tensor) -> dict[str, Tensor]:
    r"""Learn the domain of the training rows: where they lie, how they spread, how far most of them are.

    Parameters
    ----------
    snapshot
        Features of the training rows (N, S) in physical units, NaN where missing.

    Returns
    -------
    dict
        ``mean`` (S,); ``whiten`` (S, S), with which
        :math:`W W^T = D^{-1} R^{-1} D^{-1}`, the inverse covariance from standard deviations :math:`D` and
        correlations :math:`R` of the pairs of values known; ``scale`` (), the 99th percentile of the
        distances of the rows. A feature that does not vary counts in its own unit.

    Examples
    --------
    >>> rows = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    >>> domain = training_domain(rows)
    >>> round(float((domain_distance(rows, domain) <= 1).float().mean()), 2)
    0.99
    """
    rows = snapshot.double()
    known = torch.isfinite(rows)
    count = known.sum(0).clamp(min=1)
    mean = torch.where(known, rows, 0).sum(0) / count
    apart = torch.where(known, rows - mean, 0)
    std = (apart.square().sum(0) / count).sqrt()
    std = torch.where(std > 1e-9 * mean.abs().clamp(min=1e-9), std, 1.0)
    z, pairs = apart / std, known.double()
    correlation = (z.T @ z) / (pairs.T @ pairs).clamp(min=1)
    values, vectors = torch.linalg.eigh(correlation)
    domain = {
        "mean": mean,
        "whiten": (vectors / values.clamp(min=FLOOR).sqrt()) / std[:, None],
        "scale": torch.ones((), dtype=torch.float64),
    }
    distance = domain_distance(snapshot, domain)
    domain["scale"] = torch.quantile(distance[torch.isfinite(distance)].double(), INSIDE)
    return domain


def domain_distance(snapshot: Tensor, domain: Mapping[str, Tensor]) -> Tensor:
    r"""Distance of rows from the training domain, 1 at the 99th percentile of the training rows.

    .. math:: d = \frac{1}{s} \sqrt{\frac{1}{k} (x_K - \mu_K)^T \, (\Sigma_{KK})^{-1} (x_K - \mu_K)}

    over the k features K that are known: the Mahalanobis distance of these alone, a feature on average, so that
    rows with gaps compare with whole ones. A single distance from the middle sees a new combination of features
    as well as a value never met; it does not see a gap between two groups of training rows, as a distance to
    the nearest row would (Meyer and Pebesma 2021).

    Parameters
    ----------
    snapshot
        (N, S) in physical units, NaN where missing.
    domain
        As `training_domain` gives it.

    Returns
    -------
    Tensor
        (N,) float32; above 1 is outside. NaN where nothing is known.

    References
    ----------
    Mahalanobis (1936); Meyer and Pebesma (2021), doi:10.1111/2041-210X.13650.

    Examples
    --------
    >>> domain = {"mean": torch.zeros(2), "whiten": torch.eye(2), "scale": torch.tensor(3.0)}
    >>> domain_distance(torch.tensor([[6.0, torch.nan], [torch.nan, torch.nan]]), domain).tolist()
    [2.0, nan]
    """
    known = torch.isfinite(snapshot)
    apart = torch.where(known, snapshot - domain["mean"].to(snapshot), 0)
    whiten = domain["whiten"].double()
    distance = torch.linalg.vector_norm(apart @ whiten.to(apart), dim=1)
    gaps = ~known.all(1)
    if gaps.any():
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(whiten @ whiten.T))
        incomplete = torch.nonzero(gaps)[:, 0]
        # Rows with the same gaps share a matrix, and there are few kinds of gaps.
        kind = _kinds(known[incomplete])
        for number in range(int(kind.max()) + 1):
            rows = incomplete[kind == number]
            features = known[rows[0]]
            factor = torch.linalg.cholesky(covariance[features][:, features]).to(apart)
            part = apart[rows][:, features]
            distance[rows] = torch.linalg.vector_norm(
                torch.linalg.solve_triangular(factor.T, part, upper=True, left=False), dim=1
            )
    each = distance / known.sum(1).sqrt()
    scaled: Tensor = each / domain["scale"].to(each)
    return scaled.float()


def _kinds(known: Tensor) -> Tensor:
    """Number of the pattern of each row (N,), counted from 0; patterns are compared as bits, 32 at a time."""
    kind = torch.zeros(len(known), dtype=torch.int64, device=known.device)
    for part in known.split(32, dim=1):  # type: ignore[no-untyped-call]
        bits = (part * (1 << torch.arange(part.shape[1], device=known.device))).sum(1)
        kind = torch.unique((kind << 32) + bits, return_inverse=True)[1]
    return kind
