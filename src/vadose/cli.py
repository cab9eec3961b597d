"""The command line: one sub-command for each step of the road."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vadose.errors import VadoseError

# The stages are imported where they are called: help and mistakes come at once, torch later.
if TYPE_CHECKING:
    import xarray as xr

    from vadose.config import Experiment
    from vadose.cube import Recipe

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Soil-moisture forecasts from satellite, weather, soil and terrain data.

The road, each step a command that reads files and writes one artefact:

**fetch** -> granules · **build** -> a cube · **train** -> a run · **forecast** -> a store ·
**evaluate** -> scores · **report** -> a page

**study** does all from the cube on and goes on where it was stopped; **demo** shows the whole on a small
simulated world; **inspect** says what a file holds.""",
)
console = Console(stderr=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write.")]
EXPERIMENTS = (
    "Experiment file (YAML), or a built-in one: conus, demo, demo_database, forecast_best, forecast_beyond, "
    "forecast_demo, forecast_paper, india, stations."
)
ExperimentName = Annotated[
    str,
    typer.Option(
        "--experiment",
        "-e",
        help=EXPERIMENTS,
    ),
]
Cube = Annotated[Path, typer.Argument(help="Cube made by 'vadose build'.")]


@app.command()
def fetch(
    product: Annotated[str, typer.Argument(help="What to fetch, such as SPL3SMP_E, gridmet, solus, scan.")],
    bbox: Annotated[str | None, typer.Option(help="Area: 'west,south,east,north' in degrees.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="First day: YYYY-MM-DD.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder; data/READER when left out."),
    ] = None,
    variable: Annotated[list[str] | None, typer.Option(help="In the product's own names; may be repeated.")] = None,
    subset: Annotated[bool, typer.Option("--subset", help="Let the server cut IMERG and NLDAS to the area.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Connections at a time.")] = 4,
    verify: Annotated[bool, typer.Option("--verify", help="Compare checksums of files there already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and their sizes, fetch none.")] = False,
) -> None:
    """Fetch a product's files for an area and days; run again, it goes on where it was stopped.

    Logins come from `~/.netrc` or the environment (`EARTHDATA_TOKEN`, or `EARTHDATA_USERNAME` and
    `EARTHDATA_PASSWORD`) and are never shown.

    Example: `vadose fetch gridmet --bbox=-100,38,-95,42 --from 2019-01-01 --to 2019-12-31 --variable pr`
    """
    from vadose.fetch import READERS, plan_fetch
    from vadose.fetch import fetch as fetch_files

    box = _box(bbox) if bbox else None
    begin, end = (_day(text, option) if text else None for text, option in ((first, "--from"), (last, "--to")))
    plan = plan_fetch(product, box, begin, end, variable, subset=subset)
    _say(plan.table() if dry_run else plan.table().splitlines()[-1])
    if dry_run:
        return
    folder = out or Path("data") / READERS.get(plan.product, plan.product)
    with _progress() as tell:
        paths = fetch_files(plan, folder, tell, workers, verify=verify)
    _say(f"{folder}: {len(paths)} files")


@app.command()
def inspect(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of one product, as published.")],
    product: Annotated[str | None, typer.Option(help="Read as this product instead of recognising it.")] = None,
    bbox: Annotated[str | None, typer.Option(help="Look at this box only: 'west,south,east,north' in degrees.")] = None,
) -> None:
    """Say what a file holds: product, version, time, grid, variables, units, share of valid values.

    *there* is the share of cells with a value at all, *valid* that of values the default quality rule keeps;
    the range is that of valid ones.

    Example: `vadose inspect SMAP_L3_SM_P_E_20190701_R18290_001.h5 --bbox=-100,38,-95,42`
    """
    from rich.table import Table

    from vadose.inspection import inspect as inspect_path

    box = _box(bbox) if bbox else None
    for path in paths:
        found = inspect_path(path, product=product, bbox=box)
        _say(f"{path}: {found.product}")
        for word, text in found.facts.items():
            _say(f"  {word:<12} {text}")
        table = Table(
            "variable", "units", "dimensions", "there", "valid", "lowest", "highest", box=None, pad_edge=False
        )
        for v in found.variables:
            shares = (f"{100 * share:.1f} %" for share in (v.there, v.valid))
            table.add_row(v.name, v.units, v.dims, *shares, f"{v.low:.5g}", f"{v.high:.5g}")
        Console(width=120).print(table, highlight=False)


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help="Folder of the data as published.")],
    out: Out = Path("cube.zarr"),
    recipe: Annotated[
        str | None,
        typer.Option(help="What the cube is made of: a file (YAML) or a built-in one. SOURCE has a folder a product."),
    ] = None,
    product: Annotated[
        str | None, typer.Option(help="Without a recipe: the database the folder holds; found out when left out.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes here; all cores if not given.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="A Dask scheduler to work on: tcp://host:8786.")] = None,
) -> None:
    """Build the Zarr cube from gridded data as published: granules by a recipe, or one database.

    A build that was stopped goes on where it was. Built again, with a later last day or with new or changed
    granules, only the days of these are read and written. granules.csv in the cube lists all it was made of.

    Examples: `vadose build granules --recipe demo --out cube.zarr` · `vadose build data/conusv4f1`
    """
    from vadose.config import load_cube
    from vadose.cube import build_cube, build_from_granules, open_cube

    with _progress() as tell:
        if recipe is None:
            tell("building the cube", 0.0)
            build_cube(source, out, product)
            tell("building the cube", 1.0)
        else:
            build_from_granules(
                source, out, load_cube(recipe), workers=workers or _cores(), scheduler=scheduler, progress=tell
            )
    cube = open_cube(out)
    for name, reason in json.loads(cube.attrs.get("broken_granules", "{}")).items():
        _say(f"left out {name}: {reason}")
    _say(f"{out}: {dict(cube.sizes)}")


@app.command()
def doctor(
    cube: Cube,
    out: Annotated[Path | None, typer.Option(help="Folder for the tables and a picture.")] = None,
) -> None:
    """Look for what may be wrong with a cube: gaps, ranges, units, stuck or repeated values, breaks, old versions.

    Ends with 1 where an error was found. With --out: findings.csv, ranges.csv, coverage.csv, diagnosis.png.

    Example: `vadose doctor cube.zarr --out diagnosis`
    """
    from vadose.cube import open_cube
    from vadose.doctor import as_text, examine, write_diagnosis

    with _progress() as tell:
        diagnosis = examine(open_cube(cube), progress=tell)
    typer.echo(as_text(diagnosis), nl=False)
    if out is not None:
        write_diagnosis(diagnosis, out)
        _say(f"{out}: tables and a picture")
    raise typer.Exit(1 if diagnosis.errors else 0)


@app.command()
def match(
    stations: Annotated[Path, typer.Argument(help="Store made by 'vadose stations'.")],
    cube: Cube,
    out: Out = Path("stations.csv"),
    picture: Annotated[Path | None, typer.Option("--map", help="Draw the stations on the cube's cells here.")] = None,
) -> None:
    """Say which cell of a cube each station lies in, how far from its centre, and on what cover and soil.

    Example: `vadose match stations.zarr cube.zarr --out stations.csv --map stations.png`
    """
    from vadose.cube import open_cube
    from vadose.matchups import count_stations, match_stations, plot_stations

    grid = open_cube(cube)
    table = match_stations(_open(stations), grid, out)
    for counts in count_stations(table):
        _say(counts.to_string())
    if picture is not None:
        plot_stations(table, grid).savefig(picture, dpi=150)
    _say(f"{out}: {len(table)} stations")


@app.command()
def twin(
    out: Out = Path("world"),
    first: Annotated[str, typer.Option("--from", help="First day.")] = "2015-01-01",
    last: Annotated[str, typer.Option("--to", help="Last day.")] = "2016-09-30",
    bbox: Annotated[str, typer.Option(help="'west,south,east,north' in degrees.")] = "-100.4,39.5,-99.3,40.5",
    everything: Annotated[
        bool, typer.Option(help="One day of every product too, and 100 m products of a county.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same world.")] = 0,
) -> None:
    """Simulate a world with known truth and write it as the data centres would publish it.

    Example: `vadose twin --from 2019-01-01 --to 2019-12-31 --out world`
    """
    from vadose.twin.world import build_granule_world

    with _progress() as tell:
        build_granule_world(
            out, _day(first, "--from"), _day(last, "--to"), bbox=_box(bbox), everything=everything, seed=seed,
            workers=_cores(),            progress=tell,
        )  # fmt: skip
    _say(str(out))


@app.command()
def stations(
    out: Out = Path("stations.zarr"),
    uscrn: Annotated[Path | None, typer.Option(help="Folder of USCRN daily01 files, YEAR/CRND0103-*.txt.")] = None,
    scan: Annotated[Path | None, typer.Option(help="Folder of SCAN daily CSV exports.")] = None,
    ismn: Annotated[Path | None, typer.Option(help="ISMN archive, folder or zip.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="Folder of station coordinates and soils.")] = None,
) -> None:
    """Build the station store from USCRN, SCAN and ISMN files, with quality flags.

    Example: `vadose stations --uscrn data/uscrn_daily01 --metadata data/station_meta --out stations.zarr`
    """
    from vadose.stations import build_stations

    with _progress() as tell:
        build_stations(out, uscrn=uscrn, scan=scan, ismn=ismn, metadata=metadata, progress=tell)
    _say(f"{out}: {dict(_open(out).sizes)}")


@app.command()
def train(
    cube: Cube,
    experiment: ExperimentName = "conus",
    run: Annotated[list[str] | None, typer.Option(help="Train only this run; may be repeated.")] = None,
    out: Out = Path("runs"),
) -> None:
    """Train the runs of an experiment; an interrupted training goes on from its last epoch.

    Example: `vadose train cube.zarr --experiment conus --run lstm --out runs`
    """
    from vadose.config import load_experiment
    from vadose.study import train_all

    with _progress() as tell:
        folders = train_all(load_experiment(experiment), cube, out, names=run, progress=tell)
    for folder in folders:
        _say(str(folder))


@app.command()
def forecast(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run, or one of its checkpoints.")],
    cube: Cube,
    first: Annotated[
        str | None, typer.Option("--from", help="First day of issue, the last day known: YYYY-MM-DD.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of issue.")] = None,
    init: Annotated[str | None, typer.Option(help="One day of issue, or 'latest': the cube's last day.")] = None,
    weather: Annotated[
        list[Path] | None,
        typer.Option(help="Granules (files, folders) of the GEFS or GFS run of the day after --init; may be repeated."),
    ] = None,
    member: Annotated[str | None, typer.Option(help="Of several members in --weather: one, or 'mean'.")] = None,
    above: Annotated[
        list[str] | None, typer.Option(help="'LAYER=STORE': forecast of a layer above, of a model in cascade.")
    ] = None,
    climatology: Annotated[
        str | None, typer.Option(help="'FIRST..LAST': days of the local climatology; adds percentiles and D0-D4.")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--map", help="Draw drought classes and percentiles here.")] = None,
    out: Out = Path("forecast.zarr"),
) -> None:
    """Forecast soil moisture 1, 3, 7, 14 and 30 days after each day of issue.

    Every day, after `vadose build` has added the newest granules to the cube:
    `vadose forecast runs/blend cube.zarr --init latest --climatology 2015-04-01..2020-12-31 --map outlook.png`

    Example: `vadose forecast runs/lstm cube.zarr --from 2016-02-01 --to 2016-03-01 --out lstm.zarr`
    """
    from vadose.artefact import fingerprint, made_from
    from vadose.cube import open_cube, with_weather_ahead
    from vadose.forecast import forecast as forecast_run
    from vadose.forecast import latest_day, weather_ahead

    if (init is None) == (first is None and last is None) or (first is None) != (last is None):
        raise VadoseError("give the days of issue: --from and --to, or --init DAY, or --init latest")
    if weather and init is None:
        raise VadoseError("--weather is what is foretold on one day of issue: give --init DAY, or --init latest")
    if picture and not climatology:
        raise VadoseError(
            "--map draws percentiles: give the days of the local climatology too, --climatology FIRST..LAST"
        )
    span = _span(climatology) if climatology else None
    checkpoint = run if run.suffix == ".pt" else run / "final.pt"
    issue = _day(init, "--init") if init not in (None, "latest") else None
    begin, end = (_day(first, "--from"), _day(str(last), "--to")) if first is not None else (issue or "", issue or "")
    opened, made_of = open_cube(cube), dict[str, object](cube=made_from(cube))
    if weather:
        opened = with_weather_ahead(opened, weather, weather_ahead(checkpoint), init=issue, member=member)
        begin = end = opened.attrs["day_of_issue"]
        made_of |= {"weather": fingerprint(weather), "member": member}
    elif init == "latest":
        begin = end = latest_day(checkpoint, opened)
    with _progress() as tell:
        forecast_run(
            checkpoint, opened, out, first=begin, last=end, above=_stores(above or []), made_of=made_of, progress=tell,
        )  # fmt: skip
        if span is not None:
            from vadose.outlook import draw_outlook
            from vadose.outlook.store import write_outlook

            tell("comparing with the local climatology", 0.0)
            store = write_outlook(out, opened, first=span[0], last=span[1])
            tell("comparing with the local climatology", 1.0)
            if picture is not None:
                draw_outlook(store, picture, [int(lead) for lead in store.lead_time.dt.days.values])
    missing = _open(out).inputs_missing.any("init_time")
    for name in missing.channel.values[missing.values]:
        _say(f"missing on some day of issue, replaced by its mean in training: {name}")
    _say(str(out))


@app.command()
def evaluate(
    forecasts: Annotated[list[Path], typer.Argument(help="Stores of 'vadose forecast', scored on identical samples.")],
    observed: Annotated[Path, typer.Option(help="A cube or a station store with the observations.")],
    out: Out = Path("evaluation"),
    first: Annotated[str | None, typer.Option("--from", help="First valid day to score.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last valid day to score.")] = None,
    min_pairs: Annotated[int, typer.Option(min=3, help="Fewest pairs for a cell or station to count.")] = 60,
    replicates: Annotated[int, typer.Option(min=10, help="Bootstrap replicates.")] = 1000,
) -> None:
    """Score forecasts against observations; give persistence and climatology among them.

    Example: `vadose evaluate lstm.zarr persistence.zarr climatology.zarr --observed cube.zarr`
    """
    from vadose.cube import open_cube
    from vadose.evaluate import evaluate as evaluate_stores

    period = None
    if first or last:
        if not (first and last):
            raise VadoseError("--from and --to go together: give both or neither")
        period = (_day(first, "--from"), _day(last, "--to"))
    truth = _open(observed) if (observed / "station").exists() else open_cube(observed)
    with _progress() as tell:
        tell("evaluating", 0.0)
        evaluate_stores(
            [_open(store) for store in forecasts], truth, out=out, period=period, min_pairs=min_pairs,
            replicates=replicates,
        )  # fmt: skip
        tell("evaluating", 1.0)
    _say(str(out / "scores.csv"))


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders of 'vadose evaluate'.")],
    out: Out = Path("report.html"),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Soil-moisture forecasts",
) -> None:
    """Make one HTML page of maps, tables and figures from evaluations.

    Example: `vadose report evaluation --out report.html`
    """
    from vadose.report import build_report

    _say(str(build_report(evaluations, out, title=title)))


@app.command()
def study(
    experiment: Annotated[
        str,
        typer.Argument(help=EXPERIMENTS),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data as published.")] = None,
    cube: Annotated[Path | None, typer.Option(help="A cube built already, instead of the data.")] = None,
    out: Out = Path("study"),
    recipe: Annotated[str | None, typer.Option(help="Recipe of the cube; without one the data are a database.")] = None,
    stations: Annotated[Path | None, typer.Option(help="Station store to score against too.")] = None,
    small: Annotated[
        bool, typer.Option("--quick", help="A few steps of everything: to try it, not to use it.")
    ] = False,
) -> None:
    """Do the whole road on a folder of data, resumable: build, train, forecast, evaluate, report.

    Of `conus` the data are the hydroDL database, of `india` the archives of the soil-water index, of `stations`
    the folders `uscrn_daily01`, `scan_daily` and `station_meta`; with a recipe they are granules.

    `forecast_paper` and `forecast_demo` are the nine models of the paper: on granules with a recipe, or on --cube.

    Example: `vadose study conus --data data/conusv4f1 --out study`
    """
    from vadose.config import load_cube, load_experiment, quick
    from vadose.study import study as run_study

    if (data is None) == (cube is None):
        raise VadoseError("give either --data, a folder of files as published, or --cube, a cube built already")
    chosen, title = load_experiment(experiment), f"Study {Path(experiment).stem}"
    chosen = quick(chosen) if small else chosen
    if data is not None:
        _do_study(chosen, data, out, stations, load_cube(recipe) if recipe else None, title=title)
    elif cube is not None:
        with _progress() as tell:
            page = run_study(chosen, cube, out, title=title, stations=stations, progress=tell)
        _say_done(out, page)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Real database to use instead of the simulated world.")] = None,
    nine: Annotated[
        bool, typer.Option("--forecast", help="The paper's study instead: three layers, three scenarios.")
    ] = False,
    out: Out = Path("demo"),
) -> None:
    """Show the whole road in minutes, on a simulated world where nothing is downloaded.

    Example: `vadose demo` or, on real data, `vadose demo --data data/conusv4f1`
    """
    # Models this small are slower on several threads; libraries read it when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from vadose.config import load_cube, load_experiment
    from vadose.stations import build_stations
    from vadose.twin.world import MORE, build_granule_world

    if data is not None:
        _do_study(load_experiment("demo_database"), data, out, None, None, title="Demonstration")
        return
    name = "forecast_demo" if nine else "demo"
    world, recipe = out / "world", load_cube(name)
    # SMAP is missing for a month of the test year, as it was in 2019 and 2022.
    outages = {"smap_l3": [("2020-06-20", "2020-07-22")]} if nine else None
    with _progress() as tell:
        if not world.exists():
            build_granule_world(
                world, recipe.first, recipe.last, bbox=recipe.bbox, stations=40 if nine else 12,
                more=MORE if nine else (), outages=outages, workers=_cores(), progress=tell,
            )  # fmt: skip
        folder = world / "stations"
        scan, metadata = (folder / "scan", folder / "station_meta") if nine else (None, None)
        build_stations(out / "stations.zarr", uscrn=folder / "uscrn", scan=scan, metadata=metadata, progress=tell)
    _do_study(
        load_experiment(name), world / "granules", out, out / "stations.zarr", recipe,
        title="Demonstration on a simulated world",
    )  # fmt: skip


def _do_study(
    experiment: "Experiment", data: Path, out: Path, stations: Path | None, recipe: "Recipe | None", title: str
) -> None:
    from vadose.cube import build_cube, build_from_granules, build_station_cube
    from vadose.stations import build_stations, folders_of
    from vadose.study import study as run_study

    with _progress() as tell:
        if recipe is None and experiment.data == "stations":
            uscrn, scan, metadata = folders_of(data)
            store = build_stations(out / "stations.zarr", uscrn=uscrn, scan=scan, metadata=metadata, progress=tell)
            cube = build_station_cube(store, out / "cube.zarr", first=experiment.first_day())
        elif recipe is None:
            cube = build_cube(data, out / "cube.zarr", experiment.data)
        else:
            cube = build_from_granules(data, out / "cube.zarr", recipe, workers=_cores(), progress=tell)
        page = run_study(experiment, cube, out, title=title, stations=stations, progress=tell)
    _say_done(out, page)


def _say_done(out: Path, page: Path) -> None:
    _say(f"scores: {out / 'scores.csv'}")
    _say(f"report: {page.resolve()}")


def _open(store: Path) -> "xr.Dataset":
    import xarray as xr

    if not (store / "zarr.json").exists():
        raise VadoseError(f"{store}: no Zarr store there; make one with 'vadose forecast' or 'vadose stations'")
    dataset: xr.Dataset = xr.open_zarr(store, consolidated=False)
    return dataset


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stores(above: list[str]) -> "dict[str, xr.Dataset]":
    found = {}
    for text in above:
        layer, _, store = text.partition("=")
        if not store:
            raise VadoseError(f"--above {text!r}: write LAYER=STORE, as '0-10 cm=surface.zarr'")
        found[layer] = _open(Path(store))
    return found


def _span(text: str) -> tuple[str, str]:
    first, dots, last = text.partition("..")
    if not dots:
        raise VadoseError(f"--climatology {text!r}: write FIRST..LAST, as 2015-04-01..2020-12-31")
    return _day(first, "--climatology"), _day(last, "--climatology")


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise VadoseError(f"--bbox {text!r}: not four numbers; write west,south,east,north in degrees") from error
    return west, south, east, north


def _day(text: str, option: str) -> str:
    import pandas as pd

    try:
        return f"{pd.Timestamp(text):%Y-%m-%d}"
    except ValueError as error:
        raise VadoseError(f"{option} {text!r}: not a day; write YYYY-MM-DD") from error


def _say(text: str) -> None:
    typer.echo(text)


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar for what is under way, and a line with its seconds for what is done."""
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    started: dict[str, float] = {}
    finished: set[str] = set()
    with bar:
        task = bar.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            stage = what.split(":")[0]
            if stage in finished:
                return
            if stage not in started:
                started[stage] = time.monotonic()
                bar.reset(task)
            bar.update(task, description=what, completed=share)
            if share >= 1.0:
                finished.add(stage)
                console.print(f"{stage}: {time.monotonic() - started[stage]:.0f} s", highlight=False)

        yield tell


def main() -> NoReturn:
    """Run the command line; a problem a user can mend is one message and exit code 2."""
    # Threads that spin while they wait slow each other down where cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except VadoseError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    sys.exit(0)
