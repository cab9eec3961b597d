"""Days of issue of a cube, forecast by one model."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from vadose.artefact.learnt import learnt_on
from vadose.door.days import Period
from vadose.door.values import Outside
from vadose.errors import VadoseError
from vadose.features.normals import HARMONIC, with_normals
from vadose.models.inputs import NORMAL, Channels
from vadose.models.mixture import leave_dropout_on
from vadose.parallel.running import Running, rounding_of, work_of
from vadose.predict.apply import Array, Report, apply, example
from vadose.samples.windows import Samples


@dataclass(eq=False)
class IssueDays:
    """Some days of a cube to forecast, by any checkpoint; samples are kept for the next one that wants the same.

    Of the cube the days are read that forecasts look at: the look-back before the first day of issue, and the
    days up to the last valid day. Where they are a part of a longer forecast, ``start`` is the number of its days of
    issue before, ``of`` that of all; what is noted of a part is noted of all.
    """

    cube: xr.Dataset
    days: NDArray[np.int64]
    leads: tuple[int, ...]
    stride: int
    above: dict[str, xr.Dataset]
    outside: Outside = field(default_factory=Outside)
    precisions: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)
    start: int = 0
    of: int = 0
    kept: tuple[Any, Samples, NDArray[np.int64]] | None = None

    def forecast(
        self, model: nn.Module, checkpoint: dict[str, Any], report: Report, cells: slice = slice(None)
    ) -> tuple[Array, Array]:
        """As `vadose.predict.apply.apply`; NaN where the weather is not known up to the valid day."""
        channels = Channels.from_dict(checkpoint["inputs"])
        samples, days = self._samples(channels, checkpoint)
        columns = [channels.leads.index(lead) for lead in self.leads]
        mean, std = apply(model, samples, days, columns, report, cells)
        if channels.weather == "perfect":
            beyond = days[:, None] + np.array(self.leads) >= samples.n_days
            mean[beyond] = std[beyond] = np.nan
        return mean, std

    def settled(self, running: Running, model: Any, checkpoint: dict[str, Any], passes: int | None) -> Running:
        """How a model runs, see `vadose.parallel.running`; one that is no network, as it is, on the processor."""
        if model.learns == "at_once":
            return Running("cpu", "float32", compile=False)
        cells = int(self.cube.mask.sum())
        if checkpoint["window"]:
            cells *= max(1, checkpoint["window"] ** 2 // self.stride**2)
        days = self.of or len(self.days)
        uses = cells * (days + checkpoint["look_back"] - 1)
        if model.takes == "windows":
            uses = cells * days * checkpoint["look_back"]

        def rounding() -> float:
            if not model.gains_by_bfloat16:
                return math.inf
            samples, days = self._samples(Channels.from_dict(checkpoint["inputs"]), checkpoint)
            return rounding_of(model.distribution, example(samples, int(days[0])))

        # Compiled code draws masks of dropout of its own, and saves nothing on a processor unless asked for: gates of
        # a ConvLSTM are in one pass without it.
        if passes or (running.compile is None and running.where() == "cpu"):
            running = replace(running, compile=False)
        found = running.settled(work_of(model, uses * (passes or 1)), rounding, self.notes.add)
        self.precisions.add(found.precision)
        return found

    def dropout_pass(
        self, model: nn.Module, checkpoint: dict[str, Any], number: int, report: Report
    ) -> tuple[Array, Array]:
        """As `forecast`, with dropout on; the number seeds it, and where a part begins."""
        leave_dropout_on(model)
        torch.manual_seed(number + 1000 * self.start)
        return self.forecast(model, checkpoint, report)

    def parts(self, size: int) -> Iterator["IssueDays"]:
        """The days in parts of so many."""
        for start in range(0, len(self.days), size):
            yield replace(self, days=self.days[start : start + size], kept=None, start=start, of=len(self.days))

    def cut(self, days: slice, checkpoint: dict[str, Any]) -> "IssueDays":
        """The same of some of the days, and no more of the cube than a model looks at."""
        chosen, ahead = self.days[days], max(checkpoint["inputs"]["leads"])
        first = max(int(chosen[0]) - checkpoint["look_back"] + 1, 0)
        cube = self.cube.isel(time=slice(first, int(chosen[-1]) + ahead + 1))
        return IssueDays(cube, chosen - first, self.leads, self.stride, self.above)

    def needed_by(self, checkpoint: dict[str, Any]) -> "IssueDays":
        """The same of the days and layers that one model takes, and its normals, which may be of other days."""
        channels = Channels.from_dict(checkpoint["inputs"])
        above = {name: self.above[name] for name in channels.above}
        cube = _with_normals(self.cube, channels, checkpoint)
        return replace(self, cube=cube, above=above).cut(slice(None), checkpoint)

    def __getstate__(self) -> dict[str, Any]:
        # Samples hold a part of the cube in memory; workers read their own.
        return self.__dict__ | {"kept": None}

    def _samples(self, channels: Channels, checkpoint: dict[str, Any]) -> tuple[Samples, NDArray[np.int64]]:
        """Samples of the days that one model looks at, and the days of issue among them."""
        window, look_back = checkpoint["window"], checkpoint["look_back"]
        on = learnt_on(checkpoint)
        wanted = (channels, window, look_back, checkpoint.get("learnt_from"), on)
        if self.kept is None or self.kept[0] != wanted:
            part = self.needed_by(checkpoint)
            first = 0 if channels.cascade == "sequence" else part.days[0]
            issued = slice(*part.cube.time.values[[first, part.days[-1]]])
            above = {name: store.sel(init_time=issued) for name, store in part.above.items()}
            samples = Samples(
                part.cube, channels, look_back=look_back, window=window, stride=self.stride, above=above, learnt_on=on
            )
            self.outside |= samples.outside
            self.kept = wanted, samples, part.days
        return self.kept[1:]


def _with_normals(cube: xr.Dataset, channels: Channels, checkpoint: dict[str, Any]) -> xr.Dataset:
    """The cube and the normals that a model takes, where they are not in it yet."""
    wanted = (name.removesuffix(NORMAL) for name in channels.history if name.endswith(NORMAL))
    normals = tuple(name for name in wanted if name + HARMONIC not in cube)
    if not normals:
        return cube
    learnt, days = Period(**checkpoint["learnt_from"]), cube.indexes["time"]
    if pd.Timestamp(learnt.first) < days[0] or pd.Timestamp(learnt.last) > days[-1]:
        raise VadoseError(
            f"{checkpoint['name']} takes normals of {learnt}, the days it learnt from; the cube holds "
            f"{days[0]:%Y-%m-%d} .. {days[-1]:%Y-%m-%d}; give a cube that holds them too"
        )
    return with_normals(cube, normals, learnt.first, learnt.last)
