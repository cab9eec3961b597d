"""Features at stations from simulated granules against the truth at their cells, and from real files."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio import Affine
from rasterio.warp import transform
from scipy.ndimage import gaussian_filter

from vadose import features
from vadose.artefact import provenance
from vadose.cube.at_stations import extract
from vadose.cube.recipe import RUN_UP
from vadose.cube.station_table import build_features, build_station_table
from vadose.errors import VadoseError
from vadose.features import SPECKLE, despeckle
from vadose.gapfill.overpasses import fill_days
from vadose.grid import ease_grid, grid_of
from vadose.products.dem import read_srtm
from vadose.resample import resample
from vadose.twin.granules.gridmet import write_gridmet
from vadose.twin.granules.landsat import write_hls, write_landsat
from vadose.twin.granules.modis import write_mod11a1
from vadose.twin.granules.sentinel1 import write_sentinel1
from vadose.twin.granules.smap_hydroblocks import write_smap_hydroblocks
from vadose.twin.granules.smap_l4 import write_smap_l4
from vadose.twin.granules.soils import write_polaris
from vadose.twin.granules.terrain import write_3dep, write_nlcd, write_srtm
from vadose.twin.truth import at, example

FIRST = "2019-05-01"
DAYS = pd.date_range(FIRST, periods=40)
LANDSAT = pd.to_datetime(["2019-05-01", "2019-05-17", "2019-06-02"])
SENTINEL1 = pd.to_datetime(["2019-05-10", "2019-05-22", "2019-06-03"])
OPTICAL = ("ndvi", "evi", "ndwi", "lswi")
RADAR = ("cross_ratio", "dpsvim", "polarization")
GROUPS = ("barren", "crop", "developed", "forest", "grassland", "pasture", "shrub", "wetland")


@pytest.fixture(scope="module")
def fine() -> xr.Dataset:
    """Truth at 100 m; the second Landsat day is cloudy in the north, all of it open land without snow."""
    truth = example(days=len(DAYS), rows=16, columns=16, first=FIRST, resolution="100m")
    truth["cloud"][:] = 0
    truth["cloud"].loc[{"time": LANDSAT[1], "y": truth.y[:8]}] = 1
    truth["water_fraction"][:] = 0
    truth["snow_water_equivalent"][:] = 0
    truth["land_cover_nlcd"][:, 8:] = 82.0
    truth["land_cover_nlcd"][:, :8] = 42.0
    truth["land_cover_nlcd"][:3] = 11.0
    return truth


@pytest.fixture(scope="module")
def coarse() -> xr.Dataset:
    """Truth at 9 km around the same place, and clear skies on the third day alone."""
    truth = example(days=4, rows=8, columns=8, first=FIRST)
    truth["cloud"][:] = 1
    truth["cloud"][2] = 0
    truth["water_fraction"][:] = 0
    return truth


@pytest.fixture(scope="module")
def world(fine: xr.Dataset, coarse: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("granules")
    write_landsat(fine, folder / "landsat")
    write_sentinel1(fine, folder / "sentinel1")
    write_smap_hydroblocks(fine.isel(time=slice(5)), folder / "smap_hydroblocks")
    write_nlcd(fine, folder / "nlcd")
    write_polaris(fine, folder / "polaris", properties=("clay", "sand", "bd", "silt"), depths=("0_5", "5_15"))
    write_3dep(fine, folder / "3dep")
    write_gridmet(coarse, folder / "gridmet", variables=("pr", "srad", "sph", "vpd", "vs", "pet", "tmmx"))
    write_smap_l4(coarse.isel(time=slice(1)), folder / "smap_l4")
    write_mod11a1(coarse.isel(time=slice(2, 3)), folder / "mod11a1")
    write_mod11a1(coarse.isel(time=slice(2, 3)), folder / "mod11a1", satellite="aqua")
    return folder


@pytest.fixture(scope="module")
def stations(fine: xr.Dataset) -> xr.Dataset:
    """Four stations inside, off the centres of their cells: clouded, clear, on water; and one far away."""
    row, column = np.array([5, 12, 1]), np.array([4, 11, 7])
    lat, lon = grid_of(fine).latlon(row, column)
    return xr.Dataset(
        coords={
            "station": ["north", "south", "lake", "elsewhere"],
            "network": ("station", ["A", "A", "B", "B"]),
            "lat": ("station", [*(lat + 2e-4), 45.0]),
            "lon": ("station", [*(lon - 3e-4), -110.0]),
            "elevation": ("station", [1.0, 2.0, 3.0, 4.0]),
        },
        attrs={"dataset": "made up", "day_boundary": '{"A": "UTC"}', "simulated": "true"},
    )


@pytest.fixture(scope="module")
def causal(world: Path, stations: xr.Dataset) -> xr.Dataset:
    return extract(world, stations, DAYS)


@pytest.fixture(scope="module")
def paper(world: Path, stations: xr.Dataset) -> xr.Dataset:
    folders = {name: world / name for name in ("landsat", "gridmet")}
    return extract(folders, stations, DAYS, mode="paper")


def truth_at(values: xr.DataArray, stations: xr.Dataset) -> np.ndarray:
    """(station, ...) truth of the cells that hold the stations."""
    return np.moveaxis(at(values, stations.lat.values, stations.lon.values), -1, 0)


def test_optical_indices_are_those_of_the_truth_on_clear_overpasses(
    causal: xr.Dataset, fine: xr.Dataset, stations: xr.Dataset
) -> None:
    bands = {name: fine[f"reflectance_{name}"] for name in ("blue", "green", "red", "nir", "swir1")}
    known = {
        "ndvi": features.ndvi(bands["red"], bands["nir"]),
        "evi": features.evi(bands["blue"], bands["red"], bands["nir"]),
        "ndwi": features.ndwi(bands["green"], bands["nir"]),
        "lswi": features.lswi(bands["nir"], bands["swir1"]),
    }
    for name in OPTICAL:
        expected = truth_at(known[name].sel(time=LANDSAT).transpose("time", "y", "x"), stations)
        found = causal[name].sel(time=LANDSAT).values
        np.testing.assert_allclose(found[1], expected[1], atol=5e-4)
        np.testing.assert_allclose(found[0, [0, 2]], expected[0, [0, 2]], atol=5e-4)
        # Clouded on the second overpass: the first one's value, 16 days old.
        assert found[0, 1] == found[0, 0]
        assert causal[f"{name}_age"].sel(time=LANDSAT[1]).values.tolist()[:2] == [16.0, 0.0]
        assert np.isnan(found[3]).all()


def test_between_overpasses_the_last_value_ages(causal: xr.Dataset) -> None:
    south, age = causal.ndvi[1].to_series(), causal.ndvi_age[1].to_series()
    for day in DAYS:
        last = LANDSAT[day >= LANDSAT][-1]
        assert (south[day], age[day]) == (south[last], (day - last).days)


def test_the_paper_draws_a_line_and_needs_the_next_overpass(paper: xr.Dataset, causal: xr.Dataset) -> None:
    assert not [name for name in paper if str(name).endswith("_age")]
    line, seen = paper.ndvi[1].to_series(), causal.ndvi[1].to_series()
    first, second, third = (seen[day] for day in LANDSAT)
    np.testing.assert_allclose(line[LANDSAT[0] + pd.Timedelta(days=4)], first + (second - first) * 4 / 16, rtol=1e-5)
    np.testing.assert_allclose(line[LANDSAT[2] - pd.Timedelta(days=2)], second + (third - second) * 14 / 16, rtol=1e-5)
    assert line[: LANDSAT[2]].notna().all()
    assert line[LANDSAT[2] + pd.Timedelta(days=1) :].isna().all()
    # Clouded on the second day: one line from the first to the third.
    north = paper.ndvi[0].to_series()
    np.testing.assert_allclose(north[LANDSAT[1]], (north[LANDSAT[0]] + north[LANDSAT[2]]) / 2, rtol=1e-5)
    np.testing.assert_array_equal(paper.precipitation, causal.precipitation)


def test_the_paper_reads_overpasses_beyond_both_ends(world: Path, stations: xr.Dataset, paper: xr.Dataset) -> None:
    some = pd.date_range("2019-05-05", "2019-05-10")
    found = extract({"landsat": world / "landsat"}, stations, some, mode="paper")
    np.testing.assert_array_equal(found.ndvi, paper.ndvi.sel(time=some))
    assert np.isfinite(found.ndvi[:3]).all()


def test_what_is_later_changes_nothing_before_it(world: Path, stations: xr.Dataset, causal: xr.Dataset) -> None:
    folders = {name: world / name for name in ("landsat", "sentinel1")}
    until = DAYS[LANDSAT[2] > DAYS]
    xr.testing.assert_equal(
        extract(folders, stations, until).drop_attrs(deep=False),
        causal[[*(f"{n}{a}" for n in (*OPTICAL, *RADAR) for a in ("", "_age"))]]
        .sel(time=until)
        .assign_coords(elevation=stations.elevation)
        .drop_attrs(deep=False),
    )


def test_radar_indices_are_of_filtered_power(causal: xr.Dataset, world: Path, stations: xr.Dataset) -> None:
    for number, scene in enumerate(sorted((world / "sentinel1").iterdir())):
        smooth = {}
        for band in ("VV", "VH"):
            with rasterio.open(scene / f"{scene.name}_{band}.tif") as file:
                power = file.read(1).astype(float)
                x, y = transform("EPSG:4326", file.crs, causal.cell_lon[:2], causal.cell_lat[:2])
                rows, columns = rasterio.transform.rowcol(file.transform, x, y)
            smooth[band] = xr.DataArray(gaussian_filter(power, SPECKLE / 30, truncate=3.0)[rows, columns], dims="s")
        vv, vh = smooth["VV"], smooth["VH"]
        for name in RADAR:
            found = causal[name].sel(time=SENTINEL1[number]).values[:2]
            np.testing.assert_allclose(found, getattr(features, name)(vv, vh).values, rtol=1e-4)
    assert causal.cross_ratio_age.sel(time=SENTINEL1 + pd.Timedelta(days=5)).values[:2].tolist() == [[5.0] * 3] * 2
    assert causal.cross_ratio.sel(time=slice(None, SENTINEL1[0] - pd.Timedelta(days=1))).isnull().all()


def test_the_filter_is_a_gaussian_of_50_metres_over_pixels_that_are_known() -> None:
    x = xr.DataArray(np.arange(21) * 10.0, dims="x")
    power = xr.DataArray(
        np.random.default_rng(0).random((21, 21)), coords={"y": -x.values, "x": x.values}, dims=("y", "x")
    )
    power[8:10, 9:13] = np.nan
    d = np.hypot(*np.meshgrid(x - 100, x - 100))
    near = np.maximum(*np.abs(np.meshgrid(x - 100, x - 100))) <= 150
    weight = np.where(np.isfinite(power) & near, np.exp(-(d**2) / (2 * 50**2)), 0)
    np.testing.assert_allclose(despeckle(power)[10, 10], np.nansum(weight * power) / weight.sum(), rtol=1e-6)
    assert despeckle(power.where(power.x < 50))[10, 10].isnull()
    # In degrees a step of longitude is shorter.
    step = 10 / 111_200
    degrees = power.rename(y="lat", x="lon").assign_coords(lat=60 - step * np.arange(21), lon=2 * step * np.arange(21))
    np.testing.assert_allclose(despeckle(degrees), despeckle(power), rtol=2e-3)


def test_land_surface_temperature_is_the_mean_of_both_satellites_by_day(
    causal: xr.Dataset, coarse: xr.Dataset, stations: xr.Dataset
) -> None:
    # Warmer than the mean by half the daily range for Aqua, by 0.7 of that for Terra.
    swing = (0.5 + 0.35) / 2 * (coarse.air_temperature_max - coarse.air_temperature_min)
    expected = truth_at((coarse.surface_temperature + swing)[2], stations)[:3]
    np.testing.assert_allclose(causal.surface_temperature.values[:3, 2], expected, atol=0.03)
    assert causal.surface_temperature[:, :2].isnull().all()
    assert causal.surface_temperature_age.values[0, 2:6].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("precipitation", 0.1),
        ("shortwave_radiation", 0.1),
        ("specific_humidity", 1e-5),
        ("vapor_pressure_deficit", 0.01),
        ("reference_evapotranspiration", 0.1),
    ],
)
def test_weather_is_that_of_the_cell_and_is_not_filled(
    name: str, step: float, causal: xr.Dataset, coarse: xr.Dataset, stations: xr.Dataset
) -> None:
    """The writer samples truth of 9 km at the centres of cells of 4 km: values come from a neighbour at most."""
    values = coarse[name].values
    y, x = (int(v[0]) for v in grid_of(coarse).rowcol(stations.lat[:1], stations.lon[:1]))
    near = values[:, y - 1 : y + 2, x - 1 : x + 2].reshape(4, -1)
    found = causal[name].values
    assert (np.abs(near - found[0, :4, None]).min(axis=1) <= 0.51 * step).all()
    assert np.isnan(found[:, 4:]).all()
    assert np.isnan(found[3]).all()
    assert f"{name}_age" not in causal


def test_smap_is_the_mean_of_the_day_and_rivals_keep_their_gaps(
    causal: xr.Dataset, coarse: xr.Dataset, fine: xr.Dataset, stations: xr.Dataset
) -> None:
    found = causal.soil_moisture_smap_l4.values
    np.testing.assert_allclose(found[:3, 0], truth_at(coarse.soil_moisture_0_10cm[0], stations)[:3], atol=1e-5)
    assert np.isnan(found[:, 1:]).all()
    passed = (fine.overpass_am + fine.overpass_pm > 0)[:5]
    expected = truth_at(fine.soil_moisture_0_10cm[:5].where(passed), stations)
    np.testing.assert_allclose(causal.soil_moisture_smap_hydroblocks.values[:, :5], expected, atol=1e-6)
    assert np.isnan(expected[0]).any()


def test_ground_is_that_of_the_cell(causal: xr.Dataset, fine: xr.Dataset, stations: xr.Dataset) -> None:
    # Heights lie between those of cells on pixels that are smaller.
    for name, off in {"clay_fraction": 1e-5, "sand_fraction": 1e-5, "bulk_density": 1e-5, "elevation": 1.0}.items():
        assert causal[name].dims == ("station",)
        np.testing.assert_allclose(causal[name].values, truth_at(fine[name], stations), atol=off)
    assert (causal.slope.values[:3] > 0.05).all()
    groups = np.stack([causal[f"land_cover_{name}"].values for name in GROUPS])
    assert [GROUPS[k] for k in groups[:, :2].argmax(axis=0)] == ["forest", "crop"]
    # Water is known and of no group; where no map reaches nothing is known.
    assert groups.sum(axis=0)[:3].tolist() == [1, 1, 0]
    assert np.isnan(groups[:, 3]).all()


def test_land_cover_is_that_of_the_latest_year(fine: xr.Dataset, stations: xr.Dataset, tmp_path: Path) -> None:
    for year, code in ((2016, 81.0), (2019, 95.0)):
        write_nlcd(fine.assign(land_cover_nlcd=fine.land_cover_nlcd * 0 + code), tmp_path, year)
    found = extract({"nlcd": tmp_path}, stations, DAYS[:1])
    assert found.land_cover_wetland.values.tolist()[:3] == [1, 1, 1]
    assert found.land_cover_pasture.values.tolist()[:3] == [0, 0, 0]


def test_slope_is_that_of_the_pixels(tmp_path: Path) -> None:
    """A plane that rises 0.1 m a metre to the north, on pixels of one arc second."""
    step, n = 1 / 3600, 60
    metres = 0.1 * step * 110_950 * np.arange(n, 0, -1)
    profile = {"driver": "GTiff", "height": n, "width": n, "count": 1, "dtype": "float32", "crs": "EPSG:4269"}
    with rasterio.open(
        tmp_path / "USGS_1_n38w101.tif", "w", transform=Affine(step, 0, -100.5, 0, -step, 38.0), **profile
    ) as file:
        file.write(np.broadcast_to(metres[:, None], (n, n)).astype(np.float32), 1)
    place = {"lat": ("station", [38.0 - 30 * step]), "lon": ("station", [-100.5 + 30 * step])}
    found = extract({"3dep": tmp_path}, xr.Dataset(coords={"station": ["s"], **place}), DAYS[:1])
    assert float(found.slope[0]) == pytest.approx(np.degrees(np.arctan(0.1)), rel=1e-3)
    assert float(found.aspect[0]) == pytest.approx(180)
    assert float(found.aspect_cosine[0]) == pytest.approx(-1)


def test_it_says_what_is_absent_and_what_it_was_made_from(causal: xr.Dataset, world: Path) -> None:
    assert json.loads(causal.attrs["absent"]) == {
        "fpar": "no folder 'mod15a2h'",
        "leaf_area_index": "no folder 'mod15a2h'",
        "reference_evapotranspiration_alfalfa": "gridmet: no reference_evapotranspiration_alfalfa in its granules",
    }
    assert json.loads(causal.attrs["unread"]) == {}
    inputs = json.loads(causal.attrs["inputs"])
    assert inputs["days"] == ["2019-05-01", "2019-06-09"]
    granules = inputs["granules"]
    assert {product: len(of) for product, of in granules.items()} == {
        "landsat": 3,
        "sentinel1": 3,
        "mod11a1": 4,
        "gridmet": 6,
        "smap_l4": 1,
        "smap_hydroblocks": 1,
        "nlcd": 1,
        "polaris": 6,
        "3dep": 3,
    }
    assert all((world / product / name).is_file() for product, of in granules.items() for name in of)
    assert (causal.attrs["mode"], causal.attrs["simulated"]) == ("causal", "true")
    assert causal.attrs["day_boundary"] == '{"A": "UTC"}'
    assert "Mountain" in causal.precipitation.attrs["day_boundary"]
    for name, of in causal.data_vars.items():
        assert of.dtype == np.float32
        assert of.attrs["units"]
        assert of.attrs["long_name"]
        assert str(name).endswith("_age") or of.attrs["simulated"] == "true"
    assert causal.network.values.tolist() == ["A", "A", "B", "B"]


def test_overpasses_before_the_first_day_count_for_some_weeks(world: Path, stations: xr.Dataset) -> None:
    landsat = {"landsat": world / "landsat"}
    later = extract(landsat, stations, pd.date_range(LANDSAT[2] + pd.Timedelta(days=RUN_UP), periods=3))
    assert later.ndvi_age.values[1].tolist() == [RUN_UP, RUN_UP + 1, RUN_UP + 2]
    with pytest.raises(VadoseError, match="no granule of these days covers a station"):
        extract(landsat, stations, pd.date_range(LANDSAT[2] + pd.Timedelta(days=RUN_UP + 1), periods=3))


def test_other_products_stand_in(fine: xr.Dataset, causal: xr.Dataset, stations: xr.Dataset, tmp_path: Path) -> None:
    write_hls(fine.isel(time=slice(1)), tmp_path / "hls")
    write_srtm(fine, tmp_path / "srtm")
    found = extract(tmp_path, stations, DAYS[:2])
    np.testing.assert_allclose(found.ndvi, causal.ndvi[:, :2], atol=1e-3)
    np.testing.assert_allclose(found.elevation, causal.elevation, atol=1.0)
    assert (found.ndvi.attrs["product"], found.elevation.attrs["product"]) == ("HLSL30", "SRTM")
    assert json.loads(found.attrs["absent"])["cross_ratio"] == "no folder 'sentinel1'"


def test_a_broken_granule_is_told_and_the_others_count(world: Path, stations: xr.Dataset, tmp_path: Path) -> None:
    shutil.copytree(world / "sentinel1", tmp_path / "sentinel1")
    broken = sorted((tmp_path / "sentinel1").rglob("*_VV.tif"))[1]
    broken.write_bytes(b"<html>login</html>")
    found = extract(tmp_path, stations, DAYS)
    ((name, reason),) = json.loads(found.attrs["unread"]).items()
    assert name.startswith(f"sentinel1/{broken.parent.name}/")
    assert "web page" in reason
    assert found.cross_ratio_age.sel(time=SENTINEL1).values[0].tolist() == [0, 12, 0]


def test_sigma0_and_gamma0_are_not_mixed(world: Path, stations: xr.Dataset, tmp_path: Path) -> None:
    for scene in sorted((world / "sentinel1").iterdir())[:2]:
        shutil.copytree(scene, tmp_path / scene.name)
    for file in (tmp_path / scene.name).iterdir():
        file.rename(file.with_name(file.name.replace("_spuned_", "_gpuned_")))
    with pytest.raises(VadoseError, match="gamma0 and of Sentinel-1 sigma0"):
        extract({"sentinel1": tmp_path}, stations, DAYS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "linear"}, "mode 'linear' unknown; choose from"),
        ({"days": DAYS[::2]}, "20 days that are not each day of a period"),
        ({"days": DAYS[:0]}, "0 days"),
        ({"stations": xr.Dataset(coords={"station": ["a"]})}, "no 'lat'"),
        ({"stations": xr.Dataset()}, "no station is given"),
        ({"data": {"landsat": Path("nowhere")}}, "nowhere: no such folder"),
        ({"data": {"modis": Path()}}, "no feature is made of 'modis'; choose from"),
        ({"data": Path("nowhere")}, "no feature at any station: no folder"),
    ],
)
def test_bad_input_is_refused(change: dict[str, object], message: str, world: Path, stations: xr.Dataset) -> None:
    given = {"data": world, "stations": stations, "days": DAYS} | change
    with pytest.raises(VadoseError, match=message):
        extract(given.pop("data"), given.pop("stations"), given.pop("days"), **given)  # type: ignore[arg-type]


def test_a_station_needs_a_place(world: Path, stations: xr.Dataset) -> None:
    with pytest.raises(VadoseError, match=r"no 'lat' is known of \['south'\]"):
        extract(world, stations.assign_coords(lat=stations.lat.where(stations.lat > 40.003)), DAYS)


def pixel(path: Path, found: xr.Dataset) -> float:
    """What a raster stores under the centre of the station's cell."""
    with rasterio.open(path) as file:
        x, y = transform("EPSG:4326", file.crs, found.cell_lon.values, found.cell_lat.values)
        return float(next(iter(file.sample([(x[0], y[0])])))[0])


