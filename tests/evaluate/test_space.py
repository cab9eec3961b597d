"""Maps scored as patterns against a truth grid, beside the coarse field they come from; stations learnt from."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluation import evaluate
from vadose.grid import ease_grid

DAYS = pd.date_range("2020-05-01", periods=70)
ROWS, COLUMNS = 9, 12
SAID = {"weather": "none", "scenario": "all", "layer": "0-10 cm", "dataset": "made up", "simulated": "true"}


def store(model: str, grid: xr.Dataset, values: np.ndarray, **more: str) -> xr.Dataset:
    """Daily maps as a forecast at lead 0."""
    found = grid.assign_coords(init_time=DAYS, lead_time=pd.to_timedelta([0], unit="D"))
    found["soil_moisture"] = ("init_time", "lead_time", "y", "x"), values[:, None].astype(np.float32)
    return found.assign_attrs(grid.attrs | SAID | {"model": model, "causal": "true", **more})


@pytest.fixture(scope="module")
def world() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Truth across four cells of 9 km, a map with errors, and the field of 9 km."""
    rng = np.random.default_rng(0)
    corner = 360 * 40
    pixels = ease_grid("100m").part(slice(corner - 5, corner + 4), slice(corner - 6, corner + 6)).coordinates()
    weather = np.cumsum(rng.normal(0, 0.01, len(DAYS)))[:, None, None] + 0.3
    pattern = 0.03 * rng.normal(size=(ROWS, COLUMNS))
    truth = pixels.assign_coords(time=DAYS)
    truth["soil_moisture"] = ("time", "y", "x"), (weather + pattern).astype(np.float32)
    truth.attrs |= SAID
    shape = (len(DAYS), ROWS, COLUMNS)
    maps = store("mmnet", pixels, weather + 0.6 * pattern + 0.02 * rng.normal(size=shape) + 0.01)
    cells = ease_grid("9km").part(slice(159, 161), slice(159, 161)).coordinates()
    coarse = store("smap_l4", cells, weather + np.array([[0.0, 0.02], [0.01, -0.03]]) + np.zeros((len(DAYS), 2, 2)))
    return truth, maps, coarse


@pytest.fixture(scope="module")
def tables(world, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    truth, maps, coarse = world
    out = evaluate([maps, coarse], truth, out=tmp_path_factory.mktemp("e") / "e", min_pairs=10)
    return {name: pd.read_csv(out / f"{name}.csv") for name in ("scores", "comparisons", "space")}


def test_the_coarse_field_is_scored_on_the_pixels_of_the_map(tables, world) -> None:
    truth, maps, coarse = world
    scores = tables["scores"].set_index(["model", "metric"])
    assert set(scores.n_pairs) == {len(DAYS) * ROWS * COLUMNS}
    repeated = coarse.soil_moisture.values[:, 0].repeat([5, 4], axis=1).repeat([6, 6], axis=2)
    for model, values in (("mmnet", maps.soil_moisture.values[:, 0]), ("smap_l4", repeated)):
        rmse = np.sqrt(((values - truth.soil_moisture.values) ** 2).mean(axis=0))
        assert scores["median"][model, "rmse"] == pytest.approx(np.median(rmse), rel=1e-4)
    compared = tables["comparisons"].set_index(["model", "baseline", "metric"])
    assert compared.n_pairs["mmnet", "smap_l4", "rmse"] == len(DAYS) * ROWS * COLUMNS


def test_patterns_of_days_are_scored_over_all_pixels_and_within_cells(tables, world) -> None:
    truth, maps, _ = world
    space = tables["space"]
    alone = space[space.baseline.isna()].set_index(["model", "over", "metric"])
    assert set(zip(space.n_days, space.n_pixels, space.n_cells, strict=True)) == {(len(DAYS), ROWS * COLUMNS, 4)}
    p, o = maps.soil_moisture.values[:, 0].astype(float), truth.soil_moisture.values.astype(float)
    r = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(p, o, strict=True)])
    assert alone.value["mmnet", "space", "pearson_r"] == pytest.approx(r, rel=1e-4)
    apart = []
    for values in (p, o):
        parts = values.copy()
        for rows in (slice(0, 5), slice(5, None)):
            for columns in (slice(0, 6), slice(6, None)):
                parts[:, rows, columns] -= parts[:, rows, columns].mean(axis=(1, 2), keepdims=True)
        apart.append(parts.reshape(len(DAYS), -1))
    within = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*apart, strict=True)])
    assert alone.value["mmnet", "within 9 km", "pearson_r"] == pytest.approx(within, rel=1e-4)
    rmse = np.sqrt(((apart[0] - apart[1]) ** 2).mean(axis=1)).mean()
    assert alone.value["mmnet", "within 9 km", "rmse"] == pytest.approx(rmse, rel=1e-3)
    # A field of 9 km has no pattern within its cells: its error is the pattern's own deviation.
    assert np.isnan(alone.value["smap_l4", "within 9 km", "pearson_r"])
    own = np.sqrt((apart[1] ** 2).mean(axis=1)).mean()
    assert alone.value["smap_l4", "within 9 km", "rmse"] == pytest.approx(own, rel=1e-3)
    assert set(alone.reset_index().query("over == 'within 9 km'").metric) == {"pearson_r", "rmse"}
    paired = space[space.baseline == "smap_l4"].set_index(["over", "metric"])
    assert paired.value["within 9 km", "rmse"] == pytest.approx(rmse - own, rel=1e-3)
    assert paired.share_better["within 9 km", "rmse"] == 1.0


