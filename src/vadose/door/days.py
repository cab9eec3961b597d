"""Time axes by the day: one entry a day, in order, missing days explicit."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import xarray as xr
from annotated_types import Predicate
from numpy.typing import NDArray

from vadose.errors import VadoseError

YEARS = (1900, 2100)
"""Years that a date may be of; others are mistakes, and each would make a record of millions of days."""
_DAY = np.timedelta64(1, "D")
_LEAD_UNITS = {"d": 24, "day": 24, "days": 24, "h": 1, "hr": 1, "hrs": 1, "hour": 1, "hours": 1}


def is_day(text: str) -> bool:
    """Whether a text is a day as YYYY-MM-DD.

    Examples
    --------
    >>> is_day("2020-02-29"), is_day("2019-02-29"), is_day("20200229")
    (True, False, False)
    """
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True)
class Period:
    """First and last day, both included, as YYYY-MM-DD; of forecasts their *valid* days.

    Examples
    --------
    >>> Period("2015-04-01", "2016-01-31").to(Period("2016-02-01", "2016-03-31"))
    Period(first='2015-04-01', last='2016-03-31')
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    first: Annotated[str, Predicate(is_day)]
    last: Annotated[str, Predicate(is_day)]

    @property
    def days(self) -> pd.DatetimeIndex:
        """All its days."""
        return pd.date_range(self.first, self.last)

    def to(self, other: "Period") -> "Period":
        """From the beginning of this to the end of the other."""
        return Period(self.first, other.last)

    def hull(self, other: "Period") -> "Period":
        """The shortest that holds both.

        Examples
        --------
        >>> Period("2015-04-01", "2016-01-31").hull(Period("2014-02-01", "2015-03-31"))
        Period(first='2014-02-01', last='2016-01-31')
        """
        return Period(min(self.first, other.first), max(self.last, other.last))

    def __str__(self) -> str:
        """For errors and attributes."""
        return f"{self.first} .. {self.last}"


def daily(dataset: xr.Dataset, what: str = "") -> xr.Dataset:
    """The dataset with every day from its first to its last; on days it lacks variables are NaN, counts and flags 0.

    Whatever counts days by position (windows, lags, sums) may be applied to the result. Days out of order are sorted.
    Stamps that are all of the same time of day, such as noon, are taken as their days. The attribute ``days_added`` is
    the number of days that were absent.

    Parameters
    ----------
    dataset
        With an axis ``time``.
    what
        Its name in errors; the file it was read from when left out.

    Raises
    ------
    VadoseError
        When times are no dates or off `YEARS`, differ in their time of day, or two are of one day.

    Examples
    --------
    >>> noon = pd.to_datetime(["2019-01-04T12", "2019-01-01T12", "2019-01-02T12"])
    >>> found = daily(xr.Dataset({"rain": ("time", [4.0, 1.0, 2.0])}, {"time": noon}))
    >>> found.time.dt.strftime("%d").values.tolist(), found.rain.values.tolist()
    (['01', '02', '03', '04'], [1.0, 2.0, nan, 4.0])
    """
    dataset = in_order(dataset, "time", what)
    days = dataset.indexes["time"]
    if len(days) < 2 or len(days) == (days[-1] - days[0]).days + 1:
        return dataset
    # Reindexing would make every variable without time, such as a mask, one of time.
    of_time = [name for name in dataset.data_vars if "time" in dataset[name].dims]
    none = {name: 0 for name in of_time if dataset[name].dtype.kind in "iub"}
    completed = dataset[of_time].reindex(time=pd.date_range(days[0], days[-1], name="time"), fill_value=none)
    found = dataset.drop_dims("time").assign(completed.data_vars)
    found = found.assign_coords(time=completed.time).assign_attrs(days_added=completed.sizes["time"] - len(days))
    found.encoding = dataset.encoding
    return found[list(dataset.data_vars)]


def in_order(dataset: xr.Dataset, axis: str, what: str = "") -> xr.Dataset:
    """The dataset with an axis of dates as whole days in order, none twice; see `daily` for the rules and errors."""
    what = what or str(dataset.encoding.get("source", "the cube" if axis == "time" else "the forecast"))
    if axis not in dataset.indexes:
        raise VadoseError(f"{what}: no axis {axis!r} of days; found {sorted(map(str, dataset.indexes))}")
    times = dataset.indexes[axis]
    days = _whole_days(times.values, f"{what}: {axis}")
    if not np.array_equal(days, times.values):
        dataset = dataset.assign_coords({axis: (axis, days, dataset[axis].attrs)})
    if len(days) and (np.diff(days) <= np.timedelta64(0)).any():
        dataset = dataset.isel({axis: np.argsort(days, kind="stable")})
    return dataset


