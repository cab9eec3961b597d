"""Filling the days without a satellite overpass, from the past alone."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray


def carry_forward(
    observed: xr.DataArray, filled: NDArray[np.float32] | None = None, age: NDArray[np.float32] | None = None
) -> xr.Dataset:
    """Repeat the last observation until the next one, and say how old it is.

    Causal: the value of a day comes from that day or an earlier one.

    Parameters
    ----------
    observed
        (time, ...) daily series, NaN where not observed.
    filled, age
        Filled values and ages of the day before the first, where a record goes on.

    Returns
    -------
    xarray.Dataset
        ``<name>_filled`` (NaN before the first observation), ``<name>_observed`` (1 on days of an
        observation, else 0) and ``<name>_age`` [day] (NaN before the first observation).

    Examples
    --------
    >>> series = xr.DataArray([np.nan, 0.2, np.nan, 0.3], dims="time", name="soil_moisture")
    >>> filled = carry_forward(series)
    >>> filled.soil_moisture_filled.values.tolist(), filled.soil_moisture_age.values.tolist()
    ([nan, 0.2, 0.2, 0.3], [nan, 0.0, 1.0, 0.0])
    """
    name, dims = str(observed.name), observed.dims
    values = observed.transpose("time", ...).values
    known = np.isfinite(values)
    days = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    last = np.maximum.accumulate(np.where(known, days, -1), axis=0)
    values = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    ages = np.where(last < 0, np.nan, days - last).astype(np.float32)
    if filled is not None and age is not None:
        values = np.where(last < 0, filled, values)
        ages = np.where(last < 0, age + days + 1, ages).astype(np.float32)
    ordered = ("time", *(d for d in dims if d != "time"))
    return xr.Dataset(
        {
            f"{name}_filled": (ordered, values, {"fill_method": "last observation", "causal": "true"}),
            f"{name}_observed": (ordered, known.astype(np.float32), {"long_name": "1 where observed"}),
            f"{name}_age": (ordered, ages),
        },
        coords=observed.coords,
    )
