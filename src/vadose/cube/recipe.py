"""What a cube is made of."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from dataclasses import field as default
from typing import Any, Literal

import pandas as pd

from vadose.errors import VadoseError
from vadose.gapfill import Mode
from vadose.grid import Grid, ease_grid
from vadose.products import PRODUCTS
from vadose.products.containers import BBox
from vadose.resample import METHODS

CLASSES = "land_cover"
Overlap = Literal["mean", "nearest"]
DIRECTIONS = ("wind_from_direction", "aspect")


@dataclass(frozen=True)
class Source:
    """What a cube takes from a product: names of its reader -> names in the cube, and how it is resampled.

    Where granules overlap a cell is their ``mean``, or that of the granule whose centre is ``nearest``; so are
    classes and directions, which have no mean (`vadose.cube.overlaps`).
    """

    product: str
    variables: Mapping[str, str]
    resampling: str
    options: Mapping[str, Any] = default(default_factory=dict)
    overlap: Overlap = "mean"


@dataclass(frozen=True)
class Filling:
    """How gaps are filled: by which filler of `vadose.gapfill`, in which mode, and from what.

    The ``variables`` are filled together: one that was observed tells of the others. ``covariates`` are variables
    of every day and ``static`` fixed ones that the filler is told; ``options`` are the filler's own.
    """

    variables: tuple[str, ...]
    method: str = "cru"
    mode: Mode = "causal"
    covariates: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    options: Mapping[str, Any] = default(default_factory=dict)

    @property
    def name(self) -> str:
        """The first of the variables."""
        return self.variables[0]


@dataclass(frozen=True)
class Recipe:
    """What a cube is made of: its grid, its days, the products it takes, the days its statistics are of.

    With ``exact`` values are stored as float32; else mantissas are rounded (`vadose.cube.store.MANTISSA_BITS`).
    """

    resolution: str
    bbox: BBox
    first: str
    last: str
    sources: tuple[Source, ...]
    training: tuple[str, str] | None = None
    exact: bool = False
    filling: tuple[Filling, ...] = ()

    @property
    def grid(self) -> Grid:
        """The part of the EASE-Grid 2.0 the cube lies on."""
        return ease_grid(self.resolution).bounding_box(*self.bbox)

    @property
    def days(self) -> pd.DatetimeIndex:
        """Days of the cube."""
        return pd.date_range(self.first, self.last)

    def identity(self) -> dict[str, Any]:
        """What may not change while a cube grows: all but its last day."""
        whole: dict[str, Any] = json.loads(json.dumps(asdict(self), default=list))
        return {key: value for key, value in whole.items() if key != "last"}

    def check(self) -> None:
        """Refuse products, methods and names that cannot be."""
        names: dict[str, str] = {}
        for source in self.sources:
            if source.product not in PRODUCTS or PRODUCTS[source.product].kind != "grid":
                known = [name for name, product in PRODUCTS.items() if product.kind == "grid"]
                raise VadoseError(f"recipe: {source.product!r} is no gridded product; choose from {known}")
            if source.resampling not in METHODS:
                raise VadoseError(f"recipe: resampling {source.resampling!r} unknown; choose from {list(METHODS)}")
            for theirs, name in source.variables.items():
                if theirs.startswith(CLASSES) and source.resampling not in ("majority", "nearest"):
                    raise VadoseError(
                        f"recipe: {theirs!r} of {source.product} are classes, which {source.resampling!r} mixes to "
                        "other ones; take majority or nearest"
                    )
                if theirs in DIRECTIONS and source.resampling != "nearest":
                    raise VadoseError(
                        f"recipe: {theirs!r} of {source.product} is a direction and has no {source.resampling}; take "
                        "nearest, or its cosine and sine or components"
                    )
                if name in names:
                    raise VadoseError(
                        f"recipe: {name!r} comes from {names[name]} and from {source.product}; give one another name"
                    )
                names[name] = source.product
