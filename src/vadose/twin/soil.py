"""Soil water of the simulated world: three layers that fill, drain and dry."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

THICKNESS = np.array([100.0, 300.0, 600.0])
"""Of the layers 0-10, 10-40, 40-100 cm [mm]."""
ROOTS = np.array([0.35, 0.4, 0.25])
"""Share of the roots in each layer."""
PARTS = 4
"""Steps of a day in which water moves between layers."""
LINK, DEEP = 0.3, 0.25
"""Share of Campbell's conductivity that holds between layers, and below the lowest one.

Chosen so that anomalies of the three layers fall to 1/e after about 14, 25 and 90 days on the plains, as those of
USCRN stations there do after 15, 29 and 77 days (5, 20 and 50 cm, medians of 12 stations, 2015 to 2021).
"""


@dataclass(frozen=True)
class Soil:
    """Hydraulic properties of each cell, (row, column): fractions, suction [mm], conductivity [mm a day]."""

    porosity: Array
    exponent: Array
    suction: Array
    conductivity: Array
    field_capacity: Array
    wilting_point: Array

    def scaled(self, porosity: Array, conductivity: Array) -> "Soil":
        """The soil with porosity (and with it what it holds) and conductivity multiplied."""
        return replace(
            self,
            porosity=self.porosity * porosity,
            field_capacity=self.field_capacity * porosity,
            wilting_point=self.wilting_point * porosity,
            conductivity=self.conductivity * conductivity,
        )


def soil_of(sand: Array, clay: Array) -> Soil:
    r"""Hydraulic properties from texture [fractions] by the regressions of Cosby et al.

    Porosity :math:`0.489 - 0.126\,s`; exponent :math:`b = 2.91 + 15.9\,c`; conductivity at
    saturation :math:`609.6 \cdot 10^{-0.6 + 1.26 s - 0.64 c}` [mm a day, from inches an hour];
    suction at saturation :math:`\psi_s = 0.01 \cdot 10^{1.88 - 1.31 s}` m; field capacity and wilting
    point from :math:`\theta = \phi (\psi / \psi_s)^{-1/b}` at 3.3 and 150 m.

    References
    ----------
    Cosby et al. (1984), doi:10.1029/WR020i006p00682.

    Examples
    --------
    >>> loam = soil_of(np.array(0.4), np.array(0.2))
    >>> bool(0.05 < loam.wilting_point < loam.field_capacity < loam.porosity < 0.5)
    True
    """
    porosity = 0.489 - 0.126 * sand
    exponent = 2.91 + 15.9 * clay
    suction = 0.01 * 10 ** (1.88 - 1.31 * sand)
    conductivity = 25.4 * 24 * 10 ** (-0.6 + 1.26 * sand - 0.64 * clay)
    return Soil(
        porosity=porosity,
        exponent=exponent,
        suction=1000 * suction,
        conductivity=conductivity,
        field_capacity=porosity * (3.3 / suction) ** (-1 / exponent),
        wilting_point=porosity * (150.0 / suction) ** (-1 / exponent),
    )


@dataclass
class Water:
    """Water on and in the ground: (layer, row, column) moisture [m3 m-3] and (row, column) snow [mm]."""

    moisture: Array
    snow: Array


def filled(soil: Soil) -> Water:
    """Every layer at field capacity, no snow."""
    return Water(np.repeat(soil.field_capacity[None], 3, axis=0), np.zeros(soil.field_capacity.shape))


def step_water(soil: Soil, water: Water, weather: dict[str, Array], canopy: Array | float = 0.5) -> dict[str, Array]:
    r"""Step snow and the three layers through one day, in place, and give the fluxes [mm].

    Precipitation in frost lies as snow and melts by 3 mm a day and kelvin. What is liquid fills the top
    layer, what does not fit runs off. Evaporative demand is the equilibrium rate of Priestley and Taylor,
    :math:`1.26 \frac{\Delta}{\Delta + \gamma} 0.6 R_s / \lambda`. Plants take their part of it by their
    roots, less where less than half of the available water is left; bare ground takes the rest from the top
    layer, with the square of its wetness. Between layers water moves as Darcy and Buckingham say,
    :math:`q = K (1 + \Delta\psi / \Delta z)` with Campbell's :math:`K = K_s (\theta / \phi)^{2 b + 3}` and
    :math:`\psi = \psi_s (\theta / \phi)^{-b}`, :math:`K` being a share of the geometric mean of both
    layers: rain reaches the layers below late, and they feed a dry layer above.

    Parameters
    ----------
    weather
        ``precipitation``, ``air_temperature`` and ``shortwave_radiation`` of the day, (row, column).
    canopy
        Share of the ground that is covered by green plants, (row, column).

    Returns
    -------
    dict
        ``evapotranspiration``, ``runoff`` and ``drainage``: precipitation less these three is what
        snow and layers gained.

    References
    ----------
    Priestley and Taylor (1972), doi:10.1175/1520-0493(1972)100<0081:OTAOSH>2.3.CO;2; Campbell
    (1974), doi:10.1097/00010694-197406000-00001; Allen et al. (1998), FAO Irrigation and drainage paper 56.
    """
    theta = water.moisture
    celsius = weather["air_temperature"] - 273.15
    rain = weather["precipitation"]
    melt = np.clip(3.0 * celsius, 0, water.snow)
    water.snow += np.where(celsius < 0, rain, 0.0) - melt
    liquid = np.where(celsius < 0, 0.0, rain) + melt
    entering = np.minimum(liquid, (soil.porosity - theta[0]) * THICKNESS[0])
    theta[0] += entering / THICKNESS[0]
    taken = _evaporation(soil, theta, _demand(celsius, weather["shortwave_radiation"]), np.asarray(canopy))
    theta -= taken / THICKNESS[:, None, None]
    drainage = sum((_move(soil, theta) for _ in range(PARTS)), np.zeros(celsius.shape))
    return {"evapotranspiration": taken.sum(axis=0), "runoff": liquid - entering, "drainage": drainage}


def _demand(celsius: Array, shortwave: Array) -> Array:
    """Evaporation of a wet surface [mm a day], none in frost."""
    slope = 4098 * 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / (243.12 + celsius) ** 2
    energy = 0.6 * shortwave * 86400 / 2.45e6
    return np.where(celsius > 0, 1.26 * slope / (slope + 66.0) * energy, 0.0)


def _evaporation(soil: Soil, theta: Array, demand: Array, canopy: Array) -> Array:
    """Water that roots and the bare ground take from each layer [mm]."""
    available = (theta - soil.wilting_point) / (soil.field_capacity - soil.wilting_point)
    taken = demand * canopy * ROOTS[:, None, None] * np.clip(available / 0.5, 0, 1)
    # Air dries bare ground further than roots do.
    driest = 0.5 * soil.wilting_point
    taken[0] += demand * (1 - canopy) * np.clip((theta[0] - driest) / (soil.field_capacity - driest), 0, 1) ** 2
    return np.asarray(np.minimum(taken, np.maximum(theta - driest, 0) * THICKNESS[:, None, None]))


def _move(soil: Soil, theta: Array) -> Array:
    """Move water between the layers for a part of a day, and give what leaves the lowest [mm]."""
    wetness = np.log(theta / soil.porosity)
    suction = soil.suction * np.exp(-soil.exponent * wetness)
    power = 2 * soil.exponent + 3
    driest = 0.5 * soil.wilting_point
    held = np.maximum(theta - driest, 0) * THICKNESS[:, None, None]
    room = (soil.porosity - theta) * THICKNESS[:, None, None]
    flows = []
    for above, below in ((0, 1), (1, 2)):
        conductivity = soil.conductivity * np.exp(power * (wetness[above] + wetness[below]) / 2)
        gradient = 1 + 2 * (suction[below] - suction[above]) / (THICKNESS[above] + THICKNESS[below])
        # No more than a third of what a layer holds or of its room: a part of a day must not overshoot.
        most = np.minimum(held[above], room[below]) / 3
        least = -np.minimum(held[below], room[above]) / 3
        flows.append(np.clip(LINK * conductivity * gradient / PARTS, least, most))
    lost = np.minimum(DEEP * soil.conductivity * np.exp(power * wetness[2]) / PARTS, held[2] / 3)
    theta[0] -= flows[0] / THICKNESS[0]
    theta[1] += (flows[0] - flows[1]) / THICKNESS[1]
    theta[2] += (flows[1] - lost) / THICKNESS[2]
    return np.asarray(lost)
