"""Stores of predictions to tables of scores, all models on identical samples."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import is_current, note_inputs, provenance, writing
from vadose.errors import VadoseError
from vadose.evaluate import intervals
from vadose.evaluate.collocate import VARIABLE, Sites, by_valid_day, observed_variable, sites_of
from vadose.evaluate.leads import KEYS, LeadJob, OfLead, Run, read_lead, size_of, write_pairs
from vadose.evaluate.paired import score
from vadose.evaluate.strata import Labels, classes, crossed, labels_at, strata_of
from vadose.workers import on_workers

SPREAD = "soil_moisture_std"
COLUMNS = [
    "dataset", *KEYS, "layer", "lead_days", "metric", "median", "lower", "upper", "n_sites", "n_pairs", "q25", "q75",
]  # fmt: skip
STRATA_COLUMNS = [*COLUMNS[:-2], "kind", "class", *COLUMNS[-2:]]
COMPARED_COLUMNS = [
    *COLUMNS[:4], "baseline", "baseline_weather", "baseline_scenario", *COLUMNS[4:-2], "share_better",
]  # fmt: skip
Array = NDArray[np.floating]
Progress = Callable[[str, float], None]


def evaluate(
    predictions: Sequence[xr.Dataset],
    observed: xr.Dataset,
    *,
    out: Path,
    period: tuple[str, str] | None = None,
    min_pairs: int = 60,
    block_days: int = 30,
    replicates: int = 1000,
    seed: int = 0,
    strata: Mapping[str, Sequence[str]] | None = None,
    cube: xr.Dataset | None = None,
    products: Mapping[str, xr.DataArray] | None = None,
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

    - ``scores.csv``: median over sites of each score with its 95 % interval, and quartiles over sites;
    - ``strata.csv``: the same over the sites of each class of each kind, as land covers;
    - ``comparisons.csv``: median over sites of a run's score minus every other run's, the same samples;
    - ``products.csv``, where products are given: their scores, and the runs' at the shortest lead;
    - ``scores.zarr``: (run, lead_days, site, metric) value, lower, upper, the pairs counted, and the class of
      each site (kind, site);
    - ``pairs.zarr``: the series themselves.

    Intervals come from a moving-block bootstrap in time, with sites drawn anew for medians. Where a store holds
    ``soil_moisture_std`` there are also the mean CRPS of its Gaussian forecasts and the share of days on which
    their central 50 and 90 % hold the observation. The CRPS of a forecast of a single value is its mean
    absolute error, and stands under ``crps`` for stores without; their coverage is NaN.

    Workers score a lead each, of the pairs that this process has brought together and written; so no more of them are
    of use than there are leads. The tables are those of one process. A worker that dies costs the lead it was at.

    Parameters
    ----------
    predictions
        Stores as `vadose.forecast.forecast` writes them; with persistence and climatology among
        them there are skill scores against these: those of a run's own scenario, else the first.
    observed
        A cube, whose variable is the one the stores name in the attribute ``observed``, or a station store.
    period
        First and last valid day; all days predicted when left out.
    strata
        Kind -> label of each station or cell of ``observed``, row by row, beside those of
        `vadose.evaluate.strata.strata_of`; '' for none.
    cube
        Where ``observed`` is a station store: fields for the strata.
    products
        Name -> analyses (time, y, x) of the predictions' grid, which are no forecasts. They are scored in a table
        of their own, on days that all of them, the observations and all runs have, lest their gaps take samples
        from the models. Their ``weather`` is 'analysis', their lead 0.
    workers
        Processes on this machine.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, whose workers see the folder ``out`` lies in.

    Raises
    ------
    VadoseError
        When stores do not fit together, nothing is left to score, or no scheduler answers.

    References
    ----------
    Kunsch (1989), doi:10.1214/aos/1176347265.
    """
    runs = [_key(store) for store in predictions]
    _agree(predictions, runs)
    inputs = {
        "predictions": [dict(store.attrs) for store in predictions], "products": sorted(products or {}),
        "observed": observed.attrs.get("inputs"), "cube": None if cube is None else cube.attrs.get("inputs"),
        "period": period, "min_pairs": min_pairs, "block_days": block_days,
        "replicates": replicates, "seed": seed, "strata": {k: list(map(str, v)) for k, v in (strata or {}).items()},
    }  # fmt: skip
    if observed.attrs.get("inputs") and is_current(out, **inputs):
        return out
    what = f"evaluating {out.name}"
    progress(what, 0.0)
    first = predictions[0]
    leads = first.lead_time.values.astype("timedelta64[D]").astype(int)
    sites = sites_of(observed, first)
    days = _days(predictions, leads, sites.observed, period)
    truth = sites.observed.reindex(time=days).values.astype(float)  # (day, site)
    predicted = np.stack([by_valid_day(store, VARIABLE, sites, leads, days) for store in predictions])
    spreads = [by_valid_day(store, SPREAD, sites, leads, days) if SPREAD in store else None for store in predictions]
    common = _common(predicted, spreads, truth, min_pairs)
    pairs = common.sum(axis=1)
    counts = pairs >= min_pairs
    if not counts.any():
        raise VadoseError(
            f"no site has {min_pairs} pairs between {days[0]:%Y-%m-%d} and {days[-1]:%Y-%m-%d}: the most found is "
            f"{int(pairs.max())}; give a longer period, or lower --min-pairs"
        )
    labels = _labels(observed, cube, strata, sites, first.attrs["layer"])
    of_cube = "layer" not in observed.dims
    dataset = first.attrs["dataset"] if of_cube else str(observed.attrs.get("dataset", "stations"))
    named = {"dataset": dataset, "layer": first.attrs["layer"]}
    bootstrap = {"block": intervals.block_of(len(days), block_days), "replicates": replicates, "seed": seed}
    attributes = {
        **named,
        **{key: first.attrs.get(key, "") for key in ("simulated", "cell_size", "grid_step")},
        "causal": "true" if all(store.attrs["causal"] == "true" for store in predictions) else "false",
        "observed": "stations" if sites.of == "stations" else "cube",
        "observed_variable": observed_variable(first) if of_cube else VARIABLE,
        "stations_outside": str(sites.outside),
        "first_day": f"{days[0]:%Y-%m-%d}", "last_day": f"{days[-1]:%Y-%m-%d}",
        "min_pairs": min_pairs, "block_days": bootstrap["block"], "replicates": replicates, "seed": seed,
        **provenance(**inputs),
    }  # fmt: skip
    coords: dict[str, Any] = {
        "run": _text("|".join(run) for run in runs),
        **{key: ("run", _text(run[i] for run in runs)) for i, key in enumerate(KEYS)},
        "lead_days": leads, "site": _text(sites.observed.site.values),
        "lat": ("site", sites.observed.lat.values), "lon": ("site", sites.observed.lon.values),
    }  # fmt: skip
    gaussian = [spread is not None for spread in spreads]
    series = _series(predicted, spreads, truth, counts)
    analysed = _analyses(products or {}, first, sites, days)
    with writing(out) as scratch, on_workers(workers, scheduler) as do:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        kept = scratch / "pairs.zarr"
        write_pairs(xr.Dataset(series, coords=coords | {"time": days}, attrs=attributes), kept)
        # Read again a lead at a time, here as by workers.
        del series, predicted, spreads, common
        job = LeadJob(
            kept, runs, gaussian, references=_references(runs), labels=labels, known=pairs, min_pairs=min_pairs,
            named=named, **bootstrap,
        )  # fmt: skip
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
                named, runs, read_lead(kept, at, gaussian), analysed, labels, lead=int(leads[at]), min_pairs=min_pairs,
                **bootstrap,
            )  # fmt: skip
            written["products"] = rows, STRATA_COLUMNS
        for name, (rows, columns) in written.items():
            pd.DataFrame(rows, columns=columns).to_csv(scratch / f"{name}.csv", index=False, float_format="%.6g")
    progress(what, 1.0)
    return out


