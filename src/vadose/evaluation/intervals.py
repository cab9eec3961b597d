r"""How far a score of a short, autocorrelated record can be trusted.

The days of a record are weighted by slow waves, :math:`1 \pm h \sqrt 2 \cos(\pi j (t + 1/2) / T)`, :math:`j = 1 .. J`,
and the score is taken again. How much it changes along a wave, its *slope*, is the cosine transform of its influence
values (their mean over the days is the sampling error). The expected square of a slope is therefore the spectrum of
that error at a period of :math:`2 T / j` days, and the variance of the score is the spectrum at frequency zero. It is
read off the squares of the slopes as that of a first-order autoregression,

.. math::
    S_j(\lambda) = S_0 \frac{(1 - \varphi)^2}{1 - 2 \varphi \cos(\pi j / T) + \varphi^2}, \qquad \varphi = e^{-\lambda}

averaged over memories :math:`1 / \lambda` by their Whittle likelihood times :math:`\lambda^{-1/2}`. Waves shorter
than 16 days are not looked at:
what is faster (noise of a sensor, single missing days) is seen as a floor. The quantile is that of Student's t with
a quarter as many degrees of freedom as there are independent days, :math:`T \tanh(\lambda / 2)`, and no fewer than
four: squared errors are skewed, and their variance is known less well than that of Gaussian values. An interval is
made on a scale on which errors are nearly Gaussian (`vadose.evaluation.metrics.Metric`), and is longer by twice the
bias of the score, known to second order, on the side the truth lies on.

Equal-weighted cosines: Mueller (2004), Lazarus et al. (2018), doi:10.1080/07350015.2018.1506926. Influence values of
dependent series: Kunsch (1984), doi:10.1214/aos/1176346506. Missing days as zeros of the influence: Parzen (1963).
Coverage was measured: see "Scores" in docs/methods.md and benchmarks/interval_coverage.py.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri, stdtrit

from vadose.compiled import elementwise

Array = NDArray[np.floating]

FEWEST_DAYS = 120
"""A record that is shorter, from its first pair to its last, has no interval."""
FEWEST_PAIRS = 30
"""Nor has a score of fewer pairs."""
STEP = 0.5
"""Half the difference of two weightings along a wave: all weights stay above zero."""
_DAYS_A_WAVE = 8
_MOST_WAVES = 60
_RATES = np.geomspace(0.015, 3.0, 20)  # [1/day]: memories of two months to a third of a day
_LONG_MEMORY = 0.5
"""Memories count before the data by this power of their length: a short record cannot show a long one, and an interval
that takes it for short is too short."""
_FEWEST_DEGREES = 4.0


class Spread(NamedTuple):
    """What is known of the sampling error of scores: slopes (wave, ...) and the rest (...).

    Attributes
    ----------
    slopes
        Change of the score along each wave.
    variance
        Of the score.
    effective
        Independent days behind it.
    bias
        How far the score of a record as short lies from that of a long one, to second order: a standard deviation
        about the record's own mean is too small.
    """

    slopes: Array
    variance: Array
    effective: Array
    bias: Array


def reweigh(daily: Array) -> Array:
    """Moments of days weighted along each wave, up and down: (days, ...) to (2, waves, ...).

    Without waves, (2, 0, ...), where the days are fewer than `FEWEST_DAYS`.

    Examples
    --------
    >>> reweigh(np.ones((160, 3, 6))).shape, reweigh(np.ones((60, 3, 6))).shape
    ((2, 20, 3, 6), (2, 0, 3, 6))
    """
    return reweigh_folded(*fold(daily), len(daily))[1]


def fold(daily: Array) -> tuple[Array, Array]:
    """Days added to, and less, those as far from the record's other end: (days, ...) to twice (half of them, ...).

    Every other wave is even about the middle of the record, the rest are odd: each needs half of the products. A day
    in the middle counts once.

    Examples
    --------
    >>> fold(np.array([1.0, 2.0, 5.0]))
    (array([6., 2.]), array([-4.,  0.]))
    """
    half = (len(daily) + 1) // 2
    first, last = daily[:half], daily[::-1][:half]
    even = first + last
    even[len(daily) // 2 :] /= 2
    return even, first - last


def reweigh_folded(even: Array, odd: Array, days: int) -> tuple[Array, Array]:
    """Sums of the moments (...) of days already folded, see `fold`, and of the days weighted, as by `reweigh`."""
    half, *shape = even.shape
    waves = waves_of(days)
    of_even, of_odd = (
        (cosines(days)[k::2] @ folded.reshape(half, math.prod(shape))).reshape(-1, *shape)
        for k, folded in enumerate((even, odd))
    )
    total, again = of_even[0], np.empty((2, waves, *shape))
    for start, change in enumerate((of_odd, of_even[1:])):
        np.add(total, change, out=again[0, start::2])
        np.subtract(total, change, out=again[1, start::2])
    return total, again


@cache
def cosines(days: int) -> Array:
    """Of the first half of the days, along no wave (1) and each of them (1 + wave, day)."""
    phase = np.arange(1 + waves_of(days))[:, None] * (np.arange((days + 1) // 2) + 0.5) / max(days, 1)
    along: Array = np.cos(np.pi * phase)
    along[1:] *= STEP * np.sqrt(2)
    return along


def waves_of(days: int) -> int:
    """Number of waves a record is looked at with: none where it has no interval."""
    return min(days // _DAYS_A_WAVE, _MOST_WAVES) if days >= FEWEST_DAYS else 0


def spread_of(value: Array, again: Array, days: int) -> Spread:
    """Spread of scores (...) from the same scores of reweighted days (2, waves, ...), see `reweigh`."""
    up, down = again
    slopes = _slope(up, down)
    variance, effective, bias = _at_zero(slopes**2, days, _bend(up, down, value))
    return Spread(slopes, variance, effective, bias)


@elementwise
def _slope(up: float, down: float) -> float:
    slope = (up - down) / (2 * STEP)
    return slope if np.isfinite(slope) else np.nan  # perfect scores lie at infinity


@elementwise
def _bend(up: float, down: float, value: float) -> float:
    return ((up + down) / 2 - value) / STEP**2


def interval(value: Array, spread: Spread) -> tuple[Array, Array]:
    """95 % interval of scores, longer on the side they are biased away from."""
    return _around(value, spread.variance, _degrees(spread.effective, len(spread.slopes)), spread.bias)


class MedianError(NamedTuple):
    """Standard errors of a median over sites (...), by their cause, degrees of freedom, and bias of the sites."""

    of_days: Array
    of_sites: Array
    degrees: Array
    bias: Array

    def interval(self, median: Array) -> tuple[Array, Array]:
        """95 % interval of the median."""
        return _around(median, self.of_days**2 + self.of_sites**2, self.degrees, self.bias)


def median_error(values: Array, slopes: Array, biases: Array, days: int, *, drawn: bool) -> MedianError:
    r"""Error of the median over sites: (site, ...) to (...).

    The sampling error of the median is that of days, shared by the sites, and that of sites. The former is the
    variance of the mean slopes over sites times the share of it that pairs of different sites make,
    :math:`\frac{S}{S - 1} [1 - \sum_{js} b_{js}^2 / \sum_j (\sum_s b_{js})^2]`. The latter comes from the order of
    the sites' scores (Price and Bonett 2001, doi:10.1080/00949650108812071), which each site's own error spreads.

    Where the errors make most of the spread of the sites' scores, the skew of the scores is mostly theirs, and their
    median lies off the true scores' median. Its distance to the mean, times the share of the spread that errors
    make, counts as bias.

    Parameters
    ----------
    values
        Scores, NaN where unknown.
    slopes, biases
        (wave, site, ...) and (site, ...): their `Spread`.
    days
        Of the record.
    drawn
        Whether the sites are a sample of all there could be; else they are all there are, and the error is of days.
    """
    good = np.isfinite(values) & np.isfinite(biases) & np.isfinite(slopes).all(axis=0)
    n = np.maximum(good.sum(axis=0), 1)
    known = np.where(good, slopes, 0.0)
    mean = known.sum(axis=1, dtype=float) / n  # slopes are kept in single precision, too little for sums of many
    of_days, effective = _at_zero(mean**2, days)
    of_sites = np.zeros_like(of_days)
    degrees = _degrees(effective, len(slopes))
    if drawn:
        total, own = (mean**2).sum(axis=0), (known**2).sum(axis=(0, 1), dtype=float) / n**2
        pairs = (total - own) * n / (np.where(total > 0, total, 1.0) * np.maximum(n - 1, 1))
        shared = np.where(n > 1, np.clip(pairs, 0.0, 1.0), 1.0)
        of_days, of_sites = of_days * shared, _variance_of_median(np.where(good, values, np.nan))
        parts = of_days**2 / degrees + of_sites**2 / np.maximum(n - 1, 1)
        degrees = np.where(parts > 0, (of_days + of_sites) ** 2 / np.where(parts > 0, parts, 1.0), degrees)
    of_days = np.where(good.any(axis=0), of_days, np.nan)
    bias = np.where(good, biases, 0.0).sum(axis=0) / n
    if drawn:
        bias += _bias_of_median(np.where(good, values, np.nan), np.where(good, slopes - mean[:, None], 0.0), days)
    return MedianError(np.sqrt(of_days), np.sqrt(of_sites), degrees, bias)


def median(values: Array) -> Array:
    """Median of the known values along the first axis, NaN where there are none."""
    ordered, n = np.sort(values, axis=0), np.isfinite(values).sum(axis=0)  # NaN comes last
    low, high = (_at(ordered, np.maximum(k, 0)) for k in ((n - 1) // 2, n // 2))
    with np.errstate(invalid="ignore"):  # the middle of infinities of both signs is unknown
        return np.where(n > 0, (low + high) / 2, np.nan)


def _at(ordered: Array, place: NDArray[np.int64]) -> Array:
    place = np.minimum(place, len(ordered) - 1)
    found: Array = np.take_along_axis(ordered, place[None], axis=0)[0]
    return found


def _variance_of_median(values: Array) -> Array:
    """Squared standard error of the median along the first axis from two order statistics; 0 for a single value."""
    ordered, n = np.sort(values, axis=0), np.isfinite(values).sum(axis=0)
    place = np.maximum(np.round((n + 1) / 2 - np.sqrt(n)), 1).astype(np.int64)
    apart = _at(ordered, np.maximum(n - place, 0)) - _at(ordered, place - 1)
    outside = bdtr(place - 1.0, np.maximum(n, 2), 0.5)
    return np.where(n > 1, apart / (2 * ndtri(1 - outside)), 0.0) ** 2


def _bias_of_median(values: Array, own: Array, days: int) -> Array:
    """Median minus mean over sites, times the share of the sites' variance that their own errors make."""
    n = np.maximum(np.isfinite(values).sum(axis=0), 1)
    apart = median(values) - np.where(np.isfinite(values), values, 0.0).sum(axis=0) / n
    power = (own**2).sum(axis=1) / n
    errors, _ = _at_zero(power, days)
    spread = np.where(np.isfinite(values), values - median(values) + apart, 0.0)
    variance = (spread**2).sum(axis=0) / n
    share = np.minimum(np.divide(errors, variance, out=np.zeros_like(errors), where=variance > 0), 1.0)
    return np.where(n > 1, share * apart, 0.0)


