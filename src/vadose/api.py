"""The commands as functions: plain arguments in, data sets out. The stages are imported where they are called."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import xarray as xr

from vadose.errors import VadoseError
from vadose.parallel.progress import Progress, silent

if TYPE_CHECKING:
    from vadose.cube import Recipe
    from vadose.download import Plan
    from vadose.evaluation import Scores
    from vadose.experiments import Experiment

PathLike = str | os.PathLike[str]
Days = tuple[str, str]
BBox = tuple[float, float, float, float]


def fetch(
    product: "str | Plan",
    *,
    bbox: BBox | None = None,
    days: Days | None = None,
    variables: Sequence[str] | None = None,
    out: PathLike | None = None,
    subset: bool = False,
    workers: int = 4,
    verify: bool = False,
    progress: Progress = silent,
) -> list[Path]:
    """Fetch a product's files for an area and days; called again it goes on where it was stopped.

    Parameters
    ----------
    product
        As the data centre names it (``'SPL3SMP_E'``), or a name of `vadose.PRODUCTS`; or a plan made of the rest by
        `vadose.download.plan_fetch`.
    bbox
        West, south, east, north [degree].
    days
        First and last day, both fetched; products that do not change need none.
    variables
        In the product's own names; the usual ones when left out.
    out
        Folder; ``data/READER`` when left out.
    subset
        Let the server cut the files to the area, where it can.
    workers, verify
        Connections at a time; whether checksums of files there already are compared.

    Returns
    -------
    The files, those there before among them.

    Raises
    ------
    VadoseError
        For an unknown product, a login that lacks, or a server that answers with an error.
    """
    from vadose.download import READERS, plan_fetch
    from vadose.download import fetch as fetch_plan

    first, last = days or (None, None)
    plan = plan_fetch(product, bbox, first, last, variables, subset=subset) if isinstance(product, str) else product
    folder = Path(out) if out is not None else Path("data") / READERS.get(plan.product, plan.product)
    return fetch_plan(plan, folder, progress, workers, verify=verify)


def read(path: PathLike, product: str | None = None, **options: Any) -> xr.Dataset:
    """Read a file, or a folder that is one, as published, in the names and units of `vadose.variables`.

    Parameters
    ----------
    path
        File or folder.
    product
        Name in `vadose.PRODUCTS`; recognised by name and content when left out.
    options
        Of the product's reader, such as ``bbox`` or ``quality``: see ``help(vd.PRODUCTS[NAME].read)``.

    Raises
    ------
    VadoseError
        When there is nothing at ``path``, it is of no known product, holds several data sets (stations of a
        network: read those with `vadose.products` or build a store of them), or the reader finds it wrong.
    """
    from vadose.products import PRODUCTS, identify

    if product is not None and product not in PRODUCTS:
        raise VadoseError(f"product {product!r} unknown; choose from {list(PRODUCTS)}")
    name = product or identify(Path(path))
    found = PRODUCTS[name].read(Path(path), **options)
    if not isinstance(found, xr.Dataset):
        raise VadoseError(f"{path}: {PRODUCTS[name].title} holds many data sets; make a store of them: vadose stations")
    return found


def open(path: PathLike) -> xr.Dataset:
    """Open a cube, or a store of forecasts, maps, scores or stations, or a NetCDF file, lazily.

    Of a cube this is its last complete state, also while it is being built.

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
        When there is nothing at ``path`` that can be opened, or a part of it is missing.
    """
    from vadose.cube import is_cube, open_cube
    from vadose.door import open_store

    return open_cube(Path(path)) if is_cube(Path(path)) else open_store(Path(path))


def build(
    source: PathLike,
    recipe: "str | PathLike | Recipe | None" = None,
    *,
    out: PathLike | None = None,
    at: PathLike | None = None,
    product: str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Build the cube of a folder of granules by a recipe, or of one database; or what granules hold at stations.

    Built again with new or changed granules, only their days are read and written.

    Parameters
    ----------
    source
        Folder with a folder a product, or of a database.
    recipe
        File (YAML), name of a built-in one, or a `vadose.cube.Recipe`; none for a database.
    out
        Zarr store; ``cube.zarr``, with ``at`` ``at_stations.zarr``, when left out.
    at
        Store of ``vadose stations``: features at these stations, on the days of the recipe, instead of a cube.
    product
        Without a recipe: the database the folder holds; found out when left out.
    workers, scheduler
        Processes on this machine (all cores when left out), or the address of a Dask scheduler.

    Raises
    ------
    VadoseError
        When a folder, granule or station store is missing or wrong, or another recipe's cube is at ``out``.
    """
    from vadose.cube import build_cube, build_from_granules
    from vadose.cube.station_table import build_features
    from vadose.experiments import load_cube
    from vadose.parallel.workers import cores

    chosen = load_cube(str(recipe)) if isinstance(recipe, str | os.PathLike) else recipe
    place = Path(out or ("cube.zarr" if at is None else "at_stations.zarr"))
    if at is not None:
        if chosen is None:
            raise VadoseError("features at stations are of the days of a recipe; name one")
        first, last = (f"{day:%Y-%m-%d}" for day in chosen.days[[0, -1]])
        build_features(Path(at), Path(source), place, first=first, last=last, mode="causal", progress=progress)
    elif chosen is None:
        progress("building the cube", 0.0)
        build_cube(Path(source), place, product)
        progress("building the cube", 1.0)
    else:
        how: dict[str, Any] = {"workers": workers or cores(), "scheduler": scheduler}
        build_from_granules(Path(source), place, chosen, progress=progress, **how)
    return open(place)


