"""Maps of soil moisture at 100 m: the weather encoded once a distinct history, pixels combined tile by tile."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
import zarr
from numpy.typing import NDArray
from torch import Tensor

from vadose.artefact import identity, is_current, provenance, remove, writing
from vadose.artefact.learnt import single_models
from vadose.artefact.predictions import consolidate
from vadose.door.values import Outside, by_variable
from vadose.errors import VadoseError
from vadose.models import from_checkpoint
from vadose.models.domain import domain_distance
from vadose.models.folded import Folded, fold
from vadose.models.mixture import mixture
from vadose.models.mmnet import Downscaler, Features, Fine
from vadose.parallel.progress import Progress
from vadose.parallel.workers import on_workers
from vadose.predict.map_features import MapFeatures
from vadose.predict.map_files import create_maps, open_maps, place_of
from vadose.predict.map_notes import attributes_of, inputs_of
from vadose.training.station_days import load

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}
PIXELS_AT_ONCE = 1 << 13
"""Pixels combined at once: what lies between the layers then stays in the cache of a processor."""
DAYS_AT_ONCE = 1 << 16
"""Histories x days encoded at once."""
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
    precision: str = "float32",
    device: str = "cpu",
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
        ``attributes``; or of a blend, with ``members``, a list of such.
    fine
        Features (y, x) and (time, y, x) on a part of ``ease_grid('100m')``, or another of the nested grids.
    coarse
        Daily fields on coarser nested grids, or on latitudes and longitudes; the first that has a feature
        gives it. Their values of all days that are needed under the map are held in memory.
    days
        Days to map, rising.
    out
        Zarr store of ``soil_moisture`` (init_time, lead_time, y, x) [m3 m-3], a day at lead 0; of
        ``soil_moisture_std`` where a network has a deviation or there are several, that of their mixture; and of
        ``outside_training`` where the checkpoint knows the domain of its training.
    tile
        Edge of the tiles that are computed at once and of the chunks of the store [cell].
    precision
        ``'float32'`` or ``'bf16'`` (about 1 % of the deviation of the moisture as rounding error; faster only
        on processors that have instructions for it).
    device
        Where networks run, as torch names it, such as ``'cuda'``.
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
    Mean and deviation of an ensemble are those of `vadose.models.mixture.mixture`, its members draws of one network.
    """
    if precision not in PRECISIONS:
        raise VadoseError(f"maps: precision {precision!r} unknown; choose from {list(PRECISIONS)}")
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
        "precision": precision,
        "fine": inputs_of(fine),
        "coarse": [inputs_of(field) for field in fields],
        "data": None,
        **(made_of or {}),
    }
    inputs["data"] = inputs["data"] or identity(fine, *fields)
    if is_current(out, **inputs):
        return out
    begun = out.with_name(f".{out.name}.days")
    job = _Job(checkpoint, fine, fields, when, precision, device, begun)
    run = job.run
    with writing(out) as scratch, on_workers(workers, scheduler) as do:
        if not (is_current(begun, **inputs) and _DONE in open_maps(begun).attrs):
            remove(begun)
            _create(begun, run, tile, attributes | provenance(**inputs))
        store = open_maps(begun)
        first, windows = int(store.attrs[_DONE]), _windows(run.features.grid.shape, tile)
        jobs = [(day, *window) for day in range(first, len(when)) for window in windows]
        done: Iterator[_Mapped]
        if workers > 1 or scheduler:
            across = len({columns.start for _, columns in windows})
            rows = [jobs[start : start + across] for start in range(0, len(jobs), across)]
            done = (window for found in do(job, rows) for window in found)
        else:
            done = _mapped(store, run, jobs)
        for share in _noted(store, done, len(windows)):
            progress(f"mapping {out.stem}", share)
        outside = run.features.outside | Outside({(name, on): n for name, on, n in store.attrs.get(_OUTSIDE, [])})
        if found := by_variable(outside):
            store.attrs["values_outside"] = json.dumps(found)
            progress(f"{out.stem}, values outside the valid range taken as missing, {found}", 1.0)
        for note in (_DONE, _OUTSIDE):
            store.attrs.pop(note, None)
        consolidate(begun)
        begun.rename(scratch)
    return out


_Window = tuple[int, slice, slice]
"""Day, rows and columns."""


