"""Rows of downscaling: training of its networks, and maps of 100 m from disk to disk."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from benchmarks.speed.cubes import forget
from benchmarks.speed.forecasts import WAYS, epochs
from benchmarks.speed.row import Way, alone, apart, graphs, row, seconds
from torch import nn
from torch.nn import functional

import vadose as vd
from vadose.artefact import provenance
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.models import to_checkpoint
from vadose.models.mmnet import Features, Fine, MMNet, example_fine
from vadose.predict.map_features import MapFeatures
from vadose.predict.maps import downscale_maps
from vadose.samples.station_days import StationDays
from vadose.training.station_days import DownscalingNetwork, Fitting, fit

DAY = pd.Timestamp("2020-07-01")
MADE = ("latitude", "longitude", "day_of_year")
FIXED, DAILY = (tuple(f"{kind}_{n}" for n in range(k)) for kind, k in (("fixed", 14), ("daily", 7)))
SERIES = tuple(f"weather_{n}" for n in range(7))
PAPER = Features((*DAILY, *FIXED, "soil_moisture_smap_l4", *MADE), SERIES, days=10)
"""The paper's 25 features of the day and ten days of seven."""
LONG = Features(tuple(f"day_{n}" for n in range(8)), tuple(f"weather_{n}" for n in range(11)), days=365, ends=0)
STATIONS, RECORD = 120, 1500
COMPILED = {"float32, compiled": vd.Running("auto", "float32", compile=True)}


def random_map(folder: Path, edge: int) -> None:
    """Write random features of a map of 100 m, and the coarse fields over it: weather at 4 km, 1 km and 9 km."""
    rng, whole = np.random.default_rng(0), ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    grid = whole.part(slice(row, row + edge), slice(column, column + edge))
    fine = grid.coordinates().drop_vars(["lat", "lon"]).assign_coords(time=[DAY])
    for name in FIXED:
        fine[name] = ("y", "x"), rng.standard_normal(grid.shape, np.float32)
    for name in DAILY:
        fine[name] = ("time", "y", "x"), rng.standard_normal((1, *grid.shape), np.float32)
    fine = fine.assign_attrs(simulated="true", **provenance(seed=0)).chunk({"time": 1, "y": 1024, "x": 1024})
    fine.to_zarr(folder / "fine.zarr", zarr_format=3, consolidated=False)
    days = pd.date_range(end=DAY, periods=11)
    (north, south), (west, east) = grid.latlon([0, edge], 0)[0], grid.latlon(0, [0, edge])[1]
    shape = tuple(int((high - low) * 24) + 6 for low, high in ((south, north), (west, east)))
    fields = [raster_coordinates("EPSG:4326", (west - 0.08, north + 0.08, 1 / 24, 1 / 24), shape)]
    fields += [_over(resolution, grid) for resolution in ("1km", "9km")]
    for number, (field, names) in enumerate(
        zip(fields, (SERIES[:-1], SERIES[-1:], ("soil_moisture_smap_l4",)), strict=True)
    ):
        dims = tuple(name for name in ("lat", "lon", "y", "x") if name in field.dims)
        for name in names:
            # Within what is valid of moisture, and small beside the unit of the others.
            values = rng.random((len(days), *(field.sizes[dim] for dim in dims)), np.float32) / 2
            field[name] = ("time", *dims), values
        told = field.assign_coords(time=days).assign_attrs(simulated="true", **provenance(seed=number))
        told.to_zarr(folder / f"coarse{number}.zarr", zarr_format=3, consolidated=False)


def _over(resolution: str, grid: Grid) -> xr.Dataset:
    coarse, (rows, columns) = ease_grid(resolution), grid.shape
    top, left = coarse.rowcol(*(float(v) for v in grid.latlon(0, 0)))
    bottom, right = coarse.rowcol(*(float(v) for v in grid.latlon(rows - 1, columns - 1)))
    return coarse.part(slice(int(top), int(bottom) + 1), slice(int(left), int(right) + 1)).coordinates()


def opened(folder: Path) -> tuple[xr.Dataset, list[xr.Dataset]]:
    """The features of the map, and the coarse fields over it."""
    fine, *coarse = (vd.open(path) for path in (folder / "fine.zarr", *sorted(folder.glob("coarse*.zarr"))))
    return fine, coarse


def pixels_of(folder: Path, count: int) -> Fine:
    """Some pixels of the map, each with its own history."""
    fine, coarse = opened(folder)
    everything = slice(0, fine.sizes["y"]), slice(0, fine.sizes["x"])
    features = MapFeatures(fine, coarse, [PAPER], pd.DatetimeIndex([DAY]))
    snapshot = torch.from_numpy(features.snapshot(0, *everything)[0]).flatten(1).T
    series, which = (torch.from_numpy(part) for part in features.histories(PAPER, 0, *everything))
    some = torch.randperm(len(snapshot), generator=torch.Generator().manual_seed(0))[:count]
    return Fine(snapshot[some].contiguous(), series[which.flatten()[some]])


def random_network(folder: Path) -> MMNet:
    """Write MMNet with random weights, its normalisation settled on the map so that no layer falls silent."""
    torch.manual_seed(0)
    model, fine = MMNet(PAPER), pixels_of(folder, 2048)
    model.fit_normalisation([(fine, 0.2 + 0.08 * torch.randn(len(fine.snapshot)))])
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.momentum = 1.0
    with torch.no_grad():
        model.train()(fine)
    torch.save(to_checkpoint("mmnet", {}, model) | {"domain": None, "attributes": {}}, folder / "net.pt")
    return model.eval()


