import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.evaluate import evaluate
from vadose.evaluate.scores import COLUMNS

LEADS = (1, 3)
MODELS = {"persistence": 0.06, "climatology": 0.05, "lstm": 0.01}


def whole(cube: xr.Dataset) -> np.ndarray:
    """The moisture of the cube without gaps."""
    values = cube.soil_moisture.values
    flat = pd.DataFrame(values.reshape(len(values), -1)).ffill().bfill().to_numpy()
    return flat.reshape(values.shape)


def store_of(cube: xr.Dataset, model: str, error: float, weather: str = "none") -> xr.Dataset:
    """The truth of a made-up cube, later by each lead, with errors."""
    rng = np.random.default_rng(len(model))
    days = cube.time.values[20:120]
    truth = whole(cube)
    values = np.stack([truth[20 + lead : 120 + lead] for lead in LEADS], axis=1)
    values = values + error * rng.normal(size=values.shape)
    attrs = {key: cube.attrs[key] for key in ("cell_size", "grid_step", "grid_crs", "dataset", "layer", "simulated")}
    return xr.Dataset(
        {"soil_moisture": (("init_time", "lead_time", "y", "x"), values.astype(np.float32))},
        coords={"init_time": days, "lead_time": pd.to_timedelta(LEADS, unit="D"), "lat": cube.lat, "lon": cube.lon,
                "y": cube.y, "x": cube.x},
        attrs=attrs | {"model": model, "weather": weather, "scenario": "all", "causal": "true"},
    )  # fmt: skip


@pytest.fixture
def stores(small_cube: xr.Dataset) -> list[xr.Dataset]:
    return [store_of(small_cube, model, error) for model, error in MODELS.items()]


def run(stores: list[xr.Dataset], observed: xr.Dataset, out: Path, **options: Any) -> pd.DataFrame:
    folder = evaluate(stores, observed, out=out, **{"min_pairs": 20, "replicates": 50, **options})
    return pd.read_csv(folder / "scores.csv")


def test_the_table_is_tidy_and_right(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    table = run(stores, small_cube, tmp_path / "e")
    assert list(table.columns) == COLUMNS
    assert set(table.metric) == {
        "pearson_r",
        "rmse",
        "bias",
        "ubrmse",
        "skill_persistence",
        "skill_climatology",
    }
    assert len(table) == 3 * 2 * 6
    assert (table.n_sites == 70).all()
    rmse = table[table.metric == "rmse"].set_index(["model", "lead_days"])["median"]
    assert rmse["lstm", 1] == pytest.approx(0.01, rel=0.1)
    skill = table[(table.metric == "skill_persistence") & (table.model == "lstm")]["median"]
    assert skill.values == pytest.approx(1 - (0.01 / 0.06) ** 2, abs=0.02)
    known = table.dropna(subset=["lower"])
    assert (known["lower"] <= known["upper"]).all()


def test_one_site_by_hand(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    run(stores, small_cube, tmp_path / "e")
    scores = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False)
    site = scores.isel(site=5)
    row, column = (int(word) for word in str(site.site.values).replace("row ", "").split(", column "))
    forecast = stores[2].soil_moisture[:, 1, row, column]
    observed = small_cube.soil_moisture[:, row, column].sel(time=forecast.init_time.values + np.timedelta64(3, "D"))
    known = np.isfinite(observed.values)
    error = forecast.values[known] - observed.values[known]
    found = site.sel(run="lstm|none|all", lead_days=3)
    assert int(found.pairs) == known.sum()
    assert float(found.value.sel(metric="rmse")) == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    expected = np.corrcoef(forecast.values[known], observed.values[known])[0, 1]
    assert float(found.value.sel(metric="pearson_r")) == pytest.approx(expected, abs=1e-5)


def test_a_sample_one_model_lacks_counts_for_none(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    before = run(stores, small_cube, tmp_path / "a")
    stores[2].soil_moisture[:30] = np.nan
    after = run(stores, small_cube, tmp_path / "b")
    n = after.groupby(["model", "lead_days"]).n_pairs.first()
    assert n.groupby("lead_days").nunique().eq(1).all()
    assert n.sum() < before.groupby(["model", "lead_days"]).n_pairs.first().sum()


def test_only_valid_days_of_the_period_count(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    run(stores, small_cube, tmp_path / "e", period=("2015-06-01", "2015-07-10"), min_pairs=5)
    pairs = xr.open_zarr(tmp_path / "e" / "pairs.zarr", consolidated=False)
    assert str(pairs.time.values[0])[:10] == "2015-06-01"
    assert str(pairs.time.values[-1])[:10] == "2015-07-10"


def test_differences_are_paired(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    run(stores, small_cube, tmp_path / "e")
    table = pd.read_csv(tmp_path / "e" / "comparisons.csv")
    row = table[(table.model == "lstm") & (table.baseline == "persistence") & (table.metric == "rmse")].iloc[0]
    assert row["median"] == pytest.approx(-0.05, abs=0.01)
    assert row["upper"] < 0
    assert row["share_better"] == 1.0


def station_store(cube: xr.Dataset) -> xr.Dataset:
    """Three stations: two in cells, one between the cells of the lattice."""
    lat, lon = cube.lat.values, cube.lon.values
    places = [(lat[3, 3], lon[3, 3]), (lat[5, 6] + 0.1, lon[5, 6]), (lat[4, 4] + 0.6, lon[4, 4])]
    values = whole(cube)
    moisture = np.stack([values[:, 3, 3], values[:, 5, 6], values[:, 4, 4]])[:, None]
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), moisture)},
        coords={"station": ["A", "B", "C"], "layer": ["0-10 cm"], "time": cube.time.values,
                "lat": ("station", [p[0] for p in places]), "lon": ("station", [p[1] for p in places])},
        attrs={"simulated": "true"},
    )  # fmt: skip


