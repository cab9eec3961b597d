r"""Table as of QA4SM and pytesmo: metrics of every pair and triple of data sets at every site.

``qa4sm.csv`` has a row for each lead, site and pair of data sets (the observations are one of them), and one for each
data set of each triple that holds the observations; ``between`` names them, ``of`` the data set of a triple. ``BIAS``
is of the first of ``between`` minus the second. Names are those of pytesmo: R, p_R, rho, p_rho (Spearman), tau, p_tau
(Kendall), RMSD, BIAS, urmsd (ubRMSD), mse = mse_corr + mse_bias + mse_var, RSS; snr [dB], err_std (on the scale of the
observations), beta; n_obs; and ``status``: 0 fine, 1 too few pairs, 2 not computable (a series that does not vary, a
covariance of a triple that is not positive), 4 none, 5 not to be scaled. ``ecol.csv`` has the figures of extended
collocation, with four data sets and more. Samples are those of all tables: days on which every data set
has a value. The p values assume that days are independent.

Collocation needs at least 100 days (Dorigo et al. 2010, doi:10.5194/hess-14-2605-2010). Intervals (95 %, ``_ci_lower``
and ``_ci_upper``) are those of `vadose.evaluation.intervals`, or of moving blocks of days, drawn for all sites and
figures alike (Kunsch 1989, doi:10.1214/aos/1176347265), percentiles of the replicates; a record of fewer than 120
days, a score of fewer than 30 pairs, and a figure that is missing in more than 5 % of the replicates have none.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

from vadose.errors import VadoseError
from vadose.evaluation import intervals
from vadose.evaluation.collocation import Array, Extended, Figures, moments, pair_figures, triple_figures
from vadose.evaluation.leads import AtLead, Run, read_pairs, read_sites
from vadose.evaluation.metrics import FISHER, LOG, PLAIN

OBSERVED = "observed"
FEWEST_TRIPLES = 100
FEWEST_REPLICATES = 100
FINE, FEW, FAILED, NO_PAIRS, UNSCALED = 0, 1, 2, 4, 5
"""Values of ``status``, as of pytesmo."""
_WITH_INTERVALS = ("R", "BIAS", "RMSD", "urmsd")
_SCALES = {
    **{"err_cov_": PLAIN, "err_corr_": FISHER, "RMSD": LOG, "R": FISHER},
    **dict.fromkeys(("urmsd", "err_", "beta", "sig_"), LOG),
}
"""Beginning of a figure's name -> the scale on which its sampling error is nearly normal; others have their own."""
_SITES_AT_ONCE = 128


@dataclass(frozen=True)
class Validation:
    """How the table is made.

    Attributes
    ----------
    correlated
        Pairs of data sets whose errors are correlated, for extended collocation.
    replicates
        Of the block bootstrap; with 0 nothing is drawn, and intervals are those of `vadose.evaluation.intervals`.
    block_length
        Days of a block.
    seed
        Of the draws.
    """

    correlated: tuple[tuple[str, str], ...] = ()
    replicates: int = 0
    block_length: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates and self.replicates < FEWEST_REPLICATES:
            raise VadoseError(f"replicates {self.replicates}: expected {FEWEST_REPLICATES} or more, or 0 for no draws")
        if self.block_length < 1:
            raise VadoseError(f"block length {self.block_length}: expected at least 1 day")

    def draws(self, days: int) -> Array | None:
        """How often each day is drawn: (replicate, day); None where nothing is.

        Raises
        ------
        VadoseError
            When a block is longer than the record.
        """
        if not self.replicates:
            return None
        if self.block_length > days:
            raise VadoseError(
                f"block length {self.block_length} days: the record scored has {days}; give a shorter one"
            )
        blocks = math.ceil(days / self.block_length)
        first = np.random.default_rng(self.seed).integers(0, days - self.block_length + 1, (self.replicates, blocks))
        drawn = (first[..., None] + np.arange(self.block_length)).reshape(self.replicates, -1)[:, :days]
        return np.stack([np.bincount(of, minlength=days) for of in drawn]).astype(float)