def _at_zero(power: Array, days: int, *bends: Array) -> tuple[Array, ...]:
    """Spectrum at frequency zero of squared slopes (wave, ...), and the independent days (...); then sums of others
    (wave, ...) with the same weights. NaN without waves."""
    waves, *shape = power.shape
    if not waves:
        return (np.full(shape, np.nan),) * (2 + len(bends))
    weights, before, seen = _memories(waves, days)
    level, *others = (weights @ of.reshape(waves, -1).astype(float, copy=False) for of in (power, *bends))
    share = before - waves / 2 * np.log(np.maximum(level, 1e-300))  # (rate, ...), as a logarithm
    share -= share.max(axis=0)
    np.exp(share, out=share)
    share /= share.sum(axis=0)
    effective = 1 / ((1 / (days * np.tanh(_RATES / 2))) @ share)
    share *= seen
    variance, *sums = (np.einsum("rs,rs->s", share, of) for of in (level, *others))
    return tuple(of.reshape(shape) for of in (variance, effective, *sums))


@cache
def _memories(waves: int, days: int) -> tuple[Array, Array, Array]:
    """Of each rate: weights of squared slopes in its spectrum at frequency zero (rate, wave); what its likelihood is
    without them, as a logarithm (rate, 1); and the share of as long a memory that the record sees (rate, 1)."""
    rates = _RATES[:, None]
    decay = np.exp(-rates)
    shape = (1 - decay) ** 2 / (1 - 2 * decay * np.cos(np.pi * np.arange(1, waves + 1) / days) + decay**2)
    before = -np.log(shape).sum(axis=1, keepdims=True) / 2 - _LONG_MEMORY * np.log(rates)
    return 1 / shape / waves, before, 1 - (1 - np.exp(-rates * days)) / (rates * days)


def _degrees(effective: Array, waves: int) -> Array:
    return np.clip(effective / 4, _FEWEST_DEGREES, max(waves, _FEWEST_DEGREES))


def _around(value: Array, variance: Array, degrees: Array, bias: Array) -> tuple[Array, Array]:
    half = _student()(1 / degrees) * np.sqrt(variance)
    return value - half - 2 * np.maximum(bias, 0.0), value + half - 2 * np.minimum(bias, 0.0)


@cache
def _student() -> Callable[[Array], Array]:
    """Upper 2.5 % quantile of Student's t by the reciprocal of its degrees of freedom, 0 .. 1, within 1e-12 of itself.

    A smooth function, interpolated in a fraction of the time that the quantile takes.
    """
    from scipy.interpolate import CubicSpline

    reciprocal = np.linspace(0, 1, 2049)
    quantile: Callable[[Array], Array] = CubicSpline(reciprocal, [ndtri(0.975), *stdtrit(1 / reciprocal[1:], 0.975)])
    return quantile
