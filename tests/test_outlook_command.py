"""The outlook of any place: the command against the simulated data centres, its rules by themselves, and bad input."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from vadose import outlooking
from vadose.cli import app
from vadose.errors import VadoseError
from vadose.models.land_surface import Blend, LandSurface
from vadose.outlooking import weather
from vadose.predict.outlook import area, chains
from vadose.predict.outlook.moisture import LAYERS, Networks
from vadose.predict.outlook.where import place_at, places_in, region_of
from vadose.samples.land_surface import DAILY, EVIDENCE, FIXED, drivers
from vadose.twin.data_centre import DataCentre

NOON = datetime(2026, 11, 30, 12)
FAST = ["--members", "1", "--forecast-days", "2", "--days", "14"]


def weather_of(first: str, last: str, places: int = 1, seed: int = 0) -> xr.Dataset:
    days, random = pd.date_range(first, last), np.random.default_rng(seed)
    season = np.sin(2 * np.pi * (days.day_of_year.to_numpy() - 105) / 365.25)[:, None] * np.ones(places)
    wet = random.random((len(days), 1)) < 0.27
    values = {
        "precipitation": wet * random.exponential(9.0, (len(days), 1)) * np.ones(places),
        "air_temperature_max": 293 + 13 * season + random.normal(size=(len(days), 1)),
        "air_temperature_min": 281 + 13 * season,
        "relative_humidity": 60.0 + 20 * wet + 0 * season,
        "shortwave_radiation": 200 + 100 * season,
    }
    fields = {name: (("time", "place"), of.astype(np.float32)) for name, of in values.items()}
    return xr.Dataset(
        fields, {"time": days, "lat": ("place", np.full(places, 39.1)), "lon": ("place", np.full(places, -96.6))}
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that have learnt nothing."""
    torch.manual_seed(0)
    network = LandSurface(len(DAILY), len(FIXED), hidden=8)
    made = drivers(weather_of("2020-01-01", "2020-12-31", 2).transpose("place", "time"), xr.Dataset())
    batch = torch.from_numpy(made.daily), torch.nan_to_num(torch.from_numpy(made.fixed))
    network.fit_normalisation([(batch, 0.25 + 0.1 * torch.rand(2, 366, 3))])
    scores = {layer: {"r": 0.8, "rmse": 0.05, "ubrmse": 0.03} for layer in LAYERS}
    path = tmp_path_factory.mktemp("weights") / "trial.safetensors"
    Networks((network,), Blend(len(EVIDENCE)), {"headline": "trial", "scores": scores}).save(path)
    return path


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Iterator[list[str]]:
    """Options with which an outlook asks the simulated data centres, four years of weather being the past."""
    folder = tmp_path_factory.mktemp("outlook")
    with DataCentre(folder / "centre", now=NOON) as centre, pytest.MonkeyPatch.context() as patch:
        for name, address in centre.environment().items():
            patch.setenv(name, address)
        patch.setattr(weather, "FIRST", "2022-06-01")
        patch.setattr(outlooking, "NOW", NOON)
        patch.setattr(chains, "REFERENCE", (2023, 2025))
        yield ["outlook", "--cache", str(folder / "cache"), "--networks", str(weights), *FAST]


