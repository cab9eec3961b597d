"""Commands from a cube to forecasts and their scores."""

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from vadose.cli.terminal import (
    EXPERIMENTS,
    AsJson,
    Compile,
    Cube,
    Device,
    ExperimentName,
    Out,
    OwnModel,
    Precision,
    Scheduler,
    Workers,
    app,
    console,
    day_of,
    progress_bars,
    register_own,
    say,
    say_age,
    say_former_keys,
    say_json,
    span_of,
    split,
)
from vadose.errors import VadoseError
from vadose.parallel.running import Running

# The stages are imported where they are called: help and mistakes come at once, torch later.


@app.command()
def train(
    cube: Cube,
    experiment: ExperimentName = "conus",
    run: Annotated[list[str] | None, typer.Option(help="Run to train; repeatable. [default: all]")] = None,
    model: OwnModel = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
    out: Out = Path("runs"),
) -> None:
    """Train the runs of an experiment. An interrupted training resumes from its last epoch.

    On several GPUs or machines: `torchrun --nproc-per-node 2 -m vadose train ...`; processes share each batch.

    Example: `vadose train cube.zarr --experiment conus --run lstm --out runs`
    """
    from vadose import api
    from vadose.experiments import load_experiment

    first = os.environ.get("RANK", "0") == "0"
    console.quiet |= not first
    register_own(model)
    chosen = load_experiment(experiment)
    with progress_bars() as tell:
        folders = api.train(cube, chosen.run_as(Running(device, precision, compile)), run=run, out=out, progress=tell)
    if not first:
        return
    say_former_keys(chosen)
    for folder in folders:
        say(str(folder))


@app.command()
def tune(
    cube: Cube,
    experiment: Annotated[str, typer.Argument(help=EXPERIMENTS)],
    run: Annotated[str, typer.Option(help="Run whose hyper-parameters are searched: a network.")],
    trials: Annotated[
        int, typer.Option(help="Finished trials there are to be, those of an earlier call included.")
    ] = 30,
    space: Annotated[
        Path | None, typer.Option(help="YAML file of the values to search. [default: those of the run's model]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed that trials are proposed with.")] = 0,
    model: OwnModel = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
    out: Out = Path("tuned"),
) -> None:
    """Search the hyper-parameters of a run by Optuna, on validation days alone. An interrupted search resumes.

    Writes trials.csv, best.yaml (an experiment for `vadose train`), gain.csv and summary.txt.

    Example: `vadose tune cube.zarr conus --run lstm --trials 30 --out tuned`
    """
    from vadose.experiments import load_experiment
    from vadose.experiments.studies.tuning import Search
    from vadose.experiments.studies.tuning import tune as tune_run

    register_own(model)
    chosen, search = load_experiment(experiment), Search(run, trials, seed, space)
    say_former_keys(chosen)
    with progress_bars() as tell:
        best = tune_run(chosen, cube, out, search, running=Running(device, precision, compile), progress=tell)
    say((out / "summary.txt").read_text().rstrip())
    say(str(best))


