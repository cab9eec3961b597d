"""Predictions and observations as series of the same days and sites, and which of their samples count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.evaluation.collocate import VARIABLE, Sites, by_valid_day, sites_of
from vadose.evaluation.leads import Run
from vadose.evaluation.paired import shared_samples
from vadose.evaluation.together import SPREAD, Together, learnt_days

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """What is asked of an evaluation.

    Attributes
    ----------
    period
        First and last valid day; None for all days predicted.
    min_pairs
        Fewest pairs for a site to count.
    allow_learnt_days
        Whether days may be scored that a model has learnt from.
    """

    period: tuple[str, str] | None = None
    min_pairs: int = 60
    allow_learnt_days: bool = False


@dataclass(frozen=True)
class Samples:
    """What is known of the samples without their values.

    Attributes
    ----------
    days, leads, sites
        Valid days, leads [day] and places.
    pairs
        (lead, site): samples that count.
    most
        (run, lead): the most samples that a run has by itself at a site.
    gaussian
        Whether each run has a standard deviation.
    outside
        Values off the valid range, of the observations and of each run.
    learnt
        Days scored that a run has learnt from.
    """

    days: pd.DatetimeIndex
    leads: NDArray[np.int64]
    sites: Sites
    pairs: NDArray[np.int64]
    most: NDArray[np.int64]
    gaussian: list[bool]
    outside: list[int]
    learnt: dict[Run, int]


def samples_of(together: Together, asked: Asked) -> tuple[Samples, xr.Dataset]:
    """Series of all runs at the sites: predicted, and spread where there is any (run, lead_days, time, site), observed.

    Raises
    ------
    VadoseError
        When no day or site is left, or a model has learnt from days that are scored and that is not allowed.
    """
    stores = together.predictions
    leads = stores[0].lead_time.values.astype("timedelta64[D]").astype(int)
    sites = sites_of(together.observed, stores[0])
    every = _days(stores, leads, sites.observed, asked.period)
    truth = sites.observed.reindex(time=every).values.astype(float)
    predicted, spreads, outside = _read(together, sites, leads, every)
    common, most = np.empty((len(leads), *truth.shape), bool), np.empty((len(stores), len(leads)), np.int64)
    for k in range(len(leads)):
        of_lead = [None if spread is None else spread[k] for spread in spreads]
        common[k], most[:, k] = shared_samples(predicted[:, k], of_lead, truth, asked.min_pairs)
    days = _days(stores, leads, sites.observed, asked.period, most >= asked.min_pairs)
    these = every.slice_indexer(days[0], days[-1])
    pairs = common[:, these].sum(axis=1)
    learnt = learnt_days(stores, together.runs, days, asked.allow_learnt_days)
    counts = pairs >= asked.min_pairs
    if not counts.any():
        raise VadoseError(
            f"no site has {asked.min_pairs} pairs between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}: the most found "
            f"is {int(pairs.max())}; give a longer period, or lower --min-pairs"
        )
    predicted[most < asked.min_pairs] = np.nan
    spreads = [None if spread is None else spread[:, these] for spread in spreads]
    series = _series(predicted[:, :, these], spreads, truth[these], counts)
    gaussian = [spread is not None for spread in spreads]
    return Samples(days, leads, sites, pairs, most, gaussian, [sites.values_outside, *outside], learnt), series


def _read(
    together: Together, sites: Sites, leads: NDArray[np.int64], days: pd.DatetimeIndex
) -> tuple[Array, list[Array | None], list[int]]:
    """Predictions (run, lead, day, site), deviations of each run, and its values off the valid range."""
    taken = [
        [by_valid_day(store, name, sites, leads, days, place) for name in (VARIABLE, SPREAD) if name in store]
        for store, place in zip(together.predictions, together.names, strict=False)
    ]
    spreads = [of_run[1][0] if len(of_run) > 1 else None for of_run in taken]
    return np.stack([of_run[0][0] for of_run in taken]), spreads, [sum(n for _, n in of_run) for of_run in taken]


def _series(predicted: Array, spreads: Sequence[Array | None], truth: Array, counts: Mask) -> xr.Dataset:
    """Store of pairs, predictions at the sites that count."""
    dims = ("run", "lead_days", "time", "site")
    found = {"predicted": (dims, np.where(counts[:, None], predicted, np.nan)), "observed": (dims[2:], truth)}
    if any(spread is not None for spread in spreads):
        empty = np.full(predicted.shape[1:], np.nan, np.float32)
        filled = np.stack([empty if spread is None else spread for spread in spreads])
        found["spread"] = dims, np.where(counts[:, None], filled, np.nan)
    return xr.Dataset(found)


def _days(
    predictions: Sequence[xr.Dataset],
    leads: NDArray[np.int64],
    series: xr.DataArray,
    period: tuple[str, str] | None,
    enough: NDArray[np.bool_] | None = None,
) -> pd.DatetimeIndex:
    """Valid days that may be observed and any store predicts; at some lead all those that have ``enough`` (run, lead).

    Of leads at which none has enough nothing is asked; where that is all of them it is as without.
    """
    ahead = pd.to_timedelta(leads, unit="D").to_numpy()
    first, last = (
        np.array([of(store.init_time.values) for store in predictions])[:, None] + ahead for of in (np.min, np.max)
    )
    begin, end = pd.Timestamp(first.min()), pd.Timestamp(last.max())
    if enough is not None and enough.any():
        of_leads = list(zip(first.T, last.T, enough.T, strict=True))
        begin = min(pd.Timestamp(some[these].max()) for some, _, these in of_leads if these.any())
        end = max(pd.Timestamp(some[these].min()) for _, some, these in of_leads if these.any())
    begin = max(begin, pd.Timestamp(series.time.values[0]))
    end = min(end, pd.Timestamp(series.time.values[-1]))
    if period is not None:
        begin, end = max(begin, pd.Timestamp(period[0])), min(end, pd.Timestamp(period[1]))
    if end < begin:
        asked = f" within {period[0]} .. {period[1]}" if period else ""
        raise VadoseError(f"no day{asked} is predicted by every store and observed")
    return pd.date_range(begin, end)
