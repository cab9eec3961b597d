"""Downscaling at stations: every model in every scenario, scored on identical station-days."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, made_from, note_inputs, provenance, writing
from vadose.artefact.checkpoint import save
from vadose.errors import VadoseError
from vadose.evaluation.station_samples import WHOLE
from vadose.evaluation.station_series import evaluate_series
from vadose.experiments.downscaling import CrossRegion, Downscaling, DownscalingRun
from vadose.experiments.studies.for_maps import calibrate_networks, join_ensembles
from vadose.experiments.studies.place_maps import map_place
from vadose.models.mixture import mixture
from vadose.parallel.progress import Progress
from vadose.parallel.running import Running
from vadose.predict.calibration import coverage_table
from vadose.predict.explain import importances
from vadose.reports.page import build_tables_report
from vadose.reports.xu_2025 import Beside, FineMaps, downscaling_tables
from vadose.samples.folds import Fold, blocked, cross_region, network, off_site, on_site
from vadose.samples.normals import climatology
from vadose.samples.station_days import DEVIATION, NORMAL, StationDays
from vadose.training.alignment import Alignment
from vadose.training.loop import Log, write_history
from vadose.training.station_days import DownscalingNetwork, estimate, fit, load
from vadose.training.trees import estimate_trees, fit_trees

Array = NDArray[np.float32]
LEVELS = (0.5, 0.9)
"""Of the intervals whose coverage is told."""
SCENARIOS = ("on-site", "off-site", "cross-region", "blocked", "network")


def study_downscaling(
    experiment: Downscaling,
    table_path: Path,
    out: Path,
    *,
    title: str,
    scenarios: Sequence[str] | None = None,
    granules: Path | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Fit and test every run in every fold, score all on identical samples, write tables, figures and a report.

    Written under ``out``: ``runs/SCENARIO/FOLD/RUN``, ``predictions/SCENARIO.zarr``, ``evaluation`` of the models,
    ``beside/PRODUCT`` of the models and a product on the days that it has, ``paper`` with the tables and figures of Xu
    et al. (2025), ``coverage.csv`` where models have deviations, ``importances.csv`` of the networks to explain,
    ``report.html``, ``scores.csv`` and ``products.csv``, and ``place`` with the maps of Figure 9. Each is left alone
    when it was made of the same inputs: an interrupted study goes on where it stopped.

    Parameters
    ----------
    experiment
        See `vadose.experiments.downscaling.load_downscaling`.
    table_path
        Made by `vadose.cube.station_table.build_station_table`.
    scenarios
        Those of the experiment to run; all when left out.
    granules
        Folder of a folder a product, to map the experiment's ``place`` from.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    VadoseError
        When a feature is not in the table, a scenario not in the experiment, none of the listed stations in the table,
        or nothing is left to test.
    """
    if made_from(table_path) is None:
        raise VadoseError(f"{table_path}: not a table of station-days")
    made_of = identity(table_path)
    table = xr.open_zarr(table_path, consolidated=False).sel(time=slice(f"{experiment.first}", f"{experiment.last}"))
    table = _listed(table, experiment.station_list, table_path, progress).load()
    names = [name for name in SCENARIOS if getattr(experiment.scenarios, name.replace("-", "_"))]
    if unknown := [name for name in scenarios or () if name not in names]:
        raise VadoseError(f"unknown scenario {unknown}; the experiment has {names}")
    predictions = {}
    for scenario in scenarios or names:
        folds = list(_folds(experiment, table, scenario))
        if not folds:
            progress(f"{scenario}: no day to test in the table", 1.0)
            continue
        store = _predict(experiment, table, scenario, folds, out, made_of, progress)
        predictions[scenario] = xr.open_zarr(store, consolidated=False).load()
    if not predictions:
        raise VadoseError(
            f"{table_path}: none of {list(scenarios or names)} has a day to test between "
            f"{experiment.first} and {experiment.last}"
        )
    progress("scoring", 0.0)
    own = {scenario: of.sel(model=_without(of, experiment.products)) for scenario, of in predictions.items()}
    evaluation = evaluate_series(own, out / "evaluation", table=table, min_pairs=experiment.min_pairs)
    products = _beside_products(experiment, table, predictions, out, progress)
    progress("scoring", 1.0)
    _coverage(own, out, progress)
    calibrate_networks({name: run.dropout_passes for name, run in experiment.runs.items()}, own, out, progress)
    join_ensembles(experiment.ensembles, own, out)
    calibrate_networks(dict.fromkeys(experiment.ensembles), own, out, progress)
    weighed = _importances(experiment, table, predictions, out, progress) if experiment.explained else None
    progress("drawing tables and figures", 0.0)
    borders = (experiment.scenarios.cross_region or CrossRegion()).borders
    maps = _maps(experiment, table, made_of, granules, out, progress)
    beside = Beside(table, weighed, maps, products, borders)
    paper = downscaling_tables(evaluation, predictions, out / "paper", run=experiment.shown, beside=beside)
    progress("drawing tables and figures", 1.0)
    with writing(out / "scores.csv") as scratch:
        scratch.write_bytes((evaluation / "scores.csv").read_bytes())
    return build_tables_report(paper, out / "report.html", title=title, simulated=table.attrs["simulated"] == "true")


