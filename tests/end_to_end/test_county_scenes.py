"""Scenes of a county as they come: bands missing, two in a day, two zones, two orbits, months of cloud."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

import vadose as vd
from vadose import features
from vadose.cli.data import _LEFT_OUT, _say_left_out
from vadose.cube import Recipe, Source, build_from_granules
from vadose.errors import VadoseError
from vadose.gapfill.overpasses import fill_days
from vadose.grid import Grid, ease_grid, raster_coordinates
from vadose.products.dem import read_3dep
from vadose.resample import resample
from vadose.twin.granules.landsat import write_landsat
from vadose.twin.granules.sentinel1 import write_sentinel1
from vadose.twin.granules.terrain import write_3dep
from vadose.twin.truth import simulate

FIRST, LAST = "2019-06-01", "2019-07-05"
LANDSAT = pd.to_datetime(["2019-06-02", "2019-06-18", "2019-07-04"])
SIZE = 10
Build = Callable[..., xr.Dataset]


def county(lat: float = 40.0, lon: float = -99.97, size: int = SIZE) -> Grid:
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(lat, lon))
    return whole.part(slice(row - size // 2, row + size // 2), slice(column - size // 2, column + size // 2))


def clear(grid: Grid, first: str = FIRST, last: str = LAST) -> xr.Dataset:
    """Truth without clouds, snow and water."""
    truth = next(simulate(grid, first, last, chunk=200, spin_up=0))
    return truth.assign({name: truth[name] * 0 for name in ("cloud", "snow_water_equivalent", "water_fraction")})


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return clear(county())


@pytest.fixture(scope="module")
def granules(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("granules")
    write_landsat(truth, folder / "landsat")
    for orbit in ("ascending", "descending"):
        write_sentinel1(truth, folder / "sentinel1", orbit=orbit)
    return folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A cube of one product on the pixels of a grid."""

    def built(
        folder: Path, product: str, *names: str, grid: Grid | None = None, days: Any = (FIRST, LAST), **how: Any
    ) -> xr.Dataset:
        lat, lon = (of.values for of in (lambda c: (c.lat, c.lon))((grid or county()).coordinates()))
        box = (lon.min() - 1e-5, lat.min() - 1e-5, lon.max() + 1e-5, lat.max() + 1e-5)
        source = Source(product, {name: name for name in names}, "nearest", **({"gaps": "last_value"} | how))
        out = tmp_path_factory.mktemp(product) / "cube.zarr"
        return vd.open(build_from_granules(folder, out, Recipe("100m", box, *days, (source,), exact=True))).load()

    return built


@pytest.fixture(scope="module")
def ndvi(granules: Path, build: Build) -> xr.Dataset:
    return build(granules, "landsat", "ndvi")[["ndvi", "ndvi_filled", "ndvi_age"]]