def test_grids_that_do_not_fit_are_named(world, tmp_path: Path) -> None:
    truth, maps, coarse = world
    away = coarse.drop_vars(["lat", "lon"]).assign_coords(x=coarse.x + 90 * float(coarse.x[1] - coarse.x[0]))
    with pytest.raises(VadoseError, match="covers none of the 9 x 12 cells of the observations"):
        evaluate([maps, away], truth, out=tmp_path / "e", min_pairs=10)
    other = truth.assign_coords(x=truth.x + 3e5, y=truth.y)
    with pytest.raises(VadoseError, match="no cell in common"):
        evaluate([maps], other.drop_vars(["lat", "lon"]), out=tmp_path / "e", min_pairs=10)
    with pytest.raises(VadoseError, match=r"lie outside 0 \.\. 1"):
        evaluate([maps], truth.assign(soil_moisture=truth.soil_moisture * 100), out=tmp_path / "e", min_pairs=10)


def stations_of(truth: xr.Dataset) -> xr.Dataset:
    at = {"y": xr.DataArray([1, 7, 3], dims="station"), "x": xr.DataArray([0, 8, 11], dims="station")}
    found = truth.isel(at).drop_vars(["y", "x", "crs"]).expand_dims(layer=["0-10 cm"])
    return found.assign_coords(station=["N:a", "N:b", "N:c"]).transpose("station", "layer", "time")


def test_stations_learnt_from_are_left_out_and_counted(world, tmp_path: Path) -> None:
    truth, maps, coarse = world
    stations = stations_of(truth)
    learnt = {"N:a": ["2015-01-01", "2019-12-31"], "N:b": ["2015-01-01", "2020-05-31"]}
    knows = maps.assign_attrs(learnt_stations=json.dumps(learnt))
    out = evaluate([knows, coarse], stations, out=tmp_path / "e", min_pairs=10)
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores.n_pairs) == {70 + 39 + 70}
    left = pd.read_csv(out / "left_out.csv").set_index("reason")
    assert left.left_out["station-days that a model has learnt from"] == 31
    allowed = evaluate([knows, coarse], stations, out=tmp_path / "a", min_pairs=10, allow_learnt_days=True)
    assert set(pd.read_csv(allowed / "scores.csv").n_pairs) == {210}
    every = {name: ["2015-01-01", "2020-12-31"] for name in ("N:a", "N:b", "N:c")}
    with pytest.raises(VadoseError, match=r"mmnet: learnt from all 210 station-days .*--allow-learnt-days"):
        evaluate([maps.assign_attrs(learnt_stations=json.dumps(every))], stations, out=tmp_path / "f")
    far = stations.assign_coords(lat=stations.lat + 5)
    with pytest.raises(VadoseError, match="none of the 3 stations lies in a cell"):
        evaluate([maps], far, out=tmp_path / "g")


def test_quantiles_of_maps_are_tested_at_stations(world, tmp_path: Path) -> None:
    truth, maps, coarse = world
    mean = maps.soil_moisture
    ends = xr.concat([mean - 0.05, mean - 0.01, mean, mean + 0.01, mean + 0.05], "quantile")
    sure = maps.assign(soil_moisture_quantile=ends.assign_coords(quantile=[0.05, 0.25, 0.5, 0.75, 0.95]))
    stations = stations_of(truth)
    out = evaluate([sure, coarse], stations, out=tmp_path / "e", min_pairs=10)
    table = pd.read_csv(out / "coverage.csv").set_index(["model", "level"])
    assert table.index.tolist() == [("mmnet", 0.9), ("mmnet", 0.5)]
    error = (mean.values[:, 0] - truth.soil_moisture.values)[:, [1, 7, 3], [0, 8, 11]]
    for level, half in ((0.5, 0.01), (0.9, 0.05)):
        row = table.loc[("mmnet", level)]
        assert row.coverage == pytest.approx((np.abs(error) <= half).mean(), abs=1e-4)
        assert (row.width, row.n_stations, row.n_pairs) == (pytest.approx(2 * half, rel=1e-4), 3, 210)
    plain = evaluate([maps, coarse], stations, out=tmp_path / "f", min_pairs=10)
    assert not (plain / "coverage.csv").exists()
