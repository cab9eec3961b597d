"""Experiment files of the land-surface networks behind the outlook for any place."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, MinLen

from vadose.errors import VadoseError
from vadose.experiments.section import Section
from vadose.parallel.running import Running
from vadose.training.land_surface import LandDescent


@dataclass(frozen=True)
class RivalTrees:
    """Gradient trees of each part and layer, see `vadose.training.trees.fit_trees`."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    limit: Annotated[int, Ge(20)] = 20_000
    iterations: Annotated[int, Ge(1)] = 200
    leaves: Annotated[int, Ge(2)] = 31
    features_per_split: Annotated[float, Gt(0)] = 0.2


class OutlookStudy(Section):
    """How land-surface networks are taught, fitted, joined and scored.

    Attributes
    ----------
    soils
        Soils and vegetations drawn for the water balance that teaches; 0 for networks that are not taught.
    teach, fit, blend
        How the networks are trained on the water balance and then on stations, and how what corrects them is.
    seeds
        One network each.
    folds, borders
        Parts of the stations, and longitudes [degree] between three regions: each is tested with what was learnt from
        the others.
    leads
        Days ahead.
    trees
        What the networks are compared with.
    every
        Days from one issue to the next where weather of past years is put in place of what comes.
    """

    kind: Literal["outlook"] = "outlook"
    soils: Annotated[int, Ge(0)] = 1500
    teach: LandDescent = LandDescent()
    fit: LandDescent = LandDescent()
    blend: LandDescent = LandDescent()
    seeds: Annotated[tuple[int, ...], MinLen(1)] = (0,)
    hidden: Annotated[int, Ge(1)] = 96
    folds: Annotated[int, Ge(2)] = 5
    borders: tuple[float, float] = (-104.0, -90.0)
    leads: Annotated[tuple[int, ...], MinLen(1)] = (1, 3, 7, 14, 30)
    trees: RivalTrees = RivalTrees()
    every: Annotated[int, Ge(1)] = 30
    past_years: Annotated[int, Ge(1)] = 5
    learn_from: Annotated[tuple[str, ...], MinLen(1)]

    def run_as(self, running: Running) -> "OutlookStudy":
        """The same trained as is said, see `vadose.training.loop.Descent.run_as`."""
        return self.model_copy(update={name: getattr(self, name).run_as(running) for name in ("teach", "fit", "blend")})

    def with_profile(self, name: str | None) -> "OutlookStudy":
        """The same: such files have no profiles.

        Raises
        ------
        VadoseError
            When one is named.
        """
        if name is not None:
            raise VadoseError(f"unknown profile '{name}': studies of the outlook have none")
        return self

    def quick(self) -> "OutlookStudy":
        """The same with a few steps of everything: it shows that all runs, not how well."""
        few = {"epochs": 1, "steps": 2, "batch_size": 4, "length": 300, "spin_up": 60}
        parts: dict[str, Any] = {name: replace(getattr(self, name), **few) for name in ("teach", "fit", "blend")}
        parts |= {"soils": 20, "seeds": self.seeds[:1], "every": 9999, "hidden": 8, "leads": self.leads[:1]}
        return self.model_copy(update=parts | {"trees": RivalTrees(limit=200, iterations=2)})
