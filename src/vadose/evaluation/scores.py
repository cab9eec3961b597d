"""Stores of predictions to tables of scores, all models on identical samples.

A sample counts when it was observed and *every* store has a finite prediction of it, so that all models are scored on
the same samples. Sites with fewer than ``min_pairs`` of them at a lead are left out there. So is a store that by itself
has as many at no site: it has no row at that lead, and takes no samples from the others. Cells are found by their
coordinates; those that not all have are left out. Skill scores are against persistence and climatology of a run's own
scenario, else the first of them. Products are analyses, no forecasts: they are scored on days that all of them, the
observations and all runs have, lest their gaps take samples from the models. The folder holds

- ``scores.csv``: median over sites of each score with its 95 % interval, and quartiles over sites; ``remarks``, here
  and in the other tables, say which of the days scored a run has learnt from (`vadose.artefact.learnt.remarks`);
- ``strata.csv``: the same over the sites of each class of each kind, as land covers;
- ``comparisons.csv``: median over sites of a run's score minus every other run's, the same samples;
- ``space.csv``, where cells are pixels of a map: scores of each day's map, their mean over days, and within each cell
  of 9 km (`vadose.evaluation.space`);
- ``coverage.csv``, where stores at stations hold quantiles: share of days inside their central intervals;
- ``left_out.csv``: models, sites, stations, cells, days of issue and values that the tables leave out, with the reason
  and the number (`vadose.evaluation.left_out`);
- ``products.csv``, where products are given: their scores, and the runs' at the shortest lead;
- ``scores.zarr``: (run, lead_days, site, metric) value, lower, upper, the pairs counted, and the class of each site
  (kind, site);
- ``pairs.zarr``: the series themselves.

Intervals hold what a longer record and other sites would change, see `vadose.evaluation.intervals`; a record of fewer
than `vadose.evaluation.intervals.FEWEST_DAYS` has none (NaN). Where a store holds ``soil_moisture_std`` there are also
the mean CRPS of its Gaussian forecasts and the share of days on which their central 50 and 90 % hold the observation.
The CRPS of a forecast of a single value is its mean absolute error, and stands under ``crps`` for stores without; their
coverage is NaN.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, note_inputs, provenance, writing
from vadose.artefact.learnt import remarks
from vadose.door.days import Period
from vadose.evaluation.collocate import VARIABLE, observed_variable
from vadose.evaluation.coverage import COLUMNS as COVERAGE_COLUMNS
from vadose.evaluation.coverage import QUANTILE, coverage_rows
from vadose.evaluation.leads import KEYS, LeadJob, OfLead, Run, read_pairs, read_sites, write_pairs
from vadose.evaluation.left_out import (
    CELLS,
    LEARNT,
    OUTSIDE,
    STATION_DAYS,
    VALUES,
    entry,
    few_pairs,
    not_issued,
    told,
    write_left_out,
)
from vadose.evaluation.metrics import own_metrics
from vadose.evaluation.rows import Cell, Group, Row, score_sites
from vadose.evaluation.samples import Asked, Samples, samples_of
from vadose.evaluation.space import COARSE, space_rows
from vadose.evaluation.strata import Labels, crossed
from vadose.evaluation.together import Together, analyses_at, brought_together, labels_of
from vadose.parallel.memory import release
from vadose.parallel.progress import Progress
from vadose.parallel.workers import Run as Do
from vadose.parallel.workers import on_workers

COLUMNS = [
    "dataset",
    *KEYS,
    "layer",
    "lead_days",
    "metric",
    "median",
    "lower",
    "upper",
    "n_sites",
    "n_pairs",
    "q25",
    "q75",
    "remarks",
]
STRATA_COLUMNS = [*COLUMNS[:-3], "kind", "class", *COLUMNS[-3:]]
COMPARED_COLUMNS = [
    *COLUMNS[:4],
    "baseline",
    "baseline_weather",
    "baseline_scenario",
    *COLUMNS[4:-3],
    "share_better",
    "remarks",
]
SPACE_COLUMNS = [
    *COLUMNS[:4],
    "baseline",
    "baseline_weather",
    "baseline_scenario",
    "layer",
    "lead_days",
    "over",
    "metric",
    "value",
    "lower",
    "upper",
    "share_better",
    "n_days",
    "n_pixels",
    "n_cells",
    "remarks",
]
Array = NDArray[np.floating]


def evaluate(
    predictions: Sequence[xr.Dataset],
    observed: xr.Dataset,
    *,
    out: Path,
    period: tuple[str, str] | None = None,
    min_pairs: int = 60,
    strata: Mapping[str, Sequence[str]] | None = None,
    cube: xr.Dataset | None = None,
    products: Mapping[str, xr.DataArray] | None = None,
    allow_learnt_days: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Score every store at every site and lead, and write the tables of `vadose.evaluation.scores` into ``out``.

    The folder is left alone when it was made from the same stores, observations and settings. Workers score a lead
    each, so no more of them are of use than there are leads; one that dies costs the lead it was at.

    Parameters
    ----------
    predictions
        Stores that `vadose.door.as_forecasts` takes; skill is against persistence and climatology among them.
    observed
        A station store, or a cube, in the variable that the attribute ``observed`` of the stores names.
    period, min_pairs, allow_learnt_days
        See `vadose.evaluation.samples.Asked`; of days learnt from the tables and ``left_out.csv`` say how many.
    strata, cube
        Kind -> label ('' for none) of each station or cell of ``observed``; fields for the strata of a station store.
    products
        Name -> analyses (time, y, x) on the predictions' grid, scored in a table of their own.
    workers, scheduler
        Processes here, or a Dask scheduler (``'tcp://host:8786'``) whose workers see the folder of ``out``.

    Raises
    ------
    VadoseError
        When stores do not fit together, days scored were learnt from, or nothing is left to score.
    """
    progress(f"evaluating {out.name}", 0.0)
    asked = Asked(period, min_pairs, allow_learnt_days)
    together = brought_together(predictions, observed, strata, allow_learnt_days)
    samples, series = samples_of(together, asked)
    scoring = _Scoring.of(together, samples, asked, cube, products or {})
    series = series.assign_coords(scoring.coords() | {"time": samples.days}).assign_attrs(scoring.attributes())
    inputs = scoring.inputs(series)
    if not is_current(out, **inputs):
        made_of = provenance(**inputs)
        with writing(out) as scratch, on_workers(workers, scheduler) as do:
            scratch.mkdir()
            note_inputs(scratch, **inputs)
            write_pairs(series.assign_attrs(made_of), scratch / "pairs.zarr")
            del series  # read again a lead at a time, here as by workers
            leads = scoring.leads(scratch, do, lambda share: progress(f"evaluating {out.name}", share))
            scoring.write(scratch, leads, made_of)
        progress(f"evaluating {out.name}", 1.0)
    for line in told(out / "left_out.csv"):
        progress(f"{out.name}, {line}", 1.0)
    return out


