"""Tables and figures of Xu et al. (2025) from scored predictions at stations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vadose.artefact import identity
from vadose.errors import VadoseError
from vadose.evaluation.station_samples import WHOLE, common_samples
from vadose.evaluation.station_strata import class_order, strata_of_table
from vadose.reports import map_plots, series_plots
from vadose.reports import xu_2025_tables as tables
from vadose.reports.contents import Absent, Content, write_contents
from vadose.reports.scatter import scatter

_CHOSEN = 8


@dataclass(frozen=True)
class FineMaps:
    """Maps for Figure 9.

    Attributes
    ----------
    maps
        ``soil_moisture`` (time, y, x) at fine resolution.
    coarse
        Coarse field it was downscaled from (time, y, x), in the same projection.
    days
        Two days; None: the two successive days with the largest rise of the mean.
    """

    maps: xr.Dataset
    coarse: xr.DataArray | None = None
    days: tuple[str, str] | None = None

    def inputs(self) -> dict[str, Any]:
        """Inputs of the figure."""
        times = self.maps.time.values
        if absent := [day for day in self.days or () if np.datetime64(day) not in times]:
            of = f"{len(times)} days from {str(times[0])[:10]} to {str(times[-1])[:10]}"
            raise VadoseError(f"the maps lack {' and '.join(absent)}; they hold {of}")
        coarse = None if self.coarse is None else identity(self.coarse)
        return {"maps": identity(self.maps), "coarse": coarse, "days": self.days}


def downscaling_tables(
    evaluation: Path,
    predictions: Mapping[str, xr.Dataset],
    out: Path,
    *,
    run: str | None = None,
    table: xr.Dataset | None = None,
    importances: Path | None = None,
    maps: FineMaps | None = None,
) -> Path:
    """Write Tables 3-7 and S1-S3 as CSV and Figures 3-9 and S1-S8 as PNG into a folder.

    ``index.csv`` (file, shows, absent_because) describes each and says why one is missing. Tables hold the scores of
    `vadose.evaluation.station_series.score_series` with their intervals, and in ``published_...`` the published values
    for the same row, which come from other stations, inputs and days. ``blocked.csv`` holds the split 'blocked', which
    the paper does not have.

    Figures 4-7 show eight stations, equally spaced in rank of R in the first split, from the best (S1) to the worst
    (S8), of those scored over their complete record in every split.

    Parameters
    ----------
    evaluation
        Folder of `vadose.evaluation.station_series.evaluate_series`.
    predictions
        Scenario -> predictions that were evaluated.
    run
        Model shown in addition to those of the paper. Default: of those scored in every split, the one with the
        highest median R over complete records, averaged over splits; it is chosen on the scores it is shown with, and
        ``index.csv`` says so.
    table
        Features at the stations: precipitation for the series, classes for Figures 4 and S8.
    importances
        CSV with the columns scenario, model, feature, percent, low, high.
    maps
        For Figure 9.

    Raises
    ------
    VadoseError
        If the folder is not an evaluation, splits differ from those scored, or the run is not among them.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639.
    """
    study = _study(evaluation, predictions, run, table)
    inputs = {
        "evaluation": identity(evaluation),
        "run": study.run,
        "predictions": {scenario: identity(of) for scenario, of in predictions.items()},
        "table": None if table is None else identity(table),
        "importances": None if importances is None else identity(importances),
        **(maps.inputs() if maps else {}),
    }
    return write_contents(_contents(study, importances, maps), out, inputs, simulated=study.simulated)


@dataclass(frozen=True)
class _Study:
    """Tables of the evaluation, predictions by scenario, the run and the stations to show."""

    scores: pd.DataFrame
    stations: pd.DataFrame
    comparisons: pd.DataFrame
    predictions: Mapping[str, xr.Dataset]
    table: xr.Dataset | None
    run: str
    how: str
    chosen: list[str]
    simulated: bool

    def of(self, scenario: str) -> xr.Dataset:
        if scenario not in self.predictions:
            raise Absent(f"no predictions of the scenario {scenario}")
        return self.predictions[scenario]

    def known(self, scenario: str) -> list[str]:
        """Models scored over complete records of a scenario."""
        self.of(scenario)
        scores = self.scores
        found = scores[(scores.scenario == scenario) & (scores.aggregation == "station_record")]
        return list(dict.fromkeys(found.model))

    def shown(self, scenario: str) -> list[str]:
        """Scored models to show in figures: the run, the paper's three, SMAP L4."""
        wanted = dict.fromkeys((self.run, *tables.SINGLE, tables.PRODUCTS[0]))
        return [model for model in wanted if model in self.known(scenario)]

    def records(self, scenario: str) -> pd.DataFrame:
        """Scores of each station over its complete record."""
        self.of(scenario)
        return self.stations[(self.stations.scenario == scenario) & (self.stations.fold == WHOLE)]

    def classes(self, stations: list[str]) -> dict[str, pd.Series]:
        """Kind -> class by station, in the order of the classes."""
        if self.table is None:
            raise Absent("no table of features")
        found = {}
        for kind, labels in strata_of_table(self.table, stations).items():
            known = [label or None for label in labels]
            order = class_order().get(kind) or sorted(set(labels) - {""})
            found[kind] = pd.Series(pd.Categorical(known, order), stations)
        return found


