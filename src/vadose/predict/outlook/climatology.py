"""The local climatology: quantiles of each cell and day of the year."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door.values import checked
from vadose.errors import VadoseError

WINDOW = 31
LEVELS = (0.02, *(k / 20 for k in range(1, 20)), 0.98)
"""Levels of the quantiles; those of the drought classes are among them."""
FEW_YEARS = 5
_BLOCK_BYTES = 48 * 2**20
_DAY_OF_YEAR = {
    "long_name": "day of the year, counted as in a leap year",
    "comment": "1 March is 61 in every year; 29 February (60) is 28 February in years without it",
}


def local_climatology(
    observed: xr.DataArray,
    *,
    first: str,
    last: str,
    window: int = WINDOW,
    levels: Sequence[float] = LEVELS,
    days: Iterable[int] | None = None,
) -> xr.Dataset:
    r"""Quantiles of each cell and day of the year, of all values near that day in any year.

    The values within ``window // 2`` days of the day in each year, across New Year too, are ranked,
    :math:`x_1 \le \dots \le x_n`, and :math:`x_i` has the Weibull plotting position
    :math:`p_i = i / (n + 1)`; a quantile is interpolated between positions. At levels 0 and 1, which are
    always added, stand the smallest and the largest value. A cell and day with so few values that the
    lowest or highest level lies beyond :math:`p_1` or :math:`p_n` (fewer than 49 for 0.02) has none.

    Single values outside the valid range of their variable are missing, and not among the ``count``.

    Neighbouring days are alike: the values are far fewer independent ones, and tails of a short record
    are rough.

    Parameters
    ----------
    observed
        (time, y, x), such as ``cube.soil_moisture``.
    first, last
        Days of the training period.
    window
        Days, odd.
    levels
        Rising, between 0 and 1.
    days
        Days of the year wanted (as ``dayofyear`` below); all 366 when left out.

    Returns
    -------
    xarray.Dataset
        ``quantile`` (dayofyear, level, y, x) and ``count`` (dayofyear, y, x), the values behind it. Lazy, in
        blocks of rows: a whole year of a large grid is for ``to_zarr``, not for memory. ``dayofyear``
        counts as in a leap year, 1 March is 61.

    Raises
    ------
    VadoseError
        When the period lies outside the record or is too short for the levels, or the window or levels make
        no sense; once the values are computed, as of `vadose.door.values.checked`.

    References
    ----------
    Weibull (1939) positions as in Makkonen (2006), doi:10.1175/JAM2349.1.

    Examples
    --------
    >>> time = pd.date_range("2015-01-01", "2019-12-31")
    >>> values = np.random.default_rng(0).random((len(time), 1, 1))
    >>> of_day = local_climatology(
    ...     xr.DataArray(values, {"time": time}, ("time", "y", "x")), first="2015-01-01", last="2019-12-31", days=[182]
    ... )
    >>> of_day["count"].values.item(), round(of_day["quantile"].sel(level=0.5).values.item(), 1)
    (155, 0.5)
    """
    time = pd.DatetimeIndex(observed.time.values).normalize()
    begin, end = _checked(time, first, last, window, levels)
    inside = np.flatnonzero((time >= begin) & (time <= end))
    wanted = np.arange(1, 367) if days is None else np.unique(np.fromiter(days, int))
    # Windows of the years before and after reach into the record.
    years = range(begin.year - 1, end.year + 2)
    members = [inside[_near(time[inside], int(day), years, window // 2)] for day in wanted]
    needed = _needed(levels)
    if (most := max(map(len, members))) < needed:
        raise VadoseError(
            f"climatology of {first} .. {last}: holds at most {most} days within {window // 2} days of a day of the "
            f"year, quantiles from {min(levels):g} to {max(levels):g} need {needed} values; take a longer period or "
            "a wider window"
        )
    used = np.unique(np.concatenate(members))
    # A slice is a view of what was read, positions are a copy.
    at = slice(used[0], used[-1] + 1) if len(used) == used[-1] - used[0] + 1 else used
    level = np.array([0.0, *levels, 1.0])
    row_bytes = 4 * observed.sizes["x"] * (len(used) + len(wanted) * len(level))
    quantile, count = xr.apply_ufunc(
        _quantiles,
        observed.isel(time=at).chunk(time=-1, y=max(1, _BLOCK_BYTES // row_bytes), x=-1),
        kwargs={
            "members": [np.searchsorted(used, m) for m in members],
            "level": level,
            "needed": needed,
            "name": str(observed.name),
            "place": str(observed.encoding.get("source", "the observations")),
        },
        input_core_dims=[["time"]],
        output_core_dims=[["dayofyear", "level"], ["dayofyear"]],
        dask="parallelized",
        output_dtypes=[np.float32, np.int16],
        dask_gufunc_kwargs={"output_sizes": {"dayofyear": len(wanted), "level": len(level)}},
    )
    named = {key: observed.attrs[key] for key in ("units", "standard_name") if key in observed.attrs}
    what = observed.attrs.get("long_name", observed.name or "value")
    found = xr.Dataset(
        {
            "quantile": quantile.transpose("dayofyear", "level", "y", "x").assign_attrs(
                named | {"long_name": f"quantile of {what} near the day of the year"}
            ),
            "count": count.transpose("dayofyear", "y", "x").assign_attrs(
                long_name="values behind the quantiles", units="1"
            ),
        },
        coords={"dayofyear": ("dayofyear", wanted, _DAY_OF_YEAR), "level": ("level", level, {"units": "1"})},
    )
    return found.assign_attrs(_told(str(observed.name), begin, end, window, needed))


def day_of_year(time: NDArray[Any]) -> NDArray[np.int64]:
    """1 to 366 as in a leap year, for dates of any year."""
    dates = pd.DatetimeIndex(time)
    days: NDArray[np.int64] = np.asarray(dates.day_of_year + (~dates.is_leap_year & (dates.month > 2)), np.int64)
    return days


def _checked(
    time: pd.DatetimeIndex, first: str, last: str, window: int, levels: Sequence[float]
) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The period of a climatology that can be made."""
    if window % 2 == 0 or not 1 <= window <= 365:
        raise VadoseError(f"climatology: window of {window} days; expected an odd number from 1 to 365")
    if not len(levels) or levels[0] <= 0 or levels[-1] >= 1 or (np.diff(levels) <= 0).any():
        raise VadoseError(f"climatology: levels {tuple(levels)}; expected increasing ones between 0 and 1")
    begin, end = pd.Timestamp(first), pd.Timestamp(last)
    if end < begin or begin < time[0] or end > time[-1]:
        raise VadoseError(
            f"climatology of {first} .. {last}: the record holds {time[0]:%Y-%m-%d} .. {time[-1]:%Y-%m-%d}; "
            "take a period within it"
        )
    return begin, end


