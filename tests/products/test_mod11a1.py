"""MOD11A1 tiles of a simulated world, and the same tiles damaged."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pyhdf.SD import SD, SDC
from pyproj import Proj

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.mod11a1 import FILE_NAME, QUALITY, is_mod11a1, read_mod11a1, usable
from vadose.twin.granules.modis import write_mod11a1
from vadose.twin.truth import at, example

# Not the reader's projection object: written out from the definition of the grid.
SINUSOIDAL = Proj("+proj=sinu +a=6371007.181 +b=6371007.181 +lon_0=0")
BOX = (-100.3, 39.6, -99.7, 39.9)
HALVES = ("day", "night")


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Clouds in the west, shrubs (an error of 2 K) in the middle, snow (of 3 K) in the east."""
    world = example(days=1).isel(y=slice(7, None))
    cloud, snow = (xr.zeros_like(world.cloud) for _ in range(2))
    cover = xr.full_like(world.land_cover, 10)
    cloud[:, :, :4], cover[:, 6:8], snow[:, :, 10:] = 1, 7, 25
    return world.assign(cloud=cloud, snow_water_equivalent=snow, land_cover=cover)


@pytest.fixture(scope="module")
def granule(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_mod11a1(truth, tmp_path_factory.mktemp("terra"))
    return path


@pytest.fixture
def copy(granule: Path, tmp_path: Path) -> Path:
    path = tmp_path / granule.name
    path.write_bytes(granule.read_bytes())
    return path


def latlon(dataset: xr.Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lon, lat = SINUSOIDAL(*np.meshgrid(dataset.x, dataset.y), inverse=True)
    return lat, lon


def test_the_truth_comes_back_in_its_place(truth: xr.Dataset, granule: Path) -> None:
    dataset = read_mod11a1(granule, quality="all")
    assert dict(dataset.sizes) == {"time": 1, "y": 1200, "x": 1200}
    assert dataset.time.values.tolist() == truth.time.values.astype("datetime64[ns]").tolist()
    assert float(dataset.x.diff("x")[0]) == pytest.approx(926.62543306)
    assert float(dataset.y[0]) + 926.62543306 / 2 == pytest.approx(10007554.677 - 5 * 1111950.5197)
    mean = at(truth.surface_temperature, *latlon(dataset))
    clear = at(truth.cloud, *latlon(dataset)) == 0
    day, night = (dataset[f"surface_temperature_{half}"].values for half in HALVES)
    assert day.dtype == np.float32
    np.testing.assert_array_equal(np.isfinite(day), clear)
    assert (day + night)[clear] / 2 == pytest.approx(mean[clear], abs=0.0101)
    assert (day - night)[clear].min() > 1
    assert dataset.surface_temperature_day.attrs["units"] == "K"


def test_one_cell_and_its_hours(truth: xr.Dataset, granule: Path) -> None:
    x, y = SINUSOIDAL(-100.0, 39.75)
    cell = read_mod11a1(granule).sel(x=x, y=y, method="nearest").isel(time=0)
    spread = truth.air_temperature_max - truth.air_temperature_min
    mean = at(truth.surface_temperature, 39.75, -100.0)[0]
    warmer = 0.35 * at(spread, 39.75, -100.0)[0]
    assert float(cell.surface_temperature_day) == pytest.approx(mean + warmer, abs=0.0101)
    assert float(cell.surface_temperature_night) == pytest.approx(mean - warmer, abs=0.0101)
    assert (float(cell.view_time_day), float(cell.view_time_night)) == (pytest.approx(10.5), pytest.approx(22.5))


def test_quality_decides_on_errors(truth: xr.Dataset, granule: Path) -> None:
    every, recommended, good = (read_mod11a1(granule, quality=q) for q in ("all", "recommended", "good"))
    snow = at(truth.snow_water_equivalent, *latlon(every)) > 10
    shrubs = (at(truth.land_cover, *latlon(every)) == 7)[None] & (at(truth.cloud, *latlon(every)) == 0)
    for half in HALVES:
        temperature, hour = f"surface_temperature_{half}", f"view_time_{half}"
        known = every[temperature].notnull().values
        assert (known & snow).any()
        assert (known & shrubs).any()
        np.testing.assert_array_equal(recommended[temperature].notnull(), known & ~snow)
        np.testing.assert_array_equal(good[temperature].notnull(), known & ~snow & ~shrubs)
        np.testing.assert_array_equal(good[hour].notnull(), good[temperature].notnull())
    assert good.attrs["quality"] == QUALITY["good"]


@pytest.mark.parametrize(
    ("flags", "recommended", "good"),
    [
        (0b00000000, True, True),
        (0b11111100, True, True),
        (0b00000001, True, False),
        (0b01111101, True, False),
        (0b10000001, False, False),
        (0b11000001, False, False),
        (0b00000010, False, False),
        (0b00000011, False, False),
    ],
)
def test_quality_bits(flags: int, recommended: bool, good: bool) -> None:
    bits = np.array([flags], np.uint8)
    assert (usable(bits)[0], usable(bits, strict=True)[0]) == (recommended, good)


def test_a_box_is_a_part_of_the_whole(granule: Path) -> None:
    whole, part = read_mod11a1(granule), read_mod11a1(granule, bbox=BOX)
    lat, lon = latlon(part)
    assert BOX[1] <= lat.min() < BOX[1] + 0.01
    assert BOX[3] - 0.01 < lat.max() <= BOX[3]
    # Meridians are slanted: a rectangle has cells beyond the box, but no row or column without one inside.
    inside = (lon >= BOX[0]) & (lon <= BOX[2])
    assert inside.any(axis=0).all()
    assert inside.any(axis=1).all()
    y, x = (int(np.abs(whole[name].values - part[name].values[0]).argmin()) for name in ("y", "x"))
    same = whole.isel(y=slice(y, y + part.sizes["y"]), x=slice(x, x + part.sizes["x"]))
    xr.testing.assert_allclose(part, same)
    for name in part.data_vars:
        np.testing.assert_array_equal(part[name], same[name])


def test_raw_numbers_by_hand(granule: Path) -> None:
    file = SD(str(granule))
    raw, flags = (file.select(name).get().astype(int) for name in ("LST_Night_1km", "QC_Night"))
    file.end()
    keep = (raw != 0) & ((flags % 4 == 0) | ((flags % 4 == 1) & (flags < 128)))
    found = read_mod11a1(granule).surface_temperature_night.values[0]
    np.testing.assert_allclose(found, np.where(keep, raw * 0.02, np.nan), rtol=1e-6)


def test_aqua_and_what_a_dataset_says_of_itself(truth: xr.Dataset, tmp_path: Path) -> None:
    (path,) = write_mod11a1(truth, tmp_path, satellite="aqua")
    assert FILE_NAME.fullmatch(path.name)["product"] == "MYD11A1"
    renamed = path.rename(tmp_path / "a.hdf")
    assert identify(renamed) == "mod11a1"
    dataset = read_mod11a1(renamed, bbox=BOX)
    assert {key: dataset.attrs[key] for key in ("product", "version", "granule", "simulated", "tile")} == {
        "product": "MYD11A1",
        "version": "061",
        "granule": "a.hdf",
        "simulated": "true",
        "tile": "h10v05",
    }
    assert float(dataset.view_time_night.max()) == pytest.approx(1.5)


def test_a_day_of_clouds_is_no_damage_but_one_of_fill_is(truth: xr.Dataset, tmp_path: Path) -> None:
    (path,) = write_mod11a1(truth.assign(cloud=xr.ones_like(truth.cloud)), tmp_path)
    assert read_mod11a1(path).surface_temperature_day.isnull().all()
    file = SD(str(path), SDC.WRITE)
    for name in ("QC_Day", "QC_Night"):
        field = file.select(name)
        field[:] = np.full((1200, 1200), 0b11, np.uint8)
        field.endaccess()
    file.end()
    with pytest.raises(VadoseError, match="every temperature is fill, and not for clouds"):
        read_mod11a1(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>login</html>", "a web page, not data"),
        (b"CDF\x01" + bytes(3000), "found a netcdf3 file where HDF4 is published"),
    ],
)
def test_another_content_is_named(copy: Path, content: bytes, message: str) -> None:
    copy.write_bytes(content)
    with pytest.raises(VadoseError, match=message) as error:
        read_mod11a1(copy)
    assert copy.name in str(error.value)
    assert not is_mod11a1(copy)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_file_cut_short_is_named(copy: Path, part: float) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: int(part * len(content))])
    with pytest.raises(VadoseError, match=r"h10v05.*cut short or damaged"):
        read_mod11a1(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"LST_Day_1km", b"LST_Dax_1km", "no grid with a field 'LST_Day_1km'"),
        (b"QC_Night", b"QC_Nigxt", r"no field 'QC_Night' \(found: LST_Day_1km"),
        (b"StructMetadata.0", b"StructMetadatX.0", "no attribute 'StructMetadata.0'"),
        (b"UpperLeftPointMtrs=(-8", b"UpperLeftPointMtrs=(-7", "which are not those of the MODIS grid"),
        (b"ProjParams=(6371007.181000,0,0,0,0,", b"ProjParams=(6371007.181000,0,0,0,9,", "central meridian 9"),
        (b'"2019-04-29"', b'"2019-99-29"', "RANGEBEGINNINGDATE is '2019-99-29', not a date|the name says"),
        (b'= "MOD11A1"', b'= "MOD11A2"', "holds MOD11A2, not MOD11A1 or MYD11A1"),
    ],
)
def test_damage_is_named(copy: Path, old: bytes, new: bytes, message: str) -> None:
    content = copy.read_bytes()
    assert old in content
    copy.write_bytes(content.replace(old, new))
    with pytest.raises(VadoseError, match=message) as error:
        read_mod11a1(copy)
    assert copy.name in str(error.value)


