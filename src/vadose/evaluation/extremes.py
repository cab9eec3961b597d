"""Scores of dry and wet extremes: days in the driest and wettest tenth of each place's own record."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vadose.evaluation.distributions import NAMED
from vadose.evaluation.leads import read_sites
from vadose.evaluation.metrics import gaussian_crps
from vadose.evaluation.paired import Cell, Row
from vadose.evaluation.samples import Samples

Array = NDArray[np.floating]
EXTREME_COLUMNS = [*NAMED, "conditioned_on", "tenth", "bias", "rmse", "crps", "coverage_90", "n_sites", "n_pairs"]
TENTHS = {"driest": 0.1, "wettest": 0.9}
WITHIN_90 = 1.6448536269514722


def extreme_rows(
    pairs: xr.Dataset, samples: Samples, runs: Sequence[Mapping[str, Cell]], min_pairs: int
) -> Iterator[Row]:
    """Scores over the driest and wettest tenth of days for each lead and run, all on the same samples.

    ``runs`` are the columns that name each run. A place counts with ``min_pairs`` samples at the lead.

    ``conditioned_on`` says of what: ``observed``, the days whose observation lies below the 10 % or above the 90 %
    quantile of its place's observations scored at the lead; ``forecast``, those whose forecast lies so among the run's
    own forecasts of the place. Bias (forecast minus observed) and the rest are medians over places of the values of
    their days.

    On days chosen by their observation even a perfectly reliable forecast is biased towards the mean, the more so the
    less can be known: such scores penalise an honest forecast and reward one that exaggerates (the forecaster's
    dilemma, Lerch et al. 2017, doi:10.1214/16-STS588). They say how damped forecasts are. On days chosen by the
    forecast a reliable one has no bias and a coverage of 0.9: these are what to judge by.
    """
    for k, lead in enumerate(samples.leads):
        there = samples.at[k].there
        predicted, observed, spreads = read_sites(pairs.isel(lead_days=k), there, samples.gaussian)
        known = np.isfinite(observed)
        observed = np.where(known & (known.sum(axis=0) >= min_pairs), observed, np.nan)
        for run, forecast, spread in zip(there, predicted, spreads, strict=True):
            given = np.where(np.isfinite(observed), forecast, np.nan)
            for what, values in (("observed", observed), ("forecast", given)):
                for tenth, level in TENTHS.items():
                    chosen = _tail(values, level)
                    row = _scores(given - observed, spread, chosen)
                    yield {**runs[run], "lead_days": int(lead), "conditioned_on": what, "tenth": tenth, **row}


def _tail(values: Array, level: float) -> NDArray[np.bool_]:
    """Days (day, site) at or beyond the quantile of each site's values.

    Examples
    --------
    >>> _tail(np.arange(20.0)[:, None], 0.9).ravel().nonzero()[0].tolist()
    [18, 19]
    """
    number = np.isfinite(values).sum(axis=0)
    tail = np.maximum(number // 10, 1)
    ranked = np.sort(values, axis=0)  # missing ones last
    at = np.where(level < 0.5, tail - 1, number - tail).clip(min=0)
    limit = np.take_along_axis(ranked, at[None], axis=0)
    found: NDArray[np.bool_] = values <= limit if level < 0.5 else values >= limit
    return found


def _scores(error: Array, spread: Array | None, chosen: NDArray[np.bool_]) -> Row:
    """Medians over sites of the scores of the chosen days (day, site); a forecast of one value has its absolute error
    as CRPS and no coverage."""
    number = chosen.sum(axis=0)

    def mean(values: Array) -> Array:
        total: Array = np.where(chosen, values, 0.0).sum(axis=0)[number > 0] / number[number > 0]
        return total

    crps = np.abs(error) if spread is None else gaussian_crps(error, spread)
    of_sites = {"bias": mean(error), "rmse": np.sqrt(mean(error**2)), "crps": mean(crps)}
    of_sites["coverage_90"] = (
        np.full(1, np.nan) if spread is None else mean((np.abs(error) <= WITHIN_90 * spread).astype(float))
    )
    medians = {name: float(np.median(values)) if len(values) else np.nan for name, values in of_sites.items()}
    return {**medians, "n_sites": int((number > 0).sum()), "n_pairs": int(number.sum())}
