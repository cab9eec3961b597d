r"""Scores of paired series, from their moments, so that a bootstrap only adds moments up.

With :math:`p` predicted and :math:`o` observed, means over the pairs of one site and lead:
bias :math:`\bar p - \bar o`; RMSE :math:`\sqrt{\overline{(p - o)^2}}`; ubRMSE
:math:`\sqrt{\mathrm{RMSE}^2 - \mathrm{bias}^2}`; Pearson R; skill against a reference
:math:`1 - \mathrm{MSE} / \mathrm{MSE}_{ref}`. Entekhabi et al. (2010), doi:10.1175/2010JHM1223.1.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N, P, Q, PP, QQ, PQ = range(6)
"""Places in an array of moments (..., 6): count, sums of p, o, p p, o o and p o (o is Q: no zero)."""


def moments(predicted: Array, observed: Array) -> Array:
    """Moments of each pair, zero where one of the two is unknown: (...) to (..., 6).

    Sums of them along time are the moments of a series. Take the same constant from both series
    first where their mean is large beside their spread.

    Examples
    --------
    >>> moments(np.array([1.0, np.nan]), np.array([2.0, 3.0])).tolist()
    [[1.0, 1.0, 2.0, 1.0, 4.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    known = np.isfinite(predicted) & np.isfinite(observed)
    p, o = np.where(known, predicted, 0.0), np.where(known, observed, 0.0)
    return np.stack([known.astype(float), p, o, p * p, o * o, p * o], axis=-1)


def bias(m: Array) -> Array:
    """Mean of predicted minus observed."""
    return _quiet(m[..., P] - m[..., Q], m[..., N])


def mean_square(m: Array) -> Array:
    """Mean squared error."""
    return np.maximum(_quiet(m[..., PP] - 2 * m[..., PQ] + m[..., QQ], m[..., N]), 0.0)


def rmse(m: Array) -> Array:
    """Root mean squared error."""
    return np.sqrt(mean_square(m))


def ubrmse(m: Array) -> Array:
    """Root mean squared error without the bias: the standard deviation of the error."""
    return np.sqrt(np.maximum(mean_square(m) - bias(m) ** 2, 0.0))


def pearson_r(m: Array) -> Array:
    """Pearson correlation; NaN where a series does not vary.

    Examples
    --------
    >>> p, o = np.array([0.1, 0.2, 0.4]), np.array([0.2, 0.3, 0.5])
    >>> round(float(pearson_r(moments(p, o).sum(0))), 6)
    1.0
    """
    n = np.where(m[..., N] > 0, m[..., N], np.nan)
    p, o = m[..., P] / n, m[..., Q] / n
    var_p, var_o = m[..., PP] / n - p * p, m[..., QQ] / n - o * o
    # Rounding leaves a spread of about 1e-17 where there is none.
    tiny = 1e-13 * np.maximum(np.abs(m[..., PP]), np.abs(m[..., QQ])) / n + 1e-18
    varies = (var_p > tiny) & (var_o > tiny)
    return _quiet(m[..., PQ] / n - p * o, np.sqrt(np.where(varies, var_p * var_o, np.nan)))


def skill(m: Array, reference: Array) -> Array:
    """One minus the ratio of mean squared errors: 1 is perfect, 0 no better than the reference."""
    return 1.0 - _quiet(mean_square(m), mean_square(reference))


METRICS: dict[str, Callable[[Array], Array]] = {
    "pearson_r": pearson_r,
    "rmse": rmse,
    "bias": bias,
    "ubrmse": ubrmse,
}
"""Name in score tables -> function of moments (..., 6)."""

BETTER: dict[str, Callable[[Array], Array]] = {
    "pearson_r": lambda v: v,
    "rmse": lambda v: -v,
    "bias": lambda v: -np.abs(v),
    "ubrmse": lambda v: -v,
}
"""Name -> function of the score that grows as the score gets better."""


def _quiet(a: Array, b: Array) -> Array:
    """a / b, NaN where b is zero or unknown."""
    ratio: Array = np.divide(a, b, out=np.full(np.broadcast_shapes(a.shape, b.shape), np.nan), where=np.asarray(b) > 0)
    return ratio