def _common(predicted: Array, spreads: Sequence[Array | None], truth: Array, min_pairs: int) -> NDArray[np.bool_]:
    """Samples (lead, day, site) that count; a store without pairs enough at a lead is made NaN there."""
    known = np.broadcast_to(np.isfinite(truth), predicted.shape[1:])
    common, of_all, some = known.copy(), known.copy(), np.zeros(len(known), bool)
    for of_run, spread in zip(predicted, spreads, strict=True):
        finite = known & np.isfinite(of_run) & (True if spread is None else spread >= 0)
        enough = (finite.sum(axis=1) >= min_pairs).any(axis=1)
        of_run[~enough] = np.nan
        common[enough] &= finite[enough]
        of_all &= finite
        some |= enough
    common[~some] = of_all[~some]
    return common


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
    values = {name: np.stack([getattr(of_lead, name) for of_lead in found], axis=1)
              for name in ("value", "lower", "upper")}  # fmt: skip
    scores = xr.Dataset(
        {name: (dims, of_leads) for name, of_leads in values.items()} | {"pairs": (("lead_days", "site"), pairs)},
        coords=coords | {"metric": _text(found[0].metrics)},
    )
    if labels:
        scores["stratum"] = ("kind", "site"), np.stack(list(labels.values()))
        scores = scores.assign_coords(kind=_text(labels))
    return scores


