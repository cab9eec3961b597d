"""Samples of a cube: the only place where xarray becomes torch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from vadose.errors import VadoseError
from vadose.models.inputs import Channels, Inputs

OBSERVED = "soil_moisture"


@dataclass(frozen=True)
class Period:
    """First and last day, both included, of the *valid* days of forecasts.

    Examples
    --------
    >>> Period("2015-04-01", "2016-01-31").to(Period("2016-02-01", "2016-03-31"))
    Period(first='2015-04-01', last='2016-03-31')
    """

    first: str
    last: str

    def to(self, other: "Period") -> "Period":
        """From the beginning of this to the end of the other."""
        return Period(self.first, other.last)


class Samples:
    """Windows of a cube, gathered from arrays held in memory.

    A sample is a day ``t0`` and a window of cells. What is known on ``t0`` and before is in its
    history; its targets are the observations on ``t0 + lead``. Days before the record are NaN.

    Parameters
    ----------
    cube
        One grid of a cube, see `vadose.cube.open_cube`.
    channels
        Names of the predictors and the lead times.
    look_back
        Days of history, ending with ``t0``.
    window, stride
        Edge of the square windows and their distance, in cells.

    Raises
    ------
    VadoseError
        For a predictor the cube lacks or that saw days ahead, or a window larger than the grid.
    """

    def __init__(
        self, cube: xr.Dataset, channels: Channels, *, look_back: int, window: int = 1, stride: int = 1
    ) -> None:
        wanted = {*channels.history, *channels.static, *channels.future, OBSERVED, "mask"}
        if missing := sorted(wanted - set(map(str, cube.variables))):
            place = cube.encoding.get("source", "the cube")
            raise VadoseError(f"{place}: no variable {missing}; found {sorted(map(str, cube.data_vars))}")
        if ahead := [name for name in channels.history if cube[name].attrs.get("causal") == "false"]:
            raise VadoseError(
                f"{ahead}: filled from the days before and after, which a forecast cannot see; fill in the causal mode"
            )
        rows, columns = cube.sizes["y"], cube.sizes["x"]
        if window > min(rows, columns):
            raise VadoseError(f"window of {window} x {window} cells does not fit the grid of {rows} x {columns}")
        self.channels, self.look_back, self.window, self.stride = channels, look_back, window, stride
        self.days = cube.time.values.astype("datetime64[D]").astype(np.int64)
        self.n_days = len(self.days)
        self.shape = (rows, columns)
        self.mask = cube.mask.values.astype(bool)
        self.reach = max(channels.leads)

        def stack(names: tuple[str, ...], before: int, after: int) -> NDArray[np.float32]:
            arrays = [cube[name].transpose("time", "y", "x").values for name in names]
            stacked = np.stack(arrays, axis=1).astype(np.float32)
            return np.pad(stacked, ((before, after), (0, 0), (0, 0), (0, 0)), constant_values=np.nan)

        # Axis 0 of each view is t0; see batch() for the order of the others.
        cells = (window, window)
        history = stack(channels.history, look_back - 1, 0)
        self._history = sliding_window_view(history, (look_back, *cells), axis=(0, 2, 3))
        if channels.static:
            static = np.stack([cube[name].values for name in channels.static]).astype(np.float32)
        else:
            static = np.empty((0, rows, columns), np.float32)
        self._static = sliding_window_view(static, cells, axis=(1, 2))
        self._future = None
        if channels.future:
            future = stack(channels.future, 0, self.reach)[1:]
            self._future = sliding_window_view(future, (self.reach, *cells), axis=(0, 2, 3))
        self._target = stack((OBSERVED,), 0, self.reach)[:, 0]
        self._corners = np.stack(
            np.meshgrid(_starts(rows, window, stride), _starts(columns, window, stride), indexing="ij"), -1
        ).reshape(-1, 2)
        of_mask = sliding_window_view(self.mask, cells)
        self._corners = self._corners[[bool(of_mask[r, c].any()) for r, c in self._corners]]

    def index(self, period: Period) -> NDArray[np.int64]:
        """All samples with an observation in the period at any lead: (n, 3) of t0, row, column."""
        first, last = self._span(period)
        known = np.isfinite(self._target)
        known[:first] = known[last + 1 :] = False
        windows: NDArray[np.bool_] = sliding_window_view(known, (self.window, self.window), axis=(1, 2))
        any_cell = np.any(windows, axis=(-2, -1))
        at_corners = any_cell[:, self._corners[:, 0], self._corners[:, 1]]
        useful = np.zeros((self.n_days, len(self._corners)), bool)
        for lead in self.channels.leads:
            useful |= at_corners[lead : lead + self.n_days]
        t0, corner = np.nonzero(useful)
        if not len(t0):
            raise VadoseError(f"no observation between {period.first} and {period.last} to learn from or score")
        return np.column_stack([t0, self._corners[corner]])

    def all_windows(self, t0: int) -> NDArray[np.int64]:
        """Every window of one day: (n, 3)."""
        return np.column_stack([np.full(len(self._corners), t0), self._corners])

    def inputs(self, index: NDArray[np.int64]) -> Inputs:
        """What is known at ``t0`` for the samples of an index (n, 3)."""
        t0, row, column = index.T
        history = np.moveaxis(self._history[t0, :, row, column], 2, 1)
        future = None
        if self._future is not None:
            future = torch.from_numpy(np.moveaxis(self._future[t0, :, row, column], 2, 1).copy())
        return Inputs(
            history=torch.from_numpy(history.copy()),
            static=torch.from_numpy(self._static[:, row, column].swapaxes(0, 1).copy()),
            future=future,
            day=torch.from_numpy(self.days[t0]),
            cell=torch.from_numpy(index[:, 1:].copy()),
        )

    def targets(self, index: NDArray[np.int64], period: Period) -> Tensor:
        """Observations (n, L, window, window), NaN where there is none or its day is off the period."""
        first, last = self._span(period)
        t0, row, column = index.T
        offset = np.arange(self.window)
        valid = t0[:, None] + np.array(self.channels.leads)
        found = self._target[
            valid[:, :, None, None],
            (row[:, None] + offset)[:, None, :, None],
            (column[:, None] + offset)[:, None, None, :],
        ]
        outside = (valid < first) | (valid > last)
        found[outside] = np.nan
        return torch.from_numpy(found)

    def batches(
        self,
        period: Period,
        *,
        size: int,
        limit: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Pairs of inputs and targets; in random order and at most ``limit`` samples with a generator."""
        index = self.index(period)
        if generator is not None:
            index = generator.permutation(index)[:limit]
        for start in range(0, len(index), size):
            part = index[start : start + size]
            yield self.inputs(part), self.targets(part, period)

    def _span(self, period: Period) -> tuple[int, int]:
        """First and last day of a period as positions in the record, the record's own ends at most."""
        start = int(self.days[0])
        first, last = (int(np.datetime64(day, "D").astype(np.int64)) - start for day in (period.first, period.last))
        if last < first or last < 0 or first >= self.n_days:
            ends = np.array([self.days[0], self.days[-1]], "datetime64[D]")
            raise VadoseError(
                f"period {period.first} .. {period.last} lies outside the cube, which holds {ends[0]} .. {ends[1]}"
            )
        return max(first, 0), min(last, self.n_days - 1)


def _starts(cells: int, window: int, stride: int) -> NDArray[np.int64]:
    """First cells of windows along an axis; the last window ends with the grid."""
    return np.unique(np.append(np.arange(0, cells - window + 1, stride), cells - window))
