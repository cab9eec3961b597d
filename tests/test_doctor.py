import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.cube.doctor import Diagnosis, as_text, examine, plot_diagnosis, write_diagnosis
from vadose.errors import VadoseError
from vadose.variables import describe

DAYS = 900
SHAPE = (6, 7)


def season(mean: float, amplitude: float, scatter: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(DAYS) / 365.25)[:, None, None]
    return (mean + amplitude * wave + rng.normal(0, scatter, (DAYS, *SHAPE))).astype(np.float32)


@pytest.fixture
def cube() -> xr.Dataset:
    """Made-up weather and moisture of 900 days, with nothing wrong."""
    rng = np.random.default_rng(1)
    daily = ("time", "y", "x")
    seen = rng.random((DAYS, *SHAPE)) < 0.4
    rain = np.where(rng.random((DAYS, 1, 1)) < 0.3, rng.gamma(0.5, 12, (DAYS, *SHAPE)), 0).astype(np.float32)
    made = xr.Dataset(
        {
            "soil_moisture": (daily, np.where(seen, season(0.25, 0.05, 0.02, 2), np.nan).astype(np.float32)),
            "air_temperature": (daily, season(285, 12, 3, 3)),
            "precipitation": (daily, rain),
            "relative_humidity_max": (daily, np.minimum(season(98, 4, 3, 4), 100).astype(np.float32)),
            "shortwave_radiation": (daily, season(200, 80, 20, 5)),
            "specific_humidity": (daily, season(0.008, 0.003, 0.0005, 6)),
            "elevation": (("y", "x"), rng.uniform(200, 900, SHAPE).astype(np.float32)),
            "mask": (("y", "x"), np.ones(SHAPE, bool)),
        },
        coords={"time": pd.date_range("2019-01-01", periods=DAYS)},
        attrs={"dataset": "made up", "broken_granules": "{}"},
    )
    made.soil_moisture.attrs.update(product="SPL3SMP_E", version="006")
    return describe(made)


def told(cube: xr.Dataset) -> list[tuple[str, str, str]]:
    return [(f.severity, f.variable, f.what) for f in examine(cube).findings]


def test_nothing_is_found_where_nothing_is_wrong(cube: xr.Dataset) -> None:
    assert told(cube) == []


def spoil(cube: xr.Dataset, name: str, values: Any) -> xr.Dataset:
    attrs = cube[name].attrs
    cube[name] = cube[name].dims, np.asarray(values, np.float32)
    cube[name].attrs = attrs
    return cube


def with_value(cube: xr.Dataset, name: str, where: Any, value: float) -> xr.Dataset:
    values = cube[name].values.copy()
    values[where] = value
    return spoil(cube, name, values)


def doubled_day(cube: xr.Dataset) -> xr.Dataset:
    values = cube.air_temperature.values.copy()
    values[300] = values[299]
    return spoil(cube, "air_temperature", values)


def stepped(cube: xr.Dataset) -> xr.Dataset:
    values = cube.air_temperature.values.copy()
    values[500:] += 4
    return spoil(cube, "air_temperature", values)


def broken(cube: xr.Dataset) -> xr.Dataset:
    cube.attrs["broken_granules"] = json.dumps({"smap_l3/a.h5": "a.h5: cut short"})
    return cube


def noted(cube: xr.Dataset, name: str, **attrs: Any) -> xr.Dataset:
    cube[name].attrs.update(attrs)
    return cube


def shifted(cube: xr.Dataset) -> xr.Dataset:
    days = ["2019-01-01", "2019-06-30"]
    return noted(cube, "air_temperature", training_days=days, training_mean=297.0, training_std=3.0)


