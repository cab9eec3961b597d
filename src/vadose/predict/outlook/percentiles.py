"""Forecasts against the local climatology: percentiles, classes of the US Drought Monitor and their probabilities."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.door import as_cube, as_forecasts, on_common_cells
from vadose.errors import VadoseError
from vadose.predict.outlook.climatology import WINDOW, day_of_year, local_climatology

THRESHOLDS = (30, 20, 10, 5, 2)
"""Percentile at or below which each class begins, D0 to D4."""
CLASSES = ("abnormally dry", "moderate drought", "severe drought", "extreme drought", "exceptional drought")
NONE, MISSING = -1, -128
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def with_outlook(
    forecast: xr.Dataset, cube: xr.Dataset, *, first: str, last: str, window: int = WINDOW, hindsight: bool = False
) -> xr.Dataset:
    r"""A store of forecasts with percentile and drought class, and what its standard deviation allows.

    The climatology is of the cube's variable that the store names as ``observed``.

    Parameters
    ----------
    forecast
        Store of forecasts.
    cube
        Grid of a cube with the observations; cells are found by coordinate, stations by name.
    first, last, window
        As of `local_climatology`.
    hindsight
        Whether the climatology may hold days after the first day of issue, which no forecast could know.

    Returns
    -------
    xarray.Dataset
        The store, and ``soil_moisture_percentile``, ``drought_class`` and ``climatology_count`` (the values
        behind them). With ``soil_moisture_std`` also ``drought_probability`` and ``soil_moisture_quantile``
        (init_time, lead_time, quantile, y, x), :math:`\mu + \sigma \Phi^{-1}(p)`, never below zero. New variables
        are lazy. The attributes ``climatology_...`` say what it rests on; ``climatology_warning`` is there when
        that is less than five years, or with hindsight.

    Raises
    ------
    VadoseError
        When the cube lacks cells of the store or the variable, the climatology ends after the first day of issue, and
        as of `local_climatology`.
    """
    name = str(forecast.attrs.get("observed", "soil_moisture"))
    forecast, cube = as_forecasts(forecast, "the forecasts", ()), as_cube(cube, "the cube")
    if name not in cube:
        raise VadoseError(
            f"outlook: the cube has no {name!r}, which the forecasts are of; it has {sorted(map(str, cube.data_vars))}"
        )
    (_, cube), (lacking, _) = on_common_cells([forecast, cube], ["the forecasts", "the cube"])
    if lacking:
        raise VadoseError(f"the cube lacks {lacking} cells of the forecasts; take the one they were made from")
    issued = pd.Timestamp(forecast.init_time.values.min())
    check_hindsight(last, f"{issued:%Y-%m-%d}", hindsight)
    wanted = day_of_year(_valid_times(forecast).ravel())
    climatology = local_climatology(cube[name], first=first, last=last, window=window, days=wanted)
    told = climatology.attrs
    if pd.Timestamp(last) > issued:
        later = f"the climatology knows days after the first forecast, of {issued:%Y-%m-%d}"
        told["climatology_warning"] = "; ".join(filter(None, [told.get("climatology_warning"), later]))
    found = forecast.assign_attrs(told)
    found["soil_moisture_percentile"] = percentile(forecast, climatology)
    found["drought_class"] = drought_class(found.soil_moisture_percentile)
    day = xr.DataArray(_valid_days(forecast, climatology), dims=("init_time", "lead_time"))
    found["climatology_count"] = _bare(climatology["count"]).isel(dayofyear=day).drop_vars("dayofyear")
    found["climatology_count"].attrs = {"long_name": "observations behind the percentile", "units": "1"}
    if "soil_moisture_std" in forecast:
        found["drought_probability"] = drought_probability(forecast, climatology)
        found["soil_moisture_quantile"] = _quantiles_of_forecast(forecast)
    return found


def check_hindsight(last: str, issued: str, hindsight: bool) -> None:
    """Refuse a climatology that ends after the first day of issue, unless with hindsight."""
    if pd.Timestamp(last) > pd.Timestamp(issued) and not hindsight:
        raise VadoseError(
            f"climatology up to {last}: the first forecast is issued on {issued}, which knows nothing later; end it by "
            "that day, or ask for hindsight (--hindsight), which the store then says"
        )


def percentile(forecast: xr.Dataset, climatology: xr.Dataset) -> xr.DataArray:
    r"""Where a forecast lies in the climatology of its valid day, 0 (driest) to 100 (wettest).

    Between two quantiles the level is interpolated, :math:`100\,p`; the smallest and largest value on record
    have the Weibull positions :math:`100 / (n + 1)` and :math:`100\, n / (n + 1)`. A forecast drier than all
    on record is at 0, a wetter one at 100; one equal to several quantiles at the middle of their levels.

    The forecast is a mean, and varies less than observations the longer the lead: extremes are rarer in it
    than in the climatology. `drought_probability` takes the spread into account.

    Parameters
    ----------
    forecast
        Store of forecasts: ``soil_moisture`` (init_time, lead_time, y, x).
    climatology
        Of `local_climatology`, on the same grid.

    Returns
    -------
    xarray.DataArray
        (init_time, lead_time, y, x), lazy, NaN where the forecast or the climatology is unknown.

    Raises
    ------
    VadoseError
        When the store holds no forecast, the grids differ, or the climatology lacks a valid day.

    Examples
    --------
    >>> knots = xr.DataArray(np.array([[0.1, 0.2, 0.3]])[:, :, None, None], dims=("dayofyear", "level", "y", "x"))
    >>> climatology = xr.Dataset(
    ...     {"quantile": knots, "count": knots[:, 0] * 0 + 99}, {"dayofyear": [61], "level": [0, 0.5, 1]}
    ... )
    >>> mean = xr.DataArray([[[[0.25]]]], dims=("init_time", "lead_time", "y", "x"))
    >>> days = {"init_time": pd.to_datetime(["2021-02-28"]), "lead_time": pd.to_timedelta([1], unit="D")}
    >>> percentile(xr.Dataset({"soil_moisture": mean}, days), climatology).values.item()
    74.5
    """
    found: xr.DataArray = xr.apply_ufunc(
        percentiles,
        _of_store(forecast, "soil_moisture"),
        _bare(climatology["quantile"]),
        _bare(climatology["count"]),
        kwargs={"day": _valid_days(forecast, climatology), "level": climatology.level.values},
        input_core_dims=[["init_time", "lead_time"], ["dayofyear", "level"], ["dayofyear"]],
        output_core_dims=[["init_time", "lead_time"]],
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    found = found.transpose("init_time", "lead_time", "y", "x").rename("soil_moisture_percentile")
    return found.drop_attrs(deep=False).assign_attrs(
        long_name="percentile of soil moisture in the local climatology of the valid day",
        units="percent",
        valid_range=np.array([0, 100], np.float32),
    )


def drought_probability(forecast: xr.Dataset, climatology: xr.Dataset) -> xr.DataArray:
    r"""Probability that the soil is drier than each threshold of drought, :math:`\Phi((q - \mu) / \sigma)`.

    With :math:`\mu` and :math:`\sigma` the forecast's mean and standard deviation and :math:`q` the
    climatology's quantile of the valid day at the threshold.

    Parameters and errors are those of `percentile`; the store also has to hold ``soil_moisture_std``, and the
    climatology the levels 0.02, 0.05, 0.1, 0.2 and 0.3.

    Returns
    -------
    xarray.DataArray
        (init_time, lead_time, drought_threshold, y, x), lazy; thresholds 30, 20, 10, 5, 2 percent.
    """
    level = np.array(THRESHOLDS) / 100
    if missing := [float(v) for v in level if not np.isclose(climatology.level, v).any()]:
        raise VadoseError(f"the climatology has no quantiles at levels {missing}; make it with the default levels")
    at = [int(np.flatnonzero(np.isclose(climatology.level, v))[0]) for v in level]
    found: xr.DataArray = xr.apply_ufunc(
        _below,
        _of_store(forecast, "soil_moisture"),
        _of_store(forecast, "soil_moisture_std"),
        _bare(climatology["quantile"]).isel(level=at).drop_vars("level").rename(level="drought_threshold"),
        kwargs={"day": _valid_days(forecast, climatology)},
        input_core_dims=[["init_time", "lead_time"]] * 2 + [["dayofyear", "drought_threshold"]],
        output_core_dims=[["init_time", "lead_time", "drought_threshold"]],
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    thresholds = {"long_name": "percentile at which a drought class begins, D0 to D4", "units": "percent"}
    return (
        found.transpose("init_time", "lead_time", "drought_threshold", "y", "x")
        .assign_coords(drought_threshold=("drought_threshold", np.array(THRESHOLDS), thresholds))
        .rename("drought_probability")
        .drop_attrs(deep=False)
        .assign_attrs(
            long_name="probability that soil moisture is below the percentile",
            units="1",
            valid_range=np.array([0, 1], np.float32),
        )
    )


def drought_class(percentile: xr.DataArray) -> xr.DataArray:
    """Class of the US Drought Monitor: D0 at or below the 30th percentile, D1 20th, D2 10th, D3 5th, D4 2nd.

    Returns
    -------
    xarray.DataArray
        int8: 0 to 4 for D0 to D4, -1 for none, -128 (its ``_FillValue``) where the percentile is unknown.

    References
    ----------
    Svoboda et al. (2002), doi:10.1175/1520-0477-83.8.1181.

    Examples
    --------
    >>> drought_class(xr.DataArray([2.0, 2.1, 10, 30, 30.1, np.nan])).values.tolist()
    [4, 3, 2, 0, -1, -128]
    """
    found: xr.DataArray = xr.apply_ufunc(_classes, percentile, dask="parallelized", output_dtypes=[np.int8])
    names = [f"D{k}_{name.replace(' ', '_')}" for k, name in enumerate(CLASSES)]
    found = (
        found.rename("drought_class")
        .drop_attrs(deep=False)
        .assign_attrs(
            long_name="drought class of soil moisture, US Drought Monitor",
            flag_values=np.arange(NONE, len(CLASSES), dtype=np.int8),
            flag_meanings=" ".join(["none", *names]),
            references="doi:10.1175/1520-0477-83.8.1181",
        )
    )
    found.encoding["_FillValue"] = np.int8(MISSING)
    return found


def percentiles(
    value: NDArray[Any],
    quantile: NDArray[Any],
    count: NDArray[Any],
    *,
    day: NDArray[np.int64],
    level: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Percentiles of values (y, x, init_time, lead_time) among quantiles (y, x, dayofyear, level)."""
    n = count[..., day].astype(np.float32)
    # The nearest quantiles on either side; of several that equal the value, the last and the first.
    below, p_below = np.full(value.shape, -np.inf), np.zeros(value.shape)
    above, p_above = np.full(value.shape, np.inf), np.full(value.shape, 100.0)
    for k in range(len(level)):
        q, p = quantile[..., day, k], 100 * np.clip(level[k], 1 / (n + 1), n / (n + 1))
        under = q <= value
        below[under], p_below[under] = q[under], p[under]
        over = (q >= value) & np.isinf(above)
        above[over], p_above[over] = q[over], p[over]
    apart = above - below
    inside = np.isfinite(apart)
    share = np.divide(value - below, apart, out=np.full(value.shape, 0.5), where=inside & (apart > 0))
    found = np.where(inside, p_below + share * (p_above - p_below), np.where(np.isinf(above), 100.0, 0.0))
    known = np.isfinite(value) & np.isfinite(quantile[..., day, 0])
    return np.where(known, found, np.nan).astype(np.float32)