def test_real_landsat_is_masked_where_cloudy_and_else_its_own_pixels(real_data: Path, tmp_path: Path) -> None:
    """The scene is all cloud: a copy says that it is clear but for one pixel in two."""
    source, name = real_data / "granules/landsat", "LC08_L2SP_017036_20130419_20200913_02_T2"
    folder, days = tmp_path / "landsat", pd.date_range("2013-04-18", "2013-04-20")
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    with rasterio.open(folder / f"{name}_QA_PIXEL.TIF", "r+") as raster:
        flags = raster.read(1)
        seen = np.argwhere(flags != 1)[::30_000]
        lon, lat = transform(raster.crs, "EPSG:4326", *raster.xy(*seen.T))
        with pytest.raises(VadoseError, match="landsat: no value at any station"):
            extract({"landsat": source}, at_places(lat, lon), days)
        flags[np.indices(flags.shape).sum(axis=0) % 2 == 0] = 21824
        raster.write(flags, 1)
    found = extract({"landsat": folder}, at_places(lat, lon), days)
    assert found.attrs["simulated"] == "false"
    for number, (row, column) in enumerate(seen):
        here = found.isel(station=[number])
        red, nir = (pixel(folder / f"{name}_SR_B{band}.TIF", here) * 2.75e-5 - 0.2 for band in (4, 5))
        expected = np.nan if (row + column) % 2 else (nir - red) / (nir + red)
        np.testing.assert_allclose(here.ndvi.values[0], [np.nan, expected, expected], rtol=1e-4)
    assert 0 < np.isfinite(found.ndvi[:, 1]).sum() < len(seen)


