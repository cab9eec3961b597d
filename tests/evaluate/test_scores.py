import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact.learnt import as_attributes
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.evaluation import collocate, evaluate, leads, paired, samples
from vadose.evaluation.left_out import CELLS, LEARNT, NO_PAIRS, NOT_ISSUED, VALUES
from vadose.evaluation.scores import COLUMNS, STRATA_COLUMNS
from vadose.reports.page import build_report

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
        coords={
            "init_time": days,
            "lead_time": pd.to_timedelta(LEADS, unit="D"),
            "lat": cube.lat,
            "lon": cube.lon,
            "y": cube.y,
            "x": cube.x,
        },
        attrs=attrs | {"model": model, "weather": weather, "scenario": "all", "causal": "true"},
    )


@pytest.fixture
def stores(small_cube: xr.Dataset) -> list[xr.Dataset]:
    return [store_of(small_cube, model, error) for model, error in MODELS.items()]


def run(stores: list[xr.Dataset], observed: xr.Dataset, out: Path, **options: Any) -> pd.DataFrame:
    folder = evaluate(stores, observed, out=out, **{"min_pairs": 20, **options})
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


def test_series_in_a_file_are_scored_as_in_memory(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores[2]["soil_moisture_std"] = xr.full_like(stores[2].soil_moisture, 0.02)
    stores[1].soil_moisture[3, 0, 2, 2] = 7.0
    kept = evaluate(stores, small_cube, out=tmp_path / "a", min_pairs=20)
    monkeypatch.setattr(samples, "IN_MEMORY", 0)
    monkeypatch.setattr(collocate, "_DAYS_AT_ONCE", 7)
    monkeypatch.setattr(leads, "_VALUES_A_CHUNK", 1000)
    from_disk = evaluate(stores, small_cube, out=tmp_path / "b", min_pairs=20)
    for name in ("scores", "strata", "comparisons", "left_out"):
        assert (kept / f"{name}.csv").read_text() == (from_disk / f"{name}.csv").read_text()
    for name in ("pairs", "scores"):
        held, streamed = (xr.open_zarr(of / f"{name}.zarr", consolidated=False).load() for of in (kept, from_disk))
        xr.testing.assert_allclose(held, streamed, rtol=1e-12, atol=0)
    assert held.attrs["inputs"] == streamed.attrs["inputs"]
    left_out = pd.read_csv(kept / "left_out.csv")
    assert left_out[left_out.reason == VALUES].left_out.tolist() == [1]


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
    assert len(table) == 3 * 2 * 2 * 4  # every run minus every other, leads, metrics
    keys = ["lead_days", "metric", "model", "baseline"]
    turned = table.rename(columns={"model": "baseline", "baseline": "model"}).set_index(keys).sort_index()
    straight = table.set_index(keys).sort_index()
    np.testing.assert_allclose(straight["median"], -turned["median"])
    np.testing.assert_allclose(straight["lower"], -turned["upper"])
    assert row["median"] == pytest.approx(-0.05, abs=0.01)
    assert table["lower"].isna().all()  # too short a record
    assert row["share_better"] == 1.0


def station_store(cube: xr.Dataset) -> xr.Dataset:
    """Three stations: two in cells, one between the cells of the lattice."""
    lat, lon = cube.lat.values, cube.lon.values
    places = [(lat[3, 3], lon[3, 3]), (lat[5, 6] + 0.1, lon[5, 6]), (lat[4, 4] + 0.6, lon[4, 4])]
    values = whole(cube)
    moisture = np.stack([values[:, 3, 3], values[:, 5, 6], values[:, 4, 4]])[:, None]
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), moisture)},
        coords={
            "station": ["A", "B", "C"],
            "layer": ["0-10 cm"],
            "time": cube.time.values,
            "lat": ("station", [p[0] for p in places]),
            "lon": ("station", [p[1] for p in places]),
        },
        attrs={"simulated": "true"},
    )


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
        (_without("weather"), {}, r"the attributes weather \('none', .* are missing"),
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


