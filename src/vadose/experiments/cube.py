"""Cube files: what a cube is made of."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_serializer, field_validator, model_validator

from vadose.cube import Filling, Recipe, Source
from vadose.door.stores import REMOTE
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

    @field_serializer("products")
    def _unnamed(self, products: dict[str, Source]) -> dict[str, Any]:
        """As a file has them: the name is the key, and data of one's own say their variables themselves."""
        left = {name: {"product", *(["variables"] if of.own else [])} for name, of in products.items()}
        plain = TypeAdapter(Source).dump_python
        return {name: plain(of, mode="json", exclude=left[name]) for name, of in products.items()}

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
    if own := given.get("own"):
        if "variables" in given:
            raise ValueError(f"'{product}': the variables of data of your own stand in 'own.variables'")
        told = own.get("variables") if isinstance(own, dict) else None
        if not isinstance(told, dict) or not all(isinstance(of, dict) and "variable" in of for of in told.values()):
            raise ValueError(f"'{product}.own.variables': expected NAME: {{variable: OURS, unit: UNIT}}")
        return given | {"product": product, "variables": {str(of["variable"]): of["variable"] for of in told.values()}}
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
    return _checked(load(name, [CubeConfig], "cubes").recipe(), name)


def cube_of(values: Mapping[str, Any]) -> Recipe:
    """The same of plain values, as a cube file has them."""
    try:
        return _checked(CubeConfig.model_validate(values).recipe(), "the recipe")
    except ValidationError as error:
        first = error.errors()[0]
        raise VadoseError(f"the recipe: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _checked(recipe: Recipe, name: str) -> Recipe:
    sources = [
        replace(of, own=replace(of.own, path=str(Path(name).parent / of.own.path)))
        if of.own is not None and of.own.path and not REMOTE.match(of.own.path)
        else of
        for of in recipe.sources
    ]
    recipe = replace(recipe, sources=tuple(sources))
    try:
        recipe.check()
    except VadoseError as error:
        raise VadoseError(f"{name}: {str(error).removeprefix('recipe: ')}") from error
    return recipe