@overload
def train(
    cube: PathLike | xr.Dataset,
    experiment: "str | PathLike | Experiment" = ...,
    *,
    run: str,
    out: PathLike | None = ...,
    progress: Progress = ...,
) -> Path: ...
@overload
def train(
    cube: PathLike | xr.Dataset,
    experiment: "str | PathLike | Experiment" = ...,
    *,
    run: list[str] | tuple[str, ...] | None = ...,
    out: PathLike | None = ...,
    progress: Progress = ...,
) -> list[Path]: ...
def train(
    cube: PathLike | xr.Dataset,
    experiment: "str | PathLike | Experiment" = "conus",
    *,
    run: str | list[str] | tuple[str, ...] | None = None,
    out: PathLike | None = None,
    progress: Progress = silent,
) -> Path | list[Path]:
    """Train runs of an experiment; an interrupted training goes on from its last epoch.

    Parameters
    ----------
    cube
        A cube, or where it lies. One in memory is told from others by its values, which are all read for it.
    experiment
        File (YAML), name of a built-in one, or an `vadose.experiments.Experiment`.
    run
        Name of one run, of several, or all of the experiment when left out.
    out
        Of one run its folder, which has its name (``runs/NAME`` when left out); else the folder of the runs' folders.

    Returns
    -------
    The run's folder, or the list of them.

    Raises
    ------
    VadoseError
        When the experiment has no such run, or the cube lacks what it takes.
    """
    from vadose.experiments import load_experiment
    from vadose.experiments.studies import train_all

    chosen = load_experiment(str(experiment)) if isinstance(experiment, str | os.PathLike) else experiment
    given = cube if isinstance(cube, xr.Dataset) else Path(cube)
    if not isinstance(run, str):
        return train_all(chosen, given, Path(out or "runs"), names=run, progress=progress)
    place = Path(out or Path("runs", run))
    if place.name != run:
        raise VadoseError(f"out {str(place)!r}: the folder of the run {run!r} has its name; write {place / run}")
    return train_all(chosen, given, place.parent, names=[run], progress=progress)[0]


