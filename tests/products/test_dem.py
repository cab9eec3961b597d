"""SRTM and 3DEP tiles written on the published lattices, and a real SRTM cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rasterio import Affine

from vadose.errors import VadoseError
from vadose.grid import transformer_to
from vadose.products.dem import SRTM_FILE_NAME, USGS_3DEP_FILE_NAME, is_3dep, is_srtm, read_3dep, read_srtm
from vadose.twin.granules.terrain import write_3dep, write_srtm
from vadose.twin.truth import at, example

Reader = Callable[..., xr.Dataset]
# rioxarray multiplies transforms in a way that their library is about to drop.
rioxarray_warns = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    # Around 40 N, 100 W, where four tiles of either product meet.
    return example(days=1, rows=24, columns=24, resolution="1km")[["elevation"]]


@pytest.fixture(scope="module")
def srtm(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("srtm")
    write_srtm(truth, folder)
    return folder


@pytest.fixture(scope="module")
def usgs(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("3dep")
    write_3dep(truth, folder)
    return folder


def tile(path: Path, values: np.ndarray, *, left: float = -100.0, top: float = 40.0, **options: object) -> Path:
    profile = {
        "crs": "EPSG:4326",
        "transform": Affine(1 / 1200, 0, left, 0, -1 / 1200, top),
        "nodata": -32768,
    } | options
    rows, columns = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=columns, count=1, dtype=values.dtype, **profile
    ) as f:
        f.write(values, 1)
    return path


def agrees(dataset: xr.Dataset, truth: xr.Dataset, within: float) -> None:
    lat, lon = np.meshgrid(dataset.lat, dataset.lon, indexing="ij")
    expected = at(truth.elevation, lat, lon)
    found = dataset.elevation.values
    # At the edge of a cell a centre may fall to either side.
    assert (np.isnan(found) == np.isnan(expected)).mean() > 0.99
    assert (np.abs(found - expected) <= within)[~np.isnan(expected)].mean() > 0.99


@pytest.mark.parametrize("edition", [6000, 6001])
def test_srtm_tiles_of_both_editions_give_the_truth(truth: xr.Dataset, tmp_path: Path, edition: int) -> None:
    paths = write_srtm(truth, tmp_path, edition)
    assert {p.name for p in paths} == {f"srtm_{x}_{y}.tif" for x in (16, 17) for y in ("04", "05")}
    dataset = read_srtm(tmp_path)
    agrees(dataset, truth, 0.5)
    assert dataset.attrs["edition"].startswith(str(edition))
    assert (dataset.attrs["simulated"], dataset.attrs["product"]) == ("true", "SRTM")
    # The centre of a pixel lies on a multiple of 3 arc seconds in the edition of 6001 alone.
    offset = float(dataset.lon[0]) * 1200 % 1
    assert min(offset, 1 - offset) == pytest.approx(0.0 if edition == 6001 else 0.5, abs=1e-3)
    assert dataset.elevation.attrs["units"] == "m"
    assert np.diff(dataset.lat).max() < 0 < np.diff(dataset.lon).min()


def test_3dep_tiles_give_the_truth_across_their_overlap(truth: xr.Dataset, usgs: Path) -> None:
    names = {p.name for p in usgs.iterdir()}
    assert names == {f"USGS_1_n{n}w{w}.tif" for n in (40, 41) for w in (100, 101)}
    dataset = read_3dep(usgs)
    # Heights lie between those of the cells' centres.
    x = transformer_to("EPSG:6933").transform(dataset.lon, 0 * dataset.lon)[0]
    y = transformer_to("EPSG:6933").transform(0 * dataset.lat, dataset.lat)[1]
    between = truth.elevation.interp(x=("lon", x), y=("lat", y)).values
    there = np.isfinite(between)
    assert there.mean() > 0.7
    np.testing.assert_allclose(dataset.elevation.values[there], between[there], atol=0.01)
    assert dataset.attrs["resolution"] == "1 arc second"
    steps = np.diff(dataset.lon)
    assert steps == pytest.approx(np.full(len(steps), 1 / 3600), abs=1e-9)
    with rasterio.open(usgs / "USGS_1_n41w101.tif") as f:
        assert (f.crs.to_epsg(), f.nodata, f.dtypes[0]) == (4269, -999999, "float32")


@rioxarray_warns
@pytest.mark.parametrize(("product", "read"), [("srtm", read_srtm), ("usgs", read_3dep)])
def test_rioxarray_reads_the_same(product: str, read: Reader, request: pytest.FixtureRequest) -> None:
    path = sorted(request.getfixturevalue(product).iterdir())[0]
    with rioxarray.open_rasterio(path, mask_and_scale=True) as other:
        mine = read(path)
        np.testing.assert_array_equal(mine.elevation, other[0])
        np.testing.assert_allclose(mine.lon, other.x, rtol=0, atol=1e-9)
        np.testing.assert_allclose(mine.lat, other.y, rtol=0, atol=1e-9)


def test_a_box_is_cut_from_tiles_and_files_alike(srtm: Path) -> None:
    box = (-100.01, 39.98, -99.99, 40.02)
    cut, whole = read_srtm(srtm, bbox=box), read_srtm(srtm)
    xr.testing.assert_allclose(cut, whole.sel(lat=slice(40.02, 39.98), lon=slice(-100.01, -99.99)))
    assert cut.sizes == {"lat": 48, "lon": 24}
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_srtm(srtm / "srtm_17_05.tif", bbox=(10, 10, 11, 11))


def test_255_is_missing_on_low_islands_only(tmp_path: Path) -> None:
    island = np.full((9, 9), 255, np.int16)
    island[4, 4:6] = 3, -32768
    dataset = read_srtm(tile(tmp_path / "srtm_01_10.tif", island, nodata=255, left=-178, top=14))
    assert dataset.elevation.notnull().sum() == 1
    assert "low islands" in dataset.attrs["nodata_255"]
    mountain = np.arange(250, 331, dtype=np.int16).reshape(9, 9)
    dataset = read_srtm(tile(tmp_path / "srtm_02_10.tif", mountain, nodata=255, left=-173, top=14))
    assert dataset.elevation.notnull().all()
    assert "kept as a height" in dataset.attrs["nodata_255"]


def test_fill_is_missing_even_when_no_tag_says_so(tmp_path: Path) -> None:
    values = np.array([[-32768, 7], [8, 9]], np.int16)
    assert read_srtm(tile(tmp_path / "a.tif", values, nodata=None)).elevation.isnull().sum() == 1
    values = np.array([[-999999, 7], [8, 9]], np.float32)
    assert read_3dep(tile(tmp_path / "b.tif", values, nodata=None, crs="EPSG:4269")).elevation.isnull().sum() == 1


def test_what_a_file_is(srtm: Path, usgs: Path, tmp_path: Path) -> None:
    assert is_srtm(srtm)
    assert not is_srtm(usgs)
    assert is_3dep(usgs)
    assert not is_3dep(srtm)
    renamed = tmp_path / "heights.tif"
    renamed.write_bytes((usgs / "USGS_1_n41w101.tif").read_bytes())
    assert is_3dep(renamed)
    assert not is_srtm(renamed)
    for name in ("srtm_23_13.tif", "srtm_15_04.zip"):
        assert SRTM_FILE_NAME.fullmatch(name)
    for name in ("USGS_13_n41w106.tif", "USGS_13_n41w106_20220331.tif", "USGS_1_s14w171.tif"):
        assert USGS_3DEP_FILE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Log in</html>", "web page"),
        (b"PK\x03\x04" + bytes(60), "unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "found a hdf5 file where GeoTIFF"),
    ],
)
@pytest.mark.parametrize("read", [read_srtm, read_3dep])
def test_other_containers_are_named(tmp_path: Path, read: Reader, content: bytes, message: str) -> None:
    path = tmp_path / "srtm_16_04.tif"
    path.write_bytes(content)
    with pytest.raises(VadoseError, match=message):
        read(path)


def test_a_truncated_tile_is_named(srtm: Path, tmp_path: Path) -> None:
    whole = (srtm / "srtm_16_04.tif").read_bytes()
    path = tmp_path / "srtm_16_04.tif"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VadoseError, match=r"srtm_16_04\.tif: cut short or damaged"):
        read_srtm(path)


def test_what_cannot_be_heights_is_refused(tmp_path: Path) -> None:
    path, metres = tmp_path / "srtm_16_04.tif", np.full((4, 4), 300, np.int16)
    tile(path, np.full((4, 4), -32768, np.int16))
    with pytest.raises(VadoseError, match="no height at all"):
        read_srtm(path)
    tile(path, np.full((4, 4), 20000, np.int16))
    with pytest.raises(VadoseError, match=r"16 of 16 values of elevation lie outside -500 \.\. 9000 m"):
        read_srtm(path)
    tile(path, metres, crs=None)
    with pytest.raises(VadoseError, match="names no projection"):
        read_srtm(path)
    tile(path, metres.astype(np.uint8), nodata=0)
    with pytest.raises(VadoseError, match="a picture"):
        read_srtm(path)


@pytest.mark.parametrize("fill", [-9999.0, -32767.0, -3.4028234663852886e38, np.inf])
def test_an_undeclared_fill_is_missing_and_counted(tmp_path: Path, fill: float) -> None:
    values = np.full((20, 20), 2500, np.float32)
    values[:, 0] = fill
    dataset = read_3dep(tile(tmp_path / "USGS_13_n41w101.tif", values, nodata=None, crs="EPSG:4269", left=-101, top=41))
    assert np.isnan(dataset.elevation[:, 0]).all()
    assert (dataset.elevation[:, 1:] == 2500).all()
    assert dataset.attrs["undeclared_fill"] == f"taken as missing, though not declared so: 20 of {np.float32(fill):g}"
    values[3, 3] = 9500
    dataset = read_3dep(tile(tmp_path / "USGS_13_n41w101.tif", values, nodata=None, crs="EPSG:4269", left=-101, top=41))
    assert dataset.elevation.attrs["outside_range"] == 1


def test_a_warped_tile_is_read_as_it_lies(tmp_path: Path) -> None:
    lies = {"crs": "EPSG:5070", "transform": Affine(30, 0, -400_000, 0, -30, 2_000_000), "nodata": np.nan}
    path = tile(tmp_path / "USGS_13_n41w101.tif", np.array([[2400, 2500]], np.float32), **lies)
    dataset = read_3dep(path)
    assert (dataset.elevation.dims, dataset.elevation.values.tolist()) == (("y", "x"), [[2400, 2500]])
    assert dataset.attrs["resolution"] == "30 m (EPSG:5070), not as published"
    assert read_srtm(path).attrs["edition"] == "unknown: warped to EPSG:5070"


@pytest.mark.parametrize(
    ("name", "read", "left", "top"),
    [("USGS_13_n41w106.tif", read_3dep, -104, 41), ("srtm_16_04.tif", read_srtm, -104, 36)],
)
def test_a_tile_that_lies_elsewhere_than_its_name_says_is_refused(
    tmp_path: Path, name: str, read: Reader, left: float, top: float
) -> None:
    path = tile(tmp_path / name, np.full((4, 4), 300, np.float32), left=left, top=top)
    with pytest.raises(VadoseError, match=f"{name}: its transform places it at .* its name at west -10"):
        read(path)
    read(path.rename(tmp_path / "srtm_and_3dep.tif"))


def test_hgt_is_read_from_its_name_and_size(tmp_path: Path) -> None:
    path = tmp_path / "N40W106.hgt"
    heights = np.full((1201, 1201), 1500, ">i2")
    heights[0, 0], heights[-1, 0] = 1700, -32768
    path.write_bytes(heights.tobytes())
    assert is_srtm(path)
    assert not is_3dep(path)
    dataset = read_srtm(path)
    assert float(dataset.elevation.sel(lat=41, lon=-106, method="nearest")) == 1700
    assert int(dataset.elevation.isnull().sum()) == 1
    assert read_srtm(path, bbox=(-106.0001, 40.4999, -105.8999, 40.6001)).sizes == {"lat": 121, "lon": 121}
    path.write_bytes(heights.tobytes()[:-2])
    with pytest.raises(VadoseError, match=r"2884800 bytes, expected 2884802 \(1201 x 1201 heights\) or"):
        read_srtm(path)


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match=r"no file named srtm_XX_YY\.tif"):
        read_srtm(tmp_path)
    metres = np.full((4, 4), 300, np.int16)
    tile(tmp_path / "srtm_16_04.tif", metres)
    tile(tmp_path / "srtm_17_04.tif", metres, left=-100 + 3.5 / 1200, top=40 - 0.5 / 1200)
    with pytest.raises(
        VadoseError, match=r"srtm_17_04.tif: projection or pixels .* do not fit those of srtm_16_04.tif"
    ):
        read_srtm(tmp_path)


@rioxarray_warns
def test_a_real_srtm_cut(real_data: Path) -> None:
    path = real_data / "granules/terrain/srtm.tif"
    assert is_srtm(path)
    dataset = read_srtm(path)
    assert dict(dataset.sizes) == {"lat": 457, "lon": 465}
    assert (float(dataset.elevation.min()), float(dataset.elevation.max())) == (1024, 2892)
    assert dataset.attrs["edition"].startswith("6001")
    assert dataset.attrs["simulated"] == "false"
    with rioxarray.open_rasterio(path, mask_and_scale=True) as other:
        np.testing.assert_array_equal(dataset.elevation, other[0])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("srtm_cut.tif", {"dtype": "float32", "nodata": np.nan}),
        ("my_SRTM.tif", {"transform": Affine(1 / 300, 0, -100, 0, -1 / 300, 40)}),
        ("N39W100.SRTMGL1.tif", {"transform": Affine(1 / 3600, 0, -100 - 1 / 7200, 0, -1 / 3600, 40 + 1 / 7200)}),
        ("height.tif", {}),
    ],
)
def test_cut_renamed_and_thinned_srtm_is_known(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    path = tile(tmp_path / name, np.array([[100, 200], [300, 400]], str(options.pop("dtype", "int16"))), **options)
    assert is_srtm(path)
    assert not is_3dep(path)
    dataset = read_srtm(path)
    assert dataset.elevation.values.tolist() == [[100, 200], [300, 400]]
    assert dataset.attrs["edition"].startswith("6000") == (name in ("srtm_cut.tif", "height.tif"))


def test_bytes_and_shifted_pixels_are_no_srtm_without_its_name(tmp_path: Path) -> None:
    values = np.ones((2, 2), np.int16)
    assert not is_srtm(tile(tmp_path / "a.tif", values, left=-100 + 0.3 / 1200))
    assert not is_srtm(tile(tmp_path / "b.tif", values.astype(np.float32)))
    assert not is_srtm(tile(tmp_path / "srtm.tif", values.astype(np.uint8), nodata=0))


@pytest.mark.parametrize("name", ["USGS_13_n41w106_cut.tif", "3DEP_coarse.tif"])
def test_cut_and_thinned_3dep_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    options = {"crs": "EPSG:4269+5703", "nodata": -999999.0, "transform": Affine(1 / 720, 0, -106, 0, -1 / 720, 41)}
    path = tile(tmp_path / name, np.array([[1500.5, -999999.0]], np.float32), **options)
    assert is_3dep(path)
    dataset = read_3dep(path)
    assert dataset.elevation.values[0] == pytest.approx([1500.5, np.nan], nan_ok=True)
    assert "not as published" in dataset.attrs["resolution"]


@pytest.mark.parametrize("shift", [0.0, 0.5, 0.25])
def test_pixels_between_those_published_are_refused(tmp_path: Path, shift: float) -> None:
    path = tile(tmp_path / "srtm_17_05.tif", np.full((4, 4), 500, np.int16), left=-99.0 + shift / 1200)
    if shift == 0.25:
        with pytest.raises(VadoseError, match=r"0\.25 and 0 pixels off the multiples"):
            read_srtm(path)
    else:
        transform = Affine(1 / 1200, 0, -99.0 + shift / 1200, 0, -1 / 1200, 40.0 - shift / 1200)
        path = tile(tmp_path / "srtm_17_05.tif", np.full((4, 4), 500, np.int16), transform=transform)
        assert float(read_srtm(path).elevation[0, 0]) == 500
