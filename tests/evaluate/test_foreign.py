"""Forecasts and analyses of others: understood as they come, told by a file, or refused with what to write."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import CRS, Transformer

import vadose as vd
from vadose.cube.granule_analysis import analysis_of_granules
from vadose.door import as_forecasts
from vadose.door.foreign import Foreign, as_ours, open_forecasts
from vadose.errors import VadoseError
from vadose.evaluation.collocate import at_stations
from vadose.grid import ease_grid, grid_of
from vadose.products.smap_l4 import read_smap_l4

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
        ("path: data/mine.nc\nvariable: theta", "of which layer theta is, is not said; write its top and bottom"),
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


def at(data: Any, where: xr.Dataset, told: Foreign | None = None) -> xr.DataArray:
    """Moisture of a data set at stations (init_time, lead_time)."""
    ours = as_forecasts(as_ours(data, told or Foreign("mine.nc")).assign_attrs(dataset="mine"), "mine.nc")
    return at_stations(ours, where, "mine.nc").soil_moisture.isel(y=0, x=0, drop=True)


HERE = xr.Dataset(coords={"station": ["a"], "lat": ("station", LAT[:1]), "lon": ("station", LON[:1])})


@pytest.mark.parametrize("stated", ["grid_mapping", "places", "variables", None])
def test_cells_of_a_projection_are_found_as_the_file_states_it(stated: str | None) -> None:
    lambert = CRS("+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=-97.5 +R=6371229")
    to = Transformer.from_crs(4326, lambert, always_xy=True)
    x, y = (c + 3000.0 * np.arange(-2, 3) for c in to.transform(LON[0], LAT[0]))
    values = np.full((2, 5, 5), 0.1)
    values[:, 2, 2] = 0.3
    data = xr.Dataset({"sm_surface": (("time", "y", "x"), values, {"units": "1"})}, {"time": DAYS[:2], "y": y, "x": x})
    lon, lat = to.transform(*np.meshgrid(x, y), direction="INVERSE")
    if stated == "grid_mapping":
        data["crs"] = xr.DataArray(0, attrs=lambert.to_cf())
        data.sm_surface.attrs["grid_mapping"] = "crs"
    elif stated:
        places = {"lat": (("y", "x"), lat), "longitude": (("y", "x"), lon + 360)}
        data = data.assign_coords(places) if stated == "places" else data.drop_vars(["y", "x"]).assign(places)
    else:
        with pytest.raises(VadoseError, match="in no projection that is known; give coordinates lat and lon"):
            at(data, HERE)
        return
    np.testing.assert_allclose(at(data, HERE), 0.3)


def test_one_run_and_one_lead_are_forecasts_not_analyses() -> None:
    data = field(DAYS[:3])
    for name, coords in (
        ("init_time", {"init_time": DAYS[0]}),
        ("valid", {"time": DAYS[0], "step": ("valid_time", np.arange(3) * np.timedelta64(24, "h"))}),
    ):
        run = data.rename(time="valid_time").assign_coords(coords)
        found = at(run.swap_dims(valid_time="step") if name == "valid" else run, HERE)
        assert (found.sizes["init_time"], found.lead_time.dt.days.values.tolist()) == (1, [0, 1, 2])
    ahead = at(data.assign_coords(step=np.timedelta64(24, "h")), HERE)
    assert ahead.lead_time.dt.days.values.tolist() == [1]
    assert at(data.assign_coords(step=np.timedelta64(0, "h")), HERE).lead_time.dt.days.values.tolist() == [0]


def test_days_of_few_hours_are_left_out_and_times_come_once() -> None:
    hours = pd.date_range("2020-05-01 06:00", periods=24 * 2, freq="h")
    assert at(field(hours), HERE).init_time.dt.day.values.tolist() == [1, 2]  # 18 hours of the first, 6 of the third
    with pytest.raises(VadoseError, match="a time comes twice on time; keep one of each"):
        at(field(DAYS[[0, 0, 1]]), HERE)


def test_a_store_of_stations_is_an_analysis_at_its_stations(observed: Path, tmp_path: Path) -> None:
    told = tmp_path / "point.yaml"
    told.write_text(
        f"path: {observed}\nvariable: soil_moisture\nselect: {{layer: 0-10 cm}}\nlayer: [0, 5]\nmodel: point"
    )
    found = bias(told, observed, tmp_path / "scores")
    assert (found["model"], found["lead_days"], found["n_pairs"]) == ("point", 0, 360)
    assert found["median"] == pytest.approx(0.0, abs=1e-7)
    named = xr.open_zarr(observed, consolidated=False).assign_coords(station=["own:d", "own:e", "own:f"])
    later = named.assign_coords(station=["own:a", "own:b", "own:c"], time=DAYS + pd.Timedelta(days=999))
    with pytest.raises(VadoseError, match=r"predicted are 2020-05-01 .. 2020-08-28, observed 2023-01-25 .. 2023-05-24"):
        vd.evaluate([told], later, out=tmp_path / "later")
    with pytest.raises(VadoseError, match="are for the stations own:a, own:b, own:c, observed are own:d, own:e, own:f"):
        vd.evaluate([told], named, out=tmp_path / "other")


def cube_of_cells(values: Any) -> xr.Dataset:
    """A cube of 9 km around the stations with values (time, y, x) or a number."""
    grid = ease_grid("9km").bounding_box(-100.2, 39.8, -99.8, 40.2)
    cube = grid.coordinates().assign_coords(time=DAYS)
    cube["soil_moisture"] = ("time", "y", "x"), values + np.zeros((120, *grid.shape))
    return cube.assign_attrs(layer="0-10 cm", dataset="mine", simulated="false")


@pytest.mark.parametrize("kind", ["finer", "coarser", "places"])
def test_maps_of_any_grid_are_scored_on_the_cells_of_a_cube(kind: str, tmp_path: Path) -> None:
    step = 0.02 if kind == "finer" else 0.25
    lat, lon = np.arange(41.0, 39.0, -step), np.arange(-101.0, -99.0, step)
    waves = 0.2 + 0.05 * np.sin(np.arange(120) / 7)[:, None, None]
    where = {"time": DAYS, "latitude": lat, "longitude": lon}
    data = xr.Dataset({"swvl1": (tuple(where), waves + 0.1 * (lat[:, None] - 40) + 0 * lon, {"units": "1"})}, where)
    if kind == "places":
        both = np.meshgrid(lat, lon, indexing="ij")
        data = data.rename(latitude="south_north", longitude="west_east").drop_vars(["south_north", "west_east"])
        places = {n: (("south_north", "west_east"), of) for n, of in zip(("XLAT", "XLONG"), both, strict=True)}
        data = data.assign_coords(places)
    cube = cube_of_cells(0.0)
    centres = cube.lat.values
    if kind == "finer":  # the mean of its pixels lies at the middle of a cell
        expected, close = centres, 0.011
    else:
        expected, close = lat[np.abs(lat[:, None, None] - centres).argmin(axis=0)], 1e-6
    truth = cube_of_cells(waves + 0.1 * (expected - 40) - 0.03)
    scores = vd.evaluate([data], truth, out=tmp_path / "scores").table
    bias = scores[(scores.metric == "bias")].iloc[0]
    assert bias["n_pairs"] == 120 * centres.size
    assert bias["median"] == pytest.approx(0.03, abs=0.1 * close + 1e-5)
    by_cell = xr.open_zarr(tmp_path / "scores" / "scores.zarr", consolidated=False).value.sel(metric="bias")
    assert float(np.abs(by_cell - 0.03).max()) < 0.1 * close + 1e-5


def test_a_folder_of_granules_is_read_at_stations_and_on_cells(files: dict[str, Path], tmp_path: Path) -> None:
    folder = files["smap_l4"].parent
    day = pd.Timestamp(read_smap_l4(files["smap_l4"]).time.values[0]).normalize()
    times = pd.date_range(day - pd.Timedelta(days=1), periods=3)
    frame = pd.DataFrame({"date": times, "lat": 40.0, "lon": -100.0, "vwc_5cm (m3/m3)": [0.2, 0.21, 0.2]})
    observed = vd.stations(frame, out=tmp_path / "stations.zarr")
    found, product, layer = analysis_of_granules(folder, observed, None, lambda what, share: None)
    assert (product, layer, found.sizes["station"]) == ("smap_l4", (0.0, 5.0), 1)
    value = float(found.soil_moisture.sel(time=day)[0])
    scores = vd.evaluate([folder], tmp_path / "stations.zarr", out=tmp_path / "scores", min_pairs=1).table
    assert pd.DatetimeIndex(found.time.values).equals(pd.DatetimeIndex([day]))  # the world has granules of one day
    assert scores[scores.metric == "bias"].iloc[0]["median"] == pytest.approx(value - 0.21, abs=1e-6)
    cube = cube_of_cells(0.2).isel(time=[0, 1, 2]).assign_coords(time=times)
    maps = analysis_of_granules(folder, cube, None, lambda what, share: None)[0].soil_moisture
    row, column = grid_of(cube).rowcol(40.0, -100.0)
    assert float(maps.sel(time=day)[int(row), int(column)]) == pytest.approx(value, abs=1e-6)
    later = observed.assign_coords(time=times + pd.Timedelta(days=5000))
    with pytest.raises(VadoseError, match="no day in common"):
        analysis_of_granules(folder, later, None, lambda what, share: None)


def test_scores_are_those_of_pytesmo(observed: Path, tmp_path: Path) -> None:
    noisy = field()
    noisy["swvl1"] = noisy.swvl1.copy(data=0.8 * noisy.swvl1 + 0.02 * np.cos(np.arange(120.0))[:, None, None])
    noisy.swvl1.attrs["units"] = "1"
    vd.evaluate([noisy], observed, out=tmp_path / "scores")
    truth = xr.open_zarr(observed, consolidated=False).soil_moisture.sel(layer="0-10 cm", station="own:a").values
    p, o = at(noisy, HERE)[:, 0].values.astype(float), truth.astype(float)
    ours = xr.open_zarr(tmp_path / "scores" / "scores.zarr", consolidated=False).value.sel(site="own:a").squeeze()
    by_hand = {
        "bias": np.mean(p - o),
        "rmse": np.sqrt(np.mean((p - o) ** 2)),
        "ubrmse": np.std(p - o),
        "pearson_r": np.corrcoef(p, o)[0, 1],
    }
    for name, value in by_hand.items():
        np.testing.assert_allclose(float(ours.sel(metric=name)), value, rtol=1e-8, atol=1e-8)
    theirs = pytest.importorskip("pytesmo.metrics")
    for name, score in (("bias", theirs.bias), ("rmse", theirs.rmsd), ("ubrmse", theirs.ubrmsd)):
        np.testing.assert_allclose(by_hand[name], score(p, o), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(by_hand["pearson_r"], np.ravel(theirs.pearson_r(p, o))[0], rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "message"),
    [("smap_l4", "no Zarr store there"), ("a.grib2", "cfgrib"), ("a.csv", "vadose stations --table")],
)
def test_what_is_no_data_set_is_refused_with_the_way_on(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"GRIB") if "." in name else (tmp_path / name).mkdir()
    with pytest.raises(VadoseError, match=message):
        open_forecasts(tmp_path / name)


def members(step: float = 1.0) -> xr.Dataset:
    """Five members of an analysis; one is missing on ten days, all but one on the day after."""
    data = field(step=step, name="sm_surface")
    # The middle one is the observation itself on half of the days.
    apart = xr.DataArray([-0.0625, -0.03125, 0.0, 0.03125, 0.0625], dims="number")
    wave = xr.DataArray(np.sin(np.arange(120.0)), dims="time")
    found = (data.sm_surface - 0.03 + 0.02 * wave * (wave > 0) + apart).astype(np.float32)
    few = (found.time.dt.day <= 10) & (found.time.dt.month == 6) & (found.number == 4)
    one = (found.time == np.datetime64("2020-06-11")) & (found.number > 0)
    return found.where(~few & ~one).assign_attrs(units="1").to_dataset(name="sm_surface")


def test_an_ensemble_is_scored_by_its_members_as_by_hand(observed: Path, tmp_path: Path) -> None:
    members().to_netcdf(tmp_path / "gefs.nc")
    scores = vd.evaluate([tmp_path / "gefs.nc"], observed, out=tmp_path / "scores")
    truth = xr.open_zarr(observed, consolidated=False).soil_moisture.sel(layer="0-10 cm").values
    x, sites, counts, ties = members().sm_surface, [], np.zeros(6, int), 0
    for s in range(3):
        at_site = x.sel(latitude=LAT[s], longitude=LON[s], method="nearest").transpose("time", ...).values
        days = []
        for of, o in zip(at_site, truth[s], strict=True):
            known = of[np.isfinite(of)].astype(float)
            if (m := len(known)) < 2:
                continue
            half = np.abs(known[:, None] - known).sum() / (2 * m * (m - 1))
            variance = known.var(ddof=1)
            days.append(
                [np.abs(known - o).mean() - half, variance**0.5, (known.mean() - o) ** 2, (m + 1) / m * variance]
            )
            if m == 5:
                ties += int((of == np.float32(o)).sum())
                counts[(of < np.float32(o)).sum()] += 1
        crps, spread, error, expected = np.mean(days, axis=0)
        sites.append([crps, spread, np.sqrt(error), np.sqrt(expected / error)])
    found = scores.read("ensembles").iloc[0]
    by_hand = np.median(sites, axis=0)
    np.testing.assert_allclose(found[["crps", "spread", "rmse", "spread_error"]].astype(float), by_hand, rtol=1e-5)
    assert found[["n_members", "n_sites", "n_pairs", "n_pairs_lacking_members"]].tolist() == [5, 3, 357, 30]
    of_mean = scores.table.set_index("metric")
    assert of_mean["median"]["rmse"] == pytest.approx(found["rmse"], rel=1e-4)
    assert of_mean["n_pairs"]["rmse"] == 357
    ranks = scores.read("ranks")
    assert ranks["count"].sum() == ranks["n_pairs"][0] == 327
    assert ranks["rank"].tolist() == [0, 1, 2, 3, 4, 5]
    assert (ranks["seed"] == 0).all()
    assert ties > 30
    assert np.abs(ranks["count"] - counts).sum() <= 2 * ties


def test_members_on_cells_of_a_cube_and_the_quantile_score(tmp_path: Path) -> None:
    lat, lon, days = np.arange(40.3, 39.7, -0.03), np.arange(-100.3, -99.7, 0.03), DAYS[:9]
    apart = np.array([-0.02, 0.0, 0.05])[:, None, None, None]
    values = apart + 0.2 + 0.01 * np.sin(np.arange(9.0))[:, None, None] + np.zeros((len(lat), len(lon)))
    where = {"number": [0, 1, 2], "time": days, "latitude": lat, "longitude": lon}
    data = xr.Dataset({"swvl1": (tuple(where), values.astype(np.float32), {"units": "1"})}, where)
    truth = cube_of_cells(0.21 + 0.01 * np.sin(np.arange(120.0))[:, None, None])
    ensemble = vd.evaluate([data], truth, out=tmp_path / "members", min_pairs=9).read("ensembles").iloc[0]
    # |x - o| is 0.03, 0.01, 0.04; |x_i - x_j| 0.02, 0.05, 0.07.
    assert ensemble["crps"] == pytest.approx(0.08 / 3 - 2 * 0.14 / 12, abs=1e-6)
    assert ensemble["rmse"] == pytest.approx(0.0, abs=1e-6)
    told = data.rename(number="quantile").assign_coords(quantile=[0.1, 0.5, 0.9])
    scores = vd.evaluate([told], truth, out=tmp_path / "quantiles", min_pairs=9).read("quantiles")
    np.testing.assert_allclose(scores["quantile_score"], [0.1 * 0.03, 0.5 * 0.01, 0.1 * 0.04], atol=1e-6)
