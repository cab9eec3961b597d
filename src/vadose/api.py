"""The commands as functions: plain arguments in, data sets out. Each imports its stage, so that importing is fast."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import xarray as xr

from vadose.errors import VadoseError, extras, nearest
from vadose.fetching import fetch as fetch
from vadose.parallel.progress import Progress, silent
from vadose.parallel.running import Running

if TYPE_CHECKING:
    from vadose.cube import Recipe
    from vadose.evaluation import Scores
    from vadose.experiments import Experiment

PathLike = str | os.PathLike[str]
Days = tuple[str, str]
BBox = tuple[float, float, float, float]
Store = PathLike | xr.Dataset
Out = PathLike | None
Runs = list[str] | tuple[str, ...] | None


def read(path: PathLike, product: str | None = None, **options: Any) -> xr.Dataset:
    """Read a published file (or folder of one data set) in the names and units of `vadose.variables`.

    Parameters
    ----------
    path, product
        File or folder; its name in `vadose.PRODUCTS` (default: recognised by file name and content).
    options
        Options of the product's reader, such as ``bbox`` or ``quality``: see ``help(vd.PRODUCTS[NAME].read)``.

    Raises
    ------
    VadoseError
        If ``path`` does not exist, is of no known product, is rejected by the reader, or holds several data sets
        (stations of a network: read those with `vadose.products`, or build a station store).
    """
    from vadose.products import PRODUCTS, identify

    if product is not None and product not in PRODUCTS:
        raise VadoseError(f"product {product!r} unknown{nearest(product, PRODUCTS)}")
    name = product or identify(Path(path))
    data = PRODUCTS[name].read(Path(path), **options)
    if not isinstance(data, xr.Dataset):
        raise VadoseError(f"{path}: {PRODUCTS[name].title} holds many data sets; build a store: vadose stations")
    return data


def open(path: PathLike) -> xr.Dataset:
    """Open a cube, a store of forecasts, maps, scores or stations, or a NetCDF file, lazily.

    A cube is opened in its last complete state, also during a build.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = xr.Dataset({"soil_moisture": ("station", [0.2])}).to_netcdf(f"{folder}/mine.nc")
    ...     float(open(f"{folder}/mine.nc").soil_moisture[0])
    0.2

    Raises
    ------
    VadoseError
        If ``path`` cannot be opened, or a part of it is missing.
    """
    from vadose.cube import is_cube, open_cube
    from vadose.door import open_store

    return open_cube(Path(path)) if is_cube(Path(path)) else open_store(Path(path))


@extras()
def build(
    source: Store,
    recipe: "PathLike | Recipe | Mapping[str, Any] | None" = None,
    *,
    out: Out = None,
    at: PathLike | None = None,
    bbox: BBox | None = None,
    days: tuple[str | None, str | None] = (None, None),
    product: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Build a cube from granules or grids of your own by a recipe, or from a database; or a table at stations.

    A repeated build with new or changed granules reads and writes only their days.

    Parameters
    ----------
    source
        Folder with one folder per product, or folder of a database. With data of your own in the recipe also a file,
        Zarr store, address or data set. Without a recipe also a cube, to which filled values and sums of rain are
        added, or a station store, whose stations become cells.
    recipe
        YAML file, name of a built-in recipe, its content, or a `vadose.cube.Recipe`; None for a database.
    out
        Output store. Default: ``cube.zarr``; with ``at``: ``at_stations.zarr``.
    at
        Station store: build a table of the cube's values at its stations instead of the cube.
    bbox, days
        Area (west, south, east, north [degree]), and first and last day, instead of those of the recipe.
    product
        Without a recipe: database in the folder (default: recognised).
    workers, scheduler
        Processes on this machine (default: all cores), or the address of a Dask scheduler.

    Raises
    ------
    VadoseError
        If a folder, granule or station store is missing or invalid, or ``out`` is a cube of another recipe.
    """
    from vadose.cube import build_cube, build_from_granules
    from vadose.cube.own_grid import as_files
    from vadose.cube.station_table import build_features
    from vadose.experiments import load_cube
    from vadose.experiments.cube import cube_of
    from vadose.parallel.workers import cores

    chosen = load_cube(str(recipe)) if isinstance(recipe, str | os.PathLike) else recipe
    chosen = cube_of(chosen) if isinstance(chosen, Mapping) else chosen
    if chosen is not None:
        chosen = chosen.of(bbox, days)
    elif bbox or any(days):
        raise VadoseError("an area or days are those of a recipe; name one, or build the whole database")
    store = Path(out or ("cube.zarr" if at is None else "at_stations.zarr"))
    given = source if isinstance(source, xr.Dataset) else Path(source)
    if at is not None and chosen is None:
        raise VadoseError("values at stations need a recipe, which gives the days; name one")
    with as_files(given, store) as files:
        if chosen is None:
            progress("building the cube", 0.0)
            build_cube(files, store, product)
            progress("building the cube", 1.0)
        elif at is not None:
            first, last = (f"{day:%Y-%m-%d}" for day in chosen.days[[0, -1]])
            build_features(Path(at), files, store, first=first, last=last, recipe=chosen, progress=progress)
        else:
            workers = workers or cores()
            build_from_granules(files, store, chosen, workers=workers, scheduler=scheduler, progress=progress)
    return open(store)


