"""Several runs scored on one set of samples, with intervals of each score and of their differences."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vadose.evaluate import intervals
from vadose.evaluate.metrics import BETTER, DISTRIBUTION_METRICS, METRICS, distribution_moments, moments, skill

Array = NDArray[np.floating]
Sites = NDArray[np.int64]
_MOMENTS_AT_ONCE = 1_000_000
"""Values of one run's replicated moments held at once: 8 MB."""


@dataclass(frozen=True)
class Scored:
    """Scores of the runs at each site, and their replicates.

    Attributes
    ----------
    metrics
        Names along the last axis.
    value, lower, upper
        (run, site, metric): a score and its 95 % interval; NaN at sites that do not count.
    replicated
        (run, metric, replicate, site): the score in each replicate.
    """

    metrics: tuple[str, ...]
    value: Array
    lower: Array
    upper: Array
    replicated: NDArray[np.float32]

    def over_sites(self, sites: Sites, drawn: Sites) -> Iterator[tuple[int, dict[str, Any]]]:
        """Position of each run, and for each metric its median over some sites, interval and quartiles.

        ``drawn`` (replicates, n) are the positions of the sites of each replicate.
        """
        for r in range(len(self.value)):
            for m, metric in enumerate(self.metrics):
                values = self.value[r, sites, m]
                q25, q75 = np.percentile(_known(values), [25, 75]) if len(_known(values)) else (np.nan, np.nan)
                row = _median(metric, values, self.replicated[r, m], drawn)
                yield r, row | {"q25": float(q25), "q75": float(q75)}

    def differences(self, drawn: Sites) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Positions of every run and every other one, and the median over sites of the former's score minus
        the latter's, with its interval and the share of sites where the former is better."""
        runs = range(len(self.value))
        rows: dict[tuple[int, int], list[dict[str, Any]]] = {(a, b): [] for a in runs for b in runs if a != b}
        for a, b in [pair for pair in rows if pair[0] < pair[1]]:
            for m, metric in enumerate(self.metrics):
                if metric not in BETTER:
                    continue
                one, other = self.value[a, :, m], self.value[b, :, m]
                row = _median(metric, one - other, self.replicated[a, m] - self.replicated[b, m], drawn)
                gain = _known(BETTER[metric](one) - BETTER[metric](other))
                better = [float(np.mean(g > 0)) if len(g) else np.nan for g in (gain, -gain)]
                turned = {"median": -row["median"], "lower": -row["upper"], "upper": -row["lower"]}
                rows[a, b].append(row | {"share_better": better[0]})
                rows[b, a].append(row | turned | {"share_better": better[1]})
        for (a, b), found in rows.items():
            for row in found:
                yield a, b, row


def score(
    predicted: Array,
    observed: Array,
    spreads: Sequence[Array | None],
    drawn: intervals.Resampling,
    *,
    references: Mapping[str, Sequence[int | None]],
    counts: NDArray[np.bool_],
) -> Scored:
    """Score runs on the days and sites where all are known, with the replicates of a bootstrap.

    Sites are taken in blocks, so that memory holds the replicated moments of a few of them. The
    replicated scores, float32 of runs x metrics x replicates x sites, go into a temporary file: 0.9 GB for
    12 runs, 9 metrics, 1000 replicates and 2000 sites.

    Parameters
    ----------
    predicted
        (run, day, site).
    observed
        (day, site), NaN where a sample does not count for every run.
    spreads
        For each run the standard deviation (day, site) of its Gaussian forecast, or None. Where any run has
        one there are the metrics of `DISTRIBUTION_METRICS`; see `distribution_moments` for the others.
    drawn
        See `vadose.evaluate.intervals.draw`.
    references
        Name of a skill score -> for each run the position of the run it is measured against, None for none.
    counts
        (site,): whether a site has pairs enough.
    """
    plain = all(spread is None for spread in spreads)
    metrics = (*METRICS, *(() if plain else DISTRIBUTION_METRICS), *references)
    runs, _, sites = predicted.shape
    replicates = len(drawn.counts)
    value, lower, upper = (np.full((runs, sites, len(metrics)), np.nan) for _ in range(3))
    with tempfile.TemporaryFile() as file:  # the map outlives it
        replicated = np.memmap(file, np.float32, "w+", shape=(runs, len(metrics), replicates, sites))
    edge = max(1, _MOMENTS_AT_ONCE // (replicates * (6 if plain else 9)))
    for start in range(0, sites, edge):
        here = slice(start, start + edge)
        # Close to zero, so that sums of squares keep their digits.
        centre = _mean(observed[:, here])
        daily = [
            _daily(predicted[r][:, here], observed[:, here], None if s is None else s[:, here], centre, plain)
            for r, s in enumerate(spreads)
        ]
        whole = [m.sum(axis=0) for m in daily]
        again = [intervals.resample(m, drawn) for m in daily]
        for r in range(runs):
            against = [of_run[r] for of_run in references.values()]
            value[r, here] = np.where(counts[here, None], _scores(whole, r, against, plain), np.nan)
            found = np.where(counts[here, None], _scores(again, r, against, plain).astype(np.float32), np.nan)
            lower[r, here], upper[r, here] = intervals.site_interval(found, value[r, here])
            replicated[r, :, :, here] = found.transpose(2, 0, 1)
    return Scored(metrics, value, lower, upper, replicated)


def _daily(predicted: Array, observed: Array, spread: Array | None, centre: Array, plain: bool) -> Array:
    """Moments of each day and site, with those of a distribution where any run is one."""
    p, o = predicted - centre, observed - centre
    return moments(p, o) if plain else np.concatenate([moments(p, o), distribution_moments(p, o, spread)], axis=-1)


def _scores(m: Sequence[Array], run: int, references: Sequence[int | None], plain: bool) -> Array:
    """All metrics of a run from the moments of all runs, skill against the references last: (..., metrics)."""
    functions = [*METRICS.values(), *(() if plain else DISTRIBUTION_METRICS.values())]
    found = [function(m[run]) for function in functions]
    found += [np.full(m[run].shape[:-1], np.nan) if r is None else skill(m[run], m[r]) for r in references]
    return np.stack(found, axis=-1)


def _median(metric: str, values: Array, replicates: NDArray[np.float32], drawn: Sites) -> dict[str, Any]:
    """Median over sites and its interval, as columns of a table."""
    known = _known(values)
    median = float(np.median(known)) if len(known) else np.nan
    lower, upper = intervals.median_interval(np.asarray(replicates), drawn, median)
    return {"metric": metric, "median": median, "lower": lower, "upper": upper}


def _mean(observed: Array) -> Array:
    """Mean of each site's known values, 0 where there are none."""
    known = np.isfinite(observed)
    mean: Array = np.where(known, observed, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return mean


def _known(values: Array) -> Array:
    return values[np.isfinite(values)]