def lead_days(store: xr.Dataset, what: str = "") -> NDArray[np.int64]:
    """Leads of a store of forecasts in days; numbers are read by the attribute ``units``, days or hours.

    Raises
    ------
    VadoseError
        When a lead is negative or no whole number of days, or comes twice.

    Examples
    --------
    >>> lead_days(xr.Dataset(coords={"lead_time": pd.to_timedelta([24, 72], unit="h")})).tolist()
    [1, 3]
    """
    what = what or str(store.encoding.get("source", "the forecast"))
    leads, units = store.lead_time.values, str(store.lead_time.attrs.get("units", "")).lower()
    if leads.dtype.kind in "iuf" and units in _LEAD_UNITS:
        leads = leads * np.timedelta64(_LEAD_UNITS[units], "h")
    if not np.issubdtype(leads.dtype, np.timedelta64):
        raise VadoseError(
            f"{what}: lead_time is {leads.dtype} of units {units!r}; expected time differences, or 'days' or 'hours'"
        )
    days = leads / _DAY
    if (odd := leads[(days != np.floor(days)) | (days < 0)]).size:
        hours = ", ".join(f"{lead / np.timedelta64(1, 'h'):g} h" for lead in odd[:3])
        raise VadoseError(f"{what}: leads of {hours}; expected whole days, 0 or more, for forecasts are of daily means")
    if len(np.unique(days)) < len(days):
        raise VadoseError(f"{what}: a lead comes twice in {days.astype(int).tolist()} days; keep one of each")
    found: NDArray[np.int64] = days.astype(np.int64)
    return found


def of_days(
    values: xr.DataArray,
    axis: str,
    days: NDArray[np.generic],
    place: str,
    how: Literal["mean", "sum", "max", "min"] = "mean",
) -> xr.DataArray:
    """Values of hours by their days: means and extremes of at least half of the usual number of them, sums of all.

    Days of fewer are left out, and a cell that has fewer values on a day has none. The usual number is that of most
    days.

    Raises
    ------
    VadoseError
        When a time comes twice.
    """
    times = values[axis].values
    if len(np.unique(times)) < len(times):
        raise VadoseError(f"{place}: a time comes twice on {axis}; keep one of each")
    found, counts = np.unique(days, return_counts=True)
    often = np.bincount(counts)
    least = np.flatnonzero(often == often.max())[-1] * (1.0 if how == "sum" else 0.5)
    by_day = values.assign_coords({axis: days}).groupby(axis)
    made: xr.DataArray = getattr(by_day, how)()
    return made.where(by_day.count() >= least).sel({axis: found[counts >= least]})


def _whole_days(times: NDArray[np.datetime64], what: str) -> NDArray[np.datetime64]:
    """The days of time stamps, each there once."""
    if not np.issubdtype(times.dtype, np.datetime64):
        raise VadoseError(f"{what} is {times.dtype}; expected dates")
    if (missing := int(np.isnat(times).sum())) > 0:
        raise VadoseError(f"{what}: {missing} of {len(times)} dates are missing; give each entry its day")
    years = times.astype("datetime64[Y]").astype(int) + 1970
    if (odd := times[(years < YEARS[0]) | (years > YEARS[1])]).size:
        raise VadoseError(f"{what}: {str(odd[0])[:10]} is off the years {YEARS[0]} .. {YEARS[1]}; correct the dates")
    days = times.astype("datetime64[D]")
    of_day = np.unique(times - days)
    if len(of_day) > 1:
        hours = " and ".join(str(pd.Timestamp(0) + part)[11:16] for part in of_day[:2])
        raise VadoseError(
            f"{what}: times of day differ, such as {hours}; expected one entry a day, all of the same time"
        )
    found, counts = np.unique(days, return_counts=True)
    if (twice := found[counts > 1]).size:
        raise VadoseError(f"{what}: {len(twice)} days come more than once, such as {twice[0]}; keep one entry a day")
    return days.astype(times.dtype)
