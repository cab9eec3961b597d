"""The reader of India's soil-water index against archives made up here, and the coast in the real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.smap_india import FILL, GRID, is_smap_india, read_smap_india

LAST_DAYS = ("2019-12-31", "2020-01-01", "2020-01-02")


def raw_maps(number: int) -> np.ndarray:
    """Stored values of every size, the smallest, the largest and fill among them."""
    raw = np.random.default_rng(number).integers(0, FILL + 1, (number, *GRID.shape), np.uint16)
    raw[:, 0, :3] = 0, FILL - 1, FILL
    return raw


def write(path: Path, last_days: tuple[str, ...] = LAST_DAYS, **change: Any) -> np.ndarray:
    """Write an archive of made-up maps, some arrays changed or (None) left out; its maps."""
    end = np.array(last_days, "datetime64[D]")
    arrays = {"swi": raw_maps(len(end)), "start_date": (end - 2).astype(str), "end_date": end.astype(str)} | change
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **{name: values for name, values in arrays.items() if values is not None})
    return arrays["swi"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "india"


@pytest.fixture(scope="module")
def real(real_data: Path) -> xr.Dataset:
    path = real_data / "smap_india"
    if not path.is_dir():
        pytest.skip(f"no soil-water index of India at {path}")
    return read_smap_india(path)


def test_values_and_fill_come_back_as_stored(folder: Path) -> None:
    raw = write(folder / "a.npz")
    dataset = read_smap_india(folder)
    index = dataset.soil_water_index
    assert (index.dims, index.shape, index.dtype) == (("time", "y", "x"), raw.shape, np.float32)
    assert np.datetime_as_string(dataset.time.values, "D").tolist() == list(LAST_DAYS)
    assert index.values[:, 0, :2].tolist() == [[0, 1]] * 3
    np.testing.assert_array_equal(np.isnan(index.values), raw == FILL)
    known = raw != FILL
    np.testing.assert_array_equal(np.rint(index.values[known].astype(float) * 65534), raw[known])
    assert index.attrs["units"] == "1"
    assert dataset.attrs["observed"] == "soil_water_index"


def test_rows_run_south_and_columns_east_from_the_north_west(folder: Path) -> None:
    write(folder / "a.npz")
    dataset = read_smap_india(folder)
    corners = dataset.isel(y=[0, -1], x=[0, -1])
    np.testing.assert_allclose(corners.lat.values[:, 0], [37.9375, 6.0625])
    np.testing.assert_allclose(corners.lon.values[0], [66.0625, 99.9375])
    assert dataset.attrs["grid_crs"] == "EPSG:4326"


def test_days_without_a_window_are_nan_and_do_not_count_for_the_mask(folder: Path) -> None:
    raw = np.full((4, *GRID.shape), 30000, np.uint16)
    raw[:2, 100, 100] = FILL
    raw[:3, 100, 101] = FILL
    write(folder / "a.npz", ("2020-01-01", "2020-01-02", "2020-01-09", "2020-01-10"), swi=raw)
    dataset = read_smap_india(folder)
    assert dataset.sizes["time"] == 10
    there = np.isfinite(dataset.soil_water_index.values).any(axis=(1, 2))
    assert np.flatnonzero(there).tolist() == [0, 1, 8, 9]
    # Known on two of four windows belongs to it, on one of four does not.
    assert dataset.mask.values[100, 99:103].tolist() == [True, True, False, True]
    assert int((~dataset.mask).sum()) == 1


def test_archives_are_joined_in_the_order_of_their_days(folder: Path) -> None:
    later = write(folder / "a.npz", ("2020-01-02", "2020-01-04"))
    earlier = write(folder / "b.npz", ("2020-01-01", "2020-01-03"), swi=raw_maps(2)[:, ::-1])
    dataset = read_smap_india(folder)
    assert np.datetime_as_string(dataset.time.values, "D").tolist() == [f"2020-01-0{day}" for day in (1, 2, 3, 4)]
    for day, raw in enumerate((earlier[0], later[0], earlier[1], later[1])):
        expected = np.where(raw == FILL, np.nan, raw / 65534)
        np.testing.assert_allclose(dataset.soil_water_index.values[day], expected, rtol=1e-6)


def test_a_day_in_two_archives_is_refused(folder: Path) -> None:
    write(folder / "a.npz")
    write(folder / "b.npz", ("2020-01-02", "2020-01-03"))
    with pytest.raises(VadoseError, match="holds 2020-01-02, as another archive") as told:
        read_smap_india(folder)
    assert str(folder / "b.npz") in str(told.value)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)


def _one_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, raw_maps(1))


def _changed(**change: Any) -> Callable[[Path], object]:
    return lambda path: write(path, **change)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "cut short or damaged"),
        (_overwrite_the_middle, "cut short or damaged"),
        (lambda path: path.write_bytes(b""), "cut short or damaged"),
        (lambda path: path.write_text("<html>login</html>"), "cut short or damaged"),
        (_one_array, "cut short or damaged"),
        (_changed(end_date=np.array(LAST_DAYS, object)), "cut short or damaged"),
        (_changed(swi=None), "no array .*swi"),
        (_changed(start_date=None), "no array .*start_date"),
        (_changed(swi=raw_maps(3).astype(np.float32)), "swi is float32"),
        (_changed(swi=raw_maps(3).astype(np.int16)), "swi is int16"),
        (_changed(swi=raw_maps(3)[:, :255]), r"uint16 \(3, 255, 272\)"),
        (_changed(swi=raw_maps(3).transpose(0, 2, 1)), r"uint16 \(3, 272, 256\)"),
        (_changed(swi=raw_maps(3)[0]), r"uint16 \(256, 272\)"),
        (_changed(swi=raw_maps(2)), "with 3 and 3 days"),
        (_changed(last_days=()), "with 0 and 0 days"),
        (_changed(start_date=np.array("2019-12-29")), "swi is uint16"),
        (_changed(last_days=("2020-01-01", "2020-01-02", "2020-01-01")), "2020-01-01 .*two windows"),
        (_changed(start_date=np.array(["2019-12-29", "2019-12-30"])), "with 2 and 3 days"),
        (_changed(start_date=np.array(["2019-12-29", "2019-12-25", "2019-12-31"])), "2019-12-25 .. 2020-01-01"),
        (_changed(start_date=np.array(LAST_DAYS)), "expected 3 days"),
        (_changed(start_date=np.array(["29 December", "2019-12-30", "2019-12-31"])), "YYYY-MM-DD"),
    ],
)
def test_damage_is_told_in_one_line_with_its_file(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    write(folder / "a.npz")
    damage(folder / "a.npz")
    with pytest.raises(VadoseError, match=message) as told:
        read_smap_india(folder)
    assert str(folder / "a.npz") in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_without_archives_is_refused(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    (folder / "readme.txt").write_text("nothing")
    for path in (folder, tmp_path / "nowhere"):
        with pytest.raises(VadoseError, match=r"no \.npz archive in it") as told:
            read_smap_india(path)
        assert str(path) in str(told.value)


def test_such_a_folder_is_recognised_by_its_arrays(folder: Path, tmp_path: Path) -> None:
    write(folder / "a.npz")
    assert is_smap_india(folder)
    assert identify(folder) == "smap_india"
    write(tmp_path / "other" / "a.npz", swi=None)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.npz").write_text("no archive")
    for path in (tmp_path / "other", tmp_path / "text", tmp_path, tmp_path / "nowhere"):
        assert not is_smap_india(path)


def test_the_real_record(real: xr.Dataset) -> None:
    assert dict(real.sizes) == {"time": 1461, "y": 256, "x": 272}
    ends = np.datetime_as_string(real.time.values[[0, -1]], "D").tolist()
    assert ends == ["2016-01-01", "2019-12-31"]
    assert int(real.mask.sum()) == 18504
    there = real.soil_water_index.isel(y=slice(0, None, 4), x=slice(0, None, 4)).notnull().any(("y", "x"))
    assert int(there.sum()) == 1278
    assert real.attrs["simulated"] == "false"


def test_the_real_coast_lies_where_it_is(real: xr.Dataset) -> None:
    mainland = real.mask.values & (real.lon.values < 90)
    lat, lon = real.lat.values[mainland], real.lon.values[mainland]
    south = lat == lat.min()
    # Cape Comorin at 8.08 N 77.55 E, the west of Kutch at 23.7 N 68.2 E.
    assert lat.min() == pytest.approx(8.1, abs=0.13)
    assert lon[south].mean() == pytest.approx(77.5, abs=0.15)
    west = lon == lon.min()
    assert lon.min() == pytest.approx(68.2, abs=0.13)
    assert lat[west].mean() == pytest.approx(23.7, abs=0.25)
    # Arunachal Pradesh ends at 97.4 E, north of the 27th parallel; Great Nicobar at 6.8 N.
    everywhere = real.mask.values
    east = real.lon.values[everywhere].argmax()
    assert real.lon.values[everywhere][east] == pytest.approx(97.4, abs=0.13)
    assert real.lat.values[everywhere][east] == pytest.approx(28.2, abs=0.5)
    assert real.lat.values[everywhere].min() == pytest.approx(6.8, abs=0.13)


def test_a_copy_of_an_archive_changes_nothing(folder: Path) -> None:
    write(folder / "a.npz")
    once = read_smap_india(folder)
    write(folder / "b.npz")
    xr.testing.assert_identical(once, read_smap_india(folder))
