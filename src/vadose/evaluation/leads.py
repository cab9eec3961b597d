"""All runs scored at one lead, from a store of pairs: what a worker does by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import dask.array
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from vadose.evaluation.metrics import DISTRIBUTION_METRICS, METRICS, own_metrics
from vadose.evaluation.paired import Scored, score
from vadose.evaluation.rows import Cell, Group, Row
from vadose.evaluation.strata import Labels
from vadose.parallel.memory import release

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


class AtLead(NamedTuple):
    """Runs that have any pairs at a lead, all where none has; days from the first to the last that counts anywhere;
    samples (site,) that all these runs have, 0 where they are too few; and whether they are enough."""

    there: list[int]
    span: slice
    pairs: NDArray[np.int64]
    counts: NDArray[np.bool_]


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
    samples
        What is known of each lead's.
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
    samples: Sequence[AtLead]
    named: Mapping[str, Cell]
    own: Mapping[str, Callable[[Array], Array]] = field(default_factory=own_metrics)

    def __call__(self, number: int) -> OfLead:
        """Score the lead at a position."""
        METRICS.update(self.own)
        there, span, pairs, counts = self.samples[number]
        place: dict[int | None, int] = {r: k for k, r in enumerate(there)}
        references = {name: [place.get(of_run[r]) for r in there] for name, of_run in self.references.items()}
        opened = read_pairs(self.pairs).isel(lead_days=number)
        parts = []
        for start in range(0, len(pairs), _sites_a_chunk(*opened.observed.shape)):
            here = slice(start, start + _sites_a_chunk(*opened.observed.shape))
            predicted, observed, spreads = read_sites(opened.isel(site=here), there, self.gaussian)
            parts.append(score(predicted, observed, spreads, references=references, counts=counts[here], span=span))
        scored = Scored.joined(parts)
        named = {**self.named, "lead_days": int(opened.lead_days)}
        group = Group(scored, named, [dict(zip(KEYS, self.runs[r], strict=True)) for r in there], pairs)
        metrics = (*METRICS, *(DISTRIBUTION_METRICS if any(self.gaussian) else ()), *self.references)
        every = np.full((3, len(self.runs), len(pairs), len(metrics)), np.nan)
        held = np.ix_(range(3), there, range(len(pairs)), [metrics.index(name) for name in scored.metrics])
        every[held] = scored.value, scored.lower, scored.upper
        tables = list(group.scores()), list(group.strata(self.labels)), list(group.differences())
        return OfLead(number, metrics, every[0], every[1], every[2], *tables)


def write_pairs(pairs: xr.Dataset, path: Path) -> None:
    """Write the series of all runs, one at a lead after the other, so that each can be read by itself."""
    days, sites = pairs.observed.shape
    chunks = {"run": 1, "lead_days": 1, "time": days, "site": _sites_a_chunk(days, sites)}
    encoding = {name: {"chunks": tuple(chunks[str(d)] for d in pairs[name].dims)} for name in pairs.data_vars}
    empty = {name: dask.array.empty(of.shape, of.dtype, chunks=-1) for name, of in pairs.data_vars.items()}
    pairs.copy(data=empty).to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding, compute=False)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, series in pairs.data_vars.items():
        for place in np.ndindex(series.shape[:-2]):
            group[str(name)][place] = series.values[place]
            release(series.values)


def read_pairs(path: Path) -> xr.Dataset:
    """Open the store of `write_pairs`; nothing of it is read yet."""
    pairs: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None)
    return pairs


def read_sites(
    pairs: xr.Dataset, there: Sequence[int], gaussian: Sequence[bool]
) -> tuple[Array, Array, list[Array | None]]:
    """Of some runs at a lead: predicted (run, day, site), observed where all are known (day, site), and deviations."""
    predicted, observed = np.stack([pairs.predicted[r].values for r in there]), pairs.observed.values
    spreads = [pairs.spread[r].values if gaussian[r] else None for r in there]
    common = np.isfinite(predicted).all(axis=0)
    for spread in spreads:
        common &= True if spread is None else spread >= 0
    return predicted, np.where(common, observed, np.nan), spreads


def _sites_a_chunk(days: int, sites: int) -> int:
    return max(1, min(sites, _VALUES_A_CHUNK // days))
