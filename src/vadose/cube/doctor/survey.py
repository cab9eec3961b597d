"""One pass over a variable of a cube: what each day and each cell holds, without holding it all."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.variables import variable

BLOCK_BYTES = 1 << 26
"""Days are read together up to this size."""
MIN_VALUES = 9
"""Different values other than 0 of a map that is not the same twice by chance: packed and dry maps hold few."""
FILLS = (-9999.0, -999.0, -99.0, 1e20, 9.96921e36, -32768.0, -28672.0, 32767.0, 65535.0, 255.0, 250.0)
"""Numbers that files put where there is no value."""
SAMPLE = 200_000
"""Values kept for quantiles, from all days alike."""

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass
class Survey:
    """What is known of a variable after one pass; a fixed one has one day.

    Attributes
    ----------
    name, units, said_units
        Its name, its units in the vocabulary (its own where it is not in there), those its attribute says.
    valid
        Valid range, NaN where none is known.
    cells
        Cells of the mask.
    known, outside
        (days,) values, and those outside the valid range or infinite.
    total, low, high
        (days,) sum, least and largest of the values in the valid range.
    impossible
        Least and largest of the values outside it.
    repeated
        (days,) whether the map is that of the day before, cell by cell, and holds `MIN_VALUES` of them.
    kept
        (days,) share of the cells that have the value of the day before, other than 0, of those seen on both.
    longest, held
        (cells,) most values in a row that are the same, and which value that is.
    seen
        (cells,) values of each cell.
    sample
        Some values, sorted; infinite ones and `FILLS` left out.
    """

    name: str
    units: str
    said_units: str
    valid: tuple[float, float]
    cells: int
    known: NDArray[np.int64]
    outside: NDArray[np.int64]
    total: NDArray[np.float64]
    low: Floats
    high: Floats
    impossible: tuple[float, float]
    repeated: Mask
    kept: Floats
    longest: NDArray[np.int64]
    held: Floats
    seen: NDArray[np.int64]
    sample: Floats

    @property
    def inside(self) -> NDArray[np.int64]:
        """(days,) values in the valid range."""
        return self.known - self.outside

    @property
    def lowest(self) -> float:
        """Least value in the valid range, NaN where there is none."""
        return float(np.nanmin(self.low)) if self.inside.any() else np.nan

    @property
    def highest(self) -> float:
        """Largest value in the valid range, NaN where there is none."""
        return float(np.nanmax(self.high)) if self.inside.any() else np.nan

    @property
    def mean(self) -> float:
        """Mean of the values in the valid range, NaN where there is none."""
        return float(self.total.sum() / self.inside.sum()) if self.inside.any() else np.nan

    def quantile(self, q: float) -> float:
        """Quantile of the sample, in the valid range or not; NaN where there is none."""
        return float(np.quantile(self.sample, q)) if len(self.sample) else np.nan


def survey(array: xr.DataArray, mask: Mask) -> Survey:
    """Go once through a variable (time, y, x) or (y, x); only cells of the mask count."""
    name = str(array.name)
    known_variable = variable(name)
    said = str(array.attrs.get("units", ""))
    valid = known_variable.valid_range if known_variable else array.attrs.get("valid_range", (np.nan, np.nan))
    # Ends in single precision as the values, so that what lies on them is not outside.
    low, high = np.float32(valid[0]), np.float32(valid[1])
    days, cells = array.sizes.get("time", 1), int(mask.sum())
    counts = {key: np.zeros(days, np.int64) for key in ("known", "outside")}
    total, lows, highs = np.zeros(days), np.full(days, np.nan, np.float32), np.full(days, np.nan, np.float32)
    repeated, kept = np.zeros(days, bool), np.full(days, np.nan, np.float32)
    runs, before = _Runs(cells), np.full(cells, np.nan, np.float32)
    seen = np.zeros(cells, np.int64)
    impossible = [np.inf, -np.inf]
    sample: list[Floats] = []
    stride = max(1, days * cells // SAMPLE)
    for day, values in _days(array, mask):
        there = ~np.isnan(values)
        bad = there & ~((values >= low) & (values <= high)) if np.isfinite(high) else np.isinf(values)
        counts["known"][day], counts["outside"][day] = there.sum(), bad.sum()
        seen += there
        sample.append(values[there][day % stride :: stride])
        if bad.any():
            impossible = [min(impossible[0], float(values[bad].min())), max(impossible[1], float(values[bad].max()))]
            values = np.where(bad, np.float32(np.nan), values)
        if (inside := values[there & ~bad]).size:
            total[day], lows[day], highs[day] = inside.sum(dtype=float), inside.min(), inside.max()
        same = (values == before) & (values != 0)
        if both := np.count_nonzero(~np.isnan(values) & ~np.isnan(before)):
            kept[day] = np.count_nonzero(same) / both
            if kept[day] > 0.5 and np.array_equal(values, before, equal_nan=True):
                repeated[day] = len(np.unique(inside[inside != 0])) >= MIN_VALUES
        before = values
        runs.follow(values)
    runs.end(np.ones(cells, bool))
    return Survey(
        name,
        known_variable.units if known_variable else said,
        said,
        (float(low), float(high)),
        cells,
        counts["known"],
        counts["outside"],
        total,
        lows,
        highs,
        (impossible[0], impossible[1]),
        repeated,
        kept,
        runs.longest,
        runs.held,
        seen,
        _proper(np.concatenate(sample)),
    )


def _proper(values: Floats) -> Floats:
    fill = np.any([np.isclose(values, value, rtol=1e-3) for value in FILLS if abs(value) > 300], axis=0)
    return np.sort(values[np.isfinite(values) & ~fill])


def months_of(days: pd.DatetimeIndex, values: NDArray[np.number]) -> "pd.Series[Any]":
    """Sums over the months of what is given by day."""
    return pd.Series(values).groupby(days.to_period("M")).sum()


def _days(array: xr.DataArray, mask: Mask) -> Iterator[tuple[int, Floats]]:
    """Number of each day and its values (cells of the mask,)."""
    if "time" not in array.dims:
        array = array.expand_dims("time")
    array = array.transpose("time", "y", "x")
    together = max(1, BLOCK_BYTES // (array[0].size * 4))
    for start in range(0, array.sizes["time"], together):
        block = array[start : start + together].values
        for number, field in enumerate(block):
            # Doubles too large for single precision become infinite, and are counted so.
            with np.errstate(over="ignore"):
                yield start + number, field[mask].astype(np.float32)


class _Runs:
    """How often in a row each cell had one value; days without one neither end nor lengthen a run."""

    def __init__(self, cells: int) -> None:
        self.value, self.held = np.full(cells, np.nan, np.float32), np.full(cells, np.nan, np.float32)
        self.length, self.longest = np.zeros(cells, np.int64), np.zeros(cells, np.int64)

    def follow(self, values: Floats) -> None:
        new = ~np.isnan(values) & (values != self.value)
        self.end(new)
        self.length = np.where(new, 1, self.length + (values == self.value))
        self.value = np.where(new, values, self.value)

    def end(self, cells: Mask) -> None:
        longer = cells & (self.length > self.longest)
        self.longest = np.where(longer, self.length, self.longest)
        self.held = np.where(longer, self.value, self.held)
