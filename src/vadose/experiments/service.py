"""The file of a daily service: which outlooks are made, where they go and how long they are kept."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from vadose.errors import VadoseError
from vadose.experiments.section import Section, load

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Of places: they become folders."""
Output = Literal["zarr", "csv", "geotiff", "png", "page"]


class Where(Section):
    """Places of one outlook: a table, or the cells of a county, a state or a box."""

    points: Path | None = None
    county: str | None = None
    state: str | None = None
    bbox: tuple[float, float, float, float] | None = None

    @model_validator(mode="after")
    def _one(self) -> "Where":
        if len(self.asked()) != 1:
            found = " and ".join(self.asked()) or "none"
            raise ValueError(f"expected one of points, county, state and bbox, found {found}")
        return self

    def asked(self) -> dict[str, object]:
        """What is given."""
        return {name: value for name, value in self if value is not None}


class Daily(Section):
    """A daily service. Paths are relative to the file.

    Attributes
    ----------
    folder
        Of the outlooks, a folder a day, with ``status.json``, ``daily.log`` and the link ``latest``.
    places
        Name -> places; each becomes a folder in that of the day.
    days, forecast_days, members
        Days ahead of an outlook; those of the weather forecast, and members of its ensemble (0: past years alone).
    correct
        Fetch the past runs that the weather forecast is corrected by: 1.4 GB with the first day of a month.
    keep_days
        Days of issue that are kept.
    redo_days
        Days before today whose outlook is made again if what it is made from has changed, or made if it is missing.
    """

    kind: Literal["daily"] = "daily"
    folder: Path
    places: dict[Name, Where] = Field(min_length=1)
    cache: Path | None = None
    networks: Path | None = None
    days: int = Field(30, ge=1, le=30)
    forecast_days: int = Field(15, ge=1, le=34)
    members: int = Field(4, ge=0, le=31)
    correct: bool = False
    outputs: tuple[Output, ...] = Field(("zarr", "csv", "png"), min_length=1)
    keep_days: int = Field(30, ge=1)
    redo_days: int = Field(3, ge=0, le=7)


def load_daily(path: Path) -> Daily:
    """Read the file of a service; its paths become absolute.

    Raises
    ------
    VadoseError
        When there is none, or a key or value in it is wrong.
    """
    if not path.is_file():
        raise VadoseError(f"{path}: no such file; expected the YAML file of a service")
    of_file = load(str(path), [Daily])

    def at(value: Path | None) -> Path | None:
        return None if value is None else (path.parent / value.expanduser()).absolute()

    places = {
        name: where if where.points is None else where.model_copy(update={"points": at(where.points)})
        for name, where in of_file.places.items()
    }
    paths = {name: at(getattr(of_file, name)) for name in ("folder", "cache", "networks")}
    return of_file.model_copy(update={**paths, "places": places})