def _listed(table: xr.Dataset, names: Sequence[str], path: Path, progress: Progress) -> xr.Dataset:
    """The stations of a list, all where it is empty."""
    if not names:
        return table
    known = np.isin(table.station.values.astype(object), names)
    if not known.any():
        some = list(map(str, table.station.values[:3]))
        raise VadoseError(f"{path}: none of the {len(names)} stations of the list is there; it holds such as {some}")
    progress(f"{int(known.sum())} of the {len(names)} stations of the list are in the table", 1.0)
    return table.isel(station=known)


def _without(of: xr.Dataset, products: Sequence[str]) -> list[str]:
    return [str(name) for name in of.model.values if name not in products]


def _beside_products(
    experiment: Downscaling, table: xr.Dataset, predictions: dict[str, xr.Dataset], out: Path, progress: Progress
) -> dict[str, Path]:
    """Evaluations of all models with one product each, on the days that it has: so no product costs another its days.

    ``products.csv`` holds their scores, the product in the column ``days_of``.
    """
    found: dict[str, Path] = {}
    for product in experiment.products:
        others = [name for name in experiment.products if name != product]
        given = {
            scenario: of.sel(model=_without(of, others))
            for scenario, of in predictions.items()
            if product in of.model.values
            and bool((of.predicted.sel(model=product).notnull() & of.observed.notnull()).any())
        }
        if not given:
            progress(f"{product}: no observed station-day has it; it is not scored", 1.0)
            continue
        try:
            folder = out / "beside" / product
            found[product] = evaluate_series(given, folder, table=table, min_pairs=experiment.min_pairs)
        except VadoseError as error:
            progress(f"{product} is not scored: {error}", 1.0)
    if found:
        scores = [pd.read_csv(folder / "scores.csv").assign(days_of=product) for product, folder in found.items()]
        with writing(out / "products.csv") as scratch:
            pd.concat(scores).to_csv(scratch, index=False)
    return found


def _maps(
    experiment: Downscaling, table: xr.Dataset, made_of: str, granules: Path | None, out: Path, progress: Progress
) -> FineMaps | str:
    """Maps of the experiment's place by a network trained on all station-days, ``place/RUN``, or why there are none."""
    place = experiment.place
    if place is None or granules is None:
        return (
            "the experiment names no place to map" if place is None else "no granules are given to map the place from"
        )
    run, folder = experiment.runs[place.run], out / "place"
    stations = experiment.stations()
    learnt = np.isfinite(table.soil_moisture.transpose("station", "time").values)
    if stations is not None:
        learnt &= np.isin(table.station.values.astype(object), stations)[:, None]
    inputs = {"table": made_of, "run": run.made_of(), "stations": stations, "station_list": experiment.station_list}
    _run(run, table, "all", Fold("all", learnt, learnt), folder / place.run, inputs, progress)
    return map_place(place, run, folder / place.run / "model.pt", granules, folder, progress)


def _coverage(predictions: dict[str, xr.Dataset], out: Path, progress: Progress) -> None:
    """Coverage and width of intervals, as models give them and calibrated, of the scenarios that allow it."""
    parts = []
    for scenario, store in predictions.items():
        if not np.isfinite(store.predicted_std.values).any():
            continue
        try:
            parts.append(coverage_table({scenario: store}, LEVELS))
        except VadoseError as error:
            progress(f"no calibrated intervals: {error}", 1.0)
    if parts:
        with writing(out / "coverage.csv") as scratch:
            pd.concat(parts).to_csv(scratch, index=False, float_format="%.5g")


