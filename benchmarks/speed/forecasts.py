"""Rows of forecasts: training of networks, a day of CONUS, a day out of a long record."""

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from benchmarks.paper_predictors import DAILY, FIXED
from benchmarks.speed.cubes import CHANNELS, FIRST, LOOK_BACK, random_cube, random_run
from benchmarks.speed.row import Plan, Way, alone, graphs, row, seconds, to_stores
from torch import Tensor, nn
from torch.nn import functional

import vadose as vd
from vadose.experiments import load_experiment

FILTERS = (4, 16, 32, 64, 128, 256)
PREDICTORS = len(DAILY) + len(FIXED) + 2
LEADS = len(CHANNELS.leads)
FORWARD = 1.41e9 / 64
"""Floating-point operations of a cell's forecast of three days."""
CONUS = (340, 700)
PIECE = 117
"""Columns of the part of a map that the plain network forecasts, which needs much memory for all of it."""


class PlainConvLSTM(nn.Module):
    """Layers of the paper's network in plain PyTorch, as its equations read: the rival."""

    def __init__(self) -> None:
        super().__init__()
        widths = list(zip((PREDICTORS, *FILTERS), FILTERS, strict=False))
        self.gates = nn.ModuleList(nn.Conv2d(inputs + width, 4 * width, 3, padding=1) for inputs, width in widths)
        self.peepholes = nn.ParameterList(torch.zeros(3, width, 1, 1) for width in FILTERS)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in FILTERS)
        self.head = nn.Sequential(nn.Dropout2d(0.2), nn.Conv2d(FILTERS[-1], LEADS, 1))

    def forward(self, days: Tensor) -> Tensor:
        """(B, T, C, H, W) to (B, leads, H, W)."""
        for gates, peephole, norm in zip(self.gates, self.peepholes, self.norms, strict=True):
            state = cell = days.new_zeros(len(days), peephole.shape[1], *days.shape[-2:])
            states = []
            for day in days.unbind(1):
                to_i, to_f, to_c, to_o = gates(torch.cat([day, state], dim=1)).chunk(4, dim=1)
                into = torch.sigmoid(to_i + peephole[0] * cell)
                cell = torch.sigmoid(to_f + peephole[1] * cell) * cell + into * torch.tanh(to_c)
                state = torch.sigmoid(to_o + peephole[2] * cell) * torch.tanh(cell)
                states.append(state)
            days = norm(torch.cat(states)).relu().unflatten(0, (len(states), -1)).transpose(0, 1)
        return self.head(days[:, -1])


def steps_a_second(model: nn.Module, inputs: Any, observed: Tensor, steps: int, device: str) -> float:
    """Training steps of plain PyTorch in float32, on a batch that lies ready."""
    model, inputs, observed = model.to(device).train(), inputs.to(device), observed.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> float:
        optimiser.zero_grad()
        loss = functional.mse_loss(model(inputs), observed)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return loss.item()  # waits for a GPU

    step()
    return 1 / seconds(step, steps)[0]


def in_precisions(measure: Callable[..., tuple[float, float, int]], plan: Plan, *given: Any) -> list[Way]:
    """Ways in float32, in bf16, and that compiled. ``measure`` gives its rate, first seconds and graphs."""
    runs = {"float32": plan.running(), "bf16": plan.running("bfloat16")}
    runs["bf16, compiled"] = plan.running("bfloat16", compile=True)
    ways = []
    for name, running in runs.items():
        (rate, first, counted), memory = alone(measure, *given, name, running)
        compiled = counted if running.compile else None
        ways.append(Way(name, rate, graphs=compiled, memory=memory, first=first))
    return ways


def epochs(call: Callable[..., Any], per_epoch: int) -> tuple[float, float, int]:
    """Samples a second of the epochs after the first, the seconds of that, and graphs compiled.

    By what a training says as it goes on.
    """
    ticks = [time.perf_counter()]

    def tell(what: str, share: float) -> None:
        if "epoch" in what:
            ticks.append(time.perf_counter())

    with graphs() as counted:
        call(progress=tell)
    spent = np.diff(ticks)
    return per_epoch / float(np.median(spent[1:])), float(spent[0]), counted[0]


def train_convlstm(
    folder: Path, per_epoch: int, batch: int, name: str, running: vd.Running
) -> tuple[float, float, int]:
    run = {
        "model": "convlstm",
        "hyper": {"filters": list(FILTERS), "dropout": 0.2},
        "history": list(DAILY),
        "static": list(FIXED),
        "look_back": LOOK_BACK,
        "window": 8,
        "stride": 2,
        "refit": False,
        "training": {"epochs": 3, "batch_size": batch, "samples_per_epoch": per_epoch, "learning_rate": 1e-3},
    }
    # One day is validated, on which the windows of a day of issue for each lead end: an epoch is of training.
    day = pd.date_range(FIRST, periods=100).strftime("%Y-%m-%d").tolist()
    phases = {"training": day[5:60], "validation": day[62:63], "test": day[65:]}
    split = {name: {"first": of[0], "last": of[-1]} for name, of in phases.items()}
    written = folder / f"{name}.yaml"
    written.write_text(yaml.safe_dump({"kind": "forecasting", "split": split, "runs": {"run": run}}))
    said = load_experiment(str(written)).run_as(running)
    return epochs(partial(vd.train, folder / "cube.zarr", said, run="run", out=folder / name / "run"), per_epoch)


