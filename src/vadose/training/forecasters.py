"""Runs of forecasters: networks go through `vadose.training.loop`, other models are fitted in one go."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from vadose.artefact import is_current, locked, note_inputs, remove, writing
from vadose.artefact.checkpoint import save
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.models import MODELS, to_checkpoint
from vadose.models.inputs import Inputs
from vadose.parallel.progress import Progress, silent
from vadose.samples.windows import Samples
from vadose.training.loop import STATISTICS, Descent, Log, Task, fit, new_network, write_history
from vadose.training.losses import crps, rmse_correlation
from vadose.training.processes import JoinedNetwork, launched


@dataclass(frozen=True)
class Optimisation(Descent):
    """How a forecasting network is trained.

    Attributes
    ----------
    samples_per_epoch
        Drawn anew each epoch; all of them when ``None``.
    alpha, beta, form
        Of the loss, see `vadose.training.losses.rmse_correlation`; with the form ``'crps'`` it is
        `vadose.training.losses.crps`, and the model has to have a deviation.

    With a patience of ``None`` all epochs are run and the last one is kept: for a number of epochs settled otherwise,
    the validation loss only logged.
    """

    samples_per_epoch: Annotated[int, Ge(1)] | None = None
    alpha: Annotated[float, Ge(0)] = 0.5
    beta: Annotated[float, Ge(0)] = 0.5
    form: Literal["corrected", "printed", "crps"] = "corrected"

    @property
    def keeps_best(self) -> bool:
        """Whether training may stop early."""
        return self.patience is not None


CELLS_AT_ONCE = 1 << 18
"""Cells x days of history in a batch that only statistics are taken of."""


@dataclass(frozen=True)
class Batches:
    """The batches of a period, to be gone through as often as wanted: always the same, ``limit`` samples at most."""

    samples: Samples
    period: Period
    size: int | None = None
    limit: int | None = None
    learnt: bool = False

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        size = self.size or max(1, CELLS_AT_ONCE // (math.prod(self.samples.size) * self.samples.look_back))
        generator = None if self.limit is None else np.random.default_rng(0)
        return self.samples.batches(self.period, size=size, limit=self.limit, generator=generator, learnt=self.learnt)


@dataclass(frozen=True)
class ForecastTask(Task[Inputs]):
    """Windows of a cube, or series of its cells where the network takes them, and the loss at all leads."""

    how: Optimisation
    samples: Samples
    training: Period
    validation: Period | None

    def statistics(self) -> Batches:
        """Samples of the training days, at most `STATISTICS`."""
        return Batches(self.samples, self.training, limit=STATISTICS, learnt=True)

    def batches(self, generator: np.random.Generator) -> Iterator[tuple[Inputs, Tensor]]:
        """Samples of the training days."""
        return self._drawn(self.training, self.how.batch_size, generator)

    def validate(self, predict: JoinedNetwork) -> float | None:
        """At most as many samples as an epoch of training takes."""
        if self.validation is None:
            return None
        if self.network.takes == "series":
            batches = self._drawn(self.validation, self.how.batch_size, None)
        else:
            size = max(self.how.batch_size, 1024 // math.prod(self.samples.size))
            batches = self._drawn(self.validation, size, np.random.default_rng(0))
        return float(torch.stack([self.loss(predict, *batch) for batch in batches]).mean())

    def _drawn(
        self, period: Period, size: int, generator: np.random.Generator | None
    ) -> Iterator[tuple[Inputs, Tensor]]:
        limit = self.how.samples_per_epoch
        if self.network.takes == "series":
            return self.samples.sequences(period, size=size, limit=limit, generator=generator, learnt=True)
        return self.samples.batches(period, size=size, limit=limit, generator=generator, learnt=True, correlated=True)

    def loss(self, predict: JoinedNetwork, inputs: Inputs, observed: Tensor) -> Tensor:
        """Of windows, or of all days of sequences, at all leads."""
        if self.network.takes == "series":
            # Targets are of the last days; those before them are what the first ones look back on.
            days = predict(self.method, len(observed), inputs, inputs.history.shape[1] - observed.shape[1])
            mean, std, observed = (of_days.flatten(0, 1) for of_days in (*days, observed))
        else:
            mean, std = predict(self.method, len(observed), inputs)
        # Behind the observed there may be what the correlation is with.
        observed, *other = torch.split(observed.to(mean.device), mean.shape[1], dim=1)
        how, correlated = self.how, other[0] if other else None
        if how.form == "crps":
            return crps(mean, std, observed)
        return rmse_correlation(mean, observed, correlated=correlated, alpha=how.alpha, beta=how.beta, form=how.form)


@dataclass(frozen=True)
class Plan:
    """What a run learns, and how.

    Attributes
    ----------
    model, hyper
        Name in `vadose.models.MODELS`, and the arguments of its class.
    training, validation
        Valid days of the targets. Statistics come from the training days only. Without validation all
        epochs are run, and there is nothing to refit with.

    Raises
    ------
    VadoseError
        When training and validation overlap.
    """

    model: str
    hyper: dict[str, Any]
    training: Period
    validation: Period | None
    optimisation: Optimisation

    def __post_init__(self) -> None:
        if self.validation is not None and self.validation.first <= self.training.last:
            raise VadoseError(
                f"validation begins {self.validation.first}, training ends {self.training.last}: they have to follow "
                "each other"
            )


@dataclass(frozen=True)
class _Fitted:
    """Checkpoints of the networks, one a seed, the epochs they were kept at, and what they were fitted on."""

    samples: Samples
    plan: Plan
    members: list[dict[str, Any]]
    epochs: dict[int, int]
    log: Log


def train(
    samples: Samples,
    out: Path,
    plan: Plan,
    *,
    refit: bool | Callable[[], Samples] = True,
    attributes: dict[str, str] | None = None,
    made_of: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> Path:
    """Train one run and write its folder.

    The folder holds ``selected.pt``, fitted on the training days alone with the epoch of the lowest
    validation loss, and ``final.pt``: with ``refit`` fitted anew on training and validation days,
    a network for the epochs found before; else the same. Both are self-contained. An interrupted
    training goes on from its last epoch, on as many processes as there are then.

    Parameters
    ----------
    samples
        The cube's samples, in the shape the model takes.
    refit
        Whether to fit anew on all days; or what gives the `Samples` to do so with, where predictors depend
        on the training days, as normals and the forecasts of the layers above do.
    out
        Folder of the run; left alone when it was made from the same inputs already.
    attributes
        Noted in the checkpoint and later in its forecasts.
    made_of
        What the run is made of besides the plan and the samples, such as what ``refit`` takes.

    Raises
    ------
    VadoseError
        When the loss stops being a number, or another process trains the run.
    """
    plan = replace(plan, hyper=with_shape(plan.model, plan.hyper, samples))
    inputs = asdict(plan) | {
        "samples": samples.identity(),
        "channels": samples.channels.to_dict(),
        "look_back": samples.look_back,
        "window": samples.window,
        "stride": samples.stride,
        "refit": bool(refit and plan.validation),
    }
    inputs |= made_of or {}
    for of_the_machine in ("compile", "device"):
        del inputs["optimisation"][of_the_machine]
    if plan.optimisation.optimiser == "adamw":  # runs of versions that knew no other stand
        del inputs["optimisation"]["optimiser"]
    fabric = launched(plan.optimisation.precision, plan.optimisation.device)
    if fabric.broadcast(is_current(out, **inputs)):
        return out
    first, by_steps = fabric.is_global_zero, MODELS[plan.model].learns == "steps"
    progress = progress if first else silent
    label = " ".join(filter(None, ((attributes or {}).get("layer"), out.name)))
    resume = out.with_name(f".{out.name}.training")
    with locked(resume, out) if first else nullcontext():
        if first:
            _forget_unless(resume, inputs)
        if first or by_steps:
            fitted = partial(_by_steps, resume) if by_steps else _at_once
            final = selected = fitted(samples, plan, label, None, progress)
            if refit and plan.validation:
                of_all = refit() if callable(refit) else samples
                whole = replace(plan, training=plan.training.to(plan.validation), validation=None)
                final = fitted(of_all, whole, label, selected.epochs, progress)
        if first:
            _write(out, selected, final, attributes or {}, inputs)
            remove(resume)
        fabric.barrier()
    return out


def with_shape(model: str, hyper: dict[str, Any], samples: Samples) -> dict[str, Any]:
    """Arguments of a model's class, with those of the grid's shape and the look-back where it takes them."""
    shape, taken = {"grid": samples.shape, "look_back": samples.look_back}, signature(MODELS[model]).parameters
    return hyper | {name: value for name, value in shape.items() if name in taken}


def _by_steps(
    resume: Path, samples: Samples, plan: Plan, label: str, epochs: dict[int, int] | None, progress: Progress
) -> _Fitted:
    """Train a network from each seed, anew for ``epochs`` where they are settled."""
    members, kept, log = [], {}, []
    for seed in plan.optimisation.seeds:
        how, name, what = plan.optimisation, f"{seed}.pt", f"{label}, seed {seed}"
        if epochs is not None:
            how, name, what = replace(how, epochs=epochs[seed]), f"{seed}-refit.pt", f"{what} on all days"
        network = new_network(plan.model, samples.channels, plan.hyper, seed)
        task = ForecastTask(network, how, seed, what, samples, plan.training, plan.validation)
        kept[seed], rows = fit(task, resume=resume / name, progress=progress)
        members.append(to_checkpoint(plan.model, plan.hyper, network))
        log += rows
    return _Fitted(samples, plan, members, kept, log)


def _at_once(samples: Samples, plan: Plan, label: str, epochs: dict[int, int] | None, progress: Progress) -> _Fitted:
    """Fit a model that learns in one go."""
    again = "" if epochs is None else " on all days"
    what = f"fitting {label}{again} on {plan.training.first} .. {plan.training.last}"
    progress(what, 0.0)
    model = MODELS[plan.model](samples.channels, **plan.hyper)
    # A model of each cell's own parameters has to see every cell, and every day.
    of_each_cell = "grid" in plan.hyper
    limit = None if of_each_cell else plan.optimisation.samples_per_epoch
    model.fit(Batches(samples, plan.training, limit=limit, learnt=not of_each_cell))
    progress(what, 1.0)
    return _Fitted(samples, plan, [to_checkpoint(plan.model, plan.hyper, model)], {}, [])


def _write(out: Path, selected: _Fitted, final: _Fitted, attributes: dict[str, str], inputs: dict[str, Any]) -> None:
    """Write the folder of a run."""
    samples, plan = selected.samples, selected.plan
    common: dict[str, Any] = {
        "inputs": samples.channels.to_dict(),
        "look_back": samples.look_back,
        "window": samples.window,
        "place": samples.place.to_dict(),
        "stations": samples.stations(learnt="grid" not in plan.hyper),
        "attributes": {"model": plan.model, "weather": samples.channels.weather, "observed": samples.observed}
        | attributes,
    }
    if MODELS[plan.model].learns == "steps":
        common["precision"] = plan.optimisation.precision
    learnt = {"training": samples.within(plan.training)}
    with writing(out) as scratch:
        scratch.mkdir()
        for name, fitted in {"selected": selected, "final": final}.items():
            if name == "final" and plan.validation:
                learnt["validation"] = samples.within(plan.validation)
            days = {kind: [p.first, p.last] for kind, p in (learnt | fitted.samples.learnt_by_inputs).items()}
            noted = {"learnt_from": asdict(samples.within(fitted.plan.training)), "learnt": days}
            save(_mean_of(fitted.members, common | noted), scratch / f"{name}.pt")
        write_history(selected.log + (final.log if final is not selected else []), scratch)
        note_inputs(scratch, **inputs)


def _mean_of(members: list[dict[str, Any]], common: dict[str, Any]) -> dict[str, Any]:
    """One checkpoint of a model, or of the mean of several trained from different seeds."""
    if len(members) == 1:
        return members[0] | common
    return {"name": "blend", "members": [m | common for m in members], "weights": None} | common


def _forget_unless(resume: Path, inputs: dict[str, Any]) -> None:
    """Drop what an interrupted training left, unless it was of the same inputs."""
    if not is_current(resume, **inputs):
        remove(resume)
        resume.mkdir(parents=True)
        note_inputs(resume, **inputs)
