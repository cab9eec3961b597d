import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.image import imread

from vadose.errors import VadoseError
from vadose.evaluation.station_series import evaluate_series
from vadose.reports.xu_2025 import Beside, FineMaps, downscaling_tables

SMAP = "soil_moisture_smap_l4"
ERRORS = {"mmnet": 0.02, "mlp_full": 0.03, SMAP: 0.06}
FOLDS = {"on-site": ["2019", "2020"], "off-site": ["1", "2", "3"]}
STATIONS, DAYS = 10, 120


def world(scenario: str) -> xr.Dataset:
    """Made-up moisture; the error of a model grows from station to station, so that their order is known."""
    rng = np.random.default_rng(len(scenario))
    observed = 0.25 + 0.05 * np.sin(np.arange(DAYS) / 9) + np.zeros((STATIONS, 1))
    growing = np.linspace(0.3, 1.5, STATIONS)[:, None]
    predicted = np.stack([observed + e * growing * rng.normal(size=observed.shape) for e in ERRORS.values()])
    predicted[2, :, ::5] = np.nan  # the product is not there every day
    observed[:, 50:55] = np.nan
    observed[3, 20:40] = np.nan
    names = FOLDS[scenario]
    of_day = np.arange(DAYS) * len(names) // DAYS
    fold = np.broadcast_to(
        of_day if scenario == "on-site" else (np.arange(STATIONS) % len(names))[:, None], observed.shape
    )
    return xr.Dataset(
        {
            "predicted": (("model", "station", "time"), predicted),
            "observed": (("station", "time"), observed),
            "predicted_std": (("model", "station", "time"), np.full(predicted.shape, 0.03)),
            "fold": (("station", "time"), fold.astype(np.int16)),
        },
        coords={
            "model": list(ERRORS),
            "station": [f"s{k}" for k in range(STATIONS)],
            "time": pd.date_range("2019-11-01", periods=DAYS),
            "lat": ("station", np.linspace(30, 45, STATIONS)),
            "lon": ("station", np.linspace(-120, -80, STATIONS)),
        },
        attrs={"folds": json.dumps(names), "simulated": "true", "inputs": "{}"},
    )


def features(predictions: xr.Dataset) -> xr.Dataset:
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "precipitation": (("station", "time"), rng.gamma(0.3, 9.0, (STATIONS, DAYS))),
            "sand_fraction": ("station", np.linspace(0.1, 0.9, STATIONS)),
            "clay_fraction": ("station", np.linspace(0.8, 0.05, STATIONS)),
        },
        coords={
            "station": predictions.station,
            "time": predictions.time,
            "elevation": ("station", np.linspace(0, 2000, STATIONS)),
        },
    )


def maps() -> xr.Dataset:
    moisture = 0.2 + 0.01 * np.random.default_rng(0).normal(size=(4, 40, 50))
    moisture[2:] += 0.1  # rain on the third day
    y, x = 4e6 - 100 * np.arange(40.0), -9e6 + 100 * np.arange(50.0)
    return xr.Dataset(
        {"soil_moisture": (("time", "y", "x"), moisture)},
        coords={"time": pd.date_range("2020-05-01", periods=4), "y": y, "x": x},
    )


@pytest.fixture(scope="module")
def predictions() -> dict[str, xr.Dataset]:
    return {scenario: world(scenario) for scenario in FOLDS}


