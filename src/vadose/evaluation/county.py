r"""Maps scored pixel by pixel against a truth that is known everywhere, beside the coarse field they come from.

A pixel-day counts where maps, truth and coarse field are all known, so that both estimates are scored on the
same samples; single values outside the valid range are not known.
Scores (see `vadose.evaluation.metrics`) come in two kinds:

- over ``'time'``: of a pixel's series, the median over pixels with at least ``min_days`` days;
- over ``'space'``: of a day's map, the mean over days, such as the spatial correlation
  :math:`\frac{1}{D} \sum_d R_d`. R of a day on which an estimate does not vary in space is not known; where
  coarse cells are larger than the maps that is every day.

With ``soil_moisture_std`` in the maps there are also CRPS and coverage over ``'time'``; for the coarse field,
which has no deviation, CRPS is the mean absolute error.

Intervals (95 %) are of days alone, see `vadose.evaluation.intervals`; fewer than 120 days have none. Pixels are all
there are: the interval says how far the scores would be others in other weather.

Entekhabi et al. (2010), doi:10.1175/2010JHM1223.1.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door import as_cube
from vadose.door.values import MARGIN, checked
from vadose.errors import VadoseError
from vadose.evaluation.metrics import METRICS, sums
from vadose.evaluation.metrics import metric as metric_of
from vadose.evaluation.paired import row_of, shared_samples
from vadose.evaluation.rows import Group, Row, score_sites
from vadose.evaluation.space import mean_of_days
from vadose.grid import grid_of

ESTIMATES = ("maps", "coarse")
DIFFERENCE = "maps minus coarse"
COLUMNS = ["estimate", "over", "metric", "value", "lower", "upper", "share_better", "n_days", "n_pixels"]

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


def score_county(
    maps: xr.Dataset,
    truth: xr.Dataset,
    coarse: xr.Dataset,
    *,
    field: str = "soil_moisture_smap_l4",
    min_days: int = 30,
) -> pd.DataFrame:
    """Score daily maps against the truth in time and in space, and the coarse field repeated on their pixels.

    Parameters
    ----------
    maps
        Store of `vadose.predict.maps.downscale_maps`, or ``soil_moisture`` (time, y, x) [m3 m-3].
    truth
        ``soil_moisture`` (time, y, x) on the same pixels, with ``lat`` and ``lon`` (y, x).
    coarse
        What the maps were made from, on a coarser grid (see `vadose.grid.Grid.coordinates`) that holds all pixels.
    field, min_days
        Its variable; days a pixel needs.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`, with a row for each estimate, ``over`` and metric; ``share_better`` is of pixels, or days.

    Raises
    ------
    VadoseError
        When a variable is missing, pixels differ, too few days are common, or values lie outside their valid range.

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> days = pd.date_range("2020-06-01", periods=40)
    >>> rising = xr.DataArray(np.linspace(0.2, 0.3, 40), coords={"time": days}, dims="time")
    >>> pattern = xr.DataArray([[0.0, 0.05, 0.1], [0.1, 0.05, 0.02]], dims=("y", "x"))
    >>> pixels = ease_grid("100m").part(slice(14400, 14402), slice(14400, 14403)).coordinates()
    >>> truth = pixels.assign(soil_moisture=rising + pattern)
    >>> cell = ease_grid("9km").part(slice(160, 161), slice(160, 161)).coordinates()
    >>> coarse = cell.assign(soil_moisture_smap_l4=rising.expand_dims(y=1, x=1))
    >>> scores = score_county(truth, truth, coarse).set_index(["over", "estimate", "metric"]).value
    >>> scores["space", :, "rmse"].round(3).tolist()
    [0.0, 0.065, -0.065]
    """
    maps, truth, coarse = as_cube(maps, "maps"), as_cube(truth, "truth"), as_cube(coarse, "coarse field")
    _check(maps, truth, coarse, field)
    days = _common(maps, truth, coarse)
    actual, mapped = _values(truth.soil_moisture, days, "truth"), _values(maps.soil_moisture, days, "maps")
    spread = _values(maps.soil_moisture_std, days, "maps") if "soil_moisture_std" in maps else None
    estimates = np.stack([mapped, _repeated(coarse, field, truth, days)])
    known, _ = shared_samples(estimates, [spread, None], actual, 0)
    counts = known.sum(axis=0) >= min_days
    if not counts.any():
        raise VadoseError(
            f"maps, truth and coarse field have common values on at most {int(known.sum(axis=0).max())} days, "
            f"expected {min_days}; map more days or lower min_days"
        )
    size = {"n_days": int(known.any(axis=1).sum()), "n_pixels": int(counts.sum())}
    return _table(estimates, np.where(known, actual, np.nan), spread, counts).assign(**size)[COLUMNS]


def _table(estimates: Array, actual: Array, spread: Array | None, counts: Mask) -> pd.DataFrame:
    """Scores of the pixels that count, in time and in space."""
    estimates, actual = estimates[..., counts], actual[:, counts]
    spread = None if spread is None else spread[:, counts]
    rows = [*_in_time(estimates, actual, spread), *_in_space(estimates, actual)]
    return pd.DataFrame(rows).rename(columns={"median": "value"})[COLUMNS[:-2]]


def _in_time(estimates: Array, actual: Array, spread: Array | None) -> Iterator[Row]:
    scored, pairs = score_sites(estimates, actual, [spread, None], min_pairs=0)
    group = Group(scored, {"over": "time"}, [{"estimate": name} for name in ESTIMATES], pairs, drawn=False)
    yield from group.scores()
    yield from ({**row, "estimate": DIFFERENCE} for row in group.differences() if row["estimate"] == ESTIMATES[0])


def _in_space(estimates: Array, actual: Array) -> Iterator[Row]:
    of_days = np.stack([sums(of.T, actual.T, 0.25) for of in estimates])
    for metric, function in METRICS.items():
        maps, coarse = function(of_days)
        for name, daily in (*zip(ESTIMATES, (maps, coarse), strict=True), (DIFFERENCE, maps - coarse)):
            seen = np.isfinite(daily)
            row = {"estimate": name, "over": "space", **row_of(metric, *mean_of_days(daily))}
            better = metric_of(metric).better
            if name == DIFFERENCE and better and seen.any():
                gain = better(maps[seen]) - better(coarse[seen])
                row["share_better"] = float(np.mean(gain > 0))
            yield row


def _repeated(coarse: xr.Dataset, field: str, truth: xr.Dataset, days: pd.DatetimeIndex) -> Array:
    """The coarse cell that holds each pixel (time, pixel)."""
    row, column = grid_of(coarse).rowcol(truth.lat.values, truth.lon.values)
    if (row < 0).any():
        raise VadoseError(
            f"coarse field {field}: holds {int((row >= 0).sum())} of the {row.size} pixels of the truth; give one that "
            "covers all of them"
        )
    cells = _values(coarse[field], days, "coarse field")
    repeated: Array = cells[:, row.ravel() * coarse.sizes["x"] + column.ravel()]
    return repeated


def _values(field: xr.DataArray, days: pd.DatetimeIndex, what: str) -> Array:
    """(time, pixel), NaN on days that are not there and where single values lie outside the valid range."""
    read = field.transpose("time", "y", "x").reindex(time=days).values.reshape(len(days), -1)
    values, _ = checked(read, str(field.name), what, MARGIN)
    return values


def _common(*data: xr.Dataset) -> pd.DatetimeIndex:
    """From the first common day to the last, those between as well: blocks are of days that follow each other."""
    first, *others = (pd.DatetimeIndex(of.time.values) for of in data)
    for other in others:
        first = first.intersection(other)
    if not len(first):
        raise VadoseError("maps, truth and coarse field have no day in common; use the same period")
    return pd.date_range(first.min(), first.max())


def _check(maps: xr.Dataset, truth: xr.Dataset, coarse: xr.Dataset, field: str) -> None:
    for what, data, name in (
        ("maps", maps, "soil_moisture"),
        ("truth", truth, "soil_moisture"),
        ("coarse field", coarse, field),
    ):
        if name not in data or set(data[name].dims) != {"time", "y", "x"}:
            raise VadoseError(f"{what}: no {name!r} (time, y, x); found {sorted(map(str, data.data_vars))}")
    for axis in ("y", "x"):
        own, other = maps[axis].values, truth[axis].values
        if own.shape != other.shape or not np.allclose(own, other, atol=1.0, rtol=0):
            raise VadoseError(
                f"maps and truth lie on different pixels: {axis} of {len(own)} from {own[0]:.1f} to {own[-1]:.1f} and "
                f"of {len(other)} from {other[0]:.1f} to {other[-1]:.1f}; cut both to the same part of one grid"
            )
