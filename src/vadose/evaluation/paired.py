"""Several runs scored on one set of samples, with intervals of each score and of their differences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vadose.evaluation import intervals
from vadose.evaluation.metrics import (
    DISTRIBUTION_METRICS,
    METRICS,
    N,
    distribution_moments,
    skill,
    sums_along,
)
from vadose.evaluation.metrics import metric as metric_of
from vadose.parallel.memory import release

Array = NDArray[np.floating]
Sites = NDArray[np.int64]
Mask = NDArray[np.bool_]
Cell = str | int | float
Way = Literal["to", "back", "rate"]
Row = dict[str, Cell]
"""Columns of a row of a table, see `vadose.evaluation.rows`."""
_MOMENTS_AT_ONCE = 140_000
"""Values of one run's reweighted moments held at once: 1.1 MB, near the processor."""


@dataclass(frozen=True)
class Scored:
    """Scores of the runs at each site, and what is known of their sampling errors.

    Attributes
    ----------
    metrics
        Names along the last axis.
    days
        From the first to the last day any site counts on.
    value, lower, upper
        (run, site, metric): a score and its 95 % interval; NaN at sites that do not count.
    slopes, bias
        (run, wave, metric, site) and (run, site, metric): see `vadose.evaluation.intervals.Spread`, on the scales of
        `vadose.evaluation.metrics.Metric`.
    """

    metrics: tuple[str, ...]
    days: int
    value: Array
    lower: Array
    upper: Array
    slopes: NDArray[np.float32]
    bias: Array

    @classmethod
    def joined(cls, parts: Sequence["Scored"]) -> "Scored":
        """Of sites scored part by part, over the same days."""
        axes = {"value": 1, "lower": 1, "upper": 1, "slopes": 3, "bias": 1}
        arrays = {name: np.concatenate([getattr(part, name) for part in parts], axis) for name, axis in axes.items()}
        return cls(parts[0].metrics, parts[0].days, **arrays)

    def over_sites(self, sites: Sites, *, drawn: bool = True) -> Iterator[tuple[int, Row]]:
        """Position of each run, and for each metric its median over some sites, interval and quartiles.

        ``drawn``: see `vadose.evaluation.intervals.median_error`.
        """
        for r, of_run in enumerate(self.value):
            values = of_run[sites]
            median = intervals.median(values)
            found = self._error(r, sites, drawn).interval(_scaled(self.metrics, "to", median))
            lower, upper = _ends(self.metrics, median, found)
            for m, metric in enumerate(self.metrics):
                known = values[np.isfinite(values[:, m]), m]
                q25, q75 = np.percentile(known, [25, 75]) if len(known) else (np.nan, np.nan)
                row = row_of(metric, median[m], lower[m], upper[m])
                yield r, row | {"q25": float(q25), "q75": float(q75)}

    def standard_errors(self, run: int, sites: Sites) -> Array:
        """Of the medians over some sites (metric, 3): due to days, due to sites, and degrees of freedom."""
        error = self._error(run, sites, drawn=True)
        rate = _scaled(self.metrics, "rate", intervals.median(self.value[run, sites]))
        return np.stack([error.of_days / rate, error.of_sites / rate, error.degrees], axis=-1)

    def _error(self, run: int, sites: Sites, drawn: bool) -> intervals.MedianError:
        """Error of the medians over some sites (metric,), on the scales of the metrics."""
        scaled, bias = _scaled(self.metrics, "to", self.value[run, sites]), self.bias[run, sites]
        of_metrics = [  # slopes are many
            intervals.median_error(scaled[:, m], self.slopes[run, :, m][:, sites], bias[:, m], self.days, drawn=drawn)
            for m in range(len(self.metrics))
        ]
        return intervals.MedianError(*map(np.stack, zip(*of_metrics, strict=True)))

    def differences(self, sites: Sites, *, drawn: bool = True) -> Iterator[tuple[int, int, Row]]:
        """Positions of every run and every other one, and the median over some sites of the former's score minus
        the latter's, with its interval and the share of sites where the former is better."""
        value = self.value[:, sites]
        rates = _scaled(self.metrics, "rate", value)
        pairs = [(a, b) for a in range(len(value)) for b in range(len(value)) if a != b]
        rows: dict[tuple[int, int], list[Row]] = {pair: [] for pair in pairs}
        for m, metric in enumerate(self.metrics):
            if (better := metric_of(metric).better) is None:
                continue
            with np.errstate(invalid="ignore"):
                slopes = self.slopes[:, :, m][..., sites] / rates[:, None, :, m]
                bias = self.bias[:, sites, m] / rates[..., m]
            for a, b in pairs:
                difference = value[a, :, m] - value[b, :, m]
                median = intervals.median(difference)
                ends = intervals.median_error(
                    difference, slopes[a] - slopes[b], bias[a] - bias[b], self.days, drawn=drawn
                ).interval(median)
                gain = better(value[a, :, m]) - better(value[b, :, m])
                gain = gain[np.isfinite(gain)]
                share = float(np.mean(gain > 0)) if len(gain) else np.nan
                rows[a, b].append(row_of(metric, median, *ends) | {"share_better": share})
        for (a, b), of_pair in rows.items():
            yield from ((a, b, row) for row in of_pair)

    def differences_at_sites(self, a: int, b: int) -> tuple[Array, Array, Array]:
        """Scores of a run minus those of another at each site (site, metric), and the ends of their 95 % intervals."""
        value = self.value[[a, b]]
        rates = _scaled(self.metrics, "rate", value)
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = np.moveaxis(self.slopes[[a, b]], 2, 3) / rates[:, None]
            bias = self.bias[[a, b]] / rates
        difference = value[0] - value[1]
        of_days = intervals.median_error(
            difference[None], (slopes[0] - slopes[1])[:, None], (bias[0] - bias[1])[None], self.days, drawn=False
        )
        return difference, *of_days.interval(difference)


