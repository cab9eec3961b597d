"""Filling without a model: the last value, a straight line, and penalised least squares on cosines."""

import warnings
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.gapfill.series import Array, Mode, Series, check_mode, withhold

EDGES = np.array([1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5])
"""Edges [day] of the classes of distance to the nearest observation used."""
BLOCKS = (1, 5, 10, 30)
"""Lengths [day] of the blocks withheld to learn deviations from."""


class Interpolation:
    """Fill from the observations alone, with the deviation its own errors have at the same distance.

    - ``last_value`` (causal): the last observation, whatever its age;
    - ``linear`` (smoothed): a straight line between the observations before and after, the nearest one
      beyond the first and the last;
    - ``dct_pls`` (smoothed): penalised least squares on cosines, its smoothness by generalised
      cross-validation for each series (`pytesmo`, which has to be installed); steps of time count as equal.

    `fit` withholds a fifth of the observations in blocks of 1, 5, 10 and 30 days and counts the squared
    errors by the days to the nearest observation used, all cells together: the deviation then holds the
    observations' own error too.

    Parameters
    ----------
    method
        One of the three.

    References
    ----------
    DCT-PLS: Garcia (2010), doi:10.1016/j.csda.2009.09.020.

    Examples
    --------
    >>> from vadose.gapfill import series_of
    >>> series = series_of(np.array([[0.1], [np.nan], [0.2], [np.nan], [np.nan], [np.nan]]))
    >>> mean, std = Interpolation("last_value").fit(series).predict(series, "causal")
    >>> mean[:, 0, 0].tolist()
    [0.1, 0.1, 0.2, 0.2, 0.2, 0.2]
    """

    def __init__(self, method: str) -> None:
        if method not in METHODS:
            raise VadoseError(f"interpolation {method!r} unknown; choose from {list(METHODS)}")
        self.name = method
        mode, self.guess = METHODS[method]
        self.modes: tuple[Mode, ...] = (mode,)

    def fit(self, series: Series) -> Self:
        """Learn the deviations, and the mean and deviation to guess with where nothing is known."""
        variables = series.values.shape[2]
        if not np.isfinite(series.values).any(axis=(0, 1)).all():
            raise VadoseError(f"filler {self.name!r}: a variable is never observed; it cannot be fitted")
        self.mean = np.nanmean(series.values, axis=(0, 1))
        self.spread = np.nanstd(series.values, axis=(0, 1))
        square, count = np.zeros((2, len(EDGES) + 1, variables))
        generator = np.random.default_rng(0)
        for length in BLOCKS:
            hidden = withhold(series, 0.2, length, generator)
            guess, distance = self.guess(series.without(hidden))
            at = np.nonzero(hidden & np.isfinite(guess))
            classes = np.searchsorted(EDGES, distance[at]), at[2]
            np.add.at(square, classes, (guess[at] - series.values[at]) ** 2)
            np.add.at(count, classes, 1)
        # A class of few errors says little: the next shorter distance stands for it.
        place = np.where(count >= 30, np.arange(len(count))[:, None], -1)
        place = np.maximum.accumulate(place, axis=0)
        deviation = np.sqrt(square / np.maximum(count, 1))
        self.deviation = np.where(place < 0, self.spread, np.take_along_axis(deviation, np.maximum(place, 0), axis=0))
        return self

    def predict(self, series: Series, mode: Mode) -> tuple[Array, Array]:
        """Mean and standard deviation (times, cells, variables)."""
        check_mode(self, mode)
        guess, distance = self.guess(series)
        nothing = ~np.isfinite(guess)
        variable = np.arange(guess.shape[2])
        std = self.deviation[np.searchsorted(EDGES, np.where(nothing, 0.0, distance)), variable]
        return np.where(nothing, self.mean, guess), np.where(nothing, self.spread, std)


def _last_value(series: Series) -> tuple[Array, Array]:
    before, _ = _neighbours(series)
    value, age = _at(series, before)
    return value, age


def _linear(series: Series) -> tuple[Array, Array]:
    """Between the neighbours in time; where one is missing the other one alone."""
    before, after = _neighbours(series)
    (low, since), (high, until) = _at(series, before), _at(series, after)
    span = since + until
    share = np.divide(since, span, where=span > 0, out=np.zeros_like(span))
    inner = low + np.where(np.isfinite(share), share, 0.0) * (high - low)
    value = np.where(before < 0, high, np.where(after < 0, low, inner))
    return value, np.fmin(since, until)


def _dct_pls(series: Series) -> tuple[Array, Array]:
    """Each series by itself; one with fewer than three observations, or of one value only, as by `_linear`."""
    try:
        from pytesmo.interpolate.dctpls import smoothn
    except ImportError as error:
        raise VadoseError("filler 'dct_pls': pytesmo is not installed; install it with: pip install pytesmo") from error
    value, distance = _linear(series)
    known = np.isfinite(series.values)
    for cell, variable in np.argwhere((known.sum(axis=0) >= 3) & (np.ptp(value, axis=0) > 0)):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of a smoothness at its bound, which is an answer too
            smooth = smoothn(series.values[:, cell, variable].astype(float), isrobust=False)[0]
        value[:, cell, variable] = smooth
    return value, distance


def _neighbours(series: Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in time of the last observation up to each time and the first from it on, -1 where none."""
    known = np.isfinite(series.values)
    steps = np.arange(len(known))[:, None, None]
    before = np.maximum.accumulate(np.where(known, steps, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, steps, len(known))[::-1], axis=0)[::-1]
    return before, np.where(after == len(known), -1, after)


def _at(series: Series, place: NDArray[np.int64]) -> tuple[Array, Array]:
    """Value at a position and the days between, NaN where there is none."""
    days = np.broadcast_to(series.days[..., None], series.values.shape)
    value = np.take_along_axis(series.values.astype(float), np.maximum(place, 0), axis=0)
    apart = np.abs(np.take_along_axis(days, np.maximum(place, 0), axis=0) - days)
    return np.where(place < 0, np.nan, value), np.where(place < 0, np.nan, apart)


METHODS: dict[str, tuple[Mode, Callable[[Series], tuple[Array, Array]]]] = {
    "last_value": ("causal", _last_value),
    "linear": ("smoothed", _linear),
    "dct_pls": ("smoothed", _dct_pls),
}
