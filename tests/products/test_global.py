"""Products of the whole world in place of those of CONUS: GLDAS-2.1, SoilGrids, Copernicus GLO-30, and their cube."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
from typer.testing import CliRunner

from vadose.cli import app
from vadose.cube import build_from_granules, open_cube
from vadose.download.client import Client
from vadose.download.planning import plan_fetch
from vadose.errors import VadoseError
from vadose.experiments import load_cube, load_experiment
from vadose.grid import ease_grid
from vadose.products import PRODUCTS, identify
from vadose.products.dem import read_glo30
from vadose.products.gldas import FILE_NAME, daily_gldas, read_gldas
from vadose.products.soilgrids import read_soilgrids
from vadose.twin.granules.gldas import write_gldas
from vadose.twin.granules.imerg import write_imerg
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.granules.soils import write_soilgrids
from vadose.twin.granules.terrain import write_glo30, write_srtm
from vadose.twin.truth import at, simulate

BOX = (9.75, 46.8, 10.25, 47.2)  # on the seam of two tiles of SoilGrids
DAY = "2019-06-01"
HOURS = range(3, 25, 3)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return next(simulate(ease_grid("9km").bounding_box(9.4, 46.5, 10.6, 47.5), DAY, DAY, spin_up=5))


@pytest.fixture(scope="module")
def world(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("europe")
    write_gldas(truth, folder / "gldas_noah")
    write_soilgrids(truth, folder / "soilgrids")
    write_srtm(truth, folder / "srtm")
    write_smap_l3(truth, folder / "smap_l3")
    write_imerg(truth, folder / "imerg", frequency="daily")
    return folder


def test_three_hours_of_gldas_are_the_truth_in_our_units(truth: xr.Dataset, world: Path) -> None:
    path = world / "gldas_noah" / "GLDAS_NOAH025_3H.A20190601.1500.021.nc4"
    assert FILE_NAME.fullmatch(path.name)
    assert identify(path) == "gldas_noah"
    dataset = read_gldas(path, bbox=BOX)
    assert (dataset.lat.values.tolist(), dataset.lon.values.tolist()) == ([47.125, 46.875], [9.875, 10.125])
    with netCDF4.Dataset(path) as file:
        place = (0, int(np.flatnonzero(file["lat"][:] == 47.125)[0]), int(np.flatnonzero(file["lon"][:] == 9.875)[0]))
        stored = float(file["SoilMoi10_40cm_inst"][place]), float(file["Rainf_f_tavg"][place])
    # By hand: kg m-2 of 300 mm; a rate over 10800 s.
    assert float(dataset.soil_moisture_10_40cm[0, 0, 0]) == pytest.approx(stored[0] / 300, rel=1e-6)
    assert float(dataset.precipitation[0, 0, 0]) == pytest.approx(stored[1] * 10800, rel=1e-6)
    true = at(truth.soil_moisture_10_40cm, 47.125, 9.875)[0]
    assert float(dataset.soil_moisture_10_40cm[0, 0, 0]) == pytest.approx(true, abs=1e-6)
    assert dataset.attrs["version"] == "2.1"


def test_a_day_of_gldas_sums_rain_and_sees_extremes(truth: xr.Dataset, world: Path) -> None:
    paths = sorted((world / "gldas_noah").iterdir())
    day = daily_gldas(reversed(paths), bbox=BOX)
    assert day.time.values.tolist() == [np.datetime64(DAY, "ns").astype(int)]
    assert day.hours.values.tolist() == [24]
    expected = at(truth.precipitation, *np.meshgrid(day.lat, day.lon, indexing="ij"))
    np.testing.assert_allclose(day.precipitation, expected, rtol=1e-5)
    mean = at(truth.air_temperature, *np.meshgrid(day.lat, day.lon, indexing="ij"))
    np.testing.assert_allclose(day.air_temperature, mean, atol=1e-3)
    np.testing.assert_allclose(day.air_temperature_max, mean + 4, atol=1e-3)
    np.testing.assert_allclose(day.air_temperature_min, mean - 4, atol=1e-3)
    days = {str(PRODUCTS["gldas_noah"].days_of(path.name)[0]) for path in paths}
    assert days == {f"{DAY} 00:00:00"}
    with pytest.raises(VadoseError, match=r"found 2 of the 8 stamps 03:00 of the day to 00:00 of the next.*24 hours"):
        daily_gldas(paths[:2])
    assert daily_gldas(paths[:2], min_hours=6).hours.values.tolist() == [6]


def _unit(file: netCDF4.Dataset) -> None:
    file["SoilMoi0_10cm_inst"].units = "m3 m-3"


def _fill(file: netCDF4.Dataset) -> None:
    for name in set(file.variables) - {"time", "lat", "lon"}:
        file[name][:] = -9999.0


def _wet(file: netCDF4.Dataset) -> None:
    file["SoilMoi0_10cm_inst"][:] = 500.0


def _shifted(file: netCDF4.Dataset) -> None:
    file["lat"][:] = file["lat"][:] + 0.1


def _other(file: netCDF4.Dataset) -> None:
    for name in ("SoilMoi0_10cm_inst", "Tair_f_inst"):
        file.renameVariable(name, f"other_{name}")


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (_unit, "", r"SoilMoi0_10cm_inst is in 'm3 m-3', published in 'kgm-2'"),
        (_fill, "", "every value is missing"),
        (_wet, "", "soil_moisture_0_10cm"),
        (_shifted, "", r"not those of GLDAS, every 0.25 degree from -59.875 to 89.875"),
        (_other, "mine.nc4", "holds no soil_moisture_0_10cm, air_temperature"),
        (None, "GLDAS_NOAH025_M.A201906.021.nc4", "means of a month"),
    ],
)
def test_what_is_no_gldas_is_refused(
    world: Path, tmp_path: Path, change: Callable[[netCDF4.Dataset], None] | None, name: str, message: str
) -> None:
    source = world / "gldas_noah" / "GLDAS_NOAH025_3H.A20190601.1500.021.nc4"
    path = Path(shutil.copy(source, tmp_path / (name or source.name)))
    if change:
        with netCDF4.Dataset(path, "a") as file:
            change(file)
    with pytest.raises(VadoseError, match=message):
        read_gldas(path)


def test_soilgrids_puts_tiles_together_in_our_units(truth: xr.Dataset, world: Path) -> None:
    folder = world / "soilgrids"
    assert identify(folder / "clay_0-5cm_mean_n45e005.tif") == "soilgrids"
    dataset = read_soilgrids(folder, bbox=BOX)
    assert float(dataset.lon.min()) < 10 < float(dataset.lon.max())
    assert len(dataset.data_vars) == 12
    for ours, true, within in (
        ("clay_fraction_0_5cm", "clay_fraction", 6e-4),
        ("bulk_density_60_100cm", "bulk_density", 6e-3),
    ):
        expected = at(truth[true], *np.meshgrid(dataset.lat, dataset.lon, indexing="ij"))
        assert (np.abs(dataset[ours] - expected) < within).mean() > 0.99
    assert dataset.bulk_density_15_30cm.attrs["units"] == "g cm-3"


def _raster(path: Path, value: float, dtype: str = "int16", **more: object) -> Path:
    values = np.full((4, 5), value, dtype)
    values[0, 0] = 0
    place = rasterio.Affine(0.25, 0, 6, 0, -0.25, 47)
    profile = {"height": 4, "width": 5, "count": 1, "dtype": dtype, "crs": "EPSG:4326", "transform": place} | more
    with rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(values, 1)
    return path


def test_zero_of_soilgrids_is_missing_and_counted(tmp_path: Path) -> None:
    clay = read_soilgrids(_raster(tmp_path / "clay_5-15cm_Q0.95.tif", 231)).clay_fraction_5_15cm_p95
    assert float(clay[1, 1]) == pytest.approx(0.231)  # by hand: 231 g kg-1
    assert np.isnan(clay[0, 0])
    assert clay.attrs["zero_is_missing"] == 1
    stones = read_soilgrids(_raster(tmp_path / "cfvo_5-15cm_mean.tif", 50, nodata=-32768)).rock_fragment_fraction_5_15cm
    assert float(stones[0, 0]) == 0


def test_what_is_no_soilgrids_is_refused(tmp_path: Path) -> None:
    for name, value, dtype, message in (
        ("clay_0-5cm_mean.tif", 0.2, "float32", "found float32 values, expected whole numbers"),
        ("bdod_0-5cm_mean.tif", 3000, "int16", "bulk_density"),
        ("clay_0-7cm_mean.tif", 200, "int16", "not the name of a SoilGrids raster"),
        ("clay_0-5cm_mean_n45e010.tif", 200, "int16", "its name at west 10"),
        ("sand_0-5cm_mean.tif", 0, "int16", "all is missing"),
    ):
        with pytest.raises(VadoseError, match=message):
            read_soilgrids(_raster(tmp_path / name, value, dtype))
    percent = tmp_path / "percent"
    percent.mkdir()
    for name in ("clay", "sand", "silt"):
        _raster(percent / f"{name}_0-5cm_mean.tif", 33)
    with pytest.raises(VadoseError, match=r"add up to 0.099, expected about 1; are they in g kg-1"):
        read_soilgrids(percent)
    with pytest.raises(VadoseError, match=r"no file named as clay_0-5cm_mean.tif"):
        read_soilgrids(_empty(tmp_path))


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_glo30_lies_where_its_name_says(truth: xr.Dataset, tmp_path: Path) -> None:
    small = truth.isel(y=slice(0, 2), x=slice(0, 2))
    paths = write_glo30(small, tmp_path)
    assert {identify(path) for path in paths} == {"glo30"}
    dataset = read_glo30(paths[0])
    centre = float(small.lat[0, 0]), float(small.lon[0, 0])
    found = float(dataset.elevation.sel(lat=centre[0], lon=centre[1], method="nearest"))
    assert found == pytest.approx(float(small.elevation[0, 0]), abs=2)
    elsewhere = paths[0].rename(tmp_path / "Copernicus_DSM_COG_10_S33_00_W070_00_DEM.tif")
    with pytest.raises(VadoseError, match="its name at west -70, south -33"):
        read_glo30(elsewhere)


def test_the_recipe_builds_a_cube_of_europe(world: Path, tmp_path: Path) -> None:
    whole = load_cube("europe")
    # MODIS is as over CONUS, and takes a second to write.
    sources = tuple(source for source in whole.sources if source.product[:3] not in ("mod", "mcd"))
    assert len(sources) == len(whole.sources) - 2
    recipe = replace(whole, bbox=BOX, first=DAY, last=DAY, sources=sources, training=None, filling=())
    build_from_granules(world, tmp_path / "cube.zarr", recipe)
    cube = open_cube(tmp_path / "cube.zarr")
    wanted = {name for source in recipe.sources for name in source.variables.values()}
    assert wanted <= set(cube.data_vars)
    for name in ("soil_moisture_0_10cm", "air_temperature_max", "clay_fraction_0_5cm", "slope", "precipitation"):
        assert cube[name].notnull().all(), name


def test_the_study_of_the_paper_takes_europe() -> None:
    study = load_experiment("forecast_paper").with_profile("europe")
    cube = {name for source in load_cube(study.recipe or "").sources for name in source.variables.values()}
    for layer in study.layers.values():
        assert set(layer.products) & {"nldas_noah", "gldas_noah"} == {"gldas_noah"}
        static = study.runs["convlstm-S2"].channels(layer).static
        assert {layer.observed, *static} <= cube


def test_europe_is_planned_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = CliRunner().invoke(app, ["fetch", "--recipe", "europe", "--bbox=5,45,10,50", "--dry-run"])
    rows = {line.split()[0]: line.split() for line in found.stdout.splitlines()}
    assert rows["gldas_noah"][1:3] == ["GLDAS_NOAH025_3H", "14,608"]  # eight a day of five years
    assert {"soilgrids", "srtm", "smap_l3", "imerg", "mod09cmg", "mcd12q1"} <= set(rows)
    assert not {"nldas_noah", "gridmet", "solus100"} & set(rows)
    box = (5.1, 45.1, 5.9, 45.9)
    (tile,) = plan_fetch("glo30", box, client=Client()).files
    assert tile.url.endswith("/Copernicus_DSM_COG_10_N45_00_E005_00_DEM/Copernicus_DSM_COG_10_N45_00_E005_00_DEM.tif")
    (soil,) = plan_fetch("soilgrids", box, variables=["clay_0-5cm"]).files
    assert soil.name == "clay_0-5cm_mean_n45e005.tif"
    asked = parse_qs(urlsplit(soil.url).query)
    assert (asked["COVERAGEID"], asked["SUBSET"]) == (["clay_0-5cm_mean"], ["long(5,10)", "lat(45,50)"])
    with pytest.raises(VadoseError, match="no variable loam_0-5cm"):
        plan_fetch("soilgrids", (5, 45, 6, 46), variables=["loam_0-5cm"])
    with pytest.raises(VadoseError, match="lies outside"):
        plan_fetch("soilgrids", (5, -80, 6, -70))
