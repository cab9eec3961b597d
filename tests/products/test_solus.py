"""SOLUS100 files written on the published grid, with every way a file may tell (or not tell) its missing value."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from pyproj import Transformer
from rasterio import Affine

from vadose.errors import VadoseError
from vadose.products.containers import as_float
from vadose.products.solus import FILE_NAME, is_solus, read_solus
from vadose.twin.granules.soils import write_solus
from vadose.twin.truth import at, example
from vadose.variables import variable

CORNER = Affine(100, 0, -350000, 0, -100, 1900000)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=1, rows=10, columns=12, resolution="1km")


@pytest.fixture(scope="module")
def folder(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solus")
    write_solus(truth, folder)
    return folder


def raster(path: Path, values: np.ndarray, **options: Any) -> Path:
    rows, columns = values.shape
    profile = {"crs": "EPSG:5070", "transform": CORNER, "dtype": values.dtype} | options
    with rasterio.open(path, "w", driver="GTiff", height=rows, width=columns, count=1, **profile) as f:
        f.write(values, 1)
    return path


def test_a_folder_gives_the_truth_at_its_place(truth: xr.Dataset, folder: Path) -> None:
    dataset = read_solus(folder)
    assert len(dataset.data_vars) == 15
    x, y = np.meshgrid(dataset.x, dataset.y)
    lon, lat = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True).transform(x, y)
    for name, variable_of_truth, within in (
        ("clay_fraction_5cm", "clay_fraction", 0.0051),
        ("sand_fraction_30cm", "sand_fraction", 0.0051),
        ("silt_fraction_60cm", "silt_fraction", 0.0051),
        ("bulk_density_5cm", "bulk_density", 0.0051),
        ("organic_carbon_60cm", "organic_carbon", 0.00051),
    ):
        expected, found = at(truth[variable_of_truth], lat, lon), dataset[name].values
        inside = ~np.isnan(expected)
        # At the edge of a cell a centre may fall to either side.
        assert (np.isnan(found) == ~inside).mean() > 0.99
        assert (np.abs(found - expected) <= within)[inside].mean() > 0.99
        assert found.dtype == np.float32
    assert dataset.attrs["simulated"] == "true"
    assert dataset.clay_fraction_5cm.attrs["long_name"].endswith("at 5 cm")
    assert dataset.bulk_density_5cm.attrs["units"] == "g cm-3"
    # The lattice is the published one: corners on the origin plus whole pixels.
    assert (float(dataset.x[0]) - 50 + 2540000) % 100 == 0


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_reads_the_same_up_to_the_scalar(folder: Path) -> None:
    path = folder / "dbovendry_30_cm_p.tif"
    with rioxarray.open_rasterio(path, mask_and_scale=True) as other:
        mine = read_solus(path)
        np.testing.assert_allclose(mine.bulk_density_30cm, other[0] / 100, rtol=1e-6)
        np.testing.assert_array_equal(mine.x, other.x)


def test_a_box_is_cut(folder: Path) -> None:
    path = folder / "soc_5_cm_p.tif"
    cut = read_solus(path, bbox=(-100.03, 39.99, -100.0, 40.01))
    assert 15 < cut.sizes["x"] < 35
    xr.testing.assert_equal(cut, read_solus(path).sel(x=cut.x, y=cut.y))
    with pytest.raises(VadoseError, match=r"soc_5_cm_p.tif: box .* lies outside the file"):
        read_solus(path, bbox=(10, 10, 11, 11))


@pytest.mark.parametrize(
    ("name", "stored", "ours", "value", "units"),
    [
        ("ph1to1h2o_0_cm_p.tif", 675, "ph_0cm", 6.75, "1"),
        ("soc_150_cm_h.tif", 1250, "organic_carbon_150cm_high", 1.25, "percent"),
        ("claytotal_15_cm_l.tif", 12, "clay_fraction_15cm_low", 0.12, "1"),
        ("claytotal_15_cm_rpi.tif", 85, "clay_fraction_15cm_relative_interval", 0.85, "1"),
        ("sandvf_100_cm_p.tif", 7, "very_fine_sand_fraction_100cm", 0.07, "1"),
        ("cec7_30_cm_p.tif", 154, "cation_exchange_capacity_30cm", 15.4, "cmol kg-1"),
        ("resdept_all_cm_p.tif", 201, "restriction_depth", 201, "cm"),
        ("anylithicdpt_cm_l.tif", 40, "lithic_contact_depth_low", 40, "cm"),
        ("resdept_all_cm_rpi.tif", 500, "restriction_depth_relative_interval", 0.5, "1"),
    ],
)
def test_names_and_scalars(tmp_path: Path, name: str, stored: int, ours: str, value: float, units: str) -> None:
    assert FILE_NAME.fullmatch(name)
    values = np.array([[stored, -1], [stored, stored]], np.int16)
    dataset = read_solus(raster(tmp_path / name, values, nodata=-1))
    assert list(dataset.data_vars) == [ours]
    assert dataset[ours].values.ravel() == pytest.approx([value, np.nan, value, value], nan_ok=True)
    assert dataset[ours].attrs["units"] == units
    assert dataset[ours].attrs["long_name"]


def test_the_missing_value_has_to_be_known(tmp_path: Path) -> None:
    texture = raster(tmp_path / "sandtotal_5_cm_p.tif", np.array([[40, 255]], np.uint8))
    assert np.isnan(read_solus(texture).sand_fraction_5cm.values).tolist() == [[False, True]]
    acidity = raster(tmp_path / "ph1to1h2o_5_cm_p.tif", np.array([[650, 65535]], np.uint16))
    with pytest.raises(VadoseError, match=r"ph1to1h2o_5_cm_p.tif: uint16 values and no missing value declared"):
        read_solus(acidity)


@pytest.mark.parametrize(
    ("name", "values", "options", "message"),
    [
        (
            "claytotal_5_cm_p.tif",
            [[130, 140]],
            {"nodata": 255},
            "2 of 2 values of clay_fraction_5cm lie outside 0 .. 1",
        ),
        ("claytotal_5_cm_p.tif", [[255]], {"nodata": 255}, "all is missing"),
        ("claytotal_5_cm_p.tif", [[20]], {"nodata": 255, "crs": None}, "names no projection"),
        ("claytotal_7_cm_p.tif", [[20]], {"nodata": 255}, "not the name of a SOLUS100 file"),
        ("resdept_all_5_cm_p.tif", [[20]], {"nodata": 255}, "not the name of a SOLUS100 file"),
        ("clay.tif", [[20]], {"nodata": 255}, "keep it as published"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, name: str, values: list[list[int]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VadoseError, match=message):
        read_solus(raster(tmp_path / name, np.array(values, np.uint8), **options))


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("ph1to1h2o_5_cm_p.tif", [[6.5, 7.0]], "divided already"),
        ("soc_5_cm_p.tif", [[2.0, 3.0]], "divided already"),
        ("dbovendry_5_cm_l.tif", [[1.35, 1.4]], "divided already"),
        ("claytotal_5_cm_rpi.tif", [[0.85, 0.9]], "divided already"),
        ("soc_5_cm_p.tif", [[2000.5, 3000.0]], "divided already"),
        ("ph1to1h2o_5_cm_p.tif", [[650.0, np.nan]], ""),
        ("soc_5_cm_p.tif", [[2000.0, 20.0, 900.0]], ""),
        ("claytotal_5_cm_p.tif", [[20.5, 21.0]], ""),
    ],
)
def test_floats_are_counts_or_refused(tmp_path: Path, name: str, values: Any, told: str) -> None:
    path = raster(tmp_path / name, np.array(values, np.float32), nodata=-9999)
    if told:
        with pytest.raises(VadoseError, match=f"{name}: found floats .*{told}"):
            read_solus(path)
    else:
        assert read_solus(path).to_dataarray().notnull().any()


def test_a_file_with_a_scale_of_its_own_is_refused(tmp_path: Path) -> None:
    path = raster(tmp_path / "dbovendry_5_cm_p.tif", np.array([[140]], np.uint8))
    with rasterio.open(path, "r+") as f:
        f.scales = (0.01,)
    with pytest.raises(VadoseError, match=r"states scale 0.01"):
        read_solus(path)


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="no file named as"):
        read_solus(tmp_path)
    raster(tmp_path / "claytotal_5_cm_p.tif", np.array([[20, 21]], np.uint8))
    raster(tmp_path / "county_claytotal_5_cm_p.tif", np.array([[20, 21]], np.uint8))
    with pytest.raises(VadoseError, match="holds clay_fraction_5cm twice"):
        read_solus(tmp_path)
    (tmp_path / "county_claytotal_5_cm_p.tif").unlink()
    raster(tmp_path / "sandtotal_5_cm_p.tif", np.array([[20]], np.uint8))
    with pytest.raises(VadoseError, match="different grids"):
        read_solus(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>Sign in</html>", "web page"), (b"CDF\x01" + bytes(60), "found a netcdf3 file")],
)
def test_other_containers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "claytotal_5_cm_p.tif"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read_solus(path)
    assert not is_solus(path)


def test_a_truncated_file_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "claytotal_5_cm_p.tif").read_bytes()
    path = tmp_path / "claytotal_5_cm_p.tif"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VadoseError, match=r"claytotal_5_cm_p.tif: cut short or damaged"):
        read_solus(path)


def test_what_a_file_is(folder: Path) -> None:
    assert is_solus(folder)
    assert is_solus(folder / "soc_5_cm_p.tif")
    assert not is_solus(folder / "soc.tif")


def test_every_name_with_a_depth_is_described() -> None:
    at_5, layer, low = (variable(f"clay_fraction_{part}") for part in ("5cm", "0_5cm", "5cm_low"))
    assert at_5 is not None
    assert at_5.long_name.endswith(", at 5 cm")
    assert layer is not None
    assert layer.long_name.endswith(", 0-5 cm")
    assert low is not None
    assert low.long_name.endswith("at 5 cm, lower end of the 95 % interval")
    # A name of its own is not taken apart, an unknown one is not guessed.
    assert variable("air_temperature_max") is not None
    assert variable("soil_moisture_0_10cm") is not None
    assert variable("clay_fraction_5m") is None
    assert variable("nothing_5cm") is None


def test_words_around_the_name_do_no_harm(tmp_path: Path) -> None:
    path = raster(tmp_path / "cut_claytotal_5_cm_p_county.tif", np.array([[20, 255]], np.uint8))
    assert is_solus(path)
    assert read_solus(path).clay_fraction_5cm.values[0] == pytest.approx([0.2, np.nan], nan_ok=True)
    assert not is_solus(raster(tmp_path / "claytotal_5_cm_px.tif", np.array([[20]], np.uint8)))


def test_a_missing_value_the_type_cannot_hold_is_no_value(tmp_path: Path) -> None:
    assert as_float(np.array([241, 1], np.uint8), -9999, 3.4e38).tolist() == [241, 1]


def test_pixels_between_those_published_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "claytotal_5_cm_p.tif"
    raster(path, np.full((4, 4), 20, np.uint8), transform=CORNER @ Affine.translation(0.5, 0.5))
    with pytest.raises(VadoseError, match=r"0\.5 and 0\.5 pixels off the multiples of 100"):
        read_solus(path)
