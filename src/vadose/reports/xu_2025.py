"""The tables and figures of the downscaling study of Xu et al. (2025), of scored predictions at stations."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vadose.artefact import identity, is_current, note_inputs, writing
from vadose.errors import VadoseError
from vadose.evaluation.station_series import WHOLE, common_samples
from vadose.evaluation.station_strata import class_order, strata_of_table
from vadose.reports import series_plots

RIVALS = ("soil_moisture_smap_l4", "soil_moisture_smap_hydroblocks")
"""Products that stand beside the models."""
FUSION = ("mmnet", "mlp_full", "transformer_full")
"""Models of Table 7: what they know is the same, how they join it is not."""
SINGLE = ("mmnet", "mlp", "transformer")
"""Models of Tables 3-5 and of the figures, beside the best of all."""
_METRICS = ["pearson_r", "rmse", "bias", "ubrmse"]
_CHOSEN = 8
# (scenario, aggregation, model): R, RMSE, bias, ubRMSE as the paper prints them, Tables 3-7.
_PUBLISHED = {
    ("on-site", "mean_of_folds", "mmnet"): (0.8460, 0.0395, -0.0035, 0.0333),
    ("on-site", "mean_of_folds", "mlp"): (0.7491, 0.0457, -0.0012, 0.0396),
    ("on-site", "mean_of_folds", "transformer"): (0.7193, 0.0632, -0.0020, 0.0481),
    ("on-site", "station_record", "mmnet"): (0.8216, 0.0425, -0.0037, 0.0395),
    ("on-site", "station_record", "mlp_full"): (0.7742, 0.0461, 0.0008, 0.0430),
    ("on-site", "station_record", "transformer_full"): (0.7600, 0.0485, -0.0010, 0.0451),
    ("off-site", "station_record", "mmnet"): (0.7816, 0.0672, -0.0004, 0.0456),
    ("off-site", "station_record", "mlp"): (0.7043, 0.0717, 0.0035, 0.0501),
    ("off-site", "station_record", "transformer"): (0.7240, 0.0697, -0.0047, 0.0545),
    ("off-site", "station_record", "mlp_full"): (0.7685, 0.0671, -0.0004, 0.0461),
    ("off-site", "station_record", "transformer_full"): (0.7496, 0.0702, -0.0029, 0.0497),
    ("cross-region", "station_record", "mmnet"): (0.7268, 0.0759, -0.0105, 0.0527),
    ("cross-region", "station_record", "mlp"): (0.6456, 0.0805, -0.0063, 0.0559),
    ("cross-region", "station_record", "transformer"): (0.6819, 0.0764, -0.0006, 0.0570),
    ("cross-region", "station_record", "mlp_full"): (0.7192, 0.0761, 0.0065, 0.0536),
    ("cross-region", "station_record", "transformer_full"): (0.6649, 0.0845, 0.0095, 0.0550),
} | {
    (scenario, "station_record", rival): values
    for scenario in ("on-site", "off-site", "cross-region")
    for rival, values in zip(RIVALS, ((0.7075, 0.0741, 0.0054, 0.0535), (0.7159, 0.0673, -0.0066, 0.0516)), strict=True)
}


class _Absent(Exception):
    """Why a table or figure cannot be made of what is there."""


def downscaling_tables(
    evaluation: Path,
    predictions: Mapping[str, xr.Dataset],
    out: Path,
    *,
    run: str | None = None,
    table: xr.Dataset | None = None,
    importances: Path | None = None,
    maps: xr.Dataset | None = None,
    coarse: xr.DataArray | None = None,
    days: tuple[str, str] | None = None,
) -> Path:
    """Write Tables 3-7 and S1-S3 as CSV and Figures 3-9 and S1-S8 as PNG into a folder.

    What each shows, and why one is left out, is said in ``index.csv`` (file, shows, absent_because). Tables hold
    the scores of `vadose.evaluation.station_series.score_series` with their intervals, and under ``published_...`` what
    the paper prints for the same row: of its stations, inputs and days, so no sample is shared. The scenario
    'blocked', which the paper has not, stands in ``blocked.csv``.

    The eight stations of Figures 4-7 are of the run shown: of the stations scored over their whole record in every
    scenario, in the order of R in the first scenario, from the best (S1) to the worst (S8), at even distances of rank.

    Parameters
    ----------
    evaluation
        Folder that `vadose.evaluation.station_series.evaluate_series` wrote.
    predictions
        Scenario -> predictions it was made of.
    run
        Model the figures show beside those of the paper; when left out, of those known in every scenario that with
        the highest median R over whole records, averaged over scenarios: it is chosen on the scores it is shown with,
        and ``index.csv`` says so.
    table
        Features at the stations: precipitation for the series, classes for Figures 4 and S8.
    importances
        CSV with the columns scenario, model, feature, percent, low, high.
    maps
        ``soil_moisture`` (time, y, x), fine, for Figure 9.
    coarse
        What it was downscaled from (time, y, x), in the same projection.
    days
        The two days of Figure 9; when left out, those between which the mean of the maps rises most from one day of
        the store to the next.

    Raises
    ------
    VadoseError
        When the folder is no evaluation, scenarios differ from those scored, or the run is not among them.

    References
    ----------
    Xu et al. (2025), doi:10.1029/2025JH000639.
    """
    study = _study(evaluation, predictions, run, table)
    if maps is not None and (absent := [day for day in days or () if np.datetime64(day) not in maps.time.values]):
        of = f"{maps.sizes['time']} days from {str(maps.time.values[0])[:10]} to {str(maps.time.values[-1])[:10]}"
        raise VadoseError(f"the maps have no {' or '.join(absent)}; they are of {of}")
    inputs = {
        "evaluation": identity(evaluation),
        "run": study.run,
        "days": days,
        "predictions": {scenario: identity(of) for scenario, of in predictions.items()},
        **{
            name: None if given is None else identity(given)
            for name, given in {"table": table, "importances": importances, "maps": maps, "coarse": coarse}.items()
        },
    }
    if is_current(out, **inputs):
        return out
    index = []
    with writing(out) as scratch:
        scratch.mkdir()
        note_inputs(scratch, **inputs)
        for file, shows, make in _contents(study, importances, maps, coarse, days):
            row = {"file": file, "shows": shows + study.simulated, "absent_because": ""}
            try:
                made = make()
                if isinstance(made, Figure):
                    if study.simulated:
                        made.supxlabel("simulated data", x=0.995, ha="right", fontsize=7)
                    made.savefig(scratch / file, dpi=150)
                else:
                    made.to_csv(scratch / file, index=False, float_format="%.6g")
            except _Absent as reason:
                row["absent_because"] = str(reason)
            index.append(row)
        pd.DataFrame(index).to_csv(scratch / "index.csv", index=False)
    return out


@dataclass(frozen=True)
class _Study:
    """What is shown: tables of the evaluation, predictions by scenario, the run and stations chosen."""

    scores: pd.DataFrame
    stations: pd.DataFrame
    comparisons: pd.DataFrame
    predictions: Mapping[str, xr.Dataset]
    table: xr.Dataset | None
    run: str
    how: str
    chosen: list[str]
    simulated: str

    def of(self, scenario: str) -> xr.Dataset:
        if scenario not in self.predictions:
            raise _Absent(f"no predictions of the scenario {scenario}")
        return self.predictions[scenario]

    def known(self, scenario: str) -> list[str]:
        """Models scored over whole records of a scenario."""
        self.of(scenario)
        scores = self.scores
        found = scores[(scores.scenario == scenario) & (scores.aggregation == "station_record")]
        return list(dict.fromkeys(found.model))

    def shown(self, scenario: str) -> list[str]:
        """Of the models known there those figures show: the run, the paper's three, SMAP L4."""
        wanted = dict.fromkeys((self.run, *SINGLE, RIVALS[0]))
        return [model for model in wanted if model in self.known(scenario)]

    def records(self, scenario: str) -> pd.DataFrame:
        """Scores of each station over its whole record."""
        self.of(scenario)
        return self.stations[(self.stations.scenario == scenario) & (self.stations.fold == WHOLE)]

    def classes(self, stations: list[str]) -> dict[str, pd.Series]:
        """Kind -> class by station, in the order of the classes."""
        if self.table is None:
            raise _Absent("no table of features was given")
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
        raise VadoseError(f"{evaluation}: no evaluation of station series there (no stations.csv)")
    scores, stations, comparisons = (
        pd.read_csv(evaluation / f"{name}.csv", dtype={"fold": str, "station": str})
        for name in ("scores", "stations", "comparisons")
    )
    if set(scores.scenario) != set(predictions):
        raise VadoseError(
            f"{evaluation} holds the scenarios {sorted(set(scores.scenario))}, the predictions given are of "
            f"{sorted(predictions)}; give those it was made of"
        )
    records = scores[(scores.aggregation == "station_record") & (scores.metric == "pearson_r")]
    by_model = records.pivot(index="model", columns="scenario", values="median").dropna().mean(axis=1)
    if run is not None and run not in by_model.index:
        raise VadoseError(f"no model {run!r} is scored in every scenario; those are {sorted(by_model.index)}")
    how = "" if run else " (the best by median R, of the scores shown)"
    candidates = by_model.drop([rival for rival in RIVALS if rival in by_model.index])
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
        "; simulated data" if simulated else "",
    )


