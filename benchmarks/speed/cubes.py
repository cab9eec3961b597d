"""Cubes of random values and networks of random weights, in the form that the commands write and read."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from benchmarks.paper_predictors import DAILY, FIXED
from torch import nn

from vadose.artefact import provenance
from vadose.cube import open_cube
from vadose.cube.store import Store
from vadose.grid import ease_grid
from vadose.models import to_checkpoint
from vadose.models.convlstm import ConvLSTM
from vadose.models.inputs import Channels, Inputs
from vadose.samples.windows import Samples
from vadose.variables import variable

CHANNELS = Channels(DAILY, FIXED)
"""Predictors of the third scenario of Rabiei et al. (2025)."""
LOOK_BACK, FIRST = 3, "2012-06-01"


def random_cube(path: Path, shape: tuple[int, int], days: int) -> Path:
    """Write a cube of random values, all the predictors and moisture, as `vadose build` lays one out."""
    rng = np.random.default_rng(0)
    store = _empty_cube(path, shape, days)
    for name in (*DAILY, "soil_moisture"):
        _random_days(store, name, shape, days, rng)
    for name in FIXED:
        store.add(name, None)
        store.write(name, _drawn(name, shape, rng), None)
    _complete(store, shape)
    return path


def random_map_cube(path: Path, shape: tuple[int, int], days: int, gaps: float = 0.1) -> xr.Dataset:
    """Write a cube of random moisture alone, a part of its days unknown, and open it."""
    store = _empty_cube(path, shape, days)
    _random_days(store, "soil_moisture", shape, days, np.random.default_rng(0), gaps)
    _complete(store, shape)
    return open_cube(path)


def _empty_cube(path: Path, shape: tuple[int, int], days: int) -> Store:
    whole = ease_grid("9km")
    row, column = (int(v) for v in whole.rowcol(49.5, -125.0))
    store = Store(path, whole.part(slice(row, row + shape[0]), slice(column, column + shape[1])))
    store.create({})
    store.set_days(pd.date_range(FIRST, periods=days))
    return store


def _random_days(
    store: Store, name: str, shape: tuple[int, int], days: int, rng: np.random.Generator, gaps: float = 0.0
) -> None:
    store.add(name, days)
    for day in range(days):
        values = _drawn(name, (1, *shape), rng)
        if gaps:
            values[rng.random(values.shape, np.float32) < gaps] = np.nan
        store.write(name, store.rounded(name, values), slice(day, day + 1))


def _drawn(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random values in the lower half of what is valid of a variable."""
    known = variable(name)
    low, high = known.valid_range if known is not None and known.valid_range is not None else (0.0, 1.0)
    return (low + (high - low) / 2 * rng.random(shape, np.float32)).astype(np.float32)


def _complete(store: Store, shape: tuple[int, int]) -> None:
    group = store.open()
    group.create_array("mask", data=np.ones(shape, bool), dimension_names=("y", "x"))
    said = {"dataset": "random", "layer": "0-10 cm", "simulated": "true", **provenance(seed=0)}
    group.attrs.update(said)
    store.mark(**said, state="complete")


def random_run(folder: Path, cube: Path, edge: int = 40, window: int | None = None) -> Path:
    """Write a run of the paper's ConvLSTM as `vadose train` does; statistics are those of a corner of the cube."""
    torch.manual_seed(0)
    opened: xr.Dataset = open_cube(cube)
    samples = Samples(
        opened.isel(time=slice(-LOOK_BACK, None), y=slice(edge), x=slice(edge)),
        CHANNELS,
        look_back=LOOK_BACK,
        window=None,
    )
    inputs = samples.inputs(samples.all_windows(samples.n_days - 1))
    model = ConvLSTM(CHANNELS)
    model.fit_normalisation([(inputs, 0.5 * torch.rand(1, len(CHANNELS.leads), edge, edge))])
    settle(model, inputs)
    said = {"model": "convlstm", "weather": CHANNELS.weather, "observed": "soil_moisture", "scenario": "S3"}
    kept = to_checkpoint("convlstm", {}, model) | {"look_back": LOOK_BACK, "window": window, "attributes": said}
    folder.mkdir(parents=True)
    torch.save(kept, folder / "final.pt")
    return folder


def settle(model: nn.Module, inputs: Inputs) -> None:
    """Take the statistics of normalisation from the data, so that no layer falls silent."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(inputs)
    model.eval()
