"""Training of the downscaling networks: station-days a second by `vadose.training.station_days`, and by a bare loop.

    OMP_NUM_THREADS=1 python benchmarks/mmnet_training.py [--steps 40] [--epochs 3]

Random station-days in float32. MMNet as in the paper: 25 features of the day, ten days of seven, batches of 512 days,
Adam. Its successor as in the experiment `downscale-stations`: 8 and 11 features, a look-back of 365 days, 8 sequences
of 730 days a step, the CRPS. Prints one Markdown table; a network's rows are of one run, so that their ratios hold on a
busy machine too. Where there is a GPU all of them run there.

- network alone: forward, backward, clipping and Adam on a batch that lies ready.
- bare loop: the same on batches gathered from resident tensors.
- vadose: an epoch of `fit`, validation on a hundredth of the station-years included.
- station-days/s: by the clock, and by time of the processor, summed over threads. Median epoch.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn import functional

from vadose.models import MODELS
from vadose.models.mmnet import Features, Fine
from vadose.samples.station_days import StationDays
from vadose.training.losses import crps
from vadose.training.station_days import DownscalingNetwork, Fitting, fit

STATIONS, DAYS, HELD = 120, 1500, 0.01
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Case(NamedTuple):
    """A network and how it is trained; ``days`` of a sequence where it learns from sequences, else 1."""

    name: str
    features: Features
    hyper: dict[str, Any]
    batch: int
    days: int


def features_of(snapshot: int, series: int, days: int, ends: int) -> Features:
    of_day, of_weather = (
        tuple(f"{kind}_{n}" for n in range(k)) for kind, k in (("day", snapshot), ("weather", series))
    )
    return Features(of_day, of_weather, days=days, ends=ends)


CASES = (
    Case("mmnet", features_of(25, 7, 10, 1), {}, 512, 1),
    Case("long_mmnet", features_of(8, 11, 365, 0), {"hidden": 96, "gaussian": True, "dropout": 0.3}, 8, 730),
)


def random_table(features: Features) -> xr.Dataset:
    rng, shape = np.random.default_rng(0), (STATIONS, DAYS)
    dims = ("station", "time")
    table = xr.Dataset(coords={"time": pd.date_range("2016-01-01", periods=DAYS), "station": np.arange(STATIONS)})
    for name in (*features.snapshot, *features.series):
        table[name] = dims, rng.normal(size=shape).astype(np.float32)
    table["soil_moisture"] = dims, (0.2 + 0.05 * rng.normal(size=shape)).astype(np.float32)
    return table


def resident(days: StationDays, case: Case, steps: int) -> Iterator[tuple[Fine, Tensor]]:
    """Random batches, gathered from tensors as a bare script would."""
    snapshot, series = torch.from_numpy(days.snapshot).to(DEVICE), torch.from_numpy(days.series).to(DEVICE)
    observed = torch.from_numpy(days.observed).to(DEVICE)
    generator = torch.Generator().manual_seed(0)
    before = case.features.days + case.features.ends - 1
    for _ in range(steps):
        station = torch.randint(0, STATIONS, (case.batch, 1), generator=generator).to(DEVICE)
        end = torch.randint(case.days - 1, DAYS, (case.batch, 1), generator=generator).to(DEVICE)
        day = end + torch.arange(1 - case.days, 1, device=DEVICE)
        # Of the first estimated day the series begins ``before`` days earlier, where the tensor has its own start.
        told = day[:, :1] + torch.arange(case.features.days + case.days - 1, device=DEVICE)
        assert int(told.max()) < DAYS + before
        fine = Fine(snapshot[station, day], series[station, told])
        alone = case.days == 1
        yield Fine(fine.snapshot[:, 0], fine.series) if alone else fine, observed[station, day][:, 0 if alone else ...]


def bare(network: Any, case: Case, batches: Iterable[tuple[Fine, Tensor]]) -> int:
    """Train on some batches; the station-days learnt from."""
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    network.train()
    count = 0
    for fine, observed in batches:
        mean, std = network.of_days(*fine) if case.days > 1 else network.distribution(fine)
        loss = crps(mean, std, observed) if case.days > 1 else functional.mse_loss(mean, observed)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        count += observed.numel()
    return count


def now() -> np.ndarray:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def rate(run: Callable[[], int], epochs: int) -> np.ndarray:
    """Station-days a second of the clock and of the processor."""
    spent = []
    for _ in range(epochs):
        start = now()
        count = run()
        spent.append(now() - start)
    return count / np.median(spent, axis=0)


def fitted(days: StationDays, table: xr.Dataset, case: Case, steps: int, epochs: int) -> np.ndarray:
    """As `rate`, of epochs of `vadose.training.station_days`."""
    count = steps * case.batch * case.days
    how = Fitting(
        epochs=epochs + 1,
        batch_size=case.batch,
        rows_per_epoch=count,
        learning_rate=1e-3,
        weight_decay=0.0,
        form="crps" if case.days > 1 else "mse",
        validation="station_years",
        share=HELD,
        sequence=case.days,
    )
    ends: list[np.ndarray] = []
    everything = np.ones((STATIONS, DAYS), bool)
    fit(
        days,
        table,
        everything,
        DownscalingNetwork(case.name, case.hyper, how),
        progress=lambda what, share: ends.append(now()) if 0 < share < 1 else None,
    )
    return count / np.median(np.diff(ends, axis=0), axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="an epoch of MMNet; a quarter of it of its successor")
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, {platform.machine()}, {DEVICE.type}, torch {torch.__version__}, load "
        f"{os.getloadavg()[0]:.1f} before\n"
    )
    print("| network | way | station-days/s | of processor | of the network alone |\n|---|---|---|---|---|")
    for case in CASES:
        table = random_table(case.features)
        days = StationDays(table, case.features)
        steps = options.steps if case.days == 1 else max(1, options.steps // 4)
        torch.manual_seed(0)
        network = MODELS[case.name](case.features, **case.hyper)
        network.fit_normalisation(
            [(Fine(*(part.cpu() for part in fine)), observed.cpu()) for fine, observed in resident(days, case, 1)]
        )
        network.to(DEVICE)
        ready = list(resident(days, case, 1)) * steps
        bare(network, case, ready[:1])  # warm up
        rates = {
            "network alone": rate(lambda n=network, c=case, r=ready: bare(n, c, r), options.epochs),
            "bare loop": rate(lambda n=network, c=case, d=days, s=steps: bare(n, c, resident(d, c, s)), options.epochs),
            "vadose": fitted(days, table, case, steps, options.epochs),
        }
        alone = rates["network alone"][1 if DEVICE.type == "cpu" else 0]
        for way, (clock, processor) in rates.items():
            share = (processor if DEVICE.type == "cpu" else clock) / alone
            print(f"| {case.name} | {way} | {clock:,.0f} | {processor:,.0f} | {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