def test_scores_of_other_values_under_the_same_attributes_are_made_anew(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    first = run(stores, small_cube, tmp_path / "e")
    made = (tmp_path / "e" / "provenance.json").stat().st_ino
    run(stores, small_cube, tmp_path / "e")
    assert (tmp_path / "e" / "provenance.json").stat().st_ino == made
    edited = [store.copy(deep=True) for store in stores]
    edited[0]["soil_moisture"] += np.float32(0.1)
    second = run(edited, small_cube, tmp_path / "e")
    bias = [table[table.metric == "bias"].set_index(["model", "lead_days"])["median"] for table in (first, second)]
    assert (bias[1] - bias[0]).round(4).loc[stores[0].attrs["model"]].tolist() == [0.1, 0.1]
    observed = small_cube.assign(soil_moisture=small_cube.soil_moisture + np.float32(0.1)).assign_attrs(
        small_cube.attrs
    )
    third = run(edited, observed, tmp_path / "e")
    assert third[third.metric == "bias"]["median"].to_numpy() == pytest.approx(bias[1].to_numpy() - 0.1, abs=1e-4)


def test_numbers_stay_what_they_were(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    """As written by the version that held all sites at once."""
    table = run(stores, small_cube, tmp_path / "e")
    expected = {
        ("pearson_r", 1): 0.929152,
        ("ubrmse", 1): 0.009790,
        ("bias", 3): 0.000242,
        ("skill_climatology", 3): 0.963504,
    }
    found = table[table.model == "lstm"].set_index(["metric", "lead_days"])
    for key, number in expected.items():
        assert found.loc[key, "median"] == pytest.approx(number, abs=2e-6)


def test_sites_in_blocks_give_what_one_block_gives(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(stores, small_cube, tmp_path / "a")
    monkeypatch.setattr(paired, "_MOMENTS_AT_ONCE", 50 * 6 * 3)
    blocks = run(stores, small_cube, tmp_path / "b")
    pd.testing.assert_frame_equal(whole, blocks, rtol=1e-5, atol=1e-6)
    a, b = (xr.open_zarr(tmp_path / name / "scores.zarr", consolidated=False) for name in "ab")
    xr.testing.assert_allclose(a.lower, b.lower, atol=1e-6)


def test_scores_on_days_learnt_from_say_so_in_every_table(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    stores[2].attrs |= as_attributes(
        {"training": Period("2015-04-01", "2015-04-20"), "gap filler": Period("2015-04-01", "2015-06-15")}
    )
    stores[1].attrs |= as_attributes({"training": Period("2015-04-01", "2015-04-20")})
    evaluate(
        stores,
        small_cube,
        out=tmp_path / "e",
        period=("2015-05-01", "2015-08-01"),
        min_pairs=20,
        allow_learnt_days=True,
    )
    for name in ("scores", "strata", "comparisons"):
        table = pd.read_csv(tmp_path / "e" / f"{name}.csv", keep_default_na=False)
        remarks = {model: set(rows.remarks) for model, rows in table.groupby("model")}
        seen = {"lstm": {"gap filler learnt from 2015-04-01 .. 2015-06-15"}, "persistence": {""}, "climatology": {""}}
        assert remarks == ({} if table.empty else seen)
    page = build_report([tmp_path / "e"], tmp_path / "report.html", title="t").read_text()
    assert page.count("gap filler learnt from 2015-04-01 .. 2015-06-15") == 1


def test_quartiles_are_over_sites(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    table = run(stores, small_cube, tmp_path / "e").set_index(["model", "lead_days", "metric"])
    of_sites = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False).value.sel(
        run="lstm|none|all", lead_days=3, metric="ubrmse"
    )
    row = table.loc[("lstm", 3, "ubrmse")]
    assert (row.q25, row["median"], row.q75) == pytest.approx(tuple(np.percentile(of_sites, [25, 50, 75])), rel=1e-5)


def test_forecasts_with_a_spread_have_crps_and_coverage(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    stores[2]["soil_moisture_std"] = xr.full_like(stores[2].soil_moisture, 0.01)
    table = run(stores, small_cube, tmp_path / "e").set_index(["model", "metric", "lead_days"])["median"]
    assert table["lstm", "crps", 1] == pytest.approx(0.01 / np.sqrt(np.pi), rel=0.05)
    assert table["lstm", "coverage_50", 1] == pytest.approx(0.5, abs=0.05)
    assert table["lstm", "coverage_90", 1] == pytest.approx(0.9, abs=0.05)
    # Of a single value the mean absolute error, 0.8 of the standard deviation of a Gaussian.
    assert table["persistence", "crps", 1] == pytest.approx(0.06 * np.sqrt(2 / np.pi), rel=0.06)
    assert np.isnan(table["persistence", "coverage_90", 1])
    gains = pd.read_csv(tmp_path / "e" / "comparisons.csv")
    assert {"crps", "rmse"} < set(gains.metric)
    assert "spread" in xr.open_zarr(tmp_path / "e" / "pairs.zarr", consolidated=False)


def test_a_sample_without_its_spread_counts_for_none(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    spread = xr.full_like(stores[2].soil_moisture, 0.01)
    spread[:30] = np.nan
    stores[2]["soil_moisture_std"] = spread
    fewer = run(stores, small_cube, tmp_path / "a").n_pairs.sum()
    stores[2]["soil_moisture_std"] = spread.fillna(0.01)
    assert fewer < run(stores, small_cube, tmp_path / "b").n_pairs.sum()


def test_skill_is_against_the_baseline_of_the_same_scenario(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    other = store_of(small_cube, "persistence", 0.02)
    other.attrs["scenario"] = "S2"
    model = store_of(small_cube, "lstm", 0.01)
    model.attrs["scenario"] = "S2"
    table = run([*stores, other, model], small_cube, tmp_path / "e")
    skill = table[(table.metric == "skill_persistence") & (table.model == "lstm")]
    found = skill.groupby("scenario")["median"].first()
    assert found["all"] == pytest.approx(1 - (1 / 6) ** 2, abs=0.03)
    assert found["S2"] == pytest.approx(1 - (1 / 2) ** 2, abs=0.08)


def test_the_observed_variable_is_the_one_the_stores_name(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    cube = small_cube.rename(soil_moisture="soil_moisture_10_40cm")
    cube["soil_moisture"] = cube.soil_moisture_10_40cm * 0 + 9.0
    for store in stores:
        store.attrs["observed"] = "soil_moisture_10_40cm"
    table = run(stores, cube, tmp_path / "e")
    assert table[table.metric == "rmse"]["median"].max() < 0.1
    stores[1].attrs["observed"] = "soil_moisture"
    with pytest.raises(VadoseError, match="climatology is scored against soil_moisture, persistence against"):
        run(stores, cube, tmp_path / "f")
    for store in stores:
        store.attrs["observed"] = "soil_moisture_40_100cm"
    with pytest.raises(VadoseError, match="the cube has no soil_moisture_40_100cm"):
        run(stores, cube, tmp_path / "f")


def as_stations(dataset: xr.Dataset) -> xr.Dataset:
    """Cells of a map as stations along y, x of size 1, off any grid."""
    flat = dataset.isel(y=3).rename(x="station", y="row").drop_vars(["row", "crs"], errors="ignore")
    flat = flat.assign_coords(station=[f"NET:{k}" for k in range(flat.sizes["station"])])
    cells = flat.rename(station="y").expand_dims(x=[0], axis=-1)
    cells = cells.assign_coords(
        station=("y", flat.station.values),
        y=np.arange(flat.sizes["station"]),
        lat=("y", flat.lat.values),
        lon=("y", flat.lon.values),
    )
    return cells.assign_attrs(grid_crs="")


def test_cells_that_are_stations_are_known_by_name(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    cells, cube = [as_stations(store) for store in stores], as_stations(small_cube)
    run(cells, cube, tmp_path / "e")
    scores = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False)
    assert scores.site.values.tolist() == [f"NET:{k}" for k in range(9)]
    assert scores.attrs["observed"] == "stations"
    np.testing.assert_allclose(scores.lat, small_cube.lat[3])
    # And against a store of stations in another order, one of them unknown to the cells.
    moisture = cube.soil_moisture.isel(x=0).transpose("y", "time").values[::-1]
    stations = xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), np.concatenate([moisture, moisture[:1]])[:, None])},
        coords={
            "station": [*(f"NET:{k}" for k in range(8, -1, -1)), "NET:far"],
            "layer": ["0-10 cm"],
            "time": cube.time,
            "lat": ("station", np.zeros(10)),
            "lon": ("station", np.zeros(10)),
        },
        attrs={"dataset": "NET"},
    )
    run(cells, stations, tmp_path / "f")
    again = xr.open_zarr(tmp_path / "f" / "scores.zarr", consolidated=False)
    assert again.attrs["stations_outside"] == "1"
    np.testing.assert_allclose(again.value.sel(site=scores.site), scores.value, atol=1e-6)


def test_classes_of_sites_are_scored_by_hand(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    cover = np.full((8, 9), 10.0)
    cover[:, 5:] = 4
    cover[0] = 13  # in no group
    cube = small_cube.assign(land_cover=(("y", "x"), cover))
    halves = [["north" if row < 4 else "south"] * 9 for row in range(8)]
    evaluate(stores, cube, out=tmp_path / "e", min_pairs=20, strata={"half": halves})
    table = pd.read_csv(tmp_path / "e" / "strata.csv")
    assert list(table.columns) == STRATA_COLUMNS
    table = table[(table.model == "lstm") & (table.lead_days == 3) & (table.metric == "rmse")]
    table = table.set_index(["kind", "class"])
    scores = xr.open_zarr(tmp_path / "e" / "scores.zarr", consolidated=False).load()
    rmse = scores.value.sel(run="lstm|none|all", lead_days=3, metric="rmse").values
    places = [tuple(int(n) for n in str(s).replace("row ", "").split(", column ")) for s in scores.site.values]
    chosen = {
        ("land_cover", "grassland"): [r > 0 and c < 5 for r, c in places],
        ("land_cover", "forest"): [r > 0 and c >= 5 for r, c in places],
        ("half", "north"): [r < 4 for r, _ in places],
    }
    for key, at in chosen.items():
        row, of_class = table.loc[key], rmse[np.array(at)]
        assert row.n_sites == sum(at)
        assert (row.q25, row["median"], row.q75) == pytest.approx(
            tuple(np.percentile(of_class, [25, 50, 75])), rel=1e-5
        )
        assert np.isnan(row["lower"])  # too short a record
    assert scores.stratum.sel(kind="land_cover", site="row 0, column 4").item() == ""


def test_labels_of_another_number_of_sites_are_refused(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(VadoseError, match="strata 'half' has 3 labels; the observations have 72 cells"):
        run(stores, small_cube, tmp_path / "e", strata={"half": ["a", "b", "c"]})


def test_products_have_samples_of_their_own(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    before = run(stores, small_cube, tmp_path / "a")
    rng = np.random.default_rng(0)
    truth = xr.DataArray(
        whole(small_cube), dims=("time", "y", "x"), coords={n: small_cube[n] for n in ("time", "y", "x")}
    )
    seen = xr.DataArray(rng.random(150) < 0.7, dims="time")
    products = {"good": truth + 0.005 * rng.normal(size=truth.shape), "poor": (truth + 0.03).where(seen)}
    after = run(stores, small_cube, tmp_path / "b", products=products, min_pairs=15)
    assert after.n_pairs.sum() >= before.n_pairs.sum()
    table = pd.read_csv(tmp_path / "b" / "products.csv")
    assert list(table.columns) == STRATA_COLUMNS
    table = table[table["kind"] == "all"]
    assert table.n_pairs.nunique() == 1
    assert table.n_pairs.iloc[0] < after.n_pairs.iloc[0]
    found = table.set_index(["model", "metric"])
    assert found.loc[("poor", "bias"), "median"] == pytest.approx(0.03, abs=1e-6)
    assert found.loc[("good", "rmse"), "median"] == pytest.approx(0.005, rel=0.1)
    assert found.loc[("lstm", "rmse"), "median"] == pytest.approx(0.01, rel=0.1)
    assert found.loc["good"].weather.eq("analysis").all()
    assert found.loc["good"].lead_days.eq(0).all()
    assert found.loc["lstm"].lead_days.eq(1).all()
    with pytest.raises(VadoseError, match="product good: lacks 54 cells"):
        run(stores, small_cube, tmp_path / "c", products={"good": truth.isel(y=slice(2))})
    with pytest.raises(VadoseError, match=r"product good: .* values of soil_moisture lie outside"):
        run(stores, small_cube, tmp_path / "d", products={"good": truth * 100})
    with pytest.raises(VadoseError, match=r"product mine: .* values of soil_moisture lie outside"):
        run(stores, small_cube, tmp_path / "f", products={"mine": (truth * 100).rename("swi")})
    percent = (products["good"] * 100).rename("swi").assign_attrs(units="percent")
    run(stores, small_cube, tmp_path / "g", products=products | {"good": percent}, min_pairs=15)
    pd.testing.assert_frame_equal(*(pd.read_csv(tmp_path / name / "products.csv") for name in ("g", "b")))
    products["poor"][100, 1, 2] = -9999.0
    run(stores, small_cube, tmp_path / "e", products=products, min_pairs=15)
    left_out = pd.read_csv(tmp_path / "e" / "left_out.csv")
    assert left_out[left_out.model == "poor"].left_out.tolist() == [1]


def turned(data: xr.Dataset, seed: int) -> xr.Dataset:
    """The same data with axes in another order, and days, rows, columns, leads or stations in another order."""
    rng = np.random.default_rng(seed)
    moved = data.transpose(*rng.permutation(list(data.dims)))
    return moved.isel({axis: rng.permutation(size) for axis, size in data.sizes.items()})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("of", ["cells", "stations"])
def test_the_order_of_any_axis_of_any_store_does_not_matter(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path, seed: int, of: str
) -> None:
    observed = small_cube if of == "cells" else station_store(small_cube)
    straight = run(stores, observed, tmp_path / "a", cube=small_cube)
    others = [turned(store, seed + n) for n, store in enumerate(stores)]
    table = run(others, turned(observed, seed), tmp_path / "b", cube=turned(small_cube, seed))
    pd.testing.assert_frame_equal(straight, table)
    for name in ("strata", "comparisons", "left_out"):
        one, two = ((tmp_path / folder / f"{name}.csv").read_text() for folder in "ab")
        assert one == two


def test_labels_follow_their_cells(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    labels = np.where(small_cube.x > -1.2e7, "east", "west")
    rows = []
    for cube, of_cells in ((small_cube, labels), (small_cube.isel(x=slice(None, None, -1)), labels[::-1])):
        folder = tmp_path / f"{len(rows)}"
        run(stores, cube, folder, strata={"half": np.broadcast_to(of_cells, (8, 9)).ravel().tolist()})
        rows.append(pd.read_csv(folder / "strata.csv"))
    pd.testing.assert_frame_equal(*rows)


def test_a_crop_is_scored_on_the_cells_in_common(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    part = {"y": slice(2, 6), "x": slice(3, 9)}
    said: list[str] = []
    crop = run(stores, small_cube.isel(part), tmp_path / "a", progress=lambda what, share: said.append(what))
    everywhere = run([store.isel(part) for store in stores], small_cube.isel(part), tmp_path / "b")
    pd.testing.assert_frame_equal(crop, everywhere)
    left_out = pd.read_csv(tmp_path / "a" / "left_out.csv", keep_default_na=False)
    assert left_out[["model", "reason", "left_out"]].values.tolist() == [[m, CELLS, 48] for m in MODELS]
    assert f"a, left out of lstm (none, all), {CELLS}, 48" in said
    other = small_cube.assign_coords(x=small_cube.x + 5e6).drop_vars(["lat", "lon"])
    with pytest.raises(VadoseError, match=r"no cell in common \(.* 8 x 9 cells with y"):
        run(stores, other, tmp_path / "c")


def test_a_model_that_is_left_out_shortens_no_days(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path) -> None:
    few = stores[2].isel(init_time=slice(40, 50)).assign_attrs(model="few")
    table, alone = (run(given, small_cube, tmp_path / str(len(given))) for given in ([*stores, few], stores))
    pd.testing.assert_frame_equal(table, alone)
    left_out = pd.read_csv(tmp_path / "4" / "left_out.csv")
    assert left_out[left_out.reason == NO_PAIRS].model.tolist() == ["few", "few"]
    # Of days of which it has enough it shortens those of all.
    part = stores[2].isel(init_time=slice(40, 80)).assign_attrs(model="part")
    assert run([*stores, part], small_cube, tmp_path / "part").n_pairs.max() < alone.n_pairs.max()


def test_what_is_left_out_is_named(stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path) -> None:
    weekly = stores[2].isel(init_time=slice(None, None, 7)).assign_attrs(model="weekly")
    said: list[str] = []
    table = run([*stores, weekly], small_cube, tmp_path / "e", progress=lambda what, share: said.append(what))
    assert "weekly" not in set(table.model)
    left_out = pd.read_csv(tmp_path / "e" / "left_out.csv", keep_default_na=False)
    rows = left_out[left_out.model == "weekly"]
    assert rows.reason.tolist() == [NO_PAIRS, NO_PAIRS, NOT_ISSUED]
    assert (rows.found[:2].astype(int) < 20).all()
    assert rows.left_out.tolist() == [1, 1, 85]
    assert any("weekly" in line and "20 wanted, at leads of 1, 3 days" in line for line in said)


@pytest.mark.parametrize("wrong", [-9999.0, np.inf, 30.0])
def test_values_that_are_no_moisture_are_refused_or_counted(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path, wrong: float
) -> None:
    values = small_cube.soil_moisture.values.copy()
    seen = np.flatnonzero(np.isfinite(values.ravel()))
    values.ravel()[seen[:2]] = wrong
    run(stores, small_cube.assign(soil_moisture=(("time", "y", "x"), values)), tmp_path / "e")
    left_out = pd.read_csv(tmp_path / "e" / "left_out.csv")
    assert left_out[left_out.reason == VALUES].left_out.tolist() == [2]
    values.ravel()[seen[:200]] = wrong
    with pytest.raises(VadoseError, match=r"200 of .* values of soil_moisture lie outside"):
        run(stores, small_cube.assign(soil_moisture=(("time", "y", "x"), values)), tmp_path / "f")
    stores[1]["soil_moisture"] = stores[1].soil_moisture * 100
    with pytest.raises(VadoseError, match=r"forecasts 2: .* values of soil_moisture lie outside"):
        run(stores, small_cube, tmp_path / "g")


def test_observations_and_forecasts_in_percent_are_converted(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    straight = run(stores, small_cube, tmp_path / "a")
    percent = {"soil_moisture": (small_cube.soil_moisture * 100).assign_attrs(units="vol %")}
    stores[0]["soil_moisture"] = (stores[0].soil_moisture * 100).assign_attrs(units="%")
    pd.testing.assert_frame_equal(straight, run(stores, small_cube.assign(percent), tmp_path / "b"), rtol=1e-3)


def test_days_a_model_learnt_from_are_scored_on_demand_alone(
    stores: list[xr.Dataset], small_cube: xr.Dataset, tmp_path: Path
) -> None:
    stores[2].attrs |= as_attributes({"training": Period("2015-01-01", "2015-04-30")})
    with pytest.raises(VadoseError, match=r"lstm: training learnt from 2015-01-01 .. 2015-04-30, and it is scored on"):
        run(stores, small_cube, tmp_path / "a")
    run(stores, small_cube, tmp_path / "a", allow_learnt_days=True)
    left_out = pd.read_csv(tmp_path / "a" / "left_out.csv", keep_default_na=False)
    assert left_out[["model", "reason", "left_out"]].values.tolist() == [["lstm", LEARNT, 9]]
    assert xr.open_zarr(tmp_path / "a" / "scores.zarr", consolidated=False).attrs["learnt_days"] == "lstm: 9"
    run(stores, small_cube, tmp_path / "b", period=("2015-05-01", "2015-07-30"))
