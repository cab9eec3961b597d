"""Water balance of simple buckets from precipitation and evaporative demand: how wet weather has left the ground."""

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Array = NDArray[np.floating]
FILLED_BY = (
    "precipitation",
    "air_temperature",
    "air_temperature_max",
    "air_temperature_min",
    "reference_evapotranspiration",
)
"""Weather that `bucket_saturation` takes."""
LATENT = 2.45
"""Heat of vaporisation [MJ kg-1]."""
MELT = 3.0
"""Snow that melts [mm a day and kelvin above frost]."""
LEAK = 0.02
"""Share of a full bucket that drains in a day."""
MEMORY, KNOWN = 30, 0.5
"""A saturation is told where this share of the precipitation of so many days is known."""


def bucket_saturation(
    weather: xr.Dataset, capacities: tuple[int, ...], latitude: xr.DataArray | None = None
) -> list[xr.DataArray]:
    r"""Daily saturation [1] of buckets that rain fills, and demand and a leak empty.

    .. math::
        w' &= \min(w_{t-1} + P_t, c), \quad
        w'' = w' - \min(w', E_t w' / c), \quad
        w_t = w'' (1 - 0.02 (w'' / c)^2)

    with the capacity c [mm], the demand E and what is liquid or melts of precipitation, P. A bucket of 10 mm
    is the skin of the ground, one of 150 mm the root zone. They begin half full and forget it in some times c / E.

    The demand is ``reference_evapotranspiration`` where the weather has it, else that of Hargreaves and Samani
    (1985, equation 8), :math:`E = 0.0023 R_a (T + 17.8) \sqrt{T_x - T_n} / \lambda` with the sun above the
    atmosphere :math:`R_a`; on days without temperatures the last known factor beside :math:`R_a` holds. Days
    without precipitation count as dry; the saturation is NaN where less than half of the last 30 days are known.
    Nothing of a later day is used.

    Parameters
    ----------
    weather
        Over ``time``, consecutive days, and any other dimensions: ``precipitation`` [kg m-2]; ``air_temperature``,
        or ``air_temperature_max`` and ``air_temperature_min`` [K]; the latter or ``reference_evapotranspiration``
        [kg m-2].
    capacities
        [mm].
    latitude
        [degree] of each place; the ``lat`` of the weather when left out.

    Raises
    ------
    VadoseError
        When the weather lacks one of these.

    References
    ----------
    Manabe (1969), doi:10.1175/1520-0493(1969)097<0739:CATOC>2.3.CO;2; Hargreaves and Samani (1985),
    doi:10.13031/2013.26773; sun above the atmosphere: Allen et al. (1998), FAO Irrigation and drainage paper 56,
    equation 21.

    Examples
    --------
    >>> import pandas as pd
    >>> day = pd.date_range("2020-06-01", periods=3)
    >>> weather = xr.Dataset(
    ...     {"precipitation": ("time", [20.0, 0, 0]), "air_temperature": ("time", [290.0, 290, 290]),
    ...      "reference_evapotranspiration": ("time", [0.0, 5, 5])}, coords={"time": day})
    >>> bucket_saturation(weather, (10,))[0].values.round(2)
    array([0.98, 0.49, 0.24], dtype=float32)
    """
    rain = _of(weather, "precipitation").transpose("time", ...)
    at = xr.broadcast(rain, _celsius(weather), _demand(weather, latitude))[1:]
    celsius, demand = (part.transpose(*rain.dims).values for part in at)
    liquid = _liquid(rain.fillna(0.0).values, celsius)
    recent = rain.notnull().rolling(time=MEMORY, min_periods=1).mean() >= KNOWN
    found = []
    for capacity in capacities:
        saturation = np.empty(rain.shape, np.float32)
        water = np.full(rain.shape[1:], capacity / 2)
        for day in range(len(saturation)):
            water = np.minimum(water + liquid[day], capacity)
            water = water - np.minimum(water, demand[day] * water / capacity)
            water = water * (1 - LEAK * (water / capacity) ** 2)
            saturation[day] = water / capacity
        found.append(rain.copy(data=saturation).where(recent).rename(f"bucket_{capacity}mm"))
    return found


def _celsius(weather: xr.Dataset) -> xr.DataArray:
    """Air temperature [degree Celsius]; the last known on days without."""
    if "air_temperature" in weather:
        kelvin = weather.air_temperature
        if "air_temperature_max" in weather and "air_temperature_min" in weather:
            kelvin = kelvin.fillna((weather.air_temperature_max + weather.air_temperature_min) / 2)
    else:
        kelvin = (_of(weather, "air_temperature_max") + _of(weather, "air_temperature_min")) / 2
    return _held(kelvin - 273.15, first=10.0)


def _demand(weather: xr.Dataset, latitude: xr.DataArray | None) -> xr.DataArray:
    """Evaporative demand [mm a day], see `bucket_saturation`."""
    if "reference_evapotranspiration" in weather:
        return _held(weather.reference_evapotranspiration, first=2.0)
    if latitude is None:
        latitude = _of(weather, "lat")
    span = _of(weather, "air_temperature_max") - _of(weather, "air_temperature_min")
    factor = 0.0023 * (_celsius(weather) + 17.8).clip(min=0.0) * np.sqrt(span.clip(min=0.0))
    return _held(factor, first=0.2) * _sun(weather.time.dt.dayofyear, latitude) / LATENT


def _sun(day: xr.DataArray, latitude: xr.DataArray) -> xr.DataArray:
    """Radiation above the atmosphere [MJ m-2 a day]: Allen et al. (1998, equations 21 to 25)."""
    angle, place = 2 * np.pi / 365 * day, np.deg2rad(latitude)
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos((-np.tan(place) * np.tan(declination)).clip(-1.0, 1.0))
    height = sunset * np.sin(place) * np.sin(declination) + np.cos(place) * np.cos(declination) * np.sin(sunset)
    sun: xr.DataArray = 24 * 60 / np.pi * 0.0820 * (1 + 0.033 * np.cos(angle)) * height
    return sun


def _liquid(rain: Array, celsius: Array) -> Array:
    """Rain and what melts [mm a day]: from 2 degrees Celsius down to -1 a rising part falls as snow."""
    liquid, snow = np.empty_like(rain), np.zeros(rain.shape[1:])
    frozen = np.clip((2.0 - celsius) / 3.0, 0.0, 1.0)
    for day, fallen in enumerate(rain):
        snow = snow + fallen * frozen[day]
        melt = np.minimum(snow, MELT * np.maximum(celsius[day], 0.0))
        snow = snow - melt
        liquid[day] = fallen * (1 - frozen[day]) + melt
    return liquid


def _held(values: xr.DataArray, first: float) -> xr.DataArray:
    """On days without a value the last one known."""
    values = values.transpose("time", ...)
    flat = pd.DataFrame(values.values.reshape(len(values), -1)).ffill().fillna(first)
    return values.copy(data=flat.values.reshape(values.shape))


def _of(weather: xr.Dataset, name: str) -> xr.DataArray:
    if name not in weather and name not in weather.coords:
        raise VadoseError(
            f"buckets want '{name}', found {sorted(map(str, weather.data_vars))}; give it, or features without buckets"
        )
    return weather[name]