def shared_samples(
    predicted: Array, spreads: Sequence[Array | None], truth: Array, fewest: int
) -> tuple[Mask, NDArray[np.int64]]:
    """Samples (day, site) that count for all runs (run, day, site), and the most that each has by itself at a site.

    A run with fewer than ``fewest`` at every site takes no samples from the others, unless all are such. Where a run
    has a deviation it has to be known too.

    Examples
    --------
    >>> predicted = np.array([[[0.1], [0.2], [0.3]], [[0.1], [np.nan], [0.3]], [[np.nan], [np.nan], [0.3]]])
    >>> common, most = shared_samples(predicted, [None] * 3, np.full((3, 1), 0.2), 2)
    >>> common[:, 0].tolist(), most.tolist()
    ([True, False, True], [3, 2, 1])
    """
    observed = np.isfinite(truth)
    known = np.empty(predicted.shape, bool)
    for here, of_run, spread in zip(known, predicted, spreads, strict=True):
        here[:] = np.isfinite(of_run) & observed & (True if spread is None else spread >= 0)
        release(of_run)
    most = known.sum(axis=1).max(axis=1)
    enough = most >= fewest
    return known[enough if enough.any() else ~enough].all(axis=0), most


def score(
    predicted: Array,
    observed: Array,
    spreads: Sequence[Array | None],
    *,
    references: Mapping[str, Sequence[int | None]],
    counts: NDArray[np.bool_],
    span: slice | None = None,
) -> Scored:
    """Score runs on the days and sites where all are known, with 95 % intervals (`vadose.evaluation.intervals`).

    Sites are taken in blocks, so that memory holds the reweighted moments of a few of them.

    Parameters
    ----------
    predicted
        (run, day, site).
    observed
        (day, site), NaN where a sample does not count for every run.
    spreads
        For each run the standard deviation (day, site) of its Gaussian forecast, or None. Where any run has
        one there are the metrics of `DISTRIBUTION_METRICS`; see `distribution_moments` for the others.
    references
        Name of a skill score -> for each run the position of the run it is measured against, None for none.
    counts
        (site,): whether a site has pairs enough.
    span
        Days from the first to the last that is known at any site that counts; found here when left out.
    """
    plain = all(spread is None for spread in spreads)
    metrics = (*METRICS, *(() if plain else DISTRIBUTION_METRICS), *references)
    runs, _, sites = predicted.shape
    span = span or span_of(np.asarray((np.isfinite(observed) & counts).any(axis=1)))
    days = span.stop - span.start
    waves = intervals.waves_of(days)
    value, lower, upper, bias = (np.full((runs, sites, len(metrics)), np.nan) for _ in range(4))
    slopes = np.full((runs, waves, len(metrics), sites), np.nan, np.float32)
    edge = max(1, _MOMENTS_AT_ONCE // (2 * max(waves, 1) * (6 if plain else 9)))
    for start in range(0, sites, edge):
        here = slice(start, min(start + edge, sites))
        truth = np.ascontiguousarray(observed[span, here], float)
        summed = [
            _summed(of_run[span, here], truth, None if s is None else s[span, here], plain)
            for of_run, s in zip(predicted, spreads, strict=True)
        ]
        # Moments lie apart, and are the last axis to metrics.
        whole, again = ([np.moveaxis(of_run[k], -2, -1) for of_run in summed] for k in (0, 1))
        enough = counts[here] & (whole[0][:, N] >= intervals.FEWEST_PAIRS)
        for r in range(runs):
            against = [of_run[r] for of_run in references.values()]
            of_metrics = np.stack(list(_scores(whole, r, against, plain)), axis=-1)
            value[r, here] = np.where(counts[here, None], of_metrics, np.nan)
            found = np.empty((2, waves, len(metrics), here.stop - start))
            for m, of_metric in enumerate(_scores(again, r, against, plain)):
                found[:, :, m] = _on_scale(metrics[m], "to", of_metric)
            found[..., ~enough] = np.nan
            scaled = _scaled(metrics, "to", value[r, here]).T
            spread = intervals.spread_of(scaled, found, days)
            ends = intervals.interval(scaled, spread)
            lower[r, here], upper[r, here] = _ends(metrics, value[r, here], (ends[0].T, ends[1].T))
            slopes[r, :, :, here], bias[r, here] = spread.slopes, spread.bias.T
    return Scored(metrics, days, value, lower, upper, slopes, bias)


def span_of(known: Mask) -> slice:
    """From the first day that is known to the last.

    Examples
    --------
    >>> span_of(np.array([False, True, False, True])), span_of(np.zeros(2, bool))
    (slice(1, 4, None), slice(0, 0, None))
    """
    at = np.flatnonzero(known).tolist()
    return slice(at[0], at[-1] + 1) if at else slice(0, 0)


def _summed(predicted: Array, observed: Array, spread: Array | None, plain: bool) -> tuple[Array, Array]:
    """Moments of sites (moment, site) and reweighted (2, wave, moment, site), with those of a distribution where any
    run is one."""
    days = len(observed)
    found = sums_along(intervals.cosines(days), predicted, observed)
    if plain:
        return found
    daily = np.moveaxis(distribution_moments(predicted, observed, spread), -1, 1)
    more = intervals.reweigh_folded(*intervals.fold(daily), days)
    total, again = (np.concatenate(parts, axis=-2) for parts in zip(found, more, strict=True))
    return total, again


def _scores(m: Sequence[Array], run: int, references: Sequence[int | None], plain: bool) -> Iterator[Array]:
    """Each metric of a run from the moments of all runs (...), skill against the references last."""
    for function in (*METRICS.values(), *(() if plain else DISTRIBUTION_METRICS.values())):
        yield function(m[run])
    for r in references:
        yield np.full(m[run].shape[:-1], np.nan) if r is None else skill(m[run], m[r])


def _on_scale(metric: str, way: Way, values: Array) -> Array:
    """Values (...) through one of the functions of the scale of a metric."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a perfect score lies at infinity, and has no interval
        found: Array = getattr(metric_of(metric).scale, way)(values)
    return found


def _scaled(metrics: Sequence[str], way: Way, values: Array) -> Array:
    """Values (..., metric) through one of the functions of the scale of each metric."""
    found = np.stack([_on_scale(name, way, values[..., m]) for m, name in enumerate(metrics)])
    return np.moveaxis(found, 0, -1)  # metrics lie apart


def _ends(metrics: Sequence[str], value: Array, interval: tuple[Array, Array]) -> tuple[Array, Array]:
    """Ends of an interval brought back from the scales of the metrics; rounding leaves the score inside."""
    lower, upper = (_scaled(metrics, "back", end) for end in interval)
    return np.minimum(lower, value), np.maximum(upper, value)


def row_of(metric: str, median: Array | float, lower: Array | float, upper: Array | float) -> Row:
    """Median over sites and its interval, as columns of a table."""
    return {"metric": metric, "median": float(median), "lower": float(lower), "upper": float(upper)}
