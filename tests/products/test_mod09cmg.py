"""MOD09CMG of a simulated world, as published and as OPeNDAP cuts it, and the same files damaged."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from pyhdf.SD import SD, SDC

from vadose.errors import OutsideError, VadoseError
from vadose.products import PRODUCTS, identify
from vadose.products.mod09cmg import FIELDS, is_mod09cmg, read_mod09cmg
from vadose.twin.granules.modis import CLOUD
from vadose.twin.granules.modis_cmg import write_mod09cmg
from vadose.twin.truth import at, example

BOX = (-100.3, 39.7, -99.8, 40.2)
BAND, STATE = FIELDS["reflectance_swir2"], "Coarse Resolution State QA"


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    """Clouds in the west, snow in the south-east."""
    world = example(days=1)
    cloud, snow = (xr.zeros_like(world.cloud) for _ in range(2))
    cloud[:, :, :4] = 1
    snow[:, -2:, -3:] = 25
    return world.assign(cloud=cloud, snow_water_equivalent=snow)


@pytest.fixture(scope="module")
def whole(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = write_mod09cmg(truth, tmp_path_factory.mktemp("whole"), subset=False, bands=["swir2"])
    return path


@pytest.fixture
def part(truth: xr.Dataset, tmp_path: Path) -> Path:
    (path,) = write_mod09cmg(truth, tmp_path)
    return path


def test_the_truth_comes_back_in_its_place(truth: xr.Dataset, whole: Path, part: Path) -> None:
    cut = read_mod09cmg(part)
    lat, lon = np.meshgrid(cut.lat, cut.lon, indexing="ij")
    clear = (at(truth.cloud, lat, lon) == 0) & (at(truth.snow_water_equivalent, lat, lon) == 0)
    values = cut.reflectance_swir2.values
    assert (values.dtype, cut.attrs["product"], cut.attrs["version"]) == (np.float32, "MOD09CMG", "061")
    np.testing.assert_array_equal(np.isfinite(values), clear)
    assert values[clear] == pytest.approx(at(truth.reflectance_swir2, lat, lon)[clear], abs=0.5001e-4)
    assert cut.time.values.tolist() == truth.time.values.astype("datetime64[ns]").tolist()
    assert identify(whole) == identify(part) == "mod09cmg"
    # A part is a part of the whole.
    for quality in ("recommended", "all"):
        one, other = (read_mod09cmg(path, bbox=BOX, quality=quality) for path in (whole, part))
        np.testing.assert_allclose(one.lat, other.lat, atol=1e-9)
        np.testing.assert_array_equal(one.reflectance_swir2, other.reflectance_swir2)
    hidden = at(truth.cloud, *np.meshgrid(one.lat, one.lon, indexing="ij"))[0] == 1
    assert one.reflectance_swir2.values[0][hidden] == pytest.approx(CLOUD[-1])


def test_scale_in_either_form_and_rows_from_the_south_are_read(part: Path, tmp_path: Path) -> None:
    before = read_mod09cmg(part)
    with h5py.File(part, "r+") as file:
        for name, data in file.items():
            if "Band" in name:
                data.attrs["scale_factor"] = 1e-4
            if data.ndim == 2 or name == "lat":
                data[...] = data[...][::-1]
    xr.testing.assert_allclose(read_mod09cmg(part), before)


def test_a_state_of_zero_is_fill(part: Path) -> None:
    with h5py.File(part, "r+") as file:
        file[STATE.replace(" ", "_")][...] = 0
    assert not read_mod09cmg(part).reflectance_swir2.notnull().any()
    assert read_mod09cmg(part, quality="all").reflectance_swir2.notnull().any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop(STATE.replace(" ", "_")), "no field 'Coarse Resolution State QA'"),
        (lambda file: file.pop("lat"), "a part without lat; its cells cannot be placed"),
        (lambda file: file[BAND.replace(" ", "_")].attrs.update(scale_factor=10.0), "has scale_factor 10"),
        (lambda file: file[BAND.replace(" ", "_")].attrs.update(_FillValue=np.int16(0)), "has fill 0, published is"),
        (lambda file: file["lon"].write_direct(file["lon"][...] + 0.02), "longitudes"),
    ],
)
def test_damaged_parts_are_refused(part: Path, change: object, message: str) -> None:
    with h5py.File(part, "r+") as file:
        change(file)  # type: ignore[operator]
    with pytest.raises(VadoseError, match=message):
        read_mod09cmg(part)


def test_what_cannot_be_is_told(part: Path, tmp_path: Path) -> None:
    with pytest.raises(OutsideError):
        read_mod09cmg(part, bbox=(20.0, -30.0, 21.0, -29.0))
    with pytest.raises(VadoseError, match="band 'reflectance_thermal' unknown"):
        read_mod09cmg(part, bands=["reflectance_thermal"])
    renamed = part.rename(tmp_path / "reflectance.nc4")
    with pytest.raises(VadoseError, match="its name does not say product and day"):
        read_mod09cmg(renamed)
    assert is_mod09cmg(renamed)
    cropped = tmp_path / "MOD09CMG.A2019119.061.2019121030000.hdf"
    file = SD(str(cropped), SDC.WRITE | SDC.CREATE)
    for name in (BAND, STATE):
        file.create(name, SDC.INT16, (5, 6))[:] = np.zeros((5, 6), "int16")
    file.end()
    with pytest.raises(VadoseError, match=r"is \(5, 6\), expected \(3600, 7200\); cropped"):
        read_mod09cmg(cropped)


def test_a_file_renamed_to_another_day_is_refused(whole: Path, part: Path, tmp_path: Path) -> None:
    for path, said in ((whole, "2019-04-29"), (part, "2019119")):
        renamed = tmp_path / path.name.replace("A2019119", "A2019120")
        renamed.symlink_to(path)
        with pytest.raises(VadoseError, match=f"the name says 2019-04-30, the file {said}; it was renamed"):
            read_mod09cmg(renamed, bbox=BOX)


def test_terra_and_aqua_are_told_apart_and_the_newest_counts() -> None:
    name = "MYD09CMG.A2019119.061.2019121030000.hdf.nc4"
    product = PRODUCTS["mod09cmg"]
    assert product.satellite_of(name) == "MYD"
    assert f"{product.days_of(name)[0]:%Y-%m-%d}" == "2019-04-29"
