"""Daily weather of the simulated world: seasons, passing systems and rain."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.grid import Grid
from vadose.twin.fields import field, uniform

Array = NDArray[np.floating]


def weather(day: pd.Timestamp, grid: Grid, lat: Array, lon: Array, elevation: Array, seed: int) -> dict[str, Array]:
    """Weather of one day, (row, column), correlated in space and from day to day.

    Temperature and radiation follow the season at their latitude and height, with departures of a few
    days. Rain falls where a field of two days' memory passes a threshold that is lower in the east and in
    wet spells of some weeks and months; amounts are exponential. Humidity is that of air at 40-98 % of saturation
    (Magnus), evaporative demand that of FAO-56 after Penman and Monteith at grass and alfalfa height.

    Parameters
    ----------
    lat, lon, elevation
        (row, column) [degree, degree, m].

    Returns
    -------
    dict
        Name in `vadose.variables` -> values in its units; ``cloud`` 1 where the sky is overcast.

    References
    ----------
    Allen et al. (1998), FAO Irrigation and drainage paper 56; Magnus coefficients of Sonntag (1990).

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> grid = ease_grid("36km").bounding_box(-105, 38, -95, 42)
    >>> lat, lon = grid.latlon(*np.indices(grid.shape))
    >>> today = weather(pd.Timestamp("2019-07-01"), grid, lat, lon, 0 * lat, 0)
    >>> bool((today["precipitation"] >= 0).all()), bool((today["air_temperature"] > 280).all())
    (True, True)
    """
    t = (day - pd.Timestamp("2000-01-01")).days
    season = np.cos(2 * np.pi * (day.day_of_year - 200) / 365.25)

    def passing(name: str, length: float, memory: float) -> Array:
        # Systems travel eastward: the field is drawn where it came from.
        return field(grid, name, length, seed, day=t, memory=memory)

    system = passing("system", 500.0, 2.0)
    wetness = np.clip((lon + 112) / 25, 0, 1)
    spell = 0.5 * passing("spell", 600.0, 12.0) + 0.25 * passing("drought", 800.0, 50.0)
    chance = uniform(passing("rain", 120.0, 0.7) + 0.5 * system + spell)
    wet = chance > 0.905 - 0.17 * wetness
    amount = -np.log(np.clip(uniform(passing("amount", 60.0, 0.5)), 1e-4, 1))
    rain = np.where(wet, 0.5 + (5.0 + 8.0 * wetness) * amount, 0.0)
    overcast = chance > 0.70 - 0.15 * wetness
    mean = 299.0 - 0.65 * (lat - 25) - 0.0055 * elevation + (8.0 + 0.2 * (lat - 25)) * season
    mean = mean + 3.5 * passing("warmth", 700.0, 3.0) - 2.0 * wet
    half_range = np.where(overcast, 3.5, 7.5)
    celsius = mean - 273.15
    saturation = _saturation(celsius)
    relative = np.clip(np.where(wet, 0.88, 0.48 + 0.14 * wetness) + 0.07 * system, 0.15, 0.98)
    vapour = relative * saturation
    pressure = 101325 * (1 - 0.0065 * elevation / 293) ** 5.26
    clear = 205.0 + (85.0 + 0.8 * (lat - 35)) * season
    dimmed = np.where(wet, 0.45, np.where(overcast, 0.65, 0.95))
    shortwave = np.clip(clear * dimmed + 10 * passing("sun", 200.0, 1.0), 15, None)
    longwave = 5.67e-8 * mean**4 * np.where(overcast, 0.92, 0.76)
    east = 2.5 + 2.5 * passing("east", 400.0, 1.5)
    north = 2.5 * passing("north", 400.0, 1.5)
    wind = np.hypot(east, north)
    highest, lowest = mean + half_range, mean - half_range
    return {
        "precipitation": rain,
        "air_temperature": mean,
        "air_temperature_max": highest,
        "air_temperature_min": lowest,
        "specific_humidity": 0.622 * vapour / (pressure - 0.378 * vapour),
        "relative_humidity_max": 100 * np.clip(vapour / _saturation(lowest - 273.15), 0, 1),
        "relative_humidity_min": 100 * np.clip(vapour / _saturation(highest - 273.15), 0, 1),
        "vapor_pressure_deficit": (saturation - vapour) / 1000,
        "shortwave_radiation": shortwave,
        "longwave_radiation": longwave,
        "eastward_wind": east,
        "northward_wind": north,
        "surface_pressure": pressure,
        "reference_evapotranspiration": _reference(celsius, shortwave, wind, saturation, vapour, pressure, 900, 0.34),
        "reference_evapotranspiration_alfalfa": _reference(
            celsius, shortwave, wind, saturation, vapour, pressure, 1600, 0.38
        ),
        "cloud": overcast.astype(float),
    }


def _saturation(celsius: Array) -> Array:
    """Vapour pressure at saturation [Pa]."""
    return np.asarray(611.2 * np.exp(17.62 * celsius / (243.12 + celsius)))


def _reference(
    celsius: Array, shortwave: Array, wind: Array, saturation: Array, vapour: Array, pressure: Array, n: float, d: float
) -> Array:
    """Reference evapotranspiration [kg m-2 a day] by FAO-56 equation 6; net radiation is 0.55 of shortwave."""
    slope = 4098 * saturation / 1000 / (celsius + 237.3) ** 2
    gamma = 0.000665 * pressure / 1000
    net = 0.55 * shortwave * 0.0864
    wind_2m = 0.748 * wind
    numerator = 0.408 * slope * net + gamma * n / (celsius + 273) * wind_2m * (saturation - vapour) / 1000
    return np.asarray(np.clip(numerator / (slope + gamma * (1 + d * wind_2m)), 0, None))
