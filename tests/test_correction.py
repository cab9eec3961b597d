"""Quantile mapping of forecast weather, on records whose errors are known."""

import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.download.roles.access import Access
from vadose.download.roles.correction import correct_ahead, corrected, fit_correction
from vadose.download.roles.gefs import Run, daily
from vadose.download.roles.where import Where
from vadose.errors import VadoseError
from vadose.evaluation.ensembles import fair_crps
from vadose.products.weather_messages import Fields
from vadose.twin.data_centre import DataCentre
from vadose.twin.forecast_files import lead_values

RUNS = pd.date_range("2018-01-01", "2020-12-31", freq="5D")


def record(error: str) -> tuple[xr.Dataset, xr.Dataset]:
    """Runs of 8 days at two places, and the analysis: the forecast drizzles and is too warm, more so at long leads."""
    days = pd.date_range("2018-01-01", "2021-01-31")
    random = np.random.default_rng(1)
    rain = np.where(random.random((len(days), 2)) < 0.3, random.exponential(8.0, (len(days), 2)), 0.0)
    warm = (
        285
        + 12 * np.sin(2 * np.pi * (days.day_of_year.to_numpy()[:, None] - 105) / 365)
        + random.normal(size=rain.shape)
    )
    dims = ("time", "place")
    true = xr.Dataset(
        {"precipitation": (dims, rain), "air_temperature_max": (dims, warm), "air_temperature_min": (dims, warm - 10)},
        {"time": days},
    )
    valid = xr.DataArray(RUNS.values[:, None] + np.arange(8) * np.timedelta64(1, "D"), dims=("init_time", "lead_time"))
    told = true.sel(time=valid).drop_vars("time").assign_coords(init_time=RUNS, lead_time=np.arange(1, 9))
    if error != "none":
        told["precipitation"] = 0.5 * told.precipitation + 1.0
        told["air_temperature_max"] = told.air_temperature_max + 2 + 3 * (told.lead_time >= 4)
    return told.expand_dims(member=["c00", "p01"]), true


def ahead_of(told: xr.Dataset, run: int) -> xr.Dataset:
    days = pd.date_range(RUNS[run], periods=8)
    return told.isel(init_time=run, drop=True).rename(lead_time="time").assign_coords(time=days)


def test_drizzle_and_warmth_are_taken_off_by_month_and_lead() -> None:
    told, true = record("wrong")
    correction = fit_correction(told, true)
    corrected = correct_ahead(ahead_of(told, 30), correction)
    there = true.sel(time=corrected.time)
    assert corrected.precipitation.dims == ahead_of(told, 30).precipitation.dims
    assert float(np.abs(corrected.precipitation - there.precipitation).max()) < 0.6
    assert float(np.abs(corrected.air_temperature_max - there.air_temperature_max).max()) < 0.4
    assert corrected.attrs["corrected"] == "true"
    assert corrected.attrs["correction"].startswith("precipitation, air_temperature_max, air_temperature_min by quant")
    assert correction.attrs["record"] == "2018-01-01 .. 2021-01-07"


def test_without_errors_nothing_changes_and_beyond_the_record_amounts_keep_their_ratio() -> None:
    told, true = record("none")
    correction = fit_correction(told, true)
    ahead = ahead_of(told, 3)
    np.testing.assert_allclose(correct_ahead(ahead, correction).precipitation, ahead.precipitation, atol=1e-4)
    halved, _ = record("wrong")
    double = fit_correction(halved.assign(precipitation=0.5 * told.precipitation), true)
    flood = ahead.assign(precipitation=ahead.precipitation * 0 + 300.0)
    np.testing.assert_allclose(correct_ahead(flood, double).precipitation, 600.0, rtol=1e-4)
    dry = ahead.assign(precipitation=ahead.precipitation * 0)
    assert not correct_ahead(dry, double).precipitation.any()