@dataclass(frozen=True)
class _Scoring:
    """What is scored, and what the tables say of it.

    Attributes
    ----------
    labels
        Class of each site by kind.
    products, off_range
        Analyses (day, site) by name, and how many of their values lay off the valid range.
    """

    together: Together
    samples: Samples
    asked: Asked
    labels: dict[str, Labels]
    products: dict[str, Array]
    off_range: dict[Run, int]

    @classmethod
    def of(
        cls,
        together: Together,
        samples: Samples,
        asked: Asked,
        cube: xr.Dataset | None,
        products: Mapping[str, xr.DataArray],
    ) -> "_Scoring":
        first = together.predictions[0]
        labels = labels_of(together.observed, cube, samples.sites, first.attrs["layer"])
        return cls(together, samples, asked, labels, *analyses_at(products, first, samples.sites, samples.days))

    @property
    def period(self) -> Period:
        days = self.samples.days
        return Period(f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")

    @property
    def fine(self) -> bool:
        """Whether pixels are scored that have a pattern within cells of 9 km."""
        first = self.together.predictions[0].attrs
        nested = first.get("grid_crs") == "EPSG:6933" and float(first["cell_size"]) < COARSE / 2
        return self.samples.sites.of == "cells" and nested

    @property
    def named(self) -> dict[str, Cell]:
        """Columns that all rows share."""
        first, observed = self.together.predictions[0].attrs, self.together.observed
        of_stations = "layer" in observed.dims
        dataset = str(observed.attrs.get("dataset", "stations")) if of_stations else first["dataset"]
        return {"dataset": dataset, "layer": first["layer"]}

    def remarks(self) -> dict[Run, str]:
        stores = zip(self.together.runs, self.together.predictions, strict=True)
        return {run: remarks(store.attrs, self.period) for run, store in stores}

    def attributes(self) -> dict[str, Any]:
        stores, sites = self.together.predictions, self.samples.sites
        first, of_cube = stores[0], "layer" not in self.together.observed.dims
        return {
            **self.named,
            **{key: first.attrs.get(key, "") for key in ("simulated", "cell_size", "grid_step")},
            "causal": "true" if all(store.attrs["causal"] == "true" for store in stores) else "false",
            "observed": "stations" if sites.of == "stations" else "cube",
            "observed_variable": observed_variable(first) if of_cube else VARIABLE,
            "stations_outside": str(sites.outside),
            "learnt_days": ", ".join(f"{run[0]}: {n}" for run, n in self.samples.learnt.items()),
            "first_day": self.period.first,
            "last_day": self.period.last,
            "min_pairs": self.asked.min_pairs,
        }

    def coords(self) -> dict[str, Any]:
        runs, sites = self.together.runs, self.samples.sites.observed
        return {
            "run": _text("|".join(run) for run in runs),
            **{key: ("run", _text(run[i] for run in runs)) for i, key in enumerate(KEYS)},
            "remarks": ("run", _text(self.remarks().values())),
            "lead_days": self.samples.leads,
            "site": _text(sites.site.values),
            "lat": ("site", sites.lat.values),
            "lon": ("site", sites.lon.values),
        }

    def inputs(self, series: xr.Dataset) -> dict[str, Any]:
        """What the tables are made of."""
        labels = xr.Dataset({kind: ("site", of_site) for kind, of_site in self.labels.items()})
        of_runs = [series[name].values for name in ("predicted", "spread") if name in series]
        held = [identity(series[["observed"]])]
        for values in of_runs:
            for place in np.ndindex(values.shape[:2]):
                held.append(identity(xr.DataArray(values[place])))
                release(values)
        return {
            "predictions": [dict(store.attrs) for store in self.together.predictions],
            "products": sorted(self.products),
            "period": self.asked.period,
            **({"own_metrics": sorted(own)} if (own := own_metrics()) else {}),
            "samples": identity(xr.Dataset(attrs={"series": held}), labels, *map(xr.DataArray, self.products.values())),
        }

    def leads(self, folder: Path, do: Do, tell: Callable[[float], None]) -> list[OfLead]:
        """Scores at each lead, of the pairs in the folder."""
        job = LeadJob(
            (folder / "pairs.zarr").resolve(),
            self.together.runs,
            self.samples.gaussian,
            references=_references(self.together.runs),
            labels=self.labels,
            samples=self.samples.at,
            named=self.named,
        )
        found: list[OfLead] = []
        leads = len(self.samples.leads)
        for of_lead in do(job, range(leads)):
            found.append(of_lead)
            tell(len(found) / (leads + 1))
        return sorted(found, key=lambda of_lead: of_lead.number)

    def write(self, folder: Path, leads: Sequence[OfLead], made_of: dict[str, str]) -> None:
        """Write the store of scores and all tables."""
        scores = _store_of(leads, self.coords(), self.samples.pairs, self.labels)
        scores = scores.assign_attrs(self.attributes() | made_of)
        scores.to_zarr(folder / "scores.zarr", zarr_format=3, consolidated=False)
        write_left_out(self.left_out(), self.named, folder / "left_out.csv")
        columns = {"scores": COLUMNS, "strata": STRATA_COLUMNS, "comparisons": COMPARED_COLUMNS}
        tables = {
            name: pd.DataFrame([row for of_lead in leads for row in getattr(of_lead, name)], columns=of_table)
            for name, of_table in columns.items()
        }
        if self.fine:
            runs = [dict(zip(KEYS, run, strict=True)) for run in self.together.runs]
            rows = space_rows(folder / "pairs.zarr", self.samples.at, self.samples.gaussian, runs)
            tables["space"] = pd.DataFrame([{**self.named, **row} for row in rows], columns=SPACE_COLUMNS)
        if any(QUANTILE in store for store in self.together.predictions) and self.samples.sites.of == "stations":
            tables["coverage"] = pd.DataFrame(self.coverage(folder), columns=[*COLUMNS[:6], *COVERAGE_COLUMNS])
        if self.products:
            tables["products"] = pd.DataFrame(self.product_rows(folder / "pairs.zarr"), columns=STRATA_COLUMNS)
        noted = self.remarks()
        for name, table in tables.items():
            table["remarks"] = [noted.get(run, "") for run in table[list(KEYS)].itertuples(index=False, name=None)]
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")

    def left_out(self) -> list[dict[str, Any]]:
        together, samples, runs = self.together, self.samples, self.together.runs
        outside, stations = samples.sites.outside, samples.sites.observed.sizes["site"]
        off_range = [*zip([None, *runs], samples.outside, strict=True), *self.off_range.items()]
        return [
            *few_pairs(runs, samples.leads, samples.most, samples.pairs, self.asked.min_pairs),
            *not_issued(together.predictions, runs),
            *(entry(run, CELLS, n) for run, n in zip([*runs, None], together.cells_left_out, strict=False) if n),
            *([entry(None, OUTSIDE, outside, outside + stations)] if outside else []),
            *([entry(None, STATION_DAYS, together.learnt)] if together.learnt else []),
            *(entry(run, LEARNT, n, len(samples.days)) for run, n in samples.learnt.items()),
            *(entry(run, VALUES, n) for run, n in off_range if n),
        ]

    def coverage(self, folder: Path) -> list[Row]:
        """Rows of the stores with quantiles."""
        pairs, stores = read_pairs(folder / "pairs.zarr"), self.together.predictions
        named = [{**self.named, **dict(zip(KEYS, run, strict=True))} for run in self.together.runs]
        some = [r for r, store in enumerate(stores) if QUANTILE in store]
        return [named[r] | row for r in some for row in coverage_rows(stores[r], self.samples.sites, pairs, r)]

    def product_rows(self, pairs_of: Path) -> list[Row]:
        """Rows of products and of the runs at the shortest lead on the samples all have; by network and land cover."""
        at = int(self.samples.leads.argmin())
        there = self.samples.at[at].there
        predicted, truth, spreads = read_sites(read_pairs(pairs_of).isel(lead_days=at), there, self.samples.gaussian)
        values = np.stack([*self.products.values(), *predicted])
        truth = np.where(np.isfinite(values).all(axis=0), truth, np.nan)
        without = [None] * len(self.products)
        scored, pairs = score_sites(values, truth, [*without, *spreads], min_pairs=self.asked.min_pairs)
        of_products: list[tuple[Cell, ...]] = [(name, "analysis", "all", 0) for name in self.products]
        of_runs = [(*self.together.runs[r], int(self.samples.leads[at])) for r in there]
        named = [dict(zip((*KEYS, "lead_days"), run, strict=True)) for run in (*of_products, *of_runs)]
        group = Group(scored, self.named, named, pairs)
        two = ("network", "land_cover")
        kinds: dict[str, Labels] = {kind: self.labels[kind] for kind in two if kind in self.labels}
        if len(kinds) == len(two):
            kinds["network / land_cover"] = crossed(self.labels, *two)
        return [*group.scores(), *group.strata(kinds)]


def _store_of(
    found: Sequence[OfLead], coords: dict[str, object], pairs: NDArray[np.int64], labels: dict[str, Labels]
) -> xr.Dataset:
    """Scores of all leads and sites, and the classes of the latter."""
    dims = ("run", "lead_days", "site", "metric")
    values = {
        name: np.stack([getattr(of_lead, name) for of_lead in found], axis=1) for name in ("value", "lower", "upper")
    }
    scores = xr.Dataset(
        {name: (dims, of_leads) for name, of_leads in values.items()} | {"pairs": (("lead_days", "site"), pairs)},
        coords=coords | {"metric": _text(found[0].metrics)},
    )
    if labels:
        scores["stratum"] = ("kind", "site"), np.stack(list(labels.values()))
        scores = scores.assign_coords(kind=_text(labels))
    return scores


def _references(runs: Sequence[Run]) -> dict[str, list[int | None]]:
    """Skill scores there are, and for each run the run it is measured against."""
    found: dict[str, list[int | None]] = {}
    for name in ("persistence", "climatology"):
        if known := [i for i, run in enumerate(runs) if run[:2] == (name, "none")]:
            by_scenario = {runs[i][2]: i for i in known}
            found[f"skill_{name}"] = [by_scenario.get(run[2], known[0]) for run in runs]
    return found


def _text(words: Iterable[object]) -> NDArray[np.object_]:
    """Words as Zarr v3 can keep them: of any length."""
    return np.array([str(word) for word in words], dtype=object)
