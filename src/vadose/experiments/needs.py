"""What a recipe or an experiment needs of products, to fetch it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from vadose.cube.wanted import BBox, Wanted, products_of_features, wanted_at_stations, wanted_by_recipe
from vadose.errors import VadoseError
from vadose.experiments.cube import load_cube
from vadose.experiments.section import built_in, top_key

if TYPE_CHECKING:
    from vadose.experiments.downscaling import Downscaling
    from vadose.experiments.forecasting import Experiment

Days = tuple[date | None, date | None]
EXPERIMENT = re.compile(r"^kind: *(?:forecasting|downscaling)\b", re.MULTILINE)
SAME = {"mmnet": "downscale-paper"}
"""Other names of experiments: what they read."""
FETCHED = ("forecast_paper", "forecast_best", *SAME, *SAME.values())
"""Built-in experiments, among others, whose data can be fetched."""
AS_PRINTED = {"conus": "conus_as_printed"}
"""Recipes of a paper's own sources, by the recipe of practical ones."""
PRINTED_SOURCES = {"imerg": ("GPM_3IMERGHH",), "mod09ga": ("MOD09GA", "MYD09GA")}
"""What a paper took of a product."""
STATIONS = ("uscrn", "scan")
"""Station networks that a study at stations reads, and fetch can have."""


def needs(
    name: str,
    *,
    bbox: BBox | None = None,
    places: Sequence[BBox] = (),
    days: Days = (None, None),
    as_printed: bool = False,
) -> list[Wanted]:
    """What is to be fetched for a recipe of a cube, or for an experiment that reads granules.

    Parameters
    ----------
    name
        Built-in recipe or experiment, or a file of either. Of a name that both have the recipe is meant.
    bbox
        Box instead of the recipe's [degree].
    places
        Stations (`vadose.cube.wanted.places_of`), to fetch what is read at them alone.
    days
        First and last day; where None the recipe's.
    as_printed
        Of the sources that the paper took, in whole granules, instead of practical ones.

    Raises
    ------
    VadoseError
        When there is no such recipe, it is of a database, which nobody serves, or an area is missing.
    """
    name = SAME.get(name, name)
    if not _is_cube(name):
        name = top_key(name, "recipe") or name
    if not _is_cube(name):
        # Needs torch, which takes seconds.
        from vadose.experiments.downscaling import Downscaling, load_study

        experiment = load_study(name)
        if isinstance(experiment, Downscaling):
            return _of_downscaling(name, experiment, bbox, places, days)
        name = _recipe_of(name, experiment)
    recipe = load_cube(AS_PRINTED.get(name, name) if as_printed else name)
    first, last = _in_order(name, days, date.fromisoformat(recipe.first), date.fromisoformat(recipe.last))
    if not places:
        found = wanted_by_recipe(replace(recipe, first=f"{first}", last=f"{last}"), bbox)
        if as_printed:
            found = [replace(one, sources=PRINTED_SOURCES.get(one.product, ()), whole=True) for one in found]
        return found
    found = wanted_at_stations([source.product for source in recipe.sources if source.own is None], places, first, last)
    if not found:
        raise VadoseError(f"{name}: none of its products gives features of stations; leave out --at")
    return found


def _is_cube(name: str) -> bool:
    """Whether a recipe is of a cube, and not an experiment."""
    if name in built_in("cubes"):
        return True
    if name in built_in():
        return False
    if not Path(name).is_file():
        raise VadoseError(
            f"recipe {name}: no such file, nor a built-in recipe ({', '.join(built_in('cubes'))}) or experiment on "
            f"granules ({', '.join(FETCHED)})"
        )
    return not EXPERIMENT.search(Path(name).read_text("utf-8", errors="replace"))


def _recipe_of(name: str, experiment: "Experiment") -> str:
    """The recipe of the cube that an experiment is of."""
    if experiment.recipe is None:
        raise VadoseError(
            f"{name}: an experiment on {experiment.data!r}, which cannot be fetched; give a recipe of granules: "
            f"{', '.join(built_in('cubes'))}, or a file"
        )
    return experiment.recipe


def _of_downscaling(
    name: str,
    experiment: "Downscaling",
    bbox: BBox | None,
    places: Sequence[BBox],
    days: Days,
) -> list[Wanted]:
    """Stations, and the products that give the features of an experiment's runs."""
    if experiment.data != "products":
        raise VadoseError(
            f"{name}: an experiment on {experiment.data!r}, which cannot be fetched; give downscale-paper, or a "
            f"recipe of granules: {', '.join(built_in('cubes'))}"
        )
    if not places and bbox is None:
        raise VadoseError(f"{name}: give the stations (--at stations.zarr) or a box (--bbox)")
    first, last = _in_order(name, days, experiment.first, experiment.last)
    features = {one for run in experiment.runs.values() for one in (*run.snapshot, *run.series)}
    products = products_of_features(features | set(experiment.products))
    boxes = tuple(places) or ((bbox,) if bbox else ())
    stations = [Wanted(network, (), tuple(_around(box) for box in boxes), first, last) for network in STATIONS]
    return [*stations, *wanted_at_stations(products, boxes, first, last, experiment.mode)]


def _in_order(name: str, days: Days, first: date, last: date) -> tuple[date, date]:
    """The days asked for, else a recipe's own."""
    begin, end = days[0] or first, days[1] or last
    if end < begin:
        raise VadoseError(f"{name}: last day {end} is before the first day, {begin}")
    return begin, end


def _around(place: BBox) -> BBox:
    """A little around a station, within the rounding of its coordinates in different lists."""
    west, south, east, north = place
    return west - 0.01, south - 0.01, east + 0.01, north + 0.01
