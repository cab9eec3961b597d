"""Dates of names, headers and messages: real ones, of the time that measurements and models cover."""

from contextlib import suppress
from pathlib import Path

import pandas as pd

from vadose.errors import VadoseError

FIRST_YEAR, LAST_YEAR = 1900, 2100


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