def test_real_land_cover_and_elevation(real_data: Path) -> None:
    nlcd, terrain = real_data / "granules/nlcd", real_data / "granules/terrain"
    with rasterio.open(nlcd / "nlcd2011.tif") as file:
        lon, lat = transform(file.crs, "EPSG:4326", *[[v] for v in file.xy(700, 500)])
    found = extract({"nlcd": nlcd, "srtm": terrain}, at_places([*lat, 45.0], [*lon, -110.0]), DAYS[:1])
    here = found.isel(station=[0])
    code = int(pixel(nlcd / "nlcd2011.tif", here))
    (group,) = (name for name in GROUPS if float(here[f"land_cover_{name}"][0]) == 1)
    assert code in features.NLCD_GROUPS["mmnet"][group]
    assert float(here.elevation[0]) == pixel(terrain / "srtm.tif", here)
    cell = [slice(int(v[0]), int(v[0]) + 1) for v in ease_grid("100m").rowcol(here.lat, here.lon)]
    on_grid = resample(read_srtm(terrain / "srtm.tif").elevation, ease_grid("100m").part(*cell), "nearest")
    assert float(here.elevation[0]) == float(on_grid[0, 0])
    assert 0 < float(here.slope[0]) < 60
    assert all(of.isel(station=1).isnull().all() for of in found.data_vars.values())


