"""SMAP Level 2: half-orbits made here as published, and the real one."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from vadose.errors import OutsideError, VadoseError
from vadose.grid import ease_grid
from vadose.products.smap_l2 import is_smap_l2, read_smap_l2
from vadose.products.smap_l3 import COVARIATES

NAME = "SMAP_L2_SM_P_E_02801_A_20150811T013002_R18290_001.h5"


@pytest.fixture
def orbit(tmp_path: Path) -> Path:
    """Three cells of the 9 km grid: recommended, not recommended, failed with a number in it."""
    row, column = (int(v) for v in ease_grid("9km").rowcol(40.0, -100.0))
    path = tmp_path / NAME
    with h5py.File(path, "w") as file:
        group = file.create_group("Soil_Moisture_Retrieval_Data")
        group["EASE_row_index"] = np.array([row, row + 1, row + 1], np.uint16)
        group["EASE_column_index"] = np.array([column, column, column + 2], np.uint16)
        group["tb_time_seconds"] = np.array([492531682.0, 492531683.0, -9999.0])
        for number, value in ((1, 0.1), (2, 0.2), (3, 0.3)):
            group[f"soil_moisture_option{number}"] = np.array([value, value, value], np.float32)
            group[f"retrieval_qual_flag_option{number}"] = np.array([0, 1, 5], np.uint16)
        for name in COVARIATES.values():
            low = 250.0 if ("t" in name.split("_")[0][:1] and "tb" in name) or "temperature" in name else 0.2
            group[name] = np.array([low, -9999.0, low], np.float32)
    return path


def test_cells_are_placed_by_row_and_column(orbit: Path) -> None:
    assert is_smap_l2(orbit)
    dataset = read_smap_l2(orbit)
    assert dataset.attrs["product"] == "SPL2SMP_E"
    assert dict(dataset.sizes) == {"time": 1, "y": 2, "x": 3}
    assert (float(dataset.lat[0, 0]), float(dataset.lon[0, 0])) == pytest.approx((40.0, -100.04), abs=0.01)
    # 2015-08-11T02:21:22 is what the real file's text says of these seconds.
    assert str(dataset.time.values[0])[:19] == "2015-08-11T02:21:22"
    expected = np.full((2, 3), np.nan)
    expected[0, 0] = 0.3
    np.testing.assert_allclose(dataset.soil_moisture[0], expected)
    assert float(dataset.soil_moisture_scah[0, 0, 0]) == pytest.approx(0.1)
    assert int(np.isfinite(dataset.tb_v).sum()) == 2


def test_quality_rules(orbit: Path) -> None:
    for rule, cells in (("recommended", 1), ("successful", 2), ("all", 3)):
        assert int(np.isfinite(read_smap_l2(orbit, quality=rule).soil_moisture).sum()) == cells
    with pytest.raises(VadoseError, match="quality 'good' unknown"):
        read_smap_l2(orbit, quality="good")


def test_a_box_cuts_and_misses(orbit: Path) -> None:
    assert read_smap_l2(orbit, bbox=(-100.1, 39.97, -99.9, 40.05)).sizes["y"] == 1
    with pytest.raises(OutsideError, match="saw no cell"):
        read_smap_l2(orbit, bbox=(0, 0, 10, 10))


def test_broken_content(orbit: Path) -> None:
    with h5py.File(orbit, "r+") as file:
        file["Soil_Moisture_Retrieval_Data/EASE_row_index"][0] = 60000
    with pytest.raises(VadoseError, match="Is the file damaged"):
        read_smap_l2(orbit)
    with h5py.File(orbit, "r+") as file:
        del file["Soil_Moisture_Retrieval_Data/EASE_row_index"]
    with pytest.raises(VadoseError, match="no dataset 'EASE_row_index'"):
        read_smap_l2(orbit)
    with h5py.File(orbit, "r+") as file:
        del file["Soil_Moisture_Retrieval_Data"]
    with pytest.raises(VadoseError, match="no group"):
        read_smap_l2(orbit)


def test_a_subset_of_names_is_read_as_far_as_it_goes(orbit: Path) -> None:
    whole = read_smap_l2(orbit)
    with h5py.File(orbit, "r+") as file:
        group = file["Soil_Moisture_Retrieval_Data"]
        for name in ("soil_moisture_option1", "clay_fraction"):
            del group[name]
    part = read_smap_l2(orbit)
    assert set(whole.data_vars) - set(part.data_vars) == {"soil_moisture_scah", "clay_fraction"}
    with h5py.File(orbit, "r+") as file:
        group = file["Soil_Moisture_Retrieval_Data"]
        for name in set(group) - {"EASE_row_index", "EASE_column_index", "tb_time_seconds"}:
            del group[name]
    with pytest.raises(VadoseError, match="holds none of soil_moisture"):
        read_smap_l2(orbit)


def test_a_subset_without_times_is_dated_by_its_metadata(orbit: Path) -> None:
    with h5py.File(orbit, "r+") as file:
        del file["Soil_Moisture_Retrieval_Data/tb_time_seconds"]
    with pytest.raises(VadoseError, match="no 'tb_time_seconds' and no metadata"):
        read_smap_l2(orbit)
    with h5py.File(orbit, "r+") as file:
        file.create_group("Metadata/Extent").attrs["rangeBeginningDateTime"] = "2015-08-11T01:30:02.239Z"
    part = read_smap_l2(orbit)
    assert part.time.values == np.datetime64("2015-08-11T01:30:02")
    assert part.attrs["last_time"].startswith("unknown")


def test_another_product_of_level_2_is_named(orbit: Path) -> None:
    with h5py.File(orbit, "r+") as file:
        file.require_group("Metadata/DatasetIdentification").attrs["SMAPShortName"] = np.bytes_(b"L2_SM_AP")
    with pytest.raises(VadoseError, match="holds L2_SM_AP, not SPL2SMP or SPL2SMP_E"):
        read_smap_l2(orbit)


def test_the_real_half_orbit(real_data: Path) -> None:
    path = real_data / "granules/smap_l2/SMAP_L2_SM_P_02801_A_20150811T013002_R18290_001.h5"
    dataset = read_smap_l2(path)
    assert dataset.attrs["product"] == "SPL2SMP"
    assert dataset.attrs["version"] == "008 (R18290)"
    values = dataset.soil_moisture.values
    # Counted by hand: 592 cells of flag 0 and none of flag 8, the wettest of 0.368.
    assert int(np.isfinite(values).sum()) == 592
    assert float(np.nanmax(values)) == pytest.approx(0.368, abs=5e-4)
    with h5py.File(path) as file:
        group = file["Soil_Moisture_Retrieval_Data"]
        theirs = {name: group[name][:] for name in ("EASE_row_index", "EASE_column_index", "latitude", "longitude")}
    place = theirs["latitude"] != -9999
    lat, lon = ease_grid("36km").latlon(theirs["EASE_row_index"][place], theirs["EASE_column_index"][place])
    np.testing.assert_allclose(lat, theirs["latitude"][place], atol=1e-4)
    np.testing.assert_allclose(lon, theirs["longitude"][place], atol=1e-4)
