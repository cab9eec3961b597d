"""Which station-days are learnt from and which are tested: years, stations, regions, blocks of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError

Mask = NDArray[np.bool_]
REGIONS = ("west", "middle", "east")


@dataclass(frozen=True)
class Fold:
    """Station-days (station, time) to learn from and to test on; they share none."""

    name: str
    training: Mask
    test: Mask


def on_site(table: xr.Dataset, learnt: Mask, years: Sequence[int], training_years: int = 3) -> Iterator[Fold]:
    """Each test year after the ``training_years`` before it, the same stations.

    Years without an observation are passed over. A station is tested where it was learnt from.

    Parameters
    ----------
    table
        Dataset over (station, time) with ``soil_moisture``.
    learnt
        Stations that may be learnt from (station,).
    """
    observed, year = _observed(table), table.time.dt.year.values
    for test_year in years:
        before = observed & ((year < test_year) & (year >= test_year - training_years)) & learnt[:, None]
        test = observed & (year == test_year) & before.any(axis=1, keepdims=True)
        if test.any():
            yield Fold(str(test_year), before, test)


def off_site(table: xr.Dataset, learnt: Mask, folds: int = 5, seed: int = 0) -> Iterator[Fold]:
    """Stations in ``folds`` parts at random, each tested with what was learnt from the others, all years.

    Stations that may not be learnt from are one more fold, 'new', tested with what all others teach.
    """
    stations = np.random.default_rng(seed).permutation(np.flatnonzero(learnt))
    parts = {str(k + 1): part for k, part in enumerate(np.array_split(stations, folds))}
    yield from _held_out(table, learnt, parts)


def cross_region(table: xr.Dataset, learnt: Mask, borders: tuple[float, float] = (-104.0, -90.0)) -> Iterator[Fold]:
    """West, middle and east of two longitudes [degree]: each tested with what was learnt from the other two."""
    region = np.searchsorted(borders, table.lon.values, side="right")
    observed = _observed(table)
    for k, name in enumerate(REGIONS):
        here = (region == k)[:, None]
        yield _fold(name, observed & learnt[:, None] & ~here, observed & here)


def network(table: xr.Dataset, learnt: Mask, held_out: Sequence[str]) -> Iterator[Fold]:
    """Each of some networks tested with what was learnt from the stations of all others.

    Raises
    ------
    VadoseError
        When the table has no station of a network, or of no other.
    """
    of, observed = table.network.values.astype(object), _observed(table)
    for name in held_out:
        here = (of == name)[:, None]
        yield _fold(name, observed & learnt[:, None] & ~here, observed & here)


def blocked(table: xr.Dataset, learnt: Mask, folds: int = 5, size: float = 4.0, seed: int = 0) -> Iterator[Fold]:
    """Squares of ``size`` degrees in ``folds`` parts at random: a station's neighbours are held out with it.

    References
    ----------
    Roberts et al. (2017), doi:10.1111/ecog.02881.
    """
    square = pd.factorize(pd.MultiIndex.from_arrays([np.floor(table[name].values / size) for name in ("lat", "lon")]))[
        0
    ]
    order = np.random.default_rng(seed).permutation(square.max() + 1)
    part = order[square] % folds
    yield from _held_out(table, learnt, {str(k + 1): np.flatnonzero(learnt & (part == k)) for k in range(folds)})


def station_years(mask: Mask, table: xr.Dataset, share: float, seed: int) -> tuple[Mask, Mask]:
    """Part of the station-days for validation, by whole years of a station: what is learnt from, what is held out."""
    year = table.time.dt.year.values
    pairs = [(s, y) for s in range(len(mask)) for y in np.unique(year[mask[s]])]
    drawn = np.random.default_rng(seed).permutation(len(pairs))[: max(1, round(share * len(pairs)))]
    held = np.zeros_like(mask)
    for k in drawn:
        station, of_year = pairs[k]
        held[station] |= year == of_year
    return mask & ~held, mask & held


def rows(mask: Mask, share: float, seed: int) -> tuple[Mask, Mask]:
    """Part of the station-days for validation at random, as the paper: days beside them are learnt from."""
    index = np.argwhere(mask)
    drawn = index[np.random.default_rng(seed).permutation(len(index))[: max(1, round(share * len(index)))]]
    held = np.zeros_like(mask)
    held[drawn[:, 0], drawn[:, 1]] = True
    return mask & ~held, held


def _held_out(table: xr.Dataset, learnt: Mask, parts: dict[str, NDArray[np.int64]]) -> Iterator[Fold]:
    observed = _observed(table)
    for name, stations in parts.items():
        here = np.isin(np.arange(len(learnt)), stations)[:, None]
        yield _fold(name, observed & learnt[:, None] & ~here, observed & here)
    if (observed & ~learnt[:, None]).any():
        yield _fold("new", observed & learnt[:, None], observed & ~learnt[:, None])


def _fold(name: str, training: Mask, test: Mask) -> Fold:
    if not training.any() or not test.any():
        what = "to test" if training.any() else "to learn from"
        raise VadoseError(f"fold {name}: no observation {what}; give more stations or other folds")
    return Fold(name, training, test)


def _observed(table: xr.Dataset) -> Mask:
    found: Mask = np.isfinite(table.soil_moisture.transpose("station", "time").values)
    return found


def whole_stations(mask: Mask, share: float, seed: int) -> tuple[Mask, Mask]:
    """Part of the stations of a mask (station, time), all their days, to hold out: what is learnt from, and they.

    Examples
    --------
    >>> learnt, held = whole_stations(np.ones((10, 3), bool), 0.2, seed=0)
    >>> learnt.all(axis=1).sum(), held.all(axis=1).sum(), (learnt & held).any()
    (np.int64(8), np.int64(2), np.False_)
    """
    stations = np.random.default_rng(seed).permutation(np.flatnonzero(mask.any(axis=1)))
    held = np.isin(np.arange(len(mask)), stations[: max(1, round(share * len(stations)))])[:, None]
    return mask & ~held, mask & held
