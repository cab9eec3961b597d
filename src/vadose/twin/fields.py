"""Random fields that are functions of place and day: the same at every resolution, on any day, in any order."""

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vadose.grid import Grid

Array = NDArray[np.floating]


def field(grid: Grid, name: str, length: float, seed: int, *, day: float = 0.0, memory: float = np.inf) -> Array:
    r"""A Gaussian field of unit variance at the cell centres of a grid, (row, column).

    A sum of :math:`K` plane waves, :math:`f = \sqrt{2/K} \sum_k \cos(\mathbf{k}_k \mathbf{x} - \omega_k t +
    \phi_k)` with normal wave numbers and frequencies, whose covariance is :math:`\exp(-r^2/2\ell^2 -
    t^2/2\tau^2)`. The waves depend on the seed and the name alone, so a fine grid sees the same field as
    a coarse one, and no day needs the one before.

    Parameters
    ----------
    name
        Fields of different names are independent.
    length
        Correlation length :math:`\ell` [km].
    day, memory
        Time and correlation time :math:`\tau` [day].

    References
    ----------
    Shinozuka (1971), doi:10.1121/1.1912338.

    Examples
    --------
    >>> from vadose.grid import ease_grid
    >>> grid = ease_grid("36km").bounding_box(-120, 30, -80, 45)
    >>> round(float(np.mean([field(grid, "rain", 200.0, 0, day=30.0 * d, memory=2.0).std() for d in range(20)])), 1)
    1.0
    """
    along_y, along_x, frequency = _waves(grid, name, length, seed)
    now = along_y * np.exp(-1j * frequency * day / memory)
    # cos(a + b) of all cells is one matrix product of the two directions.
    values: Array = np.sqrt(2 / len(frequency)) * (now.real @ along_x.real - now.imag @ along_x.imag)
    return values


@lru_cache(maxsize=64)
def _waves(grid: Grid, name: str, length: float, seed: int) -> tuple[Any, Any, Any]:
    """Waves along the rows (row, k), along the columns (k, column), and their frequencies for a memory of one day."""
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    count = 256
    waves = generator.normal(size=(2, count)) / (1e3 * length)
    frequency = generator.normal(size=count)
    phase = generator.uniform(0, 2 * np.pi, count)
    return (
        np.exp(1j * (np.outer(grid.y, waves[1]) + phase)),
        np.exp(1j * np.outer(waves[0], grid.x)),
        frequency,
    )


def uniform(values: Array) -> Array:
    """Standard normal values as uniform ones, 0..1 (logistic likeness of the normal distribution)."""
    result: Array = 1 / (1 + np.exp(-1.702 * values))
    return result
