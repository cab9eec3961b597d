"""A trained run and a cube to a store of forecasts."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, provenance, writing
from vadose.artefact.learnt import as_attributes, check_place, learnt_by_checkpoint, learnt_by_inputs, merged
from vadose.artefact.predictions import consolidate, write_predictions
from vadose.door.days import daily, in_order
from vadose.door.place import Place, forecasts_at
from vadose.door.values import by_variable
from vadose.errors import VadoseError
from vadose.features.normals import HARMONIC
from vadose.models.inputs import NORMAL, Channels
from vadose.parallel.progress import Progress
from vadose.parallel.running import Running
from vadose.parallel.workers import Run, on_workers
from vadose.predict.apply import Array
from vadose.predict.issue_days import IssueDays
from vadose.predict.members import (
    Shared,
    blended,
    blocks,
    days_at_once,
    forecast_days,
    in_sequence,
    load_run,
)
from vadose.samples.record import seen_ahead

LEADS = (1, 3, 7, 14, 30)
TITLE = "daily forecasts of soil moisture"
CLUSTER = 16
"""Blocks of days in work at once, of a cluster whose workers are not counted."""


def forecast(
    checkpoint: Path,
    cube: xr.Dataset,
    out: Path | None,
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
    running: Running = Running(),
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Forecast every day of ``first`` .. ``last`` (the last days known) and write the store.

    A model trained on windows is applied to windows ``stride`` cells apart (a quarter of their edge
    when left out), and overlaps are averaged with weights that rise toward a window's centre, where
    errors are smallest. One trained on whole maps, or on windows more than four times as wide as it sees, is applied
    to whole maps, large ones in tiles that overlap by as far as the network sees. One that takes sequences
    goes once over the days asked for and the look-back before them. The attribute ``causal`` of the store is
    ``false`` where gaps of the predictors were filled from the days after, too: a hindcast.

    A predictor that is missing on the last day known in more than half of the cells does not stop the
    forecast: the networks take the training mean in its place, trees their branch for it. The store
    says so in ``inputs_missing`` (init_time, channel).

    What a model keeps of each cell or station (climatologies, a place among its predictors) is found by coordinate or
    name: it forecasts any part of the grid it learnt on. A model that keeps nothing of the kind forecasts any cells of
    the same size. The store says in ``learnt_from`` which days were learnt from.

    Workers forecast blocks of 64 days of issue each, of a cube they read by themselves; of a model that takes
    sequences parts of the cells, of all days, and passes with dropout whole. The forecast is that of one process up to
    rounding. One that dies costs what it was at. This process holds some hundreds of days of a small map, or 64 days (a
    worker) of a large one in memory until they are written; but all days of a model that takes sequences, and with
    ``finish``. Passes with dropout begin anew with each of these parts.

    Parameters
    ----------
    checkpoint
        ``selected.pt`` or ``final.pt`` of a run.
    cube
        One grid of a cube; where the model takes normals it has to hold the days the run learnt from. Days it lacks
        are missing days.
    leads
        Lead times [day]. When left out, `LEADS` of a model that has them all, else all that the model has.
    out
        Zarr store of ``soil_moisture`` (init_time, lead_time, y, x), and of ``soil_moisture_std`` where
        the model has a deviation. None for one under ``forecasts``, named by the run, the days of issue and a hash of
        all that the forecast is made of.
    above
        Forecast stores of the layers above by name, for a model of a cascade.
    of_members
        Forecast stores of a blend's members of the same days, to join instead of forecasting anew.
    passes
        Forecast so many times with the network's dropout left on and join the passes as members of a blend
        (Monte Carlo dropout, Gal and Ghahramani 2016, arXiv:1506.02142), instead of once without.
    made_of
        What the forecast is made of besides: what ``finish`` is told, and ``cube``, ``above`` and ``members``, the
        `vadose.artefact.identity` of the cube and of the stores of both, where they are known; that of a cube is else
        that of the variables the model takes.
    finish
        What is done to the store before it is written, such as `vadose.predict.outlook.with_outlook`.
    running
        Where networks run, in which precision and whether compiled; the attribute ``precision`` says which it was.
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
    kept = load_run(checkpoint)
    channels = Channels.from_dict(kept["inputs"])
    leads = leads or (LEADS if set(LEADS) <= set(channels.leads) else channels.leads)
    if missing := sorted(set(leads) - set(channels.leads)):
        raise VadoseError(f"{checkpoint}: does not forecast leads {missing} days; it has {list(channels.leads)}")
    if lacking := sorted(set(channels.above) - set(above or {})):
        raise VadoseError(f"{checkpoint}: needs forecasts of the layers {lacking} above; give their stores")
    stride = stride or max(1, (kept["window"] or 1) // 4)
    inputs = {
        "checkpoint": identity(checkpoint),
        "first": first,
        "last": last,
        "leads": leads,
        "stride": stride,
        "passes": passes,
        "precision": running.precision,
        **dict.fromkeys(("above", "members", "cube")),
        **(made_of or {}),
    }
    inputs["above"] = inputs["above"] or {name: identity(store) for name, store in (above or {}).items()}
    inputs["members"] = inputs["members"] or [identity(store) for store in of_members or ()]
    inputs["cube"] = inputs["cube"] or identity(_taken(cube, channels))
    out = out or Path("forecasts", f"{_name(checkpoint, first, last)}_{identity(xr.Dataset(attrs=inputs))[:8]}.zarr")
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
    issue = IssueDays(cube, days, leads, stride, above)
    what = f"forecasting {out.parent.name} {out.stem}"
    whole = finish is not None or (of_members is None and in_sequence(kept))
    with writing(out) as scratch, on_workers(workers, scheduler) as do:
        shared = Shared(do, checkpoint) if workers > 1 or scheduler else None
        absent = _absent(issue, channels, kept["look_back"], do)
        size = len(days) if whole else days_at_once(issue, workers if scheduler is None else CLUSTER)
        several, deviation = size < len(days), False
        for part in issue.parts(size):
            if of_members is None:
                report = partial(_report, progress, what, part)
                mean, std = forecast_days(part, kept, report, passes, running, shared)
            else:
                issue.precisions |= {store.attrs["precision"] for store in of_members if "precision" in store.attrs}
                given = [_values_of(store, part) for store in of_members]
                mean, std = blended(kept, leads, given, part.cube.indexes["time"][part.days])
            deviation = deviation or bool(np.isfinite(std).any())
            store = _dataset(part, channels, kept["attributes"], mean, std if deviation or several else None)
            store = store.assign(inputs_missing=absent[part.start : part.start + len(part.days)])
            store.attrs |= as_attributes(learnt) | provenance(**inputs)
            store = store if finish is None else finish(store)
            write_predictions(scratch, store, TITLE, more=part.start > 0)
        for note in issue.notes:
            progress(f"{what} goes on {note}", 1.0)
        progress(what, 1.0)
        told = ("weather", "weather_run", "weather_note") if perfect and foretold else ()
        noted = {key: str(cube.attrs[key]) for key in told} | ({"place_note": place_note} if place_note else {})
        noted |= {"precision": " and ".join(sorted(issue.precisions))} if issue.precisions else {}
        if outside := by_variable(issue.outside):
            noted["values_outside"] = json.dumps(outside)
            progress(f"{out.stem}, values outside the valid range taken as missing, {outside}", 1.0)
        consolidate(scratch, noted, without="soil_moisture_std" if several and not deviation else "")
    return out


def _report(progress: Progress, what: str, part: IssueDays, share: float) -> None:
    """Report the share of all days of issue that is done with a share of a part."""
    progress(what, (part.start + share * len(part.days)) / part.of)


def _name(checkpoint: Path, first: str, last: str) -> str:
    """Run and days of issue of a forecast in a word."""
    run = checkpoint.parent.name if checkpoint.stem in ("selected", "final") else checkpoint.stem
    return "_".join(dict.fromkeys((run, first, last)))


def weather_ahead(checkpoint: Path) -> tuple[str, ...]:
    """Variables that a run is given of the days ahead, but for normals, which are known of any day."""
    future = Channels.from_dict(load_run(checkpoint)["inputs"]).future
    return tuple(name for name in future if not name.endswith(NORMAL))


def latest_day(checkpoint: Path, cube: xr.Dataset) -> str:
    """The last day a forecast can be issued on: the cube's last, less the shortest lead where it takes weather.

    The weather of the days ahead is then that of the cube, analysed; see `vadose.cube.with_weather_ahead` for foretold.
    """
    channels = Channels.from_dict(load_run(checkpoint)["inputs"])
    ahead = min(channels.leads) if channels.weather == "perfect" else 0
    return f"{daily(cube).indexes['time'][-1] - pd.Timedelta(days=ahead):%Y-%m-%d}"


def _dataset(
    issue: IssueDays, channels: Channels, attributes: Mapping[str, str], mean: Array, std: Array | None
) -> xr.Dataset:
    """The store's variables, and what of the cube its attributes say."""
    cube, dims = issue.cube, ("init_time", "lead_time", "y", "x")
    kept = ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")
    causal = "false" if seen_ahead(cube, channels) else "true"
    store = xr.Dataset(
        {"soil_moisture": (dims, mean)},
        coords={
            "init_time": cube.time.values[issue.days],
            "lead_time": pd.to_timedelta(issue.leads, unit="D"),
            **{name: cube[name] for name in ("lat", "lon", "y", "x")},
        },
        attrs={key: cube.attrs[key] for key in kept} | {"scenario": "all", **attributes, "causal": causal},
    )
    return store if std is None else store.assign(soil_moisture_std=(dims, std))


