"""Tables of Xu et al. (2025) from scores at stations, with the published value for the same row."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from vadose.evaluation.station_samples import WHOLE
from vadose.reports.contents import Absent

PRODUCTS = ("soil_moisture_smap_l4", "soil_moisture_smap_hydroblocks")
"""Products compared with the models."""
FUSION = ("mmnet", "mlp_full", "transformer_full")
"""Models of Table 7: equal inputs, fused differently."""
SINGLE = ("mmnet", "mlp", "transformer")
"""Models of Tables 3-5 and of the figures, with the best of all."""
_METRICS = ["pearson_r", "rmse", "bias", "ubrmse"]
# (scenario, aggregation, model): R, RMSE, bias, ubRMSE as published, Tables 3-7.
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
    (scenario, "station_record", product): values
    for scenario in ("on-site", "off-site", "cross-region")
    for product, values in zip(
        PRODUCTS, ((0.7075, 0.0741, 0.0054, 0.0535), (0.7159, 0.0673, -0.0066, 0.0516)), strict=True
    )
}


def by_fold(scores: pd.DataFrame, scenario: str) -> pd.DataFrame:
    """Tables 3-5: a split fold by fold and over folds."""
    return _wide(scores[scores.scenario == scenario])


def sizes(predictions: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Table 2: stations, and observed station-days learnt from and tested, by fold."""
    rows = []
    for scenario, of in predictions.items():
        learnt = json.loads(of.attrs.get("learnt_days", "{}"))
        observed, fold = (of[name].transpose("station", "time").values for name in ("observed", "fold"))
        for number, name in enumerate(json.loads(of.attrs["folds"])):
            tested = np.isfinite(observed) & (fold == number)
            days = {"train_days": learnt.get(name), "test_days": int(tested.sum())}
            rows.append({"scenario": scenario, "fold": name, **days, "test_stations": int(tested.any(axis=1).sum())})
    return pd.DataFrame(rows)


def beside_products(of_products: Mapping[str, pd.DataFrame], run: str) -> pd.DataFrame:
    """Table 6: a run compared with each product on the days that it has, complete records."""
    found = []
    for product, scores in of_products.items():
        rows = scores[(scores.aggregation == "station_record") & scores.model.isin([run, FUSION[0], product])]
        if (rows.model == product).any():
            found.append(_wide(rows).assign(days_of=product))
    if not found:
        raise Absent("no product is scored in every fold of a scenario")
    return pd.concat(found)


def fusion(scores: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Table 7: scores, and paired differences of R and RMSE from the first model."""
    rows = scores[(scores.aggregation == "station_record") & scores.model.isin(FUSION)]
    if rows.model.nunique() < 2:
        raise Absent(f"fewer than two of {', '.join(FUSION)} are scored")
    pairs = compared[(compared.fold == WHOLE) & (compared.baseline == FUSION[0]) & compared.model.isin(FUSION)]
    found = _wide(rows)
    for metric in ("pearson_r", "rmse"):
        of = pairs[pairs.metric == metric][["scenario", "model", "median", "lower", "upper"]]
        renamed = {"median": "", "lower": "_lower", "upper": "_upper"}
        of = of.rename(columns={old: f"{metric}_minus_{FUSION[0]}{new}" for old, new in renamed.items()})
        found = found.merge(of, on=["scenario", "model"], how="left")
    return found


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per scenario, fold, aggregation and model, with the four scores as columns."""
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


def at_stations(records: pd.DataFrame, chosen: list[str]) -> pd.DataFrame:
    """Tables S1-S3: scores at the chosen stations."""
    records = records[records.metric.isin(_METRICS) & records.station.isin(chosen)]
    if records.empty:
        raise Absent("no station is scored in every scenario")
    found = records.pivot(index=["station", "n_pairs", "model"], columns="metric", values="value")[
        _METRICS
    ].reset_index()
    found.insert(0, "number", [f"S{chosen.index(station) + 1}" for station in found.station])
    return found.sort_values(["number", "model"])
