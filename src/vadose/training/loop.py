"""Fitting models: one explicit loop on Lightning Fabric for networks, ``fit`` for the others.

Under `torchrun` every process goes through the same loop on its share of each batch, see `vadose.training.processes`;
the first one alone fits what is no network, tells the progress and writes.
"""

import copy
import csv
import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, MinLen
from lightning_fabric import Fabric
from lightning_fabric.utilities.seed import seed_everything
from torch import Tensor, nn

from vadose.artefact import identity, is_current, locked, note_inputs, remove, writing
from vadose.artefact.checkpoint import load, save
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.models import MODELS, to_checkpoint
from vadose.models.contract import Model
from vadose.models.inputs import Channels, Inputs
from vadose.parallel.progress import Progress, silent
from vadose.samples.windows import Samples
from vadose.training.losses import crps, rmse_correlation
from vadose.training.processes import join_batch_norms, joined, launched, share


@dataclass(frozen=True)
class Optimisation:
    """How a network is trained.

    Attributes
    ----------
    epochs, patience
        At most so many epochs; stop when the validation loss has not fallen for so many and keep
        the epoch where it was lowest. With a patience of ``None`` all epochs are run and the last
        one is kept: for a number of epochs settled otherwise, the validation loss only logged.
    batch_size, samples_per_epoch
        Samples a step, of all processes together, and drawn anew each epoch; all of them when ``None``.
    learning_rate, weight_decay
        Of Adam; the rate falls to a tenth over the epochs along a cosine.
    alpha, beta, form
        Of the loss, see `vadose.training.losses.rmse_correlation`; with the form ``'crps'`` it is
        `vadose.training.losses.crps`, and the model has to have a deviation.
    clip
        Largest norm of the gradient.
    precision
        As Lightning Fabric names it, such as ``'32-true'`` or ``'bf16-mixed'``.
    seeds
        Networks trained, one a seed; the forecast is their mean.
    compile
        Whether networks go through `torch.compile`; where that fails, for want of a C++ compiler say, training
        says so and goes on without. Of the same inputs as without it: a run is not made anew for it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] | None = 20
    batch_size: Annotated[int, Ge(1)] = 32
    samples_per_epoch: Annotated[int, Ge(1)] | None = None
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    weight_decay: Annotated[float, Ge(0)] = 0.0
    alpha: Annotated[float, Ge(0)] = 0.5
    beta: Annotated[float, Ge(0)] = 0.5
    form: Literal["corrected", "printed", "crps"] = "corrected"
    clip: Annotated[float, Gt(0)] = 1.0
    precision: str = "32-true"
    seeds: Annotated[tuple[int, ...], MinLen(1)] = (0,)
    compile: bool = False


CELLS_AT_ONCE = 1 << 18
"""Cells x days of history in a batch that only statistics are taken of."""
STATISTICS = 1 << 15
"""Samples that the means and deviations of a network's predictors are taken of."""


