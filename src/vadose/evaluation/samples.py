"""Predictions and observations as series of the same days and sites, and which of their samples count."""

import math
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
from vadose.parallel.memory import Arrays

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

    They lie in memory once, or in a temporary file where they would take more than half of what is free.

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
    predicted, spread, gaussian, outside = _read(together, sites, leads, every)

    def shared(k: int) -> tuple[Mask, NDArray[np.int64]]:
        of_runs = [spread[r, k] if has else None for r, has in enumerate(gaussian)]
        return shared_samples(predicted[:, k], of_runs, truth, asked.min_pairs)

    most = np.stack([shared(k)[1] for k in range(len(leads))], axis=1)
    days = _days(stores, leads, sites.observed, asked.period, most >= asked.min_pairs)
    these = every.slice_indexer(days[0], days[-1])
    pairs = np.stack([shared(k)[0][these].sum(axis=0) for k in range(len(leads))])
    learnt = learnt_days(stores, together.runs, days, asked.allow_learnt_days)
    counts = pairs >= asked.min_pairs
    if not counts.any():
        raise VadoseError(
            f"no site has {asked.min_pairs} pairs between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}: the most found "
            f"is {int(pairs.max())}; give a longer period, or lower --min-pairs"
        )
    predicted[most < asked.min_pairs] = np.nan
    dims = ("run", "lead_days", "time", "site")
    series = xr.Dataset({"observed": (dims[2:], truth[these])})
    for name, values in {"predicted": predicted, "spread": spread}.items():
        for k, here in enumerate(counts):
            values[:, k, :, ~here] = np.nan
        if name == "predicted" or any(gaussian):
            series[name] = dims, values[:, :, these]
    return Samples(days, leads, sites, pairs, most, gaussian, [sites.values_outside, *outside], learnt), series


def _read(
    together: Together, sites: Sites, leads: NDArray[np.int64], days: pd.DatetimeIndex
) -> tuple[Array, Array, list[bool], list[int]]:
    """Predictions and deviations (run, lead, day, site), the latter NaN, or no run, where there are none; which runs
    have any; and values of each off the valid range."""
    stores = together.predictions
    gaussian = [SPREAD in store for store in stores]
    shape = len(leads), len(days), len(sites.rows)
    both = (1 + any(gaussian)) * len(stores)
    values = Arrays(4 * both * math.prod(shape)).empty((both, *shape))
    predicted, spread = values[: len(stores)], values[len(stores) :]
    outside = []
    for r, (store, place) in enumerate(zip(stores, together.names, strict=False)):
        count = by_valid_day(store, VARIABLE, sites, leads, days, place, predicted[r])
        if gaussian[r]:
            count += by_valid_day(store, SPREAD, sites, leads, days, place, spread[r])
        elif any(gaussian):
            spread[r] = np.nan
        outside.append(count)
    return predicted, spread, gaussian, outside


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
