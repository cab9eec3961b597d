"""Water balance of the soil: three layers that fill, drain and dry, for the simulated world and as a teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vadose.compiled import compiled

Array = NDArray[np.floating]

DRIVEN_BY = ("precipitation", "air_temperature", "shortwave_radiation")
FLUXES = ("evapotranspiration", "runoff", "drainage")

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
    """Hydraulic properties of each cell, (...) or (3, ...): fractions, suction [mm], conductivity [mm a day]."""

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


@dataclass(frozen=True)
class Land:
    """What of N places their water balance depends on besides the soil: numbers, or arrays (N,).

    Attributes
    ----------
    thickness, roots
        Of the layers [mm] and the share of the roots in each, (3,) or (3, N).
    link, deep
        See `LINK`.
    winter, summer
        Share of the ground that is covered by green plants in mid January and mid July.
    demand
        Factor of the evaporative demand (crop factor).
    caught
        Precipitation that plants catch and that evaporates at once: at most so much [mm], and 30 % of a day's.
    """

    thickness: Array = field(default_factory=lambda: THICKNESS)
    roots: Array = field(default_factory=lambda: ROOTS)
    link: Array | float = LINK
    deep: Array | float = DEEP
    winter: Array | float = 0.5
    summer: Array | float = 0.5
    demand: Array | float = 1.0
    caught: Array | float = 0.0


@dataclass
class Water:
    """Water on and in the ground: (layer, ...) moisture [m3 m-3] and (...) snow [mm]."""

    moisture: Array
    snow: Array


def filled(soil: Soil) -> Water:
    """Every layer at field capacity, no snow; of a soil that is alike in all layers."""
    return Water(np.repeat(soil.field_capacity[None], 3, axis=0), np.zeros(soil.field_capacity.shape))


def step_water(soil: Soil, water: Water, weather: dict[str, Array], canopy: Array | float = 0.5) -> dict[str, Array]:
    """Step snow and the three layers through one day, in place, and give the fluxes [mm]; see `run_water`.

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
    """
    shape = water.snow.shape
    flat = {name: np.reshape(weather[name], (-1, 1)) for name in DRIVEN_BY}
    state = Water(water.moisture.reshape(3, -1).copy(), water.snow.ravel().copy())
    cover = np.broadcast_to(canopy, shape).ravel()
    _, fluxes = run_water(soil, Land(winter=cover, summer=cover), state, flat, np.zeros(1))
    water.moisture[:], water.snow[:] = state.moisture.reshape(3, *shape), state.snow.reshape(shape)
    return {name: flux.reshape(shape) for name, flux in zip(FLUXES, fluxes, strict=True)}


def run_water(
    soil: Soil, land: Land, water: Water, weather: Mapping[str, Array], summer: Array
) -> tuple[NDArray[np.float32], Array]:
    r"""Moisture of N places over T days (N, T, 3), and sums of the fluxes (3, N) [mm]; ``water`` moves on in place.

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
    soil
        Its properties (N,), or (3, N) by layer.
    water
        Moisture (3, N) and snow (N,) of the evening before.
    weather
        ``precipitation`` [mm], ``air_temperature`` [K] and ``shortwave_radiation`` [W m-2], (N, T), all known.
    summer
        Of each day, (T,): 0 in mid January to 1 in mid July, between which the canopy grows and fades.

    References
    ----------
    Priestley and Taylor (1972), doi:10.1175/1520-0493(1972)100<0081:OTAOSH>2.3.CO;2; Campbell
    (1974), doi:10.1097/00010694-197406000-00001; Allen et al. (1998), FAO Irrigation and drainage paper 56.

    Examples
    --------
    >>> soil, days = soil_of(np.array([0.4]), np.array([0.2])), np.ones((1, 90))
    >>> weather = {"precipitation": 0 * days, "air_temperature": 293 * days, "shortwave_radiation": 250 * days}
    >>> moisture, _ = run_water(soil, Land(), Water(np.full((3, 1), 0.3), np.zeros(1)), weather, np.ones(90))
    >>> moisture[0, [0, 89]].astype(float).round(2).tolist()
    [[0.28, 0.29, 0.3], [0.1, 0.16, 0.19]]
    """
    places, days = weather["precipitation"].shape
    table = np.empty((places, 10, 3))
    of_soil = (soil.porosity, soil.exponent, soil.suction, soil.conductivity, soil.field_capacity, soil.wilting_point)
    for k, values in enumerate(of_soil):
        table[:, k] = np.broadcast_to(np.reshape(values, (-1, places)), (3, places)).T
    for k, values in enumerate((land.thickness, land.roots), start=6):
        table[:, k] = np.broadcast_to(np.reshape(values, (3, -1)), (3, places)).T
    for k, alike in enumerate((land.link, land.deep, land.winter, land.summer, land.demand, land.caught)):
        table[:, 8 + k // 3, k % 3] = alike
    moisture, fluxes = np.empty((places, days, 3), np.float32), np.zeros((places, 3))
    # All laid out alike, so that the loop is compiled once.
    state = np.ascontiguousarray(np.column_stack([water.moisture.T, water.snow]), float)
    rain, kelvin, sun = (np.ascontiguousarray(weather[name], float) for name in DRIVEN_BY)
    _run(table, state, (rain, kelvin, sun), summer, moisture, fluxes)
    water.moisture[:], water.snow[:] = state[:, :3].T, state[:, 3]
    return moisture, fluxes.T


@compiled
def _run(
    table: Array, state: Array, weather: tuple[Array, Array, Array], summer: Array, moisture: Array, fluxes: Array
) -> None:
    """See `run_water`; what stands in which row of the table is said there. By index, which compiles faster."""
    rain, kelvin, sun = weather
    wetness, suction, driest = np.empty(3), np.empty(3), np.empty(3)
    held, room, flow = np.empty(3), np.empty(3), np.empty(3)
    for place in range(len(table)):
        of = table[place]
        phi, b, psi, ks, most, wilting, thick, roots = of[0], of[1], of[2], of[3], of[4], of[5], of[6], of[7]
        link, deep, january, july, factor, caught = of[8, 0], of[8, 1], of[8, 2], of[9, 0], of[9, 1], of[9, 2]
        theta, snow = state[place, :3], state[place, 3]
        for k in range(3):
            driest[k] = 0.5 * wilting[k]  # air dries bare ground further than roots do
        for day in range(rain.shape[1]):
            celsius, fallen = kelvin[place, day] - 273.15, rain[place, day]
            held_by_plants = min(caught, 0.3 * fallen) if celsius >= 0 else 0.0
            melt = min(max(3.0 * celsius, 0.0), snow)
            snow += (fallen if celsius < 0 else 0.0) - melt
            liquid = (0.0 if celsius < 0 else fallen - held_by_plants) + melt
            entering = min(liquid, (phi[0] - theta[0]) * thick[0])
            theta[0] += entering / thick[0]

            demand = 0.0
            if celsius > 0:
                slope = 4098 * 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / (243.12 + celsius) ** 2
                demand = factor * 1.26 * slope / (slope + 66.0) * 0.6 * sun[place, day] * 86400 / 2.45e6
            canopy = january + (july - january) * summer[day]
            bare = min(max((theta[0] - driest[0]) / (most[0] - driest[0]), 0.0), 1.0) ** 2 * demand * (1 - canopy)
            for k in range(3):
                available = (theta[k] - wilting[k]) / (most[k] - wilting[k])
                taken = demand * canopy * roots[k] * min(max(available / 0.5, 0.0), 1.0) + (bare if k == 0 else 0.0)
                taken = min(taken, max(theta[k] - driest[k], 0.0) * thick[k])
                theta[k] -= taken / thick[k]
                fluxes[place, 0] += taken
            fluxes[place, 0] += held_by_plants
            fluxes[place, 1] += liquid - entering

            for _ in range(PARTS):
                for k in range(3):
                    wetness[k] = np.log(theta[k] / phi[k])
                    suction[k] = psi[k] * np.exp(-b[k] * wetness[k])
                    # No more than a third of what a layer holds or of its room: a part of a day must not overshoot.
                    held[k] = max(theta[k] - driest[k], 0.0) * thick[k] / 3
                    room[k] = (phi[k] - theta[k]) * thick[k] / 3
                for k in range(2):
                    both = (2 * b[k] + 3) * wetness[k] + (2 * b[k + 1] + 3) * wetness[k + 1]
                    conductivity = np.sqrt(ks[k] * ks[k + 1]) * np.exp(both / 2)
                    gradient = 1 + 2 * (suction[k + 1] - suction[k]) / (thick[k] + thick[k + 1])
                    flow[k] = min(
                        max(link * conductivity * gradient / PARTS, -min(held[k + 1], room[k])),
                        min(held[k], room[k + 1]),
                    )
                flow[2] = min(deep * ks[2] * np.exp((2 * b[2] + 3) * wetness[2]) / PARTS, held[2])
                theta[0] -= flow[0] / thick[0]
                theta[1] += (flow[0] - flow[1]) / thick[1]
                theta[2] += (flow[1] - flow[2]) / thick[2]
                fluxes[place, 2] += flow[2]
            for k in range(3):
                moisture[place, day, k] = theta[k]
        state[place, 3] = snow
