"""The station store: screening of made-up series, stores of small folders, and the real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.insitu.screening import BIT, FLAGS, HINDSIGHT, LEFT_OUT, LEFT_OUT_CAUSAL, screen
from vadose.insitu.store import LAYER_DEPTHS, build_stations

MISSING_SOIL = "-99.000 -99.000 -99.000 -99.000 -99.000"


def station(days: int = 60, **change: object) -> xr.Dataset:
    """A sound dry-down at two depths, warm and without rain."""
    fall = 0.30 - 0.001 * np.arange(days)
    dataset = xr.Dataset(
        {
            "soil_moisture": (("time", "depth"), np.stack([fall, fall + 0.05], axis=1)),
            "soil_temperature": (("time", "depth"), np.full((days, 2), 290.0)),
            "precipitation": ("time", np.zeros(days)),
        },
        coords={"time": pd.date_range("2020-05-01", periods=days), "depth": [5, 20]},
    )
    return dataset.assign(change)


def flagged(dataset: xr.Dataset, depth: int = 5) -> dict[int, list[str]]:
    """Days -> names of their flags."""
    values = screen(dataset).sel(depth=depth).values
    return {k: [name for name in FLAGS if values[k] & BIT[name]] for k in np.flatnonzero(values).tolist()}


def test_a_sound_series_has_no_flag() -> None:
    flags = screen(station())
    assert flags.dtype == np.int32
    assert not flags.any()
    assert flags.attrs["flag_masks"] == [1 << i for i in range(len(FLAGS))]
    assert flags.attrs["flag_meanings"].split() == list(FLAGS)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (-0.01, ["range_low"]),
        (0.0, ["zero"]),
        (0.601, ["range_high"]),
        (0.60, []),
        (448.17, ["range_high"]),
        (np.nan, []),
    ],
)
def test_single_values(value: float, names: list[str]) -> None:
    dataset = station()
    dataset.soil_moisture[30, 0] = value
    found = flagged(dataset)
    assert [name for name in found.get(30, []) if name not in ("spike", "break")] == names
    assert set(found) <= {30}
    assert not screen(dataset).sel(depth=20).any()


def test_saturation_marks_but_does_not_leave_out() -> None:
    dataset = station(saturation=("depth", np.array([0.295, np.nan])))
    found = flagged(dataset)
    assert found == {k: ["above_saturation"] for k in range(5)}
    assert not flagged(dataset, depth=20)
    assert [name for name in FLAGS if not BIT[name] & LEFT_OUT] == ["above_saturation"]


def test_frozen_is_at_zero_degrees_and_below() -> None:
    dataset = station()
    dataset.soil_temperature[10:13, 0] = np.array([273.15, 273.25, 270.0])
    assert flagged(dataset) == {10: ["frozen"], 12: ["frozen"]}
    dataset.soil_moisture[10, 0] = np.nan
    assert flagged(dataset) == {12: ["frozen"]}


def _spike(size: float) -> xr.Dataset:
    dataset = station()
    dataset.soil_moisture[30, 0] += size
    return dataset


@pytest.mark.parametrize(
    ("size", "names"), [(0.06, ["spike"]), (-0.06, ["spike"]), (0.2, ["spike", "break"]), (-0.2, ["spike", "break"])]
)
def test_a_day_apart_without_water_is_a_spike(size: float, names: list[str]) -> None:
    """On the day itself a large one is a break, which needs no day after; the way back is neither."""
    assert flagged(_spike(size)) == {30: names}


def _rain(day: int, amount: float) -> Callable[[xr.Dataset], None]:
    def fall(dataset: xr.Dataset) -> None:
        dataset.precipitation[day] = amount

    return fall


def _below(dataset: xr.Dataset) -> None:
    dataset.soil_moisture[30:, 1] += 0.03


def _cold(dataset: xr.Dataset) -> None:
    dataset.soil_temperature[29:31, 0] = 273.9


def _gauge_fails_and_no_other_sensor(dataset: xr.Dataset) -> None:
    dataset.precipitation[:] = np.nan
    dataset.soil_moisture[:, 1] = np.nan


def _frost_the_day_after(dataset: xr.Dataset) -> None:
    dataset.soil_temperature[31, 0] = 273.9


@pytest.mark.parametrize("explain", [_rain(29, 2.0), _rain(30, 2.0), _below, _cold, _gauge_fails_and_no_other_sensor])
def test_what_may_be_water_is_neither_spike_nor_break(explain: Callable[[xr.Dataset], None]) -> None:
    for dataset in (_spike(0.06), _jump(0.15)):
        explain(dataset)
        assert flagged(dataset) == {}


@pytest.mark.parametrize("explain", [_rain(31, 2.0), _frost_the_day_after])
def test_water_of_the_day_after_explains_a_spike_but_no_break(explain: Callable[[xr.Dataset], None]) -> None:
    for dataset, names in ((_spike(0.06), {}), (_jump(0.15), {30: ["break"]})):
        explain(dataset)
        assert flagged(dataset) == names


def test_another_sensor_stands_in_for_the_gauge_and_drizzle_is_no_rain() -> None:
    dataset = _spike(0.06)
    dataset.precipitation[:] = np.nan
    assert flagged(dataset) == {30: ["spike"]}
    dataset = _spike(0.06)
    _rain(30, 0.5)(dataset)
    assert flagged(dataset) == {30: ["spike"]}


def test_small_or_lasting_departures_are_no_spikes() -> None:
    assert flagged(_spike(0.04)) == {}
    dataset = _spike(0.095)
    dataset.soil_moisture[31, 0] += 0.04
    assert flagged(dataset) == {}


def _jump(size: float) -> xr.Dataset:
    dataset = station()
    dataset.soil_moisture[30:, 0] += size
    return dataset


def test_jumps_that_stay_are_breaks() -> None:
    assert flagged(_jump(0.15)) == {30: ["break"]}
    assert flagged(_jump(-0.15)) == {30: ["break"]}
    assert flagged(_jump(0.08)) == {}
    assert flagged(_jump(-0.08)) == {}


def test_a_fall_to_zero_is_a_break_from_a_low_level_too() -> None:
    dataset = station()
    dataset.soil_moisture[:, 0] -= 0.23
    dataset.soil_moisture[5:8, 0] = 0
    assert flagged(dataset) == {5: ["zero", "break"], 6: ["zero"], 7: ["zero"]}


def test_a_fall_from_an_unsteady_level_or_of_all_sensors_is_drainage() -> None:
    dataset = _jump(-0.15)
    dataset.soil_moisture[27, 0] += 0.04
    assert flagged(dataset) == {}
    dataset = _jump(-0.15)
    dataset.soil_moisture[30:, 1] -= 0.05
    assert flagged(dataset) == {}


@pytest.mark.parametrize(("depth", "days"), [(5, 16), (20, 32)])
def test_one_value_for_too_long_is_constant(depth: int, days: int) -> None:
    for length in (days - 1, days):
        dataset = station(days=200)
        column = {5: 0, 20: 1}[depth]
        dataset.soil_moisture[10 : 10 + length, column] = dataset.soil_moisture[10, column].item()
        found = flagged(dataset, depth)
        assert [k for k, names in found.items() if "constant" in names] == ([9 + days] if length == days else [])
        assert [k for k, names in found.items() if "stuck_later" in names] == (
            list(range(10, 9 + days)) if length == days else []
        )


def test_one_value_through_rain_is_constant_on_warm_soil_near_the_surface() -> None:
    dataset = station(days=100)
    dataset.soil_moisture[10:18] = dataset.soil_moisture[10].values
    assert flagged(dataset) == {}
    _rain(14, 25.0)(dataset)
    assert flagged(dataset) == {k: ["stuck_later" if k < 16 else "constant"] for k in range(10, 18)}
    assert flagged(dataset, depth=20) == {}
    dataset.soil_temperature[12, 0] = 275.0
    assert flagged(dataset) == {}


def _plateau(before: float) -> xr.Dataset:
    dataset = station(days=100)
    dataset.soil_moisture[20:30, 0] = 0.45 + 0.0002 * np.arange(10)
    dataset.soil_moisture[30:33, 0] = np.array([0.39, 0.34, 0.30])
    dataset.soil_moisture[19, 0] = before
    dataset.precipitation[18:21] = 50.0
    return dataset


def test_a_sudden_steady_top_is_a_plateau() -> None:
    plateau = {k: ["stuck_later" if k < 26 else "plateau"] for k in range(20, 30)}
    assert flagged(_plateau(before=0.28)) == plateau
    for day, expected in ((10, {}), (60, plateau)):
        dataset = _plateau(before=0.28)
        dataset.soil_moisture[day, 0] = 0.55
        dataset.precipitation[day] = 50.0
        assert flagged(dataset) == expected  # far below the highest value of before; a later one is not known yet
    dataset = _plateau(before=0.28)
    dataset.soil_moisture[10, 0], dataset.precipitation[10] = 0.55, 50.0
    dataset.soil_temperature[10, 0] = 270.0
    assert flagged(dataset) == plateau | {10: ["frozen"]}


def test_a_top_reached_step_by_step_is_none() -> None:
    dataset = _plateau(before=0.44)
    dataset.soil_moisture[10:20, 0] = 0.43
    dataset.soil_moisture[10:20, 0] += 0.001 * np.arange(10)
    dataset.precipitation[9:12] = 50.0
    assert flagged(dataset) == {}


def test_a_sensor_mostly_wrong_is_unreliable_from_then_on_until_a_better_year() -> None:
    dataset = station(days=600, precipitation=("time", np.full(600, 5.0)))
    dataset.soil_moisture[:] = 0.30 - 0.0001 * np.arange(600)[:, None]
    dataset.soil_moisture[200:292, 0] = 0.0
    found = flagged(dataset)
    # 67 zeros of 267 days are more than a quarter, and so long as more than 91 lie in the last 365 days.
    assert [k for k, names in found.items() if "unreliable" in names] == list(range(266, 565))
    assert set(found) == set(range(200, 565))
    assert flagged(dataset, depth=20) == {}


def test_few_days_judge_no_sensor() -> None:
    dataset = station(days=100, precipitation=("time", np.full(100, 5.0)))
    dataset.soil_moisture[0:50, 0] = 0.65
    assert set(flagged(dataset)) == {*range(51), *range(89, 100)}  # the way back is a break


def _troubled(seed: int) -> xr.Dataset:
    """A year and more of a station with everything that flags are for."""
    rng = np.random.default_rng(seed)
    days, depths = 460, [5, 20]
    moisture = 0.25 + np.cumsum(rng.normal(0, 0.004, (days, 2)), axis=0).clip(-0.15, 0.2)
    for day in rng.integers(0, days - 60, 12):
        column = rng.integers(2)
        moisture[day : day + rng.integers(2, 60), column] = rng.choice([0.0, 0.3, 0.45, 0.65])
    where = rng.integers(0, days, 60)
    moisture[where, rng.integers(0, 2, 60)] += rng.choice([-0.2, -0.07, 0.07, 0.2], 60)
    moisture[rng.random(moisture.shape) < 0.03] = np.nan
    rain = np.where(rng.random(days) < 0.3, rng.gamma(1, 8, days), 0.0)
    rain[rng.random(days) < 0.05] = np.nan
    return xr.Dataset(
        {
            "soil_moisture": (("time", "depth"), moisture),
            "soil_temperature": (("time", "depth"), 280 + 8 * np.sin(np.arange(days) / 58)[:, None] + [0, 1]),
            "precipitation": ("time", rain),
            "saturation": ("depth", [0.42, np.nan]),
            "unflagged": (("time", "depth"), rng.random((days, 2)) < 0.1),
        },
        coords={"time": pd.date_range("2019-01-01", periods=days), "depth": depths},
    )


def test_causal_flags_of_a_day_are_those_of_the_record_cut_on_it() -> None:
    """The flags with hindsight, and these alone, may differ; each flag is seen."""
    seen, changed = 0, 0
    for seed in range(3):
        dataset = _troubled(seed)
        whole = screen(dataset).values
        a_spike = int(np.flatnonzero(whole & BIT["spike"])[0]) // 2
        for end in (1, 20, 95, 131, 202, 287, 340, 414, a_spike + 1):
            cut = screen(dataset.isel(time=slice(end))).values
            different = cut ^ whole[:end]
            assert not (different & (LEFT_OUT_CAUSAL | BIT["above_saturation"])).any()
            changed |= int(np.bitwise_or.reduce(different, axis=None))
        seen |= int(np.bitwise_or.reduce(whole, axis=None))
    assert seen == sum(BIT.values())
    assert changed == sum(BIT[name] for name in HINDSIGHT)
    assert LEFT_OUT_CAUSAL | changed == LEFT_OUT


def test_gaps_in_the_days_are_refused() -> None:
    with pytest.raises(VadoseError, match="days are missing"):
        screen(station().isel(time=[0, 1, 3]))


def uscrn_line(day: pd.Timestamp, moisture: str, temperature: str = "15.0") -> str:
    return (
        f"63869 {day:%Y%m%d} 2.622 -87.88 30.55 24.2 17.1 20.6 20.3 0.0 6.00 C 27.8 17.1 20.7 95.7 "
        f"80.2 92.8 {moisture} " + " ".join([temperature] * 5) + "\n"
    )


def moisture_of(number: int) -> str:
    return " ".join(f"{0.3 - 0.001 * number + 0.02 * k:.3f}" for k in range(5))


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two USCRN years, three SCAN stations of which one is known and full, and the tables."""
    uscrn, scan, metadata = tmp_path / "uscrn", tmp_path / "scan", tmp_path / "metadata"
    for year, begin in ((2019, "2019-12-20"), (2020, "2020-01-03")):
        folder = uscrn / str(year)
        folder.mkdir(parents=True)
        days = pd.date_range(begin, periods=12)
        lines = [uscrn_line(day, moisture_of(k), "-1.0" if k == 2 else "15.0") for k, day in enumerate(days)]
        (folder / f"CRND0103-{year}-AL_Fairhope_3_NE.txt").write_text("".join(lines))
    days = pd.date_range("2020-01-01", periods=3)
    bare = "".join(uscrn_line(day, MISSING_SOIL) for day in days)
    (uscrn / "2020/CRND0103-2020-AL_Troy_2_W.txt").write_text(bare)
    scan.mkdir()
    header = "Date,Station Id,Station Name,Soil Moisture Percent -2in (pct) Mean of Hourly Values,"
    header += "Solar Radiation/langley Total (langley)\n"
    days, rest = pd.date_range("2020-01-01", periods=7), ("29.9", "29.8", "29.7", "29.6")
    for number in ("2057", "2099"):
        columns = zip(days, ("30.0", "", "65.0", *rest), ("100", "5083.8", "101", *[""] * 4), strict=True)
        rows = [f"{day:%Y-%m-%d},{number},Hill,{value},{solar}\n" for day, value, solar in columns]
        (scan / f"{number}.csv").write_text(header + "".join(rows))
    (scan / "2228.csv").write_text(header)
    metadata.mkdir()
    (metadata / "scan_stations.csv").write_text("\ufeffName;Lat;Long;Elv\r\nHill (2057);34.78;-86.56;800\r\n")
    (metadata / "crn_site_info.csv").write_bytes(
        b"StationName,Latitude,Longitude,Depth1(cm),PercentSand1,PercentSilt1,PercentClay1,BulkDensity1(g/cc),"
        b"Depth2(cm),PercentSand2,PercentSilt2,PercentClay2,BulkDensity2(g/cc),Elevation,Notes\n"
        b"Fairhope 3NE,30.5485,-87.8757,5,78.1,16.6,5.3,1.9610,31,80,10,10,1.3,95,ca\xf1on\n"
    )
    return {"uscrn": uscrn, "scan": scan, "metadata": metadata}


