"""What is known of 100 m pixels of the simulated world each day, and of the coarse cells that hold them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose import features
from vadose.features.soil_water import soil_of
from vadose.gapfill.last_value import carry_forward
from vadose.grid import Grid, ease_grid
from vadose.twin.fields import field
from vadose.twin.granules.landsat import passes
from vadose.twin.granules.sentinel1 import REPEAT
from vadose.twin.land import land
from vadose.twin.truth import EPOCH, simulate
from vadose.variables import describe

COARSE = {"smap_l4": 90, "weather": 40, "surface_temperature": 10}
"""Coarse product -> pixels of 100 m along the edge of its cells: 9 km, 4 km, 1 km, all of them parts of 36 km."""
EDGES = {"fine": 1, **COARSE}
LAYERS = ("soil_moisture_0_10cm", "soil_moisture_10_40cm", "soil_moisture_40_100cm")
PLACE = ["y", "x", "lat", "lon", "crs"]
PIECE = 32
"""Days of a piece."""
RUN_UP = 64
"""Days before the first one whose overpasses are seen."""
# Weather needs no past, and the temperature of the surface that of a month.
_SPIN_UP = {"weather": 0, "surface_temperature": 40}
_WEATHER = [
    "precipitation",
    "shortwave_radiation",
    "specific_humidity",
    "vapor_pressure_deficit",
    "wind_speed",
    "reference_evapotranspiration",
    "reference_evapotranspiration_alfalfa",
]
LANDSAT_9 = pd.Timestamp("2021-11-01")
# Remainder of the days of Sentinel-1A, counted from 2000-01-01, over its repeat cycle.
_SENTINEL_1 = 1
# Water of the snow from which on the ground is hidden [kg m-2].
_SNOW = 10.0
# Share of half the air's daily range by which the surface is warmer when Terra passes by day.
_TERRA = 0.7

Floats = NDArray[np.floating]
Filled = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Of each feature the last valid value and its age [day], (y, x)."""


