"""Dates of names, headers and messages: real ones, of the time that measurements and models cover."""

import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pandas as pd

from vadose.errors import VadoseError

FIRST_YEAR, LAST_YEAR = 1900, 2100
_DATES = (
    (re.compile(r"\.A(\d{8})\.(\d{4})\."), "%Y%m%d%H%M"),  # NLDAS
    (re.compile(r"\.A(\d{7})\."), "%Y%j"),  # MODIS
    (re.compile(r"\.(\d{7}T\d{6})\.v"), "%Y%jT%H%M%S"),  # HLS
    (re.compile(r"[._](\d{8})-S(\d{6})"), "%Y%m%d%H%M%S"),  # IMERG
    (re.compile(r"_(\d{8}T\d{6})"), "%Y%m%dT%H%M%S"),
    (re.compile(r"_(\d{8})(?=[_.])"), "%Y%m%d"),
)
_YEAR = re.compile(r"_(\d{4})\.nc$")
_MONTH = re.compile(r"_(\d{4})-(\d{2})\.nc$")

Days = tuple[pd.Timestamp | None, pd.Timestamp | None]
"""The first and the last day of a granule."""


def moment(text: str, form: str, place: Path | str, what: str) -> pd.Timestamp:
    """Time written as ``form`` (of `time.strftime`) says.

    Parameters
    ----------
    text, form
        Such as ``'20150611'`` and ``'%Y%m%d'``; ``'ISO8601'`` takes any of that standard.
    place, what
        File and the thing that tells the time, named in the error.

    Raises
    ------
    VadoseError
        When it is no date, or of a year outside 1900..2100.

    Examples
    --------
    >>> moment("20150611", "%Y%m%d", "a.h5", "the day in its name")
    Timestamp('2015-06-11 00:00:00')
    """
    found: pd.Timestamp | None = None
    with suppress(ValueError):
        found = pd.to_datetime(text, format=form, utc=True).tz_localize(None)
    if found is None or not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise VadoseError(f"{place}: {what} is {text!r}, which is no date between {FIRST_YEAR} and {LAST_YEAR}")
    return found


def after(epoch: pd.Timestamp, seconds: float, place: Path | str, what: str) -> pd.Timestamp:
    """Time some seconds after an epoch, to the second.

    Raises
    ------
    VadoseError
        When the seconds are no number, or the year lies outside 1900..2100.

    Examples
    --------
    >>> after(pd.Timestamp("2000-01-01 12:00"), 481037400.0, "a.h5", "'time'")
    Timestamp('2015-03-31 01:30:00')
    """
    limits = [(pd.Timestamp(year, 1, 1) - epoch).total_seconds() for year in (FIRST_YEAR, LAST_YEAR)]
    if not limits[0] <= seconds < limits[1]:
        raise VadoseError(
            f"{place}: {what} is {seconds:g} seconds after {epoch}, outside the years {FIRST_YEAR} to {LAST_YEAR}"
        )
    return epoch + pd.Timedelta(seconds=round(seconds))


def days_in_name(name: str, hours_back: int = 0) -> Days:
    """First and last day that a name tells: a day or time, else a month or year of netCDF; None where it tells none.

    Parameters
    ----------
    hours_back
        Taken off times: 1 where a stamp is the end of its hour.

    Raises
    ------
    ValueError
        When the date in it cannot be.

    Examples
    --------
    >>> days_in_name("SMAP_L3_SM_P_E_20190701_R18290_001.h5")[0]
    Timestamp('2019-07-01 00:00:00')
    >>> [str(day.date()) for day in days_in_name("tmmx_2019.nc")]
    ['2019-01-01', '2019-12-31']
    """
    for pattern, form in _DATES:
        if found := pattern.search(name):
            time = pd.Timestamp(datetime.strptime("".join(found.groups()), form)) - pd.Timedelta(hours=hours_back)
            return time.normalize(), time.normalize()
    if found := _MONTH.search(name):
        month = pd.Period(f"{found[1]}-{found[2]}")
        return month.start_time, month.end_time.normalize()
    if found := _YEAR.search(name):
        return pd.Timestamp(int(found[1]), 1, 1), pd.Timestamp(int(found[1]), 12, 31)
    return None, None
