"""Short timings of models on made-up data of a study's shapes: seconds per step, forecast and evaluation."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import provenance
from vadose.door.days import Period
from vadose.evaluation import evaluate
from vadose.experiments import LayerConfig, RunConfig
from vadose.experiments.downscaling import DownscalingRun
from vadose.experiments.section import Size
from vadose.features.normals import with_normals
from vadose.grid import ease_grid
from vadose.models import MODELS, from_checkpoint
from vadose.models.inputs import NORMAL, Channels
from vadose.models.tiles import tile_of
from vadose.parallel.running import Running, rounding_of, work_of
from vadose.predict.apply import PIECE, example
from vadose.predict.forecast import forecast
from vadose.predict.members import load_run
from vadose.samples.station_days import MADE, StationDays
from vadose.samples.windows import Samples
from vadose.training.forecasters import Batches, Plan, train
from vadose.training.loop import STATISTICS, new_network
from vadose.training.station_days import DownscalingNetwork, fit
from vadose.training.trees import fit_trees
from vadose.variables import variable

Clock = Callable[[], float]
FEW, MANY = 2, 6
"""Batches of two trainings, whose difference is the time of a step."""
ROWS = 1500
"""Rows a batch, of models that learn in one go."""
WIDEST = 96
"""Edge of the made-up map at most [cell]."""
SURE = 1.0
"""Seconds that two trainings should differ by; where they do not, they are repeated for more epochs."""


@dataclass(frozen=True)
class Rates:
    """Seconds of a sample of the study's size learnt from (of a cell and day where a model keeps parameters
    ``of_each_cell``), and of one for the statistics; of a day's forecast of one of the cells `computed` with ``window``
    and ``reach``, in which ``precision``; and of a value of the cube read.
    """

    learn: float
    statistics: float
    forecast: float
    read: float
    window: int | None
    reach: int | None
    precision: str
    of_each_cell: bool = False


def windows(size: tuple[int, int], window: int | None, stride: int) -> int:
    """Windows of a grid, a whole map being one."""
    if window is None:
        return 1
    return math.prod(len({*range(0, edge - window + 1, stride), edge - window}) for edge in size)


def computed(size: tuple[int, int], window: int | None, stride: int, reach: int | None) -> int:
    """Cells computed in a day's forecast: of all windows, or of a map, that where tiles overlap twice."""
    if window is not None:
        return windows(size, window, stride) * window**2
    halo = reach or 0
    tile = tile_of(size, halo, PIECE)
    return math.prod(math.ceil(n / edge) * min(edge + 2 * halo, n) for n, edge in zip(size, tile, strict=True))


def made_up_cube(
    channels: Channels, observed: tuple[str, ...], shape: tuple[int, int], days: int, layer: str = "0-10 cm"
) -> xr.Dataset:
    """Random values of the channels' variables, within their ranges, on a grid of 9 km."""
    rows, columns = shape
    place = ease_grid("9km").part(slice(300, 300 + rows), slice(800, 800 + columns)).coordinates()
    cube = place.assign_coords(time=pd.date_range("2001-01-01", periods=days))
    chance = np.random.default_rng(0)

    def values(name: str, *size: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        known = variable(name)
        low, high = known.valid_range if known else (0.0, 1.0)
        return (low + (high - low) * (0.3 + 0.05 * chance.random(size))).astype(np.float32)

    daily = dict.fromkeys((*channels.history, *channels.future, *observed))
    for name in (name for name in daily if not name.endswith(NORMAL)):
        cube[name] = ("time", "y", "x"), values(name, days, rows, columns)
    for name in channels.static:
        cube[name] = ("y", "x"), values(name, rows, columns)
    cube["mask"] = ("y", "x"), np.ones(shape, bool)
    cube.attrs |= {"dataset": "made up", "layer": layer, "simulated": "true"} | provenance(of="probe")
    if normals := tuple({name.removesuffix(NORMAL) for name in daily if name.endswith(NORMAL)}):
        cube = with_normals(cube, normals, *(f"{cube.indexes['time'][k]:%Y-%m-%d}" for k in (0, -1)))
    return cube


def made_up_forecast(cube: xr.Dataset, leads: tuple[int, ...], model: str = "made_up") -> xr.Dataset:
    """A store of random forecasts on all days of a cube."""
    shape = (cube.sizes["time"], len(leads), cube.sizes["y"], cube.sizes["x"])
    values = np.random.default_rng(len(model)).random(shape, np.float32) * 0.1 + 0.2
    said = {"model": model, "weather": "none", "scenario": "all", "causal": "true"}
    return xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values)},
        coords={"init_time": cube.time.values, "lead_time": pd.to_timedelta(leads, unit="D")}
        | {name: cube[name] for name in ("lat", "lon", "y", "x")},
        attrs={key: cube.attrs[key] for key in cube.attrs if key != "inputs"} | said,
    )


