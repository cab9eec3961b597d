"""Predictions and observations as series of the same days and sites, and which of their samples count."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.evaluation.collocate import VARIABLE, Sites, by_valid_day, sites_of
from vadose.evaluation.leads import AtLead, Run
from vadose.evaluation.paired import shared_samples, span_of
from vadose.evaluation.together import SPREAD, Together, learnt_days
from vadose.evaluation.treatment import NONE, Treatment
from vadose.evaluation.validation import Validation
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
    treatment
        How series are changed before they are scored.
    seasons
        Whether scores are told apart by season; a site needs as many pairs in each.
    validation
        How the table of `vadose.evaluation.validation` is made; None for none.
    extremes
        Whether dry and wet extremes are scored (`vadose.evaluation.extremes`).
    """

    period: tuple[str, str] | None = None
    min_pairs: int = 60
    allow_learnt_days: bool = False
    treatment: Treatment = field(default_factory=Treatment)
    seasons: bool = False
    validation: Validation | None = None
    extremes: bool = False

    def attributes(self) -> dict[str, Any]:
        """What is asked beyond plain scores, for stores, and what they are made of."""
        treated = {"treatment": self.treatment.words} if self.treatment.words else {}
        made = {} if self.validation is None else asdict(self.validation)
        if made:
            made["correlated"] = ", ".join("+".join(pair) for pair in made["correlated"])
        more = {name: "true" for name in ("seasons", "extremes") if getattr(self, name)}
        return treated | more | made


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
    unscaled
        (run, lead, site): series that cannot be scaled to the observations, and are missing.
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
    unscaled: Mask


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
    every, treatment = _days(stores, leads, observed_days, asked.period), asked.treatment
    gaussian = [SPREAD in store and not treatment.words for store in stores]
    truth, predicted, spread, outside = _series(together, sites, leads, every, gaussian, treatment)
    # Their places are asked for again, their values are not.
    sites = replace(sites, observed=sites.observed[:0].copy())

    def shared(k: int) -> tuple[Mask, NDArray[np.int64]]:
        of_runs = [spread[r, k] if has else None for r, has in enumerate(gaussian)]
        return shared_samples(predicted[:, k], of_runs, truth, asked.min_pairs)

    most = np.stack([shared(k)[1] for k in range(len(leads))], axis=1)
    days = _days(stores, leads, observed_days, asked.period, most >= asked.min_pairs)
    these = every.slice_indexer(days[0], days[-1])
    unscaled = np.zeros((len(stores), len(leads), len(sites.rows)), bool)
    if treatment.scale != NONE:
        for k in range(len(leads)):
            common = shared(k)[0][these]
            unscaled[:, k] = treatment.rescale([*predicted[:, k, these]], truth[these], common, asked.min_pairs)
        most = np.stack([shared(k)[1] for k in range(len(leads))], axis=1)
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
            f"is {int(pairs.max())}; give a longer period, or lower --min-pairs{treatment.needs}"
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
    outside = [sites.values_outside, *outside]
    return Samples(days, leads, sites, pairs, most, at, gaussian, outside, learnt, unscaled), series


def _series(
    together: Together,
    sites: Sites,
    leads: NDArray[np.int64],
    scored: pd.DatetimeIndex,
    gaussian: Sequence[bool],
    treatment: Treatment,
) -> tuple[Array, Array, Array, list[int]]:
    """Observations, predictions and deviations of the days scored, as anomalies where these are asked for; values of
    each run off the valid range."""
    stores = together.predictions
    days = treatment.days(scored, _recorded(stores, leads).union(sites.observed.indexes["time"]))
    shape, dtype = (len(leads), len(days), len(sites.rows)), np.float64 if treatment.words else np.float32
    truth, predicted, spread = _room(len(stores), any(gaussian), shape, dtype)
    truth[:] = sites.observed.reindex(time=days).values
    outside = _read(together, sites, leads, days, (predicted, spread))
    treatment.take_anomalies(days, [truth, *predicted.reshape(-1, *truth.shape)])
    these = days.slice_indexer(scored[0], scored[-1])
    return truth[these], predicted[:, :, these], spread[:, :, these], outside


def _room(runs: int, spread: bool, shape: tuple[int, int, int], dtype: type[np.floating]) -> tuple[Array, Array, Array]:
    """Room for observations (day, site), predictions and, where there are any, deviations (run, lead, day, site)."""
    both, (_, days, sites), width = (1 + spread) * runs, shape, np.dtype(dtype).itemsize // 4
    nbytes = 8 * days * sites + 4 * width * both * math.prod(shape)
    room = Arrays(nbytes, True if nbytes > IN_MEMORY else None)
    truth: Array = room.empty((days, 2 * sites)).view(np.float64)
    values: Array = room.empty((both, *shape[:-1], width * sites)).view(dtype)
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
        if len(spread) and SPREAD in store:
            count += by_valid_day(store, SPREAD, sites, leads, days, place, spread[r])
        elif len(spread):
            spread[r] = np.nan
        outside.append(count)
    return outside


def _recorded(predictions: Sequence[xr.Dataset], leads: NDArray[np.int64]) -> pd.DatetimeIndex:
    """First and last valid day of all stores."""
    first = min(store.init_time.values.min() for store in predictions) + np.timedelta64(int(leads.min()), "D")
    last = max(store.init_time.values.max() for store in predictions) + np.timedelta64(int(leads.max()), "D")
    return pd.DatetimeIndex([first, last])


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