def plain_pixels(folder: Path, count: int) -> float:
    """Pixels a second of the network called for each pixel with its own history, which lie ready."""
    model, fine = random_network(folder), pixels_of(folder, count)
    with torch.inference_mode():
        model(Fine(fine.snapshot[:256], fine.series[:256]))
        parts = zip(fine.snapshot.split(2048), fine.series.split(2048), strict=True)
        return count / seconds(lambda: [model(Fine(*part)) for part in parts])[0]


def mapped(folder: Path, name: str, running: vd.Running) -> tuple[list[float], int]:
    """Seconds of two maps from disk to disk, files out of the page cache, and graphs compiled."""
    spent = []
    with graphs() as counted:
        for turn in range(2):
            forget(folder)
            fine, coarse = opened(folder)
            out = folder / f"{name}{turn}.out"
            call = partial(downscale_maps, folder / "net.pt", fine, coarse, [DAY], out, running=running)
            spent.append(seconds(call)[0])
    return spent, counted[0]


@row(
    "maps",
    "MMNet maps of 100 m from disk to disk",
    unit="pixels",
    call="vadose downscale model.pt fine.zarr --coarse weather.zarr --date 2020-07-01",
    to_reach=">= 0.96 M in float32, >= 2.1 M in bf16",
)
def maps(quick: bool) -> list[Way]:
    edge = 512 if quick else 2048
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_map(folder, edge)
        plain, memory = alone(plain_pixels, folder, 8192)
        ways = [Way("each pixel by itself, float32", plain, memory=memory)]
        first: xr.DataArray | None = None
        for way, running in (WAYS | COMPILED).items():
            (spent, counted), memory = alone(mapped, folder, way, running)
            found = vd.open(folder / f"{way}1.out").soil_moisture.load()
            first = found if first is None else first
            compiled = counted if running.compile else None
            ways.append(Way(way, edge * edge / spent[1], apart(found, first), compiled, memory, spent[0]))
    return ways


def random_stations(features: Features) -> xr.Dataset:
    """A table of random station-days."""
    rng, dims = np.random.default_rng(0), ("station", "time")
    table = xr.Dataset(coords={"time": pd.date_range("2016-01-01", periods=RECORD), "station": np.arange(STATIONS)})
    for name in (*features.snapshot, *features.series):
        table[name] = dims, rng.standard_normal((STATIONS, RECORD), np.float32)
    for name, (low, high) in {"lat": (30, 48), "lon": (-120, -75)}.items():
        table[name] = "station", rng.uniform(low, high, STATIONS)
    table["soil_moisture"] = dims, 0.2 + 0.05 * rng.standard_normal((STATIONS, RECORD), np.float32)
    return table


def train_stations(
    features: Features, name: str, model: str, hyper: dict[str, Any], how: dict[str, Any], running: vd.Running
) -> Way:
    table = random_stations(features)
    fitting = Fitting(epochs=4, learning_rate=1e-3, weight_decay=0.0, validation="station_years", share=0.01, **how)
    network = DownscalingNetwork(model, hyper, fitting.run_as(running))
    everything = np.ones((STATIONS, RECORD), bool)
    with graphs() as counted:
        call = partial(fit, StationDays(table, features), table, everything, network)
        rate, first = epochs(call, int(how["rows_per_epoch"]))
    return Way(name, rate, graphs=counted[0] if running.compile else None, first=first)


def bare_mmnet(steps: int) -> float:
    """Station-days a second of plain PyTorch in float32 on a batch that lies ready."""
    fine, model = example_fine(PAPER, batch=512), MMNet(PAPER)
    observed = 0.2 + 0.05 * torch.randn(512)
    model.fit_normalisation([(fine, observed)])
    optimiser = torch.optim.Adam(model.train().parameters(), lr=1e-3)

    def step() -> None:
        optimiser.zero_grad()
        functional.mse_loss(model(fine), observed).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    step()
    return 512 / seconds(step, steps)[0]


@row(
    "mmnet-training",
    "MMNet training, the paper's network and batches of 512",
    unit="station-days",
    call="vadose study downscale-stations",
    to_reach=">= 11,000",
)
def mmnet_training(quick: bool) -> list[Way]:
    ways = [Way("plain PyTorch, float32", alone(bare_mmnet, 10 if quick else 30)[0])]
    how = {"batch_size": 512, "rows_per_epoch": 512 * (15 if quick else 60), "form": "mse"}
    for name, running in WAYS.items():
        found, memory = alone(train_stations, PAPER, name, "mmnet", {}, how, running)
        ways.append(replace(found, memory=memory))
    return ways


@row(
    "long-memory-training",
    "training of the network that remembers a year, 8 sequences of 730 days a step",
    unit="station-days",
    call="vadose study downscale-stations",
    to_reach=">= 1.5 times as before: >= 53,000",
)
def long_training(quick: bool) -> list[Way]:
    hyper = {"hidden": 96, "gaussian": True, "dropout": 0.3}
    how = {"batch_size": 8, "sequence": 730, "rows_per_epoch": 5840 * (5 if quick else 20), "form": "crps"}
    ways = []
    for name, running in WAYS.items():
        found, memory = alone(train_stations, LONG, name, "long_mmnet", hyper, how, running)
        ways.append(replace(found, memory=memory))
    return ways
