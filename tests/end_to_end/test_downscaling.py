"""Downscaling from a table of station-days to scores, a report, a map and an outlook."""

import shutil
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from vadose.artefact import provenance
from vadose.cli import main
from vadose.door.datasets import by_day
from vadose.experiments.downscaling import Network, Scenarios, load_downscaling, quick_downscaling
from vadose.experiments.studies.county import study_county
from vadose.grid import ease_grid
from vadose.predict import explain
from vadose.twin.county import build_county

N, DAYS = 10, 1000
TIME = pd.date_range("2018-01-01", periods=DAYS)
EXPERIMENT = """
kind: downscaling
first: 2018-01-01
last: 2029-12-31
scenarios:
  on_site: {years: [2020, 2025], training_years: 2}
  off_site: {folds: 2}
.common: &common
  snapshot: [elevation, latitude, season_sine, soil_moisture_smap_l4]
  series: [precipitation]
  fitting: {epochs: 2, batch_size: 256, rows_per_epoch: 500}
runs:
  mmnet: {model: mmnet, <<: *common}
  long:
    {model: long_mmnet, snapshot: [elevation, soil_moisture_smap_l4], series: [precipitation], days: 40, ends: 0,
     local: true, hyper: {hidden: 8, width: 8, gaussian: true, aggregates: [1, 10]},
     fitting: {epochs: 2, batch_size: 4, sequence: 200, optimiser: adamw, form: crps}}
  aligned: {model: mmnet, <<: *common, align: mmd, align_weight: 0.1}
  trees: {model: trees, <<: *common, hyper: {iterations: 10}}
  climatology: {model: climatology}
ensembles: {both: [long, trees]}
products: [soil_moisture_smap_l4, soil_moisture_smap_hydroblocks]
"""