def probe_run(
    run: RunConfig,
    layer: LayerConfig,
    above: tuple[str, ...],
    size: Size,
    uses: int,
    running: Running,
    folder: Path,
    clock: Clock = time.perf_counter,
) -> Rates:
    """Train a run of a forecasting experiment, below the layers ``above``, for a few batches and forecast a few days.

    The size of the study's grid and the ``uses``, days that it forecasts with the run, decide in which precision.
    """
    channels = run.channels(layer, above)
    window = None if run.window == "map" else run.window
    cube = _cube_of(run, layer, channels, size)
    shape, days = (cube.sizes["y"], cube.sizes["x"]), cube.indexes["time"]
    stores = {name: made_up_forecast(cube, channels.leads) for name in channels.above}
    begun = clock()
    samples = Samples(
        cube,
        channels,
        look_back=run.look_back,
        window=window,
        stride=run.stride,
        sequence=run.sequence,
        correlated=layer.correlated,
        above=stores,
    )
    samples.identity()
    values = len(channels.history) + len(channels.future) + 1 + len(channels.leads) * len(above)
    read = (clock() - begun) / (values * len(days) * math.prod(shape))
    # A sample of a whole map is as large as the map.
    larger = size.rows * size.columns / math.prod(shape) if window is None else 1.0
    learn, statistics = _learning(run, samples, folder, clock)
    if of_each_cell := "grid" in signature(MODELS[run.model]).parameters:
        larger = 1.0
    kept = load_run(folder / "1_1" / "final.pt")
    model = from_checkpoint(kept)
    reach = model.reach(run.look_back) if kept["window"] is None and hasattr(model, "reach") else None
    stride = run.forecast_stride or max(1, (kept["window"] or 1) // 4)
    cells = computed((size.rows, size.columns), kept["window"], stride, reach)
    settled = Running("cpu", "float32", compile=False)
    if MODELS[run.model].learns == "steps":

        def rounding() -> float:
            given = example(samples, run.look_back)
            return rounding_of(model.distribution, given) if model.gains_by_bfloat16 else math.inf

        settled = replace(running.settled(work_of(model, cells * uses * run.look_back), rounding), compile=False)
    unit = _forecasting(run, cube, stores, settled, folder, clock) / computed(shape, kept["window"], stride, reach)
    precision = settled.precision
    return Rates(learn * larger, statistics * larger, unit, read, kept["window"], reach, precision, of_each_cell)


def _cube_of(run: RunConfig, layer: LayerConfig, channels: Channels, size: Size) -> xr.Dataset:
    """A made-up cube of cells and days for six batches."""
    window = None if run.window == "map" else run.window
    batch = _batch(run)
    smallest = math.ceil(math.sqrt(MANY * batch)) if window == 1 else 16
    edge = WIDEST if window is None else max(window + run.stride, smallest)
    rows = min(size.rows, edge)
    shape = rows, min(size.columns, edge if rows == edge else math.ceil(edge**2 / rows))
    fewest = math.ceil(MANY * batch / windows(shape, window, run.stride))
    days = run.look_back + (run.sequence or 0) + max(channels.leads) + max(8, min(fewest, 4096))
    target = channels.target.removesuffix("_filled")
    return made_up_cube(channels, (target, layer.correlated) if layer.correlated else (target,), shape, days)


def _batch(run: RunConfig) -> int:
    return ROWS if MODELS[run.model].learns == "at_once" else run.training.batch_size


def _learning(run: RunConfig, samples: Samples, folder: Path, clock: Clock) -> tuple[float, float]:
    """Seconds of a sample learnt from (of a cell and day where parameters are each cell's), and of its statistics."""
    batch, at_once = _batch(run), MODELS[run.model].learns == "at_once"
    period = Period(*np.datetime_as_string(samples.days[[0, -1]].astype("datetime64[D]")).tolist())
    plan = Plan(run.model, run.hyper, period, None, run.training)

    def trained(batches: int, epochs: int) -> float:
        how = replace(run.training, epochs=epochs, patience=None, samples_per_epoch=batches * batch, seeds=(0,))
        begun = clock()
        train(samples, folder / f"{batches}_{epochs}", replace(plan, optimisation=how), refit=False)
        return clock() - begun

    trained(1, 1)
    if "grid" in signature(MODELS[run.model]).parameters:
        return trained(FEW, 1) / (samples.n_days * math.prod(samples.shape)), 0.0
    learn = _of_a_step(trained, at_once) / batch
    if at_once:
        return learn, 0.0
    begun = clock()
    network = new_network(run.model, samples.channels, run.hyper, 0)
    network.fit_normalisation(Batches(samples, period, limit=STATISTICS, learnt=True))
    return learn, (clock() - begun) / min(STATISTICS, len(samples.index(period)))


def _forecasting(
    run: RunConfig, cube: xr.Dataset, stores: dict[str, xr.Dataset], running: Running, folder: Path, clock: Clock
) -> float:
    """Seconds of a day of issue."""
    days = [f"{day:%Y-%m-%d}" for day in cube.indexes["time"][run.look_back :]]

    def forecasts(number: int) -> float:
        begun = clock()
        forecast(
            folder / "1_1" / "final.pt",
            cube,
            folder / f"{number}.zarr",
            first=days[0],
            last=days[number - 1],
            stride=run.forecast_stride,
            above=stores,
            running=running,
            made_of={"cube": "made up"},
        )
        return clock() - begun

    forecasts(1)
    many, few = forecasts(8), forecasts(2)
    # Of a small grid the days take less than what is done once.
    return (many - few) / 6 if many - few > many / 3 else many / 8


def _of_a_step(trained: Callable[[int, int], float], at_once: bool) -> float:
    """Seconds of a batch: the difference of two trainings, of as many epochs as make it sure."""
    epochs = 1
    difference = trained(MANY, epochs) - trained(FEW, epochs)
    if difference < SURE and not at_once:
        epochs = 30 if 30 * difference <= SURE else math.ceil(SURE / difference)
        difference = trained(MANY, epochs + 1) - trained(FEW, epochs + 1)
        epochs += 1
    return max(difference, 0.0) / (epochs * (MANY - FEW))


def probe_evaluation(leads: tuple[int, ...], folder: Path, clock: Clock = time.perf_counter) -> float:
    """Seconds of scoring one run at one site of a year."""
    cube = made_up_cube(Channels(("soil_moisture",)), ("soil_moisture",), (12, 12), 365)
    stores = [made_up_forecast(cube, leads, name) for name in ("one", "other")]
    begun = 0.0
    for name in ("warm", "timed"):
        begun = clock()
        evaluate(stores, cube, out=folder / name)
    return (clock() - begun) / (2 * 12 * 12)


def probe_station_run(run: DownscalingRun, clock: Clock = time.perf_counter) -> float:
    """Seconds of a station-day learnt from, of a run of a downscaling experiment."""
    features = run.features()
    in_sequences = run.model != "trees" and MODELS[run.model].takes == "series"
    sequence = run.fitting.sequence if in_sequences else 1
    batch = ROWS if run.model == "trees" else run.fitting.batch_size
    stations = 40 if sequence == 1 else MANY * batch + 8
    days = features.days + features.ends + (sequence + 8 if sequence > 1 else math.ceil(1.5 * MANY * batch / stations))
    table = xr.Dataset(
        coords={"station": np.arange(stations).astype(str), "time": pd.date_range("2001-01-01", periods=days)}
    )
    chance = np.random.default_rng(0)
    for name in {*features.snapshot, *features.series, "soil_moisture"} - {*MADE}:
        table[name] = ("station", "time"), chance.random((stations, days), np.float32)
    table = table.assign_coords(lat=("station", np.full(stations, 40.0)), lon=("station", np.full(stations, -90.0)))
    learnt = np.ones((stations, days), bool)
    station_days = StationDays(table, features, learnt)

    def fitted(batches: int, epochs: int) -> float:
        begun = clock()
        if run.model == "trees":
            fit_trees(station_days, learnt, **run.hyper, limit=batches * batch)
        else:
            how = replace(
                run.fitting, epochs=epochs, patience=None, rows_per_epoch=batches * batch * sequence, seeds=(0,)
            )
            fit(station_days, table, learnt, DownscalingNetwork(run.model, run.hyper, how))
        return clock() - begun

    fitted(1, 1)
    return _of_a_step(fitted, run.model == "trees") / (batch * sequence)