def _taken(cube: xr.Dataset, channels: Channels) -> xr.Dataset:
    """What of a cube a model looks at."""
    names = {*channels.history, *channels.static, *channels.future, "mask", "lat", "lon"}
    normals = {name.removesuffix(NORMAL) for name in names if name.endswith(NORMAL)}
    return cube[[name for name in sorted(names | normals | {name + HARMONIC for name in normals}) if name in cube]]


def _values_of(store: xr.Dataset, issue: IssueDays) -> tuple[Array, Array]:
    """Mean and deviation of a store at the cube's cells on the days of issue."""
    what = f"the forecast of {store.attrs.get('model', 'a member')}"
    found = forecasts_at(store, Place.of(issue.cube), issue.leads, what)
    found = found.transpose("init_time", "lead_time", "y", "x", ...)
    wanted = issue.cube.indexes["time"][issue.days]
    if len(lacking := wanted.difference(found.indexes["init_time"])):
        raise VadoseError(f"{what} lacks {len(lacking)} of {len(wanted)} days of issue, such as {lacking[0]:%Y-%m-%d}")
    chosen = found.sel(init_time=wanted)
    mean = chosen.soil_moisture.values
    return mean, chosen.soil_moisture_std.values if "soil_moisture_std" in chosen else np.full_like(mean, np.nan)


