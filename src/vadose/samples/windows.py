"""Samples of a cube: the only place where xarray becomes torch."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vadose.artefact import identity
from vadose.artefact.learnt import learnt_by_inputs
from vadose.door.days import Period, daily
from vadose.door.place import Place
from vadose.door.values import by_variable
from vadose.errors import VadoseError
from vadose.features.derived import derive
from vadose.models.inputs import Channels, Inputs
from vadose.parallel.memory import Arrays
from vadose.samples.gather import windows_of
from vadose.samples.record import Record, blocks, check_predictors


class Samples:
    """Windows, or series of single cells, of a cube, gathered from arrays in memory or on disk.

    A sample is a day ``t0`` and a window of cells. What is known on ``t0`` and before is in its
    history; its targets are the observations on ``t0 + lead``. Days before the record, and days it lacks, are NaN.
    In a sequence every day is a ``t0``.

    The arrays hold the predictors, weather ahead, targets and forecasts above of the whole record in single precision.
    Where together they would take more than half of the free memory, they are mapped from an unnamed file in the
    temporary folder (``TMPDIR``); the cube should be opened lazily then. Samples are the same either way. Of single
    cells each one's days lie side by side, of windows and maps each day's cells.

    Parameters
    ----------
    cube
        One grid of a cube, see `vadose.cube.open_cube`. For a channel ``NAME_normal`` it has to hold
        ``NAME_harmonic``, see `vadose.features.normals.with_normals`. Where it holds ``learnt`` (y, x), networks
        and trees learn from those cells alone.
    channels
        Names of the predictors and the lead times. Fixed ones that the cube lacks are made of what it holds, pixel by
        pixel (`vadose.features.derived.DERIVED`).
    look_back
        Days of history, ending with ``t0``.
    window, stride
        Edge of the square windows and their distance, in cells; a window of ``None`` is the whole map.
    sequence
        Days of a sequence that are a ``t0``, after the look-back; as many as the look-back when left out.
    correlated
        Variable that the correlation in the loss is with, where it is another than the observed.
    taught
        Variable to learn from, where it is another than the observed.
    above
        Forecast stores of the layers above by the names in ``channels.above``, their cells found by coordinate;
        unknown where they do not hold a day.
    learnt_on
        Cells or stations a model learnt on: ``Inputs.cell`` is among them, found by coordinate or name; the
        cube's own when left out.
    on_disk
        Whether the arrays are held on disk; where memory is too small for them when left out.

    Single values outside the valid range of their variable are missing; ``outside`` counts them by variable and day
    (since 1970-01-01, None of what has none).

    Raises
    ------
    VadoseError
        For more of these than `vadose.door.values.checked` allows, a predictor the cube lacks, of other dimensions or
        that saw days ahead, moisture among the future, days that are not whole (`vadose.door.days.daily`), a window
        larger than the grid, cells not learnt on, or a forecast of the layer above of other cells or without a lead;
        when the temporary folder has no room.
    """

    def __init__(
        self,
        cube: xr.Dataset,
        channels: Channels,
        *,
        look_back: int,
        window: int | None = 1,
        stride: int = 1,
        sequence: int | None = None,
        correlated: str | None = None,
        taught: str | None = None,
        above: Mapping[str, xr.Dataset] | None = None,
        learnt_on: Place | None = None,
        on_disk: bool | None = None,
    ) -> None:
        cube = derive(daily(cube), channels.static, ("pixel",))
        self.observed = channels.target.removesuffix("_filled")
        check_predictors(cube, channels, (self.observed, *(name for name in (correlated, taught) if name)))
        rows, columns = cube.sizes["y"], cube.sizes["x"]
        if window is not None and window > min(rows, columns):
            raise VadoseError(
                f"window of {window} x {window} cells does not fit the grid of {rows} x {columns}; take a smaller one, "
                "or 'window: map' for the whole map"
            )
        self.channels, self.look_back, self.window, self.stride = channels, look_back, window, stride
        self.sequence_days = sequence or look_back
        self.shape, self.place = (rows, columns), Place.of(cube)
        self.learnt_by_inputs = learnt_by_inputs(cube, channels.history, above or {})
        self._on_rows, self._on_columns = (learnt_on or self.place).find(self.place, "the run and the cube")
        if window != 1 and any((np.diff(at) != 1).any() for at in (self._on_rows, self._on_columns)):
            raise VadoseError("the run and the cube: rows or columns are in another order; windows need neighbours")
        self.size = (window, window) if window else self.shape
        self.days = cube.time.values.astype("datetime64[D]").astype(np.int64)
        self.n_days = len(self.days)
        self.mask = cube.mask.values.astype(bool)
        self.learnt = self.mask & cube.learnt.values.astype(bool) if "learnt" in cube else self.mask
        self.reach = max(channels.leads)

        forecast, observed = len(channels.leads) * len(channels.above), 1 + bool(correlated)
        fields = (look_back - 1 + self.n_days) * len(channels.history) + self.n_days * forecast
        fields += (self.n_days + self.reach) * (len(channels.future) + observed)
        record = Record(cube, self.place, Arrays(4 * fields * rows * columns, on_disk), by_cell=window == 1)
        self._room, self.outside = record.room, record.outside
        # All of them (day, y, x, channel).
        self._daily = record.daily(channels.history, look_back - 1, 0)
        self._fields = record.fixed(channels.static)
        self._ahead = record.daily(channels.future, 0, self.reach)[1:] if channels.future else None
        self._target = record.daily((taught or self.observed,), 0, self.reach)
        self._correlated = record.daily((correlated,), 0, self.reach) if correlated else None
        self._above = record.above(above or {}, channels)
        self._known = np.empty((self.n_days, rows, columns), bool)
        np.isfinite(self._target[: self.n_days, ..., 0], out=self._known)
        height, width = self.size
        self._corners = np.stack(
            np.meshgrid(_starts(rows, height, stride), _starts(columns, width, stride), indexing="ij"), -1
        ).reshape(-1, 2)
        self._corners = self._corners[self._counts(self.mask[None])[0] > 0]

    def values_outside(self) -> dict[str, int]:
        """Number of values outside the valid range by variable."""
        return by_variable(self.outside)

    def identity(self) -> str:
        """Hash of all that samples are made of."""
        by_channel = (self._daily, self._fields[0], self._ahead)
        arrays = [np.moveaxis(values, -1, -3) for values in by_channel if values is not None]
        arrays += [values[..., 0] for values in (self._target, self._correlated) if values is not None]
        arrays += [values for values in (self._above, self.days, self.mask, self.learnt) if values is not None]
        said = xr.Dataset(attrs={"place": self.place.to_dict(), "learnt_by_inputs": self.learnt_by_inputs})
        return identity(said, *map(xr.DataArray, arrays))

    def index(self, period: Period, *, learnt: bool = False) -> NDArray[np.int64]:
        """All samples with an observation in the period at any lead: (n, 3) of t0, row, column.

        With ``learnt`` only observations at the cells to learn from count.
        """
        return self._samples(self._numbers(period, learnt))

    def _numbers(self, period: Period, learnt: bool) -> NDArray[np.int64]:
        """What `index` is of, numbered from the first window of the first day: millions take less room so."""
        first, last = self._span(period)
        some = np.zeros((self.n_days, len(self._corners)), bool)
        for part in blocks(last + 1 - first, 16 * self.mask.size):
            days = slice(first + part.start, first + part.stop)
            known = self._known[days]
            some[days] = self._counts(known & self.learnt if learnt else known) > 0
        useful = np.zeros_like(some)
        for lead in self.channels.leads:
            useful[: self.n_days - lead] |= some[lead:]
        numbers = np.flatnonzero(useful)
        if not len(numbers):
            raise VadoseError(f"no observation between {period.first} and {period.last} to train or score on")
        return numbers

    def _samples(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Samples (n, 3) of t0, row, column by their numbers."""
        t0, corner = np.divmod(numbers, len(self._corners))
        return np.column_stack([t0, self._corners[corner]])

    def all_windows(self, t0: int) -> NDArray[np.int64]:
        """Every window of one day: (n, 3)."""
        return np.column_stack([np.full(len(self._corners), t0), self._corners])

    def inputs(self, index: NDArray[np.int64]) -> Inputs:
        """What is known at ``t0`` for the samples of an index (n, 3)."""
        t0, row, column = index.T

        def gathered(values: NDArray[np.float32], days: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(windows_of(values, days, row, column, self.size))

        future = above = None
        if self._ahead is not None:
            future = gathered(self._ahead, t0[:, None] + np.arange(self.reach))
        if self._above is not None:
            # Issued at t0, or on each day of the look-back: never later.
            in_sequence = self.channels.cascade == "sequence"
            issued = t0[:, None] + np.arange(1 - self.look_back if in_sequence else 0, 1)
            found = gathered(self._above.reshape(*self._above.shape[:3], -1), issued.clip(min=0))
            found[torch.from_numpy(issued < 0)] = torch.nan
            days = issued.shape[1:] if in_sequence else ()
            above = found.reshape(len(t0), *days, *self._above.shape[3:], *self.size)
        return Inputs(
            history=gathered(self._daily, t0[:, None] + np.arange(self.look_back)),
            static=gathered(self._fields, np.zeros_like(t0)[:, None])[:, 0],
            future=future,
            day=torch.from_numpy(self.days[t0]),
            cell=self._learnt_on(row, column),
            above=above,
        )

    def targets(self, index: NDArray[np.int64], period: Period, *, learnt: bool = False) -> Tensor:
        """Observations (n, L, window, window), NaN where there is none or its day is off the period."""
        return self._targets(self._target, index, period, learnt=learnt)

    def correlated(self, index: NDArray[np.int64], period: Period, *, learnt: bool = False) -> Tensor | None:
        """What the correlation in the loss is with, as `targets`; None where it is the same."""
        if self._correlated is None:
            return None
        return self._targets(self._correlated, index, period, learnt=learnt)

    def _targets(self, of: NDArray[np.float32], index: NDArray[np.int64], period: Period, *, learnt: bool) -> Tensor:
        first, last = self._span(period)
        t0, row, column = index.T
        valid = t0[:, None] + np.array(self.channels.leads)
        found = windows_of(of, valid, row, column, self.size)[:, :, 0]
        outside = (valid < first) | (valid > last)
        found[outside] = np.nan
        if learnt:
            down, across = self._cells(row, column)
            found = np.where(self.learnt[down, across][:, None], found, np.float32(np.nan))
        return torch.from_numpy(found)

    def batches(
        self,
        period: Period,
        *,
        size: int,
        limit: int | None = None,
        generator: np.random.Generator | None = None,
        learnt: bool = False,
        correlated: bool = False,
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Pairs of inputs and targets; in random order and at most ``limit`` samples with a generator.

        With ``correlated`` the targets (B, 2L, H, W) hold behind the observed what the correlation is with.
        """
        numbers = self._numbers(period, learnt)
        if generator is not None:
            numbers = generator.permutation(numbers)[:limit].copy()  # else all of them stay
        for start in range(0, len(numbers), size):
            part = self._samples(numbers[start : start + size])
            targets = self.targets(part, period, learnt=learnt)
            other = self.correlated(part, period, learnt=learnt) if correlated else None
            yield self.inputs(part), targets if other is None else torch.cat([targets, other], dim=1)

    def sequences(
        self,
        period: Period,
        *,
        size: int,
        limit: int | None = None,
        generator: np.random.Generator | None = None,
        learnt: bool = False,
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Series of single cells, the look-back and the days that are a ``t0``, and the targets of the latter.

        Targets are (B, days, L, 1, 1), NaN where there is none. With a generator as many series of random
        ends as make each day come once on average, at most ``limit``; else the period is gone through once.
        """
        first, last = self._span(period)
        known = self._known[first : last + 1].any(axis=0) & (self.learnt if learnt else self.mask)
        cells = np.argwhere(known)
        if not len(cells):
            raise VadoseError(f"no observation between {period.first} and {period.last} to train or score on")
        # Ends of series: the last t0 of the period first, then back.
        ends = np.maximum(np.arange(last - 1, first - 1, -self.sequence_days), self.sequence_days)
        if generator is None:
            drawn = np.repeat(cells, len(ends), axis=0)
            end = np.tile(ends, len(cells))
            if limit is not None:
                picked = np.random.default_rng(0).permutation(len(end))[:limit]
                drawn, end = drawn[picked], end[picked]
        else:
            count = min(len(cells) * len(ends), limit or len(cells) * len(ends))
            drawn = cells[generator.permutation(np.arange(count) % len(cells))]
            lowest = min(first + self.sequence_days // 2, last - 1)
            end = np.maximum(generator.integers(lowest, last, count), self.sequence_days)
        for start in range(0, len(drawn), size):
            part, of_part = drawn[start : start + size], end[start : start + size]
            days = of_part[:, None] + np.arange(1 - self.look_back - self.sequence_days, 1)
            yield self._series(part, days, self.look_back), self._series_targets(part, days, (first, last))

    def sequence(self, cells: NDArray[np.int64], first: int, last: int) -> Inputs:
        """Series of cells (n, 2) for the t0 of positions ``first`` .. ``last``, the look-back before them included."""
        days = np.arange(first - self.look_back + 1, last + 1)
        return self._series(cells, np.tile(days, (len(cells), 1)), self.look_back - 1)

    def _series(self, cells: NDArray[np.int64], days: NDArray[np.int64], skip: int) -> Inputs:
        """Series (B, T, C, 1, 1) of positions ``days`` (B, T), forecasts above from ``skip`` on."""
        row, column = cells.T
        history = self._daily[days + self.look_back - 1, row[:, None], column[:, None]]
        future = above = None
        if self._ahead is not None:
            ahead = days[:, -1:] + np.arange(self.reach)
            future = torch.from_numpy(self._ahead[ahead, row[:, None], column[:, None]])[..., None, None]
        if self._above is not None:
            found = self._above[days[:, skip:], row[:, None], column[:, None]]
            above = torch.from_numpy(found)[..., None, None]
        return Inputs(
            history=torch.from_numpy(history)[..., None, None],
            static=torch.from_numpy(self._fields[0, row, column])[..., None, None],
            future=future,
            day=torch.from_numpy(self.days[0] + days[:, -1]),
            cell=self._learnt_on(row, column),
            above=above,
        )

    def _learnt_on(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Tensor:
        """Rows and columns (n, 2) on the grid learnt on."""
        return torch.from_numpy(np.column_stack([self._on_rows[row], self._on_columns[column]]))

    def _series_targets(self, cells: NDArray[np.int64], days: NDArray[np.int64], span: tuple[int, int]) -> Tensor:
        t0 = days[:, self.look_back :]
        valid = t0[:, :, None] + np.array(self.channels.leads)
        row, column = cells.T
        found = self._target[np.clip(valid, 0, None), row[:, None, None], column[:, None, None], 0]
        found[(valid < span[0]) | (valid > span[1]) | (t0[:, :, None] < 0)] = np.nan
        return torch.from_numpy(found)[..., None, None]

    def _cells(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows (n, h, 1) and columns (n, 1, w) of the windows at these corners."""
        height, width = self.size
        return (row[:, None] + np.arange(height))[:, :, None], (column[:, None] + np.arange(width))[:, None, :]

    def _counts(self, known: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Known cells (day, corner) in each window."""
        height, width = self.size
        row, column = self._corners.T
        total = np.zeros((len(known), self.shape[0] + 1, self.shape[1] + 1), np.int32)
        known.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, out=total[:, 1:, 1:])
        found: NDArray[np.int64] = (
            total[:, row + height, column + width]
            - total[:, row, column + width]
            - total[:, row + height, column]
            + total[:, row, column]
        )
        return found

    def within(self, period: Period) -> Period:
        """The part of a period that is in the record."""
        first, last = (str(np.datetime64(int(self.days[day]), "D")) for day in self._span(period))
        return Period(first, last)

    def stations(self, *, learnt: bool) -> list[str]:
        """Names of the stations with data, of those learnt from alone where asked; none where cells are no stations."""
        known = (self.learnt if learnt else self.mask).any(axis=1)
        return [name for name, here in zip(self.place.stations, known, strict=False) if here]

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
