"""Maps of soil moisture at 100 m: the weather encoded once a distinct history, pixels combined tile by tile."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, provenance, remove, writing
from vadose.artefact.learnt import single_models
from vadose.artefact.predictions import consolidate
from vadose.door.values import Outside, by_variable
from vadose.errors import VadoseError
from vadose.parallel.progress import Progress
from vadose.parallel.running import Running
from vadose.parallel.workers import on_workers
from vadose.predict.map_features import MapFeatures
from vadose.predict.map_files import create_maps, open_maps, place_of
from vadose.predict.map_networks import Members
from vadose.predict.map_notes import attributes_of, calibration_of, inputs_of
from vadose.predict.map_tiles import Mapped, MapRun, Window
from vadose.training.station_days import load

_DONE = "days_done"
_OUTSIDE = "outside"
"""Name, day and number of values outside the valid range; noted with the days done."""


def downscale_maps(
    checkpoint: Path,
    fine: xr.Dataset,
    coarse: xr.Dataset | Sequence[xr.Dataset],
    days: Iterable[Any],
    out: Path,
    *,
    tile: int = 1024,
    passes: int | None = None,
    running: Running = Running(),
    made_of: dict[str, Any] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    r"""Estimate soil moisture on every pixel of a fine grid, a map a day, and write the store.

    Pixels that have the same nearest cell in every field of the series share a history. `vadose.models.folded`
    encodes each once a tile, and adds a pixel's own features to its history's code; the answer is that of the
    network for each pixel by itself, up to rounding. Networks without a shared history (an LSTM that is told
    features of the pixel, one stream for both) are run for each pixel, in float32, at a fraction of the speed.
    The next tile is read and the last one written while one is computed.

    Nothing is estimated outside of the ``mask`` of ``fine``, where no feature of ``fine`` is known, or where
    no value of a history is. Single missing features are masked as the network learnt it; ``missing_share`` (init_time,
    lead_time, feature) is the share of mapped pixels, of histories the share of their values too, that lacked one.

    Single values outside the valid range of their feature are missing; the attribute ``values_outside`` and the
    terminal say how many.

    Interrupted, the days done are kept beside ``out`` and not computed again; ``out`` appears when it is whole.
    Workers map rows of tiles of a day each and write their own chunks; each of them, and this process, reads the
    coarse fields.

    Parameters
    ----------
    checkpoint
        Of a network as `vadose.models.to_checkpoint` makes it, and where known ``domain`` (`vadose.models.domain`) and
        ``attributes``; or of a blend, with ``members``, a list of such, seeds of a run or (``draws`` False) runs.
    fine
        Features (y, x) and (time, y, x) on a part of ``ease_grid('100m')``, or another of the nested grids.
    coarse
        Daily fields on coarser nested grids, or on latitudes and longitudes; the first that has a feature
        gives it. Their values of all days that are needed under the map are held in memory.
    days
        Days to map, rising.
    out
        Zarr store of ``soil_moisture`` (init_time, lead_time, y, x) [m3 m-3], a day at lead 0; of
        ``soil_moisture_std`` where a network has a deviation or there are several, that of their mixture; of
        ``soil_moisture_quantile`` (init_time, lead_time, quantile, y, x) where the run is calibrated
        (`vadose.predict.calibration`), the attribute ``calibration`` says by what or why it is not; and of
        ``outside_training`` where the checkpoint knows the domain of its training.
    tile
        Edge of the tiles that are computed at once and of the chunks of the store [cell].
    passes
        With dropout, 0 for none; when left out as many as the run's estimates at stations are of (``dropout_passes``).
        The units that a pass drops are the same for all pixels and days, so that its map has no noise of its own.
    running
        Where networks run, in which precision and whether compiled; the attribute ``precision`` says which it was. An
        LSTM and networks without a shared history run in float32 always.
    made_of
        What the maps are made of besides: ``data``, the `vadose.artefact.identity` of the stores that ``fine`` and
        ``coarse`` are of, where it is known. When left out it is that of all their values.
    workers
        Processes on this machine; with more than one ``fine`` and ``coarse`` have to be opened lazily.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, whose workers see the same files.

    Raises
    ------
    VadoseError
        When a feature or a day is missing, grids do not nest, a field does not cover the map, features were
        filled otherwise than those the network learnt from, no scheduler answers, or workers were to be sent data
        held in memory.

    Notes
    -----
    Mean and deviation of several are those of `vadose.models.mixture.mixture`: seeds and passes with dropout are draws
    of one network, the runs of an ensemble are not.
    """
    kept = load(checkpoint)
    fields = [coarse] if isinstance(coarse, xr.Dataset) else list(coarse)
    when = pd.DatetimeIndex(list(days))
    if not len(when) or not when.is_monotonic_increasing or not when.is_unique or (when != when.normalize()).any():
        raise VadoseError(
            f"maps: {len(when)} days given; expected at least one, in increasing order, without time of day"
        )
    attributes = attributes_of(kept, fine, fields)
    inputs = {
        "checkpoint": identity(checkpoint),
        "days": [f"{day:%Y-%m-%d}" for day in when],
        "tile": tile,
        "precision": running.precision,
        **({} if passes is None else {"passes": passes}),
        "fine": inputs_of(fine),
        "coarse": [inputs_of(field) for field in fields],
        "data": None,
        **(made_of or {}),
    }
    inputs["data"] = inputs["data"] or identity(fine, *fields)
    if is_current(out, **inputs):
        return out
    begun = out.with_name(f".{out.name}.days")
    job = _Job(checkpoint, fine, fields, when, running, begun, passes)
    run = job.run
    with writing(out) as scratch, on_workers(workers, scheduler) as do:
        if not (is_current(begun, **inputs) and _DONE in open_maps(begun).attrs):
            remove(begun)
            job.running = run.settled(running)
            _create(begun, run, tile, attributes | provenance(**inputs) | {"precision": job.running.precision})
        store = open_maps(begun)
        job.running = run.settled(replace(running, precision=store.attrs["precision"]))
        first, windows = int(store.attrs[_DONE]), _windows(run.features.grid.shape, tile)
        jobs = [(day, *window) for day in range(first, len(when)) for window in windows]
        done: Iterator[Mapped]
        if workers > 1 or scheduler:
            across = len({columns.start for _, columns in windows})
            rows = [jobs[start : start + across] for start in range(0, len(jobs), across)]
            done = (window for found in do(job, rows) for window in found)
        else:
            done = _mapped(store, job.ready(), jobs)
        for share in _noted(store, done, len(windows), run.notes):
            progress(f"mapping {out.stem}", share)
        if run.calibration is None:
            progress(f"{out.stem} without quantiles, {run.calibrated}", 1.0)
        for note in run.notes:
            progress(f"mapping {out.stem} goes on {note}", 1.0)
        outside = run.features.outside | Outside({(name, on): n for name, on, n in store.attrs.get(_OUTSIDE, [])})
        if found := by_variable(outside):
            store.attrs["values_outside"] = json.dumps(found)
            progress(f"{out.stem}, values outside the valid range taken as missing, {found}", 1.0)
        for note in (_DONE, _OUTSIDE):
            store.attrs.pop(note, None)
        consolidate(begun)
        begun.rename(scratch)
    return out


def _create(path: Path, run: MapRun, tile: int, attributes: dict[str, Any]) -> None:
    grid, days = run.features.grid, run.features.days
    described = {"long_name": "share of mapped pixels on which a feature is missing", "units": "1"}
    shares = xr.Dataset(
        {"missing_share": (("time", "feature"), np.full((len(days), len(run.told)), np.nan, np.float32), described)},
        coords={"feature": np.array(run.told, object)},
        attrs=attributes | {"calibration": run.calibrated, _DONE: 0, _OUTSIDE: []},
    )
    group = create_maps(path, grid, days, run.layers, edge=tile, beside=shares)
    if "soil_moisture_std" in run.layers:
        several, own = len(run.networks) > 1, all(network.model.has_deviation for network in run.networks)
        kind = ("mixture of members" if own else "spread of members alone") if several else "of the network"
        group["soil_moisture_std"].attrs["comment"] = f"standard deviation: {kind}"


class _Job:
    """Map windows and write them; sent to workers whole, but for what they read by themselves."""

    def __init__(
        self,
        checkpoint: Path,
        fine: xr.Dataset,
        coarse: list[xr.Dataset],
        days: pd.DatetimeIndex,
        running: Running,
        store: Path,
        passes: int | None,
    ) -> None:
        self.checkpoint, self.store = checkpoint.resolve(), store.resolve()
        self.fine, self.coarse, self.days, self.running, self.passes = fine, coarse, days, running, passes

    @cached_property
    def run(self) -> MapRun:
        kept = load(self.checkpoint)
        members = Members(kept, self.passes)
        features = MapFeatures(self.fine, self.coarse, [network.features for network in members.networks], self.days)
        calibrated = calibration_of(kept, members.has_deviation, self.passes, self.coarse)
        return MapRun(members, features, _with_domain(kept) or next(single_models(kept)), calibrated)

    def ready(self) -> MapRun:
        """The same with networks as they are to run."""
        for network in self.run.networks:
            network.prepare(self.running, self.run.notes.add)
        return self.run

    @cached_property
    def _held(self) -> MapRun:
        return self.ready()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("run", "_held")}

    def __call__(self, windows: list[Window]) -> list[Mapped]:
        return list(_mapped(open_maps(self.store), self._held, windows))


def _with_domain(checkpoint: dict[str, Any]) -> dict[str, Any] | None:
    """The first that knows the domain of its training, of a checkpoint and its members."""
    if checkpoint.get("domain") is not None:
        return checkpoint
    return next(filter(None, map(_with_domain, checkpoint.get("members", ()))), None)


def _windows(shape: tuple[int, int], tile: int) -> list[tuple[slice, slice]]:
    """Rows and columns of tiles, which are chunks of the store."""
    height, width = shape
    return [
        (slice(row, min(row + tile, height)), slice(column, min(column + tile, width)))
        for row in range(0, height, tile)
        for column in range(0, width, tile)
    ]


def _mapped(store: zarr.Group, run: MapRun, windows: Sequence[Window]) -> Iterator[Mapped]:
    """Windows as they are written; the next one is read and the last one written while one is computed."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = [reader.submit(run.read, *window) for window in windows[:1]]
        before: list[tuple[Future[None] | None, Mapped]] = []
        for number, window in enumerate(windows, 1):
            found = coming.pop().result()
            coming += [reader.submit(run.read, *following) for following in windows[number : number + 1]]
            yield from _written(before)
            pixels = int(found.kept.sum())
            write = writer.submit(_write, store, run.estimate(found), *window) if pixels else None
            before = [(write, Mapped(window[0], pixels, found.missing, found.outside, run.notes))]
        yield from _written(before)


