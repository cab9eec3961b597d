"""A trained run and a cube to a store of forecasts."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from vadose.artefact import checkpoint as checkpoint_file
from vadose.artefact import identity, is_current, provenance, writing
from vadose.artefact.learnt import as_attributes, check_place, learnt_by_checkpoint, learnt_by_inputs, learnt_on, merged
from vadose.door.days import Period, daily, in_order
from vadose.door.place import Place, forecasts_at
from vadose.door.values import Outside, by_variable
from vadose.errors import VadoseError
from vadose.features.normals import HARMONIC, with_normals
from vadose.models import from_checkpoint
from vadose.models.inputs import NORMAL, Channels, Inputs
from vadose.models.tiles import predict_tiles, reach
from vadose.parallel.workers import Run, on_workers
from vadose.samples.windows import Samples
from vadose.variables import describe

LEADS = (1, 3, 7, 14, 30)
TILE = 112
"""Edge of the tiles that a larger map is forecast in [cell]."""
_CELL_DAYS_AT_ONCE = 1 << 18
"""Cells x days of history given to a model at once."""
BLOCK_DAYS = 64
"""Days of issue in a chunk of the store, and in a unit of work."""
_BANDS = 32
"""Units of work that the cells are parted into where a model goes over all days at once."""
Array = NDArray[np.float32]
Progress = Callable[[str, float], None]


def forecast(
    checkpoint: Path,
    cube: xr.Dataset,
    out: Path,
    *,
    first: str,
    last: str,
    leads: tuple[int, ...] | None = None,
    stride: int | None = None,
    above: Mapping[str, xr.Dataset] | None = None,
    of_members: Sequence[xr.Dataset] | None = None,
    passes: int | None = None,
    made_of: dict[str, Any] | None = None,
    finish: Callable[[xr.Dataset], xr.Dataset] | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Forecast every day of ``first`` .. ``last`` (the last days known) and write the store.

    A model trained on windows is applied to windows ``stride`` cells apart (a quarter of their edge
    when left out), and overlaps are averaged with weights that rise toward a window's centre, where
    errors are smallest. One trained on whole maps is applied to whole maps, large ones in tiles that overlap by
    as far as the network sees. One that takes sequences
    goes once over the days asked for and the look-back before them.

    A predictor that is missing on the last day known in more than half of the cells does not stop the
    forecast: the networks take the training mean in its place, trees their branch for it. The store
    says so in ``inputs_missing`` (init_time, channel).

    What a model keeps of each cell or station (climatologies, a place among its predictors) is found by coordinate or
    name: it forecasts any part of the grid it learnt on. A model that keeps nothing of the kind forecasts any cells of
    the same size. The store says in ``learnt_from`` which days were learnt from.

    Workers forecast blocks of 64 days of issue each, of a cube they read by themselves; of a model that takes
    sequences parts of the cells, of all days, and passes with dropout whole. The forecast is that of one process up to
    rounding. One that dies costs what it was at. This process holds the forecast in memory until it is written, as it
    does without workers.

    Parameters
    ----------
    checkpoint
        ``selected.pt`` or ``final.pt`` of a run.
    cube
        One grid of a cube; where the model takes normals it has to hold the days the run learnt from. Days it lacks
        are missing days.
    leads
        Lead times [day]; `LEADS`, as far as the model has them, when left out.
    out
        Zarr store of ``soil_moisture`` (init_time, lead_time, y, x), and of ``soil_moisture_std`` where
        the model has a deviation.
    above
        Forecast stores of the layers above by name, for a model of a cascade.
    of_members
        Forecast stores of a blend's members of the same days, to join instead of forecasting anew.
    passes
        Forecast so many times with the network's dropout left on and join the passes as members of a blend
        (Monte Carlo dropout, Gal and Ghahramani 2016, arXiv:1506.02142), instead of once without.
    made_of
        What the forecast is made of besides: what ``finish`` is told, and ``cube``, the cube's
        `vadose.artefact.identity`, where it is known. When left out it is that of the variables the model takes.
    finish
        What is done to the store before it is written, such as `vadose.predict.outlook.with_outlook`.
    workers
        Processes on this machine; with more than one the cube and the stores above have to be opened lazily.
    scheduler
        Address of a Dask scheduler, such as ``'tcp://host:8786'``, whose workers see the same files.

    Raises
    ------
    VadoseError
        When the model lacks a lead asked for, or dropout for the passes, or the days are not in the cube, or no
        weather of the days ahead is; when the cube has cells that the model cannot forecast, see
        `vadose.artefact.learnt.check_place`; when no scheduler answers, or workers were to be sent a cube held in
        memory. Leads beyond the weather of the cube are NaN.
    """
    kept = _checkpoint(checkpoint)
    channels = Channels.from_dict(kept["channels"])
    leads = leads or tuple(lead for lead in LEADS if lead in channels.leads) or channels.leads
    if missing := sorted(set(leads) - set(channels.leads)):
        raise VadoseError(f"{checkpoint}: does not forecast leads {missing} days; it has {list(channels.leads)}")
    if lacking := sorted(set(channels.above) - set(above or {})):
        raise VadoseError(f"{checkpoint}: forecasts from those of the layers {lacking} above; give their stores")
    stride = stride or max(1, (kept["window"] or 1) // 4)
    inputs = {
        "checkpoint": identity(checkpoint),
        "first": first,
        "last": last,
        "leads": leads,
        "stride": stride,
        "above": {name: identity(store) for name, store in (above or {}).items()},
        "members": [identity(store) for store in of_members or ()],
        "passes": passes,
        "cube": None,
        **(made_of or {}),
    }
    inputs["cube"] = inputs["cube"] or identity(_taken(cube, channels))
    if is_current(out, **inputs):
        return out
    cube = daily(cube)
    above = {name: in_order(store, "init_time", f"the forecast of {name}") for name, store in (above or {}).items()}
    place_note = check_place(kept, Place.of(cube), f"{checkpoint} and the cube")
    learnt = merged([learnt_by_checkpoint(kept), learnt_by_inputs(cube, channels.history, above)])
    perfect = channels.weather == "perfect"
    foretold = cube.attrs.get("weather") == "forecast"
    if foretold and not first == last == cube.attrs["day_of_issue"]:
        raise VadoseError(
            f"forecasts of {first} .. {last}: the weather ahead in the cube is that issued on "
            f"{cube.attrs['day_of_issue']}; forecast that day alone"
        )
    days = _positions(cube, first, last, min(leads) if perfect else 0)
    run = _Run(cube, days, leads, stride, above)
    with writing(out) as scratch:
        store = _store_of(run, checkpoint, kept, of_members, passes, workers, scheduler, out, progress)
        told = ("weather", "weather_run", "weather_note") if perfect and foretold else ()
        store.attrs |= {key: cube.attrs[key] for key in told} | as_attributes(learnt) | provenance(**inputs)
        store.attrs |= {"place_note": place_note} if place_note else {}
        if outside := by_variable(run.outside):
            store.attrs["values_outside"] = json.dumps(outside)
            progress(f"{out.stem}, values outside the valid range taken as missing, {outside}", 1.0)
        store = describe(store if finish is None else finish(store))
        # Names of stations cannot be cut into pieces.
        pieces = store.chunk({"init_time": BLOCK_DAYS}).assign_coords(store.coords)
        pieces.to_zarr(scratch, mode="w", zarr_format=3, consolidated=False)
    return out


def _store_of(
    run: "_Run",
    checkpoint: Path,
    kept: dict[str, Any],
    of_members: Sequence[xr.Dataset] | None,
    passes: int | None,
    workers: int,
    scheduler: str | None,
    out: Path,
    progress: Progress,
) -> xr.Dataset:
    """The forecasts of a run's days, and what was missing for them."""
    cube, days, leads = run.cube, run.days, run.leads
    what = f"forecasting {out.parent.name} {out.stem}"
    names = [name for name in Channels.from_dict(kept["channels"]).history if not name.endswith(NORMAL)]
    absent = np.zeros((len(days), len(names)), np.int8)
    with on_workers(workers, scheduler) as do:
        if of_members is not None:
            given = [_values_of(store, cube, days, leads) for store in of_members]
            mean, std = _joined(kept, leads, given)
        else:
            shared = _Shared(do, checkpoint) if workers > 1 or scheduler else None
            mean, std = run.values(kept, lambda share: progress(what, share), passes, shared)
        for block, found in do(partial(_missing, cube, names, days), _blocks(len(days))):
            absent[block] = found
    progress(what, 1.0)
    store = xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), mean)},
        coords={
            "init_time": cube.time.values[days],
            "lead_time": pd.to_timedelta(leads, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        },
        attrs={key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")}
        | {"scenario": "all", **kept["attributes"], "causal": "true"},
    )
    store.init_time.attrs = {
        "standard_name": "forecast_reference_time",
        "long_name": "last day known to the forecast",
    }
    store.lead_time.attrs = {"standard_name": "forecast_period"}
    if np.isfinite(std).any():
        store["soil_moisture_std"] = store.soil_moisture.dims, std
    store = store.assign_coords(channel=np.array(names, object))
    store["inputs_missing"] = ("init_time", "channel"), absent
    store.inputs_missing.attrs = {"long_name": "1 where a predictor is missing in more than half of the cells"}
    return store


def _taken(cube: xr.Dataset, channels: Channels) -> xr.Dataset:
    """What of a cube a model looks at."""
    names = {*channels.history, *channels.static, *channels.future, "mask", "lat", "lon"}
    normals = {name.removesuffix(NORMAL) for name in names if name.endswith(NORMAL)}
    return cube[[name for name in sorted(names | normals | {name + HARMONIC for name in normals}) if name in cube]]


def weather_ahead(checkpoint: Path) -> tuple[str, ...]:
    """Variables that a run is given of the days ahead, but for normals, which are known of any day."""
    future = Channels.from_dict(_checkpoint(checkpoint)["channels"]).future
    return tuple(name for name in future if not name.endswith(NORMAL))


def latest_day(checkpoint: Path, cube: xr.Dataset) -> str:
    """The last day a forecast can be issued on: the cube's last, less the shortest lead where it takes weather.

    The weather of the days ahead is then that of the cube, analysed; see `vadose.cube.with_weather_ahead` for foretold.
    """
    kept = _checkpoint(checkpoint)
    perfect = Channels.from_dict(kept["channels"]).weather == "perfect"
    last = daily(cube).indexes["time"][-1] - pd.Timedelta(days=min(kept["channels"]["leads"]) if perfect else 0)
    return f"{last:%Y-%m-%d}"


def _checkpoint(path: Path) -> dict[str, Any]:
    needs = ("name", "channels", "look_back", "window", "attributes")
    return checkpoint_file.load(path, needs=needs, made_by="vadose train", build=from_checkpoint)


class _Run:
    """Forecasts of some days of a cube, by any checkpoint; samples are kept for the next one that wants the same."""

    def __init__(
        self,
        cube: xr.Dataset,
        days: NDArray[np.int64],
        leads: tuple[int, ...],
        stride: int,
        above: dict[str, xr.Dataset],
    ) -> None:
        self.cube, self.days, self.leads, self.stride, self.above = cube, days, leads, stride, above
        self.kept: tuple[Any, Samples] | None = None
        self.outside = Outside()

    def values(
        self,
        checkpoint: dict[str, Any],
        tell: Callable[[float], None],
        passes: int | None = None,
        shared: "_Shared | None" = None,
    ) -> tuple[Array, Array]:
        """Mean and deviation (init_time, lead_time, y, x); the latter NaN where the model has none."""
        if checkpoint["name"] == "blend":
            members = checkpoint["members"]
            told = _parts(tell, len(members))
            found = (
                self.values(member, told(k), passes, shared and shared.member(k)) for k, member in enumerate(members)
            )
            return _joined(checkpoint, self.leads, found)
        model = from_checkpoint(checkpoint)
        if passes and not _leave_dropout_on(model):
            raise VadoseError(f"passes with dropout: {checkpoint['name']} has no dropout; forecast it without passes")
        if shared is not None:
            units = _units(len(self.days), passes, int(self.cube.mask.sum()) if hasattr(model, "of_days") else None)
            parts = _on_workers(self, shared, checkpoint, units, tell)
            if not passes:
                return self._of_parts(parts)
            each = ((mean, std) for _, mean, std in parts)
        elif not passes:
            return self.of(model, checkpoint, tell)
        else:
            told = _parts(tell, passes)
            each = (self.of_pass(model, checkpoint, number, told(number)) for number in range(passes))
        equally = {"channels": checkpoint["channels"], "members": range(passes), "weights": None}
        return _joined(equally, self.leads, each)

    def of_pass(
        self, model: Any, checkpoint: dict[str, Any], number: int, tell: Callable[[float], None]
    ) -> tuple[Array, Array]:
        """As `of`, with the dropout of a pass."""
        torch.manual_seed(number)
        mean, std = self.of(model, checkpoint, tell)
        # A network without a deviation of its own is told apart from its passes alone.
        return mean, np.nan_to_num(std)

    def of(
        self, model: Any, checkpoint: dict[str, Any], tell: Callable[[float], None], cells: slice = slice(None)
    ) -> tuple[Array, Array]:
        """As `values`, of one model; of one that takes sequences at some of the cells."""
        channels = Channels.from_dict(checkpoint["channels"])
        samples = self._samples(channels, checkpoint)
        columns = [channels.leads.index(lead) for lead in self.leads]
        mean, std = np.full((2, len(self.days), len(self.leads), *samples.shape), np.nan, np.float32)
        if hasattr(model, "of_days"):
            _by_sequence(model, samples, self.days, columns, mean, std, tell, cells)
        elif samples.size == (1, 1):
            _by_cell(model, samples, self.days, columns, mean, std, tell)
        else:
            of_day = partial(_windows, weight=_window_weight(samples.size)) if samples.window else _map
            for number, day in enumerate(self.days):
                mean[number], std[number] = of_day(model, samples, day, columns)
                tell((number + 1) / len(self.days))
        if channels.weather == "perfect":
            # No forecast without the weather up to its valid day.
            beyond = self.days[:, None] + np.array(self.leads) >= samples.n_days
            mean[beyond] = std[beyond] = np.nan
        return mean, std

    def cut(self, days: slice, checkpoint: dict[str, Any]) -> "_Run":
        """The same of some of the days, and no more of the cube than a model looks at."""
        chosen, reach = self.days[days], max(checkpoint["channels"]["leads"])
        first = max(int(chosen[0]) - checkpoint["look_back"] + 1, 0)
        cube = self.cube.isel(time=slice(first, int(chosen[-1]) + reach + 1))
        return _Run(cube, chosen - first, self.leads, self.stride, self.above)

    def _of_parts(self, parts: "Iterable[tuple[_Unit, Array, Array]]") -> tuple[Array, Array]:
        """What workers made, put together."""
        shape = (len(self.days), len(self.leads), self.cube.sizes["y"], self.cube.sizes["x"])
        mean, std = np.full((2, *shape), np.nan, np.float32)
        for unit, *found in parts:
            for whole, part in zip((mean, std), found, strict=True):
                if unit.cells is None:
                    whole[unit.days] = part
                else:
                    row, column = _cells(self.cube, unit.cells)
                    whole[:, :, row, column] = part
        return mean, std

    def __getstate__(self) -> dict[str, Any]:
        # Samples hold a part of the cube in memory; workers read their own.
        return self.__dict__ | {"kept": None}

    def _samples(self, channels: Channels, checkpoint: dict[str, Any]) -> Samples:
        window, look_back = checkpoint["window"], checkpoint["look_back"]
        on = learnt_on(checkpoint)
        wanted = (channels, window, look_back, checkpoint.get("learnt_from"), on)
        if self.kept is None or self.kept[0] != wanted:
            cube = _with_normals(self.cube, channels, checkpoint)
            issued = slice(*self.cube.time.values[self.days[[0, -1]]])
            above = {name: self.above[name].sel(init_time=issued) for name in channels.above}
            samples = Samples(
                cube, channels, look_back=look_back, window=window, stride=self.stride, above=above, learnt_on=on
            )
            # The days that the forecasts look at: those that workers read of the cube between them.
            first, last = samples.days[self.days[[0, -1]]] + [1 - look_back, samples.reach]
            seen = {key: n for key, n in samples.outside.items() if key[1] is None or first <= key[1] <= last}
            self.outside |= Outside(seen)
            self.kept = wanted, samples
        return self.kept[1]


def _with_normals(cube: xr.Dataset, channels: Channels, checkpoint: dict[str, Any]) -> xr.Dataset:
    """The cube and the normals that a model takes, where they are not in it yet."""
    wanted = (name.removesuffix(NORMAL) for name in channels.history if name.endswith(NORMAL))
    normals = tuple(name for name in wanted if name + HARMONIC not in cube)
    if not normals:
        return cube
    learnt, days = Period(**checkpoint["learnt_from"]), cube.indexes["time"]
    if pd.Timestamp(learnt.first) < days[0] or pd.Timestamp(learnt.last) > days[-1]:
        raise VadoseError(
            f"{checkpoint['name']} takes normals of {learnt}, the days it learnt from; the cube holds "
            f"{days[0]:%Y-%m-%d} .. {days[-1]:%Y-%m-%d}; give a cube that holds them too"
        )
    return with_normals(cube, normals, learnt.first, learnt.last)


class _Shared(NamedTuple):
    """How workers do units, and the checkpoint they read: by which members of members in a file."""

    do: Run
    path: Path
    place: tuple[int, ...] = ()

    def member(self, number: int) -> "_Shared":
        return self._replace(place=(*self.place, number))


class _Unit(NamedTuple):
    """A part of a forecast: days of issue, and some of the cells in the mask, or a pass."""

    days: slice
    cells: slice | None = None
    number: int | None = None


def _blocks(days: int) -> list[slice]:
    return [slice(start, min(start + BLOCK_DAYS, days)) for start in range(0, days, BLOCK_DAYS)]


def _units(days: int, passes: int | None, cells: int | None) -> list[_Unit]:
    """Units of work, each done as one process would do it; ``cells`` of a model that goes over all days at once."""
    whole = slice(0, days)
    if passes:
        # Numbers are drawn from the first day to the last.
        return [_Unit(whole, number=number) for number in range(passes)]
    if cells is None:
        return [_Unit(block) for block in _blocks(days)]
    size = max(1, -(-cells // _BANDS))
    return [_Unit(whole, slice(start, start + size)) for start in range(0, cells, size)]


class _Job:
    """Forecast units by one network of a checkpoint; sent to workers whole."""

    def __init__(self, shared: _Shared, run: _Run) -> None:
        self.path, self.place, self.run = shared.path.resolve(), shared.place, run

    def __call__(self, unit: _Unit) -> tuple[_Unit, Array, Array, Outside]:
        kept = _checkpoint(self.path)
        for number in self.place:
            kept = kept["members"][number]
        model = from_checkpoint(kept)
        if unit.number is not None:
            _leave_dropout_on(model)
            return unit, *self.run.of_pass(model, kept, unit.number, _untold), self.run.outside
        if unit.cells is not None:
            row, column = _cells(self.run.cube, unit.cells)
            mean, std = self.run.of(model, kept, _untold, unit.cells)
            return unit, mean[:, :, row, column], std[:, :, row, column], self.run.outside
        part = self.run.cut(unit.days, kept)
        return unit, *part.of(model, kept, _untold), part.outside


def _on_workers(
    run: _Run, shared: _Shared, checkpoint: dict[str, Any], units: list[_Unit], tell: Callable[[float], None]
) -> Iterator[tuple[_Unit, Array, Array]]:
    """Units as workers forecast them."""
    channels = Channels.from_dict(checkpoint["channels"])
    above = {name: run.above[name] for name in channels.above}
    # Normals are of other days than a worker reads.
    cube = _with_normals(run.cube, channels, checkpoint)
    ready = _Run(cube, run.days, run.leads, run.stride, above).cut(slice(None), checkpoint)
    for done, (unit, mean, std, outside) in enumerate(shared.do(_Job(shared, ready), units), 1):
        run.outside |= outside
        yield unit, mean, std
        tell(done / len(units))


def _untold(share: float) -> None:
    """Workers tell what they did when it is done."""


def _cells(cube: xr.Dataset, chosen: slice) -> NDArray[np.int64]:
    """Rows and columns (2, n) of some of the cells in the mask."""
    return np.argwhere(cube.mask.values.astype(bool))[chosen].T


def _parts(tell: Callable[[float], None], number: int) -> Callable[[int], Callable[[float], None]]:
    """What tells how far part k of a number of them has come."""
    return lambda k: lambda done: tell((k + done) / number)


def _leave_dropout_on(model: nn.Module) -> bool:
    """Let dropout go on as in training, nothing else; whether there is any."""
    dropouts = [m for m in model.modules() if isinstance(m, nn.Dropout | nn.Dropout2d) and m.p > 0]
    for module in dropouts:
        module.train()
    return bool(dropouts)


def _joined(
    blend: dict[str, Any], leads: tuple[int, ...], of_members: Iterable[tuple[Array, Array]]
) -> tuple[Array, Array]:
    r"""Weighted mean of the members, and the deviation of their mixture.

    :math:`\hat y_L = \sum_m w_{mL} \hat y_{mL} / \sum_m w_{mL}`; NaN where a member is.
    """
    known = list(blend["channels"]["leads"])
    weights = np.array(blend["weights"] or np.ones((len(blend["members"]), len(known))), np.float32)
    shares = (weights / weights.sum(axis=0))[:, [known.index(lead) for lead in leads], None, None]
    first: Any = None
    total: Any = 0.0
    squares: Any = 0.0
    for (mean, std), share in zip(of_members, shares, strict=True):
        # Apart from the first: the squares of moisture itself would leave little of a small spread in single precision.
        first = mean if first is None else first
        apart = mean - first
        total = total + share * apart
        # A member of no weight at a lead has no say in the spread there.
        squares = squares + np.where(share > 0, share * (std**2 + apart**2), np.float32(0))
    return first + total, np.sqrt(np.maximum(squares - total**2, 0))


def _values_of(
    store: xr.Dataset, cube: xr.Dataset, days: NDArray[np.int64], leads: tuple[int, ...]
) -> tuple[Array, Array]:
    """Mean and deviation of a store at the cube's cells and at some of its days."""
    what = f"the forecast of {store.attrs.get('model', 'a member')}"
    found = forecasts_at(store, Place.of(cube), leads, what).transpose("init_time", "lead_time", "y", "x", ...)
    wanted = cube.indexes["time"][days]
    if len(lacking := wanted.difference(found.indexes["init_time"])):
        raise VadoseError(f"{what} lacks {len(lacking)} of {len(wanted)} days of issue, such as {lacking[0]:%Y-%m-%d}")
    chosen = found.sel(init_time=wanted)
    mean = chosen.soil_moisture.values
    return mean, chosen.soil_moisture_std.values if "soil_moisture_std" in chosen else np.full_like(mean, np.nan)


@torch.no_grad()
def _by_cell(
    model: Any,
    samples: Samples,
    days: NDArray[np.int64],
    columns: list[int],
    mean: Array,
    std: Array,
    tell: Callable[[float], None],
) -> None:
    """Forecast each cell by itself, those of several days at once."""
    cells = np.argwhere(samples.mask)
    size = max(1, _CELL_DAYS_AT_ONCE // samples.look_back)
    number, cell = (part.ravel() for part in np.indices((len(days), len(cells))))
    for start in range(0, len(number), size):
        part = slice(start, start + size)
        row, column = cells[cell[part]].T
        found = _predicted(model, samples.inputs(np.column_stack([days[number[part]], row, column])), columns)
        for target, values in zip((mean, std), found, strict=True):
            target[number[part], :, row, column] = values[:, :, 0, 0]
        tell(min(start + size, len(number)) / len(number))


@torch.no_grad()
def _by_sequence(
    model: Any,
    samples: Samples,
    days: NDArray[np.int64],
    columns: list[int],
    mean: Array,
    std: Array,
    tell: Callable[[float], None],
    chosen: slice,
) -> None:
    """Forecast all days of each block of cells in one pass."""
    cells = np.argwhere(samples.mask)[chosen]
    size = max(1, _CELL_DAYS_AT_ONCE // (samples.look_back - 1 + len(days)))
    for start in range(0, len(cells), size):
        part = cells[start : start + size]
        inputs = samples.sequence(part, int(days[0]), int(days[-1]))
        row, column = part.T
        for target, found in zip((mean, std), model.of_days(inputs, samples.look_back - 1), strict=True):
            target[:, :, row, column] = found[:, :, columns, 0, 0].permute(1, 2, 0).numpy()
        tell((start + len(part)) / len(cells))


@torch.no_grad()
def _map(model: Any, samples: Samples, day: int, columns: list[int]) -> tuple[Array, Array]:
    """Mean and deviation (L, y, x) of one day from the whole map, in tiles where it is large."""
    inputs = samples.inputs(samples.all_windows(day))
    halo = reach(model, samples.look_back)
    # Channels dropped in one tile and not in the next would leave seams.
    dropping = any(module.training for module in model.modules())
    if halo is None or dropping or max(samples.shape) <= TILE + 2 * halo:
        mean, std = _predicted(model, inputs, columns)
    else:
        both = predict_tiles(lambda part: torch.stack(_distribution(model, part), dim=1), inputs, tile=TILE, halo=halo)
        mean, std = both[:, 0, columns].float().numpy(), both[:, 1, columns].float().numpy()
    return np.where(samples.mask, mean[0], np.float32(np.nan)), np.where(samples.mask, std[0], np.float32(np.nan))


@torch.no_grad()
def _windows(model: Any, samples: Samples, day: int, columns: list[int], weight: Array) -> tuple[Array, Array]:
    """Mean and deviation (L, y, x) of one day from all its windows."""
    index = samples.all_windows(day)
    total, deviations = np.zeros((2, len(columns), *samples.shape), np.float32)
    weights = np.zeros(samples.shape, np.float32)
    height, width = samples.size
    size = max(1, _CELL_DAYS_AT_ONCE // (height * width * samples.look_back))
    for start in range(0, len(index), size):
        part = index[start : start + size]
        for mean, std, (_, row, column) in zip(*_predicted(model, samples.inputs(part), columns), part, strict=True):
            here = (slice(row, row + height), slice(column, column + width))
            total[:, *here] += mean * weight
            deviations[:, *here] += std * weight
            weights[here] += weight
    share = np.where(samples.mask & (weights > 0), weights, np.nan)
    return (total / share).astype(np.float32), (deviations / share).astype(np.float32)


def _predicted(model: Any, inputs: Inputs, columns: list[int]) -> tuple[Array, Array]:
    """Mean and deviation (B, L, H, W) of some leads, the latter NaN where the model has none."""
    first, second = (part[:, columns].float().numpy() for part in _distribution(model, inputs))
    return first, second


def _distribution(model: Any, inputs: Inputs) -> tuple[Tensor, Tensor]:
    if hasattr(model, "distribution"):
        both: tuple[Tensor, Tensor] = model.distribution(inputs)
        return both
    mean: Tensor = model(inputs)
    return mean, torch.full_like(mean, torch.nan)


def _window_weight(size: tuple[int, int]) -> Array:
    """Weight of a window's cells in an overlap, a triangle toward the centre."""
    sides = [np.minimum(np.arange(edge) + 1, edge - np.arange(edge)).astype(np.float32) for edge in size]
    return np.outer(*sides)


def _missing(
    cube: xr.Dataset, names: list[str], days: NDArray[np.int64], block: slice
) -> tuple[slice, NDArray[np.bool_]]:
    """Whether a predictor is missing in more than half of the cells on some days of issue: (init_time, channel)."""
    mask, chosen = cube.mask.values.astype(bool), days[block]
    found = np.zeros((len(chosen), len(names)), bool)
    for k, name in enumerate(names):
        values = cube[name].isel(time=chosen).transpose("time", "y", "x").values
        found[:, k] = np.isnan(values[:, mask]).mean(axis=1) > 0.5
    return block, found


def _positions(cube: xr.Dataset, first: str, last: str, ahead: int) -> NDArray[np.int64]:
    """Positions of the days of issue, all of them inside the record."""
    time = pd.DatetimeIndex(cube.time.values)
    begin, end = pd.Timestamp(first), pd.Timestamp(last)
    if end < begin or begin < time[0] or end > time[-1] - pd.Timedelta(days=ahead):
        until = time[-1] - pd.Timedelta(days=ahead)
        raise VadoseError(
            f"forecasts of {first} .. {last}: the cube allows {time[0]:%Y-%m-%d} .. {until:%Y-%m-%d}"
            + (f" (it has to hold the weather of the days ahead, {ahead} at least)" if ahead else "")
        )
    return np.flatnonzero((time >= begin) & (time <= end))
