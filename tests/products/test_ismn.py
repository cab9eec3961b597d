"""ISMN archives written here in both formats, and real ones where they are."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

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
        ([], "not an ISMN file as published"),
        (["2020/01/01 00:00   wet G M", *DAYS], "row 1 of the data is 2020-01-01 00:00:00 'wet'"),
        ([*DAYS, "2020/01/02 yesterday 0.2 G M"], "not an ISMN file as published"),
    ],
)
def test_damage_is_named_with_its_file(tmp_path: Path, lines: list[str], message: str) -> None:
    file = write(tmp_path, lines)
    with pytest.raises(VadoseError, match=message) as error:
        read_ismn(tmp_path)
    assert file.name in str(error.value)


def test_files_of_other_names_and_damaged_soils_are_named(archive: Path) -> None:
    file = next(archive.rglob("*_sm_*"))
    moved = file.rename(file.with_name("moisture.stm"))
    with pytest.raises(VadoseError, match=r"moisture\.stm: not the name"):
        read_ismn(archive)
    moved.rename(file)
    soil = next(archive.rglob("*static*"))
    soil.write_text("quantity_name;unit\nsaturation;1\n")
    with pytest.raises(VadoseError, match="static_variables"):
        read_ismn(archive)


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
    with pytest.raises(VadoseError, match="not the name of an ISMN file"):
        read_ismn(renamed)
