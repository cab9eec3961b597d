"""What the tables and figures of Xu et al. (2025) are drawn from: scores, predictions, classes, the stations shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation.station_samples import WHOLE
from vadose.evaluation.station_strata import class_order, strata_of_table
from vadose.reports import xu_2025_tables as tables
from vadose.reports.contents import Absent

_CHOSEN = 8


@dataclass(frozen=True)
class Study:
    """Scores of the models, those of each product on its own days, predictions by scenario, the run to show."""

    scores: pd.DataFrame
    stations: pd.DataFrame
    comparisons: pd.DataFrame
    of_products: Mapping[str, pd.DataFrame]
    predictions: Mapping[str, xr.Dataset]
    table: xr.Dataset | None
    run: str
    how: str
    chosen: list[str]

    @property
    def simulated(self) -> bool:
        """Whether any prediction is of a simulated world."""
        return any(of.attrs.get("simulated") == "true" for of in self.predictions.values())

    def of(self, scenario: str) -> xr.Dataset:
        """Predictions of a scenario."""
        if scenario not in self.predictions:
            raise Absent(f"no predictions of the scenario {scenario}")
        return self.predictions[scenario]

    def models_of(self, scenario: str) -> xr.Dataset:
        """Predictions of a scenario without the products, whose days are fewer."""
        of = self.of(scenario)
        return of.sel(model=[name for name in of.model.values if name not in self.of_products])

    def known(self, scenario: str) -> list[str]:
        """Models and products scored over complete records of a scenario."""
        records = self.records(scenario)
        return list(dict.fromkeys(records.model))

    def shown(self, scenario: str) -> list[str]:
        """Scored models to show in figures: the run, the paper's three, SMAP L4."""
        wanted = dict.fromkeys((self.run, *tables.SINGLE, tables.PRODUCTS[0]))
        return [model for model in wanted if model in self.known(scenario)]

    def records(self, scenario: str) -> pd.DataFrame:
        """Scores of each station over its complete record; of a product on the days that it has."""
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

    def places(self) -> pd.DataFrame:
        """Station, place, and mean and deviation of the observed moisture."""
        of = next(iter(self.predictions.values()))
        if not {"lat", "lon"} <= set(of.coords):
            raise Absent("the stations have no lat and lon")
        observed = of.observed.transpose("station", "time")
        return pd.DataFrame(
            {
                "station": of.station.values.astype(object),
                "lat": of.lat,
                "lon": of.lon,
                "mean": observed.mean("time"),
                "std": observed.std("time"),
            }
        )


def study_of(
    evaluation: Path,
    predictions: Mapping[str, xr.Dataset],
    run: str | None,
    table: xr.Dataset | None,
    products: Mapping[str, Path],
) -> Study:
    """Read the evaluation of the models and those beside each product, choose the run and the stations to show."""
    scores, stations, comparisons = _tables(evaluation)
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
    beside = {product: _tables(folder) for product, folder in products.items()}
    own = [of[of.model == product] for product, (_, of, _) in beside.items()]
    return Study(
        scores,
        pd.concat([stations, *own], ignore_index=True),
        comparisons,
        {product: of for product, (of, _, _) in beside.items()},
        predictions,
        table,
        chosen,
        how,
        _chosen(stations, chosen, next(iter(predictions))),
    )


def _tables(evaluation: Path) -> list[pd.DataFrame]:
    if not (evaluation / "stations.csv").exists():
        raise VadoseError(f"{evaluation}: not an evaluation of station series (no stations.csv)")
    return [
        pd.read_csv(evaluation / f"{name}.csv", dtype={"fold": str, "station": str})
        for name in ("scores", "stations", "comparisons")
    ]


def _chosen(stations: pd.DataFrame, run: str, scenario: str) -> list[str]:
    """Stations equally spaced in rank of R, of those scored in every scenario."""
    r = stations[(stations.fold == WHOLE) & (stations.model == run) & (stations.metric == "pearson_r")]
    by_station = r.pivot(index="station", columns="scenario", values="value").dropna()
    ordered = by_station.sort_values(scenario, ascending=False).index
    ranks = np.unique(np.linspace(0, max(len(ordered) - 1, 0), _CHOSEN).round().astype(int))[: len(ordered)]
    return [str(ordered[k]) for k in ranks]