def _contents(
    study: _Study,
    importances: Path | None,
    maps: xr.Dataset | None,
    coarse: xr.DataArray | None,
    days: tuple[str, str] | None,
) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """File, what it shows, and how it is made."""
    scenarios = ("on-site", "off-site", "cross-region")
    shown = f"; {study.run}{study.how}"
    eight = f"eight stations from the best R of {study.run} to the worst"
    for file, scenario in (*zip(("table3", "table4", "table5"), scenarios, strict=True), ("blocked", "blocked")):
        yield f"{file}.csv", f"scores by fold and over folds, {scenario}", partial(_by_fold, study, scenario)
    yield "table6.csv", f"beside SMAP L4 and SMAP-HydroBlocks, whole records{shown}", partial(_beside_products, study)
    yield "table7.csv", "ways of joining the inputs, whole records", partial(_fusion, study)
    yield "figure3.png", f"predicted against observed, test parts{shown}", partial(_scatter, study)
    yield "figure4.png", f"where the {eight} are", partial(_overview, study)
    for number, scenario in enumerate(scenarios, 5):
        yield f"figure{number}.png", f"series, {eight}, {scenario}{shown}", partial(_series, study, scenario)
    yield "figure8.png", f"importance of the features{shown}", partial(_importances, study, importances)
    yield "figure9.png", "maps before and after rain", partial(_maps, maps, coarse, days)
    for number, scenario in enumerate(scenarios, 1):
        yield f"tableS{number}.csv", f"scores at the {eight}, {scenario}", partial(_eight, study, scenario)
    for number, scenario in zip((1, 4, 6), scenarios, strict=True):
        yield f"figureS{number}.png", f"maps of scores, {scenario}{shown}", partial(_score_maps, study, scenario)
        boxes = partial(_score_boxes, study, scenario)
        yield f"figureS{number + 1}.png", f"scores over stations, {scenario}", boxes
        if number == 1:
            yield "figureS3.png", f"series completed, four stations with the most gaps{shown}", partial(_gaps, study)
    yield "figureS8.png", f"scores by class of the stations, off-site{shown}", partial(_by_class, study, "off-site")


