"""Forecast weather corrected to the analysis that models were trained with: quantile mapping by month and lead."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating[Any]]
QUANTILES = np.concatenate([np.linspace(0.0, 0.95, 39), [0.97, 0.98, 0.99, 0.995, 1.0]])
LEADS = (1, 4, 8, 15, 36)
"""First days ahead of the groups 1-3, 4-7, 8-14, 15-35; the last is the end."""
FEWEST = 60
"""Pairs of days that a month and group of leads needs; with fewer its season's, then all are taken."""
AMOUNTS = ("precipitation", "shortwave_radiation")
"""Beyond the highest forecast of the record these keep their ratio to it, others their difference."""


def fit_correction(forecast: xr.Dataset, analysed: xr.Dataset) -> xr.Dataset:
    """Fit the quantile mapping from forecasts and analyses of the same days.

    For each variable, month of the valid day and group of leads, the quantiles of the forecast and of the analysis at
    the same places and days (all places and members of the record together).

    Parameters
    ----------
    forecast
        (init_time, lead_time, ...): ``lead_time`` in days, 1 the first, or a timedelta; valid on init_time + lead - 1
        day. Variables of the names of `vadose.variables`. A record of past runs: the reforecast of GEFS version 12
        (2000-2019), or runs kept since.
    analysed
        (time, ...) at the same places, such as `vadose.download.roles.past_weather`.

    Returns
    -------
    xarray.Dataset
        ``NAME_forecast`` and ``NAME_analysed`` (month, group, quantile) and ``NAME_pairs`` (month, group).

    Raises
    ------
    VadoseError
        When fewer than `FEWEST` pairs are there in all.

    References
    ----------
    Panofsky and Brier (1958), Some applications of statistics to meteorology; Cannon et al. (2015),
    doi:10.1175/JCLI-D-14-00754.1, of the ratio beyond the record.
    """
    lead = _days(forecast.lead_time)
    valid = forecast.init_time.values[:, None] + (lead[None] - 1) * np.timedelta64(1, "D")
    months, groups = valid.astype("datetime64[M]").astype(int) % 12 + 1, np.digitize(lead, LEADS) - 1
    found: dict[str, Any] = {}
    month, group = months.ravel(), np.broadcast_to(groups, months.shape).ravel()
    for name in [str(n) for n in forecast.data_vars if n in analysed.data_vars]:
        x, y = _pairs(forecast[name], analysed[name], valid)
        quantiles = np.empty((2, 12, len(LEADS) - 1, len(QUANTILES)))
        pairs = np.zeros(quantiles.shape[1:3], int)
        for m, g in np.ndindex(*pairs.shape):
            apart = np.minimum((month - m - 1) % 12, (m + 1 - month) % 12)
            for chosen in ((apart == 0) & (group == g), (apart <= 1) & (group == g), apart <= 6):
                both = np.isfinite(x[chosen] + y[chosen])
                pairs[m, g] = both.sum()
                if pairs[m, g] >= FEWEST:
                    break
            if pairs[m, g] < FEWEST:
                raise VadoseError(f"{name}: {pairs[m, g]} pairs of forecast and analysis; expected {FEWEST} or more")
            quantiles[:, m, g] = [np.quantile(values[chosen][both], QUANTILES) for values in (x, y)]
        dims = ("month", "group", "quantile")
        found |= {f"{name}_forecast": (dims, quantiles[0]), f"{name}_analysed": (dims, quantiles[1])}
        found[f"{name}_pairs"] = dims[:2], pairs
    record = f"{np.min(valid).astype('datetime64[D]')} .. {np.max(valid).astype('datetime64[D]')}"
    coords = {"month": np.arange(1, 13), "group": list(LEADS[:-1]), "quantile": QUANTILES}
    return xr.Dataset(found, coords, {"record": record, "method": "quantile mapping by month and lead"})


