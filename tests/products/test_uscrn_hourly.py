"""USCRN hours and five minutes, written here as published and by the simulated world."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products import identify
from vadose.products.uscrn import is_uscrn, read_uscrn
from vadose.products.uscrn_hourly import daily_uscrn_hourly, is_uscrn_hourly, read_uscrn_hourly
from vadose.twin.granules.stations import at_stations, measured, place_stations, write_uscrn, write_uscrn_hourly
from vadose.twin.truth import example

# In the published widths; codes of a missing value differ by column within one line.
HOUR = (
    "03047 {time:%Y%m%d %H%M} {local:%Y%m%d %H%M}  2.622 -102.81   31.62    20.9    20.3    24.2    17.1     2.7"
    "    250 0    400 0    100 0 C    27.8 0    28.1 0    17.1 0    83 0   0.140 -99.000   0.150   0.160   0.170"
    "    15.0    -2.5    16.0    17.0 -9999.0\n"
)
FIVE = (
    "53131 {time:%Y%m%d %H%M} {local:%Y%m%d %H%M}      3 -111.17   32.24    10.4     0.2     10 0     9.0 C 0    52 0"
    "   0.125    11.5  1144 0   2.20 0\n"
)
NUL = "\0" * 40 + "\n"


def stamps(line: str, first: str, count: int, minutes: int) -> str:
    times = pd.date_range(first, periods=count, freq=f"{minutes}min")
    return "".join(line.format(time=t, local=t - pd.Timedelta(hours=7)) for t in times)


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    path = tmp_path / "CRNH0203-2019-MT_St._Mary_1_SSW.txt"
    path.write_text(stamps(HOUR, "2019-01-01 01:00", 48, 60))
    return path


@pytest.fixture
def fives(tmp_path: Path) -> Path:
    path = tmp_path / "CRNS0101-05-2019-AZ_Tucson_11_W.txt"
    path.write_text(stamps(FIVE, "2019-01-01 00:05", 24, 5))
    return path


def change(path: Path, number: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    path.write_text("".join(lines))


def test_hours_are_in_our_units(hours: Path) -> None:
    dataset = read_uscrn_hourly(hours)
    assert dict(dataset.sizes) == {"time": 48, "depth": 5}
    assert dataset.depth.values.tolist() == [5, 10, 20, 50, 100]
    first = dataset.isel(time=0)
    assert first.soil_moisture.values == pytest.approx([0.14, np.nan, 0.15, 0.16, 0.17], nan_ok=True)
    assert first.soil_temperature.values == pytest.approx([288.15, 270.65, 289.15, 290.15, np.nan], nan_ok=True)
    # The hour's mean, not that of its last five minutes.
    assert float(first.air_temperature) == pytest.approx(293.45)
    assert float(first.precipitation) == pytest.approx(2.7)
    assert float(first.shortwave_radiation) == 250
    assert float(first.surface_temperature) == pytest.approx(300.95)
    assert float(first.relative_humidity) == 83
    assert dataset.soil_moisture.attrs["units"] == "m3 m-3"
    assert "hour before" in dataset.precipitation.attrs["long_name"]
    assert {v.dtype for v in dataset.data_vars.values()} == {np.dtype("float32")}


def test_five_minutes_are_in_our_units(fives: Path) -> None:
    dataset = read_uscrn_hourly(fives)
    assert dict(dataset.sizes) == {"time": 24, "depth": 1}
    assert dataset.depth.values.tolist() == [5]
    first = dataset.isel(time=0)
    assert first.soil_moisture.values == pytest.approx([0.125])
    assert first.soil_temperature.values == pytest.approx([284.65])
    assert float(first.air_temperature) == pytest.approx(283.55)
    assert float(first.precipitation) == pytest.approx(0.2)
    assert float(first.shortwave_radiation) == 10
    assert float(first.surface_temperature) == pytest.approx(282.15)
    assert float(first.relative_humidity) == 52
    assert "five minutes before" in dataset.precipitation.attrs["long_name"]


def test_stamps_are_utc_ends(hours: Path, fives: Path) -> None:
    dataset = read_uscrn_hourly(hours)
    assert dataset.time.dtype == "datetime64[ns]"
    assert dataset.time.values[[0, -1]].astype("datetime64[h]").astype(str).tolist() == [
        "2019-01-01T01",
        "2019-01-03T00",
    ]
    assert "end of its hour" in dataset.attrs["day_boundary"]
    assert "UTC" in dataset.attrs["day_boundary"]
    dataset = read_uscrn_hourly(fives)
    assert str(dataset.time.values[0]).startswith("2019-01-01T00:05")
    assert "end of its five minutes" in dataset.attrs["day_boundary"]


def test_who_and_where_the_station_is(hours: Path) -> None:
    attrs = read_uscrn_hourly(hours).attrs
    assert (attrs["network"], attrs["station"], attrs["wban"]) == ("USCRN", "MT_St._Mary_1_SSW", "03047")
    assert (attrs["lat"], attrs["lon"]) == (31.62, -102.81)
    assert (attrs["product"], attrs["version"], attrs["granule"]) == ("CRNH0203", "03", hours.name)
    assert (attrs["simulated"], attrs["lines_dropped"]) == ("false", 0)


@pytest.mark.parametrize(
    ("name", "value", "code", "kept"),
    [
        ("precipitation", "    2.7 ", "-9999.0 ", None),
        ("air_temperature", "   20.3", "-9999.0", None),
        ("shortwave_radiation", "   250 0", "-99999 0", None),
        ("surface_temperature", "   27.8", "-9999.0", None),
        ("relative_humidity", "   83 0", "-9999 0", None),
        # Colder than anywhere on Earth, and codes of copies.
        ("air_temperature", "   20.3", "  -99.0", None),
        ("air_temperature", "   20.3", " -999.0", None),
        ("air_temperature", "   20.3", "  -60.0", 213.15),
    ],
)
def test_codes_of_missing_values_are_by_column(
    hours: Path, name: str, value: str, code: str, kept: float | None
) -> None:
    change(hours, 2, value, code)
    found = read_uscrn_hourly(hours)[name].values[1]
    assert np.isnan(found) if kept is None else found == pytest.approx(kept)
    assert np.isfinite(read_uscrn_hourly(hours)[name].values[[0, 2]]).all()


@pytest.mark.parametrize("flag", ["1", "3"])
@pytest.mark.parametrize(
    ("name", "value"),
    [("shortwave_radiation", "250 "), ("surface_temperature", "27.8 "), ("relative_humidity", "83 ")],
)
def test_flagged_values_are_left_out_or_kept(hours: Path, name: str, value: str, flag: str) -> None:
    whole = read_uscrn_hourly(hours)
    change(hours, 2, value + "0", value + flag)
    good, kept = read_uscrn_hourly(hours), read_uscrn_hourly(hours, quality="all")
    assert np.flatnonzero(good[name].isnull()).tolist() == [1]
    xr.testing.assert_equal(good.drop_vars(name), whole.drop_vars(name))
    xr.testing.assert_equal(kept, whole)
    assert good.attrs["quality"] != kept.attrs["quality"]


def test_flags_of_five_minutes(fives: Path) -> None:
    change(fives, 3, " C 0 ", " C 3 ")
    assert np.flatnonzero(read_uscrn_hourly(fives).surface_temperature.isnull()).tolist() == [2]
    with pytest.raises(VadoseError, match=r"quality 'best' unknown; choose from \['good', 'all'\]"):
        read_uscrn_hourly(fives, quality="best")


def test_lines_of_nul_bytes_and_empty_ones_are_left_out_and_counted(fives: Path) -> None:
    whole = read_uscrn_hourly(fives)
    lines = fives.read_text().splitlines(keepends=True)
    # Alone, before a line's values (which are not to be trusted), at the end; and lines with nothing in them.
    fives.write_text("".join([NUL, *lines[:5], "\n", NUL[:6] + lines[5][6:], *lines[6:], "   \n", NUL]))
    dataset = read_uscrn_hourly(fives)
    assert dataset.attrs["lines_dropped"] == 5
    xr.testing.assert_equal(dataset, whole.isel(time=[k for k in range(24) if k != 5]))
    assert identify(fives) == "uscrn_hourly"


def test_what_damage_is_told_names_the_line(fives: Path) -> None:
    text = fives.read_text()
    fives.write_text(NUL + "\n" + text)
    change(fives, 6, "0.125", "moist")
    with pytest.raises(VadoseError, match="line 6: SOIL_MOISTURE_5 is 'moist'"):
        read_uscrn_hourly(fives)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s[:-60], "line 48: found 3. fields; expected the 38"),
        (lambda s: s[:-4], "line 48: the last line has 2.. characters, the first 243; the file is cut short"),
        (lambda s: s.replace("20190101 0300", "20190101 0200"), "line 3: found UTC time 20190101 0200"),
        (lambda s: s.replace("20190101 0300", "20190101 0330"), "line 3: .* every 60 minutes"),
        (lambda s: s.replace("20190101 0300", "20190101 2500"), "line 3: found UTC time 20190101 2500"),
        (lambda s: s.replace("20190101 0300", "20190101 300"), "line 3: found UTC time 20190101 300"),
        (lambda s: s.replace(" 2019", " 2018"), "line 1: found UTC time 20180101 0100; .* of 2019"),
        (lambda s: s[:700].replace("03047", "03048") + s[700:], "line 4: WBANNO 03047 differs from 03048"),
        (lambda s: s.replace("0.150", "inf  "), "line 1: SOIL_MOISTURE_20 is 'inf'"),
        (lambda s: s.replace("   83 0", "   83 x"), "line 1: RH_HR_AVG_FLAG is 'x'"),
        (lambda s: s[:100], r"first line: found \d+ fields, a USCRN hourly line has 38 and a 5-minute line 23"),
        (lambda s: "\n\n", "first line: found 0 fields"),
        (lambda s: "plain text\n" * 9, "first line: found 2 fields"),
        (lambda s: "", "is empty"),
        (lambda s: "<!DOCTYPE html><html>login</html>", "a web page"),
        (lambda s: "\x89HDF\r\n\x1a\n" + s, "where plain text is published"),
    ],
)
def test_bad_files_are_one_line_each(hours: Path, spoil: Callable[[str], str], message: str) -> None:
    hours.write_bytes(spoil(hours.read_text()).encode("latin-1"))
    with pytest.raises(VadoseError, match=message) as told:
        read_uscrn_hourly(hours)
    assert hours.name in str(told.value)
    assert "\n" not in str(told.value)


def test_a_last_line_without_its_end_of_line_is_whole(hours: Path) -> None:
    hours.write_text(hours.read_text().removesuffix("\n"))
    assert read_uscrn_hourly(hours).sizes["time"] == 48


def test_the_other_products_of_the_network_are_told_apart(hours: Path, fives: Path, tmp_path: Path) -> None:
    assert identify(hours) == identify(fives) == "uscrn_hourly"
    assert not is_uscrn(hours)
    with pytest.raises(VadoseError, match="not the name of a USCRN file of CRND0103 but of CRNH0203"):
        read_uscrn(hours)
    swapped = tmp_path / "CRNH0203-2019-AZ_Tucson_11_W.txt"
    swapped.write_text(fives.read_text())
    with pytest.raises(VadoseError, match="of CRNS0101-05 but of CRNH0203"):
        read_uscrn_hourly(swapped)


def test_a_renamed_file_is_known_by_its_content(hours: Path, fives: Path) -> None:
    for path, wban in ((hours, "03047"), (fives, "53131")):
        named = read_uscrn_hourly(path)
        renamed = path.rename(path.with_name(f"{wban} (1).txt"))
        assert identify(renamed) == "uscrn_hourly"
        dataset = read_uscrn_hourly(renamed)
        xr.testing.assert_equal(dataset, named)
        assert (dataset.attrs["station"], dataset.attrs["wban"]) == (f"unknown_{wban}", wban)


def test_days_are_of_the_hours_that_end_in_them(hours: Path) -> None:
    # The first day rains 1 mm an hour, the second 2: 00:00 belongs to the day that it closes.
    dataset = read_uscrn_hourly(hours)
    dataset["precipitation"] = "time", np.repeat([1.0, 2.0], 24)
    dataset["air_temperature"] = "time", 280 + np.arange(48.0)
    daily = daily_uscrn_hourly(dataset)
    assert daily.time.values.astype("datetime64[D]").astype(str).tolist() == ["2019-01-01", "2019-01-02"]
    assert daily.precipitation.values.tolist() == [24, 48]
    assert daily.air_temperature.values.tolist() == [291.5, 315.5]
    assert daily.soil_moisture.dims == ("time", "depth")
    assert daily.soil_moisture.values[0] == pytest.approx([0.14, np.nan, 0.15, 0.16, 0.17], nan_ok=True)
    assert "01:00" in daily.attrs["day_boundary"]
    assert daily.precipitation.attrs["long_name"] == "precipitation of the day"


def test_a_day_needs_most_of_its_hours(hours: Path) -> None:
    dataset = read_uscrn_hourly(hours)
    # Six hours missing of the first day, as NaN or as lines that are not there, and seven of the second.
    dataset["relative_humidity"][:6] = np.nan
    dataset["relative_humidity"][24:31] = np.nan
    daily = daily_uscrn_hourly(dataset)
    assert daily.relative_humidity.values == pytest.approx([83, np.nan], nan_ok=True)
    assert daily.precipitation.values == pytest.approx([64.8, 64.8])
    assert daily_uscrn_hourly(dataset, min_hours=17).relative_humidity.notnull().all()
    daily = daily_uscrn_hourly(dataset.isel(time=slice(7, None)))
    assert daily.precipitation.values == pytest.approx([np.nan, 64.8], nan_ok=True)
    daily = daily_uscrn_hourly(dataset.isel(time=slice(6, None)))
    assert daily.precipitation.values == pytest.approx([18 * 2.7, 64.8])
    with pytest.raises(VadoseError, match="min_hours is 0"):
        daily_uscrn_hourly(dataset, min_hours=0)


def test_days_of_five_minutes(fives: Path) -> None:
    fives.write_text(stamps(FIVE, "2019-01-01 00:05", 288 + 215, 5))
    daily = daily_uscrn_hourly(read_uscrn_hourly(fives))
    assert daily.precipitation.values == pytest.approx([288 * 0.2, np.nan], nan_ok=True)
    fives.write_text(stamps(FIVE, "2019-01-01 00:05", 288 + 216, 5))
    assert daily_uscrn_hourly(read_uscrn_hourly(fives)).precipitation.values[1] == pytest.approx(216 * 0.2)


def test_days_are_made_of_hours_alone(hours: Path) -> None:
    dataset = read_uscrn_hourly(hours)
    with pytest.raises(VadoseError, match="no series of read_uscrn_hourly"):
        daily_uscrn_hourly(daily_uscrn_hourly(dataset))
    with pytest.raises(VadoseError, match="each time once"):
        daily_uscrn_hourly(xr.concat([dataset, dataset], "time"))


def test_the_simulated_world_gives_its_days_back(tmp_path: Path) -> None:
    truth = example(days=4, first="2019-12-30")
    series = measured(at_stations(truth, place_stations(truth, 2)))
    files = write_uscrn_hourly(series, tmp_path)
    assert [f"{p.parent.name}/{p.name}" for p in files] == [
        f"{year}/CRNH0203-{year}-XX_Simulated_{n:02d}.txt" for n in (0, 1) for year in (2019, 2020)
    ]
    assert {len(line) for path in files for line in path.read_text().splitlines()} == {243}
    for number in (0, 1):
        of_station = [read_uscrn_hourly(path) for path in files[2 * number : 2 * number + 2]]
        assert {d.attrs["simulated"] for d in of_station} == {"true"}
        found = daily_uscrn_hourly(xr.concat(of_station, "time", combine_attrs="override"))
        s = series.isel(station=number)
        np.testing.assert_array_equal(found.time, s.time)
        np.testing.assert_allclose(found.soil_moisture, s.soil_moisture, atol=6e-4)
        np.testing.assert_allclose(found.precipitation, s.precipitation, atol=0.051)
        np.testing.assert_allclose(
            found.soil_temperature, np.repeat(s.soil_temperature.values[:, None], 5, 1), atol=0.06
        )
        for name, width in (("air_temperature", 0.06), ("shortwave_radiation", 0.6)):
            np.testing.assert_allclose(found[name], s[name], atol=width)
        humidity = (s.relative_humidity_max + s.relative_humidity_min) / 2
        np.testing.assert_allclose(found.relative_humidity, humidity, atol=0.6)
        assert found.attrs["lat"] == pytest.approx(float(s.lat), abs=0.006)
    assert is_uscrn_hourly(files[0])
    assert not is_uscrn_hourly(write_uscrn(series, tmp_path / "daily")[0])