class _Network:
    """A member: what it is given, and its mean and deviation of pixels that share histories."""

    def __init__(self, checkpoint: dict[str, Any], dtype: torch.dtype, device: str) -> None:
        self.model: Downscaler = from_checkpoint(checkpoint).to(device)
        self.features: Features = self.model.features
        self.device = device
        self.folded: Folded | None = None
        self.at_once = PIXELS_AT_ONCE if device == "cpu" else DAYS_AT_ONCE
        if self.model.folds:
            self.folded = fold(self.model, dtype)
        else:
            # Such a network is handed the whole history of each pixel.
            self.at_once = max(1, DAYS_AT_ONCE // self.features.days)

    @torch.inference_mode()
    def __call__(self, snapshot: Tensor, series: Tensor, which: Tensor) -> Tensor:
        """Mean and deviation (2, N), of the latter NaN where the network has none."""
        found = torch.empty(2, len(snapshot))
        code, which = series.to(self.device), which.to(self.device)
        if self.folded is not None:
            code = torch.cat([self.folded.encode(part) for part in _parts(code, DAYS_AT_ONCE // self.features.days)])
        for start, pixels in enumerate(_parts(snapshot, self.at_once)):
            part = slice(start * self.at_once, (start + 1) * self.at_once)
            pixels = pixels.to(self.device)
            if self.folded is not None:
                both = self.folded.distribution(pixels, code, which[part])
            else:
                both = self.model.distribution(Fine(pixels, code[which[part]]))
            found[0, part], found[1, part] = both
        return found


def _parts(rows: Tensor, size: int) -> list[Tensor]:
    return [rows[start : start + max(size, 1)] for start in range(0, len(rows), max(size, 1))]


class _Tile(NamedTuple):
    """Pixels of a window on a day: (row, column) which are mapped, their features, and histories they share."""

    kept: NDArray[np.bool_]
    snapshot: Tensor
    histories: list[tuple[Tensor, Tensor]]
    missing: NDArray[np.float64]
    outside: Outside


class _Mapped(NamedTuple):
    """A window that was written: its day, pixels mapped, how many lack each feature, values outside the valid range."""

    day: int
    pixels: int
    missing: NDArray[np.float64]
    outside: Outside


class _Run:
    """What is read of a window, and what is made of it."""

    def __init__(self, networks: list[_Network], features: MapFeatures, trained: dict[str, Any]) -> None:
        self.networks, self.features = networks, features
        names = features.names
        self.domain: dict[str, Tensor] | None = trained.get("domain")
        self.of_domain = [names.index(name) for name in trained["inputs"]["snapshot"]]
        self.columns = [[names.index(name) for name in network.features.snapshot] for network in networks]
        # Members that take the same series share its histories.
        spans = [(n.features.series, n.features.days, n.features.ends) for n in networks]
        self.spans = list(dict.fromkeys(spans))
        self.span_of = [self.spans.index(span) for span in spans]
        self.layers: tuple[str, ...] = ("soil_moisture",)
        if len(networks) > 1 or networks[0].model.has_deviation:
            self.layers += ("soil_moisture_std",)
        if self.domain is not None:
            self.layers += ("outside_training",)
        self.told = names + [f"{name}, series" for name in features.series_names]

    def read(self, day: int, rows: slice, columns: slice) -> _Tile:
        features = self.features
        kept = features.inside(rows, columns)
        snapshot, outside = features.snapshot(day, rows, columns)
        if features.own:
            kept &= np.isfinite(snapshot[features.own]).any(axis=0)
        found = [features.histories(Features((), *span), day, rows, columns) for span in self.spans]
        for series, which in found:
            if series.shape[2]:
                kept &= np.asarray(np.isfinite(series).any(axis=(1, 2)))[which]
        # (S, N) seen as (N, S): no copy where all are kept.
        pixels = snapshot.reshape(len(snapshot), -1) if kept.all() else snapshot[:, kept]
        histories, lacking = [], dict.fromkeys(features.series_names, 0.0)
        for (series, which), (names, _, _) in zip(found, self.spans, strict=True):
            chosen = which[kept]
            count = np.bincount(chosen, minlength=len(series))
            # Only histories that a mapped pixel has are encoded.
            position = np.cumsum(count > 0) - 1
            histories.append((torch.from_numpy(series[count > 0]), torch.from_numpy(position[chosen])))
            for name, gaps in zip(names, count @ np.isnan(series).mean(axis=1), strict=True):
                lacking[name] = max(lacking[name], gaps)
        missing = np.concatenate([np.isnan(pixels).sum(axis=1), list(lacking.values())])
        return _Tile(kept, torch.from_numpy(pixels).T, histories, missing, outside)

    def estimate(self, tile: _Tile) -> dict[str, NDArray[np.float32]]:
        """Layers (row, column) of a tile."""
        everything = list(range(len(self.features.names)))
        estimates = (
            network(tile.snapshot if columns == everything else tile.snapshot[:, columns], *tile.histories[span])
            for network, columns, span in zip(self.networks, self.columns, self.span_of, strict=True)
        )
        values = dict(
            zip(
                ("soil_moisture", "soil_moisture_std"),
                mixture((tuple(each.numpy()) for each in estimates), draws=True),
                strict=True,
            )
        )
        if self.domain is not None:
            values["outside_training"] = domain_distance(tile.snapshot[:, self.of_domain], self.domain).numpy()
        layers = {}
        for name in self.layers:
            layers[name] = np.full(tile.kept.shape, np.nan, np.float32)
            layers[name][tile.kept] = values[name]
        return layers


def _create(path: Path, run: _Run, tile: int, attributes: dict[str, Any]) -> None:
    grid, days = run.features.grid, run.features.days
    described = {"long_name": "share of mapped pixels on which a feature is missing", "units": "1"}
    shares = xr.Dataset(
        {"missing_share": (("time", "feature"), np.full((len(days), len(run.told)), np.nan, np.float32), described)},
        coords={"feature": np.array(run.told, object)},
        attrs=attributes | {_DONE: 0, _OUTSIDE: []},
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
        precision: str,
        device: str,
        store: Path,
    ) -> None:
        self.checkpoint, self.store = checkpoint.resolve(), store.resolve()
        self.fine, self.coarse, self.days, self.precision, self.device = fine, coarse, days, precision, device

    @cached_property
    def run(self) -> _Run:
        kept = load(self.checkpoint)
        members = list(single_models(kept))
        networks = [_Network(member, PRECISIONS[self.precision], self.device) for member in members]
        features = MapFeatures(self.fine, self.coarse, [network.features for network in networks], self.days)
        return _Run(networks, features, kept if kept.get("domain") is not None else members[0])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "run"}

    def __call__(self, windows: list[_Window]) -> list[_Mapped]:
        return list(_mapped(open_maps(self.store), self.run, windows))


def _windows(shape: tuple[int, int], tile: int) -> list[tuple[slice, slice]]:
    """Rows and columns of tiles, which are chunks of the store."""
    height, width = shape
    return [
        (slice(row, min(row + tile, height)), slice(column, min(column + tile, width)))
        for row in range(0, height, tile)
        for column in range(0, width, tile)
    ]


def _mapped(store: zarr.Group, run: _Run, windows: Sequence[_Window]) -> Iterator[_Mapped]:
    """Windows as they are written; the next one is read and the last one written while one is computed."""
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming = [reader.submit(run.read, *window) for window in windows[:1]]
        before: list[tuple[Future[None] | None, _Mapped]] = []
        for number, window in enumerate(windows, 1):
            found = coming.pop().result()
            coming += [reader.submit(run.read, *following) for following in windows[number : number + 1]]
            yield from _written(before)
            pixels = int(found.kept.sum())
            write = writer.submit(_write, store, run.estimate(found), *window) if pixels else None
            before = [(write, _Mapped(window[0], pixels, found.missing, found.outside))]
        yield from _written(before)


def _written(windows: list[tuple[Future[None] | None, _Mapped]]) -> Iterator[_Mapped]:
    for write, window in windows:
        if write is not None:
            write.result()
        yield window


def _noted(store: zarr.Group, done: Iterable[_Mapped], windows: int) -> Iterator[float]:
    """Note days as they are whole, and tell how far it is; workers may be done with a later one first."""
    shares = store["missing_share"]
    first, days = int(store.attrs[_DONE]), shares.shape[0] * shares.shape[1]
    missing = np.zeros((days, shares.shape[2]))
    pixels, counts = np.zeros(days, np.int64), np.zeros(days, np.int64)
    counts[:first] = windows
    outside = Outside({(name, on): n for name, on, n in store.attrs.get(_OUTSIDE, [])})
    of_days: dict[int, Outside] = defaultdict(Outside)
    for day, mapped, lacking, wrong in done:
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
        store[name][(*place_of(store[name], day), rows, columns)] = values
