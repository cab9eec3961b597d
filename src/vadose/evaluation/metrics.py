r"""Scores of paired series, from their moments, so that days are reweighted by adding moments up.

With :math:`p` predicted and :math:`o` observed, means over the pairs of one site and lead:
bias :math:`\bar p - \bar o`; RMSE :math:`\sqrt{\overline{(p - o)^2}}`; ubRMSE
:math:`\sqrt{\mathrm{RMSE}^2 - \mathrm{bias}^2}`; Pearson R; skill against a reference
:math:`1 - \mathrm{MSE} / \mathrm{MSE}_{ref}`. Entekhabi et al. (2010), doi:10.1175/2010JHM1223.1.

Of forecasts that are distributions, also the mean CRPS (`gaussian_crps`) and the coverage of their central
50 and 90 % intervals.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from vadose.compiled import compiled, elementwise

Array = NDArray[np.floating]

N, P, Q, PP, QQ, PQ, CRPS, IN_50, IN_90 = range(9)
"""Places in an array of moments: count, sums of p, o, p p, o o and p o (o is Q: no zero); then, of
`distribution_moments`, sums of the CRPS and of days inside the central intervals."""


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


def sums(predicted: Array, observed: Array, centre: Array | float = 0.0) -> Array:
    """Sums of `moments` along the first axis in one compiled pass, a constant taken from both first: (n, ...) to
    (..., 6).

    Examples
    --------
    >>> sums(np.array([1.0, np.nan, 3.0]), np.array([2.0, 3.0, 3.0])).tolist()
    [2.0, 4.0, 5.0, 10.0, 13.0, 11.0]
    """
    shape = observed.shape[1:]
    flat = len(observed), math.prod(shape)
    found = np.zeros((6, flat[1]))
    p, o = (np.ascontiguousarray(values.reshape(flat), np.float64) for values in (predicted, observed))
    _add(p, o, np.broadcast_to(np.asarray(centre, np.float64), shape).flatten(), found)
    return np.moveaxis(found.reshape(6, *shape), 0, -1)


@compiled
def _add(
    predicted: NDArray[np.float64],
    observed: NDArray[np.float64],
    centre: NDArray[np.float64],
    found: NDArray[np.float64],
) -> None:
    for t in range(len(predicted)):
        for s in range(len(centre)):
            p, o = predicted[t, s] - centre[s], observed[t, s] - centre[s]
            known = np.isfinite(p) and np.isfinite(o)
            p, o = (p if known else 0.0), (o if known else 0.0)
            found[0, s] += known
            found[1, s] += p
            found[2, s] += o
            found[3, s] += p * p
            found[4, s] += o * o
            found[5, s] += p * o


def sums_along(cosines: Array, predicted: Array, observed: Array) -> tuple[Array, Array]:
    """Sums of the `moments` of days, and of days weighted along waves, up and down, in one compiled pass.

    They are `vadose.evaluation.intervals.reweigh_folded` of the folded moments, of a few sites at a time whose moments
    never leave the processor's cache. The mean of a site's known observations is taken from both series first, so that
    sums of squares keep their digits.

    Parameters
    ----------
    cosines
        (1 + wave, half of the days), see `vadose.evaluation.intervals.cosines`.
    predicted, observed
        (day, site).

    Returns
    -------
    total, again
        (6, site) and (2, wave, 6, site).
    """
    days, sites = observed.shape
    total, again = np.zeros((6, sites)), np.zeros((2, len(cosines) - 1, 6, sites))
    if days:
        p, o, even, odd = (np.ascontiguousarray(of, float) for of in (predicted, observed, cosines[::2], cosines[1::2]))
        _sum_along(even, odd, p, o, total, again)
    return total, again


@compiled
def _sum_along(
    evens: Array, odds: Array, predicted: Array, observed: Array, total: Array, again: Array
) -> None:  # by index: operations on whole arrays would take it four times as long to compile
    wide, days, half = 16, len(observed), evens.shape[1]  # so many sites at once
    even, odd = np.zeros((half, 6 * wide)), np.zeros((half, 6 * wide))
    count, centre = np.zeros(wide), np.zeros(wide)
    for first in range(0, total.shape[1], wide):
        held = min(wide, total.shape[1] - first)
        for s in range(wide):
            count[s], centre[s] = 0.0, 0.0
        for t in range(days):
            for s in range(held):
                known = np.isfinite(observed[t, first + s])
                count[s] += 1.0 if known else 0.0
                centre[s] += observed[t, first + s] if known else 0.0
        for s in range(wide):
            centre[s] /= max(count[s], 1.0)
        for t in range(half):
            once, u = 0.5 if 2 * t == days - 1 else 1.0, days - 1 - t
            for s in range(held):
                p, o = predicted[t, first + s] - centre[s], observed[t, first + s] - centre[s]
                q, r = predicted[u, first + s] - centre[s], observed[u, first + s] - centre[s]
                both, too = abs(p) + abs(o) < np.inf, abs(q) + abs(r) < np.inf
                n, p, o = (1.0 if both else 0.0), (p if both else 0.0), (o if both else 0.0)
                m, q, r = (1.0 if too else 0.0), (q if too else 0.0), (r if too else 0.0)
                even[t, N * wide + s], odd[t, N * wide + s] = once * (n + m), n - m
                even[t, P * wide + s], odd[t, P * wide + s] = once * (p + q), p - q
                even[t, Q * wide + s], odd[t, Q * wide + s] = once * (o + r), o - r
                even[t, PP * wide + s], odd[t, PP * wide + s] = once * (p * p + q * q), p * p - q * q
                even[t, QQ * wide + s], odd[t, QQ * wide + s] = once * (o * o + r * r), o * o - r * r
                even[t, PQ * wide + s], odd[t, PQ * wide + s] = once * (p * o + q * r), p * o - q * r
        of_even, of_odd = evens @ even, odds @ odd
        for k in range(6):
            for s in range(held):
                total[k, first + s] = of_even[0, k * wide + s]
            for wave in range(again.shape[1]):
                change = of_even[(wave + 1) // 2] if wave % 2 else of_odd[wave // 2]
                for s in range(held):
                    whole, part = of_even[0, k * wide + s], change[k * wide + s]
                    again[0, wave, k, first + s], again[1, wave, k, first + s] = whole + part, whole - part


def distribution_moments(predicted: Array, observed: Array, spread: Array | None) -> Array:
    """CRPS, and whether the central 50 and 90 % hold the observation, of each pair: (...) to (..., 3).

    ``spread`` is the standard deviation of a Gaussian forecast. A forecast without one (None) is a single
    value: its CRPS is the absolute error, its coverage NaN.

    Examples
    --------
    >>> distribution_moments(np.array([0.2]), np.array([0.3]), np.array([0.1])).round(4).tolist()
    [[0.0602, 0.0, 1.0]]
    >>> distribution_moments(np.array([0.2]), np.array([0.3]), None).round(4).tolist()
    [[0.1, nan, nan]]
    """
    known = np.isfinite(predicted) & np.isfinite(observed)
    error = np.where(known, observed - predicted, 0.0)
    if spread is None:
        unknown = np.full(error.shape, np.nan)
        return np.stack([np.abs(error), unknown, unknown], axis=-1)
    spread = np.where(known, spread, 0.0)
    inside = [known & (np.abs(error) <= ndtri(0.5 + share / 2) * spread) for share in (0.5, 0.9)]
    return np.stack([gaussian_crps(error, spread), *(within.astype(float) for within in inside)], axis=-1)


def gaussian_crps(error: Array, spread: Array) -> Array:
    r"""Continuous ranked probability score of a Gaussian forecast, in the units of the error.

    .. math::
        \mathrm{CRPS} = \sigma \left[ z \, (2 \Phi(z) - 1) + 2 \varphi(z) - \frac{1}{\sqrt{\pi}} \right],
        \qquad z = (o - \mu) / \sigma

    With :math:`\sigma = 0` it is the absolute error, as of any forecast of a single value.

    References
    ----------
    Gneiting et al. (2005), eq. (5), doi:10.1175/MWR2904.1.

    Examples
    --------
    >>> gaussian_crps(np.array([0.0, 0.5]), np.array([1.0, 0.0])).round(4).tolist()
    [0.2337, 0.5]
    """
    z = np.divide(error, spread, out=np.zeros_like(error), where=spread > 0)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    score: Array = spread * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.where(spread > 0, score, np.abs(error))


def bias(m: Array) -> Array:
    """Mean of predicted minus observed."""
    return _of(_bias, m)


def mean_square(m: Array) -> Array:
    """Mean squared error; 0 where it is no more than rounding leaves of the sums."""
    return _of(_mean_square, m)


def rmse(m: Array) -> Array:
    """Root mean squared error."""
    return _of(_rmse, m)


def ubrmse(m: Array) -> Array:
    """Root mean squared error without the bias: the standard deviation of the error."""
    return _of(_ubrmse, m)


def pearson_r(m: Array) -> Array:
    """Pearson correlation; NaN where a series does not vary.

    Examples
    --------
    >>> p, o = np.array([0.1, 0.2, 0.4]), np.array([0.2, 0.3, 0.5])
    >>> round(float(pearson_r(moments(p, o).sum(0))), 6)
    1.0
    """
    return _of(_pearson_r, m)


def skill(m: Array, reference: Array) -> Array:
    """One minus the ratio of mean squared errors: 1 is perfect, 0 no better than the reference."""
    return 1.0 - _quiet(mean_square(m), mean_square(reference))


def _of(score: Callable[..., Array], m: Array) -> Array:
    """A function of the six moments of a series, of all series at once."""
    return score(*(m[..., k] for k in range(6)))


@elementwise
def _bias(n: float, p: float, o: float, pp: float, oo: float, po: float) -> float:
    return (p - o) / n if n > 0 else np.nan


@elementwise
def _mean_square(n: float, p: float, o: float, pp: float, oo: float, po: float) -> float:
    square = pp - 2 * po + oo
    return (0.0 if square <= 1e-13 * (pp + oo) else square) / n if n > 0 else np.nan


@elementwise
def _rmse(n: float, p: float, o: float, pp: float, oo: float, po: float) -> float:
    square = pp - 2 * po + oo
    return np.sqrt((0.0 if square <= 1e-13 * (pp + oo) else square) / n) if n > 0 else np.nan


@elementwise
def _ubrmse(n: float, p: float, o: float, pp: float, oo: float, po: float) -> float:
    square, bias = pp - 2 * po + oo, (p - o) / n
    left = (0.0 if square <= 1e-13 * (pp + oo) else square) / n - bias * bias
    return np.sqrt(left if left > 0 else 0.0) if n > 0 else np.nan


@elementwise
def _pearson_r(n: float, p: float, o: float, pp: float, oo: float, po: float) -> float:
    each = 1 / n  # dividing is slow
    p, o = p * each, o * each
    var_p, var_o = pp * each - p * p, oo * each - o * o
    # Rounding leaves a spread of about 1e-17 where there is none.
    tiny = 1e-13 * max(pp, oo) * each + 1e-18
    return (po * each - p * o) / np.sqrt(var_p * var_o) if n > 0 and var_p > tiny and var_o > tiny else np.nan


class Scale(NamedTuple):
    """Rising function of a score whose sampling error is nearly normal and alike at all sites; inverse, derivative."""

    to: Callable[[Array], Array]
    back: Callable[[Array], Array]
    rate: Callable[[Array], Array]


PLAIN = Scale(lambda v: v, lambda z: z, np.ones_like)
LOG = Scale(np.log, np.exp, lambda v: 1 / v)
FISHER = Scale(np.arctanh, np.tanh, lambda v: 1 / (1 - v * v))
LOGIT = Scale(lambda v: np.log(v / (1 - v)), lambda z: 1 / (1 + np.exp(-z)), lambda v: 1 / (v * (1 - v)))
SKILL = Scale(lambda v: -np.log1p(-v), lambda z: -np.expm1(-z), lambda v: 1 / (1 - v))


def _rising(value: Array) -> Array:
    return value


def _falling(value: Array) -> Array:
    return -value


@dataclass(frozen=True)
class Metric:
    """A score, and all that tables, reports and plots ask of it.

    Attributes
    ----------
    of
        Function of moments (..., 6), or (..., 9) of a metric of distributions.
    title
        What readers know it as, with its unit; its name in the registry when left out.
    better
        Function of the score that grows as the score gets better, by which runs are compared; None where they are not.
    scale
        On which its intervals are made.
    drawn
        Whether it is drawn by lead time.
    """

    of: Callable[[Array], Array]
    title: str = ""
    better: Callable[[Array], Array] | None = _falling
    scale: Scale = PLAIN
    drawn: bool = True

    def __call__(self, moments: Array) -> Array:
        """The score of moments."""
        return self.of(moments)


METRICS: dict[str, Callable[[Array], Array]] = {
    "pearson_r": Metric(pearson_r, "R", _rising, FISHER),
    "rmse": Metric(rmse, "RMSE [m³ m⁻³]", scale=LOG, drawn=False),
    "bias": Metric(bias, "bias [m³ m⁻³]", lambda v: -np.abs(v), drawn=False),
    "ubrmse": Metric(ubrmse, "ubRMSE [m³ m⁻³]", scale=LOG),
}
"""Name in score tables -> `Metric`, or a function of moments (..., 6), an error that is the better the smaller."""

DISTRIBUTION_METRICS: dict[str, Callable[[Array], Array]] = {
    "crps": Metric(lambda m: _quiet(m[..., CRPS], m[..., N]), "CRPS [m³ m⁻³]", scale=LOG),
    "coverage_50": Metric(lambda m: _quiet(m[..., IN_50], m[..., N]), "coverage of the central 50 %", None, LOGIT),
    "coverage_90": Metric(lambda m: _quiet(m[..., IN_90], m[..., N]), "coverage of the central 90 %", None, LOGIT),
}
"""Name in score tables -> function of moments (..., 9); only where a forecast is a distribution."""


_SHIPPED = dict(METRICS)


def own_metrics() -> dict[str, Callable[[Array], Array]]:
    """Metrics that were added to `METRICS`, or replaced there, at run time."""
    return {name: function for name, function in METRICS.items() if _SHIPPED.get(name) is not function}


def metric(name: str) -> Metric:
    """The metric of a name; skill scores are compared by none.

    Examples
    --------
    >>> round(float(metric("pearson_r").scale.to(np.array(0.9))), 3), metric("skill_persistence").title
    (1.472, 'skill_persistence')
    """
    if name.startswith("skill"):
        return Metric(mean_square, name, None, SKILL)
    found = METRICS.get(name) or DISTRIBUTION_METRICS[name]
    found = found if isinstance(found, Metric) else Metric(found)
    return found if found.title else replace(found, title=name)


def _quiet(a: Array, b: Array) -> Array:
    """a / b, NaN where b is zero, negative or unknown."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(b > 0, a / b, np.nan)
