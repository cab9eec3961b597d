"""Experiment files: what is read from YAML, checked, and refused when unknown."""

import difflib
import inspect
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vadose.cube import Filling, Recipe, Source
from vadose.errors import VadoseError
from vadose.gapfill import Mode
from vadose.models import MODELS
from vadose.models.inputs import Channels
from vadose.samples import Period
from vadose.train import Optimisation


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PeriodConfig(_Frozen):
    """First and last valid day of a split."""

    first: date
    last: date

    def period(self) -> Period:
        """As the functions take it."""
        return Period(self.first.isoformat(), self.last.isoformat())

    @model_validator(mode="after")
    def _ordered(self) -> "PeriodConfig":
        if self.last < self.first:
            raise ValueError(f"last day {self.last} lies before the first, {self.first}")
        return self


class SplitConfig(_Frozen):
    """Valid days of training, validation and (when the cube holds its observations) test."""

    training: PeriodConfig
    validation: PeriodConfig
    test: PeriodConfig


class TrainingConfig(_Frozen):
    """See `vadose.train.Optimisation`."""

    epochs: int = Field(100, ge=1)
    patience: int | None = Field(20, ge=1)
    batch_size: int = Field(32, ge=1)
    samples_per_epoch: int | None = Field(None, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    alpha: float = Field(0.5, ge=0)
    beta: float = Field(0.5, ge=0)
    form: Literal["corrected", "printed", "crps"] = "corrected"
    clip: float = Field(1.0, gt=0)
    precision: str = "32-true"
    seeds: tuple[int, ...] = Field((0,), min_length=1)

    def optimisation(self) -> Optimisation:
        """As the training loop takes it."""
        return Optimisation(**self.model_dump())


class LayerConfig(_Frozen):
    """A layer of soil: the cube's variable that is forecast, and what names of its own stand for.

    In the predictors of a run ``{observed}`` is the variable, ``{part}`` and ``{depth}`` are these words.
    ``correlated`` names the variable that the loss's correlation is with, where it is another one;
    ``products`` the cube's analyses that stand beside forecasts when these are scored against stations.
    """

    observed: str
    correlated: str | None = None
    products: dict[str, str] = {}
    part: str = ""
    depth: str = ""


class RunConfig(_Frozen):
    """One model to train: its class and arguments, its predictors, its window, how it is trained.

    A run is trained for each layer of the experiment. ``history`` has to hold ``{observed}_filled``, the
    last value known, but for networks. Windows lie ``stride`` cells apart in training, ``forecast_stride`` in
    forecasts (a quarter of their edge when left out). ``future`` names what the model is given of the days to come:
    weather, and the normal ``{observed}_normal``. ``above`` names the run or blend whose forecasts of the
    layers above it is given. A ``window`` of ``map`` is the whole map; ``sequence`` are the days a
    recurrent network of single cells learns from at once. With ``dropout_passes`` forecasts are the mean of so many
    passes with dropout on; ``stations`` is the weight of the stations in the loss at cells that hold one, see
    `vadose.matchups.with_stations`. ``scenario`` is a word for the tables, ``only`` the layers the run is of.
    """

    model: str
    hyper: dict[str, Any] = {}
    history: tuple[str, ...] = ("{observed}_filled",)
    static: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    above: str | None = None
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
    training: TrainingConfig = TrainingConfig()
    refit: bool = True

    def channels(self, layer: LayerConfig, above: Sequence[str] = ()) -> Channels:
        """Predictors and lead times as models take them, of a layer below those of ``above``."""

        def named(words: tuple[str, ...]) -> tuple[str, ...]:
            meant = {"observed": layer.observed, "part": layer.part, "depth": layer.depth}
            return tuple(dict.fromkeys(word.format(**meant) for word in words))

        target = f"{layer.observed}_filled"
        history, static, future = named(self.history), named(self.static), named(self.future)
        return Channels(history, static, future, self.leads, target, tuple(above) if self.above else ())

    @model_validator(mode="after")
    def _known_model(self) -> "RunConfig":
        if self.model not in MODELS:
            raise ValueError(f"unknown model '{self.model}'{_nearest(self.model, list(MODELS))}")
        allowed = [
            name
            for name in inspect.signature(MODELS[self.model]).parameters
            if name not in ("channels", "grid", "look_back")
        ]
        for key in self.hyper:
            if key not in allowed:
                raise ValueError(f"unknown key 'hyper.{key}' of {self.model}{_nearest(key, allowed)}")
        for words in (self.history, self.static, self.future):
            for word in words:
                try:
                    word.format(observed="", part="", depth="")
                except (KeyError, ValueError, IndexError) as error:
                    raise ValueError(f"{word!r}: braces stand for observed, part or depth alone") from error
        needy = hasattr(MODELS[self.model], "fit") or self.model == "lstm"
        if needy and not {"{observed}_filled", "soil_moisture_filled"} & set(self.history):
            raise ValueError(f"history of {self.model} has to hold '{{observed}}_filled', the last value known")
        if not self.leads or min(self.leads) < 1 or list(self.leads) != sorted(set(self.leads)):
            raise ValueError(f"leads {list(self.leads)} have to be whole days from 1 on, rising")
        return self


class BlendConfig(_Frozen):
    """The weighted mean of trained runs, by their names.

    ``weights`` gives, for each lead, a weight a member; equal ones when left out.
    """

    members: tuple[str, ...] = Field(min_length=2)
    weights: dict[int, tuple[float, ...]] | None = None
    scenario: str = "all"

    def by_member(self, leads: tuple[int, ...]) -> tuple[tuple[float, ...], ...] | None:
        """A row of weights a member, a column a lead, as blends take them."""
        if self.weights is None:
            return None
        return tuple(tuple(self.weights[lead][m] for lead in leads) for m in range(len(self.members)))

    def check(self, name: str, runs: list[str], leads: tuple[int, ...]) -> None:
        """Refuse members that are no runs, and weights that do not fit members and leads."""
        for member in self.members:
            if member not in runs:
                raise ValueError(f"blends.{name}: unknown run '{member}'{_nearest(member, runs)}")
        if self.weights is None:
            return
        if set(self.weights) != set(leads):
            raise ValueError(f"blends.{name}: weights for leads {list(self.weights)}, forecasts are of {list(leads)}")
        for lead, of_lead in self.weights.items():
            if len(of_lead) != len(self.members) or min(of_lead) < 0 or sum(of_lead) <= 0:
                raise ValueError(
                    f"blends.{name}: lead {lead} wants {len(self.members)} weights, none below 0, not all 0"
                )


class Experiment(_Frozen):
    """A split of time, runs to train on it, and blends of them.

    ``data`` says what the data folder holds when there is no recipe: a database, or ``stations``.
    ``layers`` are named from the surface down; without any the cube's own is forecast. Networks and trees
    learn from the stations of ``learn_from`` alone where a cube is made of stations. Of a dense map every
    ``score_every``-th cell is scored in both directions: neighbours tell the same.
    """

    data: str = "conusv4f1"
    layers: dict[str, LayerConfig] = {}
    split: SplitConfig
    runs: dict[str, RunConfig]
    blends: dict[str, BlendConfig] = {}
    leads: tuple[int, ...] = (1, 3, 7, 14, 30)
    learn_from: tuple[str, ...] | None = None
    score_every: int = Field(1, ge=1)
    replicates: int = Field(1000, ge=10)

    def first_day(self) -> str:
        """First day a cube has to hold for the longest look-back of the first training days."""
        days = max(run.look_back for run in self.runs.values()) + max(self.leads)
        return (self.split.training.first - timedelta(days=days)).isoformat()

    @model_validator(mode="after")
    def _known_members(self) -> "Experiment":
        for name, blend in self.blends.items():
            blend.check(name, list(self.runs), self.leads)
        known = [*self.runs, *self.blends]
        for name, run in self.runs.items():
            for layer in run.only or ():
                if layer not in self.layers:
                    raise ValueError(f"runs.{name}: unknown layer '{layer}'{_nearest(layer, list(self.layers))}")
            if run.above is not None and run.above not in known:
                raise ValueError(f"runs.{name}: unknown run 'above: {run.above}'{_nearest(run.above, known)}")
        return self


class SourceConfig(_Frozen):
    """What a cube takes from a product: a list of names, or a table of its names and ours."""

    variables: dict[str, str]
    resampling: str
    options: dict[str, Any] = {}

    @field_validator("variables", mode="before")
    @classmethod
    def _same_names(cls, value: Any) -> Any:
        return {name: name for name in value} if isinstance(value, list) else value


class FillingConfig(_Frozen):
    """How the gaps of variables are filled, see `vadose.cube.Filling`."""

    variables: tuple[str, ...] = Field(min_length=1)
    method: Literal["cru", "climatology_ar1", "linear", "last_value", "dct_pls"] = "cru"
    mode: Mode = "causal"
    covariates: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    options: dict[str, Any] = {}


class CubeConfig(_Frozen):
    """What a cube is made of, see `vadose.cube.Recipe`; ``bbox`` is west, south, east, north.

    ``training`` are the days the cube's statistics are of, those of the experiment's training split; ``exact``
    keeps every bit of float32; ``filling`` says which variables' gaps are filled, and how.
    """

    resolution: str
    bbox: tuple[float, float, float, float]
    first: date
    last: date
    products: dict[str, SourceConfig] = Field(min_length=1)
    training: PeriodConfig | None = None
    exact: bool = False
    filling: list[FillingConfig] = []

    def recipe(self) -> Recipe:
        """As the builder takes it."""
        sources = tuple(
            Source(name, source.variables, source.resampling, source.options) for name, source in self.products.items()
        )
        training = (self.training.first.isoformat(), self.training.last.isoformat()) if self.training else None
        first, last = self.first.isoformat(), self.last.isoformat()
        filling = tuple(Filling(**dict(how)) for how in self.filling)
        return Recipe(self.resolution, self.bbox, first, last, sources, training, self.exact, filling)

    @model_validator(mode="after")
    def _ordered(self) -> "CubeConfig":
        if self.last < self.first:
            raise ValueError(f"last day {self.last} lies before the first, {self.first}")
        return self


def built_in(kind: str = "") -> list[str]:
    """Names of the experiments that come with the package, or of the cubes with ``kind='cubes'``."""
    folder = files("vadose.configs").joinpath(kind) if kind else files("vadose.configs")
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml"))


def load_cube(name: str) -> Recipe:
    """Read a cube file, or one of the built-in ones by its name; errors as those of `load_experiment`.

    Examples
    --------
    >>> load_cube("demo").resolution
    '9km'
    """
    return _load(name, CubeConfig, "cubes", "cube").recipe()


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
    datetime.date(2015, 4, 1)
    """
    return _load(name, Experiment, "", "experiment")


Config = TypeVar("Config", bound=BaseModel)


def _load(name: str, model: type[Config], folder: str, what: str) -> Config:
    path = Path(name)
    if not path.suffix and name in built_in(folder):
        text = files("vadose.configs").joinpath(folder, f"{name}.yaml").read_text()
    elif path.is_file():
        text = path.read_text()
    else:
        raise VadoseError(f"{name}: no such {what} file, nor one of the built-in {built_in(folder)}")
    try:
        return model.model_validate(_without_shared(yaml.safe_load(text)))
    except yaml.YAMLError as error:
        raise VadoseError(f"{name}: not YAML: {error}") from error
    except ValidationError as error:
        raise VadoseError("\n".join(f"{name}: {_told(e, model)}" for e in error.errors())) from error


def _without_shared(values: Any) -> Any:
    """Leave out the top-level keys that begin with a point: they hold YAML anchors only."""
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if not str(key).startswith(".")}


def _told(error: Any, top: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key '{place}'{_nearest(str(error['loc'][-1]), _keys_at(error['loc'][:-1], top))}"
    if error["type"] == "missing":
        return f"key '{place}' is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _keys_at(place: tuple[Any, ...], top: type[BaseModel]) -> list[str]:
    """Keys allowed at a place of a file."""
    model: Any = top
    for part in place:
        model = {
            "split": SplitConfig,
            "training": TrainingConfig,
            "runs": RunConfig,
            "blends": BlendConfig,
            "products": SourceConfig,
        }.get(str(part), model)
        if part in ("training", "validation", "test") and place[0] == "split":
            model = PeriodConfig
    return list(model.model_fields)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {known}"


def quick(experiment: Experiment) -> Experiment:
    """The same experiment with a few steps of everything: it shows that all runs, not how well.

    Examples
    --------
    >>> quick(load_experiment("conus")).runs["convlstm"].training.epochs
    1
    """
    runs = {}
    for name, run in experiment.runs.items():
        training = run.training.model_copy(
            update={"epochs": 1, "samples_per_epoch": 256, "seeds": run.training.seeds[:1]}
        )
        hyper = run.hyper | ({"iterations": 5} if run.model == "trees" else {})
        runs[name] = run.model_copy(update={"training": training, "hyper": hyper})
    return experiment.model_copy(update={"runs": runs, "replicates": 50})