@pytest.fixture(scope="module")
def evaluation(predictions: dict[str, xr.Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = {scenario: of.sel(model=["mmnet", "mlp_full"]) for scenario, of in predictions.items()}
    return evaluate_series(own, tmp_path_factory.mktemp("e") / "e", min_pairs=20)


@pytest.fixture(scope="module")
def made(
    predictions: dict[str, xr.Dataset], evaluation: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("paper")
    shares = {"precipitation": 60.0, "soil_moisture_smap_l4": 30.0, "ndvi": 10.0}
    pd.DataFrame(
        [
            {
                "scenario": scenario,
                "model": model,
                "fold": fold,
                "feature": feature,
                "percent": share,
                "low": 0.9 * share,
                "high": 1.1 * share,
            }
            for scenario in FOLDS
            for model in ("mmnet", "mlp_full")
            for fold in (FOLDS[scenario][0], "all")
            for feature, share in shares.items()
        ]
    ).to_csv(folder / "importances.csv", index=False)
    beside = Beside(
        features(predictions["on-site"]),
        folder / "importances.csv",
        FineMaps(maps(), maps().soil_moisture.coarsen(y=10, x=10).mean()),
        {SMAP: evaluate_series(predictions, folder / "smap", min_pairs=20)},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vadose.reports.contents.DPI", 50)  # figures of a third of the edge show as well what is drawn
        out = downscaling_tables(evaluation, predictions, folder / "out", beside=beside)
    return out, pd.read_csv(out / "index.csv", keep_default_na=False).set_index("file")


def test_every_table_and_figure_is_there(made: tuple[Path, pd.DataFrame]) -> None:
    out, index = made
    figures = [
        "figure1.png",
        "figure8_mlp_full.png",
        *(f"figure{n}.png" for n in range(3, 10)),
        *(f"figureS{n}.png" for n in range(1, 9)),
    ]
    tables = [*(f"table{n}.csv" for n in range(2, 8)), *(f"tableS{n}.csv" for n in (1, 2, 3)), "blocked.csv"]
    assert sorted(index.index) == sorted([*figures, *tables])
    absent = index.absent_because[index.absent_because != ""].to_dict()
    of_region = ("table5.csv", "tableS3.csv", "figure7.png", "figureS6.png", "figureS7.png")
    why = dict.fromkeys(of_region, "no predictions of the scenario cross-region")
    assert absent == why | {"blocked.csv": "no predictions of the scenario blocked"}
    assert {path.name for path in out.iterdir()} == {*index.index, "index.csv", "provenance.json"} - set(absent)
    for name in set(figures) - set(absent):
        pixels = imread(out / name)
        assert pixels.shape[1] > 4 * 50  # four inches
        assert pixels[..., :3].std() > 0.02  # something is drawn
    assert "mmnet (best median R, chosen on these scores); simulated data" in index.shows["figure5.png"]


def test_tables_hold_the_scores_of_the_evaluation(made: tuple[Path, pd.DataFrame], evaluation: Path) -> None:
    scores = pd.read_csv(evaluation / "scores.csv", dtype={"fold": str})
    table = pd.read_csv(made[0] / "table3.csv", dtype={"fold": str}).set_index(["aggregation", "fold", "model"])
    assert set(table.index.get_level_values("fold")) == {"2019", "2020", "all"}
    for place in (("fold", "2020", "mlp_full"), ("mean_of_folds", "all", "mmnet")):
        of = scores[(scores.scenario == "on-site") & (scores.aggregation == place[0]) & (scores.fold == place[1])]
        of = of[of.model == place[2]].set_index("metric")
        for metric in ("pearson_r", "rmse", "bias", "ubrmse"):
            assert table.loc[place, metric] == pytest.approx(of.loc[metric, "median"], rel=1e-4)
            assert table.loc[place, f"{metric}_upper"] == pytest.approx(of.loc[metric, "upper"], rel=1e-4, nan_ok=True)
    assert table.loc[("mean_of_folds", "all", "mmnet"), "published_pearson_r"] == 0.846
    assert np.isnan(table.loc[("fold", "2019", "mmnet"), "published_pearson_r"])


def test_products_stand_beside_the_run(made: tuple[Path, pd.DataFrame]) -> None:
    table = pd.read_csv(made[0] / "table6.csv").set_index(["scenario", "model"])
    assert set(table.index.get_level_values("model")) == {"mmnet", "soil_moisture_smap_l4"}
    assert table.loc[("off-site", "soil_moisture_smap_l4"), "published_rmse"] == 0.0741
    assert table.n_pairs.groupby("scenario").nunique().eq(1).all()
    # The days that the product lacks are lost to Table 6 alone.
    of_models = pd.read_csv(made[0] / "table7.csv").set_index(["scenario", "model"]).n_pairs
    assert table.n_pairs["on-site", "mmnet"] < of_models["on-site", "mmnet"]
    sizes = pd.read_csv(made[0] / "table2.csv")
    assert sizes.test_days[sizes.scenario == "on-site"].sum() == of_models["on-site", "mmnet"]


def test_fusion_is_compared_in_pairs(made: tuple[Path, pd.DataFrame]) -> None:
    table = pd.read_csv(made[0] / "table7.csv").set_index(["scenario", "model"])
    row = table.loc[("on-site", "mlp_full")]
    assert row["rmse_minus_mmnet_lower"] < row["rmse_minus_mmnet"] < row["rmse_minus_mmnet_upper"]
    assert row["rmse_minus_mmnet"] == pytest.approx(0.01 * 0.9, rel=0.3)
    assert np.isnan(table.loc[("on-site", "mmnet"), "rmse_minus_mmnet"])


def test_the_eight_stations_go_from_the_best_to_the_worst(made: tuple[Path, pd.DataFrame], evaluation: Path) -> None:
    table = pd.read_csv(made[0] / "tableS1.csv")
    run = table[table.model == "mmnet"].set_index("number")
    assert list(run.index) == [f"S{k}" for k in range(1, 9)]
    stations = pd.read_csv(evaluation / "stations.csv")
    r = stations[(stations.scenario == "on-site") & (stations.fold == "all") & (stations.model == "mmnet")]
    r = r[r.metric == "pearson_r"].set_index("station")["value"]
    assert (run.station["S1"], run.station["S8"]) == (r.idxmax(), r.idxmin())
    assert run.pearson_r.is_monotonic_decreasing
    assert list(pd.read_csv(made[0] / "tableS2.csv").station.unique()) == list(table.station.unique())


def test_what_cannot_be_drawn_is_named_with_the_reason(
    predictions: dict[str, xr.Dataset], tmp_path: Path, blank_figures: Any
) -> None:
    bare = predictions["on-site"].sel(model=["mlp_full"]).drop_vars(["lat", "lon", "predicted_std"])
    bare["predicted"] = bare.predicted.where(bare.observed.notnull())
    folder = evaluate_series({"on-site": bare}, tmp_path / "e", min_pairs=20)
    with blank_figures():
        out = downscaling_tables(folder, {"on-site": bare}, tmp_path / "out", run="mlp_full")
    index = pd.read_csv(out / "index.csv", keep_default_na=False).set_index("file")
    why = index.absent_because
    assert {name for name in index.index if (out / name).exists()} == {
        "table2.csv",
        "table3.csv",
        "tableS1.csv",
        "figure3.png",
        "figure5.png",
        "figureS2.png",
    }
    assert why["table4.csv"] == "no predictions of the scenario off-site"
    assert why["table6.csv"] == "no product is scored in every fold of a scenario"
    assert why["table7.csv"].startswith("fewer than two of mmnet")
    assert why["figure4.png"] == "the stations have no lat and lon"
    assert why["figure8.png"] == "no feature importances"
    assert why["figure1.png"] == "the stations have no lat and lon"
    assert why["figure9.png"] == "no maps of two days or more"
    assert why["figureS1.png"] == "stations have no lat and lon"
    assert why["figureS3.png"] == "no unobserved day is predicted"
    assert index.shows["figure5.png"].endswith("on-site; mlp_full; simulated data")


def test_wrong_wishes_are_refused(predictions: dict[str, xr.Dataset], evaluation: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(VadoseError, match="not an evaluation of station series"):
        downscaling_tables(tmp_path, predictions, out)
    with pytest.raises(VadoseError, match=r"found \['on-site'\]"):
        downscaling_tables(evaluation, {"on-site": predictions["on-site"]}, out)
    with pytest.raises(VadoseError, match="model 'cru' is not scored in every scenario; choose from"):
        downscaling_tables(evaluation, predictions, out, run="cru")
    absent = FineMaps(maps(), days=("2020-05-02", "2021-05-01"))
    with pytest.raises(VadoseError, match="the maps lack 2021-05-01; they hold 4 days from 2020-05-01"):
        downscaling_tables(evaluation, predictions, out, beside=Beside(maps=absent))
    assert not out.exists()