class Batches:
    """The batches of a period, to be gone through as often as wanted: always the same, ``limit`` samples at most."""

    def __init__(
        self,
        samples: Samples,
        period: Period,
        size: int | None = None,
        *,
        limit: int | None = None,
        learnt: bool = False,
    ) -> None:
        height, width = samples.size
        self.samples, self.period, self.limit, self.learnt = samples, period, limit, learnt
        self.size = size or max(1, CELLS_AT_ONCE // (height * width * samples.look_back))

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        generator = None if self.limit is None else np.random.default_rng(0)
        return self.samples.batches(
            self.period, size=self.size, limit=self.limit, generator=generator, learnt=self.learnt
        )


def train(
    samples: Samples,
    out: Path,
    *,
    model: str,
    hyper: dict[str, Any],
    training: Period,
    validation: Period | None,
    optimisation: Optimisation,
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
    model, hyper
        Name in `vadose.models.MODELS`, and the arguments of its class.
    training, validation
        Valid days of the targets. Statistics come from the training days only. Without validation all
        epochs are run, and there is nothing to refit with.
    attributes
        Noted in the checkpoint and later in its forecasts.
    made_of
        What the run is made of besides the settings and the samples, such as what ``refit`` takes.

    Raises
    ------
    VadoseError
        When training and validation overlap, the loss stops being a number, or another process trains the run.
    """
    if validation is None:
        refit = False
    elif validation.first <= training.last:
        raise VadoseError(
            f"validation begins {validation.first}, training ends {training.last}: they have to follow each other"
        )
    of_samples = {"grid": samples.shape, "look_back": samples.look_back}
    hyper = hyper | {k: v for k, v in of_samples.items() if k in inspect.signature(MODELS[model]).parameters}
    inputs = {
        "samples": samples.identity(),
        "model": model,
        "hyper": hyper,
        "channels": samples.channels.to_dict(),
        "look_back": samples.look_back,
        "window": samples.window,
        "stride": samples.stride,
        "training": asdict(training),
        "validation": validation and asdict(validation),
        "refit": bool(refit),
        "optimisation": {k: v for k, v in asdict(optimisation).items() if k != "compile"},
        **(made_of or {}),
    }
    fabric = launched(optimisation.precision)
    if fabric.broadcast(is_current(out, **inputs)):
        return out
    first = fabric.is_global_zero
    progress = progress if first else silent
    common: dict[str, Any] = {
        "inputs": samples.channels.to_dict(),
        "look_back": samples.look_back,
        "window": samples.window,
        "place": samples.place.to_dict(),
        "stations": samples.stations(learnt="grid" not in hyper),
        "attributes": {
            "model": model,
            "weather": samples.channels.weather,
            "observed": samples.observed,
            **(attributes or {}),
        },
    }
    whole = training.to(validation) if validation else training
    days = {"selected": {"training": samples.within(training)}}
    days["final"] = days["selected"] | ({"validation": samples.within(validation)} if validation else {})
    resume = out.with_name(f".{out.name}.training")
    with locked(resume, out) if first else nullcontext():
        if first:
            _forget_unless(resume, inputs)
        log: list[dict[str, Any]] = []
        label = " ".join(filter(None, (common["attributes"].get("layer"), out.name)))

        of_all = samples
        members: list[list[dict[str, Any]]] = [[]]
        if MODELS[model].learns == "steps":
            epochs = {}
            for seed in optimisation.seeds:
                place, what = resume / f"{seed}.pt", f"{label}, seed {seed}"
                best, epochs[seed] = _optimise(
                    fabric, samples, training, validation, model, hyper, optimisation, seed, place, log, what, progress
                )
                members[0].append(best)
            if refit:
                members.append([])
                of_all = refit() if callable(refit) else samples
                for seed in optimisation.seeds:
                    place, what = resume / f"{seed}-refit.pt", f"{label}, seed {seed} on all days"
                    fixed = replace(optimisation, epochs=epochs[seed])
                    best, _ = _optimise(
                        fabric, of_all, whole, None, model, hyper, fixed, seed, place, log, what, progress
                    )
                    members[1].append(best)
        elif first:
            limit = optimisation.samples_per_epoch
            members = [[_fit(samples, training, model, hyper, limit, label, progress)]]
            if refit:
                of_all = refit() if callable(refit) else samples
                members.append([_fit(of_all, whole, model, hyper, limit, f"{label} on all days", progress)])
        if first:
            with writing(out) as scratch:
                scratch.mkdir()
                seen = (training, whole if refit else training)
                made = zip(days, (members[0], members[-1]), seen, (samples, of_all), strict=True)
                for name, group, period, given in made:
                    learnt = {kind: [p.first, p.last] for kind, p in (days[name] | given.learnt_by_inputs).items()}
                    noted = {"learnt_from": asdict(samples.within(period)), "learnt": learnt}
                    save(_mean_of(group, common | noted), scratch / f"{name}.pt")
                if log:
                    with (scratch / "history.csv").open("w", newline="") as stream:
                        writer = csv.DictWriter(stream, log[0])
                        writer.writeheader()
                        writer.writerows(log)
                note_inputs(scratch, **inputs)
            remove(resume)
        fabric.barrier()
    return out


def blend(
    runs: list[Path],
    out: Path,
    *,
    weights: tuple[tuple[float, ...], ...] | None,
    leads: tuple[int, ...],
    attributes: dict[str, str],
    weights_from: Period | None = None,
) -> Path:
    """Join trained runs into one whose forecast is their weighted mean; the members are kept whole.

    ``weights_from`` are the days the weights were chosen on.

    Raises
    ------
    VadoseError
        When the runs take different weather.
    """
    chosen_on = {"blend weights": [weights_from.first, weights_from.last]} if weights_from else {}
    members = identity(*(run / name for run in runs for name in ("selected.pt", "final.pt")))
    inputs = {
        "runs": [run.name for run in runs],
        "members": members,
        "weights": weights,
        "leads": leads,
        "learnt": chosen_on,
        "attributes": attributes,
    }
    fabric = launched()
    if fabric.is_global_zero and not is_current(out, **inputs):
        _blend(runs, out, weights, leads, attributes, inputs)
    fabric.barrier()
    return out


def _blend(
    runs: list[Path],
    out: Path,
    weights: tuple[tuple[float, ...], ...] | None,
    leads: tuple[int, ...],
    attributes: dict[str, str],
    inputs: dict[str, Any],
) -> None:
    with writing(out) as scratch:
        scratch.mkdir()
        for name in ("selected.pt", "final.pt"):
            members = [load(run / name, needs=("name", "inputs", "attributes"), made_by="vadose train") for run in runs]
            if len({member["attributes"]["weather"] for member in members}) > 1:
                raise VadoseError(f"{out.name}: some of its members take weather and some do not; blend alike ones")
            channels = Channels(
                history=_union(m["inputs"]["history"] for m in members),
                static=_union(m["inputs"]["static"] for m in members),
                future=_union(m["inputs"]["future"] for m in members),
                leads=leads,
                target=members[0]["inputs"]["target"],
                above=_union(m["inputs"]["above"] for m in members),
            )
            checkpoint = {
                "name": "blend",
                "members": members,
                "weights": weights,
                "inputs": channels.to_dict(),
                "learnt": inputs["learnt"],
                "look_back": max(m["look_back"] for m in members),
                "window": max(m["window"] or 0 for m in members),
                "attributes": members[0]["attributes"] | {"model": "blend"} | attributes,
            }
            save(checkpoint, scratch / name)
        note_inputs(scratch, **inputs)


def _mean_of(members: list[dict[str, Any]], common: dict[str, Any]) -> dict[str, Any]:
    """One checkpoint of a model, or of the mean of several trained from different seeds."""
    if len(members) == 1:
        return members[0] | common
    return {"name": "blend", "members": [m | common for m in members], "weights": None} | common


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))


def _fit(
    samples: Samples,
    period: Period,
    model: str,
    hyper: dict[str, Any],
    limit: int | None,
    label: str,
    progress: Progress,
) -> dict[str, Any]:
    """Fit a model that learns in one go."""
    what = f"fitting {label} on {period.first} .. {period.last}"
    progress(what, 0.0)
    fitted = MODELS[model](samples.channels, **hyper)
    # A model of each cell's own parameters has to see every cell, and every day.
    of_each_cell = "grid" in hyper
    fitted.fit(Batches(samples, period, limit=None if of_each_cell else limit, learnt=not of_each_cell))
    progress(what, 1.0)
    return to_checkpoint(model, hyper, fitted)


def _optimise(
    fabric: Fabric,
    samples: Samples,
    training: Period,
    validation: Period | None,
    model: str,
    hyper: dict[str, Any],
    how: Optimisation,
    seed: int,
    resume: Path,
    log: list[dict[str, Any]],
    label: str,
    progress: Progress,
) -> tuple[dict[str, Any], int]:
    """Train one network; the best checkpoint by validation loss (the last without) and its epoch."""
    seed_everything(seed, verbose=False)
    network = MODELS[model](samples.channels, **hyper)
    if fabric.world_size > 1:
        join_batch_norms(network)
    network.fit_normalisation(Batches(samples, training, limit=STATISTICS, learnt=True))
    optimiser = torch.optim.AdamW(network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda epoch: 0.1 + 0.45 * (1 + math.cos(math.pi * min(epoch / how.epochs, 1.0)))
    )
    shadow, wrapped_optimiser = fabric.setup(network, optimiser)
    for method in ("of_days", "distribution") if network.takes == "series" else ("distribution",):
        shadow.mark_forward_method(method)
    if how.compile:
        _compile(network, _method(network, how), lambda why: progress(f"{label} goes on uncompiled, {why}", 1.0))
    draw: Callable[..., Iterator[tuple[Inputs, Tensor]]] = samples.sequences
    if network.takes != "series":
        draw = partial(samples.batches, correlated=True)
    best, best_epoch, best_loss, first = copy.deepcopy(network.state_dict()), 0, math.inf, 1
    own_log: list[dict[str, Any]] = []
    early = validation is not None and how.patience is not None
    progress(f"training {label}", 0.0)
    left = fabric.is_global_zero and resume.exists()
    if kept := fabric.broadcast(load(resume, needs=("network",), made_by="vadose train") if left else None):
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        schedule.load_state_dict(kept["schedule"])
        torch.set_rng_state(kept["rng"])
        best, best_epoch, best_loss = kept["best"], kept["best_epoch"], kept["best_loss"]
        first = kept["epoch"] + 1
        own_log = kept["log"]
    if fabric.global_rank:
        # Masks of dropout other than those of the first process.
        torch.manual_seed(int(np.random.default_rng([seed, first, fabric.global_rank]).integers(2**62)))
    for epoch in range(first, how.epochs + 1):
        if early and how.patience is not None and epoch - 1 - best_epoch >= how.patience:
            break
        generator = np.random.default_rng([seed, epoch])
        shadow.train()
        batches = draw(training, size=how.batch_size, limit=how.samples_per_epoch, generator=generator, learnt=True)
        train_loss = _epoch(fabric, shadow, wrapped_optimiser, batches, how)
        schedule.step()
        entry = {"run": label, "epoch": epoch, "train_loss": train_loss, "validation_loss": ""}
        if validation is None:
            best, best_epoch = copy.deepcopy(network.state_dict()), epoch
        else:
            shadow.eval()
            loss = _validate(fabric, shadow, samples, validation, how)
            entry["validation_loss"] = loss
            if loss < best_loss or not early:
                best, best_epoch, best_loss = copy.deepcopy(network.state_dict()), epoch, loss
        own_log.append(entry)
        progress(f"training {label}: epoch {epoch}, best {best_epoch}", 0.99 * epoch / how.epochs)
        state = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "rng": torch.get_rng_state(),
            "best": best,
            "best_epoch": best_epoch,
            "best_loss": best_loss,
            "epoch": epoch,
            "log": own_log,
        }
        if fabric.is_global_zero:
            with writing(resume) as scratch:
                save(state, scratch)
    progress(f"training {label}", 1.0)
    log.extend(own_log)
    network.load_state_dict(best)
    return to_checkpoint(model, hyper, network), best_epoch


def _epoch(
    fabric: Fabric,
    network: nn.Module,
    optimiser: Any,
    batches: Iterator[tuple[Inputs, Tensor]],
    how: Optimisation,
) -> float:
    """One pass over the batches; the mean loss."""
    losses: list[Tensor] = []
    for inputs, observed in batches:
        loss = _loss(fabric, network, inputs, observed, how)
        if not torch.isfinite(loss):
            raise VadoseError(
                f"the training loss is {loss.item()} after {len(losses)} steps of an epoch; "
                "lower the learning rate or the precision's speed ('32-true')"
            )
        optimiser.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(network, optimiser, max_norm=how.clip, error_if_nonfinite=False)
        optimiser.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


@torch.no_grad()
def _validate(fabric: Fabric, network: Any, samples: Samples, period: Period, how: Optimisation) -> float:
    """Mean loss over the samples of a period, at most as many as an epoch of training takes."""
    if network.takes == "series":
        batches = samples.sequences(period, size=how.batch_size, limit=how.samples_per_epoch, learnt=True)
    else:
        height, width = samples.size
        size = max(how.batch_size, 1024 // (height * width))
        generator = np.random.default_rng(0)  # the same samples every time
        batches = samples.batches(
            period, size=size, limit=how.samples_per_epoch, generator=generator, learnt=True, correlated=True
        )
    losses = [_loss(fabric, network, inputs, observed, how) for inputs, observed in batches]
    # All have to stop at the same epoch, whatever the last bit of their loss.
    return fabric.broadcast(float(torch.stack(losses).mean()))


def _loss(fabric: Fabric, network: Any, inputs: Inputs, observed: Tensor, how: Optimisation) -> Tensor:
    """Loss of a batch of windows, or of all days of a batch of sequences, each process predicting its share."""
    size, method = len(observed), _method(network, how)
    observed = observed.to(fabric.device)
    parts = (None if tensor is None else share(fabric, tensor).to(fabric.device) for tensor in inputs)
    part = Inputs(*parts)  # type: ignore[arg-type]
    std: Tensor | None = None
    if method == "of_days":
        # Targets are of the last days; those before them are what the first ones look back on.
        mean, std = network.of_days(part, inputs.history.shape[1] - observed.shape[1])
    elif method == "distribution":
        mean, std = network.distribution(part)
    else:
        mean = network(part)
    mean, std = joined(fabric, mean, size), None if std is None else joined(fabric, std, size)
    if method == "of_days":
        assert std is not None
        mean, std, observed = mean.flatten(0, 1), std.flatten(0, 1), observed.flatten(0, 1)
    # Behind the observed there may be what the correlation is with.
    observed, *other = torch.split(observed, mean.shape[1], dim=1)
    if how.form == "crps":
        assert std is not None
        return crps(mean, std, observed)
    correlated = other[0] if other else None
    return rmse_correlation(mean, observed, correlated=correlated, alpha=how.alpha, beta=how.beta, form=how.form)


def _method(network: Model, how: Optimisation) -> str:
    """What of a network is called in training."""
    if network.takes == "series":
        return "of_days"
    return "distribution" if how.form == "crps" else "forward"


def _compile(network: nn.Module, method: str, tell: Callable[[str], None]) -> None:
    """Put a compiled method in the place of a network's own; the plain one from the first call on that fails."""
    plain: Callable[..., Any] = getattr(network, method)
    chosen: Callable[..., Any] | None = None

    def call(*arguments: Any) -> Any:
        nonlocal chosen
        if chosen is plain:
            return plain(*arguments)
        try:
            chosen = chosen or torch.compile(plain)
            return chosen(*arguments)
        except RuntimeError as error:
            # One that is not the compiler's comes again below.
            chosen = plain
            tell(f"torch.compile failed with {type(error).__name__}")
            return plain(*arguments)

    setattr(network, method, call)


def _forget_unless(resume: Path, inputs: dict[str, Any]) -> None:
    """Drop what an interrupted training left, unless it was of the same inputs."""
    if not is_current(resume, **inputs):
        remove(resume)
        resume.mkdir(parents=True)
        note_inputs(resume, **inputs)