def test_real_backscatter_without_vh_has_no_index(real_data: Path) -> None:
    folder = real_data / "granules/sentinel1"
    with rasterio.open(next(folder.glob("*.tif"))) as file:
        lon, lat = transform(file.crs, "EPSG:4326", *[[v] for v in file.xy(100, 100)])
    with pytest.raises(VadoseError, match="sentinel1: no sigma0_vh or gamma0_vh in its granules"):
        extract({"sentinel1": folder}, at_places(lat, lon), pd.date_range("2015-03-09", periods=2))


def at_places(lat: Any, lon: Any) -> xr.Dataset:
    names = [f"s{number}" for number in range(len(lat))]
    return xr.Dataset(coords={"station": names, "lat": ("station", lat), "lon": ("station", lon)})


class TestFilling:
    """Gaps by hand: two stations, six days."""

    days = pd.date_range("2020-02-27", periods=6)
    nan = np.nan
    seen = xr.DataArray(
        np.array([[nan, 0.1, nan, nan, 0.4, nan], [nan] * 6], np.float32),
        dims=("station", "time"),
        coords={"time": days},
        name="ndvi",
        attrs={"units": "1"},
    )

    def test_causal(self) -> None:
        filled = fill_days(self.seen, "causal")
        nan = self.nan
        np.testing.assert_array_equal(filled.ndvi[0], np.array([nan, 0.1, 0.1, 0.1, 0.4, 0.4], np.float32))
        np.testing.assert_array_equal(filled.ndvi_age[0], [nan, 0, 1, 2, 0, 1])
        assert filled[["ndvi", "ndvi_age"]].sel(station=1).isnull().all().to_array().all()
        assert (filled.ndvi.dims, filled.ndvi.dtype, filled.ndvi.attrs) == (
            ("station", "time"),
            np.float32,
            {"units": "1"},
        )

    def test_causal_never_takes_a_later_overpass(self) -> None:
        before = fill_days(self.seen, "causal")
        later = self.seen.copy()
        later[:, 4:] = 0.9
        after = fill_days(later, "causal")
        xr.testing.assert_equal(after.isel(time=slice(4)), before.isel(time=slice(4)))
        assert float(after.ndvi[0, 4]) == pytest.approx(0.9)

    def test_paper(self) -> None:
        filled = fill_days(self.seen, "paper")
        nan = self.nan
        np.testing.assert_allclose(filled.ndvi[0], [nan, 0.1, 0.2, 0.3, 0.4, nan], rtol=1e-6)
        assert (list(filled), filled.ndvi.dtype, filled.ndvi.dims) == (["ndvi"], np.float32, ("station", "time"))
        assert filled.ndvi[1].isnull().all()

    @pytest.mark.parametrize("mode", ["causal", "paper"])
    def test_days_have_to_follow_each_other(self, mode: str) -> None:
        with pytest.raises(VadoseError, match="do not follow each other"):
            fill_days(self.seen[:, ::2], mode)

    def test_there_are_two_modes(self) -> None:
        with pytest.raises(VadoseError, match="mode 'spline' unknown"):
            fill_days(self.seen, "spline")