@overload
def train(
    cube: Store, experiment: "PathLike | Experiment" = ..., *, run: str, out: Out = ..., progress: Progress = ...
) -> Path: ...
@overload
def train(
    cube: Store, experiment: "PathLike | Experiment" = ..., *, run: Runs = ..., out: Out = ..., progress: Progress = ...
) -> list[Path]: ...
@extras()
def train(
    cube: Store,
    experiment: "PathLike | Experiment" = "conus",
    *,
    run: str | Runs = None,
    out: Out = None,
    progress: Progress = silent,
) -> Path | list[Path]:
    """Train runs of an experiment. An interrupted training resumes from its last epoch.

    Parameters
    ----------
    cube
        A cube or its path. A cube in memory is identified by its values, which are all read.
    experiment, run
        YAML file, built-in name or `vadose.experiments.Experiment`; name of one run or of several (default: all).
    out
        For one run, its folder, named after it (default: ``runs/NAME``); else the parent folder of the runs.

    Returns
    -------
    The folder of the run, or a list of folders.

    Raises
    ------
    VadoseError
        If the experiment has no such run, or the cube lacks one of its predictors.
    """
    from vadose.experiments import load_experiment
    from vadose.experiments.studies import train_all

    chosen = load_experiment(str(experiment)) if isinstance(experiment, str | os.PathLike) else experiment
    data = cube if isinstance(cube, xr.Dataset) else Path(cube)
    if not isinstance(run, str):
        return train_all(chosen, data, Path(out or "runs"), names=run, progress=progress)
    folder = Path(out or Path("runs", run))
    if folder.name != run:
        raise VadoseError(f"out {str(folder)!r}: expected a folder named after the run {run!r}, such as {folder / run}")
    return train_all(chosen, data, folder.parent, names=[run], progress=progress)[0]


