"""POLARIS tiles written as published: on the server's folders, without a nodata tag, some as logarithms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio import Affine

from vadose.errors import NeedsError, VadoseError
from vadose.products.polaris import FILE_NAME, is_polaris, read_polaris
from vadose.twin.granules.soils import POLARIS_STEP, write_polaris
from vadose.twin.truth import at, example

TILE = "lat3940_lon-101-100.tif"


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    # Around 40 N, 100 W, where four tiles meet.
    return example(days=1, rows=10, columns=12, resolution="1km")


@pytest.fixture(scope="module")
def folder(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("polaris")
    write_polaris(truth, folder, depths=("0_5", "30_60"))
    return folder


def raster(path: Path, values: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.array(values, np.float32)
    rows, columns = values.shape
    transform = Affine(POLARIS_STEP, 0, -101, 0, -POLARIS_STEP, 40)
    profile = {"crs": "EPSG:4326", "transform": transform, "dtype": values.dtype} | options
    with rasterio.open(path, "w", driver="GTiff", height=rows, width=columns, count=1, **profile) as f:
        f.write(values.astype(profile["dtype"]), 1)
    return path


def test_a_tree_of_tiles_gives_the_truth_at_its_place(truth: xr.Dataset, folder: Path) -> None:
    dataset = read_polaris(folder)
    assert len(dataset.data_vars) == 12
    lat, lon = np.meshgrid(dataset.lat, dataset.lon, indexing="ij")
    for name, of_truth, factor in (
        ("clay_fraction_0_5cm", "clay_fraction", 1.0),
        ("bulk_density_30_60cm", "bulk_density", 1.0),
        ("porosity_0_5cm", "porosity", 1.0),
        ("organic_matter_30_60cm", "organic_carbon", 1.724),
    ):
        expected, found = at(truth[of_truth], lat, lon) * factor, dataset[name].values
        inside = ~np.isnan(expected)
        # At the edge of a cell a centre may fall to either side.
        assert (np.isnan(found) == ~inside).mean() > 0.99
        assert np.isclose(found, expected, rtol=1e-5)[inside].mean() > 0.99
    assert dataset.attrs["simulated"] == "true"
    assert dataset.clay_fraction_0_5cm.attrs["long_name"].endswith("0-5 cm")
    steps = np.diff(dataset.lon)
    assert steps == pytest.approx(np.full(len(steps), 1 / 3600), abs=1e-9)


def test_published_layout_and_type(folder: Path) -> None:
    path = folder / "om/mean/0_5" / TILE
    assert FILE_NAME.fullmatch(path.name)
    with rasterio.open(path) as f:
        assert (f.dtypes[0], f.nodata, f.crs.to_epsg()) == ("float32", None, 4326)
        # Cut, but on the tile's own pixels, counted from its north-west corner.
        across, down = (f.transform.c + 101) / POLARIS_STEP, (40 - f.transform.f) / POLARIS_STEP
        assert (across, down) == pytest.approx((round(across), round(down)), abs=1e-6)
        assert f.read(1).min() == -9999


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_rioxarray_reads_the_same_up_to_units(folder: Path) -> None:
    path = folder / "om/mean/0_5" / TILE
    with rioxarray.open_rasterio(path, mask_and_scale=True) as other:
        stored = other[0].where(other[0] > -9000)
        mine = read_polaris(path)
        np.testing.assert_allclose(mine.organic_matter_0_5cm, 10**stored, rtol=1e-5)
        np.testing.assert_allclose(mine.lon, other.x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("prop", "stored", "ours", "value", "units"),
    [
        ("ksat", 1.0, "saturated_hydraulic_conductivity", 10 * 0.01 / 3600, "m s-1"),
        ("ksat", -1.0, "saturated_hydraulic_conductivity", 0.1 * 0.01 / 3600, "m s-1"),
        ("om", -0.5, "organic_matter", 10**-0.5, "percent"),
        ("hb", 0.7, "bubbling_pressure", 10**0.7, "kPa"),
        ("alpha", -0.3, "van_genuchten_alpha", 10**-0.3, "kPa-1"),
        ("clay", 25.0, "clay_fraction", 0.25, "1"),
        ("theta_r", 0.05, "residual_water_content", 0.05, "m3 m-3"),
        ("lambda", 0.3, "pore_size_index", 0.3, "1"),
        ("n", 1.4, "van_genuchten_n", 1.4, "1"),
        ("ph", 6.5, "ph", 6.5, "1"),
    ],
)
def test_units_and_logarithms(tmp_path: Path, prop: str, stored: float, ours: str, value: float, units: str) -> None:
    path = raster(tmp_path / prop / "p50" / "100_200" / TILE, [[stored, -9999]])
    field = read_polaris(path)[f"{ours}_100_200cm_p50"]
    assert field.values[0] == pytest.approx([value, np.nan], nan_ok=True, rel=1e-5)
    assert field.attrs["units"] == units
    assert field.attrs["long_name"].endswith("100-200 cm, median")


def test_a_moved_file_is_told_by_arguments_or_its_name(tmp_path: Path) -> None:
    path = raster(tmp_path / TILE, [[25.0]])
    with pytest.raises(VadoseError, match=r"lat3940_lon-101-100.tif: neither folders .* give property, statistic"):
        read_polaris(path)
    assert list(read_polaris(path, property="clay", statistic="mean", depth="5_15").data_vars) == [
        "clay_fraction_5_15cm"
    ]
    with pytest.raises(VadoseError, match="property 'loam' unknown; choose from"):
        read_polaris(path, property="loam", statistic="mean", depth="5_15")
    for name in ("sand_60-100cm_p5.tif", "lat3940_lon-101-100_p5_sand_60_100.tif", "sand_p5_60_100_cut.tif"):
        path = raster(tmp_path / name, [[25.0]], dtype="float64")
        assert is_polaris(path)
        assert list(read_polaris(path).data_vars) == ["sand_fraction_60_100cm_p5"]
    path = raster(tmp_path / "sand_p5_60_100.tif", [[25.0]])
    assert list(read_polaris(path).data_vars) == ["sand_fraction_60_100cm_p5"]


def test_what_nothing_tells_is_read_as_stored_when_asked_for(tmp_path: Path) -> None:
    path = raster(tmp_path / TILE, [[-0.5, -9999.0]])
    with pytest.raises(NeedsError) as error:
        read_polaris(path)
    dataset = read_polaris(path, **error.value.instead)
    assert dataset.unknown_property.values[0] == pytest.approx([-0.5, np.nan], nan_ok=True)
    assert dataset.unknown_property.attrs["units"] == "unknown"
    with pytest.raises(VadoseError, match="single file that nothing tells"):
        read_polaris(tmp_path, property="unknown")
    with pytest.raises(VadoseError, match="neither folders") as refused:
        read_polaris(tmp_path)
    assert not isinstance(refused.value, NeedsError)


def test_arguments_select_from_a_tree(folder: Path) -> None:
    assert list(read_polaris(folder, property="bd", depth="0_5").data_vars) == ["bulk_density_0_5cm"]
    with pytest.raises(VadoseError, match=r"nothing of \('ksat', None, None\); found \['bd/mean/0_5'"):
        read_polaris(folder, property="ksat")
    with pytest.raises(VadoseError, match="nothing of"):
        read_polaris(folder / "clay/mean/0_5" / TILE, property="sand")


def test_a_box_is_cut_across_tiles(folder: Path) -> None:
    cut = read_polaris(folder, bbox=(-100.01, 39.99, -99.99, 40.01), property="clay", depth="0_5")
    assert dict(cut.sizes) == {"lat": 72, "lon": 72}
    assert cut.clay_fraction_0_5cm.notnull().all()
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_polaris(folder, bbox=(10, 10, 11, 11))


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[3000.0, 20.0, 3000.0]], {}, "2 of 3 values of clay as stored lie outside 0 .. 100"),
        ([[-9999.0]], {}, "all is missing"),
        ([[20.0]], {"dtype": "uint8"}, "found uint8 values"),
        ([[20.0]], {"crs": None}, "names no projection"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        read_polaris(raster(tmp_path / "clay/mean/0_5" / TILE, values, **options))


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("ksat/mean", [[3.2, 12.0]], "2 of 2 values of log10 of ksat as stored lie outside -6 .. 2.6"),
        ("hb/p5", [[15.0, 30.0]], "log10 of hb as stored lie outside"),
        ("ksat/mean", [[-32768.0, -32768.0]], "log10 of ksat"),
        ("theta_s/mean", [[45.0, 44.0]], "theta_s as stored lie outside 0 .. 1"),
        ("ph/p50", [[650.0, 655.0]], "ph as stored lie outside"),
    ],
)
def test_values_that_are_no_logarithms_or_of_another_unit_are_refused(
    tmp_path: Path, part: str, values: Any, message: str
) -> None:
    with pytest.raises(VadoseError, match=message):
        read_polaris(raster(tmp_path / part / "0_5" / TILE, values))


def test_single_values_out_of_range_are_missing_and_counted(tmp_path: Path) -> None:
    values = np.full((20, 20), 0.5)
    values[0, :3], values[1, 1] = 9.0, -3.4028234663852886e38
    field = read_polaris(raster(tmp_path / "ksat/mean/0_5" / TILE, values)).saturated_hydraulic_conductivity_0_5cm
    assert (field.isnull().sum(), field.attrs["outside_range"]) == (4, 3)


def test_a_tile_that_lies_elsewhere_than_its_name_says_is_refused(tmp_path: Path) -> None:
    path = raster(tmp_path / "clay/mean/0_5/lat4142_lon-88-87.tif", [[20.0]])
    with pytest.raises(VadoseError, match="its transform places it at west -101"):
        read_polaris(path)


def test_layers_of_other_tiles_are_refused(tmp_path: Path) -> None:
    raster(tmp_path / "clay/mean/0_5" / TILE, [[20.0]])
    raster(tmp_path / "clay/mean/5_15" / TILE, [[20.0, 21.0]])
    with pytest.raises(VadoseError, match="different tiles"):
        read_polaris(tmp_path)
    with pytest.raises(VadoseError, match="no tile named as"):
        read_polaris(raster(tmp_path / "other/a.tif", [[1.0]]).parent)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>Not found</html>", "web page"), (b"PK\x03\x04" + bytes(60), "found a zip file")],
)
def test_other_containers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "clay/mean/0_5" / TILE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read_polaris(path)
    assert not is_polaris(path)


def test_a_truncated_tile_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "clay/mean/0_5" / TILE).read_bytes()
    path = tmp_path / "clay/mean/0_5" / TILE
    path.parent.mkdir(parents=True)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VadoseError, match=r"lat3940_lon-101-100.tif: cut short or damaged"):
        read_polaris(path)


def test_what_a_file_is(folder: Path, tmp_path: Path) -> None:
    assert is_polaris(folder)
    assert is_polaris(folder / "clay/mean/0_5" / TILE)
    assert is_polaris(raster(tmp_path / "clay_mean_0_5.tif", [[20.0]]))
    assert not is_polaris(raster(tmp_path / "clay.tif", [[20.0]]))


def test_pixels_between_those_published_are_refused(tmp_path: Path) -> None:
    transform = Affine(POLARIS_STEP, 0, -101 + POLARIS_STEP / 2, 0, -POLARIS_STEP, 40)
    path = raster(tmp_path / "clay/mean/0_5" / TILE, np.full((4, 4), 20), transform=transform)
    with pytest.raises(VadoseError, match="pixels off the multiples"):
        read_polaris(path)
