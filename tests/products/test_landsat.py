"""Landsat scenes and HLS tiles written by the simulated world, and a real scene where it is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from pyproj import Transformer

from vadose.errors import NeedsError, VadoseError
from vadose.products.hls import FILE_NAME as HLS_FILE_NAME
from vadose.products.hls import is_hls, read_hls
from vadose.products.landsat import FILE_NAME, is_landsat, read_landsat
from vadose.twin.granules.landsat import write_hls, write_landsat
from vadose.twin.truth import at, example

# rioxarray 0.19 multiplies affine transforms in a way affine 3.1 will give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

BANDS = {
    "SR_B2": "reflectance_blue",
    "SR_B3": "reflectance_green",
    "SR_B4": "reflectance_red",
    "SR_B5": "reflectance_nir",
    "SR_B6": "reflectance_swir1",
    "SR_B7": "reflectance_swir2",
    "ST_B10": "surface_temperature",
}


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Two days, the second one an overpass: cloud over the first rows, snow over the last ones."""
    truth = example(days=2, first="2019-05-16", resolution="100m")
    truth["cloud"][:] = 0
    truth["cloud"][:, :3] = 1
    truth["snow_water_equivalent"][:, -2:] = 50
    truth["water_fraction"][:] = 0
    return truth


@pytest.fixture(scope="module")
def written(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (scene,) = write_landsat(truth, tmp_path_factory.mktemp("landsat"))
    return scene


@pytest.fixture
def scene(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / written.name)


def band(scene: Path, name: str) -> Path:
    return scene / f"{scene.name}_{name}.TIF"


def truth_at(truth: xr.Dataset, name: str, dataset: xr.Dataset) -> np.ndarray:
    to_degrees = Transformer.from_crs(dataset.crs.attrs["crs_wkt"], "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(dataset.x, dataset.y))
    values = truth[name].isel(time=1) if "time" in truth[name].dims else truth[name]
    return at(values, lat, lon)


def test_clear_pixels_are_the_truth_and_the_others_are_missing(truth: xr.Dataset, scene: Path) -> None:
    dataset = read_landsat(scene)
    assert set(dataset.data_vars) == set(BANDS.values())
    hidden = (truth_at(truth, "cloud", dataset) > 0) | (truth_at(truth, "snow_water_equivalent", dataset) > 10)
    assert 0.2 < np.mean(hidden) < 0.6
    for name in BANDS.values():
        expected = truth_at(truth, name, dataset)
        expected[hidden] = np.nan
        step = 0.00341802 if name == "surface_temperature" else 2.75e-5
        assert dataset[name].dtype == np.float32
        assert dataset[name].dims == ("time", "y", "x")
        # The writer places pixels to 0.1 m: one on a cell's edge may fall to either side.
        same = np.isclose(dataset[name].values[0], expected, atol=0.51 * step, rtol=1e-6, equal_nan=True)
        assert same.mean() > 0.999
    assert dataset.surface_temperature.attrs["units"] == "K"
    assert dataset.attrs["simulated"] == "true"
    assert dataset.attrs["product"] == "LC08_L2SP"


def test_the_time_is_that_of_the_scene_centre_or_else_the_day(scene: Path) -> None:
    assert read_landsat(scene).time.values[0] == np.datetime64("2019-05-17T16:52:00", "ns")
    for file in scene.glob("*_MTL.*"):
        file.unlink()
    without = read_landsat(scene)
    assert without.time.values[0] == np.datetime64("2019-05-17", "ns")
    assert "no MTL" in without.attrs["scale_source"]


def test_quality_keeps_snow_or_everything(truth: xr.Dataset, scene: Path) -> None:
    clear, no_cloud, everything = (
        read_landsat(scene, quality=q).reflectance_red.notnull().values[0] for q in ("clear", "no_cloud", "all")
    )
    dataset = read_landsat(scene)
    snow = truth_at(truth, "snow_water_equivalent", dataset) > 10
    cloud = truth_at(truth, "cloud", dataset) > 0
    assert np.array_equal(no_cloud & ~clear, snow)
    assert np.array_equal(everything & ~no_cloud, cloud)
    with pytest.raises(VadoseError, match=r"quality 'good' unknown; choose from \['clear', 'no_cloud', 'all'\]"):
        read_landsat(scene, quality="good")


def test_counts_outside_the_documented_range_are_missing_unless_all_is_asked_for(scene: Path) -> None:
    with rioxarray.open_rasterio(band(scene, "SR_B4")) as raster:
        counts = raster.load()
    counts[0, 30, 20] = 7000  # reflectance -0.0075
    counts.rio.to_raster(band(scene, "SR_B4"))
    assert np.isnan(read_landsat(scene).reflectance_red.values[0, 30, 20])
    assert "reflectance_red 1" in read_landsat(scene).attrs["pixels_outside_valid_range"]
    assert read_landsat(scene, quality="all").reflectance_red.values[0, 30, 20] == pytest.approx(-0.0075, rel=1e-5)


@pytest.mark.parametrize("kind", ["json", "txt"])
def test_scales_come_from_the_level_2_group_of_either_metadata_file(scene: Path, kind: str) -> None:
    for file in scene.glob("*_MTL.*"):
        if file.suffix != f".{kind}":
            file.unlink()
    before = read_landsat(scene)
    assert before.attrs["scale_source"].endswith(kind)
    file = next(scene.glob("*_MTL.*"))
    text = file.read_text()
    assert text.index("2.75e-05") < text.index("2.0000E-05")
    file.write_text(text.replace("2.0000E-05", "4.0000E-05"))
    xr.testing.assert_identical(read_landsat(scene), before)
    file.write_text(text.replace("2.75e-05", "5.5e-05"))
    with pytest.raises(VadoseError, match=r"REFLECTANCE_MULT_BAND_2 .* are 5.5e-05 and -0.2, expected 2.75e-05"):
        read_landsat(scene)


def test_any_file_of_the_scene_and_only_the_box_asked_for(scene: Path) -> None:
    whole = read_landsat(scene)
    for file in scene.iterdir():
        xr.testing.assert_identical(read_landsat(file), whole)
        assert FILE_NAME.fullmatch(file.name)
        assert is_landsat(file)
    assert FILE_NAME.fullmatch(scene.name)
    part = read_landsat(scene, bbox=(-100.002, 39.998, -99.998, 40.002))
    assert 0 < part.sizes["x"] < whole.sizes["x"]
    xr.testing.assert_equal(part, whole.sel(x=part.x, y=part.y))
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_landsat(scene, bbox=(-90, 39, -89, 40))


def test_earlier_landsats_number_their_bands_otherwise(scene: Path, tmp_path: Path) -> None:
    old = tmp_path / "LE07_L2SP_030032_20190517_20190529_02_T1"
    old.mkdir()
    for new, was in (("SR_B1", "SR_B2"), ("SR_B4", "SR_B5"), ("ST_B6", "ST_B10"), ("QA_PIXEL", "QA_PIXEL")):
        shutil.copy(band(scene, was), band(old, new))
    seen, before = read_landsat(old), read_landsat(scene)
    assert set(seen.data_vars) == {"reflectance_blue", "reflectance_nir", "surface_temperature"}
    for name in seen.data_vars:
        np.testing.assert_array_equal(seen[name], before[name])


def test_another_reader_finds_the_same(scene: Path) -> None:
    dataset = read_landsat(scene, quality="all")
    for number, name in BANDS.items():
        with rioxarray.open_rasterio(band(scene, number)) as raster:
            counts = raster.load()[0]
        scale, offset = (0.00341802, 149.0) if number == "ST_B10" else (2.75e-5, -0.2)
        np.testing.assert_allclose(dataset[name][0], counts.where(counts > 0) * scale + offset, rtol=1e-6)
        np.testing.assert_array_equal(dataset.x, counts.x)
        np.testing.assert_array_equal(dataset.y, counts.y)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def _floats(file: Path) -> None:
    with rioxarray.open_rasterio(file) as raster:
        values = raster.load().astype("float32") * 2.75e-05 - 0.2
    values.rio.to_raster(file)


def _moved(file: Path) -> None:
    with rioxarray.open_rasterio(file) as raster:
        values = raster.load()
    values.assign_coords(x=values.x + 30).rio.to_raster(file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, r"SR_B4.TIF: cut short or damaged"),
        (lambda p: p.write_bytes(b""), r"SR_B4.TIF: the file is empty"),
        (lambda p: p.write_text("<!DOCTYPE html><html>login</html>"), r"SR_B4.TIF: a web page, not data"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99), r"SR_B4.TIF: found a hdf5 file where GeoTIFF"),
        (_floats, r"SR_B4.TIF: found float32 values such as .*, the product stores uint16"),
        (_moved, r"SR_B4.TIF: lies on another lattice"),
    ],
)
def test_a_damaged_band_is_named(scene: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(band(scene, "SR_B4"))
    with pytest.raises(VadoseError, match=message):
        read_landsat(scene)


def test_a_scene_with_files_missing_is_refused_with_what_to_do(scene: Path) -> None:
    band(scene, "QA_PIXEL").unlink()
    with pytest.raises(VadoseError, match=r"no QA_PIXEL band beside the others, so clouds cannot be masked.*'all'"):
        read_landsat(scene)
    assert read_landsat(scene, quality="all").reflectance_red.notnull().any()
    for file in scene.glob("*_S[RT]_*"):
        file.unlink()
    with pytest.raises(VadoseError, match="holds none of the bands"):
        read_landsat(scene)
    with pytest.raises(VadoseError, match="no such file"):
        read_landsat(scene / "absent")


def test_a_folder_of_no_scene_or_of_two_is_refused(scene: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(VadoseError, match="expected the files of one Landsat"):
        read_landsat(tmp_path / "empty")
    shutil.copy(band(scene, "SR_B4"), scene / "LC09_L2SP_030032_20190525_20190601_02_T1_SR_B4.TIF")
    with pytest.raises(VadoseError, match=r"LC08_.*LC09_.*give one scene's folder, or one file of it"):
        read_landsat(scene)
    assert not is_landsat(tmp_path / "empty")


def test_wrong_metadata_is_refused(scene: Path) -> None:
    file = scene / f"{scene.name}_MTL.json"
    groups = json.loads(file.read_text())
    file.write_text(file.read_text()[:-200])
    with pytest.raises(VadoseError, match=r"MTL.json: not a Landsat MTL file"):
        read_landsat(scene)
    file.write_text('{"a":' * 100_000)
    with pytest.raises(VadoseError, match=r"MTL.json: not a Landsat MTL file"):
        read_landsat(scene)
    del groups["LANDSAT_METADATA_FILE"]["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"]
    file.write_text(json.dumps(groups))
    with pytest.raises(VadoseError, match="no usable TEMPERATURE_MULT_BAND_ST_B10"):
        read_landsat(scene)
    del groups["LANDSAT_METADATA_FILE"]["LEVEL2_PROCESSING_RECORD"]
    file.write_text(json.dumps(groups))
    with pytest.raises(VadoseError, match="metadata of Level 1"):
        read_landsat(scene)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("_20190517_20190529_02", "_20190602_20190614_02", "its MTL says scene LC08_.*, LC08_.* in the name"),
        ('"DATE_ACQUIRED": "2019-05-17"', '"DATE_ACQUIRED": "2019-05-18"', "DATE_ACQUIRED 2019-05-18, 2019-05-17 in"),
        ('"WRS_ROW": "32"', '"WRS_ROW": "33"', "WRS_ROW 33, 32 in the name"),
        ('"SCENE_CENTER_TIME": "', '"SCENE_CENTER_TIME": "x', "the time in its MTL is '2019-05-17Tx"),
    ],
)
def test_metadata_of_another_scene_is_refused(scene: Path, old: str, new: str, message: str) -> None:
    file = scene / f"{scene.name}_MTL.json"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(VadoseError, match=message):
        read_landsat(scene)