def _importances(
    experiment: Downscaling, table: xr.Dataset, predictions: dict[str, xr.Dataset], out: Path, progress: Progress
) -> Path:
    """What moves the estimates of the networks to explain, fold by fold and as the mean of the folds ('all').

    Folds share most of what they learn from: the ends of an interval are averaged as the share is.
    """
    path = out / "importances.csv"
    parts = []
    for scenario in predictions:
        folds = list(_folds(experiment, table, scenario))
        for name in experiment.explained:
            run, of_folds = experiment.runs[name], []
            for done, fold in enumerate(folds):
                progress(f"weighing features, {scenario} {name}", done / len(folds))
                checkpoint = load(out / "runs" / scenario / fold.name / name / "model.pt")
                days = StationDays(table, run.features(_own(run, scenario)), fold.training)
                found = importances(checkpoint, days, fold.test & np.isfinite(days.observed))
                of_folds.append(found.assign(scenario=scenario, fold=fold.name, model=name))
            keys = ["feature", "stream", "scenario", "model"]
            mean = pd.concat(of_folds).groupby(keys, sort=False)[["percent", "low", "high"]].mean().reset_index()
            parts += [*of_folds, mean.assign(fold=WHOLE).sort_values("percent", ascending=False)]
            progress(f"weighing features, {scenario} {name}", 1.0)
    with writing(path) as scratch:
        pd.concat(parts).to_csv(scratch, index=False, float_format="%.4g")
    return path


def _own(run: DownscalingRun, scenario: str) -> tuple[str, ...]:
    """Features of a station's own past, which is known on-site alone."""
    return (NORMAL, DEVIATION) if run.local and scenario == "on-site" else ()


def _folds(experiment: Downscaling, table: xr.Dataset, scenario: str) -> Iterator[Fold]:
    """Folds of a scenario that have a day to test."""
    named = experiment.stations()
    stations = table.station.values.astype(object)
    learnt = np.ones(len(stations), bool) if named is None else np.isin(stations, named)
    if not learnt.any():
        raise VadoseError(f"none of the training stations ({experiment.learn_from}) is in the table")
    held = experiment.scenarios
    if scenario == "on-site" and held.on_site:
        return on_site(table, learnt, **held.on_site.model_dump())
    if scenario == "off-site" and held.off_site:
        return off_site(table, learnt, **held.off_site.model_dump())
    if scenario == "cross-region" and held.cross_region:
        return cross_region(table, learnt, **held.cross_region.model_dump())
    if scenario == "network" and held.network:
        return network(table, learnt, **held.network.model_dump())
    assert held.blocked is not None
    return blocked(table, learnt, **held.blocked.model_dump())


def _predict(
    experiment: Downscaling,
    table: xr.Dataset,
    scenario: str,
    folds: list[Fold],
    out: Path,
    made_of: str,
    progress: Progress,
) -> Path:
    """The store of all models' estimates of the station-days tested."""
    setting = getattr(experiment.scenarios, scenario.replace("-", "_")).model_dump()
    of_all = {
        "table": made_of,
        "scenario": scenario,
        "setting": setting,
        "learn_from": experiment.learn_from,
        "days": [str(experiment.first), str(experiment.last)],
    } | ({"station_list": experiment.station_list} if experiment.station_list else {})
    store = out / "predictions" / f"{scenario}.zarr"
    runs = {name: run.made_of() for name, run in experiment.runs.items()}
    files = {
        (fold.name, name): out / "runs" / scenario / fold.name / name / "estimates.npz"
        for fold in folds
        for name in runs
    }
    for fold in folds:
        for name, run in experiment.runs.items():
            made_of_run = of_all | {"fold": fold.name, "run": runs[name]}
            _run(run, table, scenario, fold, files[fold.name, name].parent, made_of_run, progress)
    inputs = of_all | {
        "runs": runs,
        "mixtures": experiment.ensembles,
        "products": experiment.products,
        "estimates": identity(*files.values()),
    }
    if is_current(store, **inputs):
        return store
    dataset = _estimates(experiment, table, scenario, folds, files)
    dataset.attrs |= provenance(**inputs)
    with writing(store) as scratch:
        dataset.to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return store


