"""ISMN archives written here in both formats, and real ones where they are."""

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.ismn import is_ismn, read_ismn

STATIC = (
    "quantity_name;unit;depth_from[m];depth_to[m];value;description;quantity_source_name\n"
    "saturation;m^3*m^-3;0.00;0.30;0.46;;HWSD\n"
    "saturation;m^3*m^-3;0.30;1.00;0.42;;HWSD\n"
    "clay fraction;% weight;0.00;0.30;23.00;;HWSD\n"
    "climate classification;unitless;-99.90;-99.90;unknown;;insitu\n"
    "land cover classification;unitless;-99.90;-99.90;130;;CCI_landcover_2000\n"
)


def hours(values: list[tuple[str, float, str]]) -> list[str]:
    return [f"{stamp}   {value:.4f} {flag} M " for stamp, value, flag in values]


def write(
    root: Path,
    lines: list[str],
    *,
    network: str = "PBO_H2O",
    station: str = "Hill_Top",
    depth: str = "0.050000",
    sensor: str = "Probe",
    variable: str = "sm",
    end: str = "\n",
) -> Path:
    folder = root / network / station
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{network}_{network}_{station}_static_variables.csv").write_text(STATIC)
    name = f"{network}_{network}_{station}_{variable}_{depth}_{depth}_{sensor}_20200101_20200103.stm"
    header = f"{network} {network} {station} 40.5 -100.25 700.0 {float(depth):.2f} {float(depth):.2f} {sensor}"
    (folder / name).write_bytes((end.join([header, *lines]) + end).encode())
    return folder / name


GOOD_DAY = [
    ("2020/01/01 00:00", 0.20, "G"),
    ("2020/01/01 00:00", 0.90, "G"),
    ("2020/01/01 06:00", 0.30, "G"),
    ("2020/01/01 12:00", 0.70, "C02"),
    ("2020/01/01 18:00", -9999.0, "G"),
]
POOR_DAY = [
    ("2020/01/02 00:00", 0.20, "G"),
    ("2020/01/02 01:00", 0.9, "D05,D06"),
    ("2020/01/02 02:00", 0.9, "M"),
]
LAST_DAY = [("2020/01/03 23:00", 0.25, "G")]
DAYS = hours(GOOD_DAY + POOR_DAY + LAST_DAY)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "archive"
    write(root, DAYS)
    write(root, hours([("2020/01/01 00:00", 3.0, "G"), ("2020/01/01 12:00", 5.0, "G")]), variable="ts")
    write(root, hours([("2020/01/02 00:00", 0.40, "G")]), depth="0.500000")
    write(root, hours([("2020/01/02 00:00", 5.0, "G")]), variable="p")
    return root


def test_days_are_means_of_good_hours(archive: Path) -> None:
    (station,) = read_ismn(archive)
    assert station.depth.values.tolist() == [5.0, 50.0]
    assert station.depth_to.values.tolist() == [0.05, 0.5]
    # The second day has one good reading of three: too few.
    assert station.soil_moisture.values[:, 0] == pytest.approx([0.25, np.nan, 0.25], nan_ok=True)
    assert station.soil_moisture.values[:, 1] == pytest.approx([np.nan, 0.4, np.nan], nan_ok=True)
    assert station.soil_temperature.values[0] == pytest.approx([277.15, np.nan], nan_ok=True)
    assert np.isnan(station.soil_moisture_unflagged).all()
    assert station.saturation.values == pytest.approx([0.46, 0.42])
    assert station.clay_fraction.values == pytest.approx([0.23, np.nan], nan_ok=True)
    assert str(station.time.values[-1])[:10] == "2020-01-03"


def test_underscores_in_names_and_where_the_station_is(archive: Path) -> None:
    attrs = read_ismn(archive)[0].attrs
    assert (attrs["network"], attrs["station"]) == ("PBO_H2O", "Hill_Top")
    assert (attrs["lat"], attrs["lon"], attrs["elevation"]) == (40.5, -100.25, 700.0)
    assert attrs["day_boundary"].startswith("UTC")