def _study(
    evaluation: Path, predictions: Mapping[str, xr.Dataset], run: str | None, table: xr.Dataset | None
) -> _Study:
    if not (evaluation / "stations.csv").exists():
        raise VadoseError(f"{evaluation}: not an evaluation of station series (no stations.csv)")
    scores, stations, comparisons = (
        pd.read_csv(evaluation / f"{name}.csv", dtype={"fold": str, "station": str})
        for name in ("scores", "stations", "comparisons")
    )
    if set(scores.scenario) != set(predictions):
        raise VadoseError(
            f"{evaluation}: expected predictions of {sorted(set(scores.scenario))}, found {sorted(predictions)}"
        )
    records = scores[(scores.aggregation == "station_record") & (scores.metric == "pearson_r")]
    by_model = records.pivot(index="model", columns="scenario", values="median").dropna().mean(axis=1)
    if run is not None and run not in by_model.index:
        raise VadoseError(f"model {run!r} is not scored in every scenario; choose from {sorted(by_model.index)}")
    how = "" if run else " (best median R, chosen on these scores)"
    candidates = by_model.drop([name for name in tables.PRODUCTS if name in by_model.index])
    if run is None and candidates.empty:
        raise VadoseError(f"no model is scored in every scenario of {sorted(predictions)}; name the models alike")
    chosen = run or str(candidates.idxmax())
    r = stations[(stations.fold == WHOLE) & (stations.model == chosen) & (stations.metric == "pearson_r")]
    by_station = r.pivot(index="station", columns="scenario", values="value").dropna()
    ordered = by_station.sort_values(next(iter(predictions)), ascending=False).index
    ranks = np.unique(np.linspace(0, max(len(ordered) - 1, 0), _CHOSEN).round().astype(int))[: len(ordered)]
    simulated = any(of.attrs.get("simulated") == "true" for of in predictions.values())
    return _Study(
        scores,
        stations,
        comparisons,
        predictions,
        table,
        chosen,
        how,
        [str(ordered[k]) for k in ranks],
        simulated,
    )


def _contents(study: _Study, importances: Path | None, maps: FineMaps | None) -> Iterator[Content]:
    scenarios = ("on-site", "off-site", "cross-region")
    shown = f"; {study.run}{study.how}"
    eight = f"eight stations from best to worst R of {study.run}"
    for file, scenario in (*zip(("table3", "table4", "table5"), scenarios, strict=True), ("blocked", "blocked")):
        yield f"{file}.csv", f"scores by fold and over folds, {scenario}", partial(_by_fold, study, scenario)
    beside = partial(tables.beside_products, study.scores, study.run)
    yield "table6.csv", f"comparison with SMAP L4 and SMAP-HydroBlocks, complete records{shown}", beside
    fusion = partial(tables.fusion, study.scores, study.comparisons)
    yield "table7.csv", "fusion of the inputs, complete records", fusion
    yield "figure3.png", f"predicted against observed, test sets{shown}", partial(_scatter, study)
    yield "figure4.png", f"map of {eight}", partial(_overview, study)
    for number, scenario in enumerate(scenarios, 5):
        yield f"figure{number}.png", f"series, {eight}, {scenario}{shown}", partial(_series, study, scenario)
    yield "figure8.png", f"feature importance{shown}", partial(_importances, study, importances)
    yield "figure9.png", "maps before and after rain", partial(_maps, maps)
    for number, scenario in enumerate(scenarios, 1):
        yield f"tableS{number}.csv", f"scores at the {eight}, {scenario}", partial(_at_chosen, study, scenario)
    for number, scenario in zip((1, 4, 6), scenarios, strict=True):
        yield f"figureS{number}.png", f"maps of scores, {scenario}{shown}", partial(_score_maps, study, scenario)
        boxes = partial(_score_boxes, study, scenario)
        yield f"figureS{number + 1}.png", f"scores over stations, {scenario}", boxes
        if number == 1:
            yield "figureS3.png", f"gap-filled series at the four stations with most gaps{shown}", partial(_gaps, study)
    yield "figureS8.png", f"scores by class of the stations, off-site{shown}", partial(_by_class, study, "off-site")


def _by_fold(study: _Study, scenario: str) -> pd.DataFrame:
    study.of(scenario)
    return tables.by_fold(study.scores, scenario)


def _at_chosen(study: _Study, scenario: str) -> pd.DataFrame:
    return tables.at_stations(study.records(scenario), study.chosen)