def test_a_scene_without_a_band_is_said(granules: Path, build: Build, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "granules"
    shutil.copytree(granules / "landsat", folder / "landsat")
    (blue,) = (folder / "landsat").glob(f"*_{LANDSAT[1]:%Y%m%d}_*/*_SR_B2.TIF")
    blue.unlink()
    cube = build(folder, "landsat", "ndvi", "evi")
    # What the scene holds counts, and what it lacks grows older.
    assert cube.ndvi_age.sel(time=LANDSAT[1]).max() == 0
    assert cube.evi_age.sel(time=LANDSAT[1]).min() == 16
    left = {key: eval(cube.attrs[key]) for key in _LEFT_OUT}
    ((name, absent),) = left["incomplete_scenes"].items()
    assert (blue.parent.name in name, absent) == (True, "no reflectance_blue for evi")
    _say_left_out(left)
    assert f"{name}: no reflectance_blue for evi" in capsys.readouterr().out


def test_a_band_that_every_scene_lacks_is_named(granules: Path, build: Build, tmp_path: Path) -> None:
    shutil.copytree(granules / "sentinel1", tmp_path / "g" / "sentinel1")
    for file in (tmp_path / "g").rglob("*_VH.tif"):
        file.unlink()
    with pytest.raises(
        VadoseError, match=r"none with \['cross_ratio'\].*has no sigma0_vh or gamma0_vh for cross_ratio"
    ):
        build(tmp_path / "g", "sentinel1", "vv", "cross_ratio")


def test_two_scenes_of_a_day_are_a_mosaic(truth: xr.Dataset, ndvi: xr.Dataset, build: Build, tmp_path: Path) -> None:
    write_landsat(truth.isel(y=slice(None, 7)), tmp_path / "landsat", path_row="030031")
    write_landsat(truth.isel(y=slice(4, None)), tmp_path / "landsat", path_row="030032")
    xr.testing.assert_equal(build(tmp_path, "landsat", "ndvi").ndvi, ndvi.ndvi)


def test_a_county_across_a_seam_of_utm_zones(build: Build, tmp_path: Path) -> None:
    grid = county(lon=-96.0)
    truth = clear(grid, FIRST, f"{LANDSAT[1]:%Y-%m-%d}")
    east = truth.lon.values[0] > -96
    for part, row in ((truth.isel(x=~east), "031"), (truth.isel(x=east), "032")):
        write_landsat(part, tmp_path / "landsat", path_row=f"027{row}")
    zones = {rasterio.open(file).crs.to_epsg() for file in tmp_path.rglob("*_SR_B4.TIF")}
    assert zones == {32614, 32615}
    cube = build(tmp_path, "landsat", "ndvi", grid=grid, days=(FIRST, f"{LANDSAT[1]:%Y-%m-%d}"))
    seen = cube.ndvi_age.isel(x=0, y=0).values == 0
    expected = features.ndvi(truth.reflectance_red, truth.reflectance_nir).values[seen]
    np.testing.assert_allclose(cube.ndvi.values[seen], expected, atol=1e-3)


def test_tiles_of_3dep_meet_without_a_seam(truth: xr.Dataset, build: Build, tmp_path: Path) -> None:
    """A county at the corner of four tiles, which overlap by 12 pixels."""
    grid = county(lat=40.0, lon=-100.0)
    rough = clear(grid, FIRST, FIRST)
    rough["elevation"] = ("y", "x"), np.random.default_rng(0).uniform(0, 99, grid.shape).astype(np.float32)
    tiles = write_3dep(rough, tmp_path / "3dep")
    assert len(tiles) == 4
    cube = build(tmp_path, "3dep", "elevation", "slope", grid=grid, gaps="missing")
    read = [read_3dep(tile).elevation for tile in tiles]
    step = 1 / 3600
    left, top = min(float(of.lon[0]) for of in read), max(float(of.lat[0]) for of in read)
    whole = np.full((80, 80), np.nan)
    for of in read:
        row, column = round((top - float(of.lat[0])) / step), round((float(of.lon[0]) - left) / step)
        part = whole[row : row + of.sizes["lat"], column : column + of.sizes["lon"]]
        part[...] = np.where(np.isfinite(of), of, part)
    place = raster_coordinates("EPSG:4269", (left - step / 2, top + step / 2, step, step), whole.shape)
    height = place.assign(h=(("lat", "lon"), whole)).h
    for name, field in {"elevation": height, "slope": features.relief(height).slope}.items():
        found, expected = cube[name].values, resample(field, grid, "nearest")
        # At the county's rim the slope needs pixels that tiles do not hold.
        np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=0.01)
        assert np.isfinite(found[1:-1, 1:-1]).all()


def test_orbits_are_kept_apart(granules: Path, build: Build) -> None:
    names = ("cross_ratio", "incidence_angle", "orbit_ascending")
    apart = ("cross_ratio_ascending", "cross_ratio_descending")
    cube = build(granules, "sentinel1", *names, *apart, overlap="latest").isel(y=5, x=5)
    days, up = pd.DatetimeIndex(cube.time.values), cube.orbit_ascending.values
    seen = np.isfinite(up)
    assert days[up == 1].strftime("%m-%d").tolist() == ["06-03", "06-15", "06-27"]
    assert days[up == 0].strftime("%m-%d").tolist() == ["06-08", "06-20", "07-02"]
    assert cube.incidence_angle.values[seen] == pytest.approx(np.where(up[seen] == 1, 38, 33))
    for name, of in zip(apart, (1, 0), strict=True):
        np.testing.assert_array_equal(cube[name], cube.cross_ratio.where(cube.orbit_ascending == of))
        assert np.nanmax(cube[f"{name}_age"]) == 11
    # The last value of either pass comes with the angle it was seen at.
    assert np.nanmax(cube.cross_ratio_age) == 6
    np.testing.assert_array_equal(cube.incidence_angle_age, cube.cross_ratio_age)


def test_values_age_while_clouds_hide_the_ground(truth: xr.Dataset, build: Build, tmp_path: Path) -> None:
    hidden = truth.assign(cloud=xr.where(truth.time > LANDSAT[0], 1.0, truth.cloud).transpose("time", "y", "x"))
    hidden["cloud"][:, :3] = 1.0
    write_landsat(hidden, tmp_path / "landsat")
    cube = build(tmp_path, "landsat", "ndvi")
    assert cube.ndvi_age.isel(time=-1, x=0).values[3:].tolist() == [33.0] * (SIZE - 3)
    assert (cube.ndvi_filled[-1] == cube.ndvi_filled.sel(time=LANDSAT[0])).values[3:].all()
    assert np.isnan(cube.ndvi_filled[:, :3]).all()
    assert (eval(cube.attrs["never_observed"]), cube.ndvi_age.attrs["oldest_on_last_day"]) == ({"ndvi": 0.3}, 33.0)


