"""Tables and figures of Xu et al. (2025) from scored predictions at stations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
from vadose.evaluation.station_strata import class_order
from vadose.reports import map_plots, series_plots, station_maps
from vadose.reports import xu_2025_tables as tables
from vadose.reports.contents import Absent, Content, write_contents
from vadose.reports.scatter import scatter
from vadose.reports.xu_2025_study import Study, study_of

SCENARIOS = ("on-site", "off-site", "cross-region")


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


@dataclass(frozen=True)
class Beside:
    """What is shown beside the scores of the models.

    Attributes
    ----------
    table
        Features at the stations: precipitation for the series, classes for Figures 4 and S8.
    importances
        CSV with the columns scenario, model, feature, percent, low, high; of several folds those of 'all' count.
    maps
        For Figure 9; text: why there are none.
    products
        Product -> `vadose.evaluation.station_series.evaluate_series` of the models and this product, on the days that
        the product has.
    borders
        Longitudes between west, middle and east [degree].
    """

    table: xr.Dataset | None = None
    importances: Path | None = None
    maps: FineMaps | str = "no maps of two days or more"
    products: Mapping[str, Path] = field(default_factory=dict)
    borders: tuple[float, float] = (-104.0, -90.0)

    def inputs(self) -> dict[str, Any]:
        """Inputs of the tables and figures."""
        return {
            "table": None if self.table is None else identity(self.table),
            "importances": None if self.importances is None else identity(self.importances),
            "products": {name: identity(folder) for name, folder in self.products.items()},
            "borders": list(self.borders),
            **(self.maps.inputs() if isinstance(self.maps, FineMaps) else {"maps": self.maps}),
        }


def downscaling_tables(
    evaluation: Path,
    predictions: Mapping[str, xr.Dataset],
    out: Path,
    *,
    run: str | None = None,
    beside: Beside | None = None,
) -> Path:
    """Write Tables 2-7 and S1-S3 as CSV and Figures 1, 3-9 and S1-S8 as PNG into a folder.

    ``index.csv`` (file, shows, absent_because) describes each and says why one is missing. Tables hold the scores of
    `vadose.evaluation.station_series.score_series` with their intervals, and in ``published_...`` the published values
    for the same row, which come from other stations, inputs and days. ``blocked.csv`` holds the split 'blocked', which
    the paper does not have. Models are scored on identical samples; a product of ``beside`` is scored on the days that
    it has, in Table 6 beside the models on the same days.

    Figures 4-7 show eight stations, equally spaced in rank of R in the first split, from the best (S1) to the worst
    (S8), of those scored over their complete record in every split.

    Parameters
    ----------
    evaluation
        Folder of `vadose.evaluation.station_series.evaluate_series`, of the models without the products.
    predictions
        Scenario -> predictions that were evaluated, with those of the products.
    run
        Model shown in addition to those of the paper. Default: of those scored in every split, the one with the
        highest median R over complete records, averaged over splits; it is chosen on the scores it is shown with, and
        ``index.csv`` says so.

    Raises
    ------
    VadoseError
        If the folder is not an evaluation, splits differ from those scored, or the run is not among them.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639.
    """
    beside = beside or Beside()
    study = study_of(evaluation, predictions, run, beside.table, beside.products)
    inputs = {
        "evaluation": identity(evaluation),
        "run": study.run,
        "predictions": {scenario: identity(of) for scenario, of in predictions.items()},
        **beside.inputs(),
    }
    return write_contents(_contents(study, beside), out, inputs, simulated=study.simulated)


def _contents(study: Study, beside: Beside) -> Iterator[Content]:
    shown = f"; {study.run}{study.how}"
    eight = f"eight stations from best to worst R of {study.run}, {next(iter(study.predictions))}"
    yield "figure1.png", "stations, moisture by year, and by region", partial(_stations, study, beside.borders)
    yield "table2.csv", "station-days learnt from and tested, by fold", partial(tables.sizes, study.predictions)
    for file, scenario in (*zip(("table3", "table4", "table5"), SCENARIOS, strict=True), ("blocked", "blocked")):
        yield f"{file}.csv", f"scores by fold and over folds, {scenario}", partial(_by_fold, study, scenario)
    compared = partial(tables.beside_products, study.of_products, study.run)
    yield "table6.csv", f"comparison with SMAP L4 and SMAP-HydroBlocks, each on its own days{shown}", compared
    fusion = partial(tables.fusion, study.scores, study.comparisons)
    yield "table7.csv", "fusion of the inputs, complete records", fusion
    yield "figure3.png", f"predicted against observed, test sets{shown}", partial(_scatter, study)
    yield "figure4.png", f"map of {eight}", partial(_overview, study, beside.borders)
    for number, scenario in enumerate(SCENARIOS, 5):
        yield f"figure{number}.png", f"series, {eight}, {scenario}{shown}", partial(_series, study, scenario)
    yield from _of_importances(study, beside.importances)
    yield "figure9.png", "maps before and after rain", partial(_maps, beside.maps)
    for number, scenario in enumerate(SCENARIOS, 1):
        yield f"tableS{number}.csv", f"scores at the {eight}, {scenario}", partial(_at_chosen, study, scenario)
    for number, scenario in zip((1, 4, 6), SCENARIOS, strict=True):
        maps = partial(_score_maps, study, scenario, beside.borders)
        yield f"figureS{number}.png", f"maps of scores, {scenario}{shown}", maps
        boxes = partial(_score_boxes, study, scenario)
        yield f"figureS{number + 1}.png", f"scores over stations, {scenario}", boxes
        if number == 1:
            yield "figureS3.png", f"gap-filled series at the four stations with most gaps{shown}", partial(_gaps, study)
    yield "figureS8.png", f"scores by class of the stations, off-site{shown}", partial(_by_class, study, "off-site")


def _by_fold(study: Study, scenario: str) -> pd.DataFrame:
    study.of(scenario)
    return tables.by_fold(study.scores, scenario)


def _at_chosen(study: Study, scenario: str) -> pd.DataFrame:
    return tables.at_stations(study.records(scenario), study.chosen)


def _stations(study: Study, borders: tuple[float, float]) -> Figure:
    observed = next(iter(study.predictions.values())).observed.transpose("station", "time")
    return station_maps.station_data(study.places(), observed, borders)


def _scatter(study: Study) -> Figure:
    panels: dict[str, dict[str, tuple[NDArray[Any], NDArray[Any]]]] = {}
    for scenario, of in study.predictions.items():
        common = common_samples(study.models_of(scenario)).values
        observed = of.observed.transpose("station", "time").values
        panels[scenario] = {}
        for model in study.shown(scenario):
            predicted = of.predicted.sel(model=model).transpose("station", "time").values
            samples = common & np.isfinite(predicted)
            panels[scenario][series_plots.name_of(model)] = predicted[samples], observed[samples]
    return scatter(panels)


def _overview(study: Study, borders: tuple[float, float]) -> Figure:
    stations = study.places()
    if not study.chosen:
        raise Absent("no station is scored in every scenario")
    known = stations.set_index("station")
    classes = {} if study.table is None else study.classes(study.chosen)
    said = {}
    for station in study.chosen:
        words = [str(labels[station]) for labels in classes.values() if isinstance(labels[station], str)]
        moisture = f"{known['mean'][station]:.2f} ± {known['std'][station]:.2f} m³ m⁻³"
        said[station] = ", ".join([*words, moisture])
    return station_maps.station_overview(stations, said, borders)


def _series(study: Study, scenario: str) -> Figure:
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


def _rain(study: Study) -> xr.DataArray | None:
    return None if study.table is None or "precipitation" not in study.table else study.table.precipitation


def _gaps(study: Study) -> Figure:
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


def _of_importances(study: Study, path: Path | None) -> Iterator[Content]:
    """Figure 8 of the run, or of the first network explained, and the same figure of every other network."""
    table = None if path is None else pd.read_csv(path, dtype={"fold": str})
    if table is None:
        yield "figure8.png", "feature importance", partial(_importances, None, study.run)
        return
    if missing := {"scenario", "model", "feature", "percent", "low", "high"} - set(table.columns):
        raise VadoseError(f"{path}: lacks the columns {sorted(missing)}")
    models = list(dict.fromkeys(table.model))
    first = study.run if study.run in models else models[0]
    for model in (first, *(name for name in models if name != first)):
        file = "figure8.png" if model == first else f"figure8_{model}.png"
        yield file, f"feature importance, mean of the folds; {model}", partial(_importances, table, model)


def _importances(table: pd.DataFrame | None, model: str) -> Figure:
    if table is None:
        raise Absent("no feature importances")
    of_model = table[table.model == model]
    return series_plots.importances(of_model[of_model.fold == WHOLE] if "fold" in table else of_model)


def _maps(shown: FineMaps | str) -> Figure:
    if isinstance(shown, str):
        raise Absent(shown)
    if shown.maps.sizes["time"] < 2:
        raise Absent("no maps of two days or more")
    coarse, days, fine = shown.coarse, shown.days, shown.maps.soil_moisture.transpose("time", "y", "x")
    if days is None:
        step = max(1, min(fine.shape[1:]) // 200)
        mean = fine[:, ::step, ::step].mean(("y", "x")).values
        rise = int(np.nanargmax(np.diff(mean)))
        days = str(fine.time.values[rise])[:10], str(fine.time.values[rise + 1])[:10]
    rows = {} if coarse is None else {"coarse": [coarse.sel(time=day).transpose("y", "x") for day in days]}
    return map_plots.fine_maps(rows | {"fine": [fine.sel(time=day) for day in days]}, days)


def _score_maps(study: Study, scenario: str, borders: tuple[float, float]) -> Figure:
    records = study.records(scenario)
    if records[["lat", "lon"]].isna().to_numpy().any():
        raise Absent("stations have no lat and lon")
    return station_maps.score_maps(records, study.shown(scenario), borders)


def _score_boxes(study: Study, scenario: str) -> Figure:
    return series_plots.score_boxes(study.records(scenario), study.known(scenario))


def _by_class(study: Study, scenario: str) -> Figure:
    records = study.records(scenario)
    labels = study.classes(list(records.station.unique()))
    labels = {kind: of for kind, of in labels.items() if kind in class_order() and of.notna().any()}
    if not labels:
        raise Absent("the table of features tells no class of any station")
    models = [model for model in (study.run, "mmnet", *tables.PRODUCTS) if model in study.known(scenario)]
    return series_plots.class_boxes(records, list(dict.fromkeys(models)), labels)
