"""Data sets in any order, unit and form come out as ours, or are refused in one line."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.door import CUBE, as_cube, as_forecasts, as_stations, on_common_cells
from vadose.door.values import checked, conversion
from vadose.errors import VadoseError
from vadose.grid import ease_grid, grid_of

Change = Callable[[xr.Dataset], xr.Dataset]


@pytest.fixture
def cube() -> xr.Dataset:
    """3 x 4 cells of 9 km, 6 days; every value is another one."""
    found = ease_grid("9km").part(slice(200, 203), slice(500, 504)).coordinates()
    found = found.assign_coords(time=pd.date_range("2020-06-01", periods=6))
    found["soil_moisture"] = ("time", "y", "x"), np.linspace(0.1, 0.4, 72, dtype=np.float32).reshape(6, 3, 4)
    found["flag"] = ("time", "y", "x"), np.arange(72, dtype=np.int32).reshape(6, 3, 4)
    return found.assign_attrs(layer="0-10 cm", dataset="made up", simulated="true")


@pytest.fixture
def forecasts(cube: xr.Dataset) -> xr.Dataset:
    found = cube[["soil_moisture"]].rename(time="init_time").expand_dims(lead_time=pd.to_timedelta([1, 3], unit="D"))
    return found.transpose("init_time", "lead_time", "y", "x").assign_attrs(
        model="m", weather="none", scenario="all", causal="true"
    )


@pytest.fixture
def stations() -> xr.Dataset:
    return xr.Dataset(
        {"soil_moisture": (("station", "layer", "time"), np.full((2, 1, 4), 0.2))},
        coords={
            "station": ["A", "B"],
            "layer": ["0-10 cm"],
            "time": pd.date_range("2020-06-01", periods=4),
            "lat": ("station", [40.0, 41.0]),
            "lon": ("station", [-100.0, -99.0]),
        },
    )


@pytest.mark.parametrize("seed", range(8))
def test_order_and_direction_of_axes_do_not_matter(cube: xr.Dataset, forecasts: xr.Dataset, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for data, door in ((cube, as_cube), (forecasts, as_forecasts)):
        turned = data.transpose(*rng.permutation(list(data.dims)))
        turned = turned.isel({axis: rng.permutation(n) for axis, n in data.sizes.items()})
        xr.testing.assert_identical(door(turned, "here"), door(data, "here"))


def test_what_is_in_our_form_stays_as_it_is(cube: xr.Dataset, forecasts: xr.Dataset) -> None:
    xr.testing.assert_identical(as_cube(cube, "here", CUBE), cube)
    xr.testing.assert_identical(as_forecasts(forecasts, "here"), forecasts)


def test_absent_days_become_days_without_values(cube: xr.Dataset, stations: xr.Dataset) -> None:
    gappy = as_cube(cube.isel(time=[0, 1, 5]), "here")
    assert gappy.sizes["time"] == 6
    assert gappy.attrs["days_added"] == 3
    assert gappy.soil_moisture.isnull().all(("y", "x")).values.tolist() == [False, False, True, True, True, False]
    assert gappy.flag.dtype == np.int32  # bits stay bits
    assert as_stations(stations.isel(time=[3, 0]), "here").soil_moisture.isnull().sum() == 4


def test_an_hour_that_all_days_share_is_dropped(cube: xr.Dataset) -> None:
    noon = cube.assign_coords(time=cube.time + np.timedelta64(12, "h"))
    np.testing.assert_array_equal(as_cube(noon, "here").time, cube.time)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.rename(y="lat_", x="lon_"), "expected (y, x)"),
        (lambda c: c.assign_coords(y=[1.0, 1.0, 2.0]), "y are repeated"),
        (lambda c: c.assign_coords(y=[1.0, np.nan, 2.0]), "not numbers"),
        (lambda c: c.isel(time=[0, 1, 1, 2]), "time: 1 days come more than once, such as 2020-06-02"),
        (lambda c: c.assign_coords(time=pd.date_range("2020-06-01", periods=6, freq="6h")), "times of day differ"),
        (lambda c: c.assign_coords(time=[*c.time.values[:5], np.datetime64("NaT")]), "1 of 6 dates are missing"),
        (lambda c: c.assign_coords(time=[*c.time.values[:5], np.datetime64("2600-01-01", "s")]), "2600-01-01"),
        (lambda c: c.assign_coords(time=np.arange(6)), "expected dates"),
        (lambda c: c.assign_coords(lat=c.lat[::-1].variable), "by its y and x"),
        (lambda c: c.assign_coords(lat=c.lat + 90), "is no lat"),
        (lambda c: c.assign_attrs(x=1).drop_attrs(), "layer (such as '0-10 cm'), dataset (its name), simulated"),
    ],
)
def test_a_cube_that_cannot_be_placed_is_refused(cube: xr.Dataset, change: Change, words: str) -> None:
    with pytest.raises(VadoseError) as error:
        as_cube(change(cube), "mine.zarr", CUBE)
    assert words in str(error.value)
    assert "mine.zarr" in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.assign_coords(lead_time=pd.to_timedelta([12, 60], unit="h")), "12 h, 60 h"),
        (lambda f: f.assign_coords(lead_time=pd.to_timedelta([-1, 1], unit="D")), "-24 h"),
        (lambda f: f.assign_coords(lead_time=[1, 3]), "or 'days' or 'hours'"),
        (lambda f: f.isel(init_time=[0, 0, 1]), "such as 2020-06-01"),
        (lambda f: f.isel(lead_time=[0, 0]), "a lead comes twice"),
        (
            lambda f: f.assign_coords(init_time=f.init_time + np.timedelta64(6, "h")),
            "init_time is 360 minutes past midnight",
        ),
        (lambda f: f.drop_attrs(), "model (its name), weather ('none', 'perfect' or 'forecast'), scenario"),
        (lambda f: f.rename(lead_time="step"), "no coordinate lead_time"),
    ],
)
def test_forecasts_that_cannot_be_placed_are_refused(forecasts: xr.Dataset, change: Change, words: str) -> None:
    with pytest.raises(VadoseError) as error:
        as_forecasts(change(forecasts), "mine.zarr")
    assert words in str(error.value)
    assert "mine.zarr" in str(error.value)


@pytest.mark.parametrize(("numbers", "units"), [([1, 3], "days"), ([24.0, 72.0], "hours"), ([24, 72], "h")])
def test_leads_of_numbers_are_read_by_their_unit(forecasts: xr.Dataset, numbers: list[float], units: str) -> None:
    given = forecasts.assign_coords(lead_time=("lead_time", numbers, {"units": units}))
    np.testing.assert_array_equal(as_forecasts(given, "here").lead_time, forecasts.lead_time)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.isel(station=[0, 0]), "station A is repeated"),
        (lambda s: s.drop_vars("lat"), "no lat (station)"),
        (lambda s: s.assign_coords(lat=s.lon, lon=s.lat), "not exchanged"),
        (lambda s: s.isel(layer=0), "no coordinate layer"),
    ],
)
def test_stations_that_cannot_be_placed_are_refused(stations: xr.Dataset, change: Change, words: str) -> None:
    with pytest.raises(VadoseError, match="mine") as error:
        as_stations(change(stations), "mine.zarr")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("name", "units", "given", "expected"),
    [
        ("soil_moisture", "%", 30.0, 0.3),
        ("soil_moisture", "cm^3/cm^3", 0.3, 0.3),
        ("soil_moisture", "vol. %", 30.0, 0.3),
        ("air_temperature", "degrees_C", 20.0, 293.15),
        ("precipitation", "mm/day", 5.0, 5.0),
        ("precipitation", "m", 0.005, 5.0),
        ("surface_pressure", "hPa", 1000.0, 1e5),
        ("clay_fraction_5cm", "g kg-1", 250.0, 0.25),
        ("relative_humidity", "1", 0.5, 50.0),
        ("land_cover", "IGBP class", 4.0, 4.0),
    ],
)
def test_units_of_others_are_converted(cube: xr.Dataset, name: str, units: str, given: float, expected: float) -> None:
    cube[name] = ("time", "y", "x"), np.full((6, 3, 4), given, np.float32), {"units": units}
    assert as_cube(cube, "here")[name].values[0, 0, 0] == pytest.approx(expected, rel=1e-6)


def test_units_that_the_values_contradict_are_refused(cube: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match=r"at most 0\.4"):
        as_cube(cube.assign(soil_moisture=cube.soil_moisture.assign_attrs(units="percent")), "here")
    with pytest.raises(VadoseError, match="'furlong'; expected 'm3 m-3'"):
        as_cube(cube.assign(soil_moisture=cube.soil_moisture.assign_attrs(units="furlong")), "here")
    with pytest.raises(VadoseError, match=r"72 of 72 values of soil_moisture lie outside 0 \.\. 1"):
        checked(cube.soil_moisture.values * 100, "soil_moisture", "here")


@pytest.mark.parametrize("wrong", [-9999.0, np.inf, 1e20, 1.5])
def test_single_values_outside_are_missing_and_counted(wrong: float) -> None:
    values = np.full(5000, 0.2, np.float32)
    values[:4] = wrong
    found, count = checked(values, "soil_moisture", "here")
    assert count == 4
    assert np.isnan(found[:4]).all()
    assert found.dtype == np.float32
    assert values[0] == np.float32(wrong)
    values[:10] = wrong
    with pytest.raises(VadoseError, match="10 of 5000"):
        checked(values, "soil_moisture", "here")
    assert checked(np.array([1.2, -0.3]), "soil_moisture", "here", 0.5)[1] == 0


@pytest.mark.parametrize("code", [-9999, -99999, np.inf, -np.inf, 9.96921e36, 9.999e20, -3.4e38])
def test_codes_of_missing_values_are_none_of_a_variable_that_is_not_known(code: float) -> None:
    values = np.linspace(-2e5, 9e9, 5000, dtype=np.float32)
    assert checked(values, "charge", "here")[1] == 0
    values[:3] = code
    found, count = checked(values, "charge", "here")
    assert count == 3
    assert np.isnan(found[:3]).all()
    np.testing.assert_array_equal(found[3:], values[3:])
    values[:10] = code
    with pytest.raises(VadoseError, match="here: 10 of 5000 values of charge are codes of missing values"):
        checked(values, "charge", "here")


def test_whole_numbers_are_checked_too() -> None:
    counts = np.array([3, -9999, 250], np.int16)
    for name, expected in (("charge", [3, np.nan, 250]), ("land_cover", [3, np.nan, np.nan])):
        found, _ = checked(counts, name, "here")
        np.testing.assert_array_equal(found, np.array(expected, np.float32))
        assert found.dtype == np.float32
    assert checked(counts[:1], "charge", "here")[0].dtype == np.int16


def test_units_that_no_rule_joins() -> None:
    assert conversion("K", "m3 m-3") is None
    assert conversion("no unit at all", "K") is None


def test_cells_in_common_are_found_by_their_coordinates(cube: xr.Dataset) -> None:
    flipped = cube.isel(y=[2, 1, 0], x=[3, 1])
    (one, two), left_out = on_common_cells([cube, flipped], ["one", "two"])
    assert left_out == [6, 0]
    assert one.sizes["x"] == 2
    xr.testing.assert_identical(one.drop_attrs(), two.drop_attrs())
    (whole,), none = on_common_cells([cube], ["one"])
    assert whole is cube
    assert none == [0]


def test_other_cells_of_the_same_shape_are_refused(cube: xr.Dataset) -> None:
    other = ease_grid("9km").part(slice(100, 103), slice(300, 304)).coordinates()
    with pytest.raises(VadoseError, match=r"no cell in common \(one: 3 x 4 cells with y .* two: 3 x 4 cells"):
        on_common_cells([cube, other], ["one", "two"])
    numbered = cube.assign_coords(y=[0, 1, 2], x=[0, 1, 2, 3]).drop_attrs()
    with pytest.raises(VadoseError, match="same y and x, but l"):
        on_common_cells([numbered, numbered.assign_coords(lat=numbered.lat + 1)], ["one", "two"])
    with pytest.raises(VadoseError, match="cells of 9008"):
        on_common_cells([cube, cube.assign_attrs(cell_size=3000.0)], ["one", "two"])


def test_the_grid_is_derived_where_the_coordinates_leave_no_doubt(cube: xr.Dataset) -> None:
    assert grid_of(as_cube(cube.drop_attrs(), "here")) == grid_of(cube)
    degrees = cube.drop_attrs().assign_coords(
        y=("y", [40.2, 40.1, 40.0], {"units": "degrees_north"}), x=("x", [1.0, 1.1, 1.2, 1.3], {"units": "degree"})
    )
    found = as_cube(degrees.drop_vars(["lat", "lon"]), "here")
    assert found.attrs["grid_crs"] == "EPSG:4326"
    assert found.attrs["cell_size"] == pytest.approx(0.1)


def test_a_grid_is_not_read_off_rows_from_south_to_north(cube: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match="no even steps"):
        grid_of(cube.isel(y=slice(None, None, -1)))
    with pytest.raises(VadoseError, match="cell_size, grid_step, grid_crs are missing"):
        grid_of(cube.drop_attrs())
