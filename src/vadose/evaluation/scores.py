"""Stores of predictions to tables of scores, all models on identical samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from vadose.evaluation.collocate import VARIABLE, by_valid_day, observed_variable, sites_of
from vadose.evaluation.leads import KEYS, LeadJob, OfLead, Run, read_lead, size_of, write_pairs
from vadose.evaluation.left_out import (
    CELLS,
    LEARNT,
    OUTSIDE,
    VALUES,
    entry,
    few_pairs,
    not_issued,
    told,
    write_left_out,
)
from vadose.evaluation.paired import score
from vadose.evaluation.strata import Labels, classes, crossed
from vadose.evaluation.together import SPREAD, analyses_at, brought_together, labels_of, learnt_days
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
Array = NDArray[np.floating]
Progress = Callable[[str, float], None]


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
    """Score every store at every site and lead, and write the tables.

    A sample counts when it was observed and *every* store has a finite prediction of it, so that
    all models are scored on the same samples. Sites with fewer than ``min_pairs`` of them at a lead
    are left out there. So is a store that by itself has as many at no site: it has no row at that lead, and takes no
    samples from the others. Written into the folder ``out``, which is left alone when it was made from the same stores,
    observations and settings:

    - ``scores.csv``: median over sites of each score with its 95 % interval, and quartiles over sites; ``remarks``,
      here and in the other tables, say which of the days scored a run has learnt from
      (`vadose.artefact.learnt.remarks`);
    - ``strata.csv``: the same over the sites of each class of each kind, as land covers;
    - ``comparisons.csv``: median over sites of a run's score minus every other run's, the same samples;
    - ``left_out.csv``: models, sites, stations, cells, days of issue and values that the tables leave out, with the
      reason and the number (`vadose.evaluation.left_out`);
    - ``products.csv``, where products are given: their scores, and the runs' at the shortest lead;
    - ``scores.zarr``: (run, lead_days, site, metric) value, lower, upper, the pairs counted, and the class of
      each site (kind, site);
    - ``pairs.zarr``: the series themselves.

    Intervals hold what a longer record and other sites would change, see `vadose.evaluation.intervals`; a record of
    fewer than `vadose.evaluation.intervals.FEWEST_DAYS` has none (NaN). Where a store holds
    ``soil_moisture_std`` there are also the mean CRPS of its Gaussian forecasts and the share of days on which
    their central 50 and 90 % hold the observation. The CRPS of a forecast of a single value is its mean
    absolute error, and stands under ``crps`` for stores without; their coverage is NaN.

    Workers score a lead each, of the pairs that this process has brought together and written; so no more of them are
    of use than there are leads. The tables are those of one process. A worker that dies costs the lead it was at.

    Parameters
    ----------
    predictions
        Stores as `vadose.predict.forecast.forecast` writes them, or whatever `vadose.door.as_forecasts` brings into
        that form; with persistence and climatology among them there are skill scores against these: those of a run's
        own scenario, else the first.
    observed
        A cube, whose variable is the one the stores name in the attribute ``observed``, or a station store. Cells are
        found by their coordinates; those that not all have are left out.
    period
        First and last valid day; all days predicted when left out.
    strata
        Kind -> label of each station or cell of ``observed``, row by row, beside those of
        `vadose.evaluation.strata.strata_of`; '' for none.
    cube
        Where ``observed`` is a station store: fields for the strata.
    products
        Name -> analyses (time, y, x) of the predictions' grid, which are no forecasts. They are scored in a table
        of their own, on days that all of them, the observations and all runs have, lest their gaps take samples
        from the models. Their ``weather`` is 'analysis', their lead 0.
    allow_learnt_days
        Whether days may be scored that a model says it has learnt from (attribute ``learnt_from``); the tables'
        attribute ``learnt_days`` and ``left_out.csv`` then say how many.
    workers
        Processes on this machine.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, whose workers see the folder ``out`` lies in.

    Raises
    ------
    VadoseError
        When stores do not fit together, a model has learnt from days that are scored, nothing is left to score, or no
        scheduler answers.
    """
    together = brought_together(predictions, observed, strata)
    predictions, runs, observed = together.predictions, together.runs, together.observed
    what = f"evaluating {out.name}"
    progress(what, 0.0)
    first = predictions[0]
    leads = first.lead_time.values.astype("timedelta64[D]").astype(int)
    sites = sites_of(observed, first)
    days = _days(predictions, leads, sites.observed, period)
    truth = sites.observed.reindex(time=days).values.astype(float)  # (day, site)
    taken = [
        [by_valid_day(store, name, sites, leads, days, place) for name in (VARIABLE, SPREAD) if name in store]
        for store, place in zip(predictions, together.names, strict=False)
    ]
    predicted = np.stack([of_run[0][0] for of_run in taken])
    spreads = [of_run[1][0] if len(of_run) > 1 else None for of_run in taken]
    outside = [sites.values_outside, *(sum(count for _, count in of_run) for of_run in taken)]
    del taken
    common, most = _common(predicted, spreads, truth, min_pairs)
    every, days = days, _days(predictions, leads, sites.observed, period, most >= min_pairs)
    these = every.slice_indexer(days[0], days[-1])
    truth, common, predicted = truth[these], common[:, these], predicted[:, :, these]
    spreads = [None if spread is None else spread[:, these] for spread in spreads]
    learnt = learnt_days(predictions, runs, days, allow_learnt_days)
    pairs = common.sum(axis=1)
    counts = pairs >= min_pairs
    if not counts.any():
        raise VadoseError(
            f"no site has {min_pairs} pairs between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}: the most found is "
            f"{int(pairs.max())}; give a longer period, or lower --min-pairs"
        )
    labels = labels_of(observed, cube, sites, first.attrs["layer"])
    of_cube = "layer" not in observed.dims
    scored = Period(f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}")
    noted = {run: remarks(of.attrs, scored) for run, of in zip(runs, predictions, strict=True)}
    dataset = first.attrs["dataset"] if of_cube else str(observed.attrs.get("dataset", "stations"))
    named = {"dataset": dataset, "layer": first.attrs["layer"]}
    attributes = {
        **named,
        **{key: first.attrs.get(key, "") for key in ("simulated", "cell_size", "grid_step")},
        "causal": "true" if all(store.attrs["causal"] == "true" for store in predictions) else "false",
        "observed": "stations" if sites.of == "stations" else "cube",
        "observed_variable": observed_variable(first) if of_cube else VARIABLE,
        "stations_outside": str(sites.outside),
        "learnt_days": ", ".join(f"{run[0]}: {n}" for run, n in learnt.items()),
        "first_day": scored.first,
        "last_day": scored.last,
        "min_pairs": min_pairs,
    }
    coords: dict[str, Any] = {
        "run": _text("|".join(run) for run in runs),
        **{key: ("run", _text(run[i] for run in runs)) for i, key in enumerate(KEYS)},
        "remarks": ("run", _text(noted.values())),
        "lead_days": leads,
        "site": _text(sites.observed.site.values),
        "lat": ("site", sites.observed.lat.values),
        "lon": ("site", sites.observed.lon.values),
    }
    gaussian = [spread is not None for spread in spreads]
    analysed, off_range = analyses_at(products or {}, first, sites, days)
    series = xr.Dataset(_series(predicted, spreads, truth, counts), coords=coords | {"time": days}, attrs=attributes)
    inputs = {
        "predictions": [dict(store.attrs) for store in predictions],
        "products": sorted(analysed),
        "period": period,
        "samples": identity(
            series,
            xr.Dataset({kind: ("site", of_site) for kind, of_site in labels.items()}),
            *(xr.DataArray(values) for values in analysed.values()),
        ),
    }
    if is_current(out, **inputs):
        return _say_left_out(out, progress)
    attributes |= provenance(**inputs)
    left_out = [
        *few_pairs(runs, leads, most, pairs, min_pairs),
        *not_issued(predictions, runs),
        *(entry(run, CELLS, n) for run, n in zip([*runs, None], together.cells_left_out, strict=False) if n),
        *([entry(None, OUTSIDE, sites.outside, sites.outside + truth.shape[1])] if sites.outside else []),
        *(entry(run, LEARNT, n, len(days)) for run, n in learnt.items()),
        *(entry(run, VALUES, n) for run, n in [*zip([None, *runs], outside, strict=True), *off_range.items()] if n),
    ]
    with writing(out) as scratch, on_workers(workers, scheduler) as do:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        kept = scratch / "pairs.zarr"
        write_pairs(series.assign_attrs(attributes), kept)
        # Read again a lead at a time, here as by workers.
        del series, predicted, spreads, common
        job = LeadJob(
            kept,
            runs,
            gaussian,
            references=_references(runs),
            labels=labels,
            known=pairs,
            min_pairs=min_pairs,
            named=named,
        )
        found: list[OfLead] = []
        for of_lead in do(job, range(len(leads))):
            found.append(of_lead)
            progress(what, len(found) / (len(leads) + 1))
        found.sort(key=lambda of_lead: of_lead.number)
        scores = _store_of(found, coords, pairs, labels).assign_attrs(attributes)
        scores.to_zarr(scratch / "scores.zarr", zarr_format=3, consolidated=False)
        written = {
            name: ([row for of_lead in found for row in getattr(of_lead, name)], columns)
            for name, columns in (("scores", COLUMNS), ("strata", STRATA_COLUMNS), ("comparisons", COMPARED_COLUMNS))
        }
        if products:
            at = int(leads.argmin())
            rows = _product_tables(
                named, runs, read_lead(kept, at, gaussian), analysed, labels, lead=int(leads[at]), min_pairs=min_pairs
            )
            written["products"] = rows, STRATA_COLUMNS
        write_left_out(left_out, named, scratch / "left_out.csv")
        for name, (rows, columns) in written.items():
            table = pd.DataFrame(rows, columns=columns)
            table["remarks"] = [noted.get(run, "") for run in table[list(KEYS)].itertuples(index=False, name=None)]
            table.to_csv(scratch / f"{name}.csv", index=False, float_format="%.6g")
    progress(what, 1.0)
    return _say_left_out(out, progress)


def _say_left_out(out: Path, progress: Progress) -> Path:
    for line in told(out / "left_out.csv"):
        progress(f"{out.name}, {line}", 1.0)
    return out


def _common(
    predicted: Array, spreads: Sequence[Array | None], truth: Array, min_pairs: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Samples (lead, day, site) that count, and the most (run, lead) that a store has by itself at a site.

    A store without pairs enough at a lead is made NaN there.
    """
    most = np.zeros(predicted.shape[:2], np.int64)
    known = np.broadcast_to(np.isfinite(truth), predicted.shape[1:])
    common, of_all, some = known.copy(), known.copy(), np.zeros(len(known), bool)
    for of_run, spread, at_most in zip(predicted, spreads, most, strict=True):
        finite = known & np.isfinite(of_run) & (True if spread is None else spread >= 0)
        at_most[:] = finite.sum(axis=1).max(axis=1)
        enough = at_most >= min_pairs
        of_run[~enough] = np.nan
        common[enough] &= finite[enough]
        of_all &= finite
        some |= enough
    common[~some] = of_all[~some]
    return common, most


