"""Experiment files of forecasts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from vadose.door.days import Period
from vadose.errors import nearest
from vadose.experiments.section import Days, ExperimentFile, Section, check_arguments, check_model, load
from vadose.features.derived import ONE_HOT
from vadose.models import MODELS, forecaster_names
from vadose.models.inputs import Channels
from vadose.parallel.running import Running
from vadose.training.blends import Weights
from vadose.training.forecasters import Optimisation

QUICK_DAYS, QUICK_PAIRS = 30, 5
"""Days of validation and test, and the fewest pairs of a site to count, of an experiment made quick."""


class SplitConfig(Section):
    """Valid days of training, validation and (when the cube holds its observations) test, one after the other."""

    training: Days
    validation: Days
    test: Days

    @model_validator(mode="after")
    def _in_order(self) -> "SplitConfig":
        named: dict[str, Period] = {name: getattr(self, name) for name in ("training", "validation", "test")}
        for (earlier, one), (later, two) in combinations(named.items(), 2):
            if two.first <= one.last:
                raise ValueError(
                    f"{later} {two} begins before {earlier} {one} has ended; training, validation and test follow each "
                    "other, because scores on training days say nothing about other days"
                )
        return self


class LayerConfig(Section):
    """A layer of soil: the cube's variable that is forecast, and what names of its own stand for.

    In the predictors of a run ``{observed}`` is the variable, ``{part}`` and ``{depth}`` are these words.
    ``correlated`` names the variable that the loss's correlation is with, where it is another one;
    ``products`` the cube's analyses that stand beside forecasts when these are scored against stations.
    """

    observed: str
    correlated: str | None = None
    products: dict[str, str] = Field(default_factory=dict)
    part: str = ""
    depth: str = ""


class RunConfig(Section):
    """One model to train: its class and arguments, its predictors, its window, how it is trained.

    A run is trained for each layer of the experiment. ``history`` has to hold ``{observed}_filled``, the
    last value known, but for networks. In ``static``, ``land_cover_igbp`` stands for an indicator of each class.
    Windows lie ``stride`` cells apart in training, ``forecast_stride`` in
    forecasts (a quarter of their edge when left out). ``future`` names what the model is given of the days to come:
    weather, and the normal ``{observed}_normal``. ``above`` names the run or blend whose forecasts of the
    layers above it is given: with ``cascade: head`` those issued at t0, beside the state of the network; with
    ``cascade: sequence`` those issued on each day of the look-back, as predictors of that day (Rabiei et al. 2025).
    A ``window`` of ``map`` is the whole map; ``sequence`` are the days a recurrent network of single cells learns
    from at once. With ``dropout_passes`` forecasts are the mean of so many
    passes with dropout on; ``stations`` is the weight of the stations in the loss at cells that hold one, see
    `vadose.insitu.matchups.with_stations`. ``scenario`` is a word for the tables, ``only`` the layers the run is of.
    """

    model: str
    hyper: dict[str, Any] = Field(default_factory=dict)
    history: tuple[str, ...] = ("{observed}_filled",)
    static: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    above: str | None = None
    cascade: Literal["head", "sequence"] = "head"
    leads: tuple[int, ...] = (1, 3, 7, 14, 30)
    look_back: int = Field(1, ge=1)
    window: Annotated[int, Field(ge=1)] | Literal["map"] = 1
    stride: int = Field(1, ge=1)
    forecast_stride: int | None = Field(None, ge=1)
    sequence: int | None = Field(None, ge=1)
    dropout_passes: int | None = Field(None, ge=2)
    stations: float = Field(0.0, ge=0, le=1)
    scenario: str = "all"
    only: tuple[str, ...] | None = None
    training: Optimisation = Optimisation()
    refit: bool = True

    def run_as(self, running: Running) -> "RunConfig":
        """The same trained as is said, see `vadose.training.loop.Descent.run_as`."""
        return self.model_copy(update={"training": self.training.run_as(running)})

    def channels(self, layer: LayerConfig, above: Sequence[str] = ()) -> Channels:
        """Predictors and lead times as models take them, of a layer below those of ``above``."""

        def named(words: tuple[str, ...]) -> tuple[str, ...]:
            meant = {"observed": layer.observed, "part": layer.part, "depth": layer.depth}
            return tuple(dict.fromkeys(name for word in words for name in ONE_HOT.get(word, (word.format(**meant),))))

        target = f"{layer.observed}_filled"
        history, static, future = named(self.history), named(self.static), named(self.future)
        return Channels(
            history, static, future, self.leads, target, tuple(above) if self.above else (), cascade=self.cascade
        )

    @model_validator(mode="after")
    def _known_model(self) -> "RunConfig":
        check_model(self.model, forecaster_names())
        check_arguments(MODELS[self.model], self.hyper, ("self", "channels", "grid", "look_back"), self.model)
        for words in (self.history, self.static, self.future):
            for word in words:
                try:
                    word.format(observed="", part="", depth="")
                except (KeyError, ValueError, IndexError) as error:
                    raise ValueError(f"{word!r}: braces can only hold observed, part or depth") from error
        if self.cascade == "sequence" and self.above is None:
            raise ValueError("cascade: sequence is of runs given the layers above; add 'above', or leave it out")
        if self.cascade not in (ways := getattr(MODELS[self.model], "cascades", ("head",))):
            raise ValueError(f"cascade of {self.model} is {self.cascade!r}; expected one of {list(ways)}")
        needy = MODELS[self.model].learns == "at_once" or self.model == "lstm"
        if needy and not {"{observed}_filled", "soil_moisture_filled"} & set(self.history):
            raise ValueError(f"history of {self.model} must contain '{{observed}}_filled', the last known value")
        if not self.leads or min(self.leads) < 1 or list(self.leads) != sorted(set(self.leads)):
            raise ValueError(f"leads {list(self.leads)} are invalid; expected increasing whole days from 1")
        return self


class BlendConfig(Section):
    """The weighted mean of trained runs, by their names.

    ``weights``: ``learnt`` for each layer and lead from the forecasts of the validation days
    (`vadose.training.stacking`), or for each lead a weight a member, or none: equal ones. ``weights_from`` are the days
    weights given were chosen on: the blend has learnt from them.
    """

    members: tuple[str, ...] = Field(min_length=2)
    weights: Literal["learnt"] | dict[int, tuple[float, ...]] | None = None
    weights_from: Days | None = None
    scenario: str = "all"

    def given(self, leads: tuple[int, ...]) -> Weights | None:
        """Weights given, a row a member, a column a lead; None of equal ones."""
        if self.weights is None or self.weights == "learnt":
            return None
        values = tuple(tuple(self.weights[lead][m] for lead in leads) for m in range(len(self.members)))
        return Weights(values, self.weights_from)

    def chosen(self, validation: Period) -> dict[str, str]:
        """The attribute that says on which days the weights were chosen; none of equal weights."""
        if self.weights is None:
            return {}
        return {"weights_from": str(validation if self.weights == "learnt" else self.weights_from or "not stated")}

    def check(self, name: str, runs: list[str], leads: tuple[int, ...]) -> None:
        """Refuse members that are no runs, and weights that do not fit members and leads."""
        for member in self.members:
            if member not in runs:
                raise ValueError(f"blends.{name}: unknown run '{member}'{nearest(member, runs)}")
        if self.weights is None or self.weights == "learnt":
            if self.weights_from is not None:
                kind = (
                    "learnt weights are chosen on the validation days"
                    if self.weights
                    else "equal weights are not chosen on any days"
                )
                raise ValueError(f"blends.{name}: weights_from without weights; {kind}")
            return
        if set(self.weights) != set(leads):
            raise ValueError(f"blends.{name}: weights for leads {list(self.weights)}, expected {list(leads)}")
        for lead, of_lead in self.weights.items():
            if len(of_lead) != len(self.members) or min(of_lead) < 0 or sum(of_lead) <= 0:
                raise ValueError(
                    f"blends.{name}: lead {lead} wants {len(self.members)} weights, none below 0, not all 0"
                )


Leak = Literal["gap_filler", "blend_weights"]
"""What a user may allow to have learnt from days that are scored."""


class Experiment(ExperimentFile):
    """A split of time, runs to train on it, and blends of them.

    ``data`` says what the data folder holds when there is no recipe: a database, or ``stations``. ``recipe`` is that
    of the cube of an experiment on granules.
    ``layers`` are named from the surface down; without any the cube's own is forecast. Networks and trees
    learn from the stations of ``learn_from`` alone where a cube is made of stations. Of a dense map every
    ``score_every``-th cell in both directions is forecast and scored: neighbours tell the same. ``rivals`` are
    forecasts of others, by the name they have in the tables: stores on the cube's grid, ``{layer}`` in their path is a
    word such as ``0-10cm``. One that is not there, or has no forecast of the days, is left out. A cell or station
    counts with ``min_pairs`` days; when left out 60 in the test and in phases of half a year or more, else 10.

    What learnt from days that are scored is refused: a gap filler of the cube whose training days reach into
    validation or test, weights of a blend chosen on test days. ``allow_overlap`` names those to go on with all the
    same; their forecasts then say so in the attribute ``allowed_overlap``. With ``hindcast`` predictors may be taken
    whose gaps were filled from the days after, too; forecasts then say ``causal: false``.
    """

    kind: Literal["forecasting"] = "forecasting"
    data: str = "conusv4f1"
    recipe: str | None = None
    layers: dict[str, LayerConfig] = Field(default_factory=dict)
    split: SplitConfig
    runs: dict[str, RunConfig]
    blends: dict[str, BlendConfig] = Field(default_factory=dict)
    rivals: dict[str, str] = Field(default_factory=dict)
    leads: tuple[int, ...] = (1, 3, 7, 14, 30)
    learn_from: tuple[str, ...] | None = None
    score_every: int = Field(1, ge=1)
    hindcast: bool = False
    min_pairs: int | None = Field(None, ge=3)
    allow_overlap: tuple[Leak, ...] = ()

    def networks(self) -> list[str]:
        """Names of the runs that are networks."""
        return [name for name, run in self.runs.items() if MODELS[run.model].learns == "steps"]

    def first_day(self) -> str:
        """First day a cube has to hold for the longest look-back of the first training days."""
        days = max(run.look_back for run in self.runs.values()) + max(self.leads)
        return f"{pd.Timestamp(self.split.training.first) - pd.Timedelta(days=days):%Y-%m-%d}"

    @model_validator(mode="after")
    def _known_members(self) -> "Experiment":
        for name, blend in self.blends.items():
            blend.check(name, list(self.runs), self.leads)
            chosen, test = blend.weights_from, self.split.test
            if chosen and chosen.last >= test.first and "blend_weights" not in self.allow_overlap:
                raise ValueError(
                    f"blends.{name}: weights chosen on {chosen} reach into the test, {test}; "
                    "choose them on earlier days, or add 'allow_overlap: [blend_weights]'; the forecasts then say so"
                )
        for name, place in self.rivals.items():
            try:
                place.format(layer="")
            except (KeyError, ValueError, IndexError) as error:
                raise ValueError(f"rivals.{name}: {place!r}: braces can only hold layer") from error
        known = [*self.runs, *self.blends]
        layers = list(self.layers.values()) or [LayerConfig(observed="soil_moisture")]
        for name, run in self.runs.items():
            for foreseen in (run.channels(layer).foreseen for layer in layers):
                if foreseen:
                    raise ValueError(
                        f"runs.{name}: future {list(foreseen)} is moisture of the days to forecast, which no forecast "
                        "may see; give weather or '{observed}_normal', and moisture in history"
                    )
            for layer in run.only or ():
                if layer not in self.layers:
                    raise ValueError(f"runs.{name}: unknown layer '{layer}'{nearest(layer, list(self.layers))}")
            if run.above is not None and run.above not in known:
                raise ValueError(f"runs.{name}: unknown run 'above: {run.above}'{nearest(run.above, known)}")
        return self


def load_experiment(name: str) -> Experiment:
    """Read an experiment file, or one of the built-in ones by its name.

    Raises
    ------
    VadoseError
        When there is none, it is no YAML, or a key or value in it is wrong; the message names the
        file, the key and the nearest key there is.

    Examples
    --------
    >>> load_experiment("conus").split.training.first
    '2015-04-01'
    """
    return load(name, [Experiment])


def quick(experiment: Experiment) -> Experiment:
    """The same experiment with a few steps of everything: it shows that all runs, not how well.

    Networks are trained for an epoch; of validation and test the first `QUICK_DAYS` are forecast, both in windows that
    do not overlap.

    Examples
    --------
    >>> run = quick(load_experiment("conus")).runs["convlstm"]
    >>> run.training.epochs, run.window, run.stride, run.forecast_stride
    (1, 8, 8, 8)
    """
    runs = {}
    for name, run in experiment.runs.items():
        training = replace(run.training, epochs=1, samples_per_epoch=256, seeds=run.training.seeds[:1])
        hyper = run.hyper | ({"iterations": 5} if run.model == "trees" else {})
        update: dict[str, Any] = {"training": training, "hyper": hyper}
        if isinstance(run.window, int):
            update |= {"stride": run.window, "forecast_stride": run.window}
        runs[name] = run.model_copy(update=update)
    split = experiment.split.model_copy(
        update={phase: _first_days(getattr(experiment.split, phase)) for phase in ("validation", "test")}
    )
    fewest = min(experiment.min_pairs or QUICK_PAIRS, QUICK_PAIRS)
    return experiment.model_copy(update={"runs": runs, "split": split, "min_pairs": fewest})


def _first_days(period: Period) -> Period:
    """The first `QUICK_DAYS` of a period, or all of it."""
    return Period(period.first, f"{period.days[:QUICK_DAYS][-1]:%Y-%m-%d}")
