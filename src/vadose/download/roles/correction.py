"""Weather ahead corrected to the weather that models were trained with: quantile mapping by month and lead.

The record that it is fitted by is that of `vadose.download.roles.past_runs`. A fit is kept for a month of issue and a
place, and enters the outlooks of that month without being asked for again.
"""

import hashlib
from datetime import date
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.download.roles.access import Access, Tried, alone, keep, kept
from vadose.download.roles.past_runs import past_runs, size_of_record
from vadose.errors import VadoseError

Array = NDArray[np.floating[Any]]
QUANTILES = np.concatenate([np.linspace(0.0, 0.95, 39), [0.97, 0.98, 0.99, 0.995, 1.0]])
LEADS = (1, 4, 8, 15, 36)
"""First days ahead of the groups 1-3, 4-7, 8-14, 15-35; the last is the end."""
FEWEST = 60
"""Pairs of days that a month and group of leads needs; with fewer its season's, then those of all leads, then all."""
SAMPLE = 3
"""Cells along each side of a box that its fit is made at."""
WIDEST = 3.0
"""Widest area that one fit is applied to [degree]."""
HOW = "`vadose outlook --correct` fetches the record of past runs for it, once a month for all places"
AMOUNTS = ("precipitation", "shortwave_radiation")
"""Beyond the highest forecast of the record these keep their ratio to it, others their difference."""


def corrected(ahead: xr.Dataset, past: xr.Dataset, *, fetch: bool = False, access: Access | None = None) -> xr.Dataset:
    """Weather ahead corrected to past weather, where a fit is kept or can be made; else as it was, and why.

    Parameters
    ----------
    ahead
        From `vadose.download.roles.weather_ahead`.
    past
        Past weather at the same points; of a box that of cells within it, of which up to 9 are taken.
    fetch
        Fetch what is missing of the record of past runs (`past_runs`).
    access
        Cache, clock and client.

    Returns
    -------
    xarray.Dataset
        The same form. Attributes: ``corrected`` 'true' or 'false', ``correction`` in words.
    """
    access = access or Access()
    tried = Tried("correction", access)
    try:
        return correct_ahead(ahead, _fitted(_run_of(ahead), past, fetch, access, tried))
    except VadoseError as error:
        reason = " ".join(str(error).split())
        if fetch:
            tried.note(reason)
        return ahead.assign_attrs(corrected="false", correction=f"not corrected: {reason}")


def _fitted(issue: date, past: xr.Dataset, fetch: bool, access: Access, tried: Tried) -> xr.Dataset:
    """The fit of a month of issue, kept or made from runs of earlier years."""
    at = past if "place" in past.dims else past.isel({axis: _spread(past.sizes[axis]) for axis in ("lat", "lon")})
    text = ",".join(f"{value:.5f}" for axis in (at.lat, at.lon) for value in axis.values)
    key = hashlib.sha256(f"{at.precipitation.dims} {text}".encode()).hexdigest()[:16]
    path = access.folder / "weather_ahead" / "correction" / f"{issue:%Y%m}" / f"{key}.nc"
    if (copy := kept(path)) is not None and (not fetch or copy.attrs["whole"] == "true"):
        return copy
    runs = past_runs(at.lat, at.lon, issue, fetch=fetch, access=access, tried=tried)
    if not runs.sizes["init_time"]:
        raise VadoseError(f"{HOW} (about {size_of_record(issue)}, some minutes)")
    fitted = fit_correction(runs, at.reset_coords(drop=True)).assign_attrs(whole=runs.attrs["whole"])
    with alone(path.parent):
        return keep(fitted, path, access)


def _run_of(ahead: xr.Dataset) -> date:
    return date.fromisoformat(ahead.attrs["run"][:10])


def _spread(size: int) -> list[int]:
    return sorted({int(k) for k in np.linspace(0, size - 1, SAMPLE).round()})


