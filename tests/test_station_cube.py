"""Cubes of stations: every value at its station, soil of its depth, nothing from the future."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.artefact import provenance
from vadose.cube import build_station_cube, open_cube
from vadose.errors import VadoseError
from vadose.insitu.files import folders_of
from vadose.insitu.store import build_stations

FIRST = "2020-01-01"
DAYS = pd.date_range("2019-12-28", periods=24)
LAYERS = {"0-10 cm": "0_10cm", "10-40 cm": "10_40cm", "40-100 cm": "40_100cm"}
# Not the depths of today's stores: the store says which sensor a layer is.
DEPTH_OF = {"0-10 cm": 10, "10-40 cm": 20, "40-100 cm": 100}
DEPTHS = [5, 10, 20, 50, 100]


def stations() -> xr.Dataset:
    """Three stations, the last without any moisture; a third of the days is missing."""
    rng = np.random.default_rng(0)
    moisture = rng.random((3, 3, len(DAYS))).astype(np.float32)
    moisture[rng.random(moisture.shape) < 0.3] = np.nan
    moisture[2] = np.nan
    # One depth, one number: 0.05 at 5 cm of the first station, 1.05 of the second.
    of_depth = (np.arange(3)[:, None] + np.array(DEPTHS) / 100).astype(np.float32)
    weather = rng.random((3, len(DAYS))).astype(np.float32)
    return xr.Dataset(
        {
            "soil_moisture": (("station", "layer", "time"), moisture),
            "soil_moisture_causal": (("station", "layer", "time"), moisture.copy()),
            "soil_temperature": (("station", "depth", "time"), np.full((3, 5, len(DAYS)), 290, np.float32)),
            "precipitation": (("station", "time"), 10 * weather),
            "air_temperature": (("station", "time"), 280 + weather),
            "sand_fraction": (("station", "depth"), of_depth / 10),
            "clay_fraction": (("station", "depth"), of_depth / 20),
        },
        coords={
            "station": np.array(["A:one", "A:two", "B:three"], object),
            "network": ("station", np.array(["A", "A", "B"], object)),
            "layer": np.array(list(LAYERS), object),
            "depth": DEPTHS,
            "time": DAYS,
            "lat": ("station", [30.0, 40.0, 45.0]),
            "lon": ("station", [-90.0, -100.0, -110.0]),
            "elevation": ("station", [10.0, 500.0, np.nan]),
        },
        attrs={
            "dataset": "A+B",
            "day_boundary": '{"A": "local", "B": "UTC"}',
            "simulated": "true",
            "layer_depths": json.dumps(DEPTH_OF),
        },
    )


def write(dataset: xr.Dataset, path: Path) -> Path:
    dataset.assign_attrs(provenance(made_of="files")).to_zarr(path, mode="w", zarr_format=3, consolidated=False)
    return path


def cube_of(dataset: xr.Dataset, folder: Path) -> xr.Dataset:
    store = write(dataset, folder / "stations.zarr")
    return open_cube(build_station_cube(store, folder / "cube.zarr", first=FIRST)).load()


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    return cube_of(stations(), tmp_path_factory.mktemp("cube"))


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_a_variable_and_each_station_a_row(cube: xr.Dataset, layer: str) -> None:
    known = stations().sel(time=slice(FIRST, None))
    found = cube[f"soil_moisture_{LAYERS[layer]}"]
    assert (found.dims, found.dtype) == (("time", "y", "x"), np.float32)
    np.testing.assert_array_equal(found.values[:, :, 0], known.soil_moisture.sel(layer=layer).values.T)
    assert found.attrs["units"] == "m3 m-3"
    np.testing.assert_array_equal(cube.air_temperature.values[:, :, 0], known.air_temperature.values.T)


def test_rows_say_which_station_they_are_and_where(cube: xr.Dataset) -> None:
    assert cube.station.values.tolist() == ["A:one", "A:two", "B:three"]
    assert cube.network.values.tolist() == ["A", "A", "B"]
    for name in ("lat", "latitude"):
        assert cube[name].values[:, 0].tolist() == [30, 40, 45]
    for name in ("lon", "longitude"):
        assert cube[name].values[:, 0].tolist() == [-90, -100, -110]
    assert cube.elevation.values[:, 0].tolist() == pytest.approx([10, 500, np.nan], nan_ok=True)
    assert cube["mask"].values[:, 0].tolist() == [True, True, False]


@pytest.mark.parametrize("layer", LAYERS)
def test_soil_is_that_of_the_sensor_of_the_layer(cube: xr.Dataset, layer: str) -> None:
    depth = DEPTH_OF[layer] / 100
    for name, share in (("sand_fraction", 10), ("clay_fraction", 20)):
        found = cube[f"{name}_{LAYERS[layer]}"].values[:, 0]
        np.testing.assert_allclose(found, (np.arange(3) + depth) / share, rtol=1e-6)
    # The store has none.
    assert not [name for name in cube if str(name).startswith("bulk_density")]


def test_days_before_the_first_are_cut_and_leave_no_trace(cube: xr.Dataset, tmp_path: Path) -> None:
    assert np.datetime_as_string(cube.time.values[[0, -1]], "D").tolist() == [FIRST, "2020-01-20"]
    other = stations()
    other.soil_moisture[:2, :, :4] = 0.9
    other.precipitation[:, :4] = 500
    xr.testing.assert_equal(cube_of(other, tmp_path), cube)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_filled_value_is_the_last_one_observed(cube: xr.Dataset, layer: str) -> None:
    name = f"soil_moisture_{LAYERS[layer]}"
    observed = pd.DataFrame(cube[name].values[:, :, 0])
    np.testing.assert_array_equal(cube[f"{name}_filled"].values[:, :, 0], observed.ffill())
    np.testing.assert_array_equal(cube[f"{name}_observed"].values[:, :, 0], observed.notna())
    for station, series in observed.items():
        last, ages = None, cube[f"{name}_age"].values[:, station, 0]
        for day, value in enumerate(series):
            last = day if np.isfinite(value) else last
            assert np.isnan(ages[day]) if last is None else ages[day] == day - last


def test_the_past_does_not_know_the_future(cube: xr.Dataset, tmp_path: Path) -> None:
    later = stations()
    for name in ("soil_moisture", "soil_moisture_causal"):
        later[name][:2, :, 14:] = 0.99
    later.precipitation[:, 14:] = 400
    changed = cube_of(later, tmp_path)
    xr.testing.assert_equal(
        changed.sel(time=slice(None, DAYS[13])).drop_vars("mask"),
        cube.sel(time=slice(None, DAYS[13])).drop_vars("mask"),
    )
    assert float(changed.soil_moisture_0_10cm_filled[-1, 0, 0]) == pytest.approx(0.99)


def test_what_a_later_day_shows_to_be_wrong_is_left_out_of_the_target_alone(cube: xr.Dataset, tmp_path: Path) -> None:
    later = stations()
    later.soil_moisture[:, :, 10] = np.nan
    changed = cube_of(later, tmp_path)
    assert changed.soil_moisture_0_10cm.sel(time=DAYS[10]).isnull().all()
    targets = [f"soil_moisture_{part}" for part in LAYERS.values()]
    xr.testing.assert_equal(changed.drop_vars(targets), cube.drop_vars(targets))


def test_single_odd_values_are_missing_and_counted_and_many_refused(cube: xr.Dataset, tmp_path: Path) -> None:
    assert cube.attrs["outside_range"] == "{}"
    odd = stations()
    odd.soil_moisture_causal[0, 0, 10] = -9999.0
    changed = cube_of(odd, tmp_path)
    assert changed.soil_moisture_0_10cm_observed.sel(time=DAYS[10])[0, 0] == 0
    assert json.loads(changed.attrs["outside_range"]) == {"soil_moisture_causal": 1}
    with pytest.raises(VadoseError, match=r"values of soil_moisture lie outside 0 \.\. 1 \(m3 m-3\)"):
        cube_of(odd.assign(soil_moisture=100 * odd.soil_moisture), tmp_path)


def test_a_store_without_causal_screening_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"stations.zarr: no soil_moisture_causal .* make the store again"):
        cube_of(stations().drop_vars("soil_moisture_causal"), tmp_path)


def test_rain_is_summed_over_the_days_up_to_the_day(cube: xr.Dataset) -> None:
    week = cube.precipitation.values[4:11].sum(axis=0)
    np.testing.assert_allclose(cube.precipitation_7d.values[10], week, rtol=1e-5)
    assert {"precipitation_30d", "precipitation_90d"} <= set(cube)


def test_it_says_what_it_was_made_from(cube: xr.Dataset) -> None:
    told = {key: cube.attrs[key] for key in ("dataset", "simulated", "day_boundary", "layer")}
    assert told == {
        "dataset": "A+B",
        "simulated": "true",
        "day_boundary": '{"A": "local", "B": "UTC"}',
        "layer": "0-10 cm",
    }
    assert json.loads(cube.attrs["inputs"]).keys() == {"stations", "first"}


def test_it_is_left_alone_when_current(tmp_path: Path) -> None:
    store, out = write(stations(), tmp_path / "stations.zarr"), tmp_path / "cube.zarr"

    def written(first: str = FIRST) -> int:
        return (build_station_cube(store, out, first=first) / "zarr.json").stat().st_mtime_ns

    once = written()
    assert written() == once
    another_day = written("2020-01-05")
    assert another_day != once
    assert open_cube(out).sizes["time"] == 16
    edited = stations()
    edited["soil_moisture"] = edited.soil_moisture * np.float32(0.9)
    write(edited, store)
    assert written("2020-01-05") != another_day


def test_without_a_station_store_it_is_refused(tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished.zarr"
    stations().to_zarr(unfinished, zarr_format=3, consolidated=False)
    for path in (tmp_path / "nothing.zarr", unfinished):
        with pytest.raises(VadoseError, match="no station store there") as told:
            build_station_cube(path, tmp_path / "cube.zarr", first=FIRST)
        assert str(path) in str(told.value)
    assert not (tmp_path / "cube.zarr").exists()


def uscrn_files(data: Path) -> Path:
    """Two weeks of one station, as published; moisture falls by the day and rises by the sensor."""
    folder = data / "uscrn_daily01" / "2020"
    folder.mkdir(parents=True)
    lines = []
    for number, day in enumerate(pd.date_range("2020-05-01", periods=14)):
        moisture = " ".join(f"{0.3 - 0.001 * number + 0.02 * sensor:.3f}" for sensor in range(5))
        lines.append(
            f"63869 {day:%Y%m%d} 2.622 -87.88 30.55 24.2 17.1 20.6 20.3 0.0 6.00 C 27.8 17.1 20.7 95.7 "
            f"80.2 92.8 {moisture} 15.0 15.0 15.0 15.0 15.0\n"
        )
    (folder / "CRND0103-2020-AL_Fairhope_3_NE.txt").write_text("".join(lines))
    return data


def test_a_folder_of_station_files_becomes_a_cube(tmp_path: Path) -> None:
    store = build_stations(tmp_path / "stations.zarr", **folders_of(uscrn_files(tmp_path)))
    cube = open_cube(build_station_cube(store, tmp_path / "cube.zarr", first="2020-05-03"))
    assert dict(cube.sizes) == {"time": 12, "y": 1, "x": 1}
    assert cube.station.values.tolist() == ["USCRN:AL_Fairhope_3_NE"]
    # Sensors at 5, 20 and 50 cm.
    first = [float(cube[f"soil_moisture_{part}"][0, 0, 0]) for part in LAYERS.values()]
    assert first == pytest.approx([0.298, 0.338, 0.358])
    assert cube.attrs["simulated"] == "false"


def test_folders_of_stations_are_found_by_their_names(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="no folder 'uscrn_daily01', 'scan_daily' or 'ismn'") as told:
        folders_of(tmp_path)
    assert str(tmp_path) in str(told.value)
    (tmp_path / "station_meta").mkdir()
    with pytest.raises(VadoseError, match="no folder"):
        folders_of(tmp_path)
    scan, metadata, uscrn = (tmp_path / name for name in ("scan_daily", "station_meta", "uscrn_daily01"))
    scan.mkdir()
    uscrn.write_text("a file, not a folder")
    assert folders_of(tmp_path) == {"scan": scan, "metadata": metadata}
    uscrn.unlink()
    uscrn.mkdir()
    assert folders_of(tmp_path) == {"uscrn": uscrn, "scan": scan, "metadata": metadata}
    metadata.rmdir()
    assert folders_of(tmp_path) == {"uscrn": uscrn, "scan": scan}
