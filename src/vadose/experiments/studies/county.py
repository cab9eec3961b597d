"""Downscaling on a simulated county: stations around it teach, its pixels tell how right the maps are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.artefact import identity, writing
from vadose.cube import build_from_granules, open_cube
from vadose.door import by_day
from vadose.door.days import Period
from vadose.evaluation.county import score_county
from vadose.evaluation.outlooks import score_outlooks
from vadose.experiments.cube import load_cube
from vadose.experiments.downscaling import Downscaling
from vadose.experiments.studies.downscaling import study_downscaling
from vadose.gapfill import carry_forward
from vadose.models.inputs import Channels
from vadose.parallel.progress import Progress
from vadose.predict.coarse import as_coarse
from vadose.predict.forecast import LEADS, forecast
from vadose.predict.maps import downscale_maps
from vadose.predict.past_years import outlook_of_past_years
from vadose.reports.map_plots import plot_county, plot_outlooks
from vadose.reports.page import build_tables_report
from vadose.samples.windows import Samples
from vadose.training.forecasters import Optimisation, Plan, train
from vadose.twin.county import build_county, open_county

INSIDE = "INSIDE"
"""Network of the stations in the county, which the networks that map it did not learn from."""
FIELD = "soil_moisture_smap_l4"
MOISTURE = "soil_moisture"
LAYERS = [MOISTURE, "soil_moisture_std"]


def study_county(
    experiment: Downscaling,
    out: Path,
    *,
    cells: tuple[int, int] = (96, 96),
    stations: int = 60,
    mapped: tuple[str, str] | None = None,
    every: int = 5,
    progress: Progress = lambda what, share: None,
) -> Path:
    """Simulate a county, score models at its stations, map it with some, and score the maps pixel by pixel.

    Written under ``out``: ``county`` (see `vadose.twin.county.build_county`), ``stations`` (see
    `vadose.experiments.studies.downscaling.study_downscaling`), ``maps/RUN.zarr``, ``outlooks`` of the last of these
    runs, and ``pixels`` with ``scores.csv``, ``outlooks.csv``, figures and ``report.html``.

    Outlooks are issued every ``every`` days, 1 to 30 days ahead: the coarse field is forecast by damped persistence,
    and downscaled with the weather ahead as it came (perfect weather) and with that of the years before (past weather).

    Parameters
    ----------
    experiment
        Its scenario ``network`` has to hold out the stations in the county; ``maps`` names the runs to map with.
    cells, stations, mapped
        Size of the county in pixels of 100 m, number of stations, first and last day to map (the last year).
    every
        Days between two days of issue.

    Returns
    -------
    Path
        The report of the maps.
    """
    first, last = experiment.first.isoformat(), experiment.last.isoformat()
    county = build_county(
        out / "county",
        first=first,
        last=last,
        cells=cells,
        stations=stations,
        inside=max(2, stations // 6),
        mapped=mapped,
        progress=progress,
    )
    study_downscaling(
        experiment,
        county / "table.zarr",
        out / "stations",
        title="Downscaling at simulated stations",
        progress=progress,
    )
    _, _, coarse, truth = open_county(county)
    days = pd.DatetimeIndex(truth.time.values)
    fine = _features_of_pixels(county / "granules", truth, out / "features.zarr", progress)
    data = {"data": identity(county, out / "features.zarr")}
    smap = next(field for field in coarse if FIELD in field)
    tables, maps = [], {}
    for name in experiment.maps:
        model = out / "stations" / "runs" / "network" / INSIDE / name / "model.pt"
        store = downscale_maps(
            model, fine, coarse, days, out / "maps" / f"{name}.zarr", made_of=data, progress=progress
        )
        maps[name] = by_day(xr.open_zarr(store, consolidated=False))
        progress(f"scoring the maps of {name}", 0.0)
        scores = score_county(maps[name], truth, smap)
        scores.insert(0, "model", name)
        tables.append(scores)
        progress(f"scoring the maps of {name}", 1.0)
    shown_run = experiment.maps[-1]
    model = out / "stations" / "runs" / "network" / INSIDE / shown_run / "model.pt"
    forecast = _forecast_field(smap, days, out / "outlooks", progress)
    years = range(experiment.first.year, days[0].year)
    data["data"] = identity(county, out / "features.zarr", out / "outlooks" / "coarse.zarr")
    ahead = _outlooks(model, fine, coarse, forecast, days[::every], years, out / "outlooks", data, progress)
    progress("scoring the outlooks", 0.0)
    outlooks = score_outlooks(ahead, maps[shown_run], truth, forecast)
    progress("scoring the outlooks", 1.0)
    simulated = truth.attrs["simulated"] == "true"
    folder = out / "pixels"
    _write_pixels(folder, pd.concat(tables), outlooks, maps, truth, smap[FIELD])
    return build_tables_report(folder, out / "report.html", title="A simulated county at 100 m", simulated=simulated)


def _features_of_pixels(granules: Path, truth: xr.Dataset, out: Path, progress: Progress) -> xr.Dataset:
    """The county's cube of 100 m, built of its granules as any other; water is masked as in the truth."""
    (west, east), (south, north) = ((float(of.min()) - 1e-4, float(of.max()) + 1e-4) for of in (truth.lon, truth.lat))
    first, last = (f"{day:%Y-%m-%d}" for day in pd.DatetimeIndex(truth.time.values[[0, -1]]))
    recipe = load_cube("county_100m").of((west, south, east, north), (first, last))
    cube = open_cube(build_from_granules(granules, out, recipe, progress=progress))
    return cube.assign(mask=truth.soil_moisture.notnull().any("time").compute())


