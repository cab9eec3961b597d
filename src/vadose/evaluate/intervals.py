"""Moving-block bootstrap: how far a score of a short, autocorrelated record can be trusted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Resampling:
    """Drawn once, used for every model, lead and site, so that differences are paired.

    Attributes
    ----------
    counts
        (replicates, starts): how often the block that begins on each day was drawn.
    sites
        (replicates, sites): sites drawn with replacement, as positions.
    block
        Days of a block.
    """

    counts: Array
    sites: NDArray[np.int64]
    block: int


def draw(days: int, sites: int, *, block: int, replicates: int, seed: int) -> Resampling:
    """Draw as many blocks of consecutive days, see `block_of`, as fill the record, and sites, for each replicate.

    References
    ----------
    Kunsch (1989), doi:10.1214/aos/1176347265.

    Examples
    --------
    >>> drawn = draw(90, 4, block=30, replicates=5, seed=0)
    >>> drawn.counts.shape, drawn.counts.sum(1).tolist()
    ((5, 61), [3.0, 3.0, 3.0, 3.0, 3.0])
    """
    generator = np.random.default_rng(seed)
    block = block_of(days, block)
    starts = days - block + 1
    blocks = -(-days // block)
    drawn = generator.integers(0, starts, (replicates, blocks))
    counts = np.zeros((replicates, starts))
    np.add.at(counts, (np.arange(replicates)[:, None], drawn), 1.0)
    return Resampling(counts, generator.integers(0, sites, (replicates, sites)), block)


def block_of(days: int, block: int) -> int:
    """Days of a block: a record shorter than two of the blocks asked for takes blocks of half its days.

    Examples
    --------
    >>> block_of(365, 30), block_of(40, 30)
    (30, 20)
    """
    return max(1, min(block, days // 2))


def draw_among(positions: NDArray[np.int64], replicates: int, seed: int) -> NDArray[np.int64]:
    """Draw sites with replacement among those at ``positions`` alone: (replicates, positions).

    Examples
    --------
    >>> draw_among(np.array([3, 7]), 3, seed=0).shape
    (3, 2)
    """
    return positions[np.random.default_rng(seed).integers(0, len(positions), (replicates, len(positions)))]


def resample(daily: Array, drawn: Resampling) -> Array:
    """Moments of every replicate: (days, sites, moments) to (replicates, sites, moments)."""
    total = np.concatenate([np.zeros((1, *daily.shape[1:])), daily.cumsum(axis=0)])
    of_blocks = total[drawn.block :] - total[: -drawn.block]
    flat = drawn.counts @ of_blocks.reshape(len(of_blocks), -1)
    moments: Array = flat.reshape(len(drawn.counts), *daily.shape[1:])
    return moments


def median_interval(values: Array, sites: NDArray[np.int64], estimate: float) -> tuple[float, float]:
    """95 % interval of the median over sites, days and sites resampled.

    The 2.5 and 97.5 % quantiles of the replicates, moved by what the estimate lies apart from their
    median: over a few months a resampled correlation is lower than the whole one, and the interval
    would miss its own estimate.

    Parameters
    ----------
    values
        (replicates, sites): scores of resampled days.
    sites
        (replicates, n): positions of the sites drawn for each replicate.
    estimate
        The median of the scores themselves.
    """
    # One flat index is twice as fast as an index along an axis.
    offsets = np.arange(len(values))[:, None] * values.shape[1]
    medians = _nanmedian(values.ravel()[sites + offsets])
    known = medians[np.isfinite(medians)]
    if not len(known):
        return np.nan, np.nan
    lower, middle, upper = np.percentile(known, [2.5, 50, 97.5])
    return float(lower - middle + estimate), float(upper - middle + estimate)


def site_interval(values: Array, estimate: Array) -> tuple[Array, Array]:
    """95 % interval of each site's score, moved as in `median_interval`: values (replicates, ...).

    NaN where a replicate is undefined.
    """
    lower, middle, upper = np.percentile(values, [2.5, 50, 97.5], axis=0)
    return lower - middle + estimate, upper - middle + estimate


def _nanmedian(values: Array) -> Array:
    """Median of the known values along the last axis, NaN where there are none."""
    ordered = np.sort(values, axis=-1)  # NaN comes last
    n = np.isfinite(values).sum(axis=-1)
    low, high = np.maximum((n - 1) // 2, 0), n // 2
    last = values.shape[-1] - 1
    pick = [np.take_along_axis(ordered, np.minimum(k, last)[..., None], axis=-1)[..., 0] for k in (low, high)]
    return np.where(n > 0, (pick[0] + pick[1]) / 2, np.nan)
