"""Outlooks at 100 m scored against a truth that is known everywhere, by the days they look ahead."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from vadose.door import as_cube, as_forecasts
from vadose.evaluation.county import score_county

MIN_DAYS = 30


def score_outlooks(
    outlooks: Mapping[str, xr.Dataset], maps: xr.Dataset, truth: xr.Dataset, forecast: xr.Dataset
) -> pd.DataFrame:
    """Score outlooks by lead time, beside the forecast they were made from and the maps of the day of issue.

    All are scored on the same pixels and valid days, see `vadose.evaluation.county.score_county`.

    Parameters
    ----------
    outlooks
        By name ``soil_moisture`` (init_time, lead_time, y, x) [m3 m-3] and, for CRPS and coverage,
        ``soil_moisture_std``; all of the same days of issue.
    maps
        ``soil_moisture`` (time, y, x) of the same pixels with everything known up to each day: of the day of issue
        it is *persistence*, of the valid day itself what an outlook could be at best, *analysis*.
    truth
        ``soil_moisture`` (time, y, x).
    forecast
        ``soil_moisture`` (init_time, lead_time, y, x) on the coarse grid: *coarse forecast*, repeated on the pixels.

    Returns
    -------
    pandas.DataFrame
        ``lead_days``, ``estimate``, and ``over``, ``metric``, ``value``, ``lower``, ``upper``, ``n_days``, ``n_pixels``
        as of `score_county`.

    Raises
    ------
    VadoseError
        When pixels differ, or too few days are common.
    """
    tables = []
    outlooks = {name: as_forecasts(outlook, name, ()) for name, outlook in outlooks.items()}
    maps, truth = as_cube(maps, "maps"), as_cube(truth, "truth")
    forecast = as_forecasts(forecast, "forecast", ())
    first = next(iter(outlooks.values()))
    for lead in first.lead_time.values:
        issued = first.init_time.values[np.isin(first.init_time.values + lead, truth.time.values)]
        valid = issued + lead
        coarse = _at(forecast[["soil_moisture"]], issued, lead).rename(soil_moisture="coarse")
        given = {
            **{name: _at(outlook, issued, lead) for name, outlook in outlooks.items()},
            # The deviation of a map is that of its day, no forecast's.
            "persistence": maps[["soil_moisture"]].sel(time=issued).assign_coords(time=valid),
            "analysis": maps.sel(time=valid),
        }
        for name, values in given.items():
            scored = score_county(
                values, truth, coarse, field="coarse", min_days=min(MIN_DAYS, max(3, len(issued) // 2))
            )
            kept = scored[scored.estimate == "maps"].assign(estimate=name)
            if name == "persistence":
                kept = pd.concat([kept, scored[scored.estimate == "coarse"].assign(estimate="coarse forecast")])
            tables.append(kept.assign(lead_days=int(lead / np.timedelta64(1, "D"))))
    table = pd.concat(tables, ignore_index=True).drop(columns="share_better")
    return table[["lead_days", *(name for name in table if name != "lead_days")]]


def _at(values: xr.Dataset, issued: np.ndarray, lead: np.timedelta64) -> xr.Dataset:
    """Forecasts of a lead time by their valid days."""
    chosen = values.sel(init_time=issued, lead_time=lead).drop_vars("lead_time")
    return chosen.rename(init_time="time").assign_coords(time=issued + lead)
