r"""Maps scored as patterns, day by day: over all pixels, and within each cell of 9 km.

Scores of a day's map (see `vadose.evaluation.metrics`) over pixels that all runs know, their mean over days, and the
mean of the daily difference from every other run:

- over ``'space'``: of the map;
- ``'within 9 km'``: of the departures from the mean of the EASE-Grid 2.0 cell of 9 km that a pixel lies in, of all
  cells together. A field of 9 km has none: its R is not known, and its RMSE is the pattern's own deviation, which a map
  has to be below for its detail to be real.

.. math:: R_d = \frac{\sum_c \sum_{i \in c} (p_i - \bar p_c)(o_i - \bar o_c)}
    {\sqrt{\sum_c \sum_{i \in c} (p_i - \bar p_c)^2 \; \sum_c \sum_{i \in c} (o_i - \bar o_c)^2}}

Intervals (95 %) are of days, see `vadose.evaluation.intervals`; fewer than 120 days have none.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation import intervals
from vadose.evaluation.leads import AtLead, read_pairs, read_sites
from vadose.evaluation.metrics import METRICS, PP, PQ, QQ, N, P, Q, sums
from vadose.evaluation.metrics import metric as metric_of
from vadose.evaluation.paired import Row, row_of
from vadose.grid import ease_grid

CELL = "9km"
COARSE = 9000.0
"""Edge of the cells whose means are taken off [m]; finer maps have a pattern within them."""
WITHIN = "within 9 km"
_CENTRE = 0.25
_AT_ONCE = 1 << 22
"""Days x pixels held at once."""
Array = NDArray[np.floating]


def space_rows(
    path: Path, at: Sequence[AtLead], gaussian: Sequence[bool], runs: Sequence[Mapping[str, str]]
) -> Iterator[Row]:
    """A row for each lead, run, ``over`` and metric, and for each difference from another run (``baseline``).

    Parameters
    ----------
    path
        Store of the pairs, see `vadose.evaluation.leads.write_pairs`.
    at, gaussian
        What there is at each lead, and which runs have a deviation, as of `vadose.evaluation.samples.Samples`.
    runs
        Columns that name each run.
    """
    pairs = read_pairs(path)
    for k, of_lead in enumerate(at):
        m = _moments(pairs.isel(lead_days=k), of_lead, gaussian)
        size: Row = {"lead_days": int(pairs.lead_days[k]), **_sizes(m[0])}
        for over, of_days in (("space", m.sum(axis=2)), (WITHIN, _within(m))):
            for metric, function in METRICS.items():
                if over == WITHIN and metric in ("bias", "ubrmse"):  # none, and the RMSE
                    continue
                daily = function(of_days)
                named = {**size, "over": over}
                for r, run in enumerate(of_lead.there):
                    yield {**runs[run], **named, **_mean(metric, daily[r])}
                    for b, other in enumerate(of_lead.there):
                        if b != r and metric_of(metric).better:
                            against = {f"baseline_{key}".removesuffix("_model"): of for key, of in runs[other].items()}
                            yield {**runs[run], **against, **named, **_difference(metric, daily[r], daily[b])}


def mean_of_days(daily: Array) -> tuple[float, float, float]:
    """Mean of the known days (day,) and its interval."""
    seen = np.isfinite(daily)
    if not seen.any():
        return np.nan, np.nan, np.nan
    first, last = np.flatnonzero(seen)[[0, -1]]
    of_days = np.stack([np.where(seen, daily, 0.0), seen], axis=-1)[first : last + 1, None]
    total, again = of_days.sum(axis=0), intervals.reweigh(of_days)
    mean = total[:, 0] / total[:, 1]
    lower, upper = intervals.interval(mean, intervals.spread_of(mean, again[..., 0] / again[..., 1], len(of_days)))
    return float(mean[0]), float(lower[0]), float(upper[0])


def _mean(metric: str, daily: Array) -> Row:
    row = row_of(metric, *mean_of_days(daily))
    return {"value" if name == "median" else name: of for name, of in row.items()}


def _difference(metric: str, own: Array, other: Array) -> Row:
    better = metric_of(metric).better
    assert better is not None
    both = np.isfinite(own) & np.isfinite(other)
    gain = better(own[both]) - better(other[both])
    return {**_mean(metric, own - other), "share_better": float(np.mean(gain > 0)) if both.any() else np.nan}


def _moments(pairs: xr.Dataset, of_lead: AtLead, gaussian: Sequence[bool]) -> Array:
    """Moments (run, day, cell, 6) of each day's pixels in each cell of 9 km."""
    row, column = ease_grid(CELL).rowcol(pairs.lat.values, pairs.lon.values)
    cell = np.unique(np.stack([row, column]), axis=1, return_inverse=True)[1].ravel()
    days, sites = pairs.sizes["time"], pairs.sizes["site"]
    found = np.zeros((len(of_lead.there), days, cell.max() + 1, 6))
    step = max(1, _AT_ONCE // days)
    for start in range(0, sites, step):
        part = slice(start, min(start + step, sites))
        predicted, observed, _ = read_sites(pairs.isel(site=part), of_lead.there, gaussian)
        for number in np.unique(cell[part]):
            here = (cell[part] == number) & of_lead.counts[part]
            for r, of_run in enumerate(predicted):
                found[r, :, number] += sums(of_run[:, here].T, observed[:, here].T, _CENTRE)
    return found


def _within(m: Array) -> Array:
    """Moments (run, day, 6) of departures from the means of cells."""
    count = np.maximum(m[..., N], 1)
    found = np.zeros((*m.shape[:2], 6))
    found[..., N] = m[..., N].sum(axis=-1)
    for square, one, two in ((PP, P, P), (QQ, Q, Q), (PQ, P, Q)):
        apart = m[..., square] - m[..., one] * m[..., two] / count
        # What rounding leaves of a cell without a pattern is none.
        found[..., square] = np.where(np.abs(apart) > 1e-9 * np.abs(m[..., square]), apart, 0.0).sum(axis=-1)
    return found


def _sizes(m: Array) -> dict[str, int]:
    """Days, pixels at most of a day, and cells, of moments (day, cell, 6)."""
    count = m[..., N]
    days, cells = int((count > 0).any(axis=1).sum()), int((count > 0).any(axis=0).sum())
    return {"n_days": days, "n_pixels": int(count.sum(axis=1).max(initial=0)), "n_cells": cells}
