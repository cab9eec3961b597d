"""Land of the simulated world: terrain, soils and cover, functions of place at every resolution."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.features.soil_water import soil_of
from vadose.grid import Grid
from vadose.twin.fields import field, uniform

Array = NDArray[np.floating]

IGBP_TO_NLCD = {1: 42, 4: 41, 5: 43, 7: 52, 10: 71, 11: 90, 12: 82, 13: 22, 14: 81, 16: 31, 17: 11}
"""One NLCD code for each IGBP class that the world holds."""


def land(grid: Grid, seed: int) -> xr.Dataset:
    """Fixed fields (y, x) of the world: terrain, soil, land cover, what radiometers need.

    Mountains in the west, plains in the east; sandy and clayey regions some hundred kilometres wide,
    with fields of a kilometre on grids that resolve them; land cover that follows height, dryness and
    chance.
    """
    fine = grid.cell < 1500
    longitude = grid.latlon(*np.indices(grid.shape))[1]

    def rough(name: str, coarse_km: float, share: float) -> Array:
        """A field with detail of 1 to 10 km where the grid resolves it."""
        values = field(grid, name, coarse_km, seed)
        middle = field(grid, f"{name} 30 km", 30.0, seed)
        values = np.sqrt(1 - share) * values + np.sqrt(share / 2) * middle
        if fine:
            values = values + np.sqrt(share / 2) * field(grid, f"{name} 2 km", 2.0, seed)
        return np.asarray(values)

    west = np.clip((-98 - longitude) / 14, 0, 1)
    elevation = 250 + 1500 * west + (60 + 500 * west) * rough("elevation", 150.0, 0.3)
    elevation = np.maximum(elevation, 5.0)
    slope, aspect = _slope(elevation, grid.transform[2])
    sand = np.clip(0.42 + 0.15 * rough("sand", 300.0, 0.4), 0.05, 0.92)
    clay = np.clip((1 - sand) * np.clip(0.38 + 0.12 * rough("clay", 200.0, 0.4), 0.1, 0.8), 0.03, 0.7)
    carbon = np.clip(1.2 + 0.5 * rough("carbon", 250.0, 0.3) + 0.5 * (1 - west), 0.1, 6.0)
    cover = _cover(uniform(rough("cover", 120.0, 0.6)), uniform(rough("kind", 80.0, 0.6)), west, elevation)
    water_chance = uniform(rough("lakes", 60.0, 0.7))
    water = np.where(water_chance > 0.97, 1.0, 0.0) if fine else np.clip((water_chance - 0.93) * 8, 0, 0.3)
    cover = np.where(water > 0.5, 17, cover)
    soil = soil_of(sand, clay)
    nlcd = np.vectorize(IGBP_TO_NLCD.__getitem__, otypes=[float])(cover.astype(int))
    forest = np.isin(cover, (1, 4, 5))
    values = {
        "elevation": elevation,
        "slope": slope,
        "aspect": aspect,
        "sand_fraction": sand,
        "clay_fraction": clay,
        "silt_fraction": 1 - sand - clay,
        "bulk_density": 2.65 * (1 - soil.porosity),
        "porosity": soil.porosity,
        "organic_carbon": carbon,
        "albedo": np.where(forest, 0.06, 0.05),
        "roughness_coefficient": np.where(forest, 0.16, np.where(cover == 12, 0.11, 0.13)),
        "land_cover": cover,
        "land_cover_nlcd": nlcd,
        "water_fraction": water,
    }
    dataset = grid.coordinates()
    for name, value in values.items():
        dataset[name] = ("y", "x"), np.broadcast_to(value, grid.shape).astype(np.float32)
    return dataset


def _slope(elevation: Array, step: float) -> tuple[Array, Array]:
    """Slope and aspect [degree, clockwise from north, downhill]."""
    if min(elevation.shape) < 2:
        return np.zeros(elevation.shape), np.zeros(elevation.shape)
    southward, eastward = np.gradient(elevation, step)
    slope = np.degrees(np.arctan(np.hypot(southward, eastward)))
    return slope, np.degrees(np.arctan2(-eastward, southward)) % 360


def _cover(chance: Array, kind: Array, west: Array, elevation: Array) -> Array:
    """IGBP classes by dryness, height and two fields of chance."""
    wet_plain = np.select(
        [chance < 0.35, chance < 0.45, chance < 0.55, chance < 0.60, chance < 0.64],
        [12, 14, 10, 13, 11],
        np.where(kind < 0.5, 4, 5),
    )
    dry = np.select([chance < 0.5, chance < 0.85, chance < 0.9], [10, 7, 16], 12)
    cover = np.where(west > 0.25, dry, wet_plain)
    return np.asarray(np.where((elevation > 1900) & (kind < 0.7), 1, cover), float)
