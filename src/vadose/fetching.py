"""Fetch as a function: a product, or all products of a recipe. Stages are imported when called, as in `vadose.api`."""

import os
from collections.abc import Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    from vadose.download import Plan, RecipePlan

PathLike = str | os.PathLike[str]
BBox = tuple[float, float, float, float]
Store = PathLike | xr.Dataset
AROUND = 0.1
"""Degrees fetched around stations of a product without a recipe."""


def fetch(
    product: "str | Plan | RecipePlan | None" = None,
    *,
    recipe: PathLike | None = None,
    at: Store | None = None,
    bbox: BBox | None = None,
    days: tuple[str, str] | None = None,
    variables: Sequence[str] | None = None,
    out: PathLike | None = None,
    subset: bool = False,
    as_printed: bool = False,
    workers: int = 4,
    verify: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Fetch a product's files, or those of all products of a recipe, for an area and a period. Resumes if interrupted.

    Parameters
    ----------
    product
        The data centre's name (``'SPL3SMP_E'``) or a name in `vadose.PRODUCTS`; or a plan
        (`vadose.fetching.plan`), which includes the other arguments.
    recipe
        YAML file or built-in recipe, instead of a product: each product goes to the folder of its name in ``out``,
        as `build` reads it. An experiment on granules stands for its recipe.
    at
        Station store: fetch what is read at its stations, each scene once, of it the parts around them.
    bbox
        West, south, east, north [degree]. Default with a recipe: the recipe's.
    days
        First and last day, inclusive; not needed for fixed products. Default with a recipe: the recipe's.
    variables, out
        Variables by the product's own names (default: the usual ones); output folder (default: ``data/READER``, of a
        recipe ``data``).
    subset, workers, verify
        Let the server subset files to the area; number of connections; check the checksums of existing files.
    as_printed
        With a recipe: the sources that its paper took, in whole granules, instead of practical ones.

    Returns
    -------
    Paths of all files, including existing ones.

    Raises
    ------
    VadoseError
        For an unknown product, a missing login, or an error of the server. A product of a recipe that fails does not
        stop the others; the error names it at the end.
    """
    from vadose import download

    chosen = product
    if chosen is None or isinstance(chosen, str):
        area = partial(plan, chosen, recipe=recipe, at=at, bbox=bbox, days=days)
        chosen = area(variables=variables, subset=subset, as_printed=as_printed)
    elif recipe is not None:
        raise VadoseError("fetch: expected either a plan or a recipe")
    if isinstance(chosen, download.RecipePlan):
        return download.fetch_products(chosen, Path(out or "data"), progress, workers, verify=verify)
    folder = Path(out or Path("data", download.READERS.get(chosen.product, chosen.product)))
    return download.fetch(chosen, folder, progress, workers, verify=verify)


def plan(
    product: str | None = None,
    *,
    recipe: PathLike | None = None,
    at: Store | None = None,
    bbox: BBox | None = None,
    days: tuple[str | None, str | None] | None = None,
    variables: Sequence[str] | None = None,
    subset: bool = False,
    as_printed: bool = False,
) -> "Plan | RecipePlan":
    """List the files that `fetch` would fetch, with the same arguments; ``print(plan(...).table())`` shows them.

    Raises
    ------
    VadoseError
        For an unknown product or recipe, a recipe of a database, or an area or days where there is nothing.
    """
    if (product is None) == (recipe is None):
        raise VadoseError("expected either a product, such as gridmet, or a recipe")
    if at is not None and bbox is not None:
        raise VadoseError("expected either stations (at) or an area (bbox)")
    if recipe is not None and (variables or subset):
        raise VadoseError("variables and subset are for a single product; a recipe names its own variables")
    if as_printed and recipe is None:
        raise VadoseError("as_printed is for a recipe")
    from vadose.cube.wanted import places_of
    from vadose.door import open_store
    from vadose.download import plan_fetch, plan_products

    places = places_of(at if isinstance(at, xr.Dataset) else open_store(Path(at))) if at is not None else []
    first, last = days or (None, None)
    if product is not None:
        around = [(w - AROUND, s - AROUND, e + AROUND, n + AROUND) for w, s, e, n in places]
        return plan_fetch(product, around or bbox, first, last, variables, subset=subset)
    from vadose.experiments.needs import needs

    begin, end = (date.fromisoformat(day) if day else None for day in (first, last))
    return plan_products(needs(str(recipe), bbox=bbox, places=places, days=(begin, end), as_printed=as_printed))