def fit_correction(forecast: xr.Dataset, analysed: xr.Dataset) -> xr.Dataset:
    """Fit the quantile mapping from forecasts and analyses of the same days.

    For each variable, month of the valid day and group of leads, the quantiles of the forecast and of the analysis on
    the same days; of each ``place`` by itself, of cells (lat, lon) and members together.

    Parameters
    ----------
    forecast
        (init_time, lead_time, ...): ``lead_time`` in days, 1 the first, or a timedelta; valid on init_time + lead - 1
        day. Variables of the names of `vadose.variables`.
    analysed
        (time, ...) at the same places, such as `vadose.download.roles.past_weather`.

    Returns
    -------
    xarray.Dataset
        ``NAME_forecast`` and ``NAME_analysed`` (month, group, quantile, and place where there is one) and
        ``NAME_pairs`` (month, group), the days and members at a place.

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
        x, y, apart = _pairs(forecast[name], analysed[name], valid)
        quantiles = np.empty((2, 12, len(LEADS) - 1, len(QUANTILES), x.shape[-1]))
        pairs = np.zeros(quantiles.shape[1:3], int)
        known: dict[bytes, Array] = {}  # months and leads without pairs of their own share those of all
        for m, g in np.ndindex(*pairs.shape):
            away = np.minimum((month - m - 1) % 12, (m + 1 - month) % 12)
            like = group == g
            for chosen in ((away == 0) & like, (away <= 1) & like, away <= 1, away <= 6):
                both = np.isfinite(x[chosen] + y[chosen])
                pairs[m, g] = both.reshape(-1, x.shape[-1]).sum(axis=0).min()
                if pairs[m, g] >= FEWEST:
                    break
            if pairs[m, g] < FEWEST:
                raise VadoseError(f"{name}: {pairs[m, g]} pairs of forecast and analysis; expected {FEWEST} or more")
            if (key := chosen.tobytes()) not in known:
                of = np.where(both, np.stack([x[chosen], y[chosen]]), np.nan).reshape(2, -1, x.shape[-1])
                known[key] = (np.quantile if both.all() else np.nanquantile)(of, QUANTILES, axis=1).swapaxes(0, 1)
            quantiles[:, m, g] = known[key]
        dims = ("month", "group", "quantile", "place")
        for k, end in enumerate(("forecast", "analysed")):
            found[f"{name}_{end}"] = (dims, quantiles[k]) if apart else (dims[:3], quantiles[k][..., 0])
        found[f"{name}_pairs"] = dims[:2], pairs
    record = f"{np.min(valid).astype('datetime64[D]')} .. {np.max(valid).astype('datetime64[D]')}"
    coords = {"month": np.arange(1, 13), "group": list(LEADS[:-1]), "quantile": QUANTILES}
    about = {"record": record, "method": "quantile mapping by month and lead", "runs": forecast.sizes["init_time"]}
    return xr.Dataset(found, coords, about)


def correct_ahead(ahead: xr.Dataset, correction: xr.Dataset) -> xr.Dataset:
    """Weather ahead with each variable mapped from the forecast's quantiles to the analysis'.

    Between two quantiles the map is linear; beyond the record an amount keeps its ratio, another variable its
    difference to the end of the record. Lows never exceed highs.

    Parameters
    ----------
    ahead
        (member, time, ...) as of `vadose.download.roles.weather_ahead`; day 1 is that of the attribute ``run``, without
        one the first of ``time``.
    correction
        From `fit_correction`.

    Returns
    -------
    xarray.Dataset
        The same form; variables that the correction lacks are as they were. Attributes: ``corrected`` 'true' where
        any is, and ``correction``: which, the method and the record.

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
    result = ahead.copy()
    month = ahead.time.dt.month.values - 1
    first = np.datetime64(_run_of(ahead), "ns") if "run" in ahead.attrs else ahead.time.values[0]
    lead = (ahead.time.values - first) // np.timedelta64(1, "D") + 1  # below 1: bridged by days 1 of earlier runs
    group = np.clip(np.digitize(lead, LEADS) - 1, 0, len(LEADS) - 2)
    names = [str(name) for name in ahead.data_vars if f"{name}_forecast" in correction]
    for name in names:
        values = ahead[name].transpose("time", *(["place"] if "place" in ahead.dims else []), ...)
        apart = "place" in correction[f"{name}_forecast"].dims
        told, true = (correction[f"{name}_{end}"].values[month, group] for end in ("forecast", "analysed"))
        mapped = np.empty(values.shape, np.float32)
        for day in np.ndindex(values.shape[: 1 + apart]):
            pair = (of[day[0], :, day[1]] if apart else of[day[0]] for of in (told, true))
            mapped[day] = _map(values.values[day], *pair, ratio=name in AMOUNTS)
        result[name] = values.copy(data=mapped).transpose(*ahead[name].dims)
    if {"air_temperature_max", "air_temperature_min"} <= set(names):
        low, high = result.air_temperature_min, result.air_temperature_max
        result["air_temperature_min"] = low.where(~(low > high), high)
    if "relative_humidity" in names:
        result["relative_humidity"] = result.relative_humidity.clip(0, 100)
    if not names:
        return result.assign_attrs(
            corrected="false", correction="not corrected: the record holds none of the variables"
        )
    about = correction.attrs
    text = f"{', '.join(names)} by {about['method']}, from {about['runs']} runs of {about['record']}"
    return result.assign_attrs(corrected="true", correction=text)


def _pairs(forecast: xr.DataArray, analysed: xr.DataArray, valid: NDArray[np.datetime64]) -> tuple[Array, Array, bool]:
    """Forecasts and analyses (run and lead, member and cell, place), and whether places are apart."""
    day = xr.DataArray(valid.ravel(), dims="pair")
    true = analysed.reindex(time=np.unique(valid)).sel(time=day)
    apart, ends = "place" in true.dims, ("place",) if "place" in true.dims else ()
    cells = [dim for dim in true.dims if dim not in ("pair", "place")]
    beside = [dim for dim in forecast.dims if dim not in ("init_time", "lead_time", *cells, *ends)]
    x = forecast.transpose("init_time", "lead_time", *beside, *cells, *ends).values
    places = x.shape[-1] if apart else 1
    y = true.transpose("pair", *cells, *ends).values.reshape(valid.size, -1, places)
    x = x.reshape(valid.size, -1, places)
    return x, np.tile(y, (1, x.shape[1] // y.shape[1], 1)), apart


def _map(values: Array, told: Array, true: Array, *, ratio: bool) -> Array:
    # Of equal quantiles the first counts: a forecast day without rain stays without.
    first = np.insert(np.diff(told) > 0, 0, True)
    mapped = np.interp(values, told[first], true[first])
    above = true[-1] * values / told[-1] if ratio and told[-1] > 0 else true[-1] + values - told[-1]
    mapped = np.where(values > told[-1], above, mapped)
    below = np.maximum(mapped, 0) if ratio else true[0] + values - told[0]
    mapped = np.where(values < told[0], below, mapped)
    whole: Array = np.where(np.isnan(values), np.nan, mapped)
    return whole


def _days(lead: xr.DataArray) -> NDArray[np.int64]:
    values = lead.values
    return (values / np.timedelta64(1, "D") if values.dtype.kind == "m" else values).astype(np.int64)
