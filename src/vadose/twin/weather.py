"""Daily weather of the simulated world: seasons, passing systems and rain."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[np.floating]


def simulate_weather(day_of_year: Array, lat: Array, lon: Array, generator: np.random.Generator) -> dict[str, Array]:
    """Draw daily weather (day, row, column), correlated in space and from day to day.

    Temperature and radiation follow the season at their latitude with AR(1) departures. Rain falls
    by a two-state Markov chain, more often in the east and in spells of some weeks, with exponential
    amounts, drawn through a smooth Gaussian field so that neighbours are alike (Richardson 1981).
    Humidity is that of air at 60-95 % of saturation (Magnus).

    Parameters
    ----------
    day_of_year
        (day,).
    lat, lon
        (row, column) [degree].

    Returns
    -------
    dict
        Name in `vadose.variables` -> values in its units.

    References
    ----------
    Richardson (1981), doi:10.1029/WR017i001p00182.

    Examples
    --------
    >>> lat, lon = np.meshgrid([45.0, 35.0], [-110.0, -90.0], indexing="ij")
    >>> weather = simulate_weather(np.arange(5.0), lat, lon, np.random.default_rng(0))
    >>> weather["precipitation"].shape
    (5, 2, 2)
    """
    days, shape = len(day_of_year), lat.shape
    season = np.cos(2 * np.pi * (day_of_year - 200) / 365.25)[:, None, None]
    system = _red_noise(days, shape, 0.75, generator)
    wetness = np.clip((lon + 110) / 30, 0, 1)
    wet_after_dry, wet_after_wet = 0.10 + 0.10 * wetness, 0.35 + 0.15 * wetness
    spell = 0.16 * _red_noise(days, shape, 0.96, generator)
    rain = np.zeros((days, *shape))
    wet = np.zeros(shape, bool)
    for day in range(days):
        chance = _uniform_field(shape, generator)
        wet = chance < np.where(wet, wet_after_wet, wet_after_dry) + spell[day]
        amount = -np.log(np.clip(_uniform_field(shape, generator), 1e-6, 1))
        rain[day] = np.where(wet, 1.0 + (4.0 + 5.0 * wetness) * amount, 0.0)
    raining = rain > 0
    temperature = 300.0 - 0.6 * (lat - 25) + 11.0 * season + 4.0 * system - 2.0 * raining
    clear = 210.0 + (90.0 + 0.8 * (lat - 35)) * season
    shortwave = np.clip(clear * np.where(raining, 0.5, 0.95) + 12 * _red_noise(days, shape, 0.3, generator), 15, None)
    celsius = temperature - 273.15
    saturation = 0.622 * 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / 1e5
    humidity = saturation * np.clip(np.where(raining, 0.85, 0.6) + 0.06 * system, 0.2, 0.98)
    longwave = 5.67e-8 * temperature**4 * np.where(raining, 0.92, 0.78)
    return {
        "precipitation": rain,
        "air_temperature": temperature,
        "specific_humidity": humidity,
        "shortwave_radiation": shortwave,
        "longwave_radiation": longwave,
        "eastward_wind": 2.0 + 2.5 * _red_noise(days, shape, 0.5, generator),
        "northward_wind": 2.5 * _red_noise(days, shape, 0.5, generator),
    }


def _smooth_field(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """A Gaussian field of unit variance, alike over about two cells."""
    field = gaussian_filter(generator.normal(size=tuple(n + 12 for n in shape)), 1.5)[6:-6, 6:-6]
    return np.asarray(field * 2 * 1.5 * np.sqrt(np.pi))


def _uniform_field(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """A field of uniform values 0..1, alike over about two cells."""
    uniform: Array = 1 / (1 + np.exp(-1.702 * _smooth_field(shape, generator)))
    return uniform


def _red_noise(days: int, shape: tuple[int, ...], memory: float, generator: np.random.Generator) -> Array:
    """Fields of unit variance with first-order memory from day to day."""
    noise = np.empty((days, *shape))
    noise[0] = _smooth_field(shape, generator)
    for day in range(1, days):
        noise[day] = memory * noise[day - 1] + np.sqrt(1 - memory**2) * _smooth_field(shape, generator)
    return noise