def test_a_tile_named_like_another_is_refused(copy: Path) -> None:
    moved = copy.rename(copy.with_name(copy.name.replace("h10v05", "h09v05")))
    with pytest.raises(VadoseError, match="the name says tile h09v05, the file h10v05"):
        read_mod11a1(moved)


def test_another_scale_is_refused(copy: Path) -> None:
    with pytest.raises(VadoseError, match="quality 'best' unknown"):
        read_mod11a1(copy, quality="best")
    file = SD(str(copy), SDC.WRITE)
    field = file.select("LST_Day_1km")
    field.attr("scale_factor").set(SDC.FLOAT64, 50.0)
    field.endaccess()
    file.end()
    with pytest.raises(VadoseError, match="LST_Day_1km has scale_factor 50"):
        read_mod11a1(copy, bbox=BOX)


def test_impossible_temperatures_are_refused(copy: Path) -> None:
    file = SD(str(copy), SDC.WRITE)
    field, flags = file.select("LST_Day_1km"), file.select("QC_Day")
    raw = field.get()
    raw[:20] = 60000
    field[:], flags[:] = raw, np.zeros((1200, 1200), np.uint8)
    field.endaccess()
    flags.endaccess()
    file.end()
    with pytest.raises(VadoseError, match=r"values of surface_temperature_day lie outside 150 .. 400 K"):
        read_mod11a1(copy)
