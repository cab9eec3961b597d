"""The truth of the simulated world, day after day: what every simulated file is made from."""

import zlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.features.soil_water import filled, soil_of, step_water
from vadose.grid import Grid, ease_grid
from vadose.twin.fields import field
from vadose.twin.land import land
from vadose.twin.land_model import GREENNESS, believed_soil, believed_weather
from vadose.twin.sensors import backscatter, brightness, green, overpass, reflectance, retrieve, skin, vegetation
from vadose.twin.weather import weather
from vadose.variables import describe

Array = NDArray[np.floating]

EPOCH = pd.Timestamp("2000-01-01")


def simulate(
    grid: Grid, first: str, last: str, *, seed: int = 0, chunk: int = 32, spin_up: int = 365, land_model: bool = False
) -> Iterator[xr.Dataset]:
    """Simulate a world on a grid and give its truth in pieces of some days.

    Weather and land are functions of place and day (`vadose.twin.fields`), so any two grids, such as
    9 km and 100 m inside a county, see the same storms. Moisture of three layers follows from a water
    balance (`vadose.features.soil_water`), satellites see it through their physics with noise of each sensor
    (`vadose.twin.sensors`). Memory holds one piece, whatever the length.

    Parameters
    ----------
    grid
        Any regular grid, such as ``ease_grid('9km').bounding_box(...)``.
    first, last
        Days, inclusive.
    chunk
        Days a piece.
    spin_up
        Days simulated before the first one to forget the start.
    land_model
        Also run a land-surface model with inputs of its own errors (`vadose.twin.land_model`) and give its
        moisture as ``modelled_soil_moisture_0_10cm`` and so on.

    Yields
    ------
    xarray.Dataset
        (time, y, x) and (y, x) variables, float32, in the names and units of `vadose.variables`.

    Examples
    --------
    >>> grid = ease_grid("36km").bounding_box(-100, 38, -96, 41)
    >>> [piece.sizes["time"] for piece in simulate(grid, "2019-06-01", "2019-06-03", chunk=2, spin_up=5)]
    [2, 1]
    """
    fixed = land(grid, seed)
    lat, lon = grid.latlon(*np.indices(grid.shape))
    sand, clay, elevation, cover = (
        fixed[name].values.astype(float) for name in ("sand_fraction", "clay_fraction", "elevation", "land_cover")
    )
    soil = soil_of(sand, clay)
    water = filled(soil)
    believed = believed_soil(grid, sand, clay, seed) if land_model else soil
    modelled = filled(believed)
    freshness: Array = np.zeros(grid.shape)
    soil_temperature = np.full(grid.shape, np.nan)
    # What a retrieval believes of canopy and roughness is wrong by a share that stays with the place.
    belief = {
        "opacity": np.exp(0.25 * field(grid, "opacity error", 60.0, seed)),
        "roughness": np.exp(0.5 * field(grid, "roughness error", 60.0, seed)),
    }
    days: list[dict[str, Array]] = []
    begin = pd.Timestamp(first)
    for day in pd.date_range(begin - pd.Timedelta(days=spin_up), last):
        today = weather(day, grid, lat, lon, elevation, seed)
        plants = vegetation(day.day_of_year, cover, lat)
        canopy = green(plants["ndvi"])
        fluxes = step_water(soil, water, today, canopy)
        if land_model:
            step_water(believed, modelled, believed_weather(today, day, grid, seed), GREENNESS * canopy)
        freshness = skin(freshness, today)
        mean = today["air_temperature"]
        soil_temperature = np.where(np.isnan(soil_temperature), mean, soil_temperature + (mean - soil_temperature) / 8)
        if day < begin:
            continue
        today |= {"evapotranspiration": fluxes["evapotranspiration"], "runoff": fluxes["runoff"]}
        today |= {"snow_water_equivalent": water.snow.copy(), "soil_temperature": soil_temperature}
        for layer, name in enumerate(("0_10cm", "10_40cm", "40_100cm")):
            today[f"soil_moisture_{name}"] = water.moisture[layer].copy()
            if land_model:
                today[f"modelled_soil_moisture_{name}"] = modelled.moisture[layer].copy()
        today |= plants
        days.append(today | _seen(day, grid, today, freshness, fixed, lat, lon, belief, seed))
        if len(days) == chunk or day == pd.Timestamp(last):
            yield _piece(fixed, day, days, seed)
            days = []


