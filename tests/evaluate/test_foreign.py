"""Forecasts and analyses of others: understood as they come, told by a file, or refused with what to write."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import vadose as vd
from vadose.door.foreign import Foreign, as_ours, open_forecasts
from vadose.errors import VadoseError

DAYS = pd.date_range("2020-05-01", periods=120)
RNG = np.random.default_rng(0)
WETNESS = 0.25 + 0.1 * np.sin(np.arange(120) / 9.0)[:, None] + 0.02 * RNG.standard_normal((120, 3))
LAT, LON = np.array([40.02, 40.98, 39.97]), np.array([-100.03, -99.04, -98.96])


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three stations."""
    from vadose.stationing import stations

    rows = [
        pd.DataFrame({"date": DAYS, "station": name, "lat": lat, "lon": lon, "vwc_5cm (m3/m3)": WETNESS[:, k]})
        for k, (name, lat, lon) in enumerate(zip("abc", LAT, LON, strict=True))
    ]
    out = tmp_path_factory.mktemp("own") / "stations.zarr"
    stations(pd.concat(rows, ignore_index=True), out=out)
    return out


def field(days: Any = DAYS, *, step: float = 1.0, name: str = "swvl1", lon0: float = -100.0, **dims: Any) -> xr.Dataset:
    """An analysis that lies 0.03 above the stations' cells."""
    lat, lon = np.arange(42.0, 38.0, -step), lon0 + np.arange(0.0, 3.0, step)
    values = np.full((len(days), len(lat), len(lon)), np.nan)
    for k in range(3):
        row, column = np.abs(lat - LAT[k]).argmin(), np.abs((lon + 180) % 360 - 180 - LON[k]).argmin()
        values[:, row, column] = np.resize(WETNESS[:, k], len(days)) + 0.03
    data = xr.Dataset(
        {name: (("time", "latitude", "longitude"), values)}, {"time": days, "latitude": lat, "longitude": lon}
    )
    data[name].attrs["units"] = "m**3 m**-3"
    return data.assign_coords(dims)


def bias(path_or_data: Any, observed: Path, out: Path) -> pd.Series:
    scores = vd.evaluate([path_or_data], observed, out=out).table
    return scores[scores.metric == "bias"].iloc[0]


def test_an_analysis_of_others_is_scored_as_by_hand(observed: Path, tmp_path: Path) -> None:
    field(lon0=260.0).to_netcdf(tmp_path / "era5.nc")
    found = bias(tmp_path / "era5.nc", observed, tmp_path / "scores")
    assert found["model"] == "era5"
    assert found["lead_days"] == 0
    assert found["median"] == pytest.approx(0.03, abs=1e-4)
    assert found["n_pairs"] == 3 * 120


def test_products_of_several_grids_are_scored_on_the_same_days(observed: Path, tmp_path: Path) -> None:
    field().to_netcdf(tmp_path / "coarse.nc")
    field(step=0.5, name="sm_surface").isel(time=slice(0, 90)).to_netcdf(tmp_path / "fine.nc")
    scores = vd.evaluate([tmp_path / "coarse.nc", tmp_path / "fine.nc"], observed, out=tmp_path / "scores").table
    both = scores[scores.metric == "bias"].set_index("model")
    assert both["n_pairs"].to_dict() == {"coarse": 270, "fine": 270}
    np.testing.assert_allclose(both["median"], 0.03, atol=1e-4)


def test_hours_become_days_and_water_of_a_layer_a_fraction() -> None:
    hours = pd.date_range("2020-05-01", periods=48, freq="h")
    water = np.repeat([20.0, 30.0], 24)[:, None, None] * np.ones((1, 2, 2))
    where = {"time": hours, "lat": [40.0, 39.875], "lon": [-100.0, -99.875]}
    data = xr.Dataset({"SoilM_0_10cm": (("time", "lat", "lon"), water)}, where)
    data.SoilM_0_10cm.attrs["units"] = "kg m-2"
    ours = as_ours(data, Foreign("nldas.nc"))
    np.testing.assert_allclose(ours.soil_moisture[:, 0, 0, 0], [0.2, 0.3])
    assert ours.attrs["layer"] == "0-10 cm"


def forecast(**change: Any) -> xr.Dataset:
    """Two runs of three days and four members."""
    runs = pd.to_datetime(["2020-06-01", "2020-06-02"])
    steps = pd.to_timedelta([0, 1, 2], unit="D")
    values = np.arange(24.0).reshape(2, 3, 4)[..., None, None] / 100 + np.zeros((2, 2))
    where = {"time": runs, "step": steps, "latitude": [40.0, 39.0], "longitude": [-100.0, -99.0]}
    data = xr.Dataset({"sm": (("time", "step", "number", "latitude", "longitude"), values, {"units": "1"})}, where)
    return data.assign_coords(change)


