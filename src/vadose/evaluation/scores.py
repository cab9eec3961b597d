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
- ``coverage.csv``, where stores at stations hold quantiles: share of days inside their central intervals; and
  ``quantiles.csv``, at cells too, their quantile scores (`vadose.evaluation.distributions`);
- ``ensembles.csv`` and ``ranks.csv``, where stores hold members: their fair CRPS, spread and error, and the ranks of
  the observations among them (`vadose.evaluation.ensembles`);
- ``extremes.csv``, on demand: scores of the driest and wettest tenth of days (`vadose.evaluation.extremes`);
- ``left_out.csv``: what the tables leave out, with the reason and the number (`vadose.evaluation.left_out`);
- ``products.csv``, where products are given: their scores, and the runs' at the shortest lead;
- ``qa4sm.csv`` and ``ecol.csv``, on demand: figures of every pair and triple of data sets
  (`vadose.evaluation.validation`);
- ``scores.zarr``: (run, lead_days, site, metric) value, lower, upper, the pairs counted, and the class of each site
  (kind, site);
- ``pairs.zarr``: the series themselves.

Intervals hold what a longer record and other sites would change, see `vadose.evaluation.intervals`; a record of fewer
than `vadose.evaluation.intervals.FEWEST_DAYS` has none (NaN). Where a store holds ``soil_moisture_std`` there are also
the mean CRPS of its Gaussian forecasts and the share of days on which their central 50 and 90 % hold the observation.
The CRPS of a forecast of a single value is its mean absolute error, and stands under ``crps`` for stores without; their
coverage is NaN.
"""

from collections.abc import Callable, Mapping, Sequence
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
from vadose.errors import VadoseError
from vadose.evaluation.collocate import VARIABLE, observed_variable
from vadose.evaluation.distributions import MEMBER, distribution_tables
from vadose.evaluation.extremes import EXTREME_COLUMNS, extreme_rows
from vadose.evaluation.leads import (
    KEYS,
    LeadJob,
    OfLead,
    Run,
    read_pairs,
    read_sites,
    references_of,
    store_of,
    words_of,
    write_pairs,
)
from vadose.evaluation.left_out import (
    CELLS,
    LEARNT,
    OUTSIDE,
    STATION_DAYS,
    VALUES,
    entry,
    few_pairs,
    not_issued,
    not_scaled,
    told,
    write_left_out,
)
from vadose.evaluation.metrics import own_metrics
from vadose.evaluation.rows import Cell, Group, Row, score_sites
from vadose.evaluation.samples import Asked, Samples, samples_of
from vadose.evaluation.space import COARSE, space_rows
from vadose.evaluation.strata import Labels, crossed
from vadose.evaluation.together import Together, analyses_at, brought_together, labels_of
from vadose.evaluation.treatment import Treatment
from vadose.evaluation.validation import AllPairs, Validation
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
    strata: Mapping[str, Sequence[str] | Labels] | None = None,
    cube: xr.Dataset | None = None,
    products: Mapping[str, xr.DataArray] | None = None,
    allow_learnt_days: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    treatment: Treatment | None = None,
    seasons: bool = False,
    validation: Validation | None = None,
    extremes: bool = False,
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
    treatment, seasons, validation, extremes
        See `vadose.evaluation.samples.Asked`.

    Raises
    ------
    VadoseError
        When stores do not fit together, days scored were learnt from, or nothing is left to score.
    """
    progress(f"evaluating {out.name}", 0.0)
    asked = Asked(period, min_pairs, allow_learnt_days, treatment or Treatment(), seasons, validation, extremes)
    if products and asked.treatment.words:
        raise VadoseError(f"products are scored as they are, forecasts as {asked.treatment.words}; give them as stores")
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
        stores, treated = zip(self.together.runs, self.together.predictions, strict=True), self.asked.treatment.words
        return {run: "; ".join(filter(None, [treated, remarks(store.attrs, self.period)])) for run, store in stores}

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
            **self.asked.attributes(),
        }

    def coords(self) -> dict[str, Any]:
        runs, sites = self.together.runs, self.samples.sites.observed
        return {
            "run": words_of("|".join(run) for run in runs),
            **{key: ("run", words_of(run[i] for run in runs)) for i, key in enumerate(KEYS)},
            "remarks": ("run", words_of(self.remarks().values())),
            "lead_days": self.samples.leads,
            "site": words_of(sites.site.values),
            "lat": ("site", sites.lat.values),
            "lon": ("site", sites.lon.values),
        }

    def inputs(self, series: xr.Dataset) -> dict[str, Any]:
        """What the tables are made of."""
        labels, stores = xr.Dataset({k: ("site", v) for k, v in self.labels.items()}), self.together.predictions
        of_runs = [series[name].values for name in ("predicted", "spread") if name in series]
        held = [identity(series[["observed"]])]
        for values in of_runs:
            for place in np.ndindex(values.shape[:2]):
                held.append(identity(xr.DataArray(values[place])))
                release(values)
        return {
            "predictions": [dict(store.attrs) for store in stores],
            "products": sorted(self.products),
            "period": self.asked.period,
            **self.asked.attributes(),
            **({"own_metrics": sorted(own)} if (own := own_metrics()) else {}),
            **(
                {"members": sizes} if any(sizes := [of.sizes.get("member", 0) for of in stores if MEMBER in of]) else {}
            ),
            "samples": identity(xr.Dataset(attrs={"series": held}), labels, *map(xr.DataArray, self.products.values())),
        }

    def leads(self, folder: Path, do: Do, tell: Callable[[float], None]) -> list[OfLead]:
        """Scores at each lead, of the pairs in the folder."""
        job = LeadJob(
            (folder / "pairs.zarr").resolve(),
            self.together.runs,
            self.samples.gaussian,
            references=references_of(self.together.runs),
            labels=self.labels,
            samples=self.samples.at,
            named=self.named,
            fewest_of_season=self.asked.min_pairs if self.asked.seasons else 0,
        )
        found: list[OfLead] = []
        leads = len(self.samples.leads)
        for of_lead in do(job, range(leads)):
            found.append(of_lead)
            tell(len(found) / (leads + 1))
        return sorted(found, key=lambda of_lead: of_lead.number)

    def write(self, folder: Path, leads: Sequence[OfLead], made_of: dict[str, str]) -> None:
        """Write the store of scores and all tables."""
        scores = store_of(leads, self.coords(), self.samples.pairs, self.labels)
        scores = scores.assign_attrs(self.attributes() | made_of)
        scores.to_zarr(folder / "scores.zarr", zarr_format=3, consolidated=False)
        write_left_out(self.left_out(), self.named, folder / "left_out.csv")
        columns = {"scores": COLUMNS, "strata": STRATA_COLUMNS, "comparisons": COMPARED_COLUMNS}
        tables = {
            name: pd.DataFrame([row for of_lead in leads for row in getattr(of_lead, name)], columns=of_table)
            for name, of_table in columns.items()
        }
        of, pairs = self.together, read_pairs(folder / "pairs.zarr")
        runs = [dict(zip(KEYS, run, strict=True)) for run in of.runs]
        if self.fine:
            rows = space_rows(folder / "pairs.zarr", self.samples.at, self.samples.gaussian, runs)
            tables["space"] = pd.DataFrame([{**self.named, **row} for row in rows], columns=SPACE_COLUMNS)
        if not self.asked.treatment.words:
            tables |= distribution_tables(of.predictions, of.runs, self.named, self.samples.sites, pairs)
        if self.asked.extremes:
            rows = extreme_rows(pairs, self.samples, [self.named | run for run in runs], self.asked.min_pairs)
            tables["extremes"] = pd.DataFrame(rows, columns=EXTREME_COLUMNS)
        if self.products:
            tables["products"] = pd.DataFrame(self.product_rows(folder / "pairs.zarr"), columns=STRATA_COLUMNS)
        noted = self.remarks()
        for name, table in tables.items():
            table["remarks"] = [noted.get(run, "") for run in table[list(KEYS)].itertuples(index=False, name=None)]
            table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        if self.asked.validation is not None:
            for name, table in self.all_pairs(folder).tables(self.asked.validation, noted).items():
                table.to_csv(folder / f"{name}.csv", index=False, float_format="%.10g")

    def all_pairs(self, folder: Path) -> AllPairs:
        """What the table of pairs and triples is made of."""
        of, fewest = self.samples, self.asked.min_pairs
        return AllPairs(folder / "pairs.zarr", self.together.runs, of.at, of.gaussian, of.pairs, of.unscaled, fewest)

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
            *not_scaled(runs, samples.leads, samples.unscaled),
        ]

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
