"""Rows of downscaling: training of its networks, and maps of 100 m from disk to disk."""

import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from benchmarks.speed.forecasts import epochs, in_precisions, steps_a_second
from benchmarks.speed.row import Plan, Way, alone, graphs, row, seconds, to_stores
from torch import nn

import vadose as vd
from vadose.artefact import identity, provenance
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.models import MODELS, mmnet, to_checkpoint
from vadose.models.mmnet import Features, Fine, MMNet, example_fine
from vadose.predict.fill_station import fill_station
from vadose.predict.map_features import MapFeatures
from vadose.predict.maps import downscale_maps
from vadose.samples.station_days import StationDays
from vadose.training.station_days import DownscalingNetwork, Fitting, fit, load

DAY = pd.Timestamp("2020-07-01")
MADE = ("latitude", "longitude", "day_of_year")
FIXED, DAILY = (tuple(f"{kind}_{n}" for n in range(k)) for kind, k in (("fixed", 14), ("daily", 7)))
SERIES = tuple(f"weather_{n}" for n in range(7))
PAPER = Features((*DAILY, *FIXED, "soil_moisture_smap_l4", *MADE), SERIES, days=10)
"""The paper's 25 features of the day and ten days of seven."""
LONG = Features(tuple(f"day_{n}" for n in range(8)), tuple(f"weather_{n}" for n in range(11)), days=365, ends=0)
STATIONS, RECORD = 120, 1500


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


def plain_pixels(folder: Path, count: int, device: str) -> float:
    """Pixels a second of the network called for each pixel with its own history, which lie ready."""
    model, fine = random_network(folder).to(device), pixels_of(folder, count).to(device)
    parts = [Fine(*part) for part in zip(fine.snapshot.split(2048), fine.series.split(2048), strict=True)]
    with torch.inference_mode():
        model(parts[0])
        return count / seconds(lambda: [model(part).sum().item() for part in parts])[0]


def downscale(folder: Path, out: Path, running: vd.Running) -> None:
    fine, coarse = opened(folder)
    data = identity(folder / "fine.zarr", *sorted(folder.glob("coarse*.zarr")))
    downscale_maps(folder / "net.pt", fine, coarse, [DAY], out, running=running, made_of={"data": data})