def test_an_ensemble_of_runs_of_midnight_has_its_mean_and_spread() -> None:
    ours = as_ours(forecast(), Foreign("runs.nc", layer=(0, 5), init_is="first_day_forecast"))
    assert ours.init_time.values[0] == np.datetime64("2020-05-31")
    assert (ours.lead_time.values / np.timedelta64(1, "D")).tolist() == [1, 2, 3]
    np.testing.assert_allclose(ours.soil_moisture[0, 1, 0, 0], np.mean([0.04, 0.05, 0.06, 0.07]))
    np.testing.assert_allclose(ours.soil_moisture_std[0, 1, 0, 0], np.std([0.04, 0.05, 0.06, 0.07], ddof=1))
    assert as_ours(forecast(), Foreign("runs.nc", layer=(0, 5))).init_time.values[0] == np.datetime64("2020-06-01")


def test_quantiles_have_a_median_and_a_deviation() -> None:
    data = forecast().isel(number=slice(0, 3)).rename(number="quantile").assign_coords(quantile=[0.05, 0.5, 0.95])
    ours = as_ours(data, Foreign("runs.nc", layer=(0, 5)))
    np.testing.assert_allclose(ours.soil_moisture[0, 0, 0, 0], 0.01)
    np.testing.assert_allclose(ours.soil_moisture_std[0, 0, 0, 0], 0.02 / 3.2897, rtol=1e-4)
    with pytest.raises(VadoseError, match="and pairs about it"):
        as_ours(data.assign_coords(quantile=[0.1, 0.5, 0.95]), Foreign("runs.nc", layer=(0, 5)))


def test_a_file_tells_what_the_data_do_not(tmp_path: Path, observed: Path) -> None:
    data = field(name="theta").expand_dims(depth=[0.05, 0.5]).drop_attrs()
    data["other"] = data.theta * 0
    (tmp_path / "data").mkdir()
    data.to_netcdf(tmp_path / "data" / "mine.nc")
    told = tmp_path / "mine.yaml"
    for text, message in (
        ("path: data/mine.nc", "which variable is the moisture to score is not clear, found .'other', 'theta'."),
        ("path: data/mine.nc\nvariable: theta", "of which layer theta is is not said; write its top and bottom"),
        ("path: data/mine.nc\nvariable: theta\nlayer: [0, 5]", "has the dimension 'depth' .* choose one of it"),
        ("path: data/mine.nc\nvariable: theta\nlayer: [0, 5]\nselect: {depth: 0.05}", "has no attribute 'units'"),
        ("path: data/mine.nc\nvariable: theta\nlayer: [0, 100]\nselect: {depth: 0.05}\nunit: '1'", None),
        ("path: data/mine.nc\nlayers: [0, 5]", "key 'layers'"),
        ("path: nowhere.nc", "nowhere.nc"),
    ):
        told.write_text(text)
        if message is None:
            assert open_forecasts(told).attrs["layer"] == "40-100 cm"
            continue
        with pytest.raises(VadoseError, match=message) as error:
            open_forecasts(told)
        assert "\n" not in str(error.value)
    told.write_text(
        "path: data/mine.nc\nmodel: mine\nvariable: theta\nlayer: [0, 5]\nselect: {depth: 0.05}\nunit: m3 m-3"
    )
    found = bias(told, observed, tmp_path / "scores")
    assert (found["model"], found["weather"]) == ("mine", "own")
    assert found["median"] == pytest.approx(0.03, abs=1e-4)


def test_cells_in_no_known_projection_are_found_by_the_nearest_centre(observed: Path, tmp_path: Path) -> None:
    data = field()
    lat, lon = xr.broadcast(data.latitude, data.longitude)
    turned = data.rename(latitude="south_north", longitude="west_east").drop_vars(["south_north", "west_east"])
    turned = turned.assign_coords(
        XLAT=(("south_north", "west_east"), lat.values), XLONG=(("south_north", "west_east"), lon.values)
    )
    assert bias(turned, observed, tmp_path / "scores")["median"] == pytest.approx(0.03, abs=1e-4)


def test_data_of_elsewhere_are_refused(observed: Path, tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="none of the 3 stations lies in a cell"):
        vd.evaluate([field(lon0=10.0)], observed, out=tmp_path / "scores")
