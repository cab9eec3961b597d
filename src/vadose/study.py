"""The whole road in one resumable go: build, train, forecast, evaluate, report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import fingerprint, made_from, writing
from vadose.config import Experiment
from vadose.cube import open_cube
from vadose.errors import VadoseError
from vadose.evaluate import evaluate
from vadose.forecast import forecast
from vadose.report import build_report
from vadose.samples import Period, Samples
from vadose.train import Progress, blend, silent, train

MIN_PAIRS = {"validation": 10, "test": 60}
"""Fewest pairs for a cell or station to count; two months of validation hold fewer than a year."""


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

    Written under ``out``: ``runs/NAME``, ``forecasts/PHASE/NAME.zarr``,
    ``evaluation/PHASE[-stations]``, ``scores.csv`` of the last phase, and ``report.html``. Each is
    left alone when it was made from the same inputs, so a stopped study goes on where it was.

    The phases are *validation*, forecast by the networks fitted on training days alone, and *test*,
    by those fitted anew on training and validation days; the latter only when the cube holds
    observations of the test period.

    Parameters
    ----------
    experiment
        See `vadose.config.load_experiment`.
    cube_path
        Made by `vadose.cube`.
    stations
        A station store, to score the same forecasts against stations too.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    VadoseError
        When the cube does not hold the periods of the experiment, or any stage finds its input wrong.
    """
    cube = open_cube(cube_path).load()
    runs = train_all(experiment, cube_path, out / "runs", progress=progress)
    phases: list[list[Path]] = []
    for phase, checkpoint in (("validation", "selected.pt"), ("test", "final.pt")):
        period: Period = getattr(experiment.split, phase).period()
        if not _has_observations(cube, period):
            if phase == "validation":
                raise VadoseError(f"{cube_path}: no soil moisture between {period.first} and {period.last}")
            continue
        phases.append([])
        first = max(pd.Timestamp(period.first) - pd.Timedelta(days=max(experiment.leads)), _first_day(cube))
        last = pd.Timestamp(period.last) - pd.Timedelta(days=min(experiment.leads))
        stores = [
            forecast(
                run / checkpoint,
                cube,
                out / "forecasts" / phase / f"{run.name}.zarr",
                first=f"{first:%Y-%m-%d}",
                last=f"{last:%Y-%m-%d}",
                leads=experiment.leads,
                made_of={"cube": made_from(cube_path)},
                progress=progress,
            )
            for run in runs
        ]
        observations = {"": cube} | ({"-stations": xr.open_zarr(stations, consolidated=False)} if stations else {})
        for suffix, observed in observations.items():
            folder = out / "evaluation" / f"{phase}{suffix}"
            progress(f"evaluating {folder.name}", 0.0)
            evaluate(
                [xr.open_zarr(store, consolidated=False) for store in stores],
                observed,
                out=folder,
                period=(period.first, period.last),
                min_pairs=MIN_PAIRS[phase],
                replicates=experiment.replicates,
            )
            progress(f"evaluating {folder.name}", 1.0)
            phases[-1].append(folder)
    with writing(out / "scores.csv") as scratch:
        tables = [pd.read_csv(folder / "scores.csv", dtype=str, keep_default_na=False) for folder in phases[-1]]
        pd.concat(tables).to_csv(scratch, index=False)
    # The last phase is what counts: it comes first in the report.
    return build_report([folder for phase in phases[::-1] for folder in phase], out / "report.html", title=title)


def train_all(
    experiment: Experiment,
    cube_path: Path,
    out: Path,
    *,
    names: Sequence[str] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Train the runs and blends of an experiment (all, or those named) and return their folders."""
    known = [*experiment.runs, *experiment.blends]
    if unknown := [name for name in names or () if name not in known]:
        raise VadoseError(f"unknown run {unknown}; the experiment has {known}")
    # Once for all runs: each would read it anew.
    cube = open_cube(cube_path).load()
    made_of = {"cube": made_from(cube_path)}
    split = experiment.split
    folders = []
    for name, run in experiment.runs.items():
        if names is not None and name not in names:
            continue
        samples = Samples(cube, run.channels(), look_back=run.look_back, window=run.window, stride=run.stride)
        folder = train(
            samples,
            out / name,
            model=run.model,
            hyper=run.hyper,
            training=split.training.period(),
            validation=split.validation.period(),
            optimisation=run.training.optimisation(),
            refit=run.refit,
            attributes={"scenario": "all"},
            made_of=made_of,
            progress=progress,
        )
        folders.append(folder)
    for name, join in experiment.blends.items():
        if names is not None and name not in names:
            continue
        members = [out / member for member in join.members]
        if missing := [member.name for member in members if not (member / "final.pt").exists()]:
            raise VadoseError(f"blend {name}: its members {missing} are not trained; train them first")
        folders.append(
            blend(
                members,
                out / name,
                weights=join.by_member(experiment.leads),
                leads=experiment.leads,
                attributes={"scenario": "all"},
                made_of={"members": fingerprint([member / "final.pt" for member in members])},
            )
        )
    return folders


def _has_observations(cube: xr.Dataset, period: Period) -> bool:
    return bool(np.isfinite(cube.soil_moisture.sel(time=slice(period.first, period.last))).any())


def _first_day(cube: xr.Dataset) -> pd.Timestamp:
    return pd.Timestamp(cube.time.values[0])