def test_a_network_or_a_station_alone_is_an_archive_too(archive: Path) -> None:
    for part in (archive, archive / "PBO_H2O", archive / "PBO_H2O" / "Hill_Top"):
        assert {(s.attrs["network"], s.attrs["station"]) for s in read_ismn(part)} == {("PBO_H2O", "Hill_Top")}


def test_a_zip_reads_the_same_and_nothing_is_written(archive: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", archive))
    before = sorted(tmp_path.rglob("*"))
    assert read_ismn(packed)[0].identical(read_ismn(archive)[0])
    assert sorted(tmp_path.rglob("*")) == before


def test_series_without_flags_stand_apart(tmp_path: Path) -> None:
    write(tmp_path, hours([("2020/01/01 00:00", 0.20, "U"), ("2020/01/01 01:00", 0.22, "U")]), end="\r")
    (station,) = read_ismn(tmp_path)
    assert np.isnan(station.soil_moisture).all()
    assert station.soil_moisture_unflagged.values.tolist() == [[pytest.approx(0.21)]]


def test_ceop_lines_that_end_with_carriage_returns(tmp_path: Path) -> None:
    folder = tmp_path / "SMOSMANIA" / "Narbonne"
    folder.mkdir(parents=True)
    name = "SMOSMANIA_SMOSMANIA_Narbonne_sm_0.050000_0.050000_ThetaProbe-ML2X_20070101_20070102.stm"
    line = "{0} {0} SMOSMANIA  SMOSMANIA    Narbonne    43.15000  2.95670  112.00  0.05  0.05  {1} M \r"
    values = ("0.3140 D05,D06", "0.2140 G")
    text = "".join(line.format(f"2007/01/01 {hour:02d}:00", values[hour % 2]) for hour in range(1, 6))
    (folder / name).write_bytes(text.encode())
    (station,) = read_ismn(tmp_path)
    assert station.soil_moisture.values.tolist() == [[pytest.approx(0.214)]]
    assert station.attrs["elevation"] == 112.0


@pytest.mark.parametrize("fuller", ["Probe-A", "Probe-B"])
def test_of_two_sensors_at_a_depth_the_fuller_is_kept(tmp_path: Path, fuller: str) -> None:
    for sensor in ("Probe-A", "Probe-B"):
        write(tmp_path, DAYS if sensor == fuller else hours(LAST_DAY), sensor=sensor)
    (station,) = read_ismn(tmp_path)
    assert station.sizes["depth"] == 1
    assert np.isfinite(station.soil_moisture).sum() == 2


def test_a_sensor_without_a_value_is_an_empty_series(tmp_path: Path) -> None:
    write(tmp_path, hours([("2020/01/01 00:00", -999.99, "M"), ("2020/01/01 01:00", -999.99, "M")]))
    assert read_ismn(tmp_path)[0].sizes["time"] == 0


def test_unreadable_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(VadoseError, match="nothing: no such file or folder"):
        read_ismn(tmp_path / "nothing")
    with pytest.raises(VadoseError, match=r"no \.stm file"):
        read_ismn(tmp_path)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(VadoseError, match=r"broken\.zip: neither a folder nor a whole zip"):
        read_ismn(broken)
    with zipfile.ZipFile(broken, "w") as empty:
        empty.writestr("Readme.txt", "")
    with pytest.raises(VadoseError, match=r"broken\.zip: no \.stm file"):
        read_ismn(broken)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"not as published \(lines or fields are missing"),
        (["2020/01/01 00:00   wet G M", *DAYS], "row 1 of the data is 2020-01-01 00:00:00 'wet'"),
        ([*DAYS, "2020/01/02 yesterday 0.2 G M"], r"not as published \(.*2020/01/02 yesterday"),
        (["9999/01/01 00:00   0.2 G M", *DAYS], "row 1 of the data is 9999-01-01"),
        (["2020/01/01 00:00   inf G M", *DAYS], "row 1 of the data is 2020-01-01 00:00:00 'inf'"),
        (hours([("2020/01/01 00:00", 20.0, "G"), ("2020/01/01 01:00", 21.0, "G")]), "exceed 20.5 m3 m-3.* percent"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path: Path, lines: list[str], message: str) -> None:
    file = write(tmp_path, lines)
    with pytest.raises(VadoseError, match=message) as error:
        read_ismn(tmp_path)
    assert file.name in str(error.value)


