"""The whole pipeline, resumable: build, train, forecast, evaluate, report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import writing
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.experiments import Experiment
from vadose.experiments.studies.checks import min_pairs
from vadose.experiments.studies.pipeline import Pipeline
from vadose.parallel.progress import Progress, silent
from vadose.reports.page import build_report
from vadose.reports.rabiei_2025 import paper_tables


def study(
    experiment: Experiment,
    cube_path: Path,
    out: Path,
    *,
    title: str,
    stations: Path | None = None,
    progress: Progress = silent,
) -> Path:
    """Do all of an experiment on a cube and write its report.

    Written under ``out``: ``runs/NAME``, ``forecasts/PHASE/NAME.zarr``, ``evaluation/PHASE[-stations]``,
    ``scores.csv`` of the last phase, and ``report.html``; with several layers each of the folders holds one of
    each layer, and ``paper[-stations]`` the tables and figures of Rabiei et al. (2025) of the last phase. Each is
    left alone when it was made from the same inputs, so a stopped study goes on where it was.

    The phases are *validation*, forecast by the networks fitted on training days alone, and *test*,
    by those fitted anew on training and validation days; the latter only when the cube holds
    observations of the test period. Layers are gone through from the surface down, so that the runs below
    are given the forecasts of the layers above, never the observations. The rivals of an experiment stand in every
    table beside its runs, at the leads they reach: there all are scored on the days the rivals forecast too, so that
    days without one cost every run samples.

    Parameters
    ----------
    experiment
        See `vadose.experiments.load_experiment`.
    cube_path
        Made by `vadose.cube`.
    stations
        A station store, to score the same forecasts against stations too, and for runs that learn from them.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    VadoseError
        When the cube does not hold the periods of the experiment, or any stage or `vadose.experiments.studies.checks`
        finds its input wrong.
    """
    pipeline = Pipeline(experiment, cube_path, out / "runs", out / "forecasts", progress, stations)
    phases = pipeline.phases()
    evaluations: dict[str, list[Path]] = {phase: [] for phase in phases}
    truths: dict[str, xr.Dataset] = {"": pipeline.scored()}
    if stations:
        truths["-stations"] = pipeline.stations
    for layer in pipeline.layers:
        pipeline.train(layer)
        for phase, period in phases.items():
            stores = [xr.open_zarr(store, consolidated=False) for store in pipeline.forecast(layer, phase)]
            stores += pipeline.rivals(layer, stores[0])
            for suffix, observed in truths.items():
                folder = out / "evaluation" / f"{phase}{suffix}" / layer.folder
                what = f"evaluating {phase}{suffix} {layer.folder}".rstrip()
                progress(what, 0.0)
                evaluate(
                    stores,
                    observed,
                    out=folder,
                    period=(period.first, period.last),
                    min_pairs=min_pairs(experiment, phase),
                    allow_learnt_days=True,  # looked at by vadose.experiments.studies.checks; the tables say the rest
                    cube=pipeline.cube if suffix else None,
                    products={n: pipeline.cube[v] for n, v in layer.config.products.items()} if suffix else None,
                )
                progress(what, 1.0)
                evaluations[phase].append(folder)
    last = evaluations[list(phases)[-1]]
    with writing(out / "scores.csv") as scratch:
        tables = [pd.read_csv(folder / "scores.csv", dtype=str, keep_default_na=False) for folder in last]
        pd.concat(tables).to_csv(scratch, index=False)
    if len(pipeline.layers) > 1:
        phase, period = list(phases.items())[-1]
        for suffix in truths:
            progress(f"drawing the paper's figures {phase}{suffix}", 0.0)
            _draw_paper(pipeline, out, phase, period, suffix)
            progress(f"drawing the paper's figures {phase}{suffix}", 1.0)
    # The last phase is what counts: it comes first in the report.
    ordered = [folder for phase in list(phases)[::-1] for folder in evaluations[phase]]
    return build_report(ordered, out / "report.html", title=title)


def _draw_paper(pipeline: Pipeline, out: Path, phase: str, period: Period, suffix: str) -> None:
    """Tables and figures of Rabiei et al. (2025), with maps of the day in the middle of the phase."""
    shown = pipeline.shown()
    maps = {
        layer.name: xr.open_zarr(pipeline.store(layer, phase, shown), consolidated=False) for layer in pipeline.layers
    }
    first = next(iter(maps.values()))
    begin, end = pd.Timestamp(period.first), pd.Timestamp(period.last)
    middle = begin + (min(end, pd.Timestamp(pipeline.cube.time.values[-1])) - begin) // 2
    paper_tables(
        {layer.name: out / "evaluation" / f"{phase}{suffix}" / layer.folder for layer in pipeline.layers},
        out / f"paper{suffix}",
        run="|".join(first.attrs[key] for key in ("model", "weather", "scenario")),
        products=_score_products(pipeline, out) if suffix else None,
        # Stations one below the other make no map.
        forecasts=maps if pipeline.cube.attrs["grid_crs"] else None,
        cube=pipeline.cube,
        day=f"{middle:%Y-%m-%d}",
    )


def _score_products(pipeline: Pipeline, out: Path) -> dict[str, Path]:
    """Evaluations of each layer's products alone at the stations over all days of the cube, for Table 1."""
    cube, found = pipeline.cube, {}
    for layer in pipeline.layers:
        products = {name: cube[variable] for name, variable in layer.config.products.items()}
        if not products:
            continue
        # The first stands for the run that an evaluation is of, as if it were issued the day before.
        name, first = next(iter(products.items()))
        kept = {key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "simulated")}
        said = {"model": name, "weather": "none", "scenario": "all", "layer": layer.name, "causal": "true"}
        values = first.expand_dims(lead_time=[pd.Timedelta(days=1)]).rename(time="init_time").rename("soil_moisture")
        issued = values.assign_coords(init_time=values.init_time - np.timedelta64(1, "D"))
        store = issued.transpose("init_time", "lead_time", "y", "x").to_dataset().assign_attrs(kept | said)
        found[layer.name] = evaluate(
            [store.assign_attrs(observed=layer.config.observed)],
            pipeline.stations,
            out=out / "evaluation" / "products" / layer.folder,
            cube=cube,
            products=products,
            allow_learnt_days=True,
        )
    return found


def train_all(
    experiment: Experiment,
    cube: Path | xr.Dataset,
    out: Path,
    *,
    names: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Train the runs and blends of an experiment (all, or those named) and return their folders, ``out/NAME``.

    Where layers are forecast from those above, those forecasts are kept in ``out/.above``.
    """
    known = [*experiment.runs, *experiment.blends]
    if unknown := [name for name in names or () if name not in known]:
        raise VadoseError(f"unknown run {unknown}; the experiment has {known}")
    pipeline = Pipeline(experiment, cube, out, out / ".above", progress)
    return [folder for layer in pipeline.layers for folder in pipeline.train(layer, names)]
