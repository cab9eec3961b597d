"""SCAN exports written here as published, and real ones where they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.products.containers import container_of
from vadose.products.scan import is_scan, read_scan, read_scan_stations

MOISTURE = "Soil Moisture Percent -{}in (pct) Mean of Hourly Values"
TEMPERATURE = "Soil Temperature Observed -{}in (degC) Mean of Hourly Values"
HEADER = ",".join(
    [
        "",
        "Date",
        "Station Id",
        "Station Name",
        "Precipitation Increment (mm)",
        "Air Temperature Average (degC)",
        MOISTURE.format(2),
        MOISTURE.format(40),
        TEMPERATURE.format(2),
        TEMPERATURE.format(40),
        "Relative Humidity (pct) Mean of Hourly Values",
        "Solar Radiation/langley Total (langley)",
    ]
)
ROWS = [
    '2810,2018-12-30,2057,"AAMU, JTG",0.0,10.2,28.5,44.2,9.4,10.4,86.0,100.8',
    '2811,2018-12-31,2057,"AAMU, JTG",15.0,17.5,30.1,,13.9,10.6,91.0,41.25',
    '2812,2019-01-01,2057,"AAMU, JTG",,11.6,30.7,48.2,12.4,,91.0,',
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "2057.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    return path


def test_values_are_in_our_units(file: Path) -> None:
    dataset = read_scan(file)
    assert dict(dataset.sizes) == {"time": 3, "depth": 2}
    assert dataset.depth.values.tolist() == [5.08, 101.6]
    day = dataset.sel(time="2018-12-31")
    assert day.soil_moisture.values == pytest.approx([0.301, np.nan], nan_ok=True)
    assert day.soil_temperature.values == pytest.approx([287.05, 283.75])
    assert float(day.precipitation) == 15.0
    assert float(day.air_temperature) == pytest.approx(290.65)
    assert float(day.relative_humidity) == 91.0
    assert float(day.shortwave_radiation) == pytest.approx(41.25 * 41840 / 86400)
    assert np.isnan(dataset.shortwave_radiation.values[2])
    assert np.isnan(dataset.precipitation.values[2])
    assert dataset.attrs["station"] == "2057"
    assert dataset.attrs["station_name"] == "AAMU, JTG"


def test_english_units_comments_and_a_byte_order_mark(file: Path) -> None:
    text = file.read_text().replace("(degC)", "(degF)").replace("(mm)", "(in)")
    file.write_text("\ufeff# USDA\n#\n" + text)
    day = read_scan(file).isel(time=1)
    assert float(day.precipitation) == pytest.approx(381.0)
    assert float(day.air_temperature) == pytest.approx((17.5 - 32) / 1.8 + 273.15)


def test_a_header_alone_is_an_empty_series(file: Path) -> None:
    file.write_text(HEADER + "\n")
    dataset = read_scan(file)
    assert dict(dataset.sizes) == {"time": 0, "depth": 2}
    assert dataset.attrs["station"] == "2057"


def _swap(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_swap("-2in (pct) Mean of Hourly", "-2in (pct) Start of Day"), "unknown columns.*Start of Day"),
        (_swap("Soil Moisture Percent", "Soil Temperature Observed"), "unknown columns"),
        (_swap("Station Id", "Id"), r"no columns \['Station Id'\]"),
        (_swap(" Mean of Hourly Values", ""), r"unknown columns \['Soil Moisture Percent -2in \(pct\)'"),
        (
            lambda p: p.write_text("Provisional Data\nSite Id,Date,Time,SMS.I-1:-2 (pct)  (loam),\n1,2016-10-01,,9,\n"),
            "the older text export",
        ),
        (_swap("Air Temperature Average (degC)", "Precipitation Increment (in)"), "two columns of precipitation"),
        (_swap("30.1,,13.9", "30.1,13.9"), "line 3: found 11 fields; the header has 12"),
        (_swap("30.1,,13.9", "30.1,,,13.9"), "line 3: found 13 fields"),
        (_swap("30.1,,", "n/a,,"), "line 3: 'Soil Moisture Percent -2in .* is 'n/a', not a number"),
        (_swap("30.7,", "inf,"), "line 4: .* is 'inf', not a number"),
        (_swap("2018-12-31", "31.12.2018"), "line 3: found day '31.12.2018'"),
        (_swap("2019-01-01", "9999-06-20"), "line 4: found day '9999-06-20'.* to next year"),
        (_swap("2018-12-30", "1018-12-30"), "line 2: found day '1018-12-30'"),
        (_swap("2018-12-31", "12/31/2018"), "line 3: found day '12/31/2018'; days have to be YYYY-MM-DD"),
        (_swap("2018-12-31", "2018-12-30"), "line 3: found day '2018-12-30'"),
        (_swap("2019-01-01,2057", "2019-01-01,2058"), r"stations \['2057', '2058'\]"),
        (lambda p: p.write_text(""), "without a header"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "not plain text"),
        (Path.unlink, "not plain text"),
    ],
)
def test_damage_is_named_with_file_and_line(file: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(file)
    with pytest.raises(VadoseError, match=message) as error:
        read_scan(file)
    assert "2057.csv" in str(error.value)


def test_what_spreadsheets_make_of_an_export_reads_the_same(file: Path) -> None:
    expected, text = read_scan(file), file.read_text()
    for separator in (";", "\t"):
        for mark in (".", ","):
            rows = [",".join([HEADER.replace(",", separator)])]
            rows += [row.replace("AAMU, JTG", "AAMU JTG").replace('"', "").replace(",", separator) for row in ROWS]
            other = "\r\n".join([rows[0], *(row.replace(".", mark) for row in rows[1:])])
            for encoding in ("utf-8", "utf-16"):
                file.write_bytes(other.encode(encoding))
                assert is_scan(file)
                assert container_of(file) == "text"
                xr.testing.assert_equal(read_scan(file), expected)
    file.write_text(text.replace("30.1,,", "30.1,NaN,").replace("15.0,17.5", "15.0,17.5"))
    xr.testing.assert_equal(read_scan(file), expected)


def test_codes_of_a_missing_value_are_counted_and_odd_moisture_is_kept_for_screening(file: Path) -> None:
    file.write_text(file.read_text().replace("28.5,44.2", "-99.9,150").replace("48.2", "-9999"))
    dataset = read_scan(file)
    assert dataset.soil_moisture.values == pytest.approx(
        np.array([[np.nan, 1.5], [0.301, np.nan], [0.307, np.nan]]), nan_ok=True
    )
    assert dataset.attrs["missing_codes"] == 2


@pytest.mark.parametrize(("factor", "message"), [(0.01, r"0\.482 percent at most .* a fraction\?"), (100, "exceed")])
def test_moisture_that_is_no_percentage_is_refused(file: Path, factor: float, message: str) -> None:
    text = file.read_text()
    for value in ("28.5", "44.2", "30.1", "30.7", "48.2"):
        text = text.replace(value, f"{factor * float(value):g}")
    file.write_text(text)
    with pytest.raises(VadoseError, match=message):
        read_scan(file)


@pytest.mark.parametrize("second", [MOISTURE.format(2), MOISTURE.format(2).replace("in (", "in Sensor 2 (")])
def test_of_two_sensors_at_a_depth_the_fuller_is_taken_and_the_other_named(file: Path, second: str) -> None:
    text = file.read_text().replace(MOISTURE.format(40), second)
    file.write_text(text)
    dataset = read_scan(file)
    assert dataset.soil_moisture.sel(depth=5.08).values == pytest.approx([0.285, 0.301, 0.307])
    assert dataset.attrs["left_out"] == f"{second} (column 8)"
    file.write_text(text.replace(",28.5,", ",,").replace(",30.1,,", ",,,"))
    assert read_scan(file).soil_moisture.sel(depth=5.08).values == pytest.approx([0.442, np.nan, 0.482], nan_ok=True)


def test_a_sensor_at_no_depth_is_at_0_cm(file: Path) -> None:
    file.write_text(file.read_text().replace("-2in", "-0in"))
    assert read_scan(file).depth.values.tolist() == [0.0, 101.6]


def test_missing_columns_are_named(file: Path) -> None:
    file.write_text("Date,Station Id,Station Name,Precipitation Increment (mm)\n2018-12-31,2057,A,1\n")
    with pytest.raises(VadoseError, match="no column 'Soil Moisture Percent"):
        read_scan(file)
    file.write_text(f"Date,{MOISTURE.format(2)}\n2018-12-31,20\n")
    with pytest.raises(VadoseError, match=r"no columns \['Station Id', 'Station Name'\]"):
        read_scan(file)


def test_places_come_from_either_table_and_the_exact_one_first(tmp_path: Path) -> None:
    listed = tmp_path / "scan_stations.csv"
    listed.write_bytes(
        "\ufeffName;Start;Lat;Long;Elv;county\r\nStarkville (2064);1995-May;33.63;-88.77;340;Oktibbeha\r\n"
        "Aniak (2065);2002-July;61.58;-159.58;80;Bethel\r\n".encode()
    )
    places = read_scan_stations(tmp_path)
    assert places.loc["2064"].tolist() == pytest.approx([33.63, -88.77, 340 * 0.3048])
    (tmp_path / "station-metadata.csv").write_text(
        '"Site","Network","Latitude","Longitude","Elevation_ft"\n"2064","SCAN",33.47094,-88.78051,270\n'
        '"2065","SNTL",1,1,1\n'
    )
    places = read_scan_stations(tmp_path)
    assert places.loc["2064"].tolist() == pytest.approx([33.47094, -88.78051, 270 * 0.3048])
    assert places.loc["2065", "lat"] == 61.58
    listed.write_text("Name;Start;Lat;Long;Elv;county\nA (1);;1159.6;33;80;B\n")
    with pytest.raises(VadoseError, match=r"scan_stations.csv: station 1: latitude 1159.6, longitude 33; expected"):
        read_scan_stations(tmp_path)
    listed.write_text("Name,Lat\n")
    with pytest.raises(VadoseError, match=r"scan_stations.csv: no columns \['Name'"):
        read_scan_stations(tmp_path)
    with pytest.raises(VadoseError, match="holds neither"):
        read_scan_stations(tmp_path / "nothing")


def test_a_real_file(real_data: Path) -> None:
    dataset = read_scan(real_data / "scan_daily/2057.csv")
    assert dataset.sizes["time"] == 3288
    day = dataset.sel(time="2018-12-31")
    assert day.soil_moisture.values == pytest.approx([0.301, 0.378, 0.405, 0.418, 0.437])
    assert day.soil_temperature.values == pytest.approx(np.array([13.9, 13.3, 11.8, 10.0, 10.6]) + 273.15)
    assert float(day.air_temperature_max) == pytest.approx(296.15)
    assert float(day.shortwave_radiation) == pytest.approx(19.976, abs=1e-3)
    assert read_scan(real_data / "scan_daily/2228.csv").sizes["time"] == 0


def test_the_real_tables_know_every_real_station(real_data: Path) -> None:
    places = read_scan_stations(real_data / "station_meta")
    assert {path.stem for path in (real_data / "scan_daily").glob("*.csv")} <= set(places.index)
    assert places.loc["2057"].tolist() == pytest.approx([34.78534, -86.55906, 243.84])


@pytest.mark.parametrize("network", ["SCAN", "SNOTEL"])
def test_an_export_of_one_station_names_it_in_its_comments(tmp_path: Path, network: str) -> None:
    file = tmp_path / "download.csv"
    file.write_text(
        f"# Reporting Frequency: Daily\n#\n# Data for the following site(s) are contained in this file:\n#\n"
        f"#    {network} 2057: AAMU-JTG, AL\n#\nDate,{MOISTURE.format(2)},Snow Depth (in) Start of Day Values\n"
        "2020-02-17,30.1,0\n"
    )
    assert is_scan(file)
    dataset = read_scan(file)
    assert dataset.soil_moisture.values == pytest.approx(np.array([[0.301]]))
    found = [dataset.attrs[key] for key in ("network", "station", "station_name", "left_out")]
    assert found == [network, "2057", "AAMU-JTG", "Snow Depth (in) Start of Day Values"]


def test_stations_without_their_ids_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "download.csv"
    file.write_text(f"# SCAN 1: A, AL\n# SCAN 2: B, AL\nDate,A {MOISTURE.format(2)}\n2020-02-17,30.1\n")
    with pytest.raises(VadoseError, match=r"holds stations \['1', '2'\]; export one"):
        read_scan(file)


def test_the_older_export_is_known_and_refused(tmp_path: Path) -> None:
    file = tmp_path / "2218_ALL.csv"
    file.write_text("Provisional Data\n\nSite Id,Date,Time,SMS.I-1:-2 (pct)  (loam),\n2218,2016-10-01,,9,\n")
    assert is_scan(file)
    with pytest.raises(VadoseError, match="the older text export"):
        read_scan(file)
