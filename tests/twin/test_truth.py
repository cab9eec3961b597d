"""The simulated world: fields of place and day, sensors' physics, pieces that fit."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.grid import ease_grid
from vadose.twin.fields import field
from vadose.twin.land import land
from vadose.twin.sensors import backscatter, brightness, overpass, reflectance, retrieve
from vadose.twin.truth import at, example, simulate
from vadose.variables import variable

COARSE = ease_grid("9km").bounding_box(-100.5, 39.5, -99.5, 40.5)


def test_fields_have_unit_variance_and_the_length_and_memory_asked_for() -> None:
    grid = ease_grid("36km").bounding_box(-120, 30, -80, 48)
    days = np.stack([field(grid, "test", 200.0, 3, day=10.0 * d, memory=2.0) for d in range(60)])
    assert days.std() == pytest.approx(1.0, abs=0.05)
    apart = 5  # cells of 36 km: 180 km
    expected = np.exp(-((apart * 36.032) ** 2) / (2 * 200**2))
    found = np.mean(days[:, :, apart:] * days[:, :, :-apart])
    assert found == pytest.approx(expected, abs=0.08)
    later = np.stack([field(grid, "test", 200.0, 3, day=10.0 * d + 2.0, memory=2.0) for d in range(60)])
    assert np.mean(days * later) == pytest.approx(np.exp(-0.5), abs=0.08)
    other = field(grid, "other", 200.0, 3)
    assert abs(np.mean(other * field(grid, "test", 200.0, 3))) < 0.5


def test_a_fine_grid_sees_the_field_of_the_coarse_one() -> None:
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(40.0, -100.0))
    fine = whole.part(slice(row - 90, row + 90), slice(column - 90, column + 90))
    lat, lon = fine.latlon(*np.indices(fine.shape))
    coarse = COARSE.coordinates().assign(v=(("y", "x"), field(COARSE, "rain", 120.0, 0, day=5.0)))
    np.testing.assert_allclose(field(fine, "rain", 120.0, 0, day=5.0), at(coarse.v, lat, lon), atol=0.25)


def test_any_part_and_any_pieces_give_the_same_weather() -> None:
    part = COARSE.part(slice(2, 8), slice(3, 9))
    whole = next(simulate(COARSE, "2019-07-01", "2019-07-06", chunk=6, spin_up=20))
    pieces = xr.concat(simulate(part, "2019-07-01", "2019-07-06", chunk=2, spin_up=20), "time", data_vars="minimal")
    here = whole.isel(y=slice(2, 8), x=slice(3, 9))
    for name in ("precipitation", "air_temperature", "soil_moisture_0_10cm", "ndvi", "overpass_am"):
        np.testing.assert_allclose(pieces[name], here[name], rtol=1e-5, atol=1e-6)


def test_every_truth_is_of_the_vocabulary_and_in_range() -> None:
    truth = example(days=2)
    own = {"cloud", "overpass_am", "overpass_pm", "satellite_soil_moisture", "satellite_precipitation"}
    for name in map(str, truth.data_vars):
        known = variable(name)
        assert known or name in own, name
        if known:
            assert float(truth[name].min()) >= known.valid_range[0], name
            assert float(truth[name].max()) <= known.valid_range[1], name
    assert truth.attrs["simulated"] == "true"
    fractions = truth.sand_fraction + truth.silt_fraction + truth.clay_fraction
    np.testing.assert_allclose(fractions, 1, atol=1e-6)


def test_land_is_the_same_at_every_resolution_but_for_its_detail() -> None:
    whole = ease_grid("100m")
    row, column = (int(v) for v in whole.rowcol(40.0, -100.0))
    fine = land(whole.part(slice(row - 90, row + 90), slice(column - 90, column + 90)), 0)
    coarse = land(COARSE, 0)
    middle = at(coarse.sand_fraction, fine.lat.values, fine.lon.values).mean()
    assert float(fine.sand_fraction.mean()) == pytest.approx(float(middle), abs=0.05)
    assert float(fine.sand_fraction.std()) > 0.01


def test_brightness_falls_with_moisture_and_vegetation_hides_it() -> None:
    moisture = np.linspace(0.03, 0.45, 20)
    bare = brightness(moisture, 290.0, 0.0, 0.05, 0.13, "h")
    grown = brightness(moisture, 290.0, 0.8, 0.05, 0.13, "h")
    assert (np.diff(bare) < 0).all()
    assert np.ptp(grown) < 0.3 * np.ptp(bare)
    vertical = brightness(moisture, 290.0, 0.0, 0.05, 0.13, "v")
    assert (vertical > bare).all()  # near the Brewster angle V is warmer
    # No soil at all: emission of an opaque canopy is (1 - albedo) of its temperature.
    assert float(brightness(np.array(0.2), 290.0, 50.0, 0.05, 0.13, "v")) == pytest.approx(0.95 * 290, abs=1e-6)


def test_a_retrieval_that_believes_the_truth_finds_it() -> None:
    moisture = np.linspace(0.03, 0.5, 30)
    seen = brightness(moisture, 290.0, 0.15, 0.05, 0.13, "v")
    np.testing.assert_allclose(retrieve(seen, np.full(30, 290.0), 0.15, 0.05, 0.13), moisture, atol=3e-4)


def test_the_satellite_errs_about_as_much_as_a_real_one() -> None:
    truth = next(simulate(COARSE, "2018-04-01", "2018-09-30", chunk=200, spin_up=100))
    error = truth.satellite_soil_moisture - truth.soil_moisture_0_10cm
    unbiased = error - error.mean("time")
    assert 0.01 < float(unbiased.std()) < 0.05
    seen = np.isfinite(truth.satellite_soil_moisture).mean()
    assert 0.3 < float(seen) < 0.85


def test_orbits_repeat_after_eight_days_and_see_every_place() -> None:
    lat, lon = np.meshgrid(np.linspace(25, 49, 13), np.linspace(-125, -67, 59), indexing="ij")
    days = np.stack([overpass(d, lat, lon, ascending=False) for d in range(16)])
    np.testing.assert_array_equal(days[:8], days[8:])
    assert days[:8].any(axis=0).all()
    assert 0.3 < days.mean() < 0.6


def test_soil_darkens_and_scatters_more_when_wet() -> None:
    dry, wet = (reflectance(np.array(m), np.array(0.45), np.array(0.2), np.array(0.2)) for m in (0.05, 0.4))
    assert all(wet[name] < dry[name] for name in dry)
    assert dry["reflectance_swir2"] / wet["reflectance_swir2"] > 1.5
    low, high = (backscatter(np.array(m), np.array(0.5)) for m in (0.05, 0.4))
    assert high["sigma0_vv"] > low["sigma0_vv"] > low["sigma0_vh"]


def test_days_are_calendar_days() -> None:
    truth = example(days=2, first="2019-12-31")
    assert pd.DatetimeIndex(truth.time).strftime("%Y-%m-%d").tolist() == ["2019-12-31", "2020-01-01"]


def test_points_outside_are_missing() -> None:
    truth = example(days=1, rows=4, columns=4)
    found = at(truth.elevation, np.array([40.0, 10.0]), np.array([-100.0, 10.0]))
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
