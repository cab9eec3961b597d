"""Windows of arrays in one compiled loop."""

import numpy as np
import torch
from numpy.typing import NDArray

from vadose.compiled import compiled, in_parts

Floats = NDArray[np.float32]
Positions = NDArray[np.int64]
WORTH_A_THREAD = 1 << 19
"""Bytes."""


def windows_of(values: Floats, days: Positions, row: Positions, column: Positions, size: tuple[int, int]) -> Floats:
    """Windows of some days (sample, day, channel, height, width) of values (day, y, x, channel).

    Parameters
    ----------
    values
        In memory or mapped from a file.
    days
        Positions of the days of each sample (sample, day).
    row, column
        First row and column of each sample's window.
    size
        Height and width of the windows.

    Examples
    --------
    >>> values = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
    >>> windows_of(values, np.array([[0]]), np.array([1]), np.array([2]), (2, 2))[0, 0, 0].tolist()
    [[6.0, 7.0], [10.0, 11.0]]
    """
    found = np.empty((*days.shape, values.shape[-1], *size), np.float32)
    row, column = np.ascontiguousarray(row), np.ascontiguousarray(column)  # each layout is compiled by itself
    threads = max(1, min(torch.get_num_threads(), found.nbytes // WORTH_A_THREAD))
    in_parts(lambda part: _gather(values, days[part], row[part], column[part], found[part]), len(found), threads)
    return found


@compiled
def _gather(values: Floats, days: Positions, row: Positions, column: Positions, found: Floats) -> None:
    many, of_each, channels, height, width = found.shape
    for n in range(many):
        for d in range(of_each):
            block = values[days[n, d], row[n] : row[n] + height, column[n] : column[n] + width]
            into = found[n, d]  # written from end to end; what is read in strides is small
            for k in range(channels):
                for i in range(height):
                    for j in range(width):
                        into[k, i, j] = block[i, j, k]