def test_the_store_holds_what_the_files_say(folders: dict[str, Path], tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    out = build_stations(tmp_path / "s.zarr", **folders, progress=lambda what, share: told.append((what, share)))
    store = xr.open_zarr(out, consolidated=False).load()
    assert store.station.values.tolist() == ["USCRN:AL_Fairhope_3_NE", "SCAN:2057"]
    assert store.layer.values.tolist() == list(LAYER_DEPTHS)
    assert store.soil_moisture.dims == ("station", "layer", "time")
    assert store.soil_moisture_sensor.dims == ("station", "depth", "time")
    assert store.soil_moisture.dtype == np.float32
    assert (str(store.time.values[0])[:10], store.sizes["time"]) == ("2019-12-20", 26)
    fairhope, hill = store.isel(station=0), store.isel(station=1)
    assert fairhope.soil_moisture_sensor.sel(time="2020-01-04").values == pytest.approx(
        [0.299, 0.319, 0.339, 0.359, 0.379]
    )
    assert fairhope.soil_moisture.sel(time="2020-01-04").values == pytest.approx([0.299, 0.339, 0.359])
    assert np.isnan(fairhope.soil_moisture.sel(time=["2020-01-01", "2020-01-05"])).all()
    assert int(fairhope.soil_moisture_flag.sel(time="2020-01-05", depth=5)) & BIT["frozen"]
    assert fairhope.soil_moisture_sensor.sel(time="2020-01-05", depth=5) == pytest.approx(0.298)
    assert float(fairhope.soil_temperature.sel(time="2020-01-04", depth=100)) == pytest.approx(288.15)
    assert float(fairhope.elevation) == pytest.approx(95 * 0.3048)
    assert fairhope.sand_fraction.values == pytest.approx([0.781, *[np.nan] * 4], nan_ok=True)
    assert float(fairhope.saturation[0]) == pytest.approx(0.26)
    assert int(fairhope.soil_moisture_flag.sel(time="2020-01-04", depth=5)) == BIT["above_saturation"]
    assert hill.soil_moisture.sel(layer="0-10 cm", time="2020-01-01") == pytest.approx(0.3)
    assert (float(hill.lat), float(hill.lon)) == (34.78, -86.56)
    assert np.isfinite(hill.shortwave_radiation).sum() == 2
    assert np.isnan(hill.air_temperature).all()
    assert told[-1] == ("writing the station store", 1.0)


def test_the_store_says_what_it_left_out_and_flagged(folders: dict[str, Path], tmp_path: Path) -> None:
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", **folders), consolidated=False)
    left_out = json.loads(store.attrs["left_out"])
    assert set(left_out) == {"SCAN:2099", "SCAN:2228", "USCRN:AL_Troy_2_W"}
    assert "no coordinates" in left_out["SCAN:2099"]
    assert "header alone" in left_out["SCAN:2228"]
    assert "every soil moisture is missing" in left_out["USCRN:AL_Troy_2_W"]
    counts = json.loads(store.attrs["flagged"])
    assert counts["USCRN"]["frozen"] == 10
    assert counts["USCRN"]["days"] == 120
    assert counts["SCAN"]["range_high"] == 1
    assert json.loads(store.attrs["out_of_range"]) == {"shortwave_radiation": 1}
    assert set(json.loads(store.attrs["day_boundary"])) == {"SCAN", "USCRN"}
    assert (store.attrs["dataset"], store.attrs["simulated"]) == ("SCAN+USCRN", "false")
    assert store.soil_moisture.attrs["units"] == "m3 m-3"
    assert store.soil_moisture_flag.attrs["flag_meanings"].split() == list(FLAGS)


def test_a_sensor_that_dies_later_keeps_its_good_days(tmp_path: Path) -> None:
    """And a spike is gone from what is scored, not from what a forecast of that day starts from."""
    days, spike = pd.date_range("2020-03-01", periods=150), 40
    moisture = [moisture_of(k) if k < 60 else "0.000 " * 5 for k in range(150)]
    moisture[spike] = "0.330 " + moisture_of(spike).split(" ", 1)[1]
    for name, until in (("whole", 150), ("cut", 60)):
        (tmp_path / name).mkdir()
        lines = [uscrn_line(day, text) for day, text in zip(days[:until], moisture[:until], strict=True)]
        (tmp_path / name / "CRND0103-2020-AL_Fairhope_3_NE.txt").write_text("".join(lines))
        build_stations(tmp_path / f"{name}.zarr", uscrn=tmp_path / name)
    whole, cut = (xr.open_zarr(tmp_path / f"{name}.zarr", consolidated=False).load() for name in ("whole", "cut"))
    xr.testing.assert_equal(whole.soil_moisture_causal.isel(time=slice(60)), cut.soil_moisture_causal)
    assert np.isfinite(cut.soil_moisture_causal).all()
    scored, known = (whole[name][0, 0].notnull().values for name in ("soil_moisture", "soil_moisture_causal"))
    assert np.flatnonzero(known).tolist() == list(range(60))
    assert np.flatnonzero(known & ~scored).tolist() == [spike]


def test_a_marker_makes_it_simulated(folders: dict[str, Path], tmp_path: Path) -> None:
    (folders["uscrn"] / "SIMULATED.txt").write_text("simulated")
    out = build_stations(tmp_path / "s.zarr", uscrn=folders["uscrn"])
    store = xr.open_zarr(out, consolidated=False)
    assert store.attrs["simulated"] == "true"
    assert "saturation" not in store
    assert np.isnan(store.elevation).all()


def test_soils_of_another_place_are_not_taken(folders: dict[str, Path], tmp_path: Path) -> None:
    table = folders["metadata"] / "crn_site_info.csv"
    table.write_bytes(table.read_bytes().replace(b"30.5485", b"30.6"))
    out = build_stations(tmp_path / "s.zarr", uscrn=folders["uscrn"], metadata=folders["metadata"])
    store = xr.open_zarr(out, consolidated=False)
    assert "sand_fraction" not in store
    assert np.isnan(store.elevation).all()


def test_built_once_for_the_same_files(folders: dict[str, Path], tmp_path: Path) -> None:
    out = build_stations(tmp_path / "s.zarr", **folders)
    written = (out / "zarr.json").stat().st_mtime_ns
    assert build_stations(out, **folders) == out
    assert (out / "zarr.json").stat().st_mtime_ns == written
    (folders["scan"] / "2228.csv").unlink()
    build_stations(out, **folders)
    assert (out / "zarr.json").stat().st_mtime_ns != written


def test_a_period_cuts_days(folders: dict[str, Path], tmp_path: Path) -> None:
    out = build_stations(tmp_path / "s.zarr", uscrn=folders["uscrn"], period=("2020-01-04", "2020-01-06"))
    assert xr.open_zarr(out, consolidated=False).sizes["time"] == 3
    with pytest.raises(VadoseError, match="no station has a day in it"):
        build_stations(tmp_path / "t.zarr", uscrn=folders["uscrn"], period=("2030-01-01", "2030-01-02"))
    with pytest.raises(VadoseError, match="YYYY-MM-DD"):
        build_stations(tmp_path / "t.zarr", uscrn=folders["uscrn"], period=("spring", "2030-01-02"))


def ismn_archive(root: Path, network: str, depths: tuple[str, str], flag: str = "G") -> Path:
    folder = root / network / "Hill"
    folder.mkdir(parents=True)
    name = f"{network}_{network}_Hill_sm_{depths[0]}_{depths[1]}_Probe_20200101_20200103.stm"
    lines = [f"2020/01/0{day} {hour:02d}:00 0.2{day} {flag} M" for day in (1, 2, 3) for hour in range(24)]
    (folder / name).write_text(
        f"{network} {network} Hill 40.0 -100.0 700.0 {depths[0]} {depths[1]} Probe\n" + "\n".join(lines)
    )
    return root


def test_ismn_stations_join_and_their_unflagged_days_are_marked(folders: dict[str, Path], tmp_path: Path) -> None:
    archive = ismn_archive(tmp_path / "ismn", "NET", ("0.000000", "0.050000"))
    ismn_archive(archive, "OLD", ("0.050000", "0.050000"), flag="U")
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", **folders, ismn=archive), consolidated=False).load()
    net = store.sel(station="NET:Hill", time=["2020-01-02"])
    assert net.soil_moisture.values[:, 0] == pytest.approx([0.22, np.nan, np.nan], nan_ok=True)
    old = store.sel(station="OLD:Hill", time="2020-01-02")
    assert np.isnan(old.soil_moisture).all()
    assert float(old.soil_moisture_sensor.sel(depth=5)) == pytest.approx(0.22)
    assert int(old.soil_moisture_flag.sel(depth=5)) == BIT["unflagged"]


@pytest.mark.parametrize(
    ("flag", "kept"), [("G", True), ("C02", True), ("C02,C03", True), ("D03", False), ("C01", False)]
)
def test_high_values_are_kept_as_in_the_paper(flag: str, kept: bool, tmp_path: Path) -> None:
    archive = ismn_archive(tmp_path / "ismn", "NET", ("0.050000", "0.050000"))
    for file in archive.rglob("*.stm"):
        file.write_text(file.read_text().replace(" 0.22 G", f" 0.72 {flag}"))
    days = ["2020-01-01", "2020-01-02", "2020-01-03"]
    for high, expected in ((False, np.nan), (True, 0.72 if kept else np.nan)):
        out = build_stations(tmp_path / f"{high}.zarr", ismn=archive, high=high)
        found = xr.open_zarr(out, consolidated=False).soil_moisture.sel(station="NET:Hill", time=days)
        np.testing.assert_allclose(found[0], [0.21, expected, 0.23], rtol=1e-6)


def test_probes_that_average_over_depth_are_at_no_depth(tmp_path: Path) -> None:
    archive = ismn_archive(tmp_path / "ismn", "COSMOS", ("0.000000", "0.190000"))
    with pytest.raises(VadoseError, match=r"no station is left .*COSMOS:Hill: no sensor near .* 0-19 cm"):
        build_stations(tmp_path / "s.zarr", ismn=archive)


def test_sensors_that_stand_for_no_depth_of_the_store_are_named(tmp_path: Path) -> None:
    archive = ismn_archive(tmp_path / "ismn", "NET", ("0.050000", "0.050000"))
    (file,) = archive.rglob("*.stm")
    for depths in ("0.400000 0.400000", "0.000000 0.300000"):
        other = file.with_name(file.name.replace("0.050000_0.050000", depths.replace(" ", "_")))
        other.write_text(file.read_text().replace("0.050000 0.050000", depths))
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", ismn=archive), consolidated=False)
    assert np.isfinite(store.soil_moisture).any(["station", "time"]).values.tolist() == [True, False, False]
    assert json.loads(store.attrs["left_out"]) == {
        "NET:Hill depth 40 cm": "it stands for none of [5, 10, 20, 50, 100] cm",
        "NET:Hill depth 15 cm": "averages over more than 10 cm",
    }


def test_files_that_cannot_be_read_are_left_out_and_named(folders: dict[str, Path], tmp_path: Path) -> None:
    bad = folders["uscrn"] / "2020/CRND0103-2020-AL_Fairhope_3_NE.txt"
    bad.write_text(bad.read_text().replace("0.299", "0.2.9"))
    mac = folders["scan"] / "._2057.csv"
    mac.write_bytes(b"\x00\x05\x16\x07\x00\x02")
    (folders["uscrn"] / "2020/CRND0103-2020-AL_Troy_2_W.txt").write_text(
        "\n\n" + uscrn_line(pd.Timestamp("2020-01-01"), moisture_of(0))
    )
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", **folders), consolidated=False)
    assert store.station.values.tolist() == ["USCRN:AL_Fairhope_3_NE", "USCRN:AL_Troy_2_W", "SCAN:2057"]
    left_out = json.loads(store.attrs["left_out"])
    assert left_out[str(bad)] == "line 2: SOIL_MOISTURE_5_DAILY is '0.2.9', not a number"
    assert {str(bad), str(mac), "SCAN:2099", "SCAN:2228"} == set(left_out)
    assert str(store.time.values[-1])[:10] == "2020-01-07"
    assert (store.attrs["lines_dropped"], store.attrs["missing_codes"]) == (2, 0)


def test_weather_in_another_unit_and_stations_that_move_are_left_out(folders: dict[str, Path], tmp_path: Path) -> None:
    for year in (2019, 2020):
        path = folders["uscrn"] / f"{year}/CRND0103-{year}-AL_Fairhope_3_NE.txt"
        path.write_text(path.read_text().replace("20.6 20.3 0.0", "20.6 293.5 0.0"))
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", **folders), consolidated=False)
    assert (
        "24 of 24 values of air_temperature"
        in json.loads(store.attrs["left_out"])["USCRN:AL_Fairhope_3_NE air_temperature"]
    )
    assert "air_temperature" not in store
    path.write_text(path.read_text().replace("30.55", "31.55"))
    store = xr.open_zarr(build_stations(tmp_path / "s.zarr", **folders), consolidated=False)
    assert json.loads(store.attrs["left_out"])["USCRN:AL_Fairhope_3_NE"] == (
        "its files lie at several places (30.55, -87.88; 31.55, -87.88)"
    )


def _copy_year(folders: dict[str, Path]) -> None:
    path = folders["uscrn"] / "2020/CRND0103-2020-AL_Fairhope_3_NE.txt"
    (folders["uscrn"] / path.name).write_text(path.read_text())


def _copy_scan(folders: dict[str, Path]) -> None:
    (folders["scan"] / "copy.csv").write_text((folders["scan"] / "2057.csv").read_text())


def _misname(folders: dict[str, Path]) -> None:
    (folders["uscrn"] / "CRND0103-2020-.txt").write_text("")


def _empty(name: str) -> Callable[[dict[str, Path]], None]:
    def empty(folders: dict[str, Path]) -> None:
        for path in folders[name].rglob("*.*"):
            path.unlink()

    return empty


def _no_metadata(folders: dict[str, Path]) -> None:
    del folders["metadata"]


def _no_folder(folders: dict[str, Path]) -> None:
    folders["scan"] = folders["scan"] / "elsewhere"


def _twice(network: str) -> Callable[[dict[str, Path]], None]:
    def archive(folders: dict[str, Path]) -> None:
        folders["ismn"] = ismn_archive(folders["scan"].parent / "ismn", network, ("0.050000", "0.050000"))

    return archive


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_copy_year, "a day is in two of these files"),
        (_copy_scan, "station SCAN:2057 comes from two files"),
        (_misname, r"CRND0103-2020-\.txt: not named as published"),
        (_empty("uscrn"), "uscrn: no file CRND0103"),
        (_empty("scan"), r"scan: no \.csv file"),
        (_empty("metadata"), "metadata: holds neither"),
        (_no_metadata, "do not say where their stations are"),
        (_no_folder, "elsewhere: no such folder"),
        (_twice("SCAN"), "holds SCAN, whose files are given besides"),
        (_twice("USCRN"), "holds USCRN, whose files are given besides"),
        (dict.clear, "no station files given"),
    ],
)
def test_what_is_wrong_is_named_and_an_older_store_stays(
    folders: dict[str, Path], tmp_path: Path, damage: Callable[[dict[str, Path]], None], message: str
) -> None:
    out = build_stations(tmp_path / "out/s.zarr", uscrn=folders["uscrn"])
    before = (out / "zarr.json").read_text()
    damage(folders)
    with pytest.raises(VadoseError, match=message):
        build_stations(out, **folders)
    assert (out / "zarr.json").read_text() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["s.zarr"]


