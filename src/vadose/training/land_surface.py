"""How land-surface networks are taught by a water balance, and fitted to stations."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray
from torch import Tensor

from vadose.models.land_surface import Blend, LandSurface
from vadose.samples.land_surface import Array, Series, disturbed, evidence, evidence_features, spans
from vadose.training.loop import Descent, Task
from vadose.training.losses import crps
from vadose.training.processes import JoinedNetwork

Rows = NDArray[np.int64]
Inputs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LandDescent(Descent):
    """How a land-surface network is trained.

    Attributes
    ----------
    length, spin_up
        Days of a sequence, and of its begin that do not count.
    steps
        Batches an epoch.
    correlation
        Weight of one minus the correlation in time beside the CRPS [m3 m-3]: places differ in their level by more than
        weather tells, and the level alone would be learnt.
    disturbed
        Share of the sequences whose weather is given a grid's errors, `vadose.samples.land_surface.disturbed`.
    """

    length: Annotated[int, Gt(1)] = 730
    spin_up: Annotated[int, Ge(0)] = 180
    steps: Annotated[int, Ge(1)] = 100
    correlation: Annotated[float, Ge(0)] = 0.05
    disturbed: Annotated[float, Ge(0), Le(1)] = 0.0


@dataclass(frozen=True)
class LandTask(Task[Inputs]):
    """Sequences of series, those of ``learnt`` places to learn from and of ``held`` ones to choose the epoch by."""

    network: LandSurface
    how: LandDescent
    series: Series
    learnt: Rows
    held: Rows

    @property
    def method(self) -> str:
        """See `Task`."""
        return "distribution"

    def statistics(self) -> Iterator[tuple[Inputs, Tensor]]:
        """None for a network that has learnt before: what it knows is in those units."""
        if not self.network.moisture.count.any():
            rows = np.random.default_rng(0).permutation(self.learnt)[:256]
            yield self.batch(rows, np.zeros(len(rows), int), self.series.daily.shape[1])

    def batches(self, generator: np.random.Generator) -> Iterator[tuple[Inputs, Tensor]]:
        """Sequences drawn of the places learnt from."""
        for _ in range(self.how.steps):
            (daily, fixed), truth = self.batch(
                *self.drawn(self.learnt, self.how.batch_size, generator), self.how.length
            )
            many = round(self.how.disturbed * len(daily))
            daily[:many] = torch.from_numpy(disturbed(daily[:many].numpy(), generator))
            yield (daily, fixed), truth

    def validate(self, predict: JoinedNetwork) -> float | None:
        """Of three sequences of each place held out, the same every time."""
        if not len(self.held):
            return None
        generator, losses = np.random.default_rng(0), []
        for rows in np.array_split(np.repeat(self.held, 3), max(1, 3 * len(self.held) // 32)):
            losses.append(float(self.loss(predict, *self.batch(*self.drawn(rows, None, generator), self.how.length))))
        return float(np.mean(losses))

    def loss(self, predict: JoinedNetwork, inputs: Inputs, observed: Tensor) -> Tensor:
        """CRPS [m3 m-3], and what the correlation lacks."""
        mean, std = predict(self.method, len(observed), *inputs)
        skill = crps(mean, std, observed)
        return skill + self.how.correlation * uncorrelated(mean, observed) if self.how.correlation else skill

    def drawn(self, rows: Rows, many: int | None, generator: np.random.Generator) -> tuple[Rows, Rows]:
        """Places, all of them where no number is said, and the first day of a sequence that was observed there."""
        if many is not None:
            rows = generator.choice(rows, many)
        first, last = spans(self.series.observed[rows]).T
        latest = self.series.daily.shape[1] - self.how.length
        begin = np.clip(first - self.how.spin_up, 0, latest)
        return rows, generator.integers(begin, np.clip(last - self.how.length, begin, latest) + 1)

    def batch(self, rows: Rows, begin: Rows, length: int) -> tuple[Inputs, Tensor]:
        """Features and observations of sequences; those of the spin-up are left out."""
        days = begin[:, None] + np.arange(length)
        observed = self.series.observed[rows[:, None], days].copy()
        if length == self.how.length:
            observed[:, : self.how.spin_up] = np.nan
        daily = self.series.daily[self.series.site[rows][:, None], days]
        parts = (daily, self.series.fixed[rows], observed)
        daily_, fixed, truth = map(torch.from_numpy, parts)
        return (daily_, fixed), truth


def uncorrelated(mean: Tensor, observed: Tensor) -> Tensor:
    """One minus the correlation in time, over the sequences and layers (N, T, 3) with at least 60 observations."""
    known = torch.isfinite(observed)
    weight = known.float()
    count = weight.sum(1).clamp(min=1)

    def apart(values: Tensor) -> Tensor:
        values = torch.where(known, values, 0.0)
        return (values - (values.sum(1) / count)[:, None]) * weight

    p, o = apart(mean), apart(observed)
    power = (p.square().sum(1) * o.square().sum(1) + 1e-10).sqrt()
    counts = (known.sum(1) >= 60) & (o.square().sum(1) / count > 0.005**2)
    lacking = 1 - (p * o).sum(1) / power
    return torch.where(counts, lacking, 0.0).sum() / counts.sum().clamp(min=1)


@dataclass(frozen=True)
class BlendTask(Task[tuple[Tensor, Tensor, Tensor]]):
    """Days of places that the networks have not learnt from, with parts of their own observations before them.

    Attributes
    ----------
    mean, std, observed
        Joint estimate and truth (P, T, 3), NaN where there is none.
    learnt
        Places to learn from.
    longest
        Days from the last observation that counts to the day that is estimated, at most.
    """

    network: Blend
    how: LandDescent
    mean: Array
    std: Array
    observed: Array
    learnt: Rows
    longest: int = 40

    @property
    def method(self) -> str:
        """See `Task`."""
        return "distribution"

    def statistics(self) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        """Of an epoch of batches."""
        return self.batches(np.random.default_rng(self.seed))

    def batches(self, generator: np.random.Generator) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], Tensor]]:
        """Each epoch hides other sensors and other years from the places."""
        known = evidence(self.mean[self.learnt], shown(self.observed[self.learnt], generator))
        place, day = np.nonzero(np.isfinite(self.observed[self.learnt]).any(axis=-1))
        later = day >= self.longest
        place, day = place[later], day[later]
        for _ in range(self.how.steps):
            drawn = generator.integers(0, len(place), self.how.batch_size)
            where = self.learnt[place[drawn]], day[drawn]
            lead = np.exp(generator.uniform(0, np.log(self.longest), len(drawn))).astype(int)
            mean = self.mean[where]
            told = evidence_features(known[place[drawn], day[drawn] - lead], lead, mean)
            parts = (mean, self.std[where], told, self.observed[where])
            *inputs, truth = map(torch.from_numpy, parts)
            yield (inputs[0], inputs[1], inputs[2]), truth

    def validate(self, _: JoinedNetwork) -> None:
        """Nothing is held out: few weights learn from very many days."""

    def loss(self, predict: JoinedNetwork, inputs: tuple[Tensor, Tensor, Tensor], observed: Tensor) -> Tensor:
        """CRPS [m3 m-3]."""
        return crps(*predict(self.method, len(observed), *inputs), observed)


def shown(observed: Array, generator: np.random.Generator) -> Array:
    """Observations (P, T, 3) of which a network is shown a part: none at a third of the places, one stretch elsewhere.

    The stretch lasts from ten days to the whole record, as long in logarithms as another; a layer is left out at a
    third of the places.
    """
    places, days = observed.shape[0], observed.shape[1]
    first, last = spans(observed).T
    record = np.maximum(last - first, 20)
    length = np.exp(generator.uniform(np.log(10), np.log(record + 1)))
    begin = first + generator.uniform(0, 1, places) * (record - length + 1)
    day = np.arange(days)
    some = np.asarray(generator.random(places) > 1 / 3)[:, None]
    inside = (day >= begin[:, None]) & (day < (begin + length)[:, None]) & some
    layers = np.asarray(generator.random((places, 3)) > 1 / 3)
    return np.where(inside[..., None] & layers[:, None], observed, np.float32(np.nan))
