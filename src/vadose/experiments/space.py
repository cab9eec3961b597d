"""Values of hyper-parameters that a search may take: built-in ones for each model, or those of a file."""

import inspect
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from vadose.errors import VadoseError, nearest
from vadose.experiments.forecasting import RunConfig
from vadose.experiments.section import Section, load
from vadose.models import MODELS

TRAINED_WITH = ("batch_size", "learning_rate", "weight_decay", "optimiser", "clip")
"""Settings of the training that leave the validation loss comparable: its form, samples and weights do not."""


class Span(Section):
    """Values of one hyper-parameter: ``choices``, in a file a list, or numbers from ``low`` to ``high``.

    Numbers are whole where both ends are; with ``log`` equal ratios are equally likely.
    """

    choices: tuple[Any, ...] = ()
    low: int | float = 0
    high: int | float = 0
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        return {"choices": values} if isinstance(values, list) else values

    @model_validator(mode="after")
    def _complete(self) -> "Span":
        if bool(self.choices) == (self.low < self.high) or (self.log and self.low <= 0):
            raise ValueError(
                f"expected a list of values, or low < high, above 0 with log: true; found {list(self.choices)}, "
                f"low {self.low}, high {self.high}, log {str(self.log).lower()}"
            )
        return self

    def suggested(self, name: str, trial: Any) -> None:
        """Have a trial of Optuna take a value; choices are text to it, which takes no lists."""
        if self.choices:
            trial.suggest_categorical(name, [json.dumps(choice) for choice in self.choices])
        elif isinstance(self.low, int) and isinstance(self.high, int):
            trial.suggest_int(name, self.low, self.high, log=self.log)
        else:
            trial.suggest_float(name, self.low, self.high, log=self.log)


class Space(Section):
    """A file of hyper-parameters to search: ``look_back``, ``hyper.NAME`` or ``training.NAME`` -> its `Span`."""

    kind: Literal["space"] = "space"
    parameters: dict[str, Span] = Field(min_length=1)

    def settings(self, taken: dict[str, Any]) -> dict[str, Any]:
        """Values by name of what a trial took, see `Span.suggested`."""
        return {name: json.loads(taken[name]) if s.choices else taken[name] for name, s in self.parameters.items()}


_DROPOUT = {"hyper.dropout": Span(low=0.0, high=0.5)}
ANY_MODEL = {
    "training.learning_rate": Span(low=3e-4, high=1e-2, log=True),
    "training.weight_decay": Span(low=1e-6, high=1e-2, log=True),
    "training.batch_size": Span(low=4, high=128, log=True),
}
SPACES = {
    "convlstm": _DROPOUT
    | {
        "hyper.filters": Span(choices=([8, 16], [8, 16, 32], [16, 32], [16, 32, 64])),
        "look_back": Span(low=2, high=7),
    },
    "lstm": _DROPOUT | {"hyper.hidden": Span(choices=(32, 64, 128)), "look_back": Span(low=15, high=60)},
    "simvp": _DROPOUT | {"hyper.width": Span(choices=(48, 96, 128)), "hyper.depth": Span(low=2, high=4)},
    "surrogate": _DROPOUT | {name: Span(choices=(16, 32, 64)) for name in ("hyper.hidden", "hyper.width")},
}
"""Model -> what is searched besides `ANY_MODEL`, which is all for models that are not here."""


def space_of(run: RunConfig, file: Path | None = None) -> Space:
    """The space of a run's model, or that of a file; each value is tried on the run's settings.

    Raises
    ------
    VadoseError
        When the file is none, or a name or value in it is none that the run takes.
    """
    space = load(str(file), [Space]) if file else Space(parameters=ANY_MODEL | SPACES.get(run.model, {}))
    where, beside = str(file or "space"), ("self", "channels", "grid", "look_back")
    hyper = [name for name in inspect.signature(MODELS[run.model]).parameters if name not in beside]
    known = ["look_back", *(f"hyper.{name}" for name in hyper), *(f"training.{name}" for name in TRAINED_WITH)]
    for name, span in space.parameters.items():
        if name not in known:
            raise VadoseError(f"{where}: '{name}' of {run.model} cannot be searched{nearest(name, known)}")
        for value in span.choices or (span.low, span.high):
            try:
                with_settings(run, {name: value})
            except ValidationError as error:
                found = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise VadoseError(f"{where}: {name} of {run.model} cannot be {value!r}: {found}") from error
    return space


def with_settings(run: RunConfig, settings: dict[str, Any]) -> RunConfig:
    """A run with other values of ``look_back``, ``hyper.NAME`` or ``training.NAME``.

    Examples
    --------
    >>> with_settings(RunConfig(model="convlstm"), {"look_back": 4, "training.clip": 2.0}).training.clip
    2.0
    """
    values = run.model_dump()
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        (values[section] if section else values)[key] = value
    return RunConfig.model_validate(values)