def test_real_stations(real_data: Path, tmp_path: Path) -> None:
    """A stuck sensor, a plateau above 0.60, clipped zeros, one impossible value and a sound station."""
    scan, uscrn = tmp_path / "scan", tmp_path / "uscrn"
    scan.mkdir()
    uscrn.mkdir()
    for number in ("2057", "2085", "2092", "2110", "2162", "2228"):
        (scan / f"{number}.csv").symlink_to(real_data / f"scan_daily/{number}.csv")
    for year in (2018, 2019):
        name = f"CRND0103-{year}-CA_Stovepipe_Wells_1_SW.txt"
        (uscrn / name).symlink_to(real_data / f"uscrn_daily01/{year}/{name}")
    out = build_stations(tmp_path / "s.zarr", uscrn=uscrn, scan=scan, metadata=real_data / "station_meta")
    store = xr.open_zarr(out, consolidated=False).load()
    flag, sensor = store.soil_moisture_flag, store.soil_moisture_sensor

    def share(name: str, station: str, depth: int) -> float:
        at = {"station": station, "depth": depth}
        return float(((flag.sel(at) & BIT[name]) > 0).sum() / np.isfinite(sensor.sel(at)).sum())

    assert list(json.loads(store.attrs["left_out"])) == ["SCAN:2228"]
    assert share("range_high", "SCAN:2110", 100) == pytest.approx(0.959, abs=0.001)
    assert share("unreliable", "SCAN:2110", 100) == pytest.approx(0.924, abs=0.001)
    assert share("zero", "SCAN:2162", 5) == pytest.approx(1220 / 3186)
    assert int(store.soil_moisture.sel(station="SCAN:2162", layer="0-10 cm").notnull().sum()) == 97
    stuck = flag.sel(station="SCAN:2092", depth=10, time=slice("2018-07-22", "2018-09-08"))
    assert ((stuck & (BIT["constant"] | BIT["stuck_later"])) > 0).all()
    assert ((stuck & BIT["constant"]) > 0).sum() == 42  # it rained on the eighth of 49 days
    impossible = {"station": "SCAN:2085", "depth": 10, "time": "2016-03-13"}
    assert float(sensor.sel(impossible)) == pytest.approx(448.17)
    assert int(flag.sel(impossible)) & BIT["range_high"]
    for name, station in (("2-in", "SCAN:2057"), ("5 cm", "USCRN:CA_Stovepipe_Wells_1_SW")):
        kept = np.isfinite(store.soil_moisture.sel(station=station, layer="0-10 cm")).sum()
        assert kept > 0.97 * np.isfinite(sensor.sel(station=station, depth=5)).sum(), name
    day = store.sel(station="SCAN:2057", time="2018-12-31")
    assert day.soil_moisture.values == pytest.approx([0.301, 0.405, 0.418])
    assert float(store.elevation.sel(station="SCAN:2057")) == pytest.approx(243.84)
    death_valley = store.sel(station="USCRN:CA_Stovepipe_Wells_1_SW")
    assert float(death_valley.soil_moisture.sel(layer="0-10 cm", time="2019-07-19")) == pytest.approx(0.024)
    assert np.isfinite(death_valley.sand_fraction.sel(depth=5))
