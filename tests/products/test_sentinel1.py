"""Sentinel-1 backscatter written by the simulated world and by hand, and a real cut where it is."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from pyproj import Transformer
from rasterio import Affine

from vadose.errors import VadoseError
from vadose.products.sentinel1 import FILE_NAME, is_sentinel1, read_sentinel1
from vadose.twin.granules.sentinel1 import write_sentinel1
from vadose.twin.truth import at, example

# rioxarray 0.19 multiplies affine transforms in a way affine 3.1 will give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

EARTH_ENGINE = "S1A_IW_GRDH_1SDV_20190610T122415_20190610T122440_027618_031DE1_7A77.tif"
DECIBEL = np.array([[-10.0, -20.0, -12.5], [-8.0, np.nan, 1.5]], np.float32)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=2, first="2019-05-09", resolution="100m")


@pytest.fixture(scope="module")
def written(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sentinel1")
    return {scale: write_sentinel1(truth, folder, scale=scale)[0] for scale in ("db", "power")}


@pytest.fixture
def scene(written: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(written["db"], tmp_path / written["db"].name)


def geotiff(
    path: Path, bands: Sequence[np.ndarray], descriptions: Sequence[str] = (), crs: str = "EPSG:32614", **tags: str
) -> Path:
    """A small GeoTIFF as a user may have it."""
    rows, columns = bands[0].shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=columns,
        count=len(bands),
        dtype=bands[0].dtype,
        crs=crs,
        transform=Affine(10, 0, 500000, 0, -10, 4430000),
    ) as raster:
        for number, values in enumerate(bands, 1):
            raster.write(values, number)
        for number, text in enumerate(descriptions, 1):
            raster.set_band_description(number, text)
        raster.update_tags(**tags)
    return path


@pytest.mark.parametrize("scale", ["db", "power"])
def test_either_scale_gives_the_linear_truth_at_its_place(
    truth: xr.Dataset, written: dict[str, Path], scale: str
) -> None:
    dataset = read_sentinel1(written[scale])
    assert set(dataset.data_vars) == {"sigma0_vv", "sigma0_vh", "incidence_angle", "orbit_ascending"}
    assert dataset.time.values[0] == np.datetime64("2019-05-10T00:40:00", "ns")
    to_degrees = Transformer.from_crs(dataset.crs.attrs["crs_wkt"], "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*np.meshgrid(dataset.x, dataset.y))
    for name in ("sigma0_vv", "sigma0_vh"):
        expected = at(truth[name].isel(time=1), lat, lon)
        assert np.isnan(expected).any()
        # The writer places pixels to 0.1 m: one on a cell's edge may fall to either side.
        assert np.isclose(dataset[name].values[0], expected, rtol=3e-6, atol=0, equal_nan=True).mean() > 0.999
        assert dataset[name].dtype == np.float32
    angle = dataset.incidence_angle.values
    np.testing.assert_allclose(angle[np.isfinite(angle)], 38, rtol=1e-6)
    assert "by the name (HyP3)" in dataset.attrs["scale"]
    assert dataset.attrs["simulated"] == "true"


def test_gamma0_keeps_its_own_name(scene: Path) -> None:
    file = next(scene.glob("*_VV.tif"))
    other = shutil.copy(file, scene / file.name.replace("_sduned_", "_gduned_"))
    dataset = read_sentinel1(other)
    assert list(dataset.data_vars) == ["gamma0_vv", "orbit_ascending"]
    np.testing.assert_array_equal(dataset.gamma0_vv, read_sentinel1(file).sigma0_vv)
    assert "sigma0_vv" in read_sentinel1(other, radiometry="sigma0")


def test_an_export_of_earth_engine(tmp_path: Path) -> None:
    angle = np.full_like(DECIBEL, 38.5)
    path = geotiff(tmp_path / EARTH_ENGINE, [DECIBEL, DECIBEL - 6, angle], ["VV", "VH", "angle"])
    dataset = read_sentinel1(path)
    np.testing.assert_allclose(dataset.sigma0_vv[0], 10 ** (DECIBEL / 10), rtol=1e-5)
    np.testing.assert_allclose(dataset.sigma0_vh[0], 10 ** ((DECIBEL - 6) / 10), rtol=1e-5)
    assert (dataset.incidence_angle == 38.5).all()
    assert dataset.time.values[0] == np.datetime64("2019-06-10T12:24:15", "ns")
    assert dataset.attrs["relative_orbit"] == 71
    # 12:24 UTC at 99 W is 06:00 local solar time.
    assert (dataset.attrs["orbit_pass"], float(dataset.orbit_ascending.max())) == ("descending", 0.0)
    assert dataset.attrs["scale"] == "dB, by the values, of which 80% are negative"
    assert "assumption" in dataset.attrs["radiometry"]
    assert is_sentinel1(path)
    assert is_sentinel1(path.rename(tmp_path / "renamed.tif"))


def test_the_scale_is_said_by_argument_name_description_or_tag(tmp_path: Path) -> None:
    power = (10 ** (DECIBEL / 10)).astype(np.float32)
    path = geotiff(tmp_path / EARTH_ENGINE, [power], ["VV"])
    with pytest.raises(VadoseError, match="neither name nor tags say whether it holds dB or linear power"):
        read_sentinel1(path)
    by_argument = read_sentinel1(path, scale="power")
    np.testing.assert_array_equal(by_argument.sigma0_vv[0], power)
    squared = read_sentinel1(path, scale="amplitude")
    np.testing.assert_allclose(squared.sigma0_vv[0], power**2, rtol=1e-6)
    for options in ({"descriptions": ["VV linear"]}, {"descriptions": ["VV"], "scale": "power"}):
        xr.testing.assert_equal(read_sentinel1(geotiff(path, [power], **options)), by_argument)
    pyrosar = geotiff(tmp_path / "S1A__IW___D_20210914T191350_VV_gamma0-rtc.tif", [power])
    dataset = read_sentinel1(pyrosar)
    np.testing.assert_array_equal(dataset.gamma0_vv[0], power)
    assert dataset.attrs["orbit_pass"] == "descending"
    snap = geotiff(tmp_path / "subset_20190610.tif", [DECIBEL], ["Sigma0_VV_db"])
    xr.testing.assert_allclose(
        read_sentinel1(snap).sigma0_vv.drop_vars("time"), by_argument.sigma0_vv.drop_vars("time")
    )


@pytest.mark.parametrize(
    ("scale", "values"),
    [
        ("power", DECIBEL),
        ("amplitude", DECIBEL),
        ("db", 10 ** (DECIBEL / 10) * 0.5),
        ("db", DECIBEL * 100),
        ("power", np.full_like(DECIBEL, 20000)),
    ],
)
def test_values_that_contradict_the_scale_are_refused(tmp_path: Path, scale: str, values: np.ndarray) -> None:
    path = geotiff(tmp_path / EARTH_ENGINE, [values.astype(np.float32)], ["VV"])
    with pytest.raises(VadoseError, match=r"cannot be .* of backscatter|values of backscatter as .* lie outside"):
        read_sentinel1(path, scale=scale)


@pytest.mark.parametrize("fill", [0.0, -99.0, -9999.0, np.nan, -np.inf])
def test_fill_is_missing_also_where_no_tag_declares_it(tmp_path: Path, fill: float) -> None:
    values = DECIBEL.copy()
    values[0, 0] = fill
    dataset = read_sentinel1(geotiff(tmp_path / EARTH_ENGINE, [values], ["VV"]), scale="db")
    assert np.isnan(dataset.sigma0_vv.values[0, 0, 0])
    assert np.isfinite(dataset.sigma0_vv.values[0]).sum() == 4
    nothing = geotiff(tmp_path / EARTH_ENGINE, [np.full_like(values, fill)], ["VV"])
    with pytest.raises(VadoseError, match="nothing but fill"):
        read_sentinel1(nothing)


def test_another_reader_finds_the_same(scene: Path) -> None:
    dataset = read_sentinel1(scene)
    for band in ("VV", "VH"):
        with rioxarray.open_rasterio(next(scene.glob(f"*_{band}.tif"))) as raster:
            decibel = raster.load()[0]
        expected = 10 ** (decibel.where(decibel != 0) / 10)
        np.testing.assert_allclose(dataset[f"sigma0_{band.lower()}"][0], expected, rtol=1e-5)
        np.testing.assert_array_equal(dataset.y, decibel.y)


def test_a_file_alone_and_a_box(scene: Path) -> None:
    whole = read_sentinel1(scene)
    one = next(scene.glob("*_VH.tif"))
    assert FILE_NAME.fullmatch(one.name)
    assert FILE_NAME.fullmatch(scene.name)
    xr.testing.assert_equal(read_sentinel1(one), whole[["sigma0_vh", "orbit_ascending"]])
    xr.testing.assert_equal(read_sentinel1(one, files=sorted(scene.iterdir())), whole)
    part = read_sentinel1(scene, bbox=(-100.002, 39.998, -99.998, 40.002))
    xr.testing.assert_equal(part, whole.sel(x=part.x, y=part.y))
    assert 0 < part.sizes["x"] < whole.sizes["x"]
    with pytest.raises(VadoseError, match="lies outside the file"):
        read_sentinel1(scene, bbox=(-90, 39, -89, 40))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:300]), "cut short or damaged"),
        (lambda p: p.write_bytes(b""), "the file is empty"),
        (lambda p: p.write_text("<html>login</html>"), "a web page, not data"),
        (lambda p: p.write_bytes(b"GRIB" + b"\0" * 99), "found a grib file where GeoTIFF"),
        (lambda p: geotiff(p, [DECIBEL]), "lies on another lattice"),
    ],
)
def test_a_damaged_file_is_named(scene: Path, damage: Callable[[Path], object], message: str) -> None:
    file = next(scene.glob("*_VH.tif"))
    damage(file)
    with pytest.raises(VadoseError, match=message) as error:
        read_sentinel1(scene)
    assert file.name in str(error.value)


def test_what_cannot_be_told_is_refused(tmp_path: Path, scene: Path) -> None:
    with pytest.raises(VadoseError, match="no band tells that it is VV or VH"):
        read_sentinel1(geotiff(tmp_path / EARTH_ENGINE, [DECIBEL, DECIBEL]))
    with pytest.raises(VadoseError, match="its tag 'date' is 'in spring'"):
        read_sentinel1(geotiff(tmp_path / "cut_VV.tif", [DECIBEL], date="in spring"))
    tagged = read_sentinel1(geotiff(tmp_path / "cut_VV.tif", [DECIBEL], START_TIME="2019-06-10T12:24:15Z"))
    assert tagged.time.values[0] == np.datetime64("2019-06-10T12:24:15", "ns")
    with pytest.raises(VadoseError, match="contradict each other on the scale"):
        read_sentinel1(geotiff(tmp_path / EARTH_ENGINE, [DECIBEL], ["VV db"], scale="power"))
    with pytest.raises(VadoseError, match="scale 'dB' unknown"):
        read_sentinel1(scene, scale="dB")
    with pytest.raises(VadoseError, match=r"scale 'amp' unknown; choose from \['db', 'power'\]"):
        write_sentinel1(xr.Dataset(), tmp_path, scale="amp")
    shutil.copy(next(scene.glob("*_VV.tif")), scene / EARTH_ENGINE.replace(".tif", "_VV.tif"))
    with pytest.raises(VadoseError, match="found 2 Sentinel-1 scenes"):
        read_sentinel1(scene)
    with pytest.raises(VadoseError, match="no such file"):
        read_sentinel1(tmp_path / "absent.tif")
    assert not is_sentinel1(geotiff(tmp_path / "dem.tif", [DECIBEL]))


def test_radar_geometry_is_refused_with_what_to_do(tmp_path: Path) -> None:
    safe = tmp_path / "S1A_IW_GRDH_1SDV_20190610T122415_20190610T122440_027618_031DE1_7A77.SAFE"
    file = safe / "measurement/s1a-iw-grd-vh-20190610t122415-20190610t122440-027618-031de1-002.tiff"
    file.parent.mkdir(parents=True)
    file.touch()
    for path in (safe, file):
        with pytest.raises(VadoseError, match=r"a SAFE product in radar geometry.*terrain-correct it first"):
            read_sentinel1(path)
        assert is_sentinel1(path)
    assert FILE_NAME.fullmatch(safe.name)
    points = [
        rasterio.control.GroundControlPoint(row, column, -100 + 0.1 * column, 40 - 0.1 * row)
        for row in (0, 2)
        for column in (0, 3)
    ]
    taken_out = tmp_path / file.name
    with rasterio.open(
        taken_out, "w", driver="GTiff", height=2, width=3, count=1, dtype="uint16", gcps=points, crs="EPSG:4326"
    ) as raster:
        raster.write(np.ones((1, 2, 3), np.uint16))
    with pytest.raises(VadoseError, match=r"ground control points.*terrain-correct it first"):
        read_sentinel1(taken_out)


def test_a_real_file(real_data: Path) -> None:
    path = real_data / "granules/sentinel1/S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif"
    dataset = read_sentinel1(path)
    assert dict(dataset.sizes) == {"time": 1, "y": 217, "x": 268}
    assert dataset.time.values[0] == np.datetime64("2015-03-09T17:30:17", "ns")
    assert (dataset.attrs["orbit_pass"], dataset.attrs["platform"]) == ("ascending", "S1A")
    values = dataset.gamma0_vv.values
    assert 10 * np.log10(values.min()) == pytest.approx(-26.65471, abs=1e-4)
    assert 10 * np.log10(values.max()) == pytest.approx(1.432585, abs=1e-4)
    assert 0.05 < np.median(values) < 0.2
    assert is_sentinel1(path)


POWER = np.array([[0.1, 0.01, 0.05], [0.2, np.nan, 1.4]], np.float32)
OPERA = "OPERA_L2_RTC-S1_T034-071092-IW3_20230611T002900Z_20230928T203216Z_S1A_30_v1.0"
COMPUTER = "S1A_IW_GRDH_1SDV_20190610T122415_20190610T122440_027618_031DE1_rtc"


@pytest.mark.parametrize(
    ("folder", "files", "centre"),
    [
        (OPERA, [f"{OPERA}_VV.tif", f"{OPERA}_VH.tif"], "OPERA"),
        (f"{COMPUTER}/measurement", ["iw-vv.rtc.tiff", "iw-vh.rtc.tiff"], "Planetary Computer"),
        (".", [f"{COMPUTER}_vv.tif"], "Planetary Computer"),
        (".", ["S1A_IW_RT30_20190610T122415_G_gpn_VV.tif"], "HyP3"),
    ],
)
def test_terrain_corrected_products_are_gamma0_in_power(
    tmp_path: Path, folder: str, files: list[str], centre: str
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    paths = [geotiff(tmp_path / folder / name, [POWER]) for name in files]
    whole = tmp_path / folder.split("/")[0] if len(files) > 1 else paths[0]
    for path in {whole, paths[0]}:
        assert is_sentinel1(path)
        dataset = read_sentinel1(path)
        np.testing.assert_array_equal(dataset.gamma0_vv[0], POWER)
        assert dataset.attrs["scale"] == f"linear power, by the name ({centre})"
        assert dataset.attrs["platform"] == "S1A" or folder != OPERA
        day = "2023-06-11T00:29:00" if centre == "OPERA" else "2019-06-10T12:24:15"
        assert dataset.time.values[0] == np.datetime64(day, "ns")
    assert len(read_sentinel1(whole).data_vars) == len(files) + 1


def test_power_of_earth_engine_is_told_by_its_bands(tmp_path: Path) -> None:
    bands = [POWER, POWER / 4, np.full_like(POWER, 38.5)]
    path = geotiff(tmp_path / "export_2019-06-10.tif", bands, ["VV", "VH", "angle"])
    dataset = read_sentinel1(path)
    np.testing.assert_array_equal(dataset.sigma0_vv[0], POWER)
    assert "none of which is negative" in dataset.attrs["scale"]
    assert dataset.time.values[0] == np.datetime64("2019-06-10", "ns")


def test_what_a_file_is_without_its_published_name(tmp_path: Path) -> None:
    assert is_sentinel1(geotiff(tmp_path / "S1A_20190610_VV.tif", [DECIBEL]))
    assert is_sentinel1(geotiff(tmp_path / "vv.rtc.tiff", [POWER]))
    assert not is_sentinel1(geotiff(tmp_path / "vv.tif", [POWER]))
    other = geotiff(tmp_path / "S1A_IW_20190610T122415_DVP_RTC30_G_gpuned_1A2B_dem.tif", [POWER])
    assert is_sentinel1(other)
    with pytest.raises(VadoseError, match="no band tells that it is VV or VH"):
        read_sentinel1(other)
    loose = geotiff(tmp_path / "s1a-iw-grd-vv-20190610t122415-20190610t122440-027618-031de1-001.tiff", [POWER], crs="")
    assert is_sentinel1(loose)
    with pytest.raises(VadoseError, match="names no projection"):
        read_sentinel1(loose)
    archive = tmp_path / "S1A_IW_20190610T122415_DVP_RTC30_G_gpuned_1A2B.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(60))
    with pytest.raises(VadoseError, match="a zip archive; unpack it"):
        read_sentinel1(archive)


def test_counts_that_were_not_calibrated_are_refused_unless_a_scale_is_given(tmp_path: Path) -> None:
    path = geotiff(tmp_path / EARTH_ENGINE.replace(".tif", "_VV.tif"), [np.full((4, 5), 120, np.uint16)])
    with pytest.raises(VadoseError, match="holds uint16 numbers without a scale factor, as counts of a GRD"):
        read_sentinel1(path)
    assert read_sentinel1(path, scale="power").sigma0_vv.values.max() == 120


def test_tiles_of_the_copernicus_data_space_are_read(tmp_path: Path) -> None:
    values = np.full((20, 10), 0.1, np.float32)
    values[0, 0], values[1] = 2e4, 0
    path = geotiff(tmp_path / "s1_rtc_02F5EA_N02E040_2020_12_27_VV.tif", [values])
    dataset = read_sentinel1(path)
    assert dataset.time.values[0] == np.datetime64("2020-12-27", "ns")
    assert dataset.attrs["scale"].endswith("the name (Copernicus Data Space)")
    assert (int(dataset.gamma0_vv.isnull().sum()), dataset.gamma0_vv.attrs["outside_range"]) == (11, 1)


def test_a_day_before_the_first_satellite_is_refused(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "s1_2004-05-10_VV_db.tif", [DECIBEL])
    with pytest.raises(VadoseError, match="before the first Sentinel-1 flew"):
        read_sentinel1(path)
