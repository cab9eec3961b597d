"""Cube files: what a cube is made of."""

from datetime import UTC, date, datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from vadose.cube import Filling, Recipe, Source
from vadose.errors import VadoseError
from vadose.experiments.section import Days, Section, load


class CubeConfig(Section):
    """What a cube is made of, see `vadose.cube.Recipe`; ``bbox`` is west, south, east, north.

    ``products`` are settings of `vadose.cube.Source` by the product's name; ``variables`` is a list of names, or a
    table of the product's names and ours. ``last`` may be 'today', the day (UTC) on which the file is read.
    ``training`` are the days the cube's statistics are of, those of the experiment's training split; ``exact``
    keeps every bit of float32; ``filling`` says which variables' gaps are filled, and how.
    """

    kind: Literal["cube"] = "cube"
    resolution: str
    bbox: tuple[float, float, float, float]
    first: date
    last: date
    products: dict[str, Source] = Field(min_length=1)
    training: Days | None = None
    exact: bool = False
    filling: tuple[Filling, ...] = ()

    def recipe(self) -> Recipe:
        """As the builder takes it."""
        training = (self.training.first, self.training.last) if self.training else None
        first, last = self.first.isoformat(), self.last.isoformat()
        sources = tuple(self.products.values())
        return Recipe(self.resolution, self.bbox, first, last, sources, training, self.exact, self.filling)

    @field_validator("products", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Each product by its name; a list of variables keeps their names."""
        return {name: _source(name, of) for name, of in value.items()} if isinstance(value, dict) else value

    @field_validator("last", mode="before")
    @classmethod
    def _today(cls, value: object) -> object:
        return datetime.now(UTC).date() if value == "today" else value

    @model_validator(mode="after")
    def _ordered(self) -> "CubeConfig":
        if self.last < self.first:
            raise ValueError(f"last day {self.last} is before the first day, {self.first}")
        return self


def _source(product: str, given: object) -> object:
    if not isinstance(given, dict):
        return given
    if "product" in given:
        raise ValueError(f"unknown key '{product}.product': the product is the key above its settings")
    names = given.get("variables")
    same = {"variables": {name: name for name in names}} if isinstance(names, list) else {}
    return given | same | {"product": product}


def load_cube(name: str) -> Recipe:
    """Read a cube file, or one of the built-in ones by its name; errors as those of `load_experiment`.

    Examples
    --------
    >>> load_cube("demo").resolution
    '9km'
    """
    recipe = load(name, [CubeConfig], "cubes").recipe()
    try:
        recipe.check()
    except VadoseError as error:
        raise VadoseError(f"{name}: {str(error).removeprefix('recipe: ')}") from error
    return recipe