def _product_tables(
    named: dict[str, Any], runs: Sequence[Run], of_lead: tuple[list[int], Array, Array, list[Array | None]],
    products: dict[str, Array], labels: dict[str, Labels],
    *, lead: int, min_pairs: int, block: int, replicates: int, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of products and runs on the samples all have; by network, land cover, and both at once."""
    there, predicted, truth, spreads = of_lead
    values = np.stack([*products.values(), *predicted])
    truth = np.where(np.isfinite(values).all(axis=0), truth, np.nan)
    pairs = np.isfinite(truth).sum(axis=0)
    counts = pairs >= min_pairs
    truth = np.where(counts, truth, np.nan)
    drawn = intervals.draw(len(truth), truth.shape[1], block=block, replicates=replicates, seed=seed)
    scored = score(values, truth, [*(None for _ in products), *spreads], drawn, references={}, counts=counts)
    all_runs = [*((name, "analysis", "all") for name in products), *(runs[r] for r in there)]
    kinds: dict[str, Labels] = {kind: labels[kind] for kind in ("network", "land_cover") if kind in labels}
    if len(kinds) == 2:
        kinds["network / land_cover"] = crossed(labels, "network", "land_cover")
    groups = [("all", "all", np.arange(truth.shape[1]), drawn.sites)]
    groups += [(kind, name, at, intervals.draw_among(at, replicates, seed)) for kind, name, at in classes(kinds)]
    rows = []
    for kind, name, at, again in groups:
        for r, row in scored.over_sites(at, again):
            size = size_of(0 if r < len(products) else lead, pairs[at], counts[at])
            rows.append(named | dict(zip(KEYS, all_runs[r], strict=True)) | size | row | {"kind": kind, "class": name})
    return rows


def _analyses(
    products: Mapping[str, xr.DataArray], first: xr.Dataset, sites: Sites, days: pd.DatetimeIndex
) -> dict[str, Array]:
    """Products at the sites (day, site), refused where they lie on another grid."""
    found = {}
    for name, values in products.items():
        if set(values.dims) != {"time", "y", "x"} or any(
            not np.array_equal(values[axis].values, first[axis].values) for axis in ("y", "x")
        ):
            raise VadoseError(
                f"product {name}: dims {dict(values.sizes)}; give (time, y, x) on the grid of the predictions, "
                f"y {first.sizes['y']}, x {first.sizes['x']}"
            )
        ordered = values.transpose("time", "y", "x").reindex(time=days)
        found[name] = ordered.values[:, sites.rows, sites.columns].astype(float)
    return found


def _labels(
    observed: xr.Dataset, cube: xr.Dataset | None, strata: Mapping[str, Sequence[str]] | None, sites: Sites, layer: str
) -> dict[str, Labels]:
    """Class of each site by kind; a kind of which no site has any is left out."""
    found: dict[str, Any] = {**strata_of(observed, cube, layer=layer), **(strata or {})}
    is_cube = "layer" not in observed.dims
    places = observed.sizes["y"] * observed.sizes["x"] if is_cube else observed.sizes["station"]
    labels = labels_at(found, sites, places)
    return {kind: of_site for kind, of_site in labels.items() if (of_site != "").any()}


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


def _key(store: xr.Dataset) -> Run:
    """Model, weather and scenario of a store, refused when it does not say all that a score has to."""
    needed = (*KEYS, "layer", "dataset", "simulated", "causal")
    if missing := [key for key in needed if key not in store.attrs]:
        raise VadoseError(f"a prediction store lacks the attributes {missing}; make stores with: vadose forecast")
    for name in {VARIABLE, SPREAD} & {VARIABLE, *store.data_vars}:
        if name not in store or set(store[name].dims) != {"init_time", "lead_time", "y", "x"}:
            raise VadoseError(
                f"the store of {store.attrs['model']} has no {name} (init_time, lead_time, y, x); "
                f"found {list(store.data_vars)}"
            )
    return str(store.attrs["model"]), str(store.attrs["weather"]), str(store.attrs["scenario"])


def _agree(predictions: Sequence[xr.Dataset], runs: list[Run]) -> None:
    """Refuse stores that cannot stand in one table."""
    if double := {run for run in runs if runs.count(run) > 1}:
        raise VadoseError(f"two stores are of {sorted(double)}: a table has one row a model, weather and scenario")
    first = predictions[0]
    for store, run in zip(predictions, runs, strict=True):
        for key in ("layer", "dataset", "simulated"):
            if store.attrs[key] != first.attrs[key]:
                raise VadoseError(f"{run[0]} is of {key} {store.attrs[key]!r}, {runs[0][0]} of {first.attrs[key]!r}")
        if observed_variable(store) != observed_variable(first):
            raise VadoseError(
                f"{run[0]} is scored against {observed_variable(store)}, {runs[0][0]} against "
                f"{observed_variable(first)}; evaluate them apart"
            )
        for name in ("lead_time", "y", "x"):
            if not np.array_equal(store[name].values, first[name].values):
                raise VadoseError(f"{run[0]} and {runs[0][0]} differ in {name}; score stores of equal leads and grid")


def _days(
    predictions: Sequence[xr.Dataset],
    leads: NDArray[np.int64],
    series: xr.DataArray,
    period: tuple[str, str] | None,
) -> pd.DatetimeIndex:
    """Valid days to score: those of the period, or all that were predicted and may be observed."""
    begin = max(pd.Timestamp(store.init_time.values.min()) for store in predictions) + pd.Timedelta(
        days=int(min(leads))
    )
    end = min(pd.Timestamp(store.init_time.values.max()) for store in predictions) + pd.Timedelta(days=int(max(leads)))
    begin = max(begin, pd.Timestamp(series.time.values[0]))
    end = min(end, pd.Timestamp(series.time.values[-1]))
    if period is not None:
        begin, end = max(begin, pd.Timestamp(period[0])), min(end, pd.Timestamp(period[1]))
    if end < begin:
        asked = f" within {period[0]} .. {period[1]}" if period else ""
        raise VadoseError(f"no day{asked} is both predicted by every store and in the record of the observations")
    return pd.date_range(begin, end)