def forecast(
    run: PathLike,
    cube: PathLike | xr.Dataset,
    *,
    init: str | Days = "latest",
    out: PathLike | None = None,
    weather: Sequence[PathLike] | None = None,
    member: str | None = None,
    above: Mapping[str, PathLike | xr.Dataset] | None = None,
    climatology: Days | None = None,
    hindsight: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> xr.Dataset:
    """Forecast soil moisture for the days after each day of issue.

    Parameters
    ----------
    run
        Folder of a trained run (its ``final.pt``), or one of its checkpoints.
    cube
        A cube, or where it lies.
    init
        Day of issue, the last day known; the first and the last of several; or ``'latest'``, the cube's last day.
    out
        Zarr store; ``forecasts/RUN_FIRST_LAST.zarr`` when left out.
    weather, member
        Granules (files, folders) of the GEFS or GFS run of the day after ``init``, and of several members one, or
        ``'mean'``.
    above
        Forecasts of the layers above by name, of a model in cascade.
    climatology, hindsight
        First and last day of the local climatology: adds percentiles and drought classes. With ``hindsight`` it may
        hold days after the first day of issue.
    workers, scheduler
        Processes on this machine, or the address of a Dask scheduler.

    Returns
    -------
    xarray.Dataset
        ``soil_moisture`` (init_time, lead_time, y, x) [m3 m-3], ``soil_moisture_std`` where the model has it.

    Raises
    ------
    VadoseError
        When the cube lacks a day or a predictor, or the run forecasts no such cells, see
        `vadose.predict.forecast.forecast`.
    """
    from vadose.artefact import identity
    from vadose.cube import open_identified, with_weather_ahead
    from vadose.door import open_store
    from vadose.predict.forecast import forecast as forecast_run
    from vadose.predict.forecast import latest_day, weather_ahead
    from vadose.predict.outlook import check_hindsight, with_outlook

    place = Path(run)
    checkpoint = place if place.suffix == ".pt" else place / "final.pt"
    made_of: dict[str, object] = {}
    if isinstance(cube, xr.Dataset):
        opened = cube
    else:
        opened, made_of["cube"] = open_identified(Path(cube))
    first, last = (init, init) if isinstance(init, str) else init
    if weather:
        if first != last:
            raise VadoseError("a weather forecast is of one day of issue: give one day as init")
        granules = [Path(granule) for granule in weather]
        wanted = None if init == "latest" else first
        opened = with_weather_ahead(opened, granules, weather_ahead(checkpoint), init=wanted, member=member)
        first = last = opened.attrs["day_of_issue"]
        made_of |= {"weather": identity(*granules), "member": member}
    elif init == "latest":
        first = last = latest_day(checkpoint, opened)
    finish = None
    if climatology is not None:
        check_hindsight(climatology[1], first, hindsight)
        made_of |= {"climatology": climatology, "hindsight": hindsight}
        finish = partial(with_outlook, cube=opened, first=climatology[0], last=climatology[1], hindsight=hindsight)
    of = place.stem if place.suffix == ".pt" else place.name
    store = Path(out or Path("forecasts", "_".join(dict.fromkeys((of, first, last))) + ".zarr"))
    forecast_run(
        checkpoint,
        opened,
        store,
        first=first,
        last=last,
        above={name: s if isinstance(s, xr.Dataset) else open_store(Path(s)) for name, s in (above or {}).items()},
        made_of=made_of,
        finish=finish,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    return open_store(store)


def evaluate(
    forecasts: Sequence[PathLike | xr.Dataset],
    observed: PathLike | xr.Dataset,
    *,
    out: PathLike = "evaluation",
    days: Days | None = None,
    min_pairs: int = 60,
    allow_learnt_days: bool = False,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> "Scores":
    """Score forecasts against observations on identical samples, with intervals and baselines beside.

    Parameters
    ----------
    forecasts
        Stores, or data sets in their form: ``soil_moisture`` (init_time, lead_time, y, x) with the attributes
        ``model``, ``weather``, ``scenario``, ``layer``, ``dataset``, ``simulated`` and ``causal``. With persistence
        and climatology among them there are skill scores.
    observed
        A cube or a station store.
    out
        Folder of the tables.
    days
        First and last valid day to score.
    min_pairs
        Fewest pairs for a cell or station to count.
    allow_learnt_days
        Score days that a model learnt from too; the tables say so.

    Raises
    ------
    VadoseError
        When the stores hold no common days or cells, or days that a model learnt from; see
        `vadose.evaluation.evaluate`.
    """
    from vadose.evaluation import Scores
    from vadose.evaluation import evaluate as evaluate_stores

    evaluate_stores(
        [open(store) if not isinstance(store, xr.Dataset) else store for store in forecasts],
        observed if isinstance(observed, xr.Dataset) else open(observed),
        out=Path(out),
        period=days,
        min_pairs=min_pairs,
        allow_learnt_days=allow_learnt_days,
        workers=workers,
        scheduler=scheduler,
        progress=progress,
    )
    return Scores(Path(out))


def report(
    scores: "PathLike | Scores | Sequence[PathLike | Scores]",
    out: PathLike = "report.html",
    *,
    title: str = "Soil-moisture forecasts",
) -> Path:
    """Make one HTML page of maps, tables and figures from evaluations.

    Parameters
    ----------
    scores
        What `evaluate` gave, or its folder; several of them stand in the page in their order.

    Raises
    ------
    VadoseError
        When a folder is no evaluation.
    """
    from vadose.evaluation import Scores
    from vadose.reports.page import build_report

    several = [scores] if isinstance(scores, str | os.PathLike | Scores) else list(scores)
    folders = [Path(one.folder if isinstance(one, Scores) else one) for one in several]
    return build_report(folders, Path(out), title=title)
