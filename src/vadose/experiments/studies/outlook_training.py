"""Land-surface networks of a study: taught by a water balance, fitted to stations, each part held out in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from lightning_fabric.utilities.seed import seed_everything
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.artefact.checkpoint import load, save
from vadose.errors import VadoseError
from vadose.experiments.outlook import OutlookStudy
from vadose.models.land_surface import Blend, LandSurface
from vadose.models.mixture import mixture
from vadose.parallel.progress import Progress
from vadose.samples.land_surface import (
    DAILY,
    EVIDENCE,
    FIXED,
    PARTS,
    SOIL,
    WEATHER,
    Array,
    Climate,
    Drivers,
    Series,
    drivers,
    taught,
)
from vadose.training import loop
from vadose.training.land_surface import BlendTask, LandTask

Rows = NDArray[np.int64]


EARTH_KM = 6371.0
NEAR_KM, NEIGHBOURS = 200.0, 4
"""How far stations may be that fill a gap in the weather of another, and how many at most."""


def from_neighbours(weather: xr.Dataset) -> xr.Dataset:
    """Weather of stations (station, time) whose gaps hold what the nearest stations measure, by 1 / distance^2.

    Rain is multiplied by the ratio of the long-term means, other weather shifted by their difference. A gauge that
    fails leaves the ground's memory unknown for weeks, which a grid never does; moisture is of no other station.
    """
    climate = Climate.of(weather)
    lat, lon = np.radians(weather.lat.values), np.radians(weather.lon.values)
    apart = (
        np.sin((lat[:, None] - lat) / 2) ** 2
        + np.cos(lat[:, None]) * np.cos(lat) * np.sin((lon[:, None] - lon) / 2) ** 2
    )
    apart = 2 * EARTH_KM * np.arcsin(np.sqrt(apart))
    np.fill_diagonal(apart, np.inf)
    filled = {}
    for name, mean in zip(WEATHER, climate.course[..., 0].T, strict=True):
        measured = weather[name].transpose("station", "time").values
        values = measured.copy()
        for station, of_others in enumerate(apart):
            near = np.argsort(of_others)[:NEIGHBOURS]
            near = near[of_others[near] < NEAR_KM]
            there = measured[near]
            weight = np.isfinite(there) / np.maximum(of_others[near], 5.0)[:, None] ** 2
            if name == "precipitation":
                there = there * (mean[station] / np.maximum(mean[near], 0.1))[:, None]
            else:
                there = there + (mean[station] - mean[near])[:, None]
            gaps = np.isnan(values[station]) & (weight.sum(axis=0) > 0)
            values[station, gaps] = (np.nan_to_num(there) * weight)[:, gaps].sum(axis=0) / weight[:, gaps].sum(axis=0)
        filled[name] = ("station", "time"), np.maximum(values, 0)
    return weather.assign(filled)


@dataclass(frozen=True)
class Stations:
    """Weather, ground and moisture of the stations of a study.

    Attributes
    ----------
    store
        Over (station, time, layer), as `vadose.insitu.store.build_stations` writes it.
    """

    store: xr.Dataset

    @cached_property
    def weather(self) -> xr.Dataset:
        """Over (station, time), with gaps filled from stations near by."""
        return from_neighbours(self.measured)

    @cached_property
    def measured(self) -> xr.Dataset:
        """The same with its gaps."""
        return self.store[list(WEATHER)]

    @cached_property
    def climate(self) -> Climate:
        """Of the stations' whole records."""
        return Climate.of(self.weather)

    @cached_property
    def made(self) -> Drivers:
        """What drives the networks."""
        return drivers(self.weather, self.ground, self.climate)

    @cached_property
    def ground(self) -> xr.Dataset:
        """Soil and elevation (station)."""
        ground = xr.Dataset({"elevation": ("station", self.store.elevation.values)})
        for name in ("sand_fraction", "clay_fraction", "bulk_density"):
            for part, depth in zip(PARTS, (5, 20, 50), strict=True):
                ground[f"{name}_{part}"] = ("station", self.store[name].sel(depth=depth).values)
        return ground

    @cached_property
    def observed(self) -> Array:
        """(P, T, 3)."""
        return np.asarray(self.store.soil_moisture.transpose("station", "time", "layer").values, np.float32)

    @cached_property
    def series(self) -> Series:
        """To learn from."""
        return Series(self.made.daily, np.arange(len(self.observed)), self.made.fixed, self.observed)

    def parts(self, study: OutlookStudy) -> dict[str, dict[str, Rows]]:
        """Scheme -> name of a part -> the stations that it tests."""
        learn = set(study.learn_from)
        rows = np.flatnonzero([str(name) in learn for name in self.store.station.values])
        if len(rows) < study.folds:
            raise VadoseError(f"stations: {len(rows)} of those to learn from are in the store, fewer than folds")
        shuffled = np.array_split(np.random.default_rng(1).permutation(rows), study.folds)
        region = np.searchsorted(study.borders, self.store.lon.values[rows], side="right")
        names = dict(enumerate(("west", "middle", "east")))
        return {
            "off-site": {str(k + 1): np.sort(part) for k, part in enumerate(shuffled)},
            "cross-region": {name: rows[region == k] for k, name in names.items() if (region == k).any()},
        }


