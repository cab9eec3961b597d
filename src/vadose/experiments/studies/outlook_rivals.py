"""What land-surface networks have to beat on the same samples: trees on long means, stacks with them, few weeks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.experiments.outlook import OutlookStudy
from vadose.experiments.studies.outlook_scores import Estimate, Part
from vadose.experiments.studies.outlook_training import NEAR_KM, Stations
from vadose.models.mixture import mixture
from vadose.models.mmnet import Features
from vadose.parallel.progress import Progress
from vadose.predict.outlook.moisture import LAYERS
from vadose.samples.land_surface import FIXED, WEATHER, Array, spans
from vadose.samples.station_days import StationDays
from vadose.training.stacking import stack
from vadose.training.trees import estimate_trees, fit_trees

Rows = NDArray[np.int64]
WINDOWS = (1, 3, 7, 14, 30, 90, 180, 365)
BUCKETS = ("bucket_10mm", "bucket_25mm", "bucket_60mm", "bucket_150mm")
FEATURES = Features((*FIXED, "season_sine", "season_cosine"), (*WEATHER, *BUCKETS), days=365, ends=0)
STRETCHES = {"no sensor": 0, "2 weeks": 14, "4 weeks": 28, "12 weeks": 84, "1 year": 365}
"""Days of an own sensor from its first observation on."""


def trees(
    stations: Stations, study: OutlookStudy, tested: Mapping[str, Rows], out: Path, progress: Progress
) -> Estimate:
    """Trees on means of the weather over 1 to 365 days, buckets, ground and climate, each part by those of the others.

    As ``trees-buckets`` of the study of downscaling at stations, but smaller, and without the place and the surface
    temperature, which the networks do not have either. What a run that was stopped has fitted is kept.
    """
    found = np.full((2, *stations.observed.shape), np.nan, np.float32)
    every = np.concatenate(list(tested.values()))
    days: StationDays | None = None
    for name, rows in tested.items():
        folder = out / "runs" / "trees" / name
        made_of: dict[str, object] = {
            "trees": repr(study.trees),
            "of": repr(FEATURES),
            "stations": identity(stations.store),
        }
        made_of |= {"tested": rows.tolist(), "near_km": NEAR_KM}
        if not is_current(folder, study=made_of):
            days = days or _station_days(stations)
            learnt = np.isin(np.arange(len(stations.observed)), np.setdiff1d(every, rows))
            where = np.broadcast_to(learnt[:, None], days.shape)
            of_part = []
            for layer in range(len(LAYERS)):
                progress(f"trees {name}", layer / len(LAYERS))
                days.observed = stations.observed[..., layer]
                fitted = fit_trees(days, where, windows=WINDOWS, gaussian=True, **vars(study.trees))
                of_part.append(estimate_trees(fitted, ~where))
            with writing(folder) as scratch:
                scratch.mkdir()
                np.save(scratch / "estimate.npy", np.moveaxis(np.array(of_part), 0, -1)[:, rows])
                note_inputs(scratch, study=made_of)
        found[:, rows] = np.load(folder / "estimate.npy")
    return found[0], found[1]


def _station_days(stations: Stations) -> StationDays:
    """Inputs of the trees: the networks', and buckets of the same weather."""
    fixed = {name: ("station", column) for name, column in zip(FIXED, stations.made.fixed.T, strict=True)}
    moisture = ("station", "time"), stations.observed[..., 0]
    return StationDays(stations.weather.assign(fixed).assign(soil_moisture=moisture), FEATURES)


def stacked(one: Estimate, other: Estimate, observed: Array, parts: list[Rows]) -> Estimate:
    """Mixture of two estimates; its weights are learnt at the stations of the other parts, for each layer."""
    found = [np.full(observed.shape, np.nan, np.float32) for _ in range(2)]
    day = np.broadcast_to(np.arange(observed.shape[1]), observed.shape[:2])
    for rows in parts:
        others = np.setdiff1d(np.concatenate(parts), rows)
        for layer in range(len(LAYERS)):
            at = others, slice(None), layer
            weights = stack(
                [(mean[at].ravel(), std[at].ravel()) for mean, std in (one, other)],
                observed[at].ravel(),
                day[others].ravel(),
                observed.shape[1],
                names=["networks", "trees"],
                apart=30,
            ).weights
            at = rows, slice(None), layer
            joined = mixture([(mean[at], std[at]) for mean, std in (one, other)], [np.float32(w) for w in weights])
            for target, values in zip(found, joined, strict=True):
                target[at] = values
    return found[0], found[1]


def read_for(days: int, part: Part) -> Estimate:
    """Estimates from what an own sensor told in its first days, so many of them."""
    seen = np.arange(part.observed.shape[1]) < spans(part.observed)[:, :1] + days
    return part.told(np.where(seen[..., None], part.observed, np.float32(np.nan)), 1)


def year_after(observed: Array) -> Array:
    """Observations of the year that follows the longest of `STRETCHES`, NaN elsewhere: the same for all of them."""
    begin = spans(observed)[:, :1] + max(STRETCHES.values())
    day = np.arange(observed.shape[1])
    return np.where(((day >= begin) & (day < begin + 365))[..., None], observed, np.float32(np.nan))
