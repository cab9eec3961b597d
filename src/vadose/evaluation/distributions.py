"""Tables of the members and quantiles that stores of predictions hold, on the samples that all runs share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.collocate import Sites
from vadose.evaluation.ensembles import COLUMNS as ENSEMBLE_COLUMNS
from vadose.evaluation.ensembles import RANK_COLUMNS, ensemble_rows
from vadose.evaluation.leads import KEYS, Run
from vadose.evaluation.paired import Cell, Row
from vadose.predict.calibration import COVERED, of_intervals, over_stations

Array = NDArray[np.floating]
QUANTILE, MEMBER = "soil_moisture_quantile", "soil_moisture_member"
NAMED = ["dataset", *KEYS, "layer", "lead_days"]
COLUMNS = {
    "coverage": ["level", *COVERED],
    "quantiles": ["quantile", "quantile_score", "n_sites", "n_pairs"],
    "ensembles": ENSEMBLE_COLUMNS,
    "ranks": RANK_COLUMNS,
}
"""Table -> its columns after those that name a run and lead."""
_DAYS_AT_ONCE = 64


def distribution_tables(
    stores: Sequence[xr.Dataset], runs: Sequence[Run], named: Mapping[str, Cell], sites: Sites, pairs: xr.Dataset
) -> dict[str, pd.DataFrame]:
    """Tables (`COLUMNS`) of the stores that hold members or quantiles; of coverage at stations alone.

    Parameters
    ----------
    stores
        With ``soil_moisture_quantile`` (init_time, lead_time, quantile, y, x) or ``soil_moisture_member``.
    named
        Columns that all rows share.
    pairs
        Series of all runs (`vadose.evaluation.leads.write_pairs`).
    """
    tables: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for r, store in enumerate(stores):
        for k, days in enumerate(pairs.lead_days.values):
            of_run = {**named, **dict(zip(KEYS, runs[r], strict=True)), "lead_days": int(days)}
            found: dict[str, Iterable[Row]] = {}
            observed = shared(pairs, k, r) if {QUANTILE, MEMBER} & set(store) else np.empty(0)
            if MEMBER in store:
                row, found["ranks"] = ensemble_rows(_blocks(store[MEMBER], sites, pairs, k, observed))
                found["ensembles"] = [row]
            if QUANTILE in store:
                levels = store["quantile"].values.astype(float)
                found["quantiles"] = quantile_rows(levels, _blocks(store[QUANTILE], sites, pairs, k, observed))
                if sites.of == "stations":
                    found["coverage"] = _coverage(levels, _blocks(store[QUANTILE], sites, pairs, k, observed))
            for name, rows in found.items():
                tables[name] += [of_run | row for row in rows]
    return {name: pd.DataFrame(rows, columns=[*NAMED, *COLUMNS[name]]) for name, rows in tables.items() if rows}


def shared(pairs: xr.Dataset, lead: int, run: int) -> Array:
    """Observed (day, site) where a run and all others that have any value at a lead have one, else NaN.

    ``pairs`` are those that `vadose.evaluation.leads.write_pairs` wrote; ``lead`` and ``run`` positions in them.
    """
    predicted = pairs.predicted.isel(lead_days=lead).values
    known = np.isfinite(predicted)
    if "spread" in pairs:
        spread = pairs.spread.isel(lead_days=lead).values
        known &= (spread >= 0) | np.isnan(spread).all(axis=(1, 2), keepdims=True)
    common = (known | ~np.isfinite(predicted).any(axis=(1, 2), keepdims=True)).all(axis=0)
    found: Array = np.where(common & known[run], pairs.observed.values, np.nan)
    return found


def _blocks(
    values: xr.DataArray, sites: Sites, pairs: xr.Dataset, lead: int, observed: Array
) -> Iterator[tuple[Array, Array]]:
    """Members or quantiles (day, site, member) at a lead, and observed (day, site), of some days of issue at a time."""
    at = {"y": xr.DataArray(sites.rows, dims="site"), "x": xr.DataArray(sites.columns, dims="site")}
    of_lead = values.isel(lead_time=lead).isel(at)
    (axis,) = set(of_lead.dims) - {"init_time", "site"}
    of_lead = of_lead.transpose("init_time", "site", axis)
    valid = pd.DatetimeIndex(values.init_time.values + values.lead_time.values[lead])
    days = pd.DatetimeIndex(pairs.time.values).get_indexer(valid)
    for start in range(0, len(days), _DAYS_AT_ONCE):
        here = slice(start, start + _DAYS_AT_ONCE)
        inside = days[here] >= 0
        if inside.any():
            yield of_lead[here].values[inside].astype(float), observed[days[here][inside]]


def quantile_rows(levels: Array, blocks: Iterable[tuple[Array, Array]]) -> Iterator[Row]:
    r"""Quantile (pinball) score of each quantile, the median over sites of the mean over days.

    .. math:: (o - q) \, (\tau - [o < q])

    of the quantile :math:`q` of probability :math:`\tau` and :math:`o` observed, in the unit of these (Koenker and
    Bassett 1978, doi:10.2307/1913643). A day counts where all quantiles are known.

    Examples
    --------
    >>> day = np.array([[[0.1, 0.3]]]), np.array([[0.2]])
    >>> [round(row["quantile_score"], 4) for row in quantile_rows(np.array([0.05, 0.95]), [day])]
    [0.005, 0.005]
    """
    total: Array = np.zeros((1, len(levels)))
    number: Array = np.zeros(1)
    for values, observed in blocks:
        known = np.isfinite(observed) & np.isfinite(values).all(axis=-1)
        above = observed[..., None] - values
        total = total + np.where(known[..., None], above * (levels - (above < 0)), 0.0).sum(axis=0)
        number = number + known.sum(axis=0)
    there = number > 0
    if there.any():
        medians = np.median(total[there] / number[there, None], axis=0)
        size = {"n_sites": int(there.sum()), "n_pairs": int(number.sum())}
        for level, score in zip(levels, medians, strict=True):
            yield {"quantile": round(float(level), 6), "quantile_score": float(score), **size}


def _coverage(levels: Array, blocks: Iterable[tuple[Array, Array]]) -> Iterator[Row]:
    """Rows for each central interval of quantiles at stations."""
    shares = [round(float(share), 6) for share in levels]
    parts = list(blocks)
    if not parts:
        return
    found = np.moveaxis(np.concatenate([values for values, _ in parts]), (2, 1), (0, 1))  # (quantile, site, day)
    observed = np.concatenate([of_days for _, of_days in parts]).T
    inside = np.isfinite(observed) & np.isfinite(found).all(axis=0)
    for low, share in enumerate(shares):
        if share < 0.5 and round(1 - share, 6) in shares and inside.any():
            level = round(1 - 2 * share, 6)
            of_days = of_intervals(found[low], found[shares.index(round(1 - share, 6))], observed, level)
            yield {"level": level, **over_stations(of_days, inside)}
