"""Cube files: what a cube is made of."""

from datetime import UTC, date, datetime
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vadose.cube import Filling, Recipe, Source
from vadose.cube.recipe import Overlap
from vadose.errors import VadoseError
from vadose.experiments.section import PeriodConfig, Section, load


class SourceConfig(Section):
    """What a cube takes from a product, see `vadose.cube.Source`: a list of names, or a table of its names and ours."""

    variables: dict[str, str]
    resampling: str
    options: dict[str, Any] = Field(default_factory=dict)
    overlap: Overlap = "mean"

    @field_validator("variables", mode="before")
    @classmethod
    def _same_names(cls, value: Any) -> Any:
        return {name: name for name in value} if isinstance(value, list) else value


class CubeConfig(Section):
    """What a cube is made of, see `vadose.cube.Recipe`; ``bbox`` is west, south, east, north.

    ``last`` may be 'today', the day (UTC) on which the file is read.
    ``training`` are the days the cube's statistics are of, those of the experiment's training split; ``exact``
    keeps every bit of float32; ``filling`` says which variables' gaps are filled, and how.
    """

    kind: Literal["cube"] = "cube"
    resolution: str
    bbox: tuple[float, float, float, float]
    first: date
    last: date
    products: dict[str, SourceConfig] = Field(min_length=1)
    training: PeriodConfig | None = None
    exact: bool = False
    filling: tuple[Filling, ...] = ()

    def recipe(self) -> Recipe:
        """As the builder takes it."""
        sources = tuple(
            Source(name, source.variables, source.resampling, source.options, source.overlap)
            for name, source in self.products.items()
        )
        training = (self.training.first.isoformat(), self.training.last.isoformat()) if self.training else None
        first, last = self.first.isoformat(), self.last.isoformat()
        return Recipe(self.resolution, self.bbox, first, last, sources, training, self.exact, self.filling)

    @field_validator("last", mode="before")
    @classmethod
    def _today(cls, value: Any) -> Any:
        return datetime.now(UTC).date() if value == "today" else value

    @model_validator(mode="after")
    def _ordered(self) -> "CubeConfig":
        if self.last < self.first:
            raise ValueError(f"last day {self.last} is before the first day, {self.first}")
        return self


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