def _write_pixels(
    folder: Path,
    scores: pd.DataFrame,
    outlooks: pd.DataFrame,
    maps: Mapping[str, xr.Dataset],
    truth: xr.Dataset,
    coarse: xr.DataArray,
) -> None:
    """Tables and figures of the maps and of the outlooks, those of the last run."""
    days = pd.DatetimeIndex(truth.time.values)
    wettest = int(np.argmax(truth.soil_moisture.mean(("y", "x")).values))
    with writing(folder) as scratch:
        scratch.mkdir()
        scores.to_csv(scratch / "scores.csv", index=False, float_format="%.4g")
        shown = [days[max(0, wettest - 5)], days[wettest]]
        plot_county(truth, coarse, maps, shown).savefig(scratch / "maps.png", dpi=130)
        outlooks.to_csv(scratch / "outlooks.csv", index=False, float_format="%.4g")
        plot_outlooks(outlooks, truth.attrs["simulated"] == "true").savefig(scratch / "outlooks.png", dpi=130)
        index = {
            "scores.csv": "Scores of the maps and of the coarse field repeated on the pixels, against the truth",
            "maps.png": "Truth, coarse field and maps on the wettest day and five days before",
            "outlooks.csv": f"Outlooks at 100 m by {list(maps)[-1]}, by days ahead: with the weather ahead as it came "
            "(an upper bound), and with that of the years before where there are two or more",
            "outlooks.png": "Outlooks, the coarse forecast, and the maps of the day of issue and of the day itself",
        }
        rows = [{"file": file, "shows": shows, "absent_because": ""} for file, shows in index.items()]
        pd.DataFrame(rows).to_csv(scratch / "index.csv", index=False)


def _forecast_field(smap: xr.Dataset, days: pd.DatetimeIndex, out: Path, progress: Progress) -> xr.Dataset:
    """Damped persistence of the coarse field, learnt before the first of the days, issued on all of them."""
    cube = smap[[FIELD]].rename({FIELD: MOISTURE}).load()
    cube = cube.merge(carry_forward(cube[MOISTURE])).assign(mask=cube[MOISTURE].notnull().any("time"))
    cube.attrs |= {"dataset": "simulated SMAP L4", "layer": "0-5 cm"}
    channels = Channels((f"{MOISTURE}_filled",), target=f"{MOISTURE}_filled", leads=LEADS)
    before = Period(str(cube.time.values[0])[:10], f"{days[0] - pd.Timedelta(days=1):%Y-%m-%d}")
    run = train(
        Samples(cube, channels, look_back=1, window=None),
        out / "damped_persistence",
        Plan("damped_persistence", {}, before, None, Optimisation()),
        progress=progress,
    )
    first, last = (f"{day:%Y-%m-%d}" for day in days[[0, -1]])
    store = forecast(run / "final.pt", cube, out / "coarse.zarr", first=first, last=last, progress=progress)
    opened: xr.Dataset = xr.open_zarr(store, consolidated=False)
    return opened


def _outlooks(
    model: Path,
    fine: xr.Dataset,
    coarse: list[xr.Dataset],
    field: xr.Dataset,
    issued: pd.DatetimeIndex,
    years: range,
    out: Path,
    data: dict[str, str],
    progress: Progress,
) -> dict[str, xr.Dataset]:
    """Maps of the valid days of each day of issue (init_time, lead_time, y, x); NaN on days that are not mapped."""
    weather = [data for data in coarse if FIELD not in data]
    last = pd.Timestamp(fine.time.values[-1])
    found: dict[str, list[xr.Dataset]] = {}
    for number, day in enumerate(issued):
        given = as_coarse(field, "the coarse forecast", f"{day:%Y-%m-%d}", FIELD)
        valid = pd.DatetimeIndex(given.time.values)
        if valid[0] > last:
            break
        mapped, name = valid[valid <= last], f"{day:%Y-%m-%d}.zarr"
        fields, stores = [given, *weather], {}
        stores["outlook, perfect weather"] = downscale_maps(
            model, fine, fields, mapped, out / "perfect" / name, made_of=data
        )
        if len(years) > 1:
            past = outlook_of_past_years(model, fine, fields, mapped, out / "past" / name, years=years, made_of=data)
            stores["outlook, past weather"] = past
        for kind, store in stores.items():
            opened = xr.open_zarr(store, consolidated=False)
            maps = opened[[name for name in LAYERS if name in opened]].reindex(lead_time=valid - day)
            found.setdefault(kind, []).append(maps)
        progress("mapping outlooks", (number + 1) / len(issued))
    progress("mapping outlooks", 1.0)
    return {kind: xr.concat(maps, "init_time").load() for kind, maps in found.items()}
