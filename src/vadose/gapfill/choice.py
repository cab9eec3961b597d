"""Which filler restores withheld observations best, in gaps as long as those of the record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.gapfill.series import Array, Filler, Mode, Series, withhold

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of the missing days, sorted by the length of their gap: those whose gaps' lengths are withheld."""
SHARE = 0.2
"""Of the observations that are withheld, in gaps of all lengths together."""
FEWEST = 30
"""Withheld observations of a variable that a choice needs."""


@dataclass(frozen=True)
class Choice:
    """The filler chosen for each variable.

    Attributes
    ----------
    methods
        Name of the filler of each variable.
    rmse
        Root mean square error of each filler (rows) and variable (columns) at the withheld observations.
    withheld
        Number of these of each variable.
    lengths
        Lengths of the withheld gaps [day].
    """

    methods: tuple[str, ...]
    rmse: dict[str, list[float]]
    withheld: list[int]
    lengths: list[float]


def choose(series: Series, fillers: Mapping[str, Filler], mode: Mode) -> Choice:
    r"""Choose for each variable the filler with the lowest RMSE at withheld observations.

    A fifth of the observed days of each cell is withheld, all variables of a day together, in gaps whose lengths are
    quantiles of the record's own, each weighed by its days: half of the missing days lie in gaps up to the median.
    Every filler is fitted to what is left and fills it.

    .. math:: \mathrm{RMSE}_{f,v} = \sqrt{\frac{1}{n_v} \sum_{i \in \text{withheld}} (\hat y_{f,v,i} - y_{v,i})^2}

    Parameters
    ----------
    series
        Of daily times.
    fillers
        Unfitted ones by name, the first of equal ones is taken.
    mode
        In which they fill: a causal choice counts what they know from the past.

    Raises
    ------
    VadoseError
        When fewer than `FEWEST` observations of a variable can be withheld.

    Examples
    --------
    >>> from vadose.gapfill import ClimatologyAR1, Interpolation, series_of
    >>> values = np.sin(np.arange(730.0) / 58.1)[:, None] + np.zeros((1, 3))
    >>> values[::9] = np.nan
    >>> fillers = {"climatology_ar1": ClimatologyAR1(), "linear": Interpolation("linear")}
    >>> choice = choose(series_of(values), fillers, "smoothed")
    >>> choice.methods, choice.lengths
    (('climatology_ar1',), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    series = series.cells(series.inside)
    lengths = gap_lengths(series)
    hidden = _withheld(series, lengths)
    counts = hidden.sum(axis=(0, 1))
    if (counts < FEWEST).any():
        raise VadoseError(
            f"choosing a filler: {counts.min()} observations of a variable can be withheld in the training days, "
            f"expected at least {FEWEST}; name its method"
        )
    left = series.without(hidden)
    rmse: dict[str, list[float]] = {}
    for name, filler in fillers.items():
        mean, _ = filler.fit(left).predict(left, mode)
        squares = np.where(hidden, mean - np.where(hidden, series.values, 0.0), 0.0) ** 2
        rmse[name] = np.sqrt(squares.sum(axis=(0, 1)) / counts).tolist()
    best = np.array(list(rmse.values())).argmin(axis=0)
    return Choice(tuple(list(rmse)[k] for k in best), rmse, counts.tolist(), lengths.tolist())


def gap_lengths(series: Series) -> Array:
    """Lengths [day] of the gaps of daily series at `QUANTILES` of their missing days; of single days without gaps.

    Examples
    --------
    >>> from vadose.gapfill import series_of
    >>> gap_lengths(series_of(np.array([[1.0, np.nan, 1.0, np.nan, np.nan, np.nan, 1.0]]).T)).tolist()
    [1.0, 3.0, 3.0, 3.0, 3.0]
    """
    known = np.moveaxis(np.isfinite(series.values), 0, -1)
    days = np.broadcast_to(np.moveaxis(series.days[..., None], 0, -1), known.shape)[known]
    cell, variable, _ = np.nonzero(known)
    together = (np.diff(cell) == 0) & (np.diff(variable) == 0)
    missing = np.sort(np.diff(days)[together]) - 1
    missing = missing[missing > 0]
    if not len(missing):
        return np.ones(len(QUANTILES))
    found: Array = missing[np.searchsorted(missing.cumsum(), np.array(QUANTILES) * missing.sum())]
    return found


def _withheld(series: Series, lengths: Array) -> NDArray[np.bool_]:
    """Observations to hide (times, cells, variables): on a day without an overpass no variable is known."""
    known, generator = np.isfinite(series.values), np.random.default_rng(0)
    of_days = replace(series, values=np.where(known.any(axis=2, keepdims=True), 1.0, np.nan))
    hidden = np.zeros(of_days.values.shape, bool)
    for length in lengths:
        hidden |= withhold(of_days, SHARE / len(lengths), length, generator)
    return hidden & known