def test_a_scene_that_lies_elsewhere_than_its_path_and_row_is_refused(scene: Path) -> None:
    other = scene.parent / scene.name.replace("030032", "044034")
    other.mkdir()
    shutil.copy(band(scene, "SR_B4"), band(other, "SR_B4"))
    with pytest.raises(VadoseError, match="its transform places it at west -100"):
        read_landsat(other, quality="all")


def test_counts_in_floats_are_read_and_scaled_values_are_not(scene: Path) -> None:
    whole = read_landsat(scene)
    for file in scene.glob("*.TIF"):
        with rasterio.open(file) as raster:
            profile, counts = raster.profile, raster.read(1).astype("float32")
        counts[counts == 0] = np.nan
        with rasterio.open(file, "w", **profile | {"dtype": "float32", "nodata": np.nan}) as raster:
            raster.write(counts, 1)
    xr.testing.assert_allclose(read_landsat(scene), whole)
    for value in (0.0475, 299):
        with rasterio.open(band(scene, "SR_B2"), "r+") as raster:
            raster.write(np.full(raster.shape, value, np.float32), 1)
        with pytest.raises(VadoseError, match=f"SR_B2.TIF: found float32 values such as {value}.* uint16 counts"):
            read_landsat(scene)


def test_a_tile_that_lies_elsewhere_than_its_name_says_is_refused(truth: xr.Dataset, tmp_path: Path) -> None:
    (granule,) = write_hls(truth, tmp_path)
    tile = granule.name.split(".")[2]
    far = f"T14T{'Q' if tile[4] < 'N' else 'J'}{tile[5]}"
    for wrong, message in ((far, "one of them is wrong"), (f"T13{tile[3:]}", "expected UTM zone 13")):
        other = tmp_path / granule.name.replace(tile, wrong)
        shutil.copytree(granule, other)
        for file in other.iterdir():
            file.rename(other / file.name.replace(tile, wrong))
        with pytest.raises(VadoseError, match=message):
            read_hls(other)