def test_stations_are_scored_against_the_cell_they_lie_in(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    table = run(stores, station_store(small_cube), tmp_path / "e")
    assert set(table.dataset) == {"stations"}
    assert set(table.n_sites) == {2}
    scores = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False)
    assert scores.site.values.tolist() == ["A", "B"]
    assert scores.attrs["stations_outside"] == "1"
    found = scores.value.sel(run="lstm|none|all", lead_days=1, metric="rmse")
    np.testing.assert_allclose(found.values, 0.01, rtol=0.3)


def _without(attribute: str) -> Any:
    def act(stores: list[xr.Dataset]) -> None:
        del stores[1].attrs[attribute]

    return act


def _doubled(stores: list[xr.Dataset]) -> None:
    stores[1].attrs["model"] = "persistence"


def _other_layer(stores: list[xr.Dataset]) -> None:
    stores[1].attrs["layer"] = "10-40 cm"


def _other_leads(stores: list[xr.Dataset]) -> None:
    stores[1] = stores[1].isel(lead_time=[0])


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (_without("weather"), {}, r"lacks the attributes \['weather'\]"),
        (_doubled, {}, "two stores are of"),
        (_other_layer, {}, "climatology is of layer '10-40 cm'"),
        (_other_leads, {}, "differ in lead_time"),
        (lambda s: None, {"period": ("2019-01-01", "2019-12-31")}, "no day within 2019-01-01"),
        (lambda s: None, {"min_pairs": 500}, r"no site has 500 pairs .* lower --min-pairs"),
    ],
)
def test_stores_that_do_not_fit_are_refused(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path, damage: Any, options: Any, message: str
) -> None:
    damage(stores)
    with pytest.raises(VadoseError, match=message):
        run(stores, small_cube, tmp_path / "e", **options)
    assert not list(tmp_path.iterdir())


def test_stations_elsewhere_and_other_layers_are_refused(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    stations = station_store(small_cube)
    with pytest.raises(VadoseError, match="none of the 3 stations lies in a cell"):
        run(stores, stations.assign_coords(lat=stations.lat - 40), tmp_path / "e")
    with pytest.raises(VadoseError, match="no layer '0-10 cm'"):
        run(stores, stations.assign_coords(layer=["40-100 cm"]), tmp_path / "e")


def test_an_evaluation_says_what_it_was_made_from(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    run(stores, small_cube, tmp_path / "e")
    attrs = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False).attrs
    assert attrs["simulated"] == "true"
    assert [p["model"] for p in json.loads(attrs["inputs"])["predictions"]] == list(MODELS)
