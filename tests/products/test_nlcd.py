"""NLCD files written on the published grid, and a real cut of 2011."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rioxarray
import xarray as xr
from pyproj import CRS, Transformer
from rasterio import Affine

from vadose.errors import VadoseError
from vadose.products.nlcd import CLASSES, FILE_NAME, is_nlcd, read_nlcd
from vadose.twin.granules.terrain import write_nlcd
from vadose.twin.truth import at, example


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=1, rows=10, columns=12, resolution="1km")


@pytest.fixture(scope="module")
def file(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nlcd(truth, tmp_path_factory.mktemp("nlcd"), 2021)[0]


def raster(path: Path, values: Any, **options: Any) -> Path:
    values = np.array(values, "float64" if np.asarray(values).dtype.kind == "f" else np.uint8)
    rows, columns = values.shape
    profile = {"crs": "EPSG:5070", "transform": Affine(30, 0, 0, 0, -30, 2000000), "dtype": values.dtype} | options
    profile = {"driver": "GTiff"} | profile
    with rasterio.open(path, "w", height=rows, width=columns, count=1, **profile) as f:
        f.write(values.astype(profile["dtype"]), 1)
    return path


def test_the_truth_comes_back_at_its_place(truth: xr.Dataset, file: Path) -> None:
    dataset = read_nlcd(file)
    x, y = np.meshgrid(dataset.x, dataset.y)
    crs = CRS.from_cf(dataset.crs.attrs)
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    expected, found = at(truth.land_cover_nlcd, lat, lon), dataset.land_cover_nlcd.values
    # At the edge of a cell a centre may fall to either side.
    assert ((found == expected) | (np.isnan(found) & np.isnan(expected))).mean() > 0.99
    assert (found == expected).sum() > 1000
    assert set(np.unique(found[~np.isnan(found)])) <= set(CLASSES)
    assert (dataset.attrs["year"], dataset.attrs["simulated"]) == (2021, "true")
    assert dataset.attrs["version"] == "Collection 1 Version 1"
    assert len(dataset.land_cover_nlcd.attrs["flag_meanings"].split()) == len(CLASSES)
    assert (float(dataset.x[0]) - 15 + 2493045) % 30 == 0


def test_the_projection_of_the_file_is_kept(file: Path) -> None:
    crs = CRS.from_cf(read_nlcd(file).crs.attrs)
    assert crs.coordinate_operation.method_name == "Albers Equal Area"
    assert "World Geodetic System 1984" in crs.datum.name
    assert not crs.equals(CRS.from_epsg(5070))


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_reads_the_same(file: Path) -> None:
    with rioxarray.open_rasterio(file, mask_and_scale=True) as other:
        np.testing.assert_array_equal(read_nlcd(file).land_cover_nlcd, other[0])


def test_background_is_missing_with_and_without_a_tag(tmp_path: Path) -> None:
    dataset = read_nlcd(raster(tmp_path / "cover.tif", [[11, 0, 127, 250, 95]]))
    assert dataset.land_cover_nlcd.values[0] == pytest.approx([11, np.nan, np.nan, np.nan, 95], nan_ok=True)
    assert "year" not in dataset.attrs
    dataset = read_nlcd(raster(tmp_path / "cover.tif", [[11, 255]], nodata=255))
    assert np.isnan(dataset.land_cover_nlcd.values[0, 1])


def test_a_box_is_cut(file: Path) -> None:
    cut = read_nlcd(file, bbox=(-100.03, 39.99, -100.0, 40.01))
    assert 70 < cut.sizes["x"] < 110
    xr.testing.assert_equal(cut, read_nlcd(file).sel(x=cut.x, y=cut.y))
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_nlcd(file, bbox=(10, 10, 11, 11))


@pytest.mark.parametrize(
    ("name", "product", "year"),
    [
        ("Annual_NLCD_LndCov_1985_CU_C1V0.tif", "Annual NLCD", 1985),
        ("nlcd_2019_land_cover_l48_20210604.tif", "NLCD", 2019),
        ("my_nlcd_2006.tif", "NLCD", 2006),
    ],
)
def test_year_and_version_of_the_name(tmp_path: Path, name: str, product: str, year: int) -> None:
    attrs = read_nlcd(raster(tmp_path / name, [[41, 42]])).attrs
    assert (attrs["product"], attrs["year"]) == (product, year)
    assert bool(FILE_NAME.fullmatch(name)) == (attrs["version"] != "unknown")


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[41, 1, 5]], {}, r"nlcd.tif: codes 1, 5 are none of NLCD land cover"),
        ([[0, 250]], {}, "all is background"),
        ([[41.5, 41.5]], {"dtype": "float32"}, r"codes 41.5 are none of NLCD land cover"),
        ([[41]], {"dtype": "complex64"}, "not one of land-cover codes"),
        ([[41]], {"crs": None}, "names no projection"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        read_nlcd(raster(tmp_path / "nlcd.tif", values, **options))


def test_a_single_strange_code_is_missing_and_counted(tmp_path: Path) -> None:
    codes = np.full((20, 20), 41)
    codes[3, 3:5] = 13
    field = read_nlcd(raster(tmp_path / "nlcd.tif", codes)).land_cover_nlcd
    assert (field.isnull().sum(), field.attrs["outside_range"]) == (2, 2)


def test_a_map_that_lies_elsewhere_than_its_name_says_is_refused(tmp_path: Path) -> None:
    for name in ("Annual_NLCD_LndCov_2019_AK_C1V1.tif", "nlcd_2016_land_cover_hi_20210604.tif"):
        with pytest.raises(VadoseError, match="its transform places it at west -96"):
            read_nlcd(raster(tmp_path / name, [[41, 42]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>Sign in</html>", "web page"), (b"GRIB" + bytes(60), "found a grib file")],
)
def test_other_containers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "Annual_NLCD_LndCov_2019_CU_C1V1.tif"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read_nlcd(path)
    assert not is_nlcd(path)


def test_a_truncated_file_is_named(file: Path, tmp_path: Path) -> None:
    whole, path = file.read_bytes(), tmp_path / "nlcd.tif"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VadoseError, match=r"nlcd.tif: cut short or damaged"):
        read_nlcd(path)


def test_what_a_file_is(file: Path, tmp_path: Path) -> None:
    assert is_nlcd(file)
    assert is_nlcd(raster(tmp_path / "cover.tif", [[11, 41, 82]]))
    assert not is_nlcd(raster(tmp_path / "clay.tif", [[11, 41, 60]]))
    assert not is_nlcd(raster(tmp_path / "coarse.tif", [[11, 41, 82]], transform=Affine(100, 0, 0, 0, -100, 0)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Annual_NLCD_LndCov_2019_CU_C1V0.tif", {"dtype": "int8"}),
        ("nlcd_2019_land_cover_l48_20210604.img", {"driver": "HFA"}),
        ("my_nlcd_2019.tif", {"dtype": "int16", "nodata": -9999}),
        ("nlcd_2019_cut.tif", {"dtype": "float32", "nodata": -3.4028234663852886e38}),
        ("nlcd_2019.vrt", {}),
    ],
)
def test_other_containers_and_types_are_read_alike(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = raster(tmp_path / Path(name).with_suffix(".tif"), [[0, 11, 52]], **options)
    if name.endswith(".vrt"):
        rasterio.shutil.copy(path, tmp_path / name, driver="VRT")
        path = tmp_path / name
    elif name.endswith(".img"):
        path = path.rename(tmp_path / name)
    assert is_nlcd(path)
    dataset = read_nlcd(path)
    assert dataset.land_cover_nlcd.values[0] == pytest.approx([np.nan, 11, 52], nan_ok=True)
    assert dataset.attrs["year"] == 2019
    assert float(dataset.x[1] - dataset.x[0]) == 30


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_real_cut_of_2011(real_data: Path) -> None:
    path = real_data / "granules/nlcd/nlcd2011.tif"
    assert is_nlcd(path)
    dataset = read_nlcd(path)
    assert dict(dataset.sizes) == {"y": 1359, "x": 1073}
    assert dataset.attrs["year"] == 2011
    assert int((dataset.land_cover_nlcd == 52).sum()) == 545771
    with rioxarray.open_rasterio(path, mask_and_scale=True) as other:
        np.testing.assert_array_equal(dataset.land_cover_nlcd, other[0])
