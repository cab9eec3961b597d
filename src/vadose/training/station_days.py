"""Fitting downscaling models to station-days, and estimating with them."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from annotated_types import Ge, Gt, Lt, MinLen
from lightning_fabric import Fabric
from lightning_fabric.utilities.seed import seed_everything
from numpy.typing import NDArray
from torch import Tensor

from vadose.artefact import checkpoint as checkpoint_file
from vadose.artefact.learnt import single_models
from vadose.errors import VadoseError
from vadose.models import MODELS, downscaler_names, from_checkpoint, to_checkpoint
from vadose.models.domain import training_domain
from vadose.models.mixture import leave_dropout_on, mixture
from vadose.models.mmnet import Fine
from vadose.parallel.progress import Progress
from vadose.samples.folds import rows, station_years
from vadose.samples.station_days import StationDays
from vadose.training.losses import crps

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
STATISTICS = 1 << 15
"""Station-days that means and deviations of the features are taken of."""
DAYS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Fitting:
    """How a downscaling network is trained; the defaults are those of Xu et al. (2025).

    Attributes
    ----------
    epochs, patience
        At most so many epochs, of which the one with the lowest validation loss is kept; with a patience
        stop when it has not fallen for so many.
    batch_size, rows_per_epoch
        Station-days a step, and drawn anew each epoch; all of them when ``None``. Of networks that learn from
        sequences, sequences a step.
    learning_rate, weight_decay, optimiser
        ``'adam'`` with weight decay in the gradient, as the paper, or ``'adamw'``; the rate falls to a
        tenth along a cosine with the latter.
    form
        ``'mse'``, or ``'crps'`` for networks with a deviation.
    validation, share
        ``'station_years'``: whole years of a station choose the epoch; ``'rows'``: station-days at random, as the
        paper, whose neighbours are learnt from.
    sequence
        Days of a sequence.
    seeds
        Networks trained, one a seed; the estimate is their mean.
    precision, clip
        As `vadose.training.loop.Optimisation`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: Annotated[int, Ge(1)] = 100
    patience: Annotated[int, Ge(1)] | None = None
    batch_size: Annotated[int, Ge(1)] = 512
    rows_per_epoch: Annotated[int, Ge(1)] | None = None
    learning_rate: Annotated[float, Gt(0)] = 1e-2
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    optimiser: Literal["adam", "adamw"] = "adam"
    form: Literal["mse", "crps"] = "mse"
    validation: Literal["station_years", "rows"] = "station_years"
    share: Annotated[float, Gt(0), Lt(1)] = 0.1
    sequence: Annotated[int, Ge(1)] = 365
    seeds: Annotated[tuple[int, ...], MinLen(1)] = (0,)
    precision: str = "32-true"
    clip: Annotated[float, Gt(0)] = 1.0


