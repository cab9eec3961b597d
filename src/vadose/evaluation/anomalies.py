r"""Anomalies of daily series: departures from a moving mean, or from the climatology of the day of the year.

.. math:: a_t = x_t - \frac{1}{n} \sum_{|s - t| \le 17} x_s \quad (n \ge 5), \qquad a_t = x_t - c_{d(t)}

The moving mean is that of the known values within 35 days, at least five (Albergel et al. 2009,
doi:10.5194/hess-13-115-2009); a series of fewer than 35 days from its first value to its last has none. The
climatology :math:`c_d` is made in three steps: means within 5 days, their mean over the years for each day of the
calendar (29 February is one), and means within 35 days, around the turn of the year. It is known on days that have
values of at least two years within those 35 days. Each series has a climatology of its own.

Where these rules leave a value it equals that of ``pytesmo.time_series.anomaly`` (``calc_anomaly``, and
``calc_climatology`` with ``respect_leap_years=False`` in both), whose own least number of values is one.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from vadose.door.days import Period

WINDOW = 35
"""Days of the moving mean."""
FEWEST_IN_WINDOW = 5
FEWEST_YEARS = 2
_SHORT_WINDOW = 5
Array = NDArray[np.floating]


def window_anomalies(values: Array) -> Array:
    """Departures of consecutive days (day, site) from the mean of the 35 days around each.

    Examples
    --------
    >>> window_anomalies(np.arange(35.0)[:, None])[[0, 17], 0].round(6).tolist()
    [-8.5, 0.0]
    """
    known = np.isfinite(values)
    span = len(values) - known.argmax(axis=0) - known[::-1].argmax(axis=0)
    anomalies = _apart(values, moving_mean(values, WINDOW, fewest=FEWEST_IN_WINDOW))
    return np.where(span >= WINDOW, anomalies, np.nan)


def climatology_anomalies(values: Array, days: pd.DatetimeIndex, period: Period | None = None) -> Array:
    """Departures of consecutive days (day, site) from the climatology of a period, by default of all days."""
    inside = (
        slice(None) if period is None else days.slice_indexer(pd.Timestamp(period.first), pd.Timestamp(period.last))
    )
    expected: Array = climatology(values[inside], days[inside])[_of_year(days)]
    return _apart(values, expected)


def climatology(values: Array, days: pd.DatetimeIndex) -> Array:
    """Expected value of each of the 366 days of the calendar: (day, site) to (366, site), NaN where it is unknown."""
    smooth = moving_mean(values, _SHORT_WINDOW)
    known, of_year = np.isfinite(smooth), _of_year(days)
    total, count, years = (np.zeros((366, values.shape[1])) for _ in range(3))
    for year in np.unique(days.year):
        here = np.flatnonzero(days.year == year)
        present = np.zeros(total.shape)
        present[of_year[here]] = known[here]
        total[of_year[here]] += np.where(known[here], smooth[here], 0.0)
        count += present
        years += np.rint(WINDOW * uniform_filter1d(present, WINDOW, axis=0, mode="wrap")) > 0
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.where(years >= FEWEST_YEARS, moving_mean(mean, WINDOW, around=True), np.nan)


def moving_mean(values: Array, days: int, *, fewest: int = 1, around: bool = False) -> Array:
    """Mean of the known values of an odd number of days about each; the last day comes before the first if ``around``.

    Examples
    --------
    >>> moving_mean(np.array([[1.0], [np.nan], [3.0]]), 3).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    known, mode = np.isfinite(values), "wrap" if around else "constant"
    total, count = (
        days * uniform_filter1d(part, days, axis=0, mode=mode)
        for part in (np.where(known, values, 0.0), known.astype(float))
    )
    count = np.rint(count)
    mean: Array = np.divide(total, count, out=np.full(values.shape, np.nan), where=count >= fewest)
    return mean


def _apart(values: Array, mean: Array) -> Array:
    """Difference, 0 where it is no more than rounding leaves: a stuck sensor has no anomalies to scale or correlate."""
    apart = values - mean
    return np.where(np.abs(apart) <= 1e-12 * np.abs(values), 0.0, apart)


def _of_year(days: pd.DatetimeIndex) -> NDArray[np.int64]:
    """Place of each day in a year of 366 days."""
    after_february = ~days.is_leap_year & (days.month > 2)
    return np.asarray(days.day_of_year - 1 + after_february, np.int64)
