"""Values are tested before they take the place of a good copy: shapes and dates can be right and the weather wrong.

Limits come from a real event: for some days gridMET served a year without rain whose highest temperatures in July were
near 0 degrees Celsius. The daily range was 1-2 K (usually 12-17 K) and 0-0.7 % of days were wet (usually 5-30 %).
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating[Any]]
WET = 1.0
"""A day is wet from here on [kg m-2]."""
LEAST_RANGE = 2.5
"""Least difference of highest and lowest temperature, on average [K]."""
MOST_CHANGE = 12.0
"""Most that a month's highest temperatures may be from those of the same months before [K]."""
MOST_MISSING = 0.01
"""Largest share of values that may be missing where there is land."""
FEWEST = 20
"""Days of a month from which on it is compared."""


def check_weather(new: xr.Dataset, known: xr.Dataset | None = None) -> None:
    """Raise if weather cannot be true, or is not that of the place.

    Parameters
    ----------
    new
        (time, ...) in the names and units of `vadose.variables`.
    known
        Weather of the same place in earlier years, where there is some.

    Raises
    ------
    VadoseError
        When many values are missing, lows exceed highs, the daily range is too small, nearly no day is wet where others
        were, or a month is far too warm or cold.
    """
    land = new.air_temperature_max.notnull().any("time")
    if not bool(land.any()):
        raise VadoseError("every value is missing; the place is at sea or outside, or the service is disturbed")
    new = new.where(land)
    for name in map(str, new.data_vars):
        share = float(new[name].isnull().mean("time").where(land).mean())
        if share > MOST_MISSING:
            raise VadoseError(f"{100 * share:.0f} % of {name} are missing; expected at most {100 * MOST_MISSING:g} %")
    span = new.air_temperature_max - new.air_temperature_min
    if (crossed := float((span < 0).sum() / span.notnull().sum())) > 1e-3:
        raise VadoseError(f"the lowest temperature exceeds the highest on {100 * crossed:.1f} % of the days")
    days = new.sizes["time"]
    if days >= FEWEST and (mean := float(span.mean())) < LEAST_RANGE:
        raise VadoseError(
            f"the temperature of a day ranges over {mean:.1f} K on average; expected more than {LEAST_RANGE:g} K"
        )
    _check_rain(new, known)
    if known is not None:
        _check_months(new, known)


def _check_rain(new: xr.Dataset, known: xr.Dataset | None) -> None:
    """Wet days against those of the same days of earlier years; without these only nearly a year without rain tells."""
    days, wet = len(new.time), _of_days(new.precipitation >= WET, new.precipitation)
    count = days * float(np.nanmean(wet))
    if known is None or not known.sizes["time"]:
        if days >= 240 and count < 0.005 * days:
            raise VadoseError(f"{count:.1f} of {days} days have {WET:g} mm of rain or more, which no place here has")
        return
    usual = _by(known.time.dt.dayofyear.values, _of_days(known.precipitation >= WET, known.precipitation), 366)
    expected = days * float(np.nanmean(usual[new.time.dt.dayofyear.values - 1]))
    # Fewer than six expected wet days may all stay dry by chance.
    if expected >= 6 and count < 0.1 * expected:
        raise VadoseError(
            f"{count:.1f} of {days} days have {WET:g} mm of rain or more; in earlier years it was {expected:.0f}"
        )


def _check_months(new: xr.Dataset, known: xr.Dataset) -> None:
    """Highest temperatures by calendar month against earlier years."""
    month = new.time.dt.month.values
    here, usual = (
        _by(of.time.dt.month.values, _of_days(of.air_temperature_max, of.air_temperature_max), 12)
        for of in (new, known)
    )
    for k in range(12):
        change = here[k] - usual[k]
        if (month == k + 1).sum() >= FEWEST and abs(change) > MOST_CHANGE:
            raise VadoseError(
                f"highest temperatures of month {k + 1} differ by {change:+.0f} K from those of earlier years; "
                f"expected at most {MOST_CHANGE:g} K"
            )


def _of_days(values: xr.DataArray, present: xr.DataArray) -> Array:
    """Mean over the places of each day, NaN without any."""
    there = present.notnull().values.reshape(len(present), -1)
    total = np.where(there, values.values.reshape(len(present), -1), 0).sum(axis=1)
    mean: Array = total / np.where(there.any(axis=1), there.sum(axis=1), np.nan)
    return mean


def _by(number: NDArray[np.integer[Any]], values: Array, count: int) -> Array:
    """Means of days with the same number, 1 .. count; NaN without any."""
    there = np.isfinite(values)
    total = np.bincount(number[there], values[there], count + 1)[1:]
    days = np.bincount(number[there], minlength=count + 1)[1:]
    mean: Array = total / np.where(days > 0, days, np.nan)
    return mean