def correct_ahead(ahead: xr.Dataset, correction: xr.Dataset) -> xr.Dataset:
    """Weather ahead with each variable mapped from the forecast's quantiles to the analysis'.

    Between two quantiles the map is linear; beyond the record an amount keeps its ratio, another variable its
    difference to the end of the record. Lows never exceed highs.

    Parameters
    ----------
    ahead
        (member, time, ...) as of `vadose.download.roles.weather_ahead`; day 1 is the first of ``time``.
    correction
        From `fit_correction`.

    Returns
    -------
    xarray.Dataset
        The same form; variables that the correction lacks are as they were. The attribute ``corrected`` names those
        corrected, the method and the record.

    Examples
    --------
    >>> days = xr.date_range("2020-01-01", periods=400, use_cftime=False)
    >>> true = xr.Dataset({"precipitation": ("time", np.arange(400.0) % 20)}, {"time": days})
    >>> run = true.precipitation.rename(time="init_time").expand_dims(lead_time=[1], axis=1) + 2.0
    >>> fitted = fit_correction(run.to_dataset(), true)
    >>> ahead = (true.isel(time=slice(5)) + 2.0).expand_dims(member=["c00"])
    >>> correct_ahead(ahead, fitted).precipitation.values.round(1).tolist()
    [[0.0, 1.0, 2.0, 3.0, 4.0]]
    """
    corrected = ahead.copy()
    month = ahead.time.dt.month.values - 1
    group = np.clip(np.digitize(np.arange(1, ahead.sizes["time"] + 1), LEADS) - 1, 0, len(LEADS) - 2)
    names = [str(name) for name in ahead.data_vars if f"{name}_forecast" in correction]
    for name in names:
        values = ahead[name].transpose("time", ...)
        mapped = np.empty(values.shape, np.float32)
        for day in range(values.sizes["time"]):
            at = {"month": month[day], "group": group[day]}
            pair = (correction[f"{name}_{end}"].isel(at).values for end in ("forecast", "analysed"))
            mapped[day] = _map(values.values[day], *pair, ratio=name in AMOUNTS)
        corrected[name] = values.copy(data=mapped).transpose(*ahead[name].dims)
    if {"air_temperature_max", "air_temperature_min"} <= set(names):
        low, high = corrected.air_temperature_min, corrected.air_temperature_max
        corrected["air_temperature_min"] = low.where(~(low > high), high)
    if "relative_humidity" in names:
        corrected["relative_humidity"] = corrected.relative_humidity.clip(0, 100)
    text = f"{', '.join(names)}: {correction.attrs['method']}, of {correction.attrs['record']}" if names else "false"
    return corrected.assign_attrs(corrected=text)


def _pairs(forecast: xr.DataArray, analysed: xr.DataArray, valid: NDArray[np.datetime64]) -> tuple[Array, Array]:
    """Forecasts and analyses (run and lead, place and member)."""
    day = xr.DataArray(valid.ravel(), dims="pair")
    true = analysed.reindex(time=np.unique(valid)).sel(time=day).transpose("pair", ...)
    places = [dim for dim in true.dims if dim != "pair"]
    beside = [dim for dim in forecast.dims if dim not in ("init_time", "lead_time", *places)]
    x = forecast.transpose("init_time", "lead_time", *places, *beside).values.reshape(valid.size, -1)
    y = true.values.reshape(valid.size, -1)
    return x, np.repeat(y, x.shape[1] // y.shape[1], axis=1)


def _map(values: Array, told: Array, true: Array, *, ratio: bool) -> Array:
    # Of equal quantiles the first counts: a forecast day without rain stays without.
    first = np.insert(np.diff(told) > 0, 0, True)
    mapped = np.interp(values, told[first], true[first])
    above = true[-1] * values / told[-1] if ratio and told[-1] > 0 else true[-1] + values - told[-1]
    mapped = np.where(values > told[-1], above, mapped)
    below = np.maximum(mapped, 0) if ratio else true[0] + values - told[0]
    mapped = np.where(values < told[0], below, mapped)
    result: Array = np.where(np.isnan(values), np.nan, mapped)
    return result


def _days(lead: xr.DataArray) -> NDArray[np.int64]:
    values = lead.values
    return (values / np.timedelta64(1, "D") if values.dtype.kind == "m" else values).astype(np.int64)