def _series(
    predicted: Array, spreads: Sequence[Array | None], truth: Array, counts: NDArray[np.bool_]
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Variables of the store of pairs, predictions at the sites that count."""
    dims = ("run", "lead_days", "time", "site")
    found = {"predicted": (dims, np.where(counts[:, None], predicted, np.nan)), "observed": (dims[2:], truth)}
    if any(spread is not None for spread in spreads):
        empty = np.full(predicted.shape[1:], np.nan, np.float32)
        filled = np.stack([empty if spread is None else spread for spread in spreads])
        found["spread"] = dims, np.where(counts[:, None], filled, np.nan)
    return found


def _store_of(
    found: Sequence[OfLead], coords: dict[str, Any], pairs: NDArray[np.int64], labels: dict[str, Labels]
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


def _product_tables(
    named: dict[str, Any],
    runs: Sequence[Run],
    of_lead: tuple[list[int], Array, Array, list[Array | None]],
    products: dict[str, Array],
    labels: dict[str, Labels],
    *,
    lead: int,
    min_pairs: int,
) -> list[dict[str, Any]]:
    """Rows of products and runs on the samples all have; by network, land cover, and both at once."""
    there, predicted, truth, spreads = of_lead
    values = np.stack([*products.values(), *predicted])
    truth = np.where(np.isfinite(values).all(axis=0), truth, np.nan)
    pairs = np.isfinite(truth).sum(axis=0)
    counts = pairs >= min_pairs
    truth = np.where(counts, truth, np.nan)
    scored = score(values, truth, [*(None for _ in products), *spreads], references={}, counts=counts)
    all_runs = [*((name, "analysis", "all") for name in products), *(runs[r] for r in there)]
    kinds: dict[str, Labels] = {kind: labels[kind] for kind in ("network", "land_cover") if kind in labels}
    if len(kinds) == 2:
        kinds["network / land_cover"] = crossed(labels, "network", "land_cover")
    rows = []
    for kind, name, at in [("all", "all", np.arange(truth.shape[1])), *classes(kinds)]:
        for r, row in scored.over_sites(at):
            size = size_of(0 if r < len(products) else lead, pairs[at], counts[at])
            rows.append(named | dict(zip(KEYS, all_runs[r], strict=True)) | size | row | {"kind": kind, "class": name})
    return rows


def _references(runs: Sequence[Run]) -> dict[str, list[int | None]]:
    """Skill scores there are, and for each run the run it is measured against."""
    found: dict[str, list[int | None]] = {}
    for name in ("persistence", "climatology"):
        if known := [i for i, run in enumerate(runs) if run[:2] == (name, "none")]:
            by_scenario = {runs[i][2]: i for i in known}
            found[f"skill_{name}"] = [by_scenario.get(run[2], known[0]) for run in runs]
    return found


def _text(words: Iterable[Any]) -> NDArray[np.object_]:
    """Words as Zarr v3 can keep them: of any length."""
    return np.array([str(word) for word in words], dtype=object)


def _days(
    predictions: Sequence[xr.Dataset],
    leads: NDArray[np.int64],
    series: xr.DataArray,
    period: tuple[str, str] | None,
    enough: NDArray[np.bool_] | None = None,
) -> pd.DatetimeIndex:
    """Valid days that may be observed and any store predicts; at some lead all those that have ``enough`` (run, lead).

    Of leads at which none has enough nothing is asked; where that is all of them it is as without.
    """
    ahead = pd.to_timedelta(leads, unit="D").to_numpy()
    first, last = (
        np.array([of(store.init_time.values) for store in predictions])[:, None] + ahead for of in (np.min, np.max)
    )
    begin, end = pd.Timestamp(first.min()), pd.Timestamp(last.max())
    if enough is not None and enough.any():
        of_leads = list(zip(first.T, last.T, enough.T, strict=True))
        begin = min(pd.Timestamp(some[these].max()) for some, _, these in of_leads if these.any())
        end = max(pd.Timestamp(some[these].min()) for _, some, these in of_leads if these.any())
    begin = max(begin, pd.Timestamp(series.time.values[0]))
    end = min(end, pd.Timestamp(series.time.values[-1]))
    if period is not None:
        begin, end = max(begin, pd.Timestamp(period[0])), min(end, pd.Timestamp(period[1]))
    if end < begin:
        asked = f" within {period[0]} .. {period[1]}" if period else ""
        raise VadoseError(f"no day{asked} is both predicted by every store and in the record of the observations")
    return pd.date_range(begin, end)
