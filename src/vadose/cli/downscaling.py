"""Commands for downscaling."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vadose.cli.terminal import (
    Compile,
    Device,
    Out,
    Precision,
    Scheduler,
    Workers,
    app,
    box_of,
    day_of,
    progress_bars,
    say,
    say_done,
    years_of,
)
from vadose.errors import VadoseError
from vadose.parallel.running import Running

if TYPE_CHECKING:
    import xarray as xr

    from vadose.experiments.downscaling import Downscaling

TEN_DAY = "s1s2smap_uscrn"
"""Folder of the ten-day table within the data."""


@app.command()
def downscale(
    run: Annotated[Path, typer.Argument(help="Folder of a run of 'vadose study downscale-...', or its 'model.pt'.")],
    fine: Annotated[
        Path, typer.Option(help="Cube of 'vadose build' at 100 m, or Zarr store of features on that grid.")
    ],
    coarse: Annotated[
        list[Path],
        typer.Option(
            help="Cube of 'vadose build', or Zarr store, of daily weather and coarse soil moisture; or a forecast of "
            "'vadose forecast'; repeatable."
        ),
    ],
    first: Annotated[str, typer.Option("--from", "--date", help="First day to map, or a single day.")],
    last: Annotated[str | None, typer.Option("--to", help="Last day to map.")] = None,
    init: Annotated[
        str | None, typer.Option(help="Day of issue in the --coarse forecast. [default: its only one]")
    ] = None,
    coarse_name: Annotated[
        str, typer.Option(help="Model input to replace by the forecast soil moisture.")
    ] = "soil_moisture_smap_l4",
    past_years: Annotated[
        str | None,
        typer.Option(help="Past years whose weather stands in for the days after issue, such as 2015..2020."),
    ] = None,
    bbox: Annotated[
        str | None, typer.Option(help="Area to map: 'west,south,east,north' in degrees. [default: all]")
    ] = None,
    cog: Annotated[
        Path | None, typer.Option(help="Folder for GeoTIFFs (COG): all layers of a day, and moisture in colours.")
    ] = None,
    passes: Annotated[
        int | None, typer.Option(min=0, help="Passes with dropout; 0 for none. [default: as the study estimated with]")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
    tile: Annotated[int, typer.Option(min=64, help="Edge of the tiles computed at once [pixel].")] = 1024,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    out: Out = Path("map.zarr"),
) -> None:
    """Map daily soil moisture at 100 m.

    If --coarse includes a forecast of `vadose forecast`, the maps are for its valid days. The attribute `weather` is
    `perfect` if the weather after the day of issue was analysed (an upper bound of skill), `forecast` if it was
    forecast. `--past-years` uses the weather of past years beyond the weather forecast.

    Example: `vadose downscale model.pt --fine county.zarr --coarse weather.zarr --date 2020-06-01 --cog maps`
    """
    import pandas as pd

    from vadose.artefact import identity
    from vadose.door import as_cube
    from vadose.predict.coarse import as_coarse, part_of, with_last_values
    from vadose.predict.maps import downscale_maps
    from vadose.predict.past_years import outlook_of_past_years
    from vadose.publish.export_cog import write_cog

    begin = day_of(first, "--from")
    days = pd.date_range(begin, day_of(last, "--to") if last else begin)
    if not len(days):
        raise VadoseError(f"--from {first} --to {last}: the last day is before the first")
    fields = [as_coarse(_opened(path), str(path), init and day_of(init, "--init"), coarse_name) for path in coarse]
    if forecast := [field for field in fields if "init_time" in field.attrs]:
        days = days.intersection(pd.DatetimeIndex(forecast[0].time.values))
        if not len(days):
            valid = ", ".join(f"{day:%Y-%m-%d}" for day in pd.DatetimeIndex(forecast[0].time.values))
            raise VadoseError(
                f"--from {first} --to {last or first}: the forecast is valid on {valid}; choose from these"
            )
    model = _checkpoint_of(run)
    features = with_last_values(as_cube(_opened(fine), str(fine)))
    part = part_of(features, box_of(bbox)) if bbox else features
    made_of = {"data": identity(fine, *coarse)}
    how: dict[str, Any] = {
        "made_of": made_of,
        "tile": tile,
        "passes": passes,
        "running": Running(device, precision, compile),
        "workers": workers,
        "scheduler": scheduler,
    }
    with progress_bars() as tell:
        if past_years:
            years = years_of(past_years, "--past-years")
            maps = outlook_of_past_years(model, part, fields, days, out, years=years, progress=tell, **how)
        else:
            maps = downscale_maps(model, part, fields, days, out, progress=tell, **how)
        if cog is not None:
            tell("writing GeoTIFFs", 0.0)
            write_cog(maps, cog)
            tell("writing GeoTIFFs", 1.0)
    say(str(out))


def _checkpoint_of(run: Path) -> Path:
    return run / "model.pt" if run.is_dir() else run


def _opened(path: Path) -> "xr.Dataset":
    """A cube in its last complete state, or another store."""
    from vadose.cube import is_cube, open_cube
    from vadose.door import open_store

    return open_cube(path) if is_cube(path) else open_store(path)


@app.command("fill-station")
def fill_station(
    table: Annotated[Path, typer.Argument(help="Table of station-days, such as table.zarr of a downscaling study.")],
    station: Annotated[str, typer.Argument(help="Name of the station, such as USCRN:NC_Durham_11_W.")],
    model: Annotated[
        Path | None, typer.Option(help="Run, or its checkpoint, not trained on the station. [default: train one]")
    ] = None,
    learnt_until: Annotated[
        str | None, typer.Option(help="Last training day at the station, if the model was trained on it.")
    ] = None,
    experiment: Annotated[
        str, typer.Option("--experiment", "-e", help="Experiment of the run to train.")
    ] = "downscale-stations",
    run: Annotated[str, typer.Option(help="Run of the experiment to train.")] = "long_mmnet",
    level: Annotated[float, typer.Option(min=0.5, max=0.99, help="Probability of the prediction intervals.")] = 0.9,
    causal: Annotated[
        bool, typer.Option("--causal", help="Fill gaps and screen data using earlier days only.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    compile: Compile = None,
    out: Out = Path("station"),
) -> None:
    """Fill gaps in a station's series and extend it to all days with weather, with prediction intervals.

    Observed days are kept. Artificial gaps in the record give the size of errors in gaps.

    Example: `vadose fill-station study/table.zarr USCRN:NC_Durham_11_W --out durham`
    """
    from vadose.artefact import identity
    from vadose.door import open_store
    from vadose.experiments.downscaling import WITHOUT_NETWORK, load_downscaling
    from vadose.predict.fill_station import fill_station as fill
    from vadose.samples.station_days import StationDays
    from vadose.training.station_days import DownscalingNetwork, fit, load

    running = Running(device, precision, compile)
    days = open_store(table).load()
    made_of: dict[str, object] = {"table": identity(table)}
    with progress_bars() as tell:
        if model is not None:
            network: Any = load(model := _checkpoint_of(model))
            made_of["model"] = identity(model)
        else:
            chosen = load_downscaling(experiment)
            if run not in chosen.runs or chosen.runs[run].model in WITHOUT_NETWORK:
                raise VadoseError(f"--run {run}: expected a network of {experiment}, which has {list(chosen.runs)}")
            how = chosen.run_as(running).runs[run]
            made_of["run"] = how.made_of()

            def network(training: Any) -> Any:
                station_days = StationDays(days, how.features(), training)
                own = DownscalingNetwork(how.model, how.hyper, how.fitting)
                return fit(station_days, days, training, own, what=run, progress=tell)[0]

        fill(
            days,
            station,
            out,
            network=network,
            learnt_until=learnt_until and day_of(learnt_until, "--learnt-until"),
            level=level,
            mode="causal" if causal else "smoothed",
            running=running,
            made_of=made_of,
        )
    say(str(out))


def downscaling_study(
    chosen: "Downscaling",
    data: Path | None,
    table: Path | None,
    out: Path,
    *,
    title: str,
    scenarios: list[str] | None,
    small: bool,
) -> None:
    """Run a downscaling experiment for 'vadose study'."""
    from vadose.cube.station_table import build_features, build_station_table
    from vadose.door import open_store
    from vadose.experiments.downscaling import quick_downscaling
    from vadose.experiments.studies import study_downscaling
    from vadose.insitu.files import folders_of
    from vadose.insitu.store import build_stations

    chosen = quick_downscaling(chosen) if small else chosen
    if chosen.data == "county" and data is not None:
        raise VadoseError(f"{title}: a simulated county needs no --data; run: vadose demo --county")
    with progress_bars() as tell:
        if data is not None:
            store = build_stations(out / "stations.zarr", **folders_of(data), high=chosen.keep_high, progress=tell)
            first, last, features = chosen.first.isoformat(), chosen.last.isoformat(), None
            if chosen.data in ("products", "ten_day", "own"):
                place = data / TEN_DAY if chosen.data == "ten_day" else data
                path = build_features(
                    store,
                    place,
                    out / "features.zarr",
                    first=first,
                    last=last,
                    mode=chosen.mode,
                    tables=chosen.tables,
                    progress=tell,
                )
                features = open_store(path).load()
            table = build_station_table(store, out / "table.zarr", first=first, features=features)
        assert table is not None
        page = study_downscaling(chosen, table, out, title=title, scenarios=scenarios, granules=data, progress=tell)
    say_done(out, page)


def demonstrate_county(out: Path) -> None:
    """Run 'vadose demo --county'."""
    from vadose.experiments.downscaling import load_downscaling
    from vadose.experiments.studies.county import study_county

    with progress_bars() as tell:
        page = study_county(load_downscaling("downscale-county"), out, progress=tell)
    say(f"stations: {out / 'stations' / 'report.html'}")
    say(f"maps: {page.resolve()}")
