"""Sums over past days."""

import numpy as np
import xarray as xr

from vadose.errors import VadoseError
from vadose.features.checks import within


def antecedent_sum(series: xr.DataArray, days: int) -> xr.DataArray:
    r"""Sum over the ``days`` days that end with each day, :math:`S_t = \sum_{k=0}^{n-1} P_{t-k}`.

    NaN as long as the record holds fewer than ``days`` days, or a day in them is missing.

    Parameters
    ----------
    series
        Amount of each day, such as precipitation [kg m-2], with a ``time`` coordinate that holds every day.
    days
        Length of the window, at least 1.

    Returns
    -------
    xarray.DataArray
        Sums in the units and dims of the series.

    Raises
    ------
    VadoseError
        When an amount is negative, or ``time`` is missing, not daily, or has a gap: a sum over the gap would
        reach back too far.

    Examples
    --------
    >>> days = np.arange("2019-06-01", "2019-06-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> rain = xr.DataArray([1.0, 0.0, 2.0], dims="time", coords={"time": days})
    >>> antecedent_sum(rain, 2).values.tolist()
    [nan, 1.0, 2.0]
    """
    if days < 1:
        raise VadoseError(f"antecedent sum: found a window of {days} days; give at least 1")
    if "time" not in series.coords or not np.issubdtype(series.time.dtype, np.datetime64):
        raise VadoseError("antecedent sum: the series has no dates in a coordinate 'time'; give it one")
    time = series.time.values
    steps = np.diff(time)
    if (wrong := steps != np.timedelta64(1, "D")).any():
        k = int(wrong.argmax())
        raise VadoseError(
            f"antecedent sum: {np.datetime_as_string(time[k + 1], 'm')} follows {np.datetime_as_string(time[k], 'm')}; "
            "every day is needed once and in order: reindex to daily, missing days as NaN"
        )
    amounts = within(
        series, str(series.name or "series"), 0, np.inf, "amounts of a day are not negative; mask the fill"
    )
    return amounts.rolling(time=days, min_periods=days).sum()