FAULTS = {
    "fill value": (
        lambda c: with_value(c, "air_temperature", (slice(10, 12), 2), -9999),
        ("error", "air_temperature", "values outside 180 .. 340 (found -9999 .. -9999)"),
    ),
    "degree Celsius and a fill value": (
        lambda c: with_value(
            spoil(c, "air_temperature", c.air_temperature - 273.15), "air_temperature", (slice(0, 9), 1, 1), -9999
        ),
        ("error", "air_temperature", "looks like degree Celsius or Fahrenheit, not K"),
    ),
    "fill value, rounded in the store": (
        lambda c: with_value(c, "air_temperature", (slice(10, 12), 2), -10000),
        ("error", "air_temperature", "values outside 180 .. 340 (found -1e+04 .. -1e+04)"),
    ),
    "few impossible": (
        lambda c: with_value(c, "air_temperature", (5, 2, 2), 400),
        ("warning", "air_temperature", "values outside 180 .. 340 (found 400 .. 400)"),
    ),
    "infinite": (
        lambda c: with_value(c, "specific_humidity", (slice(0, 3), 2), np.inf),
        ("error", "specific_humidity", "values outside 0 .. 0.1 (found inf .. inf)"),
    ),
    "degree Celsius": (
        lambda c: spoil(c, "air_temperature", c.air_temperature - 273.15),
        ("error", "air_temperature", "looks like degree Celsius or Fahrenheit, not K"),
    ),
    "degree Celsius, cut at the valid range": (
        lambda c: spoil(c, "air_temperature", (c.air_temperature - 273.15).clip(180, 340)),
        ("error", "air_temperature", "looks like degree Celsius or Fahrenheit, not K"),
    ),
    "percent": (
        lambda c: spoil(c, "soil_moisture", 100 * c.soil_moisture),
        ("error", "soil_moisture", "looks like percent, not m3 m-3"),
    ),
    "rate of a second": (
        lambda c: spoil(c, "precipitation", c.precipitation / 86400),
        ("error", "precipitation", "looks like kg m-2 s-1 or m, not kg m-2"),
    ),
    "grams": (
        lambda c: spoil(c, "specific_humidity", 1000 * c.specific_humidity),
        ("error", "specific_humidity", "looks like g kg-1, not kg kg-1"),
    ),
    "megajoule": (
        lambda c: spoil(c, "shortwave_radiation", 0.0864 * c.shortwave_radiation),
        ("error", "shortwave_radiation", "looks like MJ m-2 of a day, not W m-2"),
    ),
    "fraction": (
        lambda c: spoil(c, "relative_humidity_max", c.relative_humidity_max / 100),
        ("error", "relative_humidity_max", "looks like a fraction, not percent"),
    ),
    "attribute": (
        lambda c: noted(c, "air_temperature", units="degC"),
        ("warning", "air_temperature", "its attribute units is 'degC', its values look like 'K'"),
    ),
    "never there": (
        lambda c: spoil(c, "air_temperature", np.full((DAYS, *SHAPE), np.nan)),
        ("error", "air_temperature", "no value at all"),
    ),
    "one value": (
        lambda c: spoil(c, "air_temperature", np.full((DAYS, *SHAPE), 280.0)),
        ("error", "air_temperature", "the same value 280 everywhere"),
    ),
    "cells never seen": (
        lambda c: with_value(c, "air_temperature", (slice(None), 2, 2), np.nan),
        ("warning", "air_temperature", "no value in some cells of the mask on any day"),
    ),
    "fixed with a hole": (
        lambda c: with_value(c, "elevation", (2, 2), np.nan),
        ("warning", "elevation", "no value in some cells of the mask"),
    ),
    "days away": (
        lambda c: with_value(c, "air_temperature", slice(100, 110), np.nan),
        ("warning", "air_temperature", "days without a value"),
    ),
    "late start": (
        lambda c: with_value(c, "air_temperature", slice(0, 200), np.nan),
        ("warning", "air_temperature", "values only from 2019-07-20 to 2021-06-18"),
    ),
    "a day twice": (doubled_day, ("error", "air_temperature", "maps equal to the day before")),
    "stuck cell": (
        lambda c: with_value(c, "air_temperature", (slice(20, 35), 1, 1), 281.5),
        ("warning", "air_temperature", "10 or more equal values in a row, at 281.5"),
    ),
    "step": (stepped, ("warning", "air_temperature", "the mean changes by")),
    "old version": (
        lambda c: noted(c, "soil_moisture", version="005"),
        ("warning", "soil_moisture", "an old version"),
    ),
    "no version": (
        lambda c: noted(c, "soil_moisture", version=""),
        ("note", "soil_moisture", "version not known"),
    ),
    "broken granule": (broken, ("warning", "cube", "1 granule could not be read")),
    "shift": (shifted, ("note", "air_temperature", "its mean outside the training days differs")),
    "day missing": (
        lambda c: c.drop_isel(time=450),
        ("error", "time", "days missing"),
    ),
    "days out of order": (
        lambda c: c.isel(time=[0, 2, 1, *range(3, DAYS)]),
        ("error", "time", "days not in order, or repeated"),
    ),
    "empty mask": (
        lambda c: c.assign(mask=c.mask & False),
        ("error", "mask", "contains no cell"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_once(cube: xr.Dataset, fault: str) -> None:
    plant, (severity, variable, what) = FAULTS[fault]
    ((found_severity, found_variable, found_what),) = told(plant(cube))
    assert (found_severity, found_variable) == (severity, variable)
    assert found_what.startswith(what)


def test_a_variable_of_no_known_unit_has_none_to_doubt(cube: xr.Dataset) -> None:
    own = xr.zeros_like(cube.soil_moisture.isel(time=0, drop=True)).drop_attrs() + cube.y + cube.x
    assert [f for f in examine(cube.assign(own=own)).findings if "own" in f.variable] == []


def test_cells_outside_the_mask_do_not_count(cube: xr.Dataset) -> None:
    cube["mask"][2, 2] = False
    assert told(with_value(cube, "air_temperature", (slice(None), 2, 2), -9999)) == []


def test_one_cause_is_told_once(cube: xr.Dataset) -> None:
    for name in ("air_temperature", "specific_humidity"):
        cube = with_value(cube, name, slice(100, 110), np.nan)
    assert told(cube) == [("warning", "air_temperature, specific_humidity", "days without a value")]


def test_rain_saturation_and_the_floor_of_a_retrieval_may_stay(cube: xr.Dataset) -> None:
    cube = with_value(cube, "precipitation", slice(100, 140), 0)
    cube = with_value(cube, "relative_humidity_max", slice(100, 140), 100)
    cube = with_value(cube, "soil_moisture", (slice(100, 140), 2), 0.02)
    assert float(cube.soil_moisture.min()) == pytest.approx(0.02)
    assert told(cube) == []


def test_slow_variables_and_packed_maps_may_repeat_themselves(cube: xr.Dataset) -> None:
    composite = cube.air_temperature.values.copy()
    for day in range(DAYS):
        composite[day] = composite[day - day % 8]
    packed = np.round(cube.soil_moisture.values, 1)
    packed[300:310] = 0.3
    cube = spoil(spoil(cube, "air_temperature", composite), "soil_moisture", packed)
    assert told(cube) == []


def test_quantiles_are_those_of_all_values(cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vadose.cube.doctor.survey.SAMPLE", 4000)
    row = examine(cube).ranges.loc["air_temperature"]
    expected = np.quantile(cube.air_temperature, [0.01, 0.5, 0.99])
    np.testing.assert_allclose([row.q1, row.q50, row.q99], expected, atol=0.7)
    assert row.lowest == cube.air_temperature.min()
    assert row.highest == cube.air_temperature.max()


def test_a_lazy_cube_gives_the_same_and_is_read_by_days(cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = examine(cube)
    monkeypatch.setattr("vadose.cube.doctor.survey.BLOCK_BYTES", 4 * 42 * 7)
    pieces = examine(cube.chunk(time=16))
    pd.testing.assert_frame_equal(pieces.ranges, whole.ranges)
    pd.testing.assert_frame_equal(pieces.coverage, whole.coverage)


def test_the_table_says_what_is_there(cube: xr.Dataset) -> None:
    diagnosis = examine(with_value(cube, "air_temperature", slice(59, 90), np.nan))
    assert diagnosis.coverage.loc["air_temperature", "2019-03"] == 0
    assert diagnosis.coverage.loc["air_temperature", "2019-02"] == 1
    assert diagnosis.coverage.loc["soil_moisture", "2019-02"] == pytest.approx(0.4, abs=0.05)
    row = diagnosis.ranges.loc["air_temperature"]
    values = np.delete(cube.air_temperature.values, slice(59, 90), axis=0)
    assert row.lowest == pytest.approx(values.min())
    assert row.q50 == pytest.approx(np.median(values), abs=0.5)
    assert row.coverage == pytest.approx(1 - 31 / DAYS)
    text = as_text(diagnosis)
    assert "air_temperature: days without a value" in text
    assert "0 errors, 1 warning, 0 notes" in text
    assert "e+02 %" not in text


def test_tables_and_picture_are_written_whole(
    cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnosis = examine(doubled_day(cube))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "chapter.txt").write_text("precious")
    folder = write_diagnosis(diagnosis, tmp_path / "d")
    written = ["chapter.txt", "coverage.csv", "diagnosis.png", "findings.csv", "ranges.csv"]
    assert sorted(p.name for p in folder.iterdir()) == written
    assert pd.read_csv(folder / "findings.csv").severity.tolist() == ["error"]
    labels = [label.get_text() for label in plot_diagnosis(diagnosis).axes[0].get_yticklabels()]
    assert set(labels) == set(diagnosis.ranges.index)
    monkeypatch.setattr("vadose.cube.doctor.output.plot_diagnosis", lambda diagnosis: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_diagnosis(diagnosis, tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_simulated_cubes_are_said_to_be_that(cube: xr.Dataset) -> None:
    cube.attrs["simulated"] = "true"
    diagnosis: Diagnosis = examine(cube)
    assert "not measured" in as_text(diagnosis)
    assert diagnosis.errors == 0


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda c: c.isel(time=0), r"no entries along \['time'\]"),
        (lambda c: c.isel(y=slice(0)), r"no entries along \['y'\]"),
        (lambda c: c.assign_coords(time=np.arange(DAYS)), "no dates"),
        (lambda c: c[["mask"]].assign_coords(time=c.time), "expected variables"),
    ],
)
def test_what_is_no_cube_is_refused(cube: xr.Dataset, spoilt: Any, message: str) -> None:
    with pytest.raises(VadoseError, match=message):
        examine(spoilt(cube))
