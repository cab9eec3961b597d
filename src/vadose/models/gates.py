"""Gates of a convolutional LSTM where no gradient is wanted: in one pass over what the convolutions gave."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vadose.compiled import compiled, in_parts

Array = NDArray[np.float32]
Bits = NDArray[np.unsignedinteger]
_LOG2_E, _LN2_HIGH, _LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_ROUND = np.float32(1.5 * 2**23)
"""Added and taken away again it leaves the nearest whole number."""
_P = tuple(map(np.float32, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 0.16666665459, 0.5)))
"""Polynomial of the exponential within half an octave (Cephes, expf)."""
_LARGEST, _ONE, _TWO = np.float32(87), np.float32(1), np.float32(2)


def gated(
    from_input: Tensor, from_state: Tensor | None, peephole: Tensor, day: int, cell: Array, states: Array
) -> None:
    """Equations (1) to (6) of `vadose.models.convlstm.ConvLSTMCell` for a day: into its cells and hidden states.

    Sums, gates and states are in float32 whatever the convolutions gave.

    Parameters
    ----------
    from_input
        (B, cells, 4 hidden) of the day, float32 or bfloat16; gates in the order i, f, candidate, o.
    from_state
        (B, cells, 4 hidden), of the same type; None on the first day, before which cells and states are zero.
    peephole
        (3, hidden), float32.
    cell
        (B, cells, hidden), changed.
    states
        (B, T, cells, hidden), written.

    Examples
    --------
    >>> states, cell = np.empty((1, 1, 2, 3), np.float32), np.zeros((1, 2, 3), np.float32)
    >>> gated(torch.full((1, 2, 12), 9.0), None, torch.zeros(3, 3), 0, cell, states)
    >>> cell[0, 0].round().tolist(), bool(np.allclose(states, np.tanh(cell), atol=1e-3))
    ([1.0, 1.0, 1.0], True)
    """
    given = _bits(from_input)
    before = given if from_state is None else _bits(from_state)
    shift = np.uint32(0 if from_input.dtype == torch.float32 else 16)
    weights, first = peephole.numpy(), from_state is None

    def part(rows: slice) -> None:
        _gated(given, before, first, weights, day, cell, states, shift, rows.start, rows.stop)

    in_parts(part, cell.shape[0] * cell.shape[1], torch.get_num_threads())


def _bits(values: Tensor) -> Bits:
    """Memory of float32 or bfloat16, the upper half of a float32, as whole numbers."""
    kinds: dict[torch.dtype, tuple[torch.dtype, type]] = {
        torch.float32: (torch.int32, np.uint32),
        torch.bfloat16: (torch.int16, np.uint16),
    }
    signed, plain = kinds[values.dtype]
    return values.contiguous().view(signed).numpy().view(plain)


@compiled
def _gated(
    given: Bits,
    before: Bits,
    first: bool,
    peephole: Array,
    day: int,
    cells: Array,
    states: Array,
    shift: np.uint32,
    start: int,
    stop: int,
) -> None:
    """Rows ``start`` .. ``stop`` of cells of all samples; loops over channels are plain ones, which vectorise."""
    hidden = cells.shape[2]
    x = np.empty(4 * hidden, np.float32)
    for row in range(start, stop):
        sample, place = row // cells.shape[1], row % cells.shape[1]
        cell, state, now = cells[sample, place], states[sample, day, place], given[sample, place]
        for k in range(4 * hidden):
            x[k] = np.uint32(np.uint32(now[k]) << shift).view(np.float32)
        if not first:
            then = before[sample, place]
            for k in range(4 * hidden):
                x[k] += np.uint32(np.uint32(then[k]) << shift).view(np.float32)
        for k in range(hidden):
            x[k] += peephole[0, k] * cell[k]
            x[hidden + k] += peephole[1, k] * cell[k]
            x[2 * hidden + k] *= _TWO
        for after in range(2):
            if after:
                for k in range(hidden):
                    new = x[k] * (_TWO * x[2 * hidden + k] - _ONE) + x[hidden + k] * cell[k]
                    cell[k] = new
                    x[k] = x[3 * hidden + k] + peephole[2, k] * new
                    x[hidden + k] = _TWO * new
            # Sigmoids; the hyperbolic tangent of y is twice that of 2 y, less one.
            for k in range((3 - after) * hidden):
                y = min(max(-x[k], -_LARGEST), _LARGEST)
                rounded = y * _LOG2_E + _ROUND
                octaves = rounded - _ROUND
                rest = y - octaves * _LN2_HIGH - octaves * _LN2_LOW
                power = ((((_P[0] * rest + _P[1]) * rest + _P[2]) * rest + _P[3]) * rest + _P[4]) * rest + _P[5]
                scale = np.int32((np.int32(octaves) + np.int32(127)) << np.int32(23)).view(np.float32)
                x[k] = _ONE / (_ONE + (power * rest * rest + rest + _ONE) * scale)
        for k in range(hidden):
            state[k] = x[k] * (_TWO * x[hidden + k] - _ONE)