def _estimates(
    experiment: Downscaling, table: xr.Dataset, scenario: str, folds: list[Fold], files: Mapping[tuple[str, str], Path]
) -> xr.Dataset:
    """Estimates of all runs, their mixtures and the products on the station-days tested; ``files`` by fold and run."""
    shape = (table.sizes["station"], table.sizes["time"])
    fold_of = np.full(shape, -1, np.int16)
    found: dict[str, tuple[Array, Array]] = {}
    for fold_number, fold in enumerate(folds):
        fold_of[fold.test] = fold_number
        for name in experiment.runs:
            kept = np.load(files[fold.name, name])
            for target, key in zip(_of_model(found, name, shape), ("mean", "std"), strict=True):
                target[fold.test] = kept[key]
    for name, members in experiment.ensembles.items():
        found[name] = mixture(found[member] for member in members)
    for name in (product for product in experiment.products if product in table):
        values = table[name].transpose("station", "time").values.astype(np.float32)
        found[name] = np.where(fold_of >= 0, values, np.float32(np.nan)), np.full(shape, np.nan, np.float32)
    dims = ("model", "station", "time")
    return xr.Dataset(
        {
            "predicted": (dims, np.stack([mean for mean, _ in found.values()])),
            "predicted_std": (dims, np.stack([std for _, std in found.values()])),
            "observed": (dims[1:], table.soil_moisture.transpose("station", "time").values),
            "fold": (dims[1:], fold_of),
        },
        coords={
            "model": np.array(list(found), object),
            "station": table.station.values.astype(object),
            "network": ("station", table.network.values.astype(object)),
            "time": table.time.values,
            "lat": ("station", table.lat.values),
            "lon": ("station", table.lon.values),
            "elevation": ("station", table.elevation.values),
        },
        attrs={key: table.attrs[key] for key in ("dataset", "simulated", "mode")}
        | {"folds": json.dumps([fold.name for fold in folds]), "scenario": scenario}
        | {"learnt_days": json.dumps({fold.name: int(fold.training.sum()) for fold in folds})},
    )


def _run(
    run: DownscalingRun,
    table: xr.Dataset,
    scenario: str,
    fold: Fold,
    folder: Path,
    inputs: Mapping[str, object],
    progress: Progress,
) -> None:
    """Fit a run in a fold and keep its estimates of the station-days tested."""
    if is_current(folder, **inputs):
        return
    what = f"{scenario} {fold.name} {folder.name}"
    own = _own(run, scenario)
    checkpoint: dict[str, Any] | None = None
    log: Log = []
    if run.model != "climatology":
        days = StationDays(table, run.features(own), fold.training)
    if run.model == "climatology":
        observed = table.soil_moisture.transpose("station", "time").values.astype(np.float32)
        learnt = np.where(fold.training, observed, np.float32(np.nan))
        mean, std = climatology(learnt, table.time.values.astype("datetime64[D]").astype(np.int64))
    elif run.model == "trees":
        progress(f"fitting {what}", 0.0)
        mean, std = estimate_trees(fit_trees(days, fold.training, **run.hyper, limit=run.limit), fold.test)
        progress(f"fitting {what}", 1.0)
    else:
        hyper = run.hyper | ({"local": own} if own and run.model == "long_mmnet" else {})
        network = DownscalingNetwork(run.model, hyper, run.fitting)
        alignment = Alignment(fold.test, run.align, run.align_weight) if run.align else None
        checkpoint, log = fit(days, table, fold.training, network, alignment=alignment, what=what, progress=progress)
        said = ("dataset", "mode", "simulated", "layer")
        checkpoint["attributes"] = {key: table.attrs[key] for key in said if key in table.attrs}
        checkpoint["attributes"]["model"] = folder.name
        if run.dropout_passes:
            checkpoint["dropout_passes"] = run.dropout_passes
        running = Running(run.fitting.device, "float32", compile=False)
        mean, std = estimate(checkpoint, days, fold.test, passes=run.dropout_passes, running=running)
    with writing(folder) as scratch:
        scratch.mkdir()
        np.savez_compressed(scratch / "estimates.npz", mean=mean[fold.test], std=std[fold.test])
        if checkpoint is not None:
            save(checkpoint, scratch / "model.pt")
            write_history(log, scratch)
        note_inputs(scratch, **inputs)


def _of_model(found: dict[str, tuple[Array, Array]], name: str, shape: tuple[int, int]) -> tuple[Array, Array]:
    if name not in found:
        found[name] = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    return found[name]
