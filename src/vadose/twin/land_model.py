"""The simulated world as a land-surface model has it, such as Noah of NLDAS-2: the same physics, wrong inputs."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vadose.features.soil_water import Soil, soil_of
from vadose.grid import Grid
from vadose.twin.fields import field

Array = NDArray[np.floating]

GREENNESS = 0.85
"""Of the canopy that the model believes in, over the true one."""


def believed_soil(grid: Grid, sand: Array, clay: Array, seed: int) -> Soil:
    """The soil the model has: texture and conductivity wrong in regions of some ten kilometres.

    Sand is wrong by 0.08, clay by a quarter of itself, porosity by 6 % and the conductivity at saturation by a
    factor of two (standard deviations).
    """

    def wrong(name: str, length: float) -> Array:
        return field(grid, f"model {name}", length, seed)

    sand = np.clip(sand + 0.08 * wrong("sand", 60.0), 0.05, 0.92)
    clay = np.clip(clay * np.exp(0.25 * wrong("clay", 60.0)), 0.03, 0.7)
    porosity = np.exp(0.06 * wrong("porosity", 90.0))
    return soil_of(sand, clay).scaled(porosity, np.exp(0.7 * wrong("conductivity", 90.0)))


def believed_weather(today: dict[str, Array], day: pd.Timestamp, grid: Grid, seed: int) -> dict[str, Array]:
    """The forcing the model is given: rain from few gauges, radiation 5 % too strong, air wrong by 0.8 K.

    Rain is wrong by a factor of 2.2 (standard deviation) that changes within a day and 60 km, and by one of 1.6 that
    changes within weeks and 100 km; it is right on average.
    """
    t = (day - pd.Timestamp("2000-01-01")).days

    def wrong(name: str, length: float, memory: float) -> Array:
        return field(grid, f"model {name}", length, seed, day=t, memory=memory)

    gauge = 0.8 * wrong("rain", 60.0, 0.7) + 0.5 * wrong("month of rain", 100.0, 20.0)
    return {
        "precipitation": today["precipitation"] * np.exp(gauge - (0.8**2 + 0.5**2) / 2),
        "air_temperature": today["air_temperature"] + 0.8 * wrong("warmth", 300.0, 5.0),
        "shortwave_radiation": today["shortwave_radiation"] * (1.05 + 0.06 * wrong("sun", 200.0, 1.0)),
    }
