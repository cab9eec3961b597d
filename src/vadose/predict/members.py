"""Forecasts by the networks of a checkpoint: members of blends, passes with dropout, and the parts workers make."""

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import checkpoint as checkpoint_file
from vadose.errors import VadoseError
from vadose.models import MODELS, from_checkpoint
from vadose.models.mixture import leave_dropout_on, mixture
from vadose.parallel.running import Running
from vadose.parallel.workers import Run
from vadose.predict.apply import Array, Report
from vadose.predict.issue_days import IssueDays

BLOCK_DAYS = 64
"""Days of issue in a unit of work; of the store they fill whole chunks."""
AT_ONCE = 1 << 29
"""Bytes of mean and deviation that are held in memory until they are written, where a block of days takes no more."""
WIDE = 4
"""Width of windows, in cells as far as a network sees, above which most of a window knows nothing of its edge."""
_BANDS = 32
"""Units of work that the cells are parted into where a model goes over all days at once."""


class Shared(NamedTuple):
    """How workers do units, and the checkpoint they read: by which members of members in a file."""

    do: Run
    path: Path
    place: tuple[int, ...] = ()

    def member(self, number: int) -> "Shared":
        """The same of a member."""
        return self._replace(place=(*self.place, number))


def load_run(path: Path) -> dict[str, Any]:
    """The checkpoint of a run. One trained on wide windows is of whole maps (``window`` None), as it is forecast."""
    needs = ("name", "inputs", "look_back", "window", "attributes")
    return _as_forecast(checkpoint_file.load(path, needs=needs, made_by="vadose train", build=from_checkpoint))


def _as_forecast(kept: dict[str, Any]) -> dict[str, Any]:
    """The same of whole maps where its windows are more than `WIDE` times as wide as the network sees."""
    if kept["name"] == "blend":
        members = [_as_forecast(member) for member in kept["members"]]
        return (
            kept | {"members": members} | ({} if kept["window"] in [m["window"] for m in members] else {"window": None})
        )
    if (kept["window"] or 1) <= WIDE or not (reach := from_checkpoint(kept).reach(kept["look_back"])):
        return kept
    return kept | ({"window": None} if kept["window"] > WIDE * reach else {})


def in_sequence(checkpoint: dict[str, Any]) -> bool:
    """Whether a network goes over all days of a cell at once, or a member of a blend does."""
    return any(map(in_sequence, checkpoint.get("members", ()))) or (
        checkpoint["name"] != "blend" and MODELS[checkpoint["name"]].takes == "series"
    )


