"""The land-surface networks behind the outlook: what drives them, what they may know, and how they are trained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from vadose.errors import VadoseError
from vadose.features.soil_water import FLUXES, Land, Water, run_water, soil_of
from vadose.models.land_surface import Blend, LandSurface
from vadose.predict.outlook.moisture import LAYERS, Networks, networks, soil_moisture
from vadose.samples.land_surface import (
    DAILY,
    EVIDENCE,
    FIXED,
    Climate,
    Series,
    disturbed,
    drivers,
    evidence,
    evidence_features,
    taught,
)
from vadose.training import loop
from vadose.training.land_surface import LandDescent, LandTask, shown, uncorrelated

DAYS = 200


def weather_of(days: int = DAYS, places: int = 2, seed: int = 0) -> xr.Dataset:
    random = np.random.default_rng(seed)
    time = pd.date_range("2019-01-01", periods=days)
    wave = np.cos(2 * np.pi * (np.arange(days) - 195) / 365.25)
    level = {
        "precipitation": random.exponential(6, (days, places)) * (random.random((days, places)) < 0.3),
        "air_temperature_max": 290 + 12 * wave[:, None] + random.normal(0, 3, (days, places)),
        "air_temperature_min": 279 + 10 * wave[:, None] + random.normal(0, 3, (days, places)),
        "relative_humidity": 60 + random.normal(0, 10, (days, places)),
        "shortwave_radiation": 180 + 90 * wave[:, None] + random.normal(0, 20, (days, places)),
    }
    return xr.Dataset({name: (("time", "place"), values) for name, values in level.items()}, {"time": time})


@pytest.fixture(scope="module")
def small() -> Networks:
    torch.manual_seed(0)
    weather = weather_of()
    made = drivers(weather, xr.Dataset())
    member = LandSurface(len(DAILY), len(FIXED), hidden=8)
    moisture = torch.rand(2, DAYS, 3) * 0.3
    inputs = (torch.from_numpy(made.daily), torch.from_numpy(made.fixed))
    member.fit_normalisation([(inputs, moisture)])
    blend = Blend(len(EVIDENCE))
    told = torch.rand(50, 3, len(EVIDENCE))
    blend.fit_normalisation([((torch.rand(50, 3) + 0.1, torch.rand(50, 3) + 0.1, told), torch.rand(50, 3))])
    return Networks((member.eval(),), blend.eval(), {"headline": "small"})


def observed_of(days: int = DAYS) -> np.ndarray:
    return (0.2 + 0.05 * np.random.default_rng(1).normal(size=(2, days, 3))).astype(np.float32)


def test_an_observation_of_a_day_reaches_later_days_alone(small: Networks) -> None:
    observed = observed_of()
    changed = observed.copy()
    changed[0, 120] += 0.1
    before, after = (soil_moisture(small, weather_of(), xr.Dataset(), of).means for of in (observed, changed))
    np.testing.assert_array_equal(before[0, :121], after[0, :121])
    np.testing.assert_array_equal(before[1], after[1])
    assert (before[0, 121] != after[0, 121]).any()


def test_weather_of_a_day_reaches_no_day_before_it(small: Networks) -> None:
    weather = weather_of()
    changed = weather.copy(deep=True)
    changed.precipitation[150] += 30
    climate = Climate.of(weather)
    first, second = (soil_moisture(small, of, xr.Dataset(), observed_of(), climate).means for of in (weather, changed))
    np.testing.assert_array_equal(first[:, :150], second[:, :150])
    assert (first[:, 150] != second[:, 150]).any()


def test_a_forecast_goes_on_as_if_it_had_never_stopped(small: Networks) -> None:
    weather, observed = weather_of(), observed_of()
    climate = Climate.of(weather)
    observed[:, 170:] = np.nan
    whole = soil_moisture(small, weather, xr.Dataset(), observed, climate)
    past = soil_moisture(small, weather.isel(time=slice(0, 170)), xr.Dataset(), observed[:, :170], climate)
    ahead = past.ahead(xr.concat([weather.isel(time=slice(170, None))] * 2, "member"))
    assert ahead.means.shape == (2, 30, 3, 2)
    for component in range(2):
        np.testing.assert_allclose(ahead.means[..., component], whole.means[:, 170:, :, 0], atol=2e-6)
        np.testing.assert_allclose(ahead.deviations[..., component], whole.deviations[:, 170:, :, 0], atol=2e-6)
    unknown = weather.isel(time=slice(170, None)).where(False)
    assert np.isfinite(past.ahead(unknown).means).all()


def test_cells_of_a_grid_are_places_row_by_row(small: Networks) -> None:
    weather = weather_of(places=4)
    grid = xr.Dataset(
        {name: (("time", "lat", "lon"), of.values.reshape(DAYS, 2, 2)) for name, of in weather.items()},
        {"time": weather.time, "lat": [40.0, 39.0], "lon": [-98.0, -97.0]},
    )
    soil = xr.Dataset({"elevation": (("lat", "lon"), [[100.0, 200], [300, 400]])})
    flat = xr.Dataset({"elevation": ("place", [100.0, 200, 300, 400])})
    of_grid, of_places = soil_moisture(small, grid, soil), soil_moisture(small, weather, flat)
    np.testing.assert_allclose(of_grid.means, of_places.means, atol=1e-6)


def test_quantiles_of_a_mixture_hold_their_probability(small: Networks) -> None:
    past = soil_moisture(small, weather_of(), xr.Dataset())
    later = past.days[-1] + pd.to_timedelta(range(1, 11), "D")
    ahead = past.ahead(xr.concat([weather_of(10, seed=seed).assign_coords(time=later) for seed in range(5)], "member"))
    for of in (past, ahead):
        quantiles = of.quantile([0.2, 0.5, 0.95])
        for p, value in zip((0.2, 0.5, 0.95), quantiles, strict=True):
            np.testing.assert_allclose(of.below(value)[value > 0], p, atol=2e-3)
        assert of.mean.shape == of.deviation.shape == quantiles.shape[1:]


def test_weights_come_back_as_they_were_written_in_half_precision(small: Networks, tmp_path: Path) -> None:
    small.save(tmp_path / "w.safetensors")
    again = networks(tmp_path / "w.safetensors")
    again.save(tmp_path / "w2.safetensors")
    assert again.card == {"headline": "small"}
    each = (small, again, networks(tmp_path / "w2.safetensors"))
    first, second, third = (soil_moisture(of, weather_of(), xr.Dataset(), observed_of()).means for of in each)
    np.testing.assert_allclose(first, second, atol=1e-3)
    np.testing.assert_array_equal(second, third)


def test_what_is_wrong_with_input_is_said(small: Networks, tmp_path: Path) -> None:
    weather = weather_of()
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(VadoseError, match=r"text: no weights of land-surface networks .*; make some with"):
        networks(tmp_path / "text")
    with pytest.raises(VadoseError, match="weather lacks shortwave_radiation"):
        soil_moisture(small, weather.drop_vars("shortwave_radiation"), xr.Dataset())
    with pytest.raises(VadoseError, match="expected consecutive days, found 199"):
        soil_moisture(small, weather.drop_isel(time=[5]), xr.Dataset())
    with pytest.raises(VadoseError, match="no place has 60 days of precipitation"):
        soil_moisture(small, weather.assign(precipitation=weather.precipitation.where(False)), xr.Dataset())
    with pytest.raises(VadoseError, match=r"expected \(place, time, layer\) \(2, 200, 3\), found \(2, 100, 3\)"):
        soil_moisture(small, weather, xr.Dataset(), observed_of(100))
    past = soil_moisture(small, weather, xr.Dataset())
    with pytest.raises(VadoseError, match="expected from the day after 2019-07-19, found 2019-01-01"):
        past.ahead(weather)


def test_packaged_weights_are_small_and_say_what_they_are() -> None:
    found = networks()
    assert found.card["headline"]
    assert [set(of) for of in map(found.card["scores"].get, LAYERS)] == [{"r", "rmse", "ubrmse"}] * len(LAYERS)
    assert sum(of.numel() for member in found.members for of in member.state_dict().values()) * 4 < 5e6


def test_what_own_observations_tell_is_that_of_their_days() -> None:
    mean = np.full((1, 40, 3), 0.2, np.float32)
    observed = np.full((1, 40, 3), np.nan, np.float32)
    observed[0, 10:20, 0] = 0.26
    known = evidence(mean, observed)
    assert not known[0, :10].any()
    assert not known[..., 1:, :].any()
    there, last, age, week, month, every, days, amplitude, centre, latest = known[0, 25, 0]
    assert (there, age, days) == (1, 6, 10)
    np.testing.assert_allclose(
        [last, week, month, every, centre, latest], [0.06, 0.06, 0.06, 0.06, 0.2, 0.2], atol=1e-6
    )
    assert 0.8 < amplitude < 1.2
    features = evidence_features(known[:, 25], 3, mean[:, 28])
    assert features.shape == (1, 3, len(EVIDENCE))
    np.testing.assert_allclose(features[0, 0, 3], np.log1p(9), rtol=1e-6)


def test_layers_with_their_own_soil_balance_their_water() -> None:
    weather = weather_of(100, 3)
    driving = {
        "precipitation": weather.precipitation.values.T,
        "air_temperature": weather.air_temperature_max.values.T,
        "shortwave_radiation": weather.shortwave_radiation.values.T,
    }
    soil = soil_of(np.linspace(0.2, 0.7, 9).reshape(3, 3), np.full((3, 3), 0.2))
    land = Land(thickness=np.array([[90.0], [250], [500]]) * np.ones((3, 3)), demand=0.7, caught=1.0)
    water = Water(soil.field_capacity.copy(), np.zeros(3))
    begin = (water.moisture * land.thickness).sum(0) + water.snow
    moisture, fluxes = run_water(soil, land, water, driving, np.zeros(100))
    end = (water.moisture * land.thickness).sum(0) + water.snow
    assert len(fluxes) == len(FLUXES)
    np.testing.assert_allclose(driving["precipitation"].sum(1) - fluxes.sum(0), end - begin, atol=1e-8)
    np.testing.assert_allclose(moisture[:, -1].T, water.moisture, atol=1e-6)
    assert np.ptp(moisture[:, -1], axis=0).min() > 0.001


def test_a_network_learns_from_what_a_water_balance_simulates() -> None:
    weather = weather_of(150)
    made, climate = drivers(weather, xr.Dataset()), Climate.of(weather)
    soils = np.array([[0.4] * 3 + [0.2] * 3 + [1.4] * 3])
    lessons = taught(weather, climate, made, soils, many=12, seed=0)
    assert lessons.observed.shape == (12, 150, 3)
    assert np.isfinite(lessons.observed).all()
    how = LandDescent(epochs=3, steps=8, batch_size=4, length=100, spin_up=20, patience=None, learning_rate=1e-2)
    torch.manual_seed(0)
    network = LandSurface(made.daily.shape[-1], made.fixed.shape[-1], hidden=8)
    rows = np.arange(12)
    _, log = loop.fit(LandTask(network, how, 0, "small", lessons, rows[2:], rows[:2]))
    assert log[-1]["train_loss"] < log[0]["train_loss"]


def test_sequences_begin_where_a_station_was_observed() -> None:
    observed = np.full((2, 1000, 3), np.nan, np.float32)
    observed[0, 600:800], observed[1, 100:200] = 0.2, 0.3
    series = Series(np.zeros((2, 1000, 4), np.float32), np.arange(2), np.zeros((2, 3), np.float32), observed)
    how = LandDescent(length=200, spin_up=50)
    task = LandTask(LandSurface(4, 3, hidden=2), how, 0, "", series, np.arange(2), np.arange(0))
    rows, begin = task.drawn(np.arange(2), 50, np.random.default_rng(0))
    assert ((begin >= np.array([550, 50])[rows]) & (begin <= np.array([600, 50])[rows])).all()
    assert not task.batch(rows, begin, 200)[1][:, :50].isfinite().any()


def test_shown_observations_are_one_stretch_of_some_layers() -> None:
    observed = np.full((300, 400, 3), 0.2, np.float32)
    part = np.isfinite(shown(observed, np.random.default_rng(0)))
    none = ~part.any(axis=(1, 2))
    assert 0.25 < none.mean() < 0.45
    starts = (np.diff(part.any(axis=2).astype(int), axis=1, prepend=0) == 1).sum(axis=1)
    assert starts.max() == 1


def test_correlation_counts_in_time_alone() -> None:
    truth = torch.rand(2, 80, 3)
    truth[0, :30] = torch.nan
    assert uncorrelated(truth.nan_to_num() * 0.5 + 3, truth).item() == pytest.approx(0, abs=1e-4)
    assert uncorrelated(-truth.nan_to_num(), truth).item() == pytest.approx(2, abs=1e-4)


def test_disturbed_weather_is_that_of_a_grid_rather_than_of_a_gauge() -> None:
    daily = drivers(weather_of(700, 40), xr.Dataset()).daily
    daily[:, 50:60, :2] = 0.0, 1.0
    found = disturbed(daily, np.random.default_rng(0))
    rain, of_grid = np.expm1(daily[..., 0]), np.expm1(found[..., 0])
    each = [np.corrcoef(*pair)[0, 1] for pair in zip(rain, of_grid, strict=True)]
    assert 0.6 < np.median(each) < 0.9
    assert of_grid.mean() == pytest.approx(rain.mean(), rel=0.1)
    np.testing.assert_array_equal(found[:, 50:60, :2], daily[:, 50:60, :2])
    np.testing.assert_array_equal(found[..., 6:], daily[..., 6:])
    assert (np.abs(found[..., 2:6] - daily[..., 2:6]).mean(axis=(0, 1)) > 0.5).all()
