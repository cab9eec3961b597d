"""Formulas that turn variables into predictors."""

import xarray as xr


def antecedent_sum(series: xr.DataArray, days: int) -> xr.DataArray:
    r"""Sum over the ``days`` days that end with each day, :math:`S_t = \sum_{k=0}^{n-1} P_{t-k}`.

    NaN as long as the record holds fewer than ``days`` days, or a day in them is missing.

    Examples
    --------
    >>> rain = xr.DataArray([1.0, 0.0, 2.0], dims="time")
    >>> antecedent_sum(rain, 2).values.tolist()
    [nan, 1.0, 2.0]
    """
    return series.rolling(time=days, min_periods=days).sum()
