"""Values are tested before they take the place of a good copy: shapes and dates can be right and the weather wrong.

Limits come from a real event: for some days gridMET served a year without rain whose highest temperatures in July were
near 0 degrees Celsius. The daily range was 1-2 K (usually 12-17 K) and 0-0.7 % of days were wet (usually 5-30 %).
"""

import numpy as np
import xarray as xr

from vadose.errors import VadoseError

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
    wet = _wet(new)
    days = new.sizes["time"]
    count = days * float(wet.mean())
    if known is None or not known.sizes["time"]:
        if days >= 240 and count < 0.005 * days:
            raise VadoseError(f"{count:.1f} of {days} days have {WET:g} mm of rain or more, which no place here has")
        return
    usual = _wet(known).groupby("time.dayofyear").mean()
    same = np.intersect1d(usual.dayofyear, new.time.dt.dayofyear)
    times = len(new.time) / max(len(same), 1)
    expected = float(usual.sel(dayofyear=same).mean()) * len(same) * times
    # Fewer than six expected wet days may all stay dry by chance.
    if expected >= 6 and count < 0.1 * expected:
        raise VadoseError(
            f"{count:.1f} of {days} days have {WET:g} mm of rain or more; in earlier years it was {expected:.0f}"
        )


def _check_months(new: xr.Dataset, known: xr.Dataset) -> None:
    """Highest temperatures by calendar month against earlier years."""
    usual = known.air_temperature_max.groupby("time.month").mean(...)
    here = new.air_temperature_max.groupby("time.month")
    months, counts = here.mean(...), here.count(...)
    cells = max(new.air_temperature_max.size // new.sizes["time"], 1)
    for month in np.intersect1d(months.month, usual.month):
        change = float(months.sel(month=month) - usual.sel(month=month))
        if float(counts.sel(month=month)) / cells >= FEWEST and abs(change) > MOST_CHANGE:
            raise VadoseError(
                f"highest temperatures of month {int(month)} differ by {change:+.0f} K from those of earlier years; "
                f"expected at most {MOST_CHANGE:g} K"
            )


def _wet(weather: xr.Dataset) -> xr.DataArray:
    wet: xr.DataArray = (weather.precipitation >= WET).where(weather.precipitation.notnull())
    return wet