def plain_convlstm(batch: int, steps: int, device: str) -> float:
    """Samples a second."""
    windows = torch.randn(batch, LOOK_BACK, PREDICTORS, 8, 8)
    return batch * steps_a_second(PlainConvLSTM(), windows, torch.rand(batch, LEADS, 8, 8), steps, device)


def in_keras(batch: int, steps: int) -> Way:
    """The same network in Keras, where an interpreter has it."""
    python = os.environ.get("VADOSE_KERAS_PYTHON")
    if not python:
        return Way("Keras", note="not measured: VADOSE_KERAS_PYTHON names no interpreter that has it")
    shape = [str(size) for size in (LOOK_BACK, 8, 8, PREDICTORS)]
    sizes = {"leads": LEADS, "batch": batch, "steps": steps}
    command = [python, str(Path(__file__).with_name("keras_convlstm.py")), "--filters", *map(str, FILTERS)]
    command += ["--shape", *shape, *(word for name, size in sizes.items() for word in (f"--{name}", str(size)))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return Way("Keras", note=f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1][:120]}")
    return Way("Keras on TensorFlow", float(done.stdout.split()[-1]))


@row(
    "convlstm-training",
    "ConvLSTM training on windows, the paper's filters 4 .. 256, batches of 32",
    unit="samples",
    call="vd.train(cube, experiment, run='run')",
    to_reach=">= 125 in bf16, >= 3.5 times Keras",
    flop=3 * 64 * FORWARD,
    takes=(35, 100),
)
def convlstm_training(plan: Plan) -> list[Way]:
    batch = 32 if plan.device == "cpu" else 1024
    per_epoch, steps = batch * plan.of(1, 12, 40), plan.of(2, 8, 20)
    edge = 8 + 2 * math.ceil((per_epoch / 50) ** 0.5)  # of 59 days there are windows enough at stride 2, and few more
    with tempfile.TemporaryDirectory() as name:
        random_cube(Path(name) / "cube.zarr", (edge, edge), 100)
        return [
            in_keras(batch, steps),
            Way("plain PyTorch, float32", alone(plain_convlstm, batch, steps, plan.device)[0]),
            *in_precisions(train_convlstm, plan, Path(name), per_epoch, batch),
        ]


def plain_forecast(shape: tuple[int, int], device: str) -> float:
    """Cells a second of the network in plain PyTorch, called with a part of the map that lies ready."""
    model, part = PlainConvLSTM().to(device).eval(), torch.randn(1, LOOK_BACK, PREDICTORS, *shape, device=device)
    with torch.inference_mode():
        return shape[0] * shape[1] / seconds(lambda: model(part).flatten()[0].item())[0]


def forecast(folder: Path, out: Path, running: vd.Running, cube: str = "cube.zarr", run: str = "net") -> None:
    vd.forecast(folder / run, folder / cube, out=out, running=running)


@row(
    "conus-day",
    "a day of CONUS, 340 x 700 cells, from cube to store",
    unit="cells",
    call="vd.forecast(run, cube)",
    to_reach="CONUS <= 9 s: >= 26,400",
    flop=FORWARD,
    takes=(20, 130),
)
def conus_day(plan: Plan) -> list[Way]:
    shape = plan.of((64, 80), CONUS)
    runs = {"float32": plan.running(), "bf16, compiled": plan.running("bfloat16", compile=True)}
    runs["precision and compiling left open"] = vd.Running(plan.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_run(folder / "net", random_cube(folder / "cube.zarr", shape, 4))
        part = shape[0], min(shape[1], PIECE)
        plain = alone(plain_forecast, part, plan.device)[0]
        return [
            Way("plain PyTorch, float32", plain, note=f"network alone, {part[0]} x {part[1]} cells"),
            *to_stores({way: partial(forecast, running=how) for way, how in runs.items()}, folder, shape[0] * shape[1]),
        ]


@row(
    "map-or-windows",
    "a day forecast by windows of 8 x 8 cells, averaged, or by the complete map",
    unit="cells",
    call="vd.forecast(run, cube)",
    to_reach="the map beats windows",
    flop=FORWARD,
    takes=(3, 10),
)
def map_or_windows(plan: Plan) -> list[Way]:
    shape = plan.of((16, 24), (40, 64), (64, 96))
    runs = {"windows at stride 2": ("windows", 8), "complete map": ("map", None)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cube = random_cube(folder / "cube.zarr", shape, 4)
        for run, window in runs.values():
            random_run(folder / run, cube, edge=16, window=window)
        calls = {way: partial(forecast, running=plan.running(), run=run) for way, (run, _) in runs.items()}
        return list(to_stores(calls, folder, shape[0] * shape[1]))


@row(
    "one-day-of-years",
    "one day forecast out of a long record, 24 x 24 cells",
    unit="days",
    call="vd.forecast(run, cube)",
    to_reach="the same for one ten times as long",
    takes=(10, 40),
)
def one_day_of_years(plan: Plan) -> list[Way]:
    ways = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for days in (plan.of(30, 80, 365), plan.of(300, 800, 3650)):
            cube = random_cube(folder / f"{days}.zarr", (24, 24), days)
            if not ways:
                random_run(folder / "net", cube, edge=24)
            call = partial(forecast, running=plan.running(), cube=cube.name)
            (way,) = to_stores({f"of {days:,} days": call}, folder, 1)
            ways.append(replace(way, differs=None))
    return ways