def test_nothing_but_fill_is_refused(truth: xr.Dataset, tmp_path: Path) -> None:
    empty = truth.copy()
    empty["surface_temperature"] = empty.surface_temperature * np.nan
    (scene,) = write_landsat(empty, tmp_path)
    with pytest.raises(VadoseError, match="holds nothing but fill"):
        read_landsat(scene)


def test_landsat_9_passes_eight_days_later(truth: xr.Dataset, tmp_path: Path) -> None:
    assert write_landsat(truth, tmp_path, satellite="LC09") == []
    later = truth.assign_coords(time=truth.time + np.timedelta64(8, "D"))
    (scene,) = write_landsat(later, tmp_path, satellite="LC09")
    assert scene.name.startswith("LC09_L2SP_030032_20190525_")


@pytest.mark.parametrize(("product", "nir"), [("L30", "B05"), ("S30", "B8A")])
def test_hls_gives_the_truth_where_clear(truth: xr.Dataset, tmp_path: Path, product: str, nir: str) -> None:
    shifted = truth if product == "L30" else truth.assign_coords(time=truth.time - np.timedelta64(1, "D"))
    (granule,) = write_hls(shifted, tmp_path, product=product)
    dataset = read_hls(granule)
    day = "2019-05-17" if product == "L30" else "2019-05-16"
    assert dataset.time.values[0] == np.datetime64(f"{day}T17:10:00", "ns")
    assert dataset.attrs["product"] == f"HLS{product}"
    hidden = (truth_at(truth, "cloud", dataset) > 0) | (truth_at(truth, "snow_water_equivalent", dataset) > 10)
    assert set(dataset.data_vars) == {n for n in BANDS.values() if n.startswith("reflectance")}
    for name in dataset.data_vars:
        expected = truth_at(truth, name, dataset)
        expected[hidden] = np.nan
        same = np.isclose(dataset[name].values[0], expected, atol=0.51e-4, rtol=1e-6, equal_nan=True)
        assert same.mean() > 0.999
    near_infrared = granule / f"{granule.name}.{nir}.tif"
    with rioxarray.open_rasterio(near_infrared) as raster:
        counts = raster.load()[0]
    everything = read_hls(near_infrared, quality="all")
    np.testing.assert_allclose(everything.reflectance_nir[0], counts.where(counts != -9999) * 1e-4, rtol=1e-6)
    assert int(read_hls(granule, quality="no_cloud").reflectance_red.count()) > int(dataset.reflectance_red.count())
    assert HLS_FILE_NAME.fullmatch(near_infrared.name)
    assert is_hls(granule)
    assert is_hls(near_infrared)
    assert not is_landsat(granule)