def test_lows_do_not_exceed_highs_and_a_short_record_is_refused() -> None:
    told, true = record("wrong")
    cold = fit_correction(told.assign(air_temperature_max=told.air_temperature_max + 30), true)
    ahead = ahead_of(told, 10)
    corrected = correct_ahead(ahead, cold)
    assert bool((corrected.air_temperature_min <= corrected.air_temperature_max).all())
    with pytest.raises(VadoseError, match="precipitation: 16 pairs of forecast and analysis; expected 60 or more"):
        fit_correction(told.isel(init_time=[0], member=[0, 1]), true)
    assert correct_ahead(ahead, cold[["air_temperature_max_pairs"]]).attrs["corrected"] == "false"


def foretold(centre: DataCentre, run: Run, days: range, member: str, where: Where) -> xr.Dataset:
    """Days of a run of the twin's ensemble that errs, from the values that its files hold."""
    weather = centre._weather(pd.date_range(run.day, periods=36))
    fields: Fields = {}
    for lead in run.leads(days):
        for name, values in lead_values(
            pd.Timestamp(run.day), member, lead, weather, where.flat(), biased=True
        ).items():
            fields[name, lead if name == "relative_humidity" else lead - 6, lead] = values
    return daily(run, days, member, where, fields)


@pytest.fixture
def centre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataCentre]:
    """A centre whose archive gives two years of past runs, without the way over files."""
    record: Any = sys.modules["vadose.download.roles.past_runs"]
    centre = DataCentre(tmp_path / "centre", now=datetime(2026, 11, 30, 12))
    monkeypatch.setattr(record, "BEGAN", date(2024, 9, 24))
    monkeypatch.setattr(record, "LAT", np.arange(40.0, 38.4, -0.25))
    monkeypatch.setattr(record, "LON", np.arange(-97.5, -95.9, 0.25))
    monkeypatch.setattr(
        record, "days_of", lambda run, days, member, where, get, access: foretold(centre, run, days, member, where)
    )
    monkeypatch.setattr(record, "keep", lambda day, path, access: day)
    yield centre
    centre.server_close()


def test_later_runs_are_better_for_a_record_that_ends_before_them(centre: DataCentre, tmp_path: Path) -> None:
    days = pd.date_range("2024-10-01", "2027-01-31")
    true = pd.DataFrame(centre._weather(days), days)
    true["relative_humidity"] = (true.pop("relative_humidity_max") + true.pop("relative_humidity_min")) / 2
    place = {"lat": ("place", [39.1]), "lon": ("place", [-96.6])}
    past = true.rename_axis("time").to_xarray().expand_dims("place", axis=1).assign_coords(place)
    access, later = Access(tmp_path, now=centre.now), Where.of([(39.1, -96.6)])
    runs = []
    for day in pd.date_range("2026-11-20", periods=6):
        one = [
            foretold(centre, Run(day.date()), range(1, 11), member, later) for member in ("c00", "p01", "p02", "p03")
        ]
        runs.append(xr.concat(one, "member", combine_attrs="override"))
    bare = corrected(runs[0], past, access=access)
    assert bare.attrs["corrected"] == "false"
    assert bare.attrs["correction"].startswith("not corrected: `vadose outlook --correct` fetches the record of past")
    # What comes after the day of issue is absurd, and changes nothing.
    cut = past.where(past.time < runs[0].time[0], 1e4)
    better = [corrected(run, cut, fetch=k == 0, access=access) for k, run in enumerate(runs)]
    assert better[0].attrs["corrected"] == "true"
    assert (
        "by quantile mapping by month and lead, from 24 runs of 2024-11-02 .. 2025-12-25"
        in better[0].attrs["correction"]
    )
    for name in true:
        score = {}
        for which, of in (("raw", runs), ("corrected", better)):
            told = [run[name].squeeze("place", drop=True) for run in of]
            there = [past[name].squeeze("place", drop=True).sel(time=run.time) for run in told]
            crps = [
                fair_crps(run.transpose("time", "member").values, day.values)
                for run, day in zip(told, there, strict=True)
            ]
            score[which] = float(np.mean(crps))
        assert score["corrected"] < 0.85 * score["raw"], (name, score)
