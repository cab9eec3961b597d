"""What an evaluation's folder holds, the run that a report shows of it, its rival at each lead, and the answer."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.errors import VadoseError
from vadose.evaluation.distributions import shared
from vadose.evaluation.leads import read_pairs
from vadose.evaluation.left_out import told
from vadose.evaluation.rivals import Compared, compare
from vadose.evaluation.strata import Labels
from vadose.reports.plots import BASELINES, pretty, weather_name

Array = NDArray[np.floating]
ABOVE, BELOW, SPANS, UNKNOWN = "better", "worse", "spans zero", "no interval"
"""What the interval of a paired difference says."""


class Evaluation:
    """Contents of one evaluation folder.

    Attributes
    ----------
    run
        The run shown, 'model|weather|scenario': of the models, not of the baselines, that do not know the weather
        ahead, if there are any, the one with the highest median R, averaged over leads (-1 where it has none).
    rivals
        Lead -> the baseline with the highest median R, without baselines the other run with the highest; leads at
        which the run shown is scored beside one.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "scores.csv").exists():
            raise VadoseError(f"{folder}: not an evaluation (no scores.csv); make one with: vadose evaluate")
        self.table, self.gains, self.strata = (read(folder / f"{n}.csv") for n in ("scores", "comparisons", "strata"))
        products = folder / "products.csv"
        self.left_out = told(folder / "left_out.csv") if (folder / "left_out.csv").exists() else []
        self.products = read(products) if products.exists() else None
        self.scores = xr.open_zarr(folder / "scores.zarr", consolidated=False).load()
        self.attrs = self.scores.attrs
        # With several layers each has a subfolder.
        of_layer = str(self.attrs["layer"]).replace(" ", "") == folder.name
        self.name = folder.parent.name if of_layer else folder.name
        self.pairs = read_pairs(folder / "pairs.zarr")
        self.leads = [int(lead) for lead in self.scores.lead_days.values]
        self.runs = [str(run) for run in self.scores.run.values]
        remarks = self.scores.coords.get("remarks", self.scores.run[:0]).values
        self.remarks = dict(zip(self.runs, map(str, remarks), strict=False))
        r = self.scores.value.sel(metric="pearson_r").median("site", skipna=True).values
        self._r = {
            run: dict(zip(self.leads, map(float, row), strict=True)) for run, row in zip(self.runs, r, strict=True)
        }
        self.run = self._shown()
        self.rivals = self._rivals()
        self._observed: dict[int, Array] = {}

    def _shown(self) -> str:
        candidates = self.runs
        for unwanted in (BASELINES, ("perfect",)):
            kept = [run for run in candidates if not set(run.split("|")[:2]) & set(unwanted)]
            candidates = kept or candidates
        return max(candidates, key=self._mean_r)

    def _mean_r(self, run: str) -> float:
        return float(np.mean(np.nan_to_num([*self._r[run].values()], nan=-1.0)))

    def _rivals(self) -> dict[int, str]:
        others = [run for run in self.runs if run != self.run]
        fair = [run for run in others if run.split("|")[1] in ("none", self.run.split("|")[1])]
        among, found = [run for run in fair if run.split("|")[0] in BASELINES] or fair, {}
        for lead in self.known_leads:
            if known := [run for run in among if np.isfinite(self._r[run][lead])]:
                found[lead] = max(known, key=lambda run: self._r[run][lead])
        return found

    @property
    def sites_are(self) -> str:
        """'stations' or 'cells'."""
        return "stations" if self.attrs["observed"] == "stations" else "cells"

    @property
    def known_leads(self) -> list[int]:
        """Leads at which the run shown has a score."""
        return [lead for lead in self.leads if np.isfinite(self._r[self.run][lead])]

    def some_leads(self, number: int = 3) -> list[int]:
        """Shortest, middle and longest of the known leads, or the shortest and longest."""
        known = self.known_leads
        at = (0, len(known) // 2, -1) if number == 3 else (0, -1)
        return list(dict.fromkeys(known[k] for k in at)) if known else []

    def classes(self, kind: str) -> Labels:
        """Class of each site, '' for none."""
        if "kind" not in self.scores.coords or kind not in self.scores.kind.values:
            return np.full(self.scores.sizes["site"], "", object)
        labels: Labels = self.scores.stratum.sel(kind=kind).values.astype(object)
        return labels

    def counted(self, network: str | None = None) -> NDArray[np.bool_]:
        """Whether a site, of a network or of all, has a score at any lead time."""
        scored: NDArray[np.bool_] = self.scores.value.sel(metric="rmse").notnull().any(("run", "lead_days")).values
        return scored if network is None else scored & (self.classes("network") == network)

    def observed(self, lead: int) -> Array:
        """Observations (day, site) of the samples that count at a lead."""
        if lead not in self._observed:
            self._observed[lead] = shared(self.pairs, self.leads.index(lead), self.runs.index(self.run))
        return self._observed[lead]

    def predicted(self, lead: int, run: str = "") -> Array:
        """Forecasts (day, site) of the run shown, or another."""
        values: Array = self.pairs.predicted.sel(run=run or self.run, lead_days=lead).values
        return values

    def spread(self, lead: int, run: str = "") -> Array | None:
        """Deviations (day, site) of the run shown, or another; None without any."""
        if "spread" not in self.pairs:
            return None
        values: Array = self.pairs.spread.sel(run=run or self.run, lead_days=lead).values
        return values if np.isfinite(values).any() else None

    @cached_property
    def sure(self) -> str:
        """Run whose certainty is shown: the one shown, else the best of the others with a deviation; '' without any."""
        others = sorted((run for run in self.runs if run != self.run), key=self._mean_r, reverse=True)
        fair = [self.run, *(run for run in others if run.split("|")[1] != "perfect")]
        return next((run for run in fair if any(self.spread(lead, run) is not None for lead in self.leads)), "")

    @cached_property
    def compared(self) -> Compared:
        """The run shown against its rivals."""
        kinds = self.scores.kind.values if "kind" in self.scores.coords else ()
        labels = {str(kind): self.classes(kind) for kind in kinds if kind != "texture_class"}  # these are too fine
        return compare(self.pairs, self.observed, labels, self.run, self.rivals)

    def row(self, run: str, lead: int, metric: str = "pearson_r") -> Any:
        """Row of ``scores.csv``."""
        return rows_of(self.table[(self.table.lead_days == lead) & (self.table.metric == metric)], run).iloc[0]

    def gain(self, lead: int) -> Any:
        """Row of ``comparisons.csv`` of the run shown and its rival: paired difference in R."""
        rows = rows_of(self.gains[(self.gains.lead_days == lead) & (self.gains.metric == "pearson_r")], self.run)
        return rows_of(rows, self.rivals[lead], ("baseline", "baseline_weather", "baseline_scenario")).iloc[0]

    def verdict(self, lead: int) -> str:
        """What the interval of the paired difference in R from the rival says."""
        gain = self.gain(lead)
        if not np.isfinite(gain.lower):
            return UNKNOWN
        return ABOVE if gain.lower > 0 else BELOW if gain.upper < 0 else SPANS

    @property
    def question(self) -> str:
        """What was asked."""
        of = "grid cells" if self.sites_are == "cells" else "stations"
        return (
            f"How well was soil moisture at {self.attrs['layer']} forecast {days(self.leads)} ahead at "
            f"{int(self.table.n_sites.max())} {of}, from {self.attrs['first_day']} to {self.attrs['last_day']}?"
        )

    @property
    def answer(self) -> str:
        """The answer in a sentence."""
        known, name = self.known_leads, label(self.run)
        if not known:
            return f"{name} has no score of R at any lead time."
        ends = " and ".join(
            f"{self._r[self.run][lead]:.2f} at {days([lead])}" for lead in dict.fromkeys((known[0], known[-1]))
        )
        said = f"{name} has a median R of {ends}"
        if not self.rivals:
            return f"{said}; no rival was evaluated with it: add persistence and climatology."
        at: dict[str, list[int]] = {}
        for lead, run in self.rivals.items():
            at.setdefault(run, []).append(lead)
        who = ", ".join(f"{label(run, weather=False)} at {days(leads)}" for run, leads in at.items())
        kind = "baseline" if all(run.split("|")[0] in BASELINES for run in at) else "other run"
        verdicts: dict[str, list[int]] = {}
        for lead in self.rivals:
            verdicts.setdefault(self.verdict(lead), []).append(lead)
        words = {
            ABOVE: "is above zero at {}",
            BELOW: "is below zero at {}",
            SPANS: "has a 95 % interval that spans zero at {}",
            UNKNOWN: "has no interval at {}",
        }
        found = ", ".join(text.format(days(verdicts[key])) for key, text in words.items() if key in verdicts)
        doubt = "" if ABOVE in verdicts else ": nothing shows that it is the better one"
        return f"{said}; its paired difference from the best {kind} ({who}) {found}{doubt}."


def read(path: Path) -> pd.DataFrame:
    """A table of an evaluation."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def rows_of(table: pd.DataFrame, run: str, columns: Iterable[str] = ("model", "weather", "scenario")) -> pd.DataFrame:
    """Rows of a run, 'model|weather|scenario'."""
    for column, word in zip(columns, run.split("|"), strict=True):
        table = table[table[column] == word]
    return table


def label(run: str, *, weather: bool = True) -> str:
    """A run as text for readers."""
    model, of_weather, scenario = run.split("|")
    name = pretty(model, scenario)
    return f"{name} ({weather_name(of_weather)})" if weather else name


def days(leads: Iterable[int]) -> str:
    """Lead times as text.

    Examples
    --------
    >>> days([1]), days([1, 3, 7])
    ('1 day', '1, 3 and 7 days')
    """
    words = [str(lead) for lead in leads]
    if words == ["1"]:
        return "1 day"
    return f"{', '.join(words[:-1])}{' and ' if len(words) > 1 else ''}{words[-1]} days"