@pytest.fixture(scope="module")
def printed(call: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp("out")
    result = CliRunner().invoke(app, [*call, "--at", "39.10,-96.60", "--out", str(out)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.exception
    return result.output, out


def test_an_outlook_prints_draws_and_stores(printed: tuple[str, Path]) -> None:
    text, out = printed
    for told in (
        "Riley, KS (39.10 N, 96.60 W), 2026-11-30 - SIMULATED DATA",
        "0-10 cm",
        "40-100 cm",
        "+14 d",
        "gridMET",
        "not corrected: `vadose outlook --correct` fetches the record of past runs",
    ):
        assert told in text
    assert "1 members of the ensemble up to 2026-12-01, then 3 past years" in text
    assert (out / "riley_ks.png").stat().st_size > 50_000
    table = pd.read_csv(out / "outlook.csv")
    assert len(table) == 3 * 15
    quantiles = table[["q05", "q25", "q50", "q75", "q95"]].to_numpy()
    assert (np.diff(quantiles, axis=1) > 0).all()
    with xr.open_zarr(out / "outlook.zarr") as store:
        assert store.soil_moisture.dims == ("init_time", "lead_time", "layer", "y", "x")
        assert str(store.station.values[0]) == "Riley, KS"
        assert (store.attrs["simulated"], store.attrs["corrected"]) == ("true", "false")
        assert store.recent_soil_moisture.sizes["time"] == 180
        classes = store.drought_class.values
        worse = store.drought_probability.values
    assert np.isin(classes, [-1, 0, 1, 2, 3, 4]).all()
    assert ((worse >= 0) & (worse <= 1)).all()
    assert (np.diff(worse, axis=3) <= 1e-6).all()


def test_what_was_fetched_serves_offline_as_json(call: list[str], printed: tuple[str, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*call, "--at", "39.10,-96.60", "--offline", "--json", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    assert (told["issued"], told["sources"]["offline"]) == ("2026-11-30", True)
    rows = told["places"][0]["layers"]["10-40 cm"]
    table = pd.read_csv(printed[1] / "outlook.csv")
    assert [row["q50"] for row in rows] == table[table.layer == "10-40 cm"].q50.tolist()


def test_an_own_sensor_is_taken_into_account(call: list[str], printed: tuple[str, Path], tmp_path: Path) -> None:
    days = pd.date_range("2026-09-01", "2026-11-20")
    mine, out = tmp_path / "mine.csv", tmp_path / "out"
    level = 0.2 + 0.02 * np.sin(np.arange(len(days)))
    pd.DataFrame({"date": days, "vwc_5cm (m3/m3)": level, "battery": 12.0}).to_csv(mine, index=False)
    here = ["--at", "39.10,-96.60", "--offline", "--out", str(out)]
    result = CliRunner().invoke(app, [*call, *here, "--sensor", str(mine)])
    assert result.exit_code == 0, result.exception
    assert "sensor: 0-10 cm 81 days, 10-40 cm 0 days, 40-100 cm 0 days, the newest 2026-11-20" in result.output
    assert "sensor: columns not used: battery" in result.output
    assert "Trust: own sensor, 0-10 cm, 74 days: without the sensor R " in " ".join(result.output.split())
    with xr.open_zarr(out / "outlook.zarr") as store:
        np.testing.assert_allclose(store.recent_soil_moisture_observed[0].dropna("time").squeeze(), level, rtol=1e-5)
    pd.DataFrame({"date": days, "vwc_5cm (psi)": level}).to_csv(mine, index=False)
    with pytest.raises(VadoseError, match="no column is soil moisture for certain"):
        raise CliRunner().invoke(app, [*call, *here, "--sensor", str(mine)]).exception or AssertionError


def test_a_box_has_maps_geotiffs_and_counties(call: list[str], printed: tuple[str, Path], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*call, "--bbox=-96.65,39.08,-96.5,39.18", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.exception
    assert {"counties.csv", "outlook.zarr"} <= {path.name for path in tmp_path.iterdir()}
    import rasterio

    folder = tmp_path / "geotiff" / "0_10_cm"
    assert {path.name for path in folder.glob("drought_class*.tif")}
    raster = folder / "soil_moisture_2026-11-30.tif"
    with xr.open_zarr(tmp_path / "outlook.zarr") as store, rasterio.open(raster) as of:
        assert of.crs.to_epsg() == 4326
        band = of.descriptions.index("soil_moisture, lead 7 d, 2026-12-07") + 1
        np.testing.assert_array_equal(of.read(band), store.soil_moisture[0, 1, 0])
        np.testing.assert_allclose(of.xy(0, 0), (store.x[0], store.y[0]), atol=1e-6)
        assert store.soil_moisture.notnull().all()
    counties = pd.read_csv(tmp_path / "counties.csv", dtype={"code": str})
    assert set(counties.columns) >= {"code", "area", "layer", "lead_days", "mean", "percentile", "share_d0", "share_d4"}


def test_past_years_like_the_ensembles_end_go_on_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "REFERENCE", (1991, 2020))
    past = weather_of("1990-01-01", "2021-06-01", 2)
    # The member's weather is that of 2003, so that year is likest.
    same = past.sel(time=slice("2003-06-02", "2003-06-18"))
    ahead = same.assign_coords(time=pd.date_range("2021-06-02", periods=17)).expand_dims("member")
    last = pd.Timestamp("2021-07-01")
    plan = chains.plan_chains(past, ahead, last)
    assert (plan.of_ensemble, len(plan.days), len(set(plan.year))) == (17, 30, 30)
    weights = chains._likeness(past, ahead.isel(time=slice(2, 17)), range(1991, 2021))
    assert int(weights[0].argmax()) == 2003 - 1991
    woven = chains.chains(past, ahead, plan)
    one = list(plan.year).index(2010)
    expected = past.precipitation.sel(time=slice("2010-06-19", "2010-07-01")).values
    np.testing.assert_array_equal(woven.precipitation[one, 17:], expected)
    np.testing.assert_array_equal(woven.precipitation[one, :17], ahead.precipitation[0])
    alone = chains.plan_chains(past, None, last)
    assert alone.year.tolist() == list(range(1991, 2021))
    assert "no weather forecast was used" in alone.told()
    with pytest.raises(VadoseError, match="two or more are needed"):
        chains.plan_chains(past.sel(time=slice("2020-01-01", None)), None, last)
    with pytest.raises(VadoseError, match="begins on 2021-06-03, expected 2021-06-02"):
        chains.plan_chains(past, ahead.isel(time=slice(1, None)), last)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "-96.6,39.1"], r"seem to be swapped; give 39.1,-96.6"),
        (["--at", "39.1,96.6"], r"longitudes west are negative; give 39.1,-96.6"),
        (["--at", "52.5,13.4"], r"outside the conterminous United States"),
        (["--at", "36.0,-70.0"], r"in the sea"),
        (["--at", "39.1"], r"expected 'LAT,LON'"),
        (["--at", "a,b"], r"expected 'LAT,LON'"),
        (["--at", "39.1,-96.6", "--county", "Riley, KS"], r"at and county are given"),
        ([], r"give --at, --county"),
        (["--county", "Rily, KS"], r"did you mean 'Riley, KS'"),
        (["--county", "Honolulu, HI"], r"lies outside the conterminous"),
        (["--state", "Kansaz"], r"did you mean 'Kansas'"),
        (["--bbox=-96,39,-97,40"], r"is empty; expected west,south"),
        (["--bbox=5,50,6,51"], r"lies outside the conterminous"),
        (["--bbox=-96.61,39.11,-96.6,39.12"], r"no centre of a cell"),
        (["--points", "nowhere.csv"], r"nowhere.csv: no such file"),
        (["--at", "39.1,-96.6", "--days", "31"], r"31 days ahead; expected 1 to 30"),
        (["--at", "39.1,-96.6", "--networks", "nowhere.safetensors"], r"nowhere.safetensors"),
        (["--at", "39.1,-96.6", "--offline"], r"offline"),
        (["--county", "Riley, KS", "--sensor", "my.csv"], r"an own sensor is for places"),
    ],
)
def test_a_wrong_call_says_what_to_do(options: list[str], message: str, weights: Path, tmp_path: Path) -> None:
    own = [] if "--networks" in options else ["--networks", str(weights)]
    own += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["outlook", *options, *own])
    with pytest.raises(VadoseError, match=message) as error:
        raise result.exception or AssertionError(result.output)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a table"),
        ("name,lat,lon\n", "no row"),
        ("name,breite,lon\nhome,39.1,-96.6\n", "no column of lat; found name, breite, lon"),
        ("name,lat,lon\nhome,39.1,-96.6\nthere,x,-96\n", "row 2: could not convert"),
        ("name,lat,lon\nhome,-96.6,39.1\n", r"row 1: place -96.6, 39.1 \(home\): .* swapped"),
    ],
)
def test_a_table_of_places_that_cannot_be_read_says_why(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "farms.csv"
    path.write_text(text)
    with pytest.raises(VadoseError, match=message):
        places_in(path)


def test_places_have_names_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "farms.csv"
    path.write_text("Farm;Latitude;Longitude\nhome;39.1;-96.6\nhome;39.2;-96.6\n")
    assert [place.name for place in places_in(path)] == ["home", "home #2"]
    assert str(place_at(40.0, -100.0)) == "Hitchcock, NE (40.00 N, 100.00 W)" or place_at(40.0, -100.0).name
    cells = area.Cells.of(region_of(county="Riley, KS"))
    inside = cells.share.sum() * area.STEP**2
    assert inside == pytest.approx(0.1675, abs=1e-3)


def test_the_usual_days_ahead_are_those_that_the_newest_run_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    from vadose.download.roles import Access, ahead

    asked: dict[str, Any] = {}
    monkeypatch.setattr("vadose.download.roles.weather_ahead", lambda where, **more: asked.update(more))
    access = Access(now=NOON)
    weather.forecast_of([(39.1, -96.6)], outlooking.Issue(NOON.date(), date(2026, 11, 28)), outlooking.Ahead(), access)
    last = asked["first"] + timedelta(days=asked["days"] - 1)
    assert (asked["first"], last) == (date(2026, 11, 29), date(2026, 12, 14))
    assert next(ahead._runs(asked["first"], last, access)).day == NOON.date()
    assert next(ahead._runs(asked["first"], last + timedelta(days=1), access)).day < NOON.date()