@extras()
def forecast(
    run: PathLike,
    cube: Store,
    *,
    init: str | Days = "latest",
    out: Out = None,
    weather: Sequence[PathLike] | None = None,
    member: str | None = None,
    above: Mapping[str, Store] | None = None,
    climatology: Days | None = None,
    hindsight: bool = False,
    running: Running = Running(),
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Forecast soil moisture for the days after each day of issue.

    Parameters
    ----------
    run, cube
        Folder of a trained run (uses ``final.pt``), or one of its checkpoints; a cube or its path.
    init, out
        Day of issue (last day with data); first and last day of issue; or ``'latest'``, the cube's last day. Output
        store (default: ``forecasts/RUN_FIRST_LAST_HASH.zarr``, the hash that of all the forecast is made of).
    weather, member
        Granules (files, folders) of the GEFS or GFS run of the day after ``init``; its ensemble member, or ``'mean'``.
    above
        Forecasts of the layers above by name, for a model in cascade.
    climatology, hindsight
        First and last day of the local climatology: adds percentiles and drought classes. ``hindsight`` allows days
        after the first day of issue.
    running, workers, scheduler
        How networks run, such as ``vd.Running(precision="float32")``; processes, or the address of a Dask scheduler.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (init_time, lead_time, y, x) [m3 m-3]; ``soil_moisture_std`` if the model predicts it.

    Raises
    ------
    VadoseError
        If the cube lacks a day or a predictor, or has cells the run cannot forecast.
    """
    from vadose.artefact import identity
    from vadose.cube import open_identified, with_weather_ahead
    from vadose.door import open_store
    from vadose.predict import forecast as prediction
    from vadose.predict.outlook import check_hindsight, with_outlook

    place = Path(run)
    checkpoint = place if place.suffix == ".pt" else place / "final.pt"
    opened, known = (cube, None) if isinstance(cube, xr.Dataset) else open_identified(Path(cube))
    made_of: dict[str, object] = {"cube": known}
    first, last = (init, init) if isinstance(init, str) else init
    if weather:
        if first != last:
            raise VadoseError("a weather forecast belongs to one day of issue: give one day as init")
        granules = [Path(granule) for granule in weather]
        wanted = None if init == "latest" else first
        opened = with_weather_ahead(opened, granules, prediction.weather_ahead(checkpoint), init=wanted, member=member)
        first = last = opened.attrs["day_of_issue"]
        made_of |= {"weather": identity(*granules), "member": member}
    elif init == "latest":
        first = last = prediction.latest_day(checkpoint, opened)
    finish = None
    if climatology is not None:
        check_hindsight(climatology[1], first, hindsight)
        made_of |= {"climatology": climatology, "hindsight": hindsight}
        finish = partial(with_outlook, cube=opened, first=climatology[0], last=climatology[1], hindsight=hindsight)
    store = prediction.forecast(
        checkpoint,
        opened,
        Path(out) if out else None,
        first=first,
        last=last,
        above={name: _opened(store) for name, store in (above or {}).items()},
        made_of=made_of,
        finish=finish,
        running=running,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    return open_store(store)


def evaluate(
    forecasts: Sequence[Store],
    observed: Store,
    *,
    out: PathLike = "evaluation",
    days: Days | None = None,
    min_pairs: int = 60,
    allow_learnt_days: bool = False,
    anomalies: str = "none",
    climatology: Days | None = None,
    scale: str = "none",
    seasons: bool = False,
    extremes: bool = False,
    strata: Mapping[str, PathLike | Sequence[str]] | None = None,
    fields: Store | None = None,
    qa4sm: bool = False,
    correlated: Sequence[tuple[str, str]] = (),
    replicates: int = 0,
    block_length: int = 30,
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> "Scores":
    """Score forecasts against observations on identical samples, with confidence intervals.

    Parameters
    ----------
    forecasts
        Forecast stores; NetCDF files, Zarr stores or folders of granules of others, or YAML files that tell what these
        hold (`vadose.door.foreign.Foreign`); or data sets. Include persistence and climatology for skill scores.
    observed, out, workers, scheduler
        A cube or a station store; folder of the tables; processes on this machine, or address of a Dask scheduler.
    days, min_pairs, allow_learnt_days
        Valid days to score; minimum pairs of a cell or station; also score days used in training, which tables show.
    anomalies, climatology, scale
        Score anomalies: ``'window'`` or ``'climatology'``, and its period; and scale forecasts to the observations
        first: ``'mean-std'``, ``'linear'`` or ``'cdf'`` (`vadose.evaluation.Treatment`). Remarks say so.
    seasons, extremes, strata, fields
        Scores by season; of the driest and wettest tenth of days (`vadose.evaluation.extremes`); by labels or files of
        classes of sites (`vadose.evaluation.label_files`); by a cube's cells.
    qa4sm, correlated, replicates, block_length, seed
        Also write the table of all pairs and triples, see `vadose.evaluation.Validation`.

    Raises
    ------
    VadoseError
        If the stores do not match, the scored days were used in training, or nothing is left to score.
    """
    from vadose import evaluation
    from vadose.cube.granule_analysis import forecasts_of
    from vadose.door.days import Period
    from vadose.evaluation.label_files import read_labels

    treatment = evaluation.Treatment(anomalies, Period(*climatology) if climatology else None, scale)
    validation = evaluation.Validation(tuple((a, b) for a, b in correlated), replicates, block_length, seed)
    truth = _opened(observed)
    stores = [forecasts_of(store, truth, progress) for store in forecasts]
    named = next((store.attrs["dataset"] for store in stores if "dataset" in store.attrs), "own")
    evaluation.evaluate(
        [store if "dataset" in store.attrs else store.assign_attrs(dataset=named) for store in stores],
        truth,
        out=Path(out),
        period=days,
        min_pairs=min_pairs,
        allow_learnt_days=allow_learnt_days,
        strata=read_labels(strata or {}, truth),
        cube=None if fields is None else _opened(fields),
        treatment=treatment,
        seasons=seasons,
        extremes=extremes,
        validation=validation if qa4sm or correlated or replicates else None,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    return evaluation.Scores(Path(out))


def _opened(store: Store) -> xr.Dataset:
    return store if isinstance(store, xr.Dataset) else open(store)


def report(
    scores: "PathLike | Scores | Sequence[PathLike | Scores]",
    out: PathLike = "report.html",
    *,
    title: str = "Soil-moisture forecasts",
) -> Path:
    """Make one HTML page with maps, tables and figures of evaluations.

    Parameters
    ----------
    scores
        Result of `evaluate`, or its folder; the page keeps the order of several.

    Raises
    ------
    VadoseError
        If a folder is not an evaluation.
    """
    from vadose.evaluation import Scores
    from vadose.reports.page import build_report

    all_scores = [scores] if isinstance(scores, str | os.PathLike | Scores) else scores
    folders = [Path(one.folder if isinstance(one, Scores) else one) for one in all_scores]
    return build_report(folders, Path(out), title=title)
