"""Roles against the data centres of the simulated world: what is served, in which order, and what is said of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from vadose.download.client import Client
from vadose.download.roles import Access, cache_size, ground, past_weather, weather_ahead
from vadose.twin.data_centre import DataCentre

NOON = datetime(2026, 11, 30, 12)
PLACE = [(39.1, -96.6)]
FIVE = {"precipitation", "air_temperature_max", "air_temperature_min", "relative_humidity", "shortwave_radiation"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataCentre]:
    with DataCentre(tmp_path_factory.mktemp("centre"), now=NOON) as centre, pytest.MonkeyPatch.context() as patch:
        for name, address in centre.environment().items():
            patch.setenv(name, address)
        yield centre


@pytest.fixture
def centre(server: DataCentre) -> DataCentre:
    server.now, server.faults = NOON, []
    server.log.clear()
    return server


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def access(centre: DataCentre, tmp_path: Path, lines: list[str]) -> Access:
    impatient = Client(tries=2, timeout=(5.0, 5.0), wait=lambda seconds: None)
    return Access(tmp_path / "cache", now=centre.now, client=impatient, say=lines.append)


@pytest.fixture(scope="module")
def year(server: DataCentre, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the weather of two years at a place, as of 30 November 2026."""
    server.now, server.faults = NOON, []
    folder = tmp_path_factory.mktemp("year")
    past_weather(PLACE, "2024-01-01", access=Access(folder, now=NOON))
    return folder


def test_past_weather_of_points_and_of_the_box_around_them_is_the_same(access: Access, lines: list[str]) -> None:
    points = [(39.1, -96.6), (39.2, -96.4)]
    weather = past_weather(points, "2025-12-01", access=access)
    box = past_weather((-96.65, 39.05, -96.35, 39.25), "2025-12-01", "2026-01-31", access=access)
    assert set(weather.data_vars) == FIVE
    assert weather.sizes == {"time": 363, "place": 2}
    assert (weather.attrs["newest_day"], weather.attrs["source"]) == ("2026-11-28", "gridMET, all years")
    assert [str(weather.status[k].item()) for k in (0, -40, -1)] == ["permanent", "provisional", "early"]
    assert box.sizes["time"] == 62
    for place, (lat, lon) in enumerate(points):
        there = box.sel(lat=lat, lon=lon, method="nearest").to_dataarray().drop_vars(["lat", "lon"])
        here = weather.isel(place=place, time=slice(62)).to_dataarray().drop_vars(["lat", "lon"])
        np.testing.assert_allclose(here, there, rtol=1e-5)
    assert bool((weather.air_temperature_max > weather.air_temperature_min).all())
    assert (lines, weather.attrs["tried"]) == ([], "")


def test_weather_ahead_is_one_run_and_days_before_it_are_first_days(centre: DataCentre, access: Access) -> None:
    weather = weather_ahead(PLACE, first="2026-11-29", days=3, members=2, access=access)
    again = weather_ahead(PLACE, first="2026-11-29", days=3, members=2, access=replace(access, offline=True))
    assert set(weather.data_vars) == FIVE
    assert weather.sizes == {"member": 2, "time": 3, "place": 1}
    assert (weather.attrs["run"], weather.attrs["bridged"]) == ("2026-11-30 00 UTC", "2026-11-29")
    assert weather.attrs["source"] == "GEFS from NOMADS, run of 2026-11-30"
    xr.testing.assert_equal(weather, again)
    # The control is the truth, but for packing.
    control, days = weather.sel(member="c00").squeeze("place"), pd.date_range("2026-11-29", periods=3)
    assert list(weather.time.values) == list(days.values)
    truth = centre._weather(days)
    for name, places in (("precipitation", 3), ("air_temperature_max", 2), ("shortwave_radiation", 1)):
        np.testing.assert_allclose(control[name], truth[name], atol=10.0**-places)
    humid = (truth["relative_humidity_max"] + truth["relative_humidity_min"]) / 2
    np.testing.assert_allclose(control.relative_humidity, humid, atol=0.02)


def test_ground_is_soil_terrain_and_cover_of_points_and_boxes(access: Access, lines: list[str]) -> None:
    points = ground(PLACE, access=access)
    box = ground((-96.65, 39.05, -96.55, 39.15), access=access)
    sources = ("soil_source", "terrain_source", "cover_source")
    assert [points.attrs[name] for name in sources] == ["SOLUS100", "3DEP", "NLCD 2024"]
    assert box.sizes == {"lat": 2, "lon": 2}
    for name in ("sand_fraction_10_40cm", "bulk_density_0_10cm"):
        assert abs(float(points[name][0]) - float(box[name].mean())) < 0.1
    assert float(points.land_cover_nlcd[0]) in (41, 42, 43, 52, 71, 81, 82)
    asked = len(lines)
    xr.testing.assert_equal(ground(PLACE, access=replace(access, offline=True)), points)
    assert len(lines) == asked
    assert "B in " in cache_size(access.cache)
