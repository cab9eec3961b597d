"""SMAP-HydroBlocks maps and response units written by the simulated world."""

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from vadose.cube.at_stations import extract
from vadose.errors import VadoseError
from vadose.grid import grid_of
from vadose.products.smap_hydroblocks import FILE_NAME, is_smap_hydroblocks, read_smap_hydroblocks
from vadose.twin.granules.smap_hydroblocks import write_smap_hydroblocks, write_smap_hydroblocks_hru
from vadose.twin.truth import at, example


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Three days over the turn of a month; SMAP passes on the first and the last."""
    truth = example(days=3, first="2019-05-30", resolution="100m")
    truth["overpass_am"][:] = 0
    truth["overpass_pm"][:] = 0
    truth["overpass_am"][0] = 1
    truth["overpass_pm"][2] = 1
    return truth


@pytest.fixture(scope="module")
def written(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_smap_hydroblocks(truth, tmp_path_factory.mktemp("smaphb"))


@pytest.fixture
def file(written: list[Path], tmp_path: Path) -> Path:
    return shutil.copy(written[0], tmp_path / written[0].name)


def expected(truth: xr.Dataset, dataset: xr.Dataset) -> np.ndarray:
    lon, lat = np.meshgrid(dataset.lon, dataset.lat)
    values = at(truth.soil_moisture_0_10cm.sel(time=dataset.time), lat, lon)
    return np.where(at(truth.overpass_am.sel(time=dataset.time), lat, lon) > 0, values, np.nan)


def test_maps_are_the_truth_where_smap_passed(truth: xr.Dataset, written: list[Path]) -> None:
    assert [p.name[-10:] for p in written] == ["2019-05.nc", "2019-06.nc"]
    dataset = read_smap_hydroblocks(written[0])
    assert dataset.soil_moisture.dims == ("time", "lat", "lon")
    assert dataset.soil_moisture.dtype == np.float32
    assert list(dataset.time.values) == [np.datetime64("2019-05-30", "ns"), np.datetime64("2019-05-31", "ns")]
    assert (np.diff(dataset.lat) < 0).all()
    assert np.diff(dataset.lon) == pytest.approx(1 / 3600)
    np.testing.assert_array_equal(dataset.soil_moisture, expected(truth, dataset))
    assert dataset.soil_moisture[0].notnull().mean() > 0.7
    assert dataset.soil_moisture[1].isnull().all()
    assert dataset.attrs["simulated"] == "true"
    assert dataset.attrs["granule"] == written[0].name
    assert FILE_NAME.fullmatch(written[0].name)
    assert is_smap_hydroblocks(written[0])


def test_one_time_that_lost_its_axis_is_read(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.nc"
    with xr.open_dataset(file) as raw:
        raw.isel(time=0).to_netcdf(path)
        raw.isel(time=0).drop_vars("time").to_netcdf(tmp_path / "none.nc")
    part, whole = read_smap_hydroblocks(path), read_smap_hydroblocks(file)
    xr.testing.assert_equal(part.soil_moisture, whole.soil_moisture.isel(time=[0]))
    with pytest.raises(VadoseError, match="no variable 'time'"):
        read_smap_hydroblocks(tmp_path / "none.nc")


def test_another_reader_finds_the_same(file: Path) -> None:
    dataset = read_smap_hydroblocks(file)
    with xr.open_dataset(file) as decoded:
        north_up = decoded.SMAPHB_SM.sortby("lat", ascending=False).load()
    np.testing.assert_array_equal(dataset.soil_moisture, north_up)
    np.testing.assert_array_equal(dataset.time, north_up.time)
    np.testing.assert_allclose(dataset.lat, north_up.lat, atol=1e-10)
    np.testing.assert_allclose(dataset.lon, north_up.lon, atol=1e-10)


def test_longitudes_that_run_to_360_are_those_of_the_west(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "turned.nc"
    with xr.open_dataset(file, mask_and_scale=False, decode_times=False) as raw:
        turned = raw.load().assign_coords(lon=("lon", raw.lon.values % 360, raw.lon.attrs))
    turned.to_netcdf(path)
    np.testing.assert_allclose(read_smap_hydroblocks(path).lon, read_smap_hydroblocks(file).lon)


def test_north_first_files_and_boxes_are_placed_alike(file: Path, tmp_path: Path) -> None:
    whole = read_smap_hydroblocks(file)
    north_first = tmp_path / "north.nc"
    with xr.open_dataset(file, mask_and_scale=False) as stored:
        stored.isel(lat=slice(None, None, -1)).to_netcdf(north_first)
    xr.testing.assert_allclose(read_smap_hydroblocks(north_first), whole, rtol=0, atol=1e-9)
    for path in (file, north_first):
        part = read_smap_hydroblocks(path, bbox=(-100.004, 39.997, -99.999, 40.001))
        assert 0 < part.sizes["lat"] < whole.sizes["lat"]
        nearest = whole.sel(lat=part.lat, lon=part.lon, method="nearest")
        np.testing.assert_allclose(nearest.lat, part.lat, atol=1e-9)
        np.testing.assert_array_equal(part.soil_moisture, nearest.soil_moisture)
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_smap_hydroblocks(file, bbox=(-90, 39, -89, 40))


def test_several_maps_a_day_are_averaged(tmp_path: Path) -> None:
    times = np.array(["2019-06-01T06", "2019-06-01T12", "2019-06-01T18", "2019-06-03T06"], "datetime64[ns]")
    values = np.full((4, 2, 2), -9999, np.float32)
    values[[0, 2, 3]] = np.array([0.1, 0.3, 0.25], np.float32)[:, None, None]
    path = tmp_path / "SMAP-HB_surface-soil-moisture_30m_6h_2019-06.nc"
    maps = xr.Dataset(
        {"SMAPHB_SM": (("time", "lat", "lon"), values)},
        {"time": times, "lat": [40.0, 40.0 + 1 / 3600], "lon": [-100.0, -100.0 + 1 / 3600]},
    )
    maps.to_netcdf(path, encoding={"SMAPHB_SM": {"_FillValue": -9999.0}})
    dataset = read_smap_hydroblocks(path)
    np.testing.assert_allclose(dataset.soil_moisture[:, 0, 0], [0.2, np.nan, 0.25], rtol=1e-6)
    assert dataset.soil_moisture.attrs["units"] == "m3 m-3"
    assert dataset.crs.attrs["grid_mapping_name"] == "latitude_longitude"
    as_stored = read_smap_hydroblocks(path, mean="none")
    np.testing.assert_array_equal(as_stored.time, times)
    assert as_stored.attrs["day_boundary"] == "UTC, every 6 hours"


def test_units_of_a_catchment_are_mapped(truth: xr.Dataset, tmp_path: Path) -> None:
    path, hrus, catchments = write_smap_hydroblocks_hru(truth, tmp_path)
    dataset = read_smap_hydroblocks(path, hru_map=hrus, catchment_map=catchments)
    xr.testing.assert_identical(dataset, read_smap_hydroblocks(path))  # the archive's own maps
    assert dataset.soil_moisture.dims == ("time", "lat", "lon")
    assert dataset.sizes["time"] == 3
    with rasterio.open(catchments) as raster:
        own = raster.read(1) == 1234
    assert 0 < own.mean() < 1
    lon, lat = np.meshgrid(dataset.lon, dataset.lat)
    moisture = at(truth.soil_moisture_0_10cm, lat, lon)
    for day in (0, 2):
        # The writer places pixels to 0.1 m: one on a cell's edge may fall to either side.
        hoped = np.where(own, moisture[day], np.nan)
        assert np.isclose(dataset.soil_moisture[day], hoped, rtol=1e-6, equal_nan=True).mean() > 0.995
    assert dataset.soil_moisture[1].isnull().all()
    sub_daily = read_smap_hydroblocks(path, hru_map=hrus, catchment_map=catchments, mean="none")
    assert sub_daily.sizes["time"] == 12
    np.testing.assert_array_equal(sub_daily.soil_moisture[2], dataset.soil_moisture[0])
    assert is_smap_hydroblocks(path)


def test_a_station_is_read_in_the_archive(truth: xr.Dataset, tmp_path: Path) -> None:
    write_smap_hydroblocks_hru(truth, tmp_path / "smap_hydroblocks")
    grid = grid_of(truth)
    lat, lon = grid.latlon(np.array([1, 0]), np.array([1, 2]))
    place = {"lat": ("station", lat), "lon": ("station", lon)}
    stations = xr.Dataset(coords={"station": ["a", "b"], **place})
    days = pd.DatetimeIndex(truth.time.values)
    found = extract(tmp_path, stations, days).soil_moisture_smap_hydroblocks
    assert np.isfinite(found[:, [0, 2]]).all()
    assert found[:, 1].isnull().all()


def test_a_map_that_does_not_fit_the_units_is_refused(truth: xr.Dataset, tmp_path: Path) -> None:
    path, hrus, catchments = write_smap_hydroblocks_hru(truth, tmp_path)
    alone = tmp_path / "elsewhere" / "units" / path.name
    alone.parent.mkdir(parents=True)
    alone.symlink_to(path)
    with pytest.raises(VadoseError, match=r"holds \d+ response units and not where they lie; give hru_map="):
        read_smap_hydroblocks(alone)
    with rasterio.open(hrus, "r+") as raster:
        values = raster.read(1)
        values[values == 5] = 5000
        raster.write(values, 1)
    with pytest.raises(VadoseError, match=r"1 of its units are not in 1234.nc"):
        read_smap_hydroblocks(path, hru_map=hrus, catchment_map=catchments)
    with pytest.raises(VadoseError, match="cut a GeoTIFF from it first"):
        read_smap_hydroblocks(path, hru_map=tmp_path / "all_hrus.vrt")
    with pytest.raises(VadoseError, match="mean 'week' unknown"):
        read_smap_hydroblocks(path, hru_map=hrus, mean="week")
    with pytest.raises(VadoseError, match="named otherwise than by the catchment's number"):
        read_smap_hydroblocks(path.rename(path.with_name("a.nc")), hru_map=hrus, catchment_map=catchments)


def _change(change: Callable[[h5py.File], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as stored:
            change(stored)

    return damage


def _set(values: float) -> Callable[[h5py.File], object]:
    return lambda stored: stored["SMAPHB_SM"].__setitem__(Ellipsis, values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "cut short or damaged"),
        (lambda p: p.write_bytes(b""), "the file is empty"),
        (lambda p: p.write_text("<!doctype html><html></html>"), "a web page, not data"),
        (lambda p: p.write_bytes(b"II*\0" + b"\0" * 99), "found a tiff file where netCDF"),
        (_change(lambda f: f.move("SMAPHB_SM", "SM")), r"no variable 'SMAPHB_SM' \(found: \['SM', 'lat'"),
        (_change(_set(-9999)), "nothing but fill"),
        (_change(_set(25.0)), r"values of soil_moisture lie outside 0 .. 1 m3 m-3 \(found 25 .. 25\)"),
        (_change(lambda f: f["time"].attrs.__delitem__("units")), "'time' has no units"),
        (_change(lambda f: f["time"].__setitem__(1, 0)), "times are not rising"),
        (_change(lambda f: f["lat"].__setitem__(3, 10.0)), "not evenly spaced"),
        (lambda p: p.unlink(), "no such file"),
    ],
)
def test_damage_is_named(file: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(file)
    with pytest.raises(VadoseError, match=message) as error:
        read_smap_hydroblocks(file)
    assert file.name in str(error.value)


def test_means_of_months_are_refused(file: Path) -> None:
    monthly = file.rename(file.with_name("SMAP-HB_surface-soil-moisture_30m_monthly_2019-05.nc"))
    with pytest.raises(VadoseError, match="monthly means; make daily"):
        read_smap_hydroblocks(monthly)
