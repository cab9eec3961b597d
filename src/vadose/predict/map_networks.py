"""Networks as maps run them: a history encoded once, pixels that share it combined with its code, piece by piece."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.errors import VadoseError
from vadose.models import from_checkpoint
from vadose.models.drawn import drawn
from vadose.models.folded import Folded, fold
from vadose.models.mixture import mixture
from vadose.models.mmnet import Features, Fine, example_fine
from vadose.parallel.running import Running, compiled, rounded_off, work_of

PIXELS_AT_ONCE = 1 << 13
"""Pixels combined at once: what lies between the layers then stays in the cache of a processor."""
HISTORIES_AT_ONCE = 1 << 8
"""Histories encoded at once, for the same reason."""
Estimate = tuple[NDArray[np.float32], NDArray[np.float32]]
DAYS_AT_ONCE = 1 << 16
"""Histories x days, or on a GPU pixels, at once at most."""


class MapNetwork:
    """A member: what it is given, and its mean and deviation of pixels that share histories; `prepare` it first.

    With ``number`` it is the network of that pass with dropout (`vadose.models.drawn`), on all pixels and days alike.
    """

    def __init__(self, checkpoint: dict[str, Any], number: int | None = None) -> None:
        self.model: Any = from_checkpoint(checkpoint)
        self.number = number
        if number is not None:
            try:
                self.model = drawn(self.model, number)
            except ValueError as error:
                name = checkpoint["name"]
                raise VadoseError(f"maps: passes with dropout of {name}: {error}; map without: --passes 0") from None
        self.features: Features = self.model.features

    def work(self, pixels: float) -> float:
        """Floating-point operations of so many pixels, each as if no other had its history."""
        return work_of(self.model, pixels * (1 if self.model.folds else self.features.days))

    @torch.inference_mode()
    def rounding(self, snapshot: Tensor, series: Tensor, which: Tensor) -> float:
        """What bfloat16 rounds off of some pixels, see `vadose.parallel.running.rounded_off`; infinite where unused."""
        if not self.model.folds or len(snapshot) < 2:
            return math.inf
        exact, rounded = (
            folded.combine(snapshot, folded.encode(series), which)
            for folded in (fold(self.model), fold(self.model, torch.bfloat16))
        )
        return rounded_off(exact, rounded)

    def prepare(self, running: Running, tell: Callable[[str], None]) -> None:
        """Bring the network where it runs, in the form it runs in; ``tell`` is told why it is not compiled."""
        self.device, self.whole = running.device, running.compile
        model, days = self.model.to(running.device), self.features.days
        self.histories = min(HISTORIES_AT_ONCE if self.device == "cpu" else DAYS_AT_ONCE, max(1, DAYS_AT_ONCE // days))
        self.folded: Folded | None = None
        self.encode: Callable[[Tensor], Tensor] = lambda series: series
        self.combine: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
        if model.folds:
            self.pixels = PIXELS_AT_ONCE if self.device == "cpu" else DAYS_AT_ONCE
            self.folded = fold(model, getattr(torch, running.precision))
            self.encode, self.combine = self.folded.encode, self.folded.combined
        else:
            # Such a network is handed the whole history of each pixel.
            self.pixels = max(1, DAYS_AT_ONCE // days)
            self.combine = lambda snapshot, series: model.distribution(Fine(snapshot, series))
        if self.number is not None:  # units are drawn by the shapes that first come
            example = example_fine(self.features, batch=1)
            self.combine(example.snapshot.to(self.device), self.encode(example.series.to(self.device)))
        if running.compile:
            self.encode, self.combine = compiled(self.encode, tell), compiled(self.combine, tell)

    @torch.inference_mode()
    def __call__(self, snapshot: Tensor, series: Tensor, which: Tensor) -> Tensor:
        """Mean and deviation (2, N), of the latter NaN where the network has none."""
        found = torch.empty(2, len(snapshot))
        code, which = series.to(self.device), which.to(self.device)
        if self.folded is not None:
            code = torch.cat([self.encode(part)[:size] for _, size, part in self._pieces(code, self.histories)])
        for start, size, pixels in self._pieces(snapshot, self.pixels):
            of_pixels = self._filled(code.index_select(0, which[start : start + size]), len(pixels))
            for target, values in zip(found, self.combine(pixels.to(self.device), of_pixels), strict=True):
                target[start : start + size] = values[:size]
        return found

    def _pieces(self, rows: Tensor, size: int) -> Iterator[tuple[int, int, Tensor]]:
        """Where each piece starts, its rows, and these; of compiled code all of one size, the last one filled up."""
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield start, len(part), self._filled(part.contiguous(), size if self.whole else len(part))

    @staticmethod
    def _filled(rows: Tensor, size: int) -> Tensor:
        """With the last row repeated up to a size."""
        if len(rows) == size:
            return rows
        return torch.cat([rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])])


class Members:
    """The networks of a checkpoint, and how their estimates are mixed: passes and seeds as draws, several runs not.

    Parameters
    ----------
    checkpoint
        Of one network, or a blend with ``members``: seeds of a run, or runs (``draws`` False).
    passes
        With dropout, of each network; 0 for none. When left out as many as each run's own estimates at stations are of.
    """

    def __init__(self, checkpoint: dict[str, Any], passes: int | None = None) -> None:
        passes = checkpoint.get("dropout_passes") if passes is None else passes
        self.draws = bool(checkpoint.get("draws", True))
        self.parts = [Members(member, passes) for member in checkpoint.get("members", ())]
        numbers = range(passes) if passes else (None,)
        self.own = [] if self.parts else [MapNetwork(checkpoint, number) for number in numbers]

    @property
    def networks(self) -> list[MapNetwork]:
        """All of them, in the order `mixed` takes their estimates."""
        return [*self.own, *(network for part in self.parts for network in part.networks)]

    @property
    def has_deviation(self) -> bool:
        """Whether the mixture has a deviation, by the rule of `vadose.models.mixture.mixture`."""
        if self.own:
            return len(self.own) > 1 or bool(self.own[0].model.has_deviation)
        of_parts = [part.has_deviation for part in self.parts]
        return all(of_parts) or (self.draws and len(of_parts) > 1)

    def mixed(self, estimates: Iterator[Estimate]) -> Estimate:
        """Mean and deviation of the mixture; each estimate is taken when it is mixed in."""
        if self.own:
            return mixture(islice(estimates, len(self.own)), draws=True)
        return mixture((part.mixed(estimates) for part in self.parts), draws=self.draws)
