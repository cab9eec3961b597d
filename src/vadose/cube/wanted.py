"""What a cube, or a table at stations, wants of products: so much is fetched for it, and no more."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import numpy as np
import xarray as xr

from vadose.cube.granules import FIXED_MARGIN, MARGIN, of_any_pass
from vadose.cube.points import WIDE, features_of, picked, taken
from vadose.cube.recipe import RUN_UP, Recipe
from vadose.errors import VadoseError
from vadose.features.derived import READ, made_of
from vadose.grid import METRES_A_DEGREE
from vadose.products import PRODUCTS
from vadose.products.containers import BBox
from vadose.products.product import Wanted

__all__ = ["BBox", "Wanted", "places_of", "products_of_features", "wanted_at_stations", "wanted_by_recipe"]

FINE = 1000.0
"""Products read closer than this around a station have small pixels [m]."""
AROUND = 0.02
"""Fetched around a station beyond what is read [degree]."""


def wanted_by_recipe(recipe: Recipe, bbox: BBox | None = None) -> list[Wanted]:
    """What a cube reads of each product, in a box or that of the recipe, and so far around it as a build reads.

    Where gaps are filled also granules of days before the first, and after the last if the next observation is needed.
    """
    found = []
    for source in (of for of in recipe.sources if of.own is None):
        around = recipe.margins(source)
        days = recipe.days.append([*around.values()])
        variables = dict.fromkeys(name for of in source.variables for name in made_of(of_any_pass(of), READ))
        box = _grown(bbox or recipe.bbox, _margin(source.product))
        found.append(Wanted(source.product, tuple(variables), (box,), days.min().date(), days.max().date()))
    return found


def wanted_at_stations(
    products: Iterable[str], places: Sequence[BBox], first: date, last: date, mode: str = "causal"
) -> list[Wanted]:
    """What a table of features reads of products at places (`places_of`): overpasses from `RUN_UP` days before on,
    in ``'paper'`` mode also after.
    """
    found = []
    for product in products:
        if not features_of(product):
            continue
        reach, run_up = taken(product).reach, timedelta(days=RUN_UP if taken(product).overpasses else 0)
        around = 2 * reach / METRES_A_DEGREE + AROUND if reach else WIDE
        after = run_up if mode == "paper" else timedelta(0)
        boxes = tuple(_grown(place, around) for place in places)
        found.append(Wanted(product, tuple(sorted(picked(product))), boxes, first - run_up, last + after))
    return found


def products_of_features(features: Iterable[str]) -> list[str]:
    """Products that give features of stations, the first of several, with and without their age."""
    names = {name.removesuffix("_age") for name in features}
    found = []
    for product in PRODUCTS:
        if given := names & set(features_of(product)):
            found.append(product)
            names -= given
    return found


def places_of(stations: xr.Dataset) -> list[BBox]:
    """Each station as a box without extent.

    Raises
    ------
    VadoseError
        When no station has coordinates.
    """
    if not {"lat", "lon"} <= set(stations.variables) or not stations.sizes.get("station"):
        raise VadoseError("no stations with lat and lon in the station store; make one with: vadose stations")
    lat, lon = np.asarray(stations.lat, float), np.asarray(stations.lon, float)
    placed = np.isfinite(lat) & np.isfinite(lon)
    if not placed.any():
        raise VadoseError("no station of the station store has coordinates; make it with their places (--metadata)")
    return [(x, y, x, y) for x, y in zip(lon[placed].tolist(), lat[placed].tolist(), strict=True)]


def _margin(product: str) -> float:
    return FIXED_MARGIN if PRODUCTS[product].fixed or 0 < taken(product).reach <= FINE else MARGIN


def _grown(box: BBox, margin: float) -> BBox:
    west, south, east, north = box
    return max(west - margin, -180.0), max(south - margin, -90.0), min(east + margin, 180.0), min(north + margin, 90.0)
