"""Own tables of stations: what is recognised, what has to be said, and what is refused."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml

import vadose as vd
from vadose.cli import main
from vadose.errors import VadoseError
from vadose.insitu.columns import Columns, columns_of
from vadose.insitu.tables import explain_table, stations_of_tables
from vadose.stationing import stations

DAYS = pd.date_range("2020-05-01", periods=40)
MOISTURE = 0.30 - 0.002 * np.arange(40) + 0.0003 * (np.arange(40) % 3)


def table(**columns: object) -> pd.DataFrame:
    """A station of its own place with moisture at 5 cm."""
    return pd.DataFrame({"date": DAYS.strftime("%Y-%m-%d"), "lat": 39.1, "lon": -96.6, "vwc_5cm": MOISTURE} | columns)


def read(frame: pd.DataFrame | Path, columns: Any = None, sites: Path | None = None) -> xr.Dataset:
    """The first station of a table."""
    return next(stations_of_tables([frame], columns and columns_of(columns, "mapping"), sites, {}))


@pytest.mark.parametrize(
    ("name", "values", "variable", "expected"),
    [
        ("SM_0.05m [m3/m3]", MOISTURE, "soil_moisture", MOISTURE[0]),
        ("Soil Moisture at 5cm", MOISTURE, "soil_moisture", MOISTURE[0]),
        ("VW05_Avg", MOISTURE, "soil_moisture", MOISTURE[0]),
        ("soil moisture 2in (%)", 100 * MOISTURE, "soil_moisture", MOISTURE[0]),
        ("swc 50 mm (cm3 cm-3)", MOISTURE, "soil_moisture", MOISTURE[0]),
        ("vwc_10cm_pct", 100 * MOISTURE, "soil_moisture", MOISTURE[0]),
        ("Soil Temperature 5cm (degF)", np.full(40, 59.0), "soil_temperature", 288.15),
        ("rain_in", np.full(40, 1.0), "precipitation", 25.4),
        ("tmax_c", np.full(40, 20.0), "air_temperature_max", 293.15),
        ("srad (MJ m-2)", np.full(40, 8.64), "shortwave_radiation", 100.0),
    ],
)
def test_names_and_units_are_recognised(name: str, values: Any, variable: str, expected: float) -> None:
    frame = table(**{name: values})
    if variable == "soil_moisture":
        frame = frame.drop(columns="vwc_5cm")
    assert float(read(frame)[variable].values.ravel()[0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("rain", np.ones(40), "no unit is said"),
        ("tavg", np.full(40, 20.0), "no unit is said"),
        ("battery", np.ones(40), "its name is not known"),
        ("sm_1", MOISTURE, "may be a depth or the number of a sensor"),
        ("sm_0_10cm", MOISTURE, "it is of a layer; write the depth"),
        ("sm_20cm (kg/kg)", MOISTURE, "'kg/kg' is none of m3 m-3"),
        ("sm_20cm", np.where(np.arange(40) % 9, MOISTURE, -1.0), "no unit is said, and -1 .."),
        ("vwc_5cm_flag", np.ones(40), "flags are not read"),
        ("sm_10cm (mm)", 100 * MOISTURE, "needs the thickness"),
        ("rain (furlong)", np.ones(40), "'furlong' is none of kg m-2"),
        ("vwc_20cm", 100 * MOISTURE, "no unit is said, and 22"),
    ],
)
def test_what_is_not_clear_is_left_out_and_named(name: str, values: Any, why: str) -> None:
    left_out: dict[str, str] = {}
    found = next(stations_of_tables([table(**{name: values})], None, None, left_out))
    assert set(found.data_vars) == {"soil_moisture"}
    assert why in left_out[f"the table column {name}"]


def test_humidity_is_the_mean_of_its_ends_and_one_end_alone_is_named() -> None:
    high, low = np.full(40, 90.0), np.full(40, 40.0)
    both = read(table(rmax=high, RH_min=low))
    assert set(both.data_vars) == {"soil_moisture", "relative_humidity"}
    np.testing.assert_allclose(both.relative_humidity, 65.0)
    np.testing.assert_allclose(read(table(rmax=high, rmin=low, rh=high)).relative_humidity, 90.0)
    left_out: dict[str, str] = {}
    assert "relative_humidity" not in next(stations_of_tables([table(rmax=high)], None, None, left_out))
    assert "without the other end" in left_out["the table column rmax"]


def test_a_table_without_moisture_for_certain_is_refused_with_the_way_on() -> None:
    frame = table().rename(columns={"vwc_5cm": "probe A"})
    with pytest.raises(VadoseError, match=r"no column is soil moisture for certain.*--explain"):
        read(frame)
    said = {"time": "date", "latitude": "lat", "longitude": "lon"}
    said["columns"] = {"probe A": {"variable": "soil_moisture", "unit": "m3 m-3", "depth": 5}}  # type: ignore[assignment]
    np.testing.assert_allclose(read(frame, said).soil_moisture.values[:, 0], MOISTURE)


def test_rows_of_depths_and_rows_of_values_are_the_same_as_columns() -> None:
    wide = table(vwc_20cm=MOISTURE + 0.05)
    by_depth = pd.concat(
        [
            table(depth_cm=depth, vwc_5cm=values).rename(columns={"vwc_5cm": "soil_moisture"})
            for depth, values in ((5, MOISTURE), (20, MOISTURE + 0.05))
        ]
    )
    by_value = wide.melt(["date", "lat", "lon"])
    for frame in (by_depth, by_value):
        xr.testing.assert_allclose(read(frame.reset_index(drop=True)), read(wide))


def test_a_column_a_station_is_read_with_what_all_of_them_are(tmp_path: Path) -> None:
    wide = pd.DataFrame({"date": DAYS, "A1": 100 * MOISTURE, "B2": 100 * MOISTURE + 5})
    wide.to_csv(tmp_path / "wide.csv", index=False)
    assert "# by_station: {variable: soil_moisture, unit: m3 m-3, depth: 5}" in explain_table(tmp_path / "wide.csv")
    said = {"time": "date", "by_station": {"variable": "soil_moisture", "unit": "percent", "depth": 10}}
    sites = {name: {"latitude": 39.0 + k, "longitude": -96.0} for k, name in enumerate(("A1", "B2"))}
    both = list(stations_of_tables([tmp_path / "wide.csv"], columns_of(said | {"sites": sites}, "mapping"), None, {}))
    assert [one.attrs["station"] for one in both] == ["A1", "B2"]
    np.testing.assert_allclose(both[1].soil_moisture.values[:, 0], MOISTURE + 0.05)


def test_a_sensor_on_the_bound_of_two_layers_stands_for_none(tmp_path: Path) -> None:
    made = stations(table(vwc_20cm=MOISTURE, vwc_40cm=MOISTURE), out=tmp_path / "own.zarr")
    assert np.isfinite(made.soil_moisture.values).any(axis=(0, 2)).tolist() == [True, True, False]
    assert "depth 40 cm" in made.attrs["left_out"]
    made = stations(table(vwc_45cm=MOISTURE), out=tmp_path / "below.zarr")
    assert np.isfinite(made.soil_moisture.sel(layer="40-100 cm")).any()


def test_readings_become_days_of_the_zone_that_is_wanted() -> None:
    times = pd.date_range("2020-05-01", periods=24 * 10, freq="h")
    frame = pd.DataFrame({"time": times, "lat": 39.1, "lon": -96.6, "vwc_5cm": 0.2, "rain (mm)": 0.5})
    frame.loc[frame.time.dt.day == 3, "vwc_5cm"] = np.r_[np.full(13, np.nan), np.full(11, 0.3)]
    frame.loc[30, "rain (mm)"] = np.nan
    frame.loc[24 * 4 : 24 * 4 + 4, "vwc_5cm"] = 0.4
    found = read(frame)
    assert found.soil_moisture.values[:, 0].tolist()[:3] == pytest.approx([0.2, 0.2, np.nan], nan_ok=True)
    assert found.precipitation.values[:2].tolist() == pytest.approx([12.0, np.nan], nan_ok=True)
    said = {"time": "time", "latitude": "lat", "longitude": "lon", "time_zone": "UTC", "days_of": "Etc/GMT+5"}
    said["columns"] = {"vwc_5cm": {"variable": "soil_moisture", "unit": "m3 m-3", "depth": 5}}  # type: ignore[assignment]
    local = read(frame, said)
    # The first five hours of 5 May UTC are of 4 May five hours to the west.
    assert float(local.soil_moisture.sel(time="2020-05-04")[0]) == pytest.approx(0.2 + 5 * 0.2 / 24)
    assert local.attrs["day_boundary"] == "midnight to midnight, Etc/GMT+5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"date": ["1/2/2020"] * 40}, "'1/2/2020', which is two days; expected days such as 2020-06-25"),
        ({"date": ["9999-06-20", *DAYS.strftime("%Y-%m-%d")[1:]]}, "found '9999-06-20'; expected a day from 1900"),
        ({"date": ["2020-05-01"] * 40}, "2020-05-01 00:00:00 comes twice for soil_moisture"),
        ({"vwc_5cm": ["0.2"] * 39 + ["wet"]}, "row 41: found 'wet', expected a number"),
        ({"vwc_5cm (%)": MOISTURE}, "at most 0.29247 %; expected percent of volume"),
        ({"depth": 0.05}, "the unit of the depths in column 'depth' is not clear"),
        ({"date": 43952}, "expected days such as 2020-06-25, or the 'time_format' in --mapping"),
        ({"lat": 139.1}, "latitude 139.1"),
        ({"lat": np.linspace(39, 40, 40)}, "station lies at several places"),
    ],
)
def test_wrong_tables_are_refused_in_a_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(VadoseError) as error:
        read(table(**change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_code_of_missing_values_may_be_a_longitude() -> None:
    assert read(table(lon=-99.0)).lon == -99.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colums": {}}, "key 'colums'"),
        ({"columns": {"vwc_5cm": {"variable": "moist", "unit": "1"}}}, "is said to be 'moist'; expected one of"),
        ({"columns": {"vwc_5cm": {"variable": "soil_moisture", "unit": "K"}}}, "is in 'K'; expected m3 m-3, or mm"),
        (
            {"columns": {"vwc_5cm": {"variable": "precipitation", "unit": "mm"}}},
            "no column is said to be soil_moisture",
        ),
        ({"columns": {"vwc": {"variable": "soil_moisture", "unit": "1", "depth": 5}}}, "no column 'vwc'; found"),
        ({"columns": {"vwc_5cm": {"variable": "soil_moisture", "unit": "1"}}}, "without a depth"),
        ({"latitude": None}, "where station 'station' lies is not said"),
        ({"time_zone": "Mars"}, "time_zone 'Mars' is not known"),
        ({"days_of": "UTC"}, "times of an unknown zone"),
    ],
)
def test_wrong_mappings_are_refused_in_a_line(change: dict[str, object], message: str) -> None:
    good = {"vwc_5cm": {"variable": "soil_moisture", "unit": "m3 m-3", "depth": 5}}
    with pytest.raises(VadoseError) as error:
        read(table(), {"time": "date", "latitude": "lat", "longitude": "lon", "columns": good} | change)
    assert message in str(error.value)


def test_moisture_in_millimetres_of_a_layer_is_a_fraction() -> None:
    column = {"variable": "soil_moisture", "unit": "mm", "depth": 5, "thickness": 10}
    said = {"time": "date", "latitude": "lat", "longitude": "lon", "columns": {"vwc_5cm": column}}
    found = read(table(vwc_5cm=100 * MOISTURE), said)
    np.testing.assert_allclose(found.soil_moisture.values[:, 0], MOISTURE)


def test_of_two_sensors_at_a_depth_that_with_most_values_is_taken() -> None:
    left_out: dict[str, str] = {}
    frame = table(vwc_5cm=np.where(np.arange(40) < 5, -9999, MOISTURE)).assign(sm_5cm=MOISTURE + 0.1)
    found = next(stations_of_tables([frame], None, None, left_out))
    np.testing.assert_allclose(found.soil_moisture.values[:, 0], MOISTURE + 0.1)
    assert found.attrs["missing_codes"] == 5


def text_of(frame: pd.DataFrame, form: str, path: Path) -> Path:
    """A table written as spreadsheets and loggers do."""
    text = frame.to_csv(
        index=False, sep=";" if form == "semicolons" else ",", decimal="," if form == "semicolons" else "."
    )
    if form == "units row":
        header, _, values = text.partition("\n")
        text = f"{header}\n,degree,degree,%\n{values}"
    if form == "comments":
        text = "# logger 7\n#\n" + text
    if form == "US days":
        text = frame.assign(date=DAYS.strftime("%m/%d/%Y")).to_csv(index=False)
    path.write_bytes(text.encode("utf-16" if form == "utf-16" else "utf-8"))
    return path


@pytest.mark.parametrize("form", ["plain", "semicolons", "utf-16", "units row", "comments", "US days"])
def test_tables_of_spreadsheets_and_loggers_are_read(form: str, tmp_path: Path) -> None:
    frame = table(vwc_5cm=100 * MOISTURE) if form == "units row" else table()
    found = read(text_of(frame, form, tmp_path / "A7.csv"))
    np.testing.assert_allclose(found.soil_moisture.values[:, 0], MOISTURE, rtol=1e-6)
    assert found.time.values[0] == np.datetime64("2020-05-01")
    assert found.attrs["station"] == "A7"


def test_netcdf_and_frames_say_their_units_themselves(tmp_path: Path) -> None:
    moist = xr.DataArray(100 * np.stack([MOISTURE, MOISTURE + 0.1]), {"station": ["a", "b"], "time": DAYS}, name="sm")
    data = moist.assign_attrs(units="percent").to_dataset().assign_coords(depth=5.0)
    data["lat"], data["lon"] = ("station", [39.0, 40.0]), ("station", [-96.0, -97.0])
    data.to_netcdf(tmp_path / "mine.nc")
    both = list(stations_of_tables([tmp_path / "mine.nc"], None, None, {}))
    assert [one.attrs["station"] for one in both] == ["a", "b"]
    np.testing.assert_allclose(both[1].soil_moisture.values[:, 0], MOISTURE + 0.1)


def test_the_command_explains_and_builds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(arguments: list[str]) -> object:
        monkeypatch.setattr(sys, "argv", ["vadose", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    mine = text_of(table(rain=1.0).drop(columns=["lat", "lon"]), "plain", tmp_path / "mine.csv")
    assert ended(["stations", "--explain", str(mine)]) == 0
    said = capsys.readouterr().out
    assert "# rain: {variable: precipitation, unit: }  # no unit is said" in said
    said = said.replace("{latitude: , longitude: , elevation: }", "{latitude: 39.1, longitude: -96.6, name: Mine}")
    (tmp_path / "mine.yaml").write_text(said)
    assert isinstance(columns_of(yaml.safe_load(said), "mine"), Columns)
    out = tmp_path / "stations.zarr"
    command = ["stations", "--table", str(mine), "--out", str(out)]
    assert ended(command) == 2
    assert "where station 'mine' lies is not said" in capsys.readouterr().err
    assert ended([*command, "--mapping", str(tmp_path / "mine.yaml")]) == 0
    (tmp_path / "sites.csv").write_text("Station,Lat,Lon\nmine,39.1,-96.6\n")
    assert ended([*command[:3], "--metadata", str(tmp_path / "sites.csv"), "--out", str(tmp_path / "other.zarr")]) == 0
    assert "column rain: no unit is said" in capsys.readouterr().out
    one, other = (xr.open_zarr(path, consolidated=False) for path in (out, tmp_path / "other.zarr"))
    assert one.station_name.values.tolist() == ["Mine"]
    np.testing.assert_allclose(one.soil_moisture.sel(layer="0-10 cm")[0], MOISTURE, rtol=1e-6)
    np.testing.assert_array_equal(one.soil_moisture, other.soil_moisture)


def test_the_public_name_stays_when_the_stage_is_imported(tmp_path: Path) -> None:
    for _ in range(2):
        assert vd.stations(table(), out=tmp_path / "mine.zarr").sizes["station"] == 1


def test_a_frame_is_known_again(tmp_path: Path) -> None:
    out = tmp_path / "mine.zarr"
    made = stations(table(), out=out).attrs["created"]
    assert stations(table(), out=out).attrs["created"] == made
    assert float(stations(table(vwc_5cm=MOISTURE + 0.1), out=out).soil_moisture[0, 0, 0]) == pytest.approx(
        0.4, abs=1e-3
    )


def test_a_table_that_explains_itself_wrongly_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("date,vwc_5cm\n")
    with pytest.raises(VadoseError, match="found 1 lines"):
        explain_table(tmp_path / "empty.csv")
    with pytest.raises(VadoseError, match="no such file"):
        explain_table(tmp_path / "nowhere.csv")
    with pytest.raises(VadoseError, match="no column of the day"):
        read(table().drop(columns="date"))


def written(frame: pd.DataFrame, path: Path, above: str = "", **how: Any) -> Path:
    path.write_text(above + frame.to_csv(index=False, **how))
    return path


@pytest.mark.parametrize(
    ("above", "change"),
    [
        ("", lambda rows: rows),
        ('"TOA5","Site","CR1000"\n', lambda rows: [rows[0], "TS,,,m^3/m^3", ",,,Avg", *rows[1:]]),
        ("Station: one\n\n", lambda rows: [f"{row}," for row in rows]),
        ("", lambda rows: [row.replace(",", " ") for row in rows]),
        ("", lambda rows: [f"{rows[0]},,", *(f"{row},," for row in rows[1:])]),
    ],
)
def test_text_of_loggers_and_workbooks_is_the_same_table(tmp_path: Path, above: str, change: Any) -> None:
    rows = change(table().to_csv(index=False).strip().split("\n"))
    (tmp_path / "mine.csv").write_text(above + "\n".join(rows) + "\n")
    np.testing.assert_allclose(read(tmp_path / "mine.csv").soil_moisture.values[:, 0], MOISTURE)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ({"year": DAYS.year, "doy": DAYS.day_of_year}, {}),
        ({"Year": DAYS.year, "Month": DAYS.month, "Day": DAYS.day}, {}),
        ({"Datum": DAYS.strftime("%d.%m.%Y")}, {}),
        ({"date": (DAYS - pd.Timestamp("1899-12-30")).days}, {"time": "date", "time_format": "excel"}),
        ({"date": (DAYS - pd.Timestamp(0)).days * 86400}, {"time": "date", "time_format": "unix"}),
    ],
)
def test_days_are_told_in_many_ways(tmp_path: Path, days: Any, said: dict[str, Any]) -> None:
    frame = pd.DataFrame(days).join(table().drop(columns="date"))
    more = {"latitude": "lat", "longitude": "lon", "columns": {}}
    more["columns"] = {"vwc_5cm": {"variable": "soil_moisture", "unit": "m3 m-3", "depth": 5}}
    found = read(written(frame, tmp_path / "mine.csv"), said and said | more)
    assert found.indexes["time"].equals(DAYS)


def test_hours_of_local_clocks_are_told_apart_and_codes_are_not_averaged(tmp_path: Path) -> None:
    hours = pd.date_range("2020-10-31 05:00", periods=24 * 3 + 1, freq="h", tz="UTC")
    local = hours.tz_convert("America/Chicago")
    frame = pd.DataFrame({"time": local.strftime("%Y-%m-%d %H:%M"), "lat": 39.1, "lon": -96.6, "vwc_5cm (%)": 20.0})
    frame.loc[3, "vwc_5cm (%)"] = -888.0
    with pytest.raises(VadoseError, match=r"comes twice for soil_moisture.*'time_zone' where clocks were put back"):
        read(written(frame, tmp_path / "mine.csv"))
    said: dict[str, Any] = {"time": "time", "latitude": "lat", "longitude": "lon", "time_zone": "America/Chicago"}
    said["columns"] = {"vwc_5cm (%)": {"variable": "soil_moisture", "unit": "percent", "depth": 5}}
    found = read(tmp_path / "mine.csv", said)
    np.testing.assert_allclose(found.soil_moisture.values[:, 0], 0.2)
    assert (found.sizes["time"], found.attrs["missing_codes"]) == (3, 1)
    frame["time"] = [time.isoformat() for time in local]
    with pytest.raises(VadoseError, match="offsets -05:00, -06:00; write whose days are wanted"):
        read(written(frame, tmp_path / "mine.csv"))
    del said["time_zone"]
    assert read(tmp_path / "mine.csv", said | {"days_of": "UTC"}).attrs["day_boundary"] == "midnight to midnight, UTC"


@pytest.mark.parametrize(
    ("name", "message"), [("a.stm", "an ISMN file; give .* --ismn"), ("a.xlsx", "save the sheet as")]
)
def test_files_of_other_kinds_are_refused_with_the_way_on(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(VadoseError, match=message):
        read(tmp_path / name)


def test_a_file_without_a_known_day_is_explained_all_the_same(tmp_path: Path) -> None:
    frame = table().rename(columns={"date": "when"})
    with pytest.raises(VadoseError, match=r"no column of the day; found .'when'.*--explain"):
        read(written(frame, tmp_path / "mine.csv"))
    assert "time: ''  # write the column" in explain_table(tmp_path / "mine.csv")


def test_the_walk_of_the_docs_from_a_station_to_a_score_runs(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "bring_your_own.md").read_text()
    section = re.search(r"\n## A station, and a run trained elsewhere\n(.+?)\n## ", page, re.DOTALL)
    assert section is not None
    for text in re.findall(r"```yaml\n(.+?)```", section[1], re.DOTALL):
        (tmp_path / text.split()[1]).write_text(text.replace("iterations: 60", "iterations: 4").replace("20000", "800"))
    (tmp_path / "uscrn" / "2018").mkdir(parents=True)
    for name in ("OK_Stillwater_2_W", "NE_Lincoln_8_ENE"):
        file = f"2018/CRND0103-2018-{name}.txt"
        shutil.copy(real_data / "uscrn_daily01" / file, tmp_path / "uscrn" / file)
    shutil.copy(real_data / "own" / "kings_creek_2022_2023_daily.csv", tmp_path / "kings_creek.csv")
    monkeypatch.chdir(tmp_path)
    said = yaml.safe_load(Path("elsewhere.yaml").read_text()) | {
        "split": {
            "training": {"first": "2018-01-01", "last": "2018-06-30"},
            "validation": {"first": "2018-07-01", "last": "2018-09-30"},
            "test": {"first": "2018-10-01", "last": "2018-12-31"},
        }
    }
    for run in said["runs"].values():
        run["leads"] = [1, 7]
    Path("elsewhere.yaml").write_text(yaml.safe_dump(said))
    commands = re.findall(r"^\$ vadose (.+)$", section[1], re.MULTILINE)
    assert len(commands) == 8
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["vadose", *command.replace("2022-03-01", "2023-09-10").split()])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, capsys.readouterr().err
    scores = pd.read_csv("kings_scores/scores.csv")
    rmse = scores[(scores.metric == "rmse") & (scores.lead_days == 1)].set_index("model")["median"]
    daily = pd.read_csv("kings_creek.csv", index_col=0, parse_dates=True)["vwc_5cm"]
    by_hand = (daily.shift(1) - daily)["2023-09-11":"2023-12-01"]
    assert rmse["persistence"] == pytest.approx(float(np.sqrt((by_hand**2).mean())), abs=2e-3)
    assert 0 < rmse["trees"] < 0.2
