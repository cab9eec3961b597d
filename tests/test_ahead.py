"""Weather forecasts take the place of analysed weather after the day of issue, and of nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

from vadose.cli import app
from vadose.cube.ahead import with_weather_ahead
from vadose.door.days import Period
from vadose.errors import VadoseError
from vadose.grid import grid_of, raster_coordinates
from vadose.models.inputs import Channels
from vadose.predict.forecast import forecast, weather_ahead
from vadose.products.weather_forecast import daily_weather_forecast
from vadose.resample import resample
from vadose.samples.windows import Samples
from vadose.training.forecasters import Optimisation, Plan, train
from vadose.twin.granules.weather_forecast import write_weather_forecast
from vadose.twin.truth import example
from vadose.variables import describe

ISSUE, FIRST = "2015-08-18", "2015-08-19"
RAIN = ("precipitation",)
Field = tuple[float, float, float, float]
"""Value at 40 N, 100 W on the first day, and its change a degree north, a degree east, a day."""
RAINY, WARM = (30.0, 0.5, -0.2, 1.0), (285.0, -0.5, 0.25, 0.1)


def linear(field: Field, lat: np.ndarray, lon: np.ndarray, days: int) -> np.ndarray:
    start, north, east, later = field
    return start + north * (lat - 40) + east * (lon + 100) + later * np.arange(days)[:, None, None]


def foretold(fields: dict[str, Field], days: int = 10, first: str = FIRST, shift: float = 0.0) -> xr.Dataset:
    """A run on a grid of half a degree, fields that change linearly."""
    lat, lon = np.arange(60.0, 20.0, -0.5), np.arange(-130.0 + shift, -60.0 + shift, 0.5)
    dataset = raster_coordinates("EPSG:4326", (-130.25 + shift, 60.25, 0.5, 0.5), (len(lat), len(lon))).assign_coords(
        init_time=pd.DatetimeIndex([first]), lead_time=pd.to_timedelta(np.arange(1, days + 1), unit="D"), member="c00"
    )
    for name, field in fields.items():
        values = linear(field, lat[:, None], lon, days)[None]
        dataset[name] = ("init_time", "lead_time", "lat", "lon"), values.astype(np.float32)
    return describe(dataset.assign_attrs(product="GEFS", simulated="true"))


def analysed(cube: xr.Dataset, fields: dict[str, Field]) -> xr.Dataset:
    """The cube with the same fields as analysis on the days after the day of issue."""
    cube = cube.copy(deep=True)
    after = cube.time > np.datetime64(ISSUE)
    for name, field in fields.items():
        truth = linear(field, cube.lat.values, cube.lon.values, int(after.sum()))
        cube[name][{"time": after.values}] = np.where(cube.mask, truth, np.nan)
    for length in (7, 30, 90):
        cube[f"precipitation_{length}d"][:] = cube.precipitation.rolling(time=length, min_periods=length).sum()
    return cube


def test_the_days_ahead_hold_the_forecast_and_nothing_else(small_cube: xr.Dataset) -> None:
    fields = {"precipitation": RAINY, "air_temperature": WARM}
    ahead = with_weather_ahead(small_cube, foretold(fields), tuple(fields), init=ISSUE)
    np.testing.assert_array_equal(ahead.time, small_cube.time)
    before, after = ahead.sel(time=slice(None, ISSUE)), ahead.sel(time=slice(FIRST, None))
    xr.testing.assert_equal(before.drop_attrs(), small_cube.sel(time=slice(None, ISSUE)).drop_attrs())
    mask = small_cube.mask.values
    for name, field in fields.items():
        expected = linear(field, small_cube.lat.values, small_cube.lon.values, 10)
        np.testing.assert_allclose(after[name].values[:, mask], expected[:, mask], rtol=1e-6)
        assert after[name].isnull().values[:, ~mask].all()
        assert ahead[name].dtype == np.float32
        assert ahead[name].attrs["ahead"] == "from 2015-08-19 on GEFS c00, run of 2015-08-19 00 UTC, bilinear"
        assert ahead[name].attrs["ahead_day_boundary"] == "00 to 24 UTC"
        assert ahead[name].attrs["units"] == small_cube[name].attrs["units"]
    daily = [name for name in map(str, small_cube.data_vars) if "time" in small_cube[name].dims and name not in fields]
    assert "soil_moisture_filled" in daily
    assert all(after[name].isnull().all() for name in daily)
    said = {"weather": "forecast", "day_of_issue": ISSUE, "weather_run": "GEFS c00, run of 2015-08-19 00 UTC"}
    assert said.items() <= ahead.attrs.items()
    assert ahead.attrs["grid_crs"] == small_cube.attrs["grid_crs"]


def test_interpolation_is_that_of_resampling(small_cube: xr.Dataset) -> None:
    rough = foretold({"precipitation": RAINY}, days=2)
    rough["precipitation"][:] = np.random.default_rng(0).gamma(0.5, 8, rough.precipitation.shape)
    ahead = with_weather_ahead(small_cube, rough, RAIN, init=ISSUE).sel(time=slice(FIRST, None))
    expected = resample(rough.precipitation[0], grid_of(small_cube), "bilinear")
    mask = small_cube.mask.values
    # Between rows the one goes by latitude, the other by the grid's northing: 0.1 % of a step apart.
    np.testing.assert_allclose(ahead.precipitation.values[:, mask], expected[:, mask], atol=0.2)
    assert np.corrcoef(ahead.precipitation.values[:, mask].ravel(), expected[:, mask].ravel())[0, 1] > 0.9999


def test_antecedent_sums_go_on_from_the_cube_into_the_forecast(small_cube: xr.Dataset) -> None:
    names = ("precipitation_7d", "precipitation_90d")
    ahead = with_weather_ahead(small_cube, foretold({"precipitation": RAINY}), names, init=ISSUE)
    perfect = analysed(small_cube, {"precipitation": RAINY})
    for name in names:
        np.testing.assert_allclose(ahead[name], perfect[name], rtol=1e-5)
    # Nobody asked for the rain itself.
    assert ahead.precipitation.sel(time=slice(FIRST, None)).isnull().all()


TRAINING, VALIDATION = Period("2015-04-10", "2015-07-20"), Period("2015-07-21", "2015-08-10")


@pytest.fixture(scope="module")
def run(small_cube: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    filled = "soil_moisture_filled"
    channels = Channels(
        (filled, "precipitation"), (), ("precipitation", "precipitation_7d", "air_temperature"), (1, 3, 7), filled
    )
    return train(
        Samples(small_cube, channels, look_back=2, window=4, stride=2),
        tmp_path_factory.mktemp("ahead") / "run",
        Plan(
            model="convlstm",
            hyper={"filters": (3,)},
            training=TRAINING,
            validation=VALIDATION,
            optimisation=Optimisation(epochs=1, batch_size=32, samples_per_epoch=64),
        ),
        refit=False,
    )


def issued(run: Path, cube: xr.Dataset, out: Path) -> np.ndarray:
    path = forecast(run / "final.pt", cube, out, first=ISSUE, last=ISSUE, leads=(1, 3, 7))
    values: np.ndarray = xr.open_zarr(path, consolidated=False).soil_moisture.values
    return values


FIELDS = {"precipitation": RAINY, "air_temperature": WARM}
NAMES = ("precipitation", "precipitation_7d", "air_temperature")


def test_a_forecast_without_error_is_perfect_weather(run: Path, small_cube: xr.Dataset, tmp_path: Path) -> None:
    perfect = issued(run, analysed(small_cube, FIELDS), tmp_path / "perfect.zarr")
    ahead = with_weather_ahead(small_cube, foretold(FIELDS), NAMES, init=ISSUE)
    found = issued(run, ahead, tmp_path / "ahead.zarr")
    assert np.isfinite(found[..., small_cube.mask.values]).all()
    np.testing.assert_allclose(found, perfect, atol=1e-6)
    # Another forecast is another matter.
    other = with_weather_ahead(small_cube, foretold(FIELDS | {"precipitation": (0, 0, 0, 0)}), NAMES, init=ISSUE)
    assert np.nanmax(np.abs(issued(run, other, tmp_path / "other.zarr") - perfect)) > 1e-4


def test_nothing_the_cube_holds_after_the_day_of_issue_is_used(
    run: Path, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    poisoned = small_cube.copy(deep=True)
    for name in map(str, poisoned.data_vars):
        if "time" in poisoned[name].dims:
            poisoned[name][{"time": (poisoned.time > np.datetime64(ISSUE)).values}] = 1e6
    cut = small_cube.sel(time=slice(None, ISSUE))
    cubes = [with_weather_ahead(cube, foretold(FIELDS), NAMES, init=ISSUE) for cube in (poisoned, cut)]
    xr.testing.assert_identical(*cubes)
    # The cube's last day is the day of issue when none is given.
    xr.testing.assert_identical(with_weather_ahead(cut, foretold(FIELDS), NAMES), cubes[1])
    stores = [issued(run, cube, tmp_path / f"{k}.zarr") for k, cube in enumerate(cubes)]
    np.testing.assert_array_equal(*stores)


def test_leads_beyond_the_forecast_stay_unknown(run: Path, small_cube: xr.Dataset, tmp_path: Path) -> None:
    ahead = with_weather_ahead(small_cube, foretold(FIELDS, days=3), NAMES, init=ISSUE)
    assert ahead.time.values[-1] == np.datetime64("2015-08-21")
    known = np.isfinite(issued(run, ahead, tmp_path / "f.zarr")).any(axis=(2, 3))
    assert known.tolist() == [[True, True, False]]


def test_a_lazy_cube_stays_lazy_and_keeps_its_bounds(small_cube: xr.Dataset) -> None:
    bounds = np.stack([small_cube.time.values, small_cube.time.values + np.timedelta64(1, "D")], axis=1)
    small_cube = small_cube.assign_coords(time_bnds=(("time", "bnds"), bounds))
    whole, lazy = (
        with_weather_ahead(cube, foretold(FIELDS), NAMES, init=ISSUE)
        for cube in (small_cube, small_cube.chunk({"time": 32}))
    )
    assert all(lazy[name].chunks for name in ("soil_moisture", "precipitation"))
    xr.testing.assert_equal(lazy, whole)
    np.testing.assert_array_equal(whole.time_bnds, bounds)


def stations() -> xr.Dataset:
    """Three stations as cells, the last without moisture and off the forecast."""
    lat, lon = np.array([[50.8], [40.0], [-10.0]]), np.array([[-99.85], [-75.1], [60.0]])
    cube = xr.Dataset(
        coords={
            "time": pd.date_range("2019-07-01", "2019-07-05"),
            "y": [0.0, 1.0, 2.0],
            "x": [0.0],
            "station": ("y", np.array(["A:one", "A:two", "B:three"], object)),
            "lat": (("y", "x"), lat),
            "lon": (("y", "x"), lon),
        },
        attrs={"cell_size": 1.0, "grid_step": 1.0, "grid_crs": "", "simulated": "false"},
    )
    for name in (
        "precipitation",
        "air_temperature",
        "vapor_pressure_deficit",
        "reference_evapotranspiration",
        "reference_evapotranspiration_alfalfa",
        "wind_speed",
    ):
        cube[name] = ("time", "y", "x"), np.zeros((5, 3, 1), np.float32)
    cube["mask"] = ("y", "x"), np.array([[True], [True], [False]])
    return describe(cube)


def test_stations_get_the_forecast_of_their_place() -> None:
    cube = stations()
    ahead = with_weather_ahead(cube, foretold({"precipitation": RAINY}, first="2019-07-06"), RAIN)
    expected = linear(RAINY, cube.lat.values, cube.lon.values, 10)
    np.testing.assert_allclose(ahead.precipitation.values[5:, :2], expected[:, :2], rtol=1e-6)
    assert ahead.precipitation.isnull().values[5:, 2].all()
    assert ahead.station.values.tolist() == cube.station.values.tolist()
    assert ahead.attrs["simulated"] == "true"


def test_what_the_forecast_lacks_is_computed_of_what_it_has() -> None:
    # FAO-56, example 18: Brussels, 6 July, 50.8 north, 100 m; grass 3.9 mm a day.
    vapour, pressure = 1.409, 100.1
    fields: dict[str, Field] = {
        "air_temperature_max": (294.65, 0, 0, 0),
        "air_temperature_min": (285.45, 0, 0, 0),
        "specific_humidity": (0.622 * vapour / (pressure - 0.378 * vapour), 0, 0, 0),
        "surface_pressure": (1000 * pressure, 0, 0, 0),
        "shortwave_radiation": (22.07 / 0.0864, 0, 0, 0),
        "eastward_wind": (2.78 * 0.6, 0, 0, 0),
        "northward_wind": (-2.78 * 0.8, 0, 0, 0),
    }
    grass, alfalfa = "reference_evapotranspiration", "reference_evapotranspiration_alfalfa"
    names = ("vapor_pressure_deficit", grass, alfalfa, "wind_speed")
    ahead = with_weather_ahead(stations(), foretold(fields, first="2019-07-06"), names)
    day = ahead.isel(y=0, x=0).sel(time="2019-07-06")
    assert float(day.vapor_pressure_deficit) == pytest.approx(0.589, abs=0.001)
    assert float(day.wind_speed) == pytest.approx(2.78, abs=1e-5)
    assert float(day[grass]) == pytest.approx(3.88, abs=0.01)
    # The taller crop by equation 1: the two differ by their constants alone.
    assert 1.1 < float(day[alfalfa] / day[grass]) < 1.4
    assert "computed of air_temperature_max, air_temperature_min" in ahead[grass].attrs["ahead"]
    assert ahead[grass].attrs["units"] == "kg m-2"


def test_of_an_ensemble_one_member_or_the_mean_is_taken(small_cube: xr.Dataset) -> None:
    runs = [foretold({"precipitation": (k, 0, 0, 0)}, days=2).assign_coords(member=f"p0{k}") for k in (1, 2, 6)]
    many = xr.concat(runs, "member")

    def rain(member: str | None, ensemble: xr.Dataset = many) -> float:
        ahead = with_weather_ahead(small_cube, ensemble, RAIN, init=ISSUE, member=member)
        assert f"GEFS {member}" in ahead.attrs["weather_run"]
        return float(ahead.precipitation.sel(time=FIRST).mean())

    assert [rain("p02"), rain("mean"), rain("p06", runs[2])] == [2, 3, 6]
    for member, ensemble, message in (
        (None, many, r"None; choose one of \['p01', 'p02', 'p06', 'mean'\]"),
        ("c00", many, r"'c00'; choose one of \['p01'"),
        ("mean", runs[0], r"'mean'; choose one of \['p01'\]"),
    ):
        with pytest.raises(VadoseError, match=message):
            rain(member, ensemble)


def test_granules_as_published_are_read(tmp_path: Path) -> None:
    truth = example(days=4, rows=16, columns=18)
    truth["precipitation"][:] = truth.precipitation + 4
    names = ("precipitation", "air_temperature_max", "specific_humidity", "reference_evapotranspiration")
    cube = truth.isel(y=slice(5, 11), x=slice(5, 11)).assign(mask=(("y", "x"), np.ones((6, 6), bool)))
    cube.attrs |= {"simulated": "true"}
    paths = write_weather_forecast(truth, tmp_path)
    (tmp_path / "gefs.20190430" / "note.txt").write_text("not a granule")
    init = "2019-04-29"
    by_folder = with_weather_ahead(cube, [tmp_path], names, init=init)
    xr.testing.assert_identical(with_weather_ahead(cube, paths, names, init=init), by_folder)
    xr.testing.assert_identical(with_weather_ahead(cube, daily_weather_forecast(paths), names, init=init), by_folder)
    assert by_folder.time.values[-1] == truth.time.values[-1]
    for name, tolerance in (("precipitation", 3.0), ("air_temperature_max", 1.0), ("specific_humidity", 1e-3)):
        error = (by_folder[name] - cube[name]).isel(time=slice(1, None))
        assert abs(float(error.mean())) < tolerance / 3, name
    # The simulated world has a simpler net radiation: of the same size, not the same.
    share = by_folder.reference_evapotranspiration / cube.reference_evapotranspiration
    assert 0.5 < float(share.isel(time=slice(1, None)).median()) < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "2015-08-17"}, "start on 2015-08-19 00 UTC; one issued at the end of 2015-08-17 needs .* 2015-08-18"),
        ({"init": None}, "one issued at the end of 2015-08-28 needs the run of 2015-08-29 00 UTC"),
        ({"init": "2016-08-18"}, "weather ahead of 2016-08-18: the cube holds 2015-04-01 .. 2015-08-28"),
        ({"forecast": foretold({"precipitation": RAINY}, first="2015-08-18T12")}, "runs start on 2015-08-18 12 UTC"),
        (
            {"forecast": foretold({"precipitation": RAINY}).isel(lead_time=[0, 1, 3])},
            r"run 2015-08-19 holds days \['1', '2', '4'\] after its start; every day from the first on",
        ),
        ({"forecast": foretold({"air_temperature": WARM})}, "no precipitation, which the model takes of"),
        (
            {"names": ("reference_evapotranspiration",)},
            "no reference_evapotranspiration .* can be computed of air_temperature_max, .* it holds precipitation",
        ),
        ({"forecast": foretold({"precipitation": RAINY}, shift=30)}, "missing at .* of 70 cells of the cube; it"),
        ({"forecast": xr.Dataset()}, r"no dimension \['init_time', 'lead_time', 'lat', 'lon'\]"),
        ({"names": ("rainfall", "clay_fraction")}, r"no daily variable \['rainfall', 'clay_fraction'\]"),
        ({"names": ()}, "the model uses no weather after the day of issue"),
        ({"forecast": []}, "no granule given"),
        ({"forecast": [Path("nowhere/gec00.t00z.pgrb2s.0p25.f003")]}, "no such file"),
    ],
)
def test_what_does_not_follow_is_refused(small_cube: xr.Dataset, change: dict[str, object], message: str) -> None:
    cube = small_cube.assign(reference_evapotranspiration=small_cube.precipitation)
    given = {"forecast": foretold({"precipitation": RAINY}), "names": RAIN, "init": ISSUE} | change
    with pytest.raises(VadoseError, match=message) as error:
        with_weather_ahead(cube, **given)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_hole_and_another_unit_are_refused(small_cube: xr.Dataset) -> None:
    holed, inches = (foretold({"precipitation": RAINY}) for _ in range(2))
    cell = small_cube.isel(y=5, x=5)
    beside = holed.sel(lat=cell.lat.item(), lon=cell.lon.item(), method="nearest")
    hole = (holed.lat == beside.lat) & (holed.lon == beside.lon) & (holed.lead_time == np.timedelta64(5, "D"))
    holed["precipitation"] = holed.precipitation.where(~hole)
    with pytest.raises(VadoseError, match="precipitation is missing at 1 of 70 cells"):
        with_weather_ahead(small_cube, holed, RAIN, init=ISSUE)
    inches.precipitation.attrs["units"] = "inch"
    with pytest.raises(VadoseError, match="precipitation is in inch, in the cube in kg m-2"):
        with_weather_ahead(small_cube, inches, RAIN, init=ISSUE)


def test_the_store_says_that_its_weather_is_foretold_and_of_one_day(
    run: Path, small_cube: xr.Dataset, tmp_path: Path
) -> None:
    assert weather_ahead(run / "final.pt") == ("precipitation", "precipitation_7d", "air_temperature")
    ahead = with_weather_ahead(small_cube, foretold(FIELDS), NAMES, init=ISSUE)
    issued(run, ahead, tmp_path / "f.zarr")
    attributes = xr.open_zarr(tmp_path / "f.zarr", consolidated=False).attrs
    assert attributes["weather"] == "forecast"
    assert attributes["weather_run"] == ahead.attrs["weather_run"]
    with pytest.raises(VadoseError, match="issued on 2015-08-18; forecast that day alone"):
        forecast(run / "final.pt", ahead, tmp_path / "g.zarr", first="2015-08-17", last=ISSUE, leads=(1,))
    assert not (tmp_path / "g.zarr").exists()


def test_the_command_takes_granules(tmp_path: Path) -> None:
    truth = example(days=54, rows=16, columns=18)
    inner = truth.isel(y=slice(5, 11), x=slice(5, 11))
    cube = inner[["precipitation", "air_temperature_max"]].assign(mask=(("y", "x"), np.ones((6, 6), bool)))
    cube["soil_moisture"] = inner.soil_moisture_0_10cm
    cube["soil_moisture_filled"] = cube.soil_moisture.assign_attrs(causal="true")
    cube.attrs |= {"simulated": "true", "dataset": "twin", "layer": "0-10 cm"}
    days = [str(day)[:10] for day in truth.time.values]
    write_weather_forecast(truth.isel(time=slice(49, None)), tmp_path / "granules")
    cube = cube.isel(time=slice(0, 50))
    xr.Dataset().to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    cube.drop_encoding().to_zarr(tmp_path / "cube.zarr", group="9km", mode="a", zarr_format=3, consolidated=False)
    channels = Channels(
        ("soil_moisture_filled", "precipitation"), (), ("precipitation",), (1, 3), "soil_moisture_filled"
    )
    train(
        Samples(cube, channels, look_back=2, window=4, stride=2),
        tmp_path / "run",
        Plan(
            model="convlstm",
            hyper={"filters": (3,)},
            training=Period(days[5], days[30]),
            validation=Period(days[31], days[45]),
            optimisation=Optimisation(epochs=1, batch_size=32, samples_per_epoch=64),
        ),
        refit=False,
    )
    command = ["forecast", str(tmp_path / "run"), str(tmp_path / "cube.zarr"), "--weather", str(tmp_path / "granules")]
    out = ["--out", str(tmp_path / "f.zarr")]
    result = CliRunner().invoke(app, [*command, "--init", "latest", *out])
    assert result.exit_code == 0, result.output
    store = xr.open_zarr(tmp_path / "f.zarr", consolidated=False)
    assert str(store.init_time.values[0])[:10] == days[49]
    assert store.attrs["weather"] == "forecast"
    assert np.isfinite(store.soil_moisture).all()
    for more in (["--from", days[49], "--to", days[49]], ["--init", days[40]]):
        with pytest.raises(VadoseError, match=r"one day of issue|another day of issue"):
            CliRunner().invoke(app, [*command, *more, "--out", str(tmp_path / "g.zarr")], catch_exceptions=False)
    assert not (tmp_path / "g.zarr").exists()