@dataclass(frozen=True)
class Pixels:
    """Rows and columns of the 100 m EASE-Grid 2.0, every one of an area or one in each 36 km."""

    rows: range
    columns: range

    def __iter__(self) -> Iterator[range]:
        return iter((self.rows, self.columns))

    def grid(self, edge: int = 1) -> Grid:
        """The cells of so many pixels along their edge that hold these pixels.

        Examples
        --------
        >>> Pixels(range(20, 60), range(40)).grid(40).shape
        (2, 1)
        >>> alone = Pixels(range(7, 800, 360), range(7, 800, 360)).grid(90)
        >>> alone.shape, round(alone.transform[2] / alone.cell)
        ((3, 3), 4)
        """
        pixel = ease_grid("100m")
        left, top, step = pixel.transform
        shape = (pixel.shape[0] // edge, pixel.shape[1] // edge)
        whole = Grid(pixel.crs, (left, top, edge * step), shape, edge * step)
        rows, columns = (slice(of[0] // edge, of[-1] // edge + 1, max(of.step // edge, 1)) for of in self)
        return whole.part(rows, columns)


def ground(pixels: Pixels, seed: int) -> xr.Dataset:
    """What stays, (y, x): terrain, classes of land cover, the soil map, and ``mask``, 1 where there is no water.

    Terrain and land cover are right. Of the soil map sand is wrong by 0.06 and clay by a fifth of itself (standard
    deviations), half of the variance in spots of 2 km and half in regions of 30 km.
    """
    # Slopes need the pixels around.
    wide = Pixels(*(range(of[0] - 1, of[-1] + 2) for of in pixels)).grid()
    truth = land(wide, seed)

    def wrong(name: str) -> Floats:
        spots, regions = (field(wide, f"soil map, {name}, {length} km", length, seed) for length in (2.0, 30.0))
        return np.asarray((spots + regions) / np.sqrt(2))

    sand = np.clip(truth.sand_fraction.values + 0.06 * wrong("sand"), 0.05, 0.92)
    clay = np.clip(truth.clay_fraction.values * np.exp(0.2 * wrong("clay")), 0.03, 0.95 - sand)
    found = features.aspect_components(truth.elevation)
    found["elevation"] = truth.elevation
    found["slope"], found["aspect"] = features.slope(truth.elevation), features.aspect(truth.elevation)
    found["sand_fraction"], found["clay_fraction"] = (("y", "x"), sand), (("y", "x"), clay)
    found["bulk_density"] = ("y", "x"), 2.65 * (1 - soil_of(sand, clay).porosity)
    group = features.nlcd_group(truth.land_cover_nlcd, legend="mmnet")
    for number, name in enumerate(features.NLCD_GROUPS["mmnet"], 1):
        found[f"land_cover_{name}"] = group == number
    found = found.astype(np.float32).assign(mask=truth.water_fraction < 0.5)
    inner = found.isel(y=slice(1, -1), x=slice(1, -1)).drop_vars(PLACE)
    return describe(pixels.grid().coordinates().assign(inner.data_vars))


def observe(
    pixels: Pixels, days: pd.DatetimeIndex, *, seed: int, spin_up: int, progress: Callable[[float], None]
) -> Iterator[dict[str, xr.Dataset]]:
    """Simulate days in pieces and give what is known of the pixels, and the truth.

    Indices and temperature of the surface are those of the last day they were seen, with ``NAME_age``; before
    they were first seen they are missing.

    Yields
    ------
    dict
        (time, y, x) on the grids of `Pixels.grid`: under ``'fine'`` indices, and true moisture of `LAYERS`; under
        each name of `COARSE` the fields of that product; under ``'raw'`` all that is simulated of the pixels.
    """
    first, last = (f"{day:%Y-%m-%d}" for day in (days[0] - pd.Timedelta(days=RUN_UP), days[-1]))
    grids = {kind: pixels.grid(edge) for kind, edge in EDGES.items()}
    runs = [
        simulate(
            grid, first, last, seed=seed, chunk=PIECE, spin_up=_SPIN_UP.get(kind, spin_up), land_model=kind == "smap_l4"
        )
        for kind, grid in grids.items()
    ]
    indices: Filled = {}
    temperatures: Filled = {}
    done = 0
    for fine, smap, weather, surface in zip(*runs, strict=True):
        wind = xr.ufuncs.hypot(weather.eastward_wind, weather.northward_wind)
        seen = {
            "fine": _filled(_indices(fine), indices).assign({name: fine[name] for name in LAYERS}),
            "raw": fine,
            "smap_l4": xr.Dataset({"soil_moisture_smap_l4": smap[f"modelled_{LAYERS[0]}"]}),
            "weather": weather.assign(wind_speed=wind)[_WEATHER],
            "surface_temperature": _filled(_surface_temperature(surface), temperatures),
        }
        wanted = pd.DatetimeIndex(fine.time.values) >= days[0]
        done += len(wanted)
        if wanted.any():
            told = {kind: grid.coordinates().attrs | {"simulated": "true"} for kind, grid in grids.items()}
            told["raw"] = fine.attrs
            yield {kind: describe(of.isel(time=wanted).assign_attrs(told[kind])) for kind, of in seen.items()}
        progress(done / (len(days) + RUN_UP))


def _indices(truth: xr.Dataset) -> xr.Dataset:
    """Optical indices on the days of Landsat where the ground is seen, radar indices on those of Sentinel-1."""
    days = pd.DatetimeIndex(truth.time.values)
    passing = _landsat(days, truth.lon.values[0])
    optical = truth.isel(time=passing.any(axis=1))
    seen = xr.DataArray(passing[passing.any(axis=1)], dims=("time", "x"))
    seen = seen & (optical.cloud < 0.5) & (optical.snow_water_equivalent <= _SNOW)
    blue, green, red, nir, swir1 = (
        optical[f"reflectance_{band}"].where(seen) for band in ("blue", "green", "red", "nir", "swir1")
    )
    radar = truth.isel(time=(days - EPOCH).days % REPEAT == _SENTINEL_1)
    made = {
        "ndvi": features.ndvi(red, nir),
        "evi": features.evi(blue, red, nir),
        "ndwi": features.ndwi(green, nir),
        "lswi": features.lswi(nir, swir1),
        "cross_ratio": features.cross_ratio(radar.sigma0_vv, radar.sigma0_vh),
        "dpsvim": features.dpsvim(radar.sigma0_vv, radar.sigma0_vh),
        "polarization": features.polarization(radar.sigma0_vv, radar.sigma0_vh),
    }
    return xr.Dataset({name: index.reindex(time=days) for name, index in made.items()})


def _landsat(days: pd.DatetimeIndex, lon: Floats) -> NDArray[np.bool_]:
    """Whether Landsat 8 or 9 passes over each column (day, column)."""
    kinds, which = np.unique([wrs_path(one) for one in lon], return_inverse=True)
    passing = [
        [passes(day, "LC08", kind) or (day >= LANDSAT_9 and passes(day, "LC09", kind)) for kind in kinds]
        for day in days
    ]
    return np.array(passing)[:, which]


def wrs_path(lon: float) -> int:
    """Path of the WRS-2 at a longitude: 233 circle the globe, numbered westward; path 30 lies at 100 W on the plains.

    Examples
    --------
    >>> wrs_path(-100.0), wrs_path(-97.0)
    (30, 28)
    """
    return round(30 - (lon + 100) * 233 / 360)


def _surface_temperature(truth: xr.Dataset) -> xr.Dataset:
    """That of MOD11A1 by day, under clear sky; see `vadose.twin.granules.modis.write_mod11a1`."""
    half_range = (truth.air_temperature_max - truth.air_temperature_min) / 2
    seen = (truth.surface_temperature + _TERRA * half_range).where(truth.cloud < 0.5)
    return xr.Dataset({"surface_temperature": seen})


def _filled(observed: xr.Dataset, before: Filled) -> xr.Dataset:
    """Last valid values and their ages; ``before`` goes from the day before the first to the last one."""
    made = observed.drop_vars(list(observed.data_vars))
    for name in map(str, observed.data_vars):
        carried = carry_forward(observed[name].astype(np.float32), *before.get(name, (None, None)))
        made[name], made[f"{name}_age"] = carried[f"{name}_filled"], carried[f"{name}_age"]
        before[name] = made[name].values[-1], made[f"{name}_age"].values[-1]
    return made