def fit(
    days: StationDays,
    table: xr.Dataset,
    training: Mask,
    *,
    model: str,
    hyper: dict[str, Any],
    fitting: Fitting,
    what: str = "",
    progress: Progress = lambda what, share: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train a network, one a seed, on the station-days of a mask; the checkpoint, and the losses by epoch.

    A part of the mask is held out to choose the epoch by. The checkpoint says how far from what was learnt
    from a place lies, see `vadose.models.domain`, and names the stations, with their first and last day learnt from.

    Raises
    ------
    VadoseError
        When the mask holds no observation or the loss stops being a number.
    """
    observed = training & np.isfinite(days.observed)
    members, log = [], []
    for seed in fitting.seeds:
        if fitting.validation == "station_years":
            learnt, held = station_years(observed, table, fitting.share, seed)
        else:
            learnt, held = rows(observed, fitting.share, seed)
        named = f"training {what}" + (f", seed {seed}" if len(fitting.seeds) > 1 else "")
        member, losses = _fit_one(days, learnt, held, model, hyper, fitting, seed, named, progress)
        members.append(member)
        log += losses
    index = np.random.default_rng(0).permutation(np.argwhere(observed))[:STATISTICS]
    domain = training_domain(torch.from_numpy(days.snapshot[index[:, 0], index[:, 1]]))
    noted = {"domain": domain, "stations": _learnt_stations(observed, table)}
    if len(members) == 1:
        return members[0] | noted, log
    return {"name": "blend", "members": members, "weights": None, "inputs": days.features.to_dict(), **noted}, log


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, for `vadose.predict.maps.downscale_maps` among others."""
    checkpoint_file.save(checkpoint, path)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    VadoseError
        When there is none, or it is damaged or something else.
    """
    made_by = "vadose study downscale-stations"
    kept = checkpoint_file.load(path, needs=("name", "inputs"), made_by=made_by, build=from_checkpoint)
    if others := sorted({model["name"] for model in single_models(kept)} - set(downscaler_names())):
        raise VadoseError(f"{path}: {', '.join(others)} forecasts a cube; expected a downscaling network: {made_by}")
    return kept


def estimate(
    checkpoint: dict[str, Any], days: StationDays, where: Mask, *, passes: int | None = None
) -> tuple[Array, Array]:
    """Mean and deviation (station, time) of the station-days of a mask, NaN elsewhere.

    Of a blend, and of ``passes`` with dropout on, they are those of `vadose.models.mixture.mixture`, as draws of
    one network.
    """

    def each() -> Iterator[tuple[Array, Array]]:
        for member in single_models(checkpoint):
            network = from_checkpoint(member)
            for number in range(passes or 1):
                if passes:
                    torch.manual_seed(number)
                    leave_dropout_on(network)
                yield _estimate_one(network, days, where)

    return mixture(each(), draws=True)


def _learnt_stations(observed: Mask, table: xr.Dataset) -> dict[str, list[str]]:
    """First and last day of each station that is learnt from."""
    days = np.datetime_as_string(table.time.values, unit="D")
    known = {str(name): days[row] for name, row in zip(table.station.values, observed, strict=True) if row.any()}
    return {name: [str(own[0]), str(own[-1])] for name, own in known.items()}


def _fit_one(
    days: StationDays,
    learnt: Mask,
    held: Mask,
    model: str,
    hyper: dict[str, Any],
    how: Fitting,
    seed: int,
    what: str,
    progress: Progress,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train one network; its checkpoint at the lowest validation loss, and the losses."""
    fabric = Fabric(precision=how.precision)  # type: ignore[arg-type]
    seed_everything(seed, verbose=False)
    network = MODELS[model](days.features, **hyper)
    generator = np.random.default_rng([seed, 0])
    if network.takes == "series":
        network.fit_normalisation(days.sequences(learnt, size=64, days=how.sequence))
    else:
        network.fit_normalisation(days.batches(learnt, size=4096, limit=STATISTICS, generator=generator))
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    optimiser = kinds[how.optimiser](network.parameters(), lr=how.learning_rate, weight_decay=how.weight_decay)
    falling = how.optimiser == "adamw"
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda epoch: 0.1 + 0.45 * (1 + math.cos(math.pi * min(epoch / how.epochs, 1.0))) if falling else 1.0
    )
    shadow, wrapped = fabric.setup(network, optimiser)
    for method in ("of_days", "distribution") if network.takes == "series" else ("distribution",):
        shadow.mark_forward_method(method)
    best, best_epoch, best_loss, log = copy.deepcopy(network.state_dict()), 0, math.inf, []
    for epoch in range(1, how.epochs + 1):
        if how.patience is not None and epoch - 1 - best_epoch >= how.patience:
            break
        shadow.train()
        generator = np.random.default_rng([seed, epoch])
        losses = []
        for fine, observed in _batches(network, days, learnt, how, generator):
            if len(observed) < 2:
                continue  # no batch normalisation of a single one
            loss = _loss(shadow, fine, observed, how, fabric.device)
            if not torch.isfinite(loss):
                raise VadoseError(f"{what}: the loss is {loss.item()} in epoch {epoch}; lower the learning rate")
            optimiser.zero_grad()
            fabric.backward(loss)
            fabric.clip_gradients(shadow, wrapped, max_norm=how.clip, error_if_nonfinite=False)
            wrapped.step()
            losses.append(loss.detach())
        schedule.step()
        shadow.eval()
        validation = _validate(shadow, days, held, how, fabric.device)
        if validation < best_loss:
            best, best_epoch, best_loss = copy.deepcopy(network.state_dict()), epoch, validation
        log.append(
            {
                "run": what,
                "epoch": epoch,
                "train_loss": float(torch.stack(losses).mean()),
                "validation_loss": validation,
            }
        )
        progress(f"{what}: epoch {epoch}, best {best_epoch}", 0.99 * epoch / how.epochs)
    progress(what, 1.0)
    network.load_state_dict(best)
    return to_checkpoint(model, hyper, network), log


