"""Rows of tables of scores, whatever is scored: forecasts at a lead, series at stations, or pixels of maps.

A row says who was scored (dataset, layer, lead or fold, model ...), at which sites (``kind`` and ``class``, such as
'land_cover' and 'forest'; 'all' and 'all' for all sites), how much it is made of (``n_sites``, ``n_pairs``), and the
median over the sites of a ``metric`` with its 95 % interval, ``lower`` to ``upper``, and its quartiles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vadose.evaluation.metrics import METRICS
from vadose.evaluation.paired import Array, Cell, Row, Scored, Sites, score
from vadose.evaluation.strata import Labels, classes

__all__ = ["Cell", "Group", "Row"]


@dataclass(frozen=True)
class Group:
    """Runs that were scored together at the same sites.

    Attributes
    ----------
    scored
        Their scores at the sites ``at``; None where no site has pairs enough.
    named
        Columns that the rows of all runs share.
    runs
        Columns that name each run, along the runs of ``scored``.
    pairs
        (site,): samples of each site that counts, 0 of others.
    at
        Positions of the sites that ``scored`` holds; all of them when left out.
    observed
        (site,): observed days of each site, whether a run knows them or not; rows then say ``n_observed``.
    drawn
        Whether sites are a sample of all there could be, see `vadose.evaluation.intervals.median_error`.
    """

    scored: Scored | None
    named: Mapping[str, Cell]
    runs: Sequence[Mapping[str, Cell]]
    pairs: NDArray[np.int64]
    at: Sites | None = None
    observed: NDArray[np.int64] | None = None
    drawn: bool = True

    @property
    def places(self) -> Sites:
        """Position among all sites of each that ``scored`` holds."""
        return np.arange(len(self.pairs)) if self.at is None else self.at

    def scores(self) -> Iterator[Row]:
        """A row for each run and metric over all sites; without its numbers where no site counts."""
        everywhere = np.arange(len(self.pairs))
        if self.scored is None:
            size = self.size(everywhere)
            yield from ({**self.named, **run, **size, "metric": metric} for run in self.runs for metric in METRICS)
        yield from self._rows("all", "all", everywhere)

    def strata(self, labels: Mapping[str, Labels]) -> Iterator[Row]:
        """The same over the sites of each class of each kind."""
        for kind, name, sites in classes(labels):
            yield from self._rows(kind, name, sites)

    def differences(self) -> Iterator[Row]:
        """A row for each run, each other one (``baseline``, ``baseline_weather`` ...) and metric, over all sites."""
        if self.scored is None:
            return
        size = self.size(np.arange(len(self.pairs)))
        for a, b, row in self.scored.differences(np.arange(len(self.places)), drawn=self.drawn):
            other = {f"baseline_{key}".removesuffix("_model"): value for key, value in self.runs[b].items()}
            yield {**self.named, **self.runs[a], **other, **size, **row}

    def size(self, sites: Sites) -> dict[str, int]:
        """Columns that say how much a row over some sites is made of."""
        pairs = self.pairs[sites]
        size = {"n_sites": int((pairs > 0).sum()), "n_pairs": int(pairs.sum())}
        return size if self.observed is None else size | {"n_observed": int(self.observed[sites].sum())}

    def _rows(self, kind: str, name: str, sites: Sites) -> Iterator[Row]:
        here = np.flatnonzero(np.isin(self.places, sites))
        if self.scored is None or not len(here):
            return
        size = self.size(sites)
        for r, row in self.scored.over_sites(here, drawn=self.drawn):
            yield {**self.named, **self.runs[r], "kind": kind, "class": name, **size, **row}


def score_sites(
    predicted: Array,
    observed: Array,
    spreads: Sequence[Array | None],
    *,
    min_pairs: int,
    references: Mapping[str, Sequence[int | None]] | None = None,
) -> tuple[Scored, NDArray[np.int64]]:
    """Score runs at the sites with at least ``min_pairs`` samples, and the samples of each, 0 at the others.

    See `vadose.evaluation.paired.score`.
    """
    pairs = np.isfinite(observed).sum(axis=0)
    counts = pairs >= min_pairs
    truth = np.where(counts, observed, np.nan)
    return score(predicted, truth, spreads, references=references or {}, counts=counts), np.where(counts, pairs, 0)
