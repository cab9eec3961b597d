"""MOD09GA tiles of a simulated world, the same tiles damaged, and a real one where it is."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.typing import NDArray
from pyhdf.SD import SD, SDC
from pyproj import Proj

from vadose.errors import VadoseError
from vadose.products import PRODUCTS, identify
from vadose.products.mod09ga import BANDS, FILE_NAME, QUALITY, is_mod09ga, read_mod09ga, usable
from vadose.products.modis import tiles_of
from vadose.twin.granules.modis import CLOUD, write_mod09ga
from vadose.twin.truth import at, example

# Not the reader's projection object: written out from the definition of the grid.
SINUSOIDAL = Proj("+proj=sinu +a=6371007.181 +b=6371007.181 +lon_0=0")
BOX = (-100.3, 39.6, -99.8, 39.9)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """South of 40 N, which parts two tiles; clouds in the west, snow in the south-east."""
    world = example(days=1).isel(y=slice(7, None))
    cloud, snow = (xr.zeros_like(world.cloud) for _ in range(2))
    cloud[:, :, :4] = 1
    snow[:, -2:, -3:] = 25
    return world.assign(cloud=cloud, snow_water_equivalent=snow)


@pytest.fixture(scope="module")
def granule(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_mod09ga(truth, tmp_path_factory.mktemp("terra"))
    return path


@pytest.fixture
def copy(granule: Path, tmp_path: Path) -> Path:
    path = tmp_path / granule.name
    path.write_bytes(granule.read_bytes())
    return path


def latlon(dataset: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = SINUSOIDAL(*np.meshgrid(dataset.x, dataset.y), inverse=True)
    return lat, lon


def test_every_band_of_the_truth_comes_back_in_its_place(truth: xr.Dataset, granule: Path) -> None:
    dataset = read_mod09ga(granule, bbox=BOX, bands=list(BANDS))
    assert dataset.time.values.tolist() == truth.time.values.astype("datetime64[ns]").tolist()
    lat, lon = latlon(dataset)
    assert lat.min() >= BOX[1] - 1e-9
    assert lat.max() <= BOX[3] + 1e-9
    clear = (at(truth.cloud, lat, lon) == 0) & (at(truth.snow_water_equivalent, lat, lon) == 0)
    for band in BANDS:
        values = dataset[band].values
        assert values.dtype == np.float32
        # State is that of 1 km cells: along the edge of a cloud 500 m cells belong to the other side.
        kept = np.isfinite(values)
        assert (kept == clear).mean() > 0.98
        assert values[kept & clear] == pytest.approx(at(truth[band], lat, lon)[kept & clear], abs=0.5001e-4)
    assert dataset.reflectance_swir2.attrs["units"] == "1"


def test_one_cell_is_where_its_latitude_and_longitude_are(truth: xr.Dataset, granule: Path) -> None:
    dataset = read_mod09ga(granule)
    x, y = SINUSOIDAL(-99.95, 39.75)
    value = float(dataset.reflectance_swir2.sel(x=x, y=y, method="nearest")[0])
    assert value == pytest.approx(float(at(truth.reflectance_swir2, 39.75, -99.95)[0]), abs=0.5001e-4)
    assert dataset.sizes == {"time": 1, "y": 2400, "x": 2400}
    assert float(dataset.x.diff("x")[0]) == pytest.approx(463.31271653)
    # Upper-left corner of tile h10v05 by the published arithmetic.
    assert float(dataset.x[0]) - 463.31271653 / 2 == pytest.approx(-20015109.354 + 10 * 1111950.5197)
    assert float(dataset.y[0]) + 463.31271653 / 2 == pytest.approx(10007554.677 - 5 * 1111950.5197)


def test_a_box_is_a_part_of_the_whole(granule: Path) -> None:
    whole, part = read_mod09ga(granule, quality="all"), read_mod09ga(granule, bbox=BOX, quality="all")
    x, y = (np.searchsorted(sign * whole[name], sign * part[name][0] - 1) for name, sign in (("x", 1), ("y", -1)))
    same = whole.isel(y=slice(y, y + part.sizes["y"]), x=slice(x, x + part.sizes["x"]))
    np.testing.assert_allclose(part.x, same.x, atol=1e-6)
    np.testing.assert_array_equal(part.reflectance_swir2, same.reflectance_swir2)
    lat, lon = latlon(whole)
    inside = (lon >= BOX[0]) & (lon <= BOX[2]) & (lat >= BOX[1]) & (lat <= BOX[3])
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (rows[0], rows[-1] + 1 - rows[0]) == (y, part.sizes["y"])
    assert (columns[0], columns[-1] + 1 - columns[0]) == (x, part.sizes["x"])


def crop(granule: Path, path: Path, state_from: int) -> None:
    """300 rows from 20 and 300 columns from 600 on, with their corners; the 1 km state from a row of its own."""
    old, new = SD(str(granule)), SD(str(path), SDC.WRITE | SDC.CREATE)
    edge, left, top = np.pi * 6371007.181 / 18, -np.pi * 6371007.181 * 8 / 18, np.pi * 6371007.181 * 4 / 18

    def corners(cells: int, row: int, column: int, count: int) -> str:
        x, y = (left + edge * column / cells, top - edge * row / cells)
        x1, y1 = x + edge * count / cells, y - edge * count / cells
        return f"UpperLeftPointMtrs=({x:.6f},{y:.6f})\n\t\tLowerRightMtrs=({x1:.6f},{y1:.6f})"

    structure = old.attributes()["StructMetadata.0"]
    for whole, count, replaced in ((1200, 150, (state_from, 300)), (2400, 300, (20, 600))):
        before = rf"XDim={whole}\n\t\tYDim={whole}\n\t\tUpper.*\n.*LowerRight.*"
        after = f"XDim={count}\n\t\tYDim={count}\n\t\t{corners(whole, *replaced, count)}"
        structure = re.sub(before, after, structure)
    for name, text in {**old.attributes(), "StructMetadata.0": structure}.items():
        new.attr(name).set(SDC.CHAR8, text)
    for name, dtype, row, column, count in (
        ("sur_refl_b07_1", SDC.INT16, 20, 600, 300),
        ("state_1km_1", SDC.UINT16, state_from, 300, 150),
    ):
        field = new.create(name, dtype, (count, count))
        field[:] = old.select(name).get()[row : row + count, column : column + count]
        if name.startswith("sur"):
            field.attr("scale_factor").set(SDC.FLOAT64, 10000.0)
        field.endaccess()
    old.end()
    new.end()


def test_a_cropped_tile_keeps_its_place(granule: Path, tmp_path: Path) -> None:
    path = tmp_path / "cropped.hdf"
    crop(granule, path, state_from=10)
    part = read_mod09ga(path)
    whole = read_mod09ga(granule).isel(y=slice(20, 320), x=slice(600, 900))
    np.testing.assert_allclose(part.x, whole.x, atol=1e-5)
    np.testing.assert_allclose(part.y, whole.y, atol=1e-5)
    np.testing.assert_array_equal(part.reflectance_swir2, whole.reflectance_swir2)
    assert 5000 < int(part.reflectance_swir2.notnull().sum()) < 90000
    assert read_mod09ga(path, bbox=(-180, -90, 180, 90)).attrs["tile"] == "h10v05"


def test_a_state_of_other_cells_is_refused(granule: Path, tmp_path: Path) -> None:
    path = tmp_path / "cropped.hdf"
    crop(granule, path, state_from=11)
    with pytest.raises(VadoseError, match="does not hold 2 x 2 cells of reflectance"):
        read_mod09ga(path)


def test_quality_decides_on_clouds(granule: Path, truth: xr.Dataset) -> None:
    usable_only, every = (read_mod09ga(granule, bbox=BOX, quality=quality) for quality in ("recommended", "all"))
    dropped = usable_only.reflectance_swir2.isnull().values
    assert every.reflectance_swir2.notnull().mean() > 0.99
    clouded = dropped & (at(truth.cloud, *latlon(every)) == 1)
    assert clouded.sum() > 1000
    assert every.reflectance_swir2.values[clouded] == pytest.approx(CLOUD[6])
    assert not np.isclose(usable_only.reflectance_swir2, CLOUD[6]).any()


def test_raw_numbers_by_hand(granule: Path) -> None:
    file = SD(str(granule))
    raw, state = (file.select(name).get() for name in ("sur_refl_b02_1", "state_1km_1"))
    file.end()
    bad = (state & 0b11) | (state & 0b1001010000000100) | (state & 0b1000000000)
    expected = np.where(np.kron(bad == 0, np.ones((2, 2), bool)) & (raw >= -100), raw / 10000, np.nan)
    found = read_mod09ga(granule, bands=["reflectance_nir"]).reflectance_nir.values[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("state", "recommended", "assumed"),
    [
        (0b0000000001001000, True, True),
        (0b0000000001001001, False, False),
        (0b0000000001001010, False, False),
        (0b0000000001001011, False, True),
        (0b0000000001001100, False, False),
        (0b0000000101001000, True, True),
        (0b0000001001001000, False, False),
        (0b0000010001001000, False, False),
        (0b0001000001001000, False, False),
        (0b0110100001001000, True, True),
        (0b1000000001001000, False, False),
        (65535, False, False),
    ],
)
def test_state_bits(state: int, recommended: bool, assumed: bool) -> None:
    bits = np.array([state], np.uint16)
    assert (usable(bits)[0], usable(bits, assumed=True)[0]) == (recommended, assumed)


def test_aqua_and_what_a_dataset_says_of_itself(truth: xr.Dataset, tmp_path: Path) -> None:
    (path,) = write_mod09ga(truth, tmp_path, satellite="aqua")
    assert FILE_NAME.fullmatch(path.name)["product"] == "MYD09GA"
    renamed = path.rename(tmp_path / "some file")
    assert identify(renamed) == "mod09ga"
    assert PRODUCTS["mod09ga"].read is read_mod09ga
    attrs = read_mod09ga(renamed, bbox=BOX).attrs
    assert attrs["product"] == "MYD09GA"
    assert attrs["version"] == "061"
    assert attrs["simulated"] == "true"
    assert attrs["quality"] == QUALITY["recommended"]
    assert attrs["tile"] == "h10v05"
    assert attrs["granule"] == "some file"
    assert "UTC" in attrs["day_boundary"]


@pytest.mark.parametrize("path", ["", "<html>", "\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf4_is_not_this_product(tmp_path: Path, path: str) -> None:
    file = tmp_path / "x.hdf"
    file.write_bytes(path.encode("latin-1"))
    assert not is_mod09ga(file)


def test_satpy_reads_the_same_metadata(granule: Path) -> None:
    hdfeos = pytest.importorskip("satpy.readers.core.hdfeos")
    file = SD(str(granule))
    texts = file.attributes()
    file.end()
    read = hdfeos.HDFEOSBaseFileReader.read_mda
    grid = read(texts["StructMetadata.0"].rstrip("\0"))["GridStructure"]["GRID_2"]
    dataset = read_mod09ga(granule, quality="all")
    half = float(dataset.x[1] - dataset.x[0]) / 2
    corners = (*grid["UpperLeftPointMtrs"], *grid["LowerRightMtrs"])
    ours = (dataset.x[0] - half, dataset.y[0] + half, dataset.x[-1] + half, dataset.y[-1] - half)
    assert [float(v) for v in ours] == pytest.approx(corners, abs=1e-3)
    core = read(texts["CoreMetadata.0"])["INVENTORYMETADATA"]
    assert core["COLLECTIONDESCRIPTIONCLASS"]["SHORTNAME"]["VALUE"] == dataset.attrs["product"]
    assert pd.Timestamp(core["RANGEDATETIME"]["RANGEBEGINNINGDATE"]["VALUE"]) == dataset.time.values[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Earthdata login</html>", "a web page, not data"),
        (b"\x89HDF\r\n\x1a\n" + bytes(3000), "found a hdf5 file where HDF4 is published"),
        (b"II*\x00" + bytes(3000), "found a tiff file where HDF4 is published"),
    ],
)
def test_another_content_is_named(copy: Path, content: bytes, message: str) -> None:
    copy.write_bytes(content)
    with pytest.raises(VadoseError, match=message) as error:
        read_mod09ga(copy)
    assert copy.name in str(error.value)


@pytest.mark.parametrize("part", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_named(copy: Path, part: float) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: int(part * len(content))])
    with pytest.raises(VadoseError, match=r"h10v05.*cut short or damaged"):
        read_mod09ga(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"sur_refl_b07_1", b"sur_refl_bXX_1", "no grid with a field 'sur_refl_b07_1'"),
        (b"state_1km_1", b"state_1km_X", "no grid with a field 'state_1km_1'"),
        (b"StructMetadata.0", b"StructMetadatX.0", "no attribute 'StructMetadata.0'"),
        (b"GCTP_SNSOID", b"GCTP_LAMAZX", "is in GCTP_LAMAZX on a sphere"),
        (b"(6371007.181000", b"(6378137.000000", "sphere of 6378137.000 m"),
        (b"UpperLeftPointMtrs=(-8", b"UpperLeftPointMtrs=(-7", "which are not those of the MODIS grid"),
        (b"UpperLeftPointMtrs=(", b"UpperLeftPointMtrz=(", "lacks UpperLeftPointMtrs"),
        (b"XDim=2400", b"XDim=2401", r"its grid \(2400, 2401\)"),
        (b'"2019-04-29"', b'"2019-04-28"', "the name says MOD09GA of 2019-04-29, the file MOD09GA of 2019-04-28"),
        (b'= "MOD09GA"', b'= "MOD09GQ"', "holds MOD09GQ, not MOD09GA or MYD09GA"),
    ],
)
def test_damage_is_named(copy: Path, old: bytes, new: bytes, message: str) -> None:
    content = copy.read_bytes()
    assert old in content
    copy.write_bytes(content.replace(old, new))
    with pytest.raises(VadoseError, match=message) as error:
        read_mod09ga(copy)
    assert copy.name in str(error.value)


@pytest.mark.parametrize(("factor", "message"), [(0.0001, ""), (1000.0, "scale_factor 1000"), (1.0, "scale_factor 1")])
def test_only_the_known_factors_are_taken(copy: Path, granule: Path, factor: float, message: str) -> None:
    file = SD(str(copy), SDC.WRITE)
    field = file.select("sur_refl_b07_1")
    field.attr("scale_factor").set(SDC.FLOAT64, factor)
    field.endaccess()
    file.end()
    if message:
        with pytest.raises(VadoseError, match=f"sur_refl_b07_1 has {message}"):
            read_mod09ga(copy, bbox=BOX)
    else:
        xr.testing.assert_allclose(read_mod09ga(copy, bbox=BOX), read_mod09ga(granule, bbox=BOX))


def test_a_tile_of_nothing_but_fill_is_refused(truth: xr.Dataset, tmp_path: Path) -> None:
    (path,) = write_mod09ga(truth.assign(reflectance_swir2=truth.reflectance_swir2 * np.nan), tmp_path)
    with pytest.raises(VadoseError, match="every value of reflectance_swir2 is fill"):
        read_mod09ga(path)
    # An orbit may well miss a county.
    assert read_mod09ga(path, bbox=BOX).reflectance_swir2.isnull().all()


def test_wrong_options_and_boxes_are_named(granule: Path) -> None:
    with pytest.raises(VadoseError, match=r"quality 'best' unknown; choose from \['recommended', 'clear_or_assumed'"):
        read_mod09ga(granule, quality="best")
    with pytest.raises(VadoseError, match="band 'swir2' unknown"):
        read_mod09ga(granule, bands=["swir2"])
    with pytest.raises(
        VadoseError, match=r"west -82, .* lies in h11v05; .* tile h10v05 \(west -104.4, south 30, east -80.83, north 40"
    ):
        read_mod09ga(granule, bbox=(-82.0, 35.0, -81.0, 36.0))
    with pytest.raises(VadoseError, match=r"box \(-99.0, 39.0, -100.0, 40.0\) is empty; expected west < east"):
        read_mod09ga(granule, bbox=(-99.0, 39.0, -100.0, 40.0))


@pytest.mark.parametrize(
    ("lat", "lon", "tile"),
    # Places whose tile is told by the tile calculator of the MODIS land team's grid.
    [
        (40.0001, -100.0, "h10v04"),
        (39.9999, -100.0, "h10v05"),
        (0.1, 0.1, "h18v08"),
        (-0.1, -0.1, "h17v09"),
        (51.5, -0.1, "h17v03"),
        (-33.9, 151.2, "h30v12"),
        (85.0, 0.1, "h18v00"),
    ],
)
def test_tile_arithmetic(lat: float, lon: float, tile: str) -> None:
    assert tiles_of((lon - 1e-5, lat - 1e-5, lon + 1e-5, lat + 1e-5)) == [tile]


def test_a_real_tile(real_data: Path) -> None:
    path = real_data / "granules/modis/MOD09GA.A2008296.h14v17.006.2015181011753.hdf"
    assert identify(path) == "mod09ga"
    dataset = read_mod09ga(path, quality="all", bands=["reflectance_swir2", "reflectance_red"])
    assert dataset.attrs["version"] == "006"
    assert dataset.attrs["simulated"] == "false"
    assert dataset.time.values[0] == np.datetime64("2008-10-22")
    assert int(dataset.reflectance_swir2.notnull().sum()) == 14643
    assert 0 < float(dataset.reflectance_swir2.min()) < float(dataset.reflectance_swir2.max()) < 1
    # Where the file itself says that its observations lie.
    file = SD(str(path))
    archive = file.attributes()["ArchiveMetadata.0"]
    file.end()
    seen = np.isfinite(dataset.reflectance_red.values[0])
    lat, lon = (values[seen] for values in latlon(dataset))
    lon = np.where(lon > 0, lon - 360, lon)  # cells cut by the antimeridian have their centre beyond it
    # Its box is that of 1 km cells, whose edges are 0.05 degrees of longitude apart there, and is one wider.
    for side, value, close in (
        ("NORTH", lat.max(), 0.007),
        ("SOUTH", lat.min(), 0.007),
        ("WEST", lon.min(), 0.1),
        ("EAST", lon.max(), 0.1),
    ):
        told = re.search(rf"{side}BOUNDINGCOORDINATE\s+NUM_VAL\s+= 1\s+VALUE\s+= ([-\d.]+)", archive)
        assert told is not None
        assert value == pytest.approx(float(told[1]), abs=close)
    # A day of cloud and snow.
    assert read_mod09ga(path).reflectance_swir2.isnull().all()