def _batches(
    network: Any, days: StationDays, of: Mask, how: Fitting, generator: np.random.Generator | None
) -> Iterator[tuple[Fine, Tensor]]:
    if network.takes == "series":
        limit = how.rows_per_epoch and max(1, how.rows_per_epoch // how.sequence)
        return days.sequences(of, size=how.batch_size, days=how.sequence, limit=limit, generator=generator)
    size = how.batch_size if generator is not None else DAYS_AT_ONCE
    return days.batches(of, size=size, limit=how.rows_per_epoch, generator=generator)


@torch.no_grad()
def _validate(network: Any, days: StationDays, held: Mask, how: Fitting, device: torch.device) -> float:
    """Mean loss over the station-days held out, each counting once."""
    total, count = 0.0, 0
    for fine, observed in _batches(network, days, held, how, None):
        known = int(torch.isfinite(observed).sum())
        total += known * float(_loss(network, fine, observed, how, device))
        count += known
    return total / count


def _loss(network: Any, fine: Fine, observed: Tensor, how: Fitting, device: torch.device) -> Tensor:
    """Loss over the days observed: in units of the moisture's variance, or the CRPS [m3 m-3]."""
    fine, observed = Fine(*(part.to(device) for part in fine)), observed.to(device)
    mean, std = network.of_days(*fine) if network.takes == "series" else network.distribution(fine)
    if how.form == "crps":
        return crps(mean, std, observed)
    known = torch.isfinite(observed)
    error = torch.where(known, mean - torch.where(known, observed, 0.0), 0.0) / network.moisture.std.float()
    loss: Tensor = error.square().sum() / known.sum().clamp(min=1)
    return loss


@torch.no_grad()
def _estimate_one(network: Any, days: StationDays, where: Mask) -> tuple[Array, Array]:
    mean, std = np.full((2, *days.shape), np.nan, np.float32)
    if network.takes != "series":
        index = np.argwhere(where)
        for start in range(0, len(index), DAYS_AT_ONCE):
            part = index[start : start + DAYS_AT_ONCE]
            found = network.distribution(days.fine(part))
            for target, values in zip((mean, std), found, strict=True):
                target[part[:, 0], part[:, 1]] = values.numpy()
        return mean, std
    stations = np.flatnonzero(where.any(axis=1))
    of_days = np.flatnonzero(where.any(axis=0))
    length = of_days[-1] - of_days[0] + 1
    step = max(1, 4 * DAYS_AT_ONCE // (length + days.features.days))
    for start in range(0, len(stations), step):
        part = stations[start : start + step]
        found = network.of_days(*days.sequence(part, np.full(len(part), of_days[-1]), int(length)))
        for target, values in zip((mean, std), found, strict=True):
            target[part, of_days[0] : of_days[-1] + 1] = values.numpy()
    return np.where(where, mean, np.nan), np.where(where, std, np.nan)