def _below(
    mean: NDArray[Any], std: NDArray[Any], quantile: NDArray[Any], *, day: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Probability (y, x, init_time, lead_time, threshold) of a normal distribution below each quantile."""
    from scipy.special import ndtr

    apart = quantile[..., day, :] - mean[..., None]
    certain = (std == 0)[..., None] & np.isfinite(apart)
    spread = np.where(std > 0, std, np.nan)[..., None]
    found: NDArray[np.float32] = np.where(certain, apart > 0, ndtr(apart / spread)).astype(np.float32)
    return found


def _classes(percentile: NDArray[Any]) -> NDArray[np.int8]:
    number = np.full(percentile.shape, NONE, np.int8)
    for k, threshold in enumerate(THRESHOLDS):
        number[percentile <= threshold] = k
    number[np.isnan(percentile)] = MISSING
    return number


def _quantiles_of_forecast(forecast: xr.Dataset) -> xr.DataArray:
    """Quantiles of the normal distribution of a forecast; a soil holds no less than no water."""
    from scipy.special import ndtri

    p = xr.DataArray(np.array(QUANTILES), dims="quantile", coords={"quantile": np.array(QUANTILES)})
    mean, std = _of_store(forecast, "soil_moisture"), _of_store(forecast, "soil_moisture_std")
    found: xr.DataArray = (mean + std * ndtri(p).astype(np.float32)).clip(min=0)
    return found.transpose("init_time", "lead_time", "quantile", "y", "x").assign_attrs(
        forecast.soil_moisture.attrs | {"long_name": "quantile of the forecast of soil moisture"}
    )


def _valid_times(forecast: xr.Dataset) -> NDArray[Any]:
    """Valid times (init_time, lead_time)."""
    times: NDArray[Any] = forecast.init_time.values[:, None] + forecast.lead_time.values
    return times


def _valid_days(forecast: xr.Dataset, climatology: xr.Dataset) -> NDArray[np.int64]:
    """Places (init_time, lead_time) of the valid days in a climatology of the same grid."""
    _check_grid(forecast, climatology)
    times = _valid_times(forecast)
    days = day_of_year(times.ravel())
    places: NDArray[np.int64] = pd.Index(climatology.dayofyear.values).get_indexer(days)
    if lacking := sorted(set(days[places < 0].tolist())):
        raise VadoseError(f"the climatology lacks days of the year {lacking}, on which forecasts are valid")
    return places.reshape(times.shape)


def _of_store(forecast: xr.Dataset, name: str) -> xr.DataArray:
    if name not in forecast or set(forecast[name].dims) != {"init_time", "lead_time", "y", "x"}:
        raise VadoseError(
            f"the store of forecasts has no {name} (init_time, lead_time, y, x); found {sorted(map(str, forecast))}"
        )
    return _bare(forecast[name]).chunk(init_time=-1, lead_time=-1)


def _bare(values: xr.DataArray) -> xr.DataArray:
    """Without coordinates that are no axis: two datasets' may differ in precision."""
    return values.reset_coords(drop=True)


def _check_grid(forecast: xr.Dataset, other: xr.Dataset) -> None:
    for axis in ("y", "x"):
        if not np.array_equal(forecast[axis].values, other[axis].values):
            raise VadoseError(
                f"forecasts and observations lie on different grids: {forecast.sizes[axis]} and {other.sizes[axis]} "
                f"values of {axis} that are not the same; take the cube the forecasts were made from"
            )
