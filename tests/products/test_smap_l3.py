"""SMAP Level 3: simulated granules, their quirks and damages; smap_io as the independent reader."""

import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from vadose.errors import OutsideError, VadoseError
from vadose.grid import ease_grid
from vadose.products.smap_l3 import FILE_NAME, is_smap_l3, read_smap_l3
from vadose.twin.granules.smap_l3 import write_smap_l3
from vadose.twin.truth import example

BOX = (-101.0, 39.0, -99.0, 41.0)


@pytest.fixture(scope="module")
def truth() -> xr.Dataset:
    made = example(days=3, rows=10, columns=12)
    # On the second day one cell is seen in the evening alone, one is frozen, one densely grown.
    made.overpass_am[1], made.overpass_pm[1] = 1, 1
    made.overpass_am[1, 0, 0] = 0
    made.surface_temperature[1, 2, 3] = 274.0
    made.vegetation_water_content[1, 4, 5] = 6.0
    made.satellite_soil_moisture[1] = np.linspace(0.05, 0.45, 120, dtype=np.float32).reshape(10, 12)
    made.satellite_soil_moisture[1, 6, 6] = np.nan
    return made


@pytest.fixture(scope="module")
def granules(truth: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_smap_l3(truth, tmp_path_factory.mktemp("smap"))


def at_cells(dataset: xr.Dataset, truth: xr.Dataset) -> xr.Dataset:
    """The day's values at the truth's cells."""
    return dataset.sel(x=truth.x, y=truth.y, method="nearest").isel(time=0)


def test_what_was_retrieved_is_read_where_and_when_it_was_seen(granules: list[Path], truth: xr.Dataset) -> None:
    assert granules[1].name == "SMAP_L3_SM_P_E_20190430_R19240_001.h5"
    dataset = read_smap_l3(granules[1], bbox=BOX)
    assert dataset.time.values.astype("datetime64[D]").tolist() == [np.datetime64("2019-04-30").item()]
    day = at_cells(dataset, truth)
    np.testing.assert_allclose(day.y, truth.y, atol=1e-6)
    np.testing.assert_allclose(day.lat, truth.lat, atol=1e-9)
    expected = truth.satellite_soil_moisture[1].values.copy()
    expected[2, 3] = expected[4, 5] = np.nan  # frozen, dense: not recommended
    np.testing.assert_allclose(day.soil_moisture, expected, rtol=1e-6)
    np.testing.assert_allclose(day.soil_moisture_scah, expected - 0.01, rtol=1e-5)
    np.testing.assert_allclose(day.soil_moisture_scav, expected + 0.01, rtol=1e-5)
    for name in ("tb_h", "tb_v", "surface_temperature", "vegetation_opacity", "vegetation_water_content"):
        np.testing.assert_allclose(day[name], truth[name][1], rtol=1e-6)
    for name in ("albedo", "roughness_coefficient", "bulk_density", "clay_fraction"):
        np.testing.assert_allclose(day[name], truth[name], rtol=1e-6)
    # Outside the truth nothing was observed.
    assert int(np.isfinite(dataset.tb_v).sum()) == 120
    assert dataset.attrs["version"] == "006 (R19240)"
    assert dataset.attrs["simulated"] == "true"


def test_quality_rules(granules: list[Path], truth: xr.Dataset) -> None:
    counts = {
        rule: int(np.isfinite(read_smap_l3(granules[1], bbox=BOX, quality=rule).soil_moisture).sum())
        for rule in ("recommended", "successful", "all")
    }
    assert counts == {"recommended": 117, "successful": 119, "all": 119}


def test_a_failed_retrieval_that_holds_a_number_counts_only_for_all(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    shutil.copy(granules[1], path)
    row, column = (int(v) for v in ease_grid("9km").rowcol(40.0, -100.0))
    with h5py.File(path, "r+") as file:
        for suffix, name in (("", "AM"), ("_pm", "PM")):
            file[f"Soil_Moisture_Retrieval_Data_{name}"][f"retrieval_qual_flag_dca{suffix}"][row, column] = 5
    for rule, there in (("recommended", False), ("successful", False), ("all", True)):
        found = read_smap_l3(path, quality=rule, bbox=(-100.1, 39.9, -99.9, 40.1)).soil_moisture
        assert bool(np.isfinite(found.sel(y=ease_grid("9km").y[row], x=ease_grid("9km").x[column]))[0]) is there


def test_overpasses_apart_and_together(granules: list[Path], truth: xr.Dataset) -> None:
    corner = {
        overpass: float(at_cells(read_smap_l3(granules[1], bbox=BOX, overpass=overpass), truth).soil_moisture[0, 0])
        for overpass in ("am", "pm", "mean")
    }
    assert np.isnan(corner["am"])
    assert corner["mean"] == pytest.approx(corner["pm"]) == pytest.approx(0.05)


def test_the_mean_is_of_both_where_both_are_there(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    shutil.copy(granules[1], path)
    row, column = (int(v) for v in ease_grid("9km").rowcol(40.0, -100.0))
    with h5py.File(path, "r+") as file:
        file["Soil_Moisture_Retrieval_Data_AM/soil_moisture_dca"][row, column] = 0.10
        file["Soil_Moisture_Retrieval_Data_PM/soil_moisture_dca_pm"][row, column] = 0.20
    found = read_smap_l3(path, bbox=(-100.1, 39.9, -99.9, 40.1)).soil_moisture
    there = found.sel(y=ease_grid("9km").y[row], x=ease_grid("9km").x[column])
    assert float(there[0]) == pytest.approx(0.15)


def test_only_what_is_asked_for_is_read(granules: list[Path]) -> None:
    dataset = read_smap_l3(granules[1], bbox=BOX, variables=["tb_v", "soil_moisture"])
    assert list(dataset.data_vars) == ["tb_v", "soil_moisture"]


def test_36_km_and_another_reader_say_the_same(truth: xr.Dataset, tmp_path: Path) -> None:
    (path,) = write_smap_l3(truth.isel(time=slice(1, 2)), tmp_path, resolution="36km")
    assert path.name == "SMAP_L3_SM_P_20190430_R19240_001.h5"
    ours = read_smap_l3(path, quality="all", overpass="am")
    assert ours.attrs["product"] == "SPL3SMP"
    assert dict(ours.sizes) == {"time": 1, "y": 406, "x": 964}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from smap_io.interface import SPL3SMP_Img

        image = SPL3SMP_Img(str(path), parameter=["soil_moisture", "tb_v_corrected"], overpass="AM").read()
    for name, theirs in (("soil_moisture", "soil_moisture_am"), ("tb_v", "tb_v_corrected_am")):
        values = np.where(image.data[theirs] == -9999, np.nan, image.data[theirs])
        assert np.isfinite(values).sum() > 3
        np.testing.assert_array_equal(ours[name][0], values)


def test_the_older_release_names_algorithms_by_number(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    shutil.copy(granules[1], path)
    with h5py.File(path, "r+") as file:
        for name, suffix in (("AM", ""), ("PM", "_pm")):
            group = file[f"Soil_Moisture_Retrieval_Data_{name}"]
            for number, algorithm in ((1, "scah"), (2, "scav"), (3, "dca")):
                for kind in ("soil_moisture", "retrieval_qual_flag"):
                    group.move(f"{kind}_{algorithm}{suffix}", f"{kind}_option{number}{suffix}")
    old, new = read_smap_l3(path, bbox=BOX), read_smap_l3(granules[1], bbox=BOX)
    assert "options 1, 2 and 3" in old.attrs["algorithms"]
    for name in ("soil_moisture", "soil_moisture_scah", "soil_moisture_scav"):
        np.testing.assert_array_equal(old[name], new[name])


def test_a_renamed_file_is_recognised_and_dated_by_its_metadata(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "yesterday.h5"
    shutil.copy(granules[0], path)
    assert is_smap_l3(path)
    assert str(read_smap_l3(path, bbox=BOX).time.values[0])[:10] == "2019-04-29"


def test_a_crop_is_placed_by_its_rows_and_columns(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    rows, columns = slice(280, 300), slice(845, 870)
    with h5py.File(granules[1]) as whole, h5py.File(path, "w") as part:
        whole.copy("Metadata", part)
        for name in ("Soil_Moisture_Retrieval_Data_AM", "Soil_Moisture_Retrieval_Data_PM"):
            for key, data in whole[name].items():
                part[f"{name}/{key}"] = data[rows, columns]
    found, expected = read_smap_l3(path), read_smap_l3(granules[1], bbox=BOX)
    assert dict(found.sizes) == {"time": 1, "y": 20, "x": 25}
    assert int(np.isfinite(found.soil_moisture).sum()) == 117
    both = expected.reindex_like(found)
    np.testing.assert_array_equal(both.soil_moisture, found.soil_moisture)
    with h5py.File(path, "r+") as file:
        file["Soil_Moisture_Retrieval_Data_AM/EASE_row_index"][...] = 65534
        file["Soil_Moisture_Retrieval_Data_PM/EASE_row_index_pm"][...] = 65534
    with pytest.raises(VadoseError, match="does not say where it lies"):
        read_smap_l3(path)


def test_a_subset_resampled_by_a_service_is_placed_by_its_degrees(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    with h5py.File(granules[1]) as whole, h5py.File(path, "w") as part:
        whole.copy("Metadata", part)
        for name in ("Soil_Moisture_Retrieval_Data_AM", "Soil_Moisture_Retrieval_Data_PM"):
            for key, data in whole[name].items():
                part[f"{name}/{key}"] = data[280:300, 845:870]
        part["x"], part["y"] = -101.0 + 0.1 * np.arange(25), 41.0 - 0.1 * np.arange(20)
        part["x"].attrs["units"] = "degrees_east"
    found = read_smap_l3(path)
    assert found.soil_moisture.dims == ("time", "lat", "lon")
    assert float(found.lon[0]) == pytest.approx(-101.0)
    assert float(found.lat[-1]) == pytest.approx(39.1)
    assert int(np.isfinite(found.soil_moisture).sum()) == 117


def test_a_file_named_like_another_day_is_refused(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "SMAP_L3_SM_P_E_20200101_R19240_001.h5"
    shutil.copy(granules[0], path)
    with pytest.raises(VadoseError, match=r"named 2020-01-01 but its metadata say 2019-04-29"):
        read_smap_l3(path, bbox=BOX)


def test_nothing_seen_is_nothing_there(truth: xr.Dataset, tmp_path: Path) -> None:
    unseen = truth.isel(time=slice(0, 1)).assign(overpass_am=0 * truth.overpass_am, overpass_pm=0 * truth.overpass_pm)
    (path,) = write_smap_l3(unseen, tmp_path)
    dataset = read_smap_l3(path, bbox=BOX, quality="all")
    assert not any(np.isfinite(v).any() for v in dataset.data_vars.values())


def test_before_the_mission_there_is_no_granule(tmp_path: Path) -> None:
    assert not write_smap_l3(example(days=1, first="2015-03-01", rows=4, columns=4), tmp_path)


def spoil(path: Path, group: str, name: str, value: float | None) -> None:
    with h5py.File(path, "r+") as file:
        if value is None:
            del file[f"{group}/{name}".rstrip("/")]
        else:
            row, column = (int(v) for v in ease_grid("9km").rowcol(40.0, -100.0))
            file[group][name][row - 2 : row + 2, column - 2 : column + 2] = value


def test_one_pixel_out_of_range_is_missing_and_counted(granules: list[Path], tmp_path: Path) -> None:
    path = shutil.copy(granules[1], tmp_path / granules[1].name)
    before = read_smap_l3(path, bbox=BOX, quality="all")
    cell = tuple(int(v) for v in ease_grid("9km").rowcol(40.0, -100.0))
    with h5py.File(path, "r+") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        group["tb_h_corrected"][cell], group["tb_v_corrected"][cell], group["soil_moisture_dca"][cell] = (
            45.4,
            900.0,
            1.02,
        )
    after = read_smap_l3(path, bbox=BOX, quality="all", overpass="am")
    place = {"x": ease_grid("9km").x[cell[1]], "y": ease_grid("9km").y[cell[0]]}
    assert float(after.tb_h.sel(place)[0]) == np.float32(45.4)  # cold, but of the product's range
    assert np.isnan(after[["tb_v", "soil_moisture"]].sel(place).to_dataarray()).all()
    assert {name: field.attrs.get("outside_range") for name, field in after.data_vars.items()} == {
        name: 1 if name in ("tb_v", "soil_moisture") else None for name in before.data_vars
    }


def test_quality_flags_of_another_shape_are_refused(granules: list[Path], tmp_path: Path) -> None:
    path = tmp_path / granules[1].name
    shutil.copy(granules[1], path)
    with h5py.File(path, "r+") as file:
        group = file["Soil_Moisture_Retrieval_Data_AM"]
        rows, columns = group["retrieval_qual_flag_dca"].shape
        del group["retrieval_qual_flag_dca"]
        group.create_dataset("retrieval_qual_flag_dca", (rows + 1, columns), "u2", chunks=(100, 100))
    with pytest.raises(VadoseError, match=r"'retrieval_qual_flag_dca' is .* where other fields are"):
        read_smap_l3(path, bbox=BOX)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", None, "no group 'Soil_Moisture_Retrieval_Data_AM'"),
        ("tb_v_corrected", None, "no dataset 'tb_v_corrected'"),
        ("retrieval_qual_flag_dca", None, "no dataset 'retrieval_qual_flag_dca'"),
        ("soil_moisture_dca", 37.0, "values of soil_moisture lie outside 0 .. 1 m3 m-3"),
    ],
)
def test_broken_content(granules: list[Path], tmp_path: Path, name: str, value: float | None, message: str) -> None:
    path = tmp_path / granules[1].name
    shutil.copy(granules[1], path)
    spoil(path, "Soil_Moisture_Retrieval_Data_AM", name, value)
    with pytest.raises(VadoseError, match=message):
        read_smap_l3(path, bbox=BOX, overpass="am" if not name else "mean")


def test_a_subset_of_names_or_of_one_overpass_is_read_as_far_as_it_goes(granules: list[Path], tmp_path: Path) -> None:
    whole = read_smap_l3(granules[1], bbox=BOX, overpass="am")
    path = tmp_path / granules[1].name
    kept = ("soil_moisture", "retrieval_qual_flag", "tb_h_corrected", "EASE_row_index", "EASE_column_index")
    with h5py.File(granules[1]) as source, h5py.File(path, "w") as file:
        source.copy("Metadata", file)
        group = source["Soil_Moisture_Retrieval_Data_AM"]
        for name in kept:
            # The baseline of this release is DCA.
            theirs = name + "_dca" if name in ("soil_moisture", "retrieval_qual_flag") else name
            file[f"Soil_Moisture_Retrieval_Data_AM/{name}"] = group[theirs][()]
    part = read_smap_l3(path, bbox=BOX)
    assert set(part.data_vars) == {"soil_moisture", "tb_h"}
    np.testing.assert_array_equal(part.soil_moisture, whole.soil_moisture)
    assert part.attrs["overpass"] == "am, the file holds no other"
    with pytest.raises(VadoseError, match="no dataset 'soil_moisture_scah'"):
        read_smap_l3(path, bbox=BOX, variables=["soil_moisture_scah"])
    with pytest.raises(VadoseError, match="no group 'Soil_Moisture_Retrieval_Data_PM'"):
        read_smap_l3(path, bbox=BOX, overpass="pm")
    with h5py.File(path, "r+") as file:
        for name in ("soil_moisture", "tb_h_corrected"):
            del file[f"Soil_Moisture_Retrieval_Data_AM/{name}"]
    with pytest.raises(VadoseError, match="holds none of soil_moisture"):
        read_smap_l3(path, bbox=BOX)


def test_broken_files(granules: list[Path], tmp_path: Path) -> None:
    content = granules[1].read_bytes()
    for part, message in (
        (content[: len(content) // 2], "cut short or damaged"),
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Earthdata Login</html>", "web page"),
        (b"\x0e\x03\x13\x01" + content, "found a hdf4 file"),
    ):
        path = tmp_path / granules[1].name
        path.write_bytes(part)
        with pytest.raises(VadoseError, match=message) as told:
            read_smap_l3(path)
        assert "\n" not in str(told.value)


def test_bad_requests(granules: list[Path]) -> None:
    for options, message in (
        ({"quality": "best"}, "quality 'best' unknown; choose from"),
        ({"overpass": "noon"}, "overpass 'noon' unknown"),
        ({"variables": ("mtdca",)}, "variable 'mtdca' unknown"),
        ({"bbox": (10, 40, 5, 50)}, "west < east"),
    ):
        with pytest.raises(VadoseError, match=message):
            read_smap_l3(granules[0], **options)  # type: ignore[arg-type]
    with pytest.raises(OutsideError):
        read_smap_l3(granules[0], bbox=(0, 86, 10, 89))


@pytest.mark.parametrize(
    ("end", "known"),
    [
        (".h5", True),
        ("_HEGOUT.h5", True),
        (".h5.dap.nc4", True),
        ("_subsetted.nc4", True),
        (".h5.iso.xml", False),
        (".qa", False),
    ],
)
def test_names_of_services_tell_the_day_and_those_of_siblings_do_not(
    granules: list[Path], tmp_path: Path, end: str, known: bool
) -> None:
    path = tmp_path / f"{granules[1].stem}{end}"
    assert bool(FILE_NAME.match(path.name)) is known
    if known:
        shutil.copy(granules[1], path)
        with h5py.File(path, "r+") as file:
            del file["Metadata"]
        assert read_smap_l3(path, bbox=BOX).time.values == read_smap_l3(granules[1], bbox=BOX).time.values
