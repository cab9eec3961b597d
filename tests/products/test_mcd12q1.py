"""MCD12Q1 tiles of a simulated world, the same tiles damaged, and a real one where it is."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyhdf.SD import SD, SDC
from pyproj import Proj

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.mcd12q1 import FILE_NAME, SCHEMES, is_mcd12q1, read_mcd12q1
from vadose.twin.granules.modis import write_mcd12q1
from vadose.twin.truth import at, example

# Not the reader's projection object: written out from the definition of the grid.
SINUSOIDAL = Proj("+proj=sinu +a=6371007.181 +b=6371007.181 +lon_0=0")
BOX = (-100.3, 39.6, -99.7, 39.9)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    world = example(days=1).isel(y=slice(7, None))
    cover = xr.full_like(world.land_cover, 0) + (np.arange(world.land_cover.size) % 17 + 1).reshape(5, 14)
    cover[0, 0] = np.nan
    return world.assign(land_cover=cover)


@pytest.fixture(scope="module")
def granule(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_mcd12q1(truth, tmp_path_factory.mktemp("cover"))
    return path


@pytest.fixture
def copy(granule: Path, tmp_path: Path) -> Path:
    path = tmp_path / granule.name
    path.write_bytes(granule.read_bytes())
    return path


def test_the_truth_comes_back_in_its_place(truth: xr.Dataset, granule: Path) -> None:
    dataset = read_mcd12q1(granule)
    assert dict(dataset.sizes) == {"y": 2400, "x": 2400}
    lon, lat = SINUSOIDAL(*np.meshgrid(dataset.x, dataset.y), inverse=True)
    np.testing.assert_array_equal(dataset.land_cover, at(truth.land_cover, lat, lon))
    assert set(np.unique(dataset.land_cover)[:17]) == set(range(1, 18))
    assert dataset.land_cover.dtype == np.float32
    meanings = dict(zip(dataset.land_cover.flag_values, dataset.land_cover.flag_meanings.split(), strict=True))
    assert (meanings[12], meanings[17]) == ("cropland", "water")
    attrs = dataset.attrs
    assert (attrs["product"], attrs["version"], attrs["year"], attrs["simulated"]) == ("MCD12Q1", "061", "2019", "true")
    x, y = SINUSOIDAL(-100.0, 39.75)
    cell = dataset.land_cover.sel(x=x, y=y, method="nearest")
    assert float(cell) == float(at(truth.land_cover, 39.75, -100.0))


def test_a_box_is_a_part_of_the_whole(granule: Path, truth: xr.Dataset) -> None:
    part = read_mcd12q1(granule, bbox=BOX)
    lon, lat = SINUSOIDAL(*np.meshgrid(part.x, part.y), inverse=True)
    assert BOX[1] <= lat.min() < BOX[1] + 0.005
    assert BOX[3] - 0.005 < lat.max() <= BOX[3]
    np.testing.assert_array_equal(part.land_cover, at(truth.land_cover, lat, lon))


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "igbp"])
def test_the_other_schemes(granule: Path, scheme: str) -> None:
    dataset = read_mcd12q1(granule, bbox=BOX, scheme=scheme)
    (name,) = dataset.data_vars
    igbp = read_mcd12q1(granule, bbox=BOX).land_cover.values
    assert name == f"land_cover_{scheme}"
    assert (dataset[name].values[igbp == 17] == 0).all()
    file = SD(str(granule))
    raw = file.select(SCHEMES[scheme][0]).get()
    file.end()
    found = dataset[name].values
    assert set(np.unique(found[np.isfinite(found)])) == set(np.unique(raw[raw != 255]))
    assert len(dataset[name].flag_values) == len(dataset[name].flag_meanings.split())
    assert dataset[name].attrs["valid_range"] == [0, dataset[name].flag_values[-1]]


def test_recognised_by_content(copy: Path) -> None:
    assert FILE_NAME.fullmatch(copy.name)
    renamed = copy.rename(copy.with_name("cover"))
    assert identify(renamed) == "mcd12q1"
    assert read_mcd12q1(renamed, bbox=BOX).attrs["tile"] == "h10v05"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>login</html>", "a web page, not data"),
        (b"\x89HDF\r\n\x1a\n" + bytes(3000), "found a hdf5 file where HDF4 is published"),
    ],
)
def test_another_content_is_named(copy: Path, content: bytes, message: str) -> None:
    copy.write_bytes(content)
    with pytest.raises(VadoseError, match=message) as error:
        read_mcd12q1(copy)
    assert copy.name in str(error.value)
    assert not is_mcd12q1(copy)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_file_cut_short_is_named(copy: Path, part: float) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: int(part * len(content))])
    with pytest.raises(VadoseError, match=r"h10v05.*cut short or damaged"):
        read_mcd12q1(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"LC_Type1", b"LC_TypeX", "no grid with a field 'LC_Type1'"),
        (b"StructMetadata.0", b"StructMetadatX.0", "no attribute 'StructMetadata.0'"),
        (b'= "MCD12Q1"', b'= "MCD12Q2"', "holds MCD12Q2, not MCD12Q1"),
        (b'"2019-01-01"', b'"2018-01-01"', "the name says MCD12Q1 of 2019-01-01, the file MCD12Q1 of 2018-01-01"),
        (b"RANGEBEGINNINGDATE", b"RANGEBEGINNINGDATX", ""),
    ],
)
def test_damage_is_named(copy: Path, old: bytes, new: bytes, message: str) -> None:
    content = copy.read_bytes()
    assert old in content
    copy.write_bytes(content.replace(old, new))
    if not message:  # the name still dates the file; without it nothing does
        assert read_mcd12q1(copy, bbox=BOX).attrs["year"] == "2019"
        copy, message = copy.rename(copy.with_name("cover.hdf")), "says product and day"
    with pytest.raises(VadoseError, match=message) as error:
        read_mcd12q1(copy)
    assert copy.name in str(error.value)


@pytest.mark.parametrize(
    ("value", "message"), [(255, "every cell of LC_Type1 asked for is fill"), (18, r"classes \[18\]")]
)
def test_wrong_classes_are_refused(copy: Path, value: int, message: str) -> None:
    file = SD(str(copy), SDC.WRITE)
    field = file.select("LC_Type1")
    field[:] = np.full((2400, 2400), value, np.uint8)
    field.endaccess()
    file.end()
    with pytest.raises(VadoseError, match=message):
        read_mcd12q1(copy)


def test_a_wrong_scheme_is_named(granule: Path) -> None:
    with pytest.raises(VadoseError, match=r"scheme 'usgs' unknown; choose from \['igbp', 'umd'"):
        read_mcd12q1(granule, scheme="usgs")


def test_a_real_tile(real_data: Path) -> None:
    path = real_data / "granules/modis/MCD12Q1.A2001001.h00v08.006.2018142182903.hdf"
    assert identify(path) == "mcd12q1"
    dataset = read_mcd12q1(path)
    assert (dataset.attrs["version"], dataset.attrs["year"], dataset.attrs["tile"]) == ("006", "2001", "h00v08")
    classes, count = np.unique(dataset.land_cover.values[dataset.land_cover.notnull()], return_counts=True)
    assert classes.tolist() == [1, 10, 11, 12, 15, 17]
    assert count[-1] == 5233324
    # The tile reaches beyond the globe, where the file holds fill: 180 W is where water begins.
    beyond = np.abs(dataset.x) > np.pi * 6371007.181 * np.cos(dataset.y / 6371007.181)
    agree = dataset.land_cover.isnull() == beyond
    assert float(agree.mean()) > 0.9995
    # Classes are numbered as the file's own attributes say.
    file = SD(str(path))
    for scheme, (field, _, lowest, meanings) in SCHEMES.items():
        told = file.select(field).attributes()
        assert told["valid_range"] == [lowest, lowest + len(meanings.split()) - 1], scheme
        numbered = {value: name for name, value in told.items() if isinstance(value, int) and value != 255}
        for number, meaning in enumerate(meanings.split(), lowest):
            words = numbered[number].lower().replace("non-vegetated land", "unvegetated")
            assert meaning.split("_")[0] in words, (scheme, number)
    file.end()
