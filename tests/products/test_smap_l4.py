"""SMAP Level 4: simulated stamps and days, real analysis updates, damages."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.grid import ease_grid
from vadose.products.smap_l4 import daily_smap_l4, is_smap_l4, read_smap_l4
from vadose.twin.granules.smap_l4 import write_smap_l4
from vadose.twin.truth import example

BOX = (-101.0, 39.0, -99.0, 41.0)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    return example(days=1, rows=8, columns=9)


@pytest.fixture(scope="module")
def granules(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_smap_l4(truth, tmp_path_factory.mktemp("smap"), version="7")


def test_a_stamp_holds_the_truth_at_its_place_and_time(granules: list[Path], truth: xr.Dataset) -> None:
    assert granules[0].name == "SMAP_L4_SM_gph_20190429T013000_Vv7032_001.h5"
    assert len(granules) == 8
    dataset = read_smap_l4(granules[2], bbox=BOX)
    assert str(dataset.time.values[0])[:16] == "2019-04-29T07:30"
    here = dataset.sel(x=truth.x, y=truth.y, method="nearest").isel(time=0)
    np.testing.assert_allclose(here.y, truth.y, atol=1e-6)
    for ours, theirs in (
        ("soil_moisture", "soil_moisture_0_10cm"),
        ("leaf_area_index", "leaf_area_index"),
        ("surface_pressure", "surface_pressure"),
    ):
        np.testing.assert_allclose(here[ours], truth[theirs][0], rtol=1e-5)
    assert int(np.isfinite(dataset.soil_moisture).sum()) == 72
    assert dataset.attrs["version"] == "007 (Vv7032)"


def test_a_day_is_the_mean_of_stamps_and_the_sum_of_fluxes(granules: list[Path], truth: xr.Dataset) -> None:
    day = daily_smap_l4(granules[::-1], bbox=BOX)
    assert day.time.values.astype("datetime64[m]").tolist() == [np.datetime64("2019-04-29T00:00").item()]
    here = day.sel(x=truth.x, y=truth.y, method="nearest").isel(time=0)
    np.testing.assert_allclose(here.soil_moisture, truth.soil_moisture_0_10cm[0], rtol=1e-5)
    for name in (
        "precipitation",
        "evapotranspiration",
        "surface_temperature",
        "shortwave_radiation",
    ):
        np.testing.assert_allclose(here[name], truth[name][0], rtol=1e-4, atol=1e-6)
    with pytest.raises(VadoseError, match=r"7 of 8 stamps .* at least 8 wanted"):
        daily_smap_l4(granules[:7], bbox=BOX)
    assert daily_smap_l4(granules[:7], bbox=BOX, min_stamps=7).sizes["time"] == 1
    with pytest.raises(VadoseError, match="comes twice"):
        daily_smap_l4([*granules, granules[0]], bbox=BOX)
    with pytest.raises(VadoseError, match="no granule"):
        daily_smap_l4([])


def test_coordinates_beside_the_grid_by_a_metre_are_placed_on_it(granules: list[Path]) -> None:
    with h5py.File(granules[0]) as file:
        assert 0 < np.abs(file["x"][:] - ease_grid("9km").x).max() < 1.5
    assert np.isin(read_smap_l4(granules[0], bbox=BOX).x.values, ease_grid("9km").x).all()


def test_version_8_names_the_water_table_otherwise(truth: xr.Dataset, tmp_path: Path) -> None:
    path = write_smap_l4(truth, tmp_path, version="8")[0]
    assert read_smap_l4(path, bbox=BOX).attrs["version"] == "008 (Vv8010)"
    with h5py.File(path) as file:
        assert "depth_to_water_table_from_surface" in file["Geophysical_Data"]


def crop(source: Path, target: Path, offset: float = 0.0) -> Path:
    """A subset with its own coordinates, as services make it."""
    rows, columns = slice(300, 310), slice(860, 872)
    with h5py.File(source) as whole, h5py.File(target, "w") as part:
        part["Geophysical_Data/sm_surface"] = whole["Geophysical_Data/sm_surface"][rows, columns]
        part["x"], part["y"] = whole["x"][columns] + offset, whole["y"][rows]
        part["time"] = whole["time"][:]
    return target


def test_a_subset_is_placed_by_its_coordinates(granules: list[Path], tmp_path: Path) -> None:
    path = crop(granules[0], tmp_path / "subset.h5")
    assert is_smap_l4(path)
    found, whole = read_smap_l4(path), read_smap_l4(granules[0])
    assert found.sizes["y"] == 10
    np.testing.assert_array_equal(found.soil_moisture, whole.soil_moisture.sel(x=found.x, y=found.y))
    with pytest.raises(VadoseError, match="do not lie on the 9 km"):
        read_smap_l4(crop(granules[0], tmp_path / "shifted.h5", offset=4000.0))


@pytest.mark.parametrize(
    ("name", "latitudes"), [("SMAP_L4_SM_aup_comparison.h5", False), ("SPL4SMAU_test_reference.h5", True)]
)
def test_real_analysis_updates(real_data: Path, name: str, latitudes: bool) -> None:
    dataset = read_smap_l4(real_data / "granules" / "smap_l4" / name)
    assert dataset.attrs["product"] == "SPL4SMAU"
    assert ("lat" in dataset.dims) is latitudes
    moisture = dataset.soil_moisture_profile.values
    assert 0 < np.nanmin(moisture) < np.nanmax(moisture) < 1
    assert np.isfinite(moisture).any()
    assert str(dataset.time.values[0])[:13] in ("2020-01-28T15", "2015-03-31T18")


def test_broken_content(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[0].name

    def spoilt(change: object) -> Path:
        shutil.copy(granules[0], path)
        with h5py.File(path, "r+") as file:
            change(file)  # type: ignore[operator]
        return path

    def no_fields(file: h5py.File) -> None:
        for name in list(file["Geophysical_Data"]):
            del file[f"Geophysical_Data/{name}"]
        file["Geophysical_Data/other"] = np.zeros((1624, 3856), np.uint8)

    cases = [
        (lambda f: f.move("Geophysical_Data", "Other"), "no group 'Geophysical_Data' or 'Analysis_Data'"),
        (no_fields, "holds none of sm_surface"),
        (
            lambda f: f["Geophysical_Data/sm_surface"].__setitem__((slice(300, 400), 860), 20.0),
            "values of soil_moisture lie",
        ),
        (lambda f: f["time"].__setitem__(0, 0.0), "was renamed"),
    ]
    for change, message in cases:
        with pytest.raises(VadoseError, match=message):
            read_smap_l4(spoilt(change))


def test_broken_files(granules: list[Path], tmp_path: Path) -> None:
    content = granules[0].read_bytes()
    path = tmp_path / granules[0].name
    for part, message in ((content[:50_000], "cut short or damaged"), (b"", "empty"), (b"<html>", "web page")):
        path.write_bytes(part)
        with pytest.raises(VadoseError, match=message):
            read_smap_l4(path)
