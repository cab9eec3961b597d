"""The truth of the simulated world, day after day: what every simulated file is made from."""

import zlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from vadose.grid import Grid, ease_grid
from vadose.twin.fields import field
from vadose.twin.land import land
from vadose.twin.sensors import backscatter, brightness, overpass, reflectance, retrieve, vegetation
from vadose.twin.soil import Water, soil_of, step_water
from vadose.twin.weather import weather
from vadose.variables import describe

Array = NDArray[np.floating]

EPOCH = pd.Timestamp("2000-01-01")


def simulate(
    grid: Grid, first: str, last: str, *, seed: int = 0, chunk: int = 32, spin_up: int = 365
) -> Iterator[xr.Dataset]:
    """Simulate a world on a grid and give its truth in pieces of some days.

    Weather and land are functions of place and day (`vadose.twin.fields`), so any two grids, such as
    9 km and 100 m inside a county, see the same storms. Moisture of three layers follows from a water
    balance (`vadose.twin.soil`), satellites see it through their physics with noise of each sensor
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
    sand, clay, elevation = (
        fixed[name].values.astype(float) for name in ("sand_fraction", "clay_fraction", "elevation")
    )
    soil = soil_of(sand, clay)
    water = Water(np.repeat(soil.field_capacity[None], 3, axis=0), np.zeros(grid.shape))
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
        fluxes = step_water(soil, water, today)
        mean = today["air_temperature"]
        soil_temperature = np.where(np.isnan(soil_temperature), mean, soil_temperature + (mean - soil_temperature) / 8)
        if day < begin:
            continue
        today |= {"evapotranspiration": fluxes["evapotranspiration"], "runoff": fluxes["runoff"]}
        today |= {"snow_water_equivalent": water.snow.copy(), "soil_temperature": soil_temperature}
        for layer, name in enumerate(("0_10cm", "10_40cm", "40_100cm")):
            today[f"soil_moisture_{name}"] = water.moisture[layer].copy()
        days.append(today | _seen(day, today, fixed, lat, lon, belief, seed))
        if len(days) == chunk or day == pd.Timestamp(last):
            yield _piece(fixed, day, days, seed)
            days = []


def _seen(
    day: pd.Timestamp,
    today: dict[str, Array],
    fixed: xr.Dataset,
    lat: Array,
    lon: Array,
    belief: dict[str, Array],
    seed: int,
) -> dict[str, Array]:
    """What satellites see on a day."""
    generator = np.random.default_rng([seed, zlib.crc32(b"sensors"), (day - EPOCH).days + 100_000, *lat.shape])
    moisture = today["soil_moisture_0_10cm"]
    cover, porosity, clay, albedo, roughness = (
        fixed[name].values.astype(float)
        for name in ("land_cover", "porosity", "clay_fraction", "albedo", "roughness_coefficient")
    )  # fmt: skip
    plants = vegetation(day.day_of_year, cover, lat)
    surface = today["soil_temperature"] + 0.3 * (today["air_temperature"] - today["soil_temperature"])
    opacity = plants["vegetation_opacity"]
    seen = {
        f"tb_{p}": brightness(moisture, surface, opacity, albedo, roughness, p) + 2.5 * generator.normal(size=lat.shape)
        for p in ("h", "v")
    }
    passes = {
        f"overpass_{name}": overpass((day - EPOCH).days, lat, lon, ascending)
        for name, ascending in (("am", False), ("pm", True))
    }
    retrieved = retrieve(seen["tb_v"], surface, opacity * belief["opacity"], albedo, roughness * belief["roughness"])
    visible = (passes["overpass_am"] | passes["overpass_pm"]) & (surface > 273.15) & (fixed.water_fraction.values < 0.5)
    radar = backscatter(moisture, plants["vegetation_water_content"])
    radar = {name: value * np.exp(0.06 * generator.normal(size=lat.shape)) for name, value in radar.items()}
    return {
        **plants, **seen, **radar, **reflectance(moisture, porosity, plants["ndvi"], clay),
        **{name: seen_there.astype(float) for name, seen_there in passes.items()},
        "surface_temperature": surface,
        "satellite_soil_moisture": np.where(visible, retrieved, np.nan),
    }  # fmt: skip


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
