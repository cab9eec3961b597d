"""Coverage of the quantiles that stores of predictions hold, at stations."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from vadose.evaluation.collocate import Sites
from vadose.evaluation.paired import Row
from vadose.predict.calibration import of_intervals, over_stations

QUANTILE = "soil_moisture_quantile"
COLUMNS = ["level", "coverage", "low", "high", "coverage_q10", "width", "interval_score", "n_stations", "n_pairs"]


def coverage_rows(store: xr.Dataset, sites: Sites, pairs: xr.Dataset, run: int) -> Iterator[Row]:
    """Rows for each lead and central interval of a store's quantiles, on the samples that all runs share.

    Parameters
    ----------
    store
        With ``soil_moisture_quantile`` (init_time, lead_time, quantile, y, x).
    pairs, run
        Series of all runs (`vadose.evaluation.leads.write_pairs`), and the position of this one.
    """
    shares = [round(float(share), 6) for share in store["quantile"].values]
    at = {"y": xr.DataArray(sites.rows, dims="site"), "x": xr.DataArray(sites.columns, dims="site")}
    values = store[QUANTILE].isel(at).transpose("quantile", "site", "init_time", "lead_time")
    for k, lead in enumerate(store.lead_time.values):
        of_lead = values.isel(lead_time=k)
        days = pd.DatetimeIndex(store.init_time.values + lead).get_indexer(pd.DatetimeIndex(pairs.time.values))
        found = np.where(days >= 0, of_lead.values[..., days], np.nan)
        predicted = pairs.predicted.isel(lead_days=k).values
        common = (np.isfinite(predicted) | np.isnan(predicted).all(axis=(1, 2), keepdims=True)).all(axis=0)
        observed = np.where(common, pairs.observed.values, np.nan).T
        inside = np.isfinite(observed) & np.isfinite(found).all(axis=0) & np.isfinite(predicted[run].T)
        for low, share in enumerate(shares):
            if share < 0.5 and round(1 - share, 6) in shares and inside.any():
                level = round(1 - 2 * share, 6)
                ends = found[low], found[shares.index(round(1 - share, 6))]
                of_days = of_intervals(*ends, observed, level)
                yield {"lead_days": int(pairs.lead_days[k]), "level": level, **over_stations(of_days, inside)}
