"""MCD15A3H composites of a simulated world, and the same files damaged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyhdf.SD import SD, SDC

from vadose.cube.listing import list_granules
from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.mod15a2h import PRODUCT, is_mod15a2h, read_mod15a2h, usable
from vadose.twin.granules.leaves import write_mod15a2h
from vadose.twin.truth import at, example

BOX = (-100.3, 39.6, -99.7, 39.9)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Four days of a composite: clouds in the west on the first, in the middle on all; a city in the north."""
    world = example(days=4, first="2019-05-01").isel(y=slice(7, None))
    cloud, cover = xr.zeros_like(world.cloud), xr.full_like(world.land_cover, 10)
    cloud[0, :, :4], cloud[:, :, 6:8], cover[:2] = 1, 1, 13
    leaves = world.leaf_area_index * 0 + xr.DataArray([1.0, 2.0, 3.0, 4.0], dims="time")
    return world.assign(cloud=cloud, land_cover=cover, leaf_area_index=leaves)


@pytest.fixture(scope="module")
def granule(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_mod15a2h(truth, tmp_path_factory.mktemp("leaves"))
    return path


@pytest.fixture
def copy(granule: Path, tmp_path: Path) -> Path:
    path = tmp_path / granule.name
    path.write_bytes(granule.read_bytes())
    return path


def test_a_composite_is_of_its_last_day(truth: xr.Dataset, granule: Path) -> None:
    assert granule.name.startswith("MCD15A3H.A2019121.h10v05.061.")
    found = read_mod15a2h(granule, bbox=BOX, quality="all")
    # No value is on a day before one that it may be of.
    assert found.time.values.tolist() == truth.time.values[-1:].astype("datetime64[ns]").tolist()
    assert [f"{day:%Y-%m-%d}" for day in PRODUCT.days_of(granule.name)] == ["2019-05-04"] * 2  # type: ignore[str-format]
    assert list_granules(granule.parent, "mod15a2h").granules[0].first == pd.Timestamp("2019-05-04")
    assert (found.attrs["composite"], found.attrs["product"]) == ("2019-05-01 to 2019-05-04", "MCD15A3H")
    assert found.leaf_area_index.attrs["standard_name"] == "leaf_area_index"
    lon, lat = np.meshgrid(found.x, found.y)
    lat = np.degrees(lat / 6371007.181)
    lon = np.degrees(lon / 6371007.181) / np.cos(np.radians(lat))
    city, first, all_days = (
        at(of, lat, lon) for of in (truth.land_cover == 13, truth.cloud[0] > 0, truth.cloud.min("time") > 0)
    )
    values = np.select([all_days > 0, first > 0], [4.0, 2.0], 1.0)
    inside = np.isfinite(at(truth.land_cover, lat, lon))
    expected = np.where(inside & ~(city > 0), values, np.nan)
    np.testing.assert_allclose(found.leaf_area_index[0], expected, atol=1e-6)
    np.testing.assert_allclose(found.fpar[0], 1 - np.exp(-0.5 * expected), atol=0.0051)
    clear = read_mod15a2h(granule, bbox=BOX)
    np.testing.assert_allclose(clear.leaf_area_index[0], np.where(all_days > 0, np.nan, expected), atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "passes"),
    [
        (0b00000000, ("recommended", "good", "all")),
        (0b00000010, ("recommended", "good", "all")),
        (0b00011000, ("recommended", "good", "all")),
        (0b00100000, ("recommended", "all")),
        (0b00000100, ("recommended", "all")),
        (0b00001000, ("all",)),
        (0b00010000, ("all",)),
        (0b01000001, ("all",)),
        (0b01100001, ("all",)),
        (0b10000001, ()),
    ],
)
def test_quality_bits(flags: int, passes: tuple[str, ...]) -> None:
    bits = np.array([flags], np.uint8)
    assert tuple(name for name in ("recommended", "good", "all") if usable(bits, name)[0]) == passes


def test_composites_of_a_year_begin_anew(truth: xr.Dataset, tmp_path: Path) -> None:
    late = truth.assign_coords(time=pd.date_range("2019-12-30", periods=4))
    names = [path.name.split(".")[1] for path in write_mod15a2h(late, tmp_path, subset=True)]
    assert names == ["A2019361", "A2019365", "A2020001"]


def changed(path: Path, field: str, **attributes: float) -> None:
    file = SD(str(path), SDC.WRITE)
    of = file.select(field)
    for name, value in attributes.items():
        of.attr(name).set(SDC.FLOAT64, value)
    if not attributes:
        of[:] = np.full((2400, 2400), 249, np.uint8)
    of.endaccess()
    file.end()


def test_what_is_wrong_is_named(copy: Path, granule: Path) -> None:
    with pytest.raises(VadoseError, match="quality 'best' unknown"):
        read_mod15a2h(copy, quality="best")
    for field in ("Lai_500m", "Fpar_500m"):
        changed(copy, field)
    with pytest.raises(VadoseError, match="every value is fill"):
        read_mod15a2h(copy)
    assert read_mod15a2h(copy, bbox=BOX).leaf_area_index.isnull().all()
    changed(copy, "Lai_500m", scale_factor=10.0)
    with pytest.raises(VadoseError, match="Lai_500m has scale_factor 10"):
        read_mod15a2h(copy, bbox=BOX)
    moved = copy.rename(copy.with_name("a.hdf"))
    assert identify(moved) == "mod15a2h"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FparLai_QC", b"FparLax_QC", "no field 'FparLai_QC'"),
        (b'= "MCD15A3H"', b'= "MCD12Q1H"', "holds MCD12Q1H, not MCD15A3H or"),
        (b'"2019-05-01"', b'"2019-05-05"', "the name says MCD15A3H of 2019-05-01, the file MCD15A3H of 2019-05-05"),
        (b"StructMetadata.0", b"StructMetadatX.0", "no attribute 'StructMetadata.0'"),
    ],
)
def test_damage_is_named(copy: Path, old: bytes, new: bytes, message: str) -> None:
    content = copy.read_bytes()
    assert old in content
    copy.write_bytes(content.replace(old, new))
    with pytest.raises(VadoseError, match=message) as error:
        read_mod15a2h(copy, bbox=BOX)
    assert copy.name in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>login</html>", "a web page"), (None, r"h10v05.*cut short or damaged")],
)
def test_another_content_is_named(copy: Path, content: bytes | None, message: str) -> None:
    copy.write_bytes(copy.read_bytes()[:5000] if content is None else content)
    with pytest.raises(VadoseError, match=message):
        read_mod15a2h(copy)
    assert not is_mod15a2h(copy)