def test_a_wrong_hls_granule_is_refused(truth: xr.Dataset, tmp_path: Path) -> None:
    (granule,) = write_hls(truth, tmp_path)
    red = granule / f"{granule.name}.B04.tif"
    _cut(red)
    with pytest.raises(VadoseError, match=r"B04.tif: cut short or damaged"):
        read_hls(granule)
    red.unlink()
    (granule / f"{granule.name}.Fmask.tif").unlink()
    with pytest.raises(VadoseError, match="no Fmask band beside the others"):
        read_hls(granule)
    assert "reflectance_red" not in read_hls(granule, quality="all")
    with pytest.raises(VadoseError, match="expected one granule"):
        read_hls(tmp_path)
    with pytest.raises(VadoseError, match="no such file"):
        read_hls(red)


def test_a_real_scene(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "granules/landsat"
    dataset = read_landsat(folder, quality="all")
    assert dict(dataset.sizes) == {"time": 1, "y": 512, "x": 512}
    assert dataset.time.values[0] == np.datetime64("2013-04-19T16:01:51.829419", "ns")
    assert (float(dataset.x[0]), float(dataset.y[0])) == pytest.approx((207817.06, 3942697.0), abs=0.1)
    assert dataset.attrs["cloud_cover_percent"] == 100
    values = dataset.reflectance_nir.values
    assert -0.2 < np.nanmin(values) < np.nanmax(values) < 1.61
    # No pixel of this scene is clear.
    assert read_landsat(folder).to_dataarray().isnull().all()
    for kind in ("xml", "txt"):
        copy = shutil.copytree(folder, tmp_path / kind, ignore=lambda _, names: {n for n in names if "MTL" in n})
        shutil.copy(next(folder.glob(f"*_MTL.{kind}")), copy)
        again = read_landsat(copy, quality="all")
        assert again.attrs["scale_source"].endswith(kind)
        xr.testing.assert_equal(again, dataset)


def test_any_file_of_a_scene_is_known_by_its_name(scene: Path, tmp_path: Path) -> None:
    aerosol = scene / f"{scene.name}_SR_QA_AEROSOL.TIF"
    shutil.copy(band(scene, "QA_PIXEL"), aerosol)
    assert is_landsat(aerosol)
    xr.testing.assert_equal(read_landsat(aerosol), read_landsat(scene))
    alone = Path(shutil.copy(aerosol, tmp_path / aerosol.name))
    assert is_landsat(alone)
    with pytest.raises(VadoseError, match=r"give the scene's folder or one of these"):
        read_landsat(alone)


def test_a_band_alone_says_what_it_can_be_read_with(scene: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(band(scene, "SR_B4"), tmp_path))
    with pytest.raises(NeedsError, match="no QA_PIXEL band") as error:
        read_landsat(alone)
    assert list(read_landsat(alone, **error.value.instead).data_vars) == ["reflectance_red"]
