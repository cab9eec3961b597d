"""Commands from a cube to forecasts and what they are worth."""

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vadose.cli.downscaling import demonstrate_county, downscaling_study
from vadose.cli.terminal import (
    EXPERIMENTS,
    Cube,
    ExperimentName,
    Out,
    OwnModel,
    app,
    console,
    day_of,
    progress_bars,
    register_own,
    say,
    say_age,
    say_done,
    say_former_keys,
    span_of,
    stores_above,
)
from vadose.errors import VadoseError

# The stages are imported where they are called: help and mistakes come at once, torch later.
if TYPE_CHECKING:
    from vadose.cube import Recipe
    from vadose.experiments import Experiment


@app.command()
def train(
    cube: Cube,
    experiment: ExperimentName = "conus",
    run: Annotated[list[str] | None, typer.Option(help="Train only this run; may be repeated.")] = None,
    model: OwnModel = None,
    out: Out = Path("runs"),
) -> None:
    """Train the runs of an experiment; an interrupted training goes on from its last epoch.

    On several GPUs or machines: `torchrun --nproc-per-node 2 -m vadose train ...`, each with a share of every batch.

    Example: `vadose train cube.zarr --experiment conus --run lstm --out runs`
    """
    from vadose import api
    from vadose.experiments import load_experiment

    console.quiet = os.environ.get("RANK", "0") != "0"
    register_own(model)
    chosen = load_experiment(experiment)
    with progress_bars() as tell:
        folders = api.train(cube, chosen, run=run, out=out, progress=tell)
    if console.quiet:
        return
    say_former_keys(chosen)
    for folder in folders:
        say(str(folder))


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
    hindsight: Annotated[
        bool, typer.Option("--hindsight", help="Let the climatology hold days after the first day of issue.")
    ] = False,
    picture: Annotated[Path | None, typer.Option("--map", help="Draw drought classes and percentiles here.")] = None,
    model: OwnModel = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes on this machine; each forecasts blocks of 64 days of issue.")
    ] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler to work on, tcp://host:8786; its workers see the same files.")
    ] = None,
    out: Out = Path("forecast.zarr"),
) -> None:
    """Forecast soil moisture 1, 3, 7, 14 and 30 days after each day of issue.

    Every day, after `vadose build` has added the newest granules to the cube:
    `vadose forecast runs/blend cube.zarr --init latest --climatology 2015-04-01..2020-12-31 --map outlook.png`

    Example: `vadose forecast runs/lstm cube.zarr --from 2016-02-01 --to 2016-03-01 --out lstm.zarr`
    """
    from vadose import api
    from vadose.cube import open_cube
    from vadose.predict.outlook import check_drawable, draw_outlook

    if (init is None) == (first is None and last is None) or (first is None) != (last is None):
        raise VadoseError("give the days of issue: --from and --to, or --init DAY, or --init latest")
    if weather and init is None:
        raise VadoseError("--weather is the forecast of one day of issue: give --init DAY, or --init latest")
    if picture and not climatology:
        raise VadoseError(
            "--map draws percentiles: give the days of the local climatology too, --climatology FIRST..LAST"
        )
    register_own(model)
    span = span_of(climatology) if climatology else None
    issued: str | tuple[str, str] = "latest"
    if init is None:
        issued = day_of(str(first), "--from"), day_of(str(last), "--to")
    elif init != "latest":
        issued = day_of(init, "--init")
    if picture is not None:
        check_drawable(open_cube(cube))
    with progress_bars() as tell:
        store = api.forecast(
            run,
            cube,
            init=issued,
            out=out,
            weather=weather,
            member=member,
            above=stores_above(above or []),
            climatology=span,
            hindsight=hindsight,
            workers=workers,
            scheduler=scheduler,
            progress=tell,
        )
    if init == "latest" and not weather:
        say_age(f"{store.indexes['init_time'][-1]:%Y-%m-%d}", date.today())
    if picture is not None:
        draw_outlook(store, picture, [int(lead) for lead in store.lead_time.dt.days.values])
    missing = store.inputs_missing.any("init_time")
    for name in missing.channel.values[missing.values]:
        say(f"missing on some day of issue, replaced by its mean in training: {name}")
    say(str(out))


