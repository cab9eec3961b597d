import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

from vadose.errors import VadoseError
from vadose.evaluation.station_samples import common_samples
from vadose.evaluation.station_series import evaluate_series, score_series
from vadose.evaluation.station_strata import strata_of_table

ERRORS = {"mmnet": 0.02, "mlp": 0.03, "soil_moisture_smap_l4": 0.06}


def world(stations: int = 6, days: int = 200, *, seed: int = 0, folds: int = 2) -> xr.Dataset:
    """Made-up moisture, models with errors of known size, and folds that are spans of days."""
    rng = np.random.default_rng(seed)
    wet = np.cumsum(rng.normal(0, 0.01, (stations, days)), axis=1)
    observed = 0.25 + wet - wet.mean(axis=1, keepdims=True)
    predicted = np.stack([observed + error * rng.normal(size=observed.shape) for error in ERRORS.values()])
    observed[rng.random(observed.shape) < 0.2] = np.nan
    fold = np.broadcast_to(np.arange(days) * folds // days, observed.shape)
    return xr.Dataset(
        {
            "predicted": (("model", "station", "time"), predicted),
            "observed": (("station", "time"), observed),
            "fold": (("station", "time"), fold.astype(np.int16)),
        },
        coords={
            "model": list(ERRORS),
            "station": [f"s{k}" for k in range(stations)],
            "time": pd.date_range("2019-01-01", periods=days),
            "network": ("station", ["SCAN"] * stations),
            "lat": ("station", np.linspace(30, 45, stations)),
            "lon": ("station", np.linspace(-120, -80, stations)),
            "elevation": ("station", np.linspace(100, 2000, stations)),
        },
        attrs={"folds": json.dumps([str(2019 + k) for k in range(folds)]), "dataset": "made up", "inputs": "{}"},
    )


def run(predictions: xr.Dataset, **options: Any) -> Any:
    return score_series(predictions, **{"min_pairs": 10, **options})


def by_hand(p: np.ndarray, o: np.ndarray) -> dict[str, float]:
    error = p - o
    return {
        "pearson_r": np.corrcoef(p, o)[0, 1],
        "rmse": np.sqrt(np.mean(error**2)),
        "bias": error.mean(),
        "ubrmse": np.std(error),
    }


def test_stations_and_medians_equal_plain_numpy() -> None:
    predictions = world(days=300)
    tables = run(predictions)
    stations = tables.stations.set_index(["fold", "station", "model", "metric"])
    scores = tables.scores.set_index(["fold", "aggregation", "model", "metric"])
    fold, o = predictions.fold.values, predictions.observed.values
    for name, inside in (("2019", fold == 0), ("2020", fold == 1), ("all", fold >= 0)):
        for m, model in enumerate(ERRORS):
            found = []
            for s, station in enumerate(predictions.station.values):
                here = inside[s] & np.isfinite(o[s])
                found.append(by_hand(predictions.predicted.values[m, s, here], o[s, here]))
                for metric, value in found[-1].items():
                    row = stations.loc[(name, station, model, metric)]
                    assert row["value"] == pytest.approx(value, abs=1e-9)
                    assert row["n_pairs"] == here.sum()
                    assert row["lower"] <= row["upper"]
            aggregation = "station_record" if name == "all" else "fold"
            for metric in found[0]:
                row = scores.loc[(name, aggregation, model, metric)]
                assert row["median"] == pytest.approx(np.median([of[metric] for of in found]), abs=1e-9)
                assert (row["n_sites"], row["n_pairs"]) == (6, (inside & np.isfinite(o)).sum())
                assert row["n_observed"] == row["n_pairs"]


def test_folds_are_averaged_as_in_table_3_and_otherwise() -> None:
    scores = run(world(folds=3)).scores.set_index(["fold", "aggregation", "model", "metric"])["median"]
    of_folds = [scores[name, "fold", "mmnet", "pearson_r"] for name in ("2019", "2020", "2021")]
    assert scores["all", "mean_of_folds", "mmnet", "pearson_r"] == pytest.approx(np.mean(of_folds))
    assert scores["all", "median_of_folds", "mmnet", "pearson_r"] == pytest.approx(np.median(of_folds))
    assert scores["all", "station_record", "mmnet", "pearson_r"] > max(of_folds)  # a longer record varies more


def test_intervals_hold_the_value_and_shrink_with_stations() -> None:
    few, many = (run(world(n, 300, folds=2, seed=3)).scores for n in (5, 60))
    width = []
    for table in (few, many):
        assert (table["lower"] <= table["median"]).all()
        assert (table["median"] <= table["upper"]).all()
        row = table[(table.aggregation == "mean_of_folds") & (table.model == "mlp") & (table.metric == "rmse")].iloc[0]
        assert row["lower"] < 0.03 < row["upper"]
        width.append(row["upper"] - row["lower"])
    assert width[1] < width[0] / 2


@pytest.mark.parametrize("together", [False, True])
def test_folds_that_share_stations_do_not_average_their_error_out(together: bool) -> None:
    """Errors that are the same every day: an interval is of the stations alone."""
    predictions = world(12, 600)
    fold = np.arange(600) // 300 * np.ones((12, 1)) if together else np.arange(12)[:, None] % 2 * np.ones((1, 600))
    predictions["fold"] = predictions.fold.copy(data=fold.astype(np.int16))
    error = np.linspace(0.01, 0.13, 12)
    predictions.predicted[0] = predictions.observed.fillna(0.2) + error[:, None]
    scores = run(predictions).scores.set_index(["aggregation", "fold", "model", "metric"])
    half = [(scores["upper"] - scores["lower"])["fold", name, "mmnet", "bias"] / 2 for name in ("2019", "2020")]
    row = scores.loc["mean_of_folds", "all", "mmnet", "bias"]
    expected = np.mean(half) if together else np.hypot(*half) / 2
    assert (row["upper"] - row["lower"]) / 2 == pytest.approx(expected, rel=1e-3)
    assert row["lower"] < row["median"] < row["upper"]


def test_a_short_record_has_scores_without_intervals() -> None:
    tables = run(world(days=110, folds=1))
    for table in (tables.scores, tables.comparisons):
        assert table["median"].notna().all()
        assert table[["lower", "upper"]].isna().all(axis=None)
    assert tables.stations["value"].notna().all()
    assert tables.stations["lower"].isna().all()


def test_a_sample_one_model_lacks_counts_for_none() -> None:
    predictions = world()
    predictions.predicted[1, :, :20] = np.nan
    expected = np.isfinite(predictions.observed.values)
    expected[:, :20] = False
    np.testing.assert_array_equal(common_samples(predictions).values, expected)
    scores = run(predictions).scores
    first = scores[(scores.fold == "2019")]
    assert set(first.n_pairs) == {expected[:, :100].sum()}
    assert set(first.n_observed) == {np.isfinite(predictions.observed.values[:, :100]).sum()}


def test_a_rival_known_nowhere_in_a_fold_leaves_its_table_and_not_the_samples() -> None:
    whole = run(world()).scores.set_index(["fold", "aggregation", "model", "metric"])
    predictions = world()
    predictions.predicted[2] = predictions.predicted[2].where(predictions.fold == 0)
    found = run(predictions)
    scores = found.scores.set_index(["fold", "aggregation", "model", "metric"])
    assert ("2019", "fold", "soil_moisture_smap_l4", "rmse") in scores.index
    for gone in (("2020", "fold"), ("all", "station_record"), ("all", "mean_of_folds")):
        assert (*gone, "soil_moisture_smap_l4", "rmse") not in scores.index
    for row in (("2020", "fold", "mmnet", "rmse"), ("all", "station_record", "mmnet", "rmse")):
        pd.testing.assert_series_equal(scores.loc[row], whole.loc[row])
    compared = found.comparisons
    assert "soil_moisture_smap_l4" not in set(compared[compared.fold == "2020"].baseline)


def test_a_station_lies_in_one_fold_and_counts_with_pairs_enough() -> None:
    predictions = world(6)
    predictions["fold"] = predictions.fold.copy(data=np.repeat(np.arange(6) % 2, 200).reshape(6, 200))
    predictions.observed[4, 25:] = np.nan
    scores = run(predictions, min_pairs=26).scores.set_index(["fold", "aggregation", "model", "metric"])
    assert scores.loc[("2019", "fold", "mlp", "rmse"), "n_sites"] == 2
    assert scores.loc[("2020", "fold", "mlp", "rmse"), "n_sites"] == 3
    assert scores.loc[("all", "station_record", "mlp", "rmse"), "n_sites"] == 5
    assert scores.loc[("all", "mean_of_folds", "mlp", "rmse"), "n_sites"] == 5
    row = scores.loc[("2019", "fold", "mlp", "rmse")]
    assert row["n_pairs"] < row["n_observed"]  # the station with too few


def test_a_fold_without_stations_enough_makes_the_mean_of_folds_unknown() -> None:
    predictions = world()
    predictions.observed[:, 105:] = np.nan
    scores = run(predictions).scores.set_index(["fold", "aggregation", "model", "metric"])
    empty = scores.loc[("2020", "fold", "mmnet", "rmse")]
    assert np.isnan(empty["median"])
    assert empty["n_sites"] == 0
    assert np.isnan(scores.loc[("all", "mean_of_folds", "mmnet", "rmse"), "median"])
    assert scores.loc[("all", "station_record", "mmnet", "rmse"), "median"] == pytest.approx(0.02, rel=0.1)


def test_crps_and_coverage_of_a_known_gaussian() -> None:
    predictions = world(8, 400)
    spread = np.full(predictions.predicted.shape, np.nan)
    spread[0], spread[1] = 0.02, 0.015  # the second says it is twice as sure as it is
    predictions["predicted_std"] = predictions.predicted.dims, spread
    scores = run(predictions).scores
    table = scores[scores.aggregation == "station_record"].set_index(["model", "metric"])["median"]
    assert table["mmnet", "coverage_50"] == pytest.approx(0.5, abs=0.04)
    assert table["mmnet", "coverage_90"] == pytest.approx(0.9, abs=0.03)
    assert table["mlp", "coverage_90"] == pytest.approx(2 * norm.cdf(1.6449 / 2) - 1, abs=0.04)
    assert table["mmnet", "crps"] == pytest.approx(0.02 / np.sqrt(np.pi), rel=0.05)
    assert table["soil_moisture_smap_l4", "crps"] == pytest.approx(0.06 * np.sqrt(2 / np.pi), rel=0.05)
    assert np.isnan(table["soil_moisture_smap_l4", "coverage_90"])


def test_differences_are_paired() -> None:
    found = run(world(20)).comparisons
    table = found[(found.fold == "all") & (found.metric == "rmse")].set_index(["model", "baseline"])
    row = table.loc["mmnet", "mlp"]
    assert row["median"] == pytest.approx(-0.01, abs=0.002)
    assert row["upper"] < 0
    assert row["share_better"] == 1.0
    assert table.loc[("mlp", "mmnet"), "median"] == -row["median"]
    assert len(table) == 6


def test_strata_hold_the_stations_of_their_class() -> None:
    predictions = world(6)
    tables = run(predictions, strata={"half": ["low"] * 2 + ["high"] * 3 + [""]})
    table = tables.strata.set_index(["kind", "class", "model", "metric"])
    stations = tables.stations.set_index(["fold", "model", "metric", "station"])["value"]["all"]["mlp"]["ubrmse"]
    assert table.loc[("half", "high", "mlp", "ubrmse"), "median"] == pytest.approx(
        stations[["s2", "s3", "s4"]].median()
    )
    assert table.loc[("half", "low", "mlp", "ubrmse"), "n_sites"] == 2
    assert set(tables.strata["class"]) == {"low", "high"}


def test_classes_of_stations_from_their_features() -> None:
    rain = np.full((4, 400), 1.0)
    rain[1] = 3.0
    rain[2, 50:] = np.nan  # not a year
    table = xr.Dataset(
        {
            "sand_fraction": ("station", [0.9, 0.4, 0.1, np.nan]),
            "clay_fraction": ("station", [0.05, 0.2, 0.7, 0.2]),
            "land_cover_forest": ("station", [1.0, 0.0, 0.0, 0.0]),
            "land_cover_crop": ("station", [0.0, 1.0, 0.0, 0.0]),
            "precipitation": (("station", "time"), rain),
        },
        coords={
            "station": ["a", "b", "c", "d"],
            "network": ("station", ["SCAN", "SCAN", "USCRN", "USCRN"]),
            "elevation": ("station", [10.0, 500.0, 1700.0, np.nan]),
        },
    )
    found = {kind: labels.tolist() for kind, labels in strata_of_table(table, ["c", "b", "a", "d", "x"]).items()}
    assert found == {
        "network": ["USCRN", "SCAN", "SCAN", "USCRN", ""],
        "texture": ["fine", "medium", "coarse", "", ""],
        "elevation": [">= 1500 m", "500-1000 m", "< 500 m", "", ""],
        "land_cover": ["", "crop", "forest", "", ""],
        "precipitation": ["", ">= 900 mm", "300-600 mm", "300-600 mm", ""],
    }


def test_tables_are_written_once_and_again_when_a_setting_changes(tmp_path: Path) -> None:
    out, predictions = tmp_path / "e", {"on-site": world(), "off-site": world(seed=1)}
    table = xr.Dataset(coords={"station": [f"s{k}" for k in range(6)], "network": ("station", ["A"] * 3 + ["B"] * 3)})
    options: dict[str, Any] = {"min_pairs": 10, "table": table}
    evaluate_series(predictions, out, **options)
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores.scenario) == {"on-site", "off-site"}
    assert set(scores.dataset) == {"made up"}
    assert set(pd.read_csv(out / "strata.csv")["class"]) == {"A", "B"}
    assert {path.name for path in out.iterdir()} == {
        "scores.csv",
        "stations.csv",
        "comparisons.csv",
        "strata.csv",
        "provenance.json",
    }
    made = (out / "scores.csv").stat().st_mtime_ns
    evaluate_series(predictions, out, **options)
    assert (out / "scores.csv").stat().st_mtime_ns == made
    evaluate_series(predictions, out, **options | {"min_pairs": 11})
    assert (out / "scores.csv").stat().st_mtime_ns > made


def test_what_cannot_be_scored_is_refused(tmp_path: Path) -> None:
    predictions = world()
    with pytest.raises(VadoseError, match="no scenario given"):
        evaluate_series({}, tmp_path / "e")
    with pytest.raises(VadoseError, match=r"no station has 500 pairs in any of the folds .* the most found is 1"):
        run(predictions, min_pairs=500)
    with pytest.raises(VadoseError, match="predictions of no model"):
        run(predictions.isel(model=[]))
    with pytest.raises(VadoseError, match=r"lack predicted over \['model', 'station', 'time'\]"):
        run(predictions.drop_vars("predicted"))
    with pytest.raises(VadoseError, match="with numbers from 0 to 1"):
        run(predictions.assign_attrs(folds='["2019"]'))
    with pytest.raises(VadoseError, match="none of them 'all'"):
        run(predictions.assign_attrs(folds='["2019", "all"]'))
    with pytest.raises(VadoseError, match="'cover' has 2 labels; the predictions have 6 stations"):
        run(predictions, strata={"cover": ["a", "b"]})
    nothing = predictions.assign(predicted=predictions.predicted.where(predictions.fold == 0))
    with pytest.raises(VadoseError, match="fold 2020: no model predicts any of its"):
        run(nothing)
