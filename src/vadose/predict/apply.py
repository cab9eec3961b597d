"""A model applied to some days of a cube: to windows that overlap, whole maps, each cell by itself, or sequences."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vadose.models.inputs import Inputs
from vadose.models.tiles import cut, predict_tiles, tile_of
from vadose.samples.windows import Samples

PIECE = 1 << 16
"""Cells of the pieces that a larger map is forecast in."""
EXAMPLE = 32
"""Edge of a part of a map, or the root of the cells of some windows, that say what rounding does [cell]."""
CELL_DAYS_AT_ONCE = 1 << 18
"""Cells x days of history given to a model at once."""
Array = NDArray[np.float32]
Days = NDArray[np.int64]
Report = Callable[[float], None]
Piece = tuple[Any, Array, Array, float]
"""Where in (init_time, lead_time, y, x), the mean and the deviation there, and the share of the work done with it."""


@torch.no_grad()
def apply(
    model: Any, samples: Samples, days: Days, columns: list[int], report: Report, cells: slice = slice(None)
) -> tuple[Array, Array]:
    """Mean and deviation (init_time, lead_time, y, x), the latter NaN where the model has none.

    Parameters
    ----------
    columns
        Positions of the leads among those of the model.
    report
        Called with the share of the work done.
    cells
        Of the cells in the mask those to forecast, of a model that takes sequences.
    """
    mean, std = np.full((2, len(days), len(columns), *samples.shape), np.nan, np.float32)
    if model.takes == "series":
        pieces = _by_sequence(model, samples, days, columns, cells)
    elif samples.size == (1, 1):
        pieces = _by_cell(model, samples, days, columns)
    else:
        pieces = _by_day(model, samples, days, columns)
    for where, means, deviations, share in pieces:
        mean[where], std[where] = means, deviations
        report(share)
    return mean, std


def example(samples: Samples, day: int) -> Inputs:
    """Some of what a network is given of a day: the middle of a map, or windows from all over it."""
    windows = samples.all_windows(day)
    if samples.window is None:
        middle = (slice(max(cells - EXAMPLE, 0) // 2, (cells + EXAMPLE) // 2) for cells in samples.shape)
        return cut(samples.inputs(windows), *middle)
    step = max(1, len(windows) * math.prod(samples.size) // EXAMPLE**2)
    return samples.inputs(windows[::step])


def _by_cell(model: Any, samples: Samples, days: Days, columns: list[int]) -> Iterator[Piece]:
    """Each cell by itself, those of several days at once."""
    cells = np.argwhere(samples.mask)
    size = max(1, CELL_DAYS_AT_ONCE // samples.look_back)
    number, cell = (part.ravel() for part in np.indices((len(days), len(cells))))
    for start in range(0, len(number), size):
        part = slice(start, start + size)
        row, column = cells[cell[part]].T
        mean, std = _predicted(model, samples.inputs(np.column_stack([days[number[part]], row, column])), columns)
        where = (number[part], slice(None), row, column)
        yield where, mean[:, :, 0, 0], std[:, :, 0, 0], min(start + size, len(number)) / len(number)


def _by_sequence(model: Any, samples: Samples, days: Days, columns: list[int], chosen: slice) -> Iterator[Piece]:
    """All days of each block of cells in one pass."""
    cells = np.argwhere(samples.mask)[chosen]
    size = max(1, CELL_DAYS_AT_ONCE // (samples.look_back - 1 + len(days)))
    for start in range(0, len(cells), size):
        part = cells[start : start + size]
        both = model.of_days(samples.sequence(part, int(days[0]), int(days[-1])), samples.look_back - 1)
        mean, std = (values[:, :, columns, 0, 0].permute(1, 2, 0).cpu().numpy() for values in both)
        yield (slice(None), slice(None), *part.T), mean, std, (start + len(part)) / len(cells)


def _by_day(model: Any, samples: Samples, days: Days, columns: list[int]) -> Iterator[Piece]:
    """One day after the other, from windows or the whole map."""
    of_day = partial(_from_windows, weight=_window_weight(samples.size)) if samples.window else _from_map
    for number, day in enumerate(days):
        yield number, *of_day(model, samples, day, columns), (number + 1) / len(days)


def _from_map(model: Any, samples: Samples, day: int, columns: list[int]) -> tuple[Array, Array]:
    """Mean and deviation (L, y, x) of one day from the whole map, in tiles where it is large."""
    inputs = samples.inputs(samples.all_windows(day))
    halo = model.reach(samples.look_back)
    # Channels dropped in one tile and not in the next would leave seams.
    if halo is None or any(module.training for module in model.modules()):
        mean, std = _predicted(model, inputs, columns)
    else:
        tile = tile_of(samples.shape, halo, PIECE)
        both = predict_tiles(lambda part: torch.stack(model.distribution(part), dim=1), inputs, tile=tile, halo=halo)
        mean, std = (both[:, kind, columns].float().cpu().numpy() for kind in (0, 1))
    return np.where(samples.mask, mean[0], np.float32(np.nan)), np.where(samples.mask, std[0], np.float32(np.nan))


def _from_windows(model: Any, samples: Samples, day: int, columns: list[int], weight: Array) -> tuple[Array, Array]:
    """Mean and deviation (L, y, x) of one day from all its windows."""
    index = samples.all_windows(day)
    total, deviations = np.zeros((2, len(columns), *samples.shape), np.float32)
    weights = np.zeros(samples.shape, np.float32)
    height, width = samples.size
    size = max(1, CELL_DAYS_AT_ONCE // (height * width * samples.look_back))
    for start in range(0, len(index), size):
        part = index[start : start + size]
        for mean, std, (_, row, column) in zip(*_predicted(model, samples.inputs(part), columns), part, strict=True):
            here = (slice(row, row + height), slice(column, column + width))
            total[:, *here] += mean * weight
            deviations[:, *here] += std * weight
            weights[here] += weight
    share = np.where(samples.mask & (weights > 0), weights, np.nan)
    return (total / share).astype(np.float32), (deviations / share).astype(np.float32)


def _predicted(model: Any, inputs: Inputs, columns: list[int]) -> tuple[Array, Array]:
    """Mean and deviation (B, L, H, W) of some leads, the latter NaN where the model has none."""
    first, second = (part[:, columns].float().cpu().numpy() for part in model.distribution(inputs))
    return first, second


def _window_weight(size: tuple[int, int]) -> Array:
    """Weight of a window's cells in an overlap, a triangle toward the centre."""
    sides = [np.minimum(np.arange(edge) + 1, edge - np.arange(edge)).astype(np.float32) for edge in size]
    return np.outer(*sides)
