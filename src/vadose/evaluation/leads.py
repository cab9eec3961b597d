"""All runs scored at one lead, from a store of pairs: what a worker does by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.metrics import DISTRIBUTION_METRICS, METRICS, own_metrics
from vadose.evaluation.rows import Cell, Group, Row, score_sites
from vadose.evaluation.strata import Labels

KEYS = ("model", "weather", "scenario")
_VALUES_A_CHUNK = 1 << 22
Array = NDArray[np.floating]
Run = tuple[str, str, str]


class OfLead(NamedTuple):
    """Scores at a lead: position of the lead; (run, site, metric) as in `Scored`; rows of the tables."""

    number: int
    metrics: tuple[str, ...]
    value: Array
    lower: Array
    upper: Array
    scores: list[Row]
    strata: list[Row]
    comparisons: list[Row]


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
    min_pairs
        Fewest for a site to count.
    named
        Columns that all rows share.
    own
        Metrics added at run time, which a worker does not know.
    """

    pairs: Path
    runs: Sequence[Run]
    gaussian: Sequence[bool]
    references: Mapping[str, Sequence[int | None]]
    labels: dict[str, Labels]
    min_pairs: int
    named: Mapping[str, Cell]
    own: Mapping[str, Callable[[Array], Array]] = field(default_factory=own_metrics)

    def __call__(self, number: int) -> OfLead:
        """Score the lead at a position."""
        METRICS.update(self.own)
        there, predicted, observed, spreads = read_lead(self.pairs, number, self.gaussian)
        place: dict[int | None, int] = {r: k for k, r in enumerate(there)}
        references = {name: [place.get(of_run[r]) for r in there] for name, of_run in self.references.items()}
        named = {**self.named, "lead_days": int(read_pairs(self.pairs).lead_days[number])}
        scored, pairs = score_sites(predicted, observed, spreads, min_pairs=self.min_pairs, references=references)
        group = Group(scored, named, [dict(zip(KEYS, self.runs[r], strict=True)) for r in there], pairs)
        metrics = (*METRICS, *(DISTRIBUTION_METRICS if any(self.gaussian) else ()), *self.references)
        every = np.full((3, len(self.runs), len(pairs), len(metrics)), np.nan)
        held = np.ix_(range(3), there, range(len(pairs)), [metrics.index(name) for name in scored.metrics])
        every[held] = scored.value, scored.lower, scored.upper
        tables = list(group.scores()), list(group.strata(self.labels)), list(group.differences())
        return OfLead(number, metrics, every[0], every[1], every[2], *tables)


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
