"""Quantile mapping of forecast weather, on records whose errors are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.errors import VadoseError
from vadose.features.correction import correct_ahead, fit_correction

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
    assert corrected.attrs["corrected"].startswith("precipitation, air_temperature_max, air_temperature_min: quantile")
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
    with pytest.raises(VadoseError, match="precipitation: 32 pairs of forecast and analysis; expected 60 or more"):
        fit_correction(told.isel(init_time=[0], member=[0, 1]), true)
    assert correct_ahead(ahead, cold[["air_temperature_max_pairs"]]).attrs["corrected"] == "false"
