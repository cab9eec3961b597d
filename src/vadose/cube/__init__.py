"""Granules to one Zarr cube: gaps filled from the past, provenance noted, resumable and appendable."""

from vadose.cube.ahead import with_weather_ahead
from vadose.cube.build import build_from_granules
from vadose.cube.database import build_cube, build_station_cube, with_antecedents
from vadose.cube.recipe import Filling, Recipe, Source
from vadose.cube.store import is_cube, open_cube, open_identified

__all__ = [
    "Filling",
    "Recipe",
    "Source",
    "build_cube",
    "build_from_granules",
    "build_station_cube",
    "is_cube",
    "open_cube",
    "open_identified",
    "with_antecedents",
    "with_weather_ahead",
]