def days_at_once(issue: IssueDays, workers: int) -> int:
    """Days of issue that are held in memory, whole blocks: some for each worker, and as many as `AT_ONCE` holds."""
    of_day = 8 * len(issue.leads) * issue.cube.sizes["y"] * issue.cube.sizes["x"]
    return BLOCK_DAYS * max(workers, AT_ONCE // (of_day * BLOCK_DAYS), 1)


def forecast_days(
    issue: IssueDays,
    checkpoint: dict[str, Any],
    report: Report,
    passes: int | None,
    running: Running,
    shared: Shared | None,
) -> tuple[Array, Array]:
    """Mean and deviation (init_time, lead_time, y, x); the latter NaN where the checkpoint has none.

    Raises
    ------
    VadoseError
        For passes with dropout of a model that has none.
    """
    if checkpoint["name"] == "blend":
        members = checkpoint["members"]
        reports = _parts(report, len(members))
        each = (
            forecast_days(issue, member, reports(k), passes, running, shared and shared.member(k))
            for k, member in enumerate(members)
        )
        return blended(checkpoint, issue.leads, each, issue.cube.indexes["time"][issue.days])
    model = from_checkpoint(checkpoint)
    running = issue.settled(running, model, checkpoint, passes)
    if passes and not leave_dropout_on(model):
        raise VadoseError(f"passes with dropout: {checkpoint['name']} has no dropout; forecast it without passes")
    if shared is not None:
        units = _units(len(issue.days), passes, int(issue.cube.mask.sum()) if model.takes == "series" else None)
        parts = _on_workers(issue, shared, checkpoint, running, units, report)
        if not passes:
            return _together(issue, parts)
        each = ((mean, std) for _, mean, std in parts)
    elif not passes:
        return issue.forecast(_prepared(model, running, issue), checkpoint, report)
    else:
        model = _prepared(model, running, issue)
        reports = _parts(report, passes)
        each = (issue.dropout_pass(model, checkpoint, number, reports(number)) for number in range(passes))
    return mixture(each, draws=True)


def blended(
    blend: dict[str, Any], leads: tuple[int, ...], members: Iterable[tuple[Array, Array]], days: "pd.Index[Any]"
) -> tuple[Array, Array]:
    """The `mixture` of a blend's members (init_time, lead_time, y, x), with its weights of each lead.

    Members without weights of one run, whose model is no blend, are its seeds: draws of one network. Valid days in one
    of its ``blocks`` have the block's weights.
    """
    if blend["weights"] is None:
        return mixture(members, draws=blend["attributes"]["model"] != "blend")
    columns = [blend["inputs"]["leads"].index(lead) for lead in leads]
    weights = np.repeat(np.array(blend["weights"], np.float32)[:, None, columns], len(days), axis=1)
    valid = days.values[:, None] + pd.to_timedelta(list(leads), unit="D").values
    for first, last, of_block in blend.get("blocks", ()):
        inside = (valid >= np.datetime64(first)) & (valid <= np.datetime64(last))
        weights = np.where(inside, np.array(of_block, np.float32)[:, None, columns], weights)
    return mixture(members, weights[..., None, None])


class _Unit(NamedTuple):
    """A part of a forecast: days of issue, and some of the cells in the mask, or a pass."""

    days: slice
    cells: slice | None = None
    number: int | None = None


def blocks(days: int) -> list[slice]:
    """Days of issue in blocks of `BLOCK_DAYS`."""
    return [slice(start, min(start + BLOCK_DAYS, days)) for start in range(0, days, BLOCK_DAYS)]


def _units(days: int, passes: int | None, cells: int | None) -> list[_Unit]:
    """Units of work, each done as one process would do it; ``cells`` of a model that goes over all days at once."""
    whole = slice(0, days)
    if passes:
        # Numbers are drawn from the first day to the last.
        return [_Unit(whole, number=number) for number in range(passes)]
    if cells is None:
        return [_Unit(block) for block in blocks(days)]
    size = max(1, -(-cells // _BANDS))
    return [_Unit(whole, slice(start, start + size)) for start in range(0, cells, size)]


class _Job:
    """Forecast units by one network of a checkpoint; sent to workers whole."""

    def __init__(self, shared: Shared, issue: IssueDays, running: Running) -> None:
        self.path, self.place, self.issue, self.running = shared.path.resolve(), shared.place, issue, running

    @cached_property
    def network(self) -> tuple[dict[str, Any], Any]:
        """The checkpoint and its network, as it is to run."""
        kept = load_run(self.path)
        for number in self.place:
            kept = kept["members"][number]
        return kept, _prepared(from_checkpoint(kept), self.running, self.issue)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "network"}

    def __call__(self, unit: _Unit) -> tuple[_Unit, Array, Array, Any, set[str]]:
        kept, model = self.network
        if unit.number is not None:
            return (
                unit,
                *self.issue.dropout_pass(model, kept, unit.number, _unreported),
                self.issue.outside,
                self.issue.notes,
            )
        if unit.cells is not None:
            row, column = _cells(self.issue.cube, unit.cells)
            mean, std = self.issue.forecast(model, kept, _unreported, unit.cells)
            return unit, mean[:, :, row, column], std[:, :, row, column], self.issue.outside, self.issue.notes
        part = self.issue.cut(unit.days, kept)
        return unit, *part.forecast(model, kept, _unreported), part.outside, self.issue.notes


def _prepared(model: Any, running: Running, issue: IssueDays) -> Any:
    """The model, to run as it is said; why it is not compiled, where that fails, is noted."""
    running.prepare(model, "of_days" if model.takes == "series" else "distribution", tell=issue.notes.add)
    return model


def _on_workers(
    issue: IssueDays,
    shared: Shared,
    checkpoint: dict[str, Any],
    running: Running,
    units: list[_Unit],
    report: Report,
) -> Iterator[tuple[_Unit, Array, Array]]:
    """Units as workers forecast them."""
    job = _Job(shared, issue.needed_by(checkpoint), running)
    for done, (unit, mean, std, outside, notes) in enumerate(shared.do(job, units), 1):
        issue.outside |= outside
        issue.notes |= notes
        yield unit, mean, std
        report(done / len(units))


def _together(issue: IssueDays, parts: Iterable[tuple[_Unit, Array, Array]]) -> tuple[Array, Array]:
    """What workers made, put together."""
    shape = (len(issue.days), len(issue.leads), issue.cube.sizes["y"], issue.cube.sizes["x"])
    mean, std = np.full((2, *shape), np.nan, np.float32)
    for unit, *both in parts:
        for whole, part in zip((mean, std), both, strict=True):
            if unit.cells is None:
                whole[unit.days] = part
            else:
                row, column = _cells(issue.cube, unit.cells)
                whole[:, :, row, column] = part
    return mean, std


def _unreported(share: float) -> None:
    """Workers report what they did when it is done."""


def _cells(cube: xr.Dataset, chosen: slice) -> NDArray[np.int64]:
    """Rows and columns (2, n) of some of the cells in the mask."""
    return np.argwhere(cube.mask.values.astype(bool))[chosen].T


def _parts(report: Report, number: int) -> Callable[[int], Report]:
    """What reports how far part k of a number of them has come."""
    return lambda k: lambda done: report((k + done) / number)