@app.command()
def forecast(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run, or one of its checkpoints.")],
    cube: Cube,
    first: Annotated[
        str | None, typer.Option("--from", help="First day of issue (last day with data): YYYY-MM-DD.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of issue.")] = None,
    init: Annotated[str | None, typer.Option(help="Single day of issue, or 'latest': the cube's last day.")] = None,
    weather: Annotated[
        list[Path] | None,
        typer.Option(help="Granules (files, folders) of the GEFS or GFS run of the day after --init; repeatable."),
    ] = None,
    member: Annotated[str | None, typer.Option(help="Ensemble member of --weather to use, or 'mean'.")] = None,
    above: Annotated[
        list[str] | None,
        typer.Option(help="'LAYER=STORE': forecast of a layer above, for models in cascade; repeatable."),
    ] = None,
    climatology: Annotated[
        str | None,
        typer.Option(
            help="'FIRST..LAST': period of the local climatology; adds percentiles and drought classes D0-D4."
        ),
    ] = None,
    hindsight: Annotated[
        bool, typer.Option("--hindsight", help="Allow days after the first day of issue in the climatology.")
    ] = False,
    picture: Annotated[Path | None, typer.Option("--map", help="Figure of drought classes and percentiles.")] = None,
    model: OwnModel = None,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
    out: Out = Path("forecast.zarr"),
) -> None:
    """Forecast soil moisture 1, 3, 7, 14 and 30 days after each day of issue.

    For a daily forecast, after `vadose build` has added the newest granules to the cube:
    `vadose forecast runs/blend cube.zarr --init latest --climatology 2015-04-01..2020-12-31 --map outlook.png`

    Example: `vadose forecast runs/lstm cube.zarr --from 2016-02-01 --to 2016-03-01 --out lstm.zarr`
    """
    from vadose import api
    from vadose.cube import open_cube
    from vadose.predict.outlook import check_drawable, draw_outlook

    if (init is None) == (first is None and last is None) or (first is None) != (last is None):
        raise VadoseError("give the days of issue: --from and --to, or --init DAY, or --init latest")
    if weather and init is None:
        raise VadoseError("--weather belongs to one day of issue: give --init DAY, or --init latest")
    if picture and not climatology:
        raise VadoseError(
            "--map draws percentiles: give --climatology FIRST..LAST, the period of the local climatology"
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
            above=dict(split(above, "--above", "=", "'0-10 cm=surface.zarr'")),
            climatology=span,
            hindsight=hindsight,
            running=Running(device, precision, compile),
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
        say(f"missing on some days of issue, replaced by the training mean: {name}")
    say(str(out))


@app.command("forecast-rival")
def forecast_rival(
    cube: Cube,
    granules: Annotated[list[Path], typer.Argument(help="Granules (files, folders) of GEFS or GFS runs of 00 UTC.")],
    layer: Annotated[str | None, typer.Option(help="Layer to compare with, '10-40 cm'. [default: the cube's]")] = None,
    depth: Annotated[
        str | None, typer.Option(help="Layer of the weather model to use if it lacks --layer, '0-10 cm'.")
    ] = None,
    observed: Annotated[str, typer.Option(help="Variable of the cube to score it against.")] = "soil_moisture",
    member: Annotated[str | None, typer.Option(help="Ensemble member to use, or 'mean'.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", help="First day of issue; its run starts the day after.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last day of issue.")] = None,
    out: Out = Path("rival.zarr"),
) -> None:
    """Write the soil moisture forecast by GEFS or GFS to a forecast store, as a baseline.

    It comes from the weather model's own soil and is not bias-corrected: compare R and ubRMSE, not the bias.

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


_SERIES, _TABLES = "Anomalies and scaling", "Classes, pairs and triples"
Anomalies = Annotated[
    str, typer.Option(help="Score anomalies: none, window (35 days) or climatology.", rich_help_panel=_SERIES)
]
ClimatologyOf = Annotated[
    str | None,
    typer.Option(help="'FIRST..LAST': period of the climatologies. [default: all days]", rich_help_panel=_SERIES),
]
Scaling = Annotated[
    str,
    typer.Option(
        help="Scale forecasts to the observations, by station: none, mean-std, linear or cdf.", rich_help_panel=_SERIES
    ),
]
Extremes = Annotated[
    bool, typer.Option("--extremes", help="Also score the driest and wettest tenth of days.", rich_help_panel=_TABLES)
]
Seasons = Annotated[bool, typer.Option("--seasons", help="Also score each season.", rich_help_panel=_TABLES)]
Strata = Annotated[
    list[str] | None,
    typer.Option(
        help="KIND=FILE: classes of sites, GeoTIFF or CSV, such as koeppen=map.tif; repeatable.",
        rich_help_panel=_TABLES,
    ),
]
Fields = Annotated[
    Path | None,
    typer.Option(help="Cube whose land cover, soils and climate are those of stations.", rich_help_panel=_TABLES),
]
Qa4sm = Annotated[
    bool, typer.Option("--qa4sm", help="Also write qa4sm.csv: all pairs and triples.", rich_help_panel=_TABLES)
]
Correlated = Annotated[
    list[str] | None,
    typer.Option(
        help="A+B: models of correlated errors, for extended collocation (ecol.csv); repeatable.",
        rich_help_panel=_TABLES,
    ),
]
Replicates = Annotated[
    int,
    typer.Option(
        min=0, help="Replicates of the block bootstrap in these; 0: intervals without draws.", rich_help_panel=_TABLES
    ),
]
BlockLength = Annotated[int, typer.Option(min=1, help="Days of its blocks.", rich_help_panel=_TABLES)]
Seed = Annotated[int, typer.Option(min=0, help="Seed of its draws.", rich_help_panel=_TABLES)]


@app.command()
def evaluate(
    forecasts: Annotated[list[Path], typer.Argument(help="Forecast stores, scored on identical samples.")],
    observed: Annotated[Path, typer.Option(help="Cube or station store with the observations.")],
    out: Out = Path("evaluation"),
    first: Annotated[str | None, typer.Option("--from", help="First valid day to score.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last valid day to score.")] = None,
    min_pairs: Annotated[int, typer.Option(min=3, help="Minimum number of pairs of a cell or station.")] = 60,
    allow_learnt_days: Annotated[
        bool, typer.Option("--allow-learnt-days", help="Also score days used in training; the tables say so.")
    ] = False,
    anomalies: Anomalies = "none",
    climatology: ClimatologyOf = None,
    scale: Scaling = "none",
    seasons: Seasons = False,
    extremes: Extremes = False,
    strata: Strata = None,
    fields: Fields = None,
    qa4sm: Qa4sm = False,
    correlated: Correlated = None,
    replicates: Replicates = 0,
    block_length: BlockLength = 30,
    seed: Seed = 0,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    as_json: AsJson = False,
) -> None:
    """Score forecasts against observations. Include persistence and climatology for skill scores.

    Forecasts and analyses of others can be scored too, Zarr or NetCDF: what they hold is told by names and
    attributes, or by a YAML file given in their place (`path: era5.nc`, `variable: swvl1`, `layer: [0, 7]`; see
    docs/commands.md). Against stations each grid is read at the cell of the station. What the tables leave out is
    printed and listed in `left_out.csv`.

    Example: `vadose evaluate lstm.zarr persistence.zarr climatology.zarr --observed cube.zarr`
    """
    from vadose import api

    if bool(first) != bool(last):
        raise VadoseError("--from and --to go together: give both or neither")
    with progress_bars() as tell:
        scores = api.evaluate(
            forecasts,
            observed,
            out=out,
            days=(day_of(first, "--from"), day_of(last, "--to")) if first and last else None,
            min_pairs=min_pairs,
            allow_learnt_days=allow_learnt_days,
            anomalies=anomalies,
            climatology=span_of(climatology) if climatology else None,
            scale=scale,
            seasons=seasons,
            extremes=extremes,
            strata=dict(split(strata, "--strata", "=", "koeppen=koppen_geiger.tif")),
            fields=fields,
            qa4sm=qa4sm,
            correlated=split(correlated, "--correlated", "+", "era5+smap_l4"),
            replicates=replicates,
            block_length=block_length,
            seed=seed,
            workers=workers,
            scheduler=scheduler,
            progress=tell,
        )
    if as_json:
        say_json(scores.table.to_dict("records"))
    else:
        say(str(out / "scores.csv"))


@app.command()
def report(
    evaluations: Annotated[list[Path], typer.Argument(help="Output folders of 'vadose evaluate'.")],
    out: Out = Path("report.html"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Soil-moisture forecasts",
) -> None:
    """Make one HTML page with maps, tables and figures of evaluations.

    Example: `vadose report evaluation --out report.html`
    """
    from vadose import api

    say(str(api.report(evaluations, out, title=title)))
