"""USCRN files written here as published, and real ones where they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.uscrn import is_uscrn, read_uscrn, read_uscrn_soils

# Codes of a missing value differ by column within one line.
LINE = (
    "03047 {day}  2.622 -102.81   31.62    24.2    17.1    20.6    20.3     2.7     6.00 C    27.8    17.1"
    "    20.7 -9999.0 -9999.0 -9999.0   0.140 -99.000   0.150   0.160   0.170    15.0    -2.5    16.0    17.0"
    " -9999.0\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "CRND0103-2019-MT_St._Mary_1_SSW.txt"
    path.write_text("".join(LINE.format(day=f"201901{d:02d}") for d in range(1, 5)))
    return path


def test_values_are_in_our_units(file: Path) -> None:
    dataset = read_uscrn(file)
    assert dict(dataset.sizes) == {"time": 4, "depth": 5}
    assert dataset.depth.values.tolist() == [5, 10, 20, 50, 100]
    day = dataset.isel(time=0)
    assert day.soil_moisture.values == pytest.approx([0.14, np.nan, 0.15, 0.16, 0.17], nan_ok=True)
    assert day.soil_temperature.values == pytest.approx([288.15, 270.65, 289.15, 290.15, np.nan], nan_ok=True)
    assert float(day.air_temperature) == pytest.approx(293.45)
    assert float(day.precipitation) == 2.7
    assert float(day.shortwave_radiation) == pytest.approx(6.0e6 / 86400)
    assert float(day.surface_temperature) == pytest.approx(293.85)
    assert np.isnan(day.relative_humidity)
    assert dataset.soil_moisture.attrs["units"] == "m3 m-3"


def test_who_and_where_the_station_is(file: Path) -> None:
    attrs = read_uscrn(file).attrs
    assert (attrs["network"], attrs["station"], attrs["wban"]) == ("USCRN", "MT_St._Mary_1_SSW", "03047")
    assert (attrs["lat"], attrs["lon"]) == (31.62, -102.81)
    assert "local standard" in attrs["day_boundary"]


def _line(number: int, change: Callable[[str], str]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        path.write_text("".join(lines))

    return damage


def _all(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_line(3, lambda s: s[:60] + "\n"), r"line 3: found \d+ fields; expected the 28"),
        (_line(2, lambda s: s.rstrip() + " 1.0\n"), "line 2: found 29 fields"),
        (
            _line(4, lambda s: s.replace("0.150", "wet")),
            "line 4: SOIL_MOISTURE_20_DAILY is 'wet', not a number",
        ),
        (
            _line(4, lambda s: s.replace("0.150", "inf")),
            "line 4: SOIL_MOISTURE_20_DAILY is 'inf', not a number",
        ),
        (_line(2, lambda s: s.replace("20190102", "20190101")), "line 2: found day 20190101"),
        (_line(2, lambda s: s.replace("20190102", "20180102")), "line 2: found day 20180102"),
        (_line(2, lambda s: s.replace("20190102", "20190230")), "line 2: found day 20190230"),
        (
            _line(3, lambda s: s.replace("31.62", "31.65")),
            "line 3: LATITUDE 31.65 is more than 0.02 degrees from 31.62",
        ),
        (_all("-102.81", "-9999."), "latitude 31.62, longitude -9999; expected at most 90 and 180 degrees$"),
        (_all("-102.81   31.62", "31.62 -102.81"), r"latitude -102.81, .*\(are the two exchanged\?\)"),
        (_all("-102.81   31.62", "31.62   -87.88"), "no station of USCRN lies south of the equator"),
        (_all("0.1", "10.1"), "half of the values of soil moisture exceed 10.155 m3 m-3.* Are they percent"),
        (_line(1, lambda s: s + "7" * 100_001), "a line of 1002.. characters; expected at most 100000"),
        (_line(3, lambda s: s.replace("03047", "03048")), "line 3: WBANNO 03048 differs"),
        (_line(1, lambda s: s.replace("03047", "\xe9")), "not plain text"),
        (lambda p: p.write_text(""), "no line with values"),
    ],
)
def test_damage_is_named_with_file_and_line(file: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(file)
    with pytest.raises(VadoseError, match=message) as error:
        read_uscrn(file)
    assert file.name in str(error.value)


def test_days_of_another_age_are_refused(file: Path) -> None:
    for year in ("9999", "1019"):
        other = file.with_name(file.name.replace("2019", year))
        other.write_text(file.read_text().replace("2019", year))
        with pytest.raises(VadoseError, match=f"line 1: found day {year}0101"):
            read_uscrn(other)


def test_coordinates_refined_within_a_year_are_the_last_ones(file: Path) -> None:
    _line(4, lambda s: s.replace("31.62", "31.63"))(file)
    attrs = read_uscrn(file).attrs
    assert (attrs["lat"], attrs["place_note"]) == (31.63, "the last of those in the file (LATITUDE 31.62, 31.63)")


def test_codes_that_are_not_published_are_missing_and_counted(file: Path) -> None:
    expected = read_uscrn(file)
    moisture = file.read_text().splitlines()[0].split()[18]
    file.write_text(file.read_text().replace(f" {moisture} ", " -999.0 ", 1))
    found = read_uscrn(file)
    assert "missing_codes" not in expected.attrs
    assert found.attrs["missing_codes"] == 1
    assert expected.soil_moisture.notnull().sum() - found.soil_moisture.notnull().sum() == 1
    assert float(found.soil_moisture.min()) >= 0


def test_lines_of_nul_bytes_and_empty_ones_are_left_out_and_counted(file: Path) -> None:
    expected = read_uscrn(file)
    assert "place_note" not in expected.attrs
    lines = file.read_text().splitlines()
    file.write_bytes("\r\n".join(["\0" * 40, lines[0], "", lines[1], "\0\0" + lines[1], *lines[2:], ""]).encode())
    assert is_uscrn(file)
    found = read_uscrn(file)
    xr.testing.assert_equal(found, expected)
    assert (found.attrs["lines_dropped"], expected.attrs["lines_dropped"]) == (3, 0)


def test_a_file_beyond_the_stated_size_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.products.station_text.MOST_BYTES", 100)
    with pytest.raises(VadoseError, match=r"\.txt: 0 MiB; expected at most"):
        read_uscrn(file)


def test_a_renamed_file_is_read_by_its_content(file: Path) -> None:
    expected = read_uscrn(file)
    renamed = read_uscrn(file.rename(file.with_name("station (1).txt")))
    xr.testing.assert_equal(renamed, expected)
    assert (renamed.attrs["station"], renamed.attrs["station_name"]) == ("unknown_03047", "unknown 03047")
    assert renamed.attrs["wban"] == "03047"


@pytest.mark.parametrize(
    "change", [lambda s: s.replace("20190102", "20190230"), lambda s: s.replace("20190102", "20190101")]
)
def test_days_of_a_renamed_file_are_checked(file: Path, change: Callable[[str], str]) -> None:
    path = file.rename(file.with_name("station.txt"))
    path.write_text(change(path.read_text()))
    with pytest.raises(VadoseError, match=r"line 2: found day 2019.*have to be as YYYYMMDD"):
        read_uscrn(path)


def test_a_file_named_as_another_product_is_refused(file: Path) -> None:
    with pytest.raises(VadoseError, match="not the name of a USCRN file of CRND0103 but of CRNH0203"):
        read_uscrn(file.rename(file.with_name("CRNH0203-2019-AL_Troy_2_W.txt")))
    with pytest.raises(VadoseError, match="CRND0103-2019-AL_Troy_2_W"):
        read_uscrn(file.with_name("CRND0103-2019-AL_Troy_2_W.txt"))


def test_a_last_line_cut_within_its_last_number_is_refused(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.removesuffix("9.0\n"))
    with pytest.raises(VadoseError, match=r"line 4: the last line has .* cut short"):
        read_uscrn(file)
    file.write_text(text.removesuffix("\n"))
    assert read_uscrn(file).sizes["time"] == 4


def test_soils_of_the_site_table(tmp_path: Path) -> None:
    path = tmp_path / "crn_site_info.csv"
    layers = ",".join(f"Depth{k}(cm),PercentSand{k},PercentSilt{k},PercentClay{k},BulkDensity{k}(g/cc)" for k in (1, 2))
    text = f"StationName,Latitude,Longitude,{layers},Elevation,Notes\n"
    text += "Yuma 27 ENE,32.835,-114.1884,5,30.1,54.9,15.0,1.10-1.30,20,,,,,620,ca\xf1on\n"
    text += "A 1 N,40,-100,5,50,30,20,1.5,,,,,,10,\n"
    path.write_bytes(text.encode("latin-1"))
    soils = read_uscrn_soils(path)
    assert soils["name"].tolist() == ["Yuma 27 ENE", "A 1 N", "Yuma 27 ENE"]
    first = soils.iloc[0]
    assert first[["depth", "sand_fraction", "bulk_density"]].tolist() == pytest.approx([5, 0.301, 1.2])
    assert first["elevation"] == pytest.approx(620 * 0.3048)
    assert np.isnan(soils.iloc[2]["bulk_density"])


def test_a_wrong_site_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "crn_site_info.csv"
    with pytest.raises(VadoseError, match="crn_site_info"):
        read_uscrn_soils(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(VadoseError, match=r"crn_site_info.csv: no columns \['StationName'"):
        read_uscrn_soils(path)


def test_a_real_file(real_data: Path) -> None:
    dataset = read_uscrn(real_data / "uscrn_daily01/2019/CRND0103-2019-CA_Stovepipe_Wells_1_SW.txt")
    assert dataset.sizes["time"] == 365
    day = dataset.sel(time="2019-07-19")
    assert day.soil_moisture.values == pytest.approx([0.024, 0.018, np.nan, np.nan, np.nan], nan_ok=True)
    assert float(day.soil_temperature[0]) == pytest.approx(44.4 + 273.15)
    assert float(day.air_temperature) == pytest.approx(38.1 + 273.15)
    assert float(day.shortwave_radiation) == pytest.approx(27.87 / 0.0864)
    assert float(day.relative_humidity) == 10.5


def test_the_real_site_table(real_data: Path) -> None:
    soils = read_uscrn_soils(real_data / "station_meta/crn_site_info.csv").set_index(["name", "depth"])
    assert len(soils.index.get_level_values("name").unique()) == 114
    assert soils.loc[("Gadsden 19 N", 50), "clay_fraction"] == pytest.approx(0.125)
    assert soils.loc[("Gadsden 19 N", 50), "elevation"] == pytest.approx(351.1, abs=0.1)