def vadose(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["vadose", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a table of ten made-up stations whose moisture is an antecedent index, and an experiment."""
    folder = tmp_path_factory.mktemp("downscaling")
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.3, 10, (N, DAYS)).astype(np.float32)
    wet = np.zeros((N, DAYS), np.float32)
    for day in range(1, DAYS):
        wet[:, day] = 0.9 * wet[:, day - 1] + rain[:, day]
    elevation = rng.uniform(0, 2000, N).astype(np.float32)
    moisture = 0.1 + 0.002 * wet + elevation[:, None] * 2e-5
    table = xr.Dataset(
        {
            "soil_moisture": (("station", "time"), moisture),
            "precipitation": (("station", "time"), rain),
            "soil_moisture_smap_l4": (("station", "time"), moisture + rng.normal(0, 0.02, (N, DAYS))),
            "elevation": ("station", elevation),
        },
        coords={
            "station": np.array([f"N:{k}" for k in range(N)], object),
            "time": TIME,
            "network": ("station", np.array(["N"] * N, object)),
            "lat": ("station", np.linspace(38, 40, N)),
            "lon": ("station", np.linspace(-99, -97, N)),
        },
        attrs={"mode": "causal", "simulated": "true", "dataset": "made up"} | provenance(seed=0),
    )
    table.to_zarr(folder / "table.zarr", zarr_format=3, consolidated=False)
    (folder / "tiny.yaml").write_text(EXPERIMENT)
    return folder


@pytest.fixture(scope="module")
def study(place: Path, blank_figures: Any) -> Path:
    # Their figures are drawn in the tests of the paper.
    with pytest.MonkeyPatch.context() as patch, blank_figures():
        command = ("study", place / "tiny.yaml", "--cube", place / "table.zarr", "--out", place / "out")
        assert vadose(patch, *command) == 0
    return place / "out"


def test_every_model_is_scored_on_what_it_did_not_learn_from(study: Path) -> None:
    scores = pd.read_csv(study / "scores.csv")
    assert set(scores.scenario) == {"on-site", "off-site"}
    assert set(scores[scores.scenario == "on-site"].fold) == {"2020", "all"}  # of 2025 there is no day
    assert set(scores.model) == {"mmnet", "long", "aligned", "trees", "climatology", "both"}
    beside = pd.read_csv(study / "products.csv")
    assert set(beside.model) == {*scores.model, "soil_moisture_smap_l4"}
    assert set(beside.days_of) == {"soil_moisture_smap_l4"}  # of the other product there is no value
    n = scores.groupby(["scenario", "fold"]).n_pairs.nunique()
    assert (n == 1).all()
    page = (study / "report.html").read_text()
    assert "SIMULATED" in page
    assert page.count("data:image/png;base64,") >= 5
    assert not (study / "coverage.csv").exists()  # five stations a fold are too few to calibrate 90 % by
    store = xr.open_zarr(study / "predictions" / "on-site.zarr", consolidated=False)
    assert np.isfinite(store.predicted_std.sel(model="long").values[store.fold.values >= 0]).all()
    assert np.isnan(store.predicted.values[:, store.fold.values < 0]).all()
    aligned = pd.read_csv(study / "runs" / "off-site" / "1" / "aligned" / "history.csv")
    assert (aligned.alignment > 0).all()
    joined = store.predicted.sel(model=["long", "trees"]).mean("model", skipna=False)
    np.testing.assert_allclose(store.predicted.sel(model="both"), joined, rtol=1e-6)


def test_a_study_goes_on_where_it_stopped(study: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tables and figures, which are made of what is looked at here, stay as they are.
    monkeypatch.setattr("vadose.experiments.studies.downscaling.downscaling_tables", lambda *_, **__: study / "paper")
    kept, lost = (study / "runs" / "off-site" / "1" / name for name in ("mmnet", "trees"))
    before = (kept / "model.pt").stat().st_mtime_ns
    predictions = xr.open_zarr(study / "predictions" / "off-site.zarr", consolidated=False).predicted.load()
    shutil.rmtree(lost)
    shutil.rmtree(study / "predictions" / "off-site.zarr")
    command = ("study", place / "tiny.yaml", "--cube", place / "table.zarr", "--out", study)
    assert vadose(monkeypatch, *command) == 0
    assert (kept / "model.pt").stat().st_mtime_ns == before
    assert (lost / "estimates.npz").exists()
    again = xr.open_zarr(study / "predictions" / "off-site.zarr", consolidated=False).predicted.load()
    xr.testing.assert_identical(again.drop_attrs(), predictions.drop_attrs())


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (("model: mmnet,", "model: mnet,"), (), "unknown model 'mnet'; did you mean 'mmnet'?"),
        (("iterations: 10", "iteration: 10"), (), "unknown key 'hyper.iteration' of trees; did you mean 'iterations'?"),
        (("folds: 2", "fold: 2"), (), "unknown key 'scenarios.off_site.fold'; did you mean 'folds'?"),
        (("[long, trees]", "[long, tree]"), (), "unknown run 'tree'; did you mean 'trees'?"),
        (("{iterations: 10}", "{iterations: 10}, align: mmd"), (), "align: trees has no two streams"),
        (("season_sine", "ndvi"), (), "no feature ['ndvi']"),
        (
            ("{model: climatology}", "{model: climatology, days: 3, series: [precipitation]}"),
            (),
            "climatology takes no",
        ),
        (("climatology: {model: climatology}", "rows: {model: trees}"), (), "trees needs features of the day"),
        (("kind: downscaling", "kind: downscaling\ndata: own"), (), "'data: own' and 'tables' go together"),
        (("x", "x"), ("--scenario", "blocked"), "unknown scenario ['blocked']"),
        (("x", "x"), ("--profile", "as_printed"), "unknown profile 'as_printed'"),
        (("x", "x"), ("--station-list", "none.txt"), "none.txt: cannot be read as text"),
        (("kind: downscaling", "kind: downscaling\nstation_list: [M:1]"), (), "none of the 1 stations of the list"),
        (
            ("kind: downscaling", "kind: downscaling\nprofiles: {a: {networks: {fitting: {epoch: 3}}}}"),
            (),
            "did you mean 'epochs'",
        ),
    ],
)
def test_a_mistake_is_one_message(
    change: tuple[str, str],
    more: tuple[str, ...],
    message: str,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXPERIMENT.replace(*change))
    command = ("study", wrong, "--cube", place / "table.zarr", "--out", tmp_path / "out", *more)
    assert vadose(monkeypatch, *command) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/predictions/*"))


def county(folder: Path) -> None:
    """Fine elevation, daily rain on 9 km, and a forecast of 9 km moisture, around 39 N, 98 W."""
    fine_grid = ease_grid("100m")
    row, column = (int(v) for v in fine_grid.rowcol(39.0, -98.0))
    grid = fine_grid.part(slice(row, row + 70), slice(column, column + 80))
    rng = np.random.default_rng(1)
    fine = grid.coordinates()
    fine["elevation"] = ("y", "x"), rng.normal(500, 90, grid.shape).astype(np.float32)
    fine.attrs |= {"simulated": "true", "mode": "causal"} | provenance(seed=1)
    fine.to_zarr(folder / "fine.zarr", zarr_format=3, consolidated=False)
    whole = ease_grid("9km")
    row, column = (int(v) for v in whole.rowcol(39.0, -98.0))
    cells = whole.part(slice(row - 1, row + 3), slice(column - 1, column + 3))
    weather = cells.coordinates().assign_coords(time=pd.date_range("2018-05-01", "2020-06-09"))
    rain = rng.gamma(0.3, 10, (weather.sizes["time"], *cells.shape))
    weather["precipitation"] = ("time", "y", "x"), rain.astype(np.float32)
    weather.attrs |= provenance(seed=2)
    weather.to_zarr(folder / "weather.zarr", zarr_format=3, consolidated=False)
    forecast = cells.coordinates().assign_coords(
        init_time=pd.date_range("2020-06-01", periods=2), lead_time=pd.to_timedelta([1, 3], unit="D")
    )
    moisture = np.full((2, 2, *cells.shape), 0.2, np.float32) + np.array([0.0, 0.1], np.float32)[:, None, None, None]
    forecast["soil_moisture"] = ("init_time", "lead_time", "y", "x"), moisture
    forecast.attrs |= provenance(seed=3)
    forecast.to_zarr(folder / "forecast.zarr", zarr_format=3, consolidated=False)


def test_a_forecast_becomes_an_outlook_at_100_m(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    county(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = study / "runs" / "off-site" / "1" / "mmnet"
    command = ("downscale", model, "--fine", "fine.zarr", "--coarse", "weather.zarr", "--coarse", "forecast.zarr")
    when = ("--from", "2020-06-01", "--to", "2020-06-05")
    box = ("--bbox", "-97.97,38.98,-97.95,38.995")
    assert vadose(monkeypatch, *command, *when, "--init", "2020-06-01", *box, "--cog", "maps", "--out", "a.zarr") == 0
    maps = by_day(xr.open_zarr("a.zarr", consolidated=False))
    assert [str(day)[:10] for day in maps.time.values] == ["2020-06-02", "2020-06-04"]
    assert maps.attrs["simulated"] == "true"
    # Rain after the day of issue is analysed here: no forecast that could have been issued.
    assert (maps.attrs["init_time"], maps.attrs["weather"]) == ("2020-06-01", "perfect")
    assert 0 < maps.sizes["y"] < 70
    assert 0 < maps.sizes["x"] < 80
    assert np.isfinite(maps.soil_moisture).all()
    with rasterio.open(next(Path("maps").glob("*2020-06-02.tif"))) as raster:
        np.testing.assert_allclose(raster.read(1), maps.soil_moisture[0], atol=1e-6)
    assert vadose(monkeypatch, *command, *when, "--init", "2020-06-02", *box, "--out", "b.zarr") == 0
    wetter = by_day(xr.open_zarr("b.zarr", consolidated=False))
    assert [str(day)[:10] for day in wetter.time.values] == ["2020-06-03", "2020-06-05"]
    past = ("--init", "2020-06-01", *box, "--past-years")
    assert vadose(monkeypatch, *command, *when, *past, "2018..2019", "--out", "past.zarr") == 0
    lent = by_day(xr.open_zarr("past.zarr", consolidated=False))
    assert lent.attrs["weather"] == "past years 2018, 2019"
    # Of the first valid day rain is not known yet; this network's history ends the day before.
    np.testing.assert_allclose(lent.soil_moisture[0], maps.soil_moisture[0], atol=1e-6)
    assert (lent.soil_moisture_std[1] > 0).all()
    for more, message in (
        ((*when, *past, "2018"), "expected years FIRST..LAST"),
        ((*when, *past, "2018..2020"), "weather of 2020: "),
        (when, "2 days of issue, 2020-06-01 .. 2020-06-02; choose one with --init"),
        ((*when, "--init", "2020-07-01"), "no forecast issued on 2020-07-01"),
        (
            ("--date", "2020-06-10", "--init", "2020-06-01"),
            "forecast is valid on 2020-06-02, 2020-06-04; choose from these",
        ),
        ((*when, "--init", "2020-06-01", "--bbox", "0,0,1,1"), "nothing of the features, which span"),
    ):
        capsys.readouterr()
        assert vadose(monkeypatch, *command, *more, "--out", "c.zarr") == 2
        assert message in capsys.readouterr().err
    assert not Path("c.zarr").exists()


def test_a_simulated_county_is_mapped_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_draws = partial(explain.importances, n_background=50, n_samples=50, draws=4)
    monkeypatch.setattr("vadose.experiments.studies.downscaling.importances", few_draws)
    shortly = partial(build_county, spin_up=40)  # a state of the ground that is soon forgotten
    monkeypatch.setattr("vadose.experiments.studies.county.build_county", shortly)
    few = quick_downscaling(load_downscaling("downscale-county"))
    # The days of their series are fewer: the county is simulated for three months.
    runs = {name: few.runs[name].model_copy(update={"days": 10 if name == "mmnet" else 40}) for name in few.maps}
    held_out = Scenarios(network=Network(held_out=("INSIDE",)))
    changes = {"first": date(2024, 10, 1), "min_pairs": 20, "explained": ("mmnet",), "scenarios": held_out}
    experiment = few.model_copy(update=changes | {"runs": runs})
    page = study_county(experiment, tmp_path, cells=(14, 14), stations=12, mapped=("2024-11-21", "2024-12-31"), every=5)
    assert "SIMULATED" in page.read_text()
    scores = pd.read_csv(tmp_path / "pixels" / "scores.csv")
    assert set(scores.model) == {"mmnet", "long_mmnet"}
    assert set(scores.estimate) == {"maps", "coarse", "maps minus coarse"}
    assert (tmp_path / "pixels" / "maps.png").stat().st_size > 10_000
    outlooks = (
        pd.read_csv(tmp_path / "pixels" / "outlooks.csv")
        .set_index(["lead_days", "over", "metric", "estimate"])
        .sort_index()
    )
    assert set(outlooks.index.get_level_values("estimate")) == {
        "outlook, perfect weather",
        "persistence",
        "analysis",
        "coarse forecast",
    }

    assert set(outlooks.index.get_level_values("lead_days")) == {1, 3, 7, 14, 30}
    rmse = outlooks.value.loc[1, "time", "rmse"]
    assert np.isfinite(rmse).all()
    assert rmse["outlook, perfect weather"] != pytest.approx(rmse.analysis, rel=1e-3)
    maps = xr.open_zarr(tmp_path / "maps" / "long_mmnet.zarr", consolidated=False)
    assert (maps.soil_moisture_std > 0).any()
    weighed = pd.read_csv(tmp_path / "stations" / "importances.csv").groupby(["model", "fold"]).percent.sum()
    assert weighed.to_dict() == pytest.approx({("mmnet", "INSIDE"): 100, ("mmnet", "all"): 100}, abs=0.1)
    assert maps.outside_training.notnull().any()
    of_stations = pd.read_csv(tmp_path / "stations" / "scores.csv")
    assert set(of_stations.fold) == {"INSIDE", "all"}
    assert "soil_moisture_smap_l4" in set(pd.read_csv(tmp_path / "stations" / "products.csv").model)


def test_a_station_is_completed(
    study: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = xr.open_zarr(study / "predictions" / "off-site.zarr", consolidated=False)
    tested = store.station.values[(store.fold.values == 0).any(axis=1)][0]
    model = study / "runs" / "off-site" / "1" / "mmnet"
    command = ("fill-station", place / "table.zarr")
    more = ("--model", model, "--level", "0.8", "--out", tmp_path / "filled")
    assert vadose(monkeypatch, *command, tested, *more) == 0
    series = pd.read_csv(tmp_path / "filled" / "series.csv")
    assert len(series) == DAYS
    assert "observed" in set(series.origin)
    assert (tmp_path / "filled" / "series.png").exists()
    capsys.readouterr()
    assert vadose(monkeypatch, *command, "N:99", *more[:4], "--out", tmp_path / "other") == 2
    assert "no station 'N:99'" in capsys.readouterr().err
    assert vadose(monkeypatch, *command, tested, "--run", "trees", "--out", tmp_path / "other") == 2
    assert "--run trees: expected a network" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