def test_a_table_of_stations_and_products(world: Path, stations: xr.Dataset, tmp_path: Path) -> None:
    days = pd.date_range("2019-05-01", periods=50)
    n = stations.sizes["station"]
    moisture = np.tile(np.linspace(0.1, 0.3, 50, dtype=np.float32), (n, 2, 1))
    moisture[2] = np.nan
    store = stations.assign_coords(time=days, layer=["0-10 cm", "10-40 cm"], depth=[5, 20])
    store["soil_moisture"] = ("station", "layer", "time"), moisture
    store["soil_moisture_causal"] = store.soil_moisture + 0.01
    store["precipitation"] = ("station", "time"), np.full((n, 50), 1.0, np.float32)
    store["clay_fraction"] = ("station", "depth"), np.full((n, 2), 0.5, np.float32)
    store = store.assign_coords({name: store[name].astype(object) for name in ("station", "network", "layer")})
    store.attrs |= {"layer_depths": json.dumps({"0-10 cm": 5, "10-40 cm": 20})} | provenance(seed=0)
    store.to_zarr(tmp_path / "stations.zarr", zarr_format=3, consolidated=False)

    def built(mode: str, granules: Path) -> tuple[xr.Dataset, xr.Dataset]:
        path = build_features(
            tmp_path / "stations.zarr", granules, tmp_path / f"{mode}.zarr", first=FIRST, last="2030-01-01", mode=mode
        )
        features = xr.open_zarr(path, consolidated=False).load()
        out = tmp_path / f"table_{mode}.zarr"
        build_station_table(tmp_path / "stations.zarr", out, first="2019-05-03", features=features)
        return features, xr.open_zarr(out, consolidated=False).load()

    features, table = built("causal", world)
    assert table.attrs["mode"] == "causal"
    # The lake observes nothing, and of the station elsewhere no feature is known.
    assert table.station.values.tolist() == ["north", "south"]
    assert dict(table.sizes) == {"station": 2, "time": 48}
    # The products' soil and rain take the place of the stations' own.
    np.testing.assert_array_equal(table.clay_fraction, features.clay_fraction.sel(station=table.station))
    np.testing.assert_array_equal(table.precipitation[:2, 0], features.precipitation[:2, 2])
    np.testing.assert_allclose(table.soil_moisture_causal - table.soil_moisture, 0.01, atol=1e-6)
    np.testing.assert_array_equal(table.ndvi, features.ndvi.sel(station=table.station, time=table.time))
    assert "ndvi_age" in table
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "landsat").symlink_to(world / "landsat")  # without elevation, which the store has
    assert built("paper", tmp_path / "few")[1].attrs["mode"] == "paper"
    before = (tmp_path / "causal.zarr" / "zarr.json").stat().st_mtime_ns
    built("causal", world)
    assert (tmp_path / "causal.zarr" / "zarr.json").stat().st_mtime_ns == before
    with pytest.raises(VadoseError, match="have different stations"):
        build_station_table(
            tmp_path / "stations.zarr", tmp_path / "t.zarr", first=FIRST, features=features.isel(station=[1, 0, 2, 3])
        )
    with pytest.raises(VadoseError, match="no station store there"):
        build_features(tmp_path, world, tmp_path / "f.zarr", first=FIRST, last=FIRST, mode="causal")
    with pytest.raises(VadoseError, match="no layer '1 m'"):
        build_station_table(tmp_path / "stations.zarr", tmp_path / "t.zarr", first=FIRST, layer="1 m")
    assert not (tmp_path / "t.zarr").exists()