@app.command("forecast-rival")
def forecast_rival(
    cube: Cube,
    granules: Annotated[list[Path], typer.Argument(help="Granules (files, folders) of GEFS or GFS runs of 00 UTC.")],
    layer: Annotated[
        str | None, typer.Option(help="Layer to stand beside, '10-40 cm'; the cube's if not given.")
    ] = None,
    depth: Annotated[
        str | None, typer.Option(help="Layer of the weather model to take where it has not the same, '0-10 cm'.")
    ] = None,
    observed: Annotated[str, typer.Option(help="Variable of the cube it is to be scored against.")] = "soil_moisture",
    member: Annotated[str | None, typer.Option(help="Of several members: one, or 'mean'.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="First day of issue: its run starts the day after.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of issue.")] = None,
    out: Out = Path("rival.zarr"),
) -> None:
    """Write the soil moisture that GEFS or GFS forecast, as a store to score beside forecasts.

    It is the moisture of the weather model's own soil, not corrected: compare R and ubRMSE, not the bias.

    Example: `vadose forecast-rival cube.zarr gefs --member c00 --out gefs.zarr`
    """
    from vadose.cube import open_cube
    from vadose.cube.rival import write_rival

    days = [text and day_of(text, option) for text, option in ((first, "--from"), (last, "--to"))]
    with progress_bars() as tell:
        write_rival(
            granules,
            open_cube(cube),
            out,
            layer=layer,
            depth=depth,
            observed=observed,
            member=member,
            first=days[0],
            last=days[1],
            progress=tell,
        )
    say(str(out))


@app.command()
def evaluate(
    forecasts: Annotated[list[Path], typer.Argument(help="Stores of 'vadose forecast', scored on identical samples.")],
    observed: Annotated[Path, typer.Option(help="A cube or a station store with the observations.")],
    out: Out = Path("evaluation"),
    first: Annotated[str | None, typer.Option("--from", help="First valid day to score.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last valid day to score.")] = None,
    min_pairs: Annotated[int, typer.Option(min=3, help="Fewest pairs for a cell or station to count.")] = 60,
    allow_learnt_days: Annotated[
        bool, typer.Option("--allow-learnt-days", help="Score days that a model learnt from too; the tables say so.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine; each scores a lead time.")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler to work on, tcp://host:8786; its workers see the same files.")
    ] = None,
) -> None:
    """Score forecasts against observations; give persistence and climatology among them.

    Forecasts may be of others: Zarr or NetCDF of `soil_moisture` (init_time, lead_time, y, x) with the attributes
    `model`, `weather`, `scenario`, `layer`, `dataset`, `simulated` and `causal`. Cells are found by their coordinates.
    What is left out of the tables is said, and stands in `left_out.csv`.

    Example: `vadose evaluate lstm.zarr persistence.zarr climatology.zarr --observed cube.zarr`
    """
    from vadose import api

    days = None
    if first or last:
        if not (first and last):
            raise VadoseError("--from and --to go together: give both or neither")
        days = (day_of(first, "--from"), day_of(last, "--to"))
    with progress_bars() as tell:
        api.evaluate(
            forecasts,
            observed,
            out=out,
            days=days,
            min_pairs=min_pairs,
            allow_learnt_days=allow_learnt_days,
            workers=workers,
            scheduler=scheduler,
            progress=tell,
        )
    say(str(out / "scores.csv"))


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders of 'vadose evaluate'.")],
    out: Out = Path("report.html"),
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "Soil-moisture forecasts",
) -> None:
    """Make one HTML page of maps, tables and figures from evaluations.

    Example: `vadose report evaluation --out report.html`
    """
    from vadose import api

    say(str(api.report(evaluations, out, title=title)))


@app.command()
def study(
    experiment: Annotated[
        str,
        typer.Argument(
            help=EXPERIMENTS
            + " Of downscaling: downscale-stations, -ten_day, -paper, -transfer; files of it say 'kind: downscaling'."
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data as published.")] = None,
    cube: Annotated[
        Path | None, typer.Option(help="A cube built already (of downscaling a table), instead of the data.")
    ] = None,
    out: Out = Path("study"),
    recipe: Annotated[str | None, typer.Option(help="Recipe of the cube; without one the data are a database.")] = None,
    stations: Annotated[Path | None, typer.Option(help="Station store to score against too.")] = None,
    small: Annotated[
        bool, typer.Option("--quick", help="A few steps of everything: to try it, not to use it.")
    ] = False,
    scenario: Annotated[
        list[str] | None, typer.Option(help="Of downscaling: on-site, off-site, cross-region, blocked; all by default.")
    ] = None,
    model: OwnModel = None,
) -> None:
    """Run the whole pipeline on a folder of data, resumable: build, train, forecast, evaluate, report.

    Of `conus` the data are the hydroDL database, of `india` the archives of the soil-water index, of `stations` and
    `downscale-stations` the folders `uscrn_daily01`, `scan_daily` and `station_meta`; with a recipe they are
    granules. Downscaling tests every model on years, stations and regions it did not learn from.

    `forecast_paper` and `forecast_demo` are the nine models of the paper: on granules with a recipe, or on --cube.
    `forecast_beyond` changes one thing at a time, `forecast_cascade` asks with several seeds what the cascade is worth.

    Example: `vadose study conus --data data/conusv4f1 --out study`
    """
    from vadose.experiments import load_cube, quick
    from vadose.experiments.downscaling import load_study
    from vadose.experiments.studies import study as run_study

    if (data is None) == (cube is None):
        raise VadoseError("give either --data, a folder of files as published, or --cube, a cube built already")
    register_own(model)
    chosen, title = load_study(experiment), f"Study {Path(experiment).stem}"
    say_former_keys(chosen)
    if chosen.kind == "downscaling":
        downscaling_study(chosen, data, cube, out, title=title, scenarios=scenario, small=small)
        return
    if scenario:
        raise VadoseError("--scenario is of downscaling experiments; layers and runs are named in the experiment file")
    chosen = quick(chosen) if small else chosen
    if data is not None:
        _do_study(chosen, data, out, stations, load_cube(recipe) if recipe else None, title=title)
    elif cube is not None:
        with progress_bars() as tell:
            page = run_study(chosen, cube, out, title=title, stations=stations, progress=tell)
        say_done(out, page)


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Real database to use instead of the simulated world.")] = None,
    nine: Annotated[
        bool, typer.Option("--forecast", help="The paper's study instead: three layers, three scenarios.")
    ] = False,
    county: Annotated[
        bool, typer.Option("--county", help="Downscaling instead: a county whose moisture at 100 m is known.")
    ] = False,
    out: Out = Path("demo"),
) -> None:
    """Show the whole pipeline in minutes, on a simulated world where nothing is downloaded.

    Example: `vadose demo` or, on real data, `vadose demo --data data/conusv4f1`
    """
    # Models this small are slower on several threads; libraries read it when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from vadose.experiments import load_cube, load_experiment
    from vadose.parallel.workers import cores
    from vadose.stations.store import build_stations
    from vadose.twin.world import MORE, build_granule_world

    if county:
        demonstrate_county(out)
        return
    if data is not None:
        _do_study(load_experiment("demo_database"), data, out, None, None, title="Demonstration")
        return
    name = "forecast_demo" if nine else "demo"
    world, recipe = out / "world", load_cube(name)
    # SMAP is missing for a month of the test year, as it was in 2019 and 2022.
    outages = {"smap_l3": [("2020-06-20", "2020-07-22")]} if nine else None
    with progress_bars() as tell:
        if not world.exists():
            build_granule_world(
                world,
                recipe.first,
                recipe.last,
                bbox=recipe.bbox,
                stations=40 if nine else 12,
                more=MORE if nine else (),
                outages=outages,
                workers=cores(),
                progress=tell,
            )
        folder = world / "stations"
        scan, metadata = (folder / "scan", folder / "station_meta") if nine else (None, None)
        build_stations(out / "stations.zarr", uscrn=folder / "uscrn", scan=scan, metadata=metadata, progress=tell)
    _do_study(
        load_experiment(name),
        world / "granules",
        out,
        out / "stations.zarr",
        recipe,
        title="Demonstration on a simulated world",
    )


def _do_study(
    experiment: "Experiment", data: Path, out: Path, stations: Path | None, recipe: "Recipe | None", title: str
) -> None:
    from vadose.cube import build_cube, build_from_granules, build_station_cube
    from vadose.experiments.studies import study as run_study
    from vadose.parallel.workers import cores
    from vadose.stations.store import build_stations, folders_of

    with progress_bars() as tell:
        if recipe is None and experiment.data == "stations":
            uscrn, scan, metadata = folders_of(data)
            store = build_stations(out / "stations.zarr", uscrn=uscrn, scan=scan, metadata=metadata, progress=tell)
            cube = build_station_cube(store, out / "cube.zarr", first=experiment.first_day())
        elif recipe is None:
            cube = build_cube(data, out / "cube.zarr", experiment.data)
        else:
            cube = build_from_granules(data, out / "cube.zarr", recipe, workers=cores(), progress=tell)
        page = run_study(experiment, cube, out, title=title, stations=stations, progress=tell)
    say_done(out, page)
