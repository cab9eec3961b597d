"""Training by whole maps against windows: epochs and seconds until forecasts are as good.

    vadose demo --forecast --out demo
    OMP_NUM_THREADS=1 python benchmarks/maps_or_windows.py demo/cube.zarr [--filters 8 16 32] [--epochs 20]
        [--cell-days 64000] [--seeds 0 1 2]

A ConvLSTM of three days with the predictors of the paper's scenario S3 learns the moisture of 0-10 cm by
`vadose.training.loop`, once from windows of 8 x 8 cells at stride 2 and once from whole maps: as many cell-days an
epoch, of about as many a step (32 windows), and the same rate. Prints one Markdown table.

- RMSE: of the forecasts, all leads and cells, of 31 days of issue in the middle of the validation, after each epoch;
  of windows averaged at stride 2, or of whole maps, as `vadose.predict.forecast` makes them.
- to the same RMSE: epochs, and seconds of the processor, until it is first as low as the lowest of the way that ends
  higher. Seconds are of training, the statistics before it and the run's own validation.
- own loss: the lowest validation loss of the run's history, and epochs to that of the way that ends higher. It is not
  the same measure for both: correlations are over the cells of 32 windows, or of a few maps.
"""

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from paper_predictors import DAILY, FIXED

from vadose.cube import open_cube
from vadose.door.days import Period
from vadose.models import to_checkpoint
from vadose.models.inputs import Channels
from vadose.predict.forecast import forecast
from vadose.samples.windows import Samples
from vadose.training.forecasters import ForecastTask, Optimisation, Plan, train

OBSERVED = "soil_moisture_0_10cm"
CHANNELS = Channels(DAILY, FIXED, target=f"{OBSERVED}_filled")
LOOK_BACK, WINDOW, STRIDE, BATCH = 3, 8, 2, 32
DAYS = 31


class Trained(NamedTuple):
    """Validation losses, errors of the forecasts, and seconds of training since the beginning, by epoch."""

    losses: list[float]
    errors: list[float]
    seconds: list[float]


def trained(cube: xr.Dataset, folder: Path, window: int | None, seed: int, options: argparse.Namespace) -> Trained:
    samples = Samples(cube, CHANNELS, look_back=LOOK_BACK, window=window, stride=STRIDE)
    cells = int(np.prod(samples.size))
    how = Optimisation(
        epochs=options.epochs,
        patience=options.epochs,
        batch_size=max(1, BATCH * WINDOW**2 // cells),
        samples_per_epoch=options.cell_days // cells,
        learning_rate=options.learning_rate,
        seeds=(seed,),
    )
    hyper: dict[str, Any] = {"filters": tuple(options.filters)}
    kept = Trained([], [], [])
    begun, aside = time.process_time(), 0.0

    def validated(task: Any, predict: Any) -> float:
        """The run's own loss, and beside it the error of the forecasts, whose time does not count."""
        nonlocal aside
        kept.losses.append(validate(task, predict))
        end = time.process_time()
        kept.seconds.append(end - begun - aside)
        said = {"model": "convlstm", "weather": CHANNELS.weather, "observed": samples.observed}
        checkpoint = to_checkpoint("convlstm", hyper, task.network)
        torch.save(checkpoint | {"look_back": LOOK_BACK, "window": window, "attributes": said}, folder / "now.pt")
        kept.errors.append(rmse(folder / "now.pt", cube, folder / "now.zarr", options.validation))
        aside += time.process_time() - end
        return kept.losses[-1]

    validate, ForecastTask.validate = ForecastTask.validate, validated
    try:
        train(
            samples,
            folder / f"{window}_{seed}",
            Plan(
                model="convlstm",
                hyper=hyper,
                training=options.training,
                validation=options.validation,
                optimisation=how,
            ),
            refit=False,
        )
    finally:
        ForecastTask.validate = validate
    return kept


def rmse(checkpoint: Path, cube: xr.Dataset, out: Path, period: Period) -> float:
    """Of the forecasts of 31 days of issue in the middle of a period, where they are valid in it."""
    begin, end = (pd.Timestamp(day) for day in (period.first, period.last))
    first = begin + (end - begin) / 2 - pd.Timedelta(days=DAYS // 2)
    issue = pd.date_range(first.normalize(), periods=DAYS)
    days = {"first": f"{issue[0]:%Y-%m-%d}", "last": f"{issue[-1]:%Y-%m-%d}"}
    store = xr.open_zarr(forecast(checkpoint, cube, out, stride=STRIDE, **days), consolidated=False)
    observed = cube[OBSERVED].sel(time=slice(period.first, period.last))
    squares, count = 0.0, 0
    for lead in CHANNELS.leads:
        of_lead = store.soil_moisture.sel(lead_time=np.timedelta64(lead, "D"))
        valid = of_lead.assign_coords(init_time=of_lead.init_time + np.timedelta64(lead, "D")).rename(init_time="time")
        error = (valid - observed).values
        squares, count = squares + float(np.nansum(error**2)), count + int(np.isfinite(error).sum())
    return float(np.sqrt(squares / count))


def reached(values: list[float], level: float) -> int:
    """The first epoch, from 1 on, in which a level is reached."""
    return next(epoch for epoch, value in enumerate(values, 1) if value <= level)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cube", type=Path, help="of 'vadose demo --forecast', or one with the same variables")
    parser.add_argument("--filters", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--cell-days", type=int, default=64_000, help="learnt from in an epoch")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--training", nargs=2, default=["2018-01-01", "2019-06-30"])
    parser.add_argument("--validation", nargs=2, default=["2019-07-01", "2019-12-31"])
    options = parser.parse_args()
    options.training, options.validation = Period(*options.training), Period(*options.validation)
    names = [*CHANNELS.history, *CHANNELS.static, OBSERVED, "mask"]
    cube = open_cube(options.cube)[names].sel(time=slice(options.training.first, options.validation.last)).load()
    print(
        f"{cube.sizes['y']} x {cube.sizes['x']} cells, {options.cell_days:,} cell-days an epoch, filters "
        f"{options.filters}, rate {options.learning_rate}; {torch.get_num_threads()} threads, {platform.machine()}, "
        f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f} before\n"
    )
    heads = [
        "seed",
        "learnt from",
        "lowest RMSE [m3 m-3]",
        "in epoch",
        "epochs to the same RMSE",
        "seconds to it",
        "s an epoch",
        "lowest own loss",
        "epochs to the same loss",
    ]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    with tempfile.TemporaryDirectory() as name:
        for seed in options.seeds:
            both = {
                way: trained(cube, Path(name), window, seed, options)
                for way, window in (("windows", WINDOW), ("maps", None))
            }
            same_error, same_loss = (
                max(min(of_way) for of_way in ways)
                for ways in ([run.errors for run in both.values()], [run.losses for run in both.values()])
            )
            for way, run in both.items():
                at = reached(run.errors, same_error)
                told = [
                    seed,
                    way,
                    f"{min(run.errors):.4f}",
                    reached(run.errors, min(run.errors)),
                    at,
                    f"{run.seconds[at - 1]:.1f}",
                    f"{run.seconds[-1] / len(run.seconds):.2f}",
                    f"{min(run.losses):.4f}",
                    reached(run.losses, same_loss),
                ]
                print(f"| {' | '.join(str(part) for part in told)} |", flush=True)


if __name__ == "__main__":
    main()