def _unreadable(file: Path) -> str:
    file.write_text("<html>Session expired</html>")
    return "a web page, not data"


def _empty(file: Path) -> str:
    file.write_bytes(b"")
    return r"empty \(0 bytes\)"


def _cut(file: Path) -> str:
    file.write_text(file.read_text()[:60])
    return "lines or fields are missing"


def _renamed(file: Path) -> str:
    file.rename(file.with_name("moisture.stm"))
    return "not the name of an ISMN file"


def _nowhere(file: Path) -> str:
    file.write_text(file.read_text().replace("40.5 -100.25", "-100.25 40.5"))
    return r"latitude -100.25, longitude 40.5; .* exchanged\?"


def _deeper(file: Path) -> str:
    file.write_text(file.read_text().replace("0.05 0.05", "0.10 0.10"))
    return "depths 0.1 to 0.1 m in the header, 0.05 to 0.05 m in the name"


def _of_another_year(file: Path) -> str:
    file.write_text(file.read_text().replace("2020/", "2018/"))
    return "holds 2018-01-01 to 2018-01-03, its name says 20200101 to 20200103; renamed?"


@pytest.mark.parametrize("damage", [_unreadable, _empty, _cut, _renamed, _nowhere, _deeper, _of_another_year])
@pytest.mark.parametrize("packed", [False, True])
def test_one_bad_series_is_left_out_and_named(tmp_path: Path, damage: Callable[[Path], str], packed: bool) -> None:
    root = tmp_path / "archive"
    files = [write(root, DAYS, station=name) for name in ("A", "B", "C")]
    message, path = damage(files[1]), root
    if packed:
        path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root))
    broken: dict[str, str] = {}
    stations = read_ismn(path, broken)
    assert [station.attrs["station"] for station in stations] == ["A", "C"]
    ((name, reason),) = broken.items()
    assert name.startswith("PBO_H2O/B/")
    assert re.search(message, reason)
    assert {station.attrs["left_out"] for station in stations} == {f"{name}: {reason}"}
    for file in (files[0], files[2]):
        file.write_text("nothing")
    with pytest.raises(VadoseError, match=r"\(and 2 more files\); nothing of the archive can be read"):
        read_ismn(root)


@pytest.mark.parametrize("text", ["", "no header here\n", "quantity_name;unit\nsaturation;1\n"])
def test_a_bad_table_of_soils_leaves_the_station_without_soils(archive: Path, text: str) -> None:
    expected = read_ismn(archive)[0].drop_vars(["saturation", "clay_fraction", "sand_fraction", "silt_fraction"])
    next(archive.rglob("*static*")).write_text(text)
    (station,) = read_ismn(archive)
    xr.testing.assert_equal(station, expected)
    assert "static_variables.csv: " in station.attrs["left_out"]


def test_a_station_of_several_places_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, DAYS, station="A")
    write(tmp_path, DAYS)
    file = write(tmp_path, DAYS, depth="0.100000")
    file.write_text(file.read_text().replace("40.5", "10.5"))
    broken: dict[str, str] = {}
    assert [station.attrs["station"] for station in read_ismn(tmp_path, broken)] == ["A"]
    assert broken == {"PBO_H2O/Hill_Top": "its sensors lie at several places (10.5, -100.25; 40.5, -100.25)"}


def test_what_macos_adds_is_passed_over(archive: Path, tmp_path: Path) -> None:
    expected = read_ismn(archive)[0]
    for file in list(archive.rglob("*.stm")):
        file.with_name(f"._{file.name}").write_bytes(b"\x00\x05\x16\x07Mac OS X")
        other = archive / "__MACOSX" / file.name
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"\x00\x05\x16\x07")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", archive))
    for path in (archive, packed):
        (station,) = read_ismn(path)
        assert station.identical(expected)