def _absent(issue: IssueDays, channels: Channels, look_back: int, do: Run) -> xr.DataArray:
    """1 where a predictor is missing in more than half of the cells on a day of issue, or a forecast of a layer above
    that it takes was not issued (init_time, channel)."""
    names = [name for name in channels.history if not name.endswith(NORMAL)]
    absent = np.zeros((len(issue.days), len(names)), np.int8)
    for block, missing in do(partial(_missing, issue.cube, names, issue.days), blocks(len(issue.days))):
        absent[block] = missing
    back = np.arange(look_back if channels.cascade == "sequence" else 1)
    issued = issue.cube.time.values[issue.days].astype("datetime64[D]")[:, None] - back
    for name in channels.above:
        known = np.isin(issued, issue.above[name].init_time.values.astype("datetime64[D]")).all(axis=1)
        absent, names = np.column_stack([absent, (~known).astype(np.int8)]), [*names, name]
    return xr.DataArray(
        absent,
        coords={"channel": np.array(names, object)},
        dims=("init_time", "channel"),
        attrs={"long_name": "1 where a predictor is missing in more than half of the cells"},
    )


def _missing(
    cube: xr.Dataset, names: list[str], days: NDArray[np.int64], block: slice
) -> tuple[slice, NDArray[np.bool_]]:
    """Whether a predictor is missing in more than half of the cells on some days of issue: (init_time, channel)."""
    mask, chosen = cube.mask.values.astype(bool), days[block]
    # They follow each other; of a list of days Dask would read whole blocks of the record.
    together = slice(int(chosen[0]), int(chosen[-1]) + 1)
    found = np.zeros((len(chosen), len(names)), bool)
    for k, name in enumerate(names):
        values = cube[name].isel(time=together).transpose("time", "y", "x").values
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
            + (f" (it must hold the weather of at least {ahead} days ahead)" if ahead else "")
        )
    return np.flatnonzero((time >= begin) & (time <= end))