def _scatter(study: _Study) -> Figure:
    panels: dict[str, dict[str, tuple[NDArray[Any], NDArray[Any]]]] = {}
    for scenario, of in study.predictions.items():
        samples = common_samples(of).values
        observed = of.observed.transpose("station", "time").values[samples]
        panels[scenario] = {
            series_plots.name_of(model): (
                of.predicted.sel(model=model).transpose("station", "time").values[samples],
                observed,
            )
            for model in study.shown(scenario)
        }
    return scatter(panels)


def _overview(study: _Study) -> Figure:
    of = next(iter(study.predictions.values()))
    if not {"lat", "lon"} <= set(of.coords) or not study.chosen:
        raise Absent("the stations have no lat and lon, or none is scored in every scenario")
    stations = pd.DataFrame(
        {
            "station": of.station.values.astype(object),
            "lat": of.lat,
            "lon": of.lon,
            "mean": of.observed.mean("time"),
            "std": of.observed.std("time"),
        }
    )
    known = stations.set_index("station")
    classes = {} if study.table is None else study.classes(study.chosen)
    said = {}
    for station in study.chosen:
        words = [str(labels[station]) for labels in classes.values() if isinstance(labels[station], str)]
        moisture = f"{known['mean'][station]:.2f} ± {known['std'][station]:.2f} m³ m⁻³"
        said[station] = ", ".join([*words, moisture])
    return series_plots.station_overview(stations, said)


def _series(study: _Study, scenario: str) -> Figure:
    of = study.of(scenario)
    if not study.chosen:
        raise Absent("no station is scored in every scenario")
    records = study.records(scenario).set_index(["station", "model", "metric"])["value"]
    titles = [
        f"S{number}  {station}: {series_plots.name_of(study.run)} R {records[station, study.run, 'pearson_r']:.2f}, "
        f"RMSE {records[station, study.run, 'rmse']:.3f}"
        for number, station in enumerate(study.chosen, 1)
    ]
    return series_plots.station_series(
        of,
        study.chosen,
        study.shown(scenario),
        titles=titles,
        rain=_rain(study),
    )


def _rain(study: _Study) -> xr.DataArray | None:
    return None if study.table is None or "precipitation" not in study.table else study.table.precipitation


def _gaps(study: _Study) -> Figure:
    """Stations with most days that are predicted but not observed."""
    of = study.of("on-site")
    series = of.predicted.sel(model=study.run)
    scored = of.station.isin(study.records("on-site").station.unique())
    missing = (series.notnull() & of.observed.isnull() & scored).sum("time")
    most = missing.argsort()[::-1][:4]
    stations = [str(name) for name in of.station.values[most] if missing.sel(station=name) > 0]
    if not stations:
        raise Absent("no unobserved day is predicted")
    titles = [f"{name}: {int(missing.sel(station=name))} days predicted without an observation" for name in stations]
    return series_plots.station_series(of, stations, [study.run], titles=titles, rain=_rain(study), interval=True)


def _importances(study: _Study, path: Path | None) -> Figure:
    if path is None:
        raise Absent("no feature importances")
    table = pd.read_csv(path)
    if missing := {"scenario", "model", "feature", "percent", "low", "high"} - set(table.columns):
        raise VadoseError(f"{path}: lacks the columns {sorted(missing)}")
    of_run = table[table.model == study.run]
    if of_run.empty:
        raise Absent(f"importances are of {', '.join(sorted(set(table.model)))}, none of {study.run}")
    return series_plots.importances(of_run)


def _maps(shown: FineMaps | None) -> Figure:
    if shown is None or shown.maps.sizes["time"] < 2:
        raise Absent("no maps of two days or more")
    coarse, days, fine = shown.coarse, shown.days, shown.maps.soil_moisture.transpose("time", "y", "x")
    if days is None:
        step = max(1, min(fine.shape[1:]) // 200)
        mean = fine[:, ::step, ::step].mean(("y", "x")).values
        rise = int(np.nanargmax(np.diff(mean)))
        days = str(fine.time.values[rise])[:10], str(fine.time.values[rise + 1])[:10]
    rows = {} if coarse is None else {"coarse": [coarse.sel(time=day).transpose("y", "x") for day in days]}
    return map_plots.fine_maps(rows | {"fine": [fine.sel(time=day) for day in days]}, days)


def _score_maps(study: _Study, scenario: str) -> Figure:
    records = study.records(scenario)
    if records[["lat", "lon"]].isna().to_numpy().any():
        raise Absent("stations have no lat and lon")
    return series_plots.score_maps(records, study.shown(scenario))


def _score_boxes(study: _Study, scenario: str) -> Figure:
    return series_plots.score_boxes(study.records(scenario), study.known(scenario))


def _by_class(study: _Study, scenario: str) -> Figure:
    records = study.records(scenario)
    labels = study.classes(list(records.station.unique()))
    labels = {kind: of for kind, of in labels.items() if kind in class_order() and of.notna().any()}
    if not labels:
        raise Absent("the table of features tells no class of any station")
    models = [model for model in (study.run, "mmnet", *tables.PRODUCTS) if model in study.known(scenario)]
    return series_plots.class_boxes(records, list(dict.fromkeys(models)), labels)
