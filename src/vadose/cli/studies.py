"""Commands that run the whole pipeline."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vadose.cli.downscaling import demonstrate_county, downscaling_study
from vadose.cli.terminal import (
    EXPERIMENTS,
    Compile,
    Device,
    Out,
    OwnModel,
    Precision,
    app,
    progress_bars,
    register_own,
    say,
    say_done,
    say_former_keys,
)
from vadose.errors import VadoseError
from vadose.parallel.running import Running

# The stages are imported where they are called: help and mistakes come at once, torch later.
if TYPE_CHECKING:
    from vadose.cube import Recipe
    from vadose.experiments import Experiment
    from vadose.experiments.downscaling import Downscaling

Scenarios = Annotated[
    list[str] | None,
    typer.Option("--split", "--scenario", help="Downscaling: on-site, off-site, cross-region, blocked. [default: all]"),
]
Weather = Annotated[
    Literal["stations", "gridmet"],
    typer.Option(help="Of `outlook`: weather measured at the stations, or gridMET's there, downloaded."),
]
Profile = Annotated[str | None, typer.Option(help="Settings of the experiment file, such as default or as_printed.")]
StationList = Annotated[
    Path | None, typer.Option(help="Downscaling: text file of the stations to use, one a line, such as SCAN:2005.")
]


@app.command()
def study(
    experiment: Annotated[
        str,
        typer.Argument(
            help=EXPERIMENTS
            + " Downscaling: downscale-stations, -ten_day, -satellite, -paper, -transfer; own files need "
            "'kind: downscaling'."
        ),
    ],
    data: Annotated[Path | None, typer.Option(help="Folder of the data as published.")] = None,
    cube: Annotated[
        Path | None, typer.Option(help="Existing cube (downscaling: table of station-days) to use instead of --data.")
    ] = None,
    out: Out = Path("study"),
    recipe: Annotated[
        str | None, typer.Option(help="Recipe of the cube. [default: the experiment's, or none: a database]")
    ] = None,
    stations: Annotated[Path | None, typer.Option(help="Station store to score against as well.")] = None,
    small: Annotated[bool, typer.Option("--quick", help="A few steps of everything, to test the set-up.")] = False,
    estimate_only: Annotated[
        bool, typer.Option("--estimate", help="Print hours, memory and disk for this machine, and do nothing else.")
    ] = False,
    scenario: Scenarios = None,
    weather: Weather = "stations",
    profile: Profile = None,
    station_list: StationList = None,
    model: OwnModel = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
) -> None:
    """Run the complete pipeline on a folder of data: build, train, forecast, evaluate, report. Resumes if interrupted.

    --data is the hydroDL database for `conus`, the archives of the soil-water index for `india`, the folders
    `uscrn_daily01`, `scan_daily` and `station_meta` for `stations` and `downscale-stations`, and granules if there is
    a --recipe. Downscaling models are tested on years, stations and regions not used in training.

    --estimate probes the experiment's networks on made-up data for about a minute; it needs neither --data nor --cube.

    `outlook` makes the weights of `vadose outlook` and their model card from USCRN and SCAN stations.

    `forecast_paper` and `forecast_demo` run the nine models of the paper, on --cube or on granules of their recipe.
    `forecast_beyond` changes one thing at a time; `forecast_cascade` measures the value of the cascade over seeds.

    Example: `vadose study conus --data data/conusv4f1 --out study`
    """
    from vadose.experiments import load_cube, quick
    from vadose.experiments.studies import study as run_study

    running = Running(device, precision, compile)
    if outlook_study(experiment, data, cube, out, running, small=small, weather=weather):
        return
    if (data is None) == (cube is None) and not estimate_only:
        raise VadoseError("give either --data, a folder of files as published, or --cube, an existing cube")
    register_own(model)
    title = f"Study {Path(experiment).stem}"
    chosen = _chosen(experiment, profile, station_list, scenario).run_as(running)
    if estimate_only:
        _say_estimate(chosen, cube, recipe)
        return
    if chosen.kind == "downscaling":
        downscaling_study(chosen, data, cube, out, title=title, scenarios=scenario, small=small)
        return
    chosen = quick(chosen) if small else chosen
    if data is not None:
        recipe = recipe or chosen.recipe
        _do_study(chosen, data, out, stations, load_cube(recipe) if recipe else None, title=title)
    elif cube is not None:
        with progress_bars() as tell:
            page = run_study(chosen, cube, out, title=title, stations=stations, progress=tell)
        say_done(out, page)


def outlook_study(
    name: str, data: Path | None, store: Path | None, out: Path, running: Running, *, small: bool, weather: Weather
) -> bool:
    """Run the study of the land-surface networks behind the outlook for 'vadose study'; whether a file is of one."""
    from vadose.experiments.section import load, top_key

    if top_key(name, "kind") != "outlook":
        if weather != "stations":
            raise VadoseError(f"--weather {weather} is of the study of the outlook alone, found {name}")
        return False
    from vadose.door import open_store
    from vadose.download.roles import Access
    from vadose.experiments.outlook import OutlookStudy
    from vadose.experiments.studies.outlook import study_outlook
    from vadose.insitu.files import folders_of
    from vadose.insitu.store import build_stations
    from vadose.stationing import with_weather_of_gridmet

    chosen = load(name, [OutlookStudy]).run_as(running)
    if (data is None) == (store is None):
        raise VadoseError(
            "give either --data, a folder of station files, or --cube, a station store of vadose stations"
        )
    with progress_bars() as tell:
        if data is not None:
            store = build_stations(out / "stations.zarr", **folders_of(data), progress=tell)
        assert store is not None
        learnt = open_store(store).load()
        if weather == "gridmet":
            learnt = with_weather_of_gridmet(learnt, chosen.learn_from, Access(say=say, progress=tell))
        weights = study_outlook(learnt, chosen.quick() if small else chosen, out, progress=tell)
    say(f"scores: {out / 'scores.csv'}")
    say(f"weights: {weights.resolve()}")
    return True


def _chosen(
    name: str, profile: str | None, station_list: Path | None, scenario: list[str] | None
) -> "Experiment | Downscaling":
    """The experiment with the settings of a profile, and of a list of stations."""
    from vadose.experiments.downscaling import load_study
    from vadose.insitu.files import read_station_list

    chosen = load_study(name)
    say_former_keys(chosen)
    if chosen.kind == "forecasting" and (scenario or station_list):
        raise VadoseError("--split and --station-list are for downscaling experiments")
    chosen = chosen.with_profile(profile)
    if chosen.kind == "downscaling" and station_list:
        return chosen.model_copy(update={"station_list": read_station_list(station_list)})
    return chosen


def _say_estimate(chosen: "Experiment | Downscaling", cube: Path | None, recipe: str | None) -> None:
    """Print what a study takes: of the size and days of a cube, of its recipe, or of the experiment's file."""
    import pandas as pd

    from vadose.cube import open_cube
    from vadose.door import open_store
    from vadose.experiments import load_cube
    from vadose.experiments.section import Size
    from vadose.experiments.studies.estimate import estimate

    size, days = None, None
    if cube is not None and chosen.kind == "downscaling":
        size = Size(rows=open_store(cube).sizes["station"])
    elif cube is not None:
        opened = open_cube(cube)
        size = Size(rows=opened.sizes["y"], columns=opened.sizes["x"], cells=int(opened.mask.sum()))
        days = pd.DatetimeIndex(opened.time.values)
    elif chosen.kind == "forecasting" and (name := recipe or chosen.recipe):
        planned = load_cube(name)
        (rows, columns), days = planned.grid.shape, planned.days
        size = Size(rows=rows, columns=columns)
    with progress_bars() as tell:
        found = estimate(chosen, size, days, progress=tell)
    say(found.text())


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Real database to use instead of the simulated world.")] = None,
    nine: Annotated[
        bool, typer.Option("--forecast", help="Run the paper's study: three layers, three scenarios.")
    ] = False,
    county: Annotated[
        bool, typer.Option("--county", help="Run downscaling: a county with known soil moisture at 100 m.")
    ] = False,
    out: Out = Path("demo"),
) -> None:
    """Run the complete pipeline in minutes on a simulated world; nothing is downloaded.

    Example: `vadose demo` or, on real data, `vadose demo --data data/conusv4f1`
    """
    # Models this small are slower on several threads; libraries read it when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from vadose.experiments import load_cube, load_experiment
    from vadose.insitu.store import build_stations
    from vadose.parallel.workers import cores
    from vadose.twin.world import build_granule_world

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
                more=("nldas_noah", "mod09ga") if nine else (),
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
    from vadose.insitu.files import folders_of
    from vadose.insitu.store import build_stations
    from vadose.parallel.workers import cores

    with progress_bars() as tell:
        if recipe is None and experiment.data == "stations":
            store = build_stations(out / "stations.zarr", **folders_of(data), progress=tell)
            cube = build_station_cube(store, out / "cube.zarr", first=experiment.first_day())
        elif recipe is None:
            cube = build_cube(data, out / "cube.zarr", experiment.data)
        else:
            cube = build_from_granules(data, out / "cube.zarr", recipe, workers=cores(), progress=tell)
        page = run_study(experiment, cube, out, title=title, stations=stations, progress=tell)
    say_done(out, page)


@app.command()
def models() -> None:
    """List the weights that come with the package, each with its size and scores.

    Example: `vadose models`
    """
    from vadose.predict.outlook.moisture import networks, packaged

    for path in packaged():
        say(f"{path.stem} ({path.stat().st_size / 1e6:.1f} MB): {networks(path).card.get('headline', 'no card')}")
        say(f"  {path}")