def _by_fold(study: _Study, scenario: str) -> pd.DataFrame:
    study.of(scenario)
    return _wide(study.scores[study.scores.scenario == scenario])


def _beside_products(study: _Study) -> pd.DataFrame:
    scores = study.scores
    rows = scores[(scores.aggregation == "station_record") & scores.model.isin([study.run, FUSION[0], *RIVALS])]
    if not rows.model.isin(RIVALS).any():
        raise _Absent(f"no scenario has {' or '.join(RIVALS)} in every fold")
    return _wide(rows)


def _fusion(study: _Study) -> pd.DataFrame:
    """Scores, and what R and RMSE of each are less than those of the first, in pairs."""
    scores, compared = study.scores, study.comparisons
    rows = scores[(scores.aggregation == "station_record") & scores.model.isin(FUSION)]
    if rows.model.nunique() < 2:
        raise _Absent(f"fewer than two of {', '.join(FUSION)} are scored")
    pairs = compared[(compared.fold == WHOLE) & (compared.baseline == FUSION[0]) & compared.model.isin(FUSION)]
    found = _wide(rows)
    for metric in ("pearson_r", "rmse"):
        of = pairs[pairs.metric == metric][["scenario", "model", "median", "lower", "upper"]]
        renamed = {"median": "", "lower": "_lower", "upper": "_upper"}
        of = of.rename(columns={old: f"{metric}_minus_{FUSION[0]}{new}" for old, new in renamed.items()})
        found = found.merge(of, on=["scenario", "model"], how="left")
    return found


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each scenario, fold, aggregation and model, with the four scores side by side."""
    keys = ["scenario", "fold", "aggregation", "model"]
    rows = rows[rows.metric.isin(_METRICS)]
    found = rows[[*keys, "n_sites", "n_pairs"]].drop_duplicates()
    for metric in _METRICS:
        of = rows[rows.metric == metric][[*keys, "median", "lower", "upper"]]
        found = found.merge(
            of.rename(columns={"median": metric, "lower": f"{metric}_lower", "upper": f"{metric}_upper"}), on=keys
        )
    printed = pd.DataFrame.from_dict(_PUBLISHED, orient="index", columns=[f"published_{name}" for name in _METRICS])
    printed.index = pd.MultiIndex.from_tuples(_PUBLISHED, names=["scenario", "aggregation", "model"])
    return found.merge(printed.reset_index(), on=printed.index.names, how="left")


def _scatter(study: _Study) -> Figure:
    panels: dict[str, dict[str, tuple[NDArray[Any], NDArray[Any]]]] = {}
    for scenario, of in study.predictions.items():
        samples = common_samples(of).values
        observed = of.observed.transpose("station", "time").values[samples]
        panels[scenario] = {
            model: (of.predicted.sel(model=model).transpose("station", "time").values[samples], observed)
            for model in study.shown(scenario)
        }
    return series_plots.scatter(panels)


def _overview(study: _Study) -> Figure:
    of = next(iter(study.predictions.values()))
    if not {"lat", "lon"} <= set(of.coords) or not study.chosen:
        raise _Absent("the stations have no lat and lon, or none is scored in every scenario")
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
        raise _Absent("no station is scored in every scenario")
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


def _eight(study: _Study, scenario: str) -> pd.DataFrame:
    records = study.records(scenario)
    records = records[records.metric.isin(_METRICS) & records.station.isin(study.chosen)]
    if records.empty:
        raise _Absent("no station is scored in every scenario")
    found = records.pivot(index=["station", "n_pairs", "model"], columns="metric", values="value")[
        _METRICS
    ].reset_index()
    found.insert(0, "number", [f"S{study.chosen.index(station) + 1}" for station in found.station])
    return found.sort_values(["number", "model"])


def _gaps(study: _Study) -> Figure:
    """Stations by the number of days that are predicted and were not observed."""
    of = study.of("on-site")
    series = of.predicted.sel(model=study.run)
    scored = of.station.isin(study.records("on-site").station.unique())
    missing = (series.notnull() & of.observed.isnull() & scored).sum("time")
    most = missing.argsort()[::-1][:4]
    stations = [str(name) for name in of.station.values[most] if missing.sel(station=name) > 0]
    if not stations:
        raise _Absent("no day without observation is predicted")
    titles = [f"{name}: {int(missing.sel(station=name))} days predicted without an observation" for name in stations]
    return series_plots.station_series(of, stations, [study.run], titles=titles, rain=_rain(study), interval=True)


def _importances(study: _Study, path: Path | None) -> Figure:
    if path is None:
        raise _Absent("no importances were given")
    table = pd.read_csv(path)
    if missing := {"scenario", "model", "feature", "percent", "low", "high"} - set(table.columns):
        raise VadoseError(f"{path}: lacks the columns {sorted(missing)}")
    of_run = table[table.model == study.run]
    if of_run.empty:
        raise _Absent(f"importances are of {', '.join(sorted(set(table.model)))}, none of {study.run}")
    return series_plots.importances(of_run)


def _maps(maps: xr.Dataset | None, coarse: xr.DataArray | None, days: tuple[str, str] | None) -> Figure:
    if maps is None or maps.sizes["time"] < 2:
        raise _Absent("no maps of two days or more were given")
    fine = maps.soil_moisture.transpose("time", "y", "x")
    if days is None:
        step = max(1, min(fine.shape[1:]) // 200)
        mean = fine[:, ::step, ::step].mean(("y", "x")).values
        rise = int(np.nanargmax(np.diff(mean)))
        days = str(fine.time.values[rise])[:10], str(fine.time.values[rise + 1])[:10]
    rows = {} if coarse is None else {"coarse": [coarse.sel(time=day).transpose("y", "x") for day in days]}
    return series_plots.fine_maps(rows | {"fine": [fine.sel(time=day) for day in days]}, days)


def _score_maps(study: _Study, scenario: str) -> Figure:
    records = study.records(scenario)
    if records[["lat", "lon"]].isna().to_numpy().any():
        raise _Absent("stations are without lat and lon")
    return series_plots.score_maps(records, study.shown(scenario))


def _score_boxes(study: _Study, scenario: str) -> Figure:
    return series_plots.score_boxes(study.records(scenario), study.known(scenario))


def _by_class(study: _Study, scenario: str) -> Figure:
    records = study.records(scenario)
    labels = study.classes(list(records.station.unique()))
    labels = {kind: of for kind, of in labels.items() if kind in class_order() and of.notna().any()}
    if not labels:
        raise _Absent("the table of features tells no class of any station")
    models = [model for model in (study.run, "mmnet", *RIVALS) if model in study.known(scenario)]
    return series_plots.class_boxes(records, list(dict.fromkeys(models)), labels)
