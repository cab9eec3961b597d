r"""Series scaled to the observations, station by station, on the days that both are known.

- ``mean-std``: :math:`(x - \bar x)\, s_o / s_x + \bar o`;
- ``linear``: the regression of observations on the series, :math:`a + b x`;
- ``cdf``: percentiles of the series are put where those of the observations lie, 100 bins of at least 20 values each,
  linear between and beyond them; the outermost ones follow the regression of the values beyond (Moesinger et al. 2020,
  doi:10.5194/essd-12-177-2020). Fewer than 40 values have one bin: the regression.

They equal ``mean_std``, ``linreg`` and ``cdf_match`` (`CDFMatching` with its options) of ``pytesmo``. A series that
does not vary, or whose slope is not positive, cannot be scaled and is missing; nor can any to observations that do not
vary.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import InterpolatedUnivariateSpline

BINS, FEWEST_IN_BIN = 100, 20
Array = NDArray[np.floating]
Line = Callable[[Array], Array]


def scaled(values: Array, observed: Array, known: NDArray[np.bool_], how: str) -> Array | None:
    """All of a series (day,) by what is found on the days ``known``; None where it cannot be scaled.

    Examples
    --------
    >>> x, every = np.array([1.0, 2.0, 3.0]), np.ones(3, bool)
    >>> [float(v) for v in scaled(x, 2 * x + 1, every, "linear")], scaled(x * 0, x, every, "mean-std")
    ([3.0, 5.0, 7.0], None)
    """
    x, o = values[known].astype(float), observed[known].astype(float)
    if len(x) < 2 or _constant(x) or _constant(o):
        return None
    line = SCALINGS[how](x, o)
    return None if line is None else line(values.astype(float))


def mean_std(x: Array, o: Array) -> Line:
    """The line that gives ``x`` mean and standard deviation of ``o``."""
    mean, slope = x.mean(), o.std() / x.std()
    return lambda values: (values - mean) * slope + o.mean()


def linear(x: Array, o: Array) -> Line | None:
    """The regression of ``o`` on ``x``; None where they do not rise together."""
    slope = _slope(x - x.mean(), o - o.mean())
    return (lambda values: o.mean() + slope * (values - x.mean())) if slope > 0 else None


def cdf(x: Array, o: Array) -> Line | None:
    """The line through percentiles of both."""
    bins = min(BINS, len(x) // FEWEST_IN_BIN) if len(x) < BINS * FEWEST_IN_BIN else BINS
    if bins < 2:
        return linear(x, o)
    at = 100 * np.arange(bins + 1) / bins
    x, o = np.sort(x), np.sort(o)
    of_x, of_o = _percentiles(x, at), _percentiles(o, at)
    for end, inner in ((0, 1), (-1, -2)):
        beyond = np.less_equal if end == 0 else np.greater_equal
        apart, of_observed = (v[beyond(v, p[inner])] - p[inner] for v, p in ((x, of_x), (o, of_o)))
        if len(apart) != len(of_observed) > 1:  # ties
            apart = _percentiles(apart, np.linspace(0, 100, len(of_observed)))
        if len(apart) == len(of_observed):
            of_o[end] = of_o[inner] + _slope(apart, of_observed) * (of_x[end] - of_x[inner])
    return _through(of_x, of_o) if (np.diff(of_x) > 0).all() else None


SCALINGS: dict[str, Callable[[Array, Array], Line | None]] = {"mean-std": mean_std, "linear": linear, "cdf": cdf}
"""By their names on the command line."""


def _constant(values: Array) -> bool:
    return float(values.std()) <= 1e-9 * float(np.abs(values).max())


def _slope(x: Array, y: Array) -> float:
    square = float(x @ x)
    return float(x @ y) / square if square > 0 else 0.0


def _percentiles(ordered: Array, at: Array) -> Array:
    """Percentiles of sorted values; of equal ones the first stays, and those after it rise to the next."""
    found = np.interp(at, 100 * (np.arange(len(ordered)) + 0.5) / len(ordered), ordered)
    first = np.unique(found, return_index=True)[1]
    if 1 < len(first) < len(at):
        places = at[first]
        places[-1] = at[-1]
        return _through(places, found[first])(at)
    return np.asarray(found)


def _through(x: Array, y: Array) -> Line:
    """Straight lines between points, the outer ones prolonged."""
    line: Line = InterpolatedUnivariateSpline(x, y, k=1)  # as of pytesmo: equal values stay equal to the last digit
    return line
