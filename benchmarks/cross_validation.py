"""Cross-validate the runs and blends of an experiment inside its training and validation days.

Blocks of two months are held out in turn (three folds of two blocks), every fold is trained on the rest, and the
forecasts of all held-out days together are scored over the whole year: what number of epochs and which blend
weights to take is decided by this, without a look at the test year. Moisture observed in a held-out block is known
to forecasts issued after it, as it would be in use, but is no target.

    python benchmarks/cross_validation.py cube.zarr OUT [--experiment conus] [--seeds 1] [--run NAME ...]
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.cube import open_cube
from vadose.evaluation import evaluate
from vadose.experiments import Experiment, LayerConfig, load_experiment
from vadose.predict.forecast import forecast
from vadose.samples.windows import Samples
from vadose.training.blends import blend
from vadose.training.forecasters import Plan, train

FOLDS, BLOCKS = 3, 6


def held_out(cube: xr.Dataset, experiment: Experiment, fold: int) -> np.ndarray:
    """Days of a fold: every third of six blocks."""
    days = pd.DatetimeIndex(cube.time.values)
    span = experiment.split.training.to(experiment.split.validation)
    inside = np.flatnonzero((days >= pd.Timestamp(span.first)) & (days <= pd.Timestamp(span.last)))
    mask = np.zeros(len(days), bool)
    for block in np.array_split(inside, BLOCKS)[fold::FOLDS]:
        mask[block] = True
    return mask


def forecasts_of_fold(
    cube: xr.Dataset, experiment: Experiment, fold: int, out: Path, seeds: int, names: list[str]
) -> None:
    """Train and forecast every run with the fold's observations taken from the targets."""
    span = experiment.split.training.to(experiment.split.validation)
    hidden = cube.copy()
    held = xr.DataArray(held_out(cube, experiment, fold), dims="time", coords={"time": cube.time})
    hidden["soil_moisture"] = cube.soil_moisture.where(~held)
    issued = {"first": span.first, "last": f"{pd.Timestamp(span.last) - pd.Timedelta(days=1):%Y-%m-%d}"}
    for name in names:
        run = experiment.runs[name]
        channels = run.channels(LayerConfig(observed="soil_moisture"))
        samples = Samples(hidden, channels, look_back=run.look_back, window=run.window, stride=run.stride)
        training = replace(run.training, seeds=run.training.seeds[:seeds])
        folder = train(
            samples,
            out / "runs" / name,
            Plan(model=run.model, hyper=run.hyper, training=span, validation=None, optimisation=training),
            attributes={"scenario": "all"},
        )
        forecast(folder / "final.pt", cube, out / "forecasts" / name, leads=experiment.leads, **issued)
        print(f"fold {fold}: {name}", flush=True)
    for name, join in experiment.blends.items():
        if set(join.members) <= set(names):
            folder = blend(
                [out / "runs" / member for member in join.members],
                out / "runs" / name,
                leads=experiment.leads,
                weights=join.by_member(experiment.leads),
                attributes={"scenario": "all"},
            )
            forecast(folder / "final.pt", cube, out / "forecasts" / name, leads=experiment.leads, **issued)


def joined(stores: list[Path], masks: list[np.ndarray], cube: xr.Dataset) -> xr.Dataset:
    """Of every fold's forecasts those of its held-out valid days."""
    days = pd.DatetimeIndex(cube.time.values)
    whole: xr.Dataset | None = None
    for store, mask in zip(stores, masks, strict=True):
        part = xr.open_zarr(store, consolidated=False).load()
        valid = part.init_time + part.lead_time
        of_fold = xr.DataArray(np.isin(valid.values, days[mask].values), dims=valid.dims)
        part["soil_moisture"] = part.soil_moisture.where(of_fold)
        whole = part if whole is None else whole.assign(soil_moisture=whole.soil_moisture.fillna(part.soil_moisture))
    assert whole is not None
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cube", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--experiment", default="conus")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--run", action="append")
    options = parser.parse_args()
    experiment = load_experiment(options.experiment)
    cube = open_cube(options.cube).load()
    names = options.run or [name for name, run in experiment.runs.items() if run.model != "convlstm"]
    for fold in range(FOLDS):
        forecasts_of_fold(cube, experiment, fold, options.out / f"fold{fold}", options.seeds, names)
    done = [*names, *(name for name, join in experiment.blends.items() if set(join.members) <= set(names))]
    masks = [held_out(cube, experiment, fold) for fold in range(FOLDS)]
    stores = [
        joined([options.out / f"fold{fold}" / "forecasts" / name for fold in range(FOLDS)], masks, cube)
        for name in done
    ]
    folder = evaluate(stores, cube, out=options.out / "evaluation")
    table = pd.read_csv(folder / "scores.csv", keep_default_na=False, na_values=[""])
    rows = table[table.metric.isin(["pearson_r", "ubrmse"])]
    print(
        rows.pivot_table(index=["metric", "weather", "model"], columns="lead_days", values="median")
        .round(4)
        .to_string()
    )


if __name__ == "__main__":
    main()