def test_an_archive_keeps_within_stated_limits(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(archive.rglob("*_sm_0.05*"))
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(file, file.relative_to(archive))
        zipped.writestr(f"../../{file.name}", file.read_text())
        zipped.writestr(f"PBO_H2O/Large/{file.name}", b" " * 10_000)
    monkeypatch.setattr("vadose.products.ismn.MOST_BYTES", 9_999)
    broken: dict[str, str] = {}
    assert len(read_ismn(packed, broken)) == 1
    assert list(broken.values()) == [
        "its path leads out of the archive",
        "0 MiB; expected at most 0 MiB of a station file",
    ]
    monkeypatch.setattr("vadose.products.ismn.MOST_MEMBERS", 2)
    with pytest.raises(VadoseError, match="holds 3 files; expected at most 2"):
        read_ismn(packed)
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as zipped:
        zipped.write(packed, "in/packed.zip")
    with pytest.raises(VadoseError, match=r"no \.stm file in it; it holds in/packed\.zip, unpack that first"):
        read_ismn(outer)
    packed.write_bytes(b"PK\x03\x04 and no more")
    assert not is_ismn(packed)


def test_an_archive_in_folders_of_its_own_is_known_and_repeated_readings_counted(archive: Path, tmp_path: Path) -> None:
    deep = tmp_path / "download/Data_separate_files/x"
    deep.parent.mkdir(parents=True)
    archive.rename(deep)
    assert is_ismn(tmp_path / "download")
    (station,) = read_ismn(tmp_path / "download")
    assert (station.attrs["network"], station.attrs["readings_repeated"]) == ("PBO_H2O", 1)


def test_the_real_archives(real_data: Path) -> None:
    folder = real_data / "granules/ismn"
    oklahoma, alaska = read_ismn(folder / "Data_seperate_files_header_20170810_20180809")
    assert (oklahoma.attrs["station"], alaska.attrs["station"]) == ("ARM-1", "Barrow-ARM")
    assert oklahoma.sizes["time"] == 365
    assert oklahoma.saturation.item() == 0.46
    assert oklahoma.sel(time="2017-08-10").soil_moisture.item() == pytest.approx(0.212792, abs=1e-6)
    for form in ("format_header_values", "format_ceop_sep"):
        (station,) = read_ismn(folder / form)
        assert station.sizes["time"] == 31
        assert station.soil_moisture_unflagged.values[0, 0] == pytest.approx(0.213657, abs=1e-6)
        assert np.isnan(station.soil_moisture).all()


def test_a_flat_folder_is_known_and_a_renamed_series_refused(real_data: Path, tmp_path: Path) -> None:
    file = next((real_data / "granules/ismn/format_header_values").rglob("*.stm"))
    shutil.copy(file, tmp_path)
    assert is_ismn(tmp_path)
    (station,) = read_ismn(tmp_path)
    assert (station.attrs["network"], station.attrs["station"]) == ("SMOSMANIA", "Narbonne")
    renamed = Path(shutil.copy(file, tmp_path / "series.stm"))
    assert is_ismn(renamed)
    with pytest.raises(VadoseError, match=r"series\.stm: not the name of an ISMN file"):
        read_ismn(renamed)


def test_a_file_that_ends_within_a_row_is_left_out(tmp_path: Path) -> None:
    whole = write(tmp_path / "archive", DAYS, station="Whole")
    cut = write(tmp_path / "archive", DAYS)
    cut.write_bytes(cut.read_bytes().rstrip().rsplit(b" ", 2)[0])
    found = read_ismn(whole.parents[2])
    assert [station.attrs["station"] for station in found] == ["Whole"]
    assert "its last row, 2020-01-03 23:00:00, has no flag: cut short" in found[0].attrs["left_out"]