@pytest.mark.parametrize("last", [LAST, "2019-06-12"], ids=["then seen", "not seen on the days themselves"])
def test_a_first_day_takes_what_was_seen_before_it(last: str, granules: Path, ndvi: xr.Dataset, build: Build) -> None:
    late = build(granules, "landsat", "ndvi", days=("2019-06-10", last))
    xr.testing.assert_equal(late[list(ndvi)], ndvi.sel(time=slice("2019-06-10", last)))


def test_lines_between_observations_are_the_papers(truth: xr.Dataset, build: Build, tmp_path: Path) -> None:
    hidden = truth.assign(cloud=truth.cloud.copy())
    hidden["cloud"].loc[{"time": LANDSAT[1]}] = np.eye(SIZE)
    write_landsat(hidden, tmp_path / "landsat")
    seen = build(tmp_path, "landsat", "ndvi").ndvi.drop_attrs()
    line = fill_days(seen.transpose("y", "x", "time"), "paper").ndvi.transpose("time", "y", "x")
    for days in ((FIRST, LAST), ("2019-06-10", "2019-06-12")):
        made = build(tmp_path, "landsat", "ndvi", days=days, gaps="linear")
        np.testing.assert_allclose(made.ndvi_filled, line.sel(time=slice(*days)), rtol=1e-6)
        assert made.ndvi_filled.attrs["causal"] == "false"
        assert "hindcast" in made.ndvi_filled.attrs["fill_method"]
        assert "ndvi_age" not in made


REAL = {"srtm": "terrain", "nlcd": "nlcd", "gridmet": "gridmet", "landsat": "landsat", "sentinel1": "sentinel1"}
CLOUDY, RADAR = ("2013-04-18", "2013-04-20"), ("2015-03-08", "2015-03-10")


def test_real_granules_of_one_place(real_data: Path, build: Build, tmp_path: Path) -> None:
    """Terrain, land cover and weather of a canyon in Utah; cloud over Georgia; backscatter of the Camargue."""
    for product, folder in REAL.items():
        (tmp_path / product).symlink_to(real_data / "granules" / folder)
    canyon, days = county(37.25, -113.0, 40), ("2019-01-20", "2019-01-22")
    ground = build(tmp_path, "srtm", "elevation", "slope", "aspect", grid=canyon, gaps="missing", days=days)
    assert ground.mask.all()
    assert (float(ground.elevation.min()), float(ground.slope.max())) == pytest.approx((1210, 62), rel=0.2)
    steep = np.hypot(*np.gradient(ground.elevation.values, 100.0))
    assert np.corrcoef(steep.ravel(), np.tan(np.radians(ground.slope.values)).ravel())[0, 1] > 0.7
    groups = tuple(f"land_cover_{group}" for group in features.NLCD_GROUPS["mmnet"])
    cover = build(tmp_path, "nlcd", *groups, grid=canyon, gaps="missing", days=days)
    assert set(np.unique(sum(cover[group] for group in groups))) <= {0.0, 1.0}
    # Rock is steeper than what plants grow on.
    assert (
        ground.slope.values[cover.land_cover_barren == 1].mean()
        > ground.slope.values[cover.land_cover_shrub == 1].mean()
    )
    warmest = build(tmp_path, "gridmet", "air_temperature_max", grid=canyon, gaps="missing", days=days)
    published = vd.read(real_data / "granules/gridmet/tmmx_20190121.nc").air_temperature_max[0]
    at = published.sel(lat=warmest.lat, lon=warmest.lon, method="nearest")
    np.testing.assert_array_equal(warmest.air_temperature_max[1], at)
    assert np.isnan(warmest.air_temperature_max[[0, 2]]).all()

    cloudy = {
        quality: build(tmp_path, "landsat", "ndvi", grid=county(34.8, -82.9), days=CLOUDY, options={"quality": quality})
        for quality in ("clear", "all")
    }
    assert eval(cloudy["clear"].attrs["never_observed"]) == {"ndvi": 1.0}
    assert abs(cloudy["all"].ndvi[1]).max() < 0.1

    radar = build(tmp_path, "sentinel1", "vv", "orbit_ascending", grid=county(43.594, 4.52), days=RADAR)
    assert (radar.orbit_ascending[1] == 1).all()
    assert 0.005 < float(radar.vv[1].min()) < float(radar.vv[1].max()) < 0.5