def _needed(levels: Sequence[float]) -> int:
    """Values with which the lowest and the highest level lie between the first and the last plotting position."""
    return int(np.ceil(round(1 / min(levels[0], 1 - levels[-1]) - 1, 6)))


def _near(time: pd.DatetimeIndex, day: int, years: Iterable[int], half: int) -> NDArray[np.int64]:
    """Positions of the times within half a window of a day of the year, in any of the years."""
    in_leap_year = pd.Timestamp("2000-01-01") + pd.Timedelta(days=day - 1)
    centres = pd.DatetimeIndex([in_leap_year + pd.DateOffset(years=year - 2000) for year in years])
    later = np.clip(np.searchsorted(centres.values, time.values), 1, len(centres) - 1)
    apart = np.minimum(*(np.abs(time.values - centres.values[at]) for at in (later - 1, later)))
    return np.flatnonzero(apart <= np.timedelta64(half, "D"))


def _quantiles(
    values: NDArray[Any],
    *,
    members: list[NDArray[np.int64]],
    level: NDArray[np.float64],
    needed: int,
    name: str,
    place: str,
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Quantiles (y, x, dayofyear, level) and counts (y, x, dayofyear) of values (y, x, time)."""
    values, _ = checked(values, name, place)
    cells = np.ascontiguousarray(values, np.float32).reshape(-1, values.shape[-1])
    quantile = np.full((len(cells), len(members), len(level)), np.nan, np.float32)
    count = np.zeros((len(cells), len(members)), np.int16)
    for d, member in enumerate(members):
        near = cells[:, member]
        n = np.isfinite(near).sum(axis=1)
        count[:, d] = n
        enough = n >= needed
        n = n[enough, None]
        ranked = np.sort(near[enough], axis=1)  # NaN last
        rank = np.clip(level * (n + 1) - 1, 0, n - 1)
        low = rank.astype(np.int64)
        below = np.take_along_axis(ranked, low, axis=1)
        above = np.take_along_axis(ranked, np.minimum(low + 1, n - 1), axis=1)
        quantile[enough, d] = below + (rank - low).astype(np.float32) * (above - below)
    shape = values.shape[:-1]
    return quantile.reshape(*shape, *quantile.shape[1:]), count.reshape(*shape, len(members))


def _told(name: str, begin: pd.Timestamp, end: pd.Timestamp, window: int, needed: int) -> dict[str, Any]:
    """Attributes that say what a climatology rests on."""
    years = round(((end - begin).days + 1) / 365.2425, 1)
    told = {
        "climatology_variable": name,
        "climatology_period": f"{begin:%Y-%m-%d} .. {end:%Y-%m-%d}",
        "climatology_years": years,
        "climatology_window_days": window,
        "climatology_values_needed": needed,
    }
    if years < FEW_YEARS:
        told["climatology_warning"] = (
            f"the climatology rests on {years:g} years, fewer than {FEW_YEARS}: extremes are those of these years"
        )
    return told
