"""Predictions and observations as series of the same days and sites, and which of their samples count."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.evaluation.collocate import VARIABLE, Sites, by_valid_day, sites_of
from vadose.evaluation.leads import AtLead, Run
from vadose.evaluation.paired import shared_samples, span_of
from vadose.evaluation.together import SPREAD, Together, learnt_days
from vadose.parallel.memory import Arrays, release

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
IN_MEMORY = 1 << 30
"""Bytes of series beyond which they lie in a file: a year of a continent is scored in a few GB."""


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
    at
        What jobs are told of each lead.
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
    at: list[AtLead]
    gaussian: list[bool]
    outside: list[int]
    learnt: dict[Run, int]


def samples_of(together: Together, asked: Asked) -> tuple[Samples, xr.Dataset]:
    """Series of all runs at the sites: predicted, and spread where there is any (run, lead_days, time, site), observed.

    They lie in memory once, or in a temporary file where they take more than `IN_MEMORY` or half of what is free.

    Raises
    ------
    VadoseError
        When no day or site is left, or a model has learnt from days that are scored and that is not allowed.
    """
    stores = together.predictions
    leads = stores[0].lead_time.values.astype("timedelta64[D]").astype(int)
    sites = sites_of(together.observed, stores[0])
    observed_days = pd.DatetimeIndex(sites.observed.time.values)
    every = _days(stores, leads, observed_days, asked.period)
    gaussian = [SPREAD in store for store in stores]
    truth, predicted, spread = _room(len(stores), any(gaussian), (len(leads), len(every), len(sites.rows)))
    truth[:] = sites.observed.reindex(time=every).values
    outside = _read(together, sites, leads, every, (predicted, spread))
    # Their places are asked for again, their values are not.
    sites = replace(sites, observed=sites.observed[:0].copy())

    def shared(k: int) -> tuple[Mask, NDArray[np.int64]]:
        of_runs = [spread[r, k] if has else None for r, has in enumerate(gaussian)]
        return shared_samples(predicted[:, k], of_runs, truth, asked.min_pairs)

    most = np.stack([shared(k)[1] for k in range(len(leads))], axis=1)
    days = _days(stores, leads, observed_days, asked.period, most >= asked.min_pairs)
    these = every.slice_indexer(days[0], days[-1])
    pairs, spans = np.zeros((len(leads), len(sites.rows)), np.int64), []
    for k in range(len(leads)):
        common = shared(k)[0][these]
        pairs[k] = common.sum(axis=0)
        spans.append(span_of((common & (pairs[k] >= asked.min_pairs)).any(axis=1)))
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
            if not here.all():
                values[:, k, :, ~here] = np.nan
            release(values)
        if name == "predicted" or any(gaussian):
            series[name] = dims, values[:, :, these]
    enough = np.where(counts.any(axis=1), most >= asked.min_pairs, True)
    at = [
        AtLead(np.flatnonzero(enough[:, k]).tolist(), span, np.where(counts[k], pairs[k], 0), counts[k])
        for k, span in enumerate(spans)
    ]
    return Samples(days, leads, sites, pairs, most, at, gaussian, [sites.values_outside, *outside], learnt), series


def _room(runs: int, spread: bool, shape: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """Room for observations (day, site), predictions and, where there are any, deviations (run, lead, day, site)."""
    both, (_, days, sites) = (1 + spread) * runs, shape
    nbytes = 8 * days * sites + 4 * both * math.prod(shape)
    room = Arrays(nbytes, True if nbytes > IN_MEMORY else None)
    truth: Array = room.empty((days, 2 * sites)).view(np.float64)
    values = room.empty((both, *shape))
    return truth, values[:runs], values[runs:]


def _read(
    together: Together,
    sites: Sites,
    leads: NDArray[np.int64],
    days: pd.DatetimeIndex,
    found: tuple[Array, Array],
) -> list[int]:
    """Put predictions and deviations (run, lead, day, site), NaN where there are none, into two arrays, and count the
    values of each run off the valid range."""
    predicted, spread = found
    outside = []
    for r, (store, place) in enumerate(zip(together.predictions, together.names, strict=False)):
        count = by_valid_day(store, VARIABLE, sites, leads, days, place, predicted[r])
        if SPREAD in store:
            count += by_valid_day(store, SPREAD, sites, leads, days, place, spread[r])
        elif len(spread):
            spread[r] = np.nan
        outside.append(count)
    return outside


def _days(
    predictions: Sequence[xr.Dataset],
    leads: NDArray[np.int64],
    observed: pd.DatetimeIndex,
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
    begin, end = max(begin, observed[0]), min(end, observed[-1])
    if period is not None:
        begin, end = max(begin, pd.Timestamp(period[0])), min(end, pd.Timestamp(period[1]))
    if end < begin:
        asked = f" within {period[0]} .. {period[1]}" if period else ""
        raise VadoseError(
            f"no day{asked} is predicted by every store and observed: predicted are {str(first.min())[:10]} .. "
            f"{str(last.max())[:10]}, observed {observed[0]:%Y-%m-%d} .. {observed[-1]:%Y-%m-%d}"
        )
    return pd.date_range(begin, end)
