"""Soil water of the simulated world: three layers that fill, drain and dry."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

THICKNESS = np.array([100.0, 300.0, 600.0])
"""Of the layers 0-10, 10-40, 40-100 cm [mm]."""
ROOTS = np.array([0.3, 0.45, 0.25])
"""Share of evapotranspiration that each layer gives."""


@dataclass(frozen=True)
class Soil:
    """Hydraulic properties of each cell, (row, column)."""

    porosity: Array
    exponent: Array
    conductivity: Array
    field_capacity: Array
    wilting_point: Array


def soil_of(sand: Array, clay: Array) -> Soil:
    r"""Hydraulic properties from texture [fractions] by the regressions of Cosby et al.

    Porosity :math:`0.489 - 0.126\,s`; exponent :math:`b = 2.91 + 15.9\,c`; conductivity at
    saturation :math:`60.96 \cdot 10^{-0.6 + 1.26 s - 0.64 c}` [mm a day, from inches an hour];
    field capacity and wilting point from :math:`\theta = \phi (\psi / \psi_s)^{-1/b}` at 3.3 and
    150 m with :math:`\psi_s = 0.01 \cdot 10^{1.88 - 1.31 s}` m.

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
        conductivity=conductivity,
        field_capacity=porosity * (3.3 / suction) ** (-1 / exponent),
        wilting_point=porosity * (150.0 / suction) ** (-1 / exponent),
    )


@dataclass
class Water:
    """Water on and in the ground: (layer, row, column) moisture [m3 m-3] and (row, column) snow [mm]."""

    moisture: Array
    snow: Array


def step_water(soil: Soil, water: Water, weather: dict[str, Array]) -> dict[str, Array]:
    r"""Step snow and the three layers through one day, in place, and give the fluxes [mm].

    Precipitation in frost lies as snow and melts by 3 mm a day and kelvin. What is liquid fills the top
    layer, what does not fit runs off. Evapotranspiration is the equilibrium rate of Priestley and
    Taylor, :math:`1.26 \frac{\Delta}{\Delta + \gamma} 0.6 R_s / \lambda`, shared by roots and cut with
    moisture between field capacity and wilting point. Each layer drains to the next by Campbell's
    :math:`K = K_s (\theta / \phi)^{2 b + 3}`, at most what is above wilting.

    Parameters
    ----------
    weather
        ``precipitation``, ``air_temperature`` and ``shortwave_radiation`` of the day, (row, column).

    Returns
    -------
    dict
        ``evapotranspiration``, ``runoff`` and ``drainage``: precipitation less these three is what
        snow and layers gained.

    References
    ----------
    Priestley and Taylor (1972), doi:10.1175/1520-0493(1972)100<0081:OTAOSH>2.3.CO;2; Campbell
    (1974), doi:10.1097/00010694-197406000-00001.
    """
    theta = water.moisture
    celsius = weather["air_temperature"] - 273.15
    slope = 4098 * 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / (243.12 + celsius) ** 2
    energy = 0.6 * weather["shortwave_radiation"] * 86400 / 2.45e6
    demand = np.where(celsius > 0, 1.26 * slope / (slope + 66.0) * energy, 0.0)
    rain = weather["precipitation"]
    melt = np.clip(3.0 * celsius, 0, water.snow)
    water.snow += np.where(celsius < 0, rain, 0.0) - melt
    liquid = np.where(celsius < 0, 0.0, rain) + melt
    entering = np.minimum(liquid, (soil.porosity - theta[0]) * THICKNESS[0])
    theta[0] += entering / THICKNESS[0]
    thick = THICKNESS[:, None, None]
    stress = np.clip((theta - soil.wilting_point) / (soil.field_capacity - soil.wilting_point), 0, 1)
    taken = demand * ROOTS[:, None, None] * stress
    taken = np.minimum(taken, np.maximum(theta - soil.wilting_point, 0) * thick)
    theta -= taken / thick
    for layer in range(3):
        flow = soil.conductivity * (theta[layer] / soil.porosity) ** (2 * soil.exponent + 3)
        flow = np.minimum(flow, np.maximum(theta[layer] - soil.wilting_point, 0) * THICKNESS[layer])
        if layer < 2:
            flow = np.minimum(flow, (soil.porosity - theta[layer + 1]) * THICKNESS[layer + 1])
            theta[layer + 1] += flow / THICKNESS[layer + 1]
        theta[layer] -= flow / THICKNESS[layer]
    return {"evapotranspiration": taken.sum(axis=0), "runoff": liquid - entering, "drainage": flow}
