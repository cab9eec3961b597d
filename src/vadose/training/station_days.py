"""Fitting downscaling models to station-days, and estimating with them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import xarray as xr
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from torch import Tensor

from vadose.artefact import checkpoint as checkpoint_file
from vadose.artefact.learnt import single_models
from vadose.errors import VadoseError
from vadose.models import downscaler_names, from_checkpoint, to_checkpoint
from vadose.models.domain import training_domain
from vadose.models.mixture import leave_dropout_on, mixture
from vadose.models.mmnet import Fine
from vadose.parallel.progress import Progress, silent
from vadose.parallel.running import Running, work_of
from vadose.samples.folds import rows, station_years
from vadose.samples.station_days import StationDays
from vadose.training import loop
from vadose.training.loop import STATISTICS, Descent, Log, Task, new_network
from vadose.training.losses import crps
from vadose.training.processes import JoinedNetwork

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
DAYS_AT_ONCE = 1 << 15
EXACT = Running(precision="float32", compile=False)


@dataclass(frozen=True)
class Fitting(Descent):
    """How a downscaling network is trained; the defaults are those of Xu et al. (2025).

    Attributes
    ----------
    batch_size, rows_per_epoch
        Station-days a step, and drawn anew each epoch; all of them when ``None``. Of networks that learn from
        sequences, sequences a step.
    form
        ``'mse'``, or ``'crps'`` for networks with a deviation.
    validation, share
        ``'station_years'``: whole years of a station choose the epoch; ``'rows'``: station-days at random, as the
        paper, whose neighbours are learnt from.
    sequence
        Days of a sequence.
    """

    patience: Annotated[int, Ge(1)] | None = None
    batch_size: Annotated[int, Ge(1)] = 512
    learning_rate: Annotated[float, Gt(0)] = 1e-2
    weight_decay: Annotated[float, Ge(0)] = 5e-4
    rows_per_epoch: Annotated[int, Ge(1)] | None = None
    optimiser: Literal["adam", "adamw"] = "adam"
    form: Literal["mse", "crps"] = "mse"
    validation: Literal["station_years", "rows"] = "station_years"
    share: Annotated[float, Gt(0), Lt(1)] = 0.1
    sequence: Annotated[int, Ge(1)] = 365


@dataclass(frozen=True)
class DownscalingNetwork:
    """Name in `vadose.models.MODELS`, the arguments of its class, and how it is trained."""

    model: str
    hyper: dict[str, Any]
    fitting: Fitting


@dataclass(frozen=True)
class StationTask(Task[Fine]):
    """Station-days of a mask, or sequences of them where the network takes these, and the loss where it is observed."""

    how: Fitting
    days: StationDays
    learnt: Mask
    held: Mask

    def statistics(self) -> Iterator[tuple[Fine, Tensor]]:
        """Station-days learnt from."""
        if self.network.takes == "series":
            return self.days.sequences(self.learnt, size=64, days=self.how.sequence)
        generator = np.random.default_rng([self.seed, 0])
        return self.days.batches(self.learnt, size=4096, limit=STATISTICS, generator=generator)

    def batches(self, generator: np.random.Generator) -> Iterator[tuple[Fine, Tensor]]:
        """Those with more than one sample: there is no batch normalisation of a single one."""
        return (batch for batch in self.drawn(self.learnt, generator) if len(batch[1]) > 1)

    def validate(self, predict: JoinedNetwork) -> float:
        """Each station-day held out counts once."""
        total, count = 0.0, 0
        for fine, observed in self.drawn(self.held, None):
            known = int(torch.isfinite(observed).sum())
            total += known * float(self.loss(predict, fine, observed))
            count += known
        return total / count

    def loss(self, predict: JoinedNetwork, inputs: Fine, observed: Tensor) -> Tensor:
        """In units of the moisture's variance, or the CRPS [m3 m-3]."""
        arguments = inputs if self.network.takes == "series" else (inputs,)
        mean, std = predict(self.method, len(observed), *arguments)
        observed = observed.to(mean.device)
        if self.how.form == "crps":
            return crps(mean, std, observed)
        known = torch.isfinite(observed)
        error = torch.where(known, mean - torch.where(known, observed, 0.0), 0.0) / self.network.moisture.std.float()
        loss: Tensor = error.square().sum() / known.sum().clamp(min=1)
        return loss

    def drawn(self, of: Mask, generator: np.random.Generator | None) -> Iterator[tuple[Fine, Tensor]]:
        """Station-days of a mask, all in their order without a generator."""
        how, limit = self.how, self.how.rows_per_epoch
        if self.network.takes == "series":
            limit = limit and max(1, limit // how.sequence)
            return self.days.sequences(of, size=how.batch_size, days=how.sequence, limit=limit, generator=generator)
        size = how.batch_size if generator is not None else DAYS_AT_ONCE
        return self.days.batches(of, size=size, limit=limit, generator=generator)


def fit(
    days: StationDays,
    table: xr.Dataset,
    training: Mask,
    network: DownscalingNetwork,
    *,
    alignment: Callable[[StationTask], StationTask] | None = None,
    what: str = "",
    progress: Progress = silent,
) -> tuple[dict[str, Any], Log]:
    """Train a network, one a seed, on the station-days of a mask; the checkpoint, and the losses by epoch.

    A part of the mask is held out to choose the epoch by. The checkpoint says how far from what was learnt
    from a place lies, see `vadose.models.domain`, and names the stations, with their first and last day learnt from.
    With a `vadose.training.alignment.Alignment` the representations of a target region are drawn to those learnt.

    Raises
    ------
    VadoseError
        When the mask holds no observation or the loss stops being a number.
    """
    observed, how = training & np.isfinite(days.observed), network.fitting
    members, log = [], []
    for seed in how.seeds:
        if how.validation == "station_years":
            learnt, held = station_years(observed, table, how.share, seed)
        else:
            learnt, held = rows(observed, how.share, seed)
        label = what + (f", seed {seed}" if len(how.seeds) > 1 else "")
        new = new_network(network.model, days.features, network.hyper, seed)
        task = StationTask(new, how, seed, label, days, learnt, held)
        log += loop.fit(alignment(task) if alignment else task, progress=progress)[1]
        members.append(to_checkpoint(network.model, network.hyper, new))
    index = np.random.default_rng(0).permutation(np.argwhere(observed))[:STATISTICS]
    domain = training_domain(torch.from_numpy(days.snapshot[index[:, 0], index[:, 1]]))
    noted = {"domain": domain, "stations": _learnt_stations(observed, table), "precision": how.precision}
    if len(members) == 1:
        return members[0] | noted, log
    return {"name": "blend", "members": members, "weights": None, "inputs": days.features.to_dict(), **noted}, log


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
    checkpoint: dict[str, Any],
    days: StationDays,
    where: Mask,
    *,
    passes: int | None = None,
    running: Running = EXACT,
) -> tuple[Array, Array]:
    """Mean and deviation (station, time) of the station-days of a mask, NaN elsewhere; in float32 when not said.

    Of a blend, and of ``passes`` with dropout on, they are those of `vadose.models.mixture.mixture`, as draws of
    one network.

    Raises
    ------
    VadoseError
        For an ensemble of runs, whose features differ.
    """
    if not checkpoint.get("draws", True):
        raise VadoseError("the checkpoint is an ensemble of runs, whose features differ; choose one of the runs")

    def each() -> Iterator[tuple[Array, Array]]:
        for member in single_models(checkpoint):
            network = from_checkpoint(member)
            settled = running.settled(work_of(network, float(where.sum() * days.features.days)))
            settled.prepare(network, "of_days" if network.takes == "series" else "distribution")
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


@torch.no_grad()
def _estimate_one(network: Any, days: StationDays, where: Mask) -> tuple[Array, Array]:
    mean, std = np.full((2, *days.shape), np.nan, np.float32)
    if network.takes != "series":
        index = np.argwhere(where)
        for start in range(0, len(index), DAYS_AT_ONCE):
            part = index[start : start + DAYS_AT_ONCE]
            found = network.distribution(days.fine(part))
            for target, values in zip((mean, std), found, strict=True):
                target[part[:, 0], part[:, 1]] = values.float().cpu().numpy()
        return mean, std
    stations = np.flatnonzero(where.any(axis=1))
    of_days = np.flatnonzero(where.any(axis=0))
    length = of_days[-1] - of_days[0] + 1
    step = max(1, 4 * DAYS_AT_ONCE // (length + days.features.days))
    for start in range(0, len(stations), step):
        part = stations[start : start + step]
        found = network.of_days(*days.sequence(part, np.full(len(part), of_days[-1]), int(length)))
        for target, values in zip((mean, std), found, strict=True):
            target[part, of_days[0] : of_days[-1] + 1] = values.float().cpu().numpy()
    return np.where(where, mean, np.nan), np.where(where, std, np.nan)