@row(
    "maps",
    "MMNet maps of 100 m from disk to disk",
    unit="pixels",
    call="vadose downscale model.pt --fine fine.zarr --coarse weather.zarr --date 2020-07-01",
    to_reach=">= 0.96 M in float32, >= 2.1 M in bf16",
    takes=(15, 60),
)
def maps(plan: Plan) -> list[Way]:
    edge = plan.of(256, 2048)
    runs = {"float32": plan.running(), "float32, compiled": plan.running(compile=True)}
    runs["bf16, compiled"] = plan.running("bfloat16", compile=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_map(folder, edge)
        plain, memory = alone(plain_pixels, folder, plan.of(2048, 16384), plan.device)
        calls = {way: partial(downscale, running=how) for way, how in runs.items()}
        rival = Way("plain PyTorch, each pixel by itself, float32", plain, memory=memory, note="network alone")
        return [rival, *to_stores(calls, folder, edge * edge)]


def random_stations(features: Features, stations: int, days: int) -> xr.Dataset:
    """A table of random station-days."""
    rng, dims = np.random.default_rng(0), ("station", "time")
    names = np.array([f"USCRN:{number}" for number in range(stations)])
    table = xr.Dataset(coords={"time": pd.date_range("2016-01-01", periods=days), "station": names})
    for name in (*features.snapshot, *features.series):
        table[name] = dims, rng.standard_normal((stations, days), np.float32)
    for name, (low, high) in {"lat": (30, 48), "lon": (-120, -75)}.items():
        table[name] = "station", rng.uniform(low, high, stations)
    table["soil_moisture"] = dims, 0.2 + 0.05 * rng.standard_normal((stations, days), np.float32)
    return table


@dataclass(frozen=True)
class Network:
    """A network of station-days, and how a step of it is made up."""

    model: str
    features: Features
    hyper: dict[str, Any]
    form: str
    batch: int
    sequence: int = 1

    @property
    def days(self) -> int:
        """Station-days of a step."""
        return self.batch * self.sequence


SHORT_MEMORY = Network("mmnet", PAPER, {}, "mse", 512)
LONG_MEMORY = Network("long_mmnet", LONG, {"hidden": 96, "gaussian": True, "dropout": 0.3}, "crps", 8, 730)


def train_stations(network: Network, steps: int, name: str, running: vd.Running) -> tuple[float, float, int]:
    table = random_stations(network.features, STATIONS, RECORD)
    fitting = Fitting(
        epochs=3,
        learning_rate=1e-3,
        weight_decay=0.0,
        validation="station_years",
        share=0.01,
        batch_size=network.batch,
        rows_per_epoch=network.days * steps,
        form=network.form,
        **({"sequence": network.sequence} if network.sequence > 1 else {}),
    )
    own = DownscalingNetwork(network.model, network.hyper, fitting.run_as(running))
    everything = np.ones((STATIONS, RECORD), bool)
    return epochs(partial(fit, StationDays(table, network.features), table, everything, own), network.days * steps)


def bare(network: Network) -> tuple[nn.Module, Any]:
    """The network for plain PyTorch, which gives moisture alone, and a batch that lies ready."""
    model = MODELS[network.model](network.features, **network.hyper)
    fine, observed = example_fine(network.features, batch=network.days), 0.2 + 0.05 * torch.randn(network.days)
    if network.sequence > 1:
        record = max(RECORD, network.sequence)
        table = random_stations(network.features, network.batch, record)
        days, everything = StationDays(table, network.features), np.ones((network.batch, record), bool)
        fine, observed = next(days.sequences(everything, size=network.batch, days=network.sequence))
    model.fit_normalisation([(fine, observed)])
    return Sequences(model) if network.sequence > 1 else model, fine


class Sequences(nn.Module):
    """A network of sequences as one of inputs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, fine: Fine) -> torch.Tensor:
        mean: torch.Tensor = self.model.of_days(*fine)[0]
        return mean


def plain_training(network: Network, steps: int, device: str) -> float:
    """Station-days a second of plain PyTorch in float32, with torch's own layer of attention."""
    mmnet.encoded = lambda layer, series: layer(series)  # in this process alone
    model, fine = bare(network)
    observed = 0.2 + 0.05 * torch.randn(fine.snapshot.shape[:-1])
    return network.days * steps_a_second(model, fine, observed, steps, device)


def station_training(network: Network, steps: tuple[int, int], plan: Plan) -> list[Way]:
    rate = alone(plain_training, network, plan.of(*steps), plan.device)[0]
    ways = in_precisions(train_stations, plan, network, plan.of(*steps))
    return [Way("plain PyTorch, float32", rate), *ways]


@row(
    "mmnet-training",
    "MMNet training, the paper's network and batches of 512",
    unit="station-days",
    call="vadose study downscale-stations",
    to_reach=">= 11,000",
    flop=3 * 2.94e6,
    takes=(20, 60),
)
def mmnet_training(plan: Plan) -> list[Way]:
    return station_training(SHORT_MEMORY, (4, 40), plan)


@row(
    "long-memory-training",
    "training of the network that remembers a year, 8 sequences of 730 days a step",
    unit="station-days",
    call="vadose study downscale-stations",
    to_reach=">= 1.5 times as before: >= 53,000",
    takes=(20, 45),
)
def long_training(plan: Plan) -> list[Way]:
    return station_training(LONG_MEMORY, (2, 15), plan)


def station_filled(folder: Path, days: int, name: str, running: vd.Running) -> tuple[float, float, int]:
    """Days a second of a station's record filled, seconds of the first call, and graphs compiled."""
    table, checkpoint = random_stations(LONG, 4, days), load(folder / "net.pt")
    with graphs() as counted:
        calls = (partial(fill_station, table, "USCRN:0", folder / f"{name}{turn}") for turn in range(2))
        first, spent = (seconds(partial(call, network=checkpoint, level=0.9, running=running))[0] for call in calls)
    return days / spent, first, counted[0]


def plain_days(days: int, device: str) -> float:
    """Days a second of the network in plain PyTorch, over a record that lies ready."""
    model, fine = bare(replace(LONG_MEMORY, batch=1, sequence=days))
    model, fine = model.to(device).eval(), fine.to(device)
    with torch.inference_mode():
        model(fine)
        return fine.snapshot.shape[1] / seconds(lambda: model(fine).sum().item(), 3)[0]


@row(
    "fill-station",
    "gaps of a station's record filled by the network that remembers a year, with intervals",
    unit="days",
    call="vadose fill-station table.zarr STATION --model model.pt",
    to_reach="",
    takes=(12, 25),
)
def fill_stations(plan: Plan) -> list[Way]:
    days = plan.of(1500, 8000)
    with tempfile.TemporaryDirectory() as name:
        folder, (model, _) = Path(name), bare(LONG_MEMORY)
        kept = to_checkpoint("long_mmnet", LONG_MEMORY.hyper, model.model)
        torch.save(kept | {"domain": None, "attributes": {}}, folder / "net.pt")
        rival = Way("plain PyTorch, float32", alone(plain_days, days, plan.device)[0], note="network alone")
        return [rival, *in_precisions(station_filled, plan, folder, days)]
