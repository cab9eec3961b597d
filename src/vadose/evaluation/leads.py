"""All runs scored at one lead, from a store of pairs: what a worker does by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.metrics import DISTRIBUTION_METRICS, METRICS
from vadose.evaluation.paired import Scored, score
from vadose.evaluation.strata import Labels, classes

KEYS = ("model", "weather", "scenario")
_VALUES_A_CHUNK = 1 << 22
Array = NDArray[np.floating]
Run = tuple[str, str, str]
Rows = list[dict[str, Any]]


class OfLead(NamedTuple):
    """Scores at a lead: position of the lead; (run, site, metric) as in `Scored`; rows of the tables."""

    number: int
    metrics: tuple[str, ...]
    value: Array
    lower: Array
    upper: Array
    scores: Rows
    strata: Rows
    comparisons: Rows


@dataclass(frozen=True)
class LeadJob:
    """Score all runs at a lead of a store of pairs; sent to workers whole.

    Attributes
    ----------
    pairs
        Store that `write_pairs` wrote.
    runs
        Model, weather and scenario of each run.
    gaussian
        Whether a run has a deviation.
    references
        As in `vadose.evaluation.paired.score`.
    labels
        Class of each site by kind.
    known
        (lead, site): pairs there are.
    min_pairs
        Fewest for a site to count.
    named
        Columns that all rows share.
    """

    pairs: Path
    runs: Sequence[Run]
    gaussian: Sequence[bool]
    references: Mapping[str, Sequence[int | None]]
    labels: dict[str, Labels]
    known: NDArray[np.int64]
    min_pairs: int
    named: dict[str, Any]

    def __call__(self, number: int) -> OfLead:
        """Score the lead at a position."""
        there, predicted, observed, spreads = read_lead(self.pairs, number, self.gaussian)
        runs = [self.runs[r] for r in there]
        place: dict[int | None, int] = {r: k for k, r in enumerate(there)}
        references = {name: [place.get(of_run[r]) for r in there] for name, of_run in self.references.items()}
        pairs, counts = self.known[number], self.known[number] >= self.min_pairs
        scored = score(predicted, np.where(counts, observed, np.nan), spreads, references=references, counts=counts)
        lead = int(read_pairs(self.pairs).lead_days[number])
        scores, strata = [], []
        for kind, name, at in [("all", "all", np.arange(len(pairs))), *classes(self.labels)]:
            size = size_of(lead, pairs[at], counts[at])
            for r, row in scored.over_sites(at):
                told = self.named | dict(zip(KEYS, runs[r], strict=True)) | size | row
                if kind == "all":
                    scores.append(told)
                else:
                    strata.append(told | {"kind": kind, "class": name})
        comparisons = list(self._comparisons(scored, runs, size_of(lead, pairs, counts)))
        metrics = (*METRICS, *(DISTRIBUTION_METRICS if any(self.gaussian) else ()), *self.references)
        every = np.full((3, len(self.runs), len(pairs), len(metrics)), np.nan)
        held = np.ix_(range(3), there, range(len(pairs)), [metrics.index(name) for name in scored.metrics])
        every[held] = scored.value, scored.lower, scored.upper
        return OfLead(number, metrics, every[0], every[1], every[2], scores, strata, comparisons)

    def _comparisons(self, scored: Scored, runs: Sequence[Run], size: dict[str, int]) -> Iterator[dict[str, Any]]:
        for a, b, row in scored.differences(np.arange(len(self.known[0]))):
            against = dict(zip(("baseline", "baseline_weather", "baseline_scenario"), runs[b], strict=True))
            yield self.named | dict(zip(KEYS, runs[a], strict=True)) | against | size | row


def size_of(lead: int, pairs: NDArray[np.int64], counts: NDArray[np.bool_]) -> dict[str, int]:
    """Columns that say how much a row of a table is made of."""
    return {"lead_days": lead, "n_sites": int(counts.sum()), "n_pairs": int(pairs[counts].sum())}


def write_pairs(pairs: xr.Dataset, path: Path) -> None:
    """Write the series of all runs, so that those of one at a lead can be read by themselves."""
    days, sites = pairs.observed.shape
    of_sites = max(1, min(sites, _VALUES_A_CHUNK // days))
    chunks = {"run": 1, "lead_days": 1, "time": days, "site": of_sites}
    encoding = {name: {"chunks": tuple(chunks[str(d)] for d in pairs[name].dims)} for name in pairs.data_vars}
    pairs.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)


def read_pairs(path: Path) -> xr.Dataset:
    """Open the store of `write_pairs`; nothing of it is read yet."""
    pairs: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None)
    return pairs


def read_lead(path: Path, number: int, gaussian: Sequence[bool]) -> tuple[list[int], Array, Array, list[Array | None]]:
    """Of the runs that have any pairs at a lead, all where none has: positions, predicted (run, day, site), observed
    where all of them are known (day, site), and deviations."""
    pairs = read_pairs(path).isel(lead_days=number)
    predicted, observed = pairs.predicted.values, pairs.observed.values
    any_pairs = np.isfinite(predicted).any(axis=(1, 2))
    there = np.flatnonzero(any_pairs if any_pairs.any() else ~any_pairs).tolist()
    predicted, spreads = predicted[there], [pairs.spread[r].values if gaussian[r] else None for r in there]
    common = np.isfinite(predicted).all(axis=0)
    for spread in spreads:
        common &= True if spread is None else spread >= 0
    return there, predicted, np.where(common, observed, np.nan), spreads