@dataclass(frozen=True)
class AllPairs:
    """What the table is made of.

    Attributes
    ----------
    pairs
        Store of the series.
    runs, at, gaussian
        As of `vadose.evaluation.leads.LeadJob`.
    counted
        (lead, site): pairs that all data sets know.
    unscaled
        (run, lead, site): series that could not be scaled.
    fewest
        Least number of pairs.
    """

    pairs: Path
    runs: Sequence[Run]
    at: Sequence[AtLead]
    gaussian: Sequence[bool]
    counted: NDArray[np.int64]
    unscaled: NDArray[np.bool_]
    fewest: int

    def tables(self, how: Validation, remarks: Mapping[Run, str]) -> dict[str, pd.DataFrame]:
        """``qa4sm``, and ``ecol`` where there are four data sets or more."""
        found: dict[str, list[pd.DataFrame]] = {"qa4sm": [], "ecol": []}
        opened, names = read_pairs(self.pairs), names_of(self.runs)
        if how.correlated:
            Extended([OBSERVED, *names], how.correlated)  # whatever is wrong with them, before all else
        for k, at in enumerate(self.at):
            of_lead = opened.isel(lead_days=k)
            for start in range(0, opened.sizes["site"], _SITES_AT_ONCE):
                here = slice(start, start + _SITES_AT_ONCE)
                predicted, truth, _ = read_sites(of_lead.isel(site=here), at.there, self.gaussian)
                series = np.stack([truth, *predicted])[:, at.span]
                block = _Block(
                    series,
                    [OBSERVED, *(names[r] for r in at.there)],
                    ["", *(remarks[self.runs[r]] for r in at.there)],
                    self.counted[k, here],
                    np.vstack([np.zeros_like(self.counted[k, here], bool), *self.unscaled[at.there, k, here]]),
                    self.fewest,
                    how.draws(series.shape[1]),
                )
                found["qa4sm"] += [_at_sites(rows, of_lead, here) for rows in (*block.pairs(), *block.triples())]
                if len(series) > 3:
                    found["ecol"] += [_at_sites(rows, of_lead, here) for rows in block.extended(how.correlated)]
        return {name: pd.concat(tables, ignore_index=True) for name, tables in found.items() if tables}


def names_of(runs: Sequence[Run]) -> list[str]:
    """Models, with weather and scenario where they are not enough to tell runs apart."""
    models = [run[0] for run in runs]
    return models if len(set(models)) == len(models) else ["|".join(run) for run in runs]


def _at_sites(rows: pd.DataFrame, of_lead: xr.Dataset, here: slice) -> pd.DataFrame:
    place = {name: of_lead[name].values[here] for name in ("site", "lat", "lon")}
    return pd.concat([pd.DataFrame({"lead_days": int(of_lead.lead_days), **place}), rows], axis=1)