def _seen(
    day: pd.Timestamp,
    grid: Grid,
    today: dict[str, Array],
    freshness: Array,
    fixed: xr.Dataset,
    lat: Array,
    lon: Array,
    belief: dict[str, Array],
    seed: int,
) -> dict[str, Array]:
    """What satellites see on a day."""
    generator = np.random.default_rng([seed, zlib.crc32(b"sensors"), (day - EPOCH).days + 100_000, *lat.shape])
    moisture = today["soil_moisture_0_10cm"]
    porosity, clay, albedo, roughness = (
        fixed[name].values.astype(float) for name in ("porosity", "clay_fraction", "albedo", "roughness_coefficient")
    )
    surface = today["soil_temperature"] + 0.3 * (today["air_temperature"] - today["soil_temperature"])
    opacity = today["vegetation_opacity"]
    # The radiometer sees half the layer, which rain reaches first and which dries first.
    shallow = moisture * (0.9 + 0.2 * freshness)
    seen = {
        f"tb_{p}": brightness(shallow, surface, opacity, albedo, roughness, p) + 2.5 * generator.normal(size=lat.shape)
        for p in ("h", "v")
    }
    passes = {
        f"overpass_{name}": overpass((day - EPOCH).days, lat, lon, ascending)
        for name, ascending in (("am", False), ("pm", True))
    }
    # What is believed of them also drifts in weeks, and of the temperature in days.
    t = (day - EPOCH).days
    grown = opacity * belief["opacity"] * np.exp(0.22 * field(grid, "opacity drift", 60.0, seed, day=t, memory=20.0))
    warm = surface + 2.0 * field(grid, "temperature error", 200.0, seed, day=t, memory=2.0)
    retrieved = retrieve(seen["tb_v"], warm, grown, albedo, roughness * belief["roughness"])
    visible = (passes["overpass_am"] | passes["overpass_pm"]) & (surface > 273.15) & (fixed.water_fraction.values < 0.5)
    radar = backscatter(moisture, today["vegetation_water_content"])
    radar = {name: value * np.exp(0.06 * generator.normal(size=lat.shape)) for name, value in radar.items()}
    # Light sees the skin, which is wetter than the layer after rain and drier some days later.
    bright = reflectance(moisture * (0.75 + 0.5 * freshness), porosity, today["ndvi"], clay)
    # Angles of sun and view and haze change all bands together; each has an error of its own.
    angle = np.exp(0.08 * generator.normal(size=lat.shape))
    bright = {
        name: np.clip(value * angle * (1 + 0.03 * generator.normal(size=lat.shape)), 0.001, 1)
        for name, value in bright.items()
    }
    # Microwave sounders and gauges get the rain of a day wrong by a factor of 1.6 (standard deviation).
    unsure = 0.5 * field(grid, "rain error", 60.0, seed, day=t, memory=0.5)
    return {
        **seen,
        **radar,
        **bright,
        **{name: seen_there.astype(float) for name, seen_there in passes.items()},
        "surface_temperature": surface,
        "satellite_precipitation": today["precipitation"] * np.exp(unsure - 0.5**2 / 2),
        "satellite_soil_moisture": np.where(visible, retrieved, np.nan),
    }


def _piece(fixed: xr.Dataset, last: pd.Timestamp, days: list[dict[str, Array]], seed: int) -> xr.Dataset:
    piece = fixed.assign_coords(time=pd.date_range(end=last, periods=len(days)))
    for name in days[0]:
        piece[name] = ("time", "y", "x"), np.stack([day[name] for day in days]).astype(np.float32)
    piece.attrs |= {"simulated": "true", "seed": seed}
    return describe(piece)


def at(values: xr.DataArray, lat: ArrayLike, lon: ArrayLike) -> NDArray[np.float32]:
    """Truth at points: the value of the cell that holds each one, NaN outside.

    Parameters
    ----------
    values
        (y, x) or (time, y, x) on an EASE-2 grid, a variable of `simulate`'s dataset.
    lat, lon
        Of one shape, or broadcast to one [degree].

    Returns
    -------
    numpy.ndarray
        The shape of the points, with the time axis before it if there is one.

    Examples
    --------
    >>> truth = example(days=1)
    >>> at(truth.elevation, [40.0, 0.0], [-99.9, 0.0]).shape
    (2,)
    """
    x, y = values.x.values, values.y.values
    step = float(x[1] - x[0])
    grid = Grid("EPSG:6933", (float(x[0]) - step / 2, float(y[0]) + step / 2, step), (len(y), len(x)), step)
    row, column = grid.rowcol(*np.broadcast_arrays(lat, lon))
    found: NDArray[np.float32] = np.where(row >= 0, values.values[..., row, column], np.nan).astype(np.float32)
    return found


def example(
    days: int = 2, rows: int = 12, columns: int = 14, first: str = "2019-04-29", resolution: str = "9km", seed: int = 0
) -> xr.Dataset:
    """A small truth around 40 N, 100 W, for tests and trials; see `simulate`."""
    whole = ease_grid(resolution)
    row, column = (int(v) for v in whole.rowcol(40.0, -100.0))
    part = whole.part(
        slice(row - rows // 2, row - rows // 2 + rows), slice(column - columns // 2, column - columns // 2 + columns)
    )
    last = f"{pd.Timestamp(first) + pd.Timedelta(days=days - 1):%Y-%m-%d}"
    return next(simulate(part, first, last, seed=seed, chunk=days, spin_up=40))