def _written(windows: list[tuple[Future[None] | None, Mapped]]) -> Iterator[Mapped]:
    for write, window in windows:
        if write is not None:
            write.result()
        yield window


def _noted(store: zarr.Group, done: Iterable[Mapped], windows: int, notes: set[str]) -> Iterator[float]:
    """Note days as they are whole, and tell how far it is; workers may be done with a later one first."""
    shares = store["missing_share"]
    first, days = int(store.attrs[_DONE]), shares.shape[0] * shares.shape[1]
    missing = np.zeros((days, shares.shape[2]))
    pixels, counts = np.zeros(days, np.int64), np.zeros(days, np.int64)
    counts[:first] = windows
    outside = Outside({(name, on): n for name, on, n in store.attrs.get(_OUTSIDE, [])})
    of_days: dict[int, Outside] = defaultdict(Outside)
    for day, mapped, lacking, wrong, told in done:
        notes |= told
        of_days[day] += wrong
        pixels[day] += mapped
        counts[day] += 1
        missing[day] += lacking if mapped else 0
        if counts[day] == windows:
            if pixels[day]:
                shares[place_of(shares, day)] = (missing[day] / pixels[day]).astype(np.float32)
            outside |= of_days.pop(day)
            # Those before the first that is not whole.
            whole = int(np.cumprod(counts == windows).sum())
            store.attrs.update({_DONE: whole, _OUTSIDE: [[*of, n] for of, n in outside.items()]})
        yield float(counts.sum()) / (windows * days)


def _write(store: zarr.Group, layers: dict[str, NDArray[np.float32]], day: int, rows: slice, columns: slice) -> None:
    for name, values in layers.items():
        store[name][(*place_of(store[name], day), ..., rows, columns)] = values
