"""All runs scored at one lead, from a store of pairs: what a worker does by itself."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import dask.array
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from vadose.evaluation.metrics import DISTRIBUTION_METRICS, METRICS, own_metrics
from vadose.evaluation.paired import Scored, score
from vadose.evaluation.rows import Cell, Group, Row
from vadose.evaluation.strata import Labels
from vadose.parallel.memory import release

KEYS = ("model", "weather", "scenario")
SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}
"""Months of the seasons by which scores are told apart on demand."""
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
    fewest_of_season
        Fewest pairs of a site in a season for its scores by season; 0 for none.
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
    fewest_of_season: int = 0
    own: Mapping[str, Callable[[Array], Array]] = field(default_factory=own_metrics)

    def __call__(self, number: int) -> OfLead:
        """Score the lead at a position."""
        METRICS.update(self.own)
        there = self.samples[number].there
        opened = read_pairs(self.pairs).isel(lead_days=number)
        group = self._group(opened, self.samples[number])
        assert group.scored is not None
        metrics = (*METRICS, *(DISTRIBUTION_METRICS if any(self.gaussian) else ()), *self.references)
        every = np.full((3, len(self.runs), len(group.pairs), len(metrics)), np.nan)
        held = np.ix_(range(3), there, range(len(group.pairs)), [metrics.index(name) for name in group.scored.metrics])
        every[held] = group.scored.value, group.scored.lower, group.scored.upper
        strata = [*group.strata(self.labels), *self._seasons(opened, self.samples[number])]
        tables = list(group.scores()), strata, list(group.differences())
        return OfLead(number, metrics, every[0], every[1], every[2], *tables)

    def _seasons(self, opened: xr.Dataset, at: AtLead) -> Iterator[Row]:
        """Rows of the days of each season alone, where they are asked for."""
        month = pd.DatetimeIndex(opened.time.values).month
        for name, months in SEASONS.items() if self.fewest_of_season else ():
            inside = np.asarray(month.isin(months))
            if inside[at.span].any():
                rows = self._group(opened, at, inside).scores()
                yield from (row | {"kind": "season", "class": name} for row in rows)

    def _group(self, opened: xr.Dataset, at: AtLead, days: NDArray[np.bool_] | None = None) -> Group:
        """Scores over all days, or some of them; of these a site needs pairs enough."""
        place: dict[int | None, int] = {r: k for k, r in enumerate(at.there)}
        references = {name: [place.get(of_run[r]) for r in at.there] for name, of_run in self.references.items()}
        parts, pairs, span = [], at.pairs.copy(), at.span
        if days is not None:
            first, last = at.span.start + np.flatnonzero(days[at.span])[[0, -1]]
            span = slice(int(first), int(last) + 1)
        for start in range(0, len(pairs), _sites_a_chunk(*opened.observed.shape)):
            here = slice(start, start + _sites_a_chunk(*opened.observed.shape))
            predicted, observed, spreads = read_sites(opened.isel(site=here), at.there, self.gaussian)
            if days is not None:
                observed[~days] = np.nan
                found = np.isfinite(observed).sum(axis=0)
                pairs[here] = np.where(at.counts[here] & (found >= self.fewest_of_season), found, 0)
            counts = at.counts[here] & (pairs[here] > 0)
            parts.append(score(predicted, observed, spreads, references=references, counts=counts, span=span))
        named = {**self.named, "lead_days": int(opened.lead_days)}
        runs = [dict(zip(KEYS, self.runs[r], strict=True)) for r in at.there]
        return Group(Scored.joined(parts), named, runs, pairs)


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


def store_of(
    found: Sequence[OfLead], coords: dict[str, object], pairs: NDArray[np.int64], labels: dict[str, Labels]
) -> xr.Dataset:
    """Scores of all leads and sites, and the classes of the latter."""
    dims = ("run", "lead_days", "site", "metric")
    values = {
        name: np.stack([getattr(of_lead, name) for of_lead in found], axis=1) for name in ("value", "lower", "upper")
    }
    scores = xr.Dataset(
        {name: (dims, of_leads) for name, of_leads in values.items()} | {"pairs": (("lead_days", "site"), pairs)},
        coords=coords | {"metric": words_of(found[0].metrics)},
    )
    if labels:
        scores["stratum"] = ("kind", "site"), np.stack(list(labels.values()))
        scores = scores.assign_coords(kind=words_of(labels))
    return scores


def references_of(runs: Sequence[Run]) -> dict[str, list[int | None]]:
    """Skill scores there are, and for each run the run it is measured against."""
    found: dict[str, list[int | None]] = {}
    for name in ("persistence", "climatology"):
        if known := [i for i, run in enumerate(runs) if run[:2] == (name, "none")]:
            by_scenario = {runs[i][2]: i for i in known}
            found[f"skill_{name}"] = [by_scenario.get(run[2], known[0]) for run in runs]
    return found


def words_of(words: Iterable[object]) -> NDArray[np.object_]:
    """Words as Zarr v3 can keep them: of any length."""
    return np.array([str(word) for word in words], dtype=object)