@dataclass(frozen=True)
class _Block:
    """Series (data set, day, site) of some sites; names and remarks of the data sets; (site,) pairs counted; (data set,
    site) whether it could not be scaled; ``draws`` as of `Validation.draws`."""

    series: Array
    names: Sequence[str]
    remarks: Sequence[str]
    counted: NDArray[np.int64]
    unscaled: NDArray[np.bool_]
    fewest: int
    draws: Array | None

    @cached_property
    def sums(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Moments of all days (site, ...), their replicates, and whether a site has pairs enough for intervals.

        They are about the observations' mean, so that sums of squares keep their digits.
        """
        known = np.isfinite(self.series).all(axis=0)
        total, n = np.where(known, self.series[0], 0.0).sum(axis=0), known.sum(axis=0)
        daily = moments(self.series - total / np.maximum(n, 1))
        again = intervals.reweigh(daily) if self.draws is None else np.tensordot(self.draws, daily, 1)
        return daily.sum(axis=0), again, (n >= intervals.FEWEST_PAIRS) & (len(daily) >= intervals.FEWEST_DAYS)

    def pairs(self) -> Iterator[pd.DataFrame]:
        """Rows of each pair, a prediction before the observations; columns in the order of QA4SM."""
        sets = len(self.names)
        for j, i in combinations(range(sets), 2):
            figures = self._figures(partial(pair_figures, sets=sets, i=i, j=j), _WITH_INTERVALS)
            first = {name: figures.pop(name) for name in ("R", "R_ci_lower", "R_ci_upper")}
            yield self._rows((i, j), "", self.fewest, {**first, **self._ranks(i, j), **figures}, ["R"])

    def triples(self) -> Iterator[pd.DataFrame]:
        """Rows of each data set of each triple that holds the observations."""
        sets = len(self.names)
        for j, k in combinations(range(1, sets), 2):
            of = (0, j, k)
            figures = self._figures(partial(triple_figures, sets=sets, of=of))
            for place, i in enumerate(of):
                own = {name: values[:, place] for name, values in figures.items()}
                yield self._rows(of, self.names[i], max(self.fewest, FEWEST_TRIPLES), own, ["snr", "beta"])

    def extended(self, correlated: Sequence[tuple[str, str]]) -> Iterator[pd.DataFrame]:
        """Rows of each figure of extended collocation."""
        here = [pair for pair in correlated if {*pair} <= {*self.names}]  # others have too few pairs at this lead
        found = list(self._figures(Extended(self.names, here).figures).items())
        for of_one in zip(found[::3], found[1::3], found[2::3], strict=True):
            own = dict(zip(("value", "lower", "upper"), (figures for _, figures in of_one), strict=True))
            rows = self._rows(range(len(self.names)), of_one[0][0], max(self.fewest, FEWEST_TRIPLES), own, ["value"])
            yield rows.rename(columns={"of": "name"})

    def _figures(self, function: Callable[[Array], Figures], some: Sequence[str] | None = None) -> Figures:
        """Figures (site, ...) of the moments, each followed by the ends of its interval, or only some of them."""
        total, again, enough = self.sums
        replicates = function(again)
        figures: Figures = {}
        for name, value in function(total).items():
            figures[name] = value
            if some is None or name in some:
                sure = enough.reshape(-1, *(1,) * (value.ndim - 1)) & np.isfinite(value)
                for end, values in zip(("lower", "upper"), self._ends(name, value, replicates[name]), strict=True):
                    figures[f"{name}_ci_{end}"] = np.where(sure, values, np.nan)
        return figures

    def _ends(self, name: str, value: Array, again: Array) -> tuple[Array, Array]:
        if self.draws is not None:
            few = np.isnan(again).mean(axis=0) > 0.05
            ends = np.nanquantile(np.where(few, 0.0, again), [0.025, 0.975], axis=0)
            return np.where(few, np.nan, ends[0]), np.where(few, np.nan, ends[1])
        scale = next((scale for start, scale in _SCALES.items() if name.startswith(start)), PLAIN)
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = scale.to(value)
            lower, upper = intervals.interval(
                scaled, intervals.spread_of(scaled, scale.to(again), self.series.shape[1])
            )
            return np.minimum(scale.back(lower), value), np.maximum(scale.back(upper), value)

    def _rows(self, of: Sequence[int], name: str, fewest: int, figures: Figures, needed: Sequence[str]) -> pd.DataFrame:
        """A row for each site, with what is known of few pairs left out."""
        known = np.all([np.isfinite(figures[one]) for one in needed], axis=0)
        unscaled = self.unscaled[list(of)].any(axis=0)
        causes = [unscaled, self.counted == 0, self.counted < fewest, ~known]
        status = np.select(causes, [UNSCALED, NO_PAIRS, FEW, FAILED], FINE)
        enough = np.isin(status, (FINE, FAILED))
        return pd.DataFrame(
            {
                "between": "_and_".join(self.names[i] for i in of),
                "of": name,
                "n_obs": self.counted,
                "status": status,
                **{key: np.where(enough, values, np.nan) for key, values in figures.items()},
                "remarks": "; ".join(dict.fromkeys(filter(None, (self.remarks[i] for i in of)))),
            }
        )

    def _ranks(self, i: int, j: int) -> Figures:
        """Spearman's rho, Kendall's tau, and values of p, site by site."""
        found = {name: np.full(len(self.counted), np.nan) for name in ("p_R", "rho", "p_rho", "tau", "p_tau")}
        known = np.asarray(np.isfinite(self.series).all(axis=0))
        for site in np.flatnonzero(known.sum(axis=0) >= max(self.fewest, 3)).tolist():
            one, other = (self.series[k, known[:, site], site] for k in (i, j))
            if np.ptp(one) > 0 and np.ptp(other) > 0:
                found["p_R"][site] = stats.pearsonr(one, other).pvalue
                found["rho"][site], found["p_rho"][site] = stats.spearmanr(one, other)
                found["tau"][site], found["p_tau"][site] = stats.kendalltau(one, other)
        return found