def train(stations: Stations, study: OutlookStudy, out: Path, progress: Progress) -> dict[str, dict[str, list[Path]]]:
    """Train what is not yet trained, and name the checkpoints: scheme -> part -> a file for each seed."""
    return {
        scheme: {
            part: [train_one(stations, study, out, (scheme, part, seed), progress) for seed in study.seeds]
            for part in parts
        }
        for scheme, parts in stations.parts(study).items()
    }


def train_one(
    stations: Stations, study: OutlookStudy, out: Path, run: tuple[str, str, int], progress: Progress
) -> Path:
    """Checkpoint of a scheme, part and seed, trained where it is not yet."""
    scheme, part, seed = run
    parts = stations.parts(study)[scheme]
    learnt = np.setdiff1d(np.concatenate(list(parts.values())), parts[part])
    folder = out / "runs" / scheme / part / str(seed)
    made_of = _made_of(stations, study) | {"fit": repr(study.fit), "near_km": NEAR_KM, "learnt": learnt.tolist()}
    if not is_current(folder, study=made_of):
        held = np.random.default_rng(seed).permutation(learnt)[: len(learnt) // 10]
        network = _taught(stations, study, out, seed, progress)
        label, learnt = f"{scheme} {part}, seed {seed}", np.setdiff1d(learnt, held)
        _fit(LandTask(network, study.fit, seed, label, stations.series, learnt, held), folder, made_of, progress)
    return folder / "model.pt"


def _made_of(stations: Stations, study: OutlookStudy) -> dict[str, Any]:
    named: dict[str, Any] = {"soils": study.soils, "teach": repr(study.teach), "hidden": study.hidden}
    return named | {"features": " ".join(DAILY + FIXED), "stations": identity(stations.store)}


def _fit(task: LandTask, folder: Path, made_of: dict[str, Any], progress: Progress) -> None:
    """Train a network, and write it with its history."""
    _, log = loop.fit(task, progress=progress)
    with writing(folder) as scratch:
        scratch.mkdir()
        save({"network": task.network.state_dict()}, scratch / "model.pt")
        loop.write_history(log, scratch)
        note_inputs(scratch, study=made_of)


def _taught(stations: Stations, study: OutlookStudy, out: Path, seed: int, progress: Progress) -> LandSurface:
    """A network as the water balance has taught it, under the weather of all stations: their moisture is in none.

    The weather is as measured, with its gaps: what they mean is learnt here, for the fit sees few of them.
    """
    network, folder = new(stations, study, seed), out / "runs" / "taught" / str(seed)
    if not study.soils:
        return network
    made_of = _made_of(stations, study)
    if not is_current(folder, study=made_of):
        soils = stations.made.fixed[:, : len(SOIL)]
        soils = soils[np.isfinite(soils).all(axis=1)].astype(float)
        if not len(soils):
            raise VadoseError("stations: none has sand, clay and bulk density of all layers to draw soils from")
        climate = Climate.of(stations.measured)
        made = drivers(stations.measured, stations.ground, climate)
        lessons = taught(stations.measured, climate, made, soils, study.soils, seed)
        rows = np.arange(study.soils)
        held = max(1, study.soils // 25)
        task = LandTask(network, study.teach, seed, f"taught, seed {seed}", lessons, rows[held:], rows[:held])
        _fit(task, folder, made_of, progress)
    network.load_state_dict(load(folder / "model.pt", needs=("network",), made_by="vadose study outlook")["network"])
    return network


def new(stations: Stations, study: OutlookStudy, seed: int) -> LandSurface:
    """An untrained network."""
    seed_everything(seed, verbose=False)
    made = stations.made
    return LandSurface(made.daily.shape[-1], made.fixed.shape[-1], study.hidden)


def read(stations: Stations, study: OutlookStudy, files: Sequence[Path]) -> list[LandSurface]:
    """Trained networks."""
    networks = []
    for file in files:
        network = new(stations, study, 0)
        network.load_state_dict(load(file, needs=("network",), made_by="vadose study outlook")["network"])
        networks.append(network.eval())
    return networks


@torch.no_grad()
def held_out(stations: Stations, study: OutlookStudy, files: dict[str, list[Path]], parts: dict[str, Rows]) -> Array:
    """Mean and deviation of the networks (2, P, T, 3) at the stations that they have not learnt from, NaN elsewhere."""
    found = np.full((2, *stations.observed.shape), np.nan, np.float32)
    for name, rows in parts.items():
        inputs = torch.from_numpy(stations.made.daily[rows]), torch.from_numpy(stations.made.fixed[rows])
        each = (network.distribution(*inputs) for network in read(stations, study, files[name]))
        found[:, rows] = mixture((mean.numpy(), std.numpy()) for mean, std in each)
    return found


def blend_of(
    stations: Stations, study: OutlookStudy, joint: Array, rows: Rows, label: str, progress: Progress
) -> Blend:
    """What corrects the networks' joint estimate, learnt at the places held out from them."""
    seed_everything(0, verbose=False)
    blend = Blend(len(EVIDENCE))
    task = BlendTask(blend, study.blend, 0, label, joint[0], joint[1], stations.observed, rows)
    loop.fit(task, progress=progress)
    return blend.eval()
